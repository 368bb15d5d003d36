//! Many threads at once, replayed one by one: in the order in which the operations took effect, the oracle must give what each of them gave.
//!
//! One file: what the threads draw, what is recorded and how it is replayed have to agree in every detail.
//!
//! Every operation runs under an actor of its own, so what records the order tells whose turn it was: the change feed, or a hook. Requests with an idempotency key
//! share few actors, since an answer is given again to the same one only: of them the ids tell which they created. An operation without effect, which
//! nothing records, must give what the oracle gives in some state between the last effect known before it began and the first known to come after it returned.
//!
//! Deletions can be undone in all runs, and hooks of the test kit amend, veto and panic in most.
//!
//! `SHELFMARK_LINEAR_SEEDS` is how many seeds run, `SHELFMARK_LINEAR_SEED` the first of them, `SHELFMARK_LINEAR_OPERATIONS` how many operations a thread makes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use shelfmark::{
    Catalog, DataAsset, DataSet, DataStore, Deletion, Durability, EntityKind, ErrorKind, Hook, HookView,
    NewDataAsset, NewDataSet, NewDataStore, Proposal, Restoration, Uuid, Veto,
};
use shelfmark_testkit::operation::{
    Actor, BatchStep, Draft, Edit, End, Expect, FilterSpec, Form, Input, OnceKey, Operation, PatchStep,
    PatchValue, QuerySpec, ReadOp, Ref, Selection, Step, Target, Tenant, WriteOp,
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
        let (effects, without, tally) = run(seed, operations);
        println!("seed {seed}: {effects} operations with effect, {without} without, replayed; {tally:?}");
        assert!(effects > operations, "seed {seed}: hardly anything happened");
        let short = tally.missing(seed);
        // Few operations need not bring up everything.
        assert!(
            operations < 1_000 || short.is_empty(),
            "seed {seed}: no {short:?}"
        );
    }
}

/// How often what came up that is rare.
#[derive(Debug, Default)]
struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    fn of(done: &[Done]) -> Self {
        let mut tally = Self::default();
        for one in done {
            match (&one.operation, &one.outcome) {
                (Operation::Write(_, _, write), outcome) => tally.note(write, outcome),
                (Operation::Transact(_, _, steps, _), Outcome::Transaction(outcomes, _)) => {
                    for (step, outcome) in steps.iter().zip(outcomes) {
                        if let Step::Write(write) = step {
                            tally.note(write, outcome);
                        }
                    }
                }
                _ => {}
            }
        }
        tally
    }

    fn note(&mut self, write: &WriteOp, outcome: &Outcome) {
        let what = match (write, outcome) {
            (WriteOp::Batch(_), Outcome::Done(_)) => "batch",
            (WriteOp::Batch(_), Outcome::Failed(failure)) => match failure.failures.first() {
                Some((1.., _)) => "batch failed in the middle",
                _ => "batch failed",
            },
            (WriteOp::CreateOnce(..) | WriteOp::BatchOnce(..), Outcome::Done(value)) => {
                match value["replayed"] {
                    Value::Bool(true) => "replay",
                    _ => "first answer",
                }
            }
            (WriteOp::Restore(..), Outcome::Done(_)) => "restored",
            (WriteOp::Restore(..), Outcome::Failed(_)) => "not restored",
            (WriteOp::Purge(..), Outcome::Done(_)) => "purged",
            (WriteOp::Purge(..), Outcome::Failed(_)) => "not purged",
            _ => "other",
        };
        *self.0.entry(what).or_default() += 1;
        if let Outcome::Failed(failure) = outcome {
            let kind = match failure.kind {
                Some(ErrorKind::Vetoed) => "veto",
                Some(ErrorKind::HookPanicked) => "panic of a hook",
                Some(ErrorKind::KeyReused) => "key reused",
                _ => return,
            };
            *self.0.entry(kind).or_default() += 1;
        }
    }

    /// What must have come up, and did not.
    fn missing(&self, seed: u64) -> Vec<&'static str> {
        let mut wanted = vec![
            "batch",
            "batch failed",
            "batch failed in the middle",
            "replay",
            "first answer",
            "key reused",
            "restored",
            "not restored",
        ];
        if Mode::of(seed).told_by_the_feed() {
            wanted.extend(["purged", "not purged"]);
        }
        if Mode::of(seed).hooks() {
            wanted.extend(["veto", "panic of a hook"]);
        }
        wanted.retain(|what| !self.0.contains_key(what));
        wanted
    }
}

/// What a seed runs on, and what tells the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// A backend in memory, without a feed; a hook that is asked last.
    Asked,
    /// A file, without hooks, with a feed.
    File,
    /// The built-in backend in memory, with hooks and a feed.
    Memory,
}

