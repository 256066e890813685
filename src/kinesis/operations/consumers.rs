//! Consumers of streams: registering, describing, listing and removing those that get records pushed.

use std::sync::{MutexGuard, PoisonError};

use super::consumer_reference::{CONSUMER_ARN, CONSUMER_NAME};
use super::shards::{is_creation, open_next_token};
use super::stream_reference::{STREAM_ARN, STREAM_ID};
use super::tag_rules::{MOST_TAGS, Tagged};
use super::{account, shapes, tags};
use crate::kinesis::arn::{self, ConsumerArn};
use crate::kinesis::error::{ApiError, exception};
use crate::kinesis::key::{
    Integer, Key, List, Map, Members, Shape, Structure, TEXT, TIME, Text, Time, list, members, optional,
    required, structure,
};
use crate::kinesis::operation::{Call, Class, Operation, Reply, Resource};
use crate::kinesis::service::Context;
use crate::kinesis::token::ConsumersToken;
use crate::{ConsumerDescription, ConsumerId, Error, NewConsumer, Stream, StreamStatus};

const CONSUMER_STATUS: Key<Text> =
    required("ConsumerStatus", TEXT.one_of(&["CREATING", "DELETING", "ACTIVE"]));
const CONSUMER_NAME_SHOWN: Key<Text> = required("ConsumerName", shapes::NAME);
const CONSUMER_ARN_SHOWN: Key<Text> = required("ConsumerARN", shapes::CONSUMER_ARN);
const CONSUMER_CREATION_TIMESTAMP: Key<Time> = required("ConsumerCreationTimestamp", TIME);
/// Only the ARN selects the stream.
const OF_STREAM_ARN: Key<Text> = required("StreamARN", shapes::STREAM_ARN);

const CONSUMER_SHAPE: Shape<Structure> = structure(members![
    CONSUMER_NAME_SHOWN,
    CONSUMER_ARN_SHOWN,
    CONSUMER_STATUS,
    CONSUMER_CREATION_TIMESTAMP,
]);

/// The members of a consumer that all operations show.
fn show(members: &mut Members<'_>, context: Context<'_>, stream: &Stream, consumer: &ConsumerDescription) {
    let arn = ConsumerArn {
        stream: context.stream_arn(stream.name()),
        consumer_name: &consumer.name,
        created_seconds: consumer.created.as_seconds(),
    };
    members.set(CONSUMER_NAME_SHOWN, consumer.name.as_str());
    members.set(CONSUMER_ARN_SHOWN, arn);
    members.set(CONSUMER_STATUS, consumer.status);
    members.set(CONSUMER_CREATION_TIMESTAMP, consumer.created);
}

const TAGS: Key<Option<Map<Text>>> = optional("Tags", shapes::TAGS);
const CONSUMER: Key<Structure> = required("Consumer", CONSUMER_SHAPE);

pub(super) const REGISTER_STREAM_CONSUMER: Operation = Operation {
    name: "RegisterStreamConsumer",
    class: Class::Control,
    resource: Resource::Stream,
    input: members![OF_STREAM_ARN, CONSUMER_NAME_SHOWN, STREAM_ID, TAGS],
    output: members![CONSUMER],
    errors: &[
        exception::INVALID_ARGUMENT,
        exception::LIMIT_EXCEEDED,
        exception::RESOURCE_IN_USE,
        exception::RESOURCE_NOT_FOUND,
    ],
    run: |request| request.blocking(register_stream_consumer),
};

fn register_stream_consumer(call: &Call<'_>) -> Result<Reply, ApiError> {
    let context = call.context;
    let name = call.get(CONSUMER_NAME_SHOWN);
    let stream = stream_of(call)?;
    let _claim = claim_consumers(context);
    let summary = stream.summary().map_err(|error| context.refusal(error))?;
    if summary.status != StreamStatus::Active {
        return Err(context.stream_not_active(stream.name(), summary.status));
    }
    let tags = tags::given(call.get(TAGS).unwrap_or_default());
    let tagged = Tagged {
        context,
        kind: "consumer",
        name,
    };
    tagged.check_added(&tags)?;
    if tags.len() > MOST_TAGS {
        return Err(tagged.too_many());
    }
    let options = NewConsumer {
        tags,
        max_consumers: most_consumers(context)?,
        max_creating: MOST_CREATING,
    };
    let registered = stream.register_consumer_with(name, &options);
    let consumer = registered.map_err(|error| context.refusal(error))?;
    Ok(call.reply(|reply| {
        reply.set(CONSUMER, |shown: &mut Members<'_>| {
            show(shown, context, &stream, &consumer);
        });
    }))
}

