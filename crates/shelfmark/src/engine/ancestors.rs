//! What entities show of their ancestors, and where it is remembered.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{PoisonError, RwLock};

use super::view::{TenantView, name_in, name_in_body, text_at};
use crate::entity::{Inherited, Lineage, Stored as _, skim};
use crate::envelope;
use crate::error::{Error, Result};
use crate::ids::{AssetId, EntityId};
use crate::keyspace::{Keyspace, TenantNumber, entities, keys};
use crate::{DataAsset, DataStore};

/// What was read of ancestors, so that a page of children reads each once.
pub(crate) type InheritedCache = HashMap<EntityId, Inherited, IdHash>;

type IdHash = BuildHasherDefault<IdHasher>;

/// The end of an id for its hash: the catalog makes ids, and their ends at random.
#[derive(Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(end) = bytes.last_chunk() {
            self.0 ^= u64::from_be_bytes(*end);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// At most so many parents are remembered beside a state: less than 1 MB of usual names, 8 MB of the longest.
const MOST_REMEMBERED: usize = 4_096;

/// What the children of a parent show of their ancestors, as one state has it. It never changes, since the state does not.
#[derive(Default)]
pub(super) struct Ancestors(RwLock<HashMap<(TenantNumber, EntityId), Inherited, IdHash>>);

impl Ancestors {
    fn get(&self, parent: &(TenantNumber, EntityId)) -> Option<Inherited> {
        let remembered = self.0.read().unwrap_or_else(PoisonError::into_inner);
        remembered.get(parent).cloned()
    }

    fn keep(&self, parent: (TenantNumber, EntityId), inherited: &Inherited) {
        let mut remembered = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() < MOST_REMEMBERED {
            remembered.insert(parent, inherited.clone());
        }
    }
}

impl TenantView<'_> {
    /// What an entity shows of its ancestors; read once for all that have the same.
    pub(crate) fn inherited(&self, lineage: Lineage, cache: &mut InheritedCache) -> Result<Inherited> {
        let Some(nearest) = lineage.nearest() else {
            return Ok(Inherited::default());
        };
        if let Some(known) = cache.get(&nearest) {
            return Ok(known.clone());
        }
        let inherited = self.inherited_or(lineage, |view| match (nearest, lineage.store) {
            (EntityId::Asset(asset), Some(store)) => {
                let of_store = Lineage {
                    store: Some(store),
                    asset: None,
                };
                Ok(Inherited {
                    asset_name: view.asset_name(asset)?,
                    ..view.inherited(of_store, cache)?
                })
            }
            _ => view.read_inherited(lineage),
        })?;
        cache.insert(nearest, inherited.clone());
        Ok(inherited)
    }

    /// What one entity shows of its ancestors.
    pub(super) fn inherited_by_one(&self, lineage: Lineage) -> Result<Inherited> {
        self.inherited_or(lineage, |view| view.read_inherited(lineage))
    }

    /// What is remembered beside the state, or else what `read` gives.
    fn inherited_or(
        &self,
        lineage: Lineage,
        read: impl FnOnce(&Self) -> Result<Inherited>,
    ) -> Result<Inherited> {
        // Without the store it is not the whole of what is shown.
        let nearest = lineage.store.and_then(|_| lineage.nearest());
        let (Some(parent), Some(beside)) = (self.number.zip(nearest), self.beside()) else {
            return read(self);
        };
        if let Some(known) = beside.ancestors.get(&parent) {
            return Ok(known);
        }
        let inherited = read(self)?;
        beside.ancestors.keep(parent, &inherited);
        Ok(inherited)
    }

    /// One row for each ancestor.
    fn read_inherited(&self, lineage: Lineage) -> Result<Inherited> {
        let asset_name = match lineage.asset {
            Some(asset) => self.asset_name(asset)?,
            None => None,
        };
        let Some(store) = lineage.store else {
            return Ok(Inherited {
                asset_name,
                ..Inherited::default()
            });
        };
        self.row::<DataStore, _>(store.uuid(), |key, value| {
            let body = envelope::open(Keyspace::Store, key, value)?;
            Ok(Inherited {
                asset_name,
                store_name: name_in_body::<DataStore>(key, body)?,
                store_type: text_at::<DataStore>(
                    key,
                    body,
                    const { skim::position(DataStore::LAYOUT, "type") },
                )?
                .unwrap_or_default(),
            })
        })?
        .ok_or_else(|| self.orphan(store.into()))
    }

    fn asset_name(&self, asset: AssetId) -> Result<Option<String>> {
        self.row::<DataAsset, _>(asset.uuid(), name_in::<DataAsset>)?
            .ok_or_else(|| self.orphan(asset.into()))
    }

    fn orphan(&self, parent: EntityId) -> Error {
        let tenant = self.number.unwrap_or(TenantNumber(0));
        let key = keys::entity(tenant, parent.uuid());
        Error::corrupt(
            entities(parent.kind()),
            &key,
            format_args!("{parent} has children but no row"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Catalog, DataSet, Expectation, NewDataAsset, NewDataSet, NewDataStore, Query, Read, Write};

    fn shown(at: &impl Read, id: crate::SetId) -> (String, String) {
        let set = at.get(id).unwrap().unwrap();
        let listed = at.list(&Query::<DataSet>::new().limit(1)).unwrap().items;
        assert_eq!(listed, std::slice::from_ref(&set));
        let asset = set.data_asset_info;
        (asset.name.unwrap(), asset.data_store_info.name.unwrap())
    }

    fn names(asset: &str, store: &str) -> (String, String) {
        (asset.to_owned(), store.to_owned())
    }

    #[test]
    fn each_state_shows_the_names_of_its_own() {
        let session = Catalog::in_memory().unwrap().session("acme", "ann").unwrap();
        let new = NewDataStore {
            name: Some("Lake".to_owned()),
            ..NewDataStore::new("lake", "x")
        };
        let store = session.create(new).unwrap().id;
        let new = NewDataAsset {
            name: Some("Sales".to_owned()),
            ..NewDataAsset::new(store, "sales", "x")
        };
        let asset = session.create(new).unwrap().id;
        let set = session
            .create(NewDataSet::new(asset, "orders", "a:b:c:orders", "s"))
            .unwrap()
            .id;
        let before = session.snapshot().unwrap();
        assert_eq!(shown(&before, set), names("Sales", "Lake"));
        session
            .update(asset, 0, |asset| asset.name = Some("Raw".into()))
            .unwrap();
        assert_eq!(shown(&session, set), names("Raw", "Lake"));
        session
            .transact(|transaction| {
                transaction.update(store, Expectation::Any, |store| store.name = Some("Pond".into()))?;
                assert_eq!(shown(transaction, set), names("Raw", "Pond"));
                assert_eq!(shown(&session, set), names("Raw", "Lake"));
                Ok(())
            })
            .unwrap();
        assert_eq!(shown(&session, set), names("Raw", "Pond"));
        assert_eq!(shown(&before, set), names("Sales", "Lake"));
    }

    #[test]
    fn what_is_remembered_is_whole_and_bounded() {
        let (tenant, store) = (TenantNumber(1), crate::StoreId(uuid::Uuid::max()));
        let remembered = Ancestors::default();
        for n in 0..=MOST_REMEMBERED as u128 {
            let asset = AssetId(uuid::Uuid::from_u128(n));
            remembered.keep((tenant, asset.into()), &Inherited::default());
        }
        remembered.keep((tenant, store.into()), &Inherited::default());
        assert_eq!(remembered.0.read().unwrap().len(), MOST_REMEMBERED);
        assert!(remembered.get(&(tenant, store.into())).is_none());
    }
}
