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

/// Where the opener that has the store takes calls, or words for one that takes none; `None` if none answers.
pub(super) fn owner(cluster: &Arc<Cluster>, names: &Names) -> Result<Option<String>> {
    let (of_task, subject) = (cluster.clone(), names.presence());
    let asked = cluster.run(async move { of_task.ask(subject, None, Bytes::new(), LIMIT).await })?;
    Ok(asked.ok().map(|answer| {
        // Its token is not shown.
        let answer = Answer::from_bytes(&answer.payload);
        answer.address.map_or_else(
            || "a program that takes no calls".to_owned(),
            |address| address.url,
        )
    }))
}
