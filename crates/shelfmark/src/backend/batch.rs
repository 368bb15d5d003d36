//! What one commit writes.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, OnceLock};

use super::entries::{Entries, Room, WriteOp};
use super::two_threads::in_two;
use super::{Direction, KeyRange};
use crate::keyspace::{Keyspace, keys};

/// The changes of one commit: per keyspace puts, deletes and range deletes, and counter deltas beside them. A later call on the same
/// key wins; a range delete drops what was put in its range before, and a later put survives it.
#[derive(Debug, Clone, Default)]
pub struct WriteBatch {
    spaces: Vec<Option<SpaceLog>>,
    counters: BTreeMap<Keyspace, BTreeMap<Vec<u8>, i64>>,
    bytes: usize,
    operations: usize,
    /// What the changes of each keyspace get at first.
    rooms: Rooms,
}

/// How much the changes of each keyspace of a batch take up.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rooms(Vec<Room>);

/// The changes of one keyspace, ready to be applied: first the ranges, then the entries.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SpaceBatch {
    /// Disjoint ranges to clear, in order.
    pub ranges: Vec<KeyRange>,
    /// What to do with single keys, sorted by key, each key once.
    pub entries: Arc<Entries>,
}

/// Changes of one keyspace in the order they came. Bulk writes only ever append; the index comes into being with the first
/// read through an overlay or the first range delete, and is kept from then on.
#[derive(Debug, Clone, Default)]
struct SpaceLog {
    /// Shared with the copies of a batch that is committed, so that one of a hundred thousand rows is copied for nothing.
    log: Arc<Entries>,
    /// Key → position in `log` of the entry that counts. Entries it does not name are superseded.
    index: OnceLock<BTreeMap<Vec<u8>, usize>>,
    /// Disjoint cleared ranges, start → end.
    cleared: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl SpaceLog {
    fn index(&self) -> &BTreeMap<Vec<u8>, usize> {
        self.index.get_or_init(|| {
            self.log
                .iter()
                .enumerate()
                .map(|(position, (key, _))| (key.to_vec(), position))
                .collect()
        })
    }

    fn push(&mut self, key: &[u8], op: WriteOp<'_>) {
        if let Some(index) = self.index.get_mut() {
            index.insert(key.to_vec(), self.log.len());
        }
        Arc::make_mut(&mut self.log).push(key, op);
    }

    /// Adds what came later, of which all entries count.
    fn append(&mut self, later: &Entries) {
        if let Some(index) = self.index.get_mut() {
            let base = self.log.len();
            index.extend(
                later
                    .iter()
                    .enumerate()
                    .map(|(position, (key, _))| (key.to_vec(), base + position)),
            );
        }
        Arc::make_mut(&mut self.log).append(later);
    }

    /// How much there is to sort.
    fn work(&self) -> usize {
        if self.log.is_sorted() { 0 } else { self.log.len() }
    }

    fn clear(&mut self, range: KeyRange) {
        self.index();
        if let Some(index) = self.index.get_mut() {
            let doomed: Vec<Vec<u8>> = index
                .range::<[u8], _>(range_bounds(&range))
                .map(|(key, _)| key.clone())
                .collect();
            for key in doomed {
                index.remove(&key);
            }
        }
        let KeyRange { mut start, mut end } = range;
        // Merge with every cleared range that overlaps or touches: the one before, and those that begin within.
        let reaches = |end: &Option<Vec<u8>>| end.as_ref().is_none_or(|end| *end >= start);
        let before = self
            .cleared
            .range::<[u8], _>((Bound::Unbounded, Bound::Excluded(&start[..])));
        let before = before
            .clone()
            .next_back()
            .filter(|(_, end)| reaches(end))
            .map(|(start, _)| start.clone());
        let within = match &end {
            Some(end) if *end < start => (Bound::Included(&start[..]), Bound::Included(&start[..])),
            Some(end) => (Bound::Included(&start[..]), Bound::Included(&end[..])),
            None => (Bound::Included(&start[..]), Bound::Unbounded),
        };
        let within = self
            .cleared
            .range::<[u8], _>(within)
            .map(|(start, _)| start.clone());
        let touching: Vec<Vec<u8>> = before.into_iter().chain(within).collect();
        for other in touching {
            let other_end = self.cleared.remove(&other).unwrap_or_default();
            start = start.min(other);
            end = match (end, other_end) {
                (Some(one), Some(two)) => Some(one.max(two)),
                _ => None,
            };
        }
        self.cleared.insert(start, end);
    }

    fn is_cleared(&self, key: &[u8]) -> bool {
        self.cleared
            .range::<[u8], _>((Bound::Unbounded, Bound::Included(key)))
            .next_back()
            .is_some_and(|(_, end)| end.as_deref().is_none_or(|end| key < end))
    }

    fn into_batch(self) -> SpaceBatch {
        let ranges = self
            .cleared
            .into_iter()
            .map(|(start, end)| KeyRange::new(start, end))
            .collect();
        let mut entries = self.log;
        match self.index.into_inner() {
            Some(index) => Arc::make_mut(&mut entries).select(index.into_values()),
            None => sort(&mut entries),
        }
        SpaceBatch { ranges, entries }
    }
}

fn sort(entries: &mut Arc<Entries>) {
    if !entries.is_sorted() {
        Arc::make_mut(entries).sort();
    }
}

fn range_bounds(range: &KeyRange) -> (Bound<&[u8]>, Bound<&[u8]>) {
    if range.is_empty() {
        // BTreeMap refuses a start behind its end.
        return (Bound::Included(&range.start), Bound::Excluded(&range.start));
    }
    let end = range.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    (Bound::Included(&range.start), end)
}

impl WriteBatch {
    /// A batch that changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// A batch that changes nothing, for about as many changes as one that takes up so much.
    pub(crate) fn with_rooms(rooms: Rooms) -> Self {
        Self {
            rooms,
            ..Self::default()
        }
    }

