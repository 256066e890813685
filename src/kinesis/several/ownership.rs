use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use crate::{Delivery, Error, JetStream, Result, Store};

/// How a server on a cluster opens the store when it is its turn. That may happen several times: a server that was cut
/// off loses the store, and may get it again.
pub trait Ownership: Send + Sync + 'static {
    /// Why an open store cannot be served.
    type Failure: fmt::Display + fmt::Debug + Send + 'static;

    /// Opens the store at exactly this place, which identifies the server. May wait.
    ///
    /// # Errors
    /// Those of [`open_jetstream`](crate::StoreOptions::open_jetstream). [`Error::InUse`] means that another server has
    /// the store.
    fn open(&self, at: &JetStream) -> Result<Store>;

    /// Prepares the store for being served, and gives the delivery of its channels. May wait.
    ///
    /// # Errors
    /// Why it cannot be served; then the store is closed.
    fn prepare(&self, store: &Store) -> std::result::Result<Option<Arc<Delivery>>, Self::Failure>;
}

/// Why a server has neither opened the store nor found another one that has it.
#[derive(Debug, Error)]
pub enum TakeOverError<F> {
    /// The store could not be opened.
    #[error("{0}")]
    Store(Error),
    /// It was open, and could not be served.
    #[error("{0}")]
    Prepare(F),
}
