//! Limits and settings of the account. None of these operations is offered yet.

use super::shapes;
use crate::kinesis::error::exception;
use crate::kinesis::key::{Shape, Structure, TEXT, TIME, Text, members, optional, required, structure};
use crate::kinesis::operation::{Class, Operation, Resource};

const MINIMUM_THROUGHPUT_BILLING_COMMITMENT_OUTPUT_STATUS: Shape<Text> =
    TEXT.one_of(&["ENABLED", "DISABLED", "ENABLED_UNTIL_EARLIEST_ALLOWED_END"]);

const MINIMUM_THROUGHPUT_BILLING_COMMITMENT_OUTPUT: Shape<Structure> = structure(members![
    required("Status", MINIMUM_THROUGHPUT_BILLING_COMMITMENT_OUTPUT_STATUS),
    optional("StartedAt", TIME),
    optional("EndedAt", TIME),
    optional("EarliestAllowedEndAt", TIME),
]);

const MINIMUM_THROUGHPUT_BILLING_COMMITMENT_INPUT_STATUS: Shape<Text> = TEXT.one_of(&["ENABLED", "DISABLED"]);

const MINIMUM_THROUGHPUT_BILLING_COMMITMENT_INPUT: Shape<Structure> = structure(members![required(
    "Status",
    MINIMUM_THROUGHPUT_BILLING_COMMITMENT_INPUT_STATUS
),]);

pub(super) const DESCRIBE_LIMITS: Operation = Operation {
    name: "DescribeLimits",
    class: Class::Control,
    resource: Resource::Account,
    input: members![],
    output: members![
        required("ShardLimit", shapes::COUNT),
        required("OpenShardCount", shapes::COUNT),
        required("OnDemandStreamCount", shapes::COUNT),
        required("OnDemandStreamCountLimit", shapes::COUNT),
        optional("ChannelCount", shapes::COUNT),
        optional("ChannelCountLimit", shapes::COUNT),
    ],
    errors: &[exception::LIMIT_EXCEEDED],
    run: None,
};

pub(super) const DESCRIBE_ACCOUNT_SETTINGS: Operation = Operation {
    name: "DescribeAccountSettings",
    class: Class::Control,
    resource: Resource::Account,
    input: members![],
    output: members![optional(
        "MinimumThroughputBillingCommitment",
        MINIMUM_THROUGHPUT_BILLING_COMMITMENT_OUTPUT
    ),],
    errors: &[exception::LIMIT_EXCEEDED],
    run: None,
};

pub(super) const UPDATE_ACCOUNT_SETTINGS: Operation = Operation {
    name: "UpdateAccountSettings",
    class: Class::Control,
    resource: Resource::Account,
    input: members![required(
        "MinimumThroughputBillingCommitment",
        MINIMUM_THROUGHPUT_BILLING_COMMITMENT_INPUT
    ),],
    output: members![optional(
        "MinimumThroughputBillingCommitment",
        MINIMUM_THROUGHPUT_BILLING_COMMITMENT_OUTPUT
    ),],
    errors: &[
        exception::INVALID_ARGUMENT,
        exception::VALIDATION,
        exception::LIMIT_EXCEEDED,
    ],
    run: None,
};
