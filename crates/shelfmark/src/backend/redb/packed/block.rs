//! The bytes of one block.
//!
//! An envelope under the fence, whose body is the number of entries (u16, big-endian) and each entry in the order of keys: how many bytes its key
//! shares with the key before, how many follow, how many the value has (LEB128 each), then those of key and value.

use std::ops::Range;

use super::BLOCK;
use crate::backend::Keyspace;
use crate::envelope;
use crate::error::{Error, Result};

/// Bytes of the number of entries.
const COUNT: usize = 2;
/// So many bytes of an entry are lengths, at least.
const LENGTHS: usize = 3;
// A block that has more than one entry is never so full that they cannot be numbered.
const _: () = assert!(BLOCK / LENGTHS < u16::MAX as usize);
/// A row whose entries would be larger than this, all written out, was never stored.
const MOST: usize = 4 << 20;

/// The entries of a block, taken apart. Its buffers serve one block after the other.
#[derive(Default)]
pub(super) struct Block {
    /// Keys and values, one behind the other.
    bytes: Vec<u8>,
    places: Vec<Place>,
    /// The entries as they were stored.
    stored: Vec<u8>,
}

/// Where an entry is: the key from `at` on, the value behind it.
struct Place {
    at: usize,
    key: usize,
    value: usize,
    /// Where it ends as it was stored.
    stored_end: usize,
}

impl Block {
    /// Takes the row apart that is stored under `fence`.
    pub(super) fn read(&mut self, space: Keyspace, fence: &[u8], row: &[u8]) -> Result<()> {
        self.clear();
        let (count, mut rest) = open(space, fence, row)?;
        // What keys share makes none longer than all that is stored.
        if count > 1 && count.saturating_mul(rest.len()) > MOST {
            return Err(torn(space, fence));
        }
        self.places.reserve(count);
        self.bytes.reserve(3 * BLOCK);
        self.stored.extend_from_slice(rest);
        let mut before = 0..0;
        for _ in 0..count {
            let [shared, own, value] = take_lengths(&mut rest).ok_or_else(|| torn(space, fence))?;
            let taken = own
                .checked_add(value)
                .and_then(|bytes| rest.split_at_checked(bytes));
            let (Some((taken, behind)), true) = (taken, shared <= before.len()) else {
                return Err(torn(space, fence));
            };
            rest = behind;
            let at = self.bytes.len();
            self.bytes.extend_from_within(before.start..before.start + shared);
            self.bytes.extend_from_slice(taken);
            let key = shared + own;
            // Keys rise, and begin at the fence: what is shared is all that can be.
            let rises = match self.places.len() {
                0 => self.bytes[at..at + key] >= *fence,
                _ => {
                    self.bytes[before.start + shared..before.end].first()
                        < self.bytes[at + shared..at + key].first()
                }
            };
            if !rises {
                return Err(misplaced(space, fence));
            }
            before = at..at + key;
            self.places.push(Place {
                at,
                key,
                value,
                stored_end: self.stored.len() - rest.len(),
            });
        }
        if rest.is_empty() {
            Ok(())
        } else {
            Err(torn(space, fence))
        }
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.places.clear();
        self.stored.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn key(&self, position: usize) -> &[u8] {
        let Place { at, key, .. } = self.places[position];
        &self.bytes[at..at + key]
    }

    /// Key and value.
    pub(super) fn entry(&self, position: usize) -> (&[u8], &[u8]) {
        let Place { at, key, value, .. } = self.places[position];
        let (key, rest) = self.bytes[at..at + key + value].split_at(key);
        (key, rest)
    }

    /// The bytes of entries as they were stored, each of which but the first says what it shares with the one before.
    fn stored(&self, entries: Range<usize>) -> &[u8] {
        let end = |count: usize| {
            count
                .checked_sub(1)
                .map_or(0, |last| self.places[last].stored_end)
        };
        &self.stored[end(entries.start)..end(entries.end)]
    }

    /// How many entries sort before `key`.
    pub(super) fn before(&self, key: &[u8]) -> usize {
        self.before_from(0, key)
    }

    /// How many entries from one on sort before `key`.
    pub(super) fn before_from(&self, from: usize, key: &[u8]) -> usize {
        self.places[from..].partition_point(|place| self.bytes[place.at..place.at + place.key] < *key)
    }
}

/// How many entries a row has, and their bytes.
fn open<'r>(space: Keyspace, fence: &[u8], row: &'r [u8]) -> Result<(usize, &'r [u8])> {
    let body = envelope::open(space, fence, row)?;
    match body.split_first_chunk::<COUNT>() {
        Some((&count, entries)) => Ok((usize::from(u16::from_be_bytes(count)), entries)),
        None => Err(torn(space, fence)),
    }
}

