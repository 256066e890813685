//! Where a channel delivers a stream to, and as what.

use serde::{Deserialize, Serialize};

/// The objects that a channel makes of a stream's records.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Destination {
    /// The bucket that they are in.
    pub bucket: String,
    /// The template of their keys, as [`docs/channels.md`](https://github.com/anabranch/anabranch/blob/main/docs/channels.md)
    /// describes it. Without one they have the keys that Kinesis gives them.
    pub key_template: Option<String>,
    /// What the records are, and so how they are put together.
    pub format: RecordFormat,
    /// How objects are compressed.
    pub compression: Compression,
    /// Which class of storage an S3-compatible endpoint is asked for.
    pub storage_class: StorageClass,
    /// The KMS key with which an S3-compatible endpoint is to encrypt objects. A directory cannot, and refuses them.
    pub encryption_key: Option<String>,
    /// The bucket for records that are not of the format. `None` for the same bucket.
    pub error_bucket: Option<String>,
    /// What the keys of objects with such records begin with. Without one they begin as Kinesis' do.
    pub error_prefix: Option<String>,
}

/// What the records of a channel are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RecordFormat {
    /// Each is a JSON text. An object has one after another, each with a line's end behind it.
    Json,
    /// Each is UTF-8 text. An object has one after another, each with a line's end behind it.
    Text,
    /// Any bytes. An object has one after another, with nothing in between.
    Bytes,
}

/// How a channel's objects are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Compression {
    /// Not at all.
    None,
    /// As gzip does.
    Gzip,
    /// As Zstandard does.
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
