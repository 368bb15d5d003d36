//! Collecting what is wrong with one input.

use crate::error::{Error, Result, Violation};

/// How many violations of one input are listed, and how many bytes of pointers and messages: a hostile input of 1 MiB must not make an error of
/// gigabytes. The rest is counted.
pub(crate) const LISTED: usize = 1_000;
const LISTED_BYTES: usize = 256 << 10;

/// The violations of one input, as many as are listed.
#[derive(Debug, Default)]
pub(crate) struct Violations {
    listed: Vec<Violation>,
    bytes: usize,
    unlisted: u64,
}

impl Violations {
    /// Notes one. Past the bound it is not even made.
    pub(crate) fn note(&mut self, make: impl FnOnce() -> Violation) {
        if self.listed.len() >= LISTED || self.bytes >= LISTED_BYTES {
            self.unlisted += 1;
            return;
        }
        let violation = make();
        self.bytes += violation.pointer.len() + violation.message.len();
        self.listed.push(violation);
    }

    pub(crate) fn push(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        self.note(|| Violation::new(pointer, message));
    }

    /// How many there are, listed or not.
    pub(crate) fn count(&self) -> u64 {
        self.listed.len() as u64 + self.unlisted
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Violation> {
        self.listed.iter()
    }

    /// `Invalid` where there is any.
    pub(crate) fn finish(self) -> Result<()> {
        let Violations {
            mut listed,
            bytes: _,
            unlisted,
        } = self;
        if unlisted > 0 {
            listed.push(Violation::new(
                "",
                format!("{unlisted} more violations are not listed"),
            ));
        }
        if listed.is_empty() {
            Ok(())
        } else {
            Err(Error::invalid(listed))
        }
    }
}
