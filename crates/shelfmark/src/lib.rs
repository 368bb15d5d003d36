//! An embedded, transactional data catalog: **data stores** hold **data assets**, which hold **data sets**, in one file, inside your process.
//!
//! Every update checks the version it expects, a store cannot be deleted while it holds assets, deleting an asset takes its sets along, and all of it
//! is atomic and durable. Lists are indexed, and a page reached by cursor costs the same at any depth.
//!
//! ```
//! use shelfmark::{Catalog, DataSet, Expectation, NewDataAsset, NewDataSet, NewDataStore, Query, Read, Write};
//!
//! # fn main() -> shelfmark::Result<()> {
//! let catalog = Catalog::in_memory()?; // or Catalog::open_or_create("catalog.shelf")?
//! let session = catalog.session("acme", "ann")?; // tenant, actor
//!
//! let store = session.create(NewDataStore::new("warehouse", "postgres"))?;
//! let asset = session.create(NewDataAsset::new(store.id, "sales", "qix-df"))?;
//! let set = session.create(NewDataSet::new(asset.id, "orders", "qdf:files:acme:orders", "qri:orders"))?;
//!
//! // Of all who expect version 0 and change something, exactly one succeeds.
//! let set = session.update(set.id, set.version, |set| set.name = Some("Orders".into()))?;
//! assert_eq!(set.version, 1);
//!
//! let page = session.list(&Query::<DataSet>::of(asset.id).sort("-name"))?;
//! assert_eq!(page.items, [set]);
//!
//! assert!(session.delete(store.id, Expectation::Any).is_err()); // it holds an asset
//! let deleted = session.delete(asset.id, Expectation::Any)?; // cascades
//! assert_eq!((deleted.assets, deleted.sets), (1, 1));
//! # Ok(())
//! # }
//! ```
//!
//! - [`Catalog`] is the open file, [`Options`] how to open it, [`Session`] one tenant and actor.
//! - [`Read`] and [`Write`] are the operations, on a session, in a [`Transaction`], on a [`TenantSnapshot`]; the type of an id or an input tells the kind of
//!   entity.
//! - [`Session::changes`] tells what happened, where [`Options::change_feed`] is on.
//! - [`Query`] says what to list; [`Error::kind`] what to do when something is refused.
//! - [`backend`] is the seam to the engine below, for those who bring another.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::expect_used, clippy::panic, clippy::unwrap_used))]

pub mod backend;
mod batch;
mod bulk;
mod care;
mod catalog;
mod changes;
mod codec;
mod compatibility;
mod engine;
mod entity;
mod envelope;
mod environment;
mod error;
mod expectation;
mod feed;
mod format;
mod group;
mod hooks;
mod idempotency;
mod ids;
mod index;
mod json;
mod json_text;
mod keyspace;
mod list;
mod options;
mod patch;
mod read;
mod reentry;
mod session;
mod snapshot;
mod sortkey;
mod sweep;
mod tenant_cache;
mod time;
mod transaction;
mod undrop;
mod violations;
mod write;

pub use backend::{Concurrency, Durability, Health, Integrity, MaintenanceReport};
pub use batch::{Batch, BatchFailure, BatchOutcome};
pub use bulk::{Batched, BulkProgress};
pub use care::{CatalogActivity, CatalogStats, CheckReport, Finding, FindingKind, RepairReport};
pub use catalog::Catalog;
pub use changes::{Change, ChangeEvent, ChangeRetention, Changes, Descendant, Position};
pub use compatibility::{
    Compatibility, SchemaAspect, SchemaChange, SchemaComparison, SchemaCompatibility, compare_data_sets,
    compare_schemas,
};
pub use engine::delete::Deleted;
pub use entity::{
    AssetInfo, DataAsset, DataField, DataSet, DataStore, DataType, Entity, FieldType, JsonObject,
    NewDataAsset, NewDataSet, NewDataStore, NewEntity, Operational, Schema, StoreInfo, TableConnectionInfo,
    TypedId, UserTag,
};
pub use environment::{Clock, Environment, IdSource, MonotonicIds};
pub use error::{BulkFailure, Error, ErrorKind, NonEmptyStore, Result, VersionConflict, Violation};
pub use expectation::Expectation;
pub use hooks::{Deletion, Hook, HookView, Proposal, Restoration, Veto};
pub use idempotency::{IdempotencyKey, Once};
pub use ids::{AssetId, EntityId, EntityKind, SetId, StoreId};
pub use json::parse as parse_json;
pub use json_text::{JsonText, Written};
pub use list::{
    AllStores, AssetSelection, Cursor, DEFAULT_LIMIT, Filter, Named, Page, Projection, Query, SetSelection,
    Sort, Stream,
};
pub use options::Options;
pub use patch::Patch;
pub use read::Read;
pub use session::Session;
pub use snapshot::{CatalogSnapshot, TenantSnapshot};
pub use sweep::Swept;
pub use time::{Timestamp, TimestampError};
pub use transaction::Transaction;
pub use undrop::{Dropped, DroppedPage, DroppedPosition, DroppedQuery};
pub use uuid::Uuid;
pub use write::Write;
