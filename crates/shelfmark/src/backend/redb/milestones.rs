//! Where the rows of a range lie that pages by offset passed over, noted beside a state: a later such page of the range begins near its own.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::backend::{Direction, KeyRange, Keyspace};

/// Every so many rows of a range one is noted, from the end that is walked from.
pub(super) const STRIDE: u64 = 256;
/// At most so many bytes are noted beside a state, as of some 10,000 usual keys: of a range of 2.5 million rows.
const MOST_BYTES: usize = 1 << 20;
/// What a key takes beside its bytes, about.
const OVERHEAD: usize = 40;

/// The rows of a range from one end on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Way {
    pub(super) space: Keyspace,
    pub(super) range: KeyRange,
    pub(super) direction: Direction,
}

/// What is noted of one state, which never changes.
#[derive(Default)]
pub(super) struct Milestones(Mutex<Noted>);

#[derive(Default)]
struct Noted {
    /// The keys of the rows of numbers `STRIDE`, 2 × `STRIDE` and so on, from 0.
    ways: HashMap<Way, Vec<Vec<u8>>>,
    bytes: usize,
}

impl Milestones {
    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last row noted that is not behind the row of number `row`: its number and its key.
    pub(super) fn before(&self, way: &Way, row: u64) -> Option<(u64, Vec<u8>)> {
        let noted = self.lock();
        let keys = noted.ways.get(way)?;
        let strides = (row / STRIDE).min(keys.len() as u64);
        let key = keys.get(usize::try_from(strides.checked_sub(1)?).ok()?)?;
        Some((strides * STRIDE, key.clone()))
    }

    /// Notes the keys of the rows that follow the row of number `from`, a stride apart.
    pub(super) fn note(&self, way: Way, from: u64, keys: Vec<Vec<u8>>) {
        let mut noted = self.lock();
        let Noted { ways, bytes } = &mut *noted;
        let known = ways.get(&way).map_or(0, Vec::len);
        // Another reader may have been further, never less far: nothing is forgotten.
        let Some(already) = known.checked_sub((from / STRIDE) as usize) else {
            return;
        };
        let mut fresh = keys.into_iter().skip(already).peekable();
        if fresh.peek().is_none() {
            return;
        }
        if known == 0 {
            *bytes += way.range.start.len() * 2 + OVERHEAD;
        }
        let keys = ways.entry(way).or_default();
        for key in fresh {
            if *bytes + key.len() + OVERHEAD > MOST_BYTES {
                break;
            }
            *bytes += key.len() + OVERHEAD;
            keys.push(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(start: u8) -> Way {
        Way {
            space: Keyspace::SetByName,
            range: KeyRange::prefix(&[start]),
            direction: Direction::Forward,
        }
    }

    fn keys(numbers: std::ops::Range<u64>) -> Vec<Vec<u8>> {
        numbers.map(|number| number.to_be_bytes().to_vec()).collect()
    }

    #[test]
    fn the_nearest_before_is_found_and_nothing_is_noted_twice() {
        let milestones = Milestones::default();
        let before = |row| milestones.before(&way(1), row).map(|(row, _)| row);
        assert_eq!(before(u64::MAX), None);
        milestones.note(way(1), 0, keys(1..3));
        milestones.note(way(1), 0, keys(1..4));
        milestones.note(way(1), 2 * STRIDE, keys(3..5));
        // What would leave a gap is not taken.
        milestones.note(way(1), 9 * STRIDE, keys(10..12));
        for (row, expected) in [
            (STRIDE - 1, None),
            (STRIDE, Some(STRIDE)),
            (3 * STRIDE - 1, Some(2 * STRIDE)),
            (u64::MAX, Some(4 * STRIDE)),
        ] {
            assert_eq!(before(row), expected);
        }
        for number in 1..5_u64 {
            let key = number.to_be_bytes().to_vec();
            assert_eq!(
                milestones.before(&way(1), number * STRIDE),
                Some((number * STRIDE, key))
            );
        }
        assert_eq!(milestones.before(&way(2), u64::MAX), None);
    }

    #[test]
    fn what_is_noted_is_bounded() {
        let milestones = Milestones::default();
        for start in 0..=u8::MAX {
            milestones.note(way(start), 0, keys(1..1_000));
        }
        let noted = milestones.lock();
        let held: usize = noted
            .ways
            .values()
            .flatten()
            .map(|key| key.len() + OVERHEAD)
            .sum();
        assert!(held <= noted.bytes && noted.bytes <= MOST_BYTES + 256 * (OVERHEAD + 2));
        assert!(held > MOST_BYTES / 2);
    }
}
