//! Queues over streams. None of these operations is offered yet.

use super::shapes;
use crate::kinesis::error::exception;
use crate::kinesis::key::{
    INTEGER, Integer, List, Shape, Structure, TEXT, TIME, Text, list, members, optional, required, structure,
};
use crate::kinesis::operation::{Class, Operation, Resource};
use crate::kinesis::shape::Pattern;

const QUEUE_STARTING_POSITION_TYPE: Shape<Text> = TEXT.one_of(&["TRIM_HORIZON", "LATEST", "AT_TIMESTAMP"]);

const QUEUE_STARTING_POSITION: Shape<Structure> = structure(members![
    required("Type", QUEUE_STARTING_POSITION_TYPE),
    optional("Timestamp", TIME),
]);

const QUEUE_STREAM_CONFIGURATION: Shape<Structure> = structure(members![
    required("StreamARN", shapes::STREAM_ARN),
    optional("StartingPosition", QUEUE_STARTING_POSITION),
]);

const QUEUE_STREAM_CONFIGURATION_LIST: Shape<List<Structure>> =
    list(&QUEUE_STREAM_CONFIGURATION).at_least(1).at_most(10_000);

const VISIBILITY_TIMEOUT_SECONDS: Shape<Integer> = INTEGER.at_least(0).at_most(43_200);

const TARGET_TYPE: Shape<Text> = TEXT.one_of(&["BUILT_IN", "NONE"]);

const MAX_RECEIVE_COUNT: Shape<Integer> = INTEGER.at_least(1).at_most(1000);

const DEAD_LETTER_CONFIGURATION: Shape<Structure> = structure(members![
    required("TargetType", TARGET_TYPE),
    optional("MaxReceiveCount", MAX_RECEIVE_COUNT),
]);

const QUEUE_ATTRIBUTES: Shape<Structure> = structure(members![
    optional("VisibilityTimeoutSeconds", VISIBILITY_TIMEOUT_SECONDS),
    optional("DeadLetterConfiguration", DEAD_LETTER_CONFIGURATION),
]);

const QUEUE_ARN: Shape<Text> = TEXT
    .pattern(Pattern::declared(r"arn:aws.*:kinesis:.*:\d{12}:queue/\S+"))
    .at_least(1)
    .at_most(2048);

const QUEUE_STATUS: Shape<Text> = TEXT.one_of(&["CREATING", "ACTIVE", "UPDATING", "DELETING"]);

const QUEUE_DESCRIPTION: Shape<Structure> = structure(members![
    required("QueueName", shapes::NAME),
    required("QueueARN", QUEUE_ARN),
    required("QueueStatus", QUEUE_STATUS),
    required("QueueCreationTimestamp", TIME),
    required("StreamConfigurationList", QUEUE_STREAM_CONFIGURATION_LIST),
    optional("QueueAttributes", QUEUE_ATTRIBUTES),
]);

const QUEUE_STREAM_FILTER: Shape<Structure> = structure(members![
    required("StreamARN", shapes::STREAM_ARN),
    optional("StreamCreationTimestamp", TIME),
]);

const QUEUE_STREAM_FILTER_LIST: Shape<List<Structure>> =
    list(&QUEUE_STREAM_FILTER).at_least(1).at_most(10_000);

const QUEUE_STREAM_IDENTIFIER: Shape<Structure> = structure(members![
    required("StreamARN", shapes::STREAM_ARN),
    required("StreamCreationTimestamp", TIME),
]);

const QUEUE_STREAM_IDENTIFIER_LIST: Shape<List<Structure>> =
    list(&QUEUE_STREAM_IDENTIFIER).at_least(1).at_most(10_000);

const QUEUE_SUMMARY: Shape<Structure> = structure(members![
    required("QueueName", shapes::NAME),
    required("QueueARN", QUEUE_ARN),
    required("QueueStatus", QUEUE_STATUS),
    required("QueueCreationTimestamp", TIME),
    required("Streams", QUEUE_STREAM_IDENTIFIER_LIST),
]);

const QUEUE_SUMMARY_LIST: Shape<List<Structure>> = list(&QUEUE_SUMMARY);

