//! Where documents come from: a directory tree, a file, a reader; always within bounds.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::error::{ImportError, ImportErrorKind, Place};
use crate::json;

/// The most bytes of a document.
pub(crate) const MAX_BYTES: usize = 64 << 20;

/// The file name of a descriptor.
const DESCRIPTOR: &str = "datapackage.json";

/// The lines of a reader that are not blank, one after the other in one buffer.
pub(crate) struct Lines<R> {
    reader: R,
    line: Vec<u8>,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self {
            reader,
            line: Vec::new(),
            number: 0,
        }
    }

    /// The number of the line that was read last, from 1.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Goes on to the next line that is not blank; `false` at the end.
    pub(crate) fn advance(&mut self) -> Result<bool, ImportError> {
        self.next_line().map_err(|error| {
            error.at(Place {
                line: Some(self.number),
                ..Place::default()
            })
        })
    }

    fn next_line(&mut self) -> Result<bool, ImportError> {
        loop {
            self.number += 1;
            self.line.clear();
            // Two bytes more: for the line's end, or to tell a line that is too long.
            let mut reader = (&mut self.reader).take(MAX_BYTES as u64 + 2);
            reader
                .read_until(b'\n', &mut self.line)
                .map_err(ImportError::unreadable)?;
            if self.line.is_empty() {
                return Ok(false);
            }
            let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.len() > MAX_BYTES {
                return Err(too_large());
            }
            if !self.text().trim_ascii().is_empty() {
                return Ok(true);
            }
        }
    }

    pub(crate) fn text(&self) -> &[u8] {
        without_mark(&self.line).trim_ascii_end()
    }

    /// Whether the line is the beginning of a document of several lines.
    pub(crate) fn is_unfinished(&self) -> bool {
        json::is_unfinished(self.text())
    }

    /// The line and all that follows, as one document.
    pub(crate) fn rest(mut self) -> Result<Vec<u8>, ImportError> {
        let left = (MAX_BYTES + 1).saturating_sub(self.line.len());
        let mut reader = self.reader.take(left as u64);
        reader
            .read_to_end(&mut self.line)
            .map_err(ImportError::unreadable)?;
        if self.line.len() > MAX_BYTES {
            return Err(too_large());
        }
        Ok(self.line)
    }
}

/// Without the byte order mark that some editors write.
pub(crate) fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

fn too_large() -> ImportError {
    let message = format!(
        "a document has more than {} MiB: split the package",
        MAX_BYTES >> 20
    );
    ImportError::new(ImportErrorKind::TooLarge, message)
}

/// Opens a file for reading.
pub(crate) fn open(path: &Path) -> Result<BufReader<File>, ImportError> {
    File::open(path)
        .map(BufReader::new)
        .map_err(ImportError::unreadable)
}

/// Whether the file is a descriptor by its name.
pub(crate) fn is_descriptor_by_name(path: &Path) -> bool {
    path.file_name() == Some(OsStr::new(DESCRIPTOR))
}

/// Whether the name says that every line is a document.
pub(crate) fn has_lines_by_name(path: &Path) -> bool {
    path.extension().is_some_and(|extension| {
        extension.eq_ignore_ascii_case("ndjson") || extension.eq_ignore_ascii_case("jsonl")
    })
}

/// The descriptors of a tree, sorted by path. No symbolic link is followed. Holds the entries of the directories on the way, no more.
pub(crate) struct Tree {
    /// What is still to be looked at, the next one last.
    waiting: Vec<(PathBuf, bool)>,
}

impl Tree {
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            waiting: vec![(root.to_path_buf(), true)],
        }
    }
}

impl Iterator for Tree {
    type Item = (PathBuf, io::Result<()>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (path, is_directory) = self.waiting.pop()?;
            if !is_directory {
                return Some((path, Ok(())));
            }
            match entries(&path) {
                Ok(entries) => self.waiting.extend(entries.into_iter().rev()),
                Err(error) => return Some((path, Err(error))),
            }
        }
    }
}

/// The directories and descriptors of a directory, sorted by name.
fn entries(directory: &Path) -> io::Result<BTreeMap<PathBuf, bool>> {
    let mut entries = BTreeMap::new();
    for entry in directory.read_dir()? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() || (kind.is_file() && entry.file_name() == OsStr::new(DESCRIPTOR)) {
            entries.insert(entry.path(), kind.is_dir());
        }
    }
    Ok(entries)
}
