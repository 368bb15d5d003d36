//! Reads settable fields out of a JSON value, reporting every value of a wrong type with its pointer. Rules are checked elsewhere.

use serde_json::Value;
use uuid::Uuid;

use super::{Entity, JsonObject};
use crate::error::Violation;
use crate::json::child;
use crate::time::Timestamp;
use crate::violations::Violations;

/// One object being read; fields are taken out of it.
#[doc(hidden)]
pub struct Reader<'a> {
    pointer: String,
    object: JsonObject,
    violations: &'a mut Violations,
}

/// Reads the input of a creation: `id` and `version` must be absent or null.
pub(crate) fn read_new<E: Entity>(value: Value, violations: &mut Violations) -> E::New {
    let mut reader = Reader::top(value, violations);
    for made in ["id", "version"] {
        if reader.take(made).is_some() {
            reader.refuse(made, "is made by the catalog: leave it out, or null");
        }
    }
    // The actor becomes the owner, whatever is given.
    reader
        .object
        .retain(|name, value| name != "ownerId" || value.is_string());
    E::read(&mut reader)
}

/// Reads the input of a replacement: `id` must be absent or that of the entity, `version` is what the caller expects.
pub(crate) fn read_put<E: Entity>(
    value: Value,
    id: Uuid,
    violations: &mut Violations,
) -> (E::New, Option<u64>) {
    let mut reader = Reader::top(value, violations);
    reader.same_id(id);
    let version = reader.take("version").and_then(|version| {
        let number = version.as_u64();
        if number.is_none() {
            reader.refuse("version", "must be the integer that a read showed");
        }
        number
    });
    (E::read(&mut reader), version)
}

/// Reads the document that a patch made of an entity: whatever the catalog sets is ignored, but another `id` is refused.
pub(crate) fn read_patched<E: Entity>(value: Value, id: Uuid, violations: &mut Violations) -> E::New {
    let mut reader = Reader::top(value, violations);
    reader.same_id(id);
    E::read(&mut reader)
}

impl<'a> Reader<'a> {
    fn top(value: Value, violations: &'a mut Violations) -> Self {
        let mut reader = Reader {
            pointer: String::new(),
            object: JsonObject::new(),
            violations,
        };
        match value {
            Value::Object(object) => reader.object = object,
            _ => reader.violations.push("", "must be a JSON object"),
        }
        reader
    }

    /// Refuses another `id` than this one.
    fn same_id(&mut self, id: Uuid) {
        if self.text("id").is_some_and(|given| given.parse() != Ok(id)) {
            self.refuse("id", "is made by the catalog and never changes");
        }
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.object.swap_remove(name).filter(|value| !value.is_null())
    }

    /// Notes a violation at the field `name`.
    pub fn refuse(&mut self, name: &str, message: impl Into<String>) {
        self.violations.push(child(&self.pointer, name), message);
    }

    /// The text at `name`.
    pub fn text(&mut self, name: &str) -> Option<String> {
        match self.take(name)? {
            Value::String(text) => Some(text),
            _ => {
                self.refuse(name, "must be a text");
                None
            }
        }
    }

    /// The text at `name`, empty where there is none: the rules refuse that.
    pub fn required_text(&mut self, name: &str) -> String {
        self.text(name).unwrap_or_default()
    }

    /// The truth value at `name`.
    pub fn boolean(&mut self, name: &str) -> Option<bool> {
        let value = self.take(name)?.as_bool();
        if value.is_none() {
            self.refuse(name, "must be true or false");
        }
        value
    }

    /// The integer at `name`.
    pub fn integer(&mut self, name: &str) -> Option<i64> {
        let value = self.take(name)?.as_i64();
        if value.is_none() {
            self.refuse(name, "must be an integer of 64 bits");
        }
        value
    }

