//! Amazon Kinesis streams on your own disk.

pub mod model;

pub use model::limits;
pub use model::{
    ChildShard, Clock, HashKey, HashKeyError, HashKeyRange, HashKeyRangeError, Lineage, LineageError,
    ManualClock, ParsedSequenceNumber, PartitionKey, PartitionKeyError, PutRecord, Record, RecordNumber,
    Reshard, SequenceNumber, SequenceNumberError, Shard, ShardClosed, ShardFilter, ShardId, ShardIdError,
    StartingPosition, StreamId, StreamMode, StreamModeError, StreamNameError, StreamStatus, SystemClock,
    Timestamp, check_stream_name,
};
