//! Who has the store.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::backend::jetstream::answer::Answer;
use crate::backend::jetstream::cluster::Cluster;
use crate::backend::jetstream::subjects::Names;
use crate::error::Result;

/// An opener that is there answers within so long.
const LIMIT: Duration = Duration::from_secs(2);

/// A program that has a store on a cluster open.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreOwner {
    /// Where it takes calls that other servers pass on to it; `None` if it takes none.
    pub url: Option<String>,
}

/// The opener that has the store; `None` if none answers. What it says besides its address is for other servers alone.
pub(super) fn owner(cluster: &Arc<Cluster>, names: &Names) -> Result<Option<StoreOwner>> {
    let (of_task, subject) = (cluster.clone(), names.presence());
    let asked = cluster.run(async move { of_task.ask(subject, None, Bytes::new(), LIMIT).await })?;
    Ok(asked.ok().map(|answer| StoreOwner {
        url: Answer::from_bytes(&answer.payload)
            .address
            .map(|address| address.url),
    }))
}
