//! Idempotency keys: a request that is sent again gets its first answer again.

use crate::batch::{self, Batch, BatchOutcome};
use crate::engine::Stage;
use crate::engine::create::{self, Parents};
use crate::engine::idempotency::{self, Answers, Decode, Fingerprint, Lookup, MAX_KEY, Operation, Request};
use crate::entity::{Entity, NewEntity};
use crate::error::{Error, Result};
use crate::read::Context;
use crate::write::Write;

/// Names one request of an actor, so that it happens once however often it is sent: see [`Write::create_once`] and [`Write::batch_once`].
///
/// It is also how to go on after [`CommitUnknown`](crate::ErrorKind::CommitUnknown): the same request again either finds its answer or makes it.
///
/// A key belongs to its tenant and actor: the same text of another actor is another key. The *fingerprint* tells whether a request that comes
/// with a known key is the same one. By default it is made of the operation and its input, as JSON; a service that knows better, such as by the method, route and
/// body that it was sent, gives its own.
///
/// ```
/// # use shelfmark::{Catalog, ErrorKind, IdempotencyKey, NewDataStore, Read, Write};
/// # fn main() -> shelfmark::Result<()> {
/// # let session = Catalog::in_memory()?.session("acme", "ann")?;
/// let key = IdempotencyKey::new("5f0c1f3e")?;
/// let first = session.create_once(&key, NewDataStore::new("warehouse", "postgres"))?;
/// let again = session.create_once(&key, NewDataStore::new("warehouse", "postgres"))?;
/// assert_eq!((first.replayed, again.replayed), (false, true));
/// assert_eq!(first.value, again.value);
///
/// let other = session.create_once(&key, NewDataStore::new("lake", "s3")).unwrap_err();
/// assert_eq!(other.kind(), ErrorKind::KeyReused);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey {
    key: String,
    fingerprint: Option<[u8; 32]>,
}

impl IdempotencyKey {
    /// A key of 1 to 255 bytes, with the default fingerprint.
    ///
    /// # Errors
    ///
    /// `Invalid` where it is empty or longer.
    pub fn new(key: impl Into<String>) -> Result<Self> {
        let key = key.into();
        if key.is_empty() || key.len() > MAX_KEY {
            let message = format!(
                "an idempotency key must have 1 to {MAX_KEY} bytes, and has {}",
                key.len()
            );
            return Err(Error::violation("", message));
        }
        Ok(Self {
            key,
            fingerprint: None,
        })
    }

    /// The same key with a fingerprint of the caller's own, such as a hash of an HTTP request's method, route and body.
    #[must_use]
    pub fn fingerprint(mut self, fingerprint: [u8; 32]) -> Self {
        self.fingerprint = Some(fingerprint);
        self
    }

    /// The key as it was given.
    pub fn as_str(&self) -> &str {
        &self.key
    }

    fn request(
        &self,
        operation: Operation,
        describe: impl FnOnce(&mut Fingerprint) -> Result<()>,
    ) -> Result<Request> {
        let fingerprint = match self.fingerprint {
            Some(fingerprint) => fingerprint,
            None => {
                let mut fingerprint = Fingerprint::new();
                describe(&mut fingerprint)?;
                fingerprint.finish()
            }
        };
        Ok(Request {
            key: self.key.clone(),
            fingerprint,
            operation,
        })
    }
}

/// What a write with an [`IdempotencyKey`] gave.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Once<T> {
    /// The answer, of this write or of the first one with the key, as it was then.
    pub value: T,
    /// Whether the answer is that of an earlier write, and this one did nothing.
    pub replayed: bool,
}

/// What was answered already, as a reader sees it: no writer is waited for.
fn answered<W: Write + ?Sized, T>(
    writer: &W,
    request: &Request,
    decode: Decode<'_, T>,
) -> Result<Option<Once<T>>> {
    let Context { settings, actor, .. } = writer.context();
    let now = settings.environment.clock.now();
    let looked_up =
        writer.outside_of_writes(|| writer.with_view(|view| request.look_up(view, actor, now, decode)))??;
    Ok(match looked_up {
        Lookup::Answered(value) => Some(replay(value)),
        Lookup::New { .. } => None,
    })
}

fn replay<T>(value: T) -> Once<T> {
    Once {
        value,
        replayed: true,
    }
}

/// Does the work, unless it has been done, and records its answer with it.
fn once<T>(
    stage: &mut Stage<'_>,
    request: &Request,
    decode: Decode<'_, T>,
    work: impl FnOnce(&mut Stage<'_>, &mut Answers<'static>) -> Result<T>,
) -> Result<Once<T>> {
    let (actor, now) = (stage.actor, stage.now());
    let stale = match stage.read(|view| request.look_up(view, actor, now, decode))? {
        Lookup::Answered(value) => return Ok(replay(value)),
        Lookup::New { stale } => stale,
    };
    let mut answers = Answers::default();
    let value = work(stage, &mut answers)?;
    request.record(stage, now, stale, answers)?;
    Ok(Once {
        value,
        replayed: false,
    })
}

pub(crate) fn create_once<W: Write + ?Sized, N: NewEntity>(
    writer: &W,
    key: &IdempotencyKey,
    new: N,
) -> Result<Once<N::Entity>> {
    let operation = Operation::Create(N::Entity::KIND);
    let request = key.request(operation, |fingerprint| fingerprint.creation(&new))?;
    if let Some(answered) = answered(writer, &request, &idempotency::entity::<N::Entity>)? {
        return Ok(answered);
    }
    let Context { settings, actor, .. } = writer.context();
    let prepared = create::prepare::<N::Entity>(settings, actor, new)?;
    writer.run(move |stage| {
        once(
            stage,
            &request,
            &idempotency::entity::<N::Entity>,
            |stage, answers| {
                let created = create::create_one(stage, &prepared, &mut Parents::default())?;
                answers.add_entity::<N::Entity>(stage, prepared.id)?;
                Ok(created.entity(prepared.id, stage.tenant_name()))
            },
        )
    })
}

pub(crate) fn batch_once<W: Write + ?Sized>(
    writer: &W,
    key: &IdempotencyKey,
    batch: &Batch,
) -> Result<Once<Vec<BatchOutcome>>> {
    let request = key.request(Operation::Batch, |fingerprint| fingerprint.batch(batch))?;
    if let Some(answered) = answered(writer, &request, &idempotency::outcomes)? {
        return Ok(answered);
    }
    let plan = batch::plan(writer, batch)?;
    writer.run(move |stage| {
        once(stage, &request, &idempotency::outcomes, |stage, answers| {
            plan.run(stage, |stage, outcome| answers.add(stage, outcome))
        })
    })
}
