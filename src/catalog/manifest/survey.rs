//! Reading as much as possible of a damaged manifest, for the tools.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crc32fast::Hasher;

use super::copies::{Copies, WhichCopy, file_offset};
use super::file::{COMPACTION_BYTES, Home, Manifest};
use super::format::decode_headers;
use super::walk;
use crate::catalog::codec;
use crate::catalog::edit::Edit;
use crate::catalog::log_state::LogState;
use crate::catalog::state::CatalogState;
use crate::disk::{Disk, Health};
use crate::error::Result;
use crate::model::{LogName, RecordNumber, StreamId};

/// The readable contents of a manifest.
#[derive(Debug)]
pub(crate) struct ManifestSurvey {
    pub(crate) path: PathBuf,
    pub(crate) number: u64,
    pub(crate) store: u128,
    /// Lists of edits that happened together, each with its offset in the file. Includes those behind a defect.
    pub(crate) frames: Vec<(Vec<Edit>, u64)>,
    /// The state after all of them, as far as they fit; `None` without a snapshot.
    pub(crate) state: Option<CatalogState>,
    pub(crate) defect: Option<ManifestDefect>,
    /// The offsets at which one copy is damaged and the other is whole.
    pub(crate) damaged_copies: Vec<u64>,
    /// The same for the last frame, which a crash may have left out of one copy.
    pub(crate) last_in_one_copy: Option<u64>,
    pub(crate) bytes: u64,
    /// The state at the manifest's beginning. A stream that had a number then and is not in the state was deleted,
    /// unless edits are lost.
    snapshot: Option<CatalogState>,
}

/// The place where a manifest is damaged or torn.
#[derive(Clone, Debug)]
pub(crate) struct ManifestDefect {
    pub(crate) offset: u64,
    pub(crate) reason: String,
    /// Whether it can be what a crash left of a frame that was never acknowledged.
    pub(crate) is_torn: bool,
    /// The count of whole frames behind it.
    pub(crate) frames_behind: u64,
    /// The count of edits in them that do not fit without the lost ones.
    pub(crate) misfits: u64,
}

impl ManifestSurvey {
    /// Whether edits that had been durable are lost.
    pub(crate) fn has_lost_edits(&self) -> bool {
        self.defect.as_ref().is_some_and(|defect| !defect.is_torn)
    }

    /// Whether the readable edits say that a log was trimmed up to behind this record.
    pub(crate) fn is_trimmed(&self, log: LogName, record: RecordNumber) -> bool {
        let begins_behind = |log: &LogState| {
            log.segments
                .first()
                .is_some_and(|first| record < first.first_record)
        };
        let was_trimmed = |edit: &Edit| match edit {
            Edit::LogTrimmed {
                log: of,
                first_record,
            } => *of == log && record < *first_record,
            _ => false,
        };
        let snapshot = self.snapshot.as_ref().and_then(|state| state.log(log));
        snapshot.is_some_and(begins_behind)
            || (self.frames.iter().flat_map(|(edits, _)| edits)).any(was_trimmed)
    }

    /// Whether the manifest says that a log has expired or was deleted. The log is one that the state does not have,
    /// of an existing stream.
    pub(crate) fn is_gone(&self, log: LogName) -> bool {
        let stream = log.stream();
        let known = stream.and_then(|stream| self.state.as_ref()?.stream(stream));
        let end = match log {
            LogName::Shard(stream, shard) => Some(Edit::ShardExpired { stream, shard }),
            LogName::Queue(stream, queue) => Some(Edit::QueueRemoved { stream, queue }),
            LogName::CommitJournal => None,
        };
        let is_end_known = || {
            let mut edits = self.frames.iter().flat_map(|(edits, _)| edits);
            edits.any(|edit| Some(edit) == end.as_ref())
        };
        known.is_some_and(|stream| stream.has_had(log)) && (!self.has_lost_edits() || is_end_known())
    }

    /// Whether a stream that the state does not have was deleted according to the manifest.
    pub(crate) fn is_deleted(&self, stream: StreamId) -> bool {
        let Some(state) = &self.state else {
            return false;
        };
        let is_gone = stream < state.next_stream() && state.stream(stream).is_none();
        let deletion = Edit::StreamDeleted { stream };
        let was_there_before = |snapshot: &CatalogState| stream < snapshot.next_stream();
        is_gone
            && (!self.has_lost_edits()
                || self.snapshot.as_ref().is_some_and(was_there_before)
                || self.frames.iter().any(|(edits, _)| edits.contains(&deletion)))
    }
}

