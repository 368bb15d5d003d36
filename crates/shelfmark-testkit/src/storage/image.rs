//! What a loss of power may leave.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use crate::environment::split_mix;

/// What a disk writes as one.
const SECTOR: usize = 512;

/// The bytes of a storage and of the log that goes with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Image {
    /// The file.
    pub file: Vec<u8>,
    /// Its log; empty where there is none.
    pub log: Vec<u8>,
}

impl From<Vec<u8>> for Image {
    fn from(file: Vec<u8>) -> Self {
        Self {
            file,
            log: Vec::new(),
        }
    }
}

impl Image {
    pub(super) fn part(&self, part: Part) -> &Vec<u8> {
        match part {
            Part::File => &self.file,
            Part::Log => &self.log,
        }
    }

    pub(super) fn part_mut(&mut self, part: Part) -> &mut Vec<u8> {
        match part {
            Part::File => &mut self.file,
            Part::Log => &mut self.log,
        }
    }
}

/// What is durable of the two.
#[derive(Debug, Clone, Default)]
pub(super) struct Durable {
    file: Arc<Vec<u8>>,
    log: Arc<Vec<u8>>,
}

impl From<&Image> for Durable {
    fn from(image: &Image) -> Self {
        Self {
            file: Arc::new(image.file.clone()),
            log: Arc::new(image.log.clone()),
        }
    }
}

impl Durable {
    /// What a sync of one part wrote.
    pub(super) fn apply(&mut self, part: Part, change: &Change) {
        let bytes = match part {
            Part::File => &mut self.file,
            Part::Log => &mut self.log,
        };
        apply(Arc::make_mut(bytes), change);
    }

    fn image(&self) -> Image {
        Image {
            file: Vec::clone(&self.file),
            log: Vec::clone(&self.log),
        }
    }
}

/// Which of the two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Part {
    /// The file.
    #[default]
    File,
    /// Its log.
    Log,
}

/// One change since the last sync of its part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Bytes from an offset on.
    Write {
        /// The offset.
        offset: usize,
        /// The bytes.
        data: Arc<[u8]>,
    },
    /// A new length.
    SetLen(usize),
}

/// Which of the pending changes reached the medium. Seeds decide what is left open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survivors {
    /// None of them.
    None,
    /// All of them.
    All,
    /// All up to some change, none behind it.
    Prefix(u64),
    /// Some of them, whatever their order.
    Subset(u64),
    /// Some sectors of some of them.
    Torn(u64),
}

/// A moment: what was durable, and what was pending.
#[derive(Debug, Clone)]
pub struct CrashPoint {
    durable: Durable,
    pending: Vec<(Part, Change)>,
}

impl CrashPoint {
    pub(super) fn new(durable: Durable, pending: Vec<(Part, Change)>) -> Self {
        Self { durable, pending }
    }

    /// How many changes were pending.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// What is there after the crash.
    pub fn image(&self, survivors: Survivors) -> Image {
        let mut image = self.durable.image();
        let mut seed = match survivors {
            Survivors::Prefix(seed) | Survivors::Subset(seed) | Survivors::Torn(seed) => seed,
            Survivors::None | Survivors::All => 0,
        };
        // Nearly none, half, nearly all.
        let odds = [32, 128, 224][(split_mix(&mut seed) % 3) as usize];
        let cut = split_mix(&mut seed) as usize % (self.pending.len() + 1);
        let mut chance = || split_mix(&mut seed) >> 56 < odds;
        for (position, (part, change)) in self.pending.iter().enumerate() {
            let bytes = image.part_mut(*part);
            match (survivors, change) {
                (Survivors::None, _) => {}
                (Survivors::All, change) => apply(bytes, change),
                (Survivors::Prefix(_), change) => {
                    if position < cut {
                        apply(bytes, change);
                    }
                }
                (Survivors::Torn(_), Change::Write { offset, data }) => {
                    for (offset, sector) in sectors(*offset, data) {
                        if chance() {
                            write(bytes, offset, sector);
                        }
                    }
                }
                (Survivors::Subset(_) | Survivors::Torn(_), change) => {
                    if chance() {
                        apply(bytes, change);
                    }
                }
            }
        }
        image
    }

