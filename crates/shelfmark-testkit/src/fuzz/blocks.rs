//! Blocks of index entries that no catalog wrote, under checksums that are right.

use std::sync::{Arc, OnceLock};

use redb::ReadableTable;
use shelfmark::backend::Keyspace;
use shelfmark::{Error, NewDataSet, Options, Write as _};

use super::decoding::sealed;
use super::fixture::{Fixture, session, typed};
use super::{sure, take};
use crate::storage::{RecordingStorage, below};

/// Names that begin differently and are long, so that some indexes have more than one block.
const LONG_NAMES: usize = 8;

/// A row of an index: a block under its fence.
pub(super) struct Block {
    pub(super) space: Keyspace,
    pub(super) fence: Vec<u8>,
    pub(super) row: Vec<u8>,
}

/// A closed file that holds the fixture's catalog and sets with long names.
pub(super) struct Blocks {
    fixture: Fixture,
    file: Vec<u8>,
    pub(super) all: Vec<Block>,
}

impl Blocks {
    /// Those that all executions share.
    pub(super) fn get() -> &'static Self {
        static BLOCKS: OnceLock<Blocks> = OnceLock::new();
        BLOCKS.get_or_init(|| {
            let (fixture, storage) = sure(Self::make());
            let mut all = Vec::new();
            for &space in Keyspace::ALL.iter().filter(|space| space.is_index()) {
                let read = below(&storage, space, |table| {
                    for entry in table.iter()? {
                        let (fence, row) = entry?;
                        let (fence, row) = (fence.value().to_vec(), row.value().to_vec());
                        all.push(Block { space, fence, row });
                    }
                    Ok(())
                });
                sure(read);
            }
            let file = storage.bytes().file;
            Self { fixture, file, all }
        })
    }

    fn make() -> Result<(Fixture, RecordingStorage), Error> {
        let storage = RecordingStorage::new();
        let backend = Options::new().create_backend_on(Arc::new(storage.clone()))?;
        let fixture = Fixture::make_on(Arc::clone(&backend))?;
        let catalog = Fixture::open_on(backend)?;
        let sets = (b'a'..).take(LONG_NAMES).map(|letter| {
            let name = char::from(letter).to_string().repeat(200);
            NewDataSet {
                name: Some(name.clone()),
                ..NewDataSet::new(fixture.asset, name.clone(), "qdf:files:acme:long", name)
            }
        });
        session(&catalog).create_all(sets)?;
        Ok((fixture, storage))
    }
}

/// A block of a sound file has another body, or lies under another fence: the first byte says which; the second how many bytes of a fence of its own
/// follow, if any (seven bits), and whether the block that was there stays as well (the highest bit).
pub fn block(bytes: &[u8]) {
    let mut body = bytes;
    let [block, fence] = take(&mut body);
    let blocks = Blocks::get();
    let Block {
        space, fence: own, ..
    } = &blocks.all[usize::from(block) % blocks.all.len()];
    let (other, body) = body.split_at(usize::from(fence & 0x7F).min(body.len()));
    let fence_of = if other.is_empty() { own } else { other };
    let storage = RecordingStorage::holding(blocks.file.clone());
    let changed = below(&storage, *space, |table| {
        if fence < 0x80 {
            table.remove(own.as_slice())?;
        }
        table.insert(fence_of, sealed(*space, fence_of, body).as_slice())?;
        Ok(())
    });
    sure(changed);
    let opened = Options::new()
        .open_backend_on(Arc::new(storage))
        .and_then(Fixture::open_on);
    if let Some(catalog) = typed(opened) {
        blocks.fixture.consult(&catalog);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_has_a_block_and_some_have_more() {
        let blocks = Blocks::get();
        let count = |space: &Keyspace| blocks.all.iter().filter(|block| block.space == *space).count();
        let counts: Vec<usize> = Keyspace::ALL
            .iter()
            .filter(|space| space.is_index())
            .map(count)
            .collect();
        assert!(counts.iter().all(|&count| count > 0), "{counts:?}");
        assert!(counts.iter().any(|&count| count > 1), "{counts:?}");
    }

    #[test]
    fn the_file_is_sound() {
        let storage = RecordingStorage::holding(Blocks::get().file.clone());
        let backend = Options::new().open_backend_on(Arc::new(storage)).unwrap();
        let report = Fixture::open_on(backend).unwrap().check().unwrap();
        assert!(report.is_clean(), "{:?}", report.findings);
    }

    #[test]
    fn their_envelope_is_that_of_other_rows() {
        for block in &Blocks::get().all {
            assert_eq!(block.row, sealed(block.space, &block.fence, &block.row[5..]));
        }
    }
}
