//! What a follower of the change feed knows, and what the catalog holds.

use std::collections::BTreeMap;
use std::fmt;

use shelfmark::{
    Change, ChangeEvent, DataAsset, DataSet, DataStore, Entity, EntityId, Position, Query, Session,
};

/// Version and parent of every entity.
pub type Followed = BTreeMap<EntityId, (u64, Option<EntityId>)>;

/// How many changes a page of a replay has.
const PAGE: usize = 7;

/// Why a feed could not be followed.
#[derive(Debug)]
pub enum Unfollowed {
    /// It was refused.
    Refused(shelfmark::Error),
    /// A page broke a promise.
    Broken(String),
}

impl fmt::Display for Unfollowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfollowed::Refused(error) => error.fmt(f),
            Unfollowed::Broken(what) => f.write_str(what),
        }
    }
}

/// Every change behind `after`, in pages of `limit`, and where they end.
///
/// # Errors
///
/// What [`Session::changes`] gives, and what it should not have given.
pub fn follow(
    session: &Session,
    after: Option<Position>,
    limit: usize,
) -> Result<(Vec<Change>, Position), Unfollowed> {
    let mut changes: Vec<Change> = Vec::new();
    let mut position = after;
    loop {
        let page = session.changes(position, limit).map_err(Unfollowed::Refused)?;
        let broken = |what: &str| Unfollowed::Broken(format!("{what}: {page:?} after {position:?}"));
        if page.items.len() > limit {
            return Err(broken("too long a page"));
        }
        if page
            .items
            .last()
            .is_some_and(|change| change.position != page.position)
        {
            return Err(broken("a page that does not end behind its last change"));
        }
        if page.more && page.items.is_empty() {
            return Err(broken("an empty page with more behind it"));
        }
        if page.position.to_string().parse::<Position>().ok() != Some(page.position) {
            return Err(broken("a position that is another one as text"));
        }
        let more = page.more;
        position = Some(page.position);
        changes.extend(page.items);
        if let [.., before, last] = changes.as_slice()
            && last.sequence != before.sequence + 1
        {
            return Err(Unfollowed::Broken(format!("a gap after {}", before.sequence)));
        }
        if !more {
            return Ok((changes, page.position));
        }
    }
}

/// Brings what a follower knows up to date.
///
/// # Errors
///
/// A change that cannot have happened to what it knows.
pub fn apply(known: &mut Followed, change: &Change) -> Result<(), String> {
    let parent = match change.id {
        EntityId::Store(_) => None,
        EntityId::Asset(_) => change.store.map(EntityId::from),
        EntityId::Set(_) => change.asset.map(EntityId::from),
    };
    let told: Vec<_> = if change.descendants.is_empty() {
        vec![(change.id, (change.version, parent))]
    } else {
        let descendants = change.descendants.iter();
        descendants
            .map(|one| (one.id, (one.version, Some(one.parent))))
            .collect()
    };
    for (id, now) in told {
        let right = match &change.event {
            ChangeEvent::Created => now.0 == 0 && known.insert(id, now).is_none(),
            ChangeEvent::Updated { fields } => {
                let before = known.insert(id, now);
                !fields.is_empty() && before == Some((now.0.wrapping_sub(1), now.1))
            }
            ChangeEvent::Deleted => known.remove(&id) == Some(now),
            ChangeEvent::Restored => known.insert(id, now).is_none(),
            ChangeEvent::Purged => !known.contains_key(&id),
            _ => false,
        };
        if !right {
            return Err(format!("{id} cannot have had {change:?}"));
        }
    }
    Ok(())
}

/// What the whole feed of a tenant says.
///
/// # Errors
///
/// As text, what [`follow`] and [`apply`] give.
pub fn replay(session: &Session) -> Result<Followed, String> {
    let (changes, _) = follow(session, None, PAGE).map_err(|error| error.to_string())?;
    let mut known = Followed::new();
    for change in &changes {
        apply(&mut known, change)?;
    }
    Ok(known)
}

/// What the tenant holds.
///
/// # Errors
///
/// What [`Session::stream`] gives.
pub fn held(session: &Session) -> shelfmark::Result<Followed> {
    fn add<E: Entity>(
        held: &mut Followed,
        session: &Session,
        told: impl Fn(&E) -> (u64, Option<EntityId>),
    ) -> shelfmark::Result<()> {
        for entity in session.stream(&Query::<E>::new())? {
            let entity = entity?;
            held.insert(id_of(&entity), told(&entity));
        }
        Ok(())
    }
    let mut held = Followed::new();
    add::<DataStore>(&mut held, session, |store| (store.version, None))?;
    add::<DataAsset>(&mut held, session, |asset| {
        (asset.version, Some(asset.data_store_info.id.into()))
    })?;
    add::<DataSet>(&mut held, session, |set| {
        (set.version, Some(set.data_asset_info.id.into()))
    })?;
    Ok(held)
}

fn id_of<E: Entity>(entity: &E) -> EntityId {
    entity.id().into()
}
