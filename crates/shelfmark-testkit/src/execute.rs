//! Runs resolved operations through the public API, and puts what comes of them into the form that the oracle gives.

mod batch;

use std::cell::RefCell;

use serde_json::{Value, json};
use shelfmark::{
    AllStores, AssetId, AssetSelection, Cursor, DataAsset, DataSet, DataStore, Deleted, Entity, EntityKind,
    Error, ErrorKind, Expectation, Filter, JsonText, Named, NewDataAsset, NewDataSet, NewDataStore, Page,
    Patch, Projection, Query, Read, Session, SetSelection, StoreId, Timestamp, TypedId, Write,
};
use uuid::Uuid;

use crate::environment::TestEnvironment;
use crate::operation::{
    Draft, Edit, Expect, FilterSpec, Form, Input, Misuse, PatchStep, PatchValue, QuerySpec, ReadOp, Ref,
    Selection, Target, WriteOp,
};
use crate::outcome::{Failure, Ids, Outcome};

/// What a storage that fails brings about, whatever is asked.
pub(crate) const OF_STORAGE: [ErrorKind; 6] = [
    ErrorKind::Io,
    ErrorKind::StorageFull,
    ErrorKind::ReadOnly,
    ErrorKind::Corrupt,
    ErrorKind::Unavailable,
    ErrorKind::CommitUnknown,
];

/// What an operation gave, or why it was refused.
pub(crate) type Answer = Result<Value, Failure>;

/// A kind of entity, as operations speak of it.
pub(crate) trait Modelled: Entity {
    fn selection(selection: &Selection, ids: &Ids) -> Self::Selection;
    fn input(draft: &Draft, ids: &Ids) -> Option<Self::New>;
    fn edit(edit: &Edit, ids: &Ids, fields: &mut Self::New);
}

/// Runs an expression with a type parameter for each kind.
macro_rules! by_kind {
    ($kind:expr, $entity:ident => $work:expr) => {
        match $kind {
            EntityKind::Store => {
                type $entity = shelfmark::DataStore;
                $work
            }
            EntityKind::Asset => {
                type $entity = shelfmark::DataAsset;
                $work
            }
            EntityKind::Set => {
                type $entity = shelfmark::DataSet;
                $work
            }
        }
    };
}
pub(crate) use by_kind;

fn real(ids: &Ids, id: &Ref) -> Uuid {
    match id {
        Ref::Exact(id) => ids.real(*id),
        _ => Uuid::nil(),
    }
}

fn stores(ids: &Ids, stores: &[Ref]) -> Vec<StoreId> {
    stores
        .iter()
        .map(|id| StoreId::from_uuid(real(ids, id)))
        .collect()
}

fn assets(ids: &Ids, assets: &[Ref]) -> Vec<AssetId> {
    assets
        .iter()
        .map(|id| AssetId::from_uuid(real(ids, id)))
        .collect()
}

/// The edits that every kind knows.
macro_rules! common_edits {
    ($edit:expr, $fields:expr) => {
        match $edit {
            Edit::Name(name) => $fields.name.clone_from(name),
            Edit::TechnicalName(name) => $fields.technical_name.clone_from(name),
            Edit::Tags(tags) => $fields.tags.clone_from(tags),
            Edit::Description(text) => $fields.description.clone_from(text),
            Edit::Owner(owner) => $fields.owner_id.clone_from(owner),
            Edit::Properties(properties) => $fields.properties.clone_from(properties),
            Edit::Nothing | Edit::Parent(_) | Edit::Schema(..) | Edit::SecureQri(_) => {}
        }
    };
}

impl Modelled for DataStore {
    fn selection(_selection: &Selection, _ids: &Ids) -> AllStores {
        AllStores
    }

    fn input(draft: &Draft, _ids: &Ids) -> Option<NewDataStore> {
        match &draft.input {
            Input::Store(new) => Some((**new).clone()),
            _ => None,
        }
    }

