//! `If-Match`, and what it and a body's version come to.

use axum::http::HeaderMap;
use axum::http::header::IF_MATCH;
use shelfmark::{Error, ErrorKind, Expectation};

use crate::error::Failure;
use crate::etag;

/// How often a write starts again when the version moves from one member of an `If-Match` list to another.
const ATTEMPTS: usize = 100;

/// What `If-Match` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Precondition {
    /// The header was not sent.
    Absent,
    /// `*`: any version.
    Exists,
    /// One of these versions.
    OneOf(Vec<u64>),
}

impl Precondition {
    /// Reads the header. Only the version of each tag counts: names of ancestors do not stand in the way of a change.
    pub(crate) fn parse(headers: &HeaderMap) -> Result<Self, Failure> {
        let Some(list) = etag::joined(headers, &IF_MATCH)? else {
            return Ok(Precondition::Absent);
        };
        if list.trim() == "*" {
            return Ok(Precondition::Exists);
        }
        let malformed = || {
            Failure::invalid(
                "the header If-Match must be * or a list of strong entity tags as ETag gives them",
            )
        };
        let members = etag::members(&list).ok_or_else(malformed)?;
        let versions: Option<Vec<u64>> = members.into_iter().map(version).collect();
        versions.map(Precondition::OneOf).ok_or_else(malformed)
    }

    /// That there is none, for requests that name several entities.
    pub(crate) fn refuse(&self) -> Result<(), Failure> {
        match self {
            Precondition::Absent => Ok(()),
            _ => Err(Failure::invalid(
                "the header If-Match goes with a DELETE of exactly one id only",
            )),
        }
    }

    /// Runs `write` with what the header and the body's version expect. The header comes first: where it does not match it is 412, then the body's version, 409.
    /// `current` reads the version of the entity.
    pub(crate) fn write<T>(
        &self,
        body: Option<u64>,
        current: impl Fn() -> Result<u64, Error>,
        mut write: impl FnMut(Expectation) -> Result<T, Error>,
    ) -> Result<T, Failure> {
        for _ in 0..ATTEMPTS {
            let expectation = match (self, body) {
                (Precondition::Absent | Precondition::Exists, Some(version)) => Expectation::Exactly(version),
                (Precondition::Absent | Precondition::Exists, None) => Expectation::Any,
                (Precondition::OneOf(versions), Some(version)) if versions.contains(&version) => {
                    Expectation::Exactly(version)
                }
                (Precondition::OneOf(versions), None) if versions.len() == 1 => {
                    Expectation::Exactly(versions[0])
                }
                (Precondition::OneOf(versions), body) => {
                    let found = current()?;
                    if !versions.contains(&found) {
                        return Err(mismatch(found));
                    }
                    // A body that expects another version than any of the header's gets its conflict from the catalog.
                    Expectation::Exactly(body.unwrap_or(found))
                }
            };
            let error = match write(expectation) {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            match (self, error.conflict()) {
                (Precondition::OneOf(versions), Some(conflict)) if !versions.contains(&conflict.found) => {
                    return Err(mismatch(conflict.found));
                }
                (Precondition::OneOf(_), Some(_)) if body.is_none() => {}
                _ => return Err(error.into()),
            }
        }
        Err(Error::new(
            ErrorKind::Contended,
            "others kept changing the entity: try again later",
        )
        .into())
    }
}

fn mismatch(found: u64) -> Failure {
    Failure::precondition(format!(
        "the entity is at version {found}, which If-Match does not name: read it again and redo the change"
    ))
}

/// The version in a strong tag.
fn version(tag: &str) -> Option<u64> {
    let inner = tag.strip_prefix('"')?.strip_suffix('"')?;
    let digits = inner.split_once('.').map_or(inner, |(version, _)| version);
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use shelfmark::{Catalog, NewDataStore, Read as _, Write as _};

    fn parse(values: &[&'static str]) -> Result<Precondition, Failure> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IF_MATCH, value.parse().unwrap());
        }
        Precondition::parse(&headers)
    }

    #[test]
    fn if_match_is_a_star_or_a_list_of_strong_tags() {
        assert_eq!(parse(&[]).unwrap(), Precondition::Absent);
        assert_eq!(parse(&[" * "]).unwrap(), Precondition::Exists);
        assert_eq!(
            parse(&["\"1\", \"2.0af3\"", "\"3\""]).unwrap(),
            Precondition::OneOf(vec![1, 2, 3])
        );
        for malformed in [
            "",
            "1",
            "W/\"1\"",
            "\"\"",
            "\"a\"",
            "\"+1\"",
            "\"1\" \"2\"",
            "*, \"1\"",
            "\"-1\"",
        ] {
            assert_eq!(parse(&[malformed]).unwrap_err().status, 400, "{malformed}");
        }
    }

    /// The entity is at version 2.
    #[test]
    fn the_header_comes_first_then_the_body() {
        let session = Catalog::in_memory().unwrap().session("acme", "ann").unwrap();
        let store = session
            .create(NewDataStore::new("warehouse", "postgres"))
            .unwrap();
        for name in ["a", "b"] {
            session
                .update(store.id, Expectation::Any, |store| store.name = Some(name.into()))
                .unwrap();
        }
        let of = |versions: &[u64]| Precondition::OneOf(versions.to_vec());
        for (precondition, body, status) in [
            (Precondition::Absent, None, 200),
            (Precondition::Absent, Some(2), 200),
            (Precondition::Absent, Some(1), 409),
            (Precondition::Exists, None, 200),
            (Precondition::Exists, Some(3), 409),
            (of(&[2]), None, 200),
            (of(&[2]), Some(2), 200),
            (of(&[2]), Some(1), 409),
            (of(&[1]), None, 412),
            (of(&[1]), Some(1), 412),
            (of(&[1]), Some(2), 412),
            (of(&[1, 2]), None, 200),
            (of(&[1, 2]), Some(2), 200),
            (of(&[1, 2]), Some(1), 409),
            (of(&[1, 2]), Some(7), 409),
            (of(&[1, 3]), None, 412),
            (of(&[1, 3]), Some(3), 412),
            (of(&[1, 3]), Some(2), 412),
        ] {
            let outcome = precondition.write(
                body,
                || Ok(session.get(store.id)?.unwrap().version),
                // Changes nothing, so the version stays.
                |expectation| session.update(store.id, expectation, |_| {}),
            );
            let got = outcome.map_or_else(|failure| failure.status.as_u16(), |_| 200);
            assert_eq!(got, status, "{precondition:?} {body:?}");
        }
    }
}
