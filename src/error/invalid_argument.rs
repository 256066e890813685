//! Arguments that are refused, by kind and with the facts.

use crate::model::{LineageError, PartitionKeyError, RecordNumber, ShardId, StreamId, StreamNameError};

/// What is wrong with an argument. A program can match on it, and finds the numbers in it that the text has.
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
    /// A name is not made as names of its kind are.
    #[error("{}{error}", in_front_of(*.of, name))]
    Name {
        /// What was to have the name.
        of: Named,
        /// The name.
        name: String,
        /// What is wrong with it.
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
        /// How many there were.
        actual: usize,
        /// How many there can be.
        most: usize,
    },

    /// An option of a store on a cluster.
    #[error("{reason}")]
    ClusterOption {
        /// What is wrong with it.
        reason: String,
    },

    /// A partition key is empty or too long.
    #[error(transparent)]
    PartitionKey(#[from] PartitionKeyError),

    /// The stream cannot have such shards: too many, or none, or ones that are made at such a time.
    #[error(transparent)]
    Lineage(#[from] LineageError),

    /// The size of the largest record that a stream is to take.
    #[error("the largest record has {least} to {most} bytes, not {actual}")]
    MaxRecordBytes {
        /// What was asked for.
        actual: u64,
        /// The least that can be.
        least: u64,
        /// The most that can be.
        most: u64,
    },

    /// The warm throughput that a stream is to have.
    #[error("the warm throughput is up to {most} MiB a second, not {actual}")]
    WarmThroughput {
        /// What was asked for, in MiB a second.
        actual: u32,
        /// The most that can be.
        most: u32,
    },

    /// For how long a queue is to hold back what it gives out.
    #[error("a queue holds records back for up to {most} seconds, not for {actual}")]
    VisibilityTimeout {
        /// What was asked for, in seconds.
        actual: u64,
        /// The most that can be.
        most: u32,
    },

    /// How often a queue is to give a record out before that is a dead letter.
    #[error("a record is given out {least} to {most} times before it is a dead letter, not {actual} times")]
    MaxReceiveCount {
        /// What was asked for.
        actual: u32,
        /// The least that can be.
        least: u32,
        /// The most that can be.
        most: u32,
    },

    /// For how long a member of a consumer group is to hold a shard without a call.
    #[error("a lease lasts {least} to {most} ms, not {actual}")]
    LeaseTime {
        /// What was asked for, in milliseconds.
        actual: u64,
        /// The least that can be.
        least: u64,
        /// The most that can be.
        most: u64,
    },

    /// A member of a consumer group was to hold no shard.
    #[error("a member of a consumer group can hold at least one shard")]
    NoShards,

    /// A queue or a channel was to begin at a time that has not come yet.
    #[error("a queue or a channel cannot begin in the future")]
    ReaderInFuture,

    /// A queue or a channel was to begin at a sequence number.
    #[error("a queue or a channel begins at TrimHorizon, Latest or AtTimestamp")]
    ReaderPosition,

    /// The template of the keys of a channel's objects.
    #[error("the key template {template:?} {reason}")]
    KeyTemplate {
        /// What was asked for.
        template: String,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// How many open shards a stream is to be brought to.
    #[error(
        "a stream with {open} open shards cannot have {target}: it has 1 to {most} at any time, and all are split before \
         neighbours are merged"
    )]
    TargetShardCount {
        /// How many it has.
        open: u32,
        /// What was asked for.
        target: u32,
        /// The most that it can have at any time.
        most: u32,
    },

    /// The value of an attribute is too long.
    #[error("attribute {name} has {actual} bytes, and the most is {most}")]
    AttributeBytes {
        /// The attribute.
        name: String,
        /// What it has.
        actual: usize,
        /// The most that it can have.
        most: usize,
    },

    /// [`StoreOptions::segment_bytes`](crate::StoreOptions::segment_bytes).
    #[error("segments have {least} to {most} bytes, not {actual}")]
    SegmentBytes {
        /// What was asked for.
        actual: u64,
        /// The least that can be.
        least: u64,
        /// The most that can be.
        most: u64,
    },

    /// How many bytes may wait for a commit in one shard.
    #[error("up to {most} bytes can wait for a commit in one shard, not {actual}")]
    WaitingBytes {
        /// What was asked for.
        actual: usize,
        /// The most that can be.
        most: usize,
    },

    /// A store in memory was to be [only read](crate::StoreOptions::read_only).
    #[error("a store in memory is not only read")]
    ReadOnlyInMemory,

    /// A store that is [followed](crate::StoreOptions::follow) was to be copied.
    #[error("a store that is followed is copied by a backup, as `anabranch backup` makes one")]
    SnapshotOfFollowed,

    /// A sequence number was to be the position in a whole stream.
    #[error(
        "a sequence number is a position in one shard; read a stream from TrimHorizon, Latest, AtTimestamp or a \
         checkpoint"
    )]
    PositionInOneShard,

    /// A shard was to be trimmed to a position that it has not come to.
    #[error("{shard} ends in front of record number {end}, and cannot be trimmed to number {position}")]
    PositionBehindEnd {
        /// The shard.
        shard: ShardId,
        /// What was asked for.
        position: RecordNumber,
        /// The number that the shard's next record has at least.
        end: RecordNumber,
    },

    /// A checkpoint is of another stream than the one that it was used with, which may have had the same name.
    #[error(
        "the checkpoint is of stream number {} of store {:032x}, and {name} is stream number {} of store {:032x}; a \
         stream that was made again is read from its beginning",
        .of.1, .of.0, .used_with.1, .used_with.0
    )]
    ForeignCheckpoint {
        /// The stream that it was used with.
        name: String,
        /// The store and the stream that it is of.
        of: (u128, StreamId),
        /// The store and the stream that it was used with.
        used_with: (u128, StreamId),
    },

    /// Every sequence number of the shard has been given out.
    #[error("the shard has used up its sequence numbers")]
    SequenceNumbersUsedUp,

    /// A repair would set segments aside, which a person has to say.
    #[error(
        "segments with records belong to no shard that the manifest knows, or do not say to which; restore the manifest, \
         or have them set aside"
    )]
    SetsAside,

    /// What the store would have to write down of the change is too much for it, or does not fit what it has.
    #[error("{reason}")]
    Change {
        /// Why.
        reason: String,
    },
}

/// What has a name of 1 to 128 characters of `a-z A-Z 0-9 _ . -`.
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
