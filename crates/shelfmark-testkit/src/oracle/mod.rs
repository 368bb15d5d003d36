//! The contract, implemented naively over maps and JSON, without anything of the engine but its public types: what every operation
//! must give. It shares no code with what it judges, so that a mistake would have to be made twice.

mod batch;
mod feed;
mod fields;
mod hooks;
mod list;
mod patch;
mod read;
mod resolve;
mod state;
mod undrop;
mod write;

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use serde_json::{Value, json};
use shelfmark::{EntityKind, ErrorKind};
use uuid::Uuid;

use self::feed::Followed;
use self::list::{Edge, Place, Slice};
use self::state::{Record, State};
use crate::environment::TestEnvironment;
use crate::operation::{Actor, Draft, End, Form, Operation, QuerySpec, Step, Tenant, WriteOp};
use crate::outcome::{Failure, Ids, Outcome};
use crate::system::CatalogSetup;

/// Predicts what operations give. Its n-th entity has the id n, unless it is given others.
#[derive(Debug, Clone)]
pub struct Oracle {
    environment: TestEnvironment,
    setup: CatalogSetup,
    state: State,
    held: Option<State>,
    kept: Option<Kept>,
    /// How far each tenant's change feed has been read.
    followed: BTreeMap<Tenant, Followed>,
    /// Of every entity ever created, those of transactions that failed included.
    born: Vec<(Tenant, EntityKind)>,
    /// Whom everything is ascribed to, in place of the operations' actors.
    alias: Option<String>,
    /// The ids of the entities that are created next.
    to_come: VecDeque<Uuid>,
    asked: batch::Asked,
}

/// The page that cursors were kept of.
#[derive(Debug, Clone)]
struct Kept {
    tenant: Tenant,
    query: QuerySpec,
    page: u64,
    prev: Option<Edge>,
    next: Option<Edge>,
}

/// What a failed call goes back to.
type Before = (State, usize, VecDeque<Uuid>);

/// What an operation was refused for, or what it gave.
type Answer = Result<Value, Failure>;

fn outcome(answer: Answer) -> Outcome {
    match answer {
        Ok(value) => Outcome::Done(value),
        Err(failure) => Outcome::Failed(failure),
    }
}

impl Oracle {
    /// An oracle of an empty catalog.
    pub fn new(setup: CatalogSetup) -> Self {
        Self {
            environment: TestEnvironment::new(0),
            setup,
            state: State {
                hooks: setup.hooks,
                ..State::default()
            },
            held: None,
            kept: None,
            followed: BTreeMap::new(),
            born: Vec::new(),
            alias: None,
            to_come: VecDeque::new(),
            asked: batch::Asked::default(),
        }
    }

    /// Applies an operation that names real ids, ascribed to `actor`, and gives what must come of it; the entities that it creates get these ids.
    pub fn apply_as(&mut self, actor: &str, created: &[Uuid], operation: &Operation) -> Outcome {
        self.alias = Some(actor.to_owned());
        self.to_come = created.iter().copied().collect();
        self.apply(operation).1
    }

    /// What [`Oracle::apply_as`] would give now.
    pub fn would_as(&self, actor: &str, created: &[Uuid], operation: &Operation) -> Outcome {
        self.clone().apply_as(actor, created, operation)
    }

    fn actor(&self, actor: Actor) -> String {
        self.alias.clone().unwrap_or_else(|| actor.name().to_owned())
    }

    /// The id of the next entity.
    fn bear(&mut self, tenant: Tenant, kind: EntityKind) -> Uuid {
        self.born.push((tenant, kind));
        self.to_come
            .pop_front()
            .unwrap_or_else(|| Ids::nth(self.born.len()))
    }

    /// The oracle's ids of every entity that was ever created and is there no more.
    pub fn gone(&self) -> impl Iterator<Item = Uuid> {
        let alive = |id: &Uuid| {
            self.state
                .tenants
                .values()
                .any(|entities| entities.0.contains_key(id))
        };
        (1..=self.born.len()).map(Ids::nth).filter(move |id| !alive(id))
    }

    /// How many entities there are in all.
    pub fn len(&self) -> usize {
        self.state.tenants.values().map(|entities| entities.0.len()).sum()
    }

