//! Opaque, authenticated positions in a list.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::error::{Error, ErrorKind, Result};

/// A position in the list of one query: opaque text, bound to tenant, selection, sort, filter and page, and authenticated with the catalog's own
/// key. The limit may change on the way: the position counts, and the number of the page is then only that of the walk. It stays valid for as long as the catalog does, over restarts too, and walking by cursors neither skips nor repeats an
/// entity that did not change.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cursor(Vec<u8>);

/// What a cursor says once it has been verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    /// The number of the page it leads to.
    pub(super) page: u64,
    /// Whether it leads to what comes before `key`, not after it.
    pub(super) backwards: bool,
    /// Whether the entity at `key` itself is on the page.
    pub(super) inclusive: bool,
    /// The sort key, id included, of the entity next to the page, or at its edge.
    pub(super) key: Vec<u8>,
}

const MAC: usize = 16;
/// Page number and flags.
const HEADER: usize = 9;
const BACKWARDS: u8 = 1;
const INCLUSIVE: u8 = 2;

impl Cursor {
    /// Layout: MAC (16 bytes), page (u64), flags (u8), key.
    pub(super) fn seal(secret: &[u8; 32], query: &[u8], position: &Position) -> Self {
        let Position {
            page,
            backwards,
            inclusive,
            key,
        } = position;
        let mut payload = Vec::with_capacity(HEADER + key.len());
        payload.extend_from_slice(&page.to_be_bytes());
        payload.push((u8::from(*backwards) * BACKWARDS) | (u8::from(*inclusive) * INCLUSIVE));
        payload.extend_from_slice(key);
        let mut bytes = mac(secret, query, &payload).to_vec();
        bytes.extend_from_slice(&payload);
        Cursor(bytes)
    }

    /// `BadCursor` unless this catalog made it for this query.
    pub(super) fn open(&self, secret: &[u8; 32], query: &[u8]) -> Result<Position> {
        let Some((given, payload)) = self.0.split_first_chunk::<MAC>() else {
            return Err(bad());
        };
        // Both in constant time: the crate compares hashes so.
        let mut wide = [[0_u8; 32]; 2];
        wide[0][..MAC].copy_from_slice(given);
        wide[1][..MAC].copy_from_slice(&mac(secret, query, payload));
        if blake3::Hash::from_bytes(wide[0]) != blake3::Hash::from_bytes(wide[1]) {
            return Err(bad());
        }
        match payload.split_first_chunk::<8>() {
            Some((page, [flags, key @ ..])) => Ok(Position {
                page: u64::from_be_bytes(*page),
                backwards: flags & BACKWARDS != 0,
                inclusive: flags & INCLUSIVE != 0,
                key: key.to_vec(),
            }),
            _ => Err(bad()),
        }
    }
}

fn mac(secret: &[u8; 32], query: &[u8], payload: &[u8]) -> [u8; MAC] {
    let mut hasher = blake3::Hasher::new_keyed(secret);
    hasher.update(&(query.len() as u64).to_be_bytes());
    hasher.update(query);
    hasher.update(payload);
    let mut mac = [0; MAC];
    mac.copy_from_slice(&hasher.finalize().as_bytes()[..MAC]);
    mac
}

fn bad() -> Error {
    Error::new(
        ErrorKind::BadCursor,
        "the cursor is malformed, altered, or made for another query: start again from the first page",
    )
}

/// Appends a text or its absence so that no two sequences of texts give the same bytes.
pub(super) fn append_text(bytes: &mut Vec<u8>, text: Option<&str>) {
    match text {
        None => bytes.push(0),
        Some(text) => {
            bytes.push(1);
            bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(&self.0))
    }
}

impl FromStr for Cursor {
    type Err = Error;

    /// Takes any text that could be a cursor; whether it is one shows when it is used.
    fn from_str(text: &str) -> Result<Self> {
        URL_SAFE_NO_PAD
            .decode(text)
            .map(Cursor)
            .map_err(|error| bad().because(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_altered_bit_is_refused() {
        let position = Position {
            page: 3,
            backwards: false,
            inclusive: true,
            key: b"orders\0id".to_vec(),
        };
        let cursor = Cursor::seal(&[7; 32], b"query", &position);
        assert_eq!(cursor.open(&[7; 32], b"query").unwrap(), position);
        assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
        for bit in 0..cursor.0.len() * 8 {
            let mut altered = cursor.clone();
            altered.0[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                altered.open(&[7; 32], b"query").unwrap_err().kind(),
                ErrorKind::BadCursor
            );
        }
        assert!(cursor.open(&[8; 32], b"query").is_err());
        assert!(cursor.open(&[7; 32], b"other").is_err());
        for length in 0..cursor.0.len() {
            assert!(
                Cursor(cursor.0[..length].to_vec())
                    .open(&[7; 32], b"query")
                    .is_err()
            );
        }
    }
}
