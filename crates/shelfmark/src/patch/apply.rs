//! Applies a patch, within its bounds.
//!
//! json-patch gives the operations and the pointers but does not apply them: the bounds need the sizes of what an operation
//! touches, its `remove` upsets the order of an object's members, its `test` tells 1 from 1.0, and a failing `move` loses its
//! source.

use std::fmt::{self, Write as _};

use json_patch::PatchOperation;
use json_patch::jsonptr::Pointer;
use serde_json::{Number, Value};

use super::Patch;
use crate::entity::shape::Shape;
use crate::error::{Error, ErrorKind, Result, Violation};
use crate::json;
use crate::sortkey::cut_at_character;

/// The most levels of a document: those of free JSON below the deepest place that holds any, the `dataType.properties` of a field of an additional
/// schema, so that every legal entity can be patched.
pub(super) const MAX_LEVELS: usize = json::MAX_DEPTH + 6;

/// The most bytes of the document's compact JSON text: before, during and after.
pub(super) const MAX_BYTES: usize = 1 << 20;
/// The most JSON values that one patch copies, compares or measures in all.
pub(super) const MAX_NODES: u64 = 1_000_000;
/// How many siblings move for the price of one value copied, when a member is put in or taken out before them.
pub(super) const SIBLINGS_PER_NODE: usize = 64;

/// The document after the patch. On an error the given document is dropped: pass a copy.
///
/// `Invalid` or `PatchTestFailed`, as [`Patch`] lists. What can be told without the document (unknown fields, roots, moves into
/// the own child) is told first, of all operations at once. O(document), once, and then as [`Patch`] says for each operation.
pub(crate) fn apply(patch: &Patch, document: Value, shape: Shape) -> Result<Value> {
    check_paths(patch, shape)?;
    let mut target = Target::new(document)?;
    for (index, operation) in patch.operations.iter().enumerate() {
        target
            .run(operation)
            .map_err(|failure| failure.of(index, operation))?;
    }
    Ok(target.document)
}

/// Refuses paths that are wrong whatever the document holds.
pub(super) fn check_paths(patch: &Patch, shape: Shape) -> Result<()> {
    let mut violations = Vec::new();
    for (index, operation) in patch.operations.iter().enumerate() {
        let mut check = |member: &str, pointer: &Pointer| {
            if let Err(message) = check_path(pointer, shape) {
                violations.push(Violation::new(format!("/{index}/{member}"), message));
            }
        };
        if let Some(from) = from(operation) {
            check("from", from);
        }
        check("path", operation.path());
        if let PatchOperation::Move(operation) = operation
            && !operation.from.is_root()
            && operation.path != operation.from
            && operation.path.starts_with(&operation.from)
        {
            violations.push(Violation::new(
                format!("/{index}/path"),
                "a value cannot be moved into itself",
            ));
        }
    }
    if violations.is_empty() {
        Ok(())
    } else {
        Err(Error::invalid(violations))
    }
}

fn from(operation: &PatchOperation) -> Option<&Pointer> {
    match operation {
        PatchOperation::Move(operation) => Some(&operation.from),
        PatchOperation::Copy(operation) => Some(&operation.from),
        PatchOperation::Add(_)
        | PatchOperation::Remove(_)
        | PatchOperation::Replace(_)
        | PatchOperation::Test(_) => None,
    }
}

fn check_path(pointer: &Pointer, mut shape: Shape) -> Result<(), String> {
    if pointer.is_root() {
        return Err("the whole entity cannot be named: name a member".to_owned());
    }
    for token in pointer.tokens() {
        let token = token.decoded();
        shape = match shape {
            Shape::Free => return Ok(()),
            Shape::List(element) => match Position::of(&token) {
                Ok(_) => *element,
                Err(miss) => return Err(miss.to_string()),
            },
            Shape::Scalar | Shape::Object(_) => shape
                .member(&token)
                .ok_or_else(|| format!("unknown field {}", excerpt(&token)))?,
        };
    }
    Ok(())
}

/// A text as it may stand in a message.
fn excerpt(text: &str) -> String {
    let cut = cut_at_character(text, 64);
    format!("{cut:?}{}", if cut.len() < text.len() { "…" } else { "" })
}

/// Why an operation failed.
#[derive(Debug)]
pub(super) enum Failure {
    Path(Miss),
    From(Miss),
    Bound(Bound),
    Test,
}

