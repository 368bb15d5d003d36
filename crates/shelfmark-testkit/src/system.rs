//! One catalog under test, on one backend.
//!
//! One file: every operation has its place in one match, and what it needs beside it.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use shelfmark::backend::{Backend, ByteStorage, Direction, KeyRange, Keyspace};
use shelfmark::{
    Batched, Catalog, CatalogSnapshot, ChangeRetention, Cursor, Durability, EntityKind, Error, NewDataStore,
    Options, Page, Position, Session, Stream, Write as _,
};
use uuid::Uuid;

use crate::environment::TestEnvironment;
use crate::execute::{Answer, Executor, Modelled, OF_STORAGE, by_kind, outcome};
use crate::hooks;
use crate::memory::MemoryBackend;
use crate::operation::{Actor, Draft, End, Operation, QuerySpec, ReadOp, Step, Tenant};
use crate::outcome::{Failure, Ids, Outcome};
use crate::replay::{self, Unfollowed};
use crate::storage::History;

/// How a catalog under test is opened: what decides about the outcome of operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CatalogSetup {
    /// Whether technical names are unique under their parent.
    pub unique_technical_names: bool,
    /// Whether hooks amend, veto and panic.
    pub hooks: bool,
    /// Whether there is a change feed.
    pub change_feed: bool,
    /// How many changes of a tenant are kept; `None` is all of them.
    pub retained_changes: Option<u64>,
    /// How many milliseconds answers to requests with an idempotency key are kept, if not the default.
    pub idempotency_expiry: Option<u64>,
    /// For how many milliseconds deletions can be undone; `None` is not at all.
    pub undrop: Option<u64>,
}

impl CatalogSetup {
    /// Options that open a catalog so. Hooks amend, veto and panic by what they see of tags, technical names and descriptions.
    pub fn options(&self) -> Options {
        let retention = ChangeRetention::keep_all();
        let retention = self
            .retained_changes
            .map_or(retention, |changes| retention.count(changes));
        let mut options = Options::new()
            .change_feed(self.change_feed)
            .change_retention(retention)
            .unique_technical_names(self.unique_technical_names);
        if self.hooks {
            options = hooks::register(options);
        }
        if let Some(expiry) = self.idempotency_expiry {
            options = options.idempotency_expiry(Duration::from_millis(expiry));
        }
        if let Some(millis) = self.undrop {
            options = options.undrop(Duration::from_millis(millis));
        }
        options
    }
}

/// What a system keeps its catalog in.
#[derive(Debug)]
pub enum Storage {
    /// The built-in backend over a file in a directory of its own, gone when it is dropped.
    File {
        /// The directory.
        directory: tempfile::TempDir,
        /// Whether commits are deferred.
        deferred: bool,
    },
    /// Maps in memory.
    Memory(MemoryBackend),
    /// A backend of the test's, which outlives the catalog.
    Backend(Arc<dyn Backend>),
    /// The built-in backend over bytes of the test's.
    Bytes {
        /// The bytes.
        storage: Arc<dyn ByteStorage>,
        /// Where its log is, if it has one.
        log: Option<Arc<dyn ByteStorage>>,
        /// Whether commits are deferred.
        deferred: bool,
        /// Whether it is recovered quickly.
        quick_recovery: bool,
        /// Memory for cached pages.
        cache_bytes: usize,
        /// Where to note the states, if anywhere.
        history: Option<History>,
    },
}

/// A catalog under test: runs resolved operations and tells what came of them.
pub struct System {
    name: &'static str,
    storage: Storage,
    setup: CatalogSetup,
    environment: TestEnvironment,
    ids: RefCell<Ids>,
    /// Whom everything is ascribed to, in place of the operations' actors.
    alias: Option<String>,
    /// That of sessions, where it is not the catalog's.
    durability: Option<Durability>,
    open: Option<Open>,
    kept: Option<Kept>,
    /// How far each tenant's change feed has been read.
    followed: BTreeMap<Tenant, Position>,
}

struct Open {
    backend: Arc<dyn Backend>,
    catalog: Catalog,
    held: Option<CatalogSnapshot>,
}

/// The page that cursors were kept of.
struct Kept {
    tenant: Tenant,
    query: QuerySpec,
    prev: Option<Cursor>,
    next: Option<Cursor>,
}

/// Why a transaction's closure ended without a commit.
enum Refusal {
    Engine(Error),
    Own(Failure),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Refusal::Engine(error)
    }
}

