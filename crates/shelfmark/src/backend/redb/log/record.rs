//! Records of the log: one commit each.
//!
//! Layout, integers big-endian: the log's id (u64), the record's number (u64), the length of the payload (u32), xxh3-64 of these 20 bytes and the payload, the payload
//! with zeros up to a multiple of 512 bytes. The payload: per keyspace its name, its ranges, its entries; then the counters' deltas. Each list is preceded by how many there are
//! (u32), each string of bytes by its length (u32).

use xxhash_rust::xxh3::Xxh3;

use crate::backend::{KeyRange, Keyspace, SpaceBatch, WriteBatch, WriteOp};

/// Records begin at multiples of this, as disks write no less.
pub(super) const SECTOR: usize = 512;
const HEADER: usize = 28;
const CHECKED: usize = 20;

const DELETE: u8 = 0;
const PUT: u8 = 1;
const END_OF_SPACE: u8 = 0;
const END_AT: u8 = 1;

/// A record that verified.
pub(super) struct Found<'a> {
    pub(super) number: u64,
    pub(super) payload: &'a [u8],
    /// With its padding.
    pub(super) len: usize,
}

fn checksum(header: &[u8], payload: &[u8]) -> [u8; 8] {
    let mut hasher = Xxh3::new();
    hasher.update(header);
    hasher.update(payload);
    hasher.digest().to_be_bytes()
}

/// The record of a batch, but for its header; `None` where it is too long for one.
pub(super) fn encode(
    spaces: &[(Keyspace, SpaceBatch)],
    deltas: &[(Keyspace, Vec<u8>, i64)],
) -> Option<Vec<u8>> {
    let mut out = Writer(Vec::with_capacity(room(spaces, deltas)));
    out.0.resize(HEADER, 0);
    out.count(spaces.len())?;
    for (space, SpaceBatch { ranges, entries }) in spaces {
        out.bytes(space.name().as_bytes())?;
        out.count(ranges.len())?;
        for range in ranges {
            out.bytes(&range.start)?;
            match &range.end {
                None => out.0.push(END_OF_SPACE),
                Some(end) => {
                    out.0.push(END_AT);
                    out.bytes(end)?;
                }
            }
        }
        out.count(entries.len())?;
        for (key, op) in entries.iter() {
            out.bytes(key)?;
            match op {
                WriteOp::Delete => out.0.push(DELETE),
                WriteOp::Put(value) => {
                    out.0.push(PUT);
                    out.bytes(value)?;
                }
            }
        }
    }
    out.count(deltas.len())?;
    for (space, prefix, delta) in deltas {
        out.bytes(space.name().as_bytes())?;
        out.bytes(prefix)?;
        out.0.extend_from_slice(&delta.to_be_bytes());
    }
    let Writer(mut record) = out;
    record.resize(record.len().next_multiple_of(SECTOR), 0);
    u32::try_from(record.len()).ok()?;
    Some(record)
}

/// About the bytes of a record.
fn room(spaces: &[(Keyspace, SpaceBatch)], deltas: &[(Keyspace, Vec<u8>, i64)]) -> usize {
    let of_entry = |(key, op): (&[u8], WriteOp<'_>)| match op {
        WriteOp::Put(value) => key.len() + value.len() + 9,
        WriteOp::Delete => key.len() + 5,
    };
    let entries = spaces.iter().flat_map(|(_, space)| space.entries.iter());
    entries.map(of_entry).sum::<usize>() + deltas.len() * 64 + spaces.len() * 64 + SECTOR
}

/// Completes what [`encode`] began.
pub(super) fn finish(record: &mut [u8], id: u64, number: u64) {
    let Some((header, payload)) = record.split_first_chunk_mut::<HEADER>() else {
        return;
    };
    header[..8].copy_from_slice(&id.to_be_bytes());
    header[8..16].copy_from_slice(&number.to_be_bytes());
    header[16..CHECKED].copy_from_slice(&(payload.len() as u32).to_be_bytes());
    let sum = checksum(&header[..CHECKED], payload);
    header[CHECKED..].copy_from_slice(&sum);
}

/// The record of the log `id` that begins with `bytes`, if a whole one does.
pub(super) fn find(bytes: &[u8], id: u64) -> Option<Found<'_>> {
    let (header, rest) = bytes.split_first_chunk::<HEADER>()?;
    let number = |at: usize| Some(u64::from_be_bytes(header.get(at..at + 8)?.try_into().ok()?));
    if number(0)? != id {
        return None;
    }
    let len = u32::from_be_bytes(header.get(16..CHECKED)?.try_into().ok()?) as usize;
    let payload = rest.get(..len)?;
    (header[CHECKED..] == checksum(&header[..CHECKED], payload)).then_some(Found {
        number: number(8)?,
        payload,
        len: HEADER + len,
    })
}

