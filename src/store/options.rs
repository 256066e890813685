//! How a store is opened.

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

    /// How many segment files are kept open; at least one. Files that are not synced yet count too: where more shards than
    /// this are written to, at [`Durability::Written`] say, one that was not used for long is synced and closed to make
    /// place for another. Default: half of the files that the process may have open when the store is opened
    /// ([`open_file_limit`](crate::disk::open_file_limit)), at most 4,096. Beside these files a store has about ten open,
    /// and one more for each thread that reads or puts at the time.
    #[must_use]
    pub fn max_open_segments(mut self, files: usize) -> Self {
        self.local.max_open_segments = Some(files);
        self
    }

    /// How many bytes of sealed segments are kept mapped for readers, besides the one read last and what records in
    /// the program's hands still share. Default: 256 MiB.
    #[must_use]
    pub fn max_mapped_bytes(mut self, bytes: u64) -> Self {
        self.local.max_mapped_bytes = bytes;
        self
    }

    /// How many bytes of emptied segments are kept to be written again, which is faster than new files. Default:
    /// 256 MiB. Never more than the disk has free beside: what is beyond that goes back to the disk.
    #[must_use]
    pub fn max_recycled_bytes(mut self, bytes: u64) -> Self {
        self.local.max_recycled_bytes = bytes;
        self
    }

    /// Threads that commit for callers who do not wait in a thread of their own; at least one. Default: 4.
    #[must_use]
    pub fn flusher_threads(mut self, threads: usize) -> Self {
        self.local.flusher_threads = threads;
        self
    }

    /// From how many shards on a put, or puts that happen at the same time, are made durable together: by one sync of
    /// the commit journal, which holds a copy of what is then written to the shards, instead of a sync for each shard. Up
    /// to 128 KiB of each shard are kept in memory until they are written there.
    /// For groups of more than 32 KiB a shard the journal is not used, nor while more than 512 shards are being written to.
    /// `usize::MAX` is for a store without a journal.
    /// Only for [`Durability::Synced`]. At least 1; default: 4.
    #[must_use]
    pub fn min_journaled_shards(mut self, shards: usize) -> Self {
        self.local.min_journaled_shards = shards.max(1);
        self
    }

    /// Whether sealed segments are read through a memory mapping, without a copy. On a disk that cannot read a page, such
    /// a read ends the process with SIGBUS; so does a mapped file that another program cuts. A read through `pread` is an
    /// [`Error::Unreadable`](crate::Error::Unreadable) then. Records that are kept keep the mapping and the file, or else a buffer
    /// ([`Record::data`](crate::Record::data)). Default: true. `anabranch serve` has it off.
    #[must_use]
    pub fn map_sealed_segments(mut self, map: bool) -> Self {
        self.local.map_sealed_segments = map;
        self
    }

    /// From how many bytes on the manifest, and the log of a queue, are rewritten, if they are also twice as large as they need be. For tests, which
    /// cannot wait for a MiB of edits.
    #[doc(hidden)]
    #[must_use]
    pub fn compaction_bytes(mut self, bytes: u64) -> Self {
        self.local.compaction_bytes = bytes;
        self
    }

    /// How many bytes the records of a store in memory may have together, where each counts its data, its partition key and
    /// 16 bytes. A put that would make them more is refused with [`Error::StorageFull`](crate::Error::StorageFull), until
    /// records expire or a stream is deleted. Default: 1 GiB.
    #[must_use]
    pub fn max_memory_bytes(mut self, bytes: usize) -> Self {
        self.memory.max_bytes = bytes;
        self
    }

    /// Has one of so many reads of a shard in memory wait for a thread, as reads of another machine would. For tests.
    #[doc(hidden)]
    #[must_use]
    pub fn reads_for_each_wait(mut self, reads: u32) -> Self {
        self.memory.reads_for_each_wait = Some(reads);
        self
    }

    /// How long creating, splitting, merging and deleting take, as they do on AWS. The change happens at the end of
    /// the delay, also if the store was closed in between. Default: none.
    #[must_use]
    pub fn transition_delay(mut self, delay: Duration) -> Self {
        self.transition_delay = delay;
        self
    }

    /// Where the store takes the time from. Default: [`SystemClock`].
    ///
    /// The wall clock alone deletes nothing, and hides nothing: a record expires by the *confirmed* time. That goes on
    /// with the monotonic clock and is never ahead of the wall clock. What the wall clock gains besides, because it was
    /// set, because the machine slept, or because the store was closed for more than an hour, counts once it has stood
    /// for an hour. So records may stay that much longer. Where arrival times are ahead of the wall clock, since it once
    /// was wrong, later records of those shards repeat the last time, and all of them expire a retention period of
    /// running after the store found out. A step is told to [`on_event`](Self::on_event).
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = ClockHandle(Arc::new(clock));
        self
    }

    /// Who is told of what no call reports: a clock that stepped, a split that had to be given up. Called by the
    /// thread that finds it; it must not call the store. By default it becomes an event of `tracing` with the target
    /// `anabranch::engine` if the feature of that name is on, and is dropped otherwise.
    #[must_use]
    pub fn on_event(mut self, observer: impl Fn(&StoreEvent) + Send + Sync + 'static) -> Self {
        self.observer = Observer(Arc::new(observer));
        self
    }

    /// Whether a thread does the store's house-keeping: finishing what is due, freeing what has expired, preparing
    /// segments, syncing in the background. Without it the program calls [`Store::maintain`](crate::Store::maintain).
    /// Default: true.
    #[must_use]
    pub fn keeper(mut self, keeper: bool) -> Self {
        self.has_keeper = keeper;
        self
    }

    /// Whether the store is only read, as it lies on a read-only file system or in a copy that must stay as it is. Nothing
    /// on the disk is changed. What recovery finds and puts right after a crash is kept in memory instead: the frames that
    /// the commit journal alone has, and the manifest. That is at most what these files have, whatever is in the shards.
    ///
    /// All that changes something is refused with [`Error::ReadOnly`](crate::Error::ReadOnly). Records are hidden when they expire. Streams that
    /// are being created, split or deleted stay in that state.
    ///
    /// The store's lock is shared with others who only read. While a program has the store open to write, opening is
    /// refused with [`Error::Locked`](crate::Error::Locked), and so is a program that would write while this one reads;
    /// [`follow`](Self::follow) is for reading a store that is written to. Where there is no `LOCK`
    /// file, in a copy without it, say, nothing keeps writers out; then segments are not mapped. Default: false.
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.local.read_only = read_only;
        self
    }

    /// How often a store that is [followed](Self::follow) looks for what is new while someone waits for it: at least 1 ms. A
    /// call that reads does not wait for that, but looks itself. Default: 20 ms.
    #[must_use]
    pub fn follow_interval(mut self, interval: Duration) -> Self {
        self.follow_interval = interval.max(Duration::from_millis(1));
        self
    }

    /// The keys with which streams can be encrypted, and those are read that were. A store in memory keeps nothing that would
    /// have to be encrypted. Default: none.
    #[cfg(feature = "encryption")]
    #[must_use]
    pub fn keys(mut self, keys: KeyRing) -> Self {
        self.local.keys = Some(keys);
        self
    }

    /// These, for a store that another program may have.
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
