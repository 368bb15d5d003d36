//! What a user would otherwise pick.

pub mod bare;
pub mod sqlite;
