//! What the fuzzers do with their bytes: one function for each target, which panics where a promise is broken.
//!
//! `fuzz/` at the root of the repository gives them to libFuzzer, and a test on stable replays its kept [corpus] through them. Those of the HTTP facade are in
//! `shelfmark-http-testkit`, so that nothing asynchronous is built for the tests of the engine.

mod blocks;
pub mod corpus;
mod decoding;
mod fixture;
mod inputs;
mod seeds;
mod sequences;

pub use blocks::block;
pub use decoding::{key, record};
pub use fixture::{Fixture, TENANT};
pub use inputs::{data_package, patch, text};
pub use seeds::{Seed, seeds};
pub use sequences::{backend_faults, operations, storage_faults};

/// A target: what is done with the bytes of one execution.
pub type Target = fn(&[u8]);

/// Every target by its name, which is also that of its binary and of its folder in the corpus.
pub const TARGETS: [(&str, Target); 9] = [
    ("backend_faults", backend_faults),
    ("block", block),
    ("data_package", data_package),
    ("key", key),
    ("operations", operations),
    ("patch", patch),
    ("record", record),
    ("storage_faults", storage_faults),
    ("text", text),
];

/// Takes the first `N` bytes off, zeroes where there are fewer.
pub fn take<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
    let mut taken = [0; N];
    let (head, rest) = bytes.split_at(N.min(bytes.len()));
    taken[..head.len()].copy_from_slice(head);
    *bytes = rest;
    taken
}

/// The value of a result that can be nothing but one.
///
/// # Panics
///
/// On an error: then a promise is broken.
#[track_caller]
pub fn sure<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_takes_nothing_and_a_few_bytes() {
        for (name, target) in TARGETS {
            for bytes in [
                &b""[..],
                b"\0",
                b"[]",
                b"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a",
            ] {
                target(bytes);
            }
            assert!(!name.is_empty());
        }
    }

    #[test]
    fn bytes_are_taken_from_the_front() {
        let mut bytes = &b"\x01\x02\x03"[..];
        assert_eq!(take::<2>(&mut bytes), [1, 2]);
        assert_eq!(take::<2>(&mut bytes), [3, 0]);
        assert_eq!(take::<1>(&mut bytes), [0]);
    }
}
