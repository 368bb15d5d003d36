//! Which parents a list or a deletion is about.

use std::collections::BTreeSet;

use crate::engine::TenantView;
use crate::error::{Error, Result};
use crate::ids::{AssetId, EntityId, EntityKind, StoreId};
use crate::keyspace::{Parent, bounds, entities};

/// What a selection comes to in one view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every entity of the kind in the tenant.
    Tenant,
    /// The children of these parents, each once, sorted.
    Parents(Vec<Parent>),
}

/// A selection that can be resolved. Sealed.
#[doc(hidden)]
pub trait Select {
    /// What it comes to; `NotFound` where it names something that is not there.
    fn resolve(&self, view: &TenantView<'_>) -> Result<Scope>;

    /// How many parents it names; `None` where only a view can tell.
    fn named_parents(&self) -> Option<u64>;

    /// Whether it is everything of the tenant.
    fn is_all(&self) -> bool;

    /// Bytes that two selections share only if they are the same.
    fn fingerprint(&self, bytes: &mut Vec<u8>);
}

/// All data stores of the tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct AllStores;

/// Which data assets.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum AssetSelection {
    /// All of the tenant.
    #[default]
    All,
    /// Those in these stores, each of which must exist.
    InStores(Vec<StoreId>),
}

/// Which data sets.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum SetSelection {
    /// All of the tenant.
    #[default]
    All,
    /// Those in the assets of these stores, each of which must exist.
    InStores(Vec<StoreId>),
    /// Those in these assets, each of which must exist.
    InAssets(Vec<AssetId>),
    /// Those in these assets, each of which must exist and lie in one of these stores.
    Within {
        /// The stores.
        stores: Vec<StoreId>,
        /// The assets.
        assets: Vec<AssetId>,
    },
}

impl From<StoreId> for AssetSelection {
    fn from(store: StoreId) -> Self {
        AssetSelection::InStores(vec![store])
    }
}

impl From<Vec<StoreId>> for AssetSelection {
    fn from(stores: Vec<StoreId>) -> Self {
        AssetSelection::InStores(stores)
    }
}

impl From<StoreId> for SetSelection {
    fn from(store: StoreId) -> Self {
        SetSelection::InStores(vec![store])
    }
}

impl From<Vec<StoreId>> for SetSelection {
    fn from(stores: Vec<StoreId>) -> Self {
        SetSelection::InStores(stores)
    }
}

impl From<AssetId> for SetSelection {
    fn from(asset: AssetId) -> Self {
        SetSelection::InAssets(vec![asset])
    }
}

impl From<Vec<AssetId>> for SetSelection {
    fn from(assets: Vec<AssetId>) -> Self {
        SetSelection::InAssets(assets)
    }
}

impl Select for AllStores {
    fn resolve(&self, view: &TenantView<'_>) -> Result<Scope> {
        // Stores have the tenant itself for a parent.
        Ok(Scope::Parents(view.parent(None).into_iter().collect()))
    }

    fn named_parents(&self) -> Option<u64> {
        Some(1)
    }

    fn is_all(&self) -> bool {
        true
    }

    fn fingerprint(&self, bytes: &mut Vec<u8>) {
        bytes.push(0);
    }
}

impl Select for AssetSelection {
    fn resolve(&self, view: &TenantView<'_>) -> Result<Scope> {
        match self {
            AssetSelection::All => Ok(Scope::Tenant),
            AssetSelection::InStores(stores) => existing(view, stores.iter().map(|&id| id.into())),
        }
    }

    fn named_parents(&self) -> Option<u64> {
        match self {
            AssetSelection::All => None,
            AssetSelection::InStores(stores) => Some(stores.len() as u64),
        }
    }

    fn is_all(&self) -> bool {
        *self == AssetSelection::All
    }

    fn fingerprint(&self, bytes: &mut Vec<u8>) {
        match self {
            AssetSelection::All => bytes.push(0),
            AssetSelection::InStores(stores) => {
                append_ids(bytes, 1, stores.iter().map(|&id| id.into()));
            }
        }
    }
}

