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

    /// These fields, such as `name` or `dataAssetInfo.dataStoreInfo.name`. Within lists, a dotted field is taken of each element.
    pub fn of<S: Into<String>>(fields: impl IntoIterator<Item = S>) -> Self {
        Self {
            fields: Some(fields.into_iter().map(Into::into).collect()),
        }
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

    fn prune(&self, value: &mut Value) {
        if self.whole {
            return;
        }
        match value {
            Value::Array(elements) => elements.iter_mut().for_each(|element| self.prune(element)),
            Value::Object(object) => object.retain(|name, member| {
                let wanted = self.below.iter().find(|(known, _)| known == name);
                wanted.inspect(|(_, below)| below.prune(member)).is_some()
            }),
            _ => {}
        }
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
