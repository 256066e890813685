//! Queues over streams: creating, describing, listing, changing and deleting them.

use std::sync::PoisonError;

use super::consumers::{MOST_CREATING, most_consumers};
use super::queue_reference::QUEUE_ARN;
use super::shards::{is_creation, open_next_token};
use super::tag_rules::{MOST_TAGS, Tagged};
use super::{shapes, tags};
use crate::kinesis::arn;
use crate::kinesis::error::{ApiError, exception};
use crate::kinesis::key::{
    INTEGER, Integer, Key, List, Map, Members, Shape, Structure, TEXT, TIME, Text, Time, list, members,
    optional, required, structure,
};
use crate::kinesis::operation::{Call, Class, Operation, Reply, Resource};
use crate::kinesis::service::Context;
use crate::kinesis::token::QueuesToken;
use crate::kinesis::validate::{failed_at, missing};
use crate::{
    Error, Queue, QueueDescription, QueueOptions, QueueSettings, ReaderStatus, StartingPosition,
    StreamSummary, Timestamp, limits,
};

const QUEUE_NAME: Key<Text> = required("QueueName", shapes::NAME);
const QUEUE_ARN_SHOWN: Key<Text> = QUEUE_ARN;
const QUEUE_STATUS: Key<Text> = required(
    "QueueStatus",
    TEXT.one_of(&["CREATING", "ACTIVE", "UPDATING", "DELETING"]),
);
const QUEUE_CREATION_TIMESTAMP: Key<Time> = required("QueueCreationTimestamp", TIME);
const STREAM_ARN: Key<Text> = required("StreamARN", shapes::STREAM_ARN);

const TYPE: Key<Text> = required("Type", TEXT.one_of(&["TRIM_HORIZON", "LATEST", "AT_TIMESTAMP"]));
const TIMESTAMP: Key<Option<Time>> = optional("Timestamp", TIME);
const STARTING_POSITION: Key<Option<Structure>> =
    optional("StartingPosition", structure(members![TYPE, TIMESTAMP]));

const STREAM_CONFIGURATION: Shape<Structure> = structure(members![STREAM_ARN, STARTING_POSITION]);
const STREAM_CONFIGURATION_LIST: Key<List<Structure>> = required(
    "StreamConfigurationList",
    list(&STREAM_CONFIGURATION).at_least(1).at_most(10_000),
);

pub(super) const VISIBILITY_TIMEOUT_SHAPE: Shape<Integer> = INTEGER.at_least(0).at_most(43_200);
const VISIBILITY_TIMEOUT_SECONDS: Key<Option<Integer>> =
    optional("VisibilityTimeoutSeconds", VISIBILITY_TIMEOUT_SHAPE);
const TARGET_TYPE: Key<Text> = required("TargetType", TEXT.one_of(&["BUILT_IN", "NONE"]));
const MAX_RECEIVE_COUNT: Key<Option<Integer>> =
    optional("MaxReceiveCount", INTEGER.at_least(1).at_most(1000));
const DEAD_LETTER_CONFIGURATION: Key<Option<Structure>> = optional(
    "DeadLetterConfiguration",
    structure(members![TARGET_TYPE, MAX_RECEIVE_COUNT]),
);

const ATTRIBUTES: Shape<Structure> =
    structure(members![VISIBILITY_TIMEOUT_SECONDS, DEAD_LETTER_CONFIGURATION]);
const QUEUE_ATTRIBUTES: Key<Option<Structure>> = optional("QueueAttributes", ATTRIBUTES);

const DESCRIPTION: Shape<Structure> = structure(members![
    QUEUE_NAME,
    QUEUE_ARN_SHOWN,
    QUEUE_STATUS,
    QUEUE_CREATION_TIMESTAMP,
    STREAM_CONFIGURATION_LIST,
    QUEUE_ATTRIBUTES,
]);
const QUEUE_DESCRIPTION: Key<Structure> = required("QueueDescription", DESCRIPTION);

