//! Opening.

use std::sync::Arc;

use tokio::time::Instant;

use super::api::Api;
use super::checks::{check_servers, check_streams, not_made};
use super::cluster::Cluster;
use super::edits::ClusterEdits;
use super::opened_logs::ClusterLogs;
use super::options::JetStream;
use super::presence;
use super::shared::{LEADER_LIMIT, Shared};
use super::subjects::Names;
use crate::backend::Opened;
use crate::catalog::Catalog;
use crate::error::{Error, Result};

/// Opens the store on the cluster, or makes it there. `new_identity` gives a number and a secret that no other store
/// has, and is asked for a number of this opener too.
pub(crate) fn open(
    at: &JetStream,
    group_bytes: usize,
    new_identity: impl Fn() -> Result<(u128, [u8; 32])>,
) -> Result<Opened> {
    let cluster = Cluster::connect(at)?;
    let names = Names::of(&at.store);
    let message_bytes = check_servers(&cluster, &Api::of(cluster.clone()), at)?;
    let (opener, _) = new_identity()?;
    let shared = Arc::new(Shared::new(
        cluster,
        names,
        at.replicas,
        message_bytes,
        group_bytes,
        opener as u64,
    ));
    let streams = {
        let of_task = shared.clone();
        let listed = shared.cluster.run(async move { of_task.known_streams().await })?;
        listed.map_err(|failure| failure.into_error("list its streams"))?
    };
    check_streams(&streams, &shared.names, at.replicas)?;
    let has_catalog = streams
        .iter()
        .any(|stream| stream.name == shared.names.catalog_stream());
    // Else the catalog has something, whatever its leader finds.
    let may_be_new = streams
        .iter()
        .all(|stream| stream.name == shared.names.catalog_stream() && stream.last_sequence == 0);
    // Of several servers that find the owner gone, one has the store: what another one writes meanwhile is seen.
    let seen = match has_catalog && at.seat.is_some() {
        true => Some(ClusterEdits::last_sequence(&shared, may_be_new)?),
        false => None,
    };
    if !at.takes_over {
        presence::check_is_free(&shared, at.seat.as_deref())?;
    }
    if !has_catalog && !streams.is_empty() {
        return Err(Error::ClusterUnfit {
            problem: format!(
                "it has streams of {} and not its catalog, the stream {}",
                shared.names.store(),
                shared.names.catalog_stream()
            ),
        });
    }
    make_catalog(&shared)?;
    presence::announce(&shared, at.seat.clone())?;
    let edits = match ClusterEdits::take_over(shared.clone(), may_be_new, seen, new_identity) {
        Ok(edits) => edits,
        Err(error) => {
            // What is still tried must not take the store over later.
            shared.cluster.close();
            return Err(match error {
                // Two have opened it at the same time, and the other one was first.
                Error::Fenced { .. } => presence::taken(&shared),
                error => error,
            });
        }
    };
    let term = edits.term();
    let catalog = Arc::new(Catalog::new(Box::new(edits))?);
    let logs = Arc::new(ClusterLogs::new(shared, catalog.clone(), &streams));
    if let Some(seat) = &at.seat {
        seat.note_open(term);
    }
    Ok(Opened {
        logs,
        catalog,
        damage: Vec::new(),
    })
}

/// One that is there stays as it is.
fn make_catalog(shared: &Arc<Shared>) -> Result<()> {
    let of_task = shared.clone();
    let made = shared.cluster.run(async move {
        let (stream, subjects) = (of_task.names.catalog_stream(), of_task.names.catalog_subjects());
        let deadline = Instant::now() + LEADER_LIMIT;
        of_task.make_stream(&stream, &subjects, deadline).await
    })?;
    made.map(drop)
        .map_err(|failure| not_made(failure, &shared.names.catalog_stream(), shared.replicas))
}
