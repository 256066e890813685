//! What all handles of a store share.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::active_logs::ActiveLogs;
use super::event::StoreEvent;
use super::garbage::Garbage;
use super::keeper::KeeperSignal;
use super::options::StoreOptions;
use super::stream_core::{Routing, StreamCore};
use super::sweep;
use super::timekeeper::TimeKeeper;
use super::transitions::Transitions;
use crate::catalog::manifest::{Home, Manifest};
use crate::catalog::{Catalog, Edit};
use crate::disk::{Disk, Health, Inherited, LockError, LockGuard, OverlayDisk, Step, perform};
use crate::error::{Error, Result};
use crate::evidence::Evidence;
use crate::log::{
    CommitJournal, Durability, Flushers, LogContext, LogOptions, LogResources, OpenSegments, SegmentPool,
    SpareBuffers,
};
use crate::model::{LogName, ShardId, StreamId, StreamName, Timestamp};
use crate::sync::{AtomicBool, AtomicUsize, Mutex, OnceLock, RwLock};

/// Memory that records may take before they are written, where puts do not wait for that.
const BUFFERED_GROUP_BYTES: usize = 256 * 1024;

#[derive(Debug)]
pub(crate) struct StoreCore {
    pub(super) directory: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) context: Arc<LogContext>,
    /// Once what an earlier opener left in it is in the segments.
    pub(super) journal: RwLock<Option<Arc<CommitJournal>>>,
    pub(super) active: Arc<ActiveLogs>,
    pub(super) garbage: Mutex<Vec<Garbage>>,
    pub(super) keeper: Arc<KeeperSignal>,
    pub(super) options: StoreOptions,
    streams: Mutex<HashMap<StreamId, Arc<StreamCore>>>,
    pub(super) time: TimeKeeper,
    pub(super) transitions: Transitions,
    /// One round of house-keeping at a time.
    pub(super) maintaining: Mutex<()>,
    is_closed: AtomicBool,
    /// Whether what earlier openers left behind was removed since the store was opened.
    pub(super) is_swept: AtomicBool,
    pub(super) leftover_streams: Vec<PathBuf>,
    /// Held until all files are closed.
    lock: Mutex<Option<Box<dyn LockGuard>>>,
}

