//! Making places for groups: segments that are begun, and segments that rested.
//!
//! The ledger learns of a place before a frame is written there. The logs of one round do this together: each directory
//! is synced once, and the ledger is told once. A log that gets no place does not hold up the others.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::resources::LogResources;
use super::sealing::Sealing;
use crate::disk::{Disk, DiskFile, Step, is_left_out, perform};
use crate::error::{Error, Result};
use crate::log::format::identity::LogIdentity;
use crate::log::segments::directories::{LogDirectory, make_directories};
use crate::log::segments::ledger::LogChange;
use crate::log::segments::log_files::LogFiles;
use crate::log::segments::open_segments::OpenSegment;
use crate::log::segments::pool::{PooledFile, remove_if_there};
use crate::log::segments::segment::Segment;

/// A place that the ledger has to learn of.
#[derive(Debug)]
pub(super) enum Place {
    /// Behind the end of a segment that rested.
    Rested(Arc<Segment>, Arc<OpenSegment>, Option<Sealing>),
    /// At the beginning of a new segment.
    Begun(BegunSegment),
}

/// A file that becomes a segment.
#[derive(Debug)]
pub(super) struct BegunSegment {
    pub(super) segment: Arc<Segment>,
    pub(super) file: Arc<dyn DiskFile>,
    /// The segment before, which is full or has another encryption.
    pub(super) previous: Option<Arc<Segment>>,
    /// What encrypts the first frame.
    pub(super) sealing: Option<Sealing>,
    /// The present path of the file.
    path: PathBuf,
    /// Whether the file holds only zeros.
    is_new: bool,
}

impl BegunSegment {
    pub(super) fn new(
        segment: Arc<Segment>,
        pooled: PooledFile,
        previous: Option<Arc<Segment>>,
        sealing: Option<Sealing>,
    ) -> Self {
        Self {
            segment,
            file: pooled.file,
            previous,
            sealing,
            path: pooled.path,
            is_new: pooled.is_new,
        }
    }

    /// Makes the file a segment, durably. Nothing refers to it yet.
    fn name(&mut self, resources: &LogResources) -> Result<()> {
        let path = &self.segment.path;
        let directory = path.parent().unwrap_or(path);
        // The segment has no frame yet, so want of room is not a failure of the store.
        let cannot = |operation| move |error| resources.health.fail_preparing(operation, path, error);
        self.file
            .write_all_at(&self.segment.entry.encode_header(self.segment.log), 0)
            .map_err(cannot("begin"))?;
        let sync_header = || {
            let sync = || resources.health.watch_sync(|| self.file.sync_data());
            perform(Step::SegmentHeaderSync, sync)
        };
        // No crash leaves the bytes of an earlier life under a segment's name: recovery would take them for frames
        // whose header page is damaged.
        let is_named_first = self.is_new || is_left_out(Step::HeaderBeforeName);
        if !is_named_first {
            sync_header().map_err(cannot("begin"))?;
        }
        with_room(resources, || resources.disk.rename(&self.path, path)).map_err(cannot("name"))?;
        self.path.clone_from(path);
        // Renamed before the sync: if the sync of a new file makes the file system commit, that commit includes the
        // name.
        if is_named_first {
            sync_header().map_err(cannot("begin"))?;
        }
        let sync = || resources.health.watch_sync(|| resources.disk.sync_dir(directory));
        perform(Step::SegmentNameSync, || {
            resources.open_segments.with_descriptor(sync)
        })
        .map_err(cannot("sync the directory of"))
    }

    /// Frees the room of a segment that was not and will not be made known. If that fails, the next segment takes its
    /// name, as it does after a failure to tell the ledger.
    fn give_up(&self, disk: &dyn Disk) {
        let _ = remove_if_there(disk, &self.path);
    }
}

impl Place {
    fn change(&self) -> LogChange {
        match self {
            Self::Rested(..) => LogChange::Resumed,
            Self::Begun(begun) => LogChange::SegmentAdded(begun.segment.entry),
        }
    }

    /// The step that a test leaves out so that the ledger does not learn of this place.
    fn step(&self) -> Step {
        match self {
            Self::Rested(..) => Step::ResumedBeforeFrame,
            Self::Begun(_) => Step::NamedBeforeFrame,
        }
    }
}

