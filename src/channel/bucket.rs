//! Buckets, into which a delivery puts objects.

use std::fmt::Debug;

use crate::model::{Destination, StorageClass};

/// A place that has buckets, such as a directory or an S3-compatible endpoint. Its calls block.
pub trait Bucket: Debug + Send + Sync + 'static {
    /// Checks that this place can keep objects for a destination, and has its buckets.
    ///
    /// # Errors
    /// [`BucketError::NotFound`], [`BucketError::Refused`], [`BucketError::Failed`].
    fn check(&self, destination: &Destination) -> Result<(), BucketError>;

    /// Keeps an object, and replaces one with the same key. It is durable on return.
    ///
    /// # Errors
    /// [`BucketError::NotFound`], [`BucketError::Refused`], [`BucketError::Failed`].
    fn put(&self, object: Object) -> Result<(), BucketError>;
}

/// An object to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// The bucket.
    pub bucket: String,
    /// Its key: parts with `/` between them. No part is empty, `.` or `..`.
    pub key: String,
    /// Its contents.
    pub body: Vec<u8>,
    /// Its media type.
    pub content_type: &'static str,
    /// Its class of storage.
    pub storage_class: StorageClass,
    /// The KMS key to encrypt it with.
    pub encryption_key: Option<String>,
}

/// Why an object was not kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BucketError {
    /// The bucket does not exist.
    #[error("there is no bucket {bucket}")]
    NotFound {
        /// The bucket.
        bucket: String,
    },
    /// The place never keeps such objects.
    #[error("bucket {bucket}: {reason}")]
    Refused {
        /// The bucket.
        bucket: String,
        /// The reason.
        reason: String,
    },
    /// The call failed, and may succeed when it is tried again.
    #[error("cannot {doing} in bucket {bucket}: {reason}")]
    Failed {
        /// The operation that failed.
        doing: &'static str,
        /// The bucket.
        bucket: String,
        /// The error.
        reason: String,
    },
}

impl BucketError {
    pub(super) fn failed(doing: &'static str, bucket: &str, reason: &(impl ToString + ?Sized)) -> Self {
        Self::Failed {
            doing,
            bucket: bucket.to_owned(),
            reason: reason.to_string(),
        }
    }
}

impl Destination {
    /// The buckets that it needs, without duplicates.
    pub(super) fn buckets(&self) -> impl Iterator<Item = &str> {
        let errors = self.error_bucket.as_deref();
        let errors = errors.filter(|bucket| *bucket != self.bucket);
        std::iter::once(&*self.bucket).chain(errors)
    }
}
