//! A script again and again, with a fault one call later each time.

use std::collections::{BTreeMap, BTreeSet};

use shelfmark::{ErrorKind, Health, NewDataStore, Write as _};

use super::history::{Rows, rows_of};
use super::image::{Image, Survivors};
use super::recording::{RecordingStorage, StorageFault};
use super::reference::{Reference, Run, judge, open, told};
use crate::execute::OF_STORAGE;
use crate::outcome::Outcome;

/// What may be said of the storage that a creation was cut off on.
const UNFINISHED: [ErrorKind; 3] = [ErrorKind::FileMissing, ErrorKind::NotACatalog, ErrorKind::Corrupt];

/// What may be said of a fault. A panic of the engine below would be said to be damage, and there is none.
fn is_of_fault(kind: ErrorKind) -> bool {
    kind != ErrorKind::Corrupt && OF_STORAGE.contains(&kind)
}

/// What came of the faults.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sweep {
    /// How many runs had a fault.
    pub faults: u64,
    /// Of these, how many struck during creation.
    pub in_creation: u64,
    /// How many no task noticed.
    pub unnoticed: u64,
    /// How many latched the catalog.
    pub latched: u64,
    /// How many left the outcome of the commit in doubt: undone after reopening, and done.
    pub in_doubt: (u64, u64),
    /// The errors, by kind.
    pub errors: BTreeMap<&'static str, u64>,
    /// How many crash images of the moment after the fault were opened.
    pub images: u64,
}

/// Runs the script of a reference with the fault at the first call, at the next one, and so on until a run passes untouched. After each fault nothing
/// panicked, errors are typed, and reopening, opening anew, and a loss of power at that moment all leave the state before or after the task in flight.
///
/// # Errors
///
/// At which call what was wrong.
pub fn sweep(reference: &Reference, mut fault: StorageFault, tally: &mut Sweep) -> Result<(), String> {
    loop {
        let struck = strike(reference, fault, tally).map_err(|wrong| format!("{fault:?}: {wrong}"))?;
        if !struck {
            return Ok(());
        }
        tally.faults += 1;
        fault.nth += 1;
    }
}

/// Runs the script of a reference with one fault. Whether it struck; what must be so after it, [`sweep`] says.
///
/// # Errors
///
/// What was wrong.
pub fn strike(reference: &Reference, fault: StorageFault, tally: &mut Sweep) -> Result<bool, String> {
    let storage = RecordingStorage::new();
    storage.arm(fault);
    let mut run = match Run::create(reference.setting, &storage, None) {
        Ok(run) => run,
        Err(error) => {
            tally.in_creation += 1;
            if !is_of_fault(error.kind()) {
                return Err(format!("creation: {}", told(error)));
            }
            *tally.errors.entry(error.kind().code()).or_default() += 1;
            storage.mend();
            let point = storage.crash_point();
            judge_creation(storage.bytes())?;
            for (_, image) in point.images(2, fault.nth) {
                judge_creation(image)?;
                tally.images += 1;
            }
            return Ok(true);
        }
    };
    for (position, (task, expected)) in reference.tasks.iter().zip(&reference.outcomes).enumerate() {
        let outcome = run.perform(task);
        if outcome.agrees_with(expected) {
            continue;
        }
        if !storage.struck() {
            return Err(format!(
                "task {position}, {task:?}: without a fault {outcome:?} in place of {expected:?}"
            ));
        }
        let wrong = |what: String| format!("task {position}, {task:?}: {outcome:?}, then {what}");
        let kinds = kinds_of(&outcome).map_err(wrong)?;
        for kind in &kinds {
            *tally.errors.entry(kind.code()).or_default() += 1;
        }
        let (first, last) = reference.spans[position];
        let span = &reference.states[first..=last];
        recover(run, (&storage, fault.nth), &kinds, span, tally).map_err(wrong)?;
        return Ok(true);
    }
    drop(run);
    let struck = storage.struck();
    storage.mend();
    tally.unnoticed += u64::from(struck);
    let (first, last) = reference.spans[reference.tasks.len()];
    judge(storage.bytes(), &reference.states[first..=last]).map_err(|what| format!("closed, {what}"))?;
    Ok(struck)
}

