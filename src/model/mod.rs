//! The values of a stream store: shards, sequence numbers, hash keys and others.
//!
//! This floor knows Kinesis' arithmetic: how a partition key becomes a hash key, which shard of a [`Lineage`] owns it,
//! how splits and merges change a lineage, and how a record's place in its shard is written as a 56-digit sequence
//! number. Everything here is a plain value: the same input gives the same answer.
//!
//! It must not know files, locks, threads or the wire. Nothing here does I/O. Time enters as a [`Timestamp`] that the
//! caller took from its [`Clock`]. So lineage and routing can be tested exhaustively without a disk.
//!
//! Stored values derive serde's traits. Values whose parts must agree ([`HashKeyRange`], [`ShardId`],
//! [`SequenceNumber`], [`Lineage`]) are checked while they are deserialised, so that damage is reported where it is
//! read and not where it is used.

mod aggregate;
mod calendar_time;
mod channel_id;
mod checkpoint;
mod clock;
mod confirmed_time;
mod consumer_id;
mod consumer_status;
pub(crate) mod decimal;
mod descent;
mod destination;
mod gone_shards;
mod hash_key;
mod histogram;
pub mod limits;
mod lineage;
mod log_name;
mod position;
mod queue_id;
mod reader_start;
mod reader_status;
mod record;
mod record_number;
mod retention;
mod scaling;
mod sequence_number;
mod shard;
mod shard_id;
mod space;
mod stream;
mod stream_name;
mod u192;
pub(crate) mod wide;

pub use aggregate::{Aggregate, AggregatedRecord};
#[cfg(feature = "channels")]
pub(crate) use calendar_time::CalendarTime;
#[cfg(feature = "server")]
pub(crate) use calendar_time::date;
pub use channel_id::ChannelId;
pub use checkpoint::Checkpoint;
pub(crate) use checkpoint::{Advance, PositionChanges};
pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use confirmed_time::ClockStep;
#[cfg(test)]
pub(crate) use confirmed_time::Lag;
pub(crate) use confirmed_time::{CONFIRMATION, ClockNote, ClockReading, ConfirmedTime, Lags, Moment};
pub use consumer_id::ConsumerId;
pub use consumer_status::ConsumerStatus;
pub(crate) use descent::Descent;
pub use destination::{Compression, Destination, RecordFormat, StorageClass};
pub(crate) use gone_shards::{GoneShard, GoneShards};
pub use hash_key::{HashKey, HashKeyError, HashKeyRange, HashKeyRangeError};
pub use histogram::Histogram;
pub(crate) use histogram::{BUCKETS, bucket_of};
pub use lineage::{Lineage, LineageError, Reshard, ReshardStep, ShardFilter};
pub use log_name::LogName;
pub use position::StartingPosition;
pub use queue_id::QueueId;
pub(crate) use reader_start::ReaderStart;
pub use reader_status::ReaderStatus;
pub use record::{PartitionKey, PartitionKeyError, PutRecord, Record};
pub use record_number::RecordNumber;
pub use retention::{Retention, SizeLimits};
pub(crate) use scaling::{LOAD_WINDOW, Load, PEAK_DAYS, QUIET_TIME, Scaling, StreamLoad};
#[cfg(any(test, feature = "server"))]
pub(crate) use sequence_number::Decimals;
pub use sequence_number::{ParsedSequenceNumber, SequenceNumber, SequenceNumberError};
pub use shard::{ChildShard, Shard, ShardClosed};
pub use shard_id::{ShardId, ShardIdError};
pub use space::Space;
pub use stream::{RecordDistribution, StreamId, StreamMode, StreamModeError, StreamStatus};
pub(crate) use stream_name::{StreamName, is_namespace};
pub use stream_name::{StreamNameError, check_stream_name};
