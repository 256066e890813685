//! Policies of resources: documents that are kept and shown. [`authorization`](crate::kinesis::authorization) decides
//! what they allow and deny.

use serde_json::Value;

use super::resource_reference::{Named, RESOURCE_ARN};
use super::stream_reference::STREAM_ID;
use crate::kinesis::authorization::POLICY_ATTRIBUTE;
use crate::kinesis::error::{ApiError, exception};
use crate::kinesis::key::{Key, TEXT, Text, members, required};
use crate::kinesis::operation::{Call, Class, Operation, Reply, Resource};
use crate::kinesis::policy;

const POLICY: Key<Text> = required("Policy", TEXT);

const ERRORS: &[&str] = &[
    exception::VALIDATION,
    exception::ACCESS_DENIED,
    exception::RESOURCE_NOT_FOUND,
    exception::LIMIT_EXCEEDED,
    exception::INVALID_ARGUMENT,
    exception::RESOURCE_IN_USE,
    exception::INTERNAL_FAILURE,
];

/// AWS' answer for a resource without a policy.
const NO_POLICY: &str = "{}";

pub(super) const PUT_RESOURCE_POLICY: Operation = Operation {
    name: "PutResourcePolicy",
    class: Class::Control,
    resource: Resource::Any,
    input: members![RESOURCE_ARN, STREAM_ID, POLICY],
    output: members![],
    errors: ERRORS,
    run: |request| request.blocking(put_resource_policy),
};

fn put_resource_policy(call: &Call<'_>) -> Result<Reply, ApiError> {
    let policy = call.get(POLICY);
    check(policy)?;
    let resource = call.resource()?;
    resource.check_active(call.context)?;
    resource.set_attribute(call.context, POLICY_ATTRIBUTE, Some(policy.as_bytes()))?;
    Ok(Reply::empty())
}

fn check(policy: &str) -> Result<(), ApiError> {
    const MOST_BYTES: usize = 20 << 10;
    if policy.len() > MOST_BYTES {
        return Err(ApiError::invalid_argument(format!(
            "The policy has {} bytes. A policy may have {MOST_BYTES} bytes at most.",
            policy.len()
        )));
    }
    let document = serde_json::from_str(policy).ok().filter(Value::is_object);
    let document = document.ok_or(ApiError::invalid_argument("The policy is not a JSON object."))?;
    match policy::first_without_effect(&document) {
        None => Ok(()),
        Some(place) => Err(ApiError::invalid_argument(format!(
            "Statement {} of the policy has no Effect that is Allow or Deny.",
            place + 1
        ))),
    }
}

pub(super) const GET_RESOURCE_POLICY: Operation = Operation {
    name: "GetResourcePolicy",
    class: Class::Control,
    resource: Resource::Any,
    input: members![RESOURCE_ARN, STREAM_ID],
    output: members![POLICY],
    errors: ERRORS,
    run: |request| request.blocking(get_resource_policy),
};

fn get_resource_policy(call: &Call<'_>) -> Result<Reply, ApiError> {
    let policy = stored(call, &call.resource()?)?;
    Ok(call.reply(|reply| reply.set(POLICY, policy.as_deref().unwrap_or(NO_POLICY))))
}

fn stored(call: &Call<'_>, resource: &Named) -> Result<Option<String>, ApiError> {
    let policy = resource.attribute(call.context, POLICY_ATTRIBUTE)?;
    let policy = policy.map(String::from_utf8).transpose();
    policy.map_err(|_| ApiError::internal("The policy is in a form that this server cannot read."))
}

pub(super) const DELETE_RESOURCE_POLICY: Operation = Operation {
    name: "DeleteResourcePolicy",
    class: Class::Control,
    resource: Resource::Any,
    input: members![RESOURCE_ARN, STREAM_ID],
    output: members![],
    errors: ERRORS,
    run: |request| request.blocking(delete_resource_policy),
};

fn delete_resource_policy(call: &Call<'_>) -> Result<Reply, ApiError> {
    let resource = call.resource()?;
    resource.check_active(call.context)?;
    if stored(call, &resource)?.is_none() {
        return Err(ApiError::not_found(format!(
            "Resource {} under account {} has no policy.",
            call.get(RESOURCE_ARN),
            call.context.account_id()
        )));
    }
    resource.set_attribute(call.context, POLICY_ATTRIBUTE, None)?;
    Ok(Reply::empty())
}
