//! Creating many entities in one commit.

use std::collections::HashMap;
use std::panic::resume_unwind;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, Scope, ScopedJoinHandle};

use uuid::Uuid;

use super::create::{self, Encoded, Parents, Prepared};
use super::{Stage, feed, stage};
use crate::backend::two_threads::are_two;
use crate::backend::{Rooms, WriteBatch};
use crate::entity::{Entity, Lineage, NewEntity};
use crate::error::{Error, Result};
use crate::ids::{EntityId, EntityKind};
use crate::index;
use crate::keyspace::TenantNumber;
use crate::read::{Context, Read};

/// How many creations are handed to another thread at a time.
const BLOCK: usize = 256;
/// How many such blocks may wait for it.
const BLOCKS: usize = 8;

/// Creations of one commit, made as far as they can be without the view they are committed on.
pub(crate) struct Many<E: Entity> {
    ids: Vec<Uuid>,
    bytes: usize,
    way: Way<E>,
}

enum Way<E: Entity> {
    /// Hooks or the names of others have a say in each.
    OneByOne(Vec<Prepared<E>>),
    /// Nothing but the parents is to be looked at: every row is there, and of the input nothing else is held.
    Ahead {
        tenant: TenantNumber,
        rows: WriteBatch,
        parents: FoundParents,
    },
}

/// The parents of creations as they were when the rows were made.
#[derive(Default)]
struct FoundParents {
    positions: HashMap<EntityId, usize>,
    /// In the order they were met.
    all: Vec<FoundParent>,
    /// Which of them each creation has.
    of: Vec<usize>,
}

struct FoundParent {
    id: EntityId,
    /// The first creation that has it.
    first: usize,
    /// `None`: it was not there.
    lineage: Option<Lineage>,
}

/// A child whose rows are to be made.
struct Child<E: Entity> {
    id: Uuid,
    encoded: Encoded<E>,
    lineage: Option<Lineage>,
}

impl<E: Entity> Many<E> {
    /// Takes members until there are so many, or so many encoded bytes of them, or no more; checks and encodes them. The members are asked for on
    /// this thread, and another one does half of the work, where it is much, unless this is done `beside` a commit of rows that take up so much: then these get the
    /// same room, and this thread alone makes them. An error comes with the position of its member.
    pub(crate) fn take<N: NewEntity<Entity = E>>(
        reader: &(impl Read + ?Sized),
        members: &mut impl Iterator<Item = N>,
        (most, most_bytes): (usize, usize),
        beside: Option<Rooms>,
    ) -> Result<Self, (usize, Error)>
    where
        E: Entity<New = N>,
    {
        let Context { settings, actor, .. } = reader.context();
        let tenant = reader
            .with_view(|view| Ok(view.number))
            .map_err(|error| (0, error))?;
        let free = settings.hooks.is_empty() && !settings.unique_technical_names;
        let mut ids = Vec::new();
        let mut bytes = 0_usize;
        let mut each = |add: &mut dyn FnMut(Uuid, N) -> Result<usize>| -> Result<(), (usize, Error)> {
            while ids.len() < most && bytes < most_bytes {
                let Some(new) = members.next() else { break };
                let id = create::next_id(settings);
                let added = add(id, new).map_err(|error| (ids.len(), error))?;
                bytes = bytes.saturating_add(added);
                ids.push(id);
            }
            Ok(())
        };
        let way = match tenant {
            // Stores have no parent, by which a tenant that was dropped meanwhile would be noticed.
            Some(tenant) if free && E::KIND != EntityKind::Store => {
                let mut parents = FoundParents::default();
                let rows = thread::scope(|scope| {
                    let mut rows = Rows::new(tenant, beside);
                    each(&mut |id, new| {
                        let encoded = create::encode::<E>(actor, id, new)?;
                        let parent = encoded.state.lineage.parent(E::KIND);
                        let lineage = parents.add(reader, parent)?;
                        let bytes = encoded.bytes();
                        rows.add(scope, Child { id, encoded, lineage });
                        Ok(bytes)
                    })?;
                    Ok(rows.finish())
                })?;
                Way::Ahead {
                    tenant,
                    rows,
                    parents,
                }
            }
            _ => {
                let mut all = Vec::new();
                each(&mut |id, new| {
                    let prepared = create::prepare_as::<E>(settings, actor, id, new)?;
                    let bytes = prepared.bytes();
                    all.push(prepared);
                    Ok(bytes)
                })?;
                Way::OneByOne(all)
            }
        };
        Ok(Self { ids, bytes, way })
    }

    pub(crate) fn ids(&self) -> &[Uuid] {
        &self.ids
    }

    /// How much its rows take up.
    pub(crate) fn rooms(&self) -> Rooms {
        match &self.way {
            Way::OneByOne(_) => Rooms::default(),
            Way::Ahead { rows, .. } => rows.rooms(),
        }
    }

    pub(crate) fn into_ids(self) -> Vec<Uuid> {
        self.ids
    }

