//! Many threads at once, replayed one by one: in the order in which the operations took effect, the oracle must give what each of them gave.
//!
//! Every operation runs under an actor of its own, so what records the order tells whose turn it was: the change feed, or a hook. An operation without effect, which
//! nothing records, must give what the oracle gives in some state between the last effect known before it began and the first known to come after it returned.
//!
//! `SHELFMARK_LINEAR_SEEDS` is how many seeds run, `SHELFMARK_LINEAR_SEED` the first of them, `SHELFMARK_LINEAR_OPERATIONS` how many operations a thread makes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use shelfmark::{
    Catalog, DataAsset, DataSet, DataStore, Deletion, Durability, EntityKind, ErrorKind, Hook, HookView,
    NewDataAsset, NewDataSet, NewDataStore, Options, Proposal, Uuid, Veto,
};
use shelfmark_testkit::operation::{
    Actor, Draft, Edit, End, Expect, FilterSpec, Form, Input, Operation, PatchStep, PatchValue, QuerySpec,
    ReadOp, Ref, Selection, Step, Target, Tenant, WriteOp,
};
use shelfmark_testkit::{CatalogSetup, Failure, MemoryBackend, Oracle, Outcome, System, TestEnvironment};

use crate::support::{Random, assert_clean};

pub(super) const THREADS: usize = 8;

pub(super) fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

#[expect(clippy::print_stdout, reason = "the figures of a run")]
#[test]
fn what_many_did_at_once_one_could_have_done_one_after_the_other() {
    let seeds = number("SHELFMARK_LINEAR_SEEDS", 3);
    let first = number("SHELFMARK_LINEAR_SEED", 1);
    let operations = number("SHELFMARK_LINEAR_OPERATIONS", 2_000) as usize;
    for seed in first..first + seeds {
        let (effects, without) = run(seed, operations);
        println!("seed {seed}: {effects} operations with effect, {without} without, replayed");
        assert!(effects > operations, "seed {seed}: hardly anything happened");
    }
}

/// Records whom every change that is asked about is made by, in the order in which they are staged: that of the commits, and within a group.
#[derive(Default)]
struct Recorder(Mutex<Vec<String>>);

impl Recorder {
    fn note(&self, view: &HookView<'_>) -> Result<(), Veto> {
        self.0.lock().expect("the record").push(view.actor().to_owned());
        Ok(())
    }
}

impl Hook for Recorder {
    fn name(&self) -> &str {
        "recorder"
    }

    fn store(&self, view: &HookView<'_>, _: &mut Proposal<'_, DataStore>) -> Result<(), Veto> {
        self.note(view)
    }

    fn asset(&self, view: &HookView<'_>, _: &mut Proposal<'_, DataAsset>) -> Result<(), Veto> {
        self.note(view)
    }

    fn set(&self, view: &HookView<'_>, _: &mut Proposal<'_, DataSet>) -> Result<(), Veto> {
        self.note(view)
    }

    fn delete(&self, view: &HookView<'_>, _: &Deletion) -> Result<(), Veto> {
        self.note(view)
    }
}

/// An operation that has returned.
pub(super) struct Done {
    pub(super) actor: String,
    pub(super) operation: Operation,
    pub(super) outcome: Outcome,
    pub(super) created: Vec<Uuid>,
    /// Ticks of one clock for all threads.
    pub(super) began: u64,
    pub(super) returned: u64,
}

fn run(seed: u64, operations: usize) -> (usize, usize) {
    let setup = CatalogSetup {
        unique_technical_names: seed.is_multiple_of(2),
        ..CatalogSetup::default()
    };
    let options = Options::new()
        .unique_technical_names(setup.unique_technical_names)
        .durability(Durability::Deferred)
        .environment(TestEnvironment::new(1).environment());
    let directory = tempfile::tempdir().expect("a directory");
    let recorder = Arc::new(Recorder::default());
    let catalog = match seed % 3 {
        // Hooks are asked where a change is staged, so all of it is worked out there; without them most of it is done before.
        0 => options
            .hook(recorder.clone())
            .on_backend(Arc::new(MemoryBackend::new())),
        1 => options
            .change_feed(true)
            .create(directory.path().join("catalog.shelf")),
        _ => options.change_feed(true).in_memory(),
    };
    let catalog = catalog.expect("a catalog");
    let done = work(&catalog, setup, seed, operations);
    assert_clean(&catalog, &format!("seed {seed}"));
    let order = match seed % 3 {
        0 => std::mem::take(&mut *recorder.0.lock().expect("the record")),
        _ => fed(&catalog),
    };
    let (effects, without, _) = replay(seed, setup, &order, &done);
    (effects, without)
}

