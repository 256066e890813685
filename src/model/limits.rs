//! The limits of the engine itself: sizes and counts.
//!
//! Limits of one request (how many records a PutRecords may have, how many bytes a reply has) belong to the server.

/// The longest name of a stream, in characters.
pub const MAX_STREAM_NAME_CHARS: usize = 128;

/// The longest name of a namespace, in characters.
pub const MAX_NAMESPACE_CHARS: usize = 128;

/// The longest name of an attribute, in characters.
pub const MAX_ATTRIBUTE_NAME_CHARS: usize = 128;

/// The longest value of an attribute, in bytes: it is kept in memory.
pub const MAX_ATTRIBUTE_BYTES: usize = 64 * 1024;

/// The longest partition key, in Unicode characters (up to four bytes each).
pub const MAX_PARTITION_KEY_CHARS: usize = 256;

/// The default limit of a stream's records: 1 MiB of data and partition key together.
pub const DEFAULT_MAX_RECORD_BYTES: u32 = 1024 * 1024;

/// The largest record that a stream can be made to accept: 10 MiB of data and partition key together.
pub const LARGEST_RECORD_BYTES: u32 = 10 * 1024 * 1024;

/// The limit of one call that puts: 64 MiB over all of its records, where each counts its data, its partition key and
/// 16 bytes.
pub const MAX_BATCH_BYTES: usize = 64 * 1024 * 1024;

/// How many shards of one stream can be open at a time.
pub const MAX_SHARDS_PER_STREAM: u32 = 100_000;

/// How many consumer groups and other saved checkpoints a stream can have when another group is made.
pub const MAX_GROUPS_PER_STREAM: usize = 1_000;

/// How many members a consumer group can have.
pub const MAX_MEMBERS_PER_GROUP: usize = 1_000;

/// The shortest time, in milliseconds, for which a member of a consumer group can hold a shard without a call.
pub const MIN_LEASE_MILLIS: u64 = 100;

/// The longest time, in milliseconds, for which a member of a consumer group can hold a shard without a call: 24 hours.
pub const MAX_LEASE_MILLIS: u64 = 86_400_000;

/// How long a queue holds back a record that it has given out, by default, in seconds.
pub const DEFAULT_VISIBILITY_SECONDS: u32 = 30;

/// The longest time for which a queue can hold back a record, in seconds: 12 hours.
pub const MAX_VISIBILITY_SECONDS: u32 = 43_200;

/// How often a queue gives out a record, by default, before it becomes a dead letter.
pub const DEFAULT_MAX_RECEIVE_COUNT: u32 = 6;

/// The greatest setting of how often a queue gives out a record before it becomes a dead letter.
pub const LARGEST_MAX_RECEIVE_COUNT: u32 = 1000;

/// How old a record may get before a channel delivers it, by default, in milliseconds: 5 minutes.
pub const DEFAULT_FRESHNESS_MILLIS: u64 = 300_000;

/// How many records of a queue can be given out and not acknowledged, not counting dead letters: each takes memory.
pub const MAX_UNACKNOWLEDGED: usize = 120_000;

/// How many dead letters a queue can have: each takes memory. At that number, a record that would become one is given
/// out again.
pub const MAX_DEAD_LETTERS: usize = 120_000;

/// The most records that one receive gives out.
pub const MAX_RECEIVED: usize = 10_000;