    /// How much it takes up, to make one like it without growing and moving it on the way.
    pub(crate) fn rooms(&self) -> Rooms {
        let room = |log: &Option<SpaceLog>| log.as_ref().map_or(Room::default(), |log| log.log.room());
        Rooms(self.spaces.iter().map(room).collect())
    }

    fn log_mut(&mut self, space: Keyspace) -> &mut SpaceLog {
        let position = space.index();
        if self.spaces.len() <= position {
            self.spaces.resize_with(position + 1, || None);
        }
        let room = || self.rooms.0.get(position).copied().unwrap_or_default();
        self.spaces[position].get_or_insert_with(|| SpaceLog {
            log: Arc::new(Entries::with_room(room())),
            ..SpaceLog::default()
        })
    }

    fn log(&self, space: Keyspace) -> Option<&SpaceLog> {
        self.spaces.get(space.index())?.as_ref()
    }

    /// Sets the value of `key`.
    pub fn put(&mut self, space: Keyspace, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let (key, value) = (key.as_ref(), value.as_ref());
        self.bytes += key.len() + value.len();
        self.operations += 1;
        self.settle(space, key);
        self.log_mut(space).push(key, WriteOp::Put(value));
    }

    /// Removes `key`, if it is there.
    pub fn delete(&mut self, space: Keyspace, key: impl AsRef<[u8]>) {
        let key = key.as_ref();
        self.bytes += key.len();
        self.operations += 1;
        self.settle(space, key);
        self.log_mut(space).push(key, WriteOp::Delete);
    }

    /// Where a counter's row is written itself, what was to be added before is no more.
    fn settle(&mut self, space: Keyspace, key: &[u8]) {
        if space == Keyspace::Counter {
            self.retain_counters(|counter| counter != key);
        }
    }

    /// Forgets what was to be added to the counters whose keys do not pass.
    fn retain_counters(&mut self, passes: impl Fn(&[u8]) -> bool) {
        for (space, counters) in &mut self.counters {
            counters.retain(|prefix, _| passes(&keys::counter(*space, prefix)));
        }
    }

    /// Removes every key of `range`.
    pub fn delete_range(&mut self, space: Keyspace, range: KeyRange) {
        if range.is_empty() {
            return;
        }
        if space == Keyspace::Counter {
            self.retain_counters(|counter| !range.contains(counter));
        }
        self.operations += 1;
        self.log_mut(space).clear(range);
    }

    /// Adds `delta` to the number of keys in `space` that begin with `prefix`. Whoever puts or deletes such keys says so here; backends
    /// that count for themselves ignore it.
    pub fn count(&mut self, space: Keyspace, prefix: impl AsRef<[u8]>, delta: i64) {
        let (counters, prefix) = (self.counters.entry(space).or_default(), prefix.as_ref());
        match counters.get_mut(prefix) {
            Some(sum) => *sum += delta,
            None => drop(counters.insert(prefix.to_vec(), delta)),
        }
    }

