//! The manifest of a copy of a store. It is written first, and named after everything else is written.

use std::path::Path;
use std::sync::Arc;

use super::current::{prepare_current, replace_current, sync_current};
use super::file::{COMPACTION_BYTES, Home, Manifest};
use super::new_store::MANIFEST_OF_COPY;
use crate::catalog::state::CatalogState;
use crate::disk::{Disk, Health};
use crate::error::Result;

/// Writes a manifest with just this state. It is durable on return, and has no effect until it is
/// [named](name_manifest_of_copy).
pub(crate) fn write_manifest_of_copy(
    disk: &Arc<dyn Disk>,
    directory: &Path,
    state: &CatalogState,
) -> Result<()> {
    let home = Home {
        disk: disk.clone(),
        directory: directory.to_owned(),
        health: Health::default(),
        compaction_bytes: COMPACTION_BYTES,
    };
    Manifest::write_new(&home, MANIFEST_OF_COPY, state).map(drop)
}

/// Makes `CURRENT` name that manifest, durably: from here on the directory is a store.
pub(crate) fn name_manifest_of_copy(disk: &dyn Disk, directory: &Path) -> Result<()> {
    prepare_current(disk, directory, MANIFEST_OF_COPY)?;
    replace_current(disk, directory)?;
    sync_current(disk, directory)
}
