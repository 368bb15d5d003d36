//! Creating entities.

use std::collections::HashMap;
use std::sync::Arc;

use uuid::Uuid;

use super::ancestors::InheritedCache;
use super::{Settings, Stage, TenantView, feed, hooked};
use crate::backend::Keyspace;
use crate::entity::rules::{self, MAX_ENTITY_BYTES};
use crate::entity::{Entity, Head as _, Inherited, Lineage, Meta, State};
use crate::error::{Error, Result};
use crate::ids::{EntityId, EntityKind, created_time};
use crate::keyspace::{IndexOrder, Parent, bounds};
use crate::sortkey::{FOLDED_BYTES, Scalar, TextKey, fold};
use crate::violations::Violations;
use crate::{DataAsset, DataSet, DataStore};

/// A creation, as far as it can be made without a view: with its id, which carries its time.
#[derive(Debug)]
pub(crate) struct Prepared<E: Entity> {
    pub(crate) id: Uuid,
    work: Work<E>,
    bytes: usize,
}

#[derive(Debug)]
enum Work<E: Entity> {
    /// Checked and encoded.
    Ready(Arc<Encoded<E>>),
    /// As given: hooks may amend it before it is checked.
    Given(E::New),
}

/// A new entity, ready to be stored.
#[derive(Debug)]
pub(super) struct Encoded<E: Entity> {
    pub(super) state: State<E>,
    pub(super) head: Vec<u8>,
    pub(super) schemas: Option<Vec<u8>>,
}

impl<E: Entity> Prepared<E> {
    /// Bytes of the encoded rows, before any hook.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Gives the id, and where no hook has a say checks the rules and encodes; needs no view.
pub(crate) fn prepare<E: Entity>(settings: &Settings, actor: &str, new: E::New) -> Result<Prepared<E>> {
    prepare_as(settings, actor, next_id(settings), new)
}

/// As [`prepare`], under this id.
pub(super) fn prepare_as<E: Entity>(
    settings: &Settings,
    actor: &str,
    id: Uuid,
    new: E::New,
) -> Result<Prepared<E>> {
    if settings.hooks.is_empty() {
        let encoded = encode::<E>(actor, id, new)?;
        let bytes = encoded.bytes();
        let work = Work::Ready(Arc::new(encoded));
        return Ok(Prepared { id, work, bytes });
    }
    // What cannot be encoded is refused later, unless a hook mends it; it is held until then.
    let bytes = match encoded_state::<E>(actor, id, new.clone()) {
        Ok(encoded) => encoded.bytes(),
        Err(_) => serde_json::to_vec(&new).map_or(0, |text| text.len()),
    };
    let work = Work::Given(new);
    Ok(Prepared { id, work, bytes })
}

pub(super) fn next_id(settings: &Settings) -> Uuid {
    settings.environment.ids.next_id(settings.environment.clock.now())
}

impl<E: Entity> Encoded<E> {
    pub(super) fn bytes(&self) -> usize {
        self.head.len() + self.schemas.as_ref().map_or(0, Vec::len)
    }
}

/// Checks the rules and encodes.
pub(super) fn encode<E: Entity>(actor: &str, id: Uuid, fields: E::New) -> Result<Encoded<E>> {
    let mut violations = Violations::default();
    rules::check::<E>(&fields, &mut violations);
    if E::named_parent(&fields).is_none() && E::KIND != EntityKind::Store {
        violations.push(parent_pointer(E::KIND), "is required");
    }
    violations.finish()?;
    let encoded = encoded_state::<E>(actor, id, fields)?;
    check_size(encoded.bytes())?;
    Ok(encoded)
}

fn encoded_state<E: Entity>(actor: &str, id: Uuid, mut fields: E::New) -> Result<Encoded<E>> {
    let created = created_time(id);
    E::date_schemas(&mut fields, None, created);
    // An asset's store is filled in when the asset has been read.
    let lineage = Lineage::naming(E::named_parent(&fields));
    let meta = Meta {
        version: 0,
        owner_id: actor.to_owned(),
        created_by: actor.to_owned(),
        last_modified_by: actor.to_owned(),
        last_modified_time: created,
    };
    let schema_row = E::has_schemas(&fields);
    let state = State::<E> {
        meta,
        lineage,
        fields,
        schema_row,
    };
    Ok(Encoded {
        head: encode_head(&state)?,
        schemas: E::encode_schemas(&state.fields).map_err(encoding_failed)?,
        state,
    })
}

pub(crate) fn encode_head<E: Entity>(state: &State<E>) -> Result<Vec<u8>> {
    E::encode_head(state).map_err(encoding_failed)
}

pub(crate) fn encoding_failed(what: String) -> Error {
    Error::violation("", format!("cannot be encoded: {what}"))
}

pub(crate) fn check_size(bytes: usize) -> Result<()> {
    if bytes > MAX_ENTITY_BYTES {
        let message =
            format!("takes {bytes} bytes encoded, more than the {MAX_ENTITY_BYTES} an entity may have");
        return Err(Error::violation("", message));
    }
    Ok(())
}

/// Where an input names its parent.
pub(crate) fn parent_pointer(kind: EntityKind) -> &'static str {
    match kind {
        EntityKind::Store => "",
        EntityKind::Asset => "/dataStoreInfo/id",
        EntityKind::Set => "/dataAssetInfo/id",
    }
}

