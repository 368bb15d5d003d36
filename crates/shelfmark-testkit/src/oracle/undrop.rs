//! Deletions that can be undone.

use std::rc::Rc;

use serde_json::{Value, json};
use shelfmark::{EntityKind, ErrorKind};
use uuid::Uuid;

use super::resolve::above;
use super::state::{Entities, Record, State, time};
use super::write::deleted;
use super::{Answer, Oracle, read};
use crate::operation::{Actor, ReadOp, Ref, Tenant};
use crate::outcome::Failure;

/// What went with one root.
#[derive(Debug, Clone)]
pub(super) struct Dropped {
    at: i64,
    by: String,
    /// The store that it was in.
    store: Option<Uuid>,
    root: Rc<Record>,
    sets: Vec<Rc<Record>>,
}

impl Dropped {
    fn shown(&self, retention: i64) -> Value {
        let Record {
            id, kind, version, ..
        } = *self.root;
        let in_asset = self.root.parent.filter(|_| kind == EntityKind::Set);
        let expires = self.at.saturating_add(retention).min(LATEST);
        json!({
            "kind": kind,
            "id": id.to_string(),
            "name": self.root.fields.get("name"),
            "technicalName": self.root.fields["technicalName"],
            "store": self.store.map(|id| id.to_string()),
            "asset": in_asset.map(|id| id.to_string()),
            "version": version,
            "droppedAt": time(self.at),
            "droppedBy": &self.by,
            "descendants": self.sets.len(),
            "expiresAt": time(expires),
        })
    }
}

/// The last millisecond of the year 9999.
const LATEST: i64 = 253_402_300_799_999;

impl Oracle {
    pub(super) fn retention(&self) -> Result<i64, Failure> {
        let millis = self
            .setup
            .undrop
            .ok_or_else(|| Failure::new(ErrorKind::Unsupported))?;
        Ok(i64::try_from(millis).unwrap_or(i64::MAX))
    }

    fn expired(&self, dropped: &Dropped, retention: i64) -> bool {
        self.environment.now() >= dropped.at.saturating_add(retention)
    }

    /// Answers any read of `state`.
    pub(super) fn answer(&self, state: &State, tenant: Tenant, read: &ReadOp) -> Answer {
        match read {
            ReadOp::Dropped(kind, id) => {
                let retention = self.retention()?;
                let found = self.restorable(state, tenant, *kind, super::list::exact(id), retention);
                Ok(found.map_or(Value::Null, |dropped| dropped.shown(retention)))
            }
            ReadOp::ListDropped(kind, limit) => {
                let retention = self.retention()?;
                let mut all: Vec<&Dropped> = state
                    .dropped
                    .get(tenant.name())
                    .into_iter()
                    .flat_map(|dropped| dropped.values().map(Rc::as_ref))
                    .filter(|dropped| !self.expired(dropped, retention))
                    .filter(|dropped| kind.is_none_or(|kind| dropped.root.kind == kind))
                    .collect();
                all.sort_by_key(|dropped| std::cmp::Reverse((dropped.at, dropped.root.id)));
                let mut pages: Vec<Value> = all
                    .chunks(*limit)
                    .map(|page| page.iter().map(|dropped| dropped.shown(retention)).collect())
                    .collect();
                if pages.is_empty() {
                    pages.push(json!([]));
                }
                Ok(Value::Array(pages))
            }
            other => read::read(state, tenant, other),
        }
    }

    /// Every root of this kind that is kept, expired or not.
    pub(super) fn dropped_roots(&self, tenant: Tenant, kind: EntityKind) -> Vec<Uuid> {
        let all = self.state.dropped.get(tenant.name());
        all.into_iter()
            .flat_map(|dropped| dropped.iter())
            .filter(|(_, dropped)| dropped.root.kind == kind)
            .map(|(id, _)| *id)
            .collect()
    }

    /// A dropped root is of its own kind, whichever was asked for: few kinds have one.
    pub(super) fn dropped_reference(
        &self,
        tenant: Tenant,
        kind: EntityKind,
        reference: Ref,
    ) -> (EntityKind, Ref) {
        let all = self.state.dropped.get(tenant.name());
        match (reference, all.map_or(0, |dropped| dropped.len())) {
            (Ref::Dropped(n), kept) if kept > 0 => {
                let root = all
                    .into_iter()
                    .flat_map(|dropped| dropped.iter())
                    .nth(kept - 1 - usize::from(n) % kept);
                let root = root.map(|(id, dropped)| (dropped.root.kind, Ref::Exact(*id)));
                root.unwrap_or((kind, reference))
            }
            _ => (kind, self.reference(tenant, kind, reference)),
        }
    }

