//! The members of a descriptor's objects, taken out one by one; a value of a wrong type is noted with its pointer.

use serde_json::Value;
use shelfmark::{JsonObject, Violation};

/// How many violations of one document are listed. The rest is counted: a hostile document must not make an error larger than itself.
const LISTED: usize = 1000;

/// The violations of one document.
#[derive(Default)]
pub(crate) struct Violations {
    listed: Vec<Violation>,
    more: usize,
}

impl Violations {
    pub(crate) fn note(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        if self.listed.len() < LISTED {
            self.listed.push(Violation::new(pointer, message));
        } else {
            self.more += 1;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// All of them, or `Ok` where there is none.
    pub(crate) fn none(self) -> Result<(), Vec<Violation>> {
        let Violations { mut listed, more } = self;
        if more > 0 {
            listed.push(Violation::new(
                "",
                format!("{more} more violations are not listed"),
            ));
        }
        if listed.is_empty() { Ok(()) } else { Err(listed) }
    }
}

/// One object of a descriptor. What is not taken is left for `properties`.
pub(crate) struct Members<'v> {
    pub(crate) pointer: String,
    pub(crate) left: JsonObject,
    pub(crate) violations: &'v mut Violations,
}

impl Members<'_> {
    pub(crate) fn refuse(&mut self, name: &str, message: &str) {
        self.violations.note(format!("{}/{name}", self.pointer), message);
    }

    /// The member, which is gone afterwards; null is none.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.left.shift_remove(name).filter(|value| !value.is_null())
    }

    /// The text at `name`.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        match self.take(name)? {
            Value::String(text) => Some(text),
            _ => {
                self.refuse(name, "must be a text");
                None
            }
        }
    }

    /// The list at `name`.
    pub(crate) fn list(&mut self, name: &str) -> Option<Vec<Value>> {
        match self.take(name)? {
            Value::Array(list) => Some(list),
            _ => {
                self.refuse(name, "must be a list");
                None
            }
        }
    }

    /// The list at `name`, which must be there.
    pub(crate) fn required_list(&mut self, name: &str) -> Vec<Value> {
        if self.left.get(name).is_none_or(Value::is_null) {
            self.refuse(name, "is required");
        }
        self.list(name).unwrap_or_default()
    }

    /// The list of texts at `name`.
    pub(crate) fn texts(&mut self, name: &str) -> Option<Vec<String>> {
        let mut texts = Vec::new();
        for (index, element) in self.list(name)?.into_iter().enumerate() {
            match element {
                Value::String(text) => texts.push(text),
                _ => self.refuse(&format!("{name}/{index}"), "must be a text"),
            }
        }
        Some(texts)
    }

    /// The text, or the list of texts, at `name`.
    pub(crate) fn text_or_texts(&mut self, name: &str) -> Vec<String> {
        match self.left.get(name) {
            Some(Value::String(_)) => self.text(name).into_iter().collect(),
            _ => self.texts(name).unwrap_or_default(),
        }
    }

    /// Each object of a list that stood at `name`, with its position.
    pub(crate) fn objects(&mut self, name: &str, list: Vec<Value>, mut read: impl FnMut(usize, Members<'_>)) {
        for (index, element) in list.into_iter().enumerate() {
            let pointer = format!("{}/{name}/{index}", self.pointer);
            match element {
                Value::Object(left) => read(
                    index,
                    Members {
                        pointer,
                        left,
                        violations: self.violations,
                    },
                ),
                _ => self.violations.note(pointer, "must be an object"),
            }
        }
    }

    /// Puts a member back, for `properties`.
    pub(crate) fn keep(&mut self, name: &str, value: impl Into<Value>) {
        self.left.insert(name.to_owned(), value.into());
    }

    /// What was not taken; `None` where nothing is left.
    pub(crate) fn properties(self) -> Option<JsonObject> {
        (!self.left.is_empty()).then_some(self.left)
    }
}
