//! The three kinds of entity: what a caller gives, what it gets, and what is stored.

mod asset;
mod leaving;
mod operational;
pub(crate) mod reader;
pub(crate) mod rules;
mod schema;
mod set;
pub(crate) mod shape;
pub(crate) mod shown;
pub(crate) mod skim;
mod stamps;
mod store;
#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::Hash;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

pub use asset::{DataAsset, NewDataAsset, StoreInfo};
pub(crate) use leaving::{Leaving, LeavingReader};
pub use operational::{Operational, TableConnectionInfo};
pub use schema::{DataField, DataType, FieldType, Schema, UserTag};
pub use set::{AssetInfo, DataSet, NewDataSet};
pub use stamps::Stamps;
pub use store::{DataStore, NewDataStore};

use crate::error::Result;
use crate::hooks::{Hook, HookView, Proposal, Veto};
use crate::ids::{AssetId, EntityId, EntityKind, SetId, StoreId};
use crate::index::Indexed;
use crate::sortkey::Scalar;
use crate::time::Timestamp;
use crate::violations::Violations;

/// A JSON object with its keys in the order they were given, as `properties` and `loadOptions` hold one.
pub type JsonObject = Map<String, Value>;

/// A kind of entity: [`DataStore`], [`DataAsset`] or [`DataSet`]. Sealed.
pub trait Entity:
    Stored + Clone + fmt::Debug + PartialEq + Serialize + Into<crate::BatchOutcome> + Send + Sync + 'static
{
    /// Its id.
    type Id: TypedId<Entity = Self>;
    /// What a caller sets.
    type New: NewEntity<Entity = Self>;
    /// Which entities of this kind a call is about.
    type Selection: crate::list::Select + Clone + fmt::Debug + Default + Send + Sync + 'static;

    /// The kind, as a value.
    const KIND: EntityKind;

    /// Its id.
    fn id(&self) -> Self::Id;

    /// Its version: 0 after creation, one more at each change.
    fn version(&self) -> u64;

    /// Calls the hook's method for this kind.
    #[doc(hidden)]
    fn run_hook(hook: &dyn Hook, view: &HookView<'_>, proposal: &mut Proposal<'_, Self>) -> Result<(), Veto>;
}

/// An id that knows the kind of entity it names: [`StoreId`], [`AssetId`] or [`SetId`]. Sealed.
pub trait TypedId:
    sealed::Sealed + Copy + Eq + Ord + Hash + fmt::Debug + fmt::Display + Into<EntityId> + Send + Sync + 'static
{
    /// The kind of entity it names.
    type Entity: Entity<Id = Self>;

    /// Takes any UUID; one that no catalog made simply names nothing.
    fn from_uuid(id: uuid::Uuid) -> Self;

    /// The bare UUID.
    fn uuid(self) -> uuid::Uuid;
}

/// What a caller sets on an entity: [`NewDataStore`], [`NewDataAsset`] or [`NewDataSet`]. Sealed.
///
/// The same type creates an entity, replaces one, and is the copy that an update closure changes.
pub trait NewEntity:
    sealed::Sealed + Clone + fmt::Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// The kind of entity it makes.
    type Entity: Entity<New = Self>;

    /// Reads the JSON that the REST API's POST takes. Members that the application sets, and unknown ones, are ignored.
    ///
    /// # Errors
    ///
    /// `Invalid` with every violation: malformed JSON, duplicate keys, numbers out of range, values of a wrong type, an `id` or a
    /// `version` that is not null, broken rules.
    fn from_json(text: &[u8]) -> Result<Self> {
        let mut violations = Violations::default();
        let value = crate::json::parse(text)?;
        let new = reader::read_new::<Self::Entity>(value, &mut violations);
        rules::check::<Self::Entity>(&new, &mut violations);
        violations.finish().map(|()| new)
    }

    /// Reads the JSON that the REST API's PUT takes for the entity `id`, and the `version` in it, which is what its sender expects. Members that the
    /// application sets, and unknown ones, are ignored.
    ///
    /// The rules of the fields are left to [`Write::replace`](crate::Write::replace), which looks at the expectation first; only where something else is wrong are broken ones
    /// listed here too.
    ///
    /// ```
    /// # use shelfmark::{Catalog, Expectation, NewDataStore, NewEntity, Write};
    /// # fn main() -> shelfmark::Result<()> {
    /// # let session = Catalog::in_memory()?.session("acme", "ann")?;
    /// let store = session.create(NewDataStore::new("warehouse", "postgres"))?;
    /// let body = br#"{"version": 0, "technicalName": "warehouse", "type": "duckdb"}"#;
    /// let (new, version) = NewDataStore::from_put_json(body, store.id)?;
    /// let store = session.replace(store.id, version.map_or(Expectation::Any, Expectation::Exactly), new)?;
    /// assert_eq!((store.version, store.store_type.as_str()), (1, "duckdb"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `Invalid` with every violation: malformed JSON, duplicate keys, numbers out of range, values of a wrong type, another `id`.
    fn from_put_json(text: &[u8], id: <Self::Entity as Entity>::Id) -> Result<(Self, Option<u64>)> {
        let mut violations = Violations::default();
        let value = crate::json::parse(text)?;
        let (new, version) = reader::read_put::<Self::Entity>(value, id.uuid(), &mut violations);
        if violations.count() > 0 {
            rules::check::<Self::Entity>(&new, &mut violations);
        }
        violations.finish().map(|()| (new, version))
    }
}

