//! Declarative batches: operations that are listed first and run together, with references between them.

use std::sync::atomic::{AtomicU64, Ordering};

use uuid::{Builder, Uuid};

use crate::engine::batch::{self, Creation, Deletion, Operation, Plan, Replacement};
use crate::engine::change::Source;
use crate::engine::delete::Deleted;
use crate::entity::{Entity, NewEntity, TypedId};
use crate::error::{Error, Result};
use crate::patch::Patch;
use crate::read::Context;
use crate::write::Write;
use crate::{DataAsset, DataSet, DataStore, EntityId, Expectation};

/// A list of operations on entities of any kind, all of which happen, or none: see [`Write::batch`].
///
/// [`Batch::create`] gives a *placeholder*: an id that stands for the entity which the batch will create, and that later operations of the same batch take as
/// a parent or as their target. Nothing else knows it: in another batch, outside of any, and inside a patch's values or free JSON it names nothing.
///
/// Operations run in order, each on what those before it made of the catalog. A batch may be run any number of times; each time it creates anew.
///
/// ```
/// use shelfmark::{Batch, Catalog, Expectation, NewDataAsset, NewDataSet, NewDataStore, Patch, Read, Write};
/// # fn main() -> shelfmark::Result<()> {
/// # let session = Catalog::in_memory()?.session("acme", "ann")?;
/// let old = session.create(NewDataStore::new("lake", "s3"))?;
///
/// let mut batch = Batch::new();
/// let store = batch.create(NewDataStore::new("warehouse", "postgres"));
/// let asset = batch.create(NewDataAsset::new(store, "sales", "qix-df"));
/// batch.create(NewDataSet::new(asset, "orders", "qdf:files:acme:orders", "qri:orders"));
/// batch.patch(asset, Expectation::Exactly(0), Patch::new().add("/name", "Sales")?);
/// batch.delete(old.id, old.version);
/// let outcomes = session.batch(&batch)?;
///
/// let store = outcomes[0].store().expect("the first operation creates a store");
/// let asset = outcomes[3].asset().expect("the fourth one patches an asset");
/// assert_eq!((asset.version, asset.data_store_info.id), (1, store.id));
/// assert_eq!(outcomes[4].deleted().map(|deleted| deleted.stores), Some(1));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Batch {
    number: u64,
    operations: Vec<Box<dyn Operation>>,
}

/// The number that the next batch of this process gets; 0 is nobody's.
static NEXT: AtomicU64 = AtomicU64::new(1);

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    /// The most operations that one batch may have when it is run.
    pub const MAX_OPERATIONS: usize = 10_000;

    /// A batch without operations.
    pub fn new() -> Self {
        Self {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            operations: Vec::new(),
        }
    }

    /// How many operations it has.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether it has no operations.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Adds a creation, as [`Write::create`], and gives the placeholder of the new entity. Its parent may be a placeholder.
    pub fn create<N: NewEntity>(&mut self, new: N) -> <N::Entity as Entity>::Id {
        let id = placeholder(self.number, self.operations.len());
        self.operations.push(Box::new(Creation::<N::Entity> { new }));
        <N::Entity as Entity>::Id::from_uuid(id)
    }

    /// Adds a replacement, as [`Write::replace`]. Its target, and the parent that `new` names, may be placeholders.
    pub fn replace<I: TypedId>(
        &mut self,
        id: I,
        expectation: impl Into<Expectation>,
        new: <I::Entity as Entity>::New,
    ) {
        self.change(id, expectation.into(), Source::Fields(new));
    }

    /// Adds a JSON Patch, as [`Write::patch`]. Its target may be a placeholder; the values within the patch are taken as they are.
    pub fn patch<I: TypedId>(&mut self, id: I, expectation: impl Into<Expectation>, patch: Patch) {
        self.change(id, expectation.into(), Source::Patch(patch));
    }

    /// Adds a deletion, as [`Write::delete`]. Its target may be a placeholder.
    pub fn delete<I: TypedId>(&mut self, id: I, expectation: impl Into<Expectation>) {
        self.operations.push(Box::new(Deletion {
            id: id.into(),
            expectation: expectation.into(),
        }));
    }

    fn change<I: TypedId>(&mut self, id: I, expectation: Expectation, source: Source<I::Entity>) {
        self.operations.push(Box::new(Replacement::<I::Entity> {
            id,
            expectation,
            source,
        }));
    }

    /// The position of the operation whose creation this placeholder stands for, which is also that of its outcome; `None` where it is not one of this
    /// batch.
    pub fn position(&self, id: impl Into<EntityId>) -> Option<usize> {
        position(self.number, id.into().uuid()).filter(|&position| position < self.operations.len())
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn operations(&self) -> &[Box<dyn Operation>] {
        &self.operations
    }
}

