//! Decides by the policies of resources what a caller may do.
//!
//! It only matters with credentials: without them all callers are the same, and may do everything. With them, a caller
//! of the account that owns a resource may do everything that its policy does not deny, and a caller of another account
//! only what it allows. The policy cannot keep its own account from reading and changing it: otherwise a denial of
//! everything could never be removed.

use serde_json::Value as Json;

use super::arn::{self, ConsumerArn, ResourceName, StreamArn};
use super::convert::{Input, Value, shown};
use super::credentials::Identity;
use super::error::ApiError;
use super::policy::{self, Decision, Question};
use super::service::Context;
use crate::{Channel, ConsumerDescription, Error, Queue, Stream};

/// The attribute of a resource that has its policy.
pub(super) const POLICY_ATTRIBUTE: &str = "resource-policy";

/// The ARN of the call's resource in the input.
pub(super) fn named_arn<'a>(input: &'a Input<'_>) -> Option<&'a str> {
    const MEMBERS: [&str; 5] = [
        "StreamARN",
        "ResourceARN",
        "ConsumerARN",
        "QueueARN",
        "ChannelARN",
    ];
    MEMBERS.into_iter().find_map(|member| text(input, member))
}

fn text<'a>(input: &'a Input<'_>, member: &str) -> Option<&'a str> {
    match input.value(member) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

/// The operations that a policy can allow to other accounts. All others are for the owning account.
const SHARED: [&str; 10] = [
    "DescribeStream",
    "DescribeStreamConsumer",
    "DescribeStreamSummary",
    "GetRecords",
    "GetShardIterator",
    "ListShards",
    "ListStreamConsumers",
    "PutRecord",
    "PutRecords",
    "SubscribeToShard",
];

/// The resource of a call.
enum Named {
    Stream(Stream),
    Consumer(Stream, ConsumerDescription),
    Queue(Queue),
    Channel(Channel),
}

/// Why a caller may not make a call, with the ARN of the resource.
enum Refused {
    /// A policy denies it.
    ByPolicy(String),
    /// No policy allows it.
    NotAllowed(String),
    /// The answer cannot be found out.
    Unknown(ApiError),
}

impl Refused {
    fn about(self, arn: &str) -> Refused {
        match self {
            Refused::ByPolicy(_) => Refused::ByPolicy(arn.to_owned()),
            Refused::NotAllowed(_) => Refused::NotAllowed(arn.to_owned()),
            unknown @ Refused::Unknown(_) => unknown,
        }
    }
}

impl Context<'_> {
    /// Refuses a call whose caller may not make it for the resource in the input. The operation refuses a resource that
    /// does not exist, unless it would belong to another account.
    pub(super) fn authorize(&self, input: &Input<'_>) -> Result<(), ApiError> {
        let Some(caller) = self.caller else {
            return Ok(());
        };
        let named_arn = named_arn(input);
        let authorized = match self.named(input, named_arn)? {
            Some(Named::Consumer(stream, consumer)) => self.decide_consumer(caller, &stream, &consumer),
            Some(Named::Stream(stream)) => self.decide_stream(caller, &stream),
            Some(Named::Queue(queue)) => self.decide_queue(caller, &queue),
            Some(Named::Channel(channel)) => self.decide_channel(caller, &channel),
            None if is_foreign(caller, self.account_id()) => Err(Refused::NotAllowed("*".to_owned())),
            None => Ok(()),
        };
        authorized.map_err(|refused| self.told_to(caller, refused, named_arn.unwrap_or("*")))
    }

    /// The ARN in a refusal must not tell another account whether the named resource exists.
    fn told_to(&self, caller: &Identity, refused: Refused, named: &str) -> ApiError {
        match is_foreign(caller, self.account_id()) {
            true => self.told(caller, refused.about(named)),
            false => self.told(caller, refused),
        }
    }

    fn told(&self, caller: &Identity, refused: Refused) -> ApiError {
        let (user, action) = (caller.arn(), self.action());
        ApiError::access_denied(match refused {
            Refused::ByPolicy(arn) => format!(
                "User: {user} is not authorized to perform: {action} on resource: {} with an explicit deny in a \
                 resource-based policy",
                shown(&arn)
            ),
            Refused::NotAllowed(arn) => format!(
                "User: {user} is not authorized to perform: {action} on resource: {} because no resource-based policy \
                 allows the {action} action",
                shown(&arn)
            ),
            Refused::Unknown(error) => return error,
        })
    }

    /// The resource in the input, if it exists. The name of a consumer that is about to be registered stands for the
    /// stream.
    fn named(&self, input: &Input<'_>, named_arn: Option<&str>) -> Result<Option<Named>, ApiError> {
        let stream = |name| self.stream(name).ok();
        match named_arn.map(arn::resource) {
            Some(ResourceName::Consumer {
                stream: name,
                name: consumer_name,
                created_seconds,
            }) => match stream(name) {
                Some(stream) => {
                    let consumer = registered(&stream, consumer_name, Some(created_seconds))?;
                    Ok(consumer.map(|consumer| Named::Consumer(stream, consumer)))
                }
                None => Ok(None),
            },
            Some(ResourceName::Stream(name)) => match (stream(name), text(input, "ConsumerName")) {
                // A consumer that is about to be registered does not exist yet, so the stream's policy decides.
                (Some(stream), Some(_)) if self.operation == "RegisterStreamConsumer" => {
                    Ok(Some(Named::Stream(stream)))
                }
                (Some(stream), Some(consumer_name)) => match registered(&stream, consumer_name, None)? {
                    Some(consumer) => Ok(Some(Named::Consumer(stream, consumer))),
                    None => Ok(Some(Named::Stream(stream))),
                },
                (stream, _) => Ok(stream.map(Named::Stream)),
            },
            Some(ResourceName::Queue(name)) => Ok(self.queue(name).ok().map(Named::Queue)),
            Some(ResourceName::Channel(name)) => Ok(self.channel(name).ok().map(Named::Channel)),
            Some(ResourceName::Unknown) => Ok(None),
            None => Ok(text(input, "StreamName").and_then(stream).map(Named::Stream)),
        }
    }

    /// Refuses a call whose caller may not make it for this stream.
    pub(super) fn authorize_stream(&self, stream: &Stream) -> Result<(), ApiError> {
        let Some(caller) = self.caller else {
            return Ok(());
        };
        let decided = self.decide_stream(caller, stream);
        decided.map_err(|refused| self.told(caller, refused))
    }

    /// The same for a stream that a member of the input names by a well-formed ARN, whether or not it exists.
    pub(super) fn authorize_stream_arn(&self, arn: &str) -> Result<(), ApiError> {
        let stream = arn::stream_name(arn).and_then(|name| self.stream(name).ok());
        let Some(caller) = self.caller else {
            return Ok(());
        };
        let decided = match stream {
            Some(stream) => self.decide_stream(caller, &stream),
            None if is_foreign(caller, self.account_id()) => Err(Refused::NotAllowed(arn.to_owned())),
            None => Ok(()),
        };
        decided.map_err(|refused| self.told_to(caller, refused, arn))
    }

    fn decide_stream(&self, caller: &Identity, stream: &Stream) -> Result<(), Refused> {
        let policy = stream.attribute(POLICY_ATTRIBUTE);
        let arn = stream_arn(stream);
        self.decide(caller, arn.account_id, &arn.to_string(), policy)
    }

    fn decide_consumer(
        &self,
        caller: &Identity,
        stream: &Stream,
        consumer: &ConsumerDescription,
    ) -> Result<(), Refused> {
        let policy = stream.consumer_attribute(consumer.id, POLICY_ATTRIBUTE);
        let arn = ConsumerArn {
            stream: stream_arn(stream),
            consumer_name: &consumer.name,
            created_seconds: consumer.created.as_seconds(),
        };
        self.decide(caller, arn.stream.account_id, &arn.to_string(), policy)
    }

    fn decide_queue(&self, caller: &Identity, queue: &Queue) -> Result<(), Refused> {
        let policy = queue.stream().queue_attribute(queue.id(), POLICY_ATTRIBUTE);
        let arn = self.queue_arn(queue);
        self.decide(caller, arn.account_id, &arn.to_string(), policy)
    }

    fn decide_channel(&self, caller: &Identity, channel: &Channel) -> Result<(), Refused> {
        let policy = channel.stream().channel_attribute(channel.id(), POLICY_ATTRIBUTE);
        let arn = self.channel_arn(channel);
        self.decide(caller, arn.account_id, &arn.to_string(), policy)
    }

    fn decide(
        &self,
        caller: &Identity,
        owner: &str,
        resource_arn: &str,
        policy: crate::Result<Option<Vec<u8>>>,
    ) -> Result<(), Refused> {
        const OF_POLICIES: [&str; 3] = ["GetResourcePolicy", "PutResourcePolicy", "DeleteResourcePolicy"];
        let is_foreign = is_foreign(caller, owner);
        if !is_foreign && OF_POLICIES.contains(&self.operation) {
            return Ok(());
        }
        let policy = match policy {
            Ok(policy) => policy,
            // It was removed since it was found. The operation finds that out too.
            Err(
                Error::StreamNotFound { .. }
                | Error::ConsumerNotFound { .. }
                | Error::QueueNotFound { .. }
                | Error::ChannelNotFound { .. },
            ) => {
                if !is_foreign {
                    return Ok(());
                }
                None
            }
            Err(_) => {
                let error = ApiError::internal("The policy of the resource cannot be read.");
                return Err(Refused::Unknown(error));
            }
        };
        let decision = match policy.as_deref().map(serde_json::from_slice::<Json>) {
            None => Decision::Silent,
            Some(Ok(policy)) => policy::decide(
                &policy,
                &Question {
                    account_id: &caller.account_id,
                    principal_arn: &caller.arn(),
                    action: &self.action(),
                    resource_arn,
                },
            ),
            // It is not known what the policy denies.
            Some(Err(_)) => Decision::Denied,
        };
        match decision {
            Decision::Denied => Err(Refused::ByPolicy(resource_arn.to_owned())),
            Decision::Allowed if is_foreign && !SHARED.contains(&self.operation) => {
                Err(Refused::NotAllowed(resource_arn.to_owned()))
            }
            Decision::Silent if is_foreign => Err(Refused::NotAllowed(resource_arn.to_owned())),
            Decision::Allowed | Decision::Silent => Ok(()),
        }
    }

    fn action(&self) -> String {
        format!("kinesis:{}", self.operation)
    }
}

fn is_foreign(caller: &Identity, owner: &str) -> bool {
    caller.account_id != owner
}

/// The consumer, if it exists.
fn registered(
    stream: &Stream,
    name: &str,
    created_seconds: Option<u64>,
) -> Result<Option<ConsumerDescription>, ApiError> {
    let consumers = match stream.consumers() {
        Ok(consumers) => consumers,
        Err(Error::StreamNotFound { .. }) => return Ok(None),
        Err(_) => return Err(ApiError::internal("The policy of the consumer cannot be read.")),
    };
    Ok(consumers.into_iter().find(|known| {
        known.name == name && created_seconds.is_none_or(|created| known.created.as_seconds() == created)
    }))
}

/// The ARN of a stream by its namespace, which does not depend on the request.
pub(super) fn stream_arn(stream: &Stream) -> StreamArn<'_> {
    let (account_id, region) = stream.namespace().split_once('/').unwrap_or_default();
    StreamArn {
        region,
        account_id,
        stream_name: stream.name(),
    }
}
