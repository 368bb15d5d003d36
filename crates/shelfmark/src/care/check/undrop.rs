//! What was dropped: `dropped` is an index of the roots' records in `dropped_row`, whose other rows each belong to a root.

use uuid::Uuid;

use super::{Fix, Walk};
use crate::backend::Keyspace;
use crate::care::FindingKind;
use crate::engine::TenantView;
use crate::engine::undrop::{HEAD, Kept, RECORD, SCHEMAS, add_schemas, kept, state_of};
use crate::entity::{Entity, State};
use crate::error::{ErrorKind, Result};
use crate::ids::{EntityId, EntityKind};
use crate::index::IndexEntry;
use crate::keyspace::{TenantNumber, keys};
use crate::{DataAsset, DataSet, DataStore};

/// The root whose rows are being read: they lie together, its own not always first.
struct Root {
    tenant: TenantNumber,
    id: Uuid,
    /// `None` where there is no record, or none that can be read.
    kept: Option<Kept>,
    sets: u64,
}

impl Walk<'_> {
    pub(super) fn dropped(&mut self) -> Result<()> {
        let space = Keyspace::Dropped;
        self.each_chunk(space, |walk, rows| {
            for (key, value) in rows {
                let Some(tenant) = walk.tenant_of(space, &key) else {
                    continue;
                };
                let Some((time, root)) = keys::of_dropped(&key).filter(|_| value.is_empty()) else {
                    let detail = "not an entry of something dropped".to_owned();
                    walk.find(
                        space,
                        &key,
                        FindingKind::StrayIndexEntry,
                        detail,
                        Some(Fix::Delete),
                    );
                    continue;
                };
                match kept(walk.snapshot, tenant, root) {
                    Ok(Some(kept)) if keys::dropped(tenant, kept.time, root) == key => {}
                    Ok(_) => {
                        let detail = format!("nothing of {root} was dropped at {time}");
                        walk.find(
                            space,
                            &key,
                            FindingKind::StrayIndexEntry,
                            detail,
                            Some(Fix::Delete),
                        );
                    }
                    // Found where the record lies.
                    Err(error) if error.kind() == ErrorKind::Corrupt => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        })?;
        self.dropped_rows()
    }

    fn tenant_of(&mut self, space: Keyspace, key: &[u8]) -> Option<TenantNumber> {
        let Some(tenant) = keys::tenant_of(key) else {
            let detail = format!("a key of {} bytes", key.len());
            self.find(space, key, FindingKind::Unreadable, detail, None);
            return None;
        };
        self.tenant_is_known(space, key, tenant);
        Some(tenant)
    }

    fn dropped_rows(&mut self) -> Result<()> {
        let space = Keyspace::DroppedRow;
        let mut current: Option<Root> = None;
        self.each_chunk(space, |walk, rows| {
            for (key, value) in rows {
                let Some(tenant) = walk.tenant_of(space, &key) else {
                    continue;
                };
                let Some((root, id, part)) =
                    keys::of_dropped_row(&key).filter(|(_, _, part)| *part <= SCHEMAS)
                else {
                    let detail = "not a key of something dropped".to_owned();
                    walk.find(space, &key, FindingKind::Unreadable, detail, None);
                    continue;
                };
                let same = |known: &&mut Root| (known.tenant, known.id) == (tenant, root);
                if current.as_mut().filter(same).is_none() {
                    walk.end_of_root(current.take())?;
                    let kept = kept(walk.snapshot, tenant, root);
                    let record = keys::dropped_row(tenant, root, root, RECORD);
                    let kept = walk.readable(space, &record, kept)?.flatten();
                    if kept.is_none() {
                        let detail = format!("no record of when {root} was dropped");
                        walk.find(space, &record, FindingKind::Orphan, detail, None);
                    }
                    current = Some(Root {
                        tenant,
                        id: root,
                        kept,
                        sets: 0,
                    });
                }
                if let Some(root) = &mut current {
                    walk.dropped_row(root, id, part, &key, &value)?;
                }
            }
            Ok(())
        })?;
        self.end_of_root(current)
    }

    fn dropped_row(&mut self, root: &mut Root, id: Uuid, part: u8, key: &[u8], value: &[u8]) -> Result<()> {
        let kind = match &root.kept {
            Some(kept) if id == root.id => kept.id.kind(),
            None if id == root.id => return Ok(()),
            _ => EntityKind::Set,
        };
        match part {
            RECORD if id == root.id => Ok(()),
            RECORD => {
                let detail = "a record of what is no root".to_owned();
                self.find(Keyspace::DroppedRow, key, FindingKind::Orphan, detail, None);
                Ok(())
            }
            HEAD => {
                root.sets += u64::from(id != root.id);
                match kind {
                    EntityKind::Store => self.dropped_head::<DataStore>(root, id, key, value),
                    EntityKind::Asset => self.dropped_head::<DataAsset>(root, id, key, value),
                    EntityKind::Set => self.dropped_head::<DataSet>(root, id, key, value),
                }
            }
            _ => self.dropped_schemas(root, id, key, value),
        }
    }

    fn dropped_head<E: Entity>(&mut self, root: &Root, id: Uuid, key: &[u8], value: &[u8]) -> Result<()> {
        let space = Keyspace::DroppedRow;
        let state = state_of::<E>(key, value);
        let Some(state) = self.readable(space, key, state)? else {
            return Ok(());
        };
        let alive = TenantView {
            snapshot: self.snapshot,
            name: "",
            number: Some(root.tenant),
        }
        .exists(EntityId::new(E::KIND, id))?;
        if alive {
            let detail = format!("{} is there, and dropped too", EntityId::new(E::KIND, id));
            self.find(space, key, FindingKind::Insane, detail, None);
        }
        let schemas = keys::dropped_row(root.tenant, root.id, id, SCHEMAS);
        // A purge in steps takes heads first.
        if state.schema_row && !self.snapshot.get(space, &schemas, &mut |_| {})? {
            let detail = "no schemas where the data set says there are".to_owned();
            self.find(space, &schemas, FindingKind::Unreadable, detail, None);
        }
        Ok(())
    }

    fn dropped_schemas(&mut self, root: &Root, id: Uuid, key: &[u8], value: &[u8]) -> Result<()> {
        let space = Keyspace::DroppedRow;
        let head = keys::dropped_row(root.tenant, root.id, id, HEAD);
        let mut state = None;
        self.snapshot.get(space, &head, &mut |value| {
            state = Some(state_of::<DataSet>(&head, value));
        })?;
        let mut state: State<DataSet> = match state {
            Some(Ok(state)) => state,
            // Found where the head lies.
            Some(Err(_)) => return Ok(()),
            None if root.kept.as_ref().is_some_and(|kept| kept.purging) => return Ok(()),
            None => {
                let detail = "schemas without their data set".to_owned();
                self.find(space, key, FindingKind::Orphan, detail, None);
                return Ok(());
            }
        };
        let added = add_schemas::<DataSet>(&mut state, key, value);
        self.readable(space, key, added).map(drop)
    }

    /// What can only be told when all rows of a root have been read.
    fn end_of_root(&mut self, root: Option<Root>) -> Result<()> {
        let Some(Root {
            tenant,
            id,
            kept: Some(kept),
            sets,
        }) = root
        else {
            return Ok(());
        };
        let record = keys::dropped_row(tenant, id, id, RECORD);
        let entry = IndexEntry {
            space: Keyspace::Dropped,
            key: keys::dropped(tenant, kept.time, id),
            value: Vec::new(),
        };
        if !self.snapshot.get(entry.space, &entry.key, &mut |_| {})? {
            let detail = format!("{} was dropped and has no such entry", kept.id);
            let key = entry.key.clone();
            let fix = Some(Fix::Put(entry));
            self.find(
                Keyspace::Dropped,
                &key,
                FindingKind::MissingIndexEntry,
                detail,
                fix,
            );
        }
        if kept.purging {
            return Ok(());
        }
        let head = keys::dropped_row(tenant, id, id, HEAD);
        if !self.snapshot.get(Keyspace::DroppedRow, &head, &mut |_| {})? {
            let detail = format!("no head of {}", kept.id);
            self.find(Keyspace::DroppedRow, &head, FindingKind::Unreadable, detail, None);
        }
        if sets != kept.descendants {
            let detail = format!(
                "{} data sets went with {}, and {sets} are left",
                kept.descendants, kept.id
            );
            self.find(
                Keyspace::DroppedRow,
                &record,
                FindingKind::Unreadable,
                detail,
                None,
            );
        }
        Ok(())
    }
}
