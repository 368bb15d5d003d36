//! In which order a list comes.

use crate::entity::shape::{self, Shape};
use crate::error::{Error, Result};
use crate::ids::EntityKind;
use crate::keyspace::IndexOrder;

/// Comma-separated fields, each with `-` for descending, `+` or nothing for ascending, dots for nested ones; empty for creation order.
///
/// Texts sort by the first 512 bytes of their case-folded form. Missing values come last ascending, first descending. The id breaks ties,
/// reversed where the first field is descending, so the order is total. A field that came before, and any behind `id`, decides nothing and is
/// passed over. Checked when the list is made: an unknown field is `Invalid`.
///
/// `name`, `technicalName`, `lastModifiedTime`, `createdTime` and `id`, each alone, are served by indexes; any other sort looks at everything selected
/// and holds at most 100,000 keys. So does one of these with a filter that another of the indexes serves, unless the query goes
/// [without the total](crate::Query::without_total) and the filter lets much through. A page that would need more keys is `OffsetTooDeep`; one
/// past the end is empty, however deep.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Sort(String);

impl From<&str> for Sort {
    fn from(fields: &str) -> Self {
        Sort(fields.to_owned())
    }
}

impl From<String> for Sort {
    fn from(fields: String) -> Self {
        Sort(fields)
    }
}

/// One field of a checked sort.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SortField {
    pub(super) path: String,
    pub(super) descending: bool,
}

/// A checked sort.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SortOrder {
    /// As an index has it.
    Indexed { order: IndexOrder, descending: bool },
    /// By these fields, which no index has.
    Fields(Vec<SortField>),
}

impl Sort {
    /// Checks every field against the kind's field table.
    pub(super) fn check(&self, kind: EntityKind) -> Result<SortOrder> {
        let mut fields: Vec<SortField> = Vec::new();
        if !self.0.is_empty() {
            for part in self.0.split(',') {
                let field = field(part, kind)?;
                // A field that came before can break no tie, and nothing can tie with an id.
                let decided = |earlier: &SortField| earlier.path == field.path || earlier.path == "id";
                if !fields.iter().any(decided) {
                    fields.push(field);
                }
            }
        }
        let Some(first) = fields.first() else {
            return Ok(SortOrder::Indexed {
                order: IndexOrder::Creation,
                descending: false,
            });
        };
        let descending = first.descending;
        let order = match first.path.as_str() {
            // An id begins with the creation time.
            "id" | "createdTime" => IndexOrder::Creation,
            "name" => IndexOrder::Name,
            "technicalName" => IndexOrder::TechnicalName,
            "lastModifiedTime" => IndexOrder::Modified,
            _ => return Ok(SortOrder::Fields(fields)),
        };
        // The index breaks ties by id in its own direction; so may the second field.
        match fields.get(1) {
            None => Ok(SortOrder::Indexed { order, descending }),
            Some(second) if second.path == "id" && second.descending == descending => {
                Ok(SortOrder::Indexed { order, descending })
            }
            Some(_) => Ok(SortOrder::Fields(fields)),
        }
    }
}

fn field(part: &str, kind: EntityKind) -> Result<SortField> {
    let (descending, path) = match part.strip_prefix('-') {
        Some(path) => (true, path),
        None => (false, part.strip_prefix('+').unwrap_or(part)),
    };
    let mut shape = shape::entity(kind);
    for name in path.split('.') {
        // Free JSON has no fields to sort by.
        let member = if matches!(shape, Shape::Free) {
            None
        } else {
            shape.member(name)
        };
        shape = member.ok_or_else(|| unknown(path, kind))?;
    }
    match shape {
        Shape::Scalar => Ok(SortField {
            path: path.to_owned(),
            descending,
        }),
        _ => Err(Error::violation(
            "",
            format!("cannot sort by {path:?}: it is not a single value"),
        )),
    }
}

fn unknown(path: &str, kind: EntityKind) -> Error {
    Error::violation("", format!("cannot sort by {path:?}: a {kind} has no such field"))
}

impl SortOrder {
    /// Bytes that two sorts share only if they order alike.
    pub(super) fn fingerprint(&self, bytes: &mut Vec<u8>) {
        match self {
            SortOrder::Indexed { order, descending } => {
                bytes.extend_from_slice(&[0, *order as u8, u8::from(*descending)]);
            }
            SortOrder::Fields(fields) => {
                bytes.push(1);
                bytes.extend_from_slice(&(fields.len() as u64).to_be_bytes());
                for SortField { path, descending } in fields {
                    super::cursor::append_text(bytes, Some(path));
                    bytes.push(u8::from(*descending));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sort: &str) -> SortOrder {
        Sort::from(sort).check(EntityKind::Set).unwrap()
    }

    #[test]
    fn fields_that_decide_nothing_are_passed_over() {
        for (sort, same) in [
            ("name,name", "name"),
            ("-name,name,-name", "-name"),
            ("name,name,id,qri", "name"),
            ("id,name,-id", "id"),
            ("-createdTime,-id,name", "-createdTime"),
            ("qri,name,-qri,name", "qri,name"),
            ("-name,id,qri,-id", "-name,id"),
        ] {
            assert_eq!(check(sort), check(same), "{sort}");
        }
        for sort in ["name", "-name,-name", "lastModifiedTime,lastModifiedTime,id"] {
            assert!(matches!(check(sort), SortOrder::Indexed { .. }), "{sort}");
        }
        // The id breaks ties in the direction of the first field, unless told otherwise.
        assert_ne!(check("-name,id"), check("-name"));
        assert_ne!(check("name,-id"), check("name"));
    }

    #[test]
    fn the_field_table_bounds_a_sort() {
        let SortOrder::Fields(fields) = check("qri,-name,description,".repeat(10_000).trim_end_matches(','))
        else {
            panic!("no index has this order");
        };
        assert_eq!(fields.len(), 3);
        // What is passed over is still checked.
        for sort in ["id,nonsense", "name,name,tags", "qri,"] {
            assert!(Sort::from(sort).check(EntityKind::Set).is_err(), "{sort}");
        }
    }
}
