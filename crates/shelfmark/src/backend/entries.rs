//! Changes of single keys in one buffer: a commit of a hundred thousand rows is a few allocations, not a million.

use std::fmt;

/// What a commit does to one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOp<'a> {
    /// Sets the value.
    Put(&'a [u8]),
    /// Removes the key, if it is there.
    Delete,
}

/// Keys with what a commit does to each, in an order.
#[derive(Clone, Default)]
pub struct Entries {
    /// Keys and values one behind the other.
    bytes: Vec<u8>,
    places: Vec<Place>,
    /// Whether they are known to be in the order of their keys, each once.
    sorted: bool,
}

/// Where in the buffer an entry is: the key from `at` on, the value behind it.
#[derive(Clone, Copy)]
struct Place {
    at: usize,
    key: usize,
    /// Or [`REMOVED`], which no length is: an `Option` would take up twice as much.
    value: usize,
}

/// Of a place: the key is removed.
const REMOVED: usize = usize::MAX;

/// Eight bytes of a key, and the position of its entry.
type SortKey = (u64, usize);

/// Up to so many keys are compared whole.
const FEW: usize = 8;

/// How much of what entries take up.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Room {
    bytes: usize,
    places: usize,
}

impl Entries {
    /// None, with room for so many.
    pub(super) fn with_room(room: Room) -> Self {
        Self {
            bytes: Vec::with_capacity(room.bytes),
            places: Vec::with_capacity(room.places),
            sorted: false,
        }
    }

    /// How much they take up.
    pub(super) fn room(&self) -> Room {
        Room {
            bytes: self.bytes.len(),
            places: self.places.len(),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Each key with what is done to it.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], WriteOp<'_>)> + ExactSizeIterator {
        self.places.iter().map(|place| self.entry(place))
    }

    pub(super) fn push(&mut self, key: &[u8], op: WriteOp<'_>) {
        let at = self.bytes.len();
        let value = match op {
            WriteOp::Put(value) => Some(value),
            WriteOp::Delete => None,
        };
        self.bytes.reserve(key.len() + value.map_or(0, <[u8]>::len));
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value.unwrap_or_default());
        self.places.push(Place {
            at,
            key: key.len(),
            value: value.map_or(REMOVED, <[u8]>::len),
        });
        self.sorted = false;
    }

    /// Adds all of `later`, in its order.
    pub(super) fn append(&mut self, later: &Entries) {
        let base = self.bytes.len();
        self.bytes.extend_from_slice(&later.bytes);
        let moved = later.places.iter().map(|place| Place {
            at: base + place.at,
            ..*place
        });
        self.places.extend(moved);
        self.sorted = false;
    }

    pub(super) fn op(&self, position: usize) -> WriteOp<'_> {
        self.entry(&self.places[position]).1
    }

    fn key(&self, place: &Place) -> &[u8] {
        &self.bytes[place.at..place.at + place.key]
    }

    fn entry(&self, place: &Place) -> (&[u8], WriteOp<'_>) {
        let end = place.at + place.key;
        let op = match place.value {
            REMOVED => WriteOp::Delete,
            len => WriteOp::Put(&self.bytes[end..end + len]),
        };
        (self.key(place), op)
    }

    /// Those at `positions` alone, in that order.
    pub(super) fn select(&mut self, positions: impl Iterator<Item = usize>) {
        self.places = positions.map(|position| self.places[position]).collect();
        self.sorted = false;
    }

    /// Whether they are known to be sorted.
    pub(super) fn is_sorted(&self) -> bool {
        self.sorted
    }

    /// By key, of each key the last one alone.
    pub(super) fn sort(&mut self) {
        if std::mem::replace(&mut self.sorted, true) {
            return;
        }
        let keys = || self.places.iter().map(|place| self.key(place));
        if keys().is_sorted_by(|one, two| one < two) {
            return;
        }
        let mut order: Vec<SortKey> = (0..self.places.len()).map(|position| (0, position)).collect();
        let repeated = self.sort_from(0, &mut order);
        let key = |position: usize| self.key(&self.places[position]);
        let last = order
            .iter()
            .enumerate()
            .filter(|&(n, &(_, position))| {
                !repeated
                    || order
                        .get(n + 1)
                        .is_none_or(|&(_, next)| key(position) != key(next))
            })
            .map(|(_, &(_, position))| self.places[position])
            .collect();
        self.places = last;
    }

    /// Sorts entries whose keys are the same up to `same` bytes, and tells whether a key is there more than once; its entries stay in their
    /// order. Keys of an index begin alike in large groups: eight bytes at a time are compared as one number, behind what a group has in common.
    fn sort_from(&self, same: usize, order: &mut [SortKey]) -> bool {
        let rest = |position: usize| &self.key(&self.places[position])[same..];
        let (first, others) = match order.split_first() {
            Some(((_, first), others)) if others.len() >= FEW => (rest(*first), others),
            _ => return self.sort_whole(same, order),
        };
        // Children of one parent often come in the order of their ids, also where those of several parents alternate.
        if order.is_sorted_by(|one, two| rest(one.1) < rest(two.1)) {
            return false;
        }
        let common = others.iter().fold(first.len(), |common, &(_, position)| {
            let pairs = first[..common].iter().zip(rest(position));
            pairs.take_while(|(one, two)| one == two).count()
        });
        if order.iter().any(|&(_, position)| rest(position).len() == common) {
            return self.sort_whole(same, order);
        }
        for (number, position) in &mut *order {
            *number = eight_bytes(&rest(*position)[common..]);
        }
        order.sort_unstable();
        let groups = order.chunk_by_mut(|one, two| one.0 == two.0);
        groups.fold(false, |repeated, group| {
            let of_group = group.len() > 1 && self.sort_from(same + common, group);
            repeated | of_group
        })
    }

    /// As [`Entries::sort_from`], for few keys, or such as begin others.
    fn sort_whole(&self, same: usize, order: &mut [SortKey]) -> bool {
        let rest = |position: usize| &self.key(&self.places[position])[same..];
        order.sort_unstable_by(|one, two| rest(one.1).cmp(rest(two.1)).then(one.1.cmp(&two.1)));
        order.windows(2).any(|pair| rest(pair[0].1) == rest(pair[1].1))
    }
}

