//! One opaque error with a coarse kind that says what the caller should do, and where the import stopped.

use std::error::Error as StdError;
use std::fmt;
use std::path::{Path, PathBuf};

use shelfmark::Violation;

use crate::ImportReport;

/// What went wrong, coarse enough to act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ImportErrorKind {
    /// The input cannot be read; the source says why.
    Unreadable,
    /// The text is not JSON, or JSON that loses something when read: a key twice in one object, more than 128 levels. Mend it.
    Malformed,
    /// A document has more than 64 MiB or more than 1,000,000 JSON values. Split the package.
    TooLarge,
    /// The document is JSON but not a data package. Mend what [`ImportError::violations`] lists.
    NotAPackage,
    /// The package breaks rules of the catalog that no mending helps: free JSON deeper than 64 levels, more than 1 MiB in one entity. Mend
    /// what [`ImportError::violations`] lists.
    Refused,
    /// The catalog failed, or refused the package for what it holds already; [`ImportError::catalog`] has its own error.
    Catalog,
}

/// Where an import stopped and why. Nothing of the chunk it stopped in is stored; the chunks before stay, and [`ImportError::stored`] counts them.
///
/// ```
/// # use shelfmark::{Catalog, DataAsset, Read, AssetSelection};
/// # use shelfmark_datapackage::{Importer, ImportErrorKind};
/// # fn main() -> shelfmark::Result<()> {
/// let session = Catalog::in_memory()?.session("acme", "ann")?;
/// let input: &[u8] = br#"{"name": "a", "resources": []}
/// {"name": "b", "resources": 7}"#;
/// let error = Importer::new(&session).chunk(1).import_reader(input).unwrap_err();
/// assert_eq!(error.kind(), ImportErrorKind::NotAPackage);
/// assert_eq!((error.line(), error.package()), (Some(2), Some("b")));
/// assert_eq!(error.violations()[0].pointer, "/resources");
/// assert_eq!(error.stored().packages, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ImportError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ImportErrorKind,
    message: String,
    place: Place,
    violations: Vec<Violation>,
    stored: ImportReport,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The place of the input that an error is about.
#[derive(Debug, Clone, Default)]
pub(crate) struct Place {
    pub(crate) file: Option<PathBuf>,
    pub(crate) line: Option<u64>,
    pub(crate) package: Option<String>,
}

impl ImportError {
    pub(crate) fn new(kind: ImportErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            place: Place::default(),
            violations: Vec::new(),
            stored: ImportReport::default(),
            source: None,
        }))
    }

    pub(crate) fn unreadable(source: std::io::Error) -> Self {
        Self::new(ImportErrorKind::Unreadable, format!("cannot be read: {source}")).because(source)
    }

    pub(crate) fn violations_of(kind: ImportErrorKind, violations: Vec<Violation>) -> Self {
        let what = match kind {
            ImportErrorKind::Refused => "the catalog refuses it",
            _ => "is not a data package",
        };
        let all: Vec<String> = violations.iter().map(Violation::to_string).collect();
        let mut error = Self::new(kind, format!("{what}: {}", all.join("; ")));
        error.0.violations = violations;
        error
    }

    pub(crate) fn from_catalog(source: shelfmark::Error) -> Self {
        Self::new(ImportErrorKind::Catalog, source.to_string()).because(source)
    }

    #[must_use]
    pub(crate) fn because(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.0.source = Some(Box::new(source));
        self
    }

    /// The same error at a place, except for what it says of its place already.
    #[must_use]
    pub(crate) fn at(mut self, place: Place) -> Self {
        let known = &mut self.0.place;
        known.file = known.file.take().or(place.file);
        known.line = known.line.or(place.line);
        known.package = known.package.take().or(place.package);
        self
    }

    #[must_use]
    pub(crate) fn after(mut self, stored: ImportReport) -> Self {
        self.0.stored = stored;
        self
    }

    /// What went wrong, coarse enough to act on.
    pub fn kind(&self) -> ImportErrorKind {
        self.0.kind
    }

    /// The file or directory it stopped at; none where a reader was imported.
    pub fn file(&self) -> Option<&Path> {
        self.0.place.file.as_deref()
    }

    /// The line it stopped at, from 1: of the file with one document a line, or, for malformed JSON, of the document.
    pub fn line(&self) -> Option<u64> {
        self.0.place.line
    }

    /// The technical name of the package it stopped at, where that was known.
    pub fn package(&self) -> Option<&str> {
        self.0.place.package.as_deref()
    }

    /// Every broken rule of a [`NotAPackage`](ImportErrorKind::NotAPackage) or [`Refused`](ImportErrorKind::Refused), with pointers into the
    /// descriptor; empty for other kinds.
    pub fn violations(&self) -> &[Violation] {
        &self.0.violations
    }

    /// The catalog's own error.
    pub fn catalog(&self) -> Option<&shelfmark::Error> {
        self.0.source.as_ref()?.downcast_ref()
    }

    /// What the chunks before have stored, which stays.
    pub fn stored(&self) -> &ImportReport {
        &self.0.stored
    }
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner {
            message,
            place,
            stored,
            ..
        } = &*self.0;
        if let Some(file) = &place.file {
            write!(f, "{}: ", file.display())?;
        }
        if let Some(line) = place.line {
            write!(f, "line {line}: ")?;
        }
        if let Some(package) = &place.package {
            write!(f, "package {package:?}: ")?;
        }
        write!(
            f,
            "{message} ({} packages stored before it stay)",
            stored.packages
        )
    }
}

impl StdError for ImportError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}
