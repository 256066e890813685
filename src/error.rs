//! Errors, as one enum whose variants a program can match on.

#[cfg(feature = "server")]
mod for_clients;
mod invalid_argument;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::model::{
    ConsumerId, HashKey, HashKeyRange, ReaderStatus, RecordNumber, Retention, SequenceNumber, ShardId,
    StreamNameError, StreamStatus,
};

#[cfg(all(test, feature = "server"))]
pub(crate) use for_clients::tests::failures_at;
pub use invalid_argument::{InvalidArgument, Named};

/// The result of this crate's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation failed.
///
/// An operation that returned an error has stored nothing, with exceptions: after [`Error::Poisoned`] from a put, it is
/// unknown until the store is opened again whether the record survives, and after [`Error::Cluster`] or
/// [`Error::Fenced`] until the record is read.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No stream has this name.
    #[error("stream {name} not found")]
    StreamNotFound {
        /// The name that was asked for.
        name: String,
    },

    /// A stream of this name exists, in any state.
    #[error("stream {name} already exists")]
    StreamExists {
        /// The name that is taken.
        name: String,
    },

    /// The stream is in a state that does not allow this.
    #[error("stream {name} is {status}, and this needs it to be ACTIVE")]
    StreamNotActive {
        /// The stream.
        name: String,
        /// Its state.
        status: StreamStatus,
    },

    /// The stream has no such shard, or it has expired.
    #[error("{shard} does not exist in stream {stream}")]
    ShardNotFound {
        /// The stream.
        stream: String,
        /// The shard that was asked for.
        shard: ShardId,
    },

    /// The shard was split or merged before, so it takes no records and cannot be resharded again.
    #[error("{shard} in stream {stream} has already been merged or split")]
    ShardClosed {
        /// The stream.
        stream: String,
        /// The closed shard.
        shard: ShardId,
    },

    /// A shard cannot be split at this hash key: both children must own at least two keys.
    #[error("{shard} owns hash keys {} to {} and cannot be split at {key}: choose a key greater than {} + 1 and less than {}",
        range.start(), range.end(), range.start(), range.end())]
    InvalidSplit {
        /// The shard to split.
        shard: ShardId,
        /// The first hash key that the upper child would have owned.
        key: HashKey,
        /// The range that the shard owns.
        range: HashKeyRange,
    },

    /// Two shards cannot be merged because the second one's range does not begin where the first one's ends.
    #[error("{first} and {second} in stream {stream} are not an adjacent pair; name the lower one first")]
    NotAdjacent {
        /// The stream.
        stream: String,
        /// The shard named first.
        first: ShardId,
        /// The shard named second.
        second: ShardId,
    },

    /// A sequence number does not belong to the shard that it was used with.
    #[error("sequence number {number} {reason}")]
    ForeignSequenceNumber {
        /// The number.
        number: SequenceNumber,
        /// The part that does not match.
        reason: ForeignReason,
    },

    /// A reader comes back to records that have expired meanwhile. It has not read them, and nothing else is wrong. It
    /// can go on at `first_kept`.
    #[error("{shard} does not have the records from number {from} on any more: they were trimmed{}", goes_on_at(*first_kept))]
    Trimmed {
        /// The shard.
        shard: ShardId,
        /// The first record that is missed. Later ones may be missed too.
        from: RecordNumber,
        /// The first record that still exists, or the least number of the next one to be put. `None` if the whole shard
        /// has expired: then its children, if it has any, have the records that followed. The ends of a stream's 1,024
        /// youngest expired shards are known; for an older shard this error is given even to a reader that had read all
        /// of it.
        first_kept: Option<RecordNumber>,
    },

    /// Nothing can come after the last number of a closed shard.
    #[error("sequence number {number} is the greatest that its shard can have, so nothing comes after it")]
    SequenceNumberAtEnd {
        /// The number.
        number: SequenceNumber,
    },

    /// A value is outside the range of the operation.
    #[error(transparent)]
    InvalidArgument(#[from] InvalidArgument),

    /// The stream has no such consumer registered.
    #[error("stream {stream} has no consumer number {consumer}")]
    ConsumerNotFound {
        /// The stream.
        stream: String,
        /// The consumer that was asked for.
        consumer: ConsumerId,
    },

    /// The stream has a consumer of this name registered already.
    #[error("stream {stream} has a consumer {consumer} already")]
    ConsumerExists {
        /// The stream.
        stream: String,
        /// The name of both consumers.
        consumer: String,
    },

    /// More consumers than the caller allows. None was registered.
    #[error("stream {stream} has {limit} consumers already, and the most is {limit}")]
    TooManyConsumers {
        /// The stream.
        stream: String,
        /// How many the caller allows.
        limit: usize,
    },

    /// More consumers that are being created than the caller allows. None was registered.
    #[error("stream {stream} has {limit} consumers that are being created, and the most is {limit}")]
    TooManyNewConsumers {
        /// The stream.
        stream: String,
        /// How many the caller allows.
        limit: usize,
    },

    /// The queue does not exist, or no longer does.
    #[error("stream {stream} has no queue {queue}")]
    QueueNotFound {
        /// The stream.
        stream: String,
        /// The queue that was asked for.
        queue: String,
    },

    /// A stream of the namespace has a queue of this name already.
    #[error("there is a queue {queue} already")]
    QueueExists {
        /// The name of both queues.
        queue: String,
    },

    /// The queue is in a state in which it gives out no records and cannot be changed.
    #[error("queue {queue} is {status}")]
    QueueNotActive {
        /// The queue.
        queue: String,
        /// Its state.
        status: ReaderStatus,
    },

    /// A stream with queues is not deleted, since the queues would lose their records, and its mode is not changed to
    /// one that they do not support.
    #[error("stream {stream} has {count} queues, which are to be deleted first")]
    StreamHasQueues {
        /// The stream.
        stream: String,
        /// How many it has.
        count: usize,
    },

    /// A queue that needs a stream [on demand](crate::StreamMode::OnDemand) cannot be made over another one.
    #[error("stream {stream} is not on demand, and the queue needs one that is")]
    StreamNotOnDemand {
        /// The stream.
        stream: String,
    },

    /// The channel does not exist, or no longer does.
    #[error("stream {stream} has no channel {channel}")]
    ChannelNotFound {
        /// The stream.
        stream: String,
        /// The channel that was asked for.
        channel: String,
    },

    /// A stream of the namespace has a channel of this name already.
    #[error("there is a channel {channel} already")]
    ChannelExists {
        /// The name of both channels.
        channel: String,
    },

    /// The channel is in a state in which it cannot be changed.
    #[error("channel {channel} is {status}")]
    ChannelNotActive {
        /// The channel.
        channel: String,
        /// Its state.
        status: ReaderStatus,
    },

    /// A stream with channels is not deleted: they would lose their undelivered records.
    #[error("stream {stream} has {count} channels, which are to be deleted first")]
    StreamHasChannels {
        /// The stream.
        stream: String,
        /// How many it has.
        count: usize,
    },

    /// More channels of a stream than the caller allows. None was made.
    #[error("stream {stream} can have {limit} channels of this kind and has them already")]
    TooManyChannels {
        /// The stream.
        stream: String,
        /// How many the caller allows.
        limit: usize,
    },

    /// The greatest number of records of the queue are given out and not acknowledged.
    #[error(
        "queue {queue} has {limit} records that were given out and are not acknowledged, and the most is {limit}"
    )]
    TooManyUnacknowledged {
        /// The queue.
        queue: String,
        /// The greatest number.
        limit: usize,
    },

    /// The stored checkpoint is further on in some shard, by existing records, than the one to be saved. Nothing has
    /// changed. The checkpoint can be [reset](crate::Stream::reset_checkpoint) instead.
    #[error(
        "checkpoint {checkpoint} of stream {stream} is at record {saved} of {shard}, and what was to be saved is behind \
         that; to go back, reset it"
    )]
    CheckpointBehind {
        /// The stream.
        stream: String,
        /// The name of the checkpoint.
        checkpoint: String,
        /// The first shard in which it would fall.
        shard: ShardId,
        /// The number of the next record to read there, by the stored checkpoint; [`RecordNumber::END`] if the whole
        /// shard is read.
        saved: RecordNumber,
    },

    /// The stored checkpoint is not the one that the caller expected. Nothing has changed.
    #[error("checkpoint {checkpoint} of stream {stream} is not what was expected")]
    CheckpointChanged {
        /// The stream.
        stream: String,
        /// The name of the checkpoint.
        checkpoint: String,
    },

    /// The consumer group does not exist, or no longer does.
    #[error("stream {stream} has no consumer group {group}")]
    GroupNotFound {
        /// The stream.
        stream: String,
        /// The group that was asked for.
        group: String,
    },

    /// The stream has the greatest number of checkpoints with which another group can be made
    /// ([`limits::MAX_GROUPS_PER_STREAM`](crate::limits::MAX_GROUPS_PER_STREAM)). None was made.
    #[error(
        "stream {stream} has {limit} consumer groups and other checkpoints, and cannot have another group"
    )]
    TooManyGroups {
        /// The stream.
        stream: String,
        /// The greatest number.
        limit: usize,
    },

    /// The group has a member of this name, whose leases have not run out.
    #[error("consumer group {group} has a member {member} already")]
    MemberExists {
        /// The group.
        group: String,
        /// The name of both members.
        member: String,
    },

    /// The group no longer has this member. Its leases had run out, and another one has replaced it.
    #[error(
        "consumer group {group} does not have this member {member} any more: another one has taken its place"
    )]
    MemberNotFound {
        /// The group.
        group: String,
        /// The name of the member.
        member: String,
    },

    /// The group has the greatest number of members
    /// ([`limits::MAX_MEMBERS_PER_GROUP`](crate::limits::MAX_MEMBERS_PER_GROUP)).
    #[error("consumer group {group} has {limit} members, and the most is {limit}")]
    TooManyMembers {
        /// The group.
        group: String,
        /// The greatest number.
        limit: usize,
    },

    /// The member no longer holds the shard by the lease with which it was given the records, so nothing was committed:
    /// the lease had run out and another member has taken the shard, or the group was reset, or the shard is committed
    /// to its end. The records are given out again, unless they were committed before.
    #[error("member {member} of consumer group {group} has lost its lease of {shard}")]
    LeaseLost {
        /// The group.
        group: String,
        /// The member.
        member: String,
        /// The shard.
        shard: ShardId,
    },

    /// More tags than the caller allows. None was changed.
    #[error("there would be {count} tags, and the most is {limit}")]
    TooManyTags {
        /// How many there would be.
        count: usize,
        /// How many the caller allows.
        limit: usize,
    },

    /// A retention period cannot be set.
    #[error("a retention of {requested} cannot be set on a stream that has {current}: {reason}")]
    InvalidRetention {
        /// The requested period.
        requested: Retention,
        /// The stream's period.
        current: Retention,
        /// The bound that it breaks.
        reason: RetentionReason,
    },

    /// A record's data and partition key together are longer than the stream takes.
    #[error(
        "record {index} of the call has {bytes} bytes of data and partition key; the stream takes {limit}"
    )]
    RecordTooLarge {
        /// The record's place in the call, from 0.
        index: usize,
        /// Its bytes of data and partition key.
        bytes: usize,
        /// The stream's limit.
        limit: usize,
    },

    /// The records of one call are together larger than a call can put
    /// ([`limits::MAX_BATCH_BYTES`](crate::limits::MAX_BATCH_BYTES)). None was stored.
    #[error(
        "the records of the call have {bytes} bytes, where each counts its data, its partition key and 16 bytes; a \
         call takes {limit}: put them in several calls"
    )]
    BatchTooLarge {
        /// Their bytes, in all.
        bytes: usize,
        /// The limit of a call.
        limit: usize,
    },

    /// Another opener holds the store.
    #[error("{} is locked{}: a store is open in one program at a time, or in several that only read it", path.display(), held_by(*.holder))]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// The process that holds it, if it said so.
        holder: Option<u32>,
    },

    /// The store was opened [only to be read](crate::StoreOptions::read_only).
    #[error(
        "the store is open read-only and takes no changes: open it without read_only, or change a copy of it"
    )]
    ReadOnly,

    /// The directory has files, but no store. A store is made in an empty or a new directory.
    #[error("{} is not an anabranch store: it has files but no CURRENT", path.display())]
    NotAStore {
        /// The directory.
        path: PathBuf,
    },

    /// A store was being copied into the directory, by a backup or a restore that is under way or was interrupted.
    /// There is no store in it. Do it again, which begins from the start, or remove the directory.
    #[error("{} has a part of a backup or of a restored store that was not finished; do it again, or remove the directory", path.display())]
    UnfinishedCopy {
        /// The directory.
        path: PathBuf,
    },

    /// A store is only copied into a directory that is empty, or does not exist yet.
    #[error("{} is not empty; choose an empty or a new directory", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },

    /// The files were written by another version of this crate.
    #[error("{} has format {found}, and this version reads format {supported}: use the anabranch that wrote it", path.display())]
    UnsupportedFormat {
        /// The file.
        path: PathBuf,
        /// The format it has.
        found: u16,
        /// The format that this version reads.
        supported: u16,
    },

    /// The key for a stream's records, or of existing records, is not among the keys that the store was opened with.
    /// Nothing is damaged: with the key everything works again.
    #[error("{}; add the key to those that the store is opened with", missing_key(id.as_deref(), *fingerprint))]
    KeyNotFound {
        /// The key's id, if it is known. It is not known if the stream has another key by now.
        id: Option<String>,
        /// The key's fingerprint, if records were encrypted with it.
        fingerprint: Option<u64>,
    },

    /// A later version of this crate compressed or encrypted a segment. Nothing is damaged.
    #[error("{} has codec {codec} and key {key}, which this version does not know: use a newer anabranch", path.display())]
    UnknownEncoding {
        /// The segment's file.
        path: PathBuf,
        /// The codec; 0 is none.
        codec: u32,
        /// The key; 0 is none.
        key: u64,
    },

    /// Bytes on the disk differ from those that were written, although they had been made durable.
    #[error("{} is damaged at byte {offset}: {reason}", path.display())]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// Where the damage begins.
        offset: u64,
        /// What is invalid there.
        reason: String,
    },

    /// There was no room on the disk to prepare the next write. The store goes on: puts work again once there is room.
    #[error("no space left to {operation} {}: free some, or shorten the retention", path.display())]
    StorageFull {
        /// The operation that failed.
        operation: &'static str,
        /// The file that did not fit.
        path: PathBuf,
    },

    /// This process, or the system, has reached its limit of open files. The store goes on: the operation works again
    /// once some are closed. Raise the limit with `ulimit -n` or
    /// [`raise_open_file_limit`](crate::disk::raise_open_file_limit), or lower
    /// [`max_open_segments`](crate::StoreOptions::max_open_segments).
    #[error("cannot {operation} {}: too many files are open; raise the limit (ulimit -n), or keep fewer segments open", path.display())]
    TooManyOpenFiles {
        /// The operation that failed.
        operation: &'static str,
        /// The file that could not be opened.
        path: PathBuf,
    },

    /// A write or a sync has failed since the store was opened, so nothing more is written. Reads go on. Open the store
    /// again to find out what is on the disk.
    #[error("writing stopped after an earlier failure ({first}); open the store again")]
    Poisoned {
        /// The first failure.
        first: Arc<Error>,
    },

    /// A place in a file cannot be read, for example a bad sector. The records before it in the shard are served, other
    /// shards go on, and so do puts. The next read tries again.
    #[error("cannot read {} at byte {offset}: {source}; what is before is served", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The offset of the unreadable frame, which is a group of records.
        offset: u64,
        /// The operating system's error.
        source: Arc<io::Error>,
    },

    /// The operating system refused a call.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// The operation that failed.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The operating system's error.
        source: Arc<io::Error>,
    },

    /// A cluster is not safe for records, or does not match the options. Nothing was changed there.
    #[error("the cluster cannot keep the store: {problem}")]
    ClusterUnfit {
        /// The problem, and what to do about it.
        problem: String,
    },

    /// A cluster did not do what was requested: it cannot be reached, has no leader, or refused. A record of a put that
    /// failed with this error may be stored all the same, if the answer was lost and the cluster did not come back in
    /// time.
    #[error("the cluster did not {operation}: {reason}")]
    Cluster {
        /// The requested operation.
        operation: &'static str,
        /// The cluster's answer, or that it gave none.
        reason: String,
    },

    /// Another opener has the store on a cluster, and answers.
    #[error("another server has {store} open: one at a time can")]
    InUse {
        /// The name of the store.
        store: String,
    },

    /// Another opener has taken over the store on a cluster, while this one was not reachable. Everything that this one
    /// had acknowledged is stored. It writes nothing more.
    #[error(
        "another server has taken over {store}, and this one writes nothing more: it was not heard of meanwhile"
    )]
    Fenced {
        /// The name of the store.
        store: String,
    },

    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl Error {
    pub(crate) fn io(operation: &'static str, path: &Path, source: io::Error) -> Self {
        match is_out_of_files(&source) {
            true => Self::TooManyOpenFiles {
                operation,
                path: path.to_owned(),
            },
            false => Self::Io {
                operation,
                path: path.to_owned(),
                source: Arc::new(source),
            },
        }
    }

    pub(crate) fn unreadable(path: &Path, offset: u64, source: io::Error) -> Self {
        Self::Unreadable {
            path: path.to_owned(),
            offset,
            source: Arc::new(source),
        }
    }

    /// A thread of this name cannot be started.
    pub(crate) fn no_thread(name: &'static str, source: io::Error) -> Self {
        Self::io("start the thread", Path::new(name), source)
    }

    /// An error of an operation that only prepares something, where a full disk is not a failure of the store.
    pub(crate) fn preparing(operation: &'static str, path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::StorageFull {
                operation,
                path: path.to_owned(),
            },
            _ => Self::io(operation, path, source),
        }
    }

    /// Whether the disk or the process had no room to prepare something. The store goes on, and the same call works
    /// once there is room.
    pub(crate) fn is_want_of_room(&self) -> bool {
        matches!(self, Self::StorageFull { .. } | Self::TooManyOpenFiles { .. })
    }

    pub(crate) fn corrupt(path: &Path, offset: u64, reason: impl Into<String>) -> Self {
        Self::Corrupt {
            path: path.to_owned(),
            offset,
            reason: reason.into(),
        }
    }

    /// A change that cannot be recorded.
    pub(crate) fn bad_change(reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self::InvalidArgument(InvalidArgument::Change { reason })
    }

    /// The error for an invalid name.
    pub(crate) fn bad_name(of: Named, name: &str, error: StreamNameError) -> Self {
        let name = name.to_owned();
        Self::InvalidArgument(InvalidArgument::Name { of, name, error })
    }
}

