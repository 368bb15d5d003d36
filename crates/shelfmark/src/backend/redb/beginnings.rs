//! The rows that ranges begin with where many are looked into together, kept beside a state: a page over many parents sees little more of most
//! of them, and a seek costs twenty times the look.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use crate::backend::{Direction, KeyRange, Keyspace};

/// From how many ranges on.
pub(super) const MANY: usize = 16;
/// At most so many bytes are kept beside a state, as of some 8,000 usual rows.
const MOST_BYTES: usize = 2 << 20;
/// What a row takes beside its bytes, about.
const OVERHEAD: usize = 120;

/// A key with its value; `None` where the keyspace has no more.
pub(super) type Beginning = Option<(Vec<u8>, Vec<u8>)>;

/// What is kept of one state, which never changes.
#[derive(Default)]
pub(super) struct Beginnings {
    asked: AtomicBool,
    kept: RwLock<Kept>,
}

#[derive(Default)]
pub(super) struct Kept {
    rows: HashMap<(Keyspace, Direction), Rows>,
    bytes: usize,
}

/// By the end that ranges are walked from. Where a range is empty, it is the row behind it.
type Rows = HashMap<Vec<u8>, Beginning>;

/// The end that a range is walked from.
fn anchor(range: &KeyRange, direction: Direction) -> Option<&[u8]> {
    match direction {
        Direction::Forward => Some(&range.start),
        Direction::Reverse => range.end.as_deref(),
    }
}

impl Kept {
    /// What is kept of ranges of a keyspace that are walked this way: the row that a walk over one meets first, within it or behind it.
    pub(super) fn of<'k>(
        &'k self,
        space: Keyspace,
        direction: Direction,
    ) -> impl Fn(&KeyRange) -> Option<&'k Beginning> {
        let rows = self.rows.get(&(space, direction));
        move |range| rows?.get(anchor(range, direction)?)
    }
}

impl Beginnings {
    /// What is kept, and whether more is worth it: a state that is asked a second time may be asked often.
    pub(super) fn ask(&self) -> (RwLockReadGuard<'_, Kept>, bool) {
        let again = self.asked.swap(true, Ordering::Relaxed);
        (self.kept.read().unwrap_or_else(PoisonError::into_inner), again)
    }

    /// Keeps the rows that walks over these ranges met first.
    pub(super) fn keep<'r>(
        &self,
        space: Keyspace,
        direction: Direction,
        beginnings: impl IntoIterator<Item = (&'r KeyRange, Beginning)>,
    ) {
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        let Kept { rows, bytes } = &mut *kept;
        let rows = rows.entry((space, direction)).or_default();
        for (range, row) in beginnings {
            let Some(anchor) = anchor(range, direction) else {
                continue;
            };
            let size = row.as_ref().map_or(0, |(key, value)| key.len() + value.len());
            if *bytes + anchor.len() + size + OVERHEAD > MOST_BYTES {
                return;
            }
            if rows.insert(anchor.to_vec(), row).is_none() {
                *bytes += anchor.len() + size + OVERHEAD;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_and_has_a_way() {
        let beginnings = Beginnings::default();
        assert!(!beginnings.ask().1);
        let (space, direction) = (Keyspace::SetByName, Direction::Forward);
        let ranges: Vec<KeyRange> = (0..MOST_BYTES as u64 / 100)
            .map(|number| KeyRange::prefix(&number.to_be_bytes()))
            .collect();
        let row = |range: &KeyRange| Some((range.start.clone(), vec![7]));
        for _ in 0..2 {
            let rows = ranges.iter().map(|range| (range, row(range)));
            beginnings.keep(space, direction, rows);
        }
        let (kept, again) = beginnings.ask();
        assert!(again && kept.bytes <= MOST_BYTES);
        let known = ranges.iter().filter_map(kept.of(space, direction)).count();
        assert!(known > ranges.len() / 2 && known < ranges.len());
        assert_eq!(kept.of(space, direction)(&ranges[9]), Some(&row(&ranges[9])));
        assert_eq!(kept.of(space, Direction::Reverse)(&ranges[9]), None);
        assert_eq!(kept.of(Keyspace::Set, direction)(&ranges[9]), None);
    }
}
