//! Changing an entity: replace, patch and update are one path with different sources of the new fields.
//!
//! A change is worked out on a view, then staged. A session works it out on the caller's thread, on the newest view, before it queues; where the entity has
//! another version by the time it is staged, it is worked out again there.

use serde_json::Value;
use uuid::Uuid;

use super::ancestors::InheritedCache;
use super::create::{check_size, check_unique, encode_head, encoding_failed, parent_pointer};
use super::tenants::MAX_NAME;
use super::{Settings, Stage, TenantView, feed, hooked};
use crate::entity::{Entity, Head as _, Inherited, Meta, State, reader, rules, shape};
use crate::error::{Error, Result};
use crate::ids::EntityId;
use crate::keyspace::Parent;
use crate::patch::{self, Patch};
use crate::violations::Violations;
use crate::{Expectation, TypedId as _};

/// Where the new fields come from.
#[derive(Debug, Clone)]
pub(crate) enum Source<E: Entity> {
    Fields(E::New),
    Patch(Patch),
}

/// A change of one entity, as it was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Change<E: Entity> {
    pub(crate) id: E::Id,
    pub(crate) expectation: Expectation,
    pub(crate) source: Source<E>,
}

/// What a change comes to on one version of its entity.
#[derive(Debug)]
pub(crate) struct Worked<E: Entity> {
    old: State<E>,
    /// What a patch saw of the ancestors: a `test` may be about it.
    seen: Option<Inherited>,
    /// `None` where nothing changes.
    next: Option<Next<E>>,
    bytes: usize,
}

impl<E: Entity> Worked<E> {
    /// Bytes of the whole entity, encoded, as the change leaves it.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The next version of an entity, encoded.
#[derive(Debug)]
struct Next<E: Entity> {
    state: State<E>,
    head: Vec<u8>,
    schemas: SchemaRow,
    /// The members that changed, where the change feed wants to know.
    changed: Vec<String>,
}

/// What becomes of the schema row: one that need not change is not written.
#[derive(Debug)]
enum SchemaRow {
    Keep,
    Put(Vec<u8>),
    Delete,
}

impl<E: Entity> Change<E> {
    /// Works the change out on `view`, where no hook has a say.
    pub(crate) fn work_out(
        &self,
        settings: &Settings,
        actor: &str,
        view: &TenantView<'_>,
    ) -> Result<Worked<E>> {
        self.work_out_with(settings, actor, view, |_, _| Ok(()))
    }

    fn work_out_with(
        &self,
        settings: &Settings,
        actor: &str,
        view: &TenantView<'_>,
        amend: impl FnOnce(&State<E>, &mut E::New) -> Result<()>,
    ) -> Result<Worked<E>> {
        let id = self.id;
        let old = view
            .state::<E>(id.uuid(), true)?
            .ok_or_else(|| Error::not_found(vec![id.into()]))?;
        self.expectation.check(id.into(), old.meta.version)?;
        let mut violations = Violations::default();
        let mut seen = None;
        let mut fields = match &self.source {
            Source::Fields(fields) => fields.clone(),
            Source::Patch(patch) => {
                let inherited = view.inherited(old.lineage, &mut InheritedCache::default())?;
                let shown = E::assemble(id.uuid(), view.name, old.clone(), inherited.clone());
                seen = Some(inherited);
                patched::<E>(id.uuid(), &shown, patch, &mut violations)?
            }
        };
        // A value of a wrong type no hook can mend.
        if !settings.hooks.is_empty() && violations.count() == 0 {
            let valid = check_fields::<E>(&fields, &old, Violations::default()).is_ok();
            // Of what changes nothing no hook hears.
            if !valid || !matches!(next(settings, actor, &old, fields.clone()), Ok((None, _))) {
                amend(&old, &mut fields)?;
            }
        }
        check_fields::<E>(&fields, &old, violations)?;
        let (next, bytes) = next(settings, actor, &old, fields)?;
        Ok(Worked {
            old,
            seen,
            next,
            bytes,
        })
    }

