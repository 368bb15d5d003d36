//! Strict JSON: what serde_json would let pass silently is an error with its place.
//!
//! serde_json builds the tree; the visitor knows the path to each value. What serde_json hides (it makes a float of an
//! integer above `u64`, and stops at a number above `f64`) is read from the text itself, and only then.

use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::error::{Error, Result, Violation};
use crate::violations::Violations;

/// The deepest nesting of free JSON and of a document under a patch: objects and lists count, the outermost is level 1.
pub(crate) const MAX_DEPTH: usize = 64;

/// The key under which serde_json hands over a number's text when its `arbitrary_precision` is on.
const NUMBER_TEXT: &str = "$serde_json::private::Number";

const DUPLICATE: &str = "the key occurs twice in its object";
const WIDE_INTEGER: &str = "an integer must fit 64 bits: from -9223372036854775808 to 18446744073709551615";
const NOT_FINITE: &str = "a number must lie within the range of a 64-bit float";

/// The pointer to member `token` of what `pointer` names.
pub(crate) fn child(pointer: &str, token: &str) -> String {
    let mut path = String::with_capacity(pointer.len() + 1 + token.len());
    path.push_str(pointer);
    push_token(&mut path, token);
    path
}

fn push_token(path: &mut String, token: &str) {
    path.push('/');
    for character in token.chars() {
        match character {
            '~' => path.push_str("~0"),
            '/' => path.push_str("~1"),
            other => path.push(other),
        }
    }
}

/// Reads one JSON document as strictly as every input of the catalog is read. Integers that fit `i64` or `u64` stay exact, every other number becomes the
/// nearest `f64`. O(length).
///
/// ```
/// let error = shelfmark::parse_json(br#"{"ids": [], "ids": ["a"]}"#).unwrap_err();
/// assert_eq!(error.violations()[0].pointer, "/ids");
/// ```
///
/// # Errors
///
/// `Invalid` when the text is not JSON or nests deeper than 128 levels (one violation at `""` with line and column), else with
/// every duplicate key, every integer beyond 64 bits and every number beyond `f64`, each at its pointer.
pub fn parse(text: &[u8]) -> Result<Value> {
    match read(text, &[]) {
        Ok(outcome) => outcome,
        // It may have stopped at a number beyond f64: with those out of the way it goes on, and the visitor reports them.
        Err(error) => match mask(text) {
            (_, masked) if masked.is_empty() => Err(malformed(&error)),
            (text, masked) => read(&text, &masked).unwrap_or_else(|error| Err(malformed(&error))),
        },
    }
}

fn malformed(error: &serde_json::Error) -> Error {
    Error::violation("", format!("cannot be read as JSON: {error}"))
}

