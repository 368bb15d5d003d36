//! What every refusal must look like.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use axum::http::StatusCode;
use serde_json::Value;

use crate::facade::Reply;

/// The codes that the documentation lists.
fn codes() -> &'static BTreeSet<&'static str> {
    static CODES: OnceLock<BTreeSet<&'static str>> = OnceLock::new();
    CODES.get_or_init(|| {
        let (_, rest) = include_str!("../../../docs/http.md")
            .split_once("\n| code |")
            .unwrap_or_default();
        let table = rest.lines().skip(2).take_while(|line| line.starts_with("| "));
        table
            .filter_map(|row| row.split('|').nth(1))
            .flat_map(|cell| cell.split(','))
            .map(|code| code.trim().trim_matches('`'))
            .collect()
    })
}

/// Checks the list of errors of a refusal with this status, and gives their codes and details.
#[track_caller]
pub(crate) fn entries(status: StatusCode, errors: &Value) -> Vec<(&str, &str)> {
    let Some(list) = errors.as_array().filter(|list| !list.is_empty()) else {
        panic!("{status} without a list of errors: {errors}");
    };
    // Each operation of a batch fails for a reason of its own; the first decides.
    assert_eq!(list[0]["status"], status.as_str(), "{errors}");
    list.iter()
        .map(|entry| {
            let members: Vec<&String> = entry
                .as_object()
                .into_iter()
                .flat_map(|entry| entry.keys())
                .collect();
            assert_eq!(members, ["code", "title", "detail", "status"], "{errors}");
            let text = |member: &str| entry[member].as_str().unwrap_or_default();
            for member in members {
                assert!(!text(member).is_empty(), "{member} of {errors}");
            }
            let own = text("status").parse::<u16>();
            assert!(own.is_ok_and(|own| (400..500).contains(&own)), "{errors}");
            assert!(
                codes().contains(text("code")),
                "{} is not documented",
                text("code")
            );
            (text("code"), text("detail"))
        })
        .collect()
}

/// Checks a refusal: the caller's fault, told in the envelope, under the caller's trace id where there is one.
#[track_caller]
pub(crate) fn check(reply: &Reply, sent: Option<&str>) {
    assert!(reply.status.is_client_error(), "{reply:?}");
    assert!(reply.is("application/json"), "{reply:?}");
    let envelope = reply.json();
    let members: Vec<&String> = envelope
        .as_object()
        .into_iter()
        .flat_map(|all| all.keys())
        .collect();
    assert_eq!(members, ["errors", "traceId"], "{reply:?}");
    entries(reply.status, &envelope["errors"]);
    let id = envelope["traceId"].as_str().unwrap_or_default();
    let lower = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    assert!(id.len() == 32 && id.bytes().all(lower), "{reply:?}");
    if let Some(sent) = sent {
        assert_eq!(id, sent, "{reply:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_those_of_the_documentation() {
        for code in [
            "INVALID",
            "IDEMPOTENCY_KEY_REUSED",
            "CHANGES_REWOUND",
            "INTERNAL",
            "CONTENDED",
        ] {
            assert!(codes().contains(code), "{code}: {:?}", codes());
        }
        assert!(codes().len() > 30, "{:?}", codes());
    }
}
