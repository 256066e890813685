use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use crate::{Delivery, Error, JetStream, Result, Store};

/// How a server on a cluster opens the store, once it is its turn. It may be more than once: a server that was cut off
/// loses the store, and may get it again.
pub trait Ownership: Send + Sync + 'static {
    /// Why a store that is open cannot be served.
    type Failure: fmt::Display + fmt::Debug + Send + 'static;

    /// Opens the store at this place, and at no other: it says which server this is. May wait.
    ///
    /// # Errors
    /// Those of [`open_jetstream`](crate::StoreOptions::open_jetstream). [`Error::InUse`] says that another server has it.
    fn open(&self, at: &JetStream) -> Result<Store>;

    /// Does what has to be done before the store is served, and gives what delivers its channels. May wait.
    ///
    /// # Errors
    /// Why it cannot be served; it is closed then.
    fn prepare(&self, store: &Store) -> std::result::Result<Option<Arc<Delivery>>, Self::Failure>;
}

/// Why a server has neither got the store nor found another one that has it.
#[derive(Debug, Error)]
pub enum TakeOverError<F> {
    /// The store could not be opened.
    #[error("{0}")]
    Store(Error),
    /// It was open, and could not be served.
    #[error("{0}")]
    Prepare(F),
}
