//! What a user would otherwise pick.

pub mod bare;
pub mod fjall;
pub mod lmdb;
pub mod native;
pub mod skade;
pub mod sqlite;