pub(crate) mod sealed {
    pub trait Sealed {}
}

/// What the application sets on every entity, beside its id.
#[doc(hidden)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    pub version: u64,
    pub owner_id: String,
    pub created_by: String,
    pub last_modified_by: String,
    pub last_modified_time: Timestamp,
}

/// The ids of an entity's ancestors.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lineage {
    pub store: Option<StoreId>,
    pub asset: Option<AssetId>,
}

impl Lineage {
    /// The one that an input tells by naming its parent.
    pub(crate) fn naming(parent: Option<EntityId>) -> Self {
        match parent {
            Some(EntityId::Store(store)) => Self {
                store: Some(store),
                asset: None,
            },
            Some(EntityId::Asset(asset)) => Self {
                store: None,
                asset: Some(asset),
            },
            _ => Self::default(),
        }
    }

    /// The nearest ancestor.
    pub(crate) fn nearest(self) -> Option<EntityId> {
        self.asset
            .map(EntityId::Asset)
            .or(self.store.map(EntityId::Store))
    }

    /// The direct parent of an entity of `kind`.
    pub fn parent(self, kind: EntityKind) -> Option<EntityId> {
        match kind {
            EntityKind::Store => None,
            EntityKind::Asset => self.store.map(EntityId::Store),
            EntityKind::Set => self.asset.map(EntityId::Asset),
        }
    }
}

/// What an entity shows of its ancestors, read when it is.
#[doc(hidden)]
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inherited {
    pub asset_name: Option<String>,
    pub store_name: Option<String>,
    pub store_type: String,
}

/// An entity as it is stored, decoded: everything but what it inherits.
#[doc(hidden)]
#[derive(Debug, Clone, PartialEq)]
pub struct State<E: Entity> {
    pub meta: Meta,
    pub lineage: Lineage,
    pub fields: E::New,
    /// Whether a schema row belongs to it, read or not.
    pub schema_row: bool,
}

/// What the engine needs of a kind of entity.
#[doc(hidden)]
pub trait Stored: sealed::Sealed + Sized {
    /// The head of the record, borrowed from the bytes.
    type Head<'a>: Head<'a>;

    /// How the fields of an encoded head follow on each other, as far as single ones are looked for.
    const LAYOUT: &'static skim::Layout;

    /// Decodes the body of a head. The error says what is wrong with the bytes.
    fn decode_head(body: &[u8]) -> Result<Self::Head<'_>, String>;

    /// Encodes the head's body.
    fn encode_head(state: &State<Self>) -> Result<Vec<u8>, String>
    where
        Self: Entity;

    /// Writes the store's id into the encoded head of a set, which is encoded before its asset is read.
    fn set_store(_body: &mut [u8], _store: StoreId) {}

    /// Whether the input has anything for a schema row.
    fn has_schemas(_fields: &<Self as Entity>::New) -> bool
    where
        Self: Entity,
    {
        false
    }

    /// Encodes the body of the schema row, where there is one.
    fn encode_schemas(_fields: &<Self as Entity>::New) -> Result<Option<Vec<u8>>, String>
    where
        Self: Entity,
    {
        Ok(None)
    }

    /// Adds the decoded schema row to `fields`.
    fn add_schemas(_fields: &mut <Self as Entity>::New, _body: &[u8]) -> Result<(), String>
    where
        Self: Entity,
    {
        Ok(())
    }

