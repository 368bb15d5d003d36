//! Answers to requests with an idempotency key, recorded in the transaction of the write itself.
//!
//! An expired row counts as absent. Each recording removes a few of them, the oldest first, so that they do not gather; [`sweep`] removes more.

use std::borrow::Cow;
use std::ops::ControlFlow;

use serde::Serialize;
use uuid::Uuid;
use wincode::{SchemaRead, SchemaWrite};

use super::ancestors::InheritedCache;
use super::batch::Names;
use super::create::encoding_failed;
use super::view::decode_head;
use super::{Stage, TenantView};
use crate::backend::{Direction, Keyspace, Snapshot};
use crate::batch::{Batch, BatchOutcome};
use crate::codec;
use crate::engine::delete::Deleted;
use crate::entity::rules::MAX_ENTITY_BYTES;
use crate::entity::{Entity, Head as _, Inherited};
use crate::envelope;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{EntityId, EntityKind};
use crate::keyspace::{bounds, entities, keys};
use crate::time::Timestamp;
use crate::{DataAsset, DataSet, DataStore, Expectation, NewEntity};

/// The most bytes of an idempotency key.
pub(crate) const MAX_KEY: usize = 255;
/// The most bytes of a recorded answer.
const MAX_ANSWER: usize = MAX_ENTITY_BYTES;
/// How many expired rows a recording removes.
const SWEPT: usize = 8;

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Create(EntityKind),
    Batch,
}

impl Operation {
    /// How records say a batch: a creation has the code of its kind.
    const BATCH: u8 = 3;

    /// How records say it.
    fn code(self) -> u8 {
        match self {
            Operation::Create(kind) => kind.code(),
            Operation::Batch => Self::BATCH,
        }
    }
}

/// A request, without its actor and tenant.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) key: String,
    pub(crate) fingerprint: [u8; 32],
    pub(crate) operation: Operation,
}

/// A stored record. A field here is a field of the file format.
#[derive(Debug, SchemaWrite, SchemaRead)]
pub(crate) struct RequestRecord<'a> {
    pub(crate) actor: Cow<'a, str>,
    pub(crate) key: Cow<'a, str>,
    fingerprint: [u8; 32],
    /// As [`Operation::code`] gives it.
    operation: u8,
    pub(crate) expiry: i64,
    answers: Vec<Answer<'a>>,
}

/// The answer to one operation.
#[derive(Debug, SchemaWrite, SchemaRead)]
enum Answer<'a> {
    Entity(EntityAnswer<'a>),
    Deleted { stores: u64, assets: u64, sets: u64 },
}

/// An entity as it was: the bodies of its rows, and what it inherited.
#[derive(Debug, SchemaWrite, SchemaRead)]
struct EntityAnswer<'a> {
    /// As [`EntityKind::code`] gives it.
    kind: u8,
    id: [u8; 16],
    head: Cow<'a, [u8]>,
    schemas: Option<Cow<'a, [u8]>>,
    asset_name: Option<Cow<'a, str>>,
    store_name: Option<Cow<'a, str>>,
    store_type: Cow<'a, str>,
}

/// The answers to all operations of a request, in order.
#[derive(Debug, Default)]
pub(crate) struct Answers<'a> {
    list: Vec<Answer<'a>>,
    bytes: usize,
}

