//! Memory that records what is done to it, and fails when told to.

use std::io;
use std::sync::{Arc, Mutex};

use shelfmark::backend::ByteStorage;

use super::image::{Change, CrashPoint, Durable, Image, Part};
use crate::lock;

/// The calls that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// A read.
    Read,
    /// A write.
    Write,
    /// A change of the length.
    SetLen,
    /// A sync.
    Sync,
}

impl Call {
    /// Every call.
    pub const ALL: [Call; 4] = [Call::Read, Call::Write, Call::SetLen, Call::Sync];
}

/// One failure to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StorageFault {
    /// What fails.
    pub call: Call,
    /// At which call from when it is armed; 1 is the next.
    pub nth: u64,
    /// With what.
    pub error: io::ErrorKind,
    /// Whether a write does half of its work first.
    pub short: bool,
    /// Whether every call of the kind fails from then on, until the storage is mended.
    pub lasts: bool,
}

/// How many calls there were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the call of that name")]
pub struct Calls {
    pub reads: u64,
    pub writes: u64,
    pub set_lens: u64,
    pub syncs: u64,
}

impl Calls {
    /// How many of one kind.
    pub fn of(&self, call: Call) -> u64 {
        match call {
            Call::Read => self.reads,
            Call::Write => self.writes,
            Call::SetLen => self.set_lens,
            Call::Sync => self.syncs,
        }
    }
}

/// Bytes in memory: a file, and the log that goes with it. A clone is another handle on the same.
#[derive(Debug, Clone, Default)]
pub struct RecordingStorage {
    medium: Arc<Mutex<Medium>>,
    part: Part,
}

#[derive(Debug, Default)]
struct Medium {
    /// What reads see.
    bytes: Image,
    /// What the last syncs made sure of; changed only there.
    durable: Durable,
    pending: Vec<Pending>,
    calls: Calls,
    fault: Option<StorageFault>,
    struck: bool,
    recording: bool,
    points: Vec<CrashPoint>,
}

/// A change since the last sync of its part.
#[derive(Debug)]
struct Pending {
    part: Part,
    change: Change,
    /// Whether a sync has failed to write it: then no other does, though reads go on showing it. Linux takes a page for written where it could not be. It may
    /// have reached the medium before that.
    given_up: bool,
}

impl Medium {
    /// Counts a call, and fails it if it is its turn. Whether half of the work is to be done first.
    fn enter(&mut self, call: Call) -> Result<(), (io::Error, bool)> {
        let count = match call {
            Call::Read => &mut self.calls.reads,
            Call::Write => &mut self.calls.writes,
            Call::SetLen => &mut self.calls.set_lens,
            Call::Sync => &mut self.calls.syncs,
        };
        *count += 1;
        let Some(fault) = self.fault.as_mut().filter(|fault| fault.call == call) else {
            return Ok(());
        };
        if fault.nth > 1 {
            fault.nth -= 1;
            return Ok(());
        }
        self.struck = true;
        let fault = *fault;
        if !fault.lasts {
            self.fault = None;
        }
        Err((fault.error.into(), fault.short))
    }

    fn write(&mut self, part: Part, offset: u64, data: &[u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        let place = self
            .bytes
            .part_mut(part)
            .get_mut(start..start.saturating_add(data.len()));
        place.ok_or(io::ErrorKind::UnexpectedEof)?.copy_from_slice(data);
        let data = data.into();
        self.note(part, Change::Write { offset: start, data });
        Ok(())
    }

    fn note(&mut self, part: Part, change: Change) {
        self.pending.push(Pending {
            part,
            change,
            given_up: false,
        });
    }

    fn sync(&mut self, part: Part) {
        self.pending.retain(|pending| {
            let own = pending.part == part;
            if own && !pending.given_up {
                self.durable.apply(part, &pending.change);
            }
            !own
        });
    }

    fn give_up(&mut self, part: Part) {
        for pending in self.pending.iter_mut().filter(|pending| pending.part == part) {
            // The length is in the journal of a file system.
            pending.given_up |= matches!(pending.change, Change::Write { .. });
        }
    }

    fn point(&self) -> CrashPoint {
        let pending = (self.pending.iter()).map(|pending| (pending.part, pending.change.clone()));
        CrashPoint::new(self.durable.clone(), pending.collect())
    }
}

impl RecordingStorage {
    /// An empty storage.
    pub fn new() -> Self {
        Self::default()
    }

    /// A storage that holds these bytes durably.
    pub fn holding(bytes: impl Into<Image>) -> Self {
        let bytes = bytes.into();
        let medium = Medium {
            durable: (&bytes).into(),
            bytes,
            ..Medium::default()
        };
        Self {
            medium: Arc::new(Mutex::new(medium)),
            part: Part::File,
        }
    }

    /// The log that goes with it: on the same medium, so that both fail and lose power together.
    pub fn log(&self) -> Arc<dyn ByteStorage> {
        Arc::new(Self {
            medium: Arc::clone(&self.medium),
            part: Part::Log,
        })
    }

