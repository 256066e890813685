//! Amazon Kinesis streams on your own disk.

mod catalog;
pub mod disk;
mod error;
mod log;
pub mod model;
mod store;
mod sync;

pub use error::{Error, ForeignReason, Result, RetentionReason};
pub use log::{Durability, ReadLimit};

pub use model::limits;
pub use model::{
    Checkpoint, ChildShard, Clock, HashKey, HashKeyError, HashKeyRange, HashKeyRangeError, Lineage,
    LineageError, ManualClock, ParsedSequenceNumber, PartitionKey, PartitionKeyError, PutRecord, Record,
    RecordNumber, Reshard, SequenceNumber, SequenceNumberError, Shard, ShardClosed, ShardFilter, ShardId,
    ShardIdError, StartingPosition, StreamId, StreamMode, StreamModeError, StreamNameError, StreamStatus,
    SystemClock, Timestamp, check_stream_name,
};
pub use store::{
    Append, CreateStream, GetRecords, Put, ShardIterator, Store, StoreOptions, Stream, StreamDescription,
    StreamSummary,
};
