//! The store as its users hold it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::core::StoreCore;
use super::creation::StreamOptions;
use super::handle::StoreHandle;
use super::keeper;
use super::namespace::Namespace;
use super::options::StoreOptions;
use super::stream::{Stream, StreamSummary};
#[cfg(feature = "nats")]
use crate::backend::jetstream::JetStream;
use crate::backend::memory::Memory;
use crate::backup::Copied;
use crate::catalog::Resource;
use crate::error::{Error, Result};
use crate::model::{StreamId, StreamName, Timestamp};

/// A directory of streams, or memory with streams. Clones share it. It is closed by [`close`](Self::close), or when the
/// last clone and the last [`Stream`] are dropped.
#[derive(Clone, Debug)]
pub struct Store {
    handle: Arc<StoreHandle>,
}

impl Store {
    /// Opens the store in a directory, which is made if it does not exist, with the default
    /// [options](StoreOptions).
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// let store = anabranch::Store::open(directory.path().join("data"))?;
    /// store.create_stream("clicks", 4)?.put("user-42", b"{}")?;
    /// store.close()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`StoreOptions::open`].
    pub fn open(directory: impl AsRef<Path>) -> Result<Self> {
        StoreOptions::new().open(directory)
    }

    /// Opens the store in a directory to read it while another program, or another handle in this one, writes to it,
    /// with the default [options](StoreOptions).
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let path = directory.path().join("data");
    /// use anabranch::{StartingPosition, Store};
    ///
    /// let store = Store::open(&path)?;
    /// let stream = store.create_stream("clicks", 4)?;
    /// let followed = Store::follow(&path)?; // in any process
    /// let mut reader = followed.stream("clicks")?.reader(StartingPosition::TrimHorizon)?;
    /// stream.put("user-42", b"{}")?;
    /// assert_eq!(reader.next().transpose()?.unwrap().data, "{}");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`StoreOptions::follow`].
    pub fn follow(directory: impl AsRef<Path>) -> Result<Self> {
        StoreOptions::new().follow(directory)
    }

    /// A store in memory, whose contents are lost when it is closed. It behaves like one in a directory, except that a
    /// put is acknowledged at once. For tests, and for data that need not last.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// let store = anabranch::Store::in_memory()?;
    /// let stream = store.create_stream("clicks", 4)?;
    /// let put = stream.put("user-3", b"{}")?;
    /// println!("{} {}", put.shard_id, put.sequence_number);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`StoreOptions::open_in_memory`].
    pub fn in_memory() -> Result<Self> {
        StoreOptions::new().open_in_memory(&Memory::new())
    }

    /// Makes a stream whose shards divide the hash space evenly. It takes records at once, unless the store has a
    /// [`transition_delay`](StoreOptions::transition_delay).
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// let stream = store.create_stream("clicks", 4)?;
    /// assert_eq!(stream.describe()?.shards.len(), 4);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::StreamExists`]; [`Error::InvalidArgument`] for a name that is not 1 to 128 characters of
    /// `a-z A-Z 0-9 _ . -`, or a shard count out of range; [`Error::StorageFull`], [`Error::Poisoned`],
    /// [`Error::Closed`].
    pub fn create_stream(&self, name: &str, shard_count: u32) -> Result<Stream> {
        self.create_stream_with(
            name,
            StreamOptions {
                shard_count,
                ..StreamOptions::default()
            },
        )
    }

    /// Makes a stream with options.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// use anabranch::StreamOptions;
    ///
    /// let large = StreamOptions {
    ///     max_record_bytes: 10 * 1024 * 1024,
    ///     ..StreamOptions::default()
    /// };
    /// let stream = store.create_stream_with("pictures", large)?;
    /// stream.put("user-42", &vec![0; 5_000_000])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`create_stream`](Self::create_stream).
    pub fn create_stream_with(&self, name: &str, options: StreamOptions) -> Result<Stream> {
        self.handle.create_stream(StreamName::new("", name), options)
    }

