//! Whether a new schema of a data set agrees with the one before: a classification, and a hook that refuses by it.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use crate::entity::JsonObject;
use crate::hooks::{Hook, HookView, Proposal, Veto};
use crate::violations::LISTED;
use crate::{DataField, DataSet, DataType, FieldType, NewDataSet, Schema, SetId};

/// The digits that an `INTEGER` may have: those of 64 bits.
const INTEGER_DIGITS: i64 = 19;

/// How a new schema agrees with the one before, the best first: of several changes the greatest counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compatibility {
    /// The data that are there fit, and whoever reads by the old schema finds what it says.
    Compatible,
    /// The data that are there fit, but whoever reads by the old schema may meet what it ruled out: a value of a wider type, a missing value, another name.
    Widening,
    /// The data that are there may not fit, or whoever reads by the old schema does not find what it says.
    Breaking,
}

impl fmt::Display for Compatibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Compatibility::Compatible => "compatible",
            Compatibility::Widening => "widening",
            Compatibility::Breaking => "breaking",
        })
    }
}

/// What may change between two schemas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SchemaAspect {
    /// A field is there that was not.
    Added,
    /// A field, or a whole schema, is there no more.
    Removed,
    /// A field has another name, and its old one as alias.
    Renamed,
    /// The alias of a field.
    Alias,
    /// The type of a field, or its precision, scale or length.
    Type,
    /// Whether a value may be missing.
    Nullable,
    /// Whether a field is part of the primary key, or where in it.
    Key,
    /// Whether values are encrypted.
    Encrypted,
    /// Whether a field has lost its counterpart.
    Orphan,
    /// What is said about a field: tags, description, properties, sensitivity, the source's name of its type.
    Metadata,
}

/// One thing that changed between two schemas.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SchemaChange {
    /// The name of the field, the new one where it has another; of a whole schema its name, empty where it has none.
    pub field: String,
    /// Its JSON pointer, within the new schema; within the old one where it is there no more.
    pub pointer: String,
    /// What changed.
    pub aspect: SchemaAspect,
    /// How it agrees.
    pub compatibility: Compatibility,
    /// The same for people.
    pub message: String,
}

/// What changed between two schemas, field by field.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SchemaComparison {
    /// In the order of the old schema's fields, then those that are new.
    pub changes: Vec<SchemaChange>,
}

impl SchemaComparison {
    /// The worst of all changes; `Compatible` where there is none.
    pub fn compatibility(&self) -> Compatibility {
        self.changes
            .iter()
            .map(|change| change.compatibility)
            .max()
            .unwrap_or(Compatibility::Compatible)
    }
}

/// Compares a schema with the one before. O(fields).
///
/// A field is the same one if it has the same name, wherever it stands (of several with one name the first goes with the first), or if its alias is the old name.
/// What is not stated counts as the most that it may mean: a field without `nullable` may lack values, one without `encrypted`, `primaryKey`, `orphan` is not so.
///
/// | change | class |
/// |---|---|
/// | order of fields; name, load options, anomalies and date of the schema | none |
/// | tags, user tags, description, properties, sensitivity, source's type name (but of `CUSTOM`), other type properties | compatible |
/// | field added that may lack values; alias added; no orphan any more | compatible |
/// | field added with `nullable: false`: the data that are there lack it | breaking |
/// | field removed; renamed | breaking |
/// | renamed, with the old name as alias | widening |
/// | alias removed or changed, unless it became the name | breaking |
/// | `INTEGER` to `DOUBLE`, or to `DECIMAL` with 19 digits before the point; `DATE` to `DATETIME` or `TIMESTAMP` | widening |
/// | `DECIMAL` with more digits before or behind the point and fewer of neither | widening |
/// | `STRING`, `BINARY`: `length` (an integer in the type's properties; none is no bound) grown or gone | widening |
/// | any other change of type, precision, scale or length; of `CUSTOM` any of original type and properties | breaking |
/// | `nullable` from `false` | widening |
/// | `nullable` to `false` | breaking |
/// | into or out of the primary key, another place in it; `encrypted`; becoming an orphan | breaking |
///
/// ```
/// use shelfmark::{Compatibility, DataField, FieldType, Schema, compare_schemas};
///
/// let schema = |fields: &[(&str, FieldType)]| Schema {
///     data_fields: fields.iter().map(|(name, of)| DataField::new(*name, *of)).collect(),
///     ..Schema::default()
/// };
/// let old = schema(&[("id", FieldType::Integer), ("price", FieldType::Integer)]);
/// let new = schema(&[("price", FieldType::Double), ("id", FieldType::Integer), ("note", FieldType::String)]);
/// let comparison = compare_schemas(&old, &new);
/// assert_eq!(comparison.compatibility(), Compatibility::Widening);
/// let changes: Vec<_> = comparison.changes.iter().map(|change| (change.field.as_str(), change.pointer.as_str())).collect();
/// assert_eq!(changes, [("price", "/dataFields/0/dataType"), ("note", "/dataFields/2")]);
/// assert_eq!(compare_schemas(&new, &old).compatibility(), Compatibility::Breaking);
/// ```
pub fn compare_schemas(old: &Schema, new: &Schema) -> SchemaComparison {
    let mut changes = Vec::new();
    compare("", old, new, &mut changes);
    SchemaComparison { changes }
}

