//! Chunks of packages, each one transaction.

use std::collections::HashMap;
use std::io::BufRead;
use std::path::Path;

use shelfmark::{
    AllStores, DataStore, Error, ErrorKind, NewEntity, Read as _, Session, StoreId, Transaction, Violation,
    Write as _,
};

use crate::error::{ImportError, ImportErrorKind, Place};
use crate::input::{self, Lines, Tree};
use crate::mapping::{self, Package, STORE_TYPE};
use crate::members::Violations;
use crate::{ImportReport, json};

/// Packages in one transaction, where nothing else is said.
const CHUNK: usize = 64;

/// The most bytes of descriptors in one transaction, but for the last of them.
const CHUNK_BYTES: usize = 16 << 20;

/// Names no entity: the parent of what is only checked, because its own parent was refused.
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

/// Imports data packages into one tenant of a catalog.
///
/// The documentation of the crate says what becomes of what.
#[derive(Debug, Clone)]
pub struct Importer<'s> {
    session: &'s Session,
    chunk: usize,
}

impl<'s> Importer<'s> {
    /// An importer that writes through this session, 64 packages in one transaction.
    pub fn new(session: &'s Session) -> Self {
        Self {
            session,
            chunk: CHUNK,
        }
    }

    /// At most this many packages in one transaction, from 1 to 10,000. A transaction also ends once its descriptors exceed 16 MiB of text.
    #[must_use]
    pub fn chunk(mut self, packages: usize) -> Self {
        self.chunk = packages.clamp(1, 10_000);
        self
    }

    /// Imports what `path` names: every `datapackage.json` in a directory tree, sorted, symbolic links not followed; the documents of a file,
    /// one a line (always so if it is called `.ndjson` or `.jsonl`); or a file that is one document of several lines.
    ///
    /// ```
    /// # use shelfmark::{AllStores, Catalog, DataStore, Read};
    /// # use shelfmark_datapackage::Importer;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data");
    /// let session = Catalog::in_memory()?.session("acme", "ann")?;
    /// let report = Importer::new(&session).chunk(16).import_path(path)?;
    /// assert_eq!(report.stores_created, session.count::<DataStore>(AllStores)?);
    /// println!("{report}");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ImportErrorKind`] lists them. The chunks before the error stay, nothing of its own does.
    pub fn import_path(&self, path: impl AsRef<Path>) -> Result<ImportReport, ImportError> {
        let mut run = Run::new(self);
        let outcome = run.path(path.as_ref());
        run.finish(outcome)
    }

    /// Imports one document a line; blank lines are skipped. Memory is bounded by a chunk.
    ///
    /// ```
    /// # use shelfmark::{Catalog, DataSet, Query, Read};
    /// # use shelfmark_datapackage::Importer;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let session = Catalog::in_memory()?.session("acme", "ann")?;
    /// let line = br#"{"name": "gdp", "resources": [{"name": "gdp", "schema": {"fields": [{"name": "year", "type": "year"}]}}]}"#;
    /// let report = Importer::new(&session).import_reader(&line[..])?;
    /// assert_eq!((report.packages, report.resources, report.fields), (1, 1, 1));
    /// let sets = session.list(&Query::<DataSet>::new())?.items;
    /// assert_eq!(sets[0].secure_qri, "dataset:frictionless:unattributed:gdp:gdp");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Importer::import_path`].
    pub fn import_reader(&self, reader: impl BufRead) -> Result<ImportReport, ImportError> {
        let mut run = Run::new(self);
        let outcome = run.lines(Lines::new(reader), None);
        run.finish(outcome)
    }
}

/// One import under way.
struct Run<'i, 's> {
    importer: &'i Importer<'s>,
    chunk: Vec<(Place, Package)>,
    chunk_bytes: usize,
    stored: ImportReport,
}

impl<'i, 's> Run<'i, 's> {
    fn new(importer: &'i Importer<'s>) -> Self {
        Self {
            importer,
            chunk: Vec::new(),
            chunk_bytes: 0,
            stored: ImportReport::default(),
        }
    }

    fn finish(mut self, outcome: Result<(), ImportError>) -> Result<ImportReport, ImportError> {
        match outcome.and_then(|()| self.commit()) {
            Ok(()) => Ok(self.stored),
            Err(error) => Err(error.after(self.stored)),
        }
    }

    fn path(&mut self, path: &Path) -> Result<(), ImportError> {
        if !path.is_dir() {
            return self.file(path).map_err(|error| error.at(file_place(path)));
        }
        for (path, found) in Tree::new(path) {
            found
                .map_err(ImportError::unreadable)
                .and_then(|()| {
                    let mut lines = Lines::new(input::open(&path)?);
                    // An empty file is no document either: reading it as one says so.
                    lines.advance()?;
                    self.rest_as_document(lines, &path)
                })
                .map_err(|error| error.at(file_place(&path)))?;
        }
        Ok(())
    }

    fn file(&mut self, path: &Path) -> Result<(), ImportError> {
        let mut lines = Lines::new(input::open(path)?);
        if input::has_lines_by_name(path) {
            return self.lines(lines, Some(path));
        }
        if !lines.advance()? && !input::is_descriptor_by_name(path) {
            return Ok(());
        }
        if input::is_descriptor_by_name(path) || lines.is_unfinished() {
            return self.rest_as_document(lines, path);
        }
        self.line(&lines, Some(path))?;
        self.lines(lines, Some(path))
    }