    /// Gives a stream by its name, and makes it with these options if there is none. An existing stream stays
    /// unchanged, whatever the options are.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// for _each_run in 0..2 {
    ///     let stream = store.open_or_create_stream("clicks", Default::default())?;
    ///     stream.put("user-42", b"{}")?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`create_stream`](Self::create_stream); [`Error::StreamExists`] if one is being deleted.
    pub fn open_or_create_stream(&self, name: &str, options: StreamOptions) -> Result<Stream> {
        self.handle
            .open_or_create_stream(&StreamName::new("", name), options)
    }

    /// A stream by its name, in any state. Never blocks, unless the store is [followed](StoreOptions::follow).
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// store.create_stream("clicks", 1)?;
    /// assert_eq!(store.stream("clicks")?.name(), "clicks");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::StreamNotFound`], [`Error::Closed`].
    pub fn stream(&self, name: &str) -> Result<Stream> {
        self.handle.stream_named("", name)
    }

    /// The streams with their names in this namespace, separate from those that [`stream`](Self::stream) finds and from
    /// those of other namespaces. A namespace's name has up to 128 characters of `a-z A-Z 0-9 _ . -`, with slashes
    /// between them.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let store = anabranch::Store::open(directory.path())?;
    /// let tenant = store.namespace("tenant-7")?;
    /// tenant.create_stream("clicks", 1)?;
    /// assert!(store.stream("clicks").is_err());
    /// assert_eq!(tenant.streams(None, 10)?[0].name, "clicks");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a name that no namespace can have.
    pub fn namespace(&self, name: &str) -> Result<Namespace> {
        Namespace::new(self.handle.clone(), name)
    }