const RECEIVE_QUEUE_RECORDS_INPUT_LIMIT: Shape<Integer> = INTEGER.at_least(1).at_most(10);

const RECEIVE_QUEUE_RECORDS_WAIT_TIME_SECONDS: Shape<Integer> = INTEGER.at_least(1).at_most(20);

const RECEIPT_HANDLE: Shape<Text> = TEXT.at_least(1).at_most(1024);

const RECORD_ID: Shape<Text> = TEXT
    .pattern(Pattern::declared(r"^[a-z0-9]+$"))
    .at_least(1)
    .at_most(64);

const RECEIVE_COUNT: Shape<Integer> = INTEGER.at_least(0);

const QUEUE_RECORD: Shape<Structure> = structure(members![
    required("ReceiptHandle", RECEIPT_HANDLE),
    required("RecordId", RECORD_ID),
    optional("PartitionKey", shapes::PARTITION_KEY),
    required("Data", shapes::DATA),
    required("ApproximateArrivalTimestamp", TIME),
    required("FirstReceiveTimestamp", TIME),
    required("ReceiveCount", RECEIVE_COUNT),
]);

const QUEUE_RECORD_LIST: Shape<List<Structure>> = list(&QUEUE_RECORD);

const ACKNOWLEDGE_QUEUE_RECORDS_REQUEST_ENTRY: Shape<Structure> =
    structure(members![required("ReceiptHandle", RECEIPT_HANDLE),]);

const ACKNOWLEDGE_QUEUE_RECORDS_REQUEST_ENTRY_LIST: Shape<List<Structure>> =
    list(&ACKNOWLEDGE_QUEUE_RECORDS_REQUEST_ENTRY)
        .at_least(1)
        .at_most(10);

const ACKNOWLEDGE_QUEUE_RECORDS_RESULT_ENTRY: Shape<Structure> =
    structure(members![required("ReceiptHandle", RECEIPT_HANDLE),]);

const ACKNOWLEDGE_QUEUE_RECORDS_RESULT_ENTRY_LIST: Shape<List<Structure>> =
    list(&ACKNOWLEDGE_QUEUE_RECORDS_RESULT_ENTRY);

const ACKNOWLEDGE_QUEUE_RECORDS_ERROR_ENTRY: Shape<Structure> = structure(members![
    required("ReceiptHandle", RECEIPT_HANDLE),
    required("ErrorCode", TEXT),
    optional("ErrorMessage", TEXT),
]);

const ACKNOWLEDGE_QUEUE_RECORDS_ERROR_ENTRY_LIST: Shape<List<Structure>> =
    list(&ACKNOWLEDGE_QUEUE_RECORDS_ERROR_ENTRY);

const UPDATE_QUEUE_RECORDS_VISIBILITY_REQUEST_ENTRY: Shape<Structure> = structure(members![
    required("ReceiptHandle", RECEIPT_HANDLE),
    required("VisibilityTimeoutSeconds", VISIBILITY_TIMEOUT_SECONDS),
]);

const UPDATE_QUEUE_RECORDS_VISIBILITY_REQUEST_ENTRY_LIST: Shape<List<Structure>> =
    list(&UPDATE_QUEUE_RECORDS_VISIBILITY_REQUEST_ENTRY)
        .at_least(1)
        .at_most(10);

const UPDATE_QUEUE_RECORDS_VISIBILITY_RESULT_ENTRY: Shape<Structure> =
    structure(members![required("ReceiptHandle", RECEIPT_HANDLE),]);

const UPDATE_QUEUE_RECORDS_VISIBILITY_RESULT_ENTRY_LIST: Shape<List<Structure>> =
    list(&UPDATE_QUEUE_RECORDS_VISIBILITY_RESULT_ENTRY);

const UPDATE_QUEUE_RECORDS_VISIBILITY_ERROR_ENTRY: Shape<Structure> = structure(members![
    required("ReceiptHandle", RECEIPT_HANDLE),
    required("ErrorCode", TEXT),
    optional("ErrorMessage", TEXT),
]);