    /// Whether the batch changes nothing.
    pub fn is_empty(&self) -> bool {
        self.operations == 0
            && self
                .counters
                .values()
                .flat_map(BTreeMap::values)
                .all(|delta| *delta == 0)
    }

    /// How many puts, deletes and range deletes were called for.
    pub fn operations(&self) -> usize {
        self.operations
    }

    /// Bytes of the keys and values in it, superseded ones included.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds everything of `later` behind what this batch holds already.
    pub fn absorb(&mut self, later: WriteBatch) {
        let WriteBatch {
            spaces,
            counters,
            bytes,
            operations,
            rooms: _,
        } = later;
        let total = self.operations + operations;
        for (position, log) in spaces.into_iter().enumerate() {
            let Some(log) = log else { continue };
            let space = Keyspace::ALL[position];
            // A cleared counter range takes deltas with it, so it goes the long way.
            if self.log(space).is_none() && space != Keyspace::Counter {
                *self.log_mut(space) = log;
                continue;
            }
            // Where something was read or a range cleared, entries may be superseded by what came before others.
            let SpaceBatch { ranges, entries } = match log.index.get() {
                Some(_) => log.into_batch(),
                None => SpaceBatch {
                    ranges: Vec::new(),
                    entries: log.log,
                },
            };
            for range in ranges {
                self.delete_range(space, range);
            }
            for (key, _) in entries.iter() {
                self.settle(space, key);
            }
            self.log_mut(space).append(&entries);
        }
        for (space, counters) in counters {
            for (prefix, delta) in counters {
                self.count(space, prefix, delta);
            }
        }
        self.bytes += bytes;
        self.operations = total;
    }

    /// Sorts what has only been put and removed so far, which committing it then does not; `helped` by a second thread, where it is much.
    pub(crate) fn sort(&mut self, helped: bool) {
        let logs = self.spaces.iter_mut().flatten();
        let logs: Vec<_> = logs.filter(|log| log.index.get().is_none()).collect();
        let sort = |logs: Vec<&mut SpaceLog>| {
            for log in logs {
                sort(&mut log.log);
            }
        };
        if helped {
            in_two(logs, |log| log.work(), sort);
        } else {
            sort(logs);
        }
    }

    /// The changes of each keyspace that has any, ready to be applied.
    pub fn into_spaces(self) -> (Vec<(Keyspace, SpaceBatch)>, Vec<(Keyspace, Vec<u8>, i64)>) {
        let logs: Vec<(Keyspace, SpaceLog)> = self
            .spaces
            .into_iter()
            .enumerate()
            .filter_map(|(position, log)| Some((Keyspace::ALL[position], log?)))
            .collect();
        let sort = |logs: Vec<(Keyspace, SpaceLog)>| -> Vec<(Keyspace, SpaceBatch)> {
            logs.into_iter()
                .map(|(space, log)| (space, log.into_batch()))
                .collect()
        };
        let (mut spaces, others) = in_two(logs, |(_, log)| log.work(), sort);
        spaces.extend(others.into_iter().flatten());
        spaces.sort_by_key(|(space, _)| space.index());
        let counters = self
            .counters
            .into_iter()
            .flat_map(|(space, counters)| {
                let deltas = counters.into_iter().filter(|(_, delta)| *delta != 0);
                deltas.map(move |(prefix, delta)| (space, prefix, delta))
            })
            .collect();
        (spaces, counters)
    }

    /// What the batch does to `key`: `None` where it leaves it alone.
    pub(super) fn staged(&self, space: Keyspace, key: &[u8]) -> Option<WriteOp<'_>> {
        let log = self.log(space)?;
        match log.index().get(key) {
            Some(&position) => Some(log.log.op(position)),
            None => log.is_cleared(key).then_some(WriteOp::Delete),
        }
    }

    /// Whether the batch has anything to say about `space`.
    pub(crate) fn touches(&self, space: Keyspace) -> bool {
        self.log(space).is_some()
    }

    /// Every key that the batch names in `space`, in the order of its changes.
    pub(crate) fn keys(&self, space: Keyspace) -> impl Iterator<Item = &[u8]> {
        self.log(space)
            .into_iter()
            .flat_map(|log| log.log.iter().map(|(key, _)| key))
    }

