//! What can be changed of a stream beside its shards, its retention and its metrics. None of these operations is offered yet.

use super::stream_reference::{STREAM_ARN, STREAM_ID, STREAM_NAME};
use super::{shapes, streams};
use crate::kinesis::error::exception;
use crate::kinesis::key::{members, optional, required};
use crate::kinesis::operation::{Class, Operation, Resource};

pub(super) const START_STREAM_ENCRYPTION: Operation = Operation {
    name: "StartStreamEncryption",
    class: Class::Control,
    resource: Resource::Stream,
    input: members![
        STREAM_NAME,
        required("EncryptionType", shapes::ENCRYPTION_TYPE),
        required("KeyId", shapes::KEY_ID),
        STREAM_ARN,
        STREAM_ID,
    ],
    output: members![],
    errors: &[
        exception::INVALID_ARGUMENT,
        exception::LIMIT_EXCEEDED,
        exception::RESOURCE_IN_USE,
        exception::RESOURCE_NOT_FOUND,
        exception::KMS_DISABLED,
        exception::KMS_INVALID_STATE,
        exception::KMS_ACCESS_DENIED,
        exception::KMS_NOT_FOUND,
        exception::KMS_OPT_IN_REQUIRED,
        exception::KMS_THROTTLING,
        exception::ACCESS_DENIED,
    ],
    run: None,
};

pub(super) const STOP_STREAM_ENCRYPTION: Operation = Operation {
    name: "StopStreamEncryption",
    class: Class::Control,
    resource: Resource::Stream,
    input: members![
        STREAM_NAME,
        required("EncryptionType", shapes::ENCRYPTION_TYPE),
        required("KeyId", shapes::KEY_ID),
        STREAM_ARN,
        STREAM_ID,
    ],
    output: members![],
    errors: &[
        exception::INVALID_ARGUMENT,
        exception::LIMIT_EXCEEDED,
        exception::RESOURCE_IN_USE,
        exception::RESOURCE_NOT_FOUND,
        exception::ACCESS_DENIED,
    ],
    run: None,
};

pub(super) const UPDATE_STREAM_MODE: Operation = Operation {
    name: "UpdateStreamMode",
    class: Class::Control,
    resource: Resource::Stream,
    input: members![
        required("StreamARN", shapes::STREAM_ARN),
        STREAM_ID,
        required("StreamModeDetails", streams::STREAM_MODE_DETAILS),
        optional("WarmThroughputMiBps", shapes::NATURAL),
    ],
    output: members![],
    errors: &[
        exception::INVALID_ARGUMENT,
        exception::LIMIT_EXCEEDED,
        exception::RESOURCE_IN_USE,
        exception::RESOURCE_NOT_FOUND,
        exception::VALIDATION,
    ],
    run: None,
};

pub(super) const UPDATE_MAX_RECORD_SIZE: Operation = Operation {
    name: "UpdateMaxRecordSize",
    class: Class::Control,
    resource: Resource::Stream,
    input: members![
        STREAM_ARN,
        STREAM_ID,
        required("MaxRecordSizeInKiB", shapes::MAX_RECORD_SIZE_IN_KIB),
    ],
    output: members![],
    errors: &[
        exception::RESOURCE_IN_USE,
        exception::RESOURCE_NOT_FOUND,
        exception::LIMIT_EXCEEDED,
        exception::INVALID_ARGUMENT,
        exception::ACCESS_DENIED,
        exception::VALIDATION,
    ],
    run: None,
};

pub(super) const UPDATE_STREAM_RECORD_DISTRIBUTION_STRATEGY: Operation = Operation {
    name: "UpdateStreamRecordDistributionStrategy",
    class: Class::Control,
    resource: Resource::Stream,
    input: members![
        required("StreamARN", shapes::STREAM_ARN),
        STREAM_ID,
        required("RecordDistributionStrategy", shapes::RECORD_DISTRIBUTION_STRATEGY),
    ],
    output: members![],
    errors: &[
        exception::RESOURCE_NOT_FOUND,
        exception::INVALID_ARGUMENT,
        exception::RESOURCE_IN_USE,
        exception::LIMIT_EXCEEDED,
        exception::ACCESS_DENIED,
        exception::VALIDATION,
    ],
    run: None,
};

pub(super) const UPDATE_STREAM_WARM_THROUGHPUT: Operation = Operation {
    name: "UpdateStreamWarmThroughput",
    class: Class::Control,
    resource: Resource::Stream,
    input: members![
        STREAM_ARN,
        STREAM_NAME,
        STREAM_ID,
        required("WarmThroughputMiBps", shapes::NATURAL),
    ],
    output: members![
        STREAM_ARN,
        STREAM_NAME,
        optional("WarmThroughput", shapes::WARM_THROUGHPUT_OBJECT),
    ],
    errors: &[
        exception::ACCESS_DENIED,
        exception::RESOURCE_NOT_FOUND,
        exception::LIMIT_EXCEEDED,
        exception::INVALID_ARGUMENT,
        exception::RESOURCE_IN_USE,
        exception::VALIDATION,
    ],
    run: None,
};
