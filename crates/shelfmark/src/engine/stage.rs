//! One operation at work: a view with its own changes over it.

use crate::backend::{Keyspace, Overlay, Snapshot, WriteBatch};
use crate::catalog::Inner;
use crate::engine::{TenantView, tenants};
use crate::entity::{Entity, State};
use crate::error::Result;
use crate::index;
use crate::keyspace::{TenantNumber, entities, keys};
use crate::{envelope, time::Timestamp};
use uuid::Uuid;

/// Reads its own writes; dropped without a trace unless its batch is committed.
pub struct Stage<'a> {
    pub(crate) inner: &'a Inner,
    pub(crate) actor: &'a str,
    base: &'a dyn Snapshot,
    tenant_name: &'a str,
    tenant: Option<TenantNumber>,
    pub(crate) batch: WriteBatch,
}

impl<'a> Stage<'a> {
    /// A stage over `base`, whose tenant is looked up there.
    pub(crate) fn new(
        inner: &'a Inner,
        base: &'a dyn Snapshot,
        tenant_name: &'a str,
        actor: &'a str,
    ) -> Result<Self> {
        let tenant = tenants::number(base, tenant_name)?;
        Ok(Self {
            inner,
            actor,
            base,
            tenant_name,
            tenant,
            batch: WriteBatch::new(),
        })
    }

    /// Reads what `base` holds and this stage has changed.
    pub(crate) fn read<R>(&self, read: impl FnOnce(&TenantView<'_>) -> Result<R>) -> Result<R> {
        let overlay = Overlay {
            base: self.base,
            staged: &self.batch,
        };
        read(&TenantView {
            snapshot: &overlay,
            name: self.tenant_name,
            number: self.tenant,
        })
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.inner.environment.clock.now()
    }

    pub(crate) fn tenant(&self) -> Option<TenantNumber> {
        self.tenant
    }

    /// The tenant's number; its first write gives it one.
    pub(crate) fn tenant_for_write(&mut self) -> Result<TenantNumber> {
        if let Some(tenant) = self.tenant {
            return Ok(tenant);
        }
        let overlay = Overlay {
            base: self.base,
            staged: &self.batch,
        };
        let number = tenants::next_number(&overlay)?;
        tenants::stage_new(&mut self.batch, self.tenant_name, number);
        self.tenant = Some(number);
        Ok(number)
    }

    /// Stages the rows of an entity and all that is derived from them.
    pub(crate) fn put_entity<E: Entity>(
        &mut self,
        tenant: TenantNumber,
        id: Uuid,
        old: Option<&State<E>>,
        new: &State<E>,
        rows: &Rows,
    ) {
        let key = keys::entity(tenant, id);
        let space = entities(E::KIND);
        self.batch
            .put(space, key.to_vec(), envelope::seal(space, &key, &rows.head));
        match &rows.schemas {
            SchemaRow::Keep => {}
            SchemaRow::Put(body) => {
                let sealed = envelope::seal(Keyspace::SetSchema, &key, body);
                self.batch.put(Keyspace::SetSchema, key.to_vec(), sealed);
            }
            SchemaRow::Delete => self.batch.delete(Keyspace::SetSchema, key.to_vec()),
        }
        let old = old.map(|old| E::indexed(id, old));
        index::stage(&mut self.batch, tenant, old.as_ref(), Some(&E::indexed(id, new)));
    }

    /// Stages the removal of one entity and all that is derived from it.
    pub(crate) fn delete_entity<E: Entity>(&mut self, tenant: TenantNumber, id: Uuid, old: &State<E>) {
        let key = keys::entity(tenant, id).to_vec();
        if E::KIND == crate::EntityKind::Set {
            self.batch.delete(Keyspace::SetSchema, key.clone());
        }
        self.batch.delete(entities(E::KIND), key);
        index::stage(&mut self.batch, tenant, Some(&E::indexed(id, old)), None);
    }
}

/// The encoded rows of one entity.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) head: Vec<u8>,
    pub(crate) schemas: SchemaRow,
}

/// What happens to the schema row. One that need not change is not written.
#[derive(Debug)]
pub(crate) enum SchemaRow {
    Keep,
    Put(Vec<u8>),
    Delete,
}
