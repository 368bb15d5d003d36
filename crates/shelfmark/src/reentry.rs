//! Refuses a write that is entered from inside another one on the same thread, which would wait for itself for ever.

use std::cell::Cell;
use std::marker::PhantomData;

use crate::error::{Error, ErrorKind, Result};

thread_local! {
    static WRITING: Cell<bool> = const { Cell::new(false) };
}

/// While it lives, this thread may not enter a write.
pub(crate) struct Entered {
    /// Whether the thread was writing before.
    before: bool,
    // Must be dropped on the thread that made it.
    _not_send: PhantomData<*const ()>,
}

/// Marks this thread as writing.
pub(crate) fn enter_write() -> Result<Entered> {
    if WRITING.replace(true) {
        return Err(refused());
    }
    Ok(Entered {
        before: false,
        _not_send: PhantomData,
    })
}

impl Drop for Entered {
    fn drop(&mut self) {
        WRITING.set(self.before);
    }
}

/// Whether this thread is writing.
pub(crate) fn is_inside_a_write() -> bool {
    WRITING.get()
}

/// Marks this thread as writing, whether or not it is already.
pub(crate) fn inside_a_write() -> Entered {
    Entered {
        before: WRITING.replace(true),
        _not_send: PhantomData,
    }
}

/// What a write entered from inside another one gets.
pub(crate) fn refused() -> Error {
    Error::new(
        ErrorKind::ReentrantWrite,
        "a write was entered from inside a transaction, an update closure or a hook on the same thread: use the transaction's own handle, or do it \
         afterwards",
    )
}
