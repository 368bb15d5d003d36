//! JSON documents, read so that nothing is lost silently.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::error::{ImportError, ImportErrorKind, Place};

/// The most JSON values in one document: memory stays below a gigabyte whatever 64 MiB of text hold.
const MAX_VALUES: usize = 1_000_000;

/// The key under which serde_json hands over a number's text when a crate of the same build has switched its `arbitrary_precision` on.
const NUMBER_TEXT: &str = "$serde_json::private::Number";

/// The value of a document that begins in this line of its file.
pub(crate) fn parse(text: &[u8], line: u64) -> Result<Value, ImportError> {
    let left = Cell::new(MAX_VALUES);
    read(text, &left).map_err(|error| {
        if left.get() == 0 {
            let message = format!("has more than {MAX_VALUES} JSON values: split the package");
            return ImportError::new(ImportErrorKind::TooLarge, message);
        }
        let place = Place {
            line: Some(line + (error.line() as u64).saturating_sub(1)),
            ..Place::default()
        };
        let what = error.to_string();
        // serde_json counts lines from the beginning of the text.
        let what = what.rsplit_once(" at line ").map_or(&*what, |(what, _)| what);
        let message = format!("cannot be read as JSON: {what} at column {}", error.column());
        ImportError::new(ImportErrorKind::Malformed, message)
            .at(place)
            .because(error)
    })
}

/// Whether a text ends before its JSON does.
pub(crate) fn is_unfinished(text: &[u8]) -> bool {
    read(text, &Cell::new(MAX_VALUES)).is_err_and(|error| error.is_eof())
}

fn read(text: &[u8], left: &Cell<usize>) -> serde_json::Result<Value> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = Node { left }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

#[derive(Clone, Copy)]
struct Node<'a> {
    left: &'a Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let Some(left) = self.left.get().checked_sub(1) else {
            return Err(D::Error::custom("too many values"));
        };
        self.left.set(left);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = access.next_element_seed(self)? {
            elements.push(element);
        }
        Ok(Value::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            if name == NUMBER_TEXT && members.is_empty() {
                return number(&access.next_value::<String>()?);
            }
            if members.contains_key(&name) {
                return Err(A::Error::custom(format_args!("the key {name:?} occurs twice")));
            }
            members.insert(name, access.next_value_seed(self)?);
        }
        Ok(Value::Object(members))
    }
}

/// The number as it is without `arbitrary_precision`.
fn number<E: serde::de::Error>(text: &str) -> Result<Value, E> {
    if let Ok(integer) = text.parse::<i64>() {
        return Ok(integer.into());
    }
    if let Ok(integer) = text.parse::<u64>() {
        return Ok(integer.into());
    }
    let float = text.parse().ok().and_then(Number::from_f64);
    float
        .map(Value::Number)
        .ok_or_else(|| E::custom("number out of range"))
}