/// Why a sequence number is foreign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForeignReason {
    /// It encodes another shard of some stream.
    OtherShard {
        /// The shard it encodes.
        encoded: ShardId,
        /// The shard it was used with.
        used_with: ShardId,
    },
    /// It encodes this shard's number, but another creation time.
    OtherStream,
}

impl std::fmt::Display for ForeignReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OtherShard { encoded, used_with } => write!(f, "is of {encoded}, not of {used_with}"),
            Self::OtherStream => f.write_str("did not come from this stream"),
        }
    }
}

/// The bound that a retention period breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetentionReason {
    /// An increase to less than the present period.
    IncreaseWouldShorten,
    /// A decrease to more than the present period.
    DecreaseWouldLengthen,
}

impl std::fmt::Display for RetentionReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::IncreaseWouldShorten => "an increase cannot shorten it",
            Self::DecreaseWouldLengthen => "a decrease cannot lengthen it",
        })
    }
}

/// `EMFILE`, of the process, or `ENFILE`, of the system.
pub(crate) fn is_out_of_files(error: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}

fn goes_on_at(first_kept: Option<RecordNumber>) -> String {
    match first_kept {
        Some(number) => format!("; the first that is kept is number {number}"),
        None => ", with the whole shard".to_owned(),
    }
}

fn missing_key(id: Option<&str>, fingerprint: Option<u64>) -> String {
    match (id, fingerprint) {
        (Some(id), Some(fingerprint)) => {
            format!("the store has no key {id:?} with the fingerprint {fingerprint:016x}")
        }
        (Some(id), None) => format!("the store has no key {id:?}"),
        (None, fingerprint) => format!(
            "the store has no key with the fingerprint {:016x}",
            fingerprint.unwrap_or_default()
        ),
    }
}

fn held_by(holder: Option<u32>) -> String {
    holder.map_or_else(String::new, |process| format!(" by process {process}"))
}