/// How many entries a row has.
pub(super) fn count(space: Keyspace, fence: &[u8], row: &[u8]) -> Result<usize> {
    open(space, fence, row).map(|(count, _)| count)
}

/// What a block is that has entries of another place, as where a write of it or of its neighbour was lost.
pub(super) fn misplaced(space: Keyspace, fence: &[u8]) -> Error {
    Error::corrupt(space, fence, "a block with entries of another place")
}

fn torn(space: Keyspace, fence: &[u8]) -> Error {
    Error::corrupt(space, fence, "a block that is not whole")
}

/// Puts the entries of a block together, in the order of their keys.
pub(super) struct Builder {
    body: Vec<u8>,
    count: u16,
    last: Vec<u8>,
}

impl Builder {
    pub(super) fn new() -> Self {
        let mut body = Vec::with_capacity(BLOCK + BLOCK / 4);
        body.extend_from_slice(&[0; COUNT]);
        Self {
            body,
            count: 0,
            last: Vec::new(),
        }
    }

    /// Adds an entry, unless that would make more than `limit` bytes of the block, about. One entry is always taken.
    pub(super) fn push(&mut self, key: &[u8], value: &[u8], limit: usize) -> bool {
        let shared = if self.count == 0 {
            0
        } else {
            common(&self.last, key)
        };
        let own = &key[shared..];
        let full = self.body.len() + LENGTHS + own.len() + value.len() > limit;
        if full && self.count > 0 {
            return false;
        }
        put_lengths(&mut self.body, [shared, own.len(), value.len()]);
        self.body.extend_from_slice(own);
        self.body.extend_from_slice(value);
        self.last.truncate(shared);
        self.last.extend_from_slice(own);
        self.count += 1;
        true
    }

