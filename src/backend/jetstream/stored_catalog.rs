//! The catalog of a store, read beside the opener that writes it.

use std::sync::Arc;

use tokio::time::Instant;

use super::certain::Watched;
use super::cluster::Cluster;
use super::edit_reads::read;
use super::shared::{LEADER_LIMIT, Shared};
use super::subjects::Names;
use crate::catalog::{CatalogState, Edit};
use crate::error::Result;

/// What a reader shares with none: it writes nothing.
pub(super) fn reader(cluster: Arc<Cluster>, names: Names) -> Arc<Shared> {
    Arc::new(Shared::new(cluster, names, 0, 0, 0, 0))
}

/// The edits since the last snapshot, and that, up to the last edit of this moment. There are none where there is no
/// store.
pub(super) async fn stored_edits(shared: &Shared) -> Result<Vec<Edit>> {
    let (stream, subject) = (shared.names.catalog_stream(), shared.names.edits());
    let deadline = Instant::now() + LEADER_LIMIT;
    if let Some(last) = shared.last_known(&stream, &subject, deadline).await? {
        return Ok(read(shared, last.sequence).await?.edits);
    }
    match shared.has_never_had(&Watched::edits(shared), deadline).await? {
        true => Ok(Vec::new()),
        false => Err(shared.corrupt(&stream, &subject, 0, "its leader does not find the last edit")),
    }
}

/// The state that edits lead to; `None` where there are none.
pub(super) fn state_of(shared: &Shared, edits: Vec<Edit>) -> Result<Option<CatalogState>> {
    if edits.is_empty() {
        return Ok(None);
    }
    let state = CatalogState::from_snapshot(edits).map_err(|reason| {
        let names = &shared.names;
        shared.corrupt(&names.catalog_stream(), &names.edits(), 0, reason)
    })?;
    Ok(Some(state))
}

/// The catalog up to the last edit of this moment; `None` where it has no edit.
///
/// # Errors
/// [`Error::Corrupt`](crate::Error::Corrupt) if it is damaged on all servers;
/// [`Error::Cluster`](crate::Error::Cluster).
pub(super) async fn stored_catalog(shared: &Shared) -> Result<Option<CatalogState>> {
    let edits = stored_edits(shared).await?;
    state_of(shared, edits)
}
