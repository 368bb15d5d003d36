//! What the hooks of the model do, on JSON.

use serde_json::{Value, json};
use shelfmark::{EntityKind, ErrorKind};

use super::Oracle;
use super::fields::Object;
use super::state::{Entities, Given, Record};
use crate::hooks::{COUNTED, DOUBLED, KEPT, KEPT_SETS, MENDED, PANICS, REFUSED, STORES, VETOED, stores};
use crate::operation::Tenant;
use crate::outcome::Failure;

fn vetoed(pointer: &str) -> Failure {
    Failure {
        violations: [pointer.to_owned()].into(),
        ..Failure::new(ErrorKind::Vetoed)
    }
}

fn text<'a>(fields: &'a Object, name: &str) -> Option<&'a str> {
    fields.get(name).and_then(Value::as_str)
}

impl Oracle {
    /// What the hooks make of a creation or a change, where there are any.
    pub(super) fn amend(&self, tenant: Tenant, kind: EntityKind, given: Given) -> Result<Given, Failure> {
        if !self.setup.hooks {
            return Ok(given);
        }
        let mut fields = given.fields.clone();
        if text(&fields, "technicalName") == Some(PANICS) {
            return Err(Failure::new(ErrorKind::HookPanicked));
        }
        if text(&fields, "description") == Some(VETOED) {
            return Err(vetoed("/description"));
        }
        if text(&fields, "technicalName").unwrap_or_default().is_empty() {
            fields.insert("technicalName".to_owned(), json!(MENDED));
        }
        let mut tags: Vec<String> = match fields.get("tags") {
            Some(tags) => serde_json::from_value(tags.clone()).unwrap_or_default(),
            None => Vec::new(),
        };
        let has = |tags: &[String], tag: &str| tags.iter().any(|known| known == tag);
        if has(&tags, DOUBLED.0) {
            tags.push(DOUBLED.1.to_owned());
        }
        tags.retain(|tag| !tag.starts_with(STORES));
        if has(&tags, COUNTED) {
            let count = self.state.tenant(tenant.name()).all(EntityKind::Store).count();
            tags.push(stores(count as u64));
        }
        if has(&tags, REFUSED) {
            return Err(vetoed("/tags"));
        }
        fields.insert("tags".to_owned(), json!(tags));
        Ok(Given {
            fields: Given::read(kind, fields).fields,
            ..given
        })
    }
}

/// Whether the hooks let an entity be deleted.
pub(super) fn may_delete(entities: &Entities, record: &Record) -> Result<(), Failure> {
    let sets = match record.kind {
        EntityKind::Asset => entities.children(record.id).count() as u64,
        EntityKind::Store | EntityKind::Set => 0,
    };
    if text(&record.fields, "technicalName") == Some(KEPT) || sets == KEPT_SETS {
        return Err(vetoed("/technicalName"));
    }
    Ok(())
}