const UPDATE_QUEUE_RECORDS_VISIBILITY_ERROR_ENTRY_LIST: Shape<List<Structure>> =
    list(&UPDATE_QUEUE_RECORDS_VISIBILITY_ERROR_ENTRY);

const ACKNOWLEDGE_DEAD_LETTER_QUEUE_RECORDS_REQUEST_ENTRY: Shape<Structure> =
    structure(members![required("ReceiptHandle", RECEIPT_HANDLE),]);

const ACKNOWLEDGE_DEAD_LETTER_QUEUE_RECORDS_REQUEST_ENTRY_LIST: Shape<List<Structure>> =
    list(&ACKNOWLEDGE_DEAD_LETTER_QUEUE_RECORDS_REQUEST_ENTRY)
        .at_least(1)
        .at_most(10);

const ACKNOWLEDGE_DEAD_LETTER_QUEUE_RECORDS_RESULT_ENTRY: Shape<Structure> =
    structure(members![required("ReceiptHandle", RECEIPT_HANDLE),]);

const ACKNOWLEDGE_DEAD_LETTER_QUEUE_RECORDS_RESULT_ENTRY_LIST: Shape<List<Structure>> =
    list(&ACKNOWLEDGE_DEAD_LETTER_QUEUE_RECORDS_RESULT_ENTRY);

const ACKNOWLEDGE_DEAD_LETTER_QUEUE_RECORDS_ERROR_ENTRY: Shape<Structure> = structure(members![
    required("ReceiptHandle", RECEIPT_HANDLE),
    required("ErrorCode", TEXT),
    optional("ErrorMessage", TEXT),
]);

const ACKNOWLEDGE_DEAD_LETTER_QUEUE_RECORDS_ERROR_ENTRY_LIST: Shape<List<Structure>> =
    list(&ACKNOWLEDGE_DEAD_LETTER_QUEUE_RECORDS_ERROR_ENTRY);

const UPDATE_DEAD_LETTER_QUEUE_RECORDS_VISIBILITY_REQUEST_ENTRY: Shape<Structure> = structure(members![
    required("ReceiptHandle", RECEIPT_HANDLE),
    required("VisibilityTimeoutSeconds", VISIBILITY_TIMEOUT_SECONDS),
]);

const UPDATE_DEAD_LETTER_QUEUE_RECORDS_VISIBILITY_REQUEST_ENTRY_LIST: Shape<List<Structure>> =
    list(&UPDATE_DEAD_LETTER_QUEUE_RECORDS_VISIBILITY_REQUEST_ENTRY)
        .at_least(1)
        .at_most(10);

const UPDATE_DEAD_LETTER_QUEUE_RECORDS_VISIBILITY_RESULT_ENTRY: Shape<Structure> =
    structure(members![required("ReceiptHandle", RECEIPT_HANDLE),]);

const UPDATE_DEAD_LETTER_QUEUE_RECORDS_VISIBILITY_RESULT_ENTRY_LIST: Shape<List<Structure>> =
    list(&UPDATE_DEAD_LETTER_QUEUE_RECORDS_VISIBILITY_RESULT_ENTRY);

const UPDATE_DEAD_LETTER_QUEUE_RECORDS_VISIBILITY_ERROR_ENTRY: Shape<Structure> = structure(members![
    required("ReceiptHandle", RECEIPT_HANDLE),
    required("ErrorCode", TEXT),
    optional("ErrorMessage", TEXT),
]);

const UPDATE_DEAD_LETTER_QUEUE_RECORDS_VISIBILITY_ERROR_ENTRY_LIST: Shape<List<Structure>> =
    list(&UPDATE_DEAD_LETTER_QUEUE_RECORDS_VISIBILITY_ERROR_ENTRY);

const RESTORE_DEAD_LETTER_QUEUE_RECORDS_REQUEST_ENTRY: Shape<Structure> =
    structure(members![required("ReceiptHandle", RECEIPT_HANDLE),]);

const RESTORE_DEAD_LETTER_QUEUE_RECORDS_REQUEST_ENTRY_LIST: Shape<List<Structure>> =
    list(&RESTORE_DEAD_LETTER_QUEUE_RECORDS_REQUEST_ENTRY)
        .at_least(1)
        .at_most(10);