/// Reads the bytes of a manifest, and goes on behind places that are damaged in both copies.
///
/// # Errors
/// The header is invalid in both copies, so that nothing behind it can be checked.
pub(crate) fn survey_manifest(bytes: &[u8], number: u64, path: &Path) -> Result<ManifestSurvey> {
    let copies = Copies::of(bytes);
    let header = decode_headers(&copies, number, path)?;
    let mut frames = Vec::new();
    let walk = walk::walk_frames(&copies, &header.seed, |edits, offset| {
        frames.push((edits, offset));
    });
    let mut replay = Replay::of(header.store, &frames);
    let stop = replay.misfit.take().or(walk.defect).or_else(|| {
        let is_empty = replay.state.is_none();
        is_empty.then(|| (walk.end, "there is no snapshot".to_owned()))
    });
    let in_file = |offset| file_offset(WhichCopy::First, offset);
    let defect_at = |offset, reason, is_torn| ManifestDefect {
        offset: in_file(offset),
        reason,
        is_torn,
        frames_behind: 0,
        misfits: 0,
    };
    let defect = match stop {
        Some((offset, reason)) => {
            let mut defect = defect_at(offset, reason, false);
            for (edits, offset) in frames_behind(&copies, &header.seed, offset as usize) {
                defect.frames_behind += 1;
                defect.misfits += replay.go_on_with(edits, offset);
            }
            Some(defect)
        }
        None => walk
            .has_torn_tail
            .then(|| defect_at(walk.end, "the last frame is not whole".to_owned(), true)),
    };
    // The snapshot was durable before anyone read it.
    let is_last =
        |(_, offset): &(WhichCopy, u64)| defect.is_none() && walk.frames > 1 && walk.last == *offset;
    let place = |(copy, offset): &(WhichCopy, u64)| file_offset(*copy, *offset);
    let damaged_headers = header.damaged.map(|copy| file_offset(copy, 0));
    let damaged_frames = walk.damaged.iter().filter(|damaged| !is_last(damaged)).map(place);
    Ok(ManifestSurvey {
        path: path.to_owned(),
        number,
        store: header.store,
        snapshot: replay.snapshot,
        frames: replay
            .frames
            .into_iter()
            .map(|(edits, offset)| (edits, in_file(offset)))
            .collect(),
        state: replay.state,
        damaged_copies: damaged_headers.into_iter().chain(damaged_frames).collect(),
        last_in_one_copy: walk.damaged.last().filter(|damaged| is_last(damaged)).map(place),
        defect,
        bytes: bytes.len() as u64,
    })
}

/// The whole frames behind a place without one, in the order in which they were written.
fn frames_behind(copies: &Copies, seed: &Hasher, offset: usize) -> Vec<(Vec<Edit>, u64)> {
    let mut found = Vec::new();
    let (mut last_sequence, mut behind) = (None, offset);
    for at in walk::frames_behind(copies, seed, offset) {
        // Bytes inside a frame that look like a frame are none.
        let Some(frame) = walk::find_frame(copies, at, seed).filter(|_| at >= behind) else {
            continue;
        };
        if Some(frame.sequence) > last_sequence {
            (last_sequence, behind) = (Some(frame.sequence), frame.end);
            found.extend(codec::decode(frame.body).map(|edits| (edits, at as u64)));
        }
    }
    found
}

/// The state that frames lead to.
struct Replay {
    /// Those that fit, at least in part.
    frames: Vec<(Vec<Edit>, u64)>,
    /// The state after all of them; `None` without a snapshot of this store.
    state: Option<CatalogState>,
    /// The state after the first of them.
    snapshot: Option<CatalogState>,
    /// The first frame that does not fit, although no frame before it is lost.
    misfit: Option<(u64, String)>,
}

impl Replay {
    /// Replays the frames up to the first that does not fit, if they begin with a snapshot.
    fn of(store: u128, frames: &[(Vec<Edit>, u64)]) -> Self {
        let mut replay = Self {
            frames: Vec::new(),
            state: None,
            snapshot: None,
            misfit: None,
        };
        let Some(((edits, offset), others)) = frames.split_first() else {
            return replay;
        };
        match CatalogState::from_snapshot(edits.clone()) {
            Ok(state) if state.store == store => replay.snapshot = Some(state),
            Ok(_) => replay.misfit = Some((*offset, "the snapshot is of another store".to_owned())),
            Err(reason) => replay.misfit = Some((*offset, reason.to_owned())),
        }
        replay.state.clone_from(&replay.snapshot);
        let Some(state) = &mut replay.state else {
            return replay;
        };
        for (at, (edits, offset)) in others.iter().enumerate() {
            if let Err(reason) = state.apply_all(edits.clone()) {
                // Part of the list may have been applied, so the frames before it are applied again.
                return Self {
                    misfit: Some((*offset, reason.to_owned())),
                    ..Self::of(store, &frames[..=at])
                };
            }
        }
        replay.frames = frames.to_vec();
        replay
    }

    /// Applies the edits of a frame behind lost ones that fit. Gives how many do not.
    fn go_on_with(&mut self, edits: Vec<Edit>, offset: u64) -> u64 {
        let Some(state) = &mut self.state else {
            return edits.len() as u64;
        };
        let mut misfits = 0;
        for edit in &edits {
            let applied = match edit {
                Edit::LogsRested { ends } => ends.iter().try_for_each(|end| {
                    let ends = vec![*end];
                    state.apply(Edit::LogsRested { ends })
                }),
                edit => state.apply(edit.clone()),
            };
            misfits += u64::from(applied.is_err());
        }
        self.frames.push((edits, offset));
        misfits
    }
}

/// Writes a manifest with just this state, and makes CURRENT name it. Durable on return.
pub(crate) fn write_manifest(
    disk: &Arc<dyn Disk>,
    directory: &Path,
    number: u64,
    state: &CatalogState,
) -> Result<PathBuf> {
    let home = Home {
        disk: disk.clone(),
        directory: directory.to_owned(),
        health: Health::default(),
        compaction_bytes: COMPACTION_BYTES,
    };
    let manifest = Manifest::put_in_force(&home, number, state)?;
    Ok(manifest.path)
}