    /// The date-time at `name`.
    pub fn timestamp(&mut self, name: &str) -> Option<Timestamp> {
        let text = self.text(name)?;
        match text.parse() {
            Ok(time) => Some(time),
            Err(error) => {
                self.refuse(name, error.to_string());
                None
            }
        }
    }

    /// The free JSON at `name`.
    pub fn free(&mut self, name: &str) -> Option<JsonObject> {
        match self.take(name)? {
            Value::Object(object) => Some(object),
            _ => {
                self.refuse(name, "must be an object");
                None
            }
        }
    }

    /// The texts at `name`; none where it is missing.
    pub fn texts(&mut self, name: &str) -> Vec<String> {
        let Some(elements) = self.elements(name) else {
            return Vec::new();
        };
        let pointer = child(&self.pointer, name);
        let mut texts = Vec::with_capacity(elements.len());
        for (index, element) in elements.into_iter().enumerate() {
            match element {
                Value::String(text) => texts.push(text),
                _ => {
                    self.violations
                        .note(|| Violation::new(child(&pointer, &index.to_string()), "must be a text"));
                    // Keeps the positions of those behind it, and is a duplicate of none.
                    texts.push(format!("\0{index}"));
                }
            }
        }
        texts
    }

    /// What `read` makes of each object of the list at `name`.
    pub fn list<T>(&mut self, name: &str, mut read: impl FnMut(&mut Reader<'_>) -> T) -> Option<Vec<T>> {
        let elements = self.elements(name)?;
        let pointer = child(&self.pointer, name);
        let mut list = Vec::with_capacity(elements.len());
        for (index, element) in elements.into_iter().enumerate() {
            let pointer = child(&pointer, &index.to_string());
            let object = match element {
                Value::Object(object) => object,
                _ => {
                    self.violations.push(pointer, "must be an object");
                    // Keeps the positions of those behind it; what it lacks is nobody's fault.
                    let violations = &mut Violations::default();
                    list.push(read(&mut Reader {
                        pointer: String::new(),
                        object: JsonObject::new(),
                        violations,
                    }));
                    continue;
                }
            };
            list.push(read(&mut Reader {
                pointer,
                object,
                violations: self.violations,
            }));
        }
        Some(list)
    }

    /// As [`Reader::list`], and the list must be there.
    pub fn required_list<T>(&mut self, name: &str, read: impl FnMut(&mut Reader<'_>) -> T) -> Vec<T> {
        let before = self.violations.count();
        let list = self.list(name, read);
        if list.is_none() && self.violations.count() == before {
            self.refuse(name, "is required");
        }
        list.unwrap_or_default()
    }

    /// What `read` makes of the object at `name`.
    pub fn object<T>(&mut self, name: &str, read: impl FnOnce(&mut Reader<'_>) -> T) -> Option<T> {
        let object = self.free(name)?;
        let pointer = child(&self.pointer, name);
        Some(read(&mut Reader {
            pointer,
            object,
            violations: self.violations,
        }))
    }

    /// As [`Reader::object`], and the object must be there.
    pub fn required_object<T: Default>(&mut self, name: &str, read: impl FnOnce(&mut Reader<'_>) -> T) -> T {
        let before = self.violations.count();
        let object = self.object(name, read);
        if object.is_none() && self.violations.count() == before {
            self.refuse(name, "is required");
        }
        object.unwrap_or_default()
    }

    /// The id in the parent reference at `name`.
    pub fn parent(&mut self, name: &str) -> Option<Uuid> {
        self.object(name, |info| {
            let text = info.text("id");
            if text.is_none() {
                info.refuse("id", "is required");
            }
            let text = text?;
            let id = text.parse().ok();
            if id.is_none() {
                info.refuse("id", "must be a UUID");
            }
            id
        })
        .flatten()
    }

    fn elements(&mut self, name: &str) -> Option<Vec<Value>> {
        match self.take(name)? {
            Value::Array(elements) => Some(elements),
            _ => {
                self.refuse(name, "must be a list");
                None
            }
        }
    }
}