/// Compares the schemas of a data set: its `schema` with the one before, each additional schema with the one of the same `schemaName`, those without a name in
/// order. A schema that is there no more is breaking, a new one is compatible. Pointers begin at the data set. O(fields).
pub fn compare_data_sets(old: &NewDataSet, new: &NewDataSet) -> SchemaComparison {
    let mut changes = Vec::new();
    match (&old.schema, &new.schema) {
        (Some(old), Some(new)) => compare("/schema", old, new, &mut changes),
        (Some(old), None) => changes.push(schema_gone("/schema".to_owned(), old)),
        (None, _) => {}
    }
    let mut left: HashMap<Option<&str>, VecDeque<usize>> = HashMap::new();
    for (at, schema) in new.additional_schemas.iter().enumerate() {
        left.entry(schema.schema_name.as_deref())
            .or_default()
            .push_back(at);
    }
    for (at, schema) in old.additional_schemas.iter().enumerate() {
        let same = left
            .get_mut(&schema.schema_name.as_deref())
            .and_then(VecDeque::pop_front);
        match same.and_then(|at| Some((at, new.additional_schemas.get(at)?))) {
            Some((at, new)) => compare(&format!("/additionalSchemas/{at}"), schema, new, &mut changes),
            None => changes.push(schema_gone(format!("/additionalSchemas/{at}"), schema)),
        }
    }
    SchemaComparison { changes }
}

fn schema_gone(pointer: String, schema: &Schema) -> SchemaChange {
    SchemaChange {
        field: schema.schema_name.clone().unwrap_or_default(),
        pointer,
        aspect: SchemaAspect::Removed,
        compatibility: Compatibility::Breaking,
        message: "the schema is there no more".to_owned(),
    }
}

/// Where the fields of a schema are found: by name, the first of several first, and by alias.
fn compare(at: &str, old: &Schema, new: &Schema, changes: &mut Vec<SchemaChange>) {
    let mut by_name: HashMap<&str, VecDeque<usize>> = HashMap::new();
    for (index, field) in new.data_fields.iter().enumerate() {
        by_name.entry(&field.name).or_default().push_back(index);
    }
    let mut matched = vec![false; new.data_fields.len()];
    let mut partners: Vec<Option<usize>> = vec![None; old.data_fields.len()];
    for (field, partner) in old.data_fields.iter().zip(&mut partners) {
        *partner = by_name.get_mut(field.name.as_str()).and_then(VecDeque::pop_front);
        if let Some(index) = *partner {
            matched[index] = true;
        }
    }
    // An alias leads to a field that no name has led to.
    let mut by_alias: HashMap<&str, usize> = HashMap::new();
    for (index, field) in new.data_fields.iter().enumerate() {
        if let Some(alias) = field.alias.as_deref().filter(|_| !matched[index]) {
            by_alias.insert(alias, index);
        }
    }
    for (place, (field, partner)) in old.data_fields.iter().zip(partners).enumerate() {
        let renamed = || by_alias.remove(field.name.as_str());
        let Some(index) = partner.or_else(renamed) else {
            changes.push(SchemaChange {
                field: field.name.clone(),
                pointer: format!("{at}/dataFields/{place}"),
                aspect: SchemaAspect::Removed,
                compatibility: Compatibility::Breaking,
                message: "the field is there no more".to_owned(),
            });
            continue;
        };
        matched[index] = true;
        if let Some(new) = new.data_fields.get(index) {
            compare_field(&format!("{at}/dataFields/{index}"), field, new, changes);
        }
    }
    for (index, field) in new.data_fields.iter().enumerate() {
        if !matched[index] {
            let (compatibility, message) = match field.nullable {
                Some(false) => (
                    Compatibility::Breaking,
                    "the field is new, and may not lack the values that it lacks so far",
                ),
                _ => (Compatibility::Compatible, "the field is new"),
            };
            changes.push(SchemaChange {
                field: field.name.clone(),
                pointer: format!("{at}/dataFields/{index}"),
                aspect: SchemaAspect::Added,
                compatibility,
                message: message.to_owned(),
            });
        }
    }
}

