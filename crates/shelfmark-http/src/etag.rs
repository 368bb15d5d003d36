//! Entity tags: a version, and for what shows names of its ancestors a hash of those.

use axum::http::HeaderMap;
use axum::http::header::{HeaderName, IF_NONE_MATCH};
use shelfmark::{DataAsset, DataSet, DataStore, Entity, EntityKind, Written};

use crate::error::Failure;

/// A kind of entity as the routes have it.
pub(crate) trait Resource: Entity {
    /// The collection in paths.
    const COLLECTION: &'static str;
    /// Whether many can be created in one streamed request.
    const STREAMS: bool;

    /// What it shows of its ancestors that can change under it.
    fn inherited(&self) -> Vec<Option<&str>>;
}

impl Resource for DataStore {
    const COLLECTION: &'static str = "data-stores";
    const STREAMS: bool = false;

    fn inherited(&self) -> Vec<Option<&str>> {
        Vec::new()
    }
}

impl Resource for DataAsset {
    const COLLECTION: &'static str = "data-assets";
    const STREAMS: bool = true;

    fn inherited(&self) -> Vec<Option<&str>> {
        let store = &self.data_store_info;
        vec![store.name.as_deref(), Some(&store.store_type)]
    }
}

impl Resource for DataSet {
    const COLLECTION: &'static str = "data-sets";
    const STREAMS: bool = true;

    fn inherited(&self) -> Vec<Option<&str>> {
        let asset = &self.data_asset_info;
        let store = &asset.data_store_info;
        vec![
            asset.name.as_deref(),
            store.name.as_deref(),
            Some(&store.store_type),
        ]
    }
}

/// The tag of an entity as it is now: `"<version>"` or `"<version>.<hash>"`.
pub(crate) fn of<E: Resource>(entity: &E) -> String {
    tag(entity.version(), &entity.inherited())
}

/// The tag of an entity that was written as JSON.
pub(crate) fn of_written<E: Resource>(written: &Written) -> String {
    let (asset_name, store_name) = (written.asset_name.as_deref(), written.store_name.as_deref());
    let names = [asset_name, store_name, written.store_type.as_deref()];
    let shown = match E::KIND {
        EntityKind::Store => &[],
        EntityKind::Asset => &names[1..],
        EntityKind::Set => &names[..],
    };
    tag(written.version, shown)
}

fn tag(version: u64, inherited: &[Option<&str>]) -> String {
    if inherited.is_empty() {
        return format!("\"{version}\"");
    }
    let mut hasher = blake3::Hasher::new();
    for text in inherited {
        hasher.update(&[u8::from(text.is_some())]);
        let text = text.unwrap_or_default();
        hasher.update(&(text.len() as u64).to_be_bytes());
        hasher.update(text.as_bytes());
    }
    let hash = hasher.finalize().to_hex();
    format!("\"{version}.{}\"", &hash[..16])
}

/// The members of a list of entity tags, quotes and weakness kept; `None` where it is not such a list.
pub(crate) fn members(list: &str) -> Option<Vec<&str>> {
    let mut members = Vec::new();
    let mut rest = list.trim();
    loop {
        let opened = rest.strip_prefix("W/").unwrap_or(rest).strip_prefix('"')?;
        let (_, behind) = opened.split_once('"')?;
        let (member, behind) = (&rest[..rest.len() - behind.len()], behind.trim_start());
        members.push(member);
        if behind.is_empty() {
            return Some(members);
        }
        rest = behind.strip_prefix(',')?.trim_start();
    }
}

/// All values of a header as one list, if there is one.
pub(crate) fn joined(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, Failure> {
    let mut joined: Option<String> = None;
    for value in headers.get_all(name) {
        let value = value.to_str().map_err(|_| {
            Failure::invalid(format!("the header {name} has characters that no entity tag has"))
        })?;
        match &mut joined {
            Some(list) => {
                list.push(',');
                list.push_str(value);
            }
            None => joined = Some(value.to_owned()),
        }
    }
    Ok(joined)
}

/// Whether the client has what this tag stands for already.
pub(crate) fn is_known(headers: &HeaderMap, tag: &str) -> Result<bool, Failure> {
    let Some(list) = joined(headers, &IF_NONE_MATCH)? else {
        return Ok(false);
    };
    if list.trim() == "*" {
        return Ok(true);
    }
    let members = members(&list)
        .ok_or_else(|| Failure::invalid("the header If-None-Match must be * or a list of entity tags"))?;
    Ok(members
        .iter()
        .any(|member| member.strip_prefix("W/").unwrap_or(member) == tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_tags_are_taken_apart() {
        assert_eq!(members(r#""1""#), Some(vec![r#""1""#]));
        assert_eq!(
            members(r#" "1" , W/"2.ab","a,b" "#),
            Some(vec![r#""1""#, r#"W/"2.ab""#, r#""a,b""#])
        );
        for malformed in ["", "1", "\"1", "\"1\"\"2\"", "\"1\",", "*", "w/\"1\""] {
            assert_eq!(members(malformed), None, "{malformed}");
        }
    }
}