impl Mode {
    fn of(seed: u64) -> Self {
        [Mode::Asked, Mode::File, Mode::Memory][(seed % 3) as usize]
    }

    fn told_by_the_feed(self) -> bool {
        self != Mode::Asked
    }

    /// Hooks are asked where a change is staged, so all of it is worked out there; without them most of it is done before.
    fn hooks(self) -> bool {
        self != Mode::File
    }
}

/// Whom what happens to an entity is told by: its actor, or of those who share one the entity.
fn mark(actor: &str, id: Uuid) -> String {
    if actor.starts_with(SHARED) {
        id.to_string()
    } else {
        actor.to_owned()
    }
}

/// How the actors of requests with an idempotency key begin.
const SHARED: &str = "keyed";

/// Records whom every change that is asked about is made by, in the order in which they are staged: that of the commits, and within a group.
#[derive(Default)]
struct Recorder(Mutex<Vec<String>>);

impl Recorder {
    fn note(&self, view: &HookView<'_>, id: Uuid) -> Result<(), Veto> {
        self.0.lock().expect("the record").push(mark(view.actor(), id));
        Ok(())
    }
}

impl Hook for Recorder {
    fn name(&self) -> &str {
        "recorder"
    }

    fn store(&self, view: &HookView<'_>, change: &mut Proposal<'_, DataStore>) -> Result<(), Veto> {
        self.note(view, change.id.uuid())
    }

    fn asset(&self, view: &HookView<'_>, change: &mut Proposal<'_, DataAsset>) -> Result<(), Veto> {
        self.note(view, change.id.uuid())
    }

    fn set(&self, view: &HookView<'_>, change: &mut Proposal<'_, DataSet>) -> Result<(), Veto> {
        self.note(view, change.id.uuid())
    }

    fn delete(&self, view: &HookView<'_>, deletion: &Deletion) -> Result<(), Veto> {
        self.note(view, deletion.id.uuid())
    }

