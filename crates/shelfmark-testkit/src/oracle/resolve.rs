//! Puts the oracle's ids and versions in the place of references.

use shelfmark::EntityKind;
use uuid::Uuid;

use super::Oracle;
use super::list::exact;
use super::state::Record;
use crate::operation::{
    Draft, Edit, Expect, PatchStep, PatchValue, QuerySpec, ReadOp, Ref, Selection, Target, Tenant, WriteOp,
};
use crate::outcome::Ids;

/// The kind of an entity's parent.
pub(super) fn above(kind: EntityKind) -> EntityKind {
    match kind {
        EntityKind::Set => EntityKind::Asset,
        EntityKind::Store | EntityKind::Asset => EntityKind::Store,
    }
}

impl Oracle {
    pub(super) fn reference(&self, tenant: Tenant, kind: EntityKind, reference: Ref) -> Ref {
        let live = |tenant: Tenant, wanted: &dyn Fn(&Record) -> bool| -> Vec<Uuid> {
            let entities = self.state.tenants.get(tenant.name());
            entities
                .into_iter()
                .flat_map(|entities| entities.0.values())
                .filter(|record| wanted(record))
                .map(|record| record.id)
                .collect()
        };
        let (ids, n) = match reference {
            Ref::Exact(_) => return reference,
            Ref::Live(n) => (live(tenant, &|record| record.kind == kind), n),
            Ref::Foreign(n) => (live(tenant.other(), &|record| record.kind == kind), n),
            Ref::OtherKind(n) => (live(tenant, &|record| record.kind != kind), n),
            Ref::Gone(n) => {
                let entities = self.state.tenant(tenant.name());
                let gone = self.born.iter().enumerate().filter_map(|(index, born)| {
                    let id = Ids::nth(index + 1);
                    (*born == (tenant, kind) && !entities.0.contains_key(&id)).then_some(id)
                });
                (gone.collect(), n)
            }
            Ref::Dropped(n) => (self.dropped_roots(tenant, kind), n),
            Ref::Unknown(n) | Ref::Local(n) => (Vec::new(), n),
        };
        let n = usize::from(n);
        let id = match ids.len() {
            0 => Uuid::from_u128(u128::MAX - n as u128),
            len => ids[len - 1 - n % len],
        };
        Ref::Exact(id)
    }

    fn references(&self, tenant: Tenant, kind: EntityKind, ids: &[Ref]) -> Vec<Ref> {
        ids.iter().map(|&id| self.reference(tenant, kind, id)).collect()
    }

    pub(super) fn target(&self, tenant: Tenant, kind: EntityKind, target: Target) -> Target {
        let id = self.reference(tenant, kind, target.id);
        let version = self
            .state
            .tenant(tenant.name())
            .get(kind, exact(&id))
            .map_or(0, |record| record.version);
        let expect = match target.expect {
            Expect::Right => Expect::Exactly(version),
            Expect::Stale => Expect::Exactly(version.checked_sub(1).unwrap_or(1)),
            Expect::Ahead => Expect::Exactly(version + 1),
            Expect::Any | Expect::Exactly(_) => target.expect,
        };
        Target { id, expect }
    }

    fn targets(&self, tenant: Tenant, kind: EntityKind, targets: &[Target]) -> Vec<Target> {
        targets
            .iter()
            .map(|&target| self.target(tenant, kind, target))
            .collect()
    }

    pub(super) fn draft(&self, tenant: Tenant, draft: &Draft) -> Draft {
        let above = above(draft.kind());
        Draft {
            parent: draft
                .parent
                .filter(|_| draft.kind() != EntityKind::Store)
                .map(|parent| self.reference(tenant, above, parent)),
            input: draft.input.clone(),
        }
    }

    fn selection(&self, tenant: Tenant, kind: EntityKind, selection: &Selection) -> Selection {
        let stores = |ids: &[Ref]| self.references(tenant, EntityKind::Store, ids);
        let assets = |ids: &[Ref]| self.references(tenant, EntityKind::Asset, ids);
        match (kind, selection) {
            (EntityKind::Store, _) | (EntityKind::Asset, Selection::InAssets(_)) => Selection::All,
            (EntityKind::Asset, Selection::Within(ids, _)) => Selection::InStores(stores(ids)),
            (_, Selection::All) => Selection::All,
            (_, Selection::InStores(ids)) => Selection::InStores(stores(ids)),
            (_, Selection::InAssets(ids)) => Selection::InAssets(assets(ids)),
            (_, Selection::Within(within, ids)) => Selection::Within(stores(within), assets(ids)),
        }
    }

    pub(super) fn query(&self, tenant: Tenant, query: &QuerySpec) -> QuerySpec {
        QuerySpec {
            selection: self.selection(tenant, query.kind, &query.selection),
            ..query.clone()
        }
    }

    pub(super) fn patch(
        &self,
        tenant: Tenant,
        kind: EntityKind,
        target: Target,
        patch: &[PatchStep],
    ) -> Vec<PatchStep> {
        let version = self
            .state
            .tenant(tenant.name())
            .get(kind, exact(&target.id))
            .map_or(0, |record| record.version);
        let value = |value: &PatchValue| match value {
            PatchValue::Json(_) => value.clone(),
            PatchValue::Version => PatchValue::Json(version.into()),
            PatchValue::Id(kind, id) => PatchValue::Id(*kind, self.reference(tenant, *kind, *id)),
        };
        patch
            .iter()
            .map(|step| match step {
                PatchStep::Add(path, given) => PatchStep::Add(path.clone(), value(given)),
                PatchStep::Replace(path, given) => PatchStep::Replace(path.clone(), value(given)),
                PatchStep::Test(path, given) => PatchStep::Test(path.clone(), value(given)),
                other => other.clone(),
            })
            .collect()
    }

