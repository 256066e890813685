//! The catalog of a store, read beside the opener that writes it.

use std::sync::Arc;

use super::cluster::Cluster;
use super::edits::{last_sequence, read};
use super::shared::Shared;
use super::subjects::Names;
use crate::catalog::CatalogState;
use crate::error::Result;

/// What a reader shares with none: it writes nothing.
pub(super) fn reader(cluster: Arc<Cluster>, names: Names) -> Arc<Shared> {
    Arc::new(Shared::new(cluster, names, 0, 0, 0, 0))
}

/// The catalog up to the last edit of this moment; `None` where it has no edit.
///
/// # Errors
/// [`Error::Corrupt`](crate::Error::Corrupt) if it is damaged on all servers;
/// [`Error::Cluster`](crate::Error::Cluster).
pub(super) async fn stored_catalog(shared: &Shared) -> Result<Option<CatalogState>> {
    let last = last_sequence(shared).await?;
    if last == 0 {
        return Ok(None);
    }
    let edits = read(shared, last).await?.edits;
    let state = CatalogState::from_snapshot(&edits).map_err(|reason| {
        let names = &shared.names;
        shared.corrupt(&names.catalog_stream(), &names.edits(), 0, reason)
    })?;
    Ok(Some(state))
}
