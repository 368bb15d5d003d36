//! The rules of settable fields: all violations at once, each with its JSON pointer.

use std::collections::{HashMap, HashSet};

use super::{Entity, JsonObject};
use crate::json;
use crate::violations::Violations;

/// The most bytes that an entity may have encoded: head, schemas, free JSON.
pub(crate) const MAX_ENTITY_BYTES: usize = 1 << 20;

/// Where a checker stands; spelled out only when a rule is broken.
#[derive(Clone, Copy)]
enum Place<'a> {
    Top,
    Name(&'a Place<'a>, &'a str),
    Index(&'a Place<'a>, usize),
}

impl Place<'_> {
    fn pointer(self) -> String {
        match self {
            Place::Top => String::new(),
            Place::Name(above, name) => json::child(&above.pointer(), name),
            Place::Index(above, index) => json::child(&above.pointer(), &index.to_string()),
        }
    }
}

/// Collects violations below one place.
#[doc(hidden)]
pub struct Checker<'a> {
    place: Place<'a>,
    found: &'a mut Found,
}

#[derive(Default)]
struct Found {
    violations: Violations,
    /// Pointers named already: one violation each.
    pointers: HashSet<String>,
}

/// Checks every rule that needs no view of the catalog. A pointer that `violations` names already is not named again.
pub(crate) fn check<E: Entity>(fields: &E::New, violations: &mut Violations) {
    let pointers = violations
        .iter()
        .map(|violation| violation.pointer.clone())
        .collect();
    let mut found = Found {
        violations: std::mem::take(violations),
        pointers,
    };
    E::check(
        fields,
        &mut Checker {
            place: Place::Top,
            found: &mut found,
        },
    );
    *violations = found.violations;
}

impl Checker<'_> {
    /// One violation for a place, and none for what lies within a place that is wrong as a whole.
    fn note(&mut self, pointer: String, message: String) {
        let mut above = pointer.as_str();
        while let Some(end) = above.rfind('/') {
            above = &above[..end];
            if self.found.pointers.contains(above) {
                return;
            }
        }
        if self.found.pointers.insert(pointer.clone()) {
            self.found.violations.push(pointer, message);
        }
    }

    /// Notes a violation at `name`, unless there is one.
    pub fn refuse(&mut self, name: &str, message: impl Into<String>) {
        self.note(Place::Name(&self.place, name).pointer(), message.into());
    }

    /// A text that must be there, not blank, with a number of characters from `min` to `max`.
    pub fn required(&mut self, name: &str, text: &str, min: usize, max: usize) {
        if text.trim().is_empty() {
            self.refuse(name, "is required and may not be blank");
            return;
        }
        let length = text.chars().count();
        if length < min || length > max {
            self.refuse(
                name,
                format!("must have {min} to {max} characters, and has {length}"),
            );
        }
    }

    /// An optional text of at most `max` characters.
    pub fn length(&mut self, name: &str, text: Option<&str>, max: usize) {
        // No text has more characters than bytes.
        if let Some(text) = text.filter(|text| text.len() > max) {
            let length = text.chars().count();
            if length > max {
                self.refuse(
                    name,
                    format!("must have at most {max} characters, and has {length}"),
                );
            }
        }
    }

    /// Tags, without duplicates.
    pub fn tags(&mut self, name: &str, tags: &[String]) {
        let mut seen = HashMap::with_capacity(tags.len());
        self.each(name, tags, |index, tag, checker| {
            if let Some(first) = seen.insert(tag.as_str(), index) {
                checker.note(checker.place.pointer(), format!("{tag:?} is tag {first} already"));
            }
        });
    }

    /// Free JSON.
    pub fn free(&mut self, name: &str, object: Option<&JsonObject>) {
        if let Some(object) = object {
            json::check_free(
                object,
                &Place::Name(&self.place, name).pointer(),
                &mut self.found.violations,
            );
        }
    }

    /// Checks what lies below `name`.
    pub fn within(&mut self, name: &str, check: impl FnOnce(&mut Checker<'_>)) {
        check(&mut Checker {
            place: Place::Name(&self.place, name),
            found: &mut *self.found,
        });
    }

    /// Checks each element of the list at `name`.
    pub fn each<'t, T>(
        &mut self,
        name: &str,
        elements: &'t [T],
        mut check: impl FnMut(usize, &'t T, &mut Checker<'_>),
    ) {
        let list = Place::Name(&self.place, name);
        for (index, element) in elements.iter().enumerate() {
            check(
                index,
                element,
                &mut Checker {
                    place: Place::Index(&list, index),
                    found: &mut *self.found,
                },
            );
        }
    }
}
