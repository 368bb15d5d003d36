//! What came of an operation, in a form in which the oracle's and every system's can be compared.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;
use shelfmark::{Error, ErrorKind};
use uuid::Uuid;

/// What came of an operation.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// What it gave, as JSON: entities as they serialize.
    Done(Value),
    /// Why it was refused.
    Failed(Failure),
    /// What came of each step of a transaction, and why it did not commit, if it did not.
    Transaction(Vec<Outcome>, Option<Failure>),
}

/// An error, by kind and details. Messages are not compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Its kind; `None` is an error that the test itself gave.
    pub kind: Option<ErrorKind>,
    /// The pointers of the broken rules.
    pub violations: BTreeSet<String>,
    /// Which ids are missing.
    pub missing: BTreeSet<Uuid>,
    /// Id, expected and found version.
    pub conflict: Option<Box<(Uuid, u64, u64)>>,
    /// The assets of each store that has some.
    pub not_empty: BTreeMap<Uuid, u64>,
    /// Who has the technical name; nil is a member of the same call, which went with it.
    pub name_taken: Option<Box<Uuid>>,
    /// Index and number stored of a bulk call.
    pub bulk: Option<Box<(Option<u64>, u64)>>,
    /// Every operation of a batch that was refused, by position.
    pub failures: Box<[(u64, Failure)]>,
}

impl Failure {
    /// An error of this kind without details.
    pub fn new(kind: ErrorKind) -> Self {
        Self {
            kind: Some(kind),
            ..Self::own()
        }
    }

    /// The test's own error.
    pub fn own() -> Self {
        Self {
            kind: None,
            violations: BTreeSet::new(),
            missing: BTreeSet::new(),
            conflict: None,
            not_empty: BTreeMap::new(),
            name_taken: None,
            bulk: None,
            failures: Box::default(),
        }
    }

    /// `Invalid` at these pointers.
    pub fn invalid(pointers: impl IntoIterator<Item = String>) -> Self {
        Self {
            violations: pointers.into_iter().collect(),
            ..Self::new(ErrorKind::Invalid)
        }
    }

    /// `NotFound` of these ids.
    pub fn not_found(missing: impl IntoIterator<Item = Uuid>) -> Self {
        Self {
            missing: missing.into_iter().collect(),
            ..Self::new(ErrorKind::NotFound)
        }
    }

    /// The same error of a member of a bulk call.
    #[must_use]
    pub fn at(mut self, index: usize, stored: usize) -> Self {
        self.bulk = Some(Box::new((Some(index as u64), stored as u64)));
        self
    }

    /// What an error says, with the oracle's ids.
    pub fn of(error: &Error, ids: &Ids) -> Self {
        Self {
            kind: Some(error.kind()),
            violations: error.violations().iter().map(|one| one.pointer.clone()).collect(),
            missing: error
                .missing()
                .iter()
                .map(|id| ids.canonical(id.uuid()))
                .collect(),
            conflict: error.conflict().map(|conflict| {
                let id = ids.canonical(conflict.entity.uuid());
                Box::new((id, conflict.expected, conflict.found))
            }),
            not_empty: error
                .not_empty()
                .iter()
                .map(|store| (ids.canonical(store.store.uuid()), store.assets))
                .collect(),
            name_taken: error.name_taken().map(|id| match ids.as_they_are {
                true => Box::new(ids.canonical(id.uuid())),
                false => Box::new(ids.canonical.get(&id.uuid()).copied().unwrap_or_default()),
            }),
            bulk: error.bulk().map(|bulk| Box::new((bulk.index, bulk.stored))),
            failures: error
                .failures()
                .iter()
                .map(|failure| (failure.index, Failure::of(&failure.error, ids)))
                .collect(),
        }
    }
}

impl Outcome {
    /// Whether two outcomes are the same. Members of free JSON must be in the same order too.
    pub fn agrees_with(&self, other: &Outcome) -> bool {
        match (self, other) {
            (Outcome::Done(one), Outcome::Done(two)) => same(one, two, false),
            (Outcome::Failed(one), Outcome::Failed(two)) => one == two,
            (Outcome::Transaction(one, end), Outcome::Transaction(two, other_end)) => {
                end == other_end
                    && one.len() == two.len()
                    && one.iter().zip(two).all(|(one, two)| one.agrees_with(two))
            }
            _ => false,
        }
    }
}

