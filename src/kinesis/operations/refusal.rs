//! The engine's errors as AWS' messages, and its failures as messages that reveal nothing about the disk.

use crate::kinesis::convert::shown;
use crate::kinesis::error::ApiError;
use crate::kinesis::service::Context;
use crate::{ConsumerDescription, Error, ReaderStatus, ShardId, StreamStatus};

impl Context<'_> {
    /// The answer to an error of the engine for which the operation has no message of its own.
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
            | Error::TooManyTags { .. }
            | Error::InvalidArgument { .. } => ApiError::invalid_argument(error.to_string()),
            Error::ConsumerExists { stream, consumer } => ApiError::in_use(format!(
                "Consumer {consumer} of stream {stream} under account {} already exists.",
                self.account_id()
            )),
            Error::TooManyConsumers { stream, limit } => ApiError::limit_exceeded(format!(
                "Stream {stream} under account {} has {limit} registered consumers, and cannot have more.",
                self.account_id()
            )),
            Error::TooManyNewConsumers { stream, limit } => ApiError::limit_exceeded(format!(
                "Stream {stream} under account {} has {limit} consumers in CREATING status, and cannot have more.",
                self.account_id()
            )),
            Error::QueueNotFound { queue, .. } => self.queue_not_found(&queue),
            Error::QueueExists { queue } => ApiError::in_use(format!(
                "Queue {queue} under account {} already exists.",
                self.account_id()
            )),
            Error::QueueNotActive { queue, status } => self.queue_not_active(&queue, status),
            Error::StreamHasQueues { stream, count } => ApiError::in_use(format!(
                "Stream {stream} under account {} has {count} queues. Delete them first.",
                self.account_id()
            )),
            Error::ChannelNotFound { channel, .. } => self.channel_not_found(&channel),
            Error::ChannelExists { channel } => ApiError::in_use(format!(
                "Channel {channel} under account {} already exists.",
                self.account_id()
            )),
            Error::ChannelNotActive { channel, status } => self.channel_not_active(&channel, status),
            Error::StreamHasChannels { stream, count } => ApiError::in_use(format!(
                "Stream {stream} under account {} has {count} channels. Delete them first.",
                self.account_id()
            )),
            Error::TooManyChannels { stream, limit } => ApiError::limit_exceeded(format!(
                "Stream {stream} under account {} has {limit} channel of this kind, and cannot have more.",
                self.account_id()
            )),
            Error::TooManyUnacknowledged { queue, limit } => ApiError::throttled(format!(
                "Queue {queue} under account {} has {limit} records in flight, and cannot have more. Acknowledge records.",
                self.account_id()
            )),
            Error::KeyNotFound { id, fingerprint } => key_not_found(id.as_deref(), fingerprint),
            Error::ReadOnly => ApiError::access_denied(
                "This server is read-only: it serves a store that must not be changed. Only operations that read are \
                 allowed.",
            ),
            Error::Closed => ApiError::unavailable("The server is shutting down."),
            other => failed(&other),
        }
    }

    pub(super) fn stream_not_found(&self, name: &str) -> ApiError {
        ApiError::not_found(format!(
            "Stream {name} under account {} not found.",
            self.account_id()
        ))
    }

    pub(super) fn consumer_not_found(&self, name: &str) -> ApiError {
        ApiError::not_found(format!(
            "Consumer {name}, account {} not found.",
            self.account_id()
        ))
    }

    pub(super) fn consumer_not_active(&self, stream: &str, consumer: &ConsumerDescription) -> ApiError {
        ApiError::in_use(format!(
            "Consumer {} with creation timestamp {} under stream: {stream} , account {} is not in ACTIVE status.",
            consumer.name,
            consumer.created.as_seconds(),
            self.account_id()
        ))
    }

    pub(super) fn queue_not_found(&self, queue: &str) -> ApiError {
        ApiError::not_found(format!(
            "Queue {} under account {} not found.",
            shown(queue),
            self.account_id()
        ))
    }

    pub(super) fn queue_not_active(&self, queue: &str, status: ReaderStatus) -> ApiError {
        ApiError::in_use(format!(
            "Queue {queue} under account {} not ACTIVE, instead in state {status}",
            self.account_id()
        ))
    }

    pub(super) fn channel_not_found(&self, channel: &str) -> ApiError {
        ApiError::not_found(format!(
            "Channel {} under account {} not found.",
            shown(channel),
            self.account_id()
        ))
    }

    pub(super) fn channel_not_active(&self, channel: &str, status: ReaderStatus) -> ApiError {
        ApiError::in_use(format!(
            "Channel {channel} under account {} not ACTIVE, instead in state {status}",
            self.account_id()
        ))
    }

    /// The error for an ARN of a resource that this server cannot have.
    pub(super) fn resource_not_found(&self, arn: &str) -> ApiError {
        ApiError::not_found(format!(
            "Resource {} under account {} not found.",
            shown(arn),
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

/// The missing key. Its fingerprint reveals nothing about the key.
fn key_not_found(id: Option<&str>, fingerprint: Option<u64>) -> ApiError {
    let fingerprint = fingerprint.map(|fingerprint| format!("with the fingerprint {fingerprint:016x}"));
    let id = id.map(shown);
    let key = [id, fingerprint.as_deref()].into_iter().flatten();
    let key = key.collect::<Vec<_>>().join(" ");
    ApiError::kms_not_found(format!(
        "Key {key} is not among the keys that the server was given."
    ))
}

/// A failure: its kind for the client, all of it for the log.
fn failed(error: &Error) -> ApiError {
    ApiError::internal(error.failure_for_clients()).caused_by(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::error::failures_at;
    use crate::kinesis::protocol::Protocol;

    #[test]
    fn no_failure_sends_a_path_of_the_server() {
        for error in failures_at(Path::new("/var/lib/secret/streams/1.log")) {
            let refused = failed(&error);
            let body = String::from_utf8(refused.body(Protocol::Json)).unwrap();
            assert_eq!(refused.status, 500);
            assert!(!body.contains("secret") && !body.contains('/'), "{body}");
            assert_eq!(refused.cause, Some(error.to_string()));
        }
    }
}
