//! A record as it is handed out.

use bytes::Bytes;

use crate::model::{PartitionKey, RecordNumber, Timestamp};

/// A record with its place in the log. Its bytes are shared with the mapping or buffer they were read from.
#[derive(Clone, Debug)]
pub(crate) struct ReadRecord {
    pub(crate) number: RecordNumber,
    pub(crate) arrival: Timestamp,
    pub(crate) partition_key: PartitionKey,
    pub(crate) data: Bytes,
}