    /// The names of the namespaces that have streams, in order. The empty name stands for streams without a namespace.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// store.create_stream("clicks", 1)?;
    /// store.namespace("tenant-7")?.create_stream("clicks", 1)?;
    /// assert_eq!(store.namespaces()?, ["", "tenant-7"]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn namespaces(&self) -> Result<Vec<String>> {
        self.core().begin(None)?;
        let state = self.core().catalog.read();
        Ok(state.namespaces().map(str::to_owned).collect())
    }

    /// A stream by its number, which no other stream of this store ever has.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// let same = store.stream_by_id(stream.id())?;
    /// assert_eq!(same.name(), "clicks");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::StreamNotFound`], [`Error::Closed`].
    pub fn stream_by_id(&self, id: StreamId) -> Result<Stream> {
        self.core().begin(None)?;
        self.handle.stream(id).ok_or_else(|| Error::StreamNotFound {
            name: format!("number {id}"),
        })
    }

    /// Up to `limit` streams without a [`Namespace`], in the order of their names, from the first or from after a name.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// for name in ["a", "b", "c"] {
    ///     store.create_stream(name, 1)?;
    /// }
    /// let page = store.streams(Some("a"), 2)?;
    /// let names: Vec<_> = page.iter().map(|stream| stream.name.as_str()).collect();
    /// assert_eq!(names, ["b", "c"]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn streams(&self, after: Option<&str>, limit: usize) -> Result<Vec<StreamSummary>> {
        self.handle.streams("", after, limit)
    }

    /// Up to `limit` streams of all namespaces, in the order of their numbers, which is that of their creation, from
    /// the first or from after a number.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// let clicks = store.create_stream("clicks", 1)?;
    /// store.namespace("tenant-7")?.create_stream("clicks", 1)?;
    /// let behind = store.all_streams(Some(clicks.id()), 10)?;
    /// assert_eq!((behind.len(), behind[0].namespace()), (1, "tenant-7"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn all_streams(&self, after: Option<StreamId>, limit: usize) -> Result<Vec<Stream>> {
        self.handle.all_streams(after, limit)
    }

    /// As [`all_streams`](Self::all_streams), with the newest stream of all, and without waiting for the disk.
    #[cfg(feature = "server")]
    pub(crate) fn streams_at_once(
        &self,
        after: Option<StreamId>,
        limit: usize,
    ) -> Result<(Vec<Stream>, Option<StreamId>)> {
        self.handle.streams_at_once(after, limit)
    }

    /// How many shards are open in all streams, including those that creations and splits are still making.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// store.create_stream("clicks", 4)?;
    /// store.create_stream("orders", 2)?;
    /// assert_eq!(store.open_shard_count()?, 6);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn open_shard_count(&self) -> Result<u64> {
        self.core().begin(None)?;
        let state = self.core().catalog.read();
        Ok(state
            .streams()
            .map(|(_, stream)| u64::from(stream.open_and_coming_shard_count()))
            .sum())
    }

    /// Whether the store was opened with keys ([`StoreOptions::keys`]), so that streams can be encrypted.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// assert!(!anabranch::Store::in_memory()?.has_keys());
    /// # Ok(())
    /// # }
    /// ```
    pub fn has_keys(&self) -> bool {
        self.core().options.key_ring().is_some()
    }

    /// An attribute of the store's owner: bytes under a name, which the store keeps and does not use.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// assert_eq!(store.attribute("schema")?, None);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn attribute(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.core().attribute(&Resource::Account(String::new()), name)
    }

    /// Sets an attribute of the store's owner, or removes it. Durable on return.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// store.set_attribute("schema", Some(b"2"))?;
    /// assert_eq!(store.attribute("schema")?.as_deref(), Some(&b"2"[..]));
    /// store.set_attribute("schema", None)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a name that is not 1 to 128 characters of `a-z A-Z 0-9 _ . -`, and for a value of
    /// more than [`MAX_ATTRIBUTE_BYTES`](crate::limits::MAX_ATTRIBUTE_BYTES); [`Error::StorageFull`],
    /// [`Error::Poisoned`], [`Error::Closed`].
    pub fn set_attribute(&self, name: &str, value: Option<&[u8]>) -> Result<()> {
        self.core()
            .set_attribute(Resource::Account(String::new()), name, value)
    }

    /// The time by the store's clock.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// stream.put("user-42", b"{}")?;
    /// let record = stream.reader(anabranch::StartingPosition::TrimHorizon)?.next().unwrap()?;
    /// let age = store.now().since(record.approximate_arrival);
    /// println!("{} ms old", age.as_millis());
    /// # Ok(())
    /// # }
    /// ```
    pub fn now(&self) -> Timestamp {
        self.core().now()
    }

    /// The time since some fixed moment, by the store's monotonic clock
    /// ([`Clock::monotonic`](crate::Clock::monotonic)). It measures how long something takes, even if the time that
    /// [`now`](Self::now) shows is changed.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// let began = store.monotonic();
    /// // Something that takes a while.
    /// let took = store.monotonic() - began;
    /// # Ok(())
    /// # }
    /// ```
    pub fn monotonic(&self) -> Duration {
        self.core().time.monotonic()
    }

    /// A number that no other store has.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// assert_ne!(store.id(), anabranch::Store::in_memory()?.id());
    /// # Ok(())
    /// # }
    /// ```
    pub fn id(&self) -> u128 {
        self.core().catalog.read().store
    }

    /// A secret that was drawn with the store, never changes, and differs from that of every other store. A program can
    /// use it to sign values that it gives to strangers and gets back, such as positions. Every program that has it can
    /// sign.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// let store = anabranch::Store::open(directory.path())?;
    /// let secret = store.secret();
    /// store.close()?;
    /// assert_eq!(anabranch::Store::open(directory.path())?.secret(), secret);
    /// # Ok(())
    /// # }
    /// ```
    pub fn secret(&self) -> [u8; 32] {
        self.core().catalog.read().secret
    }

    /// Does one round of the house-keeping that the keeper's thread does: finishes due changes, syncs, frees expired
    /// records, prepares room for later puts. For programs that set the clock, or run without a keeper. For a store
    /// that is [only read](StoreOptions::read_only) it only looks at the clock. For one that is
    /// [followed](StoreOptions::follow) it also looks for changes that waiting callers have to be told of.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # use std::time::Duration;
    /// use anabranch::{ManualClock, Memory, StoreOptions, Timestamp};
    ///
    /// let clock = ManualClock::starting_at(Timestamp::from_millis(1_700_000_000_000));
    /// let options = StoreOptions::new().clock(clock.clone()).keeper(false);
    /// let store = options.open_in_memory(&Memory::new())?;
    /// clock.advance(Duration::from_secs(60));
    /// store.maintain()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The first failure. The other steps are tried all the same.
    pub fn maintain(&self) -> Result<()> {
        self.core().begin(None)?;
        keeper::run_round(self.core())
    }

    /// Copies the store as it is at one moment into another directory, which is empty or does not exist yet, while it
    /// goes on being used. The copy has everything that was acknowledged before the call, and the streams, queues,
    /// channels and checkpoints of that moment. Durable on return. An interruption leaves nothing that opens.
    ///
    /// Puts, and consumers of queues, wait only until what was taken in before is committed: logs are opened and
    /// written before the wait begins. One snapshot of a store is taken at a time.
    ///
    /// The copy is a store that can be kept or can replace this one: the next record of each shard leaves out at least
    /// 2^40 numbers. Parts that are no longer written to are shared with this store where that is possible
    /// ([`Sharing`](crate::inspect::Sharing)), and not read; [`inspect::verify`](crate::inspect::verify) reads the
    /// whole copy. Keys are not part of it.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let store = anabranch::Store::open(directory.path().join("data"))?;
    /// let stream = store.create_stream("clicks", 1)?;
    /// stream.put("user-42", b"{}")?;
    /// let backup = directory.path().join("backup");
    /// let copied = store.snapshot(&backup)?;
    /// assert_eq!(copied.streams, 1);
    /// assert!(anabranch::inspect::verify(&backup)?.is_sound());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::NotEmpty`], [`Error::Locked`] if another copy is being made there, [`Error::StorageFull`],
    /// [`Error::Io`]; [`Error::Corrupt`] if damage was found in the store; [`Error::InvalidArgument`] of a store in
    /// memory, and if one of the two directories is inside the other; [`Error::Poisoned`], [`Error::Closed`].
    pub fn snapshot(&self, directory: impl AsRef<Path>) -> Result<Copied> {
        self.core().snapshot(|logs| logs.begin_copy(directory.as_ref()))
    }

    /// Makes everything durable that was put, records it, and releases the directory. All later calls on this store
    /// fail with [`Error::Closed`].
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// use anabranch::Error;
    ///
    /// store.close()?;
    /// assert!(matches!(stream.put("user-42", b"{}"), Err(Error::Closed)));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The first failed write. The store is closed all the same, and recovers when it is next opened.
    pub fn close(&self) -> Result<()> {
        self.handle.close()
    }

    #[cfg(feature = "channels")]
    pub(crate) fn is_closed(&self) -> bool {
        self.core().check_open().is_err()
    }

    pub(super) fn core(&self) -> &StoreCore {
        &self.handle.core
    }
}