impl Failure {
    pub(super) fn of(self, index: usize, operation: &PatchOperation) -> Error {
        match self {
            Failure::Path(miss) => Error::violation(format!("/{index}/path"), miss.to_string()),
            Failure::From(miss) => Error::violation(format!("/{index}/from"), miss.to_string()),
            Failure::Bound(bound) => Error::violation(format!("/{index}"), bound.to_string()),
            Failure::Test => {
                let path = excerpt(operation.path().as_str());
                let message =
                    format!("the test of {path} in operation {index} failed: read the entity again");
                Error::new(ErrorKind::PatchTestFailed, message)
            }
        }
    }
}

/// Why a pointer leads nowhere.
#[derive(Debug)]
pub(super) enum Miss {
    Member(String),
    Element(String, usize),
    Container(String),
    Index(String),
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Miss::Member(token) => write!(f, "there is no member {}", excerpt(token)),
            Miss::Element(token, len) => {
                write!(f, "there is no element {} in a list of {len}", excerpt(token))
            }
            Miss::Container(token) => {
                write!(
                    f,
                    "there is no {}: what should hold it is neither object nor list",
                    excerpt(token)
                )
            }
            Miss::Index(token) => {
                write!(
                    f,
                    "{} is no list index: digits without leading zeros, or \"-\"",
                    excerpt(token)
                )
            }
        }
    }
}

/// The bound that an operation breaks.
#[derive(Debug, PartialEq)]
pub(super) enum Bound {
    Levels,
    Bytes,
    Nodes,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::Levels => write!(f, "the document must not nest deeper than {MAX_LEVELS} levels"),
            Bound::Bytes => write!(
                f,
                "the document must not be larger than {MAX_BYTES} bytes of JSON"
            ),
            Bound::Nodes => write!(f, "a patch must not copy or compare more than {MAX_NODES} values"),
        }
    }
}

impl From<Bound> for Failure {
    fn from(bound: Bound) -> Self {
        Failure::Bound(bound)
    }
}

/// A place in a list.
enum Position {
    At(usize),
    /// `-`: after the last element.
    End,
}

impl Position {
    fn of(token: &str) -> Result<Self, Miss> {
        let digits = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_digit());
        if token == "-" {
            Ok(Position::End)
        } else if digits && (token == "0" || !token.starts_with('0')) {
            Ok(Position::At(token.parse().unwrap_or(usize::MAX)))
        } else {
            Err(Miss::Index(token.to_owned()))
        }
    }
}

/// What is at `pointer`.
fn locate<'d>(document: &'d Value, pointer: &Pointer) -> Result<&'d Value, Miss> {
    pointer.tokens().try_fold(document, |value, token| {
        let token = token.decoded();
        match value {
            Value::Object(members) => members
                .get(token.as_ref())
                .ok_or_else(|| Miss::Member(token.into_owned())),
            Value::Array(items) => match Position::of(&token)? {
                Position::At(index) => items.get(index),
                Position::End => None,
            }
            .ok_or_else(|| Miss::Element(token.into_owned(), items.len())),
            _ => Err(Miss::Container(token.into_owned())),
        }
    })
}

/// Parent and last token. A root, which `check_paths` refuses, has neither.
fn split(pointer: &Pointer) -> Result<(&Pointer, String), Miss> {
    match pointer.split_back() {
        Some((parent, last)) => Ok((parent, last.decoded().into_owned())),
        None => Err(Miss::Member(String::new())),
    }
}

/// The level of an object or a list at `pointer`.
fn level(pointer: &Pointer) -> usize {
    pointer.count() + 1
}

/// The document under the patch.
pub(super) struct Target {
    pub(super) document: Value,
    /// The bytes of its compact JSON text.
    pub(super) bytes: usize,
    /// How many values may still be copied or compared.
    nodes: u64,
}

impl Target {
    pub(super) fn new(document: Value) -> Result<Self> {
        let bytes = measure(&document, 1, &mut { u64::MAX })
            .and_then(|bytes| {
                if bytes > MAX_BYTES {
                    Err(Bound::Bytes)
                } else {
                    Ok(bytes)
                }
            })
            .map_err(|bound| Error::violation("", format!("cannot be patched: {bound}")))?;
        Ok(Self {
            document,
            bytes,
            nodes: MAX_NODES,
        })
    }

