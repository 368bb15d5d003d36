//! Rows that no catalog wrote, under checksums that are right.

use shelfmark::backend::Keyspace;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::fixture::{Fixture, typed};
use super::take;
use crate::storage::Rows;

/// The format of values in their envelopes.
const FORMAT: u8 = 1;

/// The value that holds `body` under `key`: format byte, checksum, body. Without it every changed byte would end at the checksum.
pub(super) fn sealed(space: Keyspace, key: &[u8], body: &[u8]) -> Vec<u8> {
    let seed = xxh3_64_with_seed(key, u64::from(FORMAT) << 8 | space.index() as u64);
    let checksum = xxh3_64_with_seed(body, seed) as u32;
    let mut value = vec![FORMAT];
    value.extend_from_slice(&checksum.to_be_bytes());
    value.extend_from_slice(body);
    value
}

/// One row of a sound catalog has another body: the first byte says of which keyspace, the second which row.
pub fn record(bytes: &[u8]) {
    let mut body = bytes;
    let [space, row] = take(&mut body);
    let fixture = Fixture::get();
    let spaces = fixture.spaces();
    let space = spaces[usize::from(space) % spaces.len()];
    let keys: Vec<&Vec<u8>> = (fixture.rows.keys())
        .filter(|(of, _)| *of == space)
        .map(|(_, key)| key)
        .collect();
    let key = keys[usize::from(row) % keys.len()];
    let mut rows = fixture.rows.clone();
    rows.insert((space, key.clone()), sealed(space, key, body));
    consult(fixture, &rows);
}

/// A sound catalog has one row more, or a row under another key: the first byte says in which keyspace, the second whose value it has and whether that row stays.
pub fn key(bytes: &[u8]) {
    let mut key = bytes;
    let [space, row] = take(&mut key);
    let fixture = Fixture::get();
    let space = Keyspace::ALL[usize::from(space) % Keyspace::ALL.len()];
    let mut rows = fixture.rows.clone();
    let own: Vec<_> = (fixture.rows.iter())
        .filter(|((of, _), _)| *of == space)
        .collect();
    let body = match own.len() {
        0 => &[][..],
        len => {
            let ((_, before), value) = own[usize::from(row >> 1) % len];
            if row & 1 == 1 {
                rows.remove(&(space, before.clone()));
            }
            value.get(5..).unwrap_or_default()
        }
    };
    let value = match body {
        [] => Vec::new(),
        _ => sealed(space, key, body),
    };
    rows.insert((space, key.to_vec()), value);
    consult(fixture, &rows);
}

fn consult(fixture: &Fixture, rows: &Rows) {
    if let Some(catalog) = typed(Fixture::open(rows)) {
        fixture.consult(&catalog);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_envelope_is_the_catalogs_own() {
        let fixture = Fixture::get();
        let mut sealed_rows = 0;
        for ((space, key), value) in &fixture.rows {
            if let Some(body) = value.get(5..) {
                assert_eq!(*value, sealed(*space, key, body), "{space:?}");
                sealed_rows += 1;
            }
        }
        assert!(sealed_rows > 20, "{sealed_rows}");
        assert!(fixture.spaces().len() > 20, "{:?}", fixture.spaces());
    }
}