/// How many consumers and queues of a stream may be CREATING.
pub(super) const MOST_CREATING: usize = 5;

/// How many consumers and queues a stream can have. An account with a commitment to pay for a minimum of throughput may
/// have more.
pub(super) fn most_consumers(context: Context<'_>) -> Result<usize, ApiError> {
    const MOST: usize = 20;
    const MOST_WITH_COMMITMENT: usize = 50;
    Ok(match account::has_commitment(context)? {
        true => MOST_WITH_COMMITMENT,
        false => MOST,
    })
}

fn stream_of(call: &Call<'_>) -> Result<Stream, ApiError> {
    let name = arn::stream_name(call.get(OF_STREAM_ARN)).unwrap_or_default();
    call.context
        .stream(name)
        .map_err(|error| call.context.refusal(error))
}

const STREAM_ARN_SHOWN: Key<Text> = required("StreamARN", shapes::STREAM_ARN);
const CONSUMER_DESCRIPTION: Key<Structure> = required(
    "ConsumerDescription",
    structure(members![
        CONSUMER_NAME_SHOWN,
        CONSUMER_ARN_SHOWN,
        CONSUMER_STATUS,
        CONSUMER_CREATION_TIMESTAMP,
        STREAM_ARN_SHOWN,
    ]),
);

pub(super) const DESCRIBE_STREAM_CONSUMER: Operation = Operation {
    name: "DescribeStreamConsumer",
    class: Class::Control,
    resource: Resource::Consumer,
    input: members![STREAM_ARN, CONSUMER_NAME, CONSUMER_ARN, STREAM_ID],
    output: members![CONSUMER_DESCRIPTION],
    errors: &[
        exception::LIMIT_EXCEEDED,
        exception::RESOURCE_NOT_FOUND,
        exception::INVALID_ARGUMENT,
    ],
    run: |request| request.blocking(describe_stream_consumer),
};

fn describe_stream_consumer(call: &Call<'_>) -> Result<Reply, ApiError> {
    let context = call.context;
    let (stream, consumer) = call.consumer()?;
    Ok(call.reply(|reply| {
        reply.set(CONSUMER_DESCRIPTION, |shown: &mut Members<'_>| {
            show(shown, context, &stream, &consumer);
            shown.set(STREAM_ARN_SHOWN, context.stream_arn(stream.name()));
        });
    }))
}

const NEXT_TOKEN: Key<Option<Text>> = optional("NextToken", shapes::NEXT_TOKEN);
const MAX_RESULTS: Key<Option<Integer>> = optional("MaxResults", shapes::LIMIT);
const STREAM_CREATION_TIMESTAMP: Key<Option<Time>> = optional("StreamCreationTimestamp", TIME);
const CONSUMERS: Key<Option<List<Structure>>> = optional("Consumers", list(&CONSUMER_SHAPE));

pub(super) const LIST_STREAM_CONSUMERS: Operation = Operation {
    name: "ListStreamConsumers",
    class: Class::Control,
    resource: Resource::Stream,
    input: members![
        OF_STREAM_ARN,
        NEXT_TOKEN,
        MAX_RESULTS,
        STREAM_CREATION_TIMESTAMP,
        STREAM_ID,
    ],
    output: members![CONSUMERS, NEXT_TOKEN],
    errors: &[
        exception::RESOURCE_NOT_FOUND,
        exception::INVALID_ARGUMENT,
        exception::LIMIT_EXCEEDED,
        exception::EXPIRED_NEXT_TOKEN,
        exception::RESOURCE_IN_USE,
    ],
    run: |request| request.blocking(list_stream_consumers),
};

