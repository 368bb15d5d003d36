//! The change feed as its readers see it: positions, changes, pages of them.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

use crate::engine::{TenantView, follow};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{AssetId, EntityId, EntityKind, StoreId};
use crate::reentry;
use crate::session::Session;
use crate::time::Timestamp;

/// How often a catalog that other processes write to is asked for changes while one waits for them.
const POLL: Duration = Duration::from_secs(1);

/// A place in the change feed of one tenant: behind a change, or before the first one.
///
/// Opaque. As text, also through serde, 22 characters that need no escaping in a URL. It stays good over restarts for as long as the feed is the same
/// one: see [`ErrorKind::ChangesRewound`](crate::ErrorKind::ChangesRewound).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    pub(crate) feed: u64,
    pub(crate) sequence: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.feed.to_be_bytes());
        bytes[8..].copy_from_slice(&self.sequence.to_be_bytes());
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Position {
    type Err = Error;

    /// Takes what `Display` gives; whether it is a place in a feed shows when it is used. Anything else is `Invalid`.
    fn from_str(text: &str) -> Result<Self> {
        let not_one = || Error::violation("", "is not a position in a change feed");
        let bytes = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|error| not_one().because(error))?;
        let bytes: [u8; 16] = bytes.try_into().map_err(|_| not_one())?;
        let wide = u128::from_be_bytes(bytes);
        Ok(Self {
            feed: (wide >> 64) as u64,
            sequence: wide as u64,
        })
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// What happened to an entity.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChangeEvent {
    /// It was created, at version 0.
    Created,
    /// It was changed. A rename of a parent is a change of the parent alone.
    Updated {
        /// The members that changed, by their JSON names.
        fields: Vec<String>,
    },
    /// It was deleted.
    Deleted,
    /// A deletion was undone.
    Restored,
    /// What was deleted can be restored no more.
    Purged,
}

impl ChangeEvent {
    /// The name in JSON: `created`, `updated`, `deleted`, `restored`, `purged`.
    pub fn name(&self) -> &'static str {
        match self {
            ChangeEvent::Created => "created",
            ChangeEvent::Updated { .. } => "updated",
            ChangeEvent::Deleted => "deleted",
            ChangeEvent::Restored => "restored",
            ChangeEvent::Purged => "purged",
        }
    }
}

/// An entity that went or came with the one that was named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Descendant {
    /// Its id.
    pub id: EntityId,
    /// The id of its parent.
    pub parent: EntityId,
    /// Its version, which a deletion and a restoration leave as it is.
    pub version: u64,
}

/// One record of the change feed.
///
/// Serializes to `position`, `sequence`, `time`, `actor`, `event`, `fields` (of an update), `kind`, `id`, `storeId` and `assetId` (those it has), `version`,
/// `descendants` (each `kind`, `id`, `parentId`, `version`; where there are some).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// The place behind it: what to follow from once it has been dealt with.
    pub position: Position,
    /// Its number in the feed of its tenant: from 1, without gaps.
    pub sequence: u64,
    /// When it happened, as the catalog's clock had it: not in order where the clock was set back.
    pub time: Timestamp,
    /// Who did it; `None`: the catalog itself, as it had been told to.
    pub actor: Option<String>,
    /// What happened.
    pub event: ChangeEvent,
    /// To which entity.
    pub id: EntityId,
    /// The store that it lies in; of assets and sets.
    pub store: Option<StoreId>,
    /// The asset that it lies in; of sets.
    pub asset: Option<AssetId>,
    /// The version that it has after the change; of a deletion, the last one it had.
    pub version: u64,
    /// What went or came with it, at most 4,096. Empty in the record of the entity itself; the records behind that one repeat it and tell its descendants.
    pub descendants: Vec<Descendant>,
}

impl Serialize for Change {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Change {
            position,
            sequence,
            time,
            actor,
            event,
            id,
            store,
            asset,
            version,
            descendants,
        } = self;
        let fields = match event {
            ChangeEvent::Updated { fields } => Some(fields),
            _ => None,
        };
        let optional = [
            fields.is_some(),
            store.is_some(),
            asset.is_some(),
            !descendants.is_empty(),
        ];
        let members = 8 + optional.into_iter().filter(|there| *there).count();
        let mut object = serializer.serialize_struct("Change", members)?;
        object.serialize_field("position", position)?;
        object.serialize_field("sequence", sequence)?;
        object.serialize_field("time", time)?;
        object.serialize_field("actor", actor)?;
        object.serialize_field("event", event.name())?;
        if let Some(fields) = fields {
            object.serialize_field("fields", fields)?;
        }
        object.serialize_field("kind", &id.kind())?;
        object.serialize_field("id", &id.uuid())?;
        if let Some(store) = store {
            object.serialize_field("storeId", store)?;
        }
        if let Some(asset) = asset {
            object.serialize_field("assetId", asset)?;
        }
        object.serialize_field("version", version)?;
        if !descendants.is_empty() {
            object.serialize_field("descendants", descendants)?;
        }
        object.end()
    }
}

