//! Operations over a view: they read, check rules and expectations, and stage changes. Nothing here commits.

pub(crate) mod ancestors;
pub(crate) mod batch;
mod beside;
pub(crate) mod change;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod feed;
pub(crate) mod follow;
pub(crate) mod hooked;
pub(crate) mod idempotency;
pub(crate) mod many;
pub(crate) mod retention;
pub(crate) mod settings;
pub(crate) mod shown;
pub(crate) mod stage;
pub(crate) mod tenants;
#[cfg(test)]
mod tests;
pub(crate) mod undrop;
pub(crate) mod view;

pub(crate) use settings::Settings;
pub(crate) use stage::Stage;
pub(crate) use view::TenantView;
