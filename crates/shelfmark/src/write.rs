//! Writing: the same calls on a session, each a transaction of its own, and inside a transaction.

use std::collections::HashSet;

use crate::batch::{self, Batch, BatchOutcome};
use crate::engine::change::{self, Change, Source};
use crate::engine::create::{self, Parents};
use crate::engine::delete::{self, Deleted};
use crate::engine::many::Many;
use crate::engine::{Stage, TenantView, undrop};
use crate::entity::{Entity, NewEntity, TypedId};
use crate::error::{Error, ErrorKind, Result};
use crate::idempotency::{self, IdempotencyKey, Once};
use crate::patch::Patch;
use crate::read::{Context, Read};
use crate::{EntityId, Expectation};

/// How often an update with [`Expectation::Any`] starts again when others change the entity meanwhile.
const UPDATE_ATTEMPTS: usize = 100;

/// Writing to one tenant: on a [`Session`](crate::Session) each call is a transaction of its own, in a [`Transaction`](crate::Transaction) all
/// are one. Sealed. Writes that many threads make at once on sessions share commits, each with its own outcome.
///
/// Every call is all or nothing. All can give `StorageFull`, `Io`, `ReadOnly`, `Corrupt`, `Unavailable`, `CommitUnknown`, and `ReentrantWrite` where a session is used
/// inside a transaction; each names what else it can give. In bulk calls other than deletions [`Error::bulk`] tells which member was
/// refused.
pub trait Write: Read {
    /// The one way to a commit.
    #[doc(hidden)]
    fn run<T: Send + 'static>(
        &self,
        operation: impl FnMut(&mut Stage<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T>;

    /// What `work` makes of the newest view, on this thread and before the write is queued; `None` where the work is done in the write itself.
    #[doc(hidden)]
    fn ahead<T>(&self, work: impl FnOnce(&TenantView<'_>) -> Result<T>) -> Result<Option<T>>;

    /// Runs a caller's closure where it may not enter a write.
    #[doc(hidden)]
    fn outside_of_writes<R>(&self, work: impl FnOnce() -> R) -> Result<R>;

    /// Creates an entity: version 0, owned by the actor. Reads its ancestors, writes its row (two with schemas), four or five index entries and a counter or two.
    ///
    /// # Errors
    ///
    /// `Invalid` with every violation, `NotFound` where the parent is not there, `NameTaken` where technical names are unique.
    fn create<N: NewEntity>(&self, new: N) -> Result<N::Entity> {
        let context = self.context();
        let prepared = create::prepare::<N::Entity>(context.settings, context.actor, new)?;
        let id = prepared.id;
        let created = self.run(move |stage| create::create_one(stage, &prepared, &mut Parents::default()))?;
        // Put together here, where nobody waits for it.
        Ok(created.entity(id, context.tenant))
    }

    /// Creates all of these entities or none, and gives their ids in order. They are held in memory until the commit, several times their encoded size, which
    /// [`Options::atomic_bulk_bytes`](crate::Options::atomic_bulk_bytes) bounds; for more see [`Session::create_batched`](crate::Session::create_batched).
    ///
    /// # Errors
    ///
    /// Those of [`Write::create`]; `TooLarge`.
    fn create_all<N: NewEntity>(
        &self,
        members: impl IntoIterator<Item = N>,
    ) -> Result<Vec<<N::Entity as Entity>::Id>> {
        let at = |(index, error): (usize, Error)| error.at_bulk_index(Some(index as u64), 0);
        let limit = self.context().settings.atomic_bulk_bytes;
        let most = (usize::MAX, limit.saturating_add(1));
        let many = Many::<N::Entity>::take(self, &mut members.into_iter(), most, None).map_err(at)?;
        if many.bytes() > limit {
            let message = format!(
                "an all-or-nothing creation holds at most {limit} bytes: split it, use the batched mode, or raise the limit"
            );
            return Err(at((
                many.ids().len() - 1,
                Error::new(ErrorKind::TooLarge, message),
            )));
        }
        self.run(move |stage| {
            many.stage(stage).map_err(at)?;
            let ids = many.ids().iter();
            Ok(ids.map(|&id| <N::Entity as Entity>::Id::from_uuid(id)).collect())
        })
    }

    /// Replaces every settable field: one that `new` leaves out is cleared, except the owner, which is kept. What changes nothing keeps version and times,
    /// and writes nothing. Reads the entity whole, writes its head, its schemas only where they change, and the index entries that move.
    ///
    /// # Errors
    ///
    /// `NotFound`, `VersionConflict`, `Invalid` with every violation (another parent is one), `NameTaken`.
    fn replace<I: TypedId>(
        &self,
        id: I,
        expectation: impl Into<Expectation>,
        new: <I::Entity as Entity>::New,
    ) -> Result<I::Entity> {
        change_one(self, id, expectation.into(), Source::Fields(new))
    }

    /// Replaces all of these entities or none, in order. Costs as [`Write::replace`] each, in one commit.
    ///
    /// # Errors
    ///
    /// Those of [`Write::replace`].
    fn replace_all<I: TypedId>(
        &self,
        members: impl IntoIterator<Item = (I, Expectation, <I::Entity as Entity>::New)>,
    ) -> Result<Vec<I::Entity>> {
        change_all(
            self,
            members
                .into_iter()
                .map(|(id, expectation, new)| (id, expectation, Source::Fields(new))),
        )
    }

    /// Applies a JSON Patch (RFC 6902) to the entity's JSON as the REST API shows it. Members that the catalog sets keep their value, the rest applies.
    /// Costs as [`Write::replace`], and turning the entity into JSON and back.
    ///
    /// ```
    /// # use shelfmark::{Catalog, Expectation, NewDataStore, Patch, Write};
    /// # fn main() -> shelfmark::Result<()> {
    /// # let session = Catalog::in_memory()?.session("acme", "ann")?;
    /// # let store = session.create(NewDataStore::new("warehouse", "postgres"))?;
    /// let patch = Patch::from_json(br#"[{"op": "add", "path": "/tags/-", "value": "gold"}]"#)?;
    /// let store = session.patch(store.id, Expectation::Any, &patch)?;
    /// assert_eq!((store.version, store.tags), (1, vec!["gold".to_owned()]));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `NotFound`, `VersionConflict`, `PatchTestFailed`, `Invalid` (an unknown path, a broken bound of [`Patch`], a result that breaks a rule), `NameTaken`.
    fn patch<I: TypedId>(
        &self,
        id: I,
        expectation: impl Into<Expectation>,
        patch: &Patch,
    ) -> Result<I::Entity> {
        change_one(self, id, expectation.into(), Source::Patch(patch.clone()))
    }

    /// Patches all of these entities or none, in order. Costs as [`Write::patch`] each, in one commit.
    ///
    /// # Errors
    ///
    /// Those of [`Write::patch`].
    fn patch_all<I: TypedId>(
        &self,
        members: impl IntoIterator<Item = (I, Expectation, Patch)>,
    ) -> Result<Vec<I::Entity>> {
        change_all(
            self,
            members
                .into_iter()
                .map(|(id, expectation, patch)| (id, expectation, Source::Patch(patch))),
        )
    }

    /// Reads the entity, lets `f` change a copy of its settable fields, and replaces it, provided that nobody changed it meanwhile. With
    /// [`Expectation::Any`] it starts again if somebody did, so `f` may run several times. `f` runs on this thread, outside of any lock; it may not enter a write.
    /// Costs a read and a [`Write::replace`], as often as it starts again.
    ///
    /// # Errors
    ///
    /// Those of [`Write::replace`]; `Contended` after 100 attempts.
    fn update<I: TypedId>(
        &self,
        id: I,
        expectation: impl Into<Expectation>,
        mut f: impl FnMut(&mut <I::Entity as Entity>::New),
    ) -> Result<I::Entity> {
        let expectation = expectation.into();
        // Whether it is refused inside of a write does not depend on what it would read.
        self.outside_of_writes(|| ())?;
        for _ in 0..UPDATE_ATTEMPTS {
            let state = self
                .with_view(|view| view.state::<I::Entity>(id.uuid(), true))?
                .ok_or_else(|| Error::not_found(vec![id.into()]))?;
            let (mut fields, version) = change::fields_for_update(state);
            expectation.check(id.into(), version)?;
            self.outside_of_writes(|| f(&mut fields))?;
            match self.replace(id, Expectation::Exactly(version), fields) {
                Err(error)
                    if expectation == Expectation::Any && error.kind() == ErrorKind::VersionConflict => {}
                outcome => return outcome,
            }
        }
        let message = format!(
            "{} was changed by others {UPDATE_ATTEMPTS} times: try again later",
            id.into()
        );
        Err(Error::new(ErrorKind::Contended, message))
    }

    /// Lets `f` change a copy of each entity, and replaces all or none. As [`Write::update`], for one transaction.
    ///
    /// # Errors
    ///
    /// Those of [`Write::update`]; `Invalid` where an id is named twice.
    fn update_all<I: TypedId>(
        &self,
        members: impl IntoIterator<Item = (I, Expectation)>,
        mut f: impl FnMut(I, &mut <I::Entity as Entity>::New),
    ) -> Result<Vec<I::Entity>> {
        let members: Vec<(I, Expectation)> = members.into_iter().collect();
        let mut seen = HashSet::with_capacity(members.len());
        for (index, (id, _)) in members.iter().enumerate() {
            if !seen.insert(*id) {
                let message = format!(
                    "{} is named twice: give each closure's changes in one",
                    (*id).into()
                );
                return Err(Error::violation("", message).at_bulk_index(Some(index as u64), 0));
            }
        }
        let any = members
            .iter()
            .any(|(_, expectation)| *expectation == Expectation::Any);
        self.outside_of_writes(|| ())?;
        for _ in 0..UPDATE_ATTEMPTS {
            let read = |&(id, expectation): &(I, Expectation)| {
                let state = self
                    .with_view(|view| view.state::<I::Entity>(id.uuid(), true))?
                    .ok_or_else(|| Error::not_found(vec![id.into()]))?;
                let (mut fields, version) = change::fields_for_update(state);
                expectation.check(id.into(), version)?;
                self.outside_of_writes(|| f(id, &mut fields))?;
                Ok((id, Expectation::Exactly(version), fields))
            };
            let changed = each(&members, read)?;
            match self.replace_all(changed) {
                Err(error) if any && error.kind() == ErrorKind::VersionConflict => {}
                outcome => return outcome,
            }
        }
        let message = format!("the members were changed by others {UPDATE_ATTEMPTS} times: try again later");
        Err(Error::new(ErrorKind::Contended, message))
    }

    /// Deletes one entity: a store only while it has no asset, which a counter tells, an asset together with its sets. O(what goes).
    ///
    /// # Errors
    ///
    /// `NotFound`, `VersionConflict`, `NotEmpty`.
    fn delete<I: TypedId>(&self, id: I, expectation: impl Into<Expectation>) -> Result<Deleted> {
        self.delete_all([(id, expectation.into())])
    }

    /// Deletes all of these entities or none, as [`Write::delete`] would; an id named twice counts once. O(what goes), in one commit.
    ///
    /// # Errors
    ///
    /// `NotFound` naming every id that is not there; else `VersionConflict`; else `NotEmpty` naming every store that has assets.
    fn delete_all<I: TypedId>(&self, members: impl IntoIterator<Item = (I, Expectation)>) -> Result<Deleted> {
        let members: Vec<(EntityId, Expectation)> = members
            .into_iter()
            .map(|(id, expectation)| (id.into(), expectation))
            .collect();
        self.run(move |stage| delete::delete(stage, &members))
    }

    /// Deletes every entity that the selection holds, or none. O(what goes).
    ///
    /// # Errors
    ///
    /// `NotFound` where the selection names a parent that is not there; `NotEmpty` for stores that have assets.
    fn delete_selected<E: Entity>(&self, selection: impl Into<E::Selection>) -> Result<Deleted> {
        let selection = selection.into();
        self.run(move |stage| delete::delete_selected::<E>(stage, &selection))
    }

    /// Runs every operation of the batch in order, or none, and gives what each came to. Costs as the operations each, in one commit; inputs are checked and
    /// encoded on this thread.
    ///
    /// # Errors
    ///
    /// Those of [`Write::create`], [`Write::replace`], [`Write::patch`] and [`Write::delete`]: kind and details are those of the first operation that fails,
    /// [`Error::bulk`] has its index, [`Error::failures`] all of them. Where the storage fails, such as with `Io` or `Corrupt`, the batch ends there: the error is
    /// that failure alone, whatever was refused before it. `TooLarge` for more than [`Batch::MAX_OPERATIONS`] operations, or for entities created and
    /// changed, each counted whole as often as it is named, of more encoded bytes than [`Options::atomic_bulk_bytes`](crate::Options::atomic_bulk_bytes).
    fn batch(&self, batch: &Batch) -> Result<Vec<BatchOutcome>> {
        let plan = batch::plan(self, batch)?;
        self.run(move |stage| plan.run(stage, |_, _| Ok(())))
    }

    /// Creates an entity, as [`Write::create`], unless this actor did so with this key before: then gives the entity as it was, and does nothing. Of any
    /// number that come at once exactly one creates. A failure is not remembered. Costs one key lookup, and two more rows where it creates.
    ///
    /// # Errors
    ///
    /// Those of [`Write::create`]; `KeyReused` where the key was used for another request, `TooLarge` for an answer of more than 1 MiB encoded, in both cases before
    /// anything is written.
    fn create_once<N: NewEntity>(&self, key: &IdempotencyKey, new: N) -> Result<Once<N::Entity>> {
        idempotency::create_once(self, key, new)
    }

    /// Runs a batch, as [`Write::batch`], unless this actor did so with this key before: then gives the first outcomes, and does nothing. A batch that was made anew
    /// with the same operations is the same one.
    ///
    /// ```
    /// # use shelfmark::{Batch, Catalog, IdempotencyKey, NewDataAsset, NewDataStore, Write};
    /// # fn main() -> shelfmark::Result<()> {
    /// # let session = Catalog::in_memory()?.session("acme", "ann")?;
    /// let ask = || {
    ///     let mut batch = Batch::new();
    ///     let store = batch.create(NewDataStore::new("warehouse", "postgres"));
    ///     batch.create(NewDataAsset::new(store, "sales", "qix-df"));
    ///     session.batch_once(&IdempotencyKey::new("import 17")?, &batch)
    /// };
    /// let (first, again) = (ask()?, ask()?);
    /// assert!(again.replayed && again.value == first.value);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Write::batch`]; `KeyReused` and `TooLarge` as [`Write::create_once`].
    fn batch_once(&self, key: &IdempotencyKey, batch: &Batch) -> Result<Once<Vec<BatchOutcome>>> {
        idempotency::batch_once(self, key, batch)
    }

    /// Brings back what was deleted under this id, and gives it: at its next version, modified now by the actor. The data sets that went with an asset come back
    /// with their versions and times; those that had been deleted before it do not. O(what comes back).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use shelfmark::{Expectation, NewDataAsset, NewDataSet, NewDataStore, Options, Read, Write};
    /// # fn main() -> shelfmark::Result<()> {
    /// let catalog = Options::new().undrop(Duration::from_secs(7 * 86_400)).in_memory()?;
    /// let session = catalog.session("acme", "ann")?;
    /// # let store = session.create(NewDataStore::new("warehouse", "postgres"))?;
    /// # let asset = session.create(NewDataAsset::new(store.id, "sales", "qix-df"))?;
    /// # let set = session.create(NewDataSet::new(asset.id, "orders", "qdf:files:acme:orders", "qri:orders"))?;
    /// session.delete(asset.id, Expectation::Any)?; // with its data set
    /// let restored = session.restore(asset.id)?;
    /// assert_eq!(restored.version, asset.version + 1);
    /// assert_eq!(session.get(set.id)?, Some(set));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `NotFound` where nothing was dropped under this id, or where it has expired; `NotFound` naming the parent where that is not there; `NameTaken` where
    /// technical names are unique; `Unsupported` where the catalog was opened without [`Options::undrop`](crate::Options::undrop); `Invalid` where the entity is so
    /// large that the actor's name makes it too large.
    fn restore<I: TypedId>(&self, id: I) -> Result<I::Entity> {
        self.run(move |stage| undrop::restore(stage, id))
    }

    /// Removes for good what was deleted under this id, before its retention is over, and tells what went. O(what goes).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use shelfmark::{ErrorKind, Expectation, NewDataStore, Options, Read, Write};
    /// # fn main() -> shelfmark::Result<()> {
    /// # let catalog = Options::new().undrop(Duration::from_secs(60)).in_memory()?;
    /// # let session = catalog.session("acme", "ann")?;
    /// # let store = session.create(NewDataStore::new("warehouse", "postgres"))?;
    /// session.delete(store.id, Expectation::Any)?;
    /// assert_eq!(session.purge(store.id)?.stores, 1);
    /// assert_eq!(session.restore(store.id).unwrap_err().kind(), ErrorKind::NotFound);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `NotFound` where nothing was dropped under this id, or where it has expired; `Unsupported` where the catalog was opened without
    /// [`Options::undrop`](crate::Options::undrop).
    fn purge<I: TypedId>(&self, id: I) -> Result<Deleted> {
        let id = id.into();
        self.run(move |stage| undrop::purge(stage, id))
    }
}

/// Changes one entity.
fn change_one<W: Write + ?Sized, I: TypedId>(
    writer: &W,
    id: I,
    expectation: Expectation,
    source: Source<I::Entity>,
) -> Result<I::Entity> {
    let change = Change {
        id,
        expectation,
        source,
    };
    let Context { settings, actor, .. } = writer.context();
    // What is wrong with it on the newest view is wrong with it.
    let ahead = writer.ahead(|view| change.work_out(settings, actor, view))?;
    writer.run(move |stage| change.stage(stage, ahead.as_ref()))
}

/// Changes all of these or none, in order.
fn change_all<W: Write + ?Sized, I: TypedId>(
    writer: &W,
    members: impl Iterator<Item = (I, Expectation, Source<I::Entity>)>,
) -> Result<Vec<I::Entity>> {
    let Context { settings, actor, .. } = writer.context();
    let changes: Vec<Change<I::Entity>> = members
        .map(|(id, expectation, source)| Change {
            id,
            expectation,
            source,
        })
        .collect();
    // One member may rest on what another changes: what fails here is worked out again in its place.
    let ahead = writer.ahead(|view| {
        let worked = changes
            .iter()
            .map(|change| change.work_out(settings, actor, view).ok());
        Ok(worked.collect::<Vec<_>>())
    })?;
    let changes: Vec<_> = changes
        .into_iter()
        .zip(ahead.into_iter().flatten().chain(std::iter::repeat_with(|| None)))
        .collect();
    writer.run(move |stage| each(&changes, |(change, ahead)| change.stage(stage, ahead.as_ref())))
}

/// What `work` makes of each member; the first error names its member.
fn each<M, T>(members: &[M], mut work: impl FnMut(&M) -> Result<T>) -> Result<Vec<T>> {
    members
        .iter()
        .enumerate()
        .map(|(index, member)| work(member).map_err(|error| error.at_bulk_index(Some(index as u64), 0)))
        .collect()
}