impl System {
    /// A new, empty catalog.
    ///
    /// # Errors
    ///
    /// What opening it gives.
    pub fn create(name: &'static str, storage: Storage, setup: CatalogSetup) -> shelfmark::Result<Self> {
        let mut system = Self {
            name,
            storage,
            setup,
            environment: TestEnvironment::new(1),
            ids: RefCell::default(),
            alias: None,
            durability: None,
            open: None,
            kept: None,
            followed: BTreeMap::new(),
        };
        let backend = match &system.storage {
            Storage::File { .. } => system.options().create_backend(system.path())?,
            Storage::Memory(memory) => Arc::new(memory.clone()),
            Storage::Backend(backend) => Arc::clone(backend),
            Storage::Bytes { storage, .. } => system.options().create_backend_on(Arc::clone(storage))?,
        };
        system.open_on(backend)?;
        Ok(system)
    }

    /// One of many who work on an open catalog at once, all of it under names of its own, with the ids as they are. It cannot be reopened.
    pub fn beside(catalog: Catalog, setup: CatalogSetup) -> Self {
        let memory = MemoryBackend::new();
        Self {
            name: "shared",
            storage: Storage::Memory(memory.clone()),
            setup,
            environment: TestEnvironment::new(0),
            ids: RefCell::new(Ids::as_they_are()),
            alias: None,
            durability: None,
            open: Some(Open {
                backend: Arc::new(memory),
                catalog,
                held: None,
            }),
            kept: None,
            followed: BTreeMap::new(),
        }
    }

    /// Runs an operation that names real ids, ascribed to `actor`. Gives what came of it and the ids of what it created, those of a transaction that failed included.
    pub fn run_as(&mut self, actor: &str, operation: &Operation) -> (Outcome, Vec<Uuid>) {
        self.alias = Some(actor.to_owned());
        let outcome = self.run(operation);
        (outcome, self.ids.borrow_mut().take())
    }

