//! Lists: what to select, in which order, which page of it.

mod best;
mod children;
mod cost;
mod cursor;
mod filter;
mod page;
mod plan;
mod projection;
mod selection;
mod sort;
mod source;
mod stream;
mod topk;
mod walk;

use crate::Entity;

pub use cursor::Cursor;
pub use filter::Filter;
pub use page::{Named, Page};
pub use projection::Projection;
pub use selection::{AllStores, AssetSelection, SetSelection};
pub use sort::Sort;
pub use stream::Stream;

pub(crate) use page::{list, list_json, list_names, list_projected};
pub(crate) use selection::Select;

/// The number of entities on a page where a query does not say.
pub const DEFAULT_LIMIT: usize = 20;

/// Which entities of a kind to list, in which order, and which page of them.
///
/// Without more it is the first page of 20 of all entities of the tenant, in creation order, with the exact total and without schemas.
///
/// ```
/// # use shelfmark::{Catalog, DataAsset, Filter, NewDataAsset, NewDataStore, Query, Read, Write};
/// # fn main() -> shelfmark::Result<()> {
/// # let session = Catalog::in_memory()?.session("acme", "ann")?;
/// # let store = session.create(NewDataStore::new("warehouse", "postgres"))?;
/// for name in ["orders", "Customers", "order_lines"] {
///     session.create(NewDataAsset { name: Some(name.into()), ..NewDataAsset::new(store.id, name, "qix-df") })?;
/// }
/// let query = Query::<DataAsset>::of(store.id).filter(Filter::new().name_prefix("ORDER")).sort("-name");
/// let page = session.list(&query)?;
/// let names: Vec<_> = page.items.iter().filter_map(|asset| asset.name.as_deref()).collect();
/// assert_eq!(names, ["orders", "order_lines"]);
/// assert_eq!(page.total, Some(2));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Query<E: Entity> {
    pub(crate) selection: E::Selection,
    pub(crate) filter: Filter,
    pub(crate) sort: Sort,
    pub(crate) start: Start,
    pub(crate) limit: usize,
    pub(crate) total: bool,
    pub(crate) schemas: bool,
}

/// Where a page begins.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Start {
    /// At `page × limit`.
    Page(u64),
    Cursor(Cursor),
}

impl<E: Entity> Default for Query<E> {
    fn default() -> Self {
        Self::of(E::Selection::default())
    }
}

impl<E: Entity> Query<E> {
    /// All entities of the kind in the tenant.
    pub fn new() -> Self {
        Self::default()
    }

    /// The entities under one parent, several parents, or another selection.
    pub fn of(selection: impl Into<E::Selection>) -> Self {
        Self {
            selection: selection.into(),
            filter: Filter::default(),
            sort: Sort::default(),
            start: Start::Page(0),
            limit: DEFAULT_LIMIT,
            total: true,
            schemas: false,
        }
    }

    /// Only those that the filter lets through.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }

    /// In this order: comma-separated fields, each with `-` for descending.
    #[must_use]
    pub fn sort(mut self, sort: impl Into<Sort>) -> Self {
        self.sort = sort.into();
        self
    }

    /// The page of this number, from 0; past the end it is empty. Costs O(page × limit) index entries; on redb, later pages of the same list by number
    /// cost little more than their rows until the next commit. A cursor costs the same at any depth.
    #[must_use]
    pub fn page(mut self, page: u64) -> Self {
        self.start = Start::Page(page);
        self
    }

    /// The page that a [`Page::next`] or [`Page::prev`] of the same query named.
    #[must_use]
    pub fn cursor(mut self, cursor: Cursor) -> Self {
        self.start = Start::Cursor(cursor);
        self
    }

    /// At most this many entities on a page. 0 gives empty pages with a total.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Without the total. It costs nothing without a filter, and reading everything selected with one. Without it, a page in the order of an index
    /// is found in that order even where the filter has an index of its own that lets much through.
    #[must_use]
    pub fn without_total(mut self) -> Self {
        self.total = false;
        self
    }

    /// With the schemas of data sets, which cost a second row each.
    #[must_use]
    pub fn with_schemas(mut self) -> Self {
        self.schemas = true;
        self
    }
}