/// Makes what the caller wants of the tenant's name and the answers.
pub(crate) type Decode<'a, T> = &'a dyn Fn(&str, &Answers<'_>) -> Result<T, String>;

/// What is known of a request.
pub(crate) enum Lookup<T> {
    Answered(T),
    /// Nothing; `stale` is the expiry of a row that counts no more.
    New {
        stale: Option<Timestamp>,
    },
}

impl Request {
    /// Looks for an answer that has not expired. One key lookup.
    pub(crate) fn look_up<T>(
        &self,
        view: &TenantView<'_>,
        actor: &str,
        now: Timestamp,
        decode: Decode<'_, T>,
    ) -> Result<Lookup<T>> {
        let Some(tenant) = view.number else {
            return Ok(Lookup::New { stale: None });
        };
        let key = keys::request(tenant, actor, &self.key);
        let Some(value) = value_of(view.snapshot, Keyspace::Request, &key)? else {
            return Ok(Lookup::New { stale: None });
        };
        let RequestRecord {
            actor: by,
            key: named,
            fingerprint,
            operation,
            expiry,
            answers,
        } = decode_record(&key, &value)?;
        let expiry = Timestamp::from_millis_lossy(expiry);
        if expiry <= now {
            return Ok(Lookup::New { stale: Some(expiry) });
        }
        // Another's row under this hash is no answer either.
        let same = by == actor
            && named == self.key
            && fingerprint == self.fingerprint
            && operation == self.operation.code();
        if !same {
            let message = format!(
                "the idempotency key {:?} was used for another request until {expiry}: use a new key for a new request",
                self.key
            );
            return Err(Error::new(ErrorKind::KeyReused, message));
        }
        let answers = Answers {
            list: answers,
            bytes: 0,
        };
        decode(view.name, &answers)
            .map(Lookup::Answered)
            .map_err(|what| unreadable(&key, what))
    }

    /// Stages the answer, beside what it is the answer to.
    pub(crate) fn record(
        &self,
        stage: &mut Stage<'_>,
        now: Timestamp,
        stale: Option<Timestamp>,
        answers: Answers<'_>,
    ) -> Result<()> {
        let lasts = stage.settings.idempotency_expiry;
        let expiry = Timestamp::from_millis_lossy(now.millis().saturating_add(lasts));
        let record = RequestRecord {
            actor: stage.actor.into(),
            key: self.key.as_str().into(),
            fingerprint: self.fingerprint,
            operation: self.operation.code(),
            expiry: expiry.millis(),
            answers: answers.list,
        };
        let body = codec::encode(&record).map_err(encoding_failed)?;
        check_size(body.len())?;
        let tenant = stage.tenant_for_write()?;
        let key = keys::request(tenant, stage.actor, &self.key);
        sweep(stage, SWEPT)?;
        if let Some(stale) = stale {
            let entry = keys::request_by_expiry(&key, stale);
            stage.batch.delete(Keyspace::RequestByExpiry, entry);
        }
        let value = envelope::seal(Keyspace::Request, &key, &body);
        stage.batch.put(Keyspace::Request, key, value);
        let entry = keys::request_by_expiry(&key, expiry);
        stage.batch.put(Keyspace::RequestByExpiry, entry, Vec::new());
        Ok(())
    }
}

fn check_size(bytes: usize) -> Result<()> {
    if bytes <= MAX_ANSWER {
        return Ok(());
    }
    let message = format!(
        "the answer takes {bytes} bytes encoded, more than the {MAX_ANSWER} that are kept for an idempotency key: split the request, or do without the key"
    );
    Err(Error::new(ErrorKind::TooLarge, message))
}

fn value_of(snapshot: &dyn Snapshot, space: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut found = None;
    snapshot.get(space, key, &mut |value| found = Some(value.to_vec()))?;
    Ok(found)
}

/// The record in a stored value.
pub(crate) fn decode_record<'a>(key: &[u8], value: &'a [u8]) -> Result<RequestRecord<'a>> {
    codec::decode(envelope::open(Keyspace::Request, key, value)?).map_err(|what| unreadable(key, what))
}

fn unreadable(key: &[u8], what: impl std::fmt::Display) -> Error {
    Error::corrupt(Keyspace::Request, key, what)
}

impl RequestRecord<'_> {
    /// Reads every answer, which must be as when it was recorded.
    pub(crate) fn check(&self, key: &[u8]) -> Result<()> {
        let check = || -> Result<(), String> {
            let kind = match (self.operation, self.answers.as_slice()) {
                (Operation::BATCH, _) => None,
                (kind, [_]) => Some(kind),
                _ => return Err("a creation without its one answer".to_owned()),
            };
            for answer in &self.answers {
                let outcome = answer.outcome("")?;
                let found = outcome.id().map(|id| id.kind().code());
                if kind.is_some() && found != kind {
                    return Err("the answer to another creation".to_owned());
                }
            }
            Ok(())
        };
        check().map_err(|what| unreadable(key, what))
    }
}

impl Answers<'static> {
    /// Adds what an operation just gave.
    pub(crate) fn add(&mut self, stage: &Stage<'_>, outcome: &BatchOutcome) -> Result<()> {
        match outcome {
            BatchOutcome::Store(store) => self.add_entity::<DataStore>(stage, store.id.uuid()),
            BatchOutcome::Asset(asset) => self.add_entity::<DataAsset>(stage, asset.id.uuid()),
            BatchOutcome::Set(set) => self.add_entity::<DataSet>(stage, set.id.uuid()),
            BatchOutcome::Deleted(Deleted { stores, assets, sets }) => {
                self.list.push(Answer::Deleted {
                    stores: *stores,
                    assets: *assets,
                    sets: *sets,
                });
                Ok(())
            }
        }
    }

    /// Adds an entity by its rows, as an operation just staged them.
    pub(crate) fn add_entity<E: Entity>(&mut self, stage: &Stage<'_>, id: Uuid) -> Result<()> {
        let answer = EntityAnswer::read::<E>(stage, id)?;
        // Not held any longer than it could be recorded.
        self.bytes += answer.head.len() + answer.schemas.as_ref().map_or(0, |body| body.len());
        check_size(self.bytes)?;
        self.list.push(Answer::Entity(answer));
        Ok(())
    }
}