fn reply(call: &Call<'_>, queue: &Queue, description: &QueueDescription) -> Reply {
    call.reply(|reply| {
        reply.set(QUEUE_DESCRIPTION, |shown: &mut Members<'_>| {
            show(shown, call.context, queue, description);
            shown.set_list(STREAM_CONFIGURATION_LIST, [()], |stream, ()| {
                stream.set(STREAM_ARN, call.context.stream_arn(queue.stream().name()));
                stream.set(STARTING_POSITION, |position: &mut Members<'_>| {
                    show_position(position, description);
                });
            });
            shown.set(QUEUE_ATTRIBUTES, |attributes: &mut Members<'_>| {
                show_settings(attributes, &description.settings);
            });
        });
    })
}

/// The members that a description and a summary have in common.
fn show(members: &mut Members<'_>, context: Context<'_>, queue: &Queue, description: &QueueDescription) {
    members.set(QUEUE_NAME, description.name.as_str());
    members.set(QUEUE_ARN_SHOWN, context.queue_arn(queue));
    members.set(QUEUE_STATUS, description.status);
    members.set(QUEUE_CREATION_TIMESTAMP, description.created);
}

fn show_position(position: &mut Members<'_>, description: &QueueDescription) {
    let kind = match description.from {
        Timestamp::EPOCH => "TRIM_HORIZON",
        from if from == description.created => "LATEST",
        _ => "AT_TIMESTAMP",
    };
    position.set(TYPE, kind);
    let is_known = description.status != ReaderStatus::Creating && description.from > Timestamp::EPOCH;
    if kind == "AT_TIMESTAMP" || is_known {
        position.set(TIMESTAMP, description.from);
    }
}

fn show_settings(attributes: &mut Members<'_>, settings: &QueueSettings) {
    attributes.set(VISIBILITY_TIMEOUT_SECONDS, settings.visibility_seconds);
    attributes.set(
        DEAD_LETTER_CONFIGURATION,
        |dead_letters: &mut Members<'_>| match settings.max_receive_count {
            Some(count) => {
                dead_letters.set(TARGET_TYPE, "BUILT_IN");
                dead_letters.set(MAX_RECEIVE_COUNT, count);
            }
            None => dead_letters.set(TARGET_TYPE, "NONE"),
        },
    );
}

const TAGS: Key<Option<Map<Text>>> = optional("Tags", shapes::TAGS);

const CHANGE_ERRORS: &[&str] = &[
    exception::VALIDATION,
    exception::RESOURCE_IN_USE,
    exception::RESOURCE_NOT_FOUND,
    exception::LIMIT_EXCEEDED,
    exception::INVALID_ARGUMENT,
    exception::ACCESS_DENIED,
    exception::INTERNAL_FAILURE,
];

pub(super) const CREATE_QUEUE: Operation = Operation {
    name: "CreateQueue",
    class: Class::Control,
    resource: Resource::Queue,
    input: members![QUEUE_NAME, STREAM_CONFIGURATION_LIST, QUEUE_ATTRIBUTES, TAGS],
    output: members![QUEUE_DESCRIPTION],
    errors: CHANGE_ERRORS,
    run: |request| request.blocking(create_queue),
};

fn create_queue(call: &Call<'_>) -> Result<Reply, ApiError> {
    let mut streams = call.get(STREAM_CONFIGURATION_LIST);
    let (Some(configuration), None) = (streams.next(), streams.next()) else {
        return Err(failed_at(
            "streamConfigurationList",
            "Member must have length less than or equal to 1",
        ));
    };
    let arn = configuration.get(STREAM_ARN);
    let context = call.context.at_arn(arn);
    context.authorize_stream_arn(arn)?;
    let name = call.get(QUEUE_NAME);
    let start = starting_position(context, configuration.get(STARTING_POSITION))?;
    let settings = settings(call, QueueSettings::default())?;
    let tags = tags::given(call.get(TAGS).unwrap_or_default());
    let tagged = Tagged {
        context,
        kind: "queue",
        name,
    };
    tagged.check_added(&tags)?;
    if tags.len() > MOST_TAGS {
        return Err(tagged.too_many());
    }
    // The constraint of the member allows no other ARN.
    let stream = context.stream(arn::stream_name(arn).unwrap_or_default());
    let stream = stream.map_err(|error| context.refusal(error))?;
    let options = QueueOptions {
        start,
        settings,
        tags,
        max_consumers: most_consumers(context)?,
        max_creating: MOST_CREATING,
        needs_on_demand: true,
    };
    let created = stream.create_queue(name, &options);
    let queue = created.map_err(|error| refused_reader(context, "queue", error))?;
    let description = queue.describe().map_err(|error| context.refusal(error))?;
    Ok(reply(call, &queue, &description))
}

