//! Answers to requests with an idempotency key, and their order by expiry.

use super::{Fix, Walk};
use crate::backend::Keyspace;
use crate::care::FindingKind;
use crate::engine::idempotency::decode_record;
use crate::error::Result;
use crate::index::IndexEntry;
use crate::keyspace::keys;
use crate::time::Timestamp;

impl Walk<'_> {
    /// Every answer can be read, is that of its actor and key, and has its entry by expiry; every such entry is that of an answer.
    pub(super) fn requests(&mut self) -> Result<()> {
        let space = Keyspace::Request;
        self.each_chunk(space, |walk, rows| {
            for (key, value) in rows {
                let Some((tenant, _)) = walk.entity_key(space, &key) else {
                    continue;
                };
                let record = decode_record(&key, &value).and_then(|record| {
                    record.check(&key)?;
                    Ok(record)
                });
                let Some(record) = walk.readable(space, &key, record)? else {
                    continue;
                };
                let own = keys::request(tenant, &record.actor, &record.key);
                if own != *key {
                    let detail = "the answer to another actor or key".to_owned();
                    walk.find(space, &key, FindingKind::Unreadable, detail, None);
                    continue;
                }
                let expiry = Timestamp::from_millis_lossy(record.expiry);
                walk.request_entry(keys::request_by_expiry(&own, expiry))?;
            }
            Ok(())
        })?;
        self.each_chunk(Keyspace::RequestByExpiry, |walk, rows| {
            for (key, _) in rows {
                walk.request_by_expiry(&key)?;
            }
            Ok(())
        })
    }

    fn request_entry(&mut self, key: Vec<u8>) -> Result<()> {
        let space = Keyspace::RequestByExpiry;
        let mut empty = false;
        if !self
            .snapshot
            .get(space, &key, &mut |value| empty = value.is_empty())?
        {
            let detail = "an answer that nothing would sweep".to_owned();
            let kind = FindingKind::MissingIndexEntry;
            self.find(space, &key.clone(), kind, detail, Some(fix(key)));
        } else if !empty {
            let detail = "a value where there is none".to_owned();
            let kind = FindingKind::StrayIndexEntry;
            self.find(space, &key.clone(), kind, detail, Some(fix(key)));
        }
        Ok(())
    }

    fn request_by_expiry(&mut self, entry: &[u8]) -> Result<()> {
        let space = Keyspace::RequestByExpiry;
        let mut stored = None;
        if let Some(request) = keys::request_of(entry) {
            self.snapshot.get(Keyspace::Request, &request, &mut |value| {
                stored = Some((request, value.to_vec()));
            })?;
        }
        let Some((request, value)) = stored else {
            let detail = "no answer belongs to it".to_owned();
            self.find(
                space,
                entry,
                FindingKind::StrayIndexEntry,
                detail,
                Some(Fix::Delete),
            );
            return Ok(());
        };
        // Of an answer that cannot be read, which is a finding of its own, nothing tells when it expires.
        if let Ok(record) = decode_record(&request, &value) {
            let expiry = Timestamp::from_millis_lossy(record.expiry);
            if keys::request_by_expiry(&request, expiry) != entry {
                let detail = format!("its answer expires {expiry}");
                self.find(
                    space,
                    entry,
                    FindingKind::StrayIndexEntry,
                    detail,
                    Some(Fix::Delete),
                );
            }
        }
        Ok(())
    }
}

fn fix(key: Vec<u8>) -> Fix {
    Fix::Put(IndexEntry {
        space: Keyspace::RequestByExpiry,
        key,
        value: Vec::new(),
    })
}
