//! One operation at work: a view with its own changes over it.

use std::fmt;

use super::{Settings, TenantView, tenants};
use crate::backend::{Keyspace, Overlay, Snapshot, WriteBatch};
use crate::entity::{Entity, State};
use crate::error::Result;
use crate::ids::StoreId;
use crate::index::{self, Indexed};
use crate::keyspace::{TenantNumber, entities, keys};
use crate::{envelope, time::Timestamp};
use uuid::Uuid;

/// Reads its own writes; dropped without a trace unless its batch is committed.
pub struct Stage<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) actor: &'a str,
    base: &'a dyn Snapshot,
    tenant_name: &'a str,
    tenant: Option<TenantNumber>,
    /// The sequence number of the next change record, once one has been staged.
    pub(crate) next_change: Option<u64>,
    /// The sequence number of the oldest change record, once retention has been looked after.
    pub(crate) oldest_change: Option<u64>,
    pub(crate) batch: WriteBatch,
}

impl fmt::Debug for Stage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage")
            .field("tenant", &self.tenant_name)
            .field("actor", &self.actor)
            .finish_non_exhaustive()
    }
}

impl<'a> Stage<'a> {
    /// A stage over `base`, whose tenant is looked up there.
    pub(crate) fn new(
        settings: &'a Settings,
        base: &'a dyn Snapshot,
        tenant_name: &'a str,
        actor: &'a str,
    ) -> Result<Self> {
        let tenant = tenants::number(base, tenant_name)?;
        Ok(Self::of_tenant(settings, base, (tenant_name, tenant), actor))
    }

    /// A stage over `base`, in which the tenant is known to have this number.
    pub(crate) fn of_tenant(
        settings: &'a Settings,
        base: &'a dyn Snapshot,
        (tenant_name, tenant): (&'a str, Option<TenantNumber>),
        actor: &'a str,
    ) -> Self {
        Self {
            settings,
            actor,
            base,
            tenant_name,
            tenant,
            next_change: None,
            oldest_change: None,
            batch: WriteBatch::new(),
        }
    }

    pub(crate) fn tenant_name(&self) -> &str {
        self.tenant_name
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

    /// Runs `work` on a stage of its own over this one. Where it fails, nothing of it is left here.
    pub(crate) fn nested<R>(&mut self, work: impl FnOnce(&mut Stage<'_>) -> Result<R>) -> Result<R> {
        let overlay = Overlay {
            base: self.base,
            staged: &self.batch,
        };
        let mut over = Stage {
            settings: self.settings,
            actor: self.actor,
            base: &overlay,
            tenant_name: self.tenant_name,
            tenant: self.tenant,
            next_change: self.next_change,
            oldest_change: self.oldest_change,
            batch: WriteBatch::new(),
        };
        let value = work(&mut over)?;
        let Stage {
            settings: _,
            actor: _,
            base: _,
            tenant_name: _,
            tenant,
            next_change,
            oldest_change,
            batch,
        } = over;
        self.tenant = tenant;
        self.next_change = next_change;
        self.oldest_change = oldest_change;
        self.batch.absorb(batch);
        Ok(value)
    }

    /// What is below this stage, without its own changes.
    pub(crate) fn base(&self) -> &'a dyn Snapshot {
        self.base
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.settings.environment.clock.now()
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

    /// Stages the head of an entity, encoded but for the store that a set inherits from its asset.
    pub(crate) fn put_head<E: Entity>(
        &mut self,
        tenant: TenantNumber,
        id: Uuid,
        body: &[u8],
        store: Option<StoreId>,
    ) {
        put_head::<E>(&mut self.batch, tenant, id, body, store);
    }

    /// Stages the schema row of a set.
    pub(crate) fn put_schemas(&mut self, tenant: TenantNumber, id: Uuid, body: &[u8]) {
        put_schemas(&mut self.batch, tenant, id, body);
    }

    /// Stages the removal of a schema row.
    pub(crate) fn delete_schemas(&mut self, tenant: TenantNumber, id: Uuid) {
        self.batch.delete(Keyspace::SetSchema, keys::entity(tenant, id));
    }

    /// Stages what is derived from a change.
    pub(crate) fn index(&mut self, tenant: TenantNumber, old: Option<&Indexed<'_>>, new: &Indexed<'_>) {
        index::stage(&mut self.batch, tenant, old, Some(new));
    }

    /// Stages the removal of one entity and all that is derived from it.
    pub(crate) fn delete_entity<E: Entity>(&mut self, tenant: TenantNumber, id: Uuid, old: &State<E>) {
        if old.schema_row {
            self.delete_schemas(tenant, id);
        }
        self.batch.delete(entities(E::KIND), keys::entity(tenant, id));
        index::stage(&mut self.batch, tenant, Some(&E::indexed(id, old)), None);
    }
}

/// Stages the head of an entity, encoded but for the store that a set inherits from its asset.
pub(super) fn put_head<E: Entity>(
    batch: &mut WriteBatch,
    tenant: TenantNumber,
    id: Uuid,
    body: &[u8],
    store: Option<StoreId>,
) {
    let key = keys::entity(tenant, id);
    let space = entities(E::KIND);
    let value = envelope::seal_with(space, &key, body, |body| {
        if let Some(store) = store {
            E::set_store(body, store);
        }
    });
    batch.put(space, key, value);
}

/// Stages the schema row of a set.
pub(super) fn put_schemas(batch: &mut WriteBatch, tenant: TenantNumber, id: Uuid, body: &[u8]) {
    let key = keys::entity(tenant, id);
    let value = envelope::seal(Keyspace::SetSchema, &key, body);
    batch.put(Keyspace::SetSchema, key, value);
}