    fn restore(&self, view: &HookView<'_>, restoration: &Restoration) -> Result<(), Veto> {
        self.note(view, restoration.id.uuid())
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

impl Done {
    /// What tells its place in the order.
    fn mark(&self) -> Option<String> {
        match self.created.first() {
            None if self.actor.starts_with(SHARED) => None,
            first => Some(mark(&self.actor, first.copied().unwrap_or_default())),
        }
    }
}

fn run(seed: u64, operations: usize) -> (usize, usize, Tally) {
    let mode = Mode::of(seed);
    let setup = CatalogSetup {
        unique_technical_names: seed.is_multiple_of(2),
        hooks: mode.hooks(),
        undrop: Some(24 * 60 * 60 * 1_000),
        ..CatalogSetup::default()
    };
    let options = setup
        .options()
        .durability(Durability::Deferred)
        .environment(TestEnvironment::new(1).environment());
    let directory = tempfile::tempdir().expect("a directory");
    let recorder = Arc::new(Recorder::default());
    let catalog = match mode {
        Mode::Asked => options
            .hook(recorder.clone())
            .on_backend(Arc::new(MemoryBackend::new())),
        Mode::File => options
            .change_feed(true)
            .create(directory.path().join("catalog.shelf")),
        Mode::Memory => options.change_feed(true).in_memory(),
    };
    let catalog = catalog.expect("a catalog");
    let done = work(&catalog, setup, seed, operations);
    assert_clean(&catalog, &format!("seed {seed}"));
    let order = match mode.told_by_the_feed() {
        true => fed(&catalog),
        false => std::mem::take(&mut *recorder.0.lock().expect("the record")),
    };
    let (effects, without, _) = replay(seed, setup, &order, &done);
    (effects, without, Tally::of(&done))
}

/// Whom each change is made by, in the order of the change feed.
fn fed(catalog: &Catalog) -> Vec<String> {
    // The feed shows what is durable.
    catalog.sync().expect("a sync");
    let session = catalog.session(Tenant::One.name(), "reader").expect("a session");
    let (mut actors, mut after) = (Vec::new(), None);
    loop {
        let page = session.changes(after, 1_000).expect("changes");
        actors.extend(
            page.items
                .into_iter()
                .filter_map(|change| Some(mark(&change.actor?, change.id.uuid()))),
        );
        after = Some(page.position);
        if !page.more {
            return actors;
        }
    }
}

/// Lets the threads work, and gives what they did.
fn work(catalog: &Catalog, setup: CatalogSetup, seed: u64, operations: usize) -> Vec<Done> {
    let (pool, clock) = (Mutex::new(Pool::new(seed)), AtomicU64::new(0));
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
                        let actor = match &operation {
                            Operation::Write(
                                _,
                                _,
                                WriteOp::CreateOnce(key, _) | WriteOp::BatchOnce(key, _),
                            ) => {
                                // Two share most keys.
                                format!("{SHARED} {}", random.below(8) / 7 + u64::from(key.key % 2))
                            }
                            _ => format!("t{thread}-{n:04}"),
                        };
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
    // An operation that is told more than once is in its place with the last time, which is all one. What an entity stands for is its creation: whoever
    // shares the actor may change it later.
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (at, mark) in order.iter().enumerate() {
        if mark.parse::<Uuid>().is_err() {
            places.insert(mark, at);
        } else {
            places.entry(mark).or_insert(at);
        }
    }
    let place = |one: &Done| {
        // What a deletion would take hooks are asked about too.
        let writes = !matches!(one.operation, Operation::Read(..))
            && (succeeded(&one.outcome) || in_doubt(&one.outcome));
        let mark = one.mark().filter(|_| writes)?;
        places.get(mark.as_str()).copied()
    };
    let (mut effects, rest): (Vec<&Done>, Vec<&Done>) = done.iter().partition(|one| place(one).is_some());
    effects.sort_by_cached_key(|one| place(one));
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

/// Whether a write succeeded.
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
        for (_, failure) in &mut *failure.failures {
            mend(failure, known);
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
        created.contains(id) || one.created.contains(id) || BatchStep::is_placeholder(*id)
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
    /// What was deleted last, and may have been restored or purged since.
    dropped: Vec<(EntityKind, Uuid)>,
    hooks: bool,
    purges: bool,
    /// How many requests with an idempotency key there were, and what was asked with each key last.
    keyed: u64,
    asked: HashMap<u8, Operation>,
}

/// How many requests there are with one key before another one comes.
const PER_KEY: u64 = 16;
/// How many of what was deleted is known.
const DROPPED: usize = 30;

/// Of how many entities of each kind ids are kept, before more is deleted than created.
const MANY: [usize; 3] = [4, 10, 30];

impl Pool {
    fn new(seed: u64) -> Self {
        let mode = Mode::of(seed);
        Self {
            hooks: mode.hooks(),
            // No hook is asked about a purge.
            purges: mode.told_by_the_feed(),
            ..Self::default()
        }
    }

    fn of(&mut self, kind: EntityKind) -> &mut Vec<Uuid> {
        match kind {
            EntityKind::Store => &mut self.stores,
            EntityKind::Asset => &mut self.assets,
            EntityKind::Set => &mut self.sets,
        }
    }

    /// Whether operations to come may name it.
    pub(super) fn knows(&self, id: Uuid) -> bool {
        [&self.stores, &self.assets, &self.sets]
            .iter()
            .any(|ids| ids.contains(&id))
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
        let mut name = format!("name {}", random.below(40));
        let mut tags = vec![format!("tag {}", random.below(3))];
        if self.hooks {
            // What the hooks of the test kit add to, mend, keep, or panic at.
            match random.below(100) {
                0..8 => tags.push("silver".to_owned()),
                8..12 => tags.push("Gold".to_owned()),
                12..15 => name.clear(),
                15 => "İ".clone_into(&mut name),
                16..19 => "ǆ".clone_into(&mut name),
                _ => {}
            }
        }
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
            0..6 => self.once(random),
            6..70 => Operation::Write(tenant, actor, self.write(random)),
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
        match random.below(116) {
            100..110 => WriteOp::Batch(self.batch(random)),
            110..116 => self.undrop(random),
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
                        PatchValue::Json(json!(match random.below(20) {
                            // What the hooks of the test kit veto.
                            0 => "some words.".to_owned(),
                            n => format!("patched {n}"),
                        })),
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

    /// One that is often the last one with its key, which others ask at the same time, sometimes another one with that key.
    fn once(&mut self, random: &mut Random) -> Operation {
        let key = OnceKey {
            key: (self.keyed / PER_KEY) as u8,
            again: false,
        };
        self.keyed += 1;
        if let Some(asked) = self.asked.get(&key.key)
            && random.below(6) > 0
        {
            return asked.clone();
        }
        let write = match random.below(2) {
            0 => {
                let kind = EntityKind::ALL[random.below(3) as usize];
                WriteOp::CreateOnce(key, self.draft(random, kind))
            }
            _ => {
                // What it creates tells its place.
                let mut steps = self.batch(random);
                let store = self.draft(random, EntityKind::Store);
                steps.push(BatchStep::Create(store));
                WriteOp::BatchOnce(key, steps)
            }
        };
        let operation = Operation::Write(Tenant::One, Actor::Ann, write);
        self.asked.insert(key.key, operation.clone());
        operation
    }

    /// Operations that rest on one another, on what is there, and on what may be gone.
    fn batch(&mut self, random: &mut Random) -> Vec<BatchStep> {
        let mut steps = Vec::new();
        let mut made: Vec<(EntityKind, Uuid)> = Vec::new();
        for position in 0..1 + random.below(4) as usize {
            let kind = EntityKind::ALL[[0, 1, 1, 2, 2][random.below(5) as usize]];
            let local = |of: EntityKind, random: &mut Random| {
                let known: Vec<Uuid> = made
                    .iter()
                    .filter(|(kind, _)| *kind == of)
                    .map(|(_, id)| *id)
                    .collect();
                match known.len() as u64 {
                    0 => None,
                    len => {
                        Some(Ref::Exact(known[random.below(len) as usize])).filter(|_| random.below(4) > 0)
                    }
                }
            };
            let mut target = self.target(random, kind);
            if let Some(id) = local(kind, random) {
                let expect = [Expect::Any, Expect::Exactly(0)][random.below(2) as usize];
                target = Target { id, expect };
            }
            steps.push(match random.below(10) {
                0..6 => {
                    let mut draft = self.draft(random, kind);
                    let parent = match kind {
                        EntityKind::Store => None,
                        EntityKind::Asset => local(EntityKind::Store, random),
                        EntityKind::Set => local(EntityKind::Asset, random),
                    };
                    draft.parent = parent.or(draft.parent);
                    made.push((kind, BatchStep::placeholder(position)));
                    BatchStep::Create(draft)
                }
                6 => BatchStep::Replace(target, self.draft(random, kind)),
                7 | 8 => {
                    let description = PatchValue::Json(json!(format!("patched {}", random.below(9))));
                    let patch = vec![PatchStep::Add("/description".to_owned(), description)];
                    BatchStep::Patch(kind, target, patch)
                }
                _ => BatchStep::Delete(kind, target),
            });
        }
        steps
    }

    fn undrop(&mut self, random: &mut Random) -> WriteOp {
        let at = match self.dropped.len() as u64 {
            0 => return WriteOp::Restore(EntityKind::Set, Ref::Exact(Uuid::from_u128(u128::MAX))),
            len => random.below(len) as usize,
        };
        let (kind, id) = self.dropped[at];
        let id = Ref::Exact(id);
        match random.below(3) {
            0 if self.purges => WriteOp::Purge(kind, id),
            _ => WriteOp::Restore(kind, id),
        }
    }

    /// Those that look at one state; a walk looks at several.
    fn read(&mut self, random: &mut Random) -> ReadOp {
        let kind = EntityKind::ALL[random.below(3) as usize];
        let selection = match kind {
            EntityKind::Set => Selection::InAssets(vec![self.any(random, EntityKind::Asset)]),
            _ => Selection::All,
        };
        match random.below(7) {
            6 if !self.dropped.is_empty() => {
                let (kind, id) = self.dropped[random.below(self.dropped.len() as u64) as usize];
                ReadOp::Dropped(kind, Ref::Exact(id))
            }
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
            WriteOp::Batch(steps) => self.note_batch(steps, value),
            WriteOp::CreateOnce(..) | WriteOp::BatchOnce(..) if value["replayed"] == true => {}
            WriteOp::CreateOnce(_, draft) => self.note_ids(draft.kind(), &value["value"]["id"]),
            WriteOp::BatchOnce(_, steps) => self.note_batch(steps, &value["value"]),
            WriteOp::Delete(kind, target) => self.note_dropped(*kind, std::slice::from_ref(target)),
            WriteOp::DeleteAll(kind, targets) => self.note_dropped(*kind, targets),
            WriteOp::Restore(kind, _) => {
                self.note_ids(*kind, &value["id"]);
                self.note_versions(value);
            }
            _ => self.note_versions(value),
        }
    }

    fn note_batch(&mut self, steps: &[BatchStep], value: &Value) {
        for (at, step) in steps.iter().enumerate() {
            match step {
                BatchStep::Create(draft) => self.note_ids(draft.kind(), &value[at]["id"]),
                BatchStep::Delete(kind, target) => self.note_dropped(*kind, std::slice::from_ref(target)),
                _ => self.note_versions(&value[at]),
            }
        }
    }

    fn note_dropped(&mut self, kind: EntityKind, targets: &[Target]) {
        let ids = targets.iter().filter_map(|target| match target.id {
            Ref::Exact(id) if !BatchStep::is_placeholder(id) => Some((kind, id)),
            _ => None,
        });
        self.dropped.extend(ids);
        let more = self.dropped.len().saturating_sub(DROPPED);
        self.dropped.drain(..more);
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