/// The first eight bytes as a number in their order.
fn eight_bytes(key: &[u8]) -> u64 {
    match key.first_chunk() {
        Some(bytes) => u64::from_be_bytes(*bytes),
        None => {
            let mut bytes = [0; 8];
            bytes[..key.len()].copy_from_slice(key);
            u64::from_be_bytes(bytes)
        }
    }
}

impl PartialEq for Entries {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Entries {}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Few different ones, so that keys share beginnings, begin one another, and come again.
    fn part() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            vec(0_u8..2, 0..3),
            Just(vec![0; 8]),
            Just(b"warehouses of the north".to_vec()),
        ]
    }

    #[test]
    fn with_the_room_of_others_they_neither_grow_nor_lie_in_more() {
        let fill = |entries: &mut Entries| {
            for row in 0..1_000_u32 {
                entries.push(&row.to_be_bytes(), WriteOp::Put(b"value"));
            }
        };
        let mut others = Entries::default();
        fill(&mut others);
        let mut entries = Entries::with_room(others.room());
        let held = |entries: &Entries| (entries.bytes.capacity(), entries.places.capacity());
        let at_first = held(&entries);
        fill(&mut entries);
        assert_eq!(held(&entries), at_first);
        assert!(at_first.0 < others.bytes.capacity() && at_first.1 < others.places.capacity());
        assert_eq!(entries, others);
    }

    proptest! {
        #[test]
        fn sorted_they_are_what_a_map_holds(
            entries in vec((vec(part(), 0..6), proptest::option::of(vec(any::<u8>(), 0..3))), 0..300),
            prefix in vec(any::<u8>(), 0..4),
        ) {
            let mut found = Entries::default();
            let mut expected = BTreeMap::new();
            for (key, value) in entries {
                let key = [prefix.clone(), key.concat()].concat();
                found.push(&key, value.as_deref().map_or(WriteOp::Delete, WriteOp::Put));
                expected.insert(key, value);
            }
            found.sort();
            let found: Vec<_> = found
                .iter()
                .map(|(key, op)| match op {
                    WriteOp::Put(value) => (key.to_vec(), Some(value.to_vec())),
                    WriteOp::Delete => (key.to_vec(), None),
                })
                .collect();
            prop_assert_eq!(found, Vec::from_iter(expected));
        }
    }
}
