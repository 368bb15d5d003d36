//! What was dropped, in the form that the oracle gives.

use serde_json::{Value, json};
use shelfmark::{Dropped, DroppedPosition, DroppedQuery, EntityKind, Read};

use crate::execute::{Answer, Executor};

impl Executor<'_> {
    pub(crate) fn dropped(&self, dropped: &Dropped) -> Value {
        self.shown(&json!({
            "kind": dropped.id.kind(),
            "id": dropped.id.uuid().to_string(),
            "name": dropped.name,
            "technicalName": dropped.technical_name,
            "store": dropped.store,
            "asset": dropped.asset,
            "version": dropped.version,
            "droppedAt": dropped.dropped_at,
            "droppedBy": dropped.dropped_by,
            "descendants": dropped.descendants,
            "expiresAt": dropped.expires_at,
        }))
    }

    /// Every page, going on from the text of each position.
    pub(crate) fn list_dropped<R: Read>(&self, from: &R, kind: Option<EntityKind>, limit: usize) -> Answer {
        let mut query = DroppedQuery::new().limit(limit);
        if let Some(kind) = kind {
            query = query.kind(kind);
        }
        let mut pages = Vec::new();
        loop {
            let page = from.list_dropped(&query).map_err(|error| self.failure(&error))?;
            pages.push(page.items.iter().map(|dropped| self.dropped(dropped)).collect());
            let Some(next) = page.next else { break };
            let next = next.to_string().parse::<DroppedPosition>();
            query = query.after(next.map_err(|error| self.failure(&error))?);
        }
        Ok(Value::Array(pages))
    }
}
