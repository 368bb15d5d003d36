//! Reading entities of one tenant as JSON text.

use uuid::Uuid;

use super::ancestors::InheritedCache;
use super::view::{TenantView, decode_head, missing_schemas};
use crate::backend::Keyspace;
use crate::entity::shown::Around;
use crate::entity::{Entity, Head as _, Inherited};
use crate::envelope;
use crate::error::{Error, Result};
use crate::json_text::{JsonText, Written};
use crate::keyspace::{entities, keys};

/// Rows of entity keys, by the position of their ids; `None` where there is none.
type Rows = Vec<Option<Vec<u8>>>;

/// About how many bytes an entity has as JSON beyond those of its row: names of members, ids, times.
const NAMES: usize = 384;
/// The most bytes that are reserved at once for what may turn out shorter.
const MOST_RESERVED: usize = 1 << 20;

impl TenantView<'_> {
    /// Adds the entity to `text`, and tells of it; `None` where there is none.
    pub(crate) fn show_entity<E: Entity>(
        &self,
        id: Uuid,
        schemas: bool,
        text: &mut JsonText,
    ) -> Result<Option<Written>> {
        let rows = self.copied_rows(entities(E::KIND), &[id], text)?;
        let mut told = None;
        self.show_rows::<E>(&[id], &rows, schemas, text, |version, inherited| {
            told = Some(match inherited {
                None => Written {
                    version,
                    asset_name: None,
                    store_name: None,
                    store_type: None,
                },
                Some(Inherited {
                    asset_name,
                    store_name,
                    store_type,
                }) => Written {
                    version,
                    asset_name,
                    store_name,
                    store_type: Some(store_type),
                },
            });
        })?;
        Ok(told)
    }

    /// Adds those of `ids` that are there to `text`, with commas between.
    pub(crate) fn show_entities<E: Entity>(
        &self,
        ids: &[Uuid],
        schemas: bool,
        text: &mut JsonText,
    ) -> Result<()> {
        let rows = self.copied_rows(entities(E::KIND), ids, text)?;
        self.show_rows::<E>(ids, &rows, schemas, text, |_, _| {})
    }

    /// The rows of ids, as long as there is room for them in `text`.
    fn copied_rows(&self, space: Keyspace, ids: &[Uuid], text: &JsonText) -> Result<Rows> {
        let mut rows: Rows = vec![None; ids.len()];
        let mut bytes = 0;
        self.rows(space, ids, &mut |at, _, value| {
            bytes += value.len();
            text.check(bytes)?;
            rows[at] = Some(value.to_vec());
            Ok(())
        })?;
        Ok(rows)
    }

    /// Adds to `text` the entities of `ids` whose rows have been read.
    pub(crate) fn show_rows<E: Entity>(
        &self,
        ids: &[Uuid],
        rows: &[Option<impl AsRef<[u8]>>],
        schemas: bool,
        text: &mut JsonText,
        mut tell: impl FnMut(u64, Option<Inherited>),
    ) -> Result<()> {
        let Some(tenant) = self.number else { return Ok(()) };
        let mut heads = Vec::with_capacity(rows.len());
        for (&id, row) in ids.iter().zip(rows) {
            if let Some(row) = row {
                let key = keys::entity(tenant, id);
                heads.push((id, decode_head::<E>(&key, row.as_ref())?));
            }
        }
        let bytes: usize = rows.iter().flatten().map(|row| row.as_ref().len()).sum();
        text.bytes()
            .reserve((bytes + heads.len() * NAMES).min(MOST_RESERVED));
        let with: Vec<Uuid> = heads
            .iter()
            .filter(|(_, head)| schemas && head.has_schema_row())
            .map(|&(id, _)| id)
            .collect();
        let mut schema_rows = if with.is_empty() {
            Vec::new()
        } else {
            self.copied_rows(Keyspace::SetSchema, &with, text)?
        }
        .into_iter();
        let mut cache = InheritedCache::default();
        for (at, (id, head)) in heads.into_iter().enumerate() {
            let key = keys::entity(tenant, id);
            let schema_row = match schemas && head.has_schema_row() {
                true => Some(
                    schema_rows
                        .next()
                        .flatten()
                        .ok_or_else(|| missing_schemas(&key))?,
                ),
                false => None,
            };
            let schemas = match &schema_row {
                Some(row) => Some(envelope::open(Keyspace::SetSchema, &key, row)?),
                None => None,
            };
            let lineage = head.lineage();
            let inherited = self.inherited(lineage, &mut cache)?;
            let version = head.stamps().version();
            if at > 0 {
                text.push(",");
            }
            let around = Around {
                id,
                tenant: self.name,
                inherited: &inherited,
                schemas,
            };
            E::show(head, &around, text.bytes())
                .map_err(|what| Error::corrupt(entities(E::KIND), &key, what))?;
            text.check(0)?;
            tell(version, lineage.nearest().map(|_| inherited));
        }
        Ok(())
    }
}
