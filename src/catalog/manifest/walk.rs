//! Going over the frames of a manifest, each in the copy in which it is whole.

use std::path::Path;

use crc32fast::Hasher;

use super::copies::{Copies, WhichCopy, file_length, file_offset};
use super::format::{
    ALIGNMENT, FRAME_HEADER_BYTES, HEADER_BYTES, Header, RESERVE_BYTES, decode_frame, frame_length,
};
use crate::catalog::codec;
use crate::catalog::edit::Edit;
use crate::catalog::state::CatalogState;
use crate::disk::{Step, is_left_out, passes};
use crate::error::{Error, Result};

/// What the frames of a manifest are, up to the first that is whole in neither copy.
pub(super) struct Walk {
    /// How many are whole.
    pub(super) frames: u64,
    /// The end of the first, which is the snapshot.
    pub(super) snapshot_end: u64,
    /// The offset of the last.
    pub(super) last: u64,
    /// The end of the last.
    pub(super) end: u64,
    /// Whether the bytes at the end may be what a crash left of a frame.
    pub(super) has_torn_tail: bool,
    /// The offset of a missing frame that should be there, and the reason.
    pub(super) defect: Option<(u64, String)>,
    /// Frames that are whole only in the other copy.
    pub(super) damaged: Vec<(WhichCopy, u64)>,
}

/// Calls `take` with the edits of each frame and its offset. A manifest can be much larger than the state that it leads
/// to, so its edits are not kept.
pub(super) fn walk_frames(copies: &Copies, seed: &Hasher, mut take: impl FnMut(Vec<Edit>, u64)) -> Walk {
    let mut walk = Walk {
        frames: 0,
        snapshot_end: 0,
        last: HEADER_BYTES as u64,
        end: HEADER_BYTES as u64,
        has_torn_tail: false,
        defect: None,
        damaged: Vec::new(),
    };
    let mut offset = HEADER_BYTES;
    while let Some(frame) = find_frame(copies, offset, seed) {
        if !passes(Step::ManifestSequence, frame.sequence == walk.frames) {
            walk.defect = Some((offset as u64, "frames are missing before this one".to_owned()));
            return walk;
        }
        match codec::decode(frame.body) {
            Ok(edits) => take(edits, offset as u64),
            Err(reason) => {
                walk.defect = Some((offset as u64, reason));
                return walk;
            }
        }
        walk.damaged
            .extend(frame.damaged_in.map(|copy| (copy, offset as u64)));
        walk.last = offset as u64;
        walk.end = frame.end as u64;
        if walk.frames == 0 {
            walk.snapshot_end = walk.end;
        }
        walk.frames += 1;
        offset = frame.end;
    }
    let goes_on = |copy: &[u8]| {
        let rest = copy.get(offset..).unwrap_or_default();
        // Nearly always all of it is zeros. Without an early exit the compiler checks many bytes at once.
        rest.iter().fold(0, |all, byte| all | byte) != 0
    };
    walk.has_torn_tail = goes_on(copies.first()) || goes_on(copies.second());
    if is_cut(copies, offset, seed) && !is_left_out(Step::ManifestCut) {
        walk.defect = Some((offset as u64, "the file was cut".to_owned()));
    } else if walk.has_torn_tail && frames_behind(copies, seed, offset).next().is_some() {
        walk.defect = Some((offset as u64, "a frame is damaged that others follow".to_owned()));
    }
    walk
}

/// Walks over the frames of a store's manifest. Gives the state that they lead to.
///
/// # Errors
/// A frame is missing, the frames do not begin with a snapshot of this store, or one does not fit.
pub(super) fn replay(copies: &Copies, header: &Header, path: &Path) -> Result<(Walk, CatalogState)> {
    let mut state: Option<CatalogState> = None;
    let mut misfit = None;
    let walk = walk_frames(copies, &header.seed, |edits, offset| {
        let applied = match (&mut state, &misfit) {
            (_, Some(_)) => Ok(()),
            (Some(state), None) => state.apply_all(edits),
            (None, None) => CatalogState::from_snapshot(edits).map(|snapshot| state = Some(snapshot)),
        };
        if let Err(reason) = applied {
            misfit = Some((offset, reason.to_owned()));
        }
    });
    let bad = |offset, reason: &str| {
        Err(Error::bad_manifest(
            path,
            file_offset(WhichCopy::First, offset),
            reason,
        ))
    };
    match (walk.defect.as_ref().or(misfit.as_ref()), state) {
        (Some((offset, reason)), _) => bad(*offset, reason),
        (None, None) => bad(HEADER_BYTES as u64, "it does not begin with a snapshot"),
        (None, Some(state)) if state.store != header.store => {
            bad(HEADER_BYTES as u64, "the snapshot is of another store")
        }
        (None, Some(state)) => Ok((walk, state)),
    }
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
    let first = decode_frame(copies.first(), offset, seed);
    let (damaged_in, (sequence, body, end)) = match first {
        Some(frame) => {
            let frame_end = offset + FRAME_HEADER_BYTES + frame.1.len();
            // A frame that is equal to a whole one is whole: its checksums need no second look.
            let is_same = copies.second().get(offset..frame_end) == copies.first().get(offset..frame_end);
            ((!is_same).then_some(WhichCopy::Second), frame)
        }
        None => (
            Some(WhichCopy::First),
            decode_frame(copies.second(), offset, seed)?,
        ),
    };
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
    let rest = copies.first().get(offset..).unwrap_or_default();
    does_not_fit(copies.first())
        || does_not_fit(copies.second())
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
    (offset + ALIGNMENT..copies.first().len().max(copies.second().len()))
        .step_by(ALIGNMENT)
        .filter(move |at| find_frame(copies, *at, seed).is_some())
        .filter(|_| !is_left_out(Step::ManifestFramesBehind))
}
