//! What an import did, in numbers.

use std::collections::BTreeMap;
use std::fmt;

use shelfmark::FieldType;

/// Declares the counts of a report, each with its documentation and its line in the printed form, from one table.
macro_rules! counts {
    ($(#[doc = $doc:literal] $name:ident => $line:literal,)+) => {
        /// How much was imported, and what had to be mended on the way. Only what is stored is counted.
        ///
        /// It prints as one count a line.
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        #[non_exhaustive]
        pub struct ImportReport {
            $(#[doc = $doc] pub $name: u64,)+
            pub(crate) types: BTreeMap<&'static str, (FieldType, u64)>,
        }

        impl ImportReport {
            pub(crate) fn add(&mut self, other: &ImportReport) {
                $(self.$name += other.$name;)+
                for (&name, &(becomes, count)) in &other.types {
                    self.types.entry(name).or_insert((becomes, 0)).1 += count;
                }
            }
        }

        impl fmt::Display for ImportReport {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                $(writeln!(f, "{:>8}  {}", self.$name, $line)?;)+
                for (name, becomes, count) in self.types() {
                    writeln!(f, "{count:>8}  fields of type {name}, now {}", becomes.as_str())?;
                }
                Ok(())
            }
        }
    };
}

counts! {
    /// Packages read and stored: one data asset each.
    packages => "packages, as data assets",
    /// Resources stored: one data set each.
    resources => "resources, as data sets",
    /// Fields of their schemas.
    fields => "fields",
    /// Data stores created. A source whose store was there already counts for nothing.
    stores_created => "data stores created, one a source",
    /// Transactions, of one chunk of packages each.
    chunks => "transactions",
    /// Packages without a source, in the store `unattributed`.
    packages_without_source => "packages without a source",
    /// Packages whose technical name had to come from their title or their place.
    package_names_made => "packages without a name, named after title or place",
    /// Resources whose technical name had to come from their path or their position.
    resource_names_made => "resources without a name, named after path or position",
    /// Blank or missing field names, now `field_<position>`.
    field_names_made => "fields with a blank name or none, named after their position",
    /// Names of new stores' sources longer than 255 characters.
    source_names_cut => "names of sources cut to 255 characters, for new data stores",
    /// Titles of packages and resources, or the names in their place, longer than 255 characters.
    names_cut => "titles of packages and resources cut to 255 characters",
    /// Names of packages and resources longer than 255 characters.
    technical_names_cut => "names of packages and resources cut to 255 characters",
    /// Field names longer than 1,024 characters.
    field_names_cut => "field names cut to 1,024 characters",
    /// Package descriptions longer than 1,024 characters.
    package_descriptions_cut => "package descriptions cut to 1,024 characters",
    /// Resource descriptions longer than 1,024 characters.
    resource_descriptions_cut => "resource descriptions cut to 1,024 characters",
    /// Field descriptions longer than 1,024 characters. The catalog admits them, so they are whole.
    long_field_descriptions => "field descriptions over 1,024 characters, kept whole",
    /// Keywords that a package has already.
    duplicate_tags => "tags dropped as duplicates",
    /// Fields whose name another field of the same schema has already. Both are kept.
    duplicate_field_names => "fields named as another of their schema, kept",
    /// Schemas given as a path or URL: kept as such, not read.
    referenced_schemas => "schemas given by reference, kept as references",
    /// Names in a primary key that no field of the schema has.
    unknown_key_fields => "primary key parts that name no field",
}

impl ImportReport {
    pub(crate) fn count_type(&mut self, name: &'static str, becomes: FieldType) {
        self.types.entry(name).or_insert((becomes, 0)).1 += 1;
    }

    /// The types of the imported fields: their name in the descriptors, what they became, how many. Names that no specification has are one
    /// entry together.
    pub fn types(&self) -> impl Iterator<Item = (&'static str, FieldType, u64)> + '_ {
        self.types
            .iter()
            .map(|(&name, &(becomes, count))| (name, becomes, count))
    }
}
