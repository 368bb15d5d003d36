//! Writes.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde_json::{Value, json};
use shelfmark::{EntityKind, ErrorKind};
use uuid::Uuid;

use super::fields::{Object, broken_rules, parent_field};
use super::hooks::may_delete;
use super::list::{exact, fold, select};
use super::resolve::above;
use super::state::{Entities, Given, Record, dates_of};
use super::{Answer, Oracle, patch};
use crate::operation::{
    Actor, Draft, Edit, Expect, Input, PatchStep, Ref, Selection, Target, Tenant, WriteOp,
};
use crate::outcome::Failure;

/// What an input says, without its parent.
fn given(draft: &Draft) -> Given {
    let document = match &draft.input {
        Input::Store(new) => serde_json::to_value(new),
        Input::Asset(new) => serde_json::to_value(new),
        Input::Set(new) => serde_json::to_value(new),
    };
    let document = match document {
        Ok(Value::Object(mut document)) => {
            if let Some(name) = parent_field(draft.kind()) {
                document.shift_remove(name);
            }
            document
        }
        _ => unreachable!("an input serializes to an object"),
    };
    Given {
        parent: draft.parent.as_ref().map(exact),
        ..Given::read(draft.kind(), document)
    }
}

fn parent_pointer(kind: EntityKind) -> Option<String> {
    parent_field(kind).map(|name| format!("/{name}/id"))
}

fn expect(target: &Target, record: &Record) -> Result<(), Failure> {
    match target.expect {
        Expect::Exactly(expected) if expected != record.version => Err(Failure {
            conflict: Some(Box::new((record.id, expected, record.version))),
            ..Failure::new(ErrorKind::VersionConflict)
        }),
        _ => Ok(()),
    }
}

impl Oracle {
    pub(super) fn run_write(&mut self, tenant: Tenant, actor: Actor, write: &WriteOp) -> Answer {
        match write {
            WriteOp::Create(draft) => {
                let id = self
                    .create_each(tenant, actor, std::slice::from_ref(draft))
                    .map_err(|failure| Failure {
                        bulk: None,
                        ..failure
                    })?[0];
                Ok(self.shown(tenant, id))
            }
            WriteOp::CreateAll(drafts) => {
                let ids = self.create_each(tenant, actor, drafts)?;
                Ok(ids.iter().map(Uuid::to_string).collect())
            }
            WriteOp::Replace(target, draft) => self.replace(tenant, actor, target, draft),
            WriteOp::ReplaceAll(members) => each(members, |(target, draft)| {
                self.replace(tenant, actor, target, draft)
            }),
            WriteOp::Update(kind, target, edit) => self.update(tenant, actor, *kind, target, edit),
            WriteOp::UpdateAll(kind, targets, edit) => {
                // All are read before any is changed.
                each(targets, |target| {
                    let record = self.found(tenant, *kind, target)?;
                    expect(target, &record)?;
                    Ok(Value::Null)
                })?;
                each(targets, |target| self.update(tenant, actor, *kind, target, edit))
            }
            WriteOp::Patch(kind, target, steps) => self.patch_one(tenant, actor, *kind, target, steps),
            WriteOp::PatchAll(kind, members) => each(members, |(target, steps)| {
                self.patch_one(tenant, actor, *kind, target, steps)
            }),
            WriteOp::Delete(kind, target) => {
                self.delete_in(tenant, actor, *kind, false, |entities, hooks| {
                    delete(entities, hooks, *kind, std::slice::from_ref(target))
                })
            }
            WriteOp::DeleteAll(kind, targets) => {
                self.delete_in(tenant, actor, *kind, false, |entities, hooks| {
                    delete(entities, hooks, *kind, targets)
                })
            }
            WriteOp::DeleteSelected(kind, selection) => {
                self.delete_in(tenant, actor, *kind, true, |entities, hooks| {
                    delete_selected(entities, hooks, *kind, selection)
                })
            }
            WriteOp::Batch(_) | WriteOp::CreateOnce(..) | WriteOp::BatchOnce(..) => {
                unreachable!("run where they are resolved")
            }
            WriteOp::Restore(kind, id) => self.restore(tenant, actor, *kind, exact(id)),
            WriteOp::Purge(kind, id) => self.purge(tenant, actor, *kind, exact(id)),
        }
    }