    pub(super) fn run(&mut self, operation: &PatchOperation) -> Result<(), Failure> {
        match operation {
            PatchOperation::Add(operation) => {
                let bytes = measure(&operation.value, level(&operation.path), &mut self.nodes)?;
                let place = self.place(&operation.path).map_err(Failure::Path)?;
                self.make_room(bytes + place.overhead, place.replaced)?;
                self.put(&operation.path, operation.value.clone())
            }
            PatchOperation::Remove(operation) => {
                let removed = self.take(&operation.path).map_err(Failure::Path)?;
                self.charge_siblings(removed.siblings)?;
                // What was in the document or was paid for when it came in: no charge.
                self.bytes -= removed.overhead + size(&removed.value);
                Ok(())
            }
            PatchOperation::Replace(operation) => {
                let replaced = size(locate(&self.document, &operation.path).map_err(Failure::Path)?);
                let bytes = measure(&operation.value, level(&operation.path), &mut self.nodes)?;
                self.make_room(bytes, replaced)?;
                if let Some(place) = self.document.pointer_mut(operation.path.as_str()) {
                    *place = operation.value.clone();
                }
                Ok(())
            }
            PatchOperation::Move(operation) => {
                let value = locate(&self.document, &operation.from).map_err(Failure::From)?;
                if operation.from == operation.path {
                    return Ok(());
                }
                if level(&operation.path) > level(&operation.from) {
                    measure(value, level(&operation.path), &mut self.nodes)?;
                }
                let moved = self.take(&operation.from).map_err(Failure::From)?;
                self.charge_siblings(moved.siblings)?;
                let place = self.place(&operation.path).map_err(Failure::Path)?;
                self.make_room(place.overhead, place.replaced + moved.overhead)?;
                self.put(&operation.path, moved.value)
            }
            PatchOperation::Copy(operation) => {
                let source = locate(&self.document, &operation.from).map_err(Failure::From)?;
                let bytes = measure(source, level(&operation.path), &mut self.nodes)?;
                let place = self.place(&operation.path).map_err(Failure::Path)?;
                self.make_room(bytes + place.overhead, place.replaced)?;
                // Not before the bounds are known to hold.
                let copy = locate(&self.document, &operation.from)
                    .map_err(Failure::From)?
                    .clone();
                self.put(&operation.path, copy)
            }
            PatchOperation::Test(operation) => match locate(&self.document, &operation.path) {
                Ok(value) if equal(value, &operation.value, &mut self.nodes)? => Ok(()),
                Err(miss @ Miss::Index(_)) => Err(Failure::Path(miss)),
                Ok(_) | Err(_) => Err(Failure::Test),
            },
        }
    }

    /// Accounts for `added` bytes in the place of `removed`, unless the document would become too large.
    fn make_room(&mut self, added: usize, removed: usize) -> Result<(), Bound> {
        let bytes = self.bytes + added - removed;
        if bytes > MAX_BYTES {
            return Err(Bound::Bytes);
        }
        self.bytes = bytes;
        Ok(())
    }

    fn charge_siblings(&mut self, siblings: usize) -> Result<(), Bound> {
        let nodes = siblings / SIBLINGS_PER_NODE;
        self.nodes = self.nodes.checked_sub(nodes as u64).ok_or(Bound::Nodes)?;
        Ok(())
    }

    /// What it takes to add a value at `pointer`.
    fn place(&self, pointer: &Pointer) -> Result<Place, Miss> {
        let (parent, last) = split(pointer)?;
        match locate(&self.document, parent)? {
            Value::Object(members) => Ok(match members.get(&last) {
                Some(replaced) => Place {
                    overhead: 0,
                    replaced: size(replaced),
                },
                None => Place {
                    overhead: key_overhead(&last) + comma(members.len()),
                    replaced: 0,
                },
            }),
            Value::Array(items) => match Position::of(&last)? {
                Position::At(index) if index > items.len() => Err(Miss::Element(last, items.len())),
                Position::At(_) | Position::End => Ok(Place {
                    overhead: comma(items.len()),
                    replaced: 0,
                }),
            },
            _ => Err(Miss::Container(last)),
        }
    }

    /// Adds `value` where [`place`](Self::place) found room.
    fn put(&mut self, pointer: &Pointer, value: Value) -> Result<(), Failure> {
        let (parent, last) = split(pointer).map_err(Failure::Path)?;
        match self.document.pointer_mut(parent.as_str()) {
            Some(Value::Object(members)) => {
                members.insert(last, value);
            }
            Some(Value::Array(items)) => {
                let index = match Position::of(&last).map_err(Failure::Path)? {
                    Position::At(index) => index.min(items.len()),
                    Position::End => items.len(),
                };
                let siblings = items.len() - index;
                items.insert(index, value);
                self.charge_siblings(siblings)?;
            }
            _ => return Err(Failure::Path(Miss::Container(last))),
        }
        Ok(())
    }