impl Serialize for Descendant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Shown {
            kind: EntityKind,
            id: Uuid,
            parent_id: Uuid,
            version: u64,
        }
        let Descendant { id, parent, version } = *self;
        Shown {
            kind: id.kind(),
            id: id.uuid(),
            parent_id: parent.uuid(),
            version,
        }
        .serialize(serializer)
    }
}

/// A page of the change feed, read from one snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Changes {
    /// The changes, in their order.
    pub items: Vec<Change>,
    /// Where to go on from, also when there is nothing here.
    pub position: Position,
    /// Whether there is more behind it already.
    pub more: bool,
}

/// How long changes are kept: each tenant's newest ones. Belongs to an opening of the catalog, not to the file.
///
/// Trimmed in small steps as writes go, so somewhat more may be there, and by [`Catalog::sweep`](crate::Catalog::sweep). A reader that falls behind gets
/// [`ErrorKind::ChangesTrimmed`](crate::ErrorKind::ChangesTrimmed).
///
/// ```
/// # use std::time::Duration;
/// # use shelfmark::{ChangeRetention, Options};
/// let week = ChangeRetention::new().age(Duration::from_secs(7 * 24 * 3600));
/// let catalog = Options::new().change_feed(true).change_retention(week).in_memory()?;
/// # Ok::<(), shelfmark::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangeRetention {
    pub(crate) count: Option<u64>,
    pub(crate) age: Option<Duration>,
}

impl Default for ChangeRetention {
    /// The last 1,000,000 changes of each tenant, however old: a bound on the file (some 150 MB for a tenant whose changes are small ones) that a reader who is
    /// away for a weekend rarely meets, and that an idle tenant never does.
    fn default() -> Self {
        Self {
            count: Some(1_000_000),
            age: None,
        }
    }
}

impl ChangeRetention {
    /// The default.
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything, for ever.
    pub fn keep_all() -> Self {
        Self {
            count: None,
            age: None,
        }
    }

    /// No more than this many changes of a tenant. The newest one always stays: 0 counts as 1.
    #[must_use]
    pub fn count(mut self, changes: u64) -> Self {
        self.count = Some(changes.max(1));
        self
    }

    /// No changes older than this, but for a tenant's newest one.
    #[must_use]
    pub fn age(mut self, age: Duration) -> Self {
        self.age = Some(age);
        self
    }
}

impl Session {
    /// The changes of the tenant behind `after`, or from the first one on where that is `None`: at most `limit`, and about 4 MiB of them. Gapless, in the order of
    /// the commits, only what a crash can no longer take back. One seek, and what the page has.
    ///
    /// What was in the catalog before its feed was turned on is not in the feed: begin with [`Session::newest_change`].
    ///
    /// ```
    /// # use shelfmark::{ChangeEvent, NewDataStore, Options, Write};
    /// # fn main() -> shelfmark::Result<()> {
    /// let catalog = Options::new().change_feed(true).in_memory()?;
    /// let session = catalog.session("acme", "ann")?;
    /// let store = session.create(NewDataStore::new("warehouse", "postgres"))?;
    /// session.update(store.id, store.version, |store| store.name = Some("Warehouse".into()))?;
    ///
    /// let page = session.changes(None, 100)?;
    /// assert_eq!(page.items[0].event, ChangeEvent::Created);
    /// assert_eq!(page.items[1].event, ChangeEvent::Updated { fields: vec!["name".into()] });
    /// // Kept as text, and taken up again later.
    /// let kept = page.position.to_string();
    /// assert!(session.changes(kept.parse::<shelfmark::Position>()?, 100)?.items.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `Unsupported` where the catalog has no feed, `ChangesRewound`, `ChangesTrimmed` (with [`Error::oldest_change`]), `Invalid` for a limit of 0; `Io`, `Corrupt`,
    /// `Unavailable`.
    pub fn changes(&self, after: impl Into<Option<Position>>, limit: usize) -> Result<Changes> {
        let after = after.into();
        if limit == 0 {
            return Err(Error::violation("/limit", "must be at least 1"));
        }
        let feed = self.inner.feed()?;
        let (snapshot, number, durable) = feed.durable_view(&self.inner, self.tenant())?;
        let view = TenantView {
            snapshot: &*snapshot,
            name: self.tenant(),
            number,
        };
        follow::page(&self.inner.settings, &view, durable, after, limit)
    }

