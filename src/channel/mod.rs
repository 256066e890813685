//! Delivery of streams into objects.
//!
//! A [`Channel`] is a reader of a stream in the catalog. [`Delivery`] reads what a channel has not delivered yet, makes
//! objects of it, puts them into a bucket, and notes the new position in the catalog. So a crash at any point delivers
//! some records again, and loses none. Parents are delivered to their ends before their children.
//!
//! The records stay in the stream until they are delivered. Memory has only the object that is being made, and for each
//! shard how much there is to deliver. This floor knows streams and buckets. It knows no logs, and no wire except that
//! of `object_store`.

mod bucket;
mod delivery;
mod directory;
mod handle;
mod key_template;
mod object;
mod round;
mod s3;
mod schedule;

pub use bucket::{Bucket, BucketError, Object};
pub use delivery::{Delivery, DeliveryOptions};
pub use directory::DirectoryBuckets;
pub use handle::Channel;
pub use round::{DeliveryError, DeliveryEvent};
pub use s3::S3Buckets;
pub use schedule::DeliveryProblem;
