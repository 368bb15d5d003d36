//! The one place that derives index entries and counter deltas. Operations never name an index.

use uuid::Uuid;

use crate::backend::{Keyspace, WriteBatch};
use crate::envelope;
use crate::error::{Error, Result};
use crate::ids::EntityKind;
use crate::keyspace::{IndexOrder, Parent, TenantNumber, bounds, entities, keys};
use crate::sortkey::FOLDED_BYTES;
use crate::time::Timestamp;

/// What the index entries of an entity are made of.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Indexed<'a> {
    pub kind: EntityKind,
    pub id: Uuid,
    /// `None` for stores.
    pub parent: Option<Uuid>,
    pub name: Option<&'a str>,
    pub technical_name: &'a str,
    pub last_modified_time: Timestamp,
    /// Of data sets.
    pub secure_qri: Option<&'a str>,
}

/// One row of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    pub(crate) space: Keyspace,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

impl Indexed<'_> {
    fn parent(&self, tenant: TenantNumber) -> Parent {
        Parent {
            tenant,
            id: self.parent,
        }
    }

    /// Every index entry, always in the same order and number for entities of one kind.
    pub(crate) fn entries(&self, tenant: TenantNumber) -> Vec<IndexEntry> {
        let mut entries = Vec::with_capacity(IndexOrder::ALL.len() + 1);
        self.each_entry(tenant, |space, key, value| {
            entries.push(IndexEntry {
                space,
                key: key.to_vec(),
                value: value.to_vec(),
            });
        });
        entries
    }

    /// Shows space, key and value of each of the [`Indexed::entries`].
    fn each_entry(&self, tenant: TenantNumber, mut show: impl FnMut(Keyspace, &[u8], &[u8])) {
        let parent = self.parent(tenant);
        let mut key = Vec::with_capacity(2 * FOLDED_BYTES / 8);
        for order in IndexOrder::ALL {
            let space = order.keyspace(self.kind);
            if space == entities(self.kind) {
                // The entities themselves lie in this order.
                continue;
            }
            let mut value = Vec::new();
            match order {
                IndexOrder::Creation => keys::by_creation(&mut key, parent, self.id),
                IndexOrder::Name => {
                    keys::by_text(&mut key, parent, self.name, self.id);
                    value = name_value(space, &key, self.name);
                }
                IndexOrder::TechnicalName => {
                    keys::by_text(&mut key, parent, Some(self.technical_name), self.id);
                }
                IndexOrder::Modified => keys::by_time(&mut key, parent, self.last_modified_time, self.id),
            }
            show(space, &key, &value);
        }
        if let Some(secure_qri) = self.secure_qri {
            let key = keys::by_secure_qri(tenant, secure_qri, self.id);
            show(Keyspace::SetBySecureQri, &key, &[]);
        }
    }

    /// Shows the counters that count this entity.
    fn each_counter(&self, tenant: TenantNumber, mut show: impl FnMut(Keyspace, &[u8])) {
        let (space, prefix) = total_counter(tenant, self.kind);
        show(space, &prefix);
        if self.parent.is_some() {
            let (space, prefix) = children_counter(self.parent(tenant), self.kind);
            show(space, &prefix);
        }
    }
}

/// Counts the entities of `kind` in a tenant.
pub(crate) fn total_counter(tenant: TenantNumber, kind: EntityKind) -> (Keyspace, Vec<u8>) {
    (entities(kind), keys::parent(Parent { tenant, id: None }))
}

/// Counts the children of `kind` of one parent.
pub(crate) fn children_counter(parent: Parent, kind: EntityKind) -> (Keyspace, Vec<u8>) {
    (IndexOrder::Creation.keyspace(kind), keys::parent(parent))
}

/// The counters that count a row with this key.
pub(crate) fn counters_of_row(space: Keyspace, key: &[u8]) -> Vec<(Keyspace, Vec<u8>)> {
    let Some(tenant) = keys::tenant_of(key) else {
        return Vec::new();
    };
    let mut counters = Vec::new();
    for kind in EntityKind::ALL {
        if space == entities(kind) {
            counters.push(total_counter(tenant, kind));
        } else if space == IndexOrder::Creation.keyspace(kind) {
            let parent = keys::parent_of(key).map(|id| Parent { tenant, id: Some(id) });
            counters.extend(parent.map(|parent| children_counter(parent, kind)));
        }
    }
    counters
}

/// Stages the index entries and counters for a change from `old` to `new`; `None` is an entity that is not there.
pub(crate) fn stage(
    batch: &mut WriteBatch,
    tenant: TenantNumber,
    old: Option<&Indexed<'_>>,
    new: Option<&Indexed<'_>>,
) {
    match (old, new) {
        (Some(old), Some(new)) => {
            let before = old.entries(tenant);
            let after = new.entries(tenant);
            for entry in &before {
                if !after
                    .iter()
                    .any(|kept| kept.space == entry.space && kept.key == entry.key)
                {
                    batch.delete(entry.space, &entry.key);
                }
            }
            for entry in &after {
                if !before.contains(entry) {
                    batch.put(entry.space, &entry.key, &entry.value);
                }
            }
        }
        (None, Some(new)) => {
            new.each_entry(tenant, |space, key, value| batch.put(space, key, value));
            new.each_counter(tenant, |space, prefix| batch.count(space, prefix, 1));
        }
        (Some(old), None) => {
            old.each_entry(tenant, |space, key, _| batch.delete(space, key));
            old.each_counter(tenant, |space, prefix| batch.count(space, prefix, -1));
        }
        (None, None) => {}
    }
}