/// The parents that one bulk call has met: a call creates nothing that could change them.
#[derive(Default)]
pub(crate) struct Parents {
    lineages: HashMap<EntityId, Lineage>,
    inherited: InheritedCache,
}

impl Parents {
    /// The lineage of a child of `parent`; `NotFound` where there is no such parent.
    pub(super) fn lineage(&mut self, stage: &Stage<'_>, parent: EntityId) -> Result<Lineage> {
        if let Some(&known) = self.lineages.get(&parent) {
            return Ok(known);
        }
        let found = stage.read(|view| lineage_under(view, parent))?;
        let lineage = found.ok_or_else(|| Error::not_found(vec![parent]))?;
        self.lineages.insert(parent, lineage);
        Ok(lineage)
    }

    fn inherited(&mut self, stage: &Stage<'_>, lineage: Lineage) -> Result<Inherited> {
        stage.read(|view| view.inherited(lineage, &mut self.inherited))
    }
}

/// The lineage of the children of `parent`, if it is there. It is the same as long as it is.
pub(super) fn lineage_under(view: &TenantView<'_>, parent: EntityId) -> Result<Option<Lineage>> {
    match parent {
        EntityId::Store(store) => {
            let exists = view.head::<DataStore, _>(store.uuid(), |_| Ok(()))?.is_some();
            Ok(exists.then_some(Lineage {
                store: Some(store),
                asset: None,
            }))
        }
        EntityId::Asset(asset) => {
            let store = view.head::<DataAsset, _>(asset.uuid(), |head| Ok(head.lineage().store))?;
            Ok(store.map(|store| Lineage {
                store,
                asset: Some(asset),
            }))
        }
        EntityId::Set(_) => Ok(None),
    }
}

/// Stages a creation.
pub(crate) fn create<E: Entity>(
    stage: &mut Stage<'_>,
    prepared: &Prepared<E>,
    parents: &mut Parents,
) -> Result<()> {
    with_encoded(stage, prepared, |stage, encoded| {
        stage_new(stage, prepared.id, encoded, parents).map(drop)
    })
}

/// What a creation came to.
pub(crate) struct Created<E: Entity> {
    encoded: Arc<Encoded<E>>,
    lineage: Lineage,
    inherited: Inherited,
}

impl<E: Entity> Created<E> {
    /// The new entity.
    pub(crate) fn entity(self, id: Uuid, tenant: &str) -> E {
        let state = State {
            lineage: self.lineage,
            ..self.encoded.state.clone()
        };
        E::assemble(id, tenant, state, self.inherited)
    }
}

/// Stages a creation, and gives what the new entity is made of.
pub(crate) fn create_one<E: Entity>(
    stage: &mut Stage<'_>,
    prepared: &Prepared<E>,
    parents: &mut Parents,
) -> Result<Created<E>> {
    with_encoded(stage, prepared, |stage, encoded| {
        let lineage = stage_new(stage, prepared.id, encoded, parents)?;
        Ok(Created {
            encoded: Arc::clone(encoded),
            lineage,
            inherited: parents.inherited(stage, lineage)?,
        })
    })
}

