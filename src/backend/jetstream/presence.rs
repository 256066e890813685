//! Whether another opener has the store.
//!
//! The opener answers on a subject that is in no stream. One that has ended answers no more at once, and one that was
//! cut off or stopped does not in time: an opener that takes the store over then is safe from it, since it has said so
//! in the edits.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;

use super::cluster::NoAnswer;
use super::shared::Shared;
use crate::error::{Error, Result};

/// An opener that is there answers within so long.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// Refuses if another opener answers.
///
/// # Errors
/// [`Error::InUse`].
pub(super) fn check_is_free(shared: &Shared) -> Result<()> {
    let subject = shared.names.presence();
    let cluster = shared.cluster.clone();
    let asked = shared
        .cluster
        .run(async move { cluster.ask(subject, None, Bytes::new(), ANSWER_LIMIT).await })?;
    match asked {
        Ok(_) => Err(taken(shared)),
        Err(NoAnswer::NoResponders | NoAnswer::Unknown(_)) => Ok(()),
    }
}

/// Answers from now on.
///
/// # Errors
/// [`Error::Cluster`] if the connection is gone.
pub(super) fn announce(shared: &Shared) -> Result<()> {
    let subject = shared.names.presence();
    let client = shared.cluster.client().clone();
    let subscribed = shared.cluster.run(async move {
        let subscription = client
            .subscribe(subject)
            .await
            .map_err(|error| error.to_string())?;
        client.flush().await.map_err(|error| error.to_string())?;
        Ok::<_, String>(subscription)
    })?;
    let mut asked = subscribed.map_err(|reason| Error::Cluster {
        operation: "take the store",
        reason,
    })?;
    let client = shared.cluster.client().clone();
    shared.cluster.spawn(async move {
        while let Some(question) = asked.next().await {
            if let Some(reply) = question.reply {
                // Who asks takes no answer for an answer too.
                let _ = client.publish(reply, Bytes::from_static(b"here")).await;
            }
        }
    });
    Ok(())
}

pub(super) fn taken(shared: &Shared) -> Error {
    Error::InUse {
        store: shared.names.store(),
    }
}
