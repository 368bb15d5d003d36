//! A script that ran undisturbed, and what it left after each of its commits.

use std::sync::Arc;

use serde_json::Value;
use shelfmark::backend::{Backend, Keyspace};
use shelfmark::{Catalog, EntityKind, Error, Options};

use super::history::{History, Rows, rows_of};
use super::image::{CrashPoint, Image};
use super::recording::RecordingStorage;
use crate::operation::{FilterSpec, Operation, QuerySpec, Selection, Tenant};
use crate::oracle::Oracle;
use crate::outcome::{Failure, Ids, Outcome};
use crate::strategy;
use crate::system::{CatalogSetup, Storage, System};

/// The key of the id of a change feed.
const FEED_ID: &[u8] = b"feed_id";

/// Between so many operations of a script comes one task of another sort.
const UPKEEP_EVERY: usize = 7;

/// One thing that a script does.
#[derive(Debug, Clone, PartialEq)]
pub enum Task {
    /// An operation that the oracle knows.
    Operation(Box<Operation>),
    /// Compacts the storage.
    Compact,
    /// Verifies every page.
    Verify,
    /// Backs up to a storage of its own.
    Backup,
}

/// How a script runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// How the catalog is opened.
    pub catalog: CatalogSetup,
    /// How durable its commits are.
    pub commits: Commits,
    /// Whether the file is recovered quickly.
    pub quick_recovery: bool,
    /// Memory for cached pages, in bytes: with none, every access to a page is a read.
    pub cache_bytes: usize,
}

/// How durable the commits of a script are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commits {
    /// Each, once it has returned.
    Durable,
    /// None before the next sync.
    Deferred,
    /// Some, which take those before them along: a few tasks of one sort, then a few of the other.
    Mixed,
}

impl Commits {
    /// Whether those of the task at this position are deferred.
    fn deferred(self, position: usize) -> bool {
        match self {
            Commits::Durable => false,
            Commits::Deferred => true,
            Commits::Mixed => position % 5 < 2,
        }
    }
}

/// The script of a seed: at most `most` operations of [`strategy::from_seed`], without those that hold a snapshot, and between them compaction,
/// reopening, backup and verification.
pub fn script(seed: u64, most: usize) -> (Setting, Vec<Task>) {
    let (setup, operations) = strategy::from_seed(seed, most);
    let setting = Setting {
        catalog: setup.catalog,
        commits: [Commits::Mixed, Commits::Durable, Commits::Deferred][(seed % 3) as usize],
        quick_recovery: seed % 4 < 2,
        cache_bytes: 4 << 20,
    };
    (setting, tasks(operations))
}

/// The tasks of a script: the operations without those that hold a snapshot, and between them compaction, reopening, backup and verification.
pub fn tasks(operations: Vec<Operation>) -> Vec<Task> {
    let mut tasks = Vec::new();
    let mut upkeep = [
        Task::Compact,
        Task::Operation(Box::new(Operation::Reopen)),
        Task::Backup,
        Task::Verify,
    ]
    .into_iter()
    .cycle();
    let plain = operations.into_iter().filter(|operation| {
        !matches!(
            operation,
            Operation::Hold
                | Operation::ReadHeld(..)
                | Operation::StreamHeld(..)
                | Operation::KeepCursors(..)
                | Operation::FollowCursor { .. }
        )
    });
    for (position, operation) in plain.enumerate() {
        tasks.push(Task::Operation(Box::new(operation)));
        if position % UPKEEP_EVERY == UPKEEP_EVERY - 1 {
            tasks.extend(upkeep.next());
        }
    }
    tasks
}

/// One running of a script on a storage.
pub struct Run {
    system: System,
    commits: Commits,
    performed: usize,
    /// Where the last backup went.
    pub backup: Option<RecordingStorage>,
}

impl Run {
    /// A new catalog on an empty storage.
    ///
    /// # Errors
    ///
    /// What creating it gives.
    pub fn create(
        setting: Setting,
        storage: &RecordingStorage,
        history: Option<History>,
    ) -> shelfmark::Result<Self> {
        let storage = Storage::Bytes {
            storage: Arc::new(storage.clone()),
            log: Some(storage.log()),
            deferred: setting.commits == Commits::Deferred,
            quick_recovery: setting.quick_recovery,
            cache_bytes: setting.cache_bytes,
            history,
        };
        Ok(Self {
            system: System::create("storage", storage, setting.catalog)?,
            commits: setting.commits,
            performed: 0,
            backup: None,
        })
    }