    fn edit(edit: &Edit, _ids: &Ids, fields: &mut NewDataStore) {
        common_edits!(edit, fields);
    }
}

impl Modelled for DataAsset {
    fn selection(selection: &Selection, ids: &Ids) -> AssetSelection {
        match selection {
            Selection::InStores(within) => AssetSelection::InStores(stores(ids, within)),
            _ => AssetSelection::All,
        }
    }

    fn input(draft: &Draft, ids: &Ids) -> Option<NewDataAsset> {
        match &draft.input {
            Input::Asset(new) => Some(NewDataAsset {
                store: draft.parent.map(|id| StoreId::from_uuid(real(ids, &id))),
                ..(**new).clone()
            }),
            _ => None,
        }
    }

    fn edit(edit: &Edit, ids: &Ids, fields: &mut NewDataAsset) {
        common_edits!(edit, fields);
        if let Edit::Parent(parent) = edit {
            fields.store = parent.map(|id| StoreId::from_uuid(real(ids, &id)));
        }
    }
}

impl Modelled for DataSet {
    fn selection(selection: &Selection, ids: &Ids) -> SetSelection {
        match selection {
            Selection::All => SetSelection::All,
            Selection::InStores(within) => SetSelection::InStores(stores(ids, within)),
            Selection::InAssets(within) => SetSelection::InAssets(assets(ids, within)),
            Selection::Within(within, named) => SetSelection::Within {
                stores: stores(ids, within),
                assets: assets(ids, named),
            },
        }
    }

    fn input(draft: &Draft, ids: &Ids) -> Option<NewDataSet> {
        match &draft.input {
            Input::Set(new) => Some(NewDataSet {
                asset: draft.parent.map(|id| AssetId::from_uuid(real(ids, &id))),
                ..(**new).clone()
            }),
            _ => None,
        }
    }

    fn edit(edit: &Edit, ids: &Ids, fields: &mut NewDataSet) {
        common_edits!(edit, fields);
        match edit {
            Edit::Parent(parent) => {
                fields.asset = parent.map(|id| AssetId::from_uuid(real(ids, &id)));
            }
            Edit::Schema(schema, more) => {
                fields.schema.clone_from(schema);
                fields.additional_schemas = schema.iter().cycle().take(usize::from(*more)).cloned().collect();
            }
            Edit::SecureQri(qri) => fields.secure_qri.clone_from(qri),
            _ => {}
        }
    }
}

/// Runs operations of one system: maps ids on the way in and out, and notes those of new entities.
pub(crate) struct Executor<'a> {
    pub(crate) ids: &'a RefCell<Ids>,
    /// A session of the other tenant, where cursors are taken to.
    pub(crate) elsewhere: &'a Session,
}

