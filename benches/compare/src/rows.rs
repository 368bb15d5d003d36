//! The rows that the catalog itself stores, so that an engine without a catalog can be given the very same ones.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use shelfmark::backend::{Backend, Direction, KeyRange, Keyspace};
use shelfmark::{AssetId, Catalog, Options, Session};
use uuid::Uuid;

use crate::Result;
use shelfmark_benches::data;

/// One key and value of a keyspace.
#[derive(Clone)]
pub struct Row {
    /// Where it lies.
    pub space: Keyspace,
    /// Its key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

/// A catalog in memory that was filled to take its rows.
pub struct Template {
    backend: Arc<dyn Backend>,
    session: Session,
    _catalog: Catalog,
}

impl Template {
    /// An empty one.
    pub fn new() -> Result<Self> {
        let backend = Options::new().in_memory_backend()?;
        let catalog = Options::new().on_backend(backend.clone())?;
        let session = catalog.session("acme", "ann")?;
        Ok(Self {
            backend,
            session,
            _catalog: catalog,
        })
    }

    /// To fill it.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Every row.
    pub fn all(&self) -> Result<Vec<Row>> {
        let snapshot = self.backend.snapshot()?;
        let mut rows = Vec::new();
        for &space in Keyspace::ALL {
            snapshot.scan(space, &KeyRange::all(), Direction::Forward, &mut |key, value| {
                rows.push(Row {
                    space,
                    key: key.to_vec(),
                    value: value.to_vec(),
                });
                ControlFlow::Continue(())
            })?;
        }
        Ok(rows)
    }

    /// Creates sets in `assets` by turns, and gives the rows of each, without counters.
    pub fn create_sets(
        &self,
        assets: &[AssetId],
        numbers: std::ops::Range<u64>,
        fields: usize,
    ) -> Result<Vec<Vec<Row>>> {
        let new = numbers.map(|n| data::set(assets[n as usize % assets.len()], n, fields));
        let ids = self.session.create_batched(new, Default::default())?;
        let mut position: HashMap<Uuid, usize> = HashMap::with_capacity(ids.len());
        position.extend(ids.iter().enumerate().map(|(at, id)| (id.uuid(), at)));
        let mut sets: Vec<Vec<Row>> = Vec::new();
        sets.resize_with(ids.len(), || Vec::with_capacity(8));
        for row in self.all()? {
            let at = id_at_end(&row.key)
                .filter(|_| row.space != Keyspace::Counter)
                .and_then(|id| position.get(&id));
            if let Some(&at) = at {
                sets[at].push(row);
            }
        }
        Ok(sets)
    }
}

/// The id that a key ends with, if it does.
pub fn id_at_end(key: &[u8]) -> Option<Uuid> {
    Uuid::from_slice(key.get(key.len().checked_sub(16)?..)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::systems::assets;

    #[test]
    fn a_head_takes_about_220_bytes() {
        let template = Template::new().unwrap();
        let assets = assets(template.session()).unwrap();
        let sets = template.create_sets(&assets, 0..1_000, 0).unwrap();
        let heads = sets.iter().flatten().filter(|row| row.space == Keyspace::Set);
        let mean = heads.map(|row| row.value.len()).sum::<usize>() / sets.len();
        assert!((200..=240).contains(&mean), "{mean}");
    }

    #[test]
    fn heads_are_about_half_of_the_bytes() {
        let template = Template::new().unwrap();
        let assets = assets(template.session()).unwrap();
        let sets = template.create_sets(&assets, 0..1_000, 0).unwrap();
        let bytes = |heads_alone: bool| {
            sets.iter()
                .flatten()
                .filter(|row| !heads_alone || row.space == Keyspace::Set)
                .map(|row| row.key.len() + row.value.len())
                .sum::<usize>()
        };
        let share = bytes(true) as f64 / bytes(false) as f64;
        assert!((0.45..0.55).contains(&share), "{share}");
    }
}