    /// The catalog; `None` after a reopening that failed.
    pub fn catalog(&self) -> Option<&Catalog> {
        self.system.catalog()
    }

    /// Every row; `None` after a reopening that failed.
    pub fn rows(&self) -> Option<shelfmark::Result<Rows>> {
        self.system.backend().map(rows_of)
    }

    /// Does one task, whose references are resolved.
    pub fn perform(&mut self, task: &Task) -> Outcome {
        let done = |result: shelfmark::Result<bool>| match result {
            Ok(value) => Outcome::Done(Value::Bool(value)),
            Err(error) => Outcome::Failed(Failure::of(&error, &Ids::default())),
        };
        self.system.defer(self.commits.deferred(self.performed));
        self.performed += 1;
        let Some(catalog) = self.system.catalog() else {
            return Outcome::Failed(Failure::own());
        };
        match task {
            Task::Operation(operation) => self.system.run(operation),
            Task::Compact => done(catalog.compact().map(|report| report.intact)),
            Task::Verify => done(catalog.verify().map(|report| report.intact)),
            Task::Backup => {
                let to = RecordingStorage::new().recording();
                let outcome = done(catalog.backup_on(Arc::new(to.clone())).map(|()| true));
                self.backup = Some(to);
                outcome
            }
        }
    }
}

/// A moment of a reference run, and which of its states a crash then may leave.
#[derive(Debug)]
pub struct Crash<'a> {
    /// The moment.
    pub point: &'a CrashPoint,
    /// The states, from what was surely durable to the newest.
    pub allowed: &'a [Rows],
    /// The position of the task under way; beyond the last is closing.
    pub task: usize,
}

/// A script that ran undisturbed, as the oracle says.
#[derive(Debug)]
pub struct Reference {
    /// How it ran.
    pub setting: Setting,
    /// The tasks, with every reference resolved.
    pub tasks: Vec<Task>,
    /// What came of each.
    pub outcomes: Vec<Outcome>,
    /// The rows at first, and after each commit that changed any.
    pub states: Vec<Rows>,
    /// For each task, and for closing, the states that a crash during it may leave: the position of the first and of the last.
    pub spans: Vec<(usize, usize)>,
}