    /// Stages the change, if the entity is as expected, and gives it as it is then. What changes nothing writes nothing.
    pub(crate) fn stage(&self, stage: &mut Stage<'_>, ahead: Option<&Worked<E>>) -> Result<E> {
        self.stage_sized(stage, ahead).map(|(entity, _)| entity)
    }

    /// As [`Change::stage`], with [`Worked::bytes`].
    pub(crate) fn stage_sized(&self, stage: &mut Stage<'_>, ahead: Option<&Worked<E>>) -> Result<(E, usize)> {
        let id = self.id.uuid();
        let again;
        let worked = match ahead {
            Some(worked) if holds(stage, id, worked)? => worked,
            _ => {
                again = stage.read(|view| {
                    self.work_out_with(stage.settings, stage.actor, view, |old, new| {
                        hooked::amend::<E>(stage, id, Some(old), new)
                    })
                })?;
                &again
            }
        };
        let state = match &worked.next {
            Some(next) => {
                stage_next(stage, id, &worked.old, next)?;
                &next.state
            }
            None => &worked.old,
        };
        stage.read(|view| {
            let inherited = view.inherited(state.lineage, &mut InheritedCache::default())?;
            let entity = E::assemble(id, view.name, state.clone(), inherited);
            Ok((entity, worked.bytes))
        })
    }
}

/// Whether what was worked out on an earlier view is what would be worked out now.
fn holds<E: Entity>(stage: &Stage<'_>, id: Uuid, worked: &Worked<E>) -> Result<bool> {
    stage.read(|view| {
        let version = view.head::<E, _>(id, |head| Ok(head.stamps().version()))?;
        if version != Some(worked.old.meta.version) {
            return Ok(false);
        }
        match &worked.seen {
            Some(seen) => Ok(*seen == view.inherited(worked.old.lineage, &mut InheritedCache::default())?),
            None => Ok(true),
        }
    })
}

/// The rules, and that the parent is still the same, beside what `violations` has already.
fn check_fields<E: Entity>(fields: &E::New, old: &State<E>, mut violations: Violations) -> Result<()> {
    rules::check::<E>(fields, &mut violations);
    let named = E::named_parent(fields);
    if named.is_some() && named != old.lineage.parent(E::KIND) {
        violations.push(parent_pointer(E::KIND), "the parent never changes");
    }
    if let Some(owner) = E::named_owner(fields)
        && (owner.trim().is_empty() || owner.len() > MAX_NAME)
    {
        let message = format!("may not be blank, nor have more than {MAX_NAME} bytes");
        violations.push("/ownerId", message);
    }
    violations.finish()
}

/// The next version, by the actor, now, and how many bytes the entity then has; `None` where `fields` change nothing.
fn next<E: Entity>(
    settings: &Settings,
    actor: &str,
    old: &State<E>,
    mut fields: E::New,
) -> Result<(Option<Next<E>>, usize)> {
    // Never back, whatever the clock does.
    let now = settings.environment.clock.now().max(old.meta.last_modified_time);
    E::date_schemas(&mut fields, Some(&old.fields), now);
    let owner_id = E::named_owner(&fields).unwrap_or(&old.meta.owner_id).to_owned();
    // As a stored record gives them back: the parent named, the owner kept apart.
    let fields = E::with_parent_and_owner(fields, old.lineage, None);
    let mut state = State::<E> {
        meta: Meta {
            owner_id,
            ..old.meta.clone()
        },
        lineage: old.lineage,
        schema_row: E::has_schemas(&fields),
        fields,
    };
    let (old_schemas, new_schemas) = (encode_schemas(old)?, encode_schemas(&state)?);
    // By what is stored: members of free JSON in another order are equal, but their order is kept.
    let schema_bytes = new_schemas.as_ref().map_or(0, Vec::len);
    if old_schemas == new_schemas {
        let head = encode_head(old)?;
        if head == encode_head(&state)? {
            return Ok((None, head.len() + schema_bytes));
        }
    }
    state.meta.version += 1;
    actor.clone_into(&mut state.meta.last_modified_by);
    state.meta.last_modified_time = now;
    let head = encode_head(&state)?;
    let bytes = head.len() + schema_bytes;
    check_size(bytes)?;
    let changed = if settings.change_feed {
        feed::changed_members(old, &state)?
    } else {
        Vec::new()
    };
    let schemas = match new_schemas {
        same if same == old_schemas => SchemaRow::Keep,
        Some(body) => SchemaRow::Put(body),
        None => SchemaRow::Delete,
    };
    let next = Next {
        state,
        head,
        schemas,
        changed,
    };
    Ok((Some(next), bytes))
}

fn encode_schemas<E: Entity>(state: &State<E>) -> Result<Option<Vec<u8>>> {
    E::encode_schemas(&state.fields).map_err(encoding_failed)
}

/// Stages the next version of an entity.
fn stage_next<E: Entity>(stage: &mut Stage<'_>, id: Uuid, old: &State<E>, next: &Next<E>) -> Result<()> {
    let Next {
        state,
        head,
        schemas,
        changed,
    } = next;
    // There is an old state, so there is a tenant.
    let tenant = stage.tenant_for_write()?;
    let parent = Parent {
        tenant,
        id: state.lineage.parent(E::KIND).map(EntityId::uuid),
    };
    check_unique::<E>(stage, parent, id, E::indexed(id, state).technical_name)?;
    stage.put_head::<E>(tenant, id, head, state.lineage.store);
    match schemas {
        SchemaRow::Keep => {}
        SchemaRow::Put(body) => stage.put_schemas(tenant, id, body),
        SchemaRow::Delete => stage.delete_schemas(tenant, id),
    }
    stage.index(tenant, Some(&E::indexed(id, old)), &E::indexed(id, state));
    let event = feed::Event::Updated { fields: changed };
    feed::record(stage, event, &feed::Subject::of(id, state))
}

/// The fields that `patch` makes of an entity; values of a wrong type are noted.
fn patched<E: Entity>(id: Uuid, entity: &E, patch: &Patch, violations: &mut Violations) -> Result<E::New> {
    let document = serde_json::to_value(entity).map_err(|error| encoding_failed(error.to_string()))?;
    let document: Value = patch::apply(patch, document, shape::entity(E::KIND))?;
    Ok(reader::read_patched::<E>(document, id, violations))
}

/// The fields of an entity as an update closure gets them, with its version.
pub(crate) fn fields_for_update<E: Entity>(state: State<E>) -> (E::New, u64) {
    let State {
        meta,
        lineage,
        fields,
        schema_row: _,
    } = state;
    (
        E::with_parent_and_owner(fields, lineage, Some(meta.owner_id)),
        meta.version,
    )
}

#[cfg(test)]
mod tests {
    use crate::{Catalog, Expectation, JsonObject, NewDataStore, Read as _, Write as _};

    #[test]
    fn another_order_of_free_members_is_a_change() {
        let session = Catalog::in_memory().unwrap().session("acme", "ann").unwrap();
        let free = |text: &str| Some(serde_json::from_str::<JsonObject>(text).unwrap());
        let new = NewDataStore {
            properties: free(r#"{"team":"core","rank":1}"#),
            ..NewDataStore::new("warehouse", "postgres")
        };
        let store = session.create(new.clone()).unwrap();
        let turned = NewDataStore {
            properties: free(r#"{"rank":1,"team":"core"}"#),
            ..new
        };
        let replaced = session
            .replace(store.id, Expectation::Any, turned.clone())
            .unwrap();
        assert_eq!(replaced.version, 1);
        let read = session.get(store.id).unwrap().unwrap();
        assert!(read.properties.unwrap().keys().eq(["rank", "team"]));
        let again = session.replace(store.id, Expectation::Any, turned).unwrap();
        assert_eq!(again.version, 1);
    }
}