    fn delete_in(
        &mut self,
        tenant: Tenant,
        actor: Actor,
        kind: EntityKind,
        by_parent: bool,
        work: impl FnOnce(&mut Entities, bool) -> Answer,
    ) -> Answer {
        let hooks = self.state.hooks;
        let before = self.state.tenant(tenant.name());
        let answer = match self.state.tenants.get_mut(tenant.name()) {
            Some(entities) => work(entities, hooks)?,
            None => work(&mut Entities::default(), hooks)?,
        };
        self.tell_deleted(tenant, actor, kind, &before, by_parent);
        self.keep_dropped(tenant, actor, &before);
        Ok(answer)
    }

    pub(super) fn shown(&self, tenant: Tenant, id: Uuid) -> Value {
        let entities = self.state.tenant(tenant.name());
        entities.shown(tenant.name(), &entities.0[&id], true)
    }

    fn found(&self, tenant: Tenant, kind: EntityKind, target: &Target) -> Result<Rc<Record>, Failure> {
        let id = exact(&target.id);
        let entities = self.state.tenant(tenant.name());
        entities
            .get(kind, id)
            .cloned()
            .ok_or_else(|| Failure::not_found([id]))
    }

    /// Rules of all members first, then parents and names one by one; with hooks, which may mend a member, everything one by one. The error names the member.
    pub(super) fn create_each(
        &mut self,
        tenant: Tenant,
        actor: Actor,
        drafts: &[Draft],
    ) -> Result<Vec<Uuid>, Failure> {
        if !self.setup.hooks {
            for (index, draft) in drafts.iter().enumerate() {
                check_new(draft.kind(), &given(draft)).map_err(|failure| failure.at(index, 0))?;
            }
        }
        let mut ids = Vec::new();
        for (index, draft) in drafts.iter().enumerate() {
            let id = self
                .create(tenant, actor, draft.kind(), given(draft))
                .map_err(|failure| failure.at(index, 0))?;
            ids.push(id);
        }
        Ok(ids)
    }

    fn create(
        &mut self,
        tenant: Tenant,
        actor: Actor,
        kind: EntityKind,
        given: Given,
    ) -> Result<Uuid, Failure> {
        let given = self.amend(tenant, kind, given)?;
        check_new(kind, &given)?;
        let entities = self.state.tenant(tenant.name());
        let parent = given.parent.filter(|_| kind != EntityKind::Store);
        if let Some(parent) = parent
            && entities.get(above(kind), parent).is_none()
        {
            return Err(Failure::not_found([parent]));
        }
        let id = self.bear(tenant, kind);
        // The id carries the creation time.
        let created = self.environment.latest();
        let dates = dates_of(&given.fields, None, created);
        let record = Record {
            id,
            kind,
            parent,
            version: 0,
            owner: self.actor(actor),
            created_by: self.actor(actor),
            modified_by: self.actor(actor),
            created,
            modified: created,
            fields: given.fields,
            dates,
        };
        self.check_unique(tenant, &record)?;
        self.insert(tenant, record.clone());
        self.tell_created(tenant, actor, &record);
        Ok(id)
    }

    pub(super) fn check_unique(&self, tenant: Tenant, record: &Record) -> Result<(), Failure> {
        let name = |record: &Record| fold(record.fields["technicalName"].as_str().unwrap_or_default());
        let wanted = name(record);
        let taken = self
            .setup
            .unique_technical_names
            .then(|| self.state.tenant(tenant.name()))
            .and_then(|entities| {
                let same = |other: &&Rc<Record>| {
                    other.parent == record.parent && other.id != record.id && name(other) == wanted
                };
                entities.all(record.kind).find(same).map(|other| other.id)
            });
        match taken {
            Some(by) => Err(Failure {
                name_taken: Some(Box::new(by)),
                ..Failure::new(ErrorKind::NameTaken)
            }),
            None => Ok(()),
        }
    }

    fn replace(&mut self, tenant: Tenant, actor: Actor, target: &Target, draft: &Draft) -> Answer {
        self.change(tenant, actor, draft.kind(), target, |_, _| Ok(given(draft)))
    }

