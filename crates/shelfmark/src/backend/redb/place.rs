//! Puts a new file in place: whole and durable, or not at all, and never over another.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::open::from_open_io;
use crate::error::{Error, ErrorKind, Result};

/// A file in the making: under a temporary name until it is published, removed unless it is.
pub(super) struct NewFile {
    path: PathBuf,
    temporary: PathBuf,
    /// What to remove when dropped.
    doomed: Vec<PathBuf>,
}

impl NewFile {
    pub(super) fn beside(path: &Path) -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let path = std::path::absolute(path).map_err(|error| from_open_io(error, &path.display(), false))?;
        if fs::symlink_metadata(&path).is_ok() {
            return Err(exists(&path));
        }
        let Some(name) = path.file_name() else {
            return Err(Error::new(
                ErrorKind::FileMissing,
                format!("{} names no file", path.display()),
            ));
        };
        loop {
            let mut temporary = std::ffi::OsString::from(".");
            temporary.push(name);
            temporary.push(format!(
                ".{}-{}.new",
                std::process::id(),
                NEXT.fetch_add(1, Ordering::Relaxed)
            ));
            let temporary = path.with_file_name(temporary);
            match OpenOptions::new().write(true).create_new(true).open(&temporary) {
                Ok(_) => {
                    return Ok(Self {
                        path,
                        doomed: vec![temporary.clone()],
                        temporary,
                    });
                }
                // Left by a crash of a process with the same id.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(from_open_io(error, &path.display(), false)),
            }
        }
    }

    pub(super) fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// Gives the file its name, never replacing another, and returns the path.
    pub(super) fn publish(mut self) -> Result<PathBuf> {
        match fs::hard_link(&self.temporary, &self.path) {
            Ok(()) => {
                self.doomed.push(self.path.clone());
                fs::remove_file(&self.temporary)
                    .map_err(|error| from_open_io(error, &self.path.display(), false))?;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(exists(&self.path)),
            Err(_) => self.publish_without_links()?,
        }
        sync_directory(&self.path).map_err(|error| from_open_io(error, &self.path.display(), false))?;
        self.doomed.clear();
        Ok(std::mem::take(&mut self.path))
    }

    /// Takes the name with an empty file first, as renaming would replace what is there.
    fn publish_without_links(&mut self) -> Result<()> {
        match OpenOptions::new().write(true).create_new(true).open(&self.path) {
            Ok(_) => self.doomed.push(self.path.clone()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(exists(&self.path)),
            Err(error) => return Err(from_open_io(error, &self.path.display(), false)),
        }
        fs::rename(&self.temporary, &self.path)
            .map_err(|error| from_open_io(error, &self.path.display(), false))
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        for path in &self.doomed {
            if let Err(error) = fs::remove_file(path)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(%error, "a file of a failed creation could not be removed");
            }
        }
    }
}

fn exists(path: &Path) -> Error {
    Error::new(
        ErrorKind::FileExists,
        format!(
            "{} exists already: open it, or choose another path",
            path.display()
        ),
    )
}

/// Makes the new name survive a crash.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    // Elsewhere a directory cannot be opened as a file.
    if cfg!(unix) {
        let directory = path.parent().unwrap_or_else(|| Path::new("."));
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishing_never_replaces_a_file_with_links_or_without() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("catalog");
        for linked in [true, false] {
            let mut file = NewFile::beside(&path).unwrap();
            fs::write(&path, "another").unwrap();
            let error = if linked {
                file.publish().err()
            } else {
                file.publish_without_links().err()
            };
            assert_eq!(error.unwrap().kind(), ErrorKind::FileExists);
            assert_eq!(fs::read(&path).unwrap(), b"another");
            fs::remove_file(&path).unwrap();
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);

        let mut file = NewFile::beside(&path).unwrap();
        fs::write(file.temporary(), "mine").unwrap();
        file.publish_without_links().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"mine");
    }
}
