//! Which fields of an entity a list shows.

use serde_json::Value;

use crate::Entity;
use crate::engine::create::encoding_failed;
use crate::entity::JsonObject;
use crate::entity::shape::{self, Shape};
use crate::error::{Error, Result};
use crate::ids::EntityKind;

/// Top-level or dotted fields to show; `id` always comes. Schemas are read only where projected.
///
/// ```
/// # use shelfmark::{Catalog, DataStore, NewDataStore, Projection, Query, Read, Write};
/// # fn main() -> shelfmark::Result<()> {
/// # let session = Catalog::in_memory()?.session("acme", "ann")?;
/// let store = session.create(NewDataStore::new("warehouse", "postgres"))?;
/// let page = session.list_projected(&Query::<DataStore>::new(), &Projection::of(["technicalName"]))?;
/// let expected = serde_json::json!({ "id": store.id, "technicalName": "warehouse" });
/// assert_eq!(serde_json::Value::from(page.items[0].clone()), expected);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Projection {
    /// `None`: every field.
    fields: Option<Vec<String>>,
}

impl Projection {
    /// Every field, schemas included.
    pub fn all() -> Self {
        Self::default()
    }

    /// These fields, such as `name` or `dataAssetInfo.dataStoreInfo.name`. Within lists, a dotted field is taken of each element. A scalar has
    /// nothing below it: `properties.a.b` shows nothing of `{"a": 1}` but the empty `properties`.
    pub fn of<S: Into<String>>(fields: impl IntoIterator<Item = S>) -> Self {
        Self {
            fields: Some(fields.into_iter().map(Into::into).collect()),
        }
    }

    /// The projected fields of an entity, as [`Read::list_projected`](crate::Read::list_projected) shows them.
    ///
    /// ```
    /// # use shelfmark::{Catalog, NewDataStore, Projection, Write};
    /// # fn main() -> shelfmark::Result<()> {
    /// # let session = Catalog::in_memory()?.session("acme", "ann")?;
    /// let store = session.create(NewDataStore::new("warehouse", "postgres"))?;
    /// let shown = Projection::of(["type"]).apply(&store)?;
    /// assert!(shown.keys().eq(["id", "type"]));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `Invalid` for a field that this kind of entity does not have.
    pub fn apply<E: Entity>(&self, entity: &E) -> Result<JsonObject> {
        self.check(E::KIND)?.apply(entity)
    }

    /// Checks every field against the kind's field table.
    pub(super) fn check(&self, kind: EntityKind) -> Result<Wanted> {
        let Some(fields) = &self.fields else {
            return Ok(Wanted { tree: None });
        };
        let mut tree = Tree::default();
        tree.add(["id"].into_iter());
        for field in fields {
            let mut shape = shape::entity(kind);
            for name in field.split('.') {
                while let Shape::List(element) = shape {
                    shape = *element;
                }
                shape = shape.member(name).ok_or_else(|| {
                    Error::violation(
                        "",
                        format!("cannot project {field:?}: a {kind} has no such field"),
                    )
                })?;
            }
            tree.add(field.split('.'));
        }
        Ok(Wanted { tree: Some(tree) })
    }
}

/// A checked projection.
pub(super) struct Wanted {
    tree: Option<Tree>,
}

/// Fields by name; a leaf is wanted whole.
#[derive(Debug, Default)]
struct Tree {
    below: Vec<(String, Tree)>,
    whole: bool,
}

impl Tree {
    fn add<'a>(&mut self, mut path: impl Iterator<Item = &'a str>) {
        let Some(name) = path.next() else {
            self.whole = true;
            return;
        };
        let position = self
            .below
            .iter()
            .position(|(known, _)| known == name)
            .unwrap_or_else(|| {
                self.below.push((name.to_owned(), Tree::default()));
                self.below.len() - 1
            });
        self.below[position].1.add(path);
    }

    /// Takes out what is not wanted, and says whether the value itself is: a scalar that a path goes on below is not.
    fn prune(&self, value: &mut Value) -> bool {
        if self.whole {
            return true;
        }
        match value {
            Value::Array(elements) => elements.retain_mut(|element| self.prune(element)),
            Value::Object(object) => object.retain(|name, member| {
                let wanted = self.below.iter().find(|(known, _)| known == name);
                wanted.is_some_and(|(_, below)| below.prune(member))
            }),
            _ => return false,
        }
        true
    }
}

impl Wanted {
    /// Whether the top-level field is wanted, in whole or in part.
    pub(super) fn has(&self, name: &str) -> bool {
        self.tree
            .as_ref()
            .is_none_or(|tree| tree.below.iter().any(|(known, _)| known == name))
    }

    pub(super) fn needs_schemas(&self) -> bool {
        self.has("schema") || self.has("additionalSchemas")
    }

    pub(super) fn only_id_and_name(&self) -> bool {
        self.tree
            .as_ref()
            .is_some_and(|tree| tree.below.iter().all(|(name, _)| name == "id" || name == "name"))
    }

    /// The wanted fields of an entity.
    pub(super) fn apply<E: Entity>(&self, entity: &E) -> Result<JsonObject> {
        let mut value = serde_json::to_value(entity).map_err(|error| encoding_failed(error.to_string()))?;
        if let Some(tree) = &self.tree {
            tree.prune(&mut value);
        }
        match value {
            Value::Object(object) => Ok(object),
            _ => Err(encoding_failed("an entity is not an object".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Catalog, DataStore, NewDataStore, Query, Read as _, Write as _};
    use serde_json::json;

    #[test]
    fn a_scalar_above_what_is_projected_is_not_shown() {
        let session = Catalog::in_memory().unwrap().session("acme", "ann").unwrap();
        let properties = json!({
            "a": "hidden",
            "l": [1, 2, { "z": 3, "y": 4 }, [5, { "z": 6 }], null],
            "o": { "b": { "c": 7 }, "d": 8 },
            "n": null,
            "s": [1],
        });
        let new = NewDataStore {
            properties: properties.as_object().cloned(),
            ..NewDataStore::new("store", "postgres")
        };
        let id = session.create(new).unwrap().id;
        let shown = |fields: &[&str]| {
            let projection = Projection::of(fields.iter().copied());
            let page = session
                .list_projected(&Query::<DataStore>::new(), &projection)
                .unwrap();
            Value::from(page.items[0].clone())
        };
        assert_eq!(
            shown(&["properties.a.b", "properties.l.z", "properties.n.x"]),
            json!({ "id": id, "properties": { "l": [{ "z": 3 }, [{ "z": 6 }]] } })
        );
        assert_eq!(
            shown(&["properties.o.b.x", "properties.s.x", "properties.none"]),
            json!({ "id": id, "properties": { "o": { "b": {} }, "s": [] } })
        );
        assert_eq!(
            shown(&["properties.a", "properties.a.b"])["properties"],
            json!({ "a": "hidden" })
        );
    }
}