    fn update(
        &mut self,
        tenant: Tenant,
        actor: Actor,
        kind: EntityKind,
        target: &Target,
        edit: &Edit,
    ) -> Answer {
        self.change(tenant, actor, kind, target, |_, record| {
            let mut document = record.fields.clone();
            document.insert("ownerId".to_owned(), json!(record.owner));
            let mut parent = record.parent;
            let mut set = |name: &str, value: Value| document.insert(name.to_owned(), value);
            match edit {
                Edit::Nothing => {}
                Edit::Name(name) => drop(set("name", json!(name))),
                Edit::TechnicalName(name) => drop(set("technicalName", json!(name))),
                Edit::Tags(tags) => drop(set("tags", json!(tags))),
                Edit::Description(text) => drop(set("description", json!(text))),
                Edit::Owner(owner) => drop(set("ownerId", json!(owner))),
                Edit::Properties(properties) => drop(set("properties", json!(properties))),
                Edit::Parent(given) => parent = given.as_ref().map(exact),
                Edit::Schema(schema, more) if kind == EntityKind::Set => {
                    set("schema", json!(schema));
                    let more = usize::from(*more);
                    set(
                        "additionalSchemas",
                        json!(vec![schema; if schema.is_some() { more } else { 0 }]),
                    );
                }
                Edit::SecureQri(qri) if kind == EntityKind::Set => drop(set("secureQri", json!(qri))),
                Edit::Schema(..) | Edit::SecureQri(_) => {}
            }
            Ok(Given {
                parent,
                ..Given::read(kind, document)
            })
        })
    }

    fn patch_one(
        &mut self,
        tenant: Tenant,
        actor: Actor,
        kind: EntityKind,
        target: &Target,
        steps: &[PatchStep],
    ) -> Answer {
        self.change(tenant, actor, kind, target, |oracle, record| {
            let document = oracle.shown(tenant, record.id);
            let patched = patch::apply(kind, document, steps)?;
            let Value::Object(mut patched) = patched else {
                unreachable!("the root cannot be patched");
            };
            let wrong_id = match patched.shift_remove("id") {
                None | Some(Value::Null) => false,
                Some(id) => id.as_str().and_then(|id| id.parse().ok()) != Some(record.id),
            };
            let mut given = Given::read(kind, patched);
            given.wrong.extend(wrong_id.then(|| "/id".to_owned()));
            Ok(given)
        })
    }

    /// Every change of an entity: existence, expectation, the new fields, their rules, the name; what changes nothing keeps all.
    fn change(
        &mut self,
        tenant: Tenant,
        actor: Actor,
        kind: EntityKind,
        target: &Target,
        make: impl FnOnce(&Self, &Record) -> Result<Given, Failure>,
    ) -> Answer {
        let old = self.found(tenant, kind, target)?;
        expect(target, &old)?;
        let mut given = make(self, &old)?;
        // Hooks hear of what can be read and changes something. A field of a schema without a type cannot be read.
        let broken = broken_by(kind, &given, &old);
        let is_read = given.wrong.is_empty() && !broken.iter().any(|at| at.ends_with("/dataType"));
        if is_read && !(broken.is_empty() && changes_nothing(&given, &old)) {
            given = self.amend(tenant, kind, given)?;
        }
        let mut broken = broken_by(kind, &given, &old);
        broken.append(&mut given.wrong);
        if !broken.is_empty() {
            return Err(Failure::invalid(outermost(broken.into_iter())));
        }
        if !changes_nothing(&given, &old) {
            let owner = given.owner.unwrap_or_else(|| old.owner.clone());
            let now = self.environment.now().max(old.modified);
            let dates = dates_of(&given.fields, Some(&old), now);
            let record = Record {
                version: old.version + 1,
                owner,
                modified_by: self.actor(actor),
                modified: now,
                fields: given.fields,
                dates,
                ..(*old).clone()
            };
            self.check_unique(tenant, &record)?;
            self.insert(tenant, record.clone());
            self.tell_updated(tenant, actor, &old, &record);
        }
        Ok(self.shown(tenant, old.id))
    }
}

