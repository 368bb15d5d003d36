//! The change feed: every record readable, every feed without gaps.

use super::{FindingKind, Row, Walk};
use crate::backend::Keyspace;
use crate::engine::follow;
use crate::error::Result;
use crate::format;
use crate::keyspace::{TenantNumber, keys};

impl Walk<'_> {
    pub(super) fn changes(&mut self) -> Result<()> {
        let space = Keyspace::Change;
        // What of it is unreadable has been found with the other rows about the catalog.
        let kept = format::has_change_feed(self.snapshot);
        if kept == Some((true, false)) {
            let detail = "no feed id where a change feed is kept".to_owned();
            self.find(
                Keyspace::Meta,
                keys::META_FEED_ID,
                FindingKind::Unreadable,
                detail,
                None,
            );
        }
        let before = self.rows;
        let mut last: Option<(TenantNumber, u64)> = None;
        self.each_chunk(space, |walk, rows| {
            walk.changes_are_found_by_their_keys(&rows)?;
            for (key, value) in rows {
                let (Some(tenant), Some(sequence)) = (keys::tenant_of(&key), keys::sequence_of(&key)) else {
                    let detail = "not a key of a change".to_owned();
                    walk.find(space, &key, FindingKind::Unreadable, detail, None);
                    continue;
                };
                walk.tenant_is_known(space, &key, tenant);
                if kept.is_some_and(|(on, _)| !on) {
                    let detail = "a change where no feed is kept".to_owned();
                    walk.find(space, &key, FindingKind::Insane, detail, None);
                }
                if let Some((before, newest)) = last
                    && before == tenant
                    && sequence != newest + 1
                {
                    let detail = format!(
                        "the feed of tenant number {} goes on here after {newest}",
                        tenant.0
                    );
                    walk.find(space, &key, FindingKind::MissingChange, detail, None);
                }
                last = Some((tenant, sequence));
                let read = follow::read(&key, &value, 0).map(drop);
                walk.readable(space, &key, read)?;
            }
            Ok(())
        })?;
        // The oldest ones may go, and of the newest nothing else tells that they were there.
        let found = self.rows - before;
        let noted = self.snapshot.noted_len(space);
        let noted = self.readable(space, &[], noted)?;
        if let Some(noted) = noted.flatten()
            && noted != found
        {
            let detail = format!("{found} changes are found, where the backend has noted {noted}");
            self.find(space, &[], FindingKind::MissingChange, detail, None);
        }
        Ok(())
    }

    /// Whoever follows a feed looks for a position. Where the way to it is damaged, changes are passed over that a walk over all of them meets.
    fn changes_are_found_by_their_keys(&mut self, rows: &[Row]) -> Result<()> {
        let space = Keyspace::Change;
        for (key, _) in rows {
            // One by one: many at once are walked to from each other.
            let found = self.snapshot.get(space, key, &mut |_| {});
            if self.readable(space, key, found)? == Some(false) {
                let detail = "a change that is not found by its key".to_owned();
                self.find(space, key, FindingKind::MissingChange, detail, None);
            }
        }
        Ok(())
    }
}