const RESTORE_DEAD_LETTER_QUEUE_RECORDS_RESULT_ENTRY: Shape<Structure> =
    structure(members![required("ReceiptHandle", RECEIPT_HANDLE),]);

const RESTORE_DEAD_LETTER_QUEUE_RECORDS_RESULT_ENTRY_LIST: Shape<List<Structure>> =
    list(&RESTORE_DEAD_LETTER_QUEUE_RECORDS_RESULT_ENTRY);

const RESTORE_DEAD_LETTER_QUEUE_RECORDS_ERROR_ENTRY: Shape<Structure> = structure(members![
    required("ReceiptHandle", RECEIPT_HANDLE),
    required("ErrorCode", TEXT),
    optional("ErrorMessage", TEXT),
]);

const RESTORE_DEAD_LETTER_QUEUE_RECORDS_ERROR_ENTRY_LIST: Shape<List<Structure>> =
    list(&RESTORE_DEAD_LETTER_QUEUE_RECORDS_ERROR_ENTRY);

pub(super) const CREATE_QUEUE: Operation = Operation {
    name: "CreateQueue",
    class: Class::Control,
    resource: Resource::Queue,
    input: members![
        required("QueueName", shapes::NAME),
        required("StreamConfigurationList", QUEUE_STREAM_CONFIGURATION_LIST),
        optional("QueueAttributes", QUEUE_ATTRIBUTES),
        optional("Tags", shapes::TAGS),
    ],
    output: members![required("QueueDescription", QUEUE_DESCRIPTION),],
    errors: &[
        exception::VALIDATION,
        exception::RESOURCE_IN_USE,
        exception::RESOURCE_NOT_FOUND,
        exception::LIMIT_EXCEEDED,
        exception::INVALID_ARGUMENT,
        exception::ACCESS_DENIED,
        exception::INTERNAL_FAILURE,
    ],
    run: None,
};

pub(super) const DESCRIBE_QUEUE: Operation = Operation {
    name: "DescribeQueue",
    class: Class::Control,
    resource: Resource::Queue,
    input: members![required("QueueARN", QUEUE_ARN),],
    output: members![required("QueueDescription", QUEUE_DESCRIPTION),],
    errors: &[
        exception::VALIDATION,
        exception::RESOURCE_NOT_FOUND,
        exception::LIMIT_EXCEEDED,
        exception::INVALID_ARGUMENT,
        exception::ACCESS_DENIED,
        exception::INTERNAL_FAILURE,
    ],
    run: None,
};

pub(super) const LIST_QUEUES: Operation = Operation {
    name: "ListQueues",
    class: Class::Control,
    resource: Resource::Queue,
    input: members![
        optional("MaxResults", shapes::LIMIT),
        optional("NextToken", shapes::NEXT_TOKEN),
        optional("StreamFilter", QUEUE_STREAM_FILTER_LIST),
    ],
    output: members![
        required("QueueSummaries", QUEUE_SUMMARY_LIST),
        optional("NextToken", shapes::NEXT_TOKEN),
    ],
    errors: &[
        exception::VALIDATION,
        exception::EXPIRED_NEXT_TOKEN,
        exception::LIMIT_EXCEEDED,
        exception::INVALID_ARGUMENT,
        exception::ACCESS_DENIED,
        exception::INTERNAL_FAILURE,
    ],
    run: None,
};

pub(super) const UPDATE_QUEUE: Operation = Operation {
    name: "UpdateQueue",
    class: Class::Control,
    resource: Resource::Queue,
    input: members![
        required("QueueARN", QUEUE_ARN),
        required("QueueAttributes", QUEUE_ATTRIBUTES),
    ],
    output: members![required("QueueDescription", QUEUE_DESCRIPTION),],
    errors: &[
        exception::VALIDATION,
        exception::RESOURCE_IN_USE,
        exception::RESOURCE_NOT_FOUND,
        exception::LIMIT_EXCEEDED,
        exception::INVALID_ARGUMENT,
        exception::ACCESS_DENIED,
        exception::INTERNAL_FAILURE,
    ],
    run: None,
};

