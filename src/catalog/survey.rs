//! Reading a manifest as far as it can be read: for the tools.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::edit::Edit;
use super::manifest::{self, Manifest};
use super::state::CatalogState;
use crate::disk::Disk;
use crate::error::Result;

/// What a manifest holds, as far as it is whole.
#[derive(Debug)]
pub(crate) struct ManifestSurvey {
    pub(crate) path: PathBuf,
    pub(crate) number: u64,
    pub(crate) store: u128,
    /// Lists of edits that happened together, and where each begins.
    pub(crate) frames: Vec<(Vec<Edit>, u64)>,
    /// After the last of them; `None` if there is not even a snapshot.
    pub(crate) state: Option<CatalogState>,
    pub(crate) defect: Option<ManifestDefect>,
    pub(crate) bytes: u64,
}

/// Where a manifest ceases to be whole.
#[derive(Clone, Debug)]
pub(crate) struct ManifestDefect {
    pub(crate) offset: u64,
    pub(crate) reason: String,
    /// Whether it can be what a crash left of a frame that nobody was told of.
    pub(crate) is_torn: bool,
    /// Whole frames behind it, whose edits cannot be used.
    pub(crate) frames_behind: u64,
}

/// The number of the manifest that the content of CURRENT names.
pub(crate) fn parse_current(bytes: &[u8]) -> Option<u64> {
    manifest::parse_current(bytes)
}

/// The number in the name of a manifest.
pub(crate) fn parse_manifest_name(name: &str) -> Option<u64> {
    manifest::parse_file_name(name)
}

pub(crate) fn manifest_name(number: u64) -> String {
    manifest::file_name(number)
}

/// Goes over the bytes of a manifest.
///
/// # Errors
/// The header does not hold, so that nothing behind it can be checked.
pub(crate) fn survey_manifest(bytes: &[u8], number: u64, path: &Path) -> Result<ManifestSurvey> {
    let (store, seed) = manifest::decode_header(bytes, number, path)?;
    let mut walk = manifest::walk_frames(bytes, &seed);
    let (state, misfit) = replay(store, &mut walk.edits);
    let stop = misfit.or(walk.defect).or_else(|| {
        state
            .is_none()
            .then(|| (walk.end, manifest::NO_SNAPSHOT.to_owned()))
    });
    let defect = match stop {
        Some((offset, reason)) => Some(ManifestDefect {
            offset,
            reason,
            is_torn: false,
            frames_behind: manifest::frames_behind(bytes, &seed, offset as usize).count() as u64,
        }),
        None => walk.has_torn_tail.then(|| ManifestDefect {
            offset: walk.end,
            reason: "the last frame is not whole".to_owned(),
            is_torn: true,
            frames_behind: 0,
        }),
    };
    Ok(ManifestSurvey {
        path: path.to_owned(),
        number,
        store,
        frames: walk.edits,
        state,
        defect,
        bytes: bytes.len() as u64,
    })
}

/// The state after all frames that fit, if they begin with a snapshot; the others are taken off, and the first of them
/// is told.
fn replay(store: u128, frames: &mut Vec<(Vec<Edit>, u64)>) -> (Option<CatalogState>, Option<(u64, String)>) {
    let mut state = CatalogState::new(store, [0; 32]);
    for (at, (edits, offset)) in frames.iter().enumerate() {
        if let Err(reason) = manifest::apply_all(&mut state, edits) {
            let misfit = (*offset, reason.to_owned());
            // Part of the list may have been applied, so those before it are applied afresh.
            frames.truncate(at);
            return (replay(store, frames).0, Some(misfit));
        }
    }
    let first = frames.first().and_then(|(edits, _)| edits.first());
    let is_whole = matches!(first, Some(Edit::Snapshot(_))) && state.store == store;
    (is_whole.then_some(state), None)
}

/// Writes a manifest that holds just this state, and has CURRENT name it. Durable on return.
pub(crate) fn write_manifest(
    disk: &Arc<dyn Disk>,
    directory: &Path,
    number: u64,
    state: &CatalogState,
) -> Result<PathBuf> {
    let manifest = Manifest::put_in_force(disk.clone(), directory, state.store, number, state)?;
    Ok(manifest.path().to_owned())
}