impl Select for SetSelection {
    fn resolve(&self, view: &TenantView<'_>) -> Result<Scope> {
        match self {
            SetSelection::All => Ok(Scope::Tenant),
            SetSelection::InStores(stores) => {
                let Scope::Parents(stores) = existing(view, stores.iter().map(|&id| id.into()))? else {
                    return Ok(Scope::Tenant);
                };
                let mut parents = Vec::new();
                for store in stores {
                    let assets = view.all_children(EntityKind::Asset, store)?;
                    parents.extend(assets.into_iter().filter_map(|asset| view.parent(Some(asset))));
                }
                parents.sort_unstable();
                Ok(Scope::Parents(parents))
            }
            SetSelection::InAssets(assets) => existing(view, assets.iter().map(|&id| id.into())),
            SetSelection::Within { stores, assets } => {
                existing(view, stores.iter().map(|&id| id.into()))?;
                let mut outside = Vec::new();
                for &asset in assets {
                    if !view.store_of(asset)?.is_some_and(|store| stores.contains(&store)) {
                        outside.push(EntityId::Asset(asset));
                    }
                }
                if !outside.is_empty() {
                    return Err(Error::not_found(outside));
                }
                existing(view, assets.iter().map(|&id| id.into()))
            }
        }
    }

    fn named_parents(&self) -> Option<u64> {
        match self {
            SetSelection::All | SetSelection::InStores(_) => None,
            SetSelection::InAssets(assets) => Some(assets.len() as u64),
            SetSelection::Within { stores, assets } => Some((stores.len() + assets.len()) as u64),
        }
    }

    fn is_all(&self) -> bool {
        *self == SetSelection::All
    }

    fn fingerprint(&self, bytes: &mut Vec<u8>) {
        match self {
            SetSelection::All => bytes.push(0),
            SetSelection::InStores(stores) => append_ids(bytes, 1, stores.iter().map(|&id| id.into())),
            SetSelection::InAssets(assets) => append_ids(bytes, 2, assets.iter().map(|&id| id.into())),
            SetSelection::Within { stores, assets } => {
                append_ids(bytes, 3, stores.iter().map(|&id| id.into()));
                append_ids(bytes, 4, assets.iter().map(|&id| id.into()));
            }
        }
    }
}

/// The parents of these ids, each once, sorted. Rows are looked up together.
fn existing(view: &TenantView<'_>, ids: impl Iterator<Item = EntityId>) -> Result<Scope> {
    let ids: BTreeSet<EntityId> = ids.collect();
    let mut missing = Vec::new();
    let mut parents = Vec::with_capacity(ids.len());
    for kind in EntityKind::ALL {
        let ids: Vec<EntityId> = ids.iter().copied().filter(|id| id.kind() == kind).collect();
        let there = view.exist(kind, &ids)?;
        for (id, there) in ids.into_iter().zip(there) {
            match view.parent(Some(id.uuid())) {
                Some(parent) if there => parents.push(parent),
                _ => missing.push(id),
            }
        }
    }
    if missing.is_empty() {
        Ok(Scope::Parents(parents))
    } else {
        Err(Error::not_found(missing))
    }
}

fn append_ids(bytes: &mut Vec<u8>, tag: u8, ids: impl Iterator<Item = EntityId>) {
    let ids: BTreeSet<EntityId> = ids.collect();
    bytes.push(tag);
    bytes.extend_from_slice(&(ids.len() as u64).to_be_bytes());
    for id in ids {
        bytes.extend_from_slice(id.uuid().as_bytes());
    }
}

impl Scope {
    /// The parents whose children are selected; for a whole tenant, all there are.
    pub(crate) fn parents(self, view: &TenantView<'_>, kind: EntityKind) -> Result<Vec<Parent>> {
        let above = match (self, kind) {
            (Scope::Parents(parents), _) => return Ok(parents),
            (Scope::Tenant, EntityKind::Store) => return Ok(view.parent(None).into_iter().collect()),
            (Scope::Tenant, EntityKind::Asset) => EntityKind::Store,
            (Scope::Tenant, EntityKind::Set) => EntityKind::Asset,
        };
        let Some(tenant) = view.number else {
            return Ok(Vec::new());
        };
        let (ids, _) = view.ids_in(entities(above), &bounds::tenant(tenant), usize::MAX)?;
        Ok(ids
            .into_iter()
            .map(|id| Parent { tenant, id: Some(id) })
            .collect())
    }

    /// How many entities of `kind` are selected. O(parents) with counters.
    pub(crate) fn count(&self, view: &TenantView<'_>, kind: EntityKind) -> Result<u64> {
        match self {
            Scope::Tenant => view.total(kind),
            Scope::Parents(parents) => view.children(kind, parents),
        }
    }
}