    /// Owned state from a head, without schemas.
    fn state(head: Self::Head<'_>) -> Result<State<Self>, String>
    where
        Self: Entity;

    /// Adds the entity as callers see it to a JSON text.
    fn show(head: Self::Head<'_>, around: &shown::Around<'_>, text: &mut Vec<u8>) -> Result<(), String>;

    /// The entity as callers see it.
    fn assemble(id: uuid::Uuid, tenant: &str, state: State<Self>, inherited: Inherited) -> Self
    where
        Self: Entity;

    /// Puts the entity of an encoded head where it is to be, since it is large to move, without schemas and what it inherits. Gives whether a
    /// schema row belongs to it.
    fn place(body: &[u8], id: uuid::Uuid, tenant: &str, place: &mut Option<Self>) -> Result<bool, String>
    where
        Self: Entity,
    {
        let state = Self::state(Self::decode_head(body)?)?;
        let schema_row = state.schema_row;
        *place = Some(Self::assemble(id, tenant, state, Inherited::default()));
        Ok(schema_row)
    }

    /// The ids of its ancestors, as it shows them.
    fn lineage(&self) -> Lineage {
        Lineage::default()
    }

    /// Shows this of its ancestors.
    fn inherit(&mut self, _inherited: Inherited) {}

    /// Shows the schemas in the body of a schema row.
    fn read_schemas(&mut self, _body: &[u8]) -> Result<(), String> {
        Ok(())
    }

    /// The parent and ancestors that the input names.
    fn named_parent(fields: &<Self as Entity>::New) -> Option<EntityId>
    where
        Self: Entity;

    /// The owner that the input names.
    fn named_owner(fields: &<Self as Entity>::New) -> Option<&str>
    where
        Self: Entity;

    /// The same input with the parent of `lineage` named, and this owner.
    fn with_parent_and_owner(
        fields: <Self as Entity>::New,
        lineage: Lineage,
        owner_id: Option<String>,
    ) -> <Self as Entity>::New
    where
        Self: Entity;

    /// What the index entries are made of.
    fn indexed(id: uuid::Uuid, state: &State<Self>) -> Indexed<'_>
    where
        Self: Entity;

    /// Reads the settable fields; what is missing is left empty for the rules to find.
    fn read(object: &mut reader::Reader<'_>) -> <Self as Entity>::New
    where
        Self: Entity;

    /// Checks the rules of the settable fields.
    fn check(fields: &<Self as Entity>::New, checker: &mut rules::Checker<'_>)
    where
        Self: Entity;

    /// Sets `schema.effectiveDate` of each schema: kept where `old` has the same schema, else `now`.
    fn date_schemas(
        _fields: &mut <Self as Entity>::New,
        _old: Option<&<Self as Entity>::New>,
        _now: Timestamp,
    ) where
        Self: Entity,
    {
    }

    /// The value at a dotted path within the schema row, which no head holds.
    fn schema_scalar<'a>(_fields: &'a <Self as Entity>::New, _path: &str) -> Scalar<'a>
    where
        Self: Entity,
    {
        Scalar::Missing
    }
}

/// What lists read from a head.
#[doc(hidden)]
pub trait Head<'a> {
    fn stamps(&self) -> &Stamps<'_>;
    fn lineage(&self) -> Lineage;
    fn name(&self) -> Option<&str>;
    fn space_id(&self) -> Option<&str>;
    /// `type` of stores and sets, `appType` of assets.
    fn type_name(&self) -> Option<&str>;
    /// Whether a schema row belongs to it.
    fn has_schema_row(&self) -> bool {
        false
    }
    fn has_tag(&self, tag: &str) -> bool;
    /// The value at a dotted path of the field table, other than `id`, `createdTime`, `tenantId`, and what lies in schemas or ancestors.
    fn scalar(&self, path: &str) -> Scalar<'_>;
}

macro_rules! entity_traits {
    ($entity:ident, $new:ident, $id:ident, $kind:ident, $hook:ident, $selection:ty) => {
        impl sealed::Sealed for $entity {}
        impl sealed::Sealed for $new {}
        impl sealed::Sealed for $id {}

        impl Entity for $entity {
            type Id = $id;
            type New = $new;
            type Selection = $selection;

            const KIND: EntityKind = EntityKind::$kind;

            fn id(&self) -> $id {
                self.id
            }

            fn version(&self) -> u64 {
                self.version
            }

            fn run_hook(
                hook: &dyn Hook,
                view: &HookView<'_>,
                proposal: &mut Proposal<'_, Self>,
            ) -> Result<(), Veto> {
                hook.$hook(view, proposal)
            }
        }

        impl TypedId for $id {
            type Entity = $entity;

            fn from_uuid(id: uuid::Uuid) -> Self {
                $id(id)
            }

            fn uuid(self) -> uuid::Uuid {
                self.0
            }
        }

        impl NewEntity for $new {
            type Entity = $entity;
        }

        impl<'de> serde::Deserialize<'de> for $new {
            /// By the same rules as [`NewEntity::from_json`], except that duplicate keys and integers out of range are as the format's own
            /// reader takes them.
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let mut violations = Violations::default();
                let new = reader::read_new::<$entity>(Value::deserialize(deserializer)?, &mut violations);
                rules::check::<$entity>(&new, &mut violations);
                violations
                    .finish()
                    .map(|()| new)
                    .map_err(serde::de::Error::custom)
            }
        }
    };
}

entity_traits!(
    DataStore,
    NewDataStore,
    StoreId,
    Store,
    store,
    crate::list::AllStores
);
entity_traits!(
    DataAsset,
    NewDataAsset,
    AssetId,
    Asset,
    asset,
    crate::list::AssetSelection
);
entity_traits!(DataSet, NewDataSet, SetId, Set, set, crate::list::SetSelection);
