//! Finding the queue of a call by its ARN.

use super::shapes;
use crate::kinesis::arn::{self, ResourceName};
use crate::kinesis::error::ApiError;
use crate::kinesis::key::{Key, Text, required};
use crate::kinesis::operation::{Call, Resource};
use crate::{Error, Queue, QueueDescription, ReaderStatus};

pub(super) const QUEUE_ARN: Key<Text> = required("QueueARN", shapes::QUEUE_ARN);

impl Call<'_> {
    /// The queue of the call, in any state.
    pub(super) fn queue(&self) -> Result<(Queue, QueueDescription), ApiError> {
        debug_assert_eq!(self.operation.resource, Resource::Queue);
        let arn = self.get(QUEUE_ARN);
        let ResourceName::Queue(name) = arn::resource(arn) else {
            return Err(self.context.queue_not_found(arn));
        };
        let found = self
            .context
            .queue(name)
            .and_then(|queue| Ok((queue.clone(), queue.describe()?)));
        found.map_err(|error| self.queue_refusal(error))
    }

    /// The same, if records can be received from it. For operations on records, a queue that is being created or
    /// deleted does not exist.
    pub(super) fn usable_queue(&self) -> Result<(Queue, QueueDescription), ApiError> {
        let (queue, description) = self.queue()?;
        match description.status {
            ReaderStatus::Active | ReaderStatus::Updating => Ok((queue, description)),
            ReaderStatus::Creating | ReaderStatus::Deleting => {
                Err(self.context.queue_not_found(self.get(QUEUE_ARN)))
            }
        }
    }

    /// As [`refusal`](crate::kinesis::service::Context::refusal), for a call about the records of its queue: for these,
    /// a queue that is not active does not exist.
    pub(super) fn queue_refusal(&self, error: Error) -> ApiError {
        match error {
            Error::QueueNotActive { .. } => self.context.queue_not_found(self.get(QUEUE_ARN)),
            error => self.queue_change_refusal(error),
        }
    }

    /// The same for a call about the queue itself.
    pub(super) fn queue_change_refusal(&self, error: Error) -> ApiError {
        match error {
            Error::QueueNotFound { .. } | Error::StreamNotFound { .. } => {
                self.context.queue_not_found(self.get(QUEUE_ARN))
            }
            error => self.context.refusal(error),
        }
    }
}
