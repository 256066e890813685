//! Going over the frames of a manifest, each in the copy in which it is whole.

use std::path::Path;

use crc32fast::Hasher;

use super::copies::{Copies, WhichCopy, file_length, file_offset};
use super::format::{ALIGNMENT, FRAME_HEADER_BYTES, HEADER_BYTES, RESERVE_BYTES, decode_frame, frame_length};
use crate::catalog::codec;
use crate::catalog::edit::Edit;
use crate::catalog::state::CatalogState;
use crate::disk::{Step, is_left_out, passes};
use crate::error::{Error, Result};

/// The contents of a manifest's frames, up to the first that is whole in neither copy.
pub(super) struct Walk {
    /// Each frame's edits, and its offset.
    pub(super) edits: Vec<(Vec<Edit>, u64)>,
    pub(super) frame_ends: Vec<u64>,
    pub(super) end: u64,
    /// Whether the bytes at the end may be what a crash left of a frame.
    pub(super) has_torn_tail: bool,
    /// The offset of a missing frame that should be there, and the reason.
    pub(super) defect: Option<(u64, String)>,
    /// Frames that are whole only in the other copy.
    pub(super) damaged: Vec<(WhichCopy, u64)>,
}

pub(super) fn walk_frames(copies: &Copies, seed: &Hasher) -> Walk {
    let mut walk = Walk {
        edits: Vec::new(),
        frame_ends: Vec::new(),
        end: HEADER_BYTES as u64,
        has_torn_tail: false,
        defect: None,
        damaged: Vec::new(),
    };
    let mut offset = HEADER_BYTES;
    while let Some(frame) = find_frame(copies, offset, seed) {
        if !passes(Step::ManifestSequence, frame.sequence == walk.edits.len() as u64) {
            walk.defect = Some((offset as u64, "frames are missing before this one".to_owned()));
            return walk;
        }
        match codec::decode(frame.body) {
            Ok(edits) => walk.edits.push((edits, offset as u64)),
            Err(reason) => {
                walk.defect = Some((offset as u64, reason));
                return walk;
            }
        }
        walk.damaged
            .extend(frame.damaged_in.map(|copy| (copy, offset as u64)));
        walk.frame_ends.push(frame.end as u64);
        walk.end = frame.end as u64;
        offset = frame.end;
    }
    let goes_on = |copy: &[u8]| {
        let rest = copy.get(offset..).unwrap_or_default();
        // Nearly always all of it is zeros. Without an early exit the compiler checks many bytes at once.
        rest.iter().fold(0, |all, byte| all | byte) != 0
    };
    walk.has_torn_tail = goes_on(&copies.first) || goes_on(&copies.second);
    if is_cut(copies, offset, seed) && !is_left_out(Step::ManifestCut) {
        walk.defect = Some((offset as u64, "the file was cut".to_owned()));
    } else if walk.has_torn_tail && frames_behind(copies, seed, offset).next().is_some() {
        walk.defect = Some((offset as u64, "a frame is damaged that others follow".to_owned()));
    }
    walk
}

/// The state that the frames of a store's manifest lead to.
///
/// # Errors
/// A frame is missing, the frames do not begin with a snapshot of this store, or one does not fit.
pub(super) fn replay(walk: &Walk, store: u128, path: &Path) -> Result<CatalogState> {
    let in_file = |offset| file_offset(WhichCopy::First, offset);
    if let Some((offset, reason)) = &walk.defect {
        return Err(Error::bad_manifest(path, in_file(*offset), reason));
    }
    let mut frames = walk.edits.iter();
    let snapshot = frames.next().map_or(&[][..], |(edits, _)| edits);
    let mut state = CatalogState::from_snapshot(snapshot)
        .map_err(|reason| Error::bad_manifest(path, HEADER_BYTES as u64, reason))?;
    for (edits, offset) in frames {
        state
            .apply_all(edits)
            .map_err(|reason| Error::bad_manifest(path, in_file(*offset), reason))?;
    }
    if state.store != store {
        let reason = "the snapshot is of another store";
        return Err(Error::bad_manifest(path, HEADER_BYTES as u64, reason));
    }
    Ok(state)
}

/// A frame that is whole in at least one copy.
pub(super) struct Frame<'a> {
    pub(super) sequence: u64,
    pub(super) body: &'a [u8],
    /// The offset of the next frame.
    pub(super) end: usize,
    damaged_in: Option<WhichCopy>,
}

pub(super) fn find_frame<'a>(copies: &'a Copies, offset: usize, seed: &Hasher) -> Option<Frame<'a>> {
    let first = decode_frame(&copies.first, offset, seed);
    let second = decode_frame(&copies.second, offset, seed);
    let damaged_in = match (first, second) {
        (Some(first), Some(second)) if first == second => None,
        (Some(_), _) => Some(WhichCopy::Second),
        (None, _) => Some(WhichCopy::First),
    };
    let (sequence, body, end) = first.or(second)?;
    Some(Frame {
        sequence,
        body,
        end,
        damaged_in,
    })
}

/// Whether the file once went on behind the place without a whole frame. Room for a frame is durable before the frame
/// is begun, so a frame that was begun and does not fit was cut.
fn is_cut(copies: &Copies, offset: usize, seed: &Hasher) -> bool {
    let does_not_fit = |copy: &[u8]| {
        let rest = copy.get(offset..).unwrap_or_default();
        let header = rest.first_chunk::<FRAME_HEADER_BYTES>();
        header
            .and_then(|header| frame_length(header, seed))
            .is_some_and(|length| length > rest.len() as u64)
    };
    let rest = copies.first.get(offset..).unwrap_or_default();
    does_not_fit(&copies.first)
        || does_not_fit(&copies.second)
        || match rest.len() {
            0 => !copies.file_bytes.is_multiple_of(file_length(RESERVE_BYTES)),
            length => length < FRAME_HEADER_BYTES && rest.iter().any(|byte| *byte != 0),
        }
}

/// The offsets of frames behind a place where none is whole in either copy.
pub(super) fn frames_behind<'a>(
    copies: &'a Copies,
    seed: &'a Hasher,
    offset: usize,
) -> impl Iterator<Item = usize> + 'a {
    (offset + ALIGNMENT..copies.first.len().max(copies.second.len()))
        .step_by(ALIGNMENT)
        .filter(move |at| find_frame(copies, *at, seed).is_some())
        .filter(|_| !is_left_out(Step::ManifestFramesBehind))
}
