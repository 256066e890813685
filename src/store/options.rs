//! The options of opening a store.

use std::sync::Arc;
use std::time::Duration;

use super::event::{Observer, StoreEvent};
use super::timekeeper::ClockHandle;
use crate::backend::local::LocalOptions;
use crate::backend::memory::MemoryOptions;
use crate::disk::Disk;
use crate::encryption::KeyRing;
use crate::log::Durability;
use crate::model::{Clock, SystemClock};

/// How to open a [`Store`](crate::Store). The defaults suit a program that wants every acknowledged record to survive a
/// power cut.
///
/// ```
/// # fn main() -> anabranch::Result<()> {
/// # let directory = tempfile::tempdir().unwrap();
/// use anabranch::{Durability, StoreOptions};
///
/// let store = StoreOptions::new()
///     .durability(Durability::Written)
///     .segment_bytes(16 * 1024 * 1024)
///     .open(directory.path().join("data"))?;
/// # store.close()
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct StoreOptions {
    pub(super) local: LocalOptions,
    pub(super) memory: MemoryOptions,
    pub(super) transition_delay: Duration,
    pub(super) has_keeper: bool,
    pub(super) follow_interval: Duration,
    pub(super) clock: ClockHandle,
    pub(super) observer: Observer,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            local: LocalOptions::default(),
            memory: MemoryOptions::default(),
            transition_delay: Duration::ZERO,
            has_keeper: true,
            follow_interval: Duration::from_millis(20),
            clock: ClockHandle(Arc::new(SystemClock)),
            observer: Observer::default(),
        }
    }
}