    /// Whether a range delete of this batch took `key`, as far as the view below is concerned.
    pub(super) fn is_cleared(&self, space: Keyspace, key: &[u8]) -> bool {
        self.log(space).is_some_and(|log| log.is_cleared(key))
    }

    /// The single-key changes within `range`, in the scan's order.
    pub(super) fn staged_range<'a>(
        &'a self,
        space: Keyspace,
        range: &KeyRange,
        direction: Direction,
    ) -> Box<dyn Iterator<Item = (&'a [u8], WriteOp<'a>)> + 'a> {
        let Some(log) = self.log(space) else {
            return Box::new(std::iter::empty());
        };
        let entries = log
            .index()
            .range::<[u8], _>(range_bounds(range))
            .map(|(key, &position)| (key.as_slice(), log.log.op(position)));
        match direction {
            Direction::Forward => Box::new(entries),
            Direction::Reverse => Box::new(entries.rev()),
        }
    }

    /// The counter delta for `prefix`.
    pub(super) fn counted(&self, space: Keyspace, prefix: &[u8]) -> i64 {
        let counters = self.counters.get(&space);
        counters
            .and_then(|counters| counters.get(prefix))
            .copied()
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(batch: &mut WriteBatch, key: &[u8], value: &[u8]) {
        batch.put(Keyspace::Set, key, value);
    }

    fn only_space(batch: WriteBatch) -> SpaceBatch {
        let (mut spaces, _) = batch.into_spaces();
        assert_eq!(spaces.len(), 1);
        spaces.remove(0).1
    }

    #[test]
    fn the_last_write_of_a_key_counts_with_and_without_an_index() {
        for indexed in [false, true] {
            let mut batch = WriteBatch::new();
            put(&mut batch, b"b", b"1");
            put(&mut batch, b"a", b"2");
            if indexed {
                assert!(batch.staged(Keyspace::Set, b"a").is_some());
            }
            batch.delete(Keyspace::Set, b"a");
            put(&mut batch, b"b", b"3");
            let entries = only_space(batch).entries;
            assert_eq!(
                entries.iter().collect::<Vec<_>>(),
                [(&b"a"[..], WriteOp::Delete), (b"b", WriteOp::Put(b"3"))]
            );
        }
    }

    #[test]
    fn a_range_delete_takes_earlier_puts_and_leaves_later_ones() {
        let mut batch = WriteBatch::new();
        put(&mut batch, b"a1", b"1");
        put(&mut batch, b"c", b"1");
        batch.delete_range(Keyspace::Set, KeyRange::prefix(b"a"));
        put(&mut batch, b"a2", b"2");
        batch.delete_range(Keyspace::Set, KeyRange::prefix(b"b"));
        assert_eq!(batch.staged(Keyspace::Set, b"a1"), Some(WriteOp::Delete));
        assert_eq!(batch.staged(Keyspace::Set, b"d"), None);
        let SpaceBatch { ranges, entries } = only_space(batch);
        assert_eq!(ranges, [KeyRange::new(b"a".to_vec(), Some(b"c".to_vec()))]);
        assert_eq!(
            entries.iter().map(|(key, _)| key).collect::<Vec<_>>(),
            [&b"a2"[..], b"c"]
        );
    }

    #[test]
    fn absorbing_a_cleared_counter_range_takes_the_deltas_before_it() {
        let mut first = WriteBatch::new();
        first.count(Keyspace::Set, b"p", 3);
        let mut second = WriteBatch::new();
        second.delete_range(Keyspace::Counter, KeyRange::prefix(b"p"));
        first.absorb(second);
        assert_eq!(first.counted(Keyspace::Set, b"p"), 0);
        assert_eq!(first.operations(), 1);
    }

    #[test]
    fn absorbing_keeps_the_order_of_the_two() {
        let mut first = WriteBatch::new();
        put(&mut first, b"a", b"1");
        first.count(Keyspace::Set, b"t", 2);
        let mut second = WriteBatch::new();
        second.delete_range(Keyspace::Set, KeyRange::all());
        put(&mut second, b"b", b"2");
        second.count(Keyspace::Set, b"t", -1);
        first.absorb(second);
        assert_eq!(first.counted(Keyspace::Set, b"t"), 1);
        let SpaceBatch { ranges, entries } = only_space(first);
        assert_eq!(ranges, [KeyRange::all()]);
        assert_eq!(
            entries.iter().collect::<Vec<_>>(),
            [(&b"b"[..], WriteOp::Put(b"2"))]
        );
    }
}
