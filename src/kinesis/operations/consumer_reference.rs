//! Finding the consumer of a call: by ARN, or by name and the ARN of its stream.

use super::shapes;
use super::stream_reference::STREAM_ARN;
use crate::kinesis::arn::{self, ResourceName};
use crate::kinesis::error::ApiError;
use crate::kinesis::key::{Key, Text, optional};
use crate::kinesis::operation::{Call, Resource};
use crate::kinesis::service::Context;
use crate::{ConsumerDescription, ConsumerStatus, Stream};

pub(super) const CONSUMER_NAME: Key<Option<Text>> = optional("ConsumerName", shapes::NAME);
pub(super) const CONSUMER_ARN: Key<Option<Text>> = optional("ConsumerARN", shapes::CONSUMER_ARN);

impl Call<'_> {
    /// The consumer of the call, and its stream.
    pub(super) fn consumer(&self) -> Result<(Stream, ConsumerDescription), ApiError> {
        debug_assert_eq!(self.operation.resource, Resource::Consumer);
        let (name, stream_arn) = (self.get(CONSUMER_NAME), self.get(STREAM_ARN));
        match (self.get(CONSUMER_ARN), name, stream_arn) {
            (Some(arn), None, None) => self.context.consumer_of_arn(arn),
            (None, Some(name), Some(stream_arn)) => {
                let stream = arn::stream_name(stream_arn).unwrap_or_default();
                self.context.consumer(stream, name, None)
            }
            _ => Err(ApiError::invalid_argument(
                "Either ConsumerARN, or both StreamARN and ConsumerName should be provided.",
            )),
        }
    }
}

impl Context<'_> {
    /// The consumer of a well-formed ARN.
    pub(super) fn consumer_of_arn(&self, arn: &str) -> Result<(Stream, ConsumerDescription), ApiError> {
        match arn::resource(arn) {
            ResourceName::Consumer {
                stream,
                name,
                created_seconds,
            } => self.consumer(stream, name, Some(created_seconds)),
            ResourceName::Stream(_)
            | ResourceName::Queue(_)
            | ResourceName::Channel(_)
            | ResourceName::Unknown => Err(self.resource_not_found(arn)),
        }
    }

    /// The same, if it can be used.
    pub(super) fn active_consumer_of_arn(
        &self,
        arn: &str,
    ) -> Result<(Stream, ConsumerDescription), ApiError> {
        let (stream, consumer) = self.consumer_of_arn(arn)?;
        match consumer.status {
            ConsumerStatus::Active => Ok((stream, consumer)),
            ConsumerStatus::Creating | ConsumerStatus::Deleting => {
                Err(self.consumer_not_active(stream.name(), &consumer))
            }
        }
    }

    /// A consumer by its name, and by the time of its registration if that is known.
    pub(super) fn consumer(
        &self,
        stream: &str,
        name: &str,
        created_seconds: Option<u64>,
    ) -> Result<(Stream, ConsumerDescription), ApiError> {
        let refusal = |error| self.refusal(error);
        let stream = self.stream(stream).map_err(refusal)?;
        let consumers = stream.consumers().map_err(refusal)?;
        let consumer = consumers.into_iter().find(|known| {
            known.name == name && created_seconds.is_none_or(|created| known.created.as_seconds() == created)
        });
        match consumer {
            Some(consumer) => Ok((stream, consumer)),
            None => Err(self.consumer_not_found(name)),
        }
    }
}