/// As [`refusal`](Context::refusal), for a new queue or channel.
pub(super) fn refused_reader(context: Context<'_>, reader: &str, error: Error) -> ApiError {
    match error {
        Error::StreamNotOnDemand { stream } => ApiError::invalid_argument(format!(
            "Stream {stream} under account {} is in PROVISIONED mode. A {reader} needs a stream in ON_DEMAND mode.",
            context.account_id()
        )),
        error => context.refusal(error),
    }
}

fn starting_position(
    context: Context<'_>,
    position: Option<&crate::kinesis::convert::Input<'_>>,
) -> Result<StartingPosition, ApiError> {
    const PATH: &str = "streamConfigurationList.1.member.startingPosition.timestamp";
    let Some(position) = position else {
        return Ok(StartingPosition::Latest);
    };
    let milliseconds = position.get(TIMESTAMP);
    match (position.get(TYPE), milliseconds) {
        ("AT_TIMESTAMP", Some(milliseconds)) => {
            let time = Timestamp::from_millis(u64::try_from(milliseconds).unwrap_or(0));
            if time > context.service.store.now() {
                return Err(ApiError::invalid_argument(
                    "The Timestamp of a StartingPosition cannot be in the future.",
                ));
            }
            Ok(StartingPosition::AtTimestamp(time))
        }
        ("AT_TIMESTAMP", None) => Err(missing(PATH)),
        (kind, Some(_)) => Err(ApiError::validation(format!(
            "A StartingPosition of type {kind} has no Timestamp."
        ))),
        ("TRIM_HORIZON", None) => Ok(StartingPosition::TrimHorizon),
        (_, None) => Ok(StartingPosition::Latest),
    }
}

/// The requested settings; those that the call does not name stay as they are in `known`.
fn settings(call: &Call<'_>, known: QueueSettings) -> Result<QueueSettings, ApiError> {
    match call.get(QUEUE_ATTRIBUTES) {
        Some(attributes) => changed_settings(attributes, known),
        None => Ok(known),
    }
}

fn changed_settings(
    attributes: &crate::kinesis::convert::Input<'_>,
    known: QueueSettings,
) -> Result<QueueSettings, ApiError> {
    // The constraints of the members allow no other number.
    let number = |value: i64| u32::try_from(value).unwrap_or(u32::MAX);
    let visibility_seconds = attributes.get(VISIBILITY_TIMEOUT_SECONDS).map(number);
    let max_receive_count = match attributes.get(DEAD_LETTER_CONFIGURATION) {
        None => known.max_receive_count,
        Some(dead_letters) => {
            let count = dead_letters.get(MAX_RECEIVE_COUNT).map(number);
            match (dead_letters.get(TARGET_TYPE), count) {
                ("NONE", Some(_)) => {
                    return Err(ApiError::validation(
                        "A DeadLetterConfiguration of TargetType NONE has no MaxReceiveCount.",
                    ));
                }
                ("NONE", None) => None,
                (_, Some(count)) => Some(count),
                (_, None) => known
                    .max_receive_count
                    .or(Some(limits::DEFAULT_MAX_RECEIVE_COUNT)),
            }
        }
    };
    Ok(QueueSettings {
        visibility_seconds: visibility_seconds.unwrap_or(known.visibility_seconds),
        max_receive_count,
    })
}