/// Whom each change is made by, in the order of the change feed.
fn fed(catalog: &Catalog) -> Vec<String> {
    // The feed shows what is durable.
    catalog.sync().expect("a sync");
    let session = catalog.session(Tenant::One.name(), "reader").expect("a session");
    let (mut actors, mut after) = (Vec::new(), None);
    loop {
        let page = session.changes(after, 1_000).expect("changes");
        actors.extend(page.items.into_iter().filter_map(|change| change.actor));
        after = Some(page.position);
        if !page.more {
            return actors;
        }
    }
}

/// Lets the threads work, and gives what they did.
fn work(catalog: &Catalog, setup: CatalogSetup, seed: u64, operations: usize) -> Vec<Done> {
    let (pool, clock) = (Mutex::new(Pool::default()), AtomicU64::new(0));
    let tick = || clock.fetch_add(1, Ordering::SeqCst);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (pool, tick) = (&pool, &tick);
                scope.spawn(move || {
                    let mut system = System::beside(catalog.clone(), setup);
                    let mut random = Random::new(seed << 8 | thread as u64);
                    let mut done = Vec::with_capacity(operations);
                    for n in 0..operations {
                        let operation = pool.lock().expect("the pool").operation(&mut random);
                        let actor = format!("t{thread}-{n:04}");
                        let began = tick();
                        let (outcome, created) = system.run_as(&actor, &operation);
                        let returned = tick();
                        pool.lock().expect("the pool").note(&operation, &outcome);
                        done.push(Done {
                            actor,
                            operation,
                            outcome,
                            created,
                            began,
                            returned,
                        });
                    }
                    done
                })
            })
            .collect();
        let done = threads.into_iter().map(|thread| thread.join().expect("a thread"));
        done.flatten().collect()
    })
}

/// Replays what was done, and gives how many operations had an effect, how many had none, and the oracle as it is then.
pub(super) fn replay(
    seed: u64,
    setup: CatalogSetup,
    order: &[String],
    done: &[Done],
) -> (usize, usize, Oracle) {
    let last: HashMap<&str, usize> = order
        .iter()
        .enumerate()
        .map(|(at, actor)| (actor.as_str(), at))
        .collect();
    let place = |one: &Done| {
        // What a deletion would take hooks are asked about too.
        let writes = !matches!(one.operation, Operation::Read(..))
            && (succeeded(&one.outcome) || in_doubt(&one.outcome));
        last.get(one.actor.as_str()).copied().filter(|_| writes)
    };
    let (mut effects, rest): (Vec<&Done>, Vec<&Done>) = done.iter().partition(|one| place(one).is_some());
    effects.sort_by_key(|one| place(one));
    let windows = Windows::new(&effects);
    for (at, effect) in effects.iter().enumerate() {
        let (first, last) = windows.of(effect);
        assert!(
            first <= at && at < last,
            "seed {seed}: {} took effect out of its time: {at} is not within {first}..{last}",
            effect.actor
        );
    }
    let mut waiting: BTreeMap<usize, Vec<(&Done, usize)>> = BTreeMap::new();
    let without = rest.len();
    for one in rest {
        let (first, last) = windows.of(one);
        waiting.entry(first).or_default().push((one, last));
    }
    let created: HashSet<Uuid> = effects
        .iter()
        .flat_map(|one| one.created.iter().copied())
        .collect();
    let mut oracle = Oracle::new(setup);
    let mut pending: Vec<(&Done, usize)> = Vec::new();
    for state in 0..=effects.len() {
        pending.extend(waiting.remove(&state).unwrap_or_default());
        pending.retain(|(one, last)| {
            let would = oracle.would_as(&one.actor, &one.created, &one.operation);
            let agrees = found(one, &created).agrees_with(&would);
            assert!(
                agrees || state < *last,
                "seed {seed}: {} without effect, in none of the states up to {state}\n  asked: {:?}\n  expected in the last: {would:?}\n  found: {:?}",
                one.actor, one.operation, one.outcome
            );
            !agrees
        });
        if let Some(one) = effects.get(state) {
            let expected = oracle.apply_as(&one.actor, &one.created, &one.operation);
            // What was in doubt, and is in the order, was done.
            let agrees = match in_doubt(&one.outcome) {
                true => succeeded(&expected),
                false => found(one, &created).agrees_with(&expected),
            };
            assert!(
                agrees,
                "seed {seed}: {}, the {state}th effect\n  asked: {:?}\n  expected: {expected:?}\n  found: {:?}",
                one.actor, one.operation, one.outcome
            );
        }
    }
    assert!(pending.is_empty() && waiting.is_empty());
    (effects.len(), without, oracle)
}