    fn edit(&self, tenant: Tenant, kind: EntityKind, edit: &Edit) -> Edit {
        match edit {
            Edit::Parent(Some(parent)) => Edit::Parent(Some(self.reference(tenant, above(kind), *parent))),
            other => other.clone(),
        }
    }

    pub(super) fn read_op(&self, tenant: Tenant, read: &ReadOp) -> ReadOp {
        match read {
            ReadOp::Get(kind, id) => ReadOp::Get(*kind, self.reference(tenant, *kind, *id)),
            ReadOp::GetHead(kind, id) => ReadOp::GetHead(*kind, self.reference(tenant, *kind, *id)),
            ReadOp::GetMany(kind, ids) => ReadOp::GetMany(*kind, self.references(tenant, *kind, ids)),
            ReadOp::Exists(kind, id) => ReadOp::Exists(*kind, self.reference(tenant, *kind, *id)),
            ReadOp::Count(kind, selection) => ReadOp::Count(*kind, self.selection(tenant, *kind, selection)),
            ReadOp::List(query, form) => ReadOp::List(self.query(tenant, query), form.clone()),
            ReadOp::Walk(query) => ReadOp::Walk(self.query(tenant, query)),
            ReadOp::MisuseCursor(query, misuse) => ReadOp::MisuseCursor(self.query(tenant, query), *misuse),
            ReadOp::FindByName(kind, selection, name) => {
                ReadOp::FindByName(*kind, self.selection(tenant, *kind, selection), name.clone())
            }
            ReadOp::FindByTechnicalName(kind, selection, name) => {
                ReadOp::FindByTechnicalName(*kind, self.selection(tenant, *kind, selection), name.clone())
            }
            ReadOp::FindBySecureQri(qri) => ReadOp::FindBySecureQri(qri.clone()),
            ReadOp::WouldDelete(kind, targets) => {
                ReadOp::WouldDelete(*kind, self.targets(tenant, *kind, targets))
            }
            ReadOp::WouldDeleteSelected(kind, selection) => {
                ReadOp::WouldDeleteSelected(*kind, self.selection(tenant, *kind, selection))
            }
            ReadOp::Dropped(kind, id) => {
                let (kind, id) = self.dropped_reference(tenant, *kind, *id);
                ReadOp::Dropped(kind, id)
            }
            ReadOp::ListDropped(..) => read.clone(),
        }
    }

    pub(super) fn write_op(&self, tenant: Tenant, write: &WriteOp) -> WriteOp {
        match write {
            WriteOp::Create(draft) => WriteOp::Create(self.draft(tenant, draft)),
            WriteOp::CreateAll(drafts) => {
                WriteOp::CreateAll(drafts.iter().map(|draft| self.draft(tenant, draft)).collect())
            }
            WriteOp::Replace(target, draft) => WriteOp::Replace(
                self.target(tenant, draft.kind(), *target),
                self.draft(tenant, draft),
            ),
            WriteOp::ReplaceAll(members) => WriteOp::ReplaceAll(
                members
                    .iter()
                    .map(|(target, draft)| {
                        let target = self.target(tenant, draft.kind(), *target);
                        (target, self.draft(tenant, draft))
                    })
                    .collect(),
            ),
            WriteOp::Update(kind, target, edit) => WriteOp::Update(
                *kind,
                self.target(tenant, *kind, *target),
                self.edit(tenant, *kind, edit),
            ),
            WriteOp::UpdateAll(kind, targets, edit) => {
                let mut once: Vec<Target> = Vec::new();
                for target in self.targets(tenant, *kind, targets) {
                    // Each member is read before any is changed, so one that comes twice conflicts with itself.
                    if !once.iter().any(|known| known.id == target.id) {
                        once.push(target);
                    }
                }
                WriteOp::UpdateAll(*kind, once, self.edit(tenant, *kind, edit))
            }
            WriteOp::Patch(kind, target, patch) => {
                let target = self.target(tenant, *kind, *target);
                WriteOp::Patch(*kind, target, self.patch(tenant, *kind, target, patch))
            }
            WriteOp::PatchAll(kind, members) => WriteOp::PatchAll(
                *kind,
                members
                    .iter()
                    .map(|(target, patch)| {
                        let target = self.target(tenant, *kind, *target);
                        (target, self.patch(tenant, *kind, target, patch))
                    })
                    .collect(),
            ),
            WriteOp::Delete(kind, target) => WriteOp::Delete(*kind, self.target(tenant, *kind, *target)),
            WriteOp::DeleteAll(kind, targets) => {
                WriteOp::DeleteAll(*kind, self.targets(tenant, *kind, targets))
            }
            WriteOp::DeleteSelected(kind, selection) => {
                WriteOp::DeleteSelected(*kind, self.selection(tenant, *kind, selection))
            }
            // Resolved step by step as they run.
            WriteOp::Batch(_) | WriteOp::CreateOnce(..) | WriteOp::BatchOnce(..) => write.clone(),
            WriteOp::Restore(kind, id) => {
                let (kind, id) = self.dropped_reference(tenant, *kind, *id);
                WriteOp::Restore(kind, id)
            }
            WriteOp::Purge(kind, id) => {
                let (kind, id) = self.dropped_reference(tenant, *kind, *id);
                WriteOp::Purge(kind, id)
            }
        }
    }
}
