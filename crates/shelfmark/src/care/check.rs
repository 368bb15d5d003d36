//! One walk over everything: what is wrong, and how it could be mended.

mod changes;
mod undrop;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::ControlFlow;

use uuid::Uuid;

use super::{CheckReport, Finding, FindingKind};
use crate::backend::{Direction, KeyRange, Keyspace, Snapshot, successor};
use crate::engine::TenantView;
use crate::engine::tenants;
use crate::engine::view::{add_schemas, decode_head, state_of};
use crate::entity::{Entity, Lineage, State};
use crate::envelope;
use crate::error::{ErrorKind, Result};
use crate::format;
use crate::ids::{EntityId, EntityKind, created_time};
use crate::index::{IndexEntry, counters_of_row};
use crate::keyspace::{IndexOrder, TenantNumber, entities, keys};
use crate::{DataAsset, DataSet, DataStore};

mod requests;

/// The most findings that a report lists.
const MAX_FINDINGS: usize = 10_000;
/// How many rows, and bytes of them, are read at a time.
const CHUNK_ROWS: usize = 1_024;
const CHUNK_BYTES: usize = 4 << 20;

/// How one finding can be mended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fix {
    Put(IndexEntry),
    Delete,
    /// The whole index is made anew.
    Rebuild,
    /// The counter is made anew: its row may be unreadable.
    Count {
        space: Keyspace,
        prefix: Vec<u8>,
        count: i64,
    },
}

/// Everything that is wrong.
pub(crate) fn check(snapshot: &dyn Snapshot) -> Result<CheckReport> {
    let mut report = CheckReport::default();
    let rows = walk(snapshot, &mut |finding, _| {
        if report.findings.len() < MAX_FINDINGS {
            report.findings.push(finding);
        } else {
            report.more += 1;
        }
    })?;
    report.rows = rows;
    Ok(report)
}

/// Reads everything, gives each finding with its fix to `found`, and tells how many rows there are.
pub(super) fn walk(snapshot: &dyn Snapshot, found: &mut dyn FnMut(Finding, Option<Fix>)) -> Result<u64> {
    let mut walk = Walk {
        snapshot,
        found,
        tenants: HashMap::new(),
        counts: BTreeMap::new(),
        unreadable: BTreeSet::new(),
        untold: Vec::new(),
        rows: 0,
    };
    walk.meta()?;
    walk.tenants()?;
    walk.entities::<DataStore>()?;
    walk.entities::<DataAsset>()?;
    walk.entities::<DataSet>()?;
    walk.schemas()?;
    walk.changes()?;
    walk.requests()?;
    for &space in Keyspace::ALL {
        if space.is_index() {
            walk.index(space)?;
        }
    }
    walk.counters()?;
    walk.dropped()?;
    Ok(walk.rows)
}

struct Walk<'a> {
    snapshot: &'a dyn Snapshot,
    found: &'a mut dyn FnMut(Finding, Option<Fix>),
    tenants: HashMap<TenantNumber, String>,
    /// What each counter should say.
    counts: BTreeMap<(Keyspace, Vec<u8>), i64>,
    /// Indexes of which something cannot be read.
    unreadable: BTreeSet<Keyspace>,
    /// Entries whose entities cannot be read: what they should be cannot be told, so they stay and count, unless their index is made anew.
    untold: Vec<(Keyspace, Vec<u8>)>,
    rows: u64,
}

type Row = (Vec<u8>, Vec<u8>);

