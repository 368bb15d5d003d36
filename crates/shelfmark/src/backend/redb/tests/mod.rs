//! Tests of the backend as a whole: opening, a model, failures of the storage, concurrency.

mod damage;
mod faults;
mod log;
mod model;
mod opening;
mod snapshots;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use super::*;
use crate::backend::{ByteStorage, Direction, KeyRange, Keyspace};

pub(super) fn options() -> RedbOptions {
    RedbOptions {
        cache_bytes: 16 << 20,
        integrity: Integrity::Trust,
        concurrency: Concurrency::Exclusive,
        read_only: false,
        quick_repair: false,
        commit_log: true,
        discard_log: false,
    }
}

fn read_only_options() -> RedbOptions {
    RedbOptions {
        read_only: true,
        ..options()
    }
}

fn memory() -> RedbBackend {
    RedbBackend::in_memory(options(), |_| Ok(())).unwrap()
}

fn commit_as(backend: &RedbBackend, durability: Durability, stage: impl Fn(&mut WriteBatch)) -> Result<()> {
    backend.commit(CommitOptions::new(durability, 1), &mut |_| {
        let mut batch = WriteBatch::new();
        stage(&mut batch);
        Ok(batch)
    })
}

fn put(backend: &RedbBackend, key: &[u8], value: &[u8]) -> Result<()> {
    commit_as(backend, Durability::Immediate, |batch| {
        batch.put(Keyspace::Set, key, value);
    })
}

fn get(snapshot: &dyn Snapshot, key: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut found = None;
    snapshot.get(Keyspace::Set, key, &mut |value| found = Some(value.to_vec()))?;
    Ok(found)
}

fn get_now(backend: &RedbBackend, key: &[u8]) -> Option<Vec<u8>> {
    get(&*backend.snapshot().unwrap(), key).unwrap()
}

fn all(snapshot: &dyn Snapshot, space: Keyspace, direction: Direction) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows = Vec::new();
    snapshot
        .scan(space, &KeyRange::all(), direction, &mut |key, value| {
            rows.push((key.to_vec(), value.to_vec()));
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    rows
}

/// Memory that fails on demand, and remembers what a power loss would leave.
#[derive(Debug, Clone, Default)]
struct Flaky(Arc<FlakyState>);

#[derive(Debug, Default)]
struct FlakyState {
    bytes: Mutex<Vec<u8>>,
    synced: Mutex<Vec<u8>>,
    /// Writes until they fail, 0 for never.
    fuse: AtomicI64,
    error: Mutex<Option<io::ErrorKind>>,
    /// So many data writes fail, then they work again.
    failing_writes: AtomicI64,
    fail_reads: AtomicBool,
    panic_on_reads: AtomicBool,
    panic_on_syncs: AtomicBool,
}

impl Flaky {
    fn backend(&self) -> RedbBackend {
        let empty = self.0.bytes.lock().unwrap().is_empty();
        RedbBackend::start(self.storage(), Medium::None, options(), empty).unwrap()
    }

    fn storage(&self) -> Storage {
        Storage::Bytes(Arc::new(self.clone()))
    }

    fn fail_write(&self, nth: i64, error: io::ErrorKind) {
        *self.0.error.lock().unwrap() = Some(error);
        self.0.fuse.store(nth, Ordering::SeqCst);
    }

    fn mend(&self) {
        self.0.fuse.store(0, Ordering::SeqCst);
        self.0.fail_reads.store(false, Ordering::SeqCst);
        self.0.panic_on_reads.store(false, Ordering::SeqCst);
        self.0.panic_on_syncs.store(false, Ordering::SeqCst);
    }

    /// What would be there after a power loss.
    fn after_power_loss(&self) -> Self {
        let synced = self.0.synced.lock().unwrap().clone();
        let state = FlakyState {
            bytes: Mutex::new(synced.clone()),
            ..FlakyState::default()
        };
        *state.synced.lock().unwrap() = synced;
        Self(Arc::new(state))
    }

    fn burn(&self) -> io::Result<()> {
        let left = self.0.fuse.load(Ordering::SeqCst);
        if left > 1 {
            self.0.fuse.store(left - 1, Ordering::SeqCst);
        }
        if left == 1 {
            Err(self.0.error.lock().unwrap().unwrap().into())
        } else {
            Ok(())
        }
    }
}

impl ByteStorage for Flaky {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.bytes.lock().unwrap().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.0.fail_reads.load(Ordering::SeqCst) {
            return Err(io::Error::other("a bad sector"));
        }
        assert!(
            !self.0.panic_on_reads.load(Ordering::SeqCst),
            "a page out of order"
        );
        let bytes = self.0.bytes.lock().unwrap();
        let from = offset as usize;
        out.copy_from_slice(
            bytes
                .get(from..from + out.len())
                .ok_or(io::ErrorKind::UnexpectedEof)?,
        );
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.burn()?;
        self.0.bytes.lock().unwrap().resize(len as usize, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        assert!(
            !self.0.panic_on_syncs.load(Ordering::SeqCst),
            "a sync out of order"
        );
        self.burn()?;
        let bytes = self.0.bytes.lock().unwrap().clone();
        *self.0.synced.lock().unwrap() = bytes;
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if self.0.failing_writes.fetch_sub(1, Ordering::SeqCst) > 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.burn()?;
        let from = offset as usize;
        self.0.bytes.lock().unwrap()[from..from + data.len()].copy_from_slice(data);
        Ok(())
    }
}
