//! Reads.

use serde_json::{Value, json};
use shelfmark::{EntityKind, ErrorKind};

use super::list::{self, exact, fold, select};
use super::state::State;
use super::write::{delete, delete_selected};
use super::{Answer, list::ordered};
use crate::operation::{QuerySpec, ReadOp, Selection, Tenant};
use crate::outcome::Failure;

pub(super) fn stream(state: &State, tenant: Tenant, query: &QuerySpec) -> Answer {
    let entities = state.tenant(tenant.name());
    let list = ordered(&entities, tenant.name(), query)?;
    Ok(list
        .iter()
        .map(|(_, record)| entities.shown(tenant.name(), record, query.schemas))
        .collect())
}

pub(super) fn read(state: &State, tenant: Tenant, read: &ReadOp) -> Answer {
    let entities = state.tenant(tenant.name());
    let name = tenant.name();
    let get = |kind: EntityKind, id: &_, schemas: bool| match entities.get(kind, exact(id)) {
        Some(record) => entities.shown(name, record, schemas),
        None => Value::Null,
    };
    let find = |kind: EntityKind, selection: &Selection, field: &str, text: &str| -> Answer {
        let wanted = fold(text);
        Ok(select(&entities, kind, selection)?
            .iter()
            .filter(|record| {
                let found = record.fields.get(field).and_then(Value::as_str);
                found.is_some_and(|found| fold(found) == wanted)
            })
            .map(|record| entities.shown(name, record, true))
            .collect())
    };
    match read {
        ReadOp::Get(kind, id) => Ok(get(*kind, id, true)),
        ReadOp::GetHead(kind, id) => Ok(get(*kind, id, false)),
        ReadOp::GetMany(kind, ids) => Ok(ids.iter().map(|id| get(*kind, id, true)).collect()),
        ReadOp::Exists(kind, id) => Ok(json!(entities.get(*kind, exact(id)).is_some())),
        ReadOp::Count(kind, selection) => Ok(json!(select(&entities, *kind, selection)?.len())),
        ReadOp::List(query, form) => {
            list::check_projection(query.kind, form)?;
            let slice = list::page(&entities, name, query)?;
            Ok(list::page_value(&entities, name, query, form, &slice))
        }
        ReadOp::Walk(query) => list::walk(&entities, name, query),
        ReadOp::MisuseCursor(query, _) => {
            if list::page(&entities, name, query)?.next {
                Err(Failure::new(ErrorKind::BadCursor))
            } else {
                Ok(json!("no cursor"))
            }
        }
        ReadOp::FindByName(kind, selection, text) => find(*kind, selection, "name", text),
        ReadOp::FindByTechnicalName(kind, selection, text) => find(*kind, selection, "technicalName", text),
        ReadOp::FindBySecureQri(qri) => Ok(entities
            .all(EntityKind::Set)
            .filter(|record| record.fields["secureQri"] == qri.as_str())
            .map(|record| entities.shown(name, record, true))
            .collect()),
        ReadOp::WouldDelete(kind, targets) => delete(&mut entities.clone(), state.hooks, *kind, targets),
        ReadOp::WouldDeleteSelected(kind, selection) => {
            delete_selected(&mut entities.clone(), state.hooks, *kind, selection)
        }
        ReadOp::Dropped(..) | ReadOp::ListDropped(..) => unreachable!("of what is no more"),
    }
}
