//! Opening: the directory, its lock, the manifest, and the recovery of interrupted logs.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::active_logs::ActiveLogs;
use super::directories::{check_is_directory, make_subdirectories, no_store_to_read};
use super::followed;
use super::garbage::remove_unnamed_files;
use super::keys::LocalKeys;
use super::logs::LocalLogs;
use super::options::LocalOptions;
use super::sweep;
use crate::backend::Opened;
use crate::catalog::Catalog;
use crate::catalog::manifest::{Home, Manifest};
use crate::disk::{
    Disk, Health, Inherited, LockError, OverlayDisk, Step, list_if_there, make_directory, perform,
    sync_ancestors,
};
use crate::error::{Error, Result};
use crate::evidence::Evidence;
use crate::log::{Flushers, LogContext, LogResources, OpenSegments, SegmentPool, SpareBuffers};
use crate::model::{Clock, LogName};
use crate::sync::{AtomicBool, AtomicUsize, Mutex, OnceLock, RwLock};
use crate::trace::Listening;

/// Locks the directory, reads which logs exist, and recovers the interrupted ones; or only reads, if another program
/// may be writing. `on_want` is called when house-keeping has something to do. Syncs are measured by `clock`.
pub(crate) fn open(
    options: &LocalOptions,
    directory: &Path,
    clock: Arc<dyn Clock>,
    on_want: impl Fn() + Send + Sync + 'static,
) -> Result<Opened> {
    options.check()?;
    if options.is_following {
        return followed::open(options, directory, clock);
    }
    let logs = LocalLogs::open(options, directory, clock, on_want)?;
    logs.recover()?;
    Ok(Opened {
        catalog: logs.catalog.clone(),
        damage: logs.damage_found()?,
        logs: Arc::new(logs),
    })
}

impl LocalLogs {
    /// `on_want` is called when segments should be prepared.
    fn open(
        options: &LocalOptions,
        directory: &Path,
        clock: Arc<dyn Clock>,
        on_want: impl Fn() + Send + Sync + 'static,
    ) -> Result<Self> {
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

        let health = Health::by(clock);
        make_subdirectories(disk.as_ref(), directory)?;
        let (streams, journal) = (directory.join("streams"), directory.join("journal"));
        let home = Home {
            disk: disk.clone(),
            directory: directory.to_owned(),
            health: health.clone(),
            compaction_bytes: options.compaction_bytes,
        };
        // Read once: until house-keeping begins, only this opener changes it, and it removes nothing there.
        let in_streams = list_if_there(disk.as_ref(), &streams)?;
        let manifest = Manifest::open(
            &home,
            || match options.read_only {
                true => Err(no_store_to_read(directory)),
                false => sync_ancestors(disk.as_ref(), directory),
            },
            || SegmentPool::remove_all(disk.as_ref(), &directory.join("pool")),
            |state, has_torn_tail| {
                let evidence = Evidence {
                    disk: &disk,
                    streams: &streams,
                    journal: &journal,
                    state,
                };
                match has_torn_tail {
                    true => evidence.find_later_frame(&in_streams),
                    false => evidence.find_unknown_stream(&in_streams),
                }
            },
        )?;
        let catalog = Arc::new(Catalog::new(Box::new(manifest))?);
        let leftover_streams = sweep::leftover_streams(&catalog, &streams, &in_streams);
        let pool = SegmentPool::open(disk.clone(), directory.join("pool"), options.max_recycled_bytes)?;
        let active = Arc::new(ActiveLogs::new(catalog.clone()));
        let log_options = options.for_logs();
        let flushers = Flushers::start(options.flusher_threads, log_options.round_logs)
            .map_err(|error| Error::io("start a thread for", directory, error))?;
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
            keys: Arc::new(LocalKeys {
                catalog: catalog.clone(),
                ring: options.keys.clone().unwrap_or_default(),
                disk: disk.clone(),
                directory: directory.to_owned(),
            }),
            spare_buffers: SpareBuffers::default(),
            options: log_options,
            on_want: Box::new(on_want),
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
        Ok(Self {
            directory: directory.to_owned(),
            disk,
            disk_of_copies: options.disk.clone(),
            catalog,
            context,
            journal: RwLock::default(),
            active,
            puts: Arc::default(),
            garbage: Mutex::default(),
            streams: RwLock::default(),
            is_swept: AtomicBool::new(false),
            leftover_streams,
            overlay,
            lock: Mutex::new(lock),
        })
    }

    /// Puts the journal's frames back, finds the ends of the logs that were being written to, and begins a journal. A
    /// store that is only read takes no changes after that, also in memory.
    fn recover(&self) -> Result<()> {
        perform(Step::PutBack, || self.put_journaled_back())?;
        self.recover_interrupted_logs()?;
        self.begin_journal()?;
        if let Some(overlay) = &self.overlay {
            self.catalog.make_read_only();
            overlay.freeze();
        }
        Ok(())
    }

    /// Opens the logs that were being written to when the store was last closed or interrupted, so that damage is known
    /// at once.
    fn recover_interrupted_logs(&self) -> Result<()> {
        let interrupted: Vec<_> = {
            let state = self.catalog.read();
            let interrupted = state.logs().filter(|(_, log)| log.end.is_none());
            interrupted.map(|(name, _)| name).collect()
        };
        const MAX_THREADS: usize = 2;
        let threads = interrupted.len().min(MAX_THREADS);
        let next = Mutex::new(interrupted.into_iter());
        let take = || next.lock().next();
        let inherited = Inherited::of_this_thread();
        let listening = Listening::of_this_thread();
        let recover_all = || -> Result<()> {
            inherited.apply();
            while let Some(name) = take() {
                self.recover_log(name)?;
            }
            Ok(())
        };
        let recover = || listening.during(recover_all);
        std::thread::scope(|scope| {
            let helpers: Vec<_> = (1..threads).map(|_| scope.spawn(recover)).collect();
            let result = recover();
            helpers.into_iter().fold(result, |result, helper| {
                let other = helper
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                result.and(other)
            })
        })
    }

    /// The damage that recovery has found. Damage of the journal, which may concern several logs, is reported once.
    fn damage_found(&self) -> Result<Vec<Error>> {
        let mut damage = Vec::new();
        let mut told = BTreeSet::new();
        for (name, _) in self.active.list() {
            let found = self.log(name)?.and_then(|log| log.check_undamaged().err());
            let found =
                found.filter(|error| matches!(error, Error::Corrupt { .. } | Error::Unreadable { .. }));
            damage.extend(found.filter(|error| told.insert(error.to_string())));
        }
        Ok(damage)
    }

    fn recover_log(&self, name: LogName) -> Result<()> {
        let Some(log) = self.log(name)? else {
            return Ok(());
        };
        self.active.remember(name);
        let later = Evidence {
            disk: &self.disk,
            streams: &self.streams_directory(),
            journal: &self.journal_directory(),
            state: &self.catalog.read(),
        }
        .find_later_segment(name)?;
        match later {
            // A record that is put next could get its name.
            Some(later) => {
                let reason = "the manifest does not name this segment, which has frames of the log";
                log.note_damage(Error::corrupt(&later, 0, reason));
                Ok(())
            }
            None => remove_unnamed_files(&self.disk, &log, log.first_record()),
        }
    }
}
