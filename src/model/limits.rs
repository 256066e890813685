//! The sizes and counts that the engine itself holds to.
//!
//! Limits of one request (how many records a PutRecords may carry, how many bytes a reply has) belong to the server.

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

/// The largest record of a stream that does not say otherwise: 1 MiB of data and partition key together.
pub const DEFAULT_MAX_RECORD_BYTES: u32 = 1024 * 1024;

/// The largest record that a stream can be made to accept: 10 MiB of data and partition key together.
pub const LARGEST_RECORD_BYTES: u32 = 10 * 1024 * 1024;

/// The most that one call can put: 64 MiB of all its records, where each counts its data, its partition key and 16 bytes.
pub const MAX_BATCH_BYTES: usize = 64 * 1024 * 1024;

/// How long a new stream keeps its records, and the shortest time that one can, in hours.
pub const MIN_RETENTION_HOURS: u32 = 24;

/// The longest time that a stream can keep its records, in hours: 365 days.
pub const MAX_RETENTION_HOURS: u32 = 8760;

/// How many shards of one stream can be open at a time.
pub const MAX_SHARDS_PER_STREAM: u32 = 100_000;