/// The value of `text`, or what is wrong with it; the outer error is serde_json's. `masked`: see [`mask`].
fn read(text: &[u8], masked: &[(usize, &'static str)]) -> serde_json::Result<Result<Value>> {
    let mut document = Document {
        literals: Literals {
            text,
            at: 0,
            seen: 0,
            objects: 0,
            last: (0, 0, 0),
        },
        masked,
        numbers: 0,
        objects: 0,
        violations: Violations::default(),
    };
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = Node {
        document: &mut document,
        path: &Path::Root(""),
    }
    .deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(document.violations.finish().map(|()| value))
}

/// The same text with each number beyond `f64` replaced by `0` and blanks, so that lines and columns stay; and which numbers
/// those are, counted from 0 in the order of the text, each with the rule it breaks.
fn mask(text: &[u8]) -> (Vec<u8>, Vec<(usize, &'static str)>) {
    let mut masked = Vec::new();
    let mut copy = text.to_vec();
    let mut literals = Literals {
        text,
        at: 0,
        seen: 0,
        objects: 0,
        last: (0, 0, 0),
    };
    while literals.advance() {
        let (start, end, _) = literals.last;
        let literal = literals.literal();
        if literal.parse::<f64>().is_ok_and(|number| !number.is_finite()) {
            masked.push((
                literals.seen - 1,
                if is_integer(literal) {
                    WIDE_INTEGER
                } else {
                    NOT_FINITE
                },
            ));
            if let Some(place) = copy.get_mut(start..end) {
                place.fill(b' ');
                place[0] = b'0';
            }
        }
    }
    (copy, masked)
}

fn is_integer(literal: &str) -> bool {
    !literal.contains(['.', 'e', 'E'])
}

/// The number literals of a JSON text, in order. Goes over the text once, however often it is asked.
struct Literals<'t> {
    text: &'t [u8],
    at: usize,
    /// How many literals were found so far.
    seen: usize,
    /// How many objects were opened so far.
    objects: usize,
    /// Start and end of the last literal found, and how many objects were opened before it.
    last: (usize, usize, usize),
}

impl<'t> Literals<'t> {
    fn advance(&mut self) -> bool {
        while let Some(&byte) = self.text.get(self.at) {
            let start = self.at;
            self.at += 1;
            match byte {
                b'"' => self.skip_string(),
                b'{' => self.objects += 1,
                b'-' | b'0'..=b'9' => {
                    while let Some(b'+' | b'-' | b'.' | b'e' | b'E' | b'0'..=b'9') = self.text.get(self.at) {
                        self.at += 1;
                    }
                    self.seen += 1;
                    self.last = (start, self.at, self.objects);
                    return true;
                }
                _ => {}
            }
        }
        false
    }

    fn skip_string(&mut self) {
        while let Some(&byte) = self.text.get(self.at) {
            self.at += if byte == b'\\' { 2 } else { 1 };
            if byte == b'"' {
                return;
            }
        }
    }

    /// The text of the last literal found.
    fn literal(&self) -> &'t str {
        let bytes = self.text.get(self.last.0..self.last.1).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    /// Goes on to the literal with this number, from 0; numbers never go down from call to call.
    fn seek(&mut self, number: usize) -> bool {
        while self.seen <= number {
            if !self.advance() {
                return false;
            }
        }
        true
    }
}

/// The way from the root to a value, as a list on the stack: a pointer is only written when something is wrong.
#[derive(Clone, Copy)]
enum Path<'a> {
    Root(&'a str),
    Member(&'a Path<'a>, &'a str),
    Element(&'a Path<'a>, usize),
}

impl Path<'_> {
    fn pointer(&self) -> String {
        let mut steps = Vec::new();
        let mut step = self;
        let mut pointer = loop {
            match step {
                Path::Root(pointer) => break (*pointer).to_owned(),
                Path::Member(parent, _) | Path::Element(parent, _) => {
                    steps.push(step);
                    step = parent;
                }
            }
        };
        for step in steps.into_iter().rev() {
            match step {
                Path::Root(_) => {}
                Path::Member(_, name) => push_token(&mut pointer, name),
                Path::Element(_, index) => push_token(&mut pointer, &index.to_string()),
            }
        }
        pointer
    }
}

/// What is known of the document while it is read.
struct Document<'t> {
    literals: Literals<'t>,
    masked: &'t [(usize, &'static str)],
    /// How many numbers and how many objects were visited so far.
    numbers: usize,
    objects: usize,
    violations: Violations,
}

impl Document<'_> {
    fn report(&mut self, path: &Path<'_>, message: &'static str) {
        self.violations.note(|| Violation::new(path.pointer(), message));
    }

    /// Counts a number; whether it stands for one that was masked, which it reports.
    fn number(&mut self, path: &Path<'_>) -> bool {
        let number = self.numbers;
        self.numbers += 1;
        match self.masked.binary_search_by_key(&number, |(masked, _)| *masked) {
            Ok(found) => {
                let message = self.masked[found].1;
                self.report(path, message);
                true
            }
            Err(_) => false,
        }
    }

    fn float(&mut self, path: &Path<'_>, float: f64) -> Value {
        let number = self.numbers;
        if self.number(path) {
            return Value::Null;
        }
        // From 2^63 on it may have been written as an integer.
        let integer =
            float.abs() >= 2f64.powi(63) && self.literals.seek(number) && is_integer(self.literals.literal());
        match Number::from_f64(float) {
            Some(_) if integer => self.report(path, WIDE_INTEGER),
            Some(number) => return Value::Number(number),
            None => self.report(path, NOT_FINITE),
        }
        Value::Null
    }

    /// A number that comes as text, under serde_json's `arbitrary_precision`: the same value as without that feature.
    fn literal(&mut self, path: &Path<'_>, literal: &str) -> Value {
        if self.number(path) {
            return Value::Null;
        }
        let exact = literal
            .parse::<u64>()
            .map(Number::from)
            .or_else(|_| literal.parse::<i64>().map(Number::from));
        match (exact, literal.parse::<f64>().ok().and_then(Number::from_f64)) {
            (Ok(integer), _) if literal != "-0" => return Value::Number(integer),
            (Err(_), _) if is_integer(literal) => self.report(path, WIDE_INTEGER),
            (_, Some(float)) => return Value::Number(float),
            (_, None) => self.report(path, NOT_FINITE),
        }
        Value::Null
    }

    /// Whether what comes next in the text is a number and not an object.
    fn number_comes_next(&mut self) -> bool {
        self.literals.seek(self.numbers) && self.literals.last.2 == self.objects
    }
}