    /// Keeps a crash point of the moment before each sync from now on.
    #[must_use]
    pub fn recording(self) -> Self {
        lock(&self.medium).recording = true;
        self
    }

    /// The crash points since they were taken last.
    pub fn take_points(&self) -> Vec<CrashPoint> {
        std::mem::take(&mut lock(&self.medium).points)
    }

    /// What a crash now may leave.
    pub fn crash_point(&self) -> CrashPoint {
        lock(&self.medium).point()
    }

    /// The bytes as reads see them.
    pub fn bytes(&self) -> Image {
        lock(&self.medium).bytes.clone()
    }

    /// How many calls there were.
    pub fn calls(&self) -> Calls {
        lock(&self.medium).calls
    }

    /// Arms a fault, in place of the one armed before.
    pub fn arm(&self, fault: StorageFault) {
        let mut medium = lock(&self.medium);
        medium.fault = Some(fault);
        medium.struck = false;
    }

    /// Whether the armed fault has struck.
    pub fn struck(&self) -> bool {
        lock(&self.medium).struck
    }

    /// Takes the fault back.
    pub fn mend(&self) {
        lock(&self.medium).fault = None;
    }
}

impl ByteStorage for RecordingStorage {
    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.medium).bytes.part(self.part).len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut medium = lock(&self.medium);
        medium.enter(Call::Read).map_err(|(error, _)| error)?;
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        let found = medium
            .bytes
            .part(self.part)
            .get(start..start.saturating_add(out.len()));
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut medium = lock(&self.medium);
        if let Err((error, short)) = medium.enter(Call::Write) {
            if short {
                medium.write(self.part, offset, &data[..data.len() / 2])?;
            }
            return Err(error);
        }
        medium.write(self.part, offset, data)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut medium = lock(&self.medium);
        medium.enter(Call::SetLen).map_err(|(error, _)| error)?;
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::StorageFull)?;
        medium.bytes.part_mut(self.part).resize(len, 0);
        medium.note(self.part, Change::SetLen(len));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut medium = lock(&self.medium);
        if medium.recording {
            let point = medium.point();
            medium.points.push(point);
        }
        if let Err((error, _)) = medium.enter(Call::Sync) {
            medium.give_up(self.part);
            return Err(error);
        }
        medium.sync(self.part);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Survivors;
    use super::*;

    fn fault(call: Call, nth: u64) -> StorageFault {
        StorageFault {
            call,
            nth,
            error: io::ErrorKind::StorageFull,
            short: true,
            lasts: false,
        }
    }

    #[test]
    fn the_nth_call_fails_once_or_until_it_is_mended() {
        let storage = RecordingStorage::new();
        storage.set_len(8).unwrap();
        storage.arm(fault(Call::Write, 2));
        storage.write(0, b"ab").unwrap();
        assert!(!storage.struck());
        let error = storage.write(2, b"cdef").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(storage.struck());
        assert_eq!(storage.bytes().file, b"abcd\0\0\0\0", "half of it was written");
        storage.write(4, b"gh").unwrap();

        storage.arm(StorageFault {
            lasts: true,
            ..fault(Call::Sync, 1)
        });
        for _ in 0..3 {
            storage.sync().unwrap_err();
        }
        storage.read(0, &mut [0; 8]).unwrap();
        storage.mend();
        storage.sync().unwrap();
        let calls = storage.calls();
        assert_eq!(
            (calls.reads, calls.writes, calls.set_lens, calls.syncs),
            (1, 3, 1, 4)
        );
    }

    #[test]
    fn what_a_sync_failed_to_write_no_later_one_writes_though_it_is_read() {
        let storage = RecordingStorage::new();
        storage.set_len(8).unwrap();
        storage.sync().unwrap();
        storage.write(0, b"ab").unwrap();
        storage.arm(fault(Call::Sync, 1));
        storage.sync().unwrap_err();
        let image = |survivors| storage.crash_point().image(survivors).file;
        assert_eq!(image(Survivors::All), b"ab\0\0\0\0\0\0", "it may have arrived");
        storage.write(1, b"cd").unwrap();
        storage.sync().unwrap();
        assert_eq!(storage.bytes().file, b"acd\0\0\0\0\0");
        assert_eq!(image(Survivors::All), b"\0cd\0\0\0\0\0");
        storage.write(0, b"acd").unwrap();
        storage.sync().unwrap();
        assert_eq!(image(Survivors::None), storage.bytes().file);
    }

    #[test]
    fn nothing_is_read_or_written_beyond_the_end() {
        let storage = RecordingStorage::holding(vec![1; 4]);
        assert_eq!(
            storage.read(2, &mut [0; 3]).unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
        assert_eq!(
            storage.write(4, b"x").unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
        assert_eq!(storage.bytes().file, [1; 4]);
    }
}
