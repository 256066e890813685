//! What a delivery puts objects into.

use std::fmt::Debug;

use crate::model::{Destination, StorageClass};

/// A place that has buckets, such as a directory or an S3-compatible endpoint. Its calls block.
pub trait Bucket: Debug + Send + Sync + 'static {
    /// Whether this place can keep objects as a destination asks for, and has its buckets.
    ///
    /// # Errors
    /// [`BucketError::NotFound`], [`BucketError::Refused`], [`BucketError::Failed`].
    fn check(&self, destination: &Destination) -> Result<(), BucketError>;

    /// Keeps an object, in place of one that has the same key. It is durable when this returns.
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
    /// Its key, of parts with `/` between them. None of them is empty, `.` or `..`.
    pub key: String,
    /// What is in it.
    pub body: Vec<u8>,
    /// Its media type.
    pub content_type: &'static str,
    /// Its class of storage.
    pub storage_class: StorageClass,
    /// The KMS key that it is to be encrypted with.
    pub encryption_key: Option<String>,
}

/// Why an object was not kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BucketError {
    /// There is no such bucket.
    #[error("there is no bucket {bucket}")]
    NotFound {
        /// The bucket.
        bucket: String,
    },
    /// The place never keeps objects like this.
    #[error("bucket {bucket}: {reason}")]
    Refused {
        /// The bucket.
        bucket: String,
        /// Why.
        reason: String,
    },
    /// It did not work, and may work when it is tried again.
    #[error("cannot {doing} in bucket {bucket}: {reason}")]
    Failed {
        /// What was tried.
        doing: &'static str,
        /// The bucket.
        bucket: String,
        /// What went wrong.
        reason: String,
    },
}

impl BucketError {
    pub(super) fn failed(doing: &'static str, bucket: &str, reason: impl ToString) -> Self {
        Self::Failed {
            doing,
            bucket: bucket.to_owned(),
            reason: reason.to_string(),
        }
    }
}

impl Destination {
    /// The buckets that it needs, each once.
    pub(super) fn buckets(&self) -> impl Iterator<Item = &str> {
        let errors = self.error_bucket.as_deref();
        let errors = errors.filter(|bucket| *bucket != self.bucket);
        std::iter::once(&*self.bucket).chain(errors)
    }
}
