//! Channels, which deliver a stream into objects: creating, describing, listing, changing and deleting them.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

use super::channel_notes::{Logging, NOTES_ATTRIBUTE, Noted, Notes, Shown};
use super::channel_shapes::*;
use super::queues::{STREAM_FILTER, refused_reader, wanted_streams};
use super::shards::open_next_token;
use super::tag_rules::{MOST_TAGS, Tagged};
use super::{shapes, tags};
use crate::kinesis::arn::{self, ResourceName};
use crate::kinesis::convert::Input;
use crate::kinesis::error::{ApiError, exception};
use crate::kinesis::key::{Integer, Key, Map, Members, Text, members, optional};
use crate::kinesis::operation::{Call, Class, Operation, Reply, Resource};
use crate::kinesis::service::Context;
use crate::kinesis::token::ChannelsToken;
use crate::kinesis::validate::failed_at;
use crate::{
    BucketError, Channel, ChannelDescription, ChannelOptions, Destination, Error, ReaderStatus, Stream,
    StreamMode, StreamStatus, Timestamp,
};

/// How many channels of each of the two kinds a stream can have.
const MOST_CHANNELS: usize = 1;

const LEAST_FRESHNESS_SECONDS: i64 = 300;
const MOST_FRESHNESS_SECONDS: i64 = 900;

const TAGS: Key<Option<Map<Text>>> = optional("Tags", shapes::TAGS);

pub(super) const CREATE_CHANNEL: Operation = Operation {
    name: "CreateChannel",
    class: Class::Control,
    resource: Resource::Channel,
    input: members![
        CHANNEL_NAME,
        SERVICE_EXECUTION_ROLE_ARN,
        STREAM_CONFIGURATION_LIST,
        S3_DESTINATION,
        TABLES_DESTINATION,
        ENCRYPTION_CONFIGURATION,
        TAGS,
        LOGGING_CONFIGURATION,
    ],
    output: members![CHANNEL_DESCRIPTION],
    errors: &[
        exception::VALIDATION,
        exception::RESOURCE_IN_USE,
        exception::RESOURCE_NOT_FOUND,
        exception::LIMIT_EXCEEDED,
        exception::INVALID_ARGUMENT,
        exception::KMS_DISABLED,
        exception::KMS_INVALID_STATE,
        exception::KMS_ACCESS_DENIED,
        exception::KMS_NOT_FOUND,
        exception::KMS_OPT_IN_REQUIRED,
        exception::KMS_THROTTLING,
        exception::ACCESS_DENIED,
    ],
    run: |request| request.blocking(create_channel),
};

fn create_channel(call: &Call<'_>) -> Result<Reply, ApiError> {
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
    let freshness = given_freshness(
        call.get(S3_DESTINATION)
            .and_then(|given| given.get(DATA_FRESHNESS)),
        call.get(TABLES_DESTINATION)
            .and_then(|given| given.get(DATA_FRESHNESS)),
    )?;
    let notes = Notes::of(call, configuration)?;
    let name = call.get(CHANNEL_NAME);
    let tags = tags::given(call.get(TAGS).unwrap_or_default());
    let tagged = Tagged {
        context,
        kind: "channel",
        name,
    };
    tagged.check_added(&tags)?;
    if tags.len() > MOST_TAGS {
        return Err(tagged.too_many());
    }
    let stream = stream_on_demand(context, arn)?;
    let destination = notes.destination();
    if let Some(destination) = &destination {
        check_destination(context, destination)?;
    }
    let options = ChannelOptions {
        freshness: freshness.unwrap_or(Duration::from_secs(LEAST_FRESHNESS_SECONDS as u64)),
        tags,
        attributes: noted(&notes)?,
        max_channels: MOST_CHANNELS,
        needs_on_demand: true,
        ..ChannelOptions::new(destination)
    };
    let created = stream.create_channel(name, &options);
    let channel = created.map_err(|error| refused_reader(context, "channel", error))?;
    let description = channel.describe().map_err(|error| context.refusal(error))?;
    reply(call, context, &channel, &description)
}

/// The stream for a new channel. Whether it is on demand is checked again when the channel is made.
fn stream_on_demand(context: Context<'_>, arn: &str) -> Result<Stream, ApiError> {
    // The constraint of the member allows no other ARN.
    let name = arn::stream_name(arn).unwrap_or_default();
    let stream = context.stream(name).map_err(|error| context.refusal(error))?;
    let summary = stream.summary().map_err(|error| context.refusal(error))?;
    match (summary.status, summary.mode) {
        (StreamStatus::Active, StreamMode::OnDemand) => Ok(stream),
        (StreamStatus::Active, StreamMode::Provisioned) => {
            let stream = summary.name;
            Err(refused_reader(
                context,
                "channel",
                Error::StreamNotOnDemand { stream },
            ))
        }
        (status, _) => Err(context.stream_not_active(name, status)),
    }
}

