//! One value out of an encoded head, without decoding what is not asked for: a sort over all entities looks at one field of each.

use uuid::Uuid;

use crate::ids::EntityKind;
use crate::sortkey::Scalar;

/// How a field is encoded.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoded {
    Id,
    Boolean,
    Unsigned,
    Integer,
    OptionalInteger,
    Text,
    OptionalText,
}

/// The fields of a head from its first on, by their dotted paths; no path, or one of a `#` and a name, where another field has a say in
/// the value.
#[doc(hidden)]
pub type Layout = [(&'static str, Encoded)];

/// What a layout calls fields that no entity shows as they are stored.
pub(super) const SCHEMA_ROW: &str = "#schemaRow";
pub(super) const STORED_SECURE_QRI: &str = "#secureQri";

/// As the head of a data store begins.
pub(super) const STORE: &Layout = &[
    ("version", Encoded::Unsigned),
    ("lastModifiedTime", Encoded::Integer),
    ("createdBy", Encoded::Text),
    ("", Encoded::OptionalText),
    ("", Encoded::OptionalText),
    ("technicalName", Encoded::Text),
    ("type", Encoded::Text),
    ("name", Encoded::OptionalText),
    ("uri", Encoded::OptionalText),
    ("spaceId", Encoded::OptionalText),
    ("description", Encoded::OptionalText),
    ("technicalDescription", Encoded::OptionalText),
];

/// As the head of a data asset begins.
pub(super) const ASSET: &Layout = &[
    ("dataStoreInfo.id", Encoded::Id),
    ("version", Encoded::Unsigned),
    ("lastModifiedTime", Encoded::Integer),
    ("createdBy", Encoded::Text),
    ("", Encoded::OptionalText),
    ("", Encoded::OptionalText),
    ("technicalName", Encoded::Text),
    ("appType", Encoded::Text),
    ("name", Encoded::OptionalText),
    ("appId", Encoded::OptionalText),
    ("dataFreshness", Encoded::OptionalInteger),
    ("spaceId", Encoded::OptionalText),
    ("description", Encoded::OptionalText),
    ("technicalDescription", Encoded::OptionalText),
];

/// As the head of a data set begins.
pub(super) const SET: &Layout = &[
    ("dataAssetInfo.dataStoreInfo.id", Encoded::Id),
    ("dataAssetInfo.id", Encoded::Id),
    (SCHEMA_ROW, Encoded::Boolean),
    ("version", Encoded::Unsigned),
    ("lastModifiedTime", Encoded::Integer),
    ("createdBy", Encoded::Text),
    ("", Encoded::OptionalText),
    ("", Encoded::OptionalText),
    ("technicalName", Encoded::Text),
    ("qri", Encoded::Text),
    (STORED_SECURE_QRI, Encoded::OptionalText),
    ("name", Encoded::OptionalText),
    ("type", Encoded::OptionalText),
    ("spaceId", Encoded::OptionalText),
    ("description", Encoded::OptionalText),
    ("technicalDescription", Encoded::OptionalText),
    ("appTypeOverride", Encoded::OptionalText),
    ("createdByConnectionId", Encoded::OptionalText),
];

/// The position of the field at `path`.
pub(crate) const fn position(layout: &Layout, path: &str) -> Option<usize> {
    let mut at = 0;
    while at < layout.len() {
        if is(layout[at].0.as_bytes(), path.as_bytes()) {
            return Some(at);
        }
        at += 1;
    }
    None
}

const fn is(one: &[u8], two: &[u8]) -> bool {
    if one.len() != two.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != two[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// The position of the parent's id; `None` of stores, which have none.
pub(crate) const fn parent_position(kind: EntityKind, layout: &Layout) -> Option<usize> {
    match kind {
        EntityKind::Store => None,
        EntityKind::Asset => position(layout, "dataStoreInfo.id"),
        EntityKind::Set => position(layout, "dataAssetInfo.id"),
    }
}

/// A value as it is encoded.
pub(crate) enum Raw<'a> {
    /// A text, not looked at yet.
    Text(&'a [u8]),
    Other(Scalar<'a>),
}

impl<'a> Raw<'a> {
    /// The value; `None` where a text is none.
    pub(crate) fn scalar(self) -> Option<Scalar<'a>> {
        match self {
            Raw::Text(bytes) => std::str::from_utf8(bytes).ok().map(Scalar::Text),
            Raw::Other(scalar) => Some(scalar),
        }
    }
}

/// The value of the field at `position` of an encoded head; `None` where the bytes are not of this layout.
pub(crate) fn scalar<'a>(layout: &Layout, body: &'a [u8], position: usize) -> Option<Scalar<'a>> {
    raw(layout, body, position)?.scalar()
}

/// As [`scalar`], without a look into a text.
pub(crate) fn raw<'a>(layout: &Layout, body: &'a [u8], position: usize) -> Option<Raw<'a>> {
    let mut rest = Rest { body, at: 0 };
    let (before, here) = layout.split_at_checked(position)?;
    for (_, encoded) in before {
        rest.pass(*encoded)?;
    }
    let &(_, encoded) = here.first()?;
    if matches!(encoded, Encoded::OptionalInteger | Encoded::OptionalText) && !rest.flag()? {
        return Some(Raw::Other(Scalar::Missing));
    }
    Some(Raw::Other(match encoded {
        Encoded::Id => Scalar::Id(Uuid::from_slice(rest.take(ID)?).ok()?),
        Encoded::Boolean => Scalar::Boolean(rest.flag()?),
        Encoded::Unsigned => Scalar::unsigned(rest.unsigned()?),
        Encoded::Integer | Encoded::OptionalInteger => {
            // Zigzag: the sign is the lowest bit.
            let coded = rest.unsigned()?;
            Scalar::Integer((coded >> 1) as i64 ^ -((coded & 1) as i64))
        }
        Encoded::Text | Encoded::OptionalText => {
            let bytes = usize::try_from(rest.unsigned()?).ok()?;
            return Some(Raw::Text(rest.take(bytes)?));
        }
    }))
}

