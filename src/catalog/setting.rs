//! The settings that the engine acts on.

use serde::{Deserialize, Serialize};

use crate::encryption::KeyFingerprint;
use crate::model::{RecordDistribution, Retention, SizeLimits, StreamMode, Timestamp};

/// A setting, by kind of resource. Variants are only added at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Setting {
    /// Of a stream.
    Mode(StreamMode),
    /// Of a stream. Records that arrived before the floor stay hidden, however long the retention becomes.
    Retention {
        time: Retention,
        horizon_floor: Timestamp,
    },
    /// Of a stream.
    MaxRecordBytes(u32),
    /// Of a stream: the throughput that it must always be able to take if it is on demand, in MiB a second. One shard
    /// takes 1 MiB a second.
    WarmThroughput(u32),
    /// Of a stream.
    Distribution(RecordDistribution),
    /// Of a stream: the key of its records from now on, if they are encrypted.
    Encryption(Option<StreamKey>),
    /// Of a queue: how long a record that was given out is held back, unless its receiver sets another time.
    VisibilityTimeout { seconds: u32 },
    /// Of a queue: how often a record is given out before it becomes a dead letter; without a number there is no limit.
    MaxReceiveCount(Option<u32>),
    /// Of a channel: how old a record may get before it is delivered.
    Freshness { millis: u64 },
    /// Of a stream.
    SizeLimits(SizeLimits),
}

impl Setting {
    /// The settings of a stream that no edit has changed. They are part of the format: edits that make a stream leave
    /// them out.
    pub(crate) fn initial_of_stream() -> [Setting; 6] {
        [
            Setting::Mode(StreamMode::Provisioned),
            Setting::Retention {
                time: Retention::hours(24),
                horizon_floor: Timestamp::EPOCH,
            },
            Setting::MaxRecordBytes(1024 * 1024),
            Setting::WarmThroughput(0),
            Setting::Distribution(RecordDistribution::PartitionKey),
            Setting::SizeLimits(SizeLimits::NONE),
        ]
    }
}

/// The key of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StreamKey {
    /// As the caller wrote it.
    pub(crate) id: String,
    /// The key that it stood for. If there is none, the id is only shown, and nothing is encrypted.
    pub(crate) fingerprint: Option<KeyFingerprint>,
}