fn check_new(kind: EntityKind, given: &Given) -> Result<(), Failure> {
    let mut broken = broken_rules(kind, &given.fields);
    if given.parent.is_none() {
        broken.extend(parent_pointer(kind));
    }
    if broken.is_empty() {
        Ok(())
    } else {
        Err(Failure::invalid(broken))
    }
}

/// The rules that a change breaks.
fn broken_by(kind: EntityKind, given: &Given, old: &Record) -> Vec<String> {
    let mut broken = broken_rules(kind, &given.fields);
    if kind != EntityKind::Store && given.parent.is_some() && given.parent != old.parent {
        broken.extend(parent_pointer(kind));
    }
    if given
        .owner
        .as_ref()
        .is_some_and(|owner| owner.trim().is_empty() || owner.len() > 255)
    {
        broken.push("/ownerId".to_owned());
    }
    broken
}

fn changes_nothing(given: &Given, old: &Record) -> bool {
    // As text, so that another order of free members is a change.
    let text = |fields: &Object| Value::Object(fields.clone()).to_string();
    text(&given.fields) == text(&old.fields) && given.owner.as_ref().is_none_or(|owner| *owner == old.owner)
}

fn each<M>(members: &[M], mut work: impl FnMut(&M) -> Answer) -> Answer {
    let mut values = Vec::new();
    for (index, member) in members.iter().enumerate() {
        values.push(work(member).map_err(|failure| failure.at(index, 0))?);
    }
    Ok(Value::Array(values))
}

/// Without those that lie within another: what is wrong as a whole is named alone.
fn outermost(pointers: impl Iterator<Item = String>) -> BTreeSet<String> {
    let all: BTreeSet<String> = pointers.collect();
    let within = |pointer: &String| {
        all.iter().any(|other| {
            pointer
                .strip_prefix(other)
                .is_some_and(|rest| rest.starts_with('/'))
        })
    };
    all.iter().filter(|pointer| !within(pointer)).cloned().collect()
}

pub(super) fn deleted(stores: usize, assets: usize, sets: usize) -> Value {
    json!({ "stores": stores, "assets": assets, "sets": sets })
}

/// Deletes all targets or none: stores are restricted, assets take their sets along.
pub(super) fn delete(entities: &mut Entities, hooks: bool, kind: EntityKind, targets: &[Target]) -> Answer {
    // Missing ids before stale versions before what is not empty.
    let ids = targets.iter().map(|target| exact(&target.id));
    let missing: Vec<_> = ids.filter(|&id| entities.get(kind, id).is_none()).collect();
    if !missing.is_empty() {
        return Err(Failure::not_found(missing));
    }
    let mut not_empty = BTreeMap::new();
    let mut doomed = BTreeSet::new();
    for target in targets {
        let id = exact(&target.id);
        let Some(record) = entities.get(kind, id) else {
            continue;
        };
        expect(target, record)?;
        let children = entities.children(id).count() as u64;
        if kind == EntityKind::Store && children > 0 {
            not_empty.insert(id, children);
        }
        doomed.insert(id);
    }
    if !not_empty.is_empty() {
        return Err(Failure {
            not_empty,
            ..Failure::new(ErrorKind::NotEmpty)
        });
    }
    if hooks {
        let mut doomed = doomed.iter().filter_map(|id| entities.get(kind, *id));
        doomed.try_for_each(|record| may_delete(entities, record))?;
    }
    let before = entities.0.len();
    entities.0.retain(|id, record| {
        !doomed.contains(id) && !record.parent.is_some_and(|parent| doomed.contains(&parent))
    });
    let children = before - entities.0.len() - doomed.len();
    Ok(match kind {
        EntityKind::Store => deleted(doomed.len(), 0, 0),
        EntityKind::Asset => deleted(0, doomed.len(), children),
        EntityKind::Set => deleted(0, 0, doomed.len()),
    })
}

pub(super) fn delete_selected(
    entities: &mut Entities,
    hooks: bool,
    kind: EntityKind,
    selection: &Selection,
) -> Answer {
    let targets: Vec<Target> = select(entities, kind, selection)?
        .iter()
        .map(|record| Target {
            id: Ref::Exact(record.id),
            expect: Expect::Any,
        })
        .collect();
    delete(entities, hooks, kind, &targets)
}
