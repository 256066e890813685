//! What the engine acts on.

use serde::{Deserialize, Serialize};

use crate::encryption::KeyFingerprint;
use crate::model::{RecordDistribution, Retention, SizeLimits, StreamMode, Timestamp};

/// What the engine acts on, by kind of resource. Variants are only added at the end.
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
    /// Of a stream: what it is to be able to take if it scales by itself, in MiB a second, each of which is a shard.
    WarmThroughput(u32),
    /// Of a stream.
    Distribution(RecordDistribution),
    /// Of a stream: what its records are encrypted with from now on, if they are.
    Encryption(Option<StreamKey>),
    /// Of a queue: for how long a record that was given out is not given out again, unless its receiver says another time.
    VisibilityTimeout { seconds: u32 },
    /// Of a queue: how often a record is given out before it is a dead letter; without a number it never is one.
    MaxReceiveCount(Option<u32>),
    /// Of a channel: how old a record gets before it is delivered.
    Freshness { millis: u64 },
    /// Of a stream.
    SizeLimits(SizeLimits),
}

/// The key of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StreamKey {
    /// As the caller wrote it.
    pub(crate) id: String,
    /// The key that it meant. If there is none, the id is only shown, and nothing is encrypted.
    pub(crate) fingerprint: Option<KeyFingerprint>,
}