/// The batch in a payload; `None` where it holds what no version of this crate that could open the file wrote.
pub(super) fn decode(payload: &[u8]) -> Option<WriteBatch> {
    let mut from = Reader(payload);
    let mut batch = WriteBatch::new();
    for _ in 0..from.count()? {
        let space = from.space()?;
        for _ in 0..from.count()? {
            let start = from.bytes()?.to_vec();
            let end = match from.byte()? {
                END_OF_SPACE => None,
                END_AT => Some(from.bytes()?.to_vec()),
                _ => return None,
            };
            batch.delete_range(space, KeyRange::new(start, end));
        }
        for _ in 0..from.count()? {
            let key = from.bytes()?.to_vec();
            match from.byte()? {
                DELETE => batch.delete(space, key),
                PUT => batch.put(space, key, from.bytes()?),
                _ => return None,
            }
        }
    }
    for _ in 0..from.count()? {
        let space = from.space()?;
        let prefix = from.bytes()?.to_vec();
        batch.count(space, prefix, i64::from_be_bytes(from.array()?));
    }
    Some(batch)
}

struct Writer(Vec<u8>);

impl Writer {
    fn count(&mut self, count: usize) -> Option<()> {
        self.0
            .extend_from_slice(&u32::try_from(count).ok()?.to_be_bytes());
        Some(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Option<()> {
        self.count(bytes.len())?;
        self.0.extend_from_slice(bytes);
        Some(())
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn count(&mut self) -> Option<usize> {
        self.array().map(|bytes| u32::from_be_bytes(bytes) as usize)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.count()?;
        self.take(len)
    }

    fn space(&mut self) -> Option<Keyspace> {
        let name = self.bytes()?;
        Keyspace::ALL
            .iter()
            .copied()
            .find(|space| space.name().as_bytes() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> WriteBatch {
        let mut batch = WriteBatch::new();
        batch.put(Keyspace::Set, b"a", vec![7; 600]);
        batch.put(Keyspace::Set, b"b", Vec::new());
        batch.delete(Keyspace::Set, b"c");
        batch.delete_range(Keyspace::SetByName, KeyRange::prefix(b"x"));
        batch.delete_range(Keyspace::SetByName, KeyRange::new(b"z".to_vec(), None));
        batch.count(Keyspace::Set, b"p", -3);
        batch
    }

    #[test]
    fn a_record_gives_its_batch_back_and_fills_whole_sectors() {
        let (spaces, deltas) = batch().into_spaces();
        let mut record = encode(&spaces, &deltas).unwrap();
        assert_eq!(record.len() % SECTOR, 0);
        finish(&mut record, 5, 9);
        let found = find(&record, 5).unwrap();
        assert_eq!((found.number, found.len), (9, record.len()));
        assert_eq!(decode(found.payload).unwrap().into_spaces(), (spaces, deltas));
        assert!(find(&record, 6).is_none(), "of another log");
    }

    #[test]
    fn the_layout_stays_what_files_of_earlier_versions_have() {
        let mut batch = WriteBatch::new();
        batch.put(Keyspace::Set, vec![1, 2], vec![3]);
        batch.delete_range(Keyspace::SetByName, KeyRange::new(vec![4], Some(vec![5])));
        batch.count(Keyspace::Set, vec![6], -1);
        let (spaces, deltas) = batch.into_spaces();
        let mut record = encode(&spaces, &deltas).unwrap();
        finish(&mut record, 7, 8);
        let text: String = record.iter().map(|byte| format!("{byte:02x}")).collect();
        let header = "00000000000000070000000000000008000001e4";
        let set = "00000003736574000000000000000100000002010201".to_owned() + "0000000103";
        let by_name = "0000000b7365745f62795f6e616d65000000010000000104010000000105".to_owned() + "00000000";
        let counter = "00000001000000037365740000000106ffffffffffffffff";
        assert_eq!(&text[..40], header);
        assert_eq!(
            text[56..].trim_end_matches('0'),
            format!("00000002{set}{by_name}{counter}")
        );
    }

    #[test]
    fn no_changed_byte_and_no_cut_passes() {
        let (spaces, deltas) = batch().into_spaces();
        let mut record = encode(&spaces, &deltas).unwrap();
        finish(&mut record, 5, 9);
        for at in 0..record.len() {
            let mut changed = record.clone();
            changed[at] ^= 0x40;
            assert!(find(&changed, 5).is_none(), "byte {at}");
            assert!(find(&record[..at], 5).is_none(), "cut at {at}");
        }
    }

    #[test]
    fn no_payload_makes_the_decoder_panic() {
        let (spaces, deltas) = batch().into_spaces();
        let record = encode(&spaces, &deltas).unwrap();
        let payload = &record[HEADER..];
        for at in 0..payload.len() {
            let _ = decode(&payload[..at]);
            let mut changed = payload.to_vec();
            changed[at] ^= 0xFF;
            let _ = decode(&changed);
        }
    }
}
