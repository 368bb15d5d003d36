//! An interactive transaction.

use std::cell::{Cell, RefCell};

use crate::backend::{Overlay, Snapshot, WriteBatch};
use crate::engine::{Stage, TenantView, tenants};
use crate::error::Result;
use crate::read::{Context, Read};
use crate::reentry;
use crate::session::Session;
use crate::write::Write;

/// The inside of [`Session::transact`]: [`Read`] and [`Write`] on one state that no other write changes, committed as one.
#[derive(Debug)]
pub struct Transaction<'a> {
    session: &'a Session,
    base: &'a dyn Snapshot,
    staged: RefCell<WriteBatch>,
    /// Whether an update closure runs, which may not write.
    updating: Cell<bool>,
}

impl<'a> Transaction<'a> {
    pub(crate) fn new(session: &'a Session, base: &'a dyn Snapshot) -> Self {
        Self {
            session,
            base,
            staged: RefCell::new(WriteBatch::new()),
            updating: Cell::new(false),
        }
    }

    pub(crate) fn into_batch(self) -> WriteBatch {
        self.staged.into_inner()
    }
}

impl Read for Transaction<'_> {
    fn with_view<R>(&self, read: impl FnOnce(&TenantView<'_>) -> Result<R>) -> Result<R> {
        let staged = self.staged.borrow();
        let overlay = Overlay {
            base: self.base,
            staged: &staged,
        };
        let name = self.session.tenant();
        let number = tenants::number(&overlay, name)?;
        read(&TenantView {
            snapshot: &overlay,
            name,
            number,
        })
    }

    fn context(&self) -> Context<'_> {
        self.session.context()
    }
}

impl Write for Transaction<'_> {
    /// An operation that fails leaves nothing behind.
    fn run<T: Send + 'static>(
        &self,
        mut operation: impl FnMut(&mut Stage<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        if self.updating.get() {
            return Err(reentry::refused());
        }
        let (value, batch) = {
            let staged = self.staged.borrow();
            let overlay = Overlay {
                base: self.base,
                staged: &staged,
            };
            let session = self.session;
            let mut stage = Stage::new(
                &session.inner.settings,
                &overlay,
                session.tenant(),
                session.actor(),
            )?;
            (operation(&mut stage)?, stage.batch)
        };
        self.staged.borrow_mut().absorb(batch);
        Ok(value)
    }

    fn ahead<T>(&self, _work: impl FnOnce(&TenantView<'_>) -> Result<T>) -> Result<Option<T>> {
        Ok(None)
    }

    /// The thread is inside of a write already; what is left to refuse is this transaction's own.
    fn outside_of_writes<R>(&self, work: impl FnOnce() -> R) -> Result<R> {
        if self.updating.replace(true) {
            return Err(reentry::refused());
        }
        let _end = UpdateEnd(&self.updating);
        Ok(work())
    }
}

/// Ends an update closure, by a panic too.
struct UpdateEnd<'a>(&'a Cell<bool>);

impl Drop for UpdateEnd<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}