impl Executor<'_> {
    pub(crate) fn failure(&self, error: &Error) -> Failure {
        Failure::of(error, &self.ids.borrow())
    }

    fn fail<T>(&self, result: shelfmark::Result<T>) -> Result<T, Failure> {
        result.map_err(|error| self.failure(&error))
    }

    pub(crate) fn shown<T: serde::Serialize>(&self, value: &T) -> Value {
        let mut value = serde_json::to_value(value).unwrap_or_else(|error| json!(error.to_string()));
        self.ids.borrow().canonicalize(&mut value);
        value
    }

    fn id<E: Entity>(&self, id: &Ref) -> E::Id {
        E::Id::from_uuid(real(&self.ids.borrow(), id))
    }

    pub(crate) fn target<E: Entity>(&self, target: &Target) -> (E::Id, Expectation) {
        let expectation = match target.expect {
            Expect::Exactly(version) => Expectation::Exactly(version),
            _ => Expectation::Any,
        };
        (self.id::<E>(&target.id), expectation)
    }

    pub(crate) fn input<E: Modelled>(&self, draft: &Draft) -> Option<E::New> {
        E::input(draft, &self.ids.borrow())
    }

    fn selection<E: Modelled>(&self, selection: &Selection) -> E::Selection {
        E::selection(selection, &self.ids.borrow())
    }

    pub(crate) fn bind<I: TypedId>(&self, ids: &[I]) -> Value {
        for id in ids {
            self.ids.borrow_mut().bind(id.uuid());
        }
        self.shown(&ids.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    pub(crate) fn patch(&self, steps: &[PatchStep]) -> Result<Patch, Failure> {
        let json = |value: &PatchValue| match value {
            PatchValue::Json(value) => value.clone(),
            PatchValue::Id(_, id) => json!(real(&self.ids.borrow(), id).to_string()),
            PatchValue::Version => Value::Null,
        };
        let patch = steps.iter().try_fold(Patch::new(), |patch, step| match step {
            PatchStep::Add(path, value) => patch.add(path, json(value)),
            PatchStep::Remove(path) => patch.remove(path),
            PatchStep::Replace(path, value) => patch.replace(path, json(value)),
            PatchStep::Move(from, path) => patch.move_(from, path),
            PatchStep::Copy(from, path) => patch.copy(from, path),
            PatchStep::Test(path, value) => patch.test(path, json(value)),
        });
        self.fail(patch)
    }

    pub(crate) fn write<W: Write>(&self, to: &W, write: &WriteOp) -> Answer {
        match write {
            WriteOp::Create(draft) => by_kind!(draft.kind(), E => self.create::<E, W>(to, draft)),
            WriteOp::CreateAll(drafts) => {
                let kind = drafts.first().map_or(EntityKind::Store, Draft::kind);
                by_kind!(kind, E => {
                    let members: Vec<_> = drafts.iter().filter_map(|draft| self.input::<E>(draft)).collect();
                    let ids = self.fail(to.create_all(members))?;
                    Ok(self.bind(&ids))
                })
            }
            WriteOp::Replace(target, draft) => by_kind!(draft.kind(), E => {
                let (id, expectation) = self.target::<E>(target);
                let new = self.input::<E>(draft).unwrap_or_default();
                Ok(self.shown(&self.fail(to.replace(id, expectation, new))?))
            }),
            WriteOp::ReplaceAll(members) => {
                let kind = members
                    .first()
                    .map_or(EntityKind::Store, |(_, draft)| draft.kind());
                by_kind!(kind, E => {
                    let members: Vec<_> = members
                        .iter()
                        .filter_map(|(target, draft)| {
                            let (id, expectation) = self.target::<E>(target);
                            Some((id, expectation, self.input::<E>(draft)?))
                        })
                        .collect();
                    Ok(self.shown(&self.fail(to.replace_all(members))?))
                })
            }
            WriteOp::Update(kind, target, edit) => by_kind!(kind, E => {
                let (id, expectation) = self.target::<E>(target);
                let changed = to.update(id, expectation, |fields| E::edit(edit, &self.ids.borrow(), fields));
                Ok(self.shown(&self.fail(changed)?))
            }),
            WriteOp::UpdateAll(kind, targets, edit) => by_kind!(kind, E => {
                let members: Vec<_> = targets.iter().map(|target| self.target::<E>(target)).collect();
                let changed =
                    to.update_all(members, |_, fields| E::edit(edit, &self.ids.borrow(), fields));
                Ok(self.shown(&self.fail(changed)?))
            }),
            WriteOp::Patch(kind, target, steps) => by_kind!(kind, E => {
                let (id, expectation) = self.target::<E>(target);
                let patch = self.patch(steps)?;
                Ok(self.shown(&self.fail(to.patch(id, expectation, &patch))?))
            }),
            WriteOp::PatchAll(kind, members) => by_kind!(kind, E => {
                let mut all = Vec::new();
                for (target, steps) in members {
                    let (id, expectation) = self.target::<E>(target);
                    all.push((id, expectation, self.patch(steps)?));
                }
                Ok(self.shown(&self.fail(to.patch_all(all))?))
            }),
            WriteOp::Delete(kind, target) => by_kind!(kind, E => {
                let (id, expectation) = self.target::<E>(target);
                let would = || self.deleted(to.would_delete([(id, expectation)]));
                self.rehearsed(would, || self.deleted(to.delete(id, expectation)))
            }),
            WriteOp::DeleteAll(kind, targets) => by_kind!(kind, E => {
                let members: Vec<_> = targets.iter().map(|target| self.target::<E>(target)).collect();
                let would = || self.deleted(to.would_delete(members.clone()));
                self.rehearsed(would, || self.deleted(to.delete_all(members.clone())))
            }),
            WriteOp::DeleteSelected(kind, selection) => by_kind!(kind, E => {
                let would = || self.deleted(to.would_delete_selected::<E>(self.selection::<E>(selection)));
                self.rehearsed(would, || {
                    self.deleted(to.delete_selected::<E>(self.selection::<E>(selection)))
                })
            }),
            WriteOp::Batch(steps) => self.batch(to, steps),
            WriteOp::CreateOnce(key, draft) => {
                by_kind!(draft.kind(), E => self.create_once::<E, W>(to, *key, draft))
            }
            WriteOp::BatchOnce(key, steps) => self.batch_once(to, *key, steps),
            WriteOp::Restore(kind, id) => by_kind!(kind, E => {
                Ok(self.shown(&self.fail(to.restore(self.id::<E>(id)))?))
            }),
            WriteOp::Purge(kind, id) => by_kind!(kind, E => self.deleted(to.purge(self.id::<E>(id)))),
        }
    }

    fn create<E: Modelled, W: Write>(&self, to: &W, draft: &Draft) -> Answer {
        let Some(new) = self.input::<E>(draft) else {
            return Ok(Value::Null);
        };
        let entity = self.fail(to.create(new))?;
        self.ids.borrow_mut().bind(entity.id().uuid());
        Ok(self.shown(&entity))
    }

    /// What a deletion gives, which a rehearsal must have given too; where others come between there is none. That the storage fails, no rehearsal foresees:
    /// where that ends the rehearsal, nothing is deleted.
    fn rehearsed(&self, would: impl FnOnce() -> Answer, delete: impl FnOnce() -> Answer) -> Answer {
        if self.ids.borrow().are_as_they_are() {
            return delete();
        }
        let failed = |answer: &Answer| {
            let kind = answer.as_ref().err().and_then(|failure| failure.kind);
            kind.is_some_and(|kind| OF_STORAGE.contains(&kind))
        };
        let would = would();
        if failed(&would) {
            return would;
        }
        let did = delete();
        if would != did && !failed(&did) {
            return Ok(json!({ "would": format!("{would:?}"), "did": format!("{did:?}") }));
        }
        did
    }

    pub(crate) fn deleted(&self, deleted: shelfmark::Result<Deleted>) -> Answer {
        let deleted = self.fail(deleted)?;
        Ok(json!({ "stores": deleted.stores, "assets": deleted.assets, "sets": deleted.sets }))
    }

    pub(crate) fn query<E: Modelled>(&self, spec: &QuerySpec) -> Query<E> {
        let QuerySpec {
            kind: _,
            selection,
            filter,
            sort,
            limit,
            page,
            schemas,
            total,
        } = spec;
        let mut query = Query::of(self.selection::<E>(selection))
            .filter(filter_of(filter))
            .sort(sort.as_str())
            .limit(*limit)
            .page(*page);
        if *schemas {
            query = query.with_schemas();
        }
        if !*total {
            query = query.without_total();
        }
        query
    }

    pub(crate) fn read<R: Read>(&self, from: &R, read: &ReadOp) -> Answer {
        match read {
            ReadOp::Get(kind, id) => {
                by_kind!(kind, E => Ok(self.shown(&self.fail(from.get(self.id::<E>(id)))?)))
            }
            ReadOp::GetHead(kind, id) => {
                by_kind!(kind, E => Ok(self.shown(&self.fail(from.get_head(self.id::<E>(id)))?)))
            }
            ReadOp::GetMany(kind, ids) => by_kind!(kind, E => {
                let ids: Vec<_> = ids.iter().map(|id| self.id::<E>(id)).collect();
                Ok(self.shown(&self.fail(from.get_many(&ids))?))
            }),
            ReadOp::Exists(kind, id) => {
                by_kind!(kind, E => Ok(json!(self.fail(from.exists(self.id::<E>(id)))?)))
            }
            ReadOp::Count(kind, selection) => by_kind!(kind, E => {
                Ok(json!(self.fail(from.count::<E>(self.selection::<E>(selection)))?))
            }),
            ReadOp::List(query, form) => by_kind!(query.kind, E => self.list::<E, R>(from, query, form)),
            ReadOp::Walk(query) => by_kind!(query.kind, E => self.walk::<E, R>(from, query)),
            ReadOp::MisuseCursor(query, misuse) => {
                by_kind!(query.kind, E => self.misuse::<E, R>(from, query, *misuse))
            }
            ReadOp::FindByName(kind, selection, name) => by_kind!(kind, E => {
                let found = from.find_by_name::<E>(self.selection::<E>(selection), name);
                Ok(self.shown(&self.fail(found)?))
            }),
            ReadOp::FindByTechnicalName(kind, selection, name) => by_kind!(kind, E => {
                let found = from.find_by_technical_name::<E>(self.selection::<E>(selection), name);
                Ok(self.shown(&self.fail(found)?))
            }),
            ReadOp::FindBySecureQri(qri) => Ok(self.shown(&self.fail(from.find_by_secure_qri(qri))?)),
            ReadOp::WouldDelete(kind, targets) => by_kind!(kind, E => {
                let members: Vec<_> = targets.iter().map(|target| self.target::<E>(target)).collect();
                self.deleted(from.would_delete(members))
            }),
            ReadOp::WouldDeleteSelected(kind, selection) => by_kind!(kind, E => {
                self.deleted(from.would_delete_selected::<E>(self.selection::<E>(selection)))
            }),
            ReadOp::Dropped(kind, id) => by_kind!(kind, E => {
                let dropped = self.fail(from.dropped(self.id::<E>(id)))?;
                Ok(dropped.map_or(Value::Null, |dropped| self.dropped(&dropped)))
            }),
            ReadOp::ListDropped(kind, limit) => self.list_dropped(from, *kind, *limit),
        }
    }

    fn list<E: Modelled, R: Read>(&self, from: &R, spec: &QuerySpec, form: &Form) -> Answer {
        let query = self.query::<E>(spec);
        match form {
            Form::Entities => Ok(self.page(&self.fail(from.list(&query))?)),
            Form::Json => {
                let mut text = JsonText::new();
                let page = self.fail(from.list_json(&query, &mut text))?;
                let items: Vec<Value> = serde_json::from_slice(&text.into_bytes()).unwrap_or_default();
                // By the ids of the page, which must be those of the text.
                let by_id = |id: &E::Id| items.iter().find(|item| item["id"] == id.to_string());
                Ok(self.page_of(&page, |id| by_id(id).cloned().unwrap_or_default()))
            }
            Form::Names => {
                let named = |named: &Named<E::Id>| json!([named.id.to_string(), named.name]);
                Ok(self.page_of(&self.fail(from.list_names(&query))?, named))
            }
            Form::Projected(fields) => {
                let projection = Projection::of(fields.iter().map(String::as_str));
                Ok(self.page(&self.fail(from.list_projected(&query, &projection))?))
            }
        }
    }

    pub(crate) fn page<T: serde::Serialize>(&self, page: &Page<T>) -> Value {
        self.page_of(page, |item| {
            serde_json::to_value(item).unwrap_or_else(|error| json!(error.to_string()))
        })
    }

    fn page_of<T>(&self, page: &Page<T>, item: impl Fn(&T) -> Value) -> Value {
        let mut value = json!({
            "items": page.items.iter().map(item).collect::<Vec<_>>(),
            "page": page.page,
            "limit": page.limit,
            "total": page.total,
            "pages": page.pages(),
            "prev": page.prev.is_some(),
            "next": page.next.is_some(),
        });
        self.ids.borrow().canonicalize(&mut value);
        value
    }

    /// Every page by `next`, then every page by `prev`, which must be the same ones.
    fn walk<E: Modelled, R: Read>(&self, from: &R, spec: &QuerySpec) -> Answer {
        let query = self.query::<E>(spec);
        let shown = |page: &Page<E>| -> Vec<Value> {
            page.items
                .iter()
                .map(|entity| self.shown(&entity.id().to_string()))
                .collect()
        };
        let mut page = self.fail(from.list(&query))?;
        let total = page.total;
        let mut forward = vec![shown(&page)];
        let mut numbers = vec![page.page];
        while let Some(next) = page.next.clone() {
            page = self.fail(from.list(&query.clone().cursor(next)))?;
            forward.push(shown(&page));
            numbers.push(page.page);
        }
        let mut backward = vec![shown(&page)];
        let mut numbers_back = vec![page.page];
        while let Some(prev) = page.prev.clone() {
            page = self.fail(from.list(&query.clone().cursor(prev)))?;
            backward.push(shown(&page));
            numbers_back.push(page.page);
        }
        backward.reverse();
        numbers_back.reverse();
        let in_order: Vec<u64> = (0..forward.len() as u64).collect();
        if forward != backward || numbers != in_order || numbers_back != in_order {
            return Ok(json!({
                "forward": forward, "numbers": numbers, "backward": backward, "numbers back": numbers_back,
            }));
        }
        forward.retain(|page| !page.is_empty());
        let total = total.map_or_else(|| forward.iter().map(Vec::len).sum(), |total| total as usize);
        Ok(json!({ "forward": forward, "total": total }))
    }

    fn misuse<E: Modelled, R: Read>(&self, from: &R, spec: &QuerySpec, misuse: Misuse) -> Answer {
        let page = self.fail(from.list(&self.query::<E>(spec)))?;
        let Some(cursor) = page.next else {
            return Ok(json!("no cursor"));
        };
        let cursor = if misuse == Misuse::Altered {
            let text = cursor.to_string();
            let first = if text.starts_with('A') { 'B' } else { 'A' };
            let altered = format!("{first}{}", &text[1..]);
            self.fail(altered.parse::<Cursor>())?
        } else {
            cursor
        };
        let (other, elsewhere) = spec.misused(misuse);
        by_kind!(other.kind, O => {
            let query = self.query::<O>(&other).cursor(cursor);
            if elsewhere {
                Ok(self.page(&self.fail(self.elsewhere.list(&query))?))
            } else {
                Ok(self.page(&self.fail(from.list(&query))?))
            }
        })
    }
}

fn filter_of(spec: &FilterSpec) -> Filter {
    let FilterSpec {
        name_prefix,
        type_name,
        tag,
        owner,
        space,
        since,
    } = spec;
    let mut filter = Filter::new();
    if let Some(prefix) = name_prefix {
        filter = filter.name_prefix(prefix);
    }
    if let Some(name) = type_name {
        filter = filter.type_name(name);
    }
    if let Some(tag) = tag {
        filter = filter.tag(tag);
    }
    if let Some(owner) = owner {
        filter = filter.owner_id(owner);
    }
    if let Some(space) = space {
        filter = filter.space_id(space);
    }
    if let Some(since) = since {
        filter =
            filter.modified_since(Timestamp::from_millis(TestEnvironment::START + since).unwrap_or_default());
    }
    filter
}

/// The outcome of an answer.
pub(crate) fn outcome(answer: Answer) -> Outcome {
    match answer {
        Ok(value) => Outcome::Done(value),
        Err(failure) => Outcome::Failed(failure),
    }
}