impl EntityAnswer<'static> {
    fn read<E: Entity>(stage: &Stage<'_>, id: Uuid) -> Result<Self> {
        let lost = || {
            Error::new(
                ErrorKind::Internal,
                format!("{} was not staged", EntityId::new(E::KIND, id)),
            )
        };
        let tenant = stage.tenant().ok_or_else(lost)?;
        let key = keys::entity(tenant, id);
        let space = entities(E::KIND);
        stage.read(|view| {
            let value = value_of(view.snapshot, space, &key)?.ok_or_else(lost)?;
            let lineage = decode_head::<E>(&key, &value)?.lineage();
            let schemas = match E::KIND {
                EntityKind::Set => value_of(view.snapshot, Keyspace::SetSchema, &key)?,
                EntityKind::Store | EntityKind::Asset => None,
            };
            let schemas = match &schemas {
                Some(value) => Some(envelope::open(Keyspace::SetSchema, &key, value)?.to_vec()),
                None => None,
            };
            let Inherited {
                asset_name,
                store_name,
                store_type,
            } = view.inherited(lineage, &mut InheritedCache::default())?;
            Ok(Self {
                kind: E::KIND.code(),
                id: id.into_bytes(),
                head: Cow::Owned(envelope::open(space, &key, &value)?.to_vec()),
                schemas: schemas.map(Cow::Owned),
                asset_name: asset_name.map(Cow::Owned),
                store_name: store_name.map(Cow::Owned),
                store_type: Cow::Owned(store_type),
            })
        })
    }
}

impl Answer<'_> {
    fn outcome(&self, tenant: &str) -> Result<BatchOutcome, String> {
        match self {
            Answer::Deleted { stores, assets, sets } => Ok(BatchOutcome::Deleted(Deleted {
                stores: *stores,
                assets: *assets,
                sets: *sets,
            })),
            Answer::Entity(answer) => match EntityKind::from_code(answer.kind) {
                Some(EntityKind::Store) => answer.entity::<DataStore>(tenant).map(Into::into),
                Some(EntityKind::Asset) => answer.entity::<DataAsset>(tenant).map(Into::into),
                Some(EntityKind::Set) => answer.entity::<DataSet>(tenant).map(Into::into),
                None => Err(format!("an entity of the unknown kind {}", answer.kind)),
            },
        }
    }
}

impl EntityAnswer<'_> {
    fn entity<E: Entity>(&self, tenant: &str) -> Result<E, String> {
        let EntityAnswer {
            kind: _,
            id,
            head,
            schemas,
            asset_name,
            store_name,
            store_type,
        } = self;
        let mut state = E::state(E::decode_head(head)?)?;
        if let Some(body) = schemas {
            E::add_schemas(&mut state.fields, body)?;
        }
        let owned = |name: &Option<Cow<'_, str>>| name.as_deref().map(str::to_owned);
        let inherited = Inherited {
            asset_name: owned(asset_name),
            store_name: owned(store_name),
            store_type: store_type.clone().into_owned(),
        };
        Ok(E::assemble(Uuid::from_bytes(*id), tenant, state, inherited))
    }
}

/// The one entity that was created.
pub(crate) fn entity<E: Entity>(tenant: &str, answers: &Answers<'_>) -> Result<E, String> {
    match answers.list.as_slice() {
        [Answer::Entity(answer)] if answer.kind == E::KIND.code() => answer.entity(tenant),
        _ => Err("an answer of another form".to_owned()),
    }
}

/// What each operation of a batch gave.
pub(crate) fn outcomes(tenant: &str, answers: &Answers<'_>) -> Result<Vec<BatchOutcome>, String> {
    answers.list.iter().map(|answer| answer.outcome(tenant)).collect()
}

