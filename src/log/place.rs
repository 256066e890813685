//! Making places where groups go: segments that are begun, and segments that rested.
//!
//! The ledger hears of both before a frame is written there. What logs of one round need is done together: each
//! directory is synced once, and the ledger is told once. A log that gets no place does not keep the others from theirs.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::context::LogContext;
use super::open_segments::OpenSegment;
use super::pool::{PooledFile, remove_if_there};
use super::segment::Segment;
use super::shard_log::ShardLog;
use super::{LogChange, LogIdentity};
use crate::disk::{Disk, DiskFile, Step, is_left_out, perform};
use crate::error::{Error, Result};

/// A place of which the ledger has to hear.
#[derive(Debug)]
pub(super) enum Place {
    /// Behind the end of a segment that rested.
    Rested(Arc<Segment>, Arc<OpenSegment>),
    /// At the beginning of a segment.
    Begun(BegunSegment),
}

/// A file that becomes a segment.
#[derive(Debug)]
pub(super) struct BegunSegment {
    pub(super) segment: Arc<Segment>,
    pub(super) file: Arc<dyn DiskFile>,
    /// The segment before, which is full.
    pub(super) previous: Option<Arc<Segment>>,
    /// Where the file is now.
    path: PathBuf,
}

impl BegunSegment {
    pub(super) fn new(segment: Arc<Segment>, pooled: PooledFile, previous: Option<Arc<Segment>>) -> Self {
        Self {
            segment,
            file: pooled.file,
            previous,
            path: pooled.path,
        }
    }

    /// Makes the file a segment, durably. Nothing refers to it yet.
    fn name(&mut self, context: &LogContext) -> Result<()> {
        let path = &self.segment.path;
        let directory = path.parent().unwrap_or(path);
        // No frame is in it, so want of room harms nothing.
        let cannot = |operation| move |error| context.health.fail_preparing(operation, path, error);
        self.file
            .write_all_at(&self.segment.entry.encode_header(self.segment.log), 0)
            .map_err(cannot("begin"))?;
        // Renamed before it is synced: where the sync of a new file has the file system commit, that is in it too.
        with_room(context, || context.disk.rename(&self.path, path)).map_err(cannot("name"))?;
        self.path.clone_from(path);
        perform(Step::SegmentHeaderSync, || self.file.sync_data()).map_err(cannot("begin"))?;
        let sync = || context.disk.sync_dir(directory);
        perform(Step::SegmentNameSync, || {
            context.open_segments.with_descriptor(sync)
        })
        .map_err(cannot("sync the directory of"))
    }

    /// Gives back the room of a segment that nobody was told of, and will not be. Where that fails the next one takes
    /// its name, as it does where the ledger could not be told.
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

    /// What a test leaves out that has the ledger not hear of this place.
    fn step(&self) -> Step {
        match self {
            Self::Rested(..) => Step::ResumedBeforeFrame,
            Self::Begun(_) => Step::NamedBeforeFrame,
        }
    }
}

/// Makes a place ready for frames.
pub(super) fn make_ready(log: &ShardLog, place: &mut Place) -> Result<()> {
    let mut outcomes = make_all_ready(&log.context, &mut [(log, place)], None);
    outcomes.pop().unwrap_or(Ok(()))
}

/// Makes the places of several logs ready for frames. Gives each one's outcome, in their order.
///
/// `in_round` are the logs of the same round that have a place already, where the commit journal may get the round's
/// frames: one edit says of all logs of the round that it does.
pub(super) fn make_all_ready(
    context: &LogContext,
    places: &mut [(&ShardLog, &mut Place)],
    in_round: Option<&[&ShardLog]>,
) -> Vec<Result<()>> {
    let mut outcomes = loop {
        let outcomes = make_directories(context, places);
        let is_out_of_files = |outcome: &Result<()>| matches!(outcome, Err(Error::TooManyOpenFiles { .. }));
        if !outcomes.iter().any(is_out_of_files) || !context.open_segments.close_unused() {
            break outcomes;
        }
    };
    for ((_, place), outcome) in places.iter_mut().zip(&mut outcomes) {
        if let Place::Begun(begun) = place
            && outcome.is_ok()
        {
            *outcome = begun.name(context);
        }
    }
    for ((_, place), outcome) in places.iter().zip(&outcomes) {
        if let (Place::Begun(begun), Err(_)) = (place, outcome)
            && context.health.check().is_ok()
        {
            begun.give_up(context.disk.as_ref());
        }
    }
    tell_ledger(context, places, &mut outcomes, in_round);
    for ((_, place), outcome) in places.iter().zip(&outcomes) {
        // The ledger had no room for it, and nothing has changed there.
        if let (Place::Begun(begun), Err(error)) = (place, outcome)
            && error.is_want_of_room()
        {
            begun.give_up(context.disk.as_ref());
        }
    }
    outcomes
}

/// Does what may need another block of a directory, for which files that wait in the pool make room. Nothing else may be
/// done again: a sync that failed cannot be believed when it succeeds.
fn with_room(context: &LogContext, mut run: impl FnMut() -> std::io::Result<()>) -> std::io::Result<()> {
    loop {
        match run() {
            Err(error) if is_full(&error) && context.pool.make_room() => {}
            done => return done,
        }
    }
}

fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// Tells the ledger of all places that are there, at once.
fn tell_ledger(
    context: &LogContext,
    places: &[(&ShardLog, &mut Place)],
    outcomes: &mut [Result<()>],
    in_round: Option<&[&ShardLog]>,
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
    let mut journaled: Vec<&ShardLog> = Vec::new();
    if let Some(in_round) = in_round {
        let is_unknown = |log: &&&ShardLog| !log.is_known_journaled.load(Ordering::Relaxed);
        journaled.extend(told.iter().map(|(log, _)| **log));
        journaled.extend(in_round.iter().filter(is_unknown));
        changes.extend(journaled.iter().map(|log| (log.identity, LogChange::Journaled)));
    }
    let mut results = context.ledger.record(&changes).into_iter();
    for ((_, outcome), result) in told.into_iter().zip(&mut results) {
        *outcome = result;
    }
    for (log, result) in journaled.into_iter().zip(results) {
        if result.is_ok() {
            log.is_known_journaled.store(true, Ordering::Relaxed);
        }
    }
}

/// Makes the directories of logs that get their first segment, and those above them, durably.
fn make_directories(context: &LogContext, places: &[(&ShardLog, &mut Place)]) -> Vec<Result<()>> {
    let mut directories = Directories::new(context.disk.as_ref());
    let first = |log: &ShardLog, place: &Place| match place {
        Place::Begun(begun) if begun.previous.is_none() => Some(LogDirectory::of(log)),
        _ => None,
    };
    let new: Vec<_> = places.iter().map(|(log, place)| first(log, place)).collect();
    // From the top down: what is above is durable before anything is made in it.
    let streams = new.iter().flatten().filter_map(|new| new.stream.as_ref());
    directories.make(streams, Step::StreamDirectorySync);
    let shards = new.iter().flatten().filter(|new| new.stream.is_some());
    directories.make(shards.map(|new| &new.own), Step::ShardDirectorySync);
    let journals = new.iter().flatten().filter(|new| new.stream.is_none());
    directories.make(journals.map(|new| &new.own), Step::JournalDirectorySync);
    new.iter()
        .map(|new| new.as_ref().map_or(Ok(()), |new| directories.outcome(new)))
        .collect()
}

/// Makes a shard's directory, and the stream's above it, durably.
pub(crate) fn make_directory(disk: &dyn Disk, directory: &Path) -> Result<()> {
    let mut directories = Directories::new(disk);
    let new = LogDirectory {
        own: directory.to_owned(),
        stream: directory.parent().map(Path::to_owned),
    };
    directories.make(new.stream.iter(), Step::StreamDirectorySync);
    directories.make(std::iter::once(&new.own), Step::ShardDirectorySync);
    directories.outcome(&new)
}

/// Where the segments of a log are.
struct LogDirectory {
    own: PathBuf,
    /// The stream's, above it. The commit journal has none.
    stream: Option<PathBuf>,
}

impl LogDirectory {
    fn of(log: &ShardLog) -> Self {
        let stream = log.directory.parent().map(Path::to_owned);
        Self {
            own: log.directory.clone(),
            stream: stream.filter(|_| !log.identity.is_commit_journal()),
        }
    }
}

/// Directories that are made, and what became of each.
struct Directories<'a> {
    disk: &'a dyn Disk,
    outcomes: BTreeMap<PathBuf, Result<()>>,
}

impl<'a> Directories<'a> {
    fn new(disk: &'a dyn Disk) -> Self {
        Self {
            disk,
            outcomes: BTreeMap::new(),
        }
    }

    /// Makes directories where they are missing, and makes their names durable.
    fn make<'p>(&mut self, paths: impl Iterator<Item = &'p PathBuf>, sync: Step) {
        let paths: BTreeSet<_> = paths.collect();
        let mut parents: BTreeMap<&Path, Result<()>> = BTreeMap::new();
        for path in &paths {
            let parent = path.parent().unwrap_or(path);
            let made = match self.outcomes.get(parent) {
                Some(Err(error)) => Err(error.clone()),
                _ => create_dir_if_missing(self.disk, path),
            };
            if made.is_ok() {
                parents.entry(parent).or_insert(Ok(()));
            }
            self.outcomes.insert((*path).clone(), made);
        }
        for (parent, outcome) in &mut parents {
            *outcome =
                perform(sync, || self.disk.sync_dir(parent)).map_err(|error| cannot_make(parent, error));
        }
        for path in &paths {
            let parent = path.parent().unwrap_or(path);
            if parents.get(parent).is_some_and(Result::is_err) {
                // Made again later, so that there is something new to sync.
                let _ = self.disk.remove_dir(path);
            }
        }
        for path in paths {
            let parent = path.parent().unwrap_or(path);
            if let (Some(Err(error)), Some(made)) = (parents.get(parent), self.outcomes.get_mut(path)) {
                *made = Err(error.clone());
            }
        }
    }

    fn outcome(&self, directory: &LogDirectory) -> Result<()> {
        self.outcomes.get(&directory.own).cloned().unwrap_or(Ok(()))
    }
}

fn create_dir_if_missing(disk: &dyn Disk, path: &Path) -> Result<()> {
    match disk.create_dir(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other.map_err(|error| cannot_make(path, error)),
    }
}

fn cannot_make(path: &Path, error: std::io::Error) -> Error {
    Error::preparing("make the directory", path, error)
}
