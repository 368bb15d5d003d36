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
}

/// Where in the buffer an entry is: the key from `at` on, the value behind it.
#[derive(Clone, Copy)]
struct Place {
    at: usize,
    key: usize,
    /// `None`: the key is removed.
    value: Option<usize>,
}

/// A key by its bytes behind what all keys begin with, as far as they fit; equal ones by all, then by their positions.
type SortKey = (u64, usize);

impl Entries {
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
            value: value.map(<[u8]>::len),
        });
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
            Some(len) => WriteOp::Put(&self.bytes[end..end + len]),
            None => WriteOp::Delete,
        };
        (self.key(place), op)
    }

    /// Those at `positions` alone, in that order.
    pub(super) fn select(&mut self, positions: impl Iterator<Item = usize>) {
        self.places = positions.map(|position| self.places[position]).collect();
    }

    /// By key, of each key the last one alone.
    pub(super) fn sort(&mut self) {
        let keys = || self.places.iter().map(|place| self.key(place));
        if keys().is_sorted_by(|one, two| one < two) {
            return;
        }
        let first = keys().next().unwrap_or_default();
        let common = keys().fold(first.len(), |common, key| {
            let same = first[..common]
                .iter()
                .zip(key)
                .take_while(|(one, two)| one == two);
            same.count()
        });
        let mut sorted: Vec<SortKey> = keys()
            .enumerate()
            .map(|(position, key)| (head(&key[common..]), position))
            .collect();
        let rest = |position: usize| &self.key(&self.places[position])[common..];
        sorted.sort_unstable_by(|one, two| {
            one.0
                .cmp(&two.0)
                .then_with(|| rest(one.1).cmp(rest(two.1)))
                .then(one.1.cmp(&two.1))
        });
        let last = sorted
            .iter()
            .enumerate()
            .filter(|&(n, &(_, position))| {
                sorted
                    .get(n + 1)
                    .is_none_or(|&(_, next)| rest(position) != rest(next))
            })
            .map(|(_, &(_, position))| self.places[position])
            .collect();
        self.places = last;
    }
}

/// The first eight bytes as a number in their order.
fn head(key: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let len = key.len().min(bytes.len());
    bytes[..len].copy_from_slice(&key[..len]);
    u64::from_be_bytes(bytes)
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

    proptest! {
        #[test]
        fn sorted_they_are_what_a_map_holds(
            entries in vec((vec(0_u8..3, 0..12), proptest::option::of(vec(any::<u8>(), 0..3))), 0..60),
            prefix in vec(any::<u8>(), 0..4),
        ) {
            let mut found = Entries::default();
            let mut expected = BTreeMap::new();
            for (key, value) in entries {
                let key = [prefix.as_slice(), &key].concat();
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
