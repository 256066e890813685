//! The kinds of refused arguments, with their facts.

use std::path::PathBuf;

use crate::model::{LineageError, PartitionKeyError, RecordNumber, ShardId, StreamId, StreamNameError};

/// Why an argument is invalid. A program can match on it, and get the numbers of the message.
///
/// ```
/// # fn main() -> anabranch::Result<()> {
/// use anabranch::{Error, InvalidArgument, Store, StreamOptions};
///
/// let store = Store::in_memory()?;
/// let options = StreamOptions { max_record_bytes: 1 << 30, ..StreamOptions::default() };
/// match store.create_stream_with("clicks", options) {
///     Err(Error::InvalidArgument(InvalidArgument::MaxRecordBytes { actual, most, .. })) => {
///         assert!(actual > most);
///     }
///     other => panic!("{other:?}"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidArgument {
    /// A name does not have the form of its kind.
    #[error("{}{error}", in_front_of(*.of, name))]
    Name {
        /// The kind of name.
        of: Named,
        /// The name.
        name: String,
        /// The problem.
        error: StreamNameError,
    },

    /// No namespace can have this name.
    #[error(
        "a namespace is made of up to 128 characters of a-z, A-Z, 0-9, `_`, `.` and `-`, with slashes between them, not \
         {name:?}"
    )]
    Namespace {
        /// The name.
        name: String,
    },

    /// A store in memory has no directory that could be copied.
    #[error("a store in memory cannot be copied into a directory")]
    SnapshotInMemory,

    /// The numbers of a cluster do not fit into a store in a directory: `JetStream::back_up` copies its streams.
    #[error(
        "a store on a cluster is not copied by its opener: `anabranch backup --engine` and JetStream::back_up do it"
    )]
    SnapshotOfCluster,

    /// More records than one append to a shard on a cluster can have.
    #[error("a shard on a cluster takes {most} records at once, not {actual}: put them in several calls")]
    RecordsAtOnce {
        /// How many were given.
        actual: usize,
        /// The greatest number.
        most: usize,
    },

    /// An option of a store on a cluster.
    #[error("{reason}")]
    ClusterOption {
        /// The problem.
        reason: String,
    },

    /// A partition key is empty or too long.
    #[error(transparent)]
    PartitionKey(#[from] PartitionKeyError),

    /// The stream cannot have such shards: too many, or none, or with an impossible time.
    #[error(transparent)]
    Lineage(#[from] LineageError),

    /// The size of the largest record that a stream is to take.
    #[error("the largest record has {least} to {most} bytes, not {actual}")]
    MaxRecordBytes {
        /// The given number.
        actual: u64,
        /// The least allowed number.
        least: u64,
        /// The greatest allowed number.
        most: u64,
    },

    /// The warm throughput that a stream is to have.
    #[error("the warm throughput is up to {most} MiB a second, not {actual}")]
    WarmThroughput {
        /// The given number, in MiB a second.
        actual: u32,
        /// The greatest allowed number.
        most: u32,
    },

    /// How long a queue holds back the records that it gives out.
    #[error("a queue holds records back for up to {most} seconds, not for {actual}")]
    VisibilityTimeout {
        /// The given number, in seconds.
        actual: u64,
        /// The greatest allowed number.
        most: u32,
    },

    /// How often a queue gives out a record before it becomes a dead letter.
    #[error("a record is given out {least} to {most} times before it is a dead letter, not {actual} times")]
    MaxReceiveCount {
        /// The given number.
        actual: u32,
        /// The least allowed number.
        least: u32,
        /// The greatest allowed number.
        most: u32,
    },

    /// How long a member of a consumer group holds a shard without a call.
    #[error("a lease lasts {least} to {most} ms, not {actual}")]
    LeaseTime {
        /// The given number, in milliseconds.
        actual: u64,
        /// The least allowed number.
        least: u64,
        /// The greatest allowed number.
        most: u64,
    },

    /// A member of a consumer group cannot have a limit of zero shards.
    #[error("a member of a consumer group can hold at least one shard")]
    NoShards,

    /// A queue or a channel cannot begin at a time in the future.
    #[error("a queue or a channel cannot begin in the future")]
    ReaderInFuture,

    /// A queue or a channel cannot begin at a sequence number.
    #[error("a queue or a channel begins at TrimHorizon, Latest or AtTimestamp")]
    ReaderPosition,

    /// The template of the keys of a channel's objects.
    #[error("the key template {template:?} {reason}")]
    KeyTemplate {
        /// The given template.
        template: String,
        /// The problem.
        reason: &'static str,
    },

    /// The number of open shards for a stream.
    #[error(
        "a stream with {open} open shards cannot have {target}: it has 1 to {most} at any time, and all are split before \
         neighbours are merged"
    )]
    TargetShardCount {
        /// The present number.
        open: u32,
        /// The given number.
        target: u32,
        /// The greatest number at any time.
        most: u32,
    },

    /// The value of an attribute is too long.
    #[error("attribute {name} has {actual} bytes, and the most is {most}")]
    AttributeBytes {
        /// The attribute.
        name: String,
        /// Its length in bytes.
        actual: usize,
        /// The greatest length.
        most: usize,
    },

    /// [`StoreOptions::segment_bytes`](crate::StoreOptions::segment_bytes).
    #[error("segments have {least} to {most} bytes, not {actual}")]
    SegmentBytes {
        /// The given number.
        actual: u64,
        /// The least allowed number.
        least: u64,
        /// The greatest allowed number.
        most: u64,
    },

    /// How many bytes may wait for a commit in one shard.
    #[error("up to {most} bytes can wait for a commit in one shard, not {actual}")]
    WaitingBytes {
        /// The given number.
        actual: usize,
        /// The greatest allowed number.
        most: usize,
    },

    /// A store in memory cannot be opened [only to be read](crate::StoreOptions::read_only).
    #[error("a store in memory is not only read")]
    ReadOnlyInMemory,

    /// A store that is [followed](crate::StoreOptions::follow) cannot be copied.
    #[error("a store that is followed is copied by a backup, as `anabranch backup` makes one")]
    SnapshotOfFollowed,

    /// A copy of a store was to be made inside the directory of that store, or around it.
    #[error(
        "the store in {} cannot be copied into {}, since one of the two is inside the other; choose a directory beside it",
        store.display(), destination.display()
    )]
    CopyInside {
        /// The store's directory.
        store: PathBuf,
        /// The destination of the copy.
        destination: PathBuf,
    },

    /// A sequence number was to be the position in a whole stream.
    #[error(
        "a sequence number is a position in one shard; read a stream from TrimHorizon, Latest, AtTimestamp or a \
         checkpoint"
    )]
    PositionInOneShard,

    /// A shard cannot be trimmed to a position behind its end.
    #[error("{shard} ends in front of record number {end}, and cannot be trimmed to number {position}")]
    PositionBehindEnd {
        /// The shard.
        shard: ShardId,
        /// The given position.
        position: RecordNumber,
        /// The least number of the shard's next record.
        end: RecordNumber,
    },

    /// A checkpoint belongs to another stream than the one that it was used with, which may have had the same name.
    #[error(
        "the checkpoint is of stream number {} of store {:032x}, and {name} is stream number {} of store {:032x}; a \
         stream that was made again is read from its beginning",
        .of.1, .of.0, .used_with.1, .used_with.0
    )]
    ForeignCheckpoint {
        /// The name of the stream that it was used with.
        name: String,
        /// The store and the stream that it belongs to.
        of: (u128, StreamId),
        /// The store and the stream that it was used with.
        used_with: (u128, StreamId),
    },

    /// Every sequence number of the shard has been given out.
    #[error("the shard has used up its sequence numbers")]
    SequenceNumbersUsedUp,

    /// A repair would set segments aside, which its caller has to allow.
    #[error(
        "segments with records belong to no shard that the manifest knows, or do not say to which; restore the manifest, \
         or have them set aside"
    )]
    SetsAside,

    /// The record of the change is too large for the store, or does not fit its state.
    #[error("{reason}")]
    Change {
        /// The reason.
        reason: String,
    },
}

/// The kinds of names with 1 to 128 characters of `a-z A-Z 0-9 _ . -`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Named {
    /// A stream.
    Stream,
    /// A consumer of a stream.
    Consumer,
    /// A queue of a stream.
    Queue,
    /// A channel of a stream.
    Channel,
    /// A checkpoint of a reader.
    Checkpoint,
    /// A consumer group of a stream.
    Group,
    /// A member of a consumer group.
    Member,
    /// An attribute of a stream, a consumer, a queue, a channel or the store.
    Attribute,
}

fn in_front_of(of: Named, name: &str) -> String {
    match of {
        Named::Stream => String::new(),
        Named::Consumer => format!("consumer {name:?}: "),
        Named::Queue => format!("queue {name:?}: "),
        Named::Channel => format!("channel {name:?}: "),
        Named::Checkpoint => format!("checkpoint {name:?}: "),
        Named::Group => format!("consumer group {name:?}: "),
        Named::Member => format!("member {name:?}: "),
        Named::Attribute => format!("attribute {name:?}: "),
    }
}