fn compare_field(at: &str, old: &DataField, new: &DataField, changes: &mut Vec<SchemaChange>) {
    use Compatibility::{Breaking, Compatible, Widening};
    let DataField {
        name,
        tags,
        alias,
        orphan,
        data_type,
        nullable,
        user_tags,
        encrypted,
        sensitive,
        primary_key,
        properties,
        description,
        ordinal_position_in_key,
    } = old;
    let mut note = |member: &str, aspect, compatibility, message: String| {
        changes.push(SchemaChange {
            field: new.name.clone(),
            pointer: format!("{at}{member}"),
            aspect,
            compatibility,
            message,
        });
    };
    if *name != new.name {
        let message = format!("{name:?} is now {:?}, with the old name as alias", new.name);
        note("/name", SchemaAspect::Renamed, Widening, message);
    }
    if let Some(alias) = alias
        && new.alias.as_ref() != Some(alias)
        && new.name != *alias
    {
        let message = format!("the field is not found as {alias:?} any more");
        note("/alias", SchemaAspect::Alias, Breaking, message);
    } else if alias.is_none() && new.alias.is_some() && *name == new.name {
        note(
            "/alias",
            SchemaAspect::Alias,
            Compatible,
            "the alias is new".to_owned(),
        );
    }
    if let Some((compatibility, message)) = compare_types(data_type, &new.data_type) {
        note("/dataType", SchemaAspect::Type, compatibility, message);
    }
    match (*nullable == Some(false), new.nullable == Some(false)) {
        (true, false) => note(
            "/nullable",
            SchemaAspect::Nullable,
            Widening,
            "values may be missing now".to_owned(),
        ),
        (false, true) => note(
            "/nullable",
            SchemaAspect::Nullable,
            Breaking,
            "values may not be missing any more".to_owned(),
        ),
        _ => {}
    }
    let key = |is: Option<bool>, place: Option<i64>| is.unwrap_or(false).then_some(place);
    let (before, after) = (
        key(*primary_key, *ordinal_position_in_key),
        key(new.primary_key, new.ordinal_position_in_key),
    );
    if before != after {
        let message = match (before, after) {
            (None, _) => "the field is part of the primary key now",
            (_, None) => "the field is no part of the primary key any more",
            _ => "the field has another place in the primary key",
        };
        note("/primaryKey", SchemaAspect::Key, Breaking, message.to_owned());
    }
    if encrypted.unwrap_or(false) != new.encrypted.unwrap_or(false) {
        let now = if new.encrypted == Some(true) {
            "now"
        } else {
            "no more"
        };
        note(
            "/encrypted",
            SchemaAspect::Encrypted,
            Breaking,
            format!("values are encrypted {now}"),
        );
    }
    match (orphan.unwrap_or(false), new.orphan.unwrap_or(false)) {
        (false, true) => note(
            "/orphan",
            SchemaAspect::Orphan,
            Breaking,
            "the field has lost its counterpart".to_owned(),
        ),
        (true, false) => note(
            "/orphan",
            SchemaAspect::Orphan,
            Compatible,
            "the field has a counterpart again".to_owned(),
        ),
        _ => {}
    }
    let mut metadata = |member: &str, same: bool| {
        if !same {
            let message = "what is said about the field has changed".to_owned();
            note(member, SchemaAspect::Metadata, Compatible, message);
        }
    };
    metadata("/tags", *tags == new.tags);
    metadata("/userTags", *user_tags == new.user_tags);
    metadata(
        "/sensitive",
        sensitive.unwrap_or(false) == new.sensitive.unwrap_or(false),
    );
    metadata("/properties", *properties == new.properties);
    metadata("/description", *description == new.description);
}