    /// None, all, and as many others as asked for, without repeating one.
    pub fn images(&self, others: usize, seed: u64) -> impl Iterator<Item = (Survivors, Image)> {
        let mut seed = seed;
        let mut wanted = vec![Survivors::None, Survivors::All];
        for other in 0..others {
            let seed = split_mix(&mut seed);
            wanted.push(match other % 4 {
                0 | 2 => Survivors::Torn(seed),
                1 => Survivors::Subset(seed),
                _ => Survivors::Prefix(seed),
            });
        }
        let mut seen = HashSet::new();
        wanted.into_iter().filter_map(move |survivors| {
            let image = self.image(survivors);
            let mut hasher = DefaultHasher::new();
            image.hash(&mut hasher);
            seen.insert(hasher.finish()).then_some((survivors, image))
        })
    }
}

/// The sectors that a write touches, each with where it begins.
fn sectors(offset: usize, data: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let (head, body) = data.split_at(data.len().min((SECTOR - offset % SECTOR) % SECTOR));
    let starts = (offset + head.len()..).step_by(SECTOR);
    let head = (!head.is_empty()).then_some((offset, head));
    head.into_iter().chain(starts.zip(body.chunks(SECTOR)))
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { offset, data } => write(bytes, *offset, data),
        Change::SetLen(len) => bytes.resize(*len, 0),
    }
}

/// A write whose growth was lost grows the file itself.
fn write(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(data);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point() -> CrashPoint {
        let data = |byte: u8, len: usize| vec![byte; len].into();
        CrashPoint::new(
            (&Image::from(vec![0; 1024])).into(),
            vec![
                (Part::File, Change::SetLen(4096)),
                (
                    Part::File,
                    Change::Write {
                        offset: 100,
                        data: data(1, 1500),
                    },
                ),
                (
                    Part::File,
                    Change::Write {
                        offset: 3000,
                        data: data(2, 1000),
                    },
                ),
                (
                    Part::Log,
                    Change::Write {
                        offset: 0,
                        data: data(3, 512),
                    },
                ),
            ],
        )
    }

    #[test]
    fn none_is_what_was_durable_and_all_is_what_was_written() {
        assert_eq!(point().image(Survivors::None), vec![0; 1024].into());
        let Image { file: all, log } = point().image(Survivors::All);
        assert_eq!(log, vec![3; 512]);
        assert_eq!(all.len(), 4096);
        assert!(
            all[100..1600].iter().all(|&byte| byte == 1) && all[3000..4000].iter().all(|&byte| byte == 2)
        );
    }

    #[test]
    fn tears_lie_between_sectors() {
        let pieces: Vec<_> = sectors(100, &[7; 1500])
            .map(|(at, piece)| (at, piece.len()))
            .collect();
        assert_eq!(pieces, [(100, 412), (512, 512), (1024, 512), (1536, 64)]);
        let aligned: Vec<_> = sectors(1024, &[7; 512]).map(|(at, _)| at).collect();
        assert_eq!(aligned, [1024]);
        let mut torn = 0;
        for seed in 0..200 {
            let image = point().image(Survivors::Torn(seed)).file;
            for (start, end) in [(100, 512), (512, 1024)] {
                let sector = &image[start..end];
                assert!(
                    sector.iter().all(|byte| *byte == sector[0]),
                    "seed {seed}: a torn sector"
                );
            }
            torn += usize::from(image[100] != image[512]);
        }
        assert!(torn > 30, "{torn} of 200 are torn");
    }

    #[test]
    fn images_differ_and_repeat_with_the_seed() {
        let images = |seed| point().images(12, seed).collect::<Vec<_>>();
        assert_eq!(images(5), images(5));
        let images = images(5);
        assert!(images.len() > 6, "{}", images.len());
        let distinct: HashSet<_> = images.iter().map(|(_, image)| image).collect();
        assert_eq!(distinct.len(), images.len());
    }
}