/// Whether the backend could not tell if it was done.
pub(super) fn in_doubt(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Failed(failure) | Outcome::Transaction(_, Some(failure)) => {
            failure.kind == Some(ErrorKind::CommitUnknown)
        }
        _ => false,
    }
}

fn succeeded(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Done(_) | Outcome::Transaction(_, None))
}

/// The outcome as the oracle says it: who took a name and went with the call that failed is nobody.
fn found(one: &Done, created: &HashSet<Uuid>) -> Outcome {
    fn mend(failure: &mut Failure, known: &impl Fn(&Uuid) -> bool) {
        if let Some(by) = failure.name_taken.as_deref_mut()
            && !known(by)
        {
            *by = Uuid::nil();
        }
    }
    fn mend_all(outcome: &mut Outcome, known: &impl Fn(&Uuid) -> bool) {
        match outcome {
            Outcome::Done(_) => {}
            Outcome::Failed(failure) => mend(failure, known),
            Outcome::Transaction(steps, failure) => {
                steps.iter_mut().for_each(|step| mend_all(step, known));
                if let Some(failure) = failure {
                    mend(failure, known);
                }
            }
        }
    }
    let mut outcome = one.outcome.clone();
    mend_all(&mut outcome, &|id| {
        created.contains(id) || one.created.contains(id)
    });
    outcome
}

/// Which states an operation can have seen, by when it began and returned. State n is the one after n effects.
struct Windows {
    /// By tick, ascending: how many effects had returned by then at least.
    returned: Vec<(u64, usize)>,
    /// By tick, ascending: the first effect that begins from then on.
    to_begin: Vec<(u64, usize)>,
    effects: usize,
}

impl Windows {
    fn new(effects: &[&Done]) -> Self {
        let mut returned: Vec<_> = effects
            .iter()
            .enumerate()
            .map(|(at, one)| (one.returned, at + 1))
            .collect();
        returned.sort_unstable();
        let mut most = 0;
        for (_, after) in &mut returned {
            most = most.max(*after);
            *after = most;
        }
        let mut to_begin: Vec<_> = effects
            .iter()
            .enumerate()
            .map(|(at, one)| (one.began, at))
            .collect();
        to_begin.sort_unstable();
        let mut least = effects.len();
        for (_, before) in to_begin.iter_mut().rev() {
            least = least.min(*before);
            *before = least;
        }
        Self {
            returned,
            to_begin,
            effects: effects.len(),
        }
    }

    /// The first and the last state.
    fn of(&self, one: &Done) -> (usize, usize) {
        let before = self.returned.partition_point(|(tick, _)| *tick < one.began);
        let first = before.checked_sub(1).map_or(0, |at| self.returned[at].1);
        let after = self.to_begin.partition_point(|(tick, _)| *tick <= one.returned);
        let last = self.to_begin.get(after).map_or(self.effects, |(_, at)| *at);
        (first, last)
    }
}

/// What the threads know of one another: ids, those that are gone among them.
#[derive(Default)]
pub(super) struct Pool {
    stores: Vec<Uuid>,
    assets: Vec<Uuid>,
    sets: Vec<Uuid>,
    versions: HashMap<Uuid, u64>,
}

/// Of how many entities of each kind ids are kept, before more is deleted than created.
const MANY: [usize; 3] = [4, 10, 30];

impl Pool {
    fn of(&mut self, kind: EntityKind) -> &mut Vec<Uuid> {
        match kind {
            EntityKind::Store => &mut self.stores,
            EntityKind::Asset => &mut self.assets,
            EntityKind::Set => &mut self.sets,
        }
    }

