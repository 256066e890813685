//! The data that is shown, and the limits of the cost to read it.

use std::fmt::Debug;
use std::sync::Arc;

use hyper::StatusCode;
use tokio::sync::Semaphore;
use tracing::error;

use super::answer::Problem;
use crate::{ConsumerId, Delivery, RecordNumber, ShardId, Store, Stream, StreamId};

/// Pushes records to consumers, and knows their positions.
pub(crate) trait Pushes: Debug + Send + Sync {
    /// The next record to be pushed to a consumer, in each shard whose records are being pushed to it.
    fn positions(&self, stream: StreamId, consumer: ConsumerId) -> Vec<(ShardId, RecordNumber)>;
}

/// The store, and the part of the server that delivers its channels.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) store: Store,
    pub(super) delivery: Option<Arc<Delivery>>,
    pub(super) pushes: Arc<dyn Pushes>,
    /// The namespace of streams that are named without one.
    pub(super) home: String,
    /// Whether work that waits is done on the thread of the async runtime.
    waits_inline: bool,
    /// One permit for each request that reads the store.
    looks: Arc<Semaphore>,
}

/// More would only take threads from the API.
const MOST_LOOKS: usize = 4;

impl Source {
    pub(super) fn new(
        store: Store,
        delivery: Option<Arc<Delivery>>,
        pushes: Arc<dyn Pushes>,
        home: String,
        waits_inline: bool,
    ) -> Source {
        Source {
            store,
            delivery,
            pushes,
            home,
            waits_inline,
            looks: Arc::new(Semaphore::new(MOST_LOOKS)),
        }
    }

    /// A stream by its name, in the home namespace if none is given.
    pub(super) fn stream(&self, namespace: Option<&str>, name: &str) -> Result<Stream, Problem> {
        let found = match namespace.unwrap_or(&self.home) {
            "" => self.store.stream(name),
            namespace => self.store.namespace(namespace)?.stream(name),
        };
        Ok(found?)
    }

    /// Reads the store on a thread that may wait for locks and the disk, once there is a permit. It goes on if the
    /// client leaves.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Source) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        if self.waits_inline {
            return look(self);
        }
        // The semaphore is never closed.
        let permit = Arc::clone(&self.looks).acquire_owned().await.ok();
        let source = self.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            look(&source)
        });
        looked.await.unwrap_or_else(|panic| {
            error!(%panic, "the console could not look at the store");
            Err(Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "looking at the store failed inside the server",
            ))
        })
    }
}
