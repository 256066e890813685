//! The steps of a server on a cluster when it becomes the owner of the store.

use std::sync::Arc;

use anabranch::kinesis::Ownership;
use anabranch::{Delivery, JetStream, Store};

use super::Failure;

/// With the settings of the command line.
pub(super) struct Owned {
    pub(super) open: Box<Open>,
    pub(super) prepare: Box<Prepare>,
}

type Open = dyn Fn(&JetStream) -> anabranch::Result<Store> + Send + Sync;
type Prepare = dyn Fn(&Store) -> Result<Option<Arc<Delivery>>, Failure> + Send + Sync;

impl Ownership for Owned {
    type Failure = Failure;

    fn open(&self, at: &JetStream) -> anabranch::Result<Store> {
        (self.open)(at)
    }

    fn prepare(&self, store: &Store) -> Result<Option<Arc<Delivery>>, Failure> {
        (self.prepare)(store)
    }
}
