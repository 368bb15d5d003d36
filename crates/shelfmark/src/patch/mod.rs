//! JSON Patch (RFC 6902): the public type, and how it is read. `apply` does the work.

mod apply;
#[cfg(test)]
mod tests;

use json_patch::jsonptr::PointerBuf;
use json_patch::{
    AddOperation, CopyOperation, MoveOperation, PatchOperation, RemoveOperation, ReplaceOperation,
    TestOperation,
};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

pub(crate) use self::apply::apply;
use crate::error::{Error, Result, Violation};
use crate::json;

/// The most operations in one patch.
const MAX_OPERATIONS: usize = 1000;

const NO_POINTER: &str =
    "must be a JSON pointer: empty or starting with \"/\", and with \"~\" only in \"~0\" and \"~1\"";

/// A JSON Patch (RFC 6902): a list of operations on the JSON form of an entity, applied all or not at all.
///
/// Paths are JSON pointers (RFC 6901) into the entity as it is read: `/name`, `/tags/0`, `/properties/team`, and `/tags/-` for the
/// place after the last tag. `null` is a value like any other.
///
/// A patch is well formed from the start: every way to make one refuses, as [`ErrorKind::Invalid`](crate::ErrorKind::Invalid), a
/// malformed pointer and more than 1,000 operations. The rest shows when it is applied:
///
/// | what | error |
/// |---|---|
/// | a path names a field that the entity does not have, or the root `""` | `Invalid`, at `/3/path` or `/3/from` |
/// | the target does not exist, a list index is out of range, or has leading zeros | `Invalid`, at `/3/path` or `/3/from` |
/// | a value is moved into itself | `Invalid`, at `/3/path` |
/// | after the operation the document has more than 70 levels (64 of free JSON where it lies deepest) or 1 MiB as compact JSON | `Invalid`, at `/3` |
/// | over 1,000,000 JSON values are copied or compared in all | `Invalid`, at `/3` |
/// | a `test` finds another value, or nothing at all | [`PatchTestFailed`](crate::ErrorKind::PatchTestFailed) |
///
/// Numbers compare by value: `1` equals `1.0`, and integers beyond 2^53 are compared exactly. The order of an object's members
/// does not matter to `test`, and is kept by the other operations.
///
/// An operation costs as much as the values it names are large, not the document, except that the later siblings in a list or
/// an object move when a member is put in or taken out: 64 of them count as one value copied.
///
/// ```
/// # use shelfmark::Patch;
/// # fn main() -> shelfmark::Result<()> {
/// let built = Patch::new().test("/version", 3)?.replace("/name", "Orders")?.add("/tags/-", "curated")?;
/// let read = Patch::from_json(
///     br#"[
///         {"op": "test", "path": "/version", "value": 3},
///         {"op": "replace", "path": "/name", "value": "Orders"},
///         {"op": "add", "path": "/tags/-", "value": "curated"}
///     ]"#,
/// )?;
/// assert_eq!(built, read);
///
/// let error = Patch::from_json(br#"[{"op": "add", "path": "name"}]"#).unwrap_err();
/// let pointers: Vec<&str> = error.violations().iter().map(|violation| violation.pointer.as_str()).collect();
/// assert_eq!(pointers, ["/0/path", "/0/value"]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Patch {
    operations: Vec<PatchOperation>,
}

impl Patch {
    /// A patch without operations: it changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a patch from its JSON text. O(length).
    ///
    /// # Errors
    ///
    /// `Invalid`: the text is not JSON (the violation names line and column), has duplicate keys or numbers beyond 64 bits, or is
    /// not a patch: every malformed operation is reported, with pointers into the patch such as `/3/path`.
    pub fn from_json(text: &[u8]) -> Result<Self> {
        Self::from_value(json::parse(text)?)
    }

