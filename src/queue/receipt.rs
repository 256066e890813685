//! Receipts, by which a consumer refers to a record that it was given.

use crate::model::{QueueId, RecordNumber, ShardId, StreamId};

/// One delivery of one record: small, self-contained, and valid until the record is given out again.
///
/// It is a plain value, which a program can store elsewhere and rebuild. A program that gives receipts to strangers
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

/// Why a receipt is refused. Its record has not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// It belongs to another queue.
    #[error("the receipt is of another queue")]
    OtherQueue,
    /// It belongs to a record that is no dead letter, and only dead letters can be restored.
    #[error("the receipt is not of a dead letter")]
    NotADeadLetter,
    /// The record was given out again since, or was a dead letter and was restored. A record that became a dead letter,
    /// and was not given out as such, can still be acknowledged.
    #[error("the receipt has expired: its record was given out again, or was restored, since")]
    Expired,
    /// The record is no longer held back, so it can be given out at any moment.
    #[error("the record of the receipt is not in flight any more")]
    NotInFlight,
    /// The record is no longer in the queue: it was acknowledged, or has expired.
    #[error("the record of the receipt is not in the queue any more")]
    Gone,
}