/// How the type of a field changed; `None` where it did not.
fn compare_types(old: &DataType, new: &DataType) -> Option<(Compatibility, String)> {
    if old == new {
        return None;
    }
    let (before, after) = (Values::of(old), Values::of(new));
    // What is not one of these says with all its members together what it is.
    let opaque = |values: &Values| *values == Values::Opaque;
    let compatibility = if before == after && !opaque(&before) {
        Compatibility::Compatible
    } else if before.within(&after) {
        Compatibility::Widening
    } else {
        Compatibility::Breaking
    };
    Some((compatibility, format!("{} is now {}", named(old), named(new))))
}

fn named(data_type: &DataType) -> String {
    let mut text = data_type
        .field_type
        .map_or("nothing", FieldType::as_str)
        .to_owned();
    for name in ["precision", "scale", "length"] {
        if let Some(value) = integer(data_type.properties.as_ref(), name) {
            text.push_str(&format!(" {name} {value}"));
        }
    }
    if let Some(original) = &data_type.original_type {
        text.push_str(&format!(" ({original:?})"));
    }
    text
}

fn integer(properties: Option<&JsonObject>, name: &str) -> Option<i64> {
    properties?.get(name)?.as_i64()
}

/// The values that a type admits.
#[derive(Debug, PartialEq, Eq)]
enum Values {
    /// At most so many digits before the point, and behind it.
    Decimal(i64, i64),
    /// `STRING` or `BINARY`, at most so long.
    Sized(FieldType, Option<i64>),
    Plain(FieldType),
    /// `CUSTOM`, or none: equal to nothing but itself.
    Opaque,
}

impl Values {
    fn of(data_type: &DataType) -> Self {
        let properties = data_type.properties.as_ref();
        match data_type.field_type {
            Some(FieldType::Decimal) => {
                let scale = integer(properties, "scale").unwrap_or(0);
                let precision = integer(properties, "precision").unwrap_or(0);
                Values::Decimal(precision.saturating_sub(scale), scale)
            }
            Some(sized @ (FieldType::String | FieldType::Binary)) => {
                Values::Sized(sized, integer(properties, "length"))
            }
            Some(FieldType::Custom) | None => Values::Opaque,
            Some(plain) => Values::Plain(plain),
        }
    }

    /// Whether all of these are among those.
    fn within(&self, wider: &Values) -> bool {
        use FieldType::{Date, DateTime, Double, Integer, Timestamp};
        match (self, wider) {
            (Values::Decimal(before, behind), Values::Decimal(wider_before, wider_behind)) => {
                before <= wider_before && behind <= wider_behind
            }
            (Values::Plain(Integer), Values::Decimal(before, _)) => *before >= INTEGER_DIGITS,
            (Values::Sized(one, length), Values::Sized(other, wider)) => {
                let longer = match (length, wider) {
                    (_, None) => true,
                    (None, Some(_)) => false,
                    (Some(length), Some(wider)) => length <= wider,
                };
                one == other && longer
            }
            (Values::Plain(Integer), Values::Plain(Double))
            | (Values::Plain(Date), Values::Plain(DateTime | Timestamp)) => true,
            _ => false,
        }
    }
}

type Report = dyn Fn(SetId, &SchemaComparison) + Send + Sync;

