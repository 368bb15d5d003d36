//! Order-preserving bytes for sort keys and index keys.
//!
//! Text: its Unicode case-folded form, cut at a character to 512 bytes, with `00` and `01` escaped as `01 01` and `01 02`,
//! then a terminating `00`. So an empty text sorts first, a prefix sorts before what it begins, and no key is the
//! beginning of another. A missing value is the single byte `FF`, which no UTF-8 text contains: it sorts last.

use std::borrow::Cow;

use caseless::Caseless as _;

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
        let Some(text) = text else { return Self { bytes: vec![MISSING] } };
        let mut bytes = Self::prefix(text);
        bytes.push(0);
        Self { bytes }
    }

    /// What the keys of all texts that begin with `text` begin with, case folded.
    pub(crate) fn prefix(text: &str) -> Vec<u8> {
        let folded = fold(text);
        let cut = cut_at_character(&folded, FOLDED_BYTES);
        let mut bytes = Vec::with_capacity(cut.len() + 1);
        for &byte in cut.as_bytes() {
            if byte <= 1 {
                bytes.push(1);
                bytes.push(byte + 1);
            } else {
                bytes.push(byte);
            }
        }
        bytes
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The longest beginning of `text` that has at most `max` bytes and ends at a character.
pub(crate) fn cut_at_character(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}
