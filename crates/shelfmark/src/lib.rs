//! placeholder
#![forbid(unsafe_code)]
pub mod backend; mod options; mod error; mod ids; mod keyspace; mod time; mod environment; mod sortkey; mod envelope; mod entity; mod json; mod patch;
pub use options::*; pub use error::*; pub use ids::*; pub use time::*; pub use patch::Patch;
