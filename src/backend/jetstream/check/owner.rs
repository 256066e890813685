//! Who has the store.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::backend::jetstream::cluster::Cluster;
use crate::backend::jetstream::subjects::Names;
use crate::error::Result;

/// An opener that is there answers within so long.
const LIMIT: Duration = Duration::from_secs(2);

/// What the opener that has the store says of itself; `None` if none answers.
pub(super) fn owner(cluster: &Arc<Cluster>, names: &Names) -> Result<Option<String>> {
    let (of_task, subject) = (cluster.clone(), names.presence());
    let asked = cluster.run(async move { of_task.ask(subject, None, Bytes::new(), LIMIT).await })?;
    Ok(asked
        .ok()
        .map(|answer| String::from_utf8_lossy(&answer.payload).into_owned()))
}
