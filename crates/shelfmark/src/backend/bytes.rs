//! The seam below the built-in backend: a row of bytes that can be read, written, grown and synced.

use std::fmt;
use std::io;

/// Where the built-in backend keeps its bytes, for those who bring something other than a file: another medium, or one for tests that fails,
/// records and forgets. Give it to [`Options::create_backend_on`](crate::Options::create_backend_on) and
/// [`Options::open_backend_on`](crate::Options::open_backend_on).
///
/// One catalog has it at a time: unlike a file it is not locked, and whoever shares it sees to that. It is used again when the catalog is reopened.
/// After a failed call other than [`ByteStorage::len`] the backend asks for nothing more until then.
///
/// ```
/// use std::io;
/// use std::sync::{Arc, Mutex};
/// use shelfmark::backend::ByteStorage;
/// use shelfmark::{NewDataStore, Options, Write};
///
/// #[derive(Debug, Default)]
/// struct Memory(Mutex<Vec<u8>>);
///
/// impl Memory {
///     fn at<T>(&self, offset: u64, len: usize, call: impl FnOnce(&mut [u8]) -> T) -> io::Result<T> {
///         let start = offset as usize;
///         let mut bytes = self.0.lock().map_err(|_| io::ErrorKind::Other)?;
///         let found = bytes.get_mut(start..start + len).ok_or(io::ErrorKind::UnexpectedEof)?;
///         Ok(call(found))
///     }
/// }
///
/// impl ByteStorage for Memory {
///     fn len(&self) -> io::Result<u64> {
///         Ok(self.0.lock().map_err(|_| io::ErrorKind::Other)?.len() as u64)
///     }
///     fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
///         self.at(offset, out.len(), |found| out.copy_from_slice(found))
///     }
///     fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
///         self.at(offset, data.len(), |found| found.copy_from_slice(data))
///     }
///     fn set_len(&self, len: u64) -> io::Result<()> {
///         self.0.lock().map_err(|_| io::ErrorKind::Other)?.resize(len as usize, 0);
///         Ok(())
///     }
///     fn sync(&self) -> io::Result<()> {
///         Ok(())
///     }
/// }
///
/// # fn main() -> shelfmark::Result<()> {
/// let options = Options::new();
/// let catalog = options.on_backend(options.create_backend_on(Arc::new(Memory::default()))?)?;
/// catalog.session("acme", "ann")?.create(NewDataStore::new("warehouse", "postgres"))?;
/// # Ok(())
/// # }
/// ```
pub trait ByteStorage: fmt::Debug + Send + Sync + 'static {
    /// How many bytes there are.
    ///
    /// # Errors
    ///
    /// What the medium says; each call's error is the source of the catalog's own.
    fn len(&self) -> io::Result<u64>;

    /// Whether there are none.
    ///
    /// # Errors
    ///
    /// Those of [`ByteStorage::len`].
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `out` with the bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` where the bytes end before that, and what the medium says.
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;

    /// Writes `data` from `offset` on, within the length. What was written is read back at once; it is durable after the next [`ByteStorage::sync`] and may
    /// be before, wholly, in part or not at all, whatever was written after it.
    ///
    /// # Errors
    ///
    /// What the medium says. Any part of `data` may have been written then.
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// Cuts or grows it to `len` bytes; new bytes are zero.
    ///
    /// # Errors
    ///
    /// What the medium says: `StorageFull`, for one.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Returns once everything written before is durable.
    ///
    /// # Errors
    ///
    /// What the medium says. What is durable is unknown then.
    fn sync(&self) -> io::Result<()>;
}