impl StoreCore {
    pub(super) fn open(options: &StoreOptions, directory: &Path) -> Result<Arc<Self>> {
        let overlay = options.read_only.then(|| OverlayDisk::new(options.disk.clone()));
        let disk: Arc<dyn Disk> = match &overlay {
            Some(overlay) => Arc::new(overlay.clone()),
            None => options.disk.clone(),
        };
        match options.read_only {
            true => check_is_directory(disk.as_ref(), directory)?,
            false => make_directory(disk.as_ref(), directory)?,
        }
        let lock_path = directory.join("LOCK");
        let take_lock = || disk.lock(&lock_path).map(Some);
        let lock = perform(Step::Lock, take_lock).map_err(|error| match error {
            LockError::Held(holder) => Error::Locked {
                path: lock_path.clone(),
                holder,
            },
            LockError::Io(error) => Error::io("lock", &lock_path, error),
        })?;

        let health = Health::default();
        make_subdirectories(disk.as_ref(), directory)?;
        let (streams, journal) = (directory.join("streams"), directory.join("journal"));
        let home = Home {
            disk: disk.clone(),
            directory: directory.to_owned(),
            health: health.clone(),
            compaction_bytes: options.compaction_bytes,
        };
        let manifest = Manifest::open(
            &home,
            || match options.read_only {
                true => Err(no_store_to_read(directory)),
                false => sync_ancestors(disk.as_ref(), directory),
            },
            |state, has_torn_tail| {
                let evidence = Evidence {
                    disk: &disk,
                    streams: &streams,
                    journal: &journal,
                    state,
                };
                match has_torn_tail {
                    true => evidence.find_later_frame(),
                    false => evidence.find_unknown_stream(),
                }
            },
        )?;
        let catalog = Arc::new(Catalog::new(Box::new(manifest))?);
        let leftover_streams = sweep::leftover_streams(disk.as_ref(), &catalog, &streams)?;
        let pool = SegmentPool::open(disk.clone(), directory.join("pool"), options.max_recycled_bytes)?;
        let active = Arc::new(ActiveLogs::new(catalog.clone()));
        let keeper = Arc::new(KeeperSignal::default());
        let log_options = log_options(options);
        let flushers = Flushers::start(options.flusher_threads, log_options.round_logs)
            .map_err(|error| Error::io("start a thread for", directory, error))?;
        let (time, clock_step) = TimeKeeper::begin(options.clock.clone(), catalog.read().clock);
        let resources = LogResources {
            disk: disk.clone(),
            open_segments: OpenSegments::new(
                disk.clone(),
                health.clone(),
                options.open_segments_limit(),
                options.max_mapped_bytes,
            ),
            health,
            pool,
            ledger: active.clone(),
            spare_buffers: SpareBuffers::default(),
            options: log_options,
            on_want: Box::new({
                let keeper = keeper.clone();
                move || keeper.wake()
            }),
        };
        let context = Arc::new(LogContext {
            resources: Arc::new(resources),
            flushers,
            journal: RwLock::default(),
            journal_doubts: OnceLock::new(),
            commits_in_flight: AtomicUsize::new(0),
        });
        catalog.make_room_by({
            let resources = Arc::downgrade(&context.resources);
            move |failed| {
                let resources = resources.upgrade();
                resources.is_some_and(|resources| resources.make_room_for(failed))
            }
        });
        let core = Arc::new(Self {
            directory: directory.to_owned(),
            disk,
            catalog,
            context,
            journal: RwLock::default(),
            active,
            garbage: Mutex::default(),
            keeper,
            options: options.clone(),
            streams: Mutex::default(),
            time,
            transitions: Transitions::new(),
            maintaining: Mutex::default(),
            is_closed: AtomicBool::new(false),
            is_swept: AtomicBool::new(false),
            leftover_streams,
            lock: Mutex::new(lock),
        });
        if let Some(step) = clock_step {
            core.tell(&StoreEvent::ClockStepped(step));
            core.correct_clock_note(step)?;
        }
        if !options.read_only {
            core.note_next_due();
        }
        perform(Step::PutBack, || core.put_journaled_back())?;
        core.recover_interrupted_logs()?;
        core.begin_journal()?;
        if let Some(overlay) = overlay {
            core.catalog.make_read_only();
            overlay.freeze();
        }
        Ok(core)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.time.now()
    }

    pub(super) fn tell(&self, event: &StoreEvent) {
        (self.options.observer.0)(event);
    }

    /// What every operation begins with: refuses if the store is closed, finishes what is due, and tells the time. What
    /// cannot be finished is no failure of the operation. `of` is the stream that it is about, whose changes are waited
    /// for.
    pub(super) fn begin(&self, of: Option<StreamId>) -> Result<Timestamp> {
        self.check_open()?;
        if self.is_anything_due() {
            // Told as an event, and tried again later.
            let _ = self.settle(of);
        }
        Ok(self.now())
    }

    /// What every operation begins with that changes something.
    pub(super) fn begin_change(&self, of: Option<StreamId>) -> Result<Timestamp> {
        self.check_takes_changes()?;
        self.begin(of)
    }

    /// The same for a caller that must not wait: `None` if something of its stream is due.
    pub(super) fn try_begin_change(&self, of: StreamId) -> Result<Option<Timestamp>> {
        self.check_takes_changes()?;
        Ok((!self.is_due(of)).then(|| self.now()))
    }

    /// Refuses if something failed before, or the store is closed or only read.
    pub(super) fn check_writable(&self) -> Result<()> {
        self.check_takes_changes()?;
        self.context.resources.health.check()
    }

    /// Refuses if the store is closed or only read. The catalog refuses edits besides.
    fn check_takes_changes(&self) -> Result<()> {
        self.check_open()?;
        match self.options.read_only {
            true => Err(Error::ReadOnly),
            false => Ok(()),
        }
    }