impl StoreOptions {
    /// Opens the store in a directory, which is made if it does not exist.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// use anabranch::{Durability, StoreOptions};
    ///
    /// let options = StoreOptions::new().durability(Durability::Written);
    /// let store = options.open(directory.path().join("data"))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Locked`] if another opener has it, [`Error::NotAStore`] if the directory has something else,
    /// [`Error::UnsupportedFormat`], [`Error::Corrupt`] if the manifest is damaged, [`Error::InvalidArgument`] if an
    /// option is out of range, [`Error::Io`]. A damaged shard does not prevent the store from opening: its own
    /// operations report the damage.
    pub fn open(&self, directory: impl AsRef<Path>) -> Result<Store> {
        let core = StoreCore::open(self, directory.as_ref())?;
        let handle = StoreHandle::new(core)?;
        Ok(Store { handle })
    }

    /// Opens the store in a directory to read it, whether or not a program has it open to write. Nothing in the
    /// directory is locked, changed or synced, so any number of programs can follow a store, also on a read-only mount.
    ///
    /// A call sees everything that was acknowledged before it began, and of each shard a prefix, without a gap. A
    /// waiting caller (with a [`ShardWatch`](crate::ShardWatch), or a reader) is woken within the
    /// [`follow_interval`](Self::follow_interval), unless there is no [keeper](Self::keeper). That goes on while the
    /// other program splits, merges, trims and deletes, ends or is killed, and is started again. Records that are
    /// trimmed while they are read give [`Error::Trimmed`](crate::Error::Trimmed) as in any store.
    ///
    /// A record may be visible when it is written, and not yet synced or acknowledged. The end of the other program's
    /// process takes none of these back. A crash of the operating system, a power cut or a failing disk can take back
    /// even records that were seen; their numbers are not given to other records. At
    /// [`Durability::Buffered`](crate::Durability::Buffered) a record is visible once it is written.
    ///
    /// Every change is refused with [`Error::ReadOnly`](crate::Error::ReadOnly), and so are the records of queues,
    /// since only the program that gives them out knows their state. Records are hidden when they expire, by this
    /// program's clock. Damage at the end of a shard that is being written to may be reported only once the shard has
    /// come to rest, or some MiB further on; until then the shard seems to end there. Only the options about reading,
    /// the clock, the disk and the keys have an effect. Nothing is mapped.
    ///
    /// # Errors
    /// [`Error::Io`] if there is no store, [`Error::NotAStore`] if the directory has something else,
    /// [`Error::UnfinishedCopy`], [`Error::UnsupportedFormat`], [`Error::Corrupt`] if the manifest is damaged,
    /// [`Error::InvalidArgument`] if an option is out of range. If the directory is removed, or gets another store, all
    /// calls fail with [`Error::Io`].
    pub fn follow(&self, directory: impl AsRef<Path>) -> Result<Store> {
        self.following().open(directory)
    }

