//! The keeper: a thread that does what need not be done at once.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::active_logs::Idleness;
use super::core::StoreCore;
use crate::catalog::Edit;
use crate::error::{Error, Result};
use crate::log::{Durability, Segment, ShardLog};
use crate::model::{ShardId, StreamId, Timestamp};
use crate::sync::{Condvar, Mutex};

/// Between two rounds if nothing wakes the keeper. Also the most that a crash of the operating system takes back of
/// what was put without waiting for a sync.
const ROUND: Duration = Duration::from_secs(1);

/// A log that nothing was appended to for so long has its end recorded, so that it need not be scanned when the store
/// is opened after a crash, and damage of its last group cannot pass for a torn write.
const UNTIL_IDLE: Duration = Duration::from_secs(5);

/// Wakes the keeper, and stops it.
#[derive(Debug, Default)]
pub(super) struct KeeperSignal {
    state: Mutex<SignalState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct SignalState {
    is_awake: bool,
    is_stopped: bool,
}

impl KeeperSignal {
    pub(super) fn wake(&self) {
        self.state.lock().is_awake = true;
        self.changed.notify_all();
    }

    pub(super) fn stop(&self) {
        self.state.lock().is_stopped = true;
        self.changed.notify_all();
    }

    /// Sleeps until woken or `limit` is over; false once stopped.
    fn sleep(&self, limit: Duration) -> bool {
        let mut state = self.state.lock();
        if !state.is_awake && !state.is_stopped {
            state = self.changed.wait_timeout(state, limit);
        }
        state.is_awake = false;
        !state.is_stopped
    }
}

pub(super) fn start(core: Arc<StoreCore>) -> Result<JoinHandle<()>> {
    let directory = core.directory.clone();
    std::thread::Builder::new()
        .name("anabranch-keeper".to_owned())
        .spawn(move || {
            while core.keeper.sleep(ROUND.min(core.until_next_due())) {
                // What went wrong is either latched in the store's health, where the next put finds it, or tried
                // again in the next round.
                let _ = run_round(&core);
            }
        })
        .map_err(|error| Error::io("start a thread for", &directory, error))
}

/// Does everything once, and reports the first thing that failed.
pub(super) fn run_round(core: &StoreCore) -> Result<()> {
    let _one_at_a_time = core.maintaining.lock();
    core.check_writable()?;
    let now = core.now();
    let results = [
        core.sweep_once(),
        core.settle(now),
        sync_unsynced(core),
        core.context.pool.prepare_wanted(),
        core.trim(now),
        rest_idle_logs(core, now),
        empty_garbage(core),
    ];
    results.into_iter().collect()
}

fn sync_unsynced(core: &StoreCore) -> Result<()> {
    if core.options.durability == Durability::Synced {
        return Ok(());
    }
    for (id, shard, _) in core.active.list() {
        if let Some(stream) = core.known_stream(id) {
            stream.log(shard)?.sync()?;
        }
    }
    Ok(())
}

fn rest_idle_logs(core: &StoreCore, now: Timestamp) -> Result<()> {
    for (id, shard, idleness) in core.active.list() {
        let Some(stream) = core.known_stream(id) else {
            continue;
        };
        let log = stream.log(shard)?;
        let appended_through = log.appended_through();
        if appended_through != idleness.appended_through {
            core.active.set_idleness(
                id,
                shard,
                Idleness {
                    since: now,
                    appended_through,
                },
            );
        } else if now.since(idleness.since) >= UNTIL_IDLE {
            rest_log(core, id, shard, &log)?;
        }
    }
    Ok(())
}

fn rest_log(core: &StoreCore, id: StreamId, shard: ShardId, log: &ShardLog) -> Result<()> {
    log.rest_if_idle(|end| {
        core.catalog.commit(|state| match state.stream(id) {
            Some(stream) if stream.logs.contains_key(&shard) => Ok(vec![Edit::LogsRested {
                ends: vec![(id, shard, end)],
            }]),
            _ => Ok(Vec::new()),
        })?;
        // While writers are still kept out: the one that resumes the log is remembered after this.
        core.active.forget(id, shard);
        Ok(())
    })
}

/// Files that the catalog does not name any more.
#[derive(Debug)]
pub(super) struct Garbage {
    segments: Vec<Arc<Segment>>,
    /// Removed with all that is in them once the segments are gone.
    directories: Vec<PathBuf>,
}

impl Garbage {
    pub(super) fn of_segments(segments: Vec<Arc<Segment>>) -> Self {
        Self {
            segments,
            directories: Vec::new(),
        }
    }

    pub(super) fn of_log(directory: PathBuf, log: &ShardLog) -> Self {
        Self {
            segments: log.forget_all_segments(),
            directories: vec![directory],
        }
    }

    pub(super) fn of_stream(directory: PathBuf, logs: &[(ShardId, Arc<ShardLog>)]) -> Self {
        let segments = logs
            .iter()
            .flat_map(|(_, log)| log.forget_all_segments())
            .collect();
        Self {
            segments,
            directories: vec![directory],
        }
    }
}

/// Recycles or removes the files that nobody reads, one at a time: freeing the blocks of a large file stalls every
/// sync on the disk.
fn empty_garbage(core: &StoreCore) -> Result<()> {
    let garbage = std::mem::take(&mut *core.garbage.lock());
    let mut kept = Vec::new();
    let mut result = Ok(());
    for mut heap in garbage {
        if result.is_ok() {
            result = empty_heap(core, &mut heap);
        }
        if result.is_err() || !heap.segments.is_empty() {
            kept.push(heap);
        }
    }
    core.garbage.lock().append(&mut kept);
    result
}

fn empty_heap(core: &StoreCore, heap: &mut Garbage) -> Result<()> {
    while let Some(at) = heap.segments.iter().position(|segment| !segment.is_held()) {
        heap.segments[at].retire(&core.context.pool, core.disk.as_ref())?;
        heap.segments.swap_remove(at);
    }
    if heap.segments.is_empty() {
        for directory in heap.directories.drain(..) {
            core.remove_directory(&directory)?;
        }
    }
    Ok(())
}

impl StoreCore {
    /// Removes what is in an interrupted log's directory without being named by the catalog: what was being made
    /// when the process ended.
    pub(super) fn remove_unnamed_files(&self, log: &ShardLog) -> Result<()> {
        let directory = log.directory();
        let names = match self.disk.list(directory) {
            Ok(names) => names,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::io("list", directory, error)),
        };
        for name in names.iter().filter(|name| !log.names_file(name)) {
            let path = directory.join(name);
            self.disk
                .remove_file(&path)
                .map_err(|error| Error::io("remove", &path, error))?;
        }
        Ok(())
    }

    /// Removes a directory of segments, or of directories of segments.
    pub(super) fn remove_directory(&self, directory: &Path) -> Result<()> {
        let names = match self.disk.list(directory) {
            Ok(names) => names,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::io("list", directory, error)),
        };
        for name in names {
            let path = directory.join(&name);
            let is_file = name.ends_with(".log") || name.ends_with(".index");
            match is_file {
                true => self
                    .disk
                    .remove_file(&path)
                    .map_err(|error| Error::io("remove", &path, error))?,
                false => self.remove_directory(&path)?,
            }
        }
        self.disk
            .remove_dir(directory)
            .map_err(|error| Error::io("remove", directory, error))
    }
}
