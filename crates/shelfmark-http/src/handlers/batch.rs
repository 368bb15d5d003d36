//! Batches: operations on entities of any kind, all of which happen, or none.

use std::collections::HashMap;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::{Map, Value, json};
use shelfmark::{
    Batch, BatchOutcome, DataAsset, DataSet, DataStore, Entity, EntityId, Error, Expectation, NewEntity,
    Patch, TypedId, Uuid, Write,
};

use super::json as answer;
use crate::admission::Caller;
use crate::app::App;
use crate::error::{Entry, Failure};
use crate::idempotency;
use crate::request::{self, NONE, Parameters};

/// `POST /batch`
pub(crate) async fn batch(
    State(app): State<App>,
    caller: Caller,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    Parameters::parse(query.as_deref(), NONE)?;
    let text = request::json(&app, &headers, body).await?;
    let session = app.session(&caller)?;
    app.gate
        .run(move || {
            let read = Reader::read(&text)?;
            let key = idempotency::key(&headers, "POST", "/v1/batch", &text)?;
            let (outcomes, replayed) = match key {
                Some(key) => session
                    .batch_once(&key, &read.batch)
                    .map(|once| (once.value, once.replayed)),
                None => session.batch(&read.batch).map(|outcomes| (outcomes, false)),
            }
            .map_err(|error| read.failure(&error))?;
            let results: Vec<Value> = outcomes
                .iter()
                .zip(&read.creates)
                .map(|(outcome, &creates)| shown(outcome, creates))
                .collect::<Result<_, _>>()?;
            let response = answer(StatusCode::OK, &json!({ "results": results }))?;
            Ok(idempotency::marked(response, replayed))
        })
        .await
}

/// What one operation came to.
fn shown(outcome: &BatchOutcome, created: bool) -> Result<Value, Failure> {
    let entity = match outcome {
        BatchOutcome::Store(store) => serde_json::to_value(store),
        BatchOutcome::Asset(asset) => serde_json::to_value(asset),
        BatchOutcome::Set(set) => serde_json::to_value(set),
        BatchOutcome::Deleted(deleted) => {
            let taken = json!({ "stores": deleted.stores, "assets": deleted.assets, "sets": deleted.sets });
            return Ok(json!({ "status": 204, "deleted": taken }));
        }
        _ => return Err(Failure::internal("an outcome that is not known")),
    };
    let entity = entity.map_err(|error| Failure::internal(error.to_string()))?;
    Ok(json!({ "status": if created { 201 } else { 200 }, "entity": entity }))
}

/// A batch as it is read from its JSON.
struct Reader {
    batch: Batch,
    /// Which operations create.
    creates: Vec<bool>,
    /// The entities that are created under a name.
    names: HashMap<String, EntityId>,
    errors: Vec<Entry>,
}

/// One operation, its members not read yet.
struct Members {
    pointer: String,
    members: Map<String, Value>,
}

impl Reader {
    /// Reads every operation; the error has everything that is wrong.
    fn read(text: &[u8]) -> Result<Self, Failure> {
        let operations = match shelfmark::parse_json(text)? {
            Value::Object(mut body) => body.remove("operations"),
            _ => None,
        };
        let Some(Value::Array(operations)) = operations else {
            return Err(Failure::invalid("/operations: must be a list of operations"));
        };
        if operations.len() > Batch::MAX_OPERATIONS {
            return Err(Failure::invalid(format!(
                "/operations: a batch has at most {} operations: split it",
                Batch::MAX_OPERATIONS
            )));
        }
        let mut reader = Self {
            batch: Batch::new(),
            creates: Vec::with_capacity(operations.len()),
            names: HashMap::new(),
            errors: Vec::new(),
        };
        for (index, operation) in operations.into_iter().enumerate() {
            let pointer = format!("/operations/{index}");
            let outcome = match operation {
                Value::Object(members) => reader.operation(Members { pointer, members }),
                _ => Err(Failure::invalid(format!("{pointer}: must be an object"))),
            };
            if let Err(failure) = outcome {
                reader.errors.extend(failure.entries);
            }
        }
        match Failure::of_entries(std::mem::take(&mut reader.errors)) {
            Some(failure) => Err(failure),
            None => Ok(reader),
        }
    }

    fn operation(&mut self, members: Members) -> Result<(), Failure> {
        match members.text("kind")? {
            "store" => self.of_kind::<DataStore>(members),
            "asset" => self.of_kind::<DataAsset>(members),
            "set" => self.of_kind::<DataSet>(members),
            _ => Err(members.wrong("kind", "must be store, asset or set")),
        }
    }