pub(super) const DESCRIBE_QUEUE: Operation = Operation {
    name: "DescribeQueue",
    class: Class::Control,
    resource: Resource::Queue,
    input: members![QUEUE_ARN],
    output: members![QUEUE_DESCRIPTION],
    errors: &[
        exception::VALIDATION,
        exception::RESOURCE_NOT_FOUND,
        exception::LIMIT_EXCEEDED,
        exception::INVALID_ARGUMENT,
        exception::ACCESS_DENIED,
        exception::INTERNAL_FAILURE,
    ],
    run: |request| request.blocking(describe_queue),
};

fn describe_queue(call: &Call<'_>) -> Result<Reply, ApiError> {
    let (queue, description) = call.queue()?;
    Ok(reply(call, &queue, &description))
}

const STREAM_CREATION_TIMESTAMP: Key<Option<Time>> = optional("StreamCreationTimestamp", TIME);
const FILTER: Shape<Structure> = structure(members![STREAM_ARN, STREAM_CREATION_TIMESTAMP]);
pub(super) const STREAM_FILTER: Key<Option<List<Structure>>> =
    optional("StreamFilter", list(&FILTER).at_least(1).at_most(10_000));

const STREAM_CREATION_TIMESTAMP_SHOWN: Key<Time> = required("StreamCreationTimestamp", TIME);
const STREAM_SHOWN: Shape<Structure> = structure(members![STREAM_ARN, STREAM_CREATION_TIMESTAMP_SHOWN]);
const STREAMS: Key<List<Structure>> = required("Streams", list(&STREAM_SHOWN).at_least(1).at_most(10_000));
const SUMMARY: Shape<Structure> = structure(members![
    QUEUE_NAME,
    QUEUE_ARN_SHOWN,
    QUEUE_STATUS,
    QUEUE_CREATION_TIMESTAMP,
    STREAMS,
]);
const QUEUE_SUMMARIES: Key<List<Structure>> = required("QueueSummaries", list(&SUMMARY));
const MAX_RESULTS: Key<Option<Integer>> = optional("MaxResults", shapes::LIMIT);
const NEXT_TOKEN: Key<Option<Text>> = optional("NextToken", shapes::NEXT_TOKEN);

pub(super) const LIST_QUEUES: Operation = Operation {
    name: "ListQueues",
    class: Class::Control,
    resource: Resource::Queue,
    input: members![MAX_RESULTS, NEXT_TOKEN, STREAM_FILTER],
    output: members![QUEUE_SUMMARIES, NEXT_TOKEN],
    errors: &[
        exception::VALIDATION,
        exception::EXPIRED_NEXT_TOKEN,
        exception::LIMIT_EXCEEDED,
        exception::INVALID_ARGUMENT,
        exception::ACCESS_DENIED,
        exception::INTERNAL_FAILURE,
    ],
    run: |request| request.blocking(list_queues),
};

/// In the order of their names.
fn list_queues(call: &Call<'_>) -> Result<Reply, ApiError> {
    const MOST_QUEUES: usize = 100;
    let context = call.context;
    let after = match call.get(NEXT_TOKEN) {
        Some(token) => Some(open_next_token::<QueuesToken>(context, token)?.after),
        None => None,
    };
    let mut queues = Vec::new();
    for summary in wanted_streams(call)? {
        // A stream that is deleted meanwhile has none.
        let Ok(stream) = context.service.store.stream_by_id(summary.id) else {
            continue;
        };
        for description in stream.queues().unwrap_or_default() {
            if after.as_ref().is_none_or(|after| description.name > *after)
                && let Ok(queue) = stream.queue_by_id(description.id)
            {
                queues.push((queue, description, summary.created));
            }
        }
    }
    queues.sort_by(|(_, first, _), (_, second, _)| first.name.cmp(&second.name));
    let limit = call.input.limit(MAX_RESULTS, MOST_QUEUES);
    let has_more = queues.len() > limit;
    queues.truncate(limit);
    let last = queues.last().filter(|_| has_more);
    let next = last.map(|(_, last, _)| {
        let after = last.name.clone();
        context
            .service
            .tokens
            .seal(context.service.store.now(), &QueuesToken { after })
    });
    Ok(call.reply(|reply| {
        reply.set_list(
            QUEUE_SUMMARIES,
            &queues,
            |shown, (queue, description, created)| {
                show(shown, context, queue, description);
                shown.set_list(STREAMS, [()], |stream, ()| {
                    stream.set(STREAM_ARN, context.stream_arn(queue.stream().name()));
                    stream.set(STREAM_CREATION_TIMESTAMP_SHOWN, *created);
                });
            },
        );
        reply.set_some(NEXT_TOKEN, next.as_deref());
    }))
}

