//! Refuses a write that is entered from inside another one on the same thread, which would wait for itself for ever.

use std::cell::Cell;
use std::marker::PhantomData;

use crate::error::{Error, ErrorKind, Result};

thread_local! {
    static WRITING: Cell<bool> = const { Cell::new(false) };
}

/// While it lives, this thread may not enter a write.
pub(crate) struct Entered {
    // Must be dropped on the thread that made it.
    _not_send: PhantomData<*const ()>,
}

/// Marks this thread as writing.
pub(crate) fn enter_write() -> Result<Entered> {
    if WRITING.replace(true) {
        return Err(refused());
    }
    Ok(Entered {
        _not_send: PhantomData,
    })
}

impl Drop for Entered {
    fn drop(&mut self) {
        WRITING.set(false);
    }
}

/// What a write entered from inside another one gets.
pub(crate) fn refused() -> Error {
    Error::new(
        ErrorKind::ReentrantWrite,
        "a write was entered from inside a transaction or an update closure on the same thread: use the transaction's own handle, or do it \
         afterwards",
    )
}
