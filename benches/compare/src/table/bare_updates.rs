//! Updates through redb alone, on the rows that the catalog would change: the head, and the entry by time, which moves.

use std::cell::Cell;
use std::path::Path;

use shelfmark::backend::Keyspace;

use crate::Result;
use crate::peers::bare::Bare;
use crate::rows::{Row, Template};
use crate::systems::assets;

/// A file with the rows of sets.
pub struct BareUpdates {
    bare: Bare,
    sets: Vec<Vec<Row>>,
    round: Cell<u8>,
}

impl BareUpdates {
    /// A new file with so many sets.
    pub fn new(path: &Path, sets: u64) -> Result<Self> {
        let template = Template::new()?;
        let assets = assets(template.session())?;
        let sets = template.create_sets(&assets[..1], 0..sets, 0)?;
        let bare = Bare::create(path)?;
        bare.load(&template.all()?)?;
        Ok(Self {
            bare,
            sets,
            round: Cell::new(0),
        })
    }

    /// Updates so many sets, each durably.
    pub fn update(&self, count: usize) -> Result<()> {
        let round = self.round.get();
        self.round.set(round + 1);
        let step = (self.sets.len() / 1_000).max(1);
        for rows in self.sets.iter().step_by(step).take(count) {
            let of = |space| {
                rows.iter()
                    .find(|row| row.space == space)
                    .ok_or("a set without a row")
            };
            let (head, entry) = (of(Keyspace::Set)?, of(Keyspace::SetByModified)?);
            // T A time D: another round, a later time.
            let at = |round: u8| {
                let mut key = entry.key.clone();
                key[20] = round + 1;
                key
            };
            let old = if round == 0 { entry.key.clone() } else { at(round) };
            let mut value = head.value.clone();
            if let Some(last) = value.last_mut() {
                *last = round;
            }
            self.bare.update(
                &[
                    (Keyspace::Set, &head.key, &value),
                    (Keyspace::SetByModified, &at(round + 1), &[]),
                ],
                (Keyspace::SetByModified, &old),
            )?;
        }
        Ok(())
    }
}