    /// Reads a patch from a JSON value. Members that RFC 6902 does not define are ignored, as is a `from` where none is needed.
    ///
    /// # Errors
    ///
    /// `Invalid`: every malformed operation is reported, with pointers into the patch such as `/3/path`. More than 1,000 operations
    /// are refused before any of them is looked at.
    pub fn from_value(value: Value) -> Result<Self> {
        let Value::Array(items) = value else {
            return Err(Error::violation("", "a JSON Patch must be a list of operations"));
        };
        if items.len() > MAX_OPERATIONS {
            return Err(too_many());
        }
        let mut violations = Vec::new();
        let mut operations = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            operations.extend(Members::new(index, item, &mut violations).and_then(Members::operation));
        }
        if violations.is_empty() {
            Ok(Self { operations })
        } else {
            Err(Error::invalid(violations))
        }
    }

    /// How many operations it has.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether it has no operations.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Adds `add`: sets a member of an object, or inserts into a list before the given index; `-` is the end.
    ///
    /// # Errors
    ///
    /// `Invalid`: `path` is not a JSON pointer, or the patch has 1,000 operations already. The same holds for the others.
    pub fn add(self, path: &str, value: impl Into<Value>) -> Result<Self> {
        let path = self.pointer("path", path)?;
        self.with(PatchOperation::Add(AddOperation {
            path,
            value: value.into(),
        }))
    }

    /// Adds `remove`: takes away a member or an element, which must exist.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add).
    pub fn remove(self, path: &str) -> Result<Self> {
        let path = self.pointer("path", path)?;
        self.with(PatchOperation::Remove(RemoveOperation { path }))
    }

    /// Adds `replace`: puts `value` in the place of a member or an element, which must exist.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add).
    pub fn replace(self, path: &str, value: impl Into<Value>) -> Result<Self> {
        let path = self.pointer("path", path)?;
        self.with(PatchOperation::Replace(ReplaceOperation {
            path,
            value: value.into(),
        }))
    }

    /// Adds `move`: takes away what is at `from`, which must exist, and adds it at `path`.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add).
    pub fn move_(self, from: &str, path: &str) -> Result<Self> {
        let (from, path) = (self.pointer("from", from)?, self.pointer("path", path)?);
        self.with(PatchOperation::Move(MoveOperation { from, path }))
    }

    /// Adds `copy`: adds at `path` a copy of what is at `from`, which must exist.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add).
    pub fn copy(self, from: &str, path: &str) -> Result<Self> {
        let (from, path) = (self.pointer("from", from)?, self.pointer("path", path)?);
        self.with(PatchOperation::Copy(CopyOperation { from, path }))
    }

    /// Adds `test`: the patch fails as a whole unless what is at `path` equals `value`.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add).
    pub fn test(self, path: &str, value: impl Into<Value>) -> Result<Self> {
        let path = self.pointer("path", path)?;
        self.with(PatchOperation::Test(TestOperation {
            path,
            value: value.into(),
        }))
    }

    fn pointer(&self, member: &str, text: &str) -> Result<PointerBuf> {
        PointerBuf::parse(text).map_err(|_| Error::violation(format!("/{}/{member}", self.len()), NO_POINTER))
    }

    fn with(mut self, operation: PatchOperation) -> Result<Self> {
        if self.len() >= MAX_OPERATIONS {
            return Err(too_many());
        }
        self.operations.push(operation);
        Ok(self)
    }
}

impl<'de> Deserialize<'de> for Patch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_value(Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

fn too_many() -> Error {
    Error::violation(
        "",
        format!("a patch must not have more than {MAX_OPERATIONS} operations: split it"),
    )
}

/// The members of one operation. Read by hand: serde stops at the first malformed operation, without a pointer, and its tagged
/// enums break under serde_json's `arbitrary_precision`.
struct Members<'v> {
    pointer: String,
    members: Map<String, Value>,
    violations: &'v mut Vec<Violation>,
}

impl<'v> Members<'v> {
    fn new(index: usize, operation: Value, violations: &'v mut Vec<Violation>) -> Option<Self> {
        let pointer = format!("/{index}");
        match operation {
            Value::Object(members) => Some(Self {
                pointer,
                members,
                violations,
            }),
            _ => {
                violations.push(Violation::new(pointer, "an operation must be an object"));
                None
            }
        }
    }

    /// The operation, or `None` after every violation was reported.
    fn operation(mut self) -> Option<PatchOperation> {
        let op = self.text("op");
        let path = self.pointer("path");
        match op.as_deref() {
            Some("add") => {
                let value = self.value();
                Some(PatchOperation::Add(AddOperation {
                    path: path?,
                    value: value?,
                }))
            }
            Some("remove") => Some(PatchOperation::Remove(RemoveOperation { path: path? })),
            Some("replace") => {
                let value = self.value();
                Some(PatchOperation::Replace(ReplaceOperation {
                    path: path?,
                    value: value?,
                }))
            }
            Some("move") => {
                let from = self.pointer("from");
                Some(PatchOperation::Move(MoveOperation {
                    from: from?,
                    path: path?,
                }))
            }
            Some("copy") => {
                let from = self.pointer("from");
                Some(PatchOperation::Copy(CopyOperation {
                    from: from?,
                    path: path?,
                }))
            }
            Some("test") => {
                let value = self.value();
                Some(PatchOperation::Test(TestOperation {
                    path: path?,
                    value: value?,
                }))
            }
            Some(_) => self.reject("op", "must be one of add, remove, replace, move, copy and test"),
            None => None,
        }
    }

    fn text(&mut self, member: &str) -> Option<String> {
        match self.members.remove(member) {
            Some(Value::String(text)) => Some(text),
            Some(_) => self.reject(member, "must be a text"),
            None => self.reject(member, "is required"),
        }
    }

    fn pointer(&mut self, member: &str) -> Option<PointerBuf> {
        let text = self.text(member)?;
        PointerBuf::parse(text)
            .ok()
            .or_else(|| self.reject(member, NO_POINTER))
    }

    fn value(&mut self) -> Option<Value> {
        self.members
            .remove("value")
            .or_else(|| self.reject("value", "is required; null is a value"))
    }

    fn reject<T>(&mut self, member: &str, message: &str) -> Option<T> {
        self.violations
            .push(Violation::new(json::child(&self.pointer, member), message));
        None
    }
}