/// The kinds of the errors that a fault brought about; an answer that is not the right one is none.
fn kinds_of(outcome: &Outcome) -> Result<BTreeSet<Kind>, String> {
    let mut kinds = BTreeSet::new();
    let mut note = |kind: Option<ErrorKind>| {
        if let Some(kind) = kind.filter(|kind| OF_STORAGE.contains(kind)) {
            kinds.insert(Kind(kind));
        }
    };
    match outcome {
        Outcome::Done(_) => {}
        Outcome::Failed(failure) => note(failure.kind),
        Outcome::Transaction(outcomes, end) => {
            for outcome in outcomes {
                if let Outcome::Failed(failure) = outcome {
                    note(failure.kind);
                }
            }
            note(end.as_ref().and_then(|end| end.kind));
        }
    }
    if kinds.contains(&Kind(ErrorKind::Corrupt)) {
        return Err("nothing is damaged".to_owned());
    }
    if kinds.is_empty() {
        return Err("no error of a storage".to_owned());
    }
    Ok(kinds)
}

/// Sorted by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind(ErrorKind);

impl Kind {
    fn code(self) -> &'static str {
        self.0.code()
    }
}

impl PartialOrd for Kind {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Kind {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.code().cmp(other.code())
    }
}

/// The images that it makes depend on the number of the call that failed, and on nothing that ran before.
fn recover(
    run: Run,
    (storage, nth): (&RecordingStorage, u64),
    kinds: &BTreeSet<Kind>,
    span: &[Rows],
    tally: &mut Sweep,
) -> Result<(), String> {
    let in_doubt = kinds.contains(&Kind(ErrorKind::CommitUnknown));
    // A task of one commit that failed for sure did nothing.
    let allowed = if in_doubt || span.len() > 2 {
        span
    } else {
        &span[..1]
    };
    let crashed = storage.crash_point();
    storage.mend();
    if let Some(catalog) = run.catalog() {
        let probe = |name: &str| {
            let session = catalog.session("probe", "ann").map_err(told)?;
            Ok::<_, String>(session.create(NewDataStore::new(name, "none")))
        };
        if let Health::Latched { .. } = catalog.health() {
            tally.latched += 1;
            match probe("while latched")?.map_err(|error| error.kind()) {
                Err(ErrorKind::Unavailable) => {}
                other => return Err(format!("a latched catalog took a write: {other:?}")),
            }
            match catalog.tenants().map_err(|error| error.kind()) {
                Ok(_) => {}
                Err(kind) if is_of_fault(kind) => {}
                Err(kind) => return Err(format!("a latched catalog reads with {kind}")),
            }
            catalog
                .reopen()
                .map_err(|error| format!("reopening: {}", told(error)))?;
            if catalog.health() != Health::Healthy {
                return Err(format!("reopened: {:?}", catalog.health()));
            }
        }
        let rows = run.rows().ok_or("no backend")?.map_err(told)?;
        let Some(found) = allowed.iter().position(|state| *state == rows) else {
            return Err("reopened, it holds a mixture".to_owned());
        };
        if in_doubt && span.len() > 1 {
            match found {
                0 => tally.in_doubt.0 += 1,
                _ => tally.in_doubt.1 += 1,
            }
        }
        judge(storage.bytes(), &[rows]).map_err(|what| format!("opened anew, {what}"))?;
        let report = catalog.check().map_err(told)?;
        if !report.is_clean() {
            return Err(format!("reopened, not clean: {:?}", report.findings));
        }
        probe("after")?.map_err(|error| format!("a write afterwards: {}", told(error)))?;
        // What reads showed when it was reopened must be on the medium, too.
        catalog.sync().map_err(told)?;
        let rows = run.rows().ok_or("no backend")?.map_err(told)?;
        judge(storage.crash_point().image(Survivors::None), &[rows])
            .map_err(|what| format!("after a write and a loss of power, {what}"))?;
    } else {
        judge(storage.bytes(), allowed).map_err(|what| format!("opened anew, {what}"))?;
    }
    drop(run);
    for (survivors, image) in crashed.images(2, nth) {
        tally.images += 1;
        judge(image, allowed).map_err(|what| format!("after a crash that left {survivors:?}: {what}"))?;
    }
    Ok(())
}