const ID: usize = 16;

/// What is left of an encoded head. Nothing is looked at that is passed, so the end is met only where something is taken.
struct Rest<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> Rest<'a> {
    #[inline]
    fn pass(&mut self, encoded: Encoded) -> Option<()> {
        match encoded {
            Encoded::Id => self.at = self.at.checked_add(ID)?,
            Encoded::Boolean => drop(self.byte()?),
            Encoded::Unsigned | Encoded::Integer => drop(self.unsigned()?),
            Encoded::OptionalInteger => {
                if self.flag()? {
                    self.unsigned()?;
                }
            }
            Encoded::Text => self.pass_text()?,
            Encoded::OptionalText => {
                if self.flag()? {
                    self.pass_text()?;
                }
            }
        }
        Some(())
    }

    #[inline]
    fn pass_text(&mut self) -> Option<()> {
        let bytes = usize::try_from(self.unsigned()?).ok()?;
        self.at = self.at.checked_add(bytes)?;
        Some(())
    }

    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let taken = self.body.get(self.at..self.at.checked_add(bytes)?)?;
        self.at += bytes;
        Some(taken)
    }

    #[inline]
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.body.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    #[inline]
    fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    /// Up to 250 in one byte, else the byte 251, 252 or 253 and a little-endian number of 2, 4 or 8 bytes.
    #[inline]
    fn unsigned(&mut self) -> Option<u64> {
        let byte = self.byte()?;
        if byte <= 250 {
            return Some(u64::from(byte));
        }
        self.wide(byte)
    }

    fn wide(&mut self, tag: u8) -> Option<u64> {
        let wide = match tag {
            251 => 2,
            252 => 4,
            253 => 8,
            _ => return None,
        };
        let mut number = [0; 8];
        number[..wide].copy_from_slice(self.take(wide)?);
        Some(u64::from_le_bytes(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Record = (u64, i64, Option<i64>, String, Option<String>, bool, [u8; 16]);
    const LAYOUT: &Layout = &[
        ("unsigned", Encoded::Unsigned),
        ("integer", Encoded::Integer),
        ("optional integer", Encoded::OptionalInteger),
        ("text", Encoded::Text),
        ("optional text", Encoded::OptionalText),
        ("boolean", Encoded::Boolean),
        ("id", Encoded::Id),
    ];

    proptest! {
        #[test]
        fn a_skimmed_value_is_the_encoded_one(
            record: Record,
            long in prop::option::of(".{240,300}"),
        ) {
            let (unsigned, integer, optional, mut text, optional_text, boolean, id) = record;
            if let Some(long) = long {
                text = long;
            }
            let record: Record = (unsigned, integer, optional, text.clone(), optional_text.clone(), boolean, id);
            let body = bincode::encode_to_vec(&record, bincode::config::standard()).unwrap();
            let expected = [
                Scalar::unsigned(unsigned),
                Scalar::Integer(integer),
                Scalar::integer(optional),
                Scalar::Text(&text),
                Scalar::text(optional_text.as_deref()),
                Scalar::Boolean(boolean),
                Scalar::Id(Uuid::from_bytes(id)),
            ];
            for (at, expected) in expected.into_iter().enumerate() {
                prop_assert_eq!(scalar(LAYOUT, &body, at), Some(expected));
                // What is cut off is told, not made up.
                let end = (0..=body.len()).find(|&end| scalar(LAYOUT, &body[..end], at).is_some());
                prop_assert!(end.is_some_and(|end| scalar(LAYOUT, &body[..end], at) == Some(expected)));
            }
            prop_assert_eq!(scalar(LAYOUT, &body, LAYOUT.len()), None);
        }

        #[test]
        fn any_bytes_are_survived(body: Vec<u8>, at in 0..9_usize) {
            let _ = scalar(LAYOUT, &body, at);
        }
    }
}