/// The caller's streams whose queues or channels are listed.
pub(super) fn wanted_streams(call: &Call<'_>) -> Result<Vec<StreamSummary>, ApiError> {
    const PAGE: usize = 1000;
    let context = call.context;
    let wanted: Option<Vec<_>> = call.get(STREAM_FILTER).map(|filters| {
        let wanted = filters.map(|filter| (filter.get(STREAM_ARN), filter.get(STREAM_CREATION_TIMESTAMP)));
        wanted.collect()
    });
    let is_wanted = |summary: &StreamSummary| {
        let arn = context.stream_arn(&summary.name);
        wanted.as_ref().is_none_or(|wanted| {
            wanted.iter().any(|(named, created)| {
                let is_named = arn::stream_name(named) == Some(&*summary.name)
                    && context.scope.of_arn(named) == context.scope.of_arn(&arn.to_string());
                is_named && created.is_none_or(|created| is_creation(summary, created))
            })
        })
    };
    let streams = context.streams().map_err(|error| context.refusal(error))?;
    let mut found = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = streams.streams(after.as_deref(), PAGE);
        let page = page.map_err(|error| context.refusal(error))?;
        match page.last() {
            Some(last) => after = Some(last.name.clone()),
            None => return Ok(found),
        }
        found.extend(page.into_iter().filter(is_wanted));
    }
}

const NEW_ATTRIBUTES: Key<Structure> = required("QueueAttributes", ATTRIBUTES);

pub(super) const UPDATE_QUEUE: Operation = Operation {
    name: "UpdateQueue",
    class: Class::Control,
    resource: Resource::Queue,
    input: members![QUEUE_ARN, NEW_ATTRIBUTES],
    output: members![QUEUE_DESCRIPTION],
    errors: CHANGE_ERRORS,
    run: |request| request.blocking(update_queue),
};

fn update_queue(call: &Call<'_>) -> Result<Reply, ApiError> {
    let refusal = |error| call.queue_change_refusal(error);
    // A change of another call between the two steps must not be undone.
    let _one_at_a_time = call
        .context
        .service
        .queue_changes
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let (queue, description) = call.queue()?;
    let settings = changed_settings(call.get(NEW_ATTRIBUTES), description.settings)?;
    queue.set_settings(&settings).map_err(refusal)?;
    let description = queue.describe().map_err(refusal)?;
    Ok(reply(call, &queue, &description))
}

pub(super) const DELETE_QUEUE: Operation = Operation {
    name: "DeleteQueue",
    class: Class::Control,
    resource: Resource::Queue,
    input: members![QUEUE_ARN],
    output: members![],
    errors: &[
        exception::VALIDATION,
        exception::RESOURCE_NOT_FOUND,
        exception::LIMIT_EXCEEDED,
        exception::INVALID_ARGUMENT,
        exception::ACCESS_DENIED,
        exception::INTERNAL_FAILURE,
    ],
    run: |request| request.blocking(delete_queue),
};

fn delete_queue(call: &Call<'_>) -> Result<Reply, ApiError> {
    let (queue, _) = call.queue()?;
    queue.delete().map_err(|error| call.queue_change_refusal(error))?;
    Ok(Reply::empty())
}
