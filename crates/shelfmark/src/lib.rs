//! placeholder
#![forbid(unsafe_code)]
mod backend; mod error; mod ids; mod keyspace; mod time; mod environment; mod sortkey; mod envelope;
pub use error::*; pub use ids::*; pub use time::*;