const FREE: [&str; 3] = ["properties", "loadOptions", "additionalProperties"];

fn same(one: &Value, two: &Value, ordered: bool) -> bool {
    match (one, two) {
        (Value::Array(one), Value::Array(two)) => {
            one.len() == two.len() && one.iter().zip(two).all(|(one, two)| same(one, two, ordered))
        }
        (Value::Object(one), Value::Object(two)) => {
            one.len() == two.len()
                && (!ordered || one.keys().eq(two.keys()))
                && one.iter().all(|(name, value)| {
                    two.get(name)
                        .is_some_and(|other| same(value, other, ordered || FREE.contains(&name.as_str())))
                })
        }
        _ => one == two,
    }
}

/// The ids of one system beside the oracle's: the n-th entity that is created has the oracle's id n, counted from 1.
#[derive(Debug, Default)]
pub struct Ids {
    real: Vec<Uuid>,
    canonical: HashMap<Uuid, Uuid>,
    as_they_are: bool,
    /// By the oracle's id.
    aliases: HashMap<Uuid, Uuid>,
}

impl Ids {
    /// Ids that are not mapped: what a system shows are the real ones, which the oracle has to be given.
    pub(crate) fn as_they_are() -> Self {
        Self {
            as_they_are: true,
            ..Self::default()
        }
    }

    pub(crate) fn are_as_they_are(&self) -> bool {
        self.as_they_are
    }

    /// The real ids that were noted, and forgets them.
    pub(crate) fn take(&mut self) -> Vec<Uuid> {
        self.canonical.clear();
        std::mem::take(&mut self.real)
    }

    /// The oracle's id of the n-th entity, from 1.
    pub fn nth(n: usize) -> Uuid {
        Uuid::from_u128(n as u128)
    }

    /// How many entities have been created.
    pub fn len(&self) -> usize {
        self.real.len()
    }

    /// Whether none has been created.
    pub fn is_empty(&self) -> bool {
        self.real.is_empty()
    }

    /// Notes the id of the next entity.
    pub fn bind(&mut self, real: Uuid) {
        self.real.push(real);
        if !self.as_they_are {
            self.canonical.insert(real, Self::nth(self.real.len()));
        }
    }

    /// Notes, until [`Ids::forget_aliases`], what stands for one of the oracle's ids that is not an entity.
    pub fn alias(&mut self, real: Uuid, canonical: Uuid) {
        self.aliases.insert(canonical, real);
        self.canonical.insert(real, canonical);
    }

    /// Forgets every alias.
    pub fn forget_aliases(&mut self) {
        for (_, real) in self.aliases.drain() {
            self.canonical.remove(&real);
        }
    }

    /// Forgets all but the first `len`: a transaction's closure runs again.
    pub fn truncate(&mut self, len: usize) {
        for real in self.real.drain(len..) {
            self.canonical.remove(&real);
        }
    }

    /// The real id; one that was never created is its own.
    pub fn real(&self, canonical: Uuid) -> Uuid {
        if let Some(&alias) = self.aliases.get(&canonical) {
            return alias;
        }
        usize::try_from(canonical.as_u128())
            .ok()
            .and_then(|n| self.real.get(n.wrapping_sub(1)).copied())
            .unwrap_or(canonical)
    }

    /// The oracle's id; one that was never created is its own.
    pub fn canonical(&self, real: Uuid) -> Uuid {
        self.canonical.get(&real).copied().unwrap_or(real)
    }

    /// Puts the oracle's id in the place of every real one.
    pub fn canonicalize(&self, value: &mut Value) {
        match value {
            Value::String(text) if text.len() == 36 => {
                if let Ok(real) = text.parse() {
                    *text = self.canonical(real).to_string();
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.canonicalize(item)),
            Value::Object(members) => members.values_mut().for_each(|member| self.canonicalize(member)),
            _ => {}
        }
    }
}
