//! Amazon Kinesis streams on your own disk.
//!
//! A [`Store`] is a directory of streams. A [`Stream`] is a set of shards, each an append-only log that owns a range of
//! hash keys; shards split and merge, and a [`StreamReader`] that follows their lineage sees the records of every
//! partition key in the order in which they were put.
//!
//! ```
//! # fn main() -> anabranch::Result<()> {
//! # let directory = tempfile::tempdir().unwrap();
//! # let path = directory.path().join("data");
//! use anabranch::{HashKey, StartingPosition, Store};
//!
//! let store = Store::open(&path)?;
//! let stream = store.create_stream("clicks", 4)?;
//! let put = stream.put("user-3", b"{\"page\":\"/\"}")?; // durable on return
//! println!("{} {}", put.shard_id, put.sequence_number);
//! stream.split_shard(put.shard_id, HashKey::MAX / 8)?;
//! for record in stream.reader(StartingPosition::TrimHorizon)? {
//!     let record = record?; // parents first, then children
//!     println!("{} {:?}", record.partition_key, record.data);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Durability
//!
//! | level | returns after | killed process | crashed system, lost power |
//! |---|---|---|---|
//! | [`Durability::Synced`], the default | `fdatasync` | survives | survives |
//! | [`Durability::Written`] | `write` | survives | the last second may go |
//! | [`Durability::Buffered`] | a copy | the last 20 ms may go | the last second may go |
//!
//! At every level a shard keeps a prefix of what was put to it, in order, and no sequence number is used twice. At the
//! default level no reader sees a record that a crash could take back, except readers that [follow](Store::follow) the
//! store from outside. The first write or sync that fails is the last: from then on puts fail with [`Error::Poisoned`],
//! reads go on, and only opening the store again finds out what is on the disk.
//!
//! # A disk that cannot be read
//!
//! By default the library maps sealed segments ([`StoreOptions::map_sealed_segments`]). Large reads are faster then,
//! but a mapped page that the disk cannot read, and a mapped file that another program cuts, end the process with
//! SIGBUS. With `map_sealed_segments(false)` such a page is an [`Error::Unreadable`] of its shard, with file and
//! offset; the records before it are served, and so are all others. A program that must survive a bad sector sets it to
//! `false`, as the server does. A [`Record`] shares the memory that it was read into; [`Record::data`] says how much of
//! that it keeps.
//!
//! # Features
//!
//! Without features this crate is the engine: a handful of small dependencies, plain threads, no async runtime.
//! - `encryption`: streams whose records are encrypted on the disk ([`Stream::start_encryption`]).
//! - `mirror`: Amazon Kinesis as a place of the program's commands, through AWS' own SDK.
//! - `nats`: a store on a cluster of NATS JetStream instead of in a directory (`StoreOptions::open_jetstream`).
//! - `server`: the Kinesis API over HTTP, and the `anabranch` program.
//! - `sim`: a disk in memory that can crash, for tests of how a program survives a crash.
//! - `tracing`: events inside the engine, for the crate `tracing`, with the target `anabranch::engine`.

#[cfg(not(target_pointer_width = "64"))]
compile_error!("lengths of files are `u64` and are used as `usize`: anabranch needs a 64-bit target");

#[cfg(feature = "server")]
mod admin;
mod backend;
mod backup;
#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench;
mod catalog;
#[cfg(feature = "channels")]
mod channel;
#[cfg(feature = "server")]
mod console;
mod consumer;
pub mod disk;
mod encryption;
mod error;
mod evidence;
#[cfg(all(feature = "server", feature = "nats"))]
mod forward;
#[cfg(feature = "server")]
mod http;
pub mod inspect;
#[cfg(feature = "server")]
pub mod kinesis;
mod log;
mod model;
mod queue;
mod seam;
mod store;
mod sync;
mod trace;

#[cfg(feature = "nats")]
pub use backend::jetstream::{
    CheckedReplica, CheckedServer, CheckedStream, ClusterCheck, ClusterChecked, ClusterCopied,
    ClusterProblem, ClusterProgress, ClusterVerification, JetStream, ReplicaDamage, ReplicaFinding,
    StoreOwner,
};
pub use backend::memory::Memory;
pub use backend::{ClusterStats, ReplicaStats, StorageStats};
pub use backup::Copied;
#[cfg(feature = "channels")]
pub use channel::{
    Bucket, BucketError, Channel, Delivery, DeliveryError, DeliveryEvent, DeliveryOptions, DeliveryProblem,
    DirectoryBuckets, Object, S3Buckets,
};
pub use consumer::{ConsumerGroup, GroupBatch, Member, MemberDescription, MemberOptions, StreamReader};
#[cfg(any(test, feature = "sim"))]
#[doc(inline)]
pub use disk::sim;
#[cfg(feature = "encryption")]
pub use encryption::{KeyRing, KeyRingError};
pub use error::{Error, ForeignReason, InvalidArgument, Named, Result, RetentionReason};
pub use log::Durability;
pub use model::limits;
pub use model::{
    Aggregate, AggregatedRecord, ChannelId, Checkpoint, ChildShard, Clock, ClockStep, Compression,
    ConsumerId, ConsumerStatus, Destination, HashKey, HashKeyError, HashKeyRange, HashKeyRangeError,
    Histogram, Lineage, LineageError, ManualClock, ParsedSequenceNumber, PartitionKey, PartitionKeyError,
    PutRecord, QueueId, ReaderStatus, Record, RecordDistribution, RecordFormat, RecordNumber, Reshard,
    ReshardStep, Retention, SequenceNumber, SequenceNumberError, Shard, ShardClosed, ShardFilter, ShardId,
    ShardIdError, SizeLimits, Space, StartingPosition, StorageClass, StreamId, StreamMode, StreamModeError,
    StreamNameError, StreamStatus, SystemClock, Timestamp, check_stream_name,
};
pub use queue::{Queue, QueueCounts, QueueRecord, QueueWatch, Receipt, ReceiptError, ReceiveOptions};
pub use seam::{PutStats, ReadLimit, ReadStats};
pub use store::{
    Append, AppendEach, ConsumerDescription, DamagedShard, ModeOptions, Namespace, NewConsumer, PutResult,
    QueueDescription, QueueOptions, QueueSettings, RecordBatch, ShardIterator, ShardLag, ShardStats,
    ShardWatch, Store, StoreEvent, StoreHealth, StoreOptions, StoreStats, Stream, StreamDescription,
    StreamOptions, StreamStats, StreamSummary,
};
#[cfg(feature = "channels")]
pub use store::{ChannelDescription, ChannelOptions};

/// Compiles the README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Compiles the example of the page on queues.
#[cfg(doctest)]
#[doc = include_str!("../docs/queues.md")]
struct Queues;

/// Runs the example of the page on consumer groups.
#[cfg(doctest)]
#[doc = include_str!("../docs/consumer-groups.md")]
struct ConsumerGroups;

/// Runs the examples of the page on testing.
#[cfg(all(doctest, feature = "server", feature = "sim"))]
#[doc = include_str!("../docs/testing-your-code.md")]
struct Testing;

/// Runs the example of the page on watching a server.
#[cfg(doctest)]
#[doc = include_str!("../docs/operating.md")]
struct Operating;

/// Compiles the example of the page on channels.
#[cfg(all(doctest, feature = "channels"))]
#[doc = include_str!("../docs/channels.md")]
struct Channels;