    /// The line that was read last and all that follows are one document.
    fn rest_as_document(&mut self, lines: Lines<impl BufRead>, path: &Path) -> Result<(), ImportError> {
        let line = lines.number();
        let text = lines.rest()?;
        let place_name = path
            .parent()
            .and_then(Path::file_name)
            .map(|name| name.to_string_lossy().into_owned())
            .filter(|name| !name.trim().is_empty())
            .unwrap_or_else(|| "package".to_owned());
        self.document(input::without_mark(&text), line, file_place(path), &place_name)
    }

    fn lines(&mut self, mut lines: Lines<impl BufRead>, path: Option<&Path>) -> Result<(), ImportError> {
        while lines.advance()? {
            self.line(&lines, path)?;
        }
        Ok(())
    }

    fn line(&mut self, lines: &Lines<impl BufRead>, path: Option<&Path>) -> Result<(), ImportError> {
        let number = lines.number();
        let place = Place {
            file: path.map(Path::to_path_buf),
            line: Some(number),
            package: None,
        };
        self.document(lines.text(), number, place, &format!("package_{number}"))
    }

    fn document(
        &mut self,
        text: &[u8],
        line: u64,
        mut place: Place,
        place_name: &str,
    ) -> Result<(), ImportError> {
        let read = json::parse(text, line).and_then(|document| {
            mapping::package(document, place_name).map_err(|refused| {
                place.package = refused.name;
                ImportError::violations_of(ImportErrorKind::NotAPackage, refused.violations)
            })
        });
        let package = match read {
            Ok(package) => package,
            Err(error) => return Err(error.at(place)),
        };
        place.package = Some(package.asset.technical_name.clone());
        self.chunk.push((place, package));
        self.chunk_bytes += text.len();
        if self.chunk.len() >= self.importer.chunk || self.chunk_bytes >= CHUNK_BYTES {
            self.commit()?;
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), ImportError> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let mut chunk = std::mem::take(&mut self.chunk);
        self.chunk_bytes = 0;
        let stores = self
            .importer
            .session
            .try_transact(|tx| create(tx, &chunk))
            .map_err(|refusal| match refusal {
                Refusal::Catalog(None, error) => ImportError::from_catalog(error),
                Refusal::Catalog(Some(index), error) => {
                    ImportError::from_catalog(error).at(chunk.swap_remove(index).0)
                }
                Refusal::Rules(index, violations) => {
                    ImportError::violations_of(ImportErrorKind::Refused, violations)
                        .at(chunk.swap_remove(index).0)
                }
            })?;
        self.stored.chunks += 1;
        self.stored.add(&stores);
        for (_, package) in &chunk {
            self.stored.add(&package.counts);
        }
        Ok(())
    }
}

fn file_place(path: &Path) -> Place {
    Place {
        file: Some(path.to_path_buf()),
        ..Place::default()
    }
}

/// Why a chunk was not stored: by the package at an index, or as a whole.
enum Refusal {
    Catalog(Option<usize>, Error),
    Rules(usize, Vec<Violation>),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Refusal::Catalog(None, error)
    }
}

/// Creates all packages of a chunk, and counts the stores that this took.
fn create(tx: &Transaction<'_>, chunk: &[(Place, Package)]) -> Result<ImportReport, Refusal> {
    let mut stores: HashMap<&str, StoreId> = HashMap::new();
    let mut counts = ImportReport::default();
    for (index, (_, package)) in chunk.iter().enumerate() {
        let mut rules = Violations::default();
        let failed = |error| Refusal::Catalog(Some(index), error);

        let name = package.store.technical_name.as_str();
        let mut store = stores.get(name).copied();
        if store.is_none() {
            store = existing_store(tx, name).map_err(failed)?;
        }
        if store.is_none() {
            let created = accept(tx, package.store.clone(), "", "data store", &mut rules).map_err(failed)?;
            store = created.map(|store| store.id);
            counts.stores_created += 1;
            // What did not fit is whole in the properties.
            counts.source_names_cut += u64::from(package.store.properties.is_some());
        }
        stores.extend(store.map(|store| (name, store)));

        let mut new = package.asset.clone();
        new.store = store.or_else(|| NOBODY.parse().ok());
        let asset = accept(tx, new, "", "data asset", &mut rules).map_err(failed)?;
        // Also where the asset was refused: the error names every violation of the package.
        for (position, set) in package.sets.iter().enumerate() {
            let mut new = set.clone();
            new.asset = asset
                .as_ref()
                .map(|asset| asset.id)
                .or_else(|| NOBODY.parse().ok());
            let pointer = format!("/resources/{position}");
            accept(tx, new, &pointer, "data set", &mut rules).map_err(failed)?;
        }
        rules
            .none()
            .map_err(|violations| Refusal::Rules(index, violations))?;
    }
    Ok(counts)
}

/// The store that an earlier package of the same source made.
fn existing_store(tx: &Transaction<'_>, name: &str) -> shelfmark::Result<Option<StoreId>> {
    let found: Vec<DataStore> = tx.find_by_technical_name(AllStores, name)?;
    let ours = found.into_iter().find(|store| store.store_type == STORE_TYPE);
    Ok(ours.map(|store| store.id))
}

/// Creates an entity; `None` where rules refuse it, which are noted at `pointer` of the descriptor, or have refused its parent.
fn accept<N: NewEntity>(
    tx: &Transaction<'_>,
    new: N,
    pointer: &str,
    kind: &str,
    rules: &mut Violations,
) -> shelfmark::Result<Option<N::Entity>> {
    match tx.create(new) {
        Ok(created) => Ok(Some(created)),
        Err(error) if error.kind() == ErrorKind::Invalid => {
            for violation in error.violations() {
                rules.note(pointer, format!("as a {kind}: {violation}"));
            }
            Ok(None)
        }
        Err(error) if error.kind() == ErrorKind::NotFound && !rules.is_empty() => Ok(None),
        Err(error) => Err(error),
    }
}
