//! Reading: the same calls on a session, a snapshot and inside a transaction.

use std::any::Any;
use std::sync::Arc;

use crate::engine::create::TextIndex;
use crate::engine::delete::{self, Deleted};
use crate::engine::{Settings, Stage, TenantView, create, undrop};
use crate::entity::{Entity, JsonObject, TypedId};
use crate::error::Result;
use crate::json_text::{JsonText, Written};
use crate::list::{self, Named, Page, Projection, Query, Select as _};
use crate::undrop::{Dropped, DroppedPage, DroppedQuery};
use crate::{DataSet, EntityId, Expectation};

/// What the provided methods need beside a view. Sealed.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) tenant: &'a str,
    pub(crate) actor: &'a str,
}

/// Reading one tenant: on a [`Session`](crate::Session) each call sees the newest state, on a [`TenantSnapshot`](crate::TenantSnapshot) all see
/// one state, in a [`Transaction`](crate::Transaction) they see its own writes too. Sealed.
///
/// Reading a tenant that does not exist is empty. All calls can give `Io`, `Corrupt` and `Unavailable`; each names what else it can give.
pub trait Read {
    /// The one way to a view.
    #[doc(hidden)]
    fn with_view<R>(&self, read: impl FnOnce(&TenantView<'_>) -> Result<R>) -> Result<R>;

    #[doc(hidden)]
    fn context(&self) -> Context<'_>;

    /// The entity, or `None`. One row, a second one for the schemas of a data set, and its ancestors' names.
    ///
    /// ```
    /// # use shelfmark::{Catalog, NewDataStore, Read, Write};
    /// # fn main() -> shelfmark::Result<()> {
    /// # let session = Catalog::in_memory()?.session("acme", "ann")?;
    /// let store = session.create(NewDataStore::new("warehouse", "postgres"))?;
    /// assert_eq!(session.get(store.id)?, Some(store));
    /// # Ok(())
    /// # }
    /// ```
    fn get<I: TypedId>(&self, id: I) -> Result<Option<I::Entity>> {
        self.with_view(|view| view.entity(id.uuid(), true))
    }

    /// As [`Read::get`], without the schemas of a data set: one row, and its ancestors' names.
    fn get_head<I: TypedId>(&self, id: I) -> Result<Option<I::Entity>> {
        self.with_view(|view| view.entity(id.uuid(), false))
    }

    /// As [`Read::get`] (with `schemas`) or [`Read::get_head`] (without), the entity as JSON text at the end of `text`: what serializing it gives, at about half the cost. `None`, and nothing is
    /// added, where there is none.
    ///
    /// ```
    /// # use shelfmark::{Catalog, JsonText, NewDataStore, Read, Write};
    /// # fn main() -> shelfmark::Result<()> {
    /// # let session = Catalog::in_memory()?.session("acme", "ann")?;
    /// let store = session.create(NewDataStore::new("warehouse", "postgres"))?;
    /// let mut text = JsonText::new();
    /// let written = session.get_json(store.id, true, &mut text)?;
    /// assert_eq!(written.map(|written| written.version), Some(0));
    /// assert_eq!(text.into_bytes(), serde_json::to_vec(&store).expect("JSON"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `TooLarge` where it has more bytes than the text was bounded to.
    fn get_json<I: TypedId>(&self, id: I, schemas: bool, text: &mut JsonText) -> Result<Option<Written>> {
        self.with_view(|view| view.show_entity::<I::Entity>(id.uuid(), schemas, text))
    }

    /// The entities of these ids, in their order, `None` where there is none. Rows are read together, and each ancestor once.
    fn get_many<I: TypedId>(&self, ids: &[I]) -> Result<Vec<Option<I::Entity>>> {
        let ids: Vec<_> = ids.iter().map(|id| id.uuid()).collect();
        self.with_view(|view| view.entities(&ids, true))
    }

    /// Whether there is such an entity. One key lookup.
    fn exists<I: TypedId>(&self, id: I) -> Result<bool> {
        self.with_view(|view| view.exists(id.into()))
    }

    /// How many entities of the kind the selection holds. O(selected parents), at any number of children.
    ///
    /// # Errors
    ///
    /// `NotFound` where the selection names a parent that is not there.
    fn count<E: Entity>(&self, selection: impl Into<E::Selection>) -> Result<u64> {
        let selection = selection.into();
        self.with_view(|view| selection.resolve(view)?.count(view, E::KIND))
    }

    /// One page of what the query selects. `docs/design.md` says which index serves which order at what cost.
    ///
    /// # Errors
    ///
    /// `NotFound` where the selection names a parent that is not there, `Invalid` for an unknown sort field, `BadCursor`, `OffsetTooDeep`.
    fn list<E: Entity>(&self, query: &Query<E>) -> Result<Page<E>> {
        let secret = &self.context().settings.cursor_key;
        self.with_view(|view| list::list(view, query, secret))
    }

    /// As [`Read::list`], the entities as a JSON array at the end of `text`, and their ids in the page: what serializing the entities gives, at about half the cost.
    ///
    /// ```
    /// # use shelfmark::{Catalog, DataStore, JsonText, NewDataStore, Query, Read, Write};
    /// # fn main() -> shelfmark::Result<()> {
    /// # let session = Catalog::in_memory()?.session("acme", "ann")?;
    /// let store = session.create(NewDataStore::new("warehouse", "postgres"))?;
    /// let mut text = JsonText::at_most(1 << 20);
    /// let page = session.list_json(&Query::<DataStore>::new(), &mut text)?;
    /// assert_eq!((page.items, page.total), (vec![store.id], Some(1)));
    /// assert_eq!(text.into_bytes(), serde_json::to_vec(&[store]).expect("JSON"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Also `TooLarge` where the array has more bytes than the text was bounded to.
    fn list_json<E: Entity>(&self, query: &Query<E>, text: &mut JsonText) -> Result<Page<E::Id>> {
        let secret = &self.context().settings.cursor_key;
        self.with_view(|view| list::list_json(view, query, text, secret))
    }

    /// As [`Read::list`], ids and names alone. Sorted by name it reads index entries and no record.
    fn list_names<E: Entity>(&self, query: &Query<E>) -> Result<Page<Named<E::Id>>> {
        let secret = &self.context().settings.cursor_key;
        self.with_view(|view| list::list_names(view, query, secret))
    }

    /// As [`Read::list`], the projected fields alone, as the REST API shows them. Reads schemas only where projected,
    /// and no record where `id` and `name` sorted by name are all.
    ///
    /// # Errors
    ///
    /// Also `Invalid` for an unknown field of the projection.
    fn list_projected<E: Entity>(
        &self,
        query: &Query<E>,
        projection: &Projection,
    ) -> Result<Page<JsonObject>> {
        let secret = &self.context().settings.cursor_key;
        self.with_view(|view| list::list_projected(view, query, projection, secret))
    }

    /// Every entity of the selection whose name is this one, compared case-folded, in creation order under each parent. One index range a
    /// parent.
    ///
    /// # Errors
    ///
    /// `NotFound` where the selection names a parent that is not there.
    fn find_by_name<E: Entity>(&self, selection: impl Into<E::Selection>, name: &str) -> Result<Vec<E>> {
        let selection = selection.into();
        self.with_view(|view| find_by_text(view, &selection, TextIndex::Name, name))
    }

    /// As [`Read::find_by_name`], by the technical name.
    fn find_by_technical_name<E: Entity>(
        &self,
        selection: impl Into<E::Selection>,
        technical_name: &str,
    ) -> Result<Vec<E>> {
        let selection = selection.into();
        self.with_view(|view| find_by_text(view, &selection, TextIndex::TechnicalName, technical_name))
    }

    /// Every data set with exactly this `secureQri`, in creation order. One index range.
    fn find_by_secure_qri(&self, secure_qri: &str) -> Result<Vec<DataSet>> {
        self.with_view(|view| {
            let ids = create::with_secure_qri(view, secure_qri)?;
            Ok(view.entities(&ids, true)?.into_iter().flatten().collect())
        })
    }

    /// What [`TenantSnapshot::remember`](crate::TenantSnapshot::remember) put under this key beside the very state that is read, if it is still there and a `T`. `None` inside a transaction.
    fn remembered<T: Any + Send + Sync>(&self, key: &[u8]) -> Result<Option<Arc<T>>> {
        self.with_view(|view| Ok(view.remembered(key)))
    }

    /// What [`Write::delete_all`](crate::Write::delete_all) of these members would take, or why it would be refused: by the same code, without its commit.
    ///
    /// # Errors
    ///
    /// Those of the deletion.
    fn would_delete<I: TypedId>(
        &self,
        members: impl IntoIterator<Item = (I, Expectation)>,
    ) -> Result<Deleted> {
        let members: Vec<(EntityId, Expectation)> = members
            .into_iter()
            .map(|(id, expectation)| (id.into(), expectation))
            .collect();
        let Context { settings, actor, .. } = self.context();
        self.with_view(|view| {
            let mut stage = Stage::new(settings, view.snapshot, view.name, actor)?;
            delete::delete(&mut stage, &members)
        })
    }

    /// What [`Write::delete_selected`](crate::Write::delete_selected) would take, or why it would be refused: by the same code, without its commit.
    ///
    /// # Errors
    ///
    /// Those of the deletion.
    fn would_delete_selected<E: Entity>(&self, selection: impl Into<E::Selection>) -> Result<Deleted> {
        let selection = selection.into();
        let Context { settings, actor, .. } = self.context();
        self.with_view(|view| {
            let mut stage = Stage::new(settings, view.snapshot, view.name, actor)?;
            delete::delete_selected::<E>(&mut stage, &selection)
        })
    }

    /// What was dropped under this id and can be restored, or `None`. What went with another entity that was deleted is not there by itself. One row.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use shelfmark::{Expectation, NewDataStore, Options, Read, Write};
    /// # fn main() -> shelfmark::Result<()> {
    /// # let catalog = Options::new().undrop(Duration::from_secs(60)).in_memory()?;
    /// # let session = catalog.session("acme", "ann")?;
    /// # let store = session.create(NewDataStore::new("warehouse", "postgres"))?;
    /// assert_eq!(session.dropped(store.id)?, None); // it is there
    /// session.delete(store.id, Expectation::Any)?;
    /// let dropped = session.dropped(store.id)?.expect("it was dropped");
    /// assert_eq!(dropped.dropped_by, "ann");
    /// assert_eq!(dropped.expires_at.millis() - dropped.dropped_at.millis(), 60_000);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `Unsupported` where the catalog was opened without [`Options::undrop`](crate::Options::undrop).
    fn dropped<I: TypedId>(&self, id: I) -> Result<Option<Dropped>> {
        let settings = self.context().settings;
        self.with_view(|view| undrop::dropped(settings, view, id.into()))
    }

    /// One page of what was dropped and can be restored, the newest first. Two rows for each entity, those of other kinds that it passes included.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use shelfmark::{DroppedQuery, Expectation, NewDataStore, Options, Read, Write};
    /// # fn main() -> shelfmark::Result<()> {
    /// let catalog = Options::new().undrop(Duration::from_secs(7 * 86_400)).in_memory()?;
    /// let session = catalog.session("acme", "ann")?;
    /// let store = session.create(NewDataStore::new("warehouse", "postgres"))?;
    /// session.delete(store.id, Expectation::Any)?;
    /// let page = session.list_dropped(&DroppedQuery::new().limit(50))?;
    /// assert_eq!(page.items[0].technical_name, "warehouse");
    /// assert_eq!(page.next, None);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `Unsupported` where the catalog was opened without [`Options::undrop`](crate::Options::undrop).
    fn list_dropped(&self, query: &DroppedQuery) -> Result<DroppedPage> {
        let settings = self.context().settings;
        self.with_view(|view| undrop::list(settings, view, query))
    }
}

fn find_by_text<E: Entity>(
    view: &TenantView<'_>,
    selection: &E::Selection,
    index: TextIndex,
    text: &str,
) -> Result<Vec<E>> {
    let mut found = Vec::new();
    for parent in selection.resolve(view)?.parents(view, E::KIND)? {
        let ids = create::same_text::<E>(view, parent, index, text)?;
        found.extend(view.entities::<E>(&ids, true)?.into_iter().flatten());
    }
    Ok(found)
}
