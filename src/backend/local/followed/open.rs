//! Opening a directory that another program may be writing to.

use std::path::Path;
use std::sync::Arc;

use super::follower::Follower;
use super::verbs::FollowedLogs;
use crate::backend::Opened;
use crate::backend::local::directories::check_is_directory;
use crate::backend::local::keys::LocalKeys;
use crate::backend::local::options::LocalOptions;
use crate::catalog::Catalog;
use crate::catalog::manifest::FollowedManifest;
use crate::disk::{Disk, Health, UnwrittenDisk};
use crate::error::{Error, Result};
use crate::log::{
    Flushers, LogChange, LogContext, LogIdentity, LogOptions, LogResources, OpenSegments, SegmentLedger,
    SegmentPool, SpareBuffers,
};
use crate::model::Clock;
use crate::sync::{AtomicUsize, OnceLock, RwLock};

/// Reads from the manifest which logs exist. Damage is found when a log is read.
pub(in crate::backend::local) fn open(
    options: &LocalOptions,
    directory: &Path,
    clock: Arc<dyn Clock>,
) -> Result<Opened> {
    let disk: Arc<dyn Disk> = Arc::new(UnwrittenDisk::new(options.disk.clone()));
    check_is_directory(disk.as_ref(), directory)?;
    let (manifest, state) = FollowedManifest::open(&disk, directory)?;
    let catalog = Arc::new(Catalog::of_followed(state));
    let health = Health::by(clock);
    let resources = LogResources {
        disk: disk.clone(),
        open_segments: OpenSegments::new(
            disk.clone(),
            health.clone(),
            options.open_segments_limit(),
            options.max_mapped_bytes,
        ),
        health,
        pool: SegmentPool::unused(disk.clone(), directory.join("pool")),
        ledger: Arc::new(LedgerOfAnother),
        keys: Arc::new(LocalKeys {
            catalog: catalog.clone(),
            ring: options.keys.clone().unwrap_or_default(),
            disk: disk.clone(),
            directory: directory.to_owned(),
        }),
        spare_buffers: SpareBuffers::default(),
        options: LogOptions {
            // A mapping would show the new bytes of a file that is written again, and would end the process where a
            // file is cut.
            map_sealed_segments: false,
            ..options.for_logs()
        },
        on_want: Box::new(|| ()),
    };
    let context = Arc::new(LogContext {
        resources: Arc::new(resources),
        flushers: Flushers::none(),
        journal: RwLock::default(),
        journal_doubts: OnceLock::new(),
        commits_in_flight: AtomicUsize::new(0),
    });
    let follower = Follower::new(directory.to_owned(), catalog.clone(), manifest, context);
    Ok(Opened {
        catalog,
        logs: Arc::new(FollowedLogs::new(Arc::new(follower), disk)),
        damage: Vec::new(),
    })
}

/// The ledger of a log that another program writes to. It records nothing.
struct LedgerOfAnother;

impl SegmentLedger for LedgerOfAnother {
    fn record(&self, changes: &[(LogIdentity, LogChange)]) -> Vec<Result<()>> {
        changes.iter().map(|_| Err(Error::ReadOnly)).collect()
    }
}
