//! The three kinds of entity.
pub(crate) mod shape;
