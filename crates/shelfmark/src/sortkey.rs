//! Order-preserving bytes for sort keys and index keys.
//!
//! Text: its Unicode case-folded form, cut at a character to 512 bytes, with `00` and `01` escaped as `01 01` and `01 02`,
//! then a terminating `00`. So an empty text sorts first, a prefix sorts before what it begins, and no key is the
//! beginning of another. A missing value is the single byte `FF`, which no UTF-8 text contains: it sorts last.

use std::borrow::Cow;
use std::cmp::Ordering;

use caseless::Caseless as _;
use uuid::Uuid;

/// The most bytes of a folded text that a key holds.
pub(crate) const FOLDED_BYTES: usize = 512;
/// The key of a missing value.
pub(crate) const MISSING: u8 = 0xFF;
/// The version of Unicode whose case folding the keys are made with.
pub(crate) const UNICODE_VERSION: (u64, u64, u64) = caseless::UNICODE_VERSION;

/// The Unicode case-folded form of the whole text.
pub(crate) fn fold(text: &str) -> Cow<'_, str> {
    if !text.is_ascii() {
        Cow::Owned(text.chars().default_case_fold().collect())
    } else if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    }
}

/// The sort key of a text or of its absence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TextKey {
    bytes: Vec<u8>,
}

impl TextKey {
    pub(crate) fn new(text: Option<&str>) -> Self {
        let mut bytes = Vec::new();
        Scalar::text(text).append_to(&mut bytes, false);
        Self { bytes }
    }

    fn append(text: &str, bytes: &mut Vec<u8>) {
        Self::append_prefix(text, bytes);
        bytes.push(0);
    }

    /// What the keys of all texts that begin with `text` begin with, case folded.
    pub(crate) fn prefix(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        Self::append_prefix(text, &mut bytes);
        bytes
    }