/// Refuses a destination that can never be delivered to. One that does not answer now may do so later.
fn check_destination(context: Context<'_>, destination: &Destination) -> Result<(), ApiError> {
    let Some(delivery) = &context.service.delivery else {
        return Ok(());
    };
    match delivery.check(destination) {
        Err(error @ BucketError::NotFound { .. } | error @ BucketError::Refused { .. }) => Err(
            ApiError::invalid_argument(format!("The channel cannot deliver to its destination: {error}.")),
        ),
        _ => Ok(()),
    }
}

/// The freshness in the configuration of either kind.
fn given_freshness(s3: Option<i64>, tables: Option<i64>) -> Result<Option<Duration>, ApiError> {
    let given = [
        ("s3DestinationConfiguration.dataFreshnessInSeconds", s3),
        ("s3TablesDestinationConfiguration.dataFreshnessInSeconds", tables),
    ];
    for (path, seconds) in given {
        let constraint = match seconds {
            Some(seconds) if seconds < LEAST_FRESHNESS_SECONDS => {
                format!("Member must have value greater than or equal to {LEAST_FRESHNESS_SECONDS}")
            }
            Some(seconds) if seconds > MOST_FRESHNESS_SECONDS => {
                format!("Member must have value less than or equal to {MOST_FRESHNESS_SECONDS}")
            }
            _ => continue,
        };
        return Err(failed_at(path, &constraint));
    }
    let seconds = s3.or(tables).and_then(|seconds| u64::try_from(seconds).ok());
    Ok(seconds.map(Duration::from_secs))
}

fn noted(notes: &Notes) -> Result<BTreeMap<String, Vec<u8>>, ApiError> {
    let bytes = serde_json::to_vec(notes).map_err(|_| ApiError::internal("The channel cannot be noted."))?;
    Ok(BTreeMap::from([(NOTES_ATTRIBUTE.to_owned(), bytes)]))
}

/// The notes of CreateChannel about a channel.
fn notes(
    context: Context<'_>,
    channel: &Channel,
    description: &ChannelDescription,
) -> Result<Notes, ApiError> {
    let noted = channel.stream().channel_attribute(channel.id(), NOTES_ATTRIBUTE);
    let noted = noted.map_err(|error| context.refusal(error))?;
    let notes = match (noted, &description.destination) {
        (None, Some(destination)) => Some(Notes::of_destination(destination, context.account_id())),
        (noted, _) => serde_json::from_slice(&noted.unwrap_or_default()).ok(),
    };
    notes.ok_or_else(|| ApiError::internal("What is noted of the channel cannot be read."))
}

fn reply(
    call: &Call<'_>,
    context: Context<'_>,
    channel: &Channel,
    description: &ChannelDescription,
) -> Result<Reply, ApiError> {
    let notes = notes(context, channel, description)?;
    let summary = channel
        .stream()
        .summary()
        .map_err(|error| context.refusal(error))?;
    let unique_name = channel.unique_name();
    Ok(call.reply(|reply| {
        reply.set(CHANNEL_DESCRIPTION, |shown: &mut Members<'_>| {
            show(shown, context, channel, description);
            shown.set_list(STREAM_DESCRIPTION_LIST, [()], |stream, ()| {
                stream.set(STREAM_ARN, context.stream_arn(&summary.name));
                stream.set(STREAM_CREATION_TIMESTAMP, summary.created);
                stream.set(RECORD_CONFIGURATION, |record: &mut Members<'_>| {
                    notes.show_record(record);
                });
            });
            let freshness_seconds = u32::try_from(description.freshness.as_secs()).unwrap_or(u32::MAX);
            notes.show(
                shown,
                &Shown {
                    name: &description.name,
                    unique_name: &unique_name,
                    freshness_seconds,
                },
            );
        });
    }))
}

/// The members that a description and a summary have in common.
fn show(
    members: &mut Members<'_>,
    context: Context<'_>,
    channel: &Channel,
    description: &ChannelDescription,
) {
    members.set(CHANNEL_NAME, description.name.as_str());
    members.set(CHANNEL_ARN, context.channel_arn(channel));
    members.set(CHANNEL_ID, channel.unique_name().as_str());
    let (status, reason) = status(context, channel, description);
    members.set(CHANNEL_STATUS, status.as_str());
    members.set_some(CHANNEL_STATUS_REASON, reason.as_deref());
    members.set(CHANNEL_CREATION_TIMESTAMP, description.created);
}