    /// Mostly one that is there.
    fn any(&mut self, random: &mut Random, kind: EntityKind) -> Ref {
        let ids = self.of(kind);
        match ids.len() as u64 {
            0 => Ref::Exact(Uuid::from_u128(u128::MAX)),
            len => Ref::Exact(ids[random.below(len) as usize]),
        }
    }

    fn target(&mut self, random: &mut Random, kind: EntityKind) -> Target {
        let id = self.any(random, kind);
        let version = match id {
            Ref::Exact(id) => self.versions.get(&id).copied(),
            _ => None,
        };
        let expect = match version {
            Some(version) if random.below(2) == 0 => Expect::Exactly(version),
            _ => Expect::Any,
        };
        Target { id, expect }
    }

    fn draft(&mut self, random: &mut Random, kind: EntityKind) -> Draft {
        let name = format!("name {}", random.below(40));
        let tags = vec![format!("tag {}", random.below(3))];
        match kind {
            EntityKind::Store => Draft {
                parent: None,
                input: Input::Store(Box::new(NewDataStore {
                    tags,
                    ..NewDataStore::new(name, "postgres")
                })),
            },
            EntityKind::Asset => Draft {
                parent: Some(self.any(random, EntityKind::Store)),
                input: Input::Asset(Box::new(NewDataAsset {
                    tags,
                    technical_name: name,
                    app_type: "qix-df".to_owned(),
                    ..NewDataAsset::default()
                })),
            },
            EntityKind::Set => Draft {
                parent: Some(self.any(random, EntityKind::Asset)),
                input: Input::Set(Box::new(NewDataSet {
                    tags,
                    qri: "qdf:files:acme:orders".to_owned(),
                    secure_qri: format!("qri:{name}"),
                    technical_name: name,
                    ..NewDataSet::default()
                })),
            },
        }
    }

    pub(super) fn operation(&mut self, random: &mut Random) -> Operation {
        let (tenant, actor) = (Tenant::One, Actor::Ann);
        match random.below(100) {
            0..70 => Operation::Write(tenant, actor, self.write(random)),
            70..80 => {
                let steps = (0..1 + random.below(4))
                    .map(|_| match random.below(4) {
                        0 => Step::Read(self.read(random)),
                        _ => Step::Write(self.write(random)),
                    })
                    .collect();
                let end = [End::Commit, End::Commit, End::FirstError, End::Refuse][random.below(4) as usize];
                Operation::Transact(tenant, actor, steps, end)
            }
            80..82 => {
                let drafts = (0..3).map(|_| self.draft(random, EntityKind::Set)).collect();
                Operation::CreateBatched(tenant, actor, drafts, 3)
            }
            _ => Operation::Read(tenant, self.read(random)),
        }
    }

    fn write(&mut self, random: &mut Random) -> WriteOp {
        // Few entities make many conflicts, and a replay that takes no time.
        for (kind, many) in EntityKind::ALL.into_iter().zip(MANY) {
            if self.of(kind).len() > many {
                let id = Ref::Exact(self.of(kind).remove(0));
                return match (kind, random.below(3)) {
                    (EntityKind::Store, _) => {
                        WriteOp::DeleteSelected(EntityKind::Asset, Selection::InStores(vec![id]))
                    }
                    (EntityKind::Asset, 0) => {
                        WriteOp::DeleteSelected(EntityKind::Set, Selection::InAssets(vec![id]))
                    }
                    _ => WriteOp::Delete(
                        kind,
                        Target {
                            id,
                            expect: Expect::Any,
                        },
                    ),
                };
            }
        }
        if self.assets.len() < 2 {
            let kind = if self.stores.len() < 2 {
                EntityKind::Store
            } else {
                EntityKind::Asset
            };
            return WriteOp::Create(self.draft(random, kind));
        }
        let kind = EntityKind::ALL[[0, 1, 1, 2, 2, 2, 2][random.below(7) as usize]];
        match random.below(100) {
            0..30 => WriteOp::Create(self.draft(random, kind)),
            30..35 => WriteOp::CreateAll(
                (0..1 + random.below(3))
                    .map(|_| self.draft(random, EntityKind::Set))
                    .collect(),
            ),
            35..50 => {
                let edit = match random.below(3) {
                    0 => Edit::Name(Some(format!("renamed {}", random.below(1_000)))),
                    1 => Edit::TechnicalName(format!("name {}", random.below(40))),
                    _ => Edit::Tags(vec![format!("tag {}", random.below(3))]),
                };
                WriteOp::Update(kind, self.target(random, kind), edit)
            }
            50..62 => WriteOp::Replace(self.target(random, kind), self.draft(random, kind)),
            62..66 => WriteOp::ReplaceAll(
                (0..2)
                    .map(|_| (self.target(random, kind), self.draft(random, kind)))
                    .collect(),
            ),
            66..78 => {
                let steps = vec![
                    PatchStep::Test(
                        "/tags/0".to_owned(),
                        PatchValue::Json(json!(format!("tag {}", random.below(3)))),
                    ),
                    PatchStep::Add(
                        "/description".to_owned(),
                        PatchValue::Json(json!(format!("patched {}", random.below(9)))),
                    ),
                ];
                WriteOp::Patch(kind, self.target(random, kind), steps)
            }
            78..90 => WriteOp::Delete(kind, self.target(random, kind)),
            90..96 => WriteOp::DeleteAll(kind, (0..2).map(|_| self.target(random, kind)).collect()),
            _ => WriteOp::DeleteSelected(
                EntityKind::Set,
                Selection::InAssets(vec![self.any(random, EntityKind::Asset)]),
            ),
        }
    }