    pub(super) fn check_open(&self) -> Result<()> {
        match self.is_closed.load(Ordering::Acquire) {
            true => Err(Error::Closed),
            false => Ok(()),
        }
    }

    pub(super) fn stream(&self, id: StreamId, name: StreamName, max_record_bytes: u32) -> Arc<StreamCore> {
        let mut streams = self.streams.lock();
        let make = || {
            Arc::new(StreamCore::new(
                id,
                name,
                self.streams_directory().join(id.to_string()),
                self.catalog.read().store,
                max_record_bytes,
                self.catalog.clone(),
                self.context.clone(),
            ))
        };
        streams.entry(id).or_insert_with(make).clone()
    }

    /// A stream that exists, in whatever state.
    pub(super) fn known_stream(&self, id: StreamId) -> Option<Arc<StreamCore>> {
        let (name, max_record_bytes) = {
            let state = self.catalog.read();
            let stream = state.stream(id)?;
            (stream.name.clone(), stream.max_record_bytes)
        };
        Some(self.stream(id, name, max_record_bytes))
    }

    pub(super) fn open_streams(&self) -> Vec<Arc<StreamCore>> {
        self.streams.lock().values().cloned().collect()
    }

    pub(super) fn forget_stream(&self, id: StreamId) {
        self.streams.lock().remove(&id);
    }

    pub(super) fn streams_directory(&self) -> PathBuf {
        self.directory.join("streams")
    }

    /// Opens the logs that were being written to when the store was last left, so that damage is known at once.
    fn recover_interrupted_logs(&self) -> Result<()> {
        let interrupted: Vec<_> = {
            let state = self.catalog.read();
            let logs = state
                .streams()
                .flat_map(|(id, stream)| stream.logs.iter().map(move |(shard, log)| (id, *shard, log)));
            logs.filter(|(_, _, log)| log.end.is_none())
                .map(|(id, shard, _)| (id, shard))
                .collect()
        };
        const THREADS: usize = 2;
        let next = Mutex::new(interrupted.into_iter());
        let take = || next.lock().next();
        let inherited = Inherited::of_this_thread();
        let recover = || -> Result<()> {
            inherited.apply();
            while let Some((id, shard)) = take() {
                self.recover_log(id, shard)?;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let helpers: Vec<_> = (1..THREADS).map(|_| scope.spawn(recover)).collect();
            let result = recover();
            helpers.into_iter().fold(result, |result, helper| {
                let other = helper
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                result.and(other)
            })
        })
    }

    fn recover_log(&self, id: StreamId, shard: ShardId) -> Result<()> {
        let Some(stream) = self.known_stream(id) else {
            return Ok(());
        };
        let log = stream.log(shard)?;
        self.active.remember(LogName::Shard(id, shard));
        let later = Evidence {
            disk: &self.disk,
            streams: &self.streams_directory(),
            journal: &self.journal_directory(),
            state: &self.catalog.read(),
        }
        .find_later_segment(id, shard)?;
        match later {
            // What is put next could get its name.
            Some(later) => {
                let reason = "the manifest does not name this segment, which has frames of the log";
                log.note_damage(Error::corrupt(&later, 0, reason));
                Ok(())
            }
            None => self.remove_unnamed_files(&log),
        }
    }

    /// Ends all writing, records where every log ends, and lets the directory go.
    pub(super) fn close(&self) -> Result<()> {
        if self.is_closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        for stream in self.open_streams() {
            *stream.routing.write() = Routing::Closed;
        }
        // A round of house-keeping that is under way ends first, and none begins any more.
        let _no_round = self.maintaining.lock();
        let result = match self.options.read_only {
            true => Ok(()),
            false => {
                self.finish_appends();
                self.record_ends()
            }
        };
        // The journal's log has the context, and the context has the journal.
        *self.context.journal.write() = None;
        *self.journal.write() = None;
        self.context.flushers.stop();
        self.catalog.close();
        *self.lock.lock() = None;
        for stream in self.open_streams() {
            for (_, log) in stream.open_logs() {
                log.changes().notify();
            }
        }
        result
    }