pub(super) const DELETE_QUEUE: Operation = Operation {
    name: "DeleteQueue",
    class: Class::Control,
    resource: Resource::Queue,
    input: members![required("QueueARN", QUEUE_ARN),],
    output: members![],
    errors: &[
        exception::VALIDATION,
        exception::RESOURCE_NOT_FOUND,
        exception::LIMIT_EXCEEDED,
        exception::INVALID_ARGUMENT,
        exception::ACCESS_DENIED,
        exception::INTERNAL_FAILURE,
    ],
    run: None,
};

pub(super) const RECEIVE_QUEUE_RECORDS: Operation = Operation {
    name: "ReceiveQueueRecords",
    class: Class::Read,
    resource: Resource::Queue,
    input: members![
        required("QueueARN", QUEUE_ARN),
        optional("Limit", RECEIVE_QUEUE_RECORDS_INPUT_LIMIT),
        optional("WaitTimeSeconds", RECEIVE_QUEUE_RECORDS_WAIT_TIME_SECONDS),
        optional("VisibilityTimeoutSeconds", VISIBILITY_TIMEOUT_SECONDS),
    ],
    output: members![required("QueueRecords", QUEUE_RECORD_LIST),],
    errors: &[
        exception::ACCESS_DENIED,
        exception::INTERNAL_FAILURE,
        exception::INVALID_ARGUMENT,
        exception::RESOURCE_NOT_FOUND,
        exception::KMS_ACCESS_DENIED,
        exception::KMS_DISABLED,
        exception::KMS_INVALID_STATE,
        exception::KMS_NOT_FOUND,
        exception::KMS_OPT_IN_REQUIRED,
        exception::KMS_THROTTLING,
        exception::THROTTLING,
    ],
    run: None,
};

pub(super) const ACKNOWLEDGE_QUEUE_RECORDS: Operation = Operation {
    name: "AcknowledgeQueueRecords",
    class: Class::Data,
    resource: Resource::Queue,
    input: members![
        required("QueueARN", QUEUE_ARN),
        required("Entries", ACKNOWLEDGE_QUEUE_RECORDS_REQUEST_ENTRY_LIST),
    ],
    output: members![
        required("Successful", ACKNOWLEDGE_QUEUE_RECORDS_RESULT_ENTRY_LIST),
        required("Failed", ACKNOWLEDGE_QUEUE_RECORDS_ERROR_ENTRY_LIST),
    ],
    errors: &[
        exception::ACCESS_DENIED,
        exception::INTERNAL_FAILURE,
        exception::INVALID_ARGUMENT,
        exception::RESOURCE_NOT_FOUND,
        exception::THROTTLING,
    ],
    run: None,
};

pub(super) const UPDATE_QUEUE_RECORDS_VISIBILITY: Operation = Operation {
    name: "UpdateQueueRecordsVisibility",
    class: Class::Data,
    resource: Resource::Queue,
    input: members![
        required("QueueARN", QUEUE_ARN),
        required("Entries", UPDATE_QUEUE_RECORDS_VISIBILITY_REQUEST_ENTRY_LIST),
    ],
    output: members![
        required("Successful", UPDATE_QUEUE_RECORDS_VISIBILITY_RESULT_ENTRY_LIST),
        required("Failed", UPDATE_QUEUE_RECORDS_VISIBILITY_ERROR_ENTRY_LIST),
    ],
    errors: &[
        exception::ACCESS_DENIED,
        exception::INTERNAL_FAILURE,
        exception::INVALID_ARGUMENT,
        exception::RESOURCE_NOT_FOUND,
        exception::THROTTLING,
    ],
    run: None,
};