    /// Opens the store in this memory, or makes one there. Numbers of records rise as in a directory, and some are left
    /// out.
    ///
    /// Options about directories have no effect. Records take up to [`max_memory_bytes`](Self::max_memory_bytes). A
    /// store in memory cannot be opened only to be read.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// use anabranch::{Memory, StoreOptions};
    ///
    /// let memory = Memory::new();
    /// let store = StoreOptions::new().open_in_memory(&memory)?;
    /// store.create_stream("clicks", 1)?;
    /// store.close()?;
    /// // The next opener finds what it left.
    /// assert!(StoreOptions::new().open_in_memory(&memory)?.stream("clicks").is_ok());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Locked`] if another opener has it, [`Error::InvalidArgument`] with an option to only read it,
    /// [`Error::Io`] if the system gives no thread, or no random bytes.
    pub fn open_in_memory(&self, memory: &Memory) -> Result<Store> {
        let core = StoreCore::open_in_memory(self, memory)?;
        let handle = StoreHandle::new(core)?;
        Ok(Store { handle })
    }

    /// Opens the store on a cluster of NATS JetStream, or makes one there. A put is acknowledged when it is on the
    /// disks of more than half of the servers that keep it, whatever the [`durability`](Self::durability) is. Numbers
    /// of records rise as in a directory, and some are left out. One append to a shard has up to 16,383 records, and
    /// must fit into a message: about 12 MB where `max_payload` is 16 MB.
    ///
    /// A cluster that is not safe for records is refused: servers older than 2.15, or that do not sync what they
    /// acknowledge, fewer replicas than asked for, messages too small for the largest record. One opener at a time has
    /// the store. An opener that loses its connection while another one opens the store gets [`Error::Fenced`] for all
    /// later writes.
    ///
    /// While the cluster does not answer, a call waits for up to 30 seconds; a change may still be made after that. A
    /// lost leader is replaced within about nine seconds. Of the options about directories only
    /// [`max_group_bytes`](Self::max_group_bytes) has an effect. Such a store cannot be opened only to be read yet, and
    /// cannot be encrypted yet. [`JetStream::back_up`] copies it.
    ///
    /// # Errors
    /// [`Error::ClusterUnfit`], [`Error::Cluster`] if it cannot be reached or refuses the credentials, [`Error::InUse`]
    /// if another opener has the store, [`Error::Corrupt`] if the catalog is damaged on all servers,
    /// [`Error::InvalidArgument`] with an option to only read or to encrypt it, [`Error::Io`] if credentials or
    /// certificates cannot be read.
    #[cfg(feature = "nats")]
    pub fn open_jetstream(&self, cluster: &JetStream) -> Result<Store> {
        let core = StoreCore::open_jetstream(self, cluster)?;
        let handle = StoreHandle::new(core)?;
        Ok(Store { handle })
    }
}
