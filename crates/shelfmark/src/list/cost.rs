//! What a page costs, as far as that is known before it is read.

use crate::Entity;
use crate::ids::EntityKind;
use crate::keyspace::IndexOrder;

use super::selection::Select as _;
use super::sort::SortOrder;
use super::walk::READ_AHEAD;
use super::{Query, Start};

impl<E: Entity> Query<E> {
    /// The most rows that a page of this query reads, its entities' schemas and ancestors included, without a look at the catalog. `None` where only the catalog could tell: with a
    /// filter, with a sort that no index serves, and for selections of everything under something.
    ///
    /// A service can tell by it which lists are over in no time, and which need a thread that may block.
    ///
    /// ```
    /// # use shelfmark::{DataAsset, DataStore, Query};
    /// assert!(Query::<DataStore>::new().limit(20).most_rows().is_some_and(|rows| rows < 100));
    /// assert!(Query::<DataStore>::new().page(1_000_000).most_rows().is_some_and(|rows| rows > 1_000_000));
    /// assert_eq!(Query::<DataStore>::new().sort("description").most_rows(), None);
    /// assert_eq!(Query::<DataAsset>::new().sort("name").most_rows(), None); // looks at every store
    /// ```
    pub fn most_rows(&self) -> Option<u64> {
        let Query {
            selection,
            filter,
            sort,
            start,
            limit,
            total: _,
            schemas,
        } = self;
        let SortOrder::Indexed { order, .. } = sort.check(E::KIND).ok()? else {
            return None;
        };
        if !filter.is_empty() {
            return None;
        }
        let limit = *limit as u64;
        let skip = match start {
            Start::Page(page) => page.saturating_mul(limit),
            Start::Cursor(_) => 0,
        };
        let walked = skip.saturating_add(limit).saturating_add(1);
        let (parents, ahead) = match selection.named_parents() {
            // A parent is looked up, its children are counted, and its range is opened; a merge reads ahead.
            Some(parents) => (
                parents.saturating_mul(3),
                walked.min(parents).saturating_mul(READ_AHEAD as u64),
            ),
            // The entities themselves lie in creation order.
            None if order == IndexOrder::Creation && selection.is_all() => (1, 0),
            None => return None,
        };
        let shown = match E::KIND {
            EntityKind::Store => 1,
            EntityKind::Asset => 2,
            EntityKind::Set => 3 + u64::from(*schemas),
        };
        Some(
            walked
                .saturating_add(parents)
                .saturating_add(ahead)
                .saturating_add(limit.saturating_mul(shown)),
        )
    }
}
