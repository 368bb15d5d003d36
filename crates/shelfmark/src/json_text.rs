//! JSON text that reads write to.

use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};

/// What is told of an entity that was written as JSON: its version, and what it shows of its ancestors.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// Its version.
    pub version: u64,
    /// The name of its asset, of a data set that has one with a name.
    pub asset_name: Option<String>,
    /// The name of its store, of an asset or a set whose store has one.
    pub store_name: Option<String>,
    /// The type of its store, of an asset or a set.
    pub store_type: Option<String>,
}

/// JSON text that [`Read::get_json`](crate::Read::get_json) and [`Read::list_json`](crate::Read::list_json) add to, of a bounded length where that is wanted.
///
/// ```
/// let mut text = shelfmark::JsonText::at_most(1 << 16);
/// text.push(r#"{"data":"#);
/// assert_eq!(text.into_bytes(), br#"{"data":"#);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonText {
    bytes: Vec<u8>,
    most: usize,
}

impl Default for JsonText {
    fn default() -> Self {
        Self::new()
    }
}

impl JsonText {
    /// Empty, without a bound.
    pub fn new() -> Self {
        Self::at_most(usize::MAX)
    }

    /// Empty. A read that would make it longer than `most` bytes, or that comes on more than that in the rows it needs, gives `TooLarge`
    /// soon after, and leaves the text as far as it came.
    pub fn at_most(most: usize) -> Self {
        Self {
            bytes: Vec::new(),
            most,
        }
    }

    /// Adds some text as it is, whatever the bound.
    pub fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// Adds a value as JSON, whatever the bound.
    ///
    /// # Errors
    ///
    /// `Invalid` where the value cannot become JSON.
    pub fn append<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        serde_json::to_writer(&mut self.bytes, value)
            .map_err(|error| Error::new(ErrorKind::Invalid, "the value cannot become JSON").because(error))
    }

    /// Adds the members of a value that becomes a JSON object, and the brace that ends the object, behind what this object has already. Whatever the bound.
    ///
    /// ```
    /// # fn main() -> shelfmark::Result<()> {
    /// let mut text = shelfmark::JsonText::new();
    /// text.push(r#"{"data":[]"#);
    /// text.end_object(&std::collections::BTreeMap::from([("page", 0)]))?;
    /// assert_eq!(text.into_bytes(), br#"{"data":[],"page":0}"#);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `Invalid` where the value does not become an object with members.
    pub fn end_object<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        let begin = self.bytes.len();
        self.append(value)?;
        match self.bytes.get_mut(begin..) {
            Some([brace @ b'{', b'"', ..]) => {
                *brace = b',';
                Ok(())
            }
            _ => Err(Error::new(
                ErrorKind::Invalid,
                "only an object with members can end an object",
            )),
        }
    }

    /// The text.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// How many more bytes are wanted.
    pub(crate) fn room(&self) -> usize {
        self.most.saturating_sub(self.bytes.len())
    }

    /// `TooLarge` where `bytes` more have no room.
    pub(crate) fn check(&self, bytes: usize) -> Result<()> {
        if self.bytes.len().saturating_add(bytes) <= self.most {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::TooLarge,
            format!(
                "the answer has more than the {} bytes that it was bounded to: ask for less at once, or for more bytes",
                self.most
            ),
        ))
    }

    pub(crate) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}