/// A channel that can never deliver is FAILED, as on AWS. One whose destination fails now stays as it is, with a
/// reason, and goes on when the destination does.
fn status(
    context: Context<'_>,
    channel: &Channel,
    description: &ChannelDescription,
) -> (String, Option<String>) {
    const FAILED: &str = "FAILED";
    let status = description.status.to_string();
    if !matches!(description.status, ReaderStatus::Active | ReaderStatus::Updating) {
        return (status, None);
    }
    let failed = |reason: &str| (FAILED.to_owned(), Some(reason.to_owned()));
    match (&description.destination, &context.service.delivery) {
        (None, _) => failed("This server does not deliver to streaming tables (Amazon S3 Tables)."),
        (Some(_), None) => {
            failed("This server was started without a place for buckets (--buckets), and delivers nothing.")
        }
        (Some(_), Some(delivery)) => {
            let problem = delivery.problem(channel).map(|problem| {
                let reason = format!(
                    "Some records cannot be delivered since {}, after {} attempts. It is tried again, and no record is lost \
                     before its retention ends. The last error: {}",
                    crate::kinesis::date::JavaDate(problem.since),
                    problem.attempts,
                    problem.error
                );
                reason.chars().take(MOST_REASON_CHARS as usize).collect()
            });
            (status, problem)
        }
    }
}

impl Call<'_> {
    /// The channel of the call, in any state.
    fn channel(&self) -> Result<(Channel, ChannelDescription), ApiError> {
        debug_assert_eq!(self.operation.resource, Resource::Channel);
        let arn = self.get(CHANNEL_ARN);
        let ResourceName::Channel(name) = arn::resource(arn) else {
            return Err(self.context.channel_not_found(arn));
        };
        let found = self.context.channel(name);
        let found = found.and_then(|channel| Ok((channel.clone(), channel.describe()?)));
        found.map_err(|error| self.channel_refusal(error))
    }

    /// As [`refusal`](Context::refusal), for a call that names its channel.
    fn channel_refusal(&self, error: Error) -> ApiError {
        match error {
            Error::ChannelNotFound { .. } | Error::StreamNotFound { .. } => {
                self.context.channel_not_found(self.get(CHANNEL_ARN))
            }
            error => self.context.refusal(error),
        }
    }
}

const DESCRIBE_ERRORS: &[&str] = &[
    exception::VALIDATION,
    exception::RESOURCE_NOT_FOUND,
    exception::LIMIT_EXCEEDED,
    exception::INVALID_ARGUMENT,
    exception::ACCESS_DENIED,
];

pub(super) const DESCRIBE_CHANNEL: Operation = Operation {
    name: "DescribeChannel",
    class: Class::Control,
    resource: Resource::Channel,
    input: members![CHANNEL_ARN],
    output: members![CHANNEL_DESCRIPTION],
    errors: DESCRIBE_ERRORS,
    run: |request| request.blocking(describe_channel),
};

fn describe_channel(call: &Call<'_>) -> Result<Reply, ApiError> {
    let (channel, description) = call.channel()?;
    reply(call, call.context, &channel, &description)
}

const MAX_RESULTS: Key<Option<Integer>> = optional("MaxResults", shapes::LIMIT);
const NEXT_TOKEN: Key<Option<Text>> = optional("NextToken", shapes::NEXT_TOKEN);

pub(super) const LIST_CHANNELS: Operation = Operation {
    name: "ListChannels",
    class: Class::Control,
    resource: Resource::Channel,
    input: members![STREAM_FILTER, MAX_RESULTS, NEXT_TOKEN],
    output: members![CHANNEL_SUMMARIES, NEXT_TOKEN],
    errors: &[
        exception::VALIDATION,
        exception::EXPIRED_NEXT_TOKEN,
        exception::LIMIT_EXCEEDED,
        exception::INVALID_ARGUMENT,
        exception::ACCESS_DENIED,
    ],
    run: |request| request.blocking(list_channels),
};

