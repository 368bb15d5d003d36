//! Streamed creation: an answer for each line, and what the engine itself makes of that line.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use axum::http::header::CONTENT_TYPE;
use bytes::Bytes;
use futures_util::stream;
use serde_json::Value;
use shelfmark::{
    Catalog, DataAsset, DataSet, Entity, Error, NewDataAsset, NewDataStore, NewEntity, Options, Query, Read,
    Session, TypedId, Write,
};
use shelfmark_http::status_of;
use shelfmark_testkit::fuzz::{TENANT, sure, take};
use shelfmark_testkit::{MemoryBackend, TestEnvironment};

use crate::envelope;
use crate::facade::{BODY_LIMIT, Facade};
use crate::seeds::filled;

const MEDIA: &str = "application/x-ndjson";

/// The first byte chooses what is created, whether technical names are unique, and whether the body breaks off; the second the size of its pieces, as in
/// [`Body::from_stream`], all at once for zero. What follows is the body, where `{store}` and `{asset}` stand for parents.
pub fn ndjson(bytes: &[u8]) {
    let mut body = bytes;
    let [how, piece] = take(&mut body);
    let delivery = Delivery {
        piece: usize::from(piece),
        breaks_off: how & 4 != 0,
    };
    let unique = how & 2 != 0;
    match how & 1 {
        0 => compare::<DataSet>("/v1/data-sets", unique, delivery, body),
        _ => compare::<DataAsset>("/api/v1/data-assets", unique, delivery, body),
    }
}

/// How a body arrives.
#[derive(Clone, Copy)]
struct Delivery {
    /// Bytes of each piece; 0 is all of them.
    piece: usize,
    /// Whether it ends in an error.
    breaks_off: bool,
}

impl Delivery {
    fn body(self, text: &[u8]) -> Body {
        let size = if self.piece == 0 {
            text.len().max(1)
        } else {
            self.piece
        };
        let mut pieces: Vec<Result<Bytes, &str>> = text
            .chunks(size)
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        if self.breaks_off {
            pieces.push(Err("the connection is gone"));
        }
        Body::from_stream(stream::iter(pieces))
    }
}

/// What a line must be answered with.
enum Expected<I> {
    Created(I),
    Refused(Error),
    TooLong,
    BrokenOff,
}

/// Two of these are alike to the last id.
struct Twin {
    catalog: Catalog,
    session: Session,
    store: String,
    asset: String,
}

impl Twin {
    fn new(unique: bool) -> Self {
        let options = Options::new()
            .unique_technical_names(unique)
            .environment(TestEnvironment::new(1).environment());
        let catalog = sure(options.on_backend(Arc::new(MemoryBackend::new())));
        let session = sure(catalog.session(TENANT, "ann"));
        let store = sure(session.create(NewDataStore::new("warehouse", "postgres"))).id;
        let asset = sure(session.create(NewDataAsset::new(store, "sales", "qix-df"))).id;
        Self {
            catalog,
            session,
            store: store.to_string(),
            asset: asset.to_string(),
        }
    }

    fn apply<E: Entity>(&self, line: &[u8]) -> Expected<E::Id> {
        if line.len() > BODY_LIMIT {
            return Expected::TooLong;
        }
        let created = E::New::from_json(line).and_then(|new| self.session.create(new));
        match created {
            Ok(entity) => Expected::Created(entity.id()),
            Err(error) => Expected::Refused(error),
        }
    }

    fn everything<E: Entity>(&self) -> Vec<Value> {
        let all = Query::<E>::new().with_schemas();
        let stream = sure(self.session.stream(&all));
        stream
            .map(|entity| nameless(sure(serde_json::to_value(sure(entity)))))
            .collect()
    }
}

/// Without the id, which depends on how many were drawn before.
fn nameless(mut entity: Value) -> Value {
    entity["id"] = Value::Null;
    entity
}

fn compare<E: Entity>(collection: &str, unique: bool, delivery: Delivery, text: &[u8]) {
    let (served, alone) = (Twin::new(unique), Twin::new(unique));
    let text = filled(text, &[("{store}", &served.store), ("{asset}", &served.asset)]);
    let mut lines: Vec<&[u8]> = text.split(|&byte| byte == b'\n').collect();
    if delivery.breaks_off {
        // Never ended, so it may not be all of the line.
        lines.pop();
    }
    let mut expected: Vec<Expected<E::Id>> = (lines.into_iter())
        .filter(|line| line.len() > BODY_LIMIT || !line.trim_ascii().is_empty())
        .map(|line| alone.apply::<E>(line))
        .collect();
    if delivery.breaks_off {
        expected.push(Expected::BrokenOff);
    }
    let request = Request::post(collection)
        .header(CONTENT_TYPE, MEDIA)
        .body(delivery.body(&text));
    let reply = Facade::new(served.catalog.clone()).send(sure(request));
    assert!(reply.status == 200 && reply.is(MEDIA), "{reply:?}");
    let answers: Vec<Value> = (reply.body.split_inclusive(|&byte| byte == b'\n'))
        .map(|answer| sure(serde_json::from_slice(answer)))
        .collect();
    assert_eq!(answers.len(), expected.len(), "answers to lines: {reply:?}");
    for (number, (answer, expected)) in answers.iter().zip(&expected).enumerate() {
        assert_eq!(answer["line"], number, "{answer}");
        judge::<E>(&served.session, &alone.session, answer, expected);
    }
    let (found, wanted) = (served.everything::<E>(), alone.everything::<E>());
    assert!(found == wanted, "stored {found:?} in place of {wanted:?}");
    let report = sure(served.catalog.check());
    assert!(report.is_clean(), "{:?}", report.findings);
}

fn judge<E: Entity>(served: &Session, alone: &Session, answer: &Value, expected: &Expected<E::Id>) {
    let refused = |status: u16| {
        assert_eq!(answer["status"], status, "{answer}");
        assert!(answer.get("id").is_none(), "{answer}");
        envelope::entries(sure(status.try_into()), &answer["errors"])
    };
    match expected {
        Expected::Created(id) => {
            assert_eq!(
                (&answer["status"], &answer["version"]),
                (&201.into(), &0.into()),
                "{answer}"
            );
            let told = answer["id"].as_str().unwrap_or_default();
            let found = sure(served.get(E::Id::from_uuid(sure(told.parse()))));
            let wanted = sure(alone.get(*id));
            let shown = |entity: Option<E>| nameless(sure(serde_json::to_value(entity)));
            assert_eq!(shown(found), shown(wanted), "{answer}");
        }
        Expected::Refused(error) => {
            let entries = refused(status_of(error.kind()).as_u16());
            for (code, _) in &entries {
                assert_eq!(*code, error.kind().code(), "{answer}");
            }
            let details: Vec<&str> = entries.iter().map(|(_, detail)| *detail).collect();
            let violations: Vec<String> = error.violations().iter().map(ToString::to_string).collect();
            if !violations.is_empty() {
                assert_eq!(details, violations, "{answer}");
            }
        }
        Expected::TooLong => assert_eq!(refused(413)[0].0, "BODY_TOO_LARGE"),
        Expected::BrokenOff => assert_eq!(refused(400)[0].0, "INVALID"),
    }
}
