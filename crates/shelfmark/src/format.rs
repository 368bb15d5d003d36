//! What a catalog says of itself: its format, the version of Unicode its keys are made with, stored options, the cursor key. And how a file of an older
//! format becomes one of this.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::backend::{
    Backend, CommitOptions, Direction, Durability, KeyRange, Keyspace, Limits, Snapshot, WriteBatch,
};
use crate::care;
use crate::catalog::{Catalog, Inner};
use crate::engine::Settings;
use crate::entity::rules::MAX_ENTITY_BYTES;
use crate::envelope;
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::keyspace::keys::{self, MAX_KEY};
use crate::options::Options;
use crate::sortkey::UNICODE_VERSION;

#[cfg(test)]
mod tests;

/// The format that this version writes.
pub(crate) const FORMAT: u32 = 1;

/// One step from a format to the next: reads the old state, stages what changes. Runs in the one transaction that also writes the new format, so it happens
/// wholly or not at all, and finds its own work never half done.
pub(crate) struct Migration {
    /// The format that it starts from; it ends at the next.
    pub(crate) from: u32,
    pub(crate) run: fn(&dyn Snapshot, &mut WriteBatch) -> Result<()>,
}

/// Every step, in order.
const MIGRATIONS: &[Migration] = &[];

const UNIQUE_TECHNICAL_NAMES: u8 = 1;
const CHANGE_FEED: u8 = 2;

/// Whether a new catalog keeps a change feed where nothing is chosen.
const CHANGE_FEED_BY_DEFAULT: bool = false;

/// Bytes of a feed id.
const FEED_ID: usize = 16;

