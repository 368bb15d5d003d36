//! Creating many entities in one commit.

use uuid::Uuid;

use super::create::{self, Parents, Prepared};
use super::{Settings, Stage, feed, stage};
use crate::backend::WriteBatch;
use crate::entity::Entity;
use crate::error::{Error, Result};
use crate::ids::{EntityId, EntityKind};
use crate::index;
use crate::keyspace::TenantNumber;

/// Creations of one commit, made as far as they can be without a view.
pub(crate) struct Many<E: Entity> {
    ids: Vec<Uuid>,
    bytes: usize,
    way: Way<E>,
}

enum Way<E: Entity> {
    /// Hooks or the names of others have a say in each.
    OneByOne(Vec<Prepared<E>>),
    /// Nothing but the parents is to be looked at: every row but the heads is there, and of the input nothing else is held.
    Ahead {
        tenant: TenantNumber,
        rows: WriteBatch,
        heads: Vec<Head>,
    },
}

/// The head of a child, encoded but for the store that a set inherits from its asset.
struct Head {
    parent: EntityId,
    body: Vec<u8>,
}

impl<E: Entity> Many<E> {
    /// None yet, of a tenant with this number, if it has one.
    pub(crate) fn new(settings: &Settings, tenant: Option<TenantNumber>) -> Self {
        let free = settings.hooks.is_empty() && !settings.unique_technical_names;
        let way = match tenant {
            // Stores have no parent, by which a tenant that was dropped meanwhile would be noticed.
            Some(tenant) if free && E::KIND != EntityKind::Store => Way::Ahead {
                tenant,
                rows: WriteBatch::new(),
                heads: Vec::new(),
            },
            _ => Way::OneByOne(Vec::new()),
        };
        Self {
            ids: Vec::new(),
            bytes: 0,
            way,
        }
    }

    /// Adds a creation, checked and encoded.
    pub(crate) fn push(&mut self, settings: &Settings, actor: &str, new: E::New) -> Result<()> {
        let prepared = create::prepare::<E>(settings, actor, new)?;
        self.bytes = self.bytes.saturating_add(prepared.bytes());
        self.ids.push(prepared.id);
        match &mut self.way {
            Way::OneByOne(all) => all.push(prepared),
            Way::Ahead { tenant, rows, heads } => {
                let (indexed, parent, body, schemas) = prepared.encoded()?;
                index::stage(rows, *tenant, None, Some(&indexed));
                if let Some(body) = schemas {
                    stage::put_schemas(rows, *tenant, prepared.id, body);
                }
                let body = body.to_vec();
                heads.push(Head { parent, body });
            }
        }
        Ok(())
    }

    pub(crate) fn ids(&self) -> &[Uuid] {
        &self.ids
    }

    /// Bytes of the encoded rows, before any hook.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Stages all of them. An error comes with the position of its member.
    pub(crate) fn stage(&self, stage: &mut Stage<'_>) -> Result<(), (usize, Error)> {
        let mut parents = Parents::default();
        match &self.way {
            Way::OneByOne(all) => {
                for (position, prepared) in all.iter().enumerate() {
                    create::create::<E>(stage, prepared, &mut parents).map_err(|error| (position, error))?;
                }
            }
            Way::Ahead { tenant, rows, heads } => {
                for (position, (head, &id)) in heads.iter().zip(&self.ids).enumerate() {
                    stage_head::<E>(stage, *tenant, id, head, &mut parents)
                        .map_err(|error| (position, error))?;
                }
                stage.batch.absorb(rows.clone());
            }
        }
        Ok(())
    }
}

fn stage_head<E: Entity>(
    stage: &mut Stage<'_>,
    tenant: TenantNumber,
    id: Uuid,
    head: &Head,
    parents: &mut Parents,
) -> Result<()> {
    let lineage = parents.lineage(stage, head.parent)?;
    if stage.tenant() != Some(tenant) {
        // Dropped since the rows were made, and its parents with it.
        return Err(Error::not_found(vec![head.parent]));
    }
    stage.put_head::<E>(tenant, id, &head.body, lineage.store);
    let subject = feed::Subject {
        id: EntityId::new(E::KIND, id),
        lineage,
        version: 0,
    };
    feed::record(stage, feed::Event::Created, &subject)
}