/// Shows what is to be stored, after the hooks had their say.
fn with_encoded<E: Entity, R>(
    stage: &mut Stage<'_>,
    prepared: &Prepared<E>,
    work: impl FnOnce(&mut Stage<'_>, &Arc<Encoded<E>>) -> Result<R>,
) -> Result<R> {
    match &prepared.work {
        Work::Ready(encoded) => work(stage, encoded),
        Work::Given(new) => {
            let mut new = new.clone();
            hooked::amend::<E>(stage, prepared.id, None, &mut new)?;
            let encoded = encode::<E>(stage.actor, prepared.id, new)?;
            work(stage, &Arc::new(encoded))
        }
    }
}

/// Stages a new entity, and gives its ancestors.
fn stage_new<E: Entity>(
    stage: &mut Stage<'_>,
    id: Uuid,
    encoded: &Encoded<E>,
    parents: &mut Parents,
) -> Result<Lineage> {
    let Encoded { state, head, schemas } = encoded;
    let lineage = match state.lineage.parent(E::KIND) {
        Some(parent) => parents.lineage(stage, parent)?,
        None => Lineage::default(),
    };
    let tenant = stage.tenant_for_write()?;
    let parent = Parent {
        tenant,
        id: lineage.parent(E::KIND).map(EntityId::uuid),
    };
    let indexed = E::indexed(id, state);
    check_unique::<E>(stage, parent, id, indexed.technical_name)?;
    stage.put_head::<E>(tenant, id, head, lineage.store);
    if let Some(schemas) = schemas {
        stage.put_schemas(tenant, id, schemas);
    }
    stage.index(tenant, None, &indexed);
    let subject = feed::Subject {
        id: EntityId::new(E::KIND, id),
        lineage,
        version: state.meta.version,
    };
    feed::record(stage, feed::Event::Created, &subject)?;
    Ok(lineage)
}

/// Where the catalog keeps technical names unique, refuses one that another child of `parent` has, compared case-folded.
pub(crate) fn check_unique<E: Entity>(
    stage: &Stage<'_>,
    parent: Parent,
    id: Uuid,
    technical_name: &str,
) -> Result<()> {
    if !stage.settings.unique_technical_names {
        return Ok(());
    }
    let taken = stage.read(|view| {
        let same = same_text::<E>(view, parent, TextIndex::TechnicalName, technical_name)?;
        Ok(same.into_iter().find(|&other| other != id))
    })?;
    match taken {
        Some(other) => Err(Error::technical_name_taken(
            technical_name,
            EntityId::new(E::KIND, other),
        )),
        None => Ok(()),
    }
}

/// The most bytes of a character: a cut text is shorter than the bound by less.
const LONGEST_CHARACTER: usize = 4;

/// A text that is indexed under each parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextIndex {
    Name,
    TechnicalName,
}

/// The children of `parent` whose text is this one, compared case-folded, in creation order.
pub(crate) fn same_text<E: Entity>(
    view: &TenantView<'_>,
    parent: Parent,
    index: TextIndex,
    text: &str,
) -> Result<Vec<Uuid>> {
    let (order, path) = match index {
        TextIndex::Name => (IndexOrder::Name, "name"),
        TextIndex::TechnicalName => (IndexOrder::TechnicalName, "technicalName"),
    };
    let range = bounds::children_by_text_prefix(parent, TextKey::new(Some(text)).as_bytes());
    let (ids, _) = view.ids_in(order.keyspace(E::KIND), &range, usize::MAX)?;
    let folded = fold(text);
    if folded.len() <= FOLDED_BYTES - LONGEST_CHARACTER {
        return Ok(ids);
    }
    // A key may be cut, this one or that of a longer text: only the records tell.
    verified::<E>(view, ids, |head| match head.scalar(path) {
        Scalar::Text(found) => fold(found) == folded,
        _ => false,
    })
}

/// Those of `ids` whose record passes.
fn verified<E: Entity>(
    view: &TenantView<'_>,
    ids: Vec<Uuid>,
    passes: impl Fn(&E::Head<'_>) -> bool,
) -> Result<Vec<Uuid>> {
    let mut passed = vec![false; ids.len()];
    view.heads::<E>(&ids, |at, head| {
        passed[at] = passes(&head);
        Ok(())
    })?;
    Ok(ids
        .into_iter()
        .zip(passed)
        .filter_map(|(id, passed)| passed.then_some(id))
        .collect())
}

/// The sets of this `secureQri`, each verified against its record, in creation order.
pub(crate) fn with_secure_qri(view: &TenantView<'_>, secure_qri: &str) -> Result<Vec<Uuid>> {
    let Some(tenant) = view.number else {
        return Ok(Vec::new());
    };
    let range = bounds::secure_qri(tenant, secure_qri);
    let (ids, _) = view.ids_in(Keyspace::SetBySecureQri, &range, usize::MAX)?;
    verified::<DataSet>(view, ids, |head| head.secure_qri() == secure_qri)
}
