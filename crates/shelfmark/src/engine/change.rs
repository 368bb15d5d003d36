//! Changing an entity: replace, patch and update are one path with different sources of the new fields.

use serde_json::Value;
use uuid::Uuid;

use super::Stage;
use super::create::{check_size, check_unique, encode_head, encoding_failed, parent_pointer};
use super::tenants::MAX_NAME;
use super::view::InheritedCache;
use crate::entity::{Entity, Meta, State, reader, rules, shape};
use crate::error::{Error, Result};
use crate::ids::EntityId;
use crate::keyspace::Parent;
use crate::patch::{self, Patch};
use crate::time::Timestamp;
use crate::violations::Violations;
use crate::{Expectation, TypedId as _};

/// Changes the entity `id` to the fields that `make` returns, if it is as expected. What changes nothing writes nothing.
pub(crate) fn change<E: Entity>(
    stage: &mut Stage<'_>,
    id: E::Id,
    expectation: Expectation,
    make: impl FnOnce(&Stage<'_>, &State<E>, &mut Violations) -> Result<E::New>,
) -> Result<E> {
    let old = read_for_change::<E>(stage, id, expectation)?;
    let mut violations = Violations::default();
    let mut fields = make(stage, &old, &mut violations)?;
    check_fields::<E>(&fields, &old, violations)?;
    // Never back, whatever the clock does.
    let now = stage.now().max(old.meta.last_modified_time);
    E::date_schemas(&mut fields, Some(&old.fields), now);
    let owner_id = E::named_owner(&fields).unwrap_or(&old.meta.owner_id).to_owned();
    // As a stored record gives them back: the parent named, the owner kept apart.
    let fields = E::with_parent_and_owner(fields, old.lineage, None);
    let meta = Meta {
        owner_id,
        ..old.meta.clone()
    };
    let new = State::<E> {
        meta,
        lineage: old.lineage,
        schema_row: E::has_schemas(&fields),
        fields,
    };
    let schemas = Schemas {
        old: encode_schemas(&old)?,
        new: encode_schemas(&new)?,
    };
    // By what is stored: members of free JSON in another order are equal, but their order is kept.
    let changed = schemas.old != schemas.new || encode_head(&old)? != encode_head(&new)?;
    let new = if changed {
        stage_change(stage, id.uuid(), &old, new, &schemas, now)?
    } else {
        old
    };
    stage.read(|view| {
        let inherited = view.inherited(new.lineage, &mut InheritedCache::new())?;
        Ok(E::assemble(id.uuid(), view.name, new, inherited))
    })
}

/// The bodies of an entity's schema row.
struct Schemas {
    old: Option<Vec<u8>>,
    new: Option<Vec<u8>>,
}

fn encode_schemas<E: Entity>(state: &State<E>) -> Result<Option<Vec<u8>>> {
    E::encode_schemas(&state.fields).map_err(encoding_failed)
}

/// The full state of `id`; `NotFound` or `VersionConflict` where it is not as expected.
fn read_for_change<E: Entity>(stage: &Stage<'_>, id: E::Id, expectation: Expectation) -> Result<State<E>> {
    let old = stage
        .read(|view| view.state::<E>(id.uuid(), true))?
        .ok_or_else(|| Error::not_found(vec![id.into()]))?;
    expectation.check(id.into(), old.meta.version)?;
    Ok(old)
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

/// Stages a change of content: the next version, by the actor, now.
fn stage_change<E: Entity>(
    stage: &mut Stage<'_>,
    id: Uuid,
    old: &State<E>,
    mut new: State<E>,
    schemas: &Schemas,
    now: Timestamp,
) -> Result<State<E>> {
    // There is an old state, so there is a tenant.
    let tenant = stage.tenant_for_write()?;
    new.meta.version += 1;
    stage.actor.clone_into(&mut new.meta.last_modified_by);
    new.meta.last_modified_time = now;
    let parent = Parent {
        tenant,
        id: new.lineage.parent(E::KIND).map(EntityId::uuid),
    };
    check_unique::<E>(stage, parent, id, E::indexed(id, &new).technical_name)?;
    let head = encode_head(&new)?;
    check_size(head.len() + schemas.new.as_ref().map_or(0, Vec::len))?;
    stage.put_head::<E>(tenant, id, &head, new.lineage.store);
    match &schemas.new {
        // A row that need not change is not written.
        same if *same == schemas.old => {}
        Some(body) => stage.put_schemas(tenant, id, body),
        None => stage.delete_schemas(tenant, id),
    }
    stage.index(tenant, Some(&E::indexed(id, old)), &E::indexed(id, &new));
    Ok(new)
}

/// The fields that `patch` makes of an entity; values of a wrong type are noted.
pub(crate) fn patched<E: Entity>(
    stage: &Stage<'_>,
    id: Uuid,
    old: &State<E>,
    patch: &Patch,
    violations: &mut Violations,
) -> Result<E::New> {
    let entity = stage.read(|view| {
        let inherited = view.inherited(old.lineage, &mut InheritedCache::new())?;
        Ok(E::assemble(id, view.name, old.clone(), inherited))
    })?;
    let document = serde_json::to_value(&entity).map_err(|error| encoding_failed(error.to_string()))?;
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