/// Makes a place ready for frames.
pub(super) fn make_ready(resources: &LogResources, log: &LogFiles, place: &mut Place) -> Result<()> {
    let mut outcomes = make_all_ready(resources, &mut [(log, place)], None);
    outcomes.pop().unwrap_or(Ok(()))
}

/// Makes the places of several logs ready for frames. Gives each one's outcome, in their order.
///
/// `in_round` are the logs of the same round that have a place already. If the commit journal may get the round's
/// frames, one edit says so for all logs of the round.
pub(super) fn make_all_ready(
    resources: &LogResources,
    places: &mut [(&LogFiles, &mut Place)],
    in_round: Option<&[&LogFiles]>,
) -> Vec<Result<()>> {
    let new: Vec<_> = places
        .iter()
        .map(|(log, place)| new_directory(log, place))
        .collect();
    let mut outcomes = loop {
        let outcomes = make_directories(resources.disk.as_ref(), &new);
        let is_out_of_files = |outcome: &Result<()>| matches!(outcome, Err(Error::TooManyOpenFiles { .. }));
        if !outcomes.iter().any(is_out_of_files) || !resources.open_segments.close_unused() {
            break outcomes;
        }
    };
    for ((_, place), outcome) in places.iter_mut().zip(&mut outcomes) {
        if let Place::Begun(begun) = place
            && outcome.is_ok()
        {
            *outcome = begun.name(resources);
        }
    }
    for ((_, place), outcome) in places.iter().zip(&outcomes) {
        if let (Place::Begun(begun), Err(_)) = (place, outcome)
            && resources.health.check().is_ok()
        {
            begun.give_up(resources.disk.as_ref());
        }
    }
    tell_ledger(resources, places, &mut outcomes, in_round);
    for ((_, place), outcome) in places.iter().zip(&outcomes) {
        // The ledger had no room for the change, and nothing has changed there.
        if let (Place::Begun(begun), Err(error)) = (place, outcome)
            && error.is_want_of_room()
        {
            begun.give_up(resources.disk.as_ref());
        }
    }
    outcomes
}

/// Runs what may need another block of a directory, and frees files of the pool if there is no room. Nothing else may
/// be repeated: a sync that succeeds after a failure proves nothing.
fn with_room(resources: &LogResources, mut run: impl FnMut() -> std::io::Result<()>) -> std::io::Result<()> {
    loop {
        match run() {
            Err(error) if is_full(&error) && resources.pool.make_room() => {}
            done => return done,
        }
    }
}

fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// Tells the ledger of all places that were made, in one step.
fn tell_ledger(
    resources: &LogResources,
    places: &[(&LogFiles, &mut Place)],
    outcomes: &mut [Result<()>],
    in_round: Option<&[&LogFiles]>,
) {
    let (mut changes, told): (Vec<(LogIdentity, LogChange)>, Vec<_>) = places
        .iter()
        .zip(outcomes)
        .filter(|((_, place), outcome)| outcome.is_ok() && !is_left_out(place.step()))
        .map(|((log, place), outcome)| ((log.identity, place.change()), (log, outcome)))
        .unzip();
    if changes.is_empty() {
        return;
    }
    let in_round = in_round.filter(|_| !is_left_out(Step::JournaledInLedger));
    let mut journaled: Vec<&LogFiles> = Vec::new();
    if let Some(in_round) = in_round {
        let is_unknown = |log: &&&LogFiles| !log.is_known_journaled.load(Ordering::Relaxed);
        journaled.extend(told.iter().map(|(log, _)| **log));
        journaled.extend(in_round.iter().filter(is_unknown));
        changes.extend(journaled.iter().map(|log| (log.identity, LogChange::Journaled)));
    }
    let mut results = resources.ledger.record(&changes).into_iter();
    for ((_, outcome), result) in told.into_iter().zip(&mut results) {
        *outcome = result;
    }
    for (log, result) in journaled.into_iter().zip(results) {
        if result.is_ok() {
            log.is_known_journaled.store(true, Ordering::Relaxed);
        }
    }
}

/// The directory of a log that gets its first segment.
fn new_directory(log: &LogFiles, place: &Place) -> Option<LogDirectory> {
    match place {
        Place::Begun(begun) if begun.previous.is_none() => {
            Some(LogDirectory::of(log.identity, &log.directory))
        }
        _ => None,
    }
}
