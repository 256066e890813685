//! Finding the resource of a call, which may be a stream or something else, by its ARN.

use std::collections::BTreeMap;

use super::shapes;
use super::tag_rules::{MOST_TAGS, Tagged};
use crate::kinesis::arn::{self, ResourceName};
use crate::kinesis::error::ApiError;
use crate::kinesis::key::{Key, Text, required};
use crate::kinesis::operation::{Call, Resource};
use crate::kinesis::service::Context;
use crate::{
    Channel, ChannelDescription, ConsumerDescription, ConsumerStatus, Error, Queue, QueueDescription,
    ReaderStatus, Stream, StreamStatus,
};

pub(super) const RESOURCE_ARN: Key<Text> = required("ResourceARN", shapes::RESOURCE_ARN);

/// A resource that exists.
#[derive(Debug)]
pub(super) enum Named {
    Stream(Stream),
    Consumer(Stream, ConsumerDescription),
    Queue(Queue, QueueDescription),
    Channel(Channel, ChannelDescription),
}

impl Call<'_> {
    /// The resource of the call, in any state.
    pub(super) fn resource(&self) -> Result<Named, ApiError> {
        debug_assert_eq!(self.operation.resource, Resource::Any);
        let arn = self.get(RESOURCE_ARN);
        let context = self.context;
        let refusal = |error| context.refusal(error);
        match arn::resource(arn) {
            ResourceName::Stream(name) => Ok(Named::Stream(context.stream(name).map_err(refusal)?)),
            ResourceName::Consumer {
                stream,
                name,
                created_seconds,
            } => {
                let (stream, consumer) = context.consumer(stream, name, Some(created_seconds))?;
                Ok(Named::Consumer(stream, consumer))
            }
            ResourceName::Queue(name) => {
                let queue = context.queue(name).map_err(|_| context.queue_not_found(arn))?;
                let description = queue.describe().map_err(|_| context.queue_not_found(arn))?;
                Ok(Named::Queue(queue, description))
            }
            ResourceName::Channel(name) => {
                let channel = context
                    .channel(name)
                    .map_err(|_| context.channel_not_found(arn))?;
                let description = channel.describe().map_err(|_| context.channel_not_found(arn))?;
                Ok(Named::Channel(channel, description))
            }
            ResourceName::Unknown => Err(context.resource_not_found(arn)),
        }
    }
}

impl Named {
    /// Refuses a change of a resource that is not ACTIVE.
    pub(super) fn check_active(&self, context: Context<'_>) -> Result<(), ApiError> {
        let stream = match self {
            Named::Stream(stream) => stream,
            Named::Consumer(_, consumer) if consumer.status == ConsumerStatus::Active => return Ok(()),
            Named::Consumer(stream, consumer) => {
                return Err(context.consumer_not_active(stream.name(), consumer));
            }
            Named::Queue(_, queue) if queue.status == ReaderStatus::Active => return Ok(()),
            Named::Queue(_, queue) => return Err(context.queue_not_active(&queue.name, queue.status)),
            Named::Channel(_, channel) if channel.status == ReaderStatus::Active => return Ok(()),
            Named::Channel(_, channel) => {
                return Err(context.channel_not_active(&channel.name, channel.status));
            }
        };
        let summary = stream.summary().map_err(|error| context.refusal(error))?;
        match summary.status {
            StreamStatus::Active => Ok(()),
            status => Err(context.stream_not_active(&summary.name, status)),
        }
    }

    pub(super) fn tags(&self, context: Context<'_>) -> Result<BTreeMap<String, String>, ApiError> {
        let tags = match self {
            Named::Stream(stream) => stream.tags(),
            Named::Consumer(stream, consumer) => stream.consumer_tags(consumer.id),
            Named::Queue(queue, _) => queue.stream().queue_tags(queue.id()),
            Named::Channel(channel, _) => channel.stream().channel_tags(channel.id()),
        };
        tags.map_err(|error| self.refusal(context, error))
    }

    /// Bytes that the server keeps for the resource.
    pub(super) fn attribute(&self, context: Context<'_>, name: &str) -> Result<Option<Vec<u8>>, ApiError> {
        let attribute = match self {
            Named::Stream(stream) => stream.attribute(name),
            Named::Consumer(stream, consumer) => stream.consumer_attribute(consumer.id, name),
            Named::Queue(queue, _) => queue.stream().queue_attribute(queue.id(), name),
            Named::Channel(channel, _) => channel.stream().channel_attribute(channel.id(), name),
        };
        attribute.map_err(|error| self.refusal(context, error))
    }

    pub(super) fn set_attribute(
        &self,
        context: Context<'_>,
        name: &str,
        value: Option<&[u8]>,
    ) -> Result<(), ApiError> {
        let set = match self {
            Named::Stream(stream) => stream.set_attribute(name, value),
            Named::Consumer(stream, consumer) => stream.set_consumer_attribute(consumer.id, name, value),
            Named::Queue(queue, _) => queue.stream().set_queue_attribute(queue.id(), name, value),
            Named::Channel(channel, _) => channel.stream().set_channel_attribute(channel.id(), name, value),
        };
        set.map_err(|error| self.refusal(context, error))
    }

    /// Removes tags and sets others, if there are not too many afterwards.
    pub(super) fn change_tags(
        &self,
        context: Context<'_>,
        set: &BTreeMap<String, String>,
        removed: &[String],
    ) -> Result<(), ApiError> {
        let changed = match self {
            Named::Stream(stream) => stream.change_tags(set, removed, MOST_TAGS),
            Named::Consumer(stream, consumer) => {
                stream.change_consumer_tags(consumer.id, set, removed, MOST_TAGS)
            }
            Named::Queue(queue, _) => queue
                .stream()
                .change_queue_tags(queue.id(), set, removed, MOST_TAGS),
            Named::Channel(channel, _) => {
                channel
                    .stream()
                    .change_channel_tags(channel.id(), set, removed, MOST_TAGS)
            }
        };
        changed.map_err(|error| self.refusal(context, error))
    }

    /// The resource in the form for messages about its tags.
    pub(super) fn tagged<'a>(&'a self, context: Context<'a>) -> Tagged<'a> {
        let (kind, name) = match self {
            Named::Stream(stream) => ("stream", stream.name()),
            Named::Consumer(_, consumer) => ("consumer", consumer.name.as_str()),
            Named::Queue(_, queue) => ("queue", queue.name.as_str()),
            Named::Channel(_, channel) => ("channel", channel.name.as_str()),
        };
        Tagged { context, kind, name }
    }

    fn refusal(&self, context: Context<'_>, error: Error) -> ApiError {
        match (self, error) {
            (_, Error::TooManyTags { .. }) => self.tagged(context).too_many(),
            // Another call has removed it since it was found.
            (Named::Consumer(_, consumer), Error::ConsumerNotFound { .. }) => {
                context.consumer_not_found(&consumer.name)
            }
            (_, error) => context.refusal(error),
        }
    }
}