    /// Where the feed of the tenant ends at present. Take it **before** reading the whole tenant, then follow from it: what changes during the reading
    /// may be seen twice, and its version tells; nothing is missed. One seek.
    ///
    /// ```
    /// # use shelfmark::{DataStore, NewDataStore, Options, Query, Write};
    /// # fn main() -> shelfmark::Result<()> {
    /// # let session = Options::new().change_feed(true).in_memory()?.session("acme", "ann")?;
    /// let position = session.newest_change()?;
    /// let stores: Vec<DataStore> = session.stream(&Query::new())?.collect::<Result<_, _>>()?;
    /// session.create(NewDataStore::new("warehouse", "postgres"))?;
    /// assert_eq!(session.changes(position, 100)?.items.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `Unsupported` where the catalog has no feed; `Io`, `Corrupt`, `Unavailable`.
    pub fn newest_change(&self) -> Result<Position> {
        let feed = self.inner.feed()?;
        let (snapshot, number, durable) = feed.durable_view(&self.inner, self.tenant())?;
        let view = TenantView {
            snapshot: &*snapshot,
            name: self.tenant(),
            number,
        };
        follow::newest(&self.inner.settings, &view, durable)
    }

    /// As [`Session::changes`], and where there is nothing yet waits for it, for `timeout` at the most; then the page is empty. Commits of this process wake it
    /// at once; where other processes write too, it also looks once a second. The thread waits: no other one works for it.
    ///
    /// Inside a transaction, an update closure or a hook it does not wait: what it would wait for could not come. Once the last handle of the [`Catalog`](crate::Catalog)
    /// has been dropped it waits no more, and who waits then is woken: `Closed` where there is nothing to show.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use shelfmark::{NewDataStore, Options, Write};
    /// # fn main() -> shelfmark::Result<()> {
    /// let catalog = Options::new().change_feed(true).in_memory()?;
    /// let session = catalog.session("acme", "ann")?;
    /// let position = session.newest_change()?;
    /// let page = std::thread::scope(|scope| {
    ///     let waiting = scope.spawn(|| session.watch(position, 100, Duration::from_secs(60)));
    ///     session.create(NewDataStore::new("warehouse", "postgres"))?;
    ///     waiting.join().expect("no panic")
    /// })?;
    /// assert_eq!(page.items.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Session::changes`]; `Closed`.
    pub fn watch(
        &self,
        after: impl Into<Option<Position>>,
        limit: usize,
        timeout: Duration,
    ) -> Result<Changes> {
        let after = after.into();
        let feed = self.inner.feed()?;
        // One that lies beyond the clock's end is none.
        let deadline = Instant::now().checked_add(timeout);
        let poll = (!self.inner.backend.limits().exclusive).then_some(POLL);
        loop {
            // Before the reading: what is committed after it wakes the wait behind it.
            let seen = feed.commits_seen();
            let page = self.changes(after, limit)?;
            if !page.items.is_empty() || reentry::is_inside_a_write() {
                return Ok(page);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(page);
            }
            if feed.is_closed() {
                return Err(Error::new(
                    ErrorKind::Closed,
                    "the last handle of the catalog was dropped: keep one for as long as changes are waited for",
                ));
            }
            feed.wait(seen, left.into_iter().chain(poll).min());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_short_text_and_nothing_else_is_one() {
        for position in [
            Position { feed: 0, sequence: 0 },
            Position {
                feed: u64::MAX,
                sequence: u64::MAX,
            },
            Position {
                feed: 0x0123_4567_89ab_cdef,
                sequence: 77,
            },
        ] {
            let text = position.to_string();
            assert_eq!(text.len(), 22);
            assert_eq!(text.parse::<Position>().unwrap(), position);
            let json = serde_json::to_value(position).unwrap();
            assert_eq!(json, serde_json::json!(text));
            assert_eq!(serde_json::from_value::<Position>(json).unwrap(), position);
        }
        for text in ["", "AAAA", "AAAAAAAAAAAAAAAAAAAAAAA", "!!!!!!!!!!!!!!!!!!!!!!"] {
            assert_eq!(text.parse::<Position>().unwrap_err().kind(), ErrorKind::Invalid);
        }
    }
}