/// A UUID of version 8, which no entity has: the number of the batch in its first 48 bits, the position in its last 32.
pub(crate) fn placeholder(batch: u64, position: usize) -> Uuid {
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&batch.to_be_bytes()[2..]);
    bytes[12..].copy_from_slice(&u32::try_from(position).unwrap_or(u32::MAX).to_be_bytes());
    Builder::from_custom_bytes(bytes).into_uuid()
}

/// The position in a placeholder of this batch.
pub(crate) fn position(batch: u64, id: Uuid) -> Option<usize> {
    let position = u32::from_be_bytes(id.as_bytes().last_chunk().copied()?) as usize;
    (placeholder(batch, position) == id).then_some(position)
}

/// What one operation of a batch gave.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum BatchOutcome {
    /// The data store as the operation left it.
    Store(Box<DataStore>),
    /// The data asset as the operation left it.
    Asset(Box<DataAsset>),
    /// The data set as the operation left it.
    Set(Box<DataSet>),
    /// What a deletion took.
    Deleted(Deleted),
}

impl BatchOutcome {
    /// The data store that was created or changed.
    pub fn store(&self) -> Option<&DataStore> {
        match self {
            BatchOutcome::Store(store) => Some(store),
            _ => None,
        }
    }

    /// The data asset that was created or changed.
    pub fn asset(&self) -> Option<&DataAsset> {
        match self {
            BatchOutcome::Asset(asset) => Some(asset),
            _ => None,
        }
    }

    /// The data set that was created or changed.
    pub fn set(&self) -> Option<&DataSet> {
        match self {
            BatchOutcome::Set(set) => Some(set),
            _ => None,
        }
    }

    /// What a deletion took.
    pub fn deleted(&self) -> Option<&Deleted> {
        match self {
            BatchOutcome::Deleted(deleted) => Some(deleted),
            _ => None,
        }
    }

    /// The id of the entity that was created or changed.
    pub fn id(&self) -> Option<EntityId> {
        match self {
            BatchOutcome::Store(store) => Some(store.id.into()),
            BatchOutcome::Asset(asset) => Some(asset.id.into()),
            BatchOutcome::Set(set) => Some(set.id.into()),
            BatchOutcome::Deleted(_) => None,
        }
    }
}

impl From<DataStore> for BatchOutcome {
    fn from(store: DataStore) -> Self {
        BatchOutcome::Store(Box::new(store))
    }
}

impl From<DataAsset> for BatchOutcome {
    fn from(asset: DataAsset) -> Self {
        BatchOutcome::Asset(Box::new(asset))
    }
}

impl From<DataSet> for BatchOutcome {
    fn from(set: DataSet) -> Self {
        BatchOutcome::Set(Box::new(set))
    }
}

/// An operation of a batch that was refused: see [`Error::failures`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BatchFailure {
    /// The position of the operation, from 0.
    pub index: u64,
    /// Why it was refused. What it says of an entity that the batch would have created it says of the placeholder.
    pub error: Error,
}

/// What can be done on this thread, before the write is queued.
pub(crate) fn plan<W: Write + ?Sized>(writer: &W, batch: &Batch) -> Result<Plan> {
    let Context { settings, actor, .. } = writer.context();
    let mut plan = batch::plan(settings, actor, batch)?;
    if plan.changes_something() {
        writer.ahead(|view| {
            plan.work_ahead(settings, actor, view);
            Ok(())
        })?;
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_tells_its_batch_and_position_and_is_no_entity() {
        for (batch, at) in [(1, 0), (1, 9_999), (0xFFFF_FFFF_FFFF, u32::MAX as usize)] {
            let id = placeholder(batch, at);
            assert_eq!(id.get_version_num(), 8);
            assert_eq!(position(batch, id), Some(at));
            assert_eq!(position(batch - 1, id), None);
            assert_eq!(position(batch, Uuid::from_u128(id.as_u128() ^ 1 << 40)), None);
        }
        let (mut one, mut two) = (Batch::new(), Batch::new());
        let store = one.create(crate::NewDataStore::new("warehouse", "postgres"));
        assert_eq!((one.position(store), two.position(store)), (Some(0), None));
        let other = two.create(crate::NewDataStore::new("warehouse", "postgres"));
        assert_ne!(store, other);
    }
}
