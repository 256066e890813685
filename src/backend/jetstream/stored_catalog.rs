//! The catalog of a store, read beside the opener that writes it.

use std::sync::Arc;

use super::cluster::Cluster;
use super::edits::{last_sequence, read};
use super::shared::Shared;
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
    let last = last_sequence(shared).await?;
    match last {
        0 => Ok(Vec::new()),
        last => Ok(read(shared, last).await?.edits),
    }
}

/// The state that edits lead to; `None` where there are none.
pub(super) fn state_of(shared: &Shared, edits: &[Edit]) -> Result<Option<CatalogState>> {
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
    state_of(shared, &edits)
}