    /// Takes out what is at `pointer`; the order of the others stays.
    fn take(&mut self, pointer: &Pointer) -> Result<Taken, Miss> {
        let (parent, last) = split(pointer)?;
        locate(&self.document, parent)?;
        match self.document.pointer_mut(parent.as_str()) {
            Some(Value::Object(members)) => {
                let siblings = members.len();
                let Some(value) = members.shift_remove(&last) else {
                    return Err(Miss::Member(last));
                };
                Ok(Taken {
                    value,
                    overhead: key_overhead(&last) + comma(members.len()),
                    siblings,
                })
            }
            Some(Value::Array(items)) => match Position::of(&last)? {
                Position::At(index) if index < items.len() => {
                    let siblings = items.len() - index;
                    let value = items.remove(index);
                    Ok(Taken {
                        value,
                        overhead: comma(items.len()),
                        siblings,
                    })
                }
                Position::At(_) | Position::End => Err(Miss::Element(last, items.len())),
            },
            _ => Err(Miss::Container(last)),
        }
    }
}

struct Place {
    /// The bytes of key, colon and comma.
    overhead: usize,
    /// The bytes of the value that goes.
    replaced: usize,
}

struct Taken {
    value: Value,
    overhead: usize,
    siblings: usize,
}

/// The comma between a member and `others` more.
fn comma(others: usize) -> usize {
    usize::from(others > 0)
}

fn key_overhead(key: &str) -> usize {
    text_bytes(key) + 1
}

/// The bytes of `value` as compact JSON. Only for what is in the document already.
fn size(value: &Value) -> usize {
    measure(value, 0, &mut { u64::MAX }).unwrap_or_default()
}

/// The bytes of `value` as compact JSON; `level` is the one it has, or will have, in the document. Each value it meets is taken off
/// `nodes`. The bound of levels also bounds the recursion.
fn measure(value: &Value, level: usize, nodes: &mut u64) -> Result<usize, Bound> {
    *nodes = nodes.checked_sub(1).ok_or(Bound::Nodes)?;
    match value {
        Value::Null | Value::Bool(true) => Ok(4),
        Value::Bool(false) => Ok(5),
        Value::Number(number) => Ok(number_bytes(number)),
        Value::String(text) => Ok(text_bytes(text)),
        Value::Array(_) | Value::Object(_) if level > MAX_LEVELS => Err(Bound::Levels),
        Value::Array(items) => {
            let brackets = 2 + items.len().saturating_sub(1);
            items.iter().try_fold(brackets, |bytes, item| {
                Ok(bytes + measure(item, level + 1, nodes)?)
            })
        }
        Value::Object(members) => {
            let braces = 2 + members.len().saturating_sub(1);
            members.iter().try_fold(braces, |bytes, (key, value)| {
                Ok(bytes + key_overhead(key) + measure(value, level + 1, nodes)?)
            })
        }
    }
}

/// The bytes of a text in quotes and with its escapes: `\u00xx` for control characters that have no short one.
fn text_bytes(text: &str) -> usize {
    let escapes: usize = text
        .bytes()
        .map(|byte| match byte {
            b'"' | b'\\' | 8 | 9 | 10 | 12 | 13 => 1,
            0..=0x1F => 5,
            _ => 0,
        })
        .sum();
    text.len() + escapes + 2
}

fn number_bytes(number: &Number) -> usize {
    struct Count(usize);
    impl fmt::Write for Count {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 += text.len();
            Ok(())
        }
    }
    let mut count = Count(0);
    // Counting does not fail.
    let _ = write!(count, "{number}");
    count.0
}

/// Whether two values are the same JSON: numbers by value, objects whatever the order of their members.
fn equal(one: &Value, other: &Value, nodes: &mut u64) -> Result<bool, Bound> {
    *nodes = nodes.checked_sub(1).ok_or(Bound::Nodes)?;
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => Ok(equal_numbers(one, other)),
        (Value::Array(one), Value::Array(other)) => {
            if one.len() != other.len() {
                return Ok(false);
            }
            for (one, other) in one.iter().zip(other) {
                if !equal(one, other, nodes)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Value::Object(one), Value::Object(other)) => {
            if one.len() != other.len() {
                return Ok(false);
            }
            for (key, one) in one {
                let Some(other) = other.get(key) else {
                    return Ok(false);
                };
                if !equal(one, other, nodes)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        _ => Ok(one == other),
    }
}

fn equal_numbers(one: &Number, other: &Number) -> bool {
    match (integer(one), integer(other)) {
        (Some(one), Some(other)) => one == other,
        (None, None) => one == other || (one.is_f64() && other.is_f64() && one.as_f64() == other.as_f64()),
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// The number as an integer, if it is one and lies within 127 bits: no other integer equals an `i64` or a `u64`.
fn integer(number: &Number) -> Option<i128> {
    if let Some(integer) = number.as_i128() {
        return Some(integer);
    }
    let float = number.as_f64().filter(|_| number.is_f64())?;
    // Exact: a float without a fraction and below 2^127 is an i128.
    (float.fract() == 0.0 && float.abs() < 2f64.powi(127)).then_some(float as i128)
}
