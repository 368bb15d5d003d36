//! What was deleted and can be brought back, as callers see it.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};
use crate::list::DEFAULT_LIMIT;
use crate::{AssetId, EntityId, EntityKind, StoreId, Timestamp};

/// A deleted entity that [`Write::restore`](crate::Write::restore) can bring back, with all that went with it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dropped {
    /// The entity that the deletion named.
    pub id: EntityId,
    /// The name it had.
    pub name: Option<String>,
    /// The technical name it had.
    pub technical_name: String,
    /// The data store it was in; `None` for a data store.
    pub store: Option<StoreId>,
    /// The data asset it was in; of data sets.
    pub asset: Option<AssetId>,
    /// The last version it had.
    pub version: u64,
    /// When it was deleted.
    pub dropped_at: Timestamp,
    /// Who deleted it.
    pub dropped_by: String,
    /// How many data sets went with it.
    pub descendants: u64,
    /// From when on it cannot be restored: `dropped_at` and the retention that the catalog was opened with.
    pub expires_at: Timestamp,
}

/// Which dropped entities to list, for [`Read::list_dropped`](crate::Read::list_dropped): all kinds, the first page of 20 by default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedQuery {
    pub(crate) kind: Option<EntityKind>,
    pub(crate) limit: usize,
    pub(crate) after: Option<DroppedPosition>,
}

impl Default for DroppedQuery {
    fn default() -> Self {
        Self {
            kind: None,
            limit: DEFAULT_LIMIT,
            after: None,
        }
    }
}

impl DroppedQuery {
    /// The first page of everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Entities of this kind alone. What another kind has is read past.
    #[must_use]
    pub fn kind(mut self, kind: EntityKind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// At most so many on a page, 20 by default.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// The page that follows this position, which a page before gave as [`DroppedPage::next`].
    #[must_use]
    pub fn after(mut self, position: DroppedPosition) -> Self {
        self.after = Some(position);
        self
    }
}

/// One page of dropped entities, the newest first; of one moment, the later created first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DroppedPage {
    /// The entities.
    pub items: Vec<Dropped>,
    /// Where the next page goes on; `None` on the last one.
    pub next: Option<DroppedPosition>,
}

/// A place in the list of what was dropped. It stays good whatever is dropped, restored or purged meanwhile.
///
/// Displays and parses as text, for a caller who goes on later.
///
/// ```
/// # use std::time::Duration;
/// # use shelfmark::{AllStores, DataStore, DroppedPosition, DroppedQuery, NewDataStore, Options, Read, Write};
/// # fn main() -> shelfmark::Result<()> {
/// # let catalog = Options::new().undrop(Duration::from_secs(60)).in_memory()?;
/// # let session = catalog.session("acme", "ann")?;
/// session.create_all(["a", "b", "c"].map(|name| NewDataStore::new(name, "postgres")))?;
/// session.delete_selected::<DataStore>(AllStores)?;
/// let query = DroppedQuery::new().limit(2);
/// let page = session.list_dropped(&query)?;
/// let text = page.next.expect("there is one more").to_string();
/// let position: DroppedPosition = text.parse()?;
/// assert_eq!(session.list_dropped(&query.after(position))?.items.len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DroppedPosition {
    pub(crate) time: Timestamp,
    pub(crate) id: Uuid,
}

impl fmt::Display for DroppedPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.time.millis(), self.id.simple())
    }
}

impl FromStr for DroppedPosition {
    type Err = Error;

    /// Takes what a position displays as; anything else is `BadCursor`.
    fn from_str(text: &str) -> Result<Self> {
        let bad = || {
            let message = format!(
                "{text:?} is no position in the list of what was dropped: start again from the first page"
            );
            Error::new(ErrorKind::BadCursor, message)
        };
        let (time, id) = text.split_once('-').ok_or_else(bad)?;
        let time = time
            .parse()
            .ok()
            .and_then(|millis| Timestamp::from_millis(millis).ok());
        let id = Uuid::try_parse(id).ok();
        let position = time.zip(id).map(|(time, id)| Self { time, id });
        // One text for each position.
        position
            .filter(|position| position.to_string() == text)
            .ok_or_else(bad)
    }
}