    /// Whether there is no entity at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Applies an operation. Gives it with every reference resolved, and what must come of it.
    pub fn apply(&mut self, operation: &Operation) -> (Operation, Outcome) {
        match operation {
            Operation::Write(tenant, actor, write) => {
                let (write, outcome) = self.write(*tenant, *actor, write);
                (Operation::Write(*tenant, *actor, write), outcome)
            }
            Operation::CreateBatched(tenant, actor, drafts, chunk) => {
                let drafts: Vec<Draft> = drafts.iter().map(|draft| self.draft(*tenant, draft)).collect();
                let answer = self.create_batched(*tenant, *actor, &drafts, *chunk);
                let resolved = Operation::CreateBatched(*tenant, *actor, drafts, *chunk);
                (resolved, outcome(answer))
            }
            Operation::Transact(tenant, actor, steps, end) => {
                let (steps, outcome) = self.transact(*tenant, *actor, steps, *end);
                (Operation::Transact(*tenant, *actor, steps, *end), outcome)
            }
            Operation::Read(tenant, read) => {
                let read = self.read_op(*tenant, read);
                let answer = self.answer(&self.state, *tenant, &read);
                (Operation::Read(*tenant, read), outcome(answer))
            }
            Operation::Stream(tenant, query) => {
                let query = self.query(*tenant, query);
                let answer = read::stream(&self.state, *tenant, &query);
                (Operation::Stream(*tenant, query), outcome(answer))
            }
            Operation::ReadHeld(tenant, read) => {
                let read = self.read_op(*tenant, read);
                let answer = match &self.held {
                    Some(held) => self.answer(held, *tenant, &read),
                    None => Ok(json!("nothing is held")),
                };
                (Operation::ReadHeld(*tenant, read), outcome(answer))
            }
            Operation::StreamHeld(tenant, query) => {
                let query = self.query(*tenant, query);
                let answer = match &self.held {
                    Some(held) => read::stream(held, *tenant, &query),
                    None => Ok(json!("nothing is held")),
                };
                (Operation::StreamHeld(*tenant, query), outcome(answer))
            }
            Operation::KeepCursors(tenant, query) => {
                let query = self.query(*tenant, query);
                let answer = self.keep_cursors(*tenant, &query);
                (Operation::KeepCursors(*tenant, query), outcome(answer))
            }
            Operation::FollowChanges(tenant, _) => (operation.clone(), outcome(self.follow_changes(*tenant))),
            Operation::FollowCursor { back } => (operation.clone(), outcome(self.follow_cursor(*back))),
            other => (other.clone(), outcome(Ok(self.plain(other)))),
        }
    }

    /// Those that name no entity and cannot be refused.
    fn plain(&mut self, operation: &Operation) -> Value {
        match operation {
            Operation::Hold => self.held = Some(self.state.clone()),
            Operation::Release => self.held = None,
            Operation::Tenants => return json!(self.state.tenants.keys().collect::<Vec<_>>()),
            Operation::Sweep => return self.sweep(),
            Operation::DropTenant(tenant) => {
                self.state.feeds.drop_tenant(*tenant);
                Rc::make_mut(&mut self.state.requests).retain(|(of, ..), _| *of != tenant.name());
                self.state.dropped.remove(tenant.name());
                return json!(self.state.tenants.remove(tenant.name()).is_some());
            }
            Operation::Clock(millis) => self.environment.advance(*millis),
            // A file cannot be closed while a snapshot of it is held.
            Operation::Reopen => self.held = None,
            Operation::Check => return json!([]),
            _ => {}
        }
        Value::Null
    }

    /// Removes all that has outlived its keep.
    fn sweep(&mut self) -> Value {
        let now = self.environment.now();
        Rc::make_mut(&mut self.state.requests).retain(|_, request| request.expiry > now);
        if let Ok(retention) = self.retention() {
            for tenant in Tenant::ALL {
                self.sweep_dropped(tenant, retention);
            }
        }
        self.sweep_changes()
    }

    fn transact(&mut self, tenant: Tenant, actor: Actor, steps: &[Step], end: End) -> (Vec<Step>, Outcome) {
        let before = self.state.clone();
        let mut outcomes = Vec::new();
        let mut resolved: Vec<Step> = Vec::new();
        let mut error = (end == End::Refuse).then(Failure::own);
        for step in steps {
            let (step, outcome) = match step {
                Step::Write(write) => {
                    let (write, outcome) = self.write(tenant, actor, write);
                    (Step::Write(write), outcome)
                }
                Step::Read(read) => {
                    let read = self.read_op(tenant, read);
                    let answer = self.answer(&self.state, tenant, &read);
                    (Step::Read(read), outcome(answer))
                }
                Step::ReadOutside(read) => {
                    let read = self.read_op(tenant, read);
                    let answer = self.answer(&before, tenant, &read);
                    (Step::ReadOutside(read), outcome(answer))
                }
                Step::Reenter => {
                    let refused = Failure::new(ErrorKind::ReentrantWrite);
                    (Step::Reenter, Outcome::Failed(refused))
                }
            };
            resolved.push(step);
            let failure = match &outcome {
                Outcome::Failed(failure) => Some(failure.clone()),
                _ => None,
            };
            outcomes.push(outcome);
            if end == End::FirstError && failure.is_some() {
                error = failure;
                break;
            }
        }
        if error.is_some() {
            self.state = before;
        }
        (resolved, Outcome::Transaction(outcomes, error))
    }