impl Walk<'_> {
    fn find(&mut self, space: Keyspace, key: &[u8], kind: FindingKind, detail: String, fix: Option<Fix>) {
        (self.found)(
            Finding {
                keyspace: space,
                key: key.to_vec(),
                kind,
                detail,
            },
            fix,
        );
    }

    /// Turns `Corrupt` into a finding; another error ends the walk.
    fn readable<T>(&mut self, space: Keyspace, key: &[u8], outcome: Result<T>) -> Result<Option<T>> {
        match outcome {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                self.find(space, key, FindingKind::Unreadable, error.to_string(), None);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Turns `Corrupt` into one finding for each index: a backend may keep many entries together, which then cannot be told apart.
    fn readable_index<T>(&mut self, space: Keyspace, outcome: Result<T>) -> Result<Option<T>> {
        match outcome {
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                if self.unreadable.insert(space) {
                    let (kind, detail) = (FindingKind::UnreadableIndex, error.to_string());
                    self.find(space, &[], kind, detail, Some(Fix::Rebuild));
                }
                Ok(None)
            }
            outcome => outcome.map(Some),
        }
    }

    /// Every row of a keyspace, chunk by chunk: a view is not read from inside its own scan.
    fn each_chunk(
        &mut self,
        space: Keyspace,
        mut work: impl FnMut(&mut Self, Vec<Row>) -> Result<()>,
    ) -> Result<()> {
        let mut range = KeyRange::all();
        loop {
            let mut chunk: Vec<Row> = Vec::new();
            let mut bytes = 0;
            let mut full = false;
            self.snapshot
                .scan(space, &range, Direction::Forward, &mut |key, value| {
                    bytes += key.len() + value.len();
                    chunk.push((key.to_vec(), value.to_vec()));
                    full = chunk.len() == CHUNK_ROWS || bytes >= CHUNK_BYTES;
                    if full {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    }
                })?;
            let next = chunk.last().filter(|_| full).and_then(|(key, _)| successor(key));
            self.rows += chunk.len() as u64;
            work(self, chunk)?;
            match next {
                Some(next) => range.start = next,
                None => return Ok(()),
            }
        }
    }

    fn meta(&mut self) -> Result<()> {
        let mut missing: HashSet<&[u8]> = format::REQUIRED_META.into_iter().collect();
        self.each_chunk(Keyspace::Meta, |walk, rows| {
            for (key, value) in rows {
                missing.remove(key.as_slice());
                let opened = envelope::open(Keyspace::Meta, &key, &value).map(drop);
                walk.readable(Keyspace::Meta, &key, opened)?;
            }
            Ok(())
        })?;
        for key in missing {
            self.find(
                Keyspace::Meta,
                key,
                FindingKind::Unreadable,
                "no value".to_owned(),
                None,
            );
        }
        Ok(())
    }

    fn tenants(&mut self) -> Result<()> {
        let next = tenants::next_number(self.snapshot);
        let next = self.readable(Keyspace::Meta, keys::META_NEXT_TENANT, next)?;
        self.each_chunk(Keyspace::Tenant, |walk, rows| {
            for (key, value) in rows {
                let decoded = tenants::decode(&key, &value);
                let Some((name, number)) = walk.readable(Keyspace::Tenant, &key, decoded)? else {
                    continue;
                };
                if next.is_some_and(|next| number >= next) {
                    let detail = format!("number {} has not been given yet", number.0);
                    walk.find(Keyspace::Tenant, &key, FindingKind::Insane, detail, None);
                }
                if let Some(other) = walk.tenants.insert(number, name) {
                    let detail = format!("number {} is also that of {other:?}", number.0);
                    walk.find(Keyspace::Tenant, &key, FindingKind::Insane, detail, None);
                }
            }
            Ok(())
        })
    }

    /// The tenant and id of an entity's key.
    fn entity_key(&mut self, space: Keyspace, key: &[u8]) -> Option<(TenantNumber, Uuid)> {
        let parts = keys::tenant_of(key).zip(keys::id_at_end(key));
        let Some((tenant, id)) = parts.filter(|_| key.len() == keys::TENANT + keys::ID) else {
            let detail = format!("a key of {} bytes", key.len());
            self.find(space, key, FindingKind::Unreadable, detail, None);
            return None;
        };
        self.tenant_is_known(space, key, tenant);
        Some((tenant, id))
    }

    fn tenant_is_known(&mut self, space: Keyspace, key: &[u8], tenant: TenantNumber) {
        if !self.tenants.contains_key(&tenant) {
            let detail = format!("there is no tenant of number {}", tenant.0);
            self.find(space, key, FindingKind::UnknownTenant, detail, None);
        }
    }

    fn entities<E: Entity>(&mut self) -> Result<()> {
        let space = entities(E::KIND);
        self.each_chunk(space, |walk, rows| {
            for (key, value) in rows {
                walk.expect_counted(space, &key);
                let Some((tenant, id)) = walk.entity_key(space, &key) else {
                    continue;
                };
                let state = decode_head::<E>(&key, &value).and_then(|head| state_of::<E>(&key, head));
                let Some(state) = walk.readable(space, &key, state)? else {
                    continue;
                };
                walk.entity::<E>(tenant, id, &key, &state)?;
            }
            Ok(())
        })
    }

    fn entity<E: Entity>(
        &mut self,
        tenant: TenantNumber,
        id: Uuid,
        key: &[u8],
        state: &State<E>,
    ) -> Result<()> {
        let space = entities(E::KIND);
        if id.get_version_num() != 7 {
            self.find(
                space,
                key,
                FindingKind::Insane,
                format!("{id} is not a UUID of version 7"),
                None,
            );
        }
        let modified = state.meta.last_modified_time;
        if modified < created_time(id) || (state.meta.version == 0 && modified != created_time(id)) {
            let detail = format!(
                "version {} modified at {modified}, created at {}",
                state.meta.version,
                created_time(id)
            );
            self.find(space, key, FindingKind::Insane, detail, None);
        }
        if state.schema_row && !self.snapshot.get(Keyspace::SetSchema, key, &mut |_| {})? {
            let detail = "no schemas where the data set says there are".to_owned();
            self.find(Keyspace::SetSchema, key, FindingKind::Unreadable, detail, None);
        }
        self.parent::<E>(tenant, key, state.lineage)?;
        for entry in E::indexed(id, state).entries(tenant) {
            self.expect_counted(entry.space, &entry.key);
            let mut same = false;
            let there = self
                .snapshot
                .get(entry.space, &entry.key, &mut |value| same = value == entry.value);
            let Some(there) = self.readable_index(entry.space, there)? else {
                continue;
            };
            if !there {
                let detail = format!("{} has no such entry", EntityId::new(E::KIND, id));
                let (space, key) = (entry.space, entry.key.clone());
                self.find(
                    space,
                    &key,
                    FindingKind::MissingIndexEntry,
                    detail,
                    Some(Fix::Put(entry)),
                );
            } else if !same {
                let detail = format!("{} has another value in this entry", EntityId::new(E::KIND, id));
                let (space, key) = (entry.space, entry.key.clone());
                self.find(
                    space,
                    &key,
                    FindingKind::StrayIndexEntry,
                    detail,
                    Some(Fix::Put(entry)),
                );
            }
        }
        Ok(())
    }

    /// Counts what there should be, whether it is there or not.
    fn expect_counted(&mut self, space: Keyspace, key: &[u8]) {
        for counter in counters_of_row(space, key) {
            *self.counts.entry(counter).or_default() += 1;
        }
    }

    fn parent<E: Entity>(&mut self, tenant: TenantNumber, key: &[u8], lineage: Lineage) -> Result<()> {
        let Some(parent) = lineage.parent(E::KIND) else {
            return Ok(());
        };
        let view = TenantView {
            snapshot: self.snapshot,
            name: "",
            number: Some(tenant),
        };
        let store = match parent {
            EntityId::Asset(asset) => view.store_of(asset),
            _ => view.exists(parent).map(|there| lineage.store.filter(|_| there)),
        };
        let space = entities(E::KIND);
        // An unreadable parent is a finding of its own.
        let store = match store {
            Err(error) if error.kind() == ErrorKind::Corrupt => return Ok(()),
            outcome => outcome?,
        };
        if store.is_none() {
            self.find(
                space,
                key,
                FindingKind::Orphan,
                format!("there is no {parent}"),
                None,
            );
        } else if store != lineage.store {
            let detail = format!("{parent} lies in another data store");
            self.find(space, key, FindingKind::Orphan, detail, None);
        }
        Ok(())
    }

    fn schemas(&mut self) -> Result<()> {
        let space = Keyspace::SetSchema;
        self.each_chunk(space, |walk, rows| {
            for (key, value) in rows {
                let Some((tenant, id)) = walk.entity_key(space, &key) else {
                    continue;
                };
                let view = TenantView {
                    snapshot: walk.snapshot,
                    name: "",
                    number: Some(tenant),
                };
                match view.state::<DataSet>(id, false) {
                    Ok(None) => {
                        let detail = "there is no such data set".to_owned();
                        walk.find(space, &key, FindingKind::StraySchema, detail, Some(Fix::Delete));
                    }
                    Ok(Some(state)) if !state.schema_row => {
                        let detail = "the data set says it has no schemas".to_owned();
                        walk.find(space, &key, FindingKind::StraySchema, detail, Some(Fix::Delete));
                    }
                    Ok(Some(mut state)) => {
                        let added = add_schemas::<DataSet>(&mut state, &key, &value);
                        walk.readable(space, &key, added)?;
                    }
                    // Found where the head lies.
                    Err(error) if error.kind() == ErrorKind::Corrupt => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        })
    }

    fn index(&mut self, space: Keyspace) -> Result<()> {
        let kind = kind_of(space);
        let read = self.each_chunk(space, |walk, rows| {
            for (key, value) in rows {
                let entry = IndexEntry { space, key, value };
                match kind {
                    EntityKind::Store => walk.entry::<DataStore>(entry)?,
                    EntityKind::Asset => walk.entry::<DataAsset>(entry)?,
                    EntityKind::Set => walk.entry::<DataSet>(entry)?,
                }
            }
            Ok(())
        });
        self.readable_index(space, read).map(|_| ())
    }

    fn entry<E: Entity>(&mut self, entry: IndexEntry) -> Result<()> {
        let stray = |walk: &mut Self, entry: &IndexEntry, detail: String| {
            walk.find(
                entry.space,
                &entry.key,
                FindingKind::StrayIndexEntry,
                detail,
                Some(Fix::Delete),
            );
        };
        let Some((tenant, id)) = keys::tenant_of(&entry.key).zip(keys::id_at_end(&entry.key)) else {
            stray(self, &entry, "a key too short".to_owned());
            return Ok(());
        };
        let view = TenantView {
            snapshot: self.snapshot,
            name: "",
            number: Some(tenant),
        };
        match view.state::<E>(id, false) {
            Ok(None) => stray(
                self,
                &entry,
                format!("there is no {}", EntityId::new(E::KIND, id)),
            ),
            Ok(Some(state)) => {
                // A wrong value has been found with the entity.
                let of_entity = E::indexed(id, &state)
                    .entries(tenant)
                    .iter()
                    .any(|own| own.space == entry.space && own.key == entry.key);
                if !of_entity {
                    stray(
                        self,
                        &entry,
                        format!("not an entry of {}", EntityId::new(E::KIND, id)),
                    );
                }
            }
            Err(error) if error.kind() == ErrorKind::Corrupt => self.untold.push((entry.space, entry.key)),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn counters(&mut self) -> Result<()> {
        for (space, key) in std::mem::take(&mut self.untold) {
            if !self.unreadable.contains(&space) {
                self.expect_counted(space, &key);
            }
        }
        let expected = std::mem::take(&mut self.counts);
        for ((space, prefix), expected) in &expected {
            let key = keys::counter(*space, prefix);
            let detail = match self.snapshot.count(*space, &[prefix]) {
                Ok(counted) if i64::try_from(counted) == Ok(*expected) => continue,
                Ok(counted) => format!("says {counted} where there are {expected}"),
                Err(error) if error.kind() == ErrorKind::Corrupt => error.to_string(),
                Err(error) => return Err(error),
            };
            let fix = Fix::Count {
                space: *space,
                prefix: prefix.clone(),
                count: *expected,
            };
            self.find(
                Keyspace::Counter,
                &key,
                FindingKind::WrongCounter,
                detail,
                Some(fix),
            );
        }
        self.each_chunk(Keyspace::Counter, |walk, rows| {
            for (key, value) in rows {
                let known = key.split_last().is_some_and(|(&space, prefix)| {
                    Keyspace::ALL
                        .get(usize::from(space))
                        .is_some_and(|&space| expected.contains_key(&(space, prefix.to_vec())))
                });
                if !known {
                    let counted = envelope::open_u64(Keyspace::Counter, &key, &value);
                    let detail = format!("counts {} where there is nothing", counted.unwrap_or_default());
                    let fix = Some(Fix::Delete);
                    walk.find(Keyspace::Counter, &key, FindingKind::WrongCounter, detail, fix);
                }
            }
            Ok(())
        })
    }
}

/// The kind of entity that an index is about.
fn kind_of(space: Keyspace) -> EntityKind {
    EntityKind::ALL
        .into_iter()
        .find(|&kind| IndexOrder::ALL.iter().any(|order| order.keyspace(kind) == space))
        // The one index apart from parents.
        .unwrap_or(EntityKind::Set)
}