impl Reference {
    /// Runs a script and shows every crash point behind the creation to `visit`.
    ///
    /// # Errors
    ///
    /// What was not as the oracle says, and what `visit` says.
    pub fn run(
        (setting, script): (Setting, Vec<Task>),
        visit: &mut dyn FnMut(&Crash<'_>) -> Result<(), String>,
    ) -> Result<Self, String> {
        let storage = RecordingStorage::new().recording();
        let history = History::default();
        let mut oracle = Oracle::new(setting.catalog);
        let mut run = Run::create(setting, &storage, Some(history.clone())).map_err(told)?;
        storage.take_points();
        let mut show = |task: usize, (first, last): (usize, usize), history: &History| {
            let points = storage.take_points();
            if points.is_empty() {
                return Ok(());
            }
            let states = history.states();
            points.iter().try_for_each(|point| {
                let allowed = &states[first..=last];
                visit(&Crash { point, allowed, task })
            })
        };
        let (mut tasks, mut outcomes, mut spans) = (Vec::new(), Vec::new(), Vec::new());
        let mut floor = history.len() - 1;
        for (position, task) in script.into_iter().enumerate() {
            let (task, expected) = match &task {
                Task::Operation(operation) => {
                    let (operation, expected) = oracle.apply(operation);
                    (Task::Operation(Box::new(operation)), expected)
                }
                _ => (task, Outcome::Done(Value::Bool(true))),
            };
            let before = history.len();
            let outcome = run.perform(&task);
            if !outcome.agrees_with(&expected) {
                return Err(format!(
                    "task {position}, {task:?}: expected {expected:?}, found {outcome:?}"
                ));
            }
            let span = (floor, history.len() - 1);
            show(position, span, &history)?;
            spans.push(span);
            let durable = match &task {
                Task::Operation(operation) => matches!(**operation, Operation::Sync | Operation::Reopen),
                Task::Compact => true,
                Task::Verify | Task::Backup => false,
            };
            // A durable commit takes those before it along; where there was none, they are as they were.
            let commits_durably = !setting.commits.deferred(position) && history.len() > before;
            if durable || commits_durably {
                floor = history.len() - 1;
            }
            if task == Task::Backup {
                let states = history.states();
                judge_backup(run.backup.take(), &states[states.len() - 1])?;
            }
            tasks.push(task);
            outcomes.push(outcome);
        }
        for operation in everything() {
            let (operation, expected) = oracle.apply(&operation);
            let found = run.system.run(&operation);
            if !found.agrees_with(&expected) {
                return Err(format!("{operation:?}: expected {expected:?}, found {found:?}"));
            }
        }
        drop(run);
        let span = (floor, history.len() - 1);
        show(tasks.len(), span, &history)?;
        spans.push(span);
        Ok(Self {
            setting,
            tasks,
            outcomes,
            states: history.states(),
            spans,
        })
    }
}

/// What lists everything of everybody.
fn everything() -> impl Iterator<Item = Operation> {
    let all = |kind| QuerySpec {
        kind,
        selection: Selection::All,
        filter: FilterSpec::default(),
        sort: String::new(),
        limit: 1,
        page: 0,
        schemas: true,
        total: true,
    };
    let of = move |tenant| {
        EntityKind::ALL
            .iter()
            .map(move |&kind| Operation::Stream(tenant, all(kind)))
    };
    Tenant::ALL.iter().copied().flat_map(of).chain([Operation::Check])
}

pub(super) fn told(error: Error) -> String {
    let source = std::error::Error::source(&error).map(ToString::to_string);
    format!("{}: {error} ({})", error.kind(), source.unwrap_or_default())
}

/// What a backup that has returned must survive: the loss of everything that was not synced.
fn judge_backup(backup: Option<RecordingStorage>, rows: &Rows) -> Result<(), String> {
    let backup = backup.ok_or("no backup was made")?;
    let left = backup.crash_point().image(super::Survivors::None);
    judge_copy(left, rows).map_err(|fault| format!("the backup: {fault}"))
}

/// Opens what a storage and its log hold.
pub(super) fn open(storage: &RecordingStorage) -> shelfmark::Result<(Arc<dyn Backend>, Catalog)> {
    let options = Options::new().cache_bytes(1 << 20).commit_log_on(storage.log());
    let backend = options.open_backend_on(Arc::new(storage.clone()))?;
    let catalog = options.on_backend(Arc::clone(&backend))?;
    Ok((backend, catalog))
}

/// Opens what a crash left: it must open, be clean, and hold exactly one of the allowed states. Gives the storage, with the crash points of its recovery.
///
/// # Errors
///
/// What is wrong with it.
pub fn judge(image: Image, allowed: &[Rows]) -> Result<RecordingStorage, String> {
    let storage = RecordingStorage::holding(image).recording();
    let (backend, catalog) = open(&storage).map_err(told)?;
    let rows = rows_of(&*backend).map_err(told)?;
    if !allowed.contains(&rows) {
        let differences: Vec<usize> = allowed.iter().map(|state| difference(state, &rows)).collect();
        return Err(format!(
            "{} rows, which are none of the {} allowed states: {differences:?} rows differ",
            rows.len(),
            allowed.len()
        ));
    }
    let report = catalog.check().map_err(told)?;
    if !report.is_clean() {
        return Err(format!("not clean: {:?}", report.findings));
    }
    drop(catalog);
    drop(backend);
    Ok(storage)
}

/// As [`judge`], for a backup: all rows but the id of its change feed are those of the original.
///
/// # Errors
///
/// What is wrong with it.
pub fn judge_copy(image: Image, rows: &Rows) -> Result<(), String> {
    let mut allowed = rows.clone();
    let key = (Keyspace::Meta, FEED_ID.to_vec());
    if let Some(id) = allowed.get_mut(&key) {
        let storage = Arc::new(RecordingStorage::holding(image.clone()));
        let copied = Options::new()
            .open_backend_on(storage)
            .and_then(|copy| rows_of(&*copy));
        let own = copied
            .map_err(told)?
            .remove(&key)
            .ok_or("a copy without a feed id")?;
        if *id == own {
            return Err("the copy has the feed id of its original".to_owned());
        }
        *id = own;
    }
    judge(image, &[allowed]).map(drop)
}

fn difference(one: &Rows, two: &Rows) -> usize {
    let missing = |one: &Rows, two: &Rows| {
        one.iter()
            .filter(|(key, value)| two.get(key) != Some(value))
            .count()
    };
    missing(one, two).max(missing(two, one))
}
