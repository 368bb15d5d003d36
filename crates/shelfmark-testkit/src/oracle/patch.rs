//! JSON Patch, as RFC 6902 has it and the contract narrows it.

use serde_json::Value;
use shelfmark::{EntityKind, ErrorKind};

use super::fields::{is_index, is_patchable};
use crate::operation::{PatchStep, PatchValue};
use crate::outcome::Failure;

fn tokens(pointer: &str) -> Vec<String> {
    pointer
        .split('/')
        .skip(1)
        .map(|token| token.replace("~1", "/").replace("~0", "~"))
        .collect()
}

fn json(value: &PatchValue) -> Value {
    match value {
        PatchValue::Json(value) => value.clone(),
        PatchValue::Id(_, crate::operation::Ref::Exact(id)) => Value::String(id.to_string()),
        PatchValue::Version | PatchValue::Id(..) => Value::Null,
    }
}

/// The document after the patch.
pub(super) fn apply(kind: EntityKind, mut document: Value, patch: &[PatchStep]) -> Result<Value, Failure> {
    let unknown = unknown_paths(kind, patch);
    if !unknown.is_empty() {
        return Err(Failure::invalid(unknown));
    }
    for (index, step) in patch.iter().enumerate() {
        run(&mut document, step).map_err(|member| match member {
            Some(member) => Failure::invalid([format!("/{index}/{member}")]),
            None => Failure::new(ErrorKind::PatchTestFailed),
        })?;
    }
    Ok(document)
}

fn unknown_paths(kind: EntityKind, patch: &[PatchStep]) -> Vec<String> {
    let mut unknown = Vec::new();
    for (index, step) in patch.iter().enumerate() {
        let (from, path) = match step {
            PatchStep::Add(path, _)
            | PatchStep::Remove(path)
            | PatchStep::Replace(path, _)
            | PatchStep::Test(path, _) => (None, path),
            PatchStep::Move(from, path) | PatchStep::Copy(from, path) => (Some(from), path),
        };
        if from.is_some_and(|from| !is_patchable(kind, &tokens(from))) {
            unknown.push(format!("/{index}/from"));
        }
        if !is_patchable(kind, &tokens(path)) {
            unknown.push(format!("/{index}/path"));
        }
        if let PatchStep::Move(from, path) = step
            && path.starts_with(&format!("{from}/"))
        {
            unknown.push(format!("/{index}/path"));
        }
    }
    unknown
}

/// The error is the member of the operation that is to blame; `None` is a failed test.
fn run(document: &mut Value, step: &PatchStep) -> Result<(), Option<&'static str>> {
    match step {
        PatchStep::Add(path, value) => add(document, path, json(value)).ok_or(Some("path")),
        PatchStep::Remove(path) => take(document, path).map(drop).ok_or(Some("path")),
        PatchStep::Replace(path, value) => {
            *find(document, &tokens(path)).ok_or(Some("path"))? = json(value);
            Ok(())
        }
        PatchStep::Move(from, path) => {
            find(document, &tokens(from)).ok_or(Some("from"))?;
            if from != path {
                let moved = take(document, from).ok_or(Some("from"))?;
                add(document, path, moved).ok_or(Some("path"))?;
            }
            Ok(())
        }
        PatchStep::Copy(from, path) => {
            let copy = find(document, &tokens(from)).ok_or(Some("from"))?.clone();
            add(document, path, copy).ok_or(Some("path"))
        }
        PatchStep::Test(path, value) => {
            let equals = find(document, &tokens(path)).is_some_and(|found| equal(found, &json(value)));
            if equals {
                Ok(())
            } else if misindexed(document, &tokens(path)) {
                // Within free JSON only the document tells that a token should be an index.
                Err(Some("path"))
            } else {
                Err(None)
            }
        }
    }
}

fn misindexed(document: &mut Value, path: &[String]) -> bool {
    (0..path.len())
        .any(|at| matches!(find(document, &path[..at]), Some(Value::Array(_))) && !is_index(&path[at]))
}

fn find<'d>(document: &'d mut Value, path: &[String]) -> Option<&'d mut Value> {
    path.iter().try_fold(document, |at, token| match at {
        Value::Object(members) => members.get_mut(token),
        Value::Array(items) if is_index(token) => items.get_mut(token.parse::<usize>().ok()?),
        _ => None,
    })
}

fn add(document: &mut Value, path: &str, value: Value) -> Option<()> {
    let path = tokens(path);
    let (last, parent) = path.split_last()?;
    match find(document, parent)? {
        Value::Object(members) => {
            members.insert(last.clone(), value);
        }
        Value::Array(items) if last == "-" => items.push(value),
        Value::Array(items) if is_index(last) => {
            let index = last.parse::<usize>().ok().filter(|&index| index <= items.len())?;
            items.insert(index, value);
        }
        _ => return None,
    }
    Some(())
}

fn take(document: &mut Value, path: &str) -> Option<Value> {
    let path = tokens(path);
    let (last, parent) = path.split_last()?;
    match find(document, parent)? {
        Value::Object(members) => members.shift_remove(last),
        Value::Array(items) if is_index(last) => {
            let index = last.parse::<usize>().ok().filter(|&index| index < items.len())?;
            Some(items.remove(index))
        }
        _ => None,
    }
}

/// Numbers by value.
fn equal(one: &Value, two: &Value) -> bool {
    match (one, two) {
        (Value::Number(one), Value::Number(two)) => one == two || one.as_f64() == two.as_f64(),
        (Value::Array(one), Value::Array(two)) => {
            one.len() == two.len() && one.iter().zip(two).all(|(one, two)| equal(one, two))
        }
        (Value::Object(one), Value::Object(two)) => {
            one.len() == two.len()
                && one
                    .iter()
                    .all(|(name, value)| two.get(name).is_some_and(|other| equal(value, other)))
        }
        _ => one == two,
    }
}
