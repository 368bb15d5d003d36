//! What the comparison asks of this program, and what it answers: a line of JSON each way.

use serde::{Deserialize, Serialize};

/// A table: what a data set is in Iceberg.
#[derive(Serialize, Deserialize)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// What else a data set says of itself.
    pub properties: Vec<(String, String)>,
    /// Names of its fields, each with an Iceberg type of its own.
    pub fields: Vec<(String, FieldKind)>,
}

/// Types of fields.
#[derive(Serialize, Deserialize)]
pub enum FieldKind {
    /// 64 bits.
    Long,
    /// Text.
    String,
    /// A day.
    Date,
    /// 64 bits, binary.
    Double,
}

/// One thing to do.
#[derive(Serialize, Deserialize)]
pub enum Request {
    /// Create these tables, each durable before the next one of its task.
    Create {
        /// Where.
        namespace: String,
        /// How many tasks share them.
        tasks: usize,
        /// Whether each task may have a thread of its own; else the runtime is as it is by default.
        thread_each: bool,
        /// The tables.
        tables: Vec<Table>,
    },
    /// List a namespace so many times.
    List {
        /// Which.
        namespace: String,
        /// How often.
        times: usize,
    },
    /// Load these tables, one after the other.
    Load {
        /// Where.
        namespace: String,
        /// Which.
        names: Vec<String>,
    },
    /// Ask for each of these tables whether it is there.
    Exists {
        /// Where.
        namespace: String,
        /// Which.
        names: Vec<String>,
    },
}

/// What came of it.
#[derive(Serialize, Deserialize)]
pub struct Answer {
    /// How long it took.
    pub seconds: f64,
    /// How many tables were created, loaded or found.
    pub count: usize,
    /// The names that the last list gave.
    pub names: Vec<String>,
}