    fn of_kind<E: Entity>(&mut self, mut members: Members) -> Result<(), Failure> {
        let op = members.text("op")?.to_owned();
        let known: &[&str] = match op.as_str() {
            "create" => &["op", "kind", "as", "value"],
            "replace" => &["op", "kind", "id", "version", "value"],
            "patch" => &["op", "kind", "id", "version", "patch"],
            "delete" => &["op", "kind", "id", "version"],
            _ => return Err(members.wrong("op", "must be create, replace, patch or delete")),
        };
        if let Some(unknown) = members
            .members
            .keys()
            .find(|name| !known.contains(&name.as_str()))
        {
            return Err(members.wrong(unknown, "is no member of this operation"));
        }
        match op.as_str() {
            "create" => {
                let name = members.name()?;
                if name.as_ref().is_some_and(|name| self.names.contains_key(name)) {
                    return Err(members.wrong("as", "is the name of an earlier operation"));
                }
                let text = self.value(&mut members)?;
                let new = E::New::from_json(&text).map_err(|error| members.within("value", &error))?;
                let id = self.batch.create(new);
                self.names.extend(name.map(|name| (name, id.into())));
                self.creates.push(true);
            }
            "replace" => {
                let id = self.target::<E>(&members)?;
                let text = self.value(&mut members)?;
                let (new, version) =
                    E::New::from_put_json(&text, id).map_err(|error| members.within("value", &error))?;
                let version = members.version()?.or(version);
                let version =
                    version.ok_or_else(|| members.wrong("version", "is required, here or in the value"))?;
                self.batch.replace(id, Expectation::Exactly(version), new);
                self.creates.push(false);
            }
            "patch" => {
                let id = self.target::<E>(&members)?;
                let patch = members.members.remove("patch").unwrap_or_default();
                let patch = Patch::from_value(patch).map_err(|error| members.within("patch", &error))?;
                self.batch.patch(id, members.expectation()?, patch);
                self.creates.push(false);
            }
            _ => {
                let id = self.target::<E>(&members)?;
                self.batch.delete(id, members.expectation()?);
                self.creates.push(false);
            }
        }
        Ok(())
    }

    /// The entity that an operation is about.
    fn target<E: Entity>(&self, members: &Members) -> Result<E::Id, Failure> {
        let text = members.text("id")?;
        if text.starts_with('$') {
            let id = self.named(text).filter(|id| id.kind() == E::KIND);
            return id.map(|id| E::Id::from_uuid(id.uuid())).ok_or_else(|| {
                let what = format!("{text} is no earlier creation of a {}", E::KIND);
                members.wrong("id", &what)
            });
        }
        request::id::<E>(text)
    }

    fn named(&self, text: &str) -> Option<EntityId> {
        self.names.get(text.strip_prefix('$')?).copied()
    }

    /// The text of the `value`, with the id of a parent that is named instead of its name.
    fn value(&self, members: &mut Members) -> Result<Vec<u8>, Failure> {
        let mut value = members.members.remove("value").unwrap_or_default();
        for parent in ["dataStoreInfo", "dataAssetInfo"] {
            if let Some(Value::String(id)) = value.pointer_mut(&format!("/{parent}/id"))
                && id.starts_with('$')
            {
                let Some(named) = self.named(id) else {
                    let what = format!("{id} is no earlier creation");
                    return Err(members.wrong(&format!("value/{parent}/id"), &what));
                };
                *id = named.uuid().to_string();
            }
        }
        serde_json::to_vec(&value).map_err(|error| Failure::internal(error.to_string()))
    }

    /// Why the batch was refused: each operation that failed, at its pointer.
    fn failure(&self, error: &Error) -> Failure {
        let entries: Vec<Entry> = error
            .failures()
            .iter()
            .flat_map(|failure| entries_at(&format!("/operations/{}", failure.index), &failure.error))
            .map(|entry| self.by_name(entry))
            .collect();
        Failure::of_entries(entries).map_or_else(
            || error.clone().into(),
            |failure| failure.with_status_of(error.kind()),
        )
    }

    /// The same entry with the names of entities that the batch would have created.
    fn by_name(&self, mut entry: Entry) -> Entry {
        for (name, id) in &self.names {
            let id: Uuid = id.uuid();
            entry.detail = entry.detail.replace(&id.to_string(), &format!("${name}"));
        }
        entry
    }
}

/// What an error comes to, its pointers below this one.
fn entries_at(pointer: &str, error: &Error) -> Vec<Entry> {
    let mut entries = Failure::from(error.clone()).entries;
    for entry in &mut entries {
        let below = if entry.detail.starts_with('/') { "" } else { ": " };
        entry.detail = format!("{pointer}{below}{}", entry.detail);
    }
    entries
}

impl Members {
    fn wrong(&self, member: &str, what: &str) -> Failure {
        Failure::invalid(format!("{}/{member}: {what}", self.pointer))
    }

    /// A failure of what lies below a member.
    fn within(&self, member: &str, error: &Error) -> Failure {
        let entries = entries_at(&format!("{}/{member}", self.pointer), error);
        Failure::of_entries(entries).unwrap_or_else(|| error.clone().into())
    }

    fn text(&self, member: &str) -> Result<&str, Failure> {
        let text = self.members.get(member).and_then(Value::as_str);
        text.ok_or_else(|| self.wrong(member, "must be a text"))
    }

    /// The name that later operations know the new entity by.
    fn name(&self) -> Result<Option<String>, Failure> {
        match self.members.get("as") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(name)) if !name.is_empty() => Ok(Some(name.clone())),
            Some(_) => Err(self.wrong("as", "must be a text that is not empty")),
        }
    }

    fn version(&self) -> Result<Option<u64>, Failure> {
        match self.members.get("version") {
            None | Some(Value::Null) => Ok(None),
            Some(version) => version
                .as_u64()
                .map(Some)
                .ok_or_else(|| self.wrong("version", "must be the integer that a read showed")),
        }
    }

    fn expectation(&self) -> Result<Expectation, Failure> {
        Ok(self.version()?.map_or(Expectation::Any, Expectation::Exactly))
    }
}
