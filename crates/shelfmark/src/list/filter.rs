//! Which of the selected entities a list shows.

use crate::entity::Head;
use crate::keyspace::IndexOrder;
use crate::sortkey::fold;
use crate::time::Timestamp;

/// Conditions that an entity must meet, all of them.
///
/// The name prefix and the modification time are served by indexes, the prefix where both are given; the others are looked at in the records of
/// what is selected. With a sort that another index serves, see [`Sort`](crate::Sort).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    pub(crate) name_prefix: Option<String>,
    pub(crate) type_name: Option<String>,
    pub(crate) tag: Option<String>,
    pub(crate) owner_id: Option<String>,
    pub(crate) space_id: Option<String>,
    pub(crate) modified_since: Option<Timestamp>,
}

impl Filter {
    /// No condition.
    pub fn new() -> Self {
        Self::default()
    }

    /// The name begins with this, compared case-folded.
    #[must_use]
    pub fn name_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.name_prefix = Some(prefix.into());
        self
    }

    /// The `type` of a store or a set, the `appType` of an asset, is exactly this.
    #[must_use]
    pub fn type_name(mut self, type_name: impl Into<String>) -> Self {
        self.type_name = Some(type_name.into());
        self
    }

    /// One of the tags is exactly this.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tag = Some(tag.into());
        self
    }

    /// The owner is exactly this.
    #[must_use]
    pub fn owner_id(mut self, owner: impl Into<String>) -> Self {
        self.owner_id = Some(owner.into());
        self
    }

    /// The space is exactly this.
    #[must_use]
    pub fn space_id(mut self, space: impl Into<String>) -> Self {
        self.space_id = Some(space.into());
        self
    }

    /// Modified at this time or later. A creation tells the time at which it was asked for, and may be committed a little later, behind others or at the end
    /// of its chunk: who polls by this should let the periods overlap.
    #[must_use]
    pub fn modified_since(mut self, since: Timestamp) -> Self {
        self.modified_since = Some(since);
        self
    }

    /// The index whose range holds exactly what one of the conditions lets through.
    pub(super) fn served_by(&self) -> Option<IndexOrder> {
        match self {
            Filter {
                name_prefix: Some(_), ..
            } => Some(IndexOrder::Name),
            Filter {
                modified_since: Some(_),
                ..
            } => Some(IndexOrder::Modified),
            _ => None,
        }
    }

    /// Whether a name is asked for, but any will do: then the index by name narrows nothing.
    pub(super) fn has_empty_prefix(&self) -> bool {
        self.name_prefix.as_deref() == Some("")
    }

    /// The conditions that are left to be looked at in records when an index serves one.
    pub(super) fn residual(&self) -> Filter {
        let mut residual = self.clone();
        match self.served_by() {
            // An index key may cut a long name: then the record decides.
            Some(IndexOrder::Name) if !prefix_may_be_cut(self) => residual.name_prefix = None,
            Some(IndexOrder::Modified) => residual.modified_since = None,
            _ => {}
        }
        residual
    }

    /// Whether any condition is set.
    pub(super) fn is_empty(&self) -> bool {
        *self == Filter::default()
    }

    /// Whether a record meets every condition.
    pub(super) fn admits<'a>(&self, head: &impl Head<'a>) -> bool {
        let Filter {
            name_prefix,
            type_name,
            tag,
            owner_id,
            space_id,
            modified_since,
        } = self;
        name_prefix.as_deref().is_none_or(|prefix| {
            head.name()
                .is_some_and(|name| fold(name).starts_with(fold(prefix).as_ref()))
        }) && type_name
            .as_deref()
            .is_none_or(|type_name| head.type_name() == Some(type_name))
            && tag.as_deref().is_none_or(|tag| head.has_tag(tag))
            && owner_id
                .as_deref()
                .is_none_or(|owner| head.stamps().owner_id() == owner)
            && space_id
                .as_deref()
                .is_none_or(|space| head.space_id() == Some(space))
            && modified_since.is_none_or(|since| head.stamps().last_modified_time() >= since)
    }

    /// Bytes that two filters share only if they are the same.
    pub(super) fn fingerprint(&self, bytes: &mut Vec<u8>) {
        let Filter {
            name_prefix,
            type_name,
            tag,
            owner_id,
            space_id,
            modified_since,
        } = self;
        for text in [name_prefix, type_name, tag, owner_id, space_id] {
            super::cursor::append_text(bytes, text.as_deref());
        }
        super::cursor::append_text(bytes, modified_since.map(|since| since.to_string()).as_deref());
    }
}

fn prefix_may_be_cut(filter: &Filter) -> bool {
    filter
        .name_prefix
        .as_deref()
        .is_some_and(|prefix| fold(prefix).len() > crate::sortkey::FOLDED_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Catalog, DataStore, NewDataStore, Query, Read as _, Write as _};

    #[test]
    fn an_empty_name_prefix_lets_every_name_through_and_nothing_without_one() {
        let session = Catalog::in_memory().unwrap().session("acme", "ann").unwrap();
        session.create(NewDataStore::new("nameless", "postgres")).unwrap();
        for name in ["", "\u{10FFFF}"] {
            let new = NewDataStore {
                name: Some(name.to_owned()),
                ..NewDataStore::new("named", "postgres")
            };
            session.create(new).unwrap();
        }
        for sort in ["", "name", "-technicalName"] {
            let query = Query::<DataStore>::new()
                .filter(Filter::new().name_prefix(""))
                .sort(sort);
            let page = session.list(&query).unwrap();
            assert_eq!(page.total, Some(2));
            assert!(
                page.items.iter().all(|store| store.technical_name == "named"),
                "{sort}"
            );
        }
    }
}
