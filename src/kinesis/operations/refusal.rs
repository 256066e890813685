//! The engine's errors in the words of AWS.

use crate::kinesis::error::ApiError;
use crate::kinesis::service::Context;
use crate::{Error, ShardId, StreamStatus};

impl Context<'_> {
    /// What a client is told about an error of the engine that the operation has no words of its own for.
    pub(super) fn refusal(&self, error: Error) -> ApiError {
        match error {
            Error::StreamNotFound { name } => self.stream_not_found(&name),
            Error::StreamExists { name } => ApiError::in_use(format!(
                "Stream {name} under account {} already exists.",
                self.account_id()
            )),
            Error::StreamNotActive { name, status } => self.stream_not_active(&name, status),
            Error::ShardNotFound { stream, shard } => self.could_not_find_shard(&shard.to_string(), &stream),
            Error::ShardClosed { stream, shard } => ApiError::invalid_argument(format!(
                "Shard {shard} in stream {stream} under account {} has already been merged or split, \
                 and thus is not eligible for merging or splitting.",
                self.account_id()
            )),
            Error::NotAdjacent {
                stream,
                first,
                second,
            } => ApiError::invalid_argument(format!(
                "Shards {first} and {second} in stream {stream} under account {} \
                 are not an adjacent pair of shards eligible for merging",
                self.account_id()
            )),
            Error::InvalidSplit { .. }
            | Error::ForeignSequenceNumber { .. }
            | Error::SequenceNumberAtEnd { .. }
            | Error::InvalidRetention { .. }
            | Error::RecordTooLarge { .. }
            | Error::BatchTooLarge { .. }
            | Error::InvalidArgument { .. } => ApiError::invalid_argument(error.to_string()),
            Error::Closed => ApiError::unavailable("The server is shutting down."),
            other => ApiError::internal(other.to_string()),
        }
    }

    pub(super) fn stream_not_found(&self, name: &str) -> ApiError {
        ApiError::not_found(format!(
            "Stream {name} under account {} not found.",
            self.account_id()
        ))
    }

    pub(super) fn stream_not_active(&self, name: &str, status: StreamStatus) -> ApiError {
        ApiError::in_use(format!(
            "Stream {name} under account {} not ACTIVE, instead in state {status}",
            self.account_id()
        ))
    }

    /// `shard` as the client wrote it, or its id.
    pub(super) fn could_not_find_shard(&self, shard: &str, stream: &str) -> ApiError {
        ApiError::not_found(format!(
            "Could not find shard {shard} in stream {stream} under account {}.",
            self.account_id()
        ))
    }

    pub(super) fn shard_does_not_exist(&self, shard: ShardId, stream: &str) -> ApiError {
        ApiError::not_found(format!(
            "Shard {shard} in stream {stream} under account {} does not exist",
            self.account_id()
        ))
    }
}
