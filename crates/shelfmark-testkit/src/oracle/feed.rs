//! What the change feed tells.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Value, json};
use shelfmark::{EntityKind, ErrorKind};
use uuid::Uuid;

use super::fields::Object;
use super::state::{Entities, Record, time};
use super::{Answer, Oracle};
use crate::operation::{Actor, Tenant};
use crate::outcome::Failure;

/// The most entities that one record tells of besides its own.
const DESCENDANTS: usize = 4_096;
/// With each so-manieth record some that retention has given up go, and how many at the most.
const TRIM_EVERY: u64 = 256;
const TRIM_MOST: usize = 1_024;

/// The feed of one tenant.
#[derive(Debug, Clone)]
pub(super) struct Feed {
    /// Tells it from the feed of an earlier tenant of the name.
    number: u64,
    /// The sequence number of the first one kept.
    first: u64,
    changes: Vec<Rc<Value>>,
}

/// All of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Feeds {
    made: u64,
    of: BTreeMap<&'static str, Feed>,
}

/// How far a feed has been followed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Followed {
    /// `None`: there was no tenant.
    feed: Option<u64>,
    sequence: u64,
}

impl Feed {
    fn last(&self) -> u64 {
        self.first + self.changes.len() as u64 - 1
    }

    fn trim(&mut self, retained: Option<u64>, most: usize) -> usize {
        let Some(retained) = retained else { return 0 };
        let kept = usize::try_from(retained.max(1)).unwrap_or(usize::MAX);
        let gone = self.changes.len().saturating_sub(kept).min(most);
        self.changes.drain(..gone);
        self.first += gone as u64;
        gone
    }
}

impl Feeds {
    /// The feed of a tenant that is there.
    fn of_tenant(&mut self, tenant: Tenant) -> &mut Feed {
        let Feeds { made, of } = self;
        of.entry(tenant.name()).or_insert_with(|| {
            *made += 1;
            Feed {
                number: *made,
                first: 1,
                changes: Vec::new(),
            }
        })
    }

    pub(super) fn drop_tenant(&mut self, tenant: Tenant) {
        self.of.remove(tenant.name());
    }
}

impl Oracle {
    fn tell(&mut self, tenant: Tenant, mut change: Object) {
        let feed = self.state.feeds.of_tenant(tenant);
        let sequence = feed.last() + 1;
        change.insert("sequence".to_owned(), json!(sequence));
        feed.changes.push(Rc::new(Value::Object(change)));
        if sequence.is_multiple_of(TRIM_EVERY) {
            feed.trim(self.setup.retained_changes, TRIM_MOST);
        }
    }

    fn told(&self, entities: &Entities, actor: Actor, event: &str, record: &Record) -> Object {
        let store = match (record.kind, record.parent) {
            (EntityKind::Set, Some(asset)) => entities.0.get(&asset).and_then(|asset| asset.parent),
            (_, parent) => parent,
        };
        self.told_in(store, json!(self.actor(actor)), event, record)
    }

    fn told_in(&self, store: Option<Uuid>, actor: Value, event: &str, record: &Record) -> Object {
        let mut change = Object::new();
        let mut set = |name: &str, value: Value| change.insert(name.to_owned(), value);
        set("time", time(self.environment.now()));
        set("actor", actor);
        set("event", json!(event));
        set("kind", json!(record.kind));
        set("id", json!(record.id.to_string()));
        set("version", json!(record.version));
        if let Some(parent) = record.parent {
            set("storeId", json!(store.unwrap_or_default().to_string()));
            if record.kind == EntityKind::Set {
                set("assetId", json!(parent.to_string()));
            }
        }
        change
    }

    pub(super) fn tell_created(&mut self, tenant: Tenant, actor: Actor, record: &Record) {
        if self.setup.change_feed {
            let change = self.told(&self.state.tenant(tenant.name()), actor, "created", record);
            self.tell(tenant, change);
        }
    }

    pub(super) fn tell_updated(&mut self, tenant: Tenant, actor: Actor, old: &Record, new: &Record) {
        if !self.setup.change_feed {
            return;
        }
        let text = |fields: &Object, name: &str| fields.get(name).map(Value::to_string);
        let names = old.fields.keys().chain(new.fields.keys()).cloned();
        let mut changed: Vec<String> = names
            .filter(|name| text(&old.fields, name) != text(&new.fields, name))
            .chain((old.owner != new.owner).then(|| "ownerId".to_owned()))
            .collect();
        changed.sort();
        changed.dedup();
        let mut change = self.told(&self.state.tenant(tenant.name()), actor, "updated", new);
        change.insert("fields".to_owned(), json!(changed));
        self.tell(tenant, change);
    }

