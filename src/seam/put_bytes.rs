//! The bytes of one call that puts records.

use crate::error::{Error, Result};
use crate::model::{PutRecord, limits};

/// What a record counts besides its data and its partition key.
pub(crate) const RECORD_OVERHEAD_BYTES: usize = 16;

/// How many bytes the records of one call count, or an error if that exceeds the limit of a call.
pub(crate) fn check_batch_bytes(records: &[PutRecord<'_>]) -> Result<usize> {
    let bytes = records.iter().map(stored_bytes).fold(0, usize::saturating_add);
    match bytes <= limits::MAX_BATCH_BYTES {
        true => Ok(bytes),
        false => Err(Error::BatchTooLarge {
            bytes,
            limit: limits::MAX_BATCH_BYTES,
        }),
    }
}

/// How many bytes a record counts.
pub(crate) fn stored_bytes(record: &PutRecord<'_>) -> usize {
    RECORD_OVERHEAD_BYTES + record.partition_key.len() + record.data.len()
}