    fn restorable<'s>(
        &self,
        state: &'s State,
        tenant: Tenant,
        kind: EntityKind,
        id: Uuid,
        retention: i64,
    ) -> Option<&'s Dropped> {
        let dropped = state.dropped.get(tenant.name())?.get(&id)?;
        (dropped.root.kind == kind && !self.expired(dropped, retention)).then_some(&**dropped)
    }

    /// Keeps what a deletion took of `before`, and sweeps what has expired: fewer rows than one sweep takes.
    pub(super) fn keep_dropped(&mut self, tenant: Tenant, actor: Actor, before: &Entities) {
        let Ok(retention) = self.retention() else { return };
        let after = self.state.tenant(tenant.name());
        let gone = |id: &Uuid| before.0.contains_key(id) && !after.0.contains_key(id);
        let at = self.environment.now();
        let roots: Vec<Dropped> = before
            .0
            .values()
            .filter(|record| gone(&record.id) && !record.parent.is_some_and(|parent| gone(&parent)))
            .map(|root| Dropped {
                at,
                by: self.actor(actor),
                store: match root.kind {
                    EntityKind::Set => before.0[&root.parent.unwrap_or_default()].parent,
                    EntityKind::Store | EntityKind::Asset => root.parent,
                },
                root: root.clone(),
                sets: before.children(root.id).cloned().collect(),
            })
            .collect();
        if roots.is_empty() {
            return;
        }
        let dropped = Rc::make_mut(self.state.dropped.entry(tenant.name()).or_default());
        dropped.extend(
            roots
                .into_iter()
                .map(|dropped| (dropped.root.id, Rc::new(dropped))),
        );
        self.sweep_dropped(tenant, retention);
    }

    /// Removes what has expired, and tells of each root.
    pub(super) fn sweep_dropped(&mut self, tenant: Tenant, retention: i64) {
        let all = self.state.dropped.get(tenant.name());
        let mut expired: Vec<Rc<Dropped>> = all
            .into_iter()
            .flat_map(|dropped| dropped.values())
            .filter(|dropped| self.expired(dropped, retention))
            .cloned()
            .collect();
        expired.sort_by_key(|dropped| (dropped.at, dropped.root.id));
        for dropped in expired {
            let Dropped { store, root, .. } = &*dropped;
            self.tell_purged(tenant, None, *store, root);
            if let Some(dropped) = self.state.dropped.get_mut(tenant.name()) {
                Rc::make_mut(dropped).remove(&root.id);
            }
        }
    }

    /// Takes what can be restored of an id.
    fn take(&mut self, tenant: Tenant, kind: EntityKind, id: Uuid) -> Result<Dropped, Failure> {
        let retention = self.retention()?;
        let found = self.restorable(&self.state, tenant, kind, id, retention);
        let found = found.cloned().ok_or_else(|| Failure::not_found([id]))?;
        if let Some(dropped) = self.state.dropped.get_mut(tenant.name()) {
            Rc::make_mut(dropped).remove(&id);
        }
        Ok(found)
    }

    pub(super) fn restore(&mut self, tenant: Tenant, actor: Actor, kind: EntityKind, id: Uuid) -> Answer {
        let Dropped { root, sets, .. } = self.take(tenant, kind, id)?;
        if let Some(parent) = root.parent
            && self
                .state
                .tenant(tenant.name())
                .get(above(kind), parent)
                .is_none()
        {
            return Err(Failure::not_found([parent]));
        }
        let root = Record {
            version: root.version + 1,
            modified_by: self.actor(actor),
            modified: self.environment.now().max(root.modified),
            ..(*root).clone()
        };
        self.check_unique(tenant, &root)?;
        self.insert(tenant, root.clone());
        self.tell_restored(tenant, actor, &root, &sets);
        for set in sets {
            self.insert(tenant, (*set).clone());
        }
        Ok(self.shown(tenant, id))
    }

    pub(super) fn purge(&mut self, tenant: Tenant, actor: Actor, kind: EntityKind, id: Uuid) -> Answer {
        let Dropped {
            store, root, sets, ..
        } = self.take(tenant, kind, id)?;
        self.tell_purged(tenant, Some(actor), store, &root);
        let sets = sets.len();
        Ok(match kind {
            EntityKind::Store => deleted(1, 0, 0),
            EntityKind::Asset => deleted(0, 1, sets),
            EntityKind::Set => deleted(0, 0, 1),
        })
    }
}