fn list_stream_consumers(call: &Call<'_>) -> Result<Reply, ApiError> {
    const MOST_CONSUMERS: usize = 100;
    let context = call.context;
    let stream = stream_of(call)?;
    let after = match call.get(NEXT_TOKEN) {
        Some(token) => Some(place_in_list(context, &stream, token)?),
        None => None,
    };
    let summary = stream.summary().map_err(|error| context.refusal(error))?;
    if call
        .get(STREAM_CREATION_TIMESTAMP)
        .is_some_and(|created| !is_creation(&summary, created))
    {
        return Err(context.stream_not_found(stream.name()));
    }
    if summary.status == StreamStatus::Creating {
        return Err(context.stream_not_active(stream.name(), summary.status));
    }
    let limit = call.input.limit(MAX_RESULTS, MOST_CONSUMERS);
    let consumers = stream.consumers().map_err(|error| context.refusal(error))?;
    let mut rest = consumers
        .iter()
        .filter(|consumer| after.is_none_or(|after| consumer.id > after));
    let page: Vec<&ConsumerDescription> = rest.by_ref().take(limit).collect();
    let next = page.last().filter(|_| rest.next().is_some()).map(|last| {
        let token = ConsumersToken {
            stream_id: stream.id(),
            after: last.id,
            stream_name: stream.name().to_owned(),
        };
        context.service.tokens.seal(context.service.store.now(), &token)
    });
    Ok(call.reply(|reply| {
        let stream = &stream;
        let shown = page
            .into_iter()
            .map(|consumer| move |members: &mut Members<'_>| show(members, context, stream, consumer));
        reply.set(CONSUMERS, shown);
        reply.set_some(NEXT_TOKEN, next.as_deref());
    }))
}

/// The consumer after which the list goes on, from a token for this stream.
fn place_in_list(context: Context<'_>, stream: &Stream, token: &str) -> Result<ConsumerId, ApiError> {
    let token = open_next_token::<ConsumersToken>(context, token)?;
    match token.stream_id == stream.id() {
        true => Ok(token.after),
        false => Err(context.stream_not_found(&token.stream_name)),
    }
}

pub(super) const DEREGISTER_STREAM_CONSUMER: Operation = Operation {
    name: "DeregisterStreamConsumer",
    class: Class::Control,
    resource: Resource::Consumer,
    input: members![STREAM_ARN, CONSUMER_NAME, CONSUMER_ARN, STREAM_ID],
    output: members![],
    errors: &[
        exception::LIMIT_EXCEEDED,
        exception::RESOURCE_NOT_FOUND,
        exception::INVALID_ARGUMENT,
    ],
    run: |request| request.blocking(deregister_stream_consumer),
};

fn deregister_stream_consumer(call: &Call<'_>) -> Result<Reply, ApiError> {
    let context = call.context;
    let (stream, consumer) = call.consumer()?;
    let removed = stream.remove_consumer(consumer.id);
    removed.map_err(|error| context.refusal(error))?;
    context
        .service
        .subscriptions
        .end_of_consumer(stream.id(), consumer.id);
    Ok(Reply::empty())
}

/// The right to register consumers, which one call at a time has.
#[must_use = "no consumer is registered until this is dropped"]
pub(super) struct ConsumerClaim<'a> {
    _held: MutexGuard<'a, ()>,
}

fn claim_consumers(context: Context<'_>) -> ConsumerClaim<'_> {
    let claim = context.service.consumer_claim.lock();
    ConsumerClaim {
        _held: claim.unwrap_or_else(PoisonError::into_inner),
    }
}

/// Refuses to delete a stream that has consumers. No consumer is registered while the claim is held.
pub(super) fn claim_none<'a>(context: Context<'a>, stream: &Stream) -> Result<ConsumerClaim<'a>, ApiError> {
    let claim = claim_consumers(context);
    let consumers = stream
        .consumers()
        .map_err(|error: Error| context.refusal(error))?;
    if consumers.is_empty() {
        return Ok(claim);
    }
    let name = stream.name();
    Err(ApiError::in_use(format!(
        "DeleteStream can't delete {}:{name} because there are consumers associated with this data stream. To delete \
         {name} anyway, set the EnforceConsumerDeletion parameter to true to force the deletion of all the consumers that \
         are associated with it.",
        context.account_id()
    )))
}
