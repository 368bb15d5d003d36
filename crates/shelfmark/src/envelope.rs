//! The envelope around every stored value.
//!
//! Layout: 1 byte format, 4 bytes xxh3 checksum (low 32 bits, big-endian), body. The checksum covers the keyspace, the key and the body, so
//! that neither a flipped bit nor a value under another's key is taken for an answer.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::error::{Error, Result};
use crate::keyspace::Keyspace;

/// The format of values written by this version.
const FORMAT: u8 = 1;
const HEADER: usize = 5;

fn checksum(space: Keyspace, key: &[u8], body: &[u8]) -> [u8; 4] {
    let seed = xxh3_64_with_seed(key, u64::from(FORMAT) << 8 | space.index() as u64);
    (xxh3_64_with_seed(body, seed) as u32).to_be_bytes()
}

/// The bytes of a value whose body has `body`.
pub(crate) const fn sealed_len(body: usize) -> usize {
    HEADER + body
}

/// Wraps `body` for storage under `key`.
pub(crate) fn seal(space: Keyspace, key: &[u8], body: &[u8]) -> Vec<u8> {
    seal_with(space, key, body, |_| {})
}

/// As [`seal`], after `finish` has changed the copy of the body.
pub(crate) fn seal_with(space: Keyspace, key: &[u8], body: &[u8], finish: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut value = Vec::with_capacity(HEADER + body.len());
    value.push(FORMAT);
    value.extend_from_slice(&[0; HEADER - 1]);
    value.extend_from_slice(body);
    let (header, body) = value.split_at_mut(HEADER);
    finish(body);
    header[1..].copy_from_slice(&checksum(space, key, body));
    value
}

/// The body of `value` as stored under `key`; `Corrupt` when it is not what was stored there.
pub(crate) fn open<'a>(space: Keyspace, key: &[u8], value: &'a [u8]) -> Result<&'a [u8]> {
    let Some((header, body)) = value.split_first_chunk::<HEADER>() else {
        return Err(Error::corrupt(
            space,
            key,
            format_args!("a value of {} bytes, too short", value.len()),
        ));
    };
    if header[0] != FORMAT {
        return Err(Error::corrupt(
            space,
            key,
            format_args!("unknown value format {}", header[0]),
        ));
    }
    if header[1..] != checksum(space, key, body) {
        return Err(Error::corrupt(space, key, "a checksum mismatch"));
    }
    Ok(body)
}

/// A counter's value.
pub(crate) fn seal_u64(space: Keyspace, key: &[u8], number: u64) -> Vec<u8> {
    seal(space, key, &number.to_be_bytes())
}

/// The number in a counter's value.
pub(crate) fn open_u64(space: Keyspace, key: &[u8], value: &[u8]) -> Result<u64> {
    let body = open(space, key, value)?;
    body.try_into()
        .map(u64::from_be_bytes)
        .map_err(|_| Error::corrupt(space, key, format_args!("a number of {} bytes", body.len())))
}
