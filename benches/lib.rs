//! What the benches share with the comparison in `compare/`.

pub mod data;