    /// Runs a write that happens wholly or not at all.
    fn write(&mut self, tenant: Tenant, actor: Actor, write: &WriteOp) -> (WriteOp, Outcome) {
        if let Some(done) = self.batched(tenant, actor, write) {
            return done;
        }
        let write = self.write_op(tenant, write);
        let before = self.before();
        let answer = self
            .run_write(tenant, actor, &write)
            .map_err(|failure| self.undo(before, failure));
        (write, outcome(answer))
    }

    fn before(&self) -> Before {
        (self.state.clone(), self.born.len(), self.to_come.clone())
    }

    /// Takes back what a failed call did.
    fn undo(&mut self, (state, born, to_come): Before, failure: Failure) -> Failure {
        self.state = state;
        self.born.truncate(born);
        self.to_come = to_come;
        let known = |id: &Uuid| {
            let mut tenants = self.state.tenants.values();
            tenants.any(|entities| entities.0.contains_key(id))
        };
        Failure {
            name_taken: failure
                .name_taken
                .map(|by| if known(&by) { by } else { Box::default() }),
            ..failure
        }
    }

    fn create_batched(&mut self, tenant: Tenant, actor: Actor, drafts: &[Draft], chunk: usize) -> Answer {
        let mut ids = Vec::new();
        for (position, chunk) in drafts
            .chunks(chunk)
            .enumerate()
            .map(|(n, part)| (n * chunk, part))
        {
            let before = self.before();
            match self.create_each(tenant, actor, chunk) {
                Ok(more) => ids.extend(more),
                Err(failure) => {
                    let failure = self.undo(before, failure);
                    let (index, _) = *failure.bulk.clone().unwrap_or_default();
                    return Err(failure.at(position + index.unwrap_or_default() as usize, position));
                }
            }
        }
        Ok(json!(ids.iter().map(Uuid::to_string).collect::<Vec<_>>()))
    }

    fn keep_cursors(&mut self, tenant: Tenant, query: &QuerySpec) -> Answer {
        self.kept = None;
        let entities = self.state.tenant(tenant.name());
        let slice = list::page(&entities, tenant.name(), query)?;
        let value = list::page_value(&entities, tenant.name(), query, &Form::Entities, &slice);
        self.kept = Some(Kept::of(tenant, query.clone(), slice));
        Ok(value)
    }

    fn follow_cursor(&mut self, back: bool) -> Answer {
        let Some(kept) = &self.kept else {
            return Ok(json!("nothing is kept"));
        };
        let edge = if back { &kept.prev } else { &kept.next };
        let Some(edge) = edge else {
            return Ok(json!("no such cursor"));
        };
        let (tenant, query) = (kept.tenant, kept.query.clone());
        let entities = self.state.tenant(tenant.name());
        let slice = list::page_beside(&entities, tenant.name(), &query, edge, kept.page, back)?;
        let value = list::page_value(&entities, tenant.name(), &query, &Form::Entities, &slice);
        self.kept = Some(Kept::of(tenant, query, slice));
        Ok(value)
    }

    fn insert(&mut self, tenant: Tenant, record: Record) {
        let entities = self.state.tenants.entry(tenant.name()).or_default();
        entities.0.insert(record.id, Rc::new(record));
    }
}

impl Kept {
    fn of(tenant: Tenant, query: QuerySpec, slice: Slice) -> Self {
        let edge = |there: bool, item: Option<&(Place, Rc<Record>)>| {
            let beside = item.map(|(place, _)| Edge {
                place: place.clone(),
                inclusive: false,
            });
            beside.or_else(|| slice.turned.clone()).filter(|_| there)
        };
        Self {
            tenant,
            query,
            page: slice.page,
            prev: edge(slice.prev, slice.items.first()),
            next: edge(slice.next, slice.items.last()),
        }
    }
}