/// A hook that compares the schemas of a data set that is changed with those before, as [`compare_data_sets`] does, and refuses what breaks.
///
/// The veto names each field that is at fault, by its JSON pointer. New data sets and those without a schema before are none of its business. A change that leaves the
/// schemas as they are costs it the comparison.
///
/// ```
/// use std::sync::Arc;
/// use shelfmark::{DataField, ErrorKind, Expectation, FieldType, NewDataAsset, NewDataSet, NewDataStore, Options, Schema, SchemaCompatibility, Write};
///
/// # fn main() -> shelfmark::Result<()> {
/// let session = Options::new().hook(Arc::new(SchemaCompatibility::new())).in_memory()?.session("acme", "ann")?;
/// let store = session.create(NewDataStore::new("warehouse", "postgres"))?;
/// let asset = session.create(NewDataAsset::new(store.id, "sales", "qix-df"))?;
/// let set = session.create(NewDataSet {
///     schema: Some(Schema { data_fields: vec![DataField::new("id", FieldType::Integer)], ..Schema::default() }),
///     ..NewDataSet::new(asset.id, "orders", "qdf:files:acme:orders", "qri:orders")
/// })?;
/// let retyped = |to| move |set: &mut NewDataSet| {
///     if let Some(schema) = &mut set.schema {
///         schema.data_fields[0].data_type.field_type = Some(to);
///     }
/// };
/// let error = session.update(set.id, Expectation::Any, retyped(FieldType::String)).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Vetoed);
/// assert_eq!(error.violations()[0].pointer, "/schema/dataFields/0/dataType");
/// session.update(set.id, Expectation::Any, retyped(FieldType::Double))?; // widens
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SchemaCompatibility {
    /// The best of what is refused.
    refused: Option<Compatibility>,
    report: Option<Arc<Report>>,
}

impl fmt::Debug for SchemaCompatibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchemaCompatibility")
            .field("refused", &self.refused)
            .field("reports", &self.report.is_some())
            .finish()
    }
}

impl Default for SchemaCompatibility {
    fn default() -> Self {
        Self {
            refused: Some(Compatibility::Breaking),
            report: None,
        }
    }
}

impl SchemaCompatibility {
    /// Refuses what is breaking.
    pub fn new() -> Self {
        Self::default()
    }

    /// Refuses what is widening too.
    #[must_use]
    pub fn refuse_widening(mut self) -> Self {
        self.refused = Some(Compatibility::Widening);
        self
    }

    /// Refuses nothing: says what is breaking through [`SchemaCompatibility::on_change`] and as a warning of `tracing`.
    #[must_use]
    pub fn report_only(mut self) -> Self {
        self.refused = None;
        self
    }

    /// Calls `report` for each data set in whose schemas something changes, before the hook decides. The change is not committed by then, and may never be; `report` may be
    /// called again about it, and runs while other writers wait.
    #[must_use]
    pub fn on_change(mut self, report: impl Fn(SetId, &SchemaComparison) + Send + Sync + 'static) -> Self {
        self.report = Some(Arc::new(report));
        self
    }
}

impl Hook for SchemaCompatibility {
    fn name(&self) -> &str {
        "schema compatibility"
    }

    fn set(&self, _view: &HookView<'_>, change: &mut Proposal<'_, DataSet>) -> Result<(), Veto> {
        let Some(old) = change.old else {
            return Ok(());
        };
        let comparison = compare_data_sets(old, change.new);
        if comparison.changes.is_empty() {
            return Ok(());
        }
        if let Some(report) = &self.report {
            report(change.id, &comparison);
        }
        let worst = comparison.compatibility();
        let Some(refused) = self.refused else {
            if worst == Compatibility::Breaking {
                tracing::warn!(set = %change.id, changes = comparison.changes.len(), "the new schema breaks with the one before");
            }
            return Ok(());
        };
        if worst < refused {
            return Ok(());
        }
        let at_fault = comparison
            .changes
            .into_iter()
            .filter(|change| change.compatibility >= refused);
        let veto = Veto::new(format!("the new schema is {worst} against the one before"));
        Err(at_fault.take(LISTED).fold(veto, |veto, change| {
            let SchemaChange {
                field,
                pointer,
                aspect: _,
                compatibility,
                message,
            } = change;
            // A whole schema's message says what it is about.
            let message = match pointer.contains("/dataFields/") {
                true => format!("field {field:?}: {message} ({compatibility})"),
                false => format!("{message} ({compatibility})"),
            };
            veto.because(pointer, message)
        }))
    }
}