    /// Commits what was taken in and not waited for yet: later no thread is left to do it, and it would come into a
    /// directory that another process may have. A log is not known as active before its first commit.
    fn finish_appends(&self) {
        for stream in self.open_streams() {
            for (_, log) in stream.open_logs() {
                // Callers that wait are told; what concerns the store is found when the ends are recorded.
                let _ = log.rest();
            }
        }
    }

    fn record_ends(&self) -> Result<()> {
        self.context.resources.health.check()?;
        let mut ends = Vec::new();
        for (name, _) in self.active.list() {
            let Some(log) = (match name {
                // Its end comes last, below.
                LogName::CommitJournal => None,
                LogName::Shard(..) => self.log(name)?,
            }) else {
                continue;
            };
            if log.check_undamaged().is_ok() {
                log.rest()?;
                log.save_live_index();
                ends.extend(log.known_end().map(|end| (name, end)));
            }
        }
        ends.extend(self.rest_journal()?);
        self.compare_clocks();
        let rested = (!ends.is_empty()).then_some(Edit::LogsRested { ends });
        let note = self
            .clock_note()
            .filter(|_| self.catalog.read().streams().len() > 0);
        self.catalog
            .commit(|_| Ok(rested.into_iter().chain(note).collect()))
    }
}

fn log_options(options: &StoreOptions) -> LogOptions {
    LogOptions {
        durability: options.durability,
        segment_bytes: options.segment_bytes.next_multiple_of(4096),
        max_group_bytes: match options.durability {
            Durability::Buffered => options.max_group_bytes.min(BUFFERED_GROUP_BYTES),
            Durability::Synced | Durability::Written => options.max_group_bytes,
        },
        map_sealed_segments: options.map_sealed_segments,
        round_logs: match options.durability {
            Durability::Synced => options.min_journaled_shards,
            Durability::Written | Durability::Buffered => usize::MAX,
        },
        // Each has its segment's file open meanwhile.
        max_round_logs: (options.open_segments_limit() / 2).max(1),
    }
}

/// Checks that there is a directory to be read.
fn check_is_directory(disk: &dyn Disk, directory: &Path) -> Result<()> {
    let listed = disk.list(directory);
    listed
        .map(drop)
        .map_err(|error| Error::io("open", directory, error))
}

/// What is told of a directory where nothing was stored yet, if it is only to be read.
fn no_store_to_read(directory: &Path) -> Error {
    Error::io(
        "open",
        &directory.join("CURRENT"),
        std::io::ErrorKind::NotFound.into(),
    )
}

/// Makes the store's directory and those above it.
fn make_directory(disk: &dyn Disk, directory: &Path) -> Result<()> {
    let cannot = |error| Error::io("make the directory", directory, error);
    match disk.create_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => match parent_of(directory) {
            Some(parent) => {
                make_directory(disk, parent)?;
                disk.create_dir(directory).map_err(cannot)
            }
            None => Err(cannot(error)),
        },
        other => other.map_err(cannot),
    }
}

/// Makes the names of the directory and of all above it durable. An earlier opener may have made any of them and been
/// killed before it came to this, so those that exist are synced too. Only a new store needs it: what is stored in an
/// old one shows that its names are durable.
fn sync_ancestors(disk: &dyn Disk, directory: &Path) -> Result<()> {
    let mut directory = directory;
    while let Some(parent) = parent_of(directory) {
        match perform(Step::AncestorsSync, || disk.sync_dir(parent)) {
            // A directory of another user is theirs to make durable.
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return Ok(()),
            other => other.map_err(|error| Error::io("sync the directory", parent, error))?,
        }
        directory = parent;
    }
    Ok(())
}

fn parent_of(path: &Path) -> Option<&Path> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Some(Path::new(".")).filter(|dot| *dot != path),
        parent => parent,
    }
}

/// Their names become durable when the catalog is opened, which syncs the directory first.
fn make_subdirectories(disk: &dyn Disk, directory: &Path) -> Result<()> {
    for name in ["streams", "pool"] {
        match disk.create_dir(&directory.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(Error::preparing("make a directory in", directory, error));
            }
            _ => {}
        }
    }
    Ok(())
}