impl StoreOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// When a put returns, and what it then survives. Default: [`Durability::Synced`].
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.local.durability = durability;
        self
    }

    /// Size of a segment file in bytes: 64 KiB to 1 GiB, rounded up to a multiple of 4 KiB. A shard's first segments
    /// are smaller. Default: 64 MiB.
    #[must_use]
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.local.segment_bytes = bytes;
        self
    }

    /// How many bytes of records may wait for a commit in one shard before puts wait too: up to 64 MiB. One call's
    /// records may be more. Default: 4 MiB.
    #[must_use]
    pub fn max_group_bytes(mut self, bytes: usize) -> Self {
        self.local.max_group_bytes = bytes;
        self
    }

    /// How many segment files are kept open; at least one. Files that are not synced yet count too. If more shards than
    /// this are written to, at [`Durability::Written`] for example, the file that was not used for longest is synced
    /// and closed to make room for another. Default: half of the files that the process may have open when the store is
    /// opened ([`open_file_limit`](crate::disk::open_file_limit)), at most 4,096. In addition a store has about ten
    /// files open, and one more for each thread that reads or puts at the time.
    #[must_use]
    pub fn max_open_segments(mut self, files: usize) -> Self {
        self.local.max_open_segments = Some(files);
        self
    }

    /// How many bytes of sealed segments are kept mapped for readers, in addition to the one read last and to mappings
    /// that records of the program still share. Default: 256 MiB.
    #[must_use]
    pub fn max_mapped_bytes(mut self, bytes: u64) -> Self {
        self.local.max_mapped_bytes = bytes;
        self
    }

    /// How many bytes of emptied segments are kept to be written again, which is faster than new files. Never more than
    /// the disk has free beside them: more is given back to the disk. Default: 256 MiB.
    #[must_use]
    pub fn max_recycled_bytes(mut self, bytes: u64) -> Self {
        self.local.max_recycled_bytes = bytes;
        self
    }

    /// Threads that commit for callers that do not wait in a thread of their own; at least one. Default: 4.
    #[must_use]
    pub fn flusher_threads(mut self, threads: usize) -> Self {
        self.local.flusher_threads = threads;
        self
    }

    /// If one put, or concurrent puts, go to at least so many shards, they are made durable together: by one sync of
    /// the commit journal instead of a sync for each shard. The journal has a copy of what is later written to the
    /// shards. Up to 128 KiB of each shard are kept in memory until they are written there. The journal is not used for
    /// groups of more than 32 KiB a shard, nor while more than 512 shards are being written to. `usize::MAX` means no
    /// journal. Only for [`Durability::Synced`]. At least 1; default: 4.
    #[must_use]
    pub fn min_journaled_shards(mut self, shards: usize) -> Self {
        self.local.min_journaled_shards = shards.max(1);
        self
    }

    /// Whether sealed segments are read through a memory mapping, without a copy. If the disk cannot read a mapped
    /// page, or another program cuts the file, the read ends the process with SIGBUS. A read through `pread` gives
    /// [`Error::Unreadable`](crate::Error::Unreadable) instead. Records that are kept keep the mapping and the file, or
    /// else a buffer ([`Record::data`](crate::Record::data)). Default: true. `anabranch serve` has it off.
    #[must_use]
    pub fn map_sealed_segments(mut self, map: bool) -> Self {
        self.local.map_sealed_segments = map;
        self
    }

    /// The size in bytes from which on the manifest, and the log of a queue, are rewritten if they are also twice as
    /// large as necessary. For tests, which cannot wait for a MiB of edits.
    #[doc(hidden)]
    #[must_use]
    pub fn compaction_bytes(mut self, bytes: u64) -> Self {
        self.local.compaction_bytes = bytes;
        self
    }

    /// How many bytes the records of a store in memory may have together. Each counts its data, its partition key and
    /// 16 bytes. A put beyond that is refused with [`Error::StorageFull`](crate::Error::StorageFull), until records
    /// expire or a stream is deleted. Default: 1 GiB.
    #[must_use]
    pub fn max_memory_bytes(mut self, bytes: usize) -> Self {
        self.memory.max_bytes = bytes;
        self
    }

    /// Makes one in this many reads of a shard in memory wait for a thread, as reads from another machine would. For
    /// tests.
    #[doc(hidden)]
    #[must_use]
    pub fn reads_for_each_wait(mut self, reads: u32) -> Self {
        self.memory.reads_for_each_wait = Some(reads);
        self
    }

    /// How long it takes to create, split, merge and delete, and to change what makes a stream
    /// [`Updating`](crate::StreamStatus::Updating), as on AWS. The change happens at the end of the delay, also if the
    /// store was closed in between. Default: none.
    #[must_use]
    pub fn transition_delay(mut self, delay: Duration) -> Self {
        self.transition_delay = delay;
        self
    }

    /// The source of the time. Default: [`SystemClock`].
    ///
    /// The wall clock alone deletes nothing, and hides nothing: a record expires by the *confirmed* time. That goes on
    /// with the monotonic clock and is never ahead of the wall clock. The wall clock may gain on it because it was set,
    /// because the machine slept, or because the store was closed for more than an hour. Such a gain counts once the
    /// clock has gone on for an hour, so records may stay that much longer. If arrival times are ahead of the wall
    /// clock, because it was wrong once, later records of those shards repeat the last time, and all of them expire
    /// when the store has been open for a retention period after it found out. A step is reported to
    /// [`on_event`](Self::on_event).
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = ClockHandle(Arc::new(clock));
        self
    }

    /// Sets the observer, which gets what no call reports: a clock that stepped, a split that had to be given up. It is
    /// called by the thread that finds the event, and must not call the store. By default an event becomes an event of
    /// `tracing` with the target `anabranch::engine` if the feature of that name is on, and is dropped otherwise.
    #[must_use]
    pub fn on_event(mut self, observer: impl Fn(&StoreEvent) + Send + Sync + 'static) -> Self {
        self.observer = Observer(Arc::new(observer));
        self
    }

    /// Whether a thread does the store's house-keeping: finishing due changes, freeing expired records, preparing
    /// segments, syncing in the background. Without it the program calls [`Store::maintain`](crate::Store::maintain).
    /// Default: true.
    #[must_use]
    pub fn keeper(mut self, keeper: bool) -> Self {
        self.has_keeper = keeper;
        self
    }

    /// Whether the store is only read, on a read-only file system for example, or in a copy that must not change.
    /// Nothing on the disk is changed. The repairs of recovery after a crash are kept in memory instead: the frames
    /// that only the commit journal has, and the manifest. That takes at most as much memory as these files have bytes,
    /// whatever is in the shards.
    ///
    /// Every change is refused with [`Error::ReadOnly`](crate::Error::ReadOnly). Records are hidden when they expire.
    /// Streams that are being created, split or deleted stay in that state.
    ///
    /// The store's lock is shared with other readers. While a program has the store open to write, opening is refused
    /// with [`Error::Locked`](crate::Error::Locked), and a program that wants to write is refused while this one reads.
    /// [`follow`](Self::follow) is for reading a store that is being written to. Without a `LOCK` file, for example in
    /// a copy without it, nothing keeps writers out; segments are not mapped then. Default: false.
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.local.read_only = read_only;
        self
    }

    /// How often a store that is [followed](Self::follow) looks for changes while a caller waits for some: at least 1
    /// ms. A call that reads does not depend on that, since it looks itself. Default: 20 ms.
    #[must_use]
    pub fn follow_interval(mut self, interval: Duration) -> Self {
        self.follow_interval = interval.max(Duration::from_millis(1));
        self
    }

    /// The keys with which streams can be encrypted, and encrypted streams read. A store in memory keeps nothing that
    /// needs encryption. Default: none.
    #[cfg(feature = "encryption")]
    #[must_use]
    pub fn keys(mut self, keys: KeyRing) -> Self {
        self.local.keys = Some(keys);
        self
    }

    /// These options, for a store that another program may have open.
    pub(super) fn following(&self) -> Self {
        let mut options = self.clone();
        options.local.is_following = true;
        options
    }

    pub(super) fn key_ring(&self) -> Option<&KeyRing> {
        self.local.keys.as_ref()
    }

    /// The disk that holds the store. Default: the operating system's files.
    #[must_use]
    pub fn disk(mut self, disk: impl Disk) -> Self {
        self.local.disk = Arc::new(disk);
        self
    }
}