/// Whether no keyspace holds anything.
pub(crate) fn is_blank(snapshot: &dyn Snapshot) -> Result<bool> {
    for &space in Keyspace::ALL {
        let mut blank = true;
        snapshot.scan(space, &KeyRange::all(), Direction::Forward, &mut |_, _| {
            blank = false;
            ControlFlow::Break(())
        })?;
        if !blank {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Makes an empty backend a catalog.
pub(crate) fn initialize(backend: &dyn Backend, options: &Options) -> Result<()> {
    let mut cursor_key = [0; 32];
    (options.environment.fill_random)(&mut cursor_key)?;
    let mut flags = if options.unique_technical_names == Some(true) {
        UNIQUE_TECHNICAL_NAMES
    } else {
        0
    };
    let mut feed_id = None;
    if options.change_feed.unwrap_or(CHANGE_FEED_BY_DEFAULT) {
        flags |= CHANGE_FEED;
        feed_id = Some(new_feed_id(&options.environment)?);
    }
    commit(backend, options, &mut |snapshot| {
        let mut batch = WriteBatch::new();
        // Somebody else may have been faster.
        if is_blank(snapshot)? {
            put(&mut batch, keys::META_FORMAT, &FORMAT.to_be_bytes());
            put(&mut batch, keys::META_UNICODE, unicode_version().as_bytes());
            put(&mut batch, keys::META_OPTIONS, &[flags]);
            put(&mut batch, keys::META_CURSOR_KEY, &cursor_key);
            if let Some(feed_id) = &feed_id {
                put(&mut batch, keys::META_FEED_ID, feed_id);
            }
        }
        Ok(batch)
    })
}

/// Opens a backend that holds a catalog, after bringing it to this format and this version of Unicode.
pub(crate) fn open(backend: Arc<dyn Backend>, options: &Options) -> Result<Catalog> {
    let Limits {
        max_key, max_value, ..
    } = backend.limits();
    if max_key < MAX_KEY || max_value < envelope::sealed_len(MAX_ENTITY_BYTES) {
        let message = format!(
            "the backend holds keys of {max_key} and values of {max_value} bytes, and a catalog needs {MAX_KEY} and {}",
            envelope::sealed_len(MAX_ENTITY_BYTES)
        );
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    migrate(&*backend, options, MIGRATIONS, FORMAT)?;
    let snapshot = backend.snapshot()?;
    let flags = flags(&*snapshot)?;
    let unique = flags & UNIQUE_TECHNICAL_NAMES != 0;
    let mut change_feed = flags & CHANGE_FEED != 0;
    if options
        .unique_technical_names
        .is_some_and(|asked| asked != unique)
    {
        return Err(Error::new(
            ErrorKind::OptionMismatch,
            format!(
                "the catalog was created with unique_technical_names({unique}): open it with that, or leave the option out"
            ),
        ));
    }
    if change_feed && options.change_feed == Some(false) {
        return Err(Error::new(
            ErrorKind::OptionMismatch,
            "the catalog keeps a change feed, which is not turned off again: open it with change_feed(true), or leave the option out",
        ));
    }
    let cursor_key = required(&*snapshot, keys::META_CURSOR_KEY)?
        .try_into()
        .map_err(|_| {
            Error::corrupt(
                Keyspace::Meta,
                keys::META_CURSOR_KEY,
                "a cursor key of a wrong length",
            )
        })?;
    drop(snapshot);
    if !change_feed && options.change_feed == Some(true) {
        turn_feed_on(&*backend, options)?;
        change_feed = true;
    }
    let feed_id = if change_feed {
        stored_feed_id(&*backend.snapshot()?)?
    } else {
        [0; FEED_ID]
    };
    tracing::debug!(unique_technical_names = unique, change_feed, "catalog opened");
    let settings = Settings {
        environment: options.environment.clone(),
        unique_technical_names: unique,
        atomic_bulk_bytes: options.atomic_bulk_bytes,
        cursor_key,
        change_feed,
        feed_id,
        change_retention: options.change_retention,
        idempotency_expiry: i64::try_from(options.idempotency_expiry.as_millis()).unwrap_or(i64::MAX),
        undrop: options.undrop,
        hooks: options.hooks.clone(),
    };
    Ok(Catalog::over(Inner::new(backend, options.durability, settings)))
}

fn flags(snapshot: &dyn Snapshot) -> Result<u8> {
    let options = required(snapshot, keys::META_OPTIONS)?;
    Ok(options.first().copied().unwrap_or_default())
}

/// Gives a catalog without a change feed one, from now on.
fn turn_feed_on(backend: &dyn Backend, options: &Options) -> Result<()> {
    let limits = backend.limits();
    if limits.writable && !limits.exclusive {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "the change feed cannot be turned on while other processes may write, since they would go on without it: open the file exclusively once \
             with change_feed(true)",
        ));
    }
    let feed_id = new_feed_id(&options.environment)?;
    commit(backend, options, &mut |snapshot| {
        let mut batch = WriteBatch::new();
        let mut stored = required(snapshot, keys::META_OPTIONS)?;
        if stored.is_empty() {
            stored.push(0);
        }
        if stored[0] & CHANGE_FEED == 0 {
            stored[0] |= CHANGE_FEED;
            put(&mut batch, keys::META_OPTIONS, &stored);
            put(&mut batch, keys::META_FEED_ID, &feed_id);
        }
        Ok(batch)
    })
}

fn new_feed_id(environment: &Environment) -> Result<[u8; FEED_ID]> {
    let mut id = [0; FEED_ID];
    (environment.fill_random)(&mut id)?;
    Ok(id)
}

fn stored_feed_id(snapshot: &dyn Snapshot) -> Result<[u8; FEED_ID]> {
    required(snapshot, keys::META_FEED_ID)?
        .try_into()
        .map_err(|_| Error::corrupt(Keyspace::Meta, keys::META_FEED_ID, "a feed id of a wrong length"))
}

/// The row that makes the feeds of a copy others than those of the original; `None` where that has none.
pub(crate) fn another_feed_id(
    snapshot: &dyn Snapshot,
    environment: &Environment,
) -> Result<Option<(&'static [u8], Vec<u8>)>> {
    if read(snapshot, keys::META_FEED_ID)?.is_none() {
        return Ok(None);
    }
    let id = new_feed_id(environment)?;
    let key = keys::META_FEED_ID;
    Ok(Some((key, envelope::seal(Keyspace::Meta, key, &id))))
}

/// Whether a catalog keeps a change feed, and whether it has an id for it; `None` where a row that should tell is unreadable.
pub(crate) fn has_change_feed(snapshot: &dyn Snapshot) -> Option<(bool, bool)> {
    let on = flags(snapshot).ok()? & CHANGE_FEED != 0;
    let id = read(snapshot, keys::META_FEED_ID).ok()?;
    Some((on, id.is_some_and(|id| id.len() == FEED_ID)))
}

/// Brings a catalog of an older format, or with keys of another version of Unicode, up to date, in one transaction.
pub(crate) fn migrate(
    backend: &dyn Backend,
    options: &Options,
    migrations: &[Migration],
    target: u32,
) -> Result<()> {
    let snapshot = backend.snapshot()?;
    let format = format_of(&*snapshot)?;
    let unicode = required(&*snapshot, keys::META_UNICODE)?;
    refuse_newer(format, target)?;
    let old_keys = unicode != unicode_version().as_bytes();
    if format == target && !old_keys {
        return Ok(());
    }
    if !backend.limits().writable {
        let message = format!(
            "the catalog has format {format} and keys of Unicode {}, this version writes format {target} and Unicode {}: open it writable \
             once",
            String::from_utf8_lossy(&unicode),
            unicode_version(),
        );
        return Err(Error::new(ErrorKind::FormatTooOld, message));
    }
    if let Some(path) = &options.backup_before_migration {
        care::backup::copy(&*snapshot, path, &options.environment)?;
    }
    drop(snapshot);
    tracing::info!(
        from = format,
        to = target,
        rebuild_indexes = old_keys,
        "migrating the catalog"
    );
    commit(backend, options, &mut |snapshot| {
        let mut batch = WriteBatch::new();
        let from = format_of(snapshot)?;
        // Another process may have been faster, with a newer version.
        refuse_newer(from, target)?;
        for step in from..target {
            let migration = migrations
                .iter()
                .find(|migration| migration.from == step)
                .ok_or_else(|| {
                    let message = format!(
                        "no migration leads from format {step}: open the catalog with an older version first"
                    );
                    Error::new(ErrorKind::FormatTooOld, message)
                })?;
            let staged = crate::backend::Overlay {
                base: snapshot,
                staged: &batch,
            };
            let mut next = WriteBatch::new();
            (migration.run)(&staged, &mut next)?;
            batch.absorb(next);
        }
        if old_keys {
            let staged = crate::backend::Overlay {
                base: snapshot,
                staged: &batch,
            };
            let next = care::repair::rebuild_indexes(&staged)?;
            batch.absorb(next);
        }
        put(&mut batch, keys::META_FORMAT, &target.to_be_bytes());
        put(&mut batch, keys::META_UNICODE, unicode_version().as_bytes());
        Ok(batch)
    })
}

fn refuse_newer(format: u32, known: u32) -> Result<()> {
    if format <= known {
        return Ok(());
    }
    let message =
        format!("the catalog has format {format}, and this version knows formats up to {known}: upgrade");
    Err(Error::new(ErrorKind::FormatTooNew, message))
}

fn unicode_version() -> String {
    let (major, minor, patch) = UNICODE_VERSION;
    format!("{major}.{minor}.{patch}")
}

fn format_of(snapshot: &dyn Snapshot) -> Result<u32> {
    let bytes = read(snapshot, keys::META_FORMAT)?.ok_or_else(|| {
        Error::new(
            ErrorKind::NotACatalog,
            "the file is a database without a catalog, of another program or left by a creation that was cut off: correct the path",
        )
    })?;
    bytes
        .try_into()
        .map(u32::from_be_bytes)
        .map_err(|_| Error::corrupt(Keyspace::Meta, keys::META_FORMAT, "a format of a wrong length"))
}

fn required(snapshot: &dyn Snapshot, key: &[u8]) -> Result<Vec<u8>> {
    read(snapshot, key)?.ok_or_else(|| Error::corrupt(Keyspace::Meta, key, "no value"))
}

fn read(snapshot: &dyn Snapshot, key: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut found = None;
    snapshot.get(Keyspace::Meta, key, &mut |value| {
        found = Some(envelope::open(Keyspace::Meta, key, value).map(<[u8]>::to_vec));
    })?;
    found.transpose()
}

fn put(batch: &mut WriteBatch, key: &[u8], body: &[u8]) {
    batch.put(Keyspace::Meta, key, envelope::seal(Keyspace::Meta, key, body));
}

fn commit(
    backend: &dyn Backend,
    options: &Options,
    plan: &mut dyn FnMut(&dyn Snapshot) -> Result<WriteBatch>,
) -> Result<()> {
    let environment = &options.environment;
    let operation = environment.ids.next_id(environment.clock.now()).as_u128();
    backend.commit(CommitOptions::new(Durability::Immediate, operation), plan)
}

/// The meta keys that every catalog has.
pub(crate) const REQUIRED_META: [&[u8]; 4] = [
    keys::META_FORMAT,
    keys::META_UNICODE,
    keys::META_OPTIONS,
    keys::META_CURSOR_KEY,
];