    /// Adds entries of a block, all or some of the first of them, and tells how many. Most go as they were stored.
    pub(super) fn push_all(&mut self, block: &Block, entries: Range<usize>, limit: usize) -> usize {
        let Range { start, end } = entries;
        if start == end {
            return 0;
        }
        let (key, value) = block.entry(start);
        if !self.push(key, value, limit) {
            return 0;
        }
        let rest = block.stored(start + 1..end);
        if self.body.len() + rest.len() <= limit {
            self.body.extend_from_slice(rest);
            self.count += (end - start - 1) as u16;
            self.last.clear();
            self.last.extend_from_slice(block.key(end - 1));
            return end - start;
        }
        let added = (start + 1..end)
            .take_while(|&position| {
                let (key, value) = block.entry(position);
                self.push(key, value, limit)
            })
            .count();
        1 + added
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Drops what was added.
    pub(super) fn reset(&mut self) {
        self.body.truncate(COUNT);
        self.count = 0;
    }

    /// The row of the block that has this fence, and the key of its last entry stays known. The next entry begins another block.
    pub(super) fn finish(&mut self, space: Keyspace, fence: &[u8]) -> Vec<u8> {
        self.body[..COUNT].copy_from_slice(&self.count.to_be_bytes());
        let row = envelope::seal(space, fence, &self.body);
        self.reset();
        row
    }

    /// The shortest fence between the last entry that was added and `key`, which sorts behind it.
    pub(super) fn fence_before(&self, key: &[u8]) -> Vec<u8> {
        let len = common(&self.last, key) + 1;
        key[..len.min(key.len())].to_vec()
    }
}

/// The bytes that an entry takes behind `before`, about.
pub(super) fn size_behind(before: &[u8], key: &[u8], value: &[u8]) -> usize {
    LENGTHS + key.len() - common(before, key) + value.len()
}

/// How many bytes the two begin with alike.
pub(super) fn common(one: &[u8], two: &[u8]) -> usize {
    const WORD: usize = 8;
    let words = one
        .chunks_exact(WORD)
        .zip(two.chunks_exact(WORD))
        .take_while(|(one, two)| one == two)
        .count();
    let start = words * WORD;
    let rest = one[start..].iter().zip(&two[start..]);
    start + rest.take_while(|(one, two)| one == two).count()
}

fn put_lengths(body: &mut Vec<u8>, lengths: [usize; LENGTHS]) {
    // Nearly always.
    if lengths.iter().all(|&length| length < 0x80) {
        return body.extend_from_slice(&lengths.map(|length| length as u8));
    }
    for mut length in lengths {
        while length >= 0x80 {
            body.push(length as u8 | 0x80);
            length >>= 7;
        }
        body.push(length as u8);
    }
}

fn take_lengths(rest: &mut &[u8]) -> Option<[usize; LENGTHS]> {
    let (short, behind) = rest.split_first_chunk::<LENGTHS>()?;
    if short.iter().all(|&length| length < 0x80) {
        *rest = behind;
        return Some(short.map(usize::from));
    }
    let mut lengths = [0; LENGTHS];
    for length in &mut lengths {
        *length = take_length(rest)?;
    }
    Some(lengths)
}

fn take_length(rest: &mut &[u8]) -> Option<usize> {
    let mut length = 0_usize;
    for shift in (0..usize::BITS).step_by(7) {
        let (&byte, behind) = rest.split_first()?;
        *rest = behind;
        length |= usize::from(byte & 0x7F).checked_shl(shift)?;
        if byte < 0x80 {
            return Some(length);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    use super::*;

    const SPACE: Keyspace = Keyspace::SetByName;

    fn built(entries: &BTreeMap<Vec<u8>, Vec<u8>>, fence: &[u8]) -> Vec<u8> {
        let mut builder = Builder::new();
        for (key, value) in entries {
            assert!(builder.push(key, value, usize::MAX));
        }
        builder.finish(SPACE, fence)
    }

    /// Keys that begin alike, some of which begin another.
    fn entries() -> impl Strategy<Value = BTreeMap<Vec<u8>, Vec<u8>>> {
        let key =
            vec(prop_oneof![vec(0_u8..3, 0..4), Just(vec![7; 150])], 0..4).prop_map(|parts| parts.concat());
        btree_map(key, vec(any::<u8>(), 0..200), 0..40)
    }

    proptest! {
        #[test]
        fn what_is_built_is_read(entries in entries(), probe in vec(0_u8..3, 0..4), cut in 0_usize..4) {
            // A fence is not behind the first key.
            let fence = entries.keys().next().map_or(&[][..], |key| &key[..cut.min(key.len())]).to_vec();
            let row = built(&entries, &fence);
            let mut block = Block::default();
            // What was in the buffers before does not matter.
            block.read(SPACE, &fence, &row).unwrap();
            block.read(SPACE, &fence, &row).unwrap();
            let owned = |(key, value): (&[u8], &[u8])| (key.to_vec(), value.to_vec());
            let read: Vec<_> = (0..block.len()).map(|position| owned(block.entry(position))).collect();
            prop_assert_eq!(count(SPACE, &fence, &row).unwrap(), entries.len());
            prop_assert_eq!(block.before(&probe), entries.range(..probe).count());
            prop_assert_eq!(read, Vec::from_iter(entries));
        }

        /// Entries that go over as they were stored make the row that they make one by one.
        #[test]
        fn what_goes_over_as_it_was_stored_is_the_same(entries in entries(), cuts in vec(0_usize..40, 2), limit in 0_usize..4_000) {
            let row = built(&entries, b"");
            let mut block = Block::default();
            block.read(SPACE, b"", &row).unwrap();
            let len = block.len();
            let (one, two) = (cuts[0].min(len), cuts[1].min(len));
            let ranges = [0..one.min(two), one.max(two)..len];
            let (mut stored, mut single) = (Builder::new(), Builder::new());
            for range in ranges {
                let added = stored.push_all(&block, range.clone(), limit);
                let pushed = range
                    .take_while(|&position| {
                        let (key, value) = block.entry(position);
                        single.push(key, value, limit)
                    })
                    .count();
                prop_assert_eq!(added, pushed);
                prop_assert_eq!(stored.fence_before(&[9; 200]), single.fence_before(&[9; 200]));
            }
            prop_assert_eq!(stored.finish(SPACE, b""), single.finish(SPACE, b""));
        }

        #[test]
        fn a_body_that_is_not_whole_is_corrupt(entries in entries(), cut in 0_usize..400, flips in vec((0_usize..400, any::<u8>()), 0..3)) {
            let row = built(&entries, b"f");
            let mut body = envelope::open(SPACE, b"f", &row).unwrap().to_vec();
            body.truncate(body.len().saturating_sub(cut));
            for (at, bits) in flips {
                if let Some(byte) = body.get_mut(at) {
                    *byte ^= bits;
                }
            }
            // Under a right checksum: whatever comes out, nothing panics.
            let row = envelope::seal(SPACE, b"f", &body);
            let mut block = Block::default();
            if let Err(error) = block.read(SPACE, b"f", &row) {
                prop_assert_eq!(error.kind(), crate::ErrorKind::Corrupt);
            }
        }
    }

    /// Some bytes that would become very many.
    #[test]
    fn entries_that_share_far_too_much_are_refused_unread() {
        let count = 60_000_u16;
        let mut body = count.to_be_bytes().to_vec();
        for shared in 0..usize::from(count) {
            put_lengths(&mut body, [shared, 1, 0]);
            body.push(b'x');
        }
        let row = envelope::seal(SPACE, b"", &body);
        let mut block = Block::default();
        let error = block.read(SPACE, b"", &row).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Corrupt);
        assert_eq!(block.bytes.capacity(), 0);
    }

    #[test]
    fn the_layout_is_part_of_the_format() {
        let mut builder = Builder::new();
        for (key, value) in [
            (&b"order"[..], &b"Order"[..]),
            (b"orders", b""),
            (b"p", &[7; 200]),
        ] {
            assert!(builder.push(key, value, usize::MAX));
        }
        let row = builder.finish(SPACE, b"or");
        let body = [
            &b"\x00\x03\x00\x05\x05orderOrder\x05\x01\x00s\x00\x01\xC8\x01p"[..],
            &[7; 200],
        ]
        .concat();
        assert_eq!(envelope::open(SPACE, b"or", &row).unwrap(), body);
    }

    #[test]
    fn entries_in_no_order_or_before_the_fence_are_corrupt() {
        let read = |fence: &[u8], body: &[u8]| {
            let row = envelope::seal(SPACE, fence, body);
            Block::default().read(SPACE, fence, &row)
        };
        let in_order = b"\x00\x02\x00\x02\x00ab\x01\x01\x00c";
        read(b"a", in_order).unwrap();
        for (fence, body) in [
            (&b"b"[..], &in_order[..]),
            (b"a", b"\x00\x02\x00\x02\x00ac\x01\x01\x00b"),
            (b"a", b"\x00\x02\x00\x02\x00ab\x02\x00\x00"),
            (b"a", b"\x00\x02\x00\x02\x00ab\x01\x00\x00"),
        ] {
            let error = read(fence, body).unwrap_err();
            assert!(error.to_string().contains("another place"), "{body:?}: {error}");
        }
    }

    #[test]
    fn a_fence_is_short_and_between() {
        let mut builder = Builder::new();
        for (last, next, fence) in [
            (&b"orders_1"[..], &b"orders_2"[..], &b"orders_2"[..]),
            (b"apple", b"banana split", b"b"),
            (b"app", b"apple pie", b"appl"),
            (b"", b"a", b"a"),
        ] {
            assert!(builder.push(last, b"", usize::MAX));
            builder.finish(SPACE, b"");
            assert_eq!(builder.fence_before(next), fence);
            assert!(last < fence && fence <= next);
        }
    }

    #[test]
    fn a_limit_keeps_an_entry_out_but_never_the_first() {
        let mut builder = Builder::new();
        assert!(builder.push(b"a", &[0; 500], 100));
        assert!(!builder.push(b"b", b"", 100));
        assert!(builder.push(b"b", b"", 600));
    }
}
