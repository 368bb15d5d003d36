//! An interactive transaction.

use std::cell::RefCell;

use crate::backend::{Overlay, Snapshot, WriteBatch};
use crate::engine::{Stage, TenantView, tenants};
use crate::error::Result;
use crate::read::{Context, Read};
use crate::session::Session;
use crate::write::Write;

/// The inside of [`Session::transact`]: [`Read`] and [`Write`] on one state that no other write changes, committed as one.
#[derive(Debug)]
pub struct Transaction<'a> {
    session: &'a Session,
    base: &'a dyn Snapshot,
    staged: RefCell<WriteBatch>,
}

impl<'a> Transaction<'a> {
    pub(crate) fn new(session: &'a Session, base: &'a dyn Snapshot) -> Self {
        Self {
            session,
            base,
            staged: RefCell::new(WriteBatch::new()),
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

    /// The thread is inside of a write already.
    fn outside_of_writes<R>(&self, work: impl FnOnce() -> R) -> Result<R> {
        Ok(work())
    }
}
