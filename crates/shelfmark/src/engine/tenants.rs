//! Tenants: names interned to the numbers that keys begin with. A number is never given twice.

use std::ops::ControlFlow;

use crate::backend::{Direction, KeyRange, Keyspace, Snapshot, WriteBatch};
use crate::envelope;
use crate::error::{Error, Result};
use crate::keyspace::{TenantNumber, bounds, keys};

/// The most bytes of a tenant's or an actor's name.
pub(crate) const MAX_NAME: usize = 255;

/// Refuses a name that could not be a key or would read as nothing.
pub(crate) fn check_name(what: &str, name: &str) -> Result<()> {
    if name.is_empty() || name.len() > MAX_NAME {
        let message = format!(
            "the {what} must have 1 to {MAX_NAME} bytes, and has {}",
            name.len()
        );
        return Err(Error::violation("", message));
    }
    Ok(())
}

/// The number of a tenant; `None` where it does not exist.
pub(crate) fn number(snapshot: &dyn Snapshot, name: &str) -> Result<Option<TenantNumber>> {
    let found = read_u32(snapshot, Keyspace::Tenant, name.as_bytes())?;
    Ok(found.map(TenantNumber))
}

/// The number that the next new tenant gets.
pub(crate) fn next_number(snapshot: &dyn Snapshot) -> Result<TenantNumber> {
    Ok(TenantNumber(
        read_u32(snapshot, Keyspace::Meta, keys::META_NEXT_TENANT)?.unwrap_or(1),
    ))
}

/// Stages a new tenant.
pub(crate) fn stage_new(batch: &mut WriteBatch, name: &str, number: TenantNumber) {
    let name = name.as_bytes();
    let value = envelope::seal(Keyspace::Tenant, name, &number.0.to_be_bytes());
    batch.put(Keyspace::Tenant, name, value);
    let next = envelope::seal(
        Keyspace::Meta,
        keys::META_NEXT_TENANT,
        &(number.0 + 1).to_be_bytes(),
    );
    batch.put(Keyspace::Meta, keys::META_NEXT_TENANT, next);
}

/// Stages the removal of a tenant and everything in it.
pub(crate) fn stage_drop(batch: &mut WriteBatch, name: &str, number: TenantNumber) {
    for &space in Keyspace::ALL.iter().filter(|space| space.belongs_to_tenants()) {
        batch.delete_range(space, bounds::tenant(number));
    }
    batch.delete(Keyspace::Tenant, name.as_bytes());
}

/// Every tenant, by name.
pub(crate) fn all(snapshot: &dyn Snapshot) -> Result<Vec<(String, TenantNumber)>> {
    let mut tenants = Vec::new();
    let mut bad = None;
    snapshot.scan(
        Keyspace::Tenant,
        &KeyRange::all(),
        Direction::Forward,
        &mut |key, value| match decode(key, value) {
            Ok(tenant) => {
                tenants.push(tenant);
                ControlFlow::Continue(())
            }
            Err(error) => {
                bad = Some(error);
                ControlFlow::Break(())
            }
        },
    )?;
    bad.map_or(Ok(tenants), Err)
}

/// The name and number in a row of the tenant keyspace.
pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<(String, TenantNumber)> {
    let name = std::str::from_utf8(key)
        .map_err(|error| Error::corrupt(Keyspace::Tenant, key, error))?
        .to_owned();
    Ok((name, TenantNumber(decode_u32(Keyspace::Tenant, key, value)?)))
}

fn read_u32(snapshot: &dyn Snapshot, space: Keyspace, key: &[u8]) -> Result<Option<u32>> {
    let mut found = None;
    snapshot.get(space, key, &mut |value| {
        found = Some(decode_u32(space, key, value));
    })?;
    found.transpose()
}

fn decode_u32(space: Keyspace, key: &[u8], value: &[u8]) -> Result<u32> {
    let body = envelope::open(space, key, value)?;
    body.try_into()
        .map(u32::from_be_bytes)
        .map_err(|_| Error::corrupt(space, key, "not a number of 4 bytes"))
}
