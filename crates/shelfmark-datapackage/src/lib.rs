//! Frictionless data packages into a [`shelfmark`] catalog: `datapackage.json` descriptors of version 1 and 2, and those of the public
//! repository of Our World in Data.
//!
//! ```
//! use shelfmark::{Catalog, DataAsset, Filter, Query, Read};
//! use shelfmark_datapackage::Importer;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let session = Catalog::in_memory()?.session("acme", "ann")?;
//! let packages: &[u8] = br#"{"name": "gdp", "title": "Gross domestic product", "keywords": ["economy"], "sources": [{"title": "World Bank"}], "resources": []}"#;
//! let report = Importer::new(&session).import_reader(packages)?;
//! assert_eq!((report.packages, report.stores_created), (1, 1));
//!
//! let page = session.list(&Query::<DataAsset>::new().filter(Filter::new().tag("economy")))?;
//! assert_eq!(page.items[0].name.as_deref(), Some("Gross domestic product"));
//! assert_eq!(page.items[0].data_store_info.name.as_deref(), Some("World Bank"));
//! # Ok(())
//! # }
//! ```
//!
//! # What becomes of what
//!
//! One rule: a member that a typed field carries verbatim is that field and nothing else; every other member, known or not, stays in `properties` of
//! its entity, under its own name. So nothing is lost, and no name of the importer's own can collide with one of a descriptor. `null` is absent
//! where it stands for a member of these tables.
//!
//! | descriptor | catalog |
//! |---|---|
//! | source | a data store, of type `frictionless`: one for all packages whose source has the same name, compared case-folded; reused by later imports |
//! | package | a data asset, of type `datapackage` |
//! | `name` | `technicalName`; without it the `title`, or else the name of the directory of the file, or `package_<line>` |
//! | `title` | `name`; without it the `name` |
//! | `description` | `description` |
//! | `keywords`, `owidTags` | `tags`, each once |
//! | `resources` | the asset's data sets; must be there, may be empty |
//! | `sources`, `licenses`, `contributors`, `homepage`, `version`, `created`, `id`, and all others | `properties` |
//!
//! **The source** of a package is the first non-blank text, trimmed, among `dataPublishedBy`, `title`, `name`, `path`, `link`, `email` of its first
//! source that has one. Packages without any lie in the store `unattributed`.
//!
//! | resource | data set |
//! |---|---|
//! | `name` | `technicalName`; without it the (first) `path` without its extension, or else `resource_<position from 0>` |
//! | `title`, `description` | as for a package |
//! | `type` (or version 1's `profile` of a tabular resource) | `type` |
//! | `path`, if it is one text | `operational.location` |
//! | `bytes` | `operational.size` |
//! | `dialect`, if it is an object beside an inline schema | `schema.loadOptions` |
//! | `schema` with `fields` | `schema.dataFields`; its other members (`primaryKey`, `foreignKeys`, `uniqueKeys`, `missingValues`, ...) in `properties.schema` |
//! | `schema` as a path or URL | `properties.schema`; it is not read |
//! | `format`, `mediatype`, `encoding`, `hash`, `data`, `sources`, `licenses`, and all others | `properties` |
//! | all three names | `qri`, and the same as `secureQri`: `dataset:frictionless:<source>:<package>:<resource>`, with `%` and `:` percent-encoded and each part cut to 330 characters |
//!
//! | field | data field |
//! |---|---|
//! | `name` | `name`; blank or missing: `field_<position from 0>`, as the catalog's `index` counts |
//! | `type` | `dataType.type` as below, and as written in `dataType.originalType` |
//! | `description` | `description`, of any length |
//! | `constraints.required` | `nullable`, the opposite; kept in `properties.constraints` too |
//! | the schema's `primaryKey` | `primaryKey`, `ordinalPositionInKey` from 1, `nullable` false; of several fields of one name, the first |
//! | `title`, `format`, `constraints`, `missingValues`, `example`, `categories`, `rdfType`, and all others | `properties` |
//!
//! | type | becomes | because |
//! |---|---|---|
//! | `string` | `STRING` | |
//! | `string` of format `binary` | `BINARY` | base64 text that stands for bytes |
//! | `integer` | `INTEGER` | |
//! | `number` | `DOUBLE` | `DECIMAL` needs a precision and a scale, which no descriptor gives |
//! | `boolean` | `BOOLEAN` | |
//! | `date`, `time`, `datetime` | `DATE`, `TIME`, `DATETIME` | a `datetime` need not have a zone, so it is no `TIMESTAMP` |
//! | `year` | `INTEGER` | it counts and sorts as a number |
//! | `yearmonth`, `duration` | `STRING` | `2024-01` and `P1Y2M` are neither dates nor numbers; the text is what can be kept |
//! | `any`, or no type | `CUSTOM` | values of any type, not to be interpreted: `STRING` would be a claim |
//! | `object`, `array`, `list`, `geopoint`, `geojson` | `CUSTOM` | structured values |
//! | any other name | `CUSTOM` | `originalType` knows it |
//!
//! **What does not fit.** Names are cut to 255 characters, descriptions of packages and resources to 1,024, field names to 1,024, between
//! characters, and the whole text stays in `properties` under its member's name (of a source, in its store's, as `source`). A technical name
//! that is too long keeps 238 characters and ends in `~` and 16 hexadecimal digits of the whole, so that two that differ late stay two.
//! [`ImportReport`] counts all of it.
//!
//! **What is refused.** Members of these tables with another type than the published one; documents beyond 64 MiB, 1,000,000 values or 128 levels;
//! keys that occur twice; what the catalog itself refuses, such as free JSON deeper than 64 levels. [`ImportError`] says where, with every
//! violation of that package.
//!
//! **Transactions.** Packages are stored in chunks, all of a chunk or none. Importing twice stores twice, unless the catalog wants
//! unique technical names: then the second time is an error.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::expect_used, clippy::panic, clippy::unwrap_used))]

mod error;
mod importer;
mod input;
mod json;
mod mapping;
mod members;
mod report;
mod text;
mod types;

pub use error::{ImportError, ImportErrorKind};
pub use importer::Importer;
pub use report::ImportReport;
