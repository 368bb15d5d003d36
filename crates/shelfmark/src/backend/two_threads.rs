//! Work on several keyspaces, by two threads where it is much.

use std::cell::Cell;
use std::cmp::Reverse;
use std::panic::resume_unwind;
use std::sync::LazyLock;

/// Two threads pay from this much work on, in the smaller half too.
const THREADED: usize = 4_000;
const THREADED_HALF: usize = 1_000;

static PROCESSORS: LazyLock<usize> =
    LazyLock::new(|| std::thread::available_parallelism().map_or(1, usize::from));

thread_local! {
    static ONE_OF_TWO: Cell<bool> = const { Cell::new(false) };
}

/// Says that another thread works for the same call as this one does from here on: this one splits nothing any more.
pub(crate) fn be_one_of_two() {
    ONE_OF_TWO.set(true);
}

/// Whether two threads do more than one.
pub(crate) fn are_two() -> bool {
    *PROCESSORS > 1
}

/// Runs `run` on all items, or on two lists of about equal `work` at a time, unless this thread is one of two already. A panic on either thread is one of the caller.
pub(super) fn in_two<T: Send, R: Send>(
    items: Vec<T>,
    work: impl Fn(&T) -> usize,
    run: impl Fn(Vec<T>) -> R + Sync,
) -> (R, Option<R>) {
    if !are_two() || ONE_OF_TWO.get() {
        return (run(items), None);
    }
    let (mine, theirs) = split(items, work);
    if theirs.is_empty() {
        return (run(mine), None);
    }
    std::thread::scope(|scope| {
        let other = scope.spawn(|| run(theirs));
        let here = run(mine);
        let there = other.join().unwrap_or_else(|payload| resume_unwind(payload));
        (here, Some(there))
    })
}

/// Two lists of about equal work, or everything in the first where a second thread would not pay.
fn split<T>(mut items: Vec<T>, work: impl Fn(&T) -> usize) -> (Vec<T>, Vec<T>) {
    let total: usize = items.iter().map(&work).sum();
    if total < THREADED {
        return (items, Vec::new());
    }
    items.sort_by_key(|item| Reverse(work(item)));
    let (mut one, mut two) = (Vec::new(), Vec::new());
    let (mut work_one, mut work_two) = (0, 0);
    for item in items {
        if work_one <= work_two {
            work_one += work(&item);
            one.push(item);
        } else {
            work_two += work(&item);
            two.push(item);
        }
    }
    if work_one.min(work_two) < THREADED_HALF {
        one.append(&mut two);
    }
    (one, two)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn much_work_is_split_evenly_and_little_not_at_all() {
        let split = |items: &[usize]| split(items.to_vec(), |work| *work);
        assert_eq!(split(&[900, 900]), (vec![900, 900], vec![]));
        assert_eq!(split(&[100, 9_000]), (vec![9_000, 100], vec![]));
        assert_eq!(
            split(&[10, 4_000, 2_500, 1_500]),
            (vec![4_000, 10], vec![2_500, 1_500])
        );
    }

    #[test]
    fn one_of_two_splits_nothing() {
        let lists = || {
            let (one, two) = in_two(vec![3_000, 2_000], |work| *work, |items| items);
            (one.len(), two.map(|items| items.len()))
        };
        let alone = std::thread::spawn(move || {
            be_one_of_two();
            lists()
        });
        assert_eq!(alone.join().unwrap(), (2, None));
        let other = are_two().then_some(1);
        assert_eq!(lists(), (2 - other.unwrap_or(0), other));
    }

    #[test]
    fn each_item_is_worked_on_once() {
        for items in [vec![1, 2], vec![3_000, 2_000, 1_000]] {
            let (one, two) = in_two(items.clone(), |work| *work, |items| items);
            let mut found: Vec<usize> = one.into_iter().chain(two.into_iter().flatten()).collect();
            found.sort_unstable();
            let mut expected = items;
            expected.sort_unstable();
            assert_eq!(found, expected);
        }
    }
}