    /// Tells what of `before` is there no more. Of what one call names the last goes first; a selection goes parent by parent.
    pub(super) fn tell_deleted(
        &mut self,
        tenant: Tenant,
        actor: Actor,
        kind: EntityKind,
        before: &Entities,
        by_parent: bool,
    ) {
        if !self.setup.change_feed {
            return;
        }
        let after = self.state.tenant(tenant.name());
        let gone = |record: &&Rc<Record>| !after.0.contains_key(&record.id);
        let mut roots: Vec<&Rc<Record>> = before.all(kind).filter(gone).collect();
        roots.sort_by_key(|root| (root.parent.filter(|_| by_parent), Reverse(root.id)));
        for root in roots {
            let change = self.told(before, actor, "deleted", root);
            self.tell_with(tenant, change, root.id, before.children(root.id));
        }
    }

    /// Tells of a root, then of what went or came with it.
    fn tell_with<'r>(
        &mut self,
        tenant: Tenant,
        change: Object,
        root: Uuid,
        others: impl Iterator<Item = &'r Rc<Record>>,
    ) {
        self.tell(tenant, change.clone());
        let others: Vec<Value> = others
            .map(|child| {
                json!({
                    "kind": child.kind,
                    "id": child.id.to_string(),
                    "parentId": root.to_string(),
                    "version": child.version,
                })
            })
            .collect();
        for others in others.chunks(DESCENDANTS) {
            let mut change = change.clone();
            change.insert("descendants".to_owned(), json!(others));
            self.tell(tenant, change);
        }
    }

    pub(super) fn tell_restored(&mut self, tenant: Tenant, actor: Actor, root: &Record, sets: &[Rc<Record>]) {
        if self.setup.change_feed {
            let change = self.told(&self.state.tenant(tenant.name()), actor, "restored", root);
            self.tell_with(tenant, change, root.id, sets.iter());
        }
    }

    /// `actor`: `None` where it is the retention that is over.
    pub(super) fn tell_purged(
        &mut self,
        tenant: Tenant,
        actor: Option<Actor>,
        store: Option<Uuid>,
        root: &Record,
    ) {
        if self.setup.change_feed {
            let actor = actor.map(|actor| self.actor(actor));
            let change = self.told_in(store, json!(actor), "purged", root);
            self.tell(tenant, change);
        }
    }

    /// Everything since the feed was followed last.
    pub(super) fn follow_changes(&mut self, tenant: Tenant) -> Answer {
        let kept = self.followed.remove(&tenant);
        if !self.setup.change_feed {
            return Err(Failure::new(ErrorKind::Unsupported));
        }
        let rewound = Err(Failure::new(ErrorKind::ChangesRewound));
        // A tenant may have come to be without a change: an answer that was recorded is enough.
        if self.state.tenants.contains_key(tenant.name()) {
            self.state.feeds.of_tenant(tenant);
        }
        let Some(feed) = self.state.feeds.of.get(tenant.name()) else {
            if kept.is_some_and(|kept| kept.feed.is_some()) {
                return rewound;
            }
            let nowhere = Followed {
                feed: None,
                sequence: 0,
            };
            self.followed.insert(tenant, nowhere);
            return Ok(json!([]));
        };
        let start = match kept {
            Some(kept) if kept.feed.is_some_and(|number| number != feed.number) => return rewound,
            Some(kept) => kept.sequence,
            None => 0,
        };
        let trimmed = start + 1 < feed.first;
        let followed = Followed {
            feed: Some(feed.number),
            sequence: if trimmed { feed.first - 1 } else { feed.last() },
        };
        let skipped = (start + 1).saturating_sub(feed.first) as usize;
        let told: Vec<Value> = feed
            .changes
            .iter()
            .skip(skipped)
            .map(|change| (**change).clone())
            .collect();
        self.followed.insert(tenant, followed);
        if trimmed {
            return Err(Failure::new(ErrorKind::ChangesTrimmed));
        }
        Ok(Value::Array(told))
    }

    pub(super) fn sweep_changes(&mut self) -> Value {
        let retained = self.setup.retained_changes;
        let feeds = self.state.feeds.of.values_mut();
        let gone: usize = feeds.map(|feed| feed.trim(retained, usize::MAX)).sum();
        json!({ "changes": gone })
    }
}