/// One value of the document, to be read.
struct Node<'a, 't> {
    document: &'a mut Document<'t>,
    path: &'a Path<'a>,
}

impl<'de> DeserializeSeed<'de> for Node<'_, '_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_, '_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(if self.document.number(self.path) {
            Value::Null
        } else {
            value.into()
        })
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(if self.document.number(self.path) {
            Value::Null
        } else {
            value.into()
        })
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(self.document.float(self.path, value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        loop {
            let path = Path::Element(self.path, items.len());
            match sequence.next_element_seed(Node {
                document: &mut *self.document,
                path: &path,
            })? {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut key: Option<String> = members.next_key()?;
        if key.as_deref() == Some(NUMBER_TEXT) && self.document.number_comes_next() {
            let literal: String = members.next_value()?;
            return Ok(self.document.literal(self.path, &literal));
        }
        self.document.objects += 1;
        let mut object = Map::new();
        while let Some(name) = key {
            let path = Path::Member(self.path, &name);
            if object.contains_key(&name) {
                self.document.report(&path, DUPLICATE);
            }
            let value = members.next_value_seed(Node {
                document: &mut *self.document,
                path: &path,
            })?;
            object.insert(name, value);
            key = members.next_key()?;
        }
        Ok(Value::Object(object))
    }
}

/// The rules of free JSON, for a value that may have been built in Rust: at most [`MAX_DEPTH`] levels, of which `object` is the
/// first, and numbers that are `i64`, `u64` or finite `f64`. Too deep is reported once, at the first place. O(size of `object`),
/// and never deeper on the stack than the bound.
pub(crate) fn check_free(object: &Map<String, Value>, pointer: &str, violations: &mut Violations) {
    let mut check = Check {
        violations,
        too_deep: false,
    };
    check.members(object, &Path::Root(pointer), 1);
}

struct Check<'a> {
    violations: &'a mut Violations,
    too_deep: bool,
}

impl Check<'_> {
    fn members(&mut self, object: &Map<String, Value>, path: &Path<'_>, level: usize) {
        for (name, value) in object {
            self.value(value, &Path::Member(path, name), level);
        }
    }

    /// `level`: of the object or list that holds `value`.
    fn value(&mut self, value: &Value, path: &Path<'_>, level: usize) {
        match value {
            Value::Array(_) | Value::Object(_) if level >= MAX_DEPTH => {
                if !self.too_deep {
                    self.too_deep = true;
                    let message = format!("free JSON must not nest deeper than {MAX_DEPTH} levels");
                    self.violations.note(|| Violation::new(path.pointer(), message));
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.value(item, &Path::Element(path, index), level + 1);
                }
            }
            Value::Object(object) => self.members(object, path, level + 1),
            Value::Number(number) => {
                if let Some(message) = broken_number(number) {
                    self.violations.note(|| Violation::new(path.pointer(), message));
                }
            }
            Value::Null | Value::Bool(_) | Value::String(_) => {}
        }
    }
}

/// The rule a number breaks; only possible under serde_json's `arbitrary_precision`.
fn broken_number(number: &Number) -> Option<&'static str> {
    if number.is_i64() || number.is_u64() || number.is_f64() {
        None
    } else if is_integer(&number.to_string()) {
        Some(WIDE_INTEGER)
    } else {
        Some(NOT_FINITE)
    }
}

#[cfg(test)]
mod tests;