    /// Those that look at one state; a walk looks at several.
    fn read(&mut self, random: &mut Random) -> ReadOp {
        let kind = EntityKind::ALL[random.below(3) as usize];
        let selection = match kind {
            EntityKind::Set => Selection::InAssets(vec![self.any(random, EntityKind::Asset)]),
            _ => Selection::All,
        };
        match random.below(6) {
            0 => ReadOp::Get(kind, self.any(random, kind)),
            1 => ReadOp::GetMany(kind, (0..3).map(|_| self.any(random, kind)).collect()),
            2 => ReadOp::Count(kind, selection),
            3 => ReadOp::FindByTechnicalName(kind, selection, format!("name {}", random.below(40))),
            4 => ReadOp::WouldDelete(kind, vec![self.target(random, kind)]),
            _ => ReadOp::List(
                QuerySpec {
                    kind,
                    selection,
                    filter: FilterSpec::default(),
                    sort: ["", "-name", "technicalName"][random.below(3) as usize].to_owned(),
                    limit: 5,
                    page: 0,
                    schemas: false,
                    total: true,
                },
                Form::Entities,
            ),
        }
    }

    pub(super) fn note(&mut self, operation: &Operation, outcome: &Outcome) {
        match (operation, outcome) {
            (Operation::Write(_, _, write), Outcome::Done(value)) => self.note_write(write, value),
            // Named once in vain, or a few times by those who know no better yet.
            (_, Outcome::Failed(failure)) => {
                for kind in EntityKind::ALL {
                    self.of(kind).retain(|id| !failure.missing.contains(id));
                }
            }
            (Operation::CreateBatched(..), Outcome::Done(value)) => self.note_ids(EntityKind::Set, value),
            (Operation::Transact(_, _, steps, _), Outcome::Transaction(outcomes, None)) => {
                for (step, outcome) in steps.iter().zip(outcomes) {
                    if let (Step::Write(write), Outcome::Done(value)) = (step, outcome) {
                        self.note_write(write, value);
                    }
                }
            }
            _ => {}
        }
    }

    fn note_write(&mut self, write: &WriteOp, value: &Value) {
        match write {
            WriteOp::Create(draft) => {
                self.note_ids(draft.kind(), &value["id"]);
                self.note_versions(value);
            }
            WriteOp::CreateAll(_) => self.note_ids(EntityKind::Set, value),
            _ => self.note_versions(value),
        }
    }

    fn note_ids(&mut self, kind: EntityKind, value: &Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.note_ids(kind, item)),
            Value::String(id) => self.of(kind).push(id.parse().expect("an id")),
            _ => {}
        }
    }

    fn note_versions(&mut self, value: &Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.note_versions(item)),
            _ => {
                let id = value["id"].as_str().and_then(|id| id.parse().ok());
                if let (Some(id), Some(version)) = (id, value["version"].as_u64()) {
                    self.versions.insert(id, version);
                }
            }
        }
    }
}
