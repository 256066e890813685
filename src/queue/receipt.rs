//! What a consumer says of a record that it was given.

use crate::model::{QueueId, RecordNumber, ShardId, StreamId};

/// One delivery of one record: small, self-contained, and good until the record is given out again.
///
/// It is a plain value, which a program can keep elsewhere and put together again. One that hands receipts to strangers
/// signs them ([`Store::secret`](crate::Store::secret)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Receipt {
    /// The queue's stream.
    pub stream: StreamId,
    /// The queue.
    pub queue: QueueId,
    /// The record's shard.
    pub shard: ShardId,
    /// The record.
    pub record: RecordNumber,
    /// Which delivery it was. No two deliveries of a queue have the same.
    pub delivery: u64,
    /// Whether the record was received as a dead letter.
    pub is_dead_letter: bool,
}

/// Why a receipt is refused. Nothing was done with its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// It is of another queue.
    #[error("the receipt is of another queue")]
    OtherQueue,
    /// It is of a record of the queue, and only dead letters can be restored.
    #[error("the receipt is not of a dead letter")]
    NotADeadLetter,
    /// The record was given out again since, or was a dead letter and was restored. One that has become a dead letter, and
    /// was not given out as such, can still be acknowledged.
    #[error("the receipt has expired: its record was given out again, or was restored, since")]
    Expired,
    /// The record is not held back any more, so that it can be given out at any moment.
    #[error("the record of the receipt is not in flight any more")]
    NotInFlight,
    /// The record is not in the queue any more: it was acknowledged, or has expired.
    #[error("the record of the receipt is not in the queue any more")]
    Gone,
}