    fn append_prefix(text: &str, bytes: &mut Vec<u8>) {
        // Whole texts at a time, which vectorizes.
        let escapes = |cut: &[u8]| cut.iter().fold(false, |any, &byte| any | (byte <= 1));
        if text.is_ascii() {
            // Every byte is a character.
            let cut = &text.as_bytes()[..text.len().min(FOLDED_BYTES)];
            if !escapes(cut) {
                let start = bytes.len();
                bytes.extend_from_slice(cut);
                bytes[start..].make_ascii_lowercase();
                return;
            }
        }
        let folded = fold(text);
        let cut = cut_at_character(&folded, FOLDED_BYTES);
        bytes.reserve(cut.len() + 1);
        for &byte in cut.as_bytes() {
            if byte <= 1 {
                bytes.push(1);
                bytes.push(byte + 1);
            } else {
                bytes.push(byte);
            }
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// How the key of a text compares with `key`, where the first bytes in which they differ are of ASCII characters; no key is made for it. `None`
/// where that does not tell.
pub(crate) fn compare_text(text: &[u8], descending: bool, key: &[u8]) -> Option<Ordering> {
    let invert = if descending { 0xFF } else { 0 };
    for (&byte, &other) in text.iter().zip(key).take(FOLDED_BYTES) {
        if !byte.is_ascii() || byte <= 1 {
            return None;
        }
        let byte = byte.to_ascii_lowercase() ^ invert;
        if byte != other {
            return Some(byte.cmp(&other));
        }
    }
    None
}

/// The longest beginning of `text` that has at most `max` bytes and ends at a character.
pub(crate) fn cut_at_character(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A value that a list can sort by.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scalar<'a> {
    Missing,
    Text(&'a str),
    Integer(i64),
    Boolean(bool),
    Id(Uuid),
}

impl<'a> Scalar<'a> {
    pub(crate) fn text(value: Option<&'a str>) -> Self {
        value.map_or(Scalar::Missing, Scalar::Text)
    }

    pub(crate) fn integer(value: Option<i64>) -> Self {
        value.map_or(Scalar::Missing, Scalar::Integer)
    }

    pub(crate) fn boolean(value: Option<bool>) -> Self {
        value.map_or(Scalar::Missing, Scalar::Boolean)
    }

    pub(crate) fn unsigned(value: u64) -> Self {
        Scalar::Integer(i64::try_from(value).unwrap_or(i64::MAX))
    }

    /// Appends the order-preserving key; inverted for a descending sort, which also puts missing values first.
    pub(crate) fn append_to(self, key: &mut Vec<u8>, descending: bool) {
        let start = key.len();
        match self {
            Scalar::Missing => key.push(MISSING),
            Scalar::Text(text) => TextKey::append(text, key),
            Scalar::Integer(number) => {
                key.push(0);
                // Flipping the sign bit makes two's complement sort as unsigned.
                key.extend_from_slice(&(number ^ i64::MIN).to_be_bytes());
            }
            Scalar::Boolean(value) => key.push(u8::from(value)),
            Scalar::Id(id) => {
                key.push(0);
                key.extend_from_slice(id.as_bytes());
            }
        }
        if descending {
            for byte in &mut key[start..] {
                *byte = !*byte;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(scalar: Scalar<'_>, descending: bool) -> Vec<u8> {
        let mut key = Vec::new();
        scalar.append_to(&mut key, descending);
        key
    }

    #[test]
    fn folding_goes_beyond_lower_case() {
        assert_eq!(fold("Straße"), fold("STRASSE"));
        assert_eq!(fold("Ab"), "ab");
        assert_ne!(fold("é"), fold("e"));
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let long = "ä".repeat(300);
        assert_eq!(TextKey::prefix(&long).len(), FOLDED_BYTES);
        let odd = format!("x{long}");
        assert_eq!(TextKey::prefix(&odd).len(), FOLDED_BYTES - 1);
    }

    proptest! {
        #[test]
        fn text_keys_sort_as_the_folded_texts(one in "[\\x00-\\x02aAbßÄz]{0,6}", two in "[\\x00-\\x02aAbßÄz]{0,6}") {
            let folded = fold(&one).as_bytes().cmp(fold(&two).as_bytes());
            prop_assert_eq!(key(Scalar::Text(&one), false).cmp(&key(Scalar::Text(&two), false)), folded);
            prop_assert_eq!(key(Scalar::Text(&one), true).cmp(&key(Scalar::Text(&two), true)), folded.reverse());
            prop_assert!(key(Scalar::Text(&one), false) < key(Scalar::Missing, false));
            prop_assert!(key(Scalar::Text(&one), true) > key(Scalar::Missing, true));
        }

        #[test]
        fn ascii_makes_the_key_that_any_text_makes(text in "[\\x00-\\x02aZ~]{0,6}", long in 500..530_usize) {
            for text in [text.clone(), format!("{}{text}", "Q".repeat(long))] {
                let folded = fold(&text).into_owned();
                let mut expected = Vec::new();
                for &byte in cut_at_character(&folded, FOLDED_BYTES).as_bytes() {
                    match byte {
                        0 | 1 => expected.extend([1, byte + 1]),
                        byte => expected.push(byte),
                    }
                }
                prop_assert_eq!(TextKey::prefix(&text), expected);
            }
        }

        #[test]
        fn a_text_compares_as_its_key(
            one in "[\\x00-\\x02aAbßÄz]{0,6}", two in "[\\x00-\\x02aAbßÄz]{0,6}", long in 0..520_usize, descending: bool,
        ) {
            for long in [0, long] {
                let text = format!("{}{one}", "Q".repeat(long));
                for other in [Scalar::Text(&format!("{}{two}", "q".repeat(long))), Scalar::Missing] {
                    let other = [key(other, descending), vec![7; 17]].concat();
                    let told = compare_text(text.as_bytes(), descending, &other);
                    let expected = key(Scalar::Text(&text), descending).cmp(&other);
                    prop_assert!(told.is_none_or(|told| told == expected));
                }
            }
            prop_assert_eq!(compare_text(b"Ab", descending, &key(Scalar::Text("aa"), descending)).is_some(), true);
        }

        #[test]
        fn integer_keys_sort_as_the_integers(one: i64, two: i64) {
            prop_assert_eq!(key(Scalar::Integer(one), false).cmp(&key(Scalar::Integer(two), false)), one.cmp(&two));
            prop_assert!(key(Scalar::Integer(one), false) < key(Scalar::Missing, false));
        }

        #[test]
        fn no_text_key_begins_another(one in ".{0,8}", two in ".{0,8}") {
            let (one, two) = (key(Scalar::Text(&one), false), key(Scalar::Text(&two), false));
            prop_assert!(one == two || !two.starts_with(&one));
        }
    }
}