    /// Bytes of the encoded rows, before any hook.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Stages all of them. An error comes with the position of its member.
    pub(crate) fn stage(&self, stage: &mut Stage<'_>) -> Result<(), (usize, Error)> {
        match &self.way {
            Way::OneByOne(all) => {
                let mut parents = Parents::default();
                for (position, prepared) in all.iter().enumerate() {
                    create::create::<E>(stage, prepared, &mut parents).map_err(|error| (position, error))?;
                }
            }
            Way::Ahead {
                tenant,
                rows,
                parents,
            } => {
                let lineages = parents.look_again(stage, *tenant)?;
                for (position, (&id, &parent)) in self.ids.iter().zip(&parents.of).enumerate() {
                    let subject = feed::Subject {
                        id: EntityId::new(E::KIND, id),
                        lineage: lineages[parent],
                        version: 0,
                    };
                    feed::record(stage, feed::Event::Created, &subject).map_err(|error| (position, error))?;
                }
                stage.batch.absorb(rows.clone());
            }
        }
        Ok(())
    }
}

impl FoundParents {
    /// Adds the parent of the next creation.
    fn add(&mut self, reader: &(impl Read + ?Sized), parent: Option<EntityId>) -> Result<Option<Lineage>> {
        let Some(id) = parent else { return Ok(None) };
        let position = match self.positions.get(&id) {
            Some(&position) => position,
            None => {
                let lineage = reader.with_view(|view| create::lineage_under(view, id))?;
                let first = self.of.len();
                self.all.push(FoundParent { id, first, lineage });
                self.positions.insert(id, self.all.len() - 1);
                self.all.len() - 1
            }
        };
        self.of.push(position);
        Ok(self.all[position].lineage)
    }

    /// The lineages under them, where all are there still.
    fn look_again(&self, stage: &Stage<'_>, tenant: TenantNumber) -> Result<Vec<Lineage>, (usize, Error)> {
        let look = |parent: &FoundParent| {
            let now = stage.read(|view| create::lineage_under(view, parent.id))?;
            match (now, parent.lineage) {
                // A tenant that was dropped took its assets with it, and gave none of its number back.
                (Some(now), Some(then)) if now == then && stage.tenant() == Some(tenant) => Ok(now),
                _ => Err(Error::not_found(vec![parent.id])),
            }
        };
        self.all
            .iter()
            .map(|parent| look(parent).map_err(|error| (parent.first, error)))
            .collect()
    }
}

/// Makes rows, here or, once there are many, on another thread.
struct Rows<'scope, E: Entity> {
    tenant: TenantNumber,
    helped: bool,
    block: Vec<Child<E>>,
    here: WriteBatch,
    there: Option<Helper<'scope, E>>,
}

struct Helper<'scope, E: Entity> {
    blocks: SyncSender<Vec<Child<E>>>,
    thread: ScopedJoinHandle<'scope, WriteBatch>,
}

impl<'scope, E: Entity> Rows<'scope, E> {
    fn new(tenant: TenantNumber, beside: Option<Rooms>) -> Self {
        Self {
            tenant,
            helped: beside.is_none() && are_two(),
            block: Vec::new(),
            here: WriteBatch::with_rooms(beside.unwrap_or_default()),
            there: None,
        }
    }

    fn add(&mut self, scope: &'scope Scope<'scope, '_>, child: Child<E>) {
        self.block.push(child);
        if self.block.len() < BLOCK {
            return;
        }
        let block = std::mem::take(&mut self.block);
        if !self.helped {
            return make_rows(&mut self.here, self.tenant, block);
        }
        let (tenant, here) = (self.tenant, &mut self.here);
        let helper = self.there.get_or_insert_with(|| {
            let (blocks, waiting) = sync_channel::<Vec<Child<E>>>(BLOCKS);
            let mut rows = std::mem::take(here);
            let thread = scope.spawn(move || {
                for block in waiting {
                    make_rows(&mut rows, tenant, block);
                }
                rows
            });
            Helper { blocks, thread }
        });
        // Only a panic ends it, which joining it then tells.
        let _ = helper.blocks.send(block);
    }

    fn finish(mut self) -> WriteBatch {
        if let Some(Helper { blocks, thread }) = self.there {
            drop(blocks);
            self.here = thread.join().unwrap_or_else(|payload| resume_unwind(payload));
        }
        make_rows(&mut self.here, self.tenant, self.block);
        self.here.sort(self.helped);
        self.here
    }
}

fn make_rows<E: Entity>(rows: &mut WriteBatch, tenant: TenantNumber, children: Vec<Child<E>>) {
    for Child { id, encoded, lineage } in children {
        let Encoded { state, head, schemas } = encoded;
        index::stage(rows, tenant, None, Some(&E::indexed(id, &state)));
        if let Some(body) = schemas {
            stage::put_schemas(rows, tenant, id, &body);
        }
        let store = lineage.and_then(|lineage| lineage.store);
        stage::put_head::<E>(rows, tenant, id, &head, store);
    }
}