    /// What it is called in messages.
    pub fn name(&self) -> &'static str {
        self.name
    }

    fn path(&self) -> PathBuf {
        match &self.storage {
            Storage::File { directory, .. } => directory.path().join("catalog.shelf"),
            Storage::Memory(_) | Storage::Backend(_) | Storage::Bytes { .. } => PathBuf::new(),
        }
    }

    fn options(&self) -> Options {
        let durability = match self.storage {
            Storage::File { deferred: true, .. } | Storage::Bytes { deferred: true, .. } => {
                Durability::Deferred
            }
            _ => Durability::Immediate,
        };
        let cache_bytes = match self.storage {
            Storage::Bytes { cache_bytes, .. } => cache_bytes,
            _ => 4 << 20,
        };
        let options = self
            .setup
            .options()
            .cache_bytes(cache_bytes)
            .durability(durability)
            .environment(self.environment.environment());
        match &self.storage {
            Storage::Bytes {
                log, quick_recovery, ..
            } => {
                let options = options.quick_recovery(*quick_recovery);
                match log {
                    Some(log) => options.commit_log_on(Arc::clone(log)),
                    None => options,
                }
            }
            _ => options,
        }
    }

    /// The catalog; `None` after a reopening that failed.
    pub fn catalog(&self) -> Option<&Catalog> {
        self.open.as_ref().map(|open| &open.catalog)
    }

    /// The backend below it; `None` after a reopening that failed.
    pub fn backend(&self) -> Option<&dyn Backend> {
        self.open.as_ref().map(|open| &*open.backend)
    }

    fn open_on(&mut self, backend: Arc<dyn Backend>) -> shelfmark::Result<()> {
        let backend = match &self.storage {
            Storage::Bytes {
                history: Some(history),
                ..
            } => history.watch(backend)?,
            _ => backend,
        };
        let catalog = self.options().on_backend(Arc::clone(&backend))?;
        self.open = Some(Open {
            backend,
            catalog,
            held: None,
        });
        Ok(())
    }

    fn reopen(&mut self) -> shelfmark::Result<()> {
        self.open = None;
        let backend = match &self.storage {
            Storage::File { .. } => self.options().open_backend(self.path())?,
            Storage::Memory(memory) => Arc::new(memory.clone()),
            Storage::Backend(backend) => Arc::clone(backend),
            Storage::Bytes { storage, .. } => self.options().open_backend_on(Arc::clone(storage))?,
        };
        self.open_on(backend)
    }

    fn open(&self) -> &Open {
        match &self.open {
            Some(open) => open,
            None => unreachable!("a system that could not be opened again is not used again"),
        }
    }

    fn session(&self, tenant: Tenant, actor: Actor) -> Session {
        let actor = self.alias.as_deref().unwrap_or(actor.name());
        match self.open().catalog.session(tenant.name(), actor) {
            Ok(session) => match self.durability {
                Some(durability) => session.with_durability(durability),
                None => session,
            },
            Err(error) => unreachable!("the names are legal: {error}"),
        }
    }

    /// Whether the commits of sessions are deferred from now on, whatever the catalog's are.
    pub fn defer(&mut self, deferred: bool) {
        self.durability = Some(match deferred {
            true => Durability::Deferred,
            false => Durability::Immediate,
        });
    }

    /// Runs an operation that the oracle has resolved.
    pub fn run(&mut self, operation: &Operation) -> Outcome {
        match operation {
            Operation::Reopen => outcome(
                self.reopen()
                    .map(|()| Value::Null)
                    .map_err(|error| self.failure(&error)),
            ),
            Operation::KeepCursors(tenant, query) => {
                let answer = by_kind!(query.kind, E => self.follow::<E>(*tenant, query, None));
                outcome(answer)
            }
            Operation::FollowCursor { back } => outcome(self.follow_kept(*back)),
            Operation::FollowChanges(tenant, limit) => outcome(self.follow_changes(*tenant, *limit)),
            Operation::Hold => {
                let held = self
                    .open()
                    .catalog
                    .snapshot()
                    .map_err(|error| self.failure(&error));
                outcome(held.map(|held| {
                    if let Some(open) = &mut self.open {
                        open.held = Some(held);
                    }
                    Value::Null
                }))
            }
            Operation::Release => {
                if let Some(open) = &mut self.open {
                    open.held = None;
                }
                Outcome::Done(Value::Null)
            }
            Operation::Clock(millis) => {
                self.environment.advance(*millis);
                Outcome::Done(Value::Null)
            }
            Operation::Transact(tenant, actor, steps, end) => self.transact(*tenant, *actor, steps, *end),
            other => outcome(self.plain(other)),
        }
    }

    fn failure(&self, error: &Error) -> Failure {
        Failure::of(error, &self.ids.borrow())
    }

    /// Those that change nothing of the system but its catalog.
    fn plain(&self, operation: &Operation) -> Answer {
        let open = self.open();
        let fail = |error: Error| self.failure(&error);
        match operation {
            Operation::Write(tenant, actor, write) => {
                let elsewhere = self.session(tenant.other(), *actor);
                self.executor(&elsewhere)
                    .write(&self.session(*tenant, *actor), write)
            }
            Operation::CreateBatched(tenant, actor, drafts, chunk) => {
                let kind = drafts.first().map_or(EntityKind::Store, Draft::kind);
                by_kind!(kind, E => self.create_batched::<E>(*tenant, *actor, drafts, *chunk))
            }
            Operation::Read(tenant, read) => {
                let elsewhere = self.session(tenant.other(), Actor::Ann);
                self.executor(&elsewhere)
                    .read(&self.session(*tenant, Actor::Ann), read)
            }
            Operation::ReadHeld(tenant, read) => self.read_held(*tenant, read),
            Operation::Stream(tenant, query) => by_kind!(query.kind, E => {
                let elsewhere = self.session(tenant.other(), Actor::Ann);
                let executor = self.executor(&elsewhere);
                let stream = self.session(*tenant, Actor::Ann).stream(&executor.query::<E>(query));
                collect(&executor, stream.map_err(fail)?)
            }),
            Operation::StreamHeld(tenant, query) => by_kind!(query.kind, E => {
                let Some(held) = &open.held else {
                    return Ok(json!("nothing is held"));
                };
                let elsewhere = self.session(tenant.other(), Actor::Ann);
                let executor = self.executor(&elsewhere);
                let snapshot = held.tenant(tenant.name()).map_err(fail)?;
                collect(&executor, snapshot.stream(&executor.query::<E>(query)).map_err(fail)?)
            }),
            Operation::Tenants => Ok(json!(open.catalog.tenants().map_err(fail)?)),
            Operation::DropTenant(tenant) => {
                Ok(json!(open.catalog.drop_tenant(tenant.name()).map_err(fail)?))
            }
            Operation::Sweep => Ok(json!({ "changes": open.catalog.sweep().map_err(fail)?.changes })),
            Operation::Sync => open.catalog.sync().map(|()| Value::Null).map_err(fail),
            Operation::Check => {
                let report = open.catalog.check().map_err(fail)?;
                Ok(json!(
                    report
                        .findings
                        .iter()
                        .map(ToString::to_string)
                        .collect::<Vec<_>>()
                ))
            }
            _ => unreachable!("run elsewhere"),
        }
    }

    fn executor<'a>(&'a self, elsewhere: &'a Session) -> Executor<'a> {
        Executor {
            ids: &self.ids,
            elsewhere,
        }
    }

    fn read_held(&self, tenant: Tenant, read: &ReadOp) -> Answer {
        let Some(held) = &self.open().held else {
            return Ok(json!("nothing is held"));
        };
        let elsewhere = self.session(tenant.other(), Actor::Ann);
        let snapshot = held.tenant(tenant.name()).map_err(|error| self.failure(&error))?;
        self.executor(&elsewhere).read(&snapshot, read)
    }

    fn create_batched<E: Modelled>(
        &self,
        tenant: Tenant,
        actor: Actor,
        drafts: &[Draft],
        chunk: usize,
    ) -> Answer {
        let session = self.session(tenant, actor);
        let elsewhere = self.session(tenant.other(), actor);
        let executor = self.executor(&elsewhere);
        let members: Vec<_> = drafts
            .iter()
            .filter_map(|draft| E::input(draft, &self.ids.borrow()))
            .collect();
        let mut reported = 0;
        let options = Batched::new()
            .chunk_entities(chunk)
            .on_progress(|progress| reported = progress.stored);
        match session.create_batched(members, options) {
            Ok(ids) if reported != ids.len() as u64 => Ok(json!({ "reported": reported, "ids": ids.len() })),
            Ok(ids) => Ok(executor.bind(&ids)),
            Err(error) => {
                // The error does not name what the chunks before stored: the newest are it.
                let stored = error.bulk().map_or(0, |bulk| bulk.stored);
                if stored != reported {
                    return Ok(json!({ "reported": reported, "stored": stored }));
                }
                let newest = shelfmark::Query::<E>::new().sort("-id").limit(stored as usize);
                match shelfmark::Read::list_names(&session, &newest) {
                    Ok(page) => {
                        let ids: Vec<E::Id> = page.items.iter().rev().map(|named| named.id).collect();
                        executor.bind(&ids);
                    }
                    // A storage that failed may not be read either, and what it failed with says whether the commit is in doubt.
                    Err(_) if OF_STORAGE.contains(&error.kind()) => {}
                    Err(unread) => return Err(self.failure(&unread)),
                }
                Err(self.failure(&error))
            }
        }
    }

    fn transact(&self, tenant: Tenant, actor: Actor, steps: &[Step], end: End) -> Outcome {
        let session = self.session(tenant, actor);
        let elsewhere = self.session(tenant.other(), actor);
        let executor = self.executor(&elsewhere);
        let known = self.ids.borrow().len();
        let mut outcomes = Vec::new();
        let result: Result<(), Refusal> = session.try_transact(|transaction| {
            // The closure may run again.
            outcomes.clear();
            self.ids.borrow_mut().truncate(known);
            for step in steps {
                let answer = match step {
                    Step::Write(write) => executor.write(transaction, write),
                    Step::Read(read) => executor.read(transaction, read),
                    Step::ReadOutside(read) => executor.read(&session, read),
                    Step::Reenter => match session.create(NewDataStore::new("reentered", "none")) {
                        Ok(store) => Ok(executor.shown(&store)),
                        Err(error) => Err(executor.failure(&error)),
                    },
                };
                let failure = answer.as_ref().err().cloned();
                outcomes.push(outcome(answer));
                if end == End::FirstError
                    && let Some(failure) = failure
                {
                    return Err(Refusal::Own(failure));
                }
            }
            if end == End::Refuse {
                return Err(Refusal::Own(Failure::own()));
            }
            Ok(())
        });
        let error = match result {
            Ok(()) => None,
            Err(Refusal::Engine(error)) => Some(executor.failure(&error)),
            Err(Refusal::Own(failure)) => Some(failure),
        };
        Outcome::Transaction(outcomes, error)
    }

    /// The changes since the last time. What is shown before it is all durable is the beginning of that.
    fn follow_changes(&mut self, tenant: Tenant, limit: usize) -> Answer {
        let session = self.session(tenant, Actor::Ann);
        let after = self.followed.remove(&tenant);
        let early = replay::follow(&session, after, limit);
        let synced = self.open().catalog.sync();
        synced.map_err(|error| self.failure(&error))?;
        let (changes, position) = match replay::follow(&session, after, limit) {
            Ok(followed) => followed,
            Err(Unfollowed::Broken(what)) => return Ok(json!(what)),
            Err(Unfollowed::Refused(error)) => {
                let oldest = error.oldest_change().map(|oldest| (tenant, oldest));
                self.followed.extend(oldest);
                return Err(self.failure(&error));
            }
        };
        match early {
            Ok((shown, _)) if changes.starts_with(&shown) => {}
            // A storage that failed then has recovered since.
            Err(Unfollowed::Refused(error)) if OF_STORAGE.contains(&error.kind()) => {
                return Err(self.failure(&error));
            }
            early => return Ok(json!(format!("shown before the sync: {early:?}"))),
        }
        let newest = session.newest_change().map_err(|error| self.failure(&error))?;
        if newest != position {
            return Ok(json!(format!("the newest change is not the last one: {newest}")));
        }
        self.followed.insert(tenant, position);
        let mut values = Vec::new();
        for change in &changes {
            let mut value = serde_json::to_value(change).unwrap_or_default();
            // Opaque, and in no order that is promised.
            if let Some(members) = value.as_object_mut() {
                members.shift_remove("position");
                if let Some(Value::Array(fields)) = members.get_mut("fields") {
                    fields.sort_by_key(Value::to_string);
                }
            }
            self.ids.borrow().canonicalize(&mut value);
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    /// That the whole change feed of each tenant, where all of it is kept, tells exactly what the tenant holds.
    ///
    /// # Errors
    ///
    /// What it does not tell.
    pub fn replay_all(&self) -> Result<(), String> {
        if !self.setup.change_feed || self.setup.retained_changes.is_some() {
            return Ok(());
        }
        self.open().catalog.sync().map_err(|error| error.to_string())?;
        for tenant in Tenant::ALL {
            let session = self.session(tenant, Actor::Ann);
            let told = replay::replay(&session)?;
            let held = replay::held(&session).map_err(|error| error.to_string())?;
            if told != held {
                return Err(format!("the feed tells {told:?} where there is {held:?}"));
            }
        }
        Ok(())
    }

    fn follow_kept(&mut self, back: bool) -> Answer {
        let Some(kept) = &self.kept else {
            return Ok(json!("nothing is kept"));
        };
        let cursor = if back { &kept.prev } else { &kept.next };
        let Some(cursor) = cursor else {
            return Ok(json!("no such cursor"));
        };
        let (tenant, query, cursor) = (kept.tenant, kept.query.clone(), cursor.clone());
        by_kind!(query.kind, E => self.follow::<E>(tenant, &query, Some(cursor)))
    }

    /// A page, whose cursors are kept if there is one.
    fn follow<E: Modelled>(&mut self, tenant: Tenant, spec: &QuerySpec, cursor: Option<Cursor>) -> Answer {
        if cursor.is_none() {
            self.kept = None;
        }
        let session = self.session(tenant, Actor::Ann);
        let elsewhere = self.session(tenant.other(), Actor::Ann);
        let executor = self.executor(&elsewhere);
        let mut query = executor.query::<E>(spec);
        if let Some(cursor) = cursor {
            query = query.cursor(cursor);
        }
        let page: Page<E> =
            shelfmark::Read::list(&session, &query).map_err(|error| executor.failure(&error))?;
        let value = executor.page(&page);
        self.kept = Some(Kept {
            tenant,
            query: spec.clone(),
            prev: page.prev,
            next: page.next,
        });
        Ok(value)
    }

    /// Walks every keyspace of the backend, and tells where the bytes of one of these entities are left.
    ///
    /// # Errors
    ///
    /// What a scan gives.
    pub fn traces_of(&self, canonical: impl Iterator<Item = Uuid>) -> shelfmark::Result<Vec<String>> {
        let gone: HashSet<[u8; 16]> = {
            let ids = self.ids.borrow();
            canonical.map(|id| ids.real(id).into_bytes()).collect()
        };
        // Every id begins with the same bytes of the time: few windows need a look at the set.
        let Some(first) = gone.iter().next().map(|id| id[0]) else {
            return Ok(Vec::new());
        };
        let holds = |bytes: &[u8]| {
            bytes
                .windows(16)
                .any(|window| window[0] == first && window[6] >> 4 == 7 && gone.contains(window))
        };
        let snapshot = self.open().backend.snapshot()?;
        let mut traces = Vec::new();
        for &space in Keyspace::ALL.iter().filter(|space| !space.remembers()) {
            snapshot.scan(space, &KeyRange::all(), Direction::Forward, &mut |key, value| {
                if holds(key) || holds(value) {
                    traces.push(format!("{}: {key:02x?} -> {value:02x?}", space.name()));
                }
                ControlFlow::Continue(())
            })?;
        }
        Ok(traces)
    }
}

fn collect<E: Modelled>(executor: &Executor<'_>, stream: Stream<E>) -> Answer {
    let mut items = Vec::new();
    for item in stream {
        items.push(executor.shown(&item.map_err(|error| executor.failure(&error))?));
    }
    Ok(Value::Array(items))
}
