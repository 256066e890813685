//! Consumers of streams, which get records pushed. None of these operations is offered yet.

use super::stream_reference::{STREAM_ARN, STREAM_ID};
use super::{get_records, shapes};
use crate::kinesis::error::exception;
use crate::kinesis::key::{
    BOOLEAN, Events, List, Shape, Structure, TEXT, TIME, Text, events, list, members, optional, required,
    structure,
};
use crate::kinesis::operation::{Class, Operation, Resource};
use crate::kinesis::shape::Pattern;

const CONSUMER_ARN: Shape<Text> = TEXT
    .pattern(Pattern::declared(
        r"^(arn):aws.*:kinesis:.*:\d{12}:.*stream\/[a-zA-Z0-9_.-]+\/consumer\/[a-zA-Z0-9_.-]+:[0-9]+",
    ))
    .at_least(1)
    .at_most(2048);

const CONSUMER_STATUS: Shape<Text> = TEXT.one_of(&["CREATING", "DELETING", "ACTIVE"]);

const CONSUMER: Shape<Structure> = structure(members![
    required("ConsumerName", shapes::NAME),
    required("ConsumerARN", CONSUMER_ARN),
    required("ConsumerStatus", CONSUMER_STATUS),
    required("ConsumerCreationTimestamp", TIME),
]);

const CONSUMER_DESCRIPTION: Shape<Structure> = structure(members![
    required("ConsumerName", shapes::NAME),
    required("ConsumerARN", CONSUMER_ARN),
    required("ConsumerStatus", CONSUMER_STATUS),
    required("ConsumerCreationTimestamp", TIME),
    required("StreamARN", shapes::STREAM_ARN),
]);

const CONSUMER_LIST: Shape<List<Structure>> = list(&CONSUMER);

const STARTING_POSITION: Shape<Structure> = structure(members![
    required("Type", shapes::SHARD_ITERATOR_TYPE),
    optional("SequenceNumber", shapes::SEQUENCE_NUMBER),
    optional("Timestamp", TIME),
]);

const SUBSCRIBE_TO_SHARD_EVENT: Shape<Structure> = structure(members![
    required("Records", get_records::RECORD_LIST),
    required("ContinuationSequenceNumber", shapes::SEQUENCE_NUMBER),
    required("MillisBehindLatest", get_records::MILLIS_BEHIND_LATEST),
    optional("ChildShards", get_records::CHILD_SHARD_LIST),
]);

const SUBSCRIBE_TO_SHARD_EVENT_STREAM: Shape<Events> = events(members![
    required("SubscribeToShardEvent", SUBSCRIBE_TO_SHARD_EVENT),
    optional("ResourceNotFoundException", shapes::EXCEPTION),
    optional("ResourceInUseException", shapes::EXCEPTION),
    optional("KMSDisabledException", shapes::EXCEPTION),
    optional("KMSInvalidStateException", shapes::EXCEPTION),
    optional("KMSAccessDeniedException", shapes::EXCEPTION),
    optional("KMSNotFoundException", shapes::EXCEPTION),
    optional("KMSOptInRequired", shapes::EXCEPTION),
    optional("KMSThrottlingException", shapes::EXCEPTION),
    optional("InternalFailureException", shapes::EXCEPTION),
]);

pub(super) const REGISTER_STREAM_CONSUMER: Operation = Operation {
    name: "RegisterStreamConsumer",
    class: Class::Control,
    resource: Resource::Consumer,
    input: members![
        required("StreamARN", shapes::STREAM_ARN),
        required("ConsumerName", shapes::NAME),
        STREAM_ID,
        optional("Tags", shapes::TAGS),
    ],
    output: members![required("Consumer", CONSUMER),],
    errors: &[
        exception::INVALID_ARGUMENT,
        exception::LIMIT_EXCEEDED,
        exception::RESOURCE_IN_USE,
        exception::RESOURCE_NOT_FOUND,
    ],
    run: None,
};

pub(super) const DESCRIBE_STREAM_CONSUMER: Operation = Operation {
    name: "DescribeStreamConsumer",
    class: Class::Control,
    resource: Resource::Consumer,
    input: members![
        STREAM_ARN,
        optional("ConsumerName", shapes::NAME),
        optional("ConsumerARN", CONSUMER_ARN),
        STREAM_ID,
    ],
    output: members![required("ConsumerDescription", CONSUMER_DESCRIPTION),],
    errors: &[
        exception::LIMIT_EXCEEDED,
        exception::RESOURCE_NOT_FOUND,
        exception::INVALID_ARGUMENT,
    ],
    run: None,
};

pub(super) const LIST_STREAM_CONSUMERS: Operation = Operation {
    name: "ListStreamConsumers",
    class: Class::Control,
    resource: Resource::Consumer,
    input: members![
        required("StreamARN", shapes::STREAM_ARN),
        optional("NextToken", shapes::NEXT_TOKEN),
        optional("MaxResults", shapes::LIMIT),
        optional("StreamCreationTimestamp", TIME),
        STREAM_ID,
    ],
    output: members![
        optional("Consumers", CONSUMER_LIST),
        optional("NextToken", shapes::NEXT_TOKEN),
    ],
    errors: &[
        exception::RESOURCE_NOT_FOUND,
        exception::INVALID_ARGUMENT,
        exception::LIMIT_EXCEEDED,
        exception::EXPIRED_NEXT_TOKEN,
        exception::RESOURCE_IN_USE,
    ],
    run: None,
};

pub(super) const DEREGISTER_STREAM_CONSUMER: Operation = Operation {
    name: "DeregisterStreamConsumer",
    class: Class::Control,
    resource: Resource::Consumer,
    input: members![
        STREAM_ARN,
        optional("ConsumerName", shapes::NAME),
        optional("ConsumerARN", CONSUMER_ARN),
        STREAM_ID,
    ],
    output: members![],
    errors: &[
        exception::LIMIT_EXCEEDED,
        exception::RESOURCE_NOT_FOUND,
        exception::INVALID_ARGUMENT,
    ],
    run: None,
};

pub(super) const SUBSCRIBE_TO_SHARD: Operation = Operation {
    name: "SubscribeToShard",
    class: Class::Data,
    resource: Resource::Consumer,
    input: members![
        required("ConsumerARN", CONSUMER_ARN),
        STREAM_ID,
        required("ShardId", shapes::NAME),
        required("StartingPosition", STARTING_POSITION),
        optional("DryRun", BOOLEAN),
    ],
    output: members![required("EventStream", SUBSCRIBE_TO_SHARD_EVENT_STREAM),],
    errors: &[
        exception::RESOURCE_NOT_FOUND,
        exception::INVALID_ARGUMENT,
        exception::RESOURCE_IN_USE,
        exception::LIMIT_EXCEEDED,
        exception::ACCESS_DENIED,
        exception::DRY_RUN,
    ],
    run: None,
};