/// Stages the removal of all children of one parent from its indexes and the counters, as `stage` would one by one. What is indexed
/// apart from the parent goes by `stage_gone_apart`.
pub(crate) fn stage_all_children_gone(
    batch: &mut WriteBatch,
    parent: Parent,
    kind: EntityKind,
    children: u64,
) {
    for order in IndexOrder::ALL {
        batch.delete_range(order.keyspace(kind), bounds::children(parent));
    }
    let delta = i64::try_from(children).unwrap_or(i64::MAX);
    for (space, prefix) in [total_counter(parent.tenant, kind), children_counter(parent, kind)] {
        batch.count(space, prefix, -delta);
    }
}

/// Stages the removal of a set's entry that does not lie under its parent, by its key.
pub(crate) fn stage_gone_apart(batch: &mut WriteBatch, key: &[u8]) {
    batch.delete(Keyspace::SetBySecureQri, key);
}

/// What the value of a name's entry begins with: the name follows.
const WHOLE: u8 = 0;
/// Or bits follow, from the least significant on, that say which bytes of the folded name in the key are capitals; bytes without one at the end are left out.
const CAPITALS: u8 = 1;

/// The value of a name's index entry: what the key does not tell of the name as written. Nothing, where that is all.
fn name_value(space: Keyspace, key: &[u8], name: Option<&str>) -> Vec<u8> {
    let Some(name) = name else { return Vec::new() };
    let bytes = name.as_bytes();
    if !name.is_ascii() || bytes.len() > FOLDED_BYTES || bytes.iter().any(|byte| *byte <= 1) {
        return envelope::seal(space, key, &[&[WHOLE], bytes].concat());
    }
    // ASCII folds byte by byte.
    let Some(last) = bytes.iter().rposition(u8::is_ascii_uppercase) else {
        return Vec::new();
    };
    let mut body = [0; 1 + FOLDED_BYTES / 8];
    body[0] = CAPITALS;
    for (bits, letters) in body[1..].iter_mut().zip(bytes.chunks(8)) {
        for (position, letter) in letters.iter().enumerate() {
            *bits |= u8::from(letter.is_ascii_uppercase()) << position;
        }
    }
    envelope::seal(space, key, &body[..2 + last / 8])
}

/// Sets the letters that `bits` name in upper case; `None` where one is not there.
fn capitalize(folded: &[u8], bits: &[u8]) -> Option<Vec<u8>> {
    let mut name = folded.to_vec();
    for (at, &byte) in bits.iter().enumerate() {
        let mut left = byte;
        while left != 0 {
            let letter = name.get_mut(8 * at + left.trailing_zeros() as usize)?;
            letter.make_ascii_uppercase();
            left &= left - 1;
        }
    }
    Some(name)
}

/// The name as written from an entry of a name index, whose key has `parent` bytes before the text.
pub(crate) fn name_of_entry(
    space: Keyspace,
    key: &[u8],
    value: &[u8],
    parent: usize,
) -> Result<Option<String>> {
    let text = key
        .len()
        .checked_sub(keys::ID)
        .and_then(|end| key.get(parent..end))
        .unwrap_or_default();
    let wrong = || Error::corrupt(space, key, "an index entry of a wrong form");
    let name = match (text.split_last(), value) {
        (Some((0, folded)), []) => folded.to_vec(),
        (Some((0, folded)), value) => match envelope::open(space, key, value)?.split_first() {
            Some((&WHOLE, name)) => name.to_vec(),
            Some((&CAPITALS, bits)) => capitalize(folded, bits).ok_or_else(wrong)?,
            _ => return Err(wrong()),
        },
        (Some((&crate::sortkey::MISSING, [])), []) => return Ok(None),
        _ => return Err(wrong()),
    };
    String::from_utf8(name)
        .map(Some)
        .map_err(|error| Error::corrupt(space, key, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_index_gives_back_the_name_as_written() {
        let tenant = TenantNumber(7);
        let long = "x".repeat(600);
        for name in [
            None,
            Some(""),
            Some("orders"),
            Some("Orders"),
            Some("oRDERS of the NORTH"),
            Some("Z"),
            Some("[Ärger]"),
            Some("Straße"),
            Some("a\u{0}b\u{1}"),
            Some(&long),
        ] {
            let indexed = Indexed {
                kind: EntityKind::Set,
                id: Uuid::from_u128(9),
                parent: Some(Uuid::from_u128(8)),
                name,
                technical_name: "t",
                last_modified_time: Timestamp::default(),
                secure_qri: Some("q"),
            };
            let entry = &indexed.entries(tenant)[1];
            assert_eq!(entry.space, Keyspace::SetByName);
            let read = name_of_entry(entry.space, &entry.key, &entry.value, keys::TENANT + keys::ID).unwrap();
            assert_eq!(read.as_deref(), name);
        }
    }

    #[test]
    fn a_wrong_value_of_a_name_is_corrupt() {
        let of = Parent {
            tenant: TenantNumber(7),
            id: None,
        };
        let space = Keyspace::StoreByName;
        let mut key = Vec::new();
        keys::by_text(&mut key, of, Some("orders"), Uuid::from_u128(9));
        for body in [&b""[..], b"\x02", b"\x01\x40", b"\x01\x00\x01", b"\x00\xFF"] {
            let value = envelope::seal(space, &key, body);
            let read = name_of_entry(space, &key, &value, keys::TENANT);
            assert_eq!(read.unwrap_err().kind(), crate::ErrorKind::Corrupt, "{body:?}");
        }
        let value = envelope::seal(space, &key, b"\x01\x21");
        let read = name_of_entry(space, &key, &value, keys::TENANT).unwrap();
        assert_eq!(read.as_deref(), Some("OrderS"));
    }
}