/// In the order of their names.
fn list_channels(call: &Call<'_>) -> Result<Reply, ApiError> {
    const MOST_LISTED: usize = 100;
    let context = call.context;
    let service = context.service;
    let after = match call.get(NEXT_TOKEN) {
        Some(token) => Some(open_next_token::<ChannelsToken>(context, token)?.after),
        None => None,
    };
    let mut channels: Vec<(Channel, ChannelDescription, Timestamp)> = Vec::new();
    for summary in wanted_streams(call)? {
        // A stream that is deleted meanwhile has none.
        let Ok(stream) = service.store.stream_by_id(summary.id) else {
            continue;
        };
        for description in stream.channels().unwrap_or_default() {
            if after.as_ref().is_none_or(|after| description.name > *after)
                && let Ok(channel) = stream.channel_by_id(description.id)
            {
                channels.push((channel, description, summary.created));
            }
        }
    }
    channels.sort_by(|(_, first, _), (_, second, _)| first.name.cmp(&second.name));
    let limit = call.input.limit(MAX_RESULTS, MOST_LISTED);
    let has_more = channels.len() > limit;
    channels.truncate(limit);
    let last = channels.last().filter(|_| has_more);
    let next = last.map(|(_, last, _)| {
        let after = last.name.clone();
        service.tokens.seal(service.store.now(), &ChannelsToken { after })
    });
    Ok(call.reply(|reply| {
        reply.set_list(
            CHANNEL_SUMMARIES,
            &channels,
            |shown, (channel, description, created)| {
                show(shown, context, channel, description);
                let kind = match description.destination {
                    Some(_) => "S3",
                    None => "S3_TABLES",
                };
                shown.set(CHANNEL_DESTINATION_TYPE, kind);
                shown.set_list(STREAMS, [()], |stream, ()| {
                    stream.set(STREAM_ARN, context.stream_arn(channel.stream().name()));
                    stream.set(STREAM_CREATION_TIMESTAMP, *created);
                });
            },
        );
        reply.set_some(NEXT_TOKEN, next.as_deref());
    }))
}

pub(super) const UPDATE_CHANNEL: Operation = Operation {
    name: "UpdateChannel",
    class: Class::Control,
    resource: Resource::Channel,
    input: members![
        CHANNEL_ARN,
        S3_DESTINATION_UPDATE,
        TABLES_DESTINATION_UPDATE,
        LOGGING_CONFIGURATION,
    ],
    output: members![CHANNEL_DESCRIPTION],
    errors: &[
        exception::VALIDATION,
        exception::RESOURCE_IN_USE,
        exception::RESOURCE_NOT_FOUND,
        exception::LIMIT_EXCEEDED,
        exception::INVALID_ARGUMENT,
        exception::ACCESS_DENIED,
    ],
    run: |request| request.blocking(update_channel),
};

fn update_channel(call: &Call<'_>) -> Result<Reply, ApiError> {
    let context = call.context;
    let refusal = |error| call.channel_refusal(error);
    let seconds = |given: &Input<'_>| given.get(DATA_FRESHNESS_SHOWN);
    let (s3, tables) = (
        call.get(S3_DESTINATION_UPDATE),
        call.get(TABLES_DESTINATION_UPDATE),
    );
    let logging = call.get(LOGGING_CONFIGURATION);
    let freshness = given_freshness(s3.map(seconds), tables.map(seconds))?;
    let (channel, description) = call.channel()?;
    let _one_at_a_time = context
        .service
        .channel_notes
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let mut notes = notes(context, &channel, &description)?;
    let is_other_kind = match notes.destination {
        Noted::S3 { .. } => tables.is_some(),
        Noted::Tables { .. } => s3.is_some(),
    };
    if is_other_kind {
        return Err(ApiError::invalid_argument(format!(
            "Channel {} has a destination of the other kind.",
            description.name
        )));
    }
    if freshness.is_none() && logging.is_none() {
        return Err(ApiError::invalid_argument(
            "Specify a DataFreshnessInSeconds or a LoggingConfiguration.",
        ));
    }
    if let Some(logging) = logging {
        notes.logging = Logging::given(logging);
    }
    let changed = channel.change(freshness, &noted(&notes)?);
    changed.map_err(refusal)?;
    let description = channel.describe().map_err(refusal)?;
    reply(call, context, &channel, &description)
}

pub(super) const DELETE_CHANNEL: Operation = Operation {
    name: "DeleteChannel",
    class: Class::Control,
    resource: Resource::Channel,
    input: members![CHANNEL_ARN],
    output: members![],
    errors: DESCRIBE_ERRORS,
    run: |request| request.blocking(delete_channel),
};

fn delete_channel(call: &Call<'_>) -> Result<Reply, ApiError> {
    let (channel, _) = call.channel()?;
    channel.delete().map_err(|error| call.channel_refusal(error))?;
    Ok(Reply::empty())
}