pub(super) const RECEIVE_DEAD_LETTER_QUEUE_RECORDS: Operation = Operation {
    name: "ReceiveDeadLetterQueueRecords",
    class: Class::Read,
    resource: Resource::Queue,
    input: members![
        required("QueueARN", QUEUE_ARN),
        optional("Limit", RECEIVE_QUEUE_RECORDS_INPUT_LIMIT),
        optional("WaitTimeSeconds", RECEIVE_QUEUE_RECORDS_WAIT_TIME_SECONDS),
        optional("VisibilityTimeoutSeconds", VISIBILITY_TIMEOUT_SECONDS),
    ],
    output: members![required("QueueRecords", QUEUE_RECORD_LIST),],
    errors: &[
        exception::ACCESS_DENIED,
        exception::INTERNAL_FAILURE,
        exception::INVALID_ARGUMENT,
        exception::RESOURCE_NOT_FOUND,
        exception::KMS_ACCESS_DENIED,
        exception::KMS_DISABLED,
        exception::KMS_INVALID_STATE,
        exception::KMS_NOT_FOUND,
        exception::KMS_OPT_IN_REQUIRED,
        exception::KMS_THROTTLING,
        exception::THROTTLING,
    ],
    run: None,
};

pub(super) const ACKNOWLEDGE_DEAD_LETTER_QUEUE_RECORDS: Operation = Operation {
    name: "AcknowledgeDeadLetterQueueRecords",
    class: Class::Data,
    resource: Resource::Queue,
    input: members![
        required("QueueARN", QUEUE_ARN),
        required(
            "Entries",
            ACKNOWLEDGE_DEAD_LETTER_QUEUE_RECORDS_REQUEST_ENTRY_LIST
        ),
    ],
    output: members![
        required(
            "Successful",
            ACKNOWLEDGE_DEAD_LETTER_QUEUE_RECORDS_RESULT_ENTRY_LIST
        ),
        required("Failed", ACKNOWLEDGE_DEAD_LETTER_QUEUE_RECORDS_ERROR_ENTRY_LIST),
    ],
    errors: &[
        exception::ACCESS_DENIED,
        exception::INTERNAL_FAILURE,
        exception::INVALID_ARGUMENT,
        exception::RESOURCE_NOT_FOUND,
        exception::THROTTLING,
    ],
    run: None,
};

pub(super) const UPDATE_DEAD_LETTER_QUEUE_RECORDS_VISIBILITY: Operation = Operation {
    name: "UpdateDeadLetterQueueRecordsVisibility",
    class: Class::Data,
    resource: Resource::Queue,
    input: members![
        required("QueueARN", QUEUE_ARN),
        required(
            "Entries",
            UPDATE_DEAD_LETTER_QUEUE_RECORDS_VISIBILITY_REQUEST_ENTRY_LIST
        ),
    ],
    output: members![
        required(
            "Successful",
            UPDATE_DEAD_LETTER_QUEUE_RECORDS_VISIBILITY_RESULT_ENTRY_LIST
        ),
        required(
            "Failed",
            UPDATE_DEAD_LETTER_QUEUE_RECORDS_VISIBILITY_ERROR_ENTRY_LIST
        ),
    ],
    errors: &[
        exception::ACCESS_DENIED,
        exception::INTERNAL_FAILURE,
        exception::INVALID_ARGUMENT,
        exception::RESOURCE_NOT_FOUND,
        exception::THROTTLING,
    ],
    run: None,
};

pub(super) const RESTORE_DEAD_LETTER_QUEUE_RECORDS: Operation = Operation {
    name: "RestoreDeadLetterQueueRecords",
    class: Class::Data,
    resource: Resource::Queue,
    input: members![
        required("QueueARN", QUEUE_ARN),
        required("Entries", RESTORE_DEAD_LETTER_QUEUE_RECORDS_REQUEST_ENTRY_LIST),
    ],
    output: members![
        required("Successful", RESTORE_DEAD_LETTER_QUEUE_RECORDS_RESULT_ENTRY_LIST),
        required("Failed", RESTORE_DEAD_LETTER_QUEUE_RECORDS_ERROR_ENTRY_LIST),
    ],
    errors: &[
        exception::ACCESS_DENIED,
        exception::INTERNAL_FAILURE,
        exception::INVALID_ARGUMENT,
        exception::RESOURCE_NOT_FOUND,
        exception::THROTTLING,
    ],
    run: None,
};
