//! The destination and the format of a channel's objects.

use serde::{Deserialize, Serialize};

/// The objects that a channel makes of a stream's records.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Destination {
    /// The bucket that they are in.
    pub bucket: String,
    /// The template of their keys, as
    /// [`docs/channels.md`](https://github.com/anabranch/anabranch/blob/main/docs/channels.md) describes it. Without
    /// one, their keys are as Kinesis makes them.
    pub key_template: Option<String>,
    /// The format of the records, which decides how they are joined.
    pub format: RecordFormat,
    /// How objects are compressed.
    pub compression: Compression,
    /// The class of storage in an S3-compatible endpoint.
    pub storage_class: StorageClass,
    /// The KMS key for an S3-compatible endpoint. A directory cannot encrypt, and refuses such objects.
    pub encryption_key: Option<String>,
    /// The bucket for malformed records. `None` for the same bucket.
    pub error_bucket: Option<String>,
    /// The prefix of the keys of objects with malformed records. Without one, it is as Kinesis makes it.
    pub error_prefix: Option<String>,
}

/// The format of a channel's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RecordFormat {
    /// Each is a JSON text. An object has one after another, each followed by a line feed.
    Json,
    /// Each is UTF-8 text. An object has one after another, each followed by a line feed.
    Text,
    /// Any bytes. An object has one after another, with nothing in between.
    Bytes,
}

/// How a channel's objects are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// A class of storage of Amazon S3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StorageClass {
    /// `STANDARD`
    Standard,
    /// `INTELLIGENT_TIERING`
    IntelligentTiering,
    /// `GLACIER_IR`
    GlacierInstantRetrieval,
}

impl Destination {
    /// Objects in a bucket, with any bytes as records, neither compressed nor encrypted.
    pub fn new(bucket: &str) -> Self {
        Self {
            bucket: bucket.to_owned(),
            key_template: None,
            format: RecordFormat::Bytes,
            compression: Compression::None,
            storage_class: StorageClass::Standard,
            encryption_key: None,
            error_bucket: None,
            error_prefix: None,
        }
    }
}