/// What came of faults while what a crash left was opened and closed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Openings {
    /// How many openings had a fault.
    pub faults: u64,
    /// Of these, how many were of a file with a log.
    pub with_log: u64,
    /// Of these, how many opened all the same.
    pub opened: u64,
    /// What the others said, by kind.
    pub errors: BTreeMap<&'static str, u64>,
    /// How many images of a crash on top of the fault were opened.
    pub images: u64,
}

/// Opens what a crash left, and closes it, with the fault at the first call, at the next one, and so on until that passes untouched. Each time it
/// opens, or says what a storage explains; and mended, or after one more loss of power, it opens to the state that it recovers to undisturbed, which is
/// one of those allowed.
///
/// # Errors
///
/// At which call what was wrong.
pub fn sweep_opening(
    image: &Image,
    allowed: &[Rows],
    mut fault: StorageFault,
    tally: &mut Openings,
) -> Result<(), String> {
    let recovered = judge(image.clone(), allowed)?;
    let rows = open(&recovered)
        .and_then(|(backend, _)| rows_of(&*backend))
        .map_err(told)?;
    while strike_opening(image, &rows, fault, tally).map_err(|wrong| format!("{fault:?}: {wrong}"))? {
        tally.faults += 1;
        tally.with_log += u64::from(!image.log.is_empty());
        fault.nth += 1;
    }
    Ok(())
}

/// One opening with one fault. Whether it struck.
fn strike_opening(
    image: &Image,
    expected: &Rows,
    fault: StorageFault,
    tally: &mut Openings,
) -> Result<bool, String> {
    let storage = RecordingStorage::holding(image.clone());
    storage.arm(fault);
    let said = match open(&storage) {
        Ok((backend, catalog)) => {
            match rows_of(&*backend) {
                Ok(rows) if rows == *expected => {}
                Ok(_) => return Err("opened, it holds another state".to_owned()),
                Err(error) if is_of_fault(error.kind()) => {}
                Err(error) => return Err(format!("opened, {}", told(error))),
            }
            drop((backend, catalog));
            None
        }
        Err(error) => Some(error),
    };
    let struck = storage.struck();
    match said {
        None => tally.opened += u64::from(struck),
        Some(error) if struck && is_of_fault(error.kind()) => {
            *tally.errors.entry(error.kind().code()).or_default() += 1;
        }
        Some(error) => return Err(told(error)),
    }
    let crashed = storage.crash_point();
    storage.mend();
    let expected = std::slice::from_ref(expected);
    judge(storage.bytes(), expected).map_err(|what| format!("opened anew, {what}"))?;
    if struck {
        for (survivors, image) in crashed.images(2, fault.nth) {
            tally.images += 1;
            judge(image, expected)
                .map_err(|what| format!("after a crash that left {survivors:?}: {what}"))?;
        }
    }
    Ok(struck)
}

/// What a creation that was cut off left: it opens as a catalog, or says why it does not. Whether it opens.
///
/// # Errors
///
/// What is wrong with it.
pub fn judge_creation(image: Image) -> Result<bool, String> {
    let storage = RecordingStorage::holding(image);
    match open(&storage) {
        Ok((_, catalog)) => {
            let report = catalog.check().map_err(told)?;
            report
                .is_clean()
                .then_some(true)
                .ok_or_else(|| format!("created, not clean: {:?}", report.findings))
        }
        Err(error) if UNFINISHED.contains(&error.kind()) => Ok(false),
        Err(error) => Err(format!("left by a creation: {}", told(error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_creation_that_returned_survives_a_crash() {
        let storage = RecordingStorage::new();
        let setting = super::super::script(1, 10).0;
        let run = Run::create(setting, &storage, None).unwrap();
        assert!(judge_creation(storage.crash_point().image(Survivors::None)).unwrap());
        drop(run);
    }
}