/// Stages the removal of at most `limit` answers of the tenant that have expired, the oldest first, and tells how many; 0 where none is left.
pub(crate) fn sweep(stage: &mut Stage<'_>, limit: usize) -> Result<usize> {
    let Some(tenant) = stage.tenant() else {
        return Ok(0);
    };
    let range = bounds::requests_expired(tenant, stage.now());
    let mut expired = Vec::new();
    stage.read(|view| {
        view.snapshot.scan(
            Keyspace::RequestByExpiry,
            &range,
            Direction::Forward,
            &mut |key, _| {
                expired.push(key.to_vec());
                if expired.len() < limit {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            },
        )
    })?;
    let swept = expired.len();
    for entry in expired {
        if let Some(request) = keys::request_of(&entry) {
            stage.batch.delete(Keyspace::Request, request);
        }
        stage.batch.delete(Keyspace::RequestByExpiry, entry);
    }
    Ok(swept)
}

/// What two requests with the same key must have in common: BLAKE3 over the parts of the request, each with its length.
pub(crate) struct Fingerprint(blake3::Hasher);

impl Fingerprint {
    pub(crate) fn new() -> Self {
        Self(blake3::Hasher::new())
    }

    pub(crate) fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }

    fn part(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    fn json(&mut self, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_vec(value).map_err(|error| encoding_failed(error.to_string()))?;
        self.part(&text);
        Ok(())
    }

    pub(crate) fn creation<N: NewEntity>(&mut self, new: &N) -> Result<()> {
        self.part(b"create");
        self.part(&[N::Entity::KIND.code()]);
        self.json(new)
    }

    pub(crate) fn change(
        &mut self,
        operation: &[u8],
        id: EntityId,
        expectation: Expectation,
        input: &impl Serialize,
    ) -> Result<()> {
        self.part(operation);
        self.part(&[id.kind().code()]);
        self.part(id.uuid().as_bytes());
        match expectation {
            Expectation::Any => self.part(b""),
            Expectation::Exactly(version) => self.part(&version.to_be_bytes()),
        }
        self.json(input)
    }

    pub(crate) fn batch(&mut self, batch: &Batch) -> Result<()> {
        let names = Names::canonical(batch);
        self.part(b"batch");
        for operation in batch.operations() {
            operation.fingerprint(&names, self)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{Backend, CommitOptions, KeyRange, WriteBatch};
    use crate::keyspace::TenantNumber;
    use crate::{Catalog, IdempotencyKey, NewDataStore, Options, Write as _};
    use std::sync::Arc;

    fn backend() -> Arc<dyn Backend> {
        Options::new().in_memory_backend().unwrap()
    }

    fn catalog(backend: &Arc<dyn Backend>) -> Catalog {
        Options::new().on_backend(backend.clone()).unwrap()
    }

    fn rows(backend: &dyn Backend, space: Keyspace) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut rows = Vec::new();
        let snapshot = backend.snapshot().unwrap();
        snapshot
            .scan(space, &KeyRange::all(), Direction::Forward, &mut |key, value| {
                rows.push((key.to_vec(), value.to_vec()));
                ControlFlow::Continue(())
            })
            .unwrap();
        rows
    }

    fn commit(backend: &dyn Backend, fill: impl Fn(&mut WriteBatch)) {
        let plan = &mut |_: &dyn Snapshot| {
            let mut batch = WriteBatch::new();
            fill(&mut batch);
            Ok(batch)
        };
        backend.commit(CommitOptions::default(), plan).unwrap();
    }

    #[test]
    fn anothers_row_under_the_same_hash_is_no_answer() {
        let backend = backend();
        let catalog = catalog(&backend);
        let ann = catalog.session("acme", "ann").unwrap();
        let bob = catalog.session("acme", "bob").unwrap();
        let key = IdempotencyKey::new("k").unwrap();
        ann.create_once(&key, NewDataStore::new("lake", "s3")).unwrap();
        let (_, value) = rows(&*backend, Keyspace::Request).remove(0);
        let tenant = TenantNumber(1);
        let (hers, his) = (
            keys::request(tenant, "ann", "k"),
            keys::request(tenant, "bob", "k"),
        );
        let body = envelope::open(Keyspace::Request, &hers, &value).unwrap();
        commit(&*backend, |batch| {
            let value = envelope::seal(Keyspace::Request, &his, body);
            batch.put(Keyspace::Request, his, value);
        });
        let error = bob
            .create_once(&key, NewDataStore::new("lake", "s3"))
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::KeyReused);
        assert!(!catalog.check().unwrap().is_clean());
    }
}
