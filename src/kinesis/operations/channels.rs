//! Channels, which deliver a stream into objects. None of these operations is offered yet.

use super::shapes;
use crate::kinesis::error::exception;
use crate::kinesis::key::{
    BOOLEAN, INTEGER, List, Shape, Structure, TEXT, TIME, Text, list, members, optional, required, structure,
};
use crate::kinesis::operation::{Class, Operation, Resource};
use crate::kinesis::shape::Pattern;

const ROLE_ARN: Shape<Text> = TEXT
    .pattern(Pattern::declared(
        r"arn:aws[-a-z0-9]*:iam::\d{12}:role/[a-zA-Z_0-9+=,.@\-_/]+",
    ))
    .at_least(1)
    .at_most(512);

const RECORD_FORMAT_TYPE: Shape<Text> = TEXT.one_of(&["GSR_JSON", "JSON", "STRING", "BYTE_ARRAY"]);

const GSR_SCHEMA_ARN: Shape<Text> = TEXT
    .pattern(Pattern::declared(
        r"arn:aws[-a-z0-9]*:glue:[-a-z0-9]+:\d{12}:schema/[-a-zA-Z0-9_$#.]+/[-a-zA-Z0-9_$#.]+",
    ))
    .at_least(1)
    .at_most(512);

const RECORD_CONFIGURATION: Shape<Structure> = structure(members![
    required("RecordFormatType", RECORD_FORMAT_TYPE),
    optional("GSRSchemaARN", GSR_SCHEMA_ARN),
]);

const CHANNEL_STREAM_CONFIGURATION: Shape<Structure> = structure(members![
    required("StreamARN", shapes::STREAM_ARN),
    required("RecordConfiguration", RECORD_CONFIGURATION),
]);

const CHANNEL_STREAM_CONFIGURATION_LIST: Shape<List<Structure>> =
    list(&CHANNEL_STREAM_CONFIGURATION).at_least(1).at_most(10_000);

const BUCKET_ARN: Shape<Text> = TEXT
    .pattern(Pattern::declared(r"arn:aws[-a-z0-9]*:s3:::[a-z0-9._-]{3,63}"))
    .at_least(1)
    .at_most(2048);

const EXPECTED_BUCKET_OWNER: Shape<Text> = TEXT
    .pattern(Pattern::declared(r"\d{12}"))
    .at_least(12)
    .at_most(12);

const S3_ERROR_OUTPUT_PREFIX: Shape<Text> = TEXT
    .pattern(Pattern::declared(r"[0-9A-Za-z!\-_'.*()\/]+"))
    .at_least(1)
    .at_most(512);

const DEAD_LETTER_QUEUE_S3_CONFIGURATION: Shape<Structure> = structure(members![
    required("BucketARN", BUCKET_ARN),
    required("ExpectedBucketOwner", EXPECTED_BUCKET_OWNER),
    optional("ErrorOutputPrefix", S3_ERROR_OUTPUT_PREFIX),
]);

const S3_OUTPUT_KEY_TEMPLATE: Shape<Text> = TEXT
    .pattern(Pattern::declared(r"[0-9A-Za-z!\-_'.*()\/=:{}]+"))
    .at_least(1)
    .at_most(1024);

const S3_STORAGE_CLASS: Shape<Text> = TEXT.one_of(&["STANDARD", "INTELLIGENT_TIERING", "GLACIER_IR"]);

const S3_COMPRESSION_TYPE: Shape<Text> = TEXT.one_of(&["NONE", "GZIP", "ZSTD"]);

const S3_STORAGE_CONFIGURATION: Shape<Structure> = structure(members![
    required("BucketARN", BUCKET_ARN),
    required("ExpectedBucketOwner", EXPECTED_BUCKET_OWNER),
    optional("OutputKeyTemplate", S3_OUTPUT_KEY_TEMPLATE),
    optional("StorageClass", S3_STORAGE_CLASS),
    required("CompressionType", S3_COMPRESSION_TYPE),
]);

const S3_DESTINATION_CONFIGURATION: Shape<Structure> = structure(members![
    optional("DataFreshnessInSeconds", INTEGER),
    optional(
        "DeadLetterQueueS3Configuration",
        DEAD_LETTER_QUEUE_S3_CONFIGURATION
    ),
    required("StorageConfiguration", S3_STORAGE_CONFIGURATION),
]);

const TABLE_BUCKET_ARN: Shape<Text> = TEXT
    .pattern(Pattern::declared(
        r"arn:aws[-a-z0-9]*:s3tables:[-a-z0-9]+:\d{12}:bucket/[a-z0-9_-]{3,63}",
    ))
    .at_least(1)
    .at_most(2048);

const S3_TABLES_NAMESPACE: Shape<Text> = TEXT
    .pattern(Pattern::declared(r"[0-9a-z_]+"))
    .at_least(1)
    .at_most(255);

const S3_TABLES_TABLE_NAME: Shape<Text> = TEXT
    .pattern(Pattern::declared(r"[0-9a-z_]+"))
    .at_least(1)
    .at_most(255);

const S3_TABLES_COMPRESSION_TYPE: Shape<Text> = TEXT.one_of(&["NONE", "ZSTD", "SNAPPY"]);

const PARTITION_TRANSFORM: Shape<Text> = TEXT.one_of(&["TIME_HOUR"]);

const PARTITION_SOURCE_NAME: Shape<Text> = TEXT
    .pattern(Pattern::declared(r"[a-zA-Z0-9\.\_]+"))
    .at_least(1)
    .at_most(255);

const PARTITION_FIELD: Shape<Structure> = structure(members![
    required("Transform", PARTITION_TRANSFORM),
    required("SourceName", PARTITION_SOURCE_NAME),
]);

const PARTITION_FIELD_LIST: Shape<List<Structure>> = list(&PARTITION_FIELD).at_least(1).at_most(10);

const PARTITION_SPEC: Shape<Structure> =
    structure(members![required("PartitionFields", PARTITION_FIELD_LIST),]);

const S3_TABLES_CONFIGURATION: Shape<Structure> = structure(members![
    required("TableBucketARN", TABLE_BUCKET_ARN),
    required("Namespace", S3_TABLES_NAMESPACE),
    required("TableName", S3_TABLES_TABLE_NAME),
    required("CompressionType", S3_TABLES_COMPRESSION_TYPE),
    optional("PartitionSpec", PARTITION_SPEC),
]);

const S3_TABLES_CONFIGURATION_LIST: Shape<List<Structure>> =
    list(&S3_TABLES_CONFIGURATION).at_least(1).at_most(10_000);

const S3_TABLES_DESTINATION_CONFIGURATION: Shape<Structure> = structure(members![
    optional("DataFreshnessInSeconds", INTEGER),
    required(
        "DeadLetterQueueS3Configuration",
        DEAD_LETTER_QUEUE_S3_CONFIGURATION
    ),
    required("S3TablesConfigurationList", S3_TABLES_CONFIGURATION_LIST),
]);

const CHANNEL_ENCRYPTION_TYPE: Shape<Text> = TEXT.one_of(&["KMS"]);

const CHANNEL_ENCRYPTION_CONFIGURATION: Shape<Structure> = structure(members![
    required("EncryptionType", CHANNEL_ENCRYPTION_TYPE),
    required("KeyId", shapes::KEY_ID),
]);

const CLOUD_WATCH_LOG_GROUP_NAME: Shape<Text> = TEXT
    .pattern(Pattern::declared(r"[\.\-_/#A-Za-z0-9]+"))
    .at_least(1)
    .at_most(512);

const CLOUD_WATCH_LOG_STREAM_NAME: Shape<Text> = TEXT
    .pattern(Pattern::declared(r"[^:*]*"))
    .at_least(1)
    .at_most(512);

const CLOUD_WATCH_LOGS: Shape<Structure> = structure(members![
    required("Enabled", BOOLEAN),
    optional("LogGroupName", CLOUD_WATCH_LOG_GROUP_NAME),
    optional("LogStreamName", CLOUD_WATCH_LOG_STREAM_NAME),
]);

const CHANNEL_LOGGING_CONFIGURATION: Shape<Structure> =
    structure(members![required("CloudWatchLogs", CLOUD_WATCH_LOGS),]);

const CHANNEL_ARN: Shape<Text> = TEXT
    .pattern(Pattern::declared(r"arn:aws.*:kinesis:.*:\d{12}:channel/\S+"))
    .at_least(1)
    .at_most(2048);

const CHANNEL_ID: Shape<Text> = TEXT.at_least(1).at_most(64);

const CHANNEL_STATUS: Shape<Text> = TEXT.one_of(&["CREATING", "ACTIVE", "UPDATING", "DELETING", "FAILED"]);

const CHANNEL_STATUS_REASON: Shape<Text> = TEXT.at_least(1).at_most(2048);

const CHANNEL_STREAM_DESCRIPTION: Shape<Structure> = structure(members![
    required("StreamARN", shapes::STREAM_ARN),
    required("StreamCreationTimestamp", TIME),
    required("RecordConfiguration", RECORD_CONFIGURATION),
]);

const CHANNEL_STREAM_DESCRIPTION_LIST: Shape<List<Structure>> =
    list(&CHANNEL_STREAM_DESCRIPTION).at_least(1).at_most(10_000);

const S3_DESTINATION_DESCRIPTION: Shape<Structure> = structure(members![
    required("DataFreshnessInSeconds", INTEGER),
    required(
        "DeadLetterQueueS3Configuration",
        DEAD_LETTER_QUEUE_S3_CONFIGURATION
    ),
    required("StorageConfiguration", S3_STORAGE_CONFIGURATION),
]);

const S3_TABLES_DESTINATION_DESCRIPTION: Shape<Structure> = structure(members![
    required("DataFreshnessInSeconds", INTEGER),
    required(
        "DeadLetterQueueS3Configuration",
        DEAD_LETTER_QUEUE_S3_CONFIGURATION
    ),
    required("S3TablesConfigurationList", S3_TABLES_CONFIGURATION_LIST),
]);

const CHANNEL_DESCRIPTION: Shape<Structure> = structure(members![
    required("ChannelName", shapes::NAME),
    required("ChannelARN", CHANNEL_ARN),
    required("ChannelId", CHANNEL_ID),
    required("ChannelStatus", CHANNEL_STATUS),
    optional("ChannelStatusReason", CHANNEL_STATUS_REASON),
    required("ChannelCreationTimestamp", TIME),
    required("ServiceExecutionRoleARN", ROLE_ARN),
    required("StreamConfigurationList", CHANNEL_STREAM_DESCRIPTION_LIST),
    optional("S3DestinationConfiguration", S3_DESTINATION_DESCRIPTION),
    optional(
        "S3TablesDestinationConfiguration",
        S3_TABLES_DESTINATION_DESCRIPTION
    ),
    optional("EncryptionConfiguration", CHANNEL_ENCRYPTION_CONFIGURATION),
    required("LoggingConfiguration", CHANNEL_LOGGING_CONFIGURATION),
]);

const STREAM_FILTER: Shape<Structure> = structure(members![
    required("StreamARN", shapes::STREAM_ARN),
    optional("StreamCreationTimestamp", TIME),
]);

const STREAM_FILTER_LIST: Shape<List<Structure>> = list(&STREAM_FILTER).at_least(1).at_most(10_000);

const CHANNEL_DESTINATION_TYPE: Shape<Text> = TEXT.one_of(&["S3", "S3_TABLES"]);

const CHANNEL_STREAM_IDENTIFIER: Shape<Structure> = structure(members![
    required("StreamARN", shapes::STREAM_ARN),
    required("StreamCreationTimestamp", TIME),
]);

const CHANNEL_STREAM_IDENTIFIER_LIST: Shape<List<Structure>> =
    list(&CHANNEL_STREAM_IDENTIFIER).at_least(1).at_most(10_000);

const CHANNEL_SUMMARY: Shape<Structure> = structure(members![
    required("ChannelName", shapes::NAME),
    required("ChannelARN", CHANNEL_ARN),
    required("ChannelId", CHANNEL_ID),
    required("ChannelStatus", CHANNEL_STATUS),
    optional("ChannelStatusReason", CHANNEL_STATUS_REASON),
    required("ChannelCreationTimestamp", TIME),
    required("ChannelDestinationType", CHANNEL_DESTINATION_TYPE),
    required("Streams", CHANNEL_STREAM_IDENTIFIER_LIST),
]);

const CHANNEL_SUMMARY_LIST: Shape<List<Structure>> = list(&CHANNEL_SUMMARY);

const S3_DESTINATION_UPDATE_INPUT: Shape<Structure> =
    structure(members![required("DataFreshnessInSeconds", INTEGER),]);

const S3_TABLES_DESTINATION_UPDATE_INPUT: Shape<Structure> =
    structure(members![required("DataFreshnessInSeconds", INTEGER),]);

const CLOUD_WATCH_LOGS_UPDATE_INPUT: Shape<Structure> = structure(members![
    required("Enabled", BOOLEAN),
    optional("LogGroupName", CLOUD_WATCH_LOG_GROUP_NAME),
    optional("LogStreamName", CLOUD_WATCH_LOG_STREAM_NAME),
]);

const CHANNEL_LOGGING_UPDATE_INPUT: Shape<Structure> = structure(members![required(
    "CloudWatchLogs",
    CLOUD_WATCH_LOGS_UPDATE_INPUT
),]);

pub(super) const CREATE_CHANNEL: Operation = Operation {
    name: "CreateChannel",
    class: Class::Control,
    resource: Resource::Channel,
    input: members![
        required("ChannelName", shapes::NAME),
        required("ServiceExecutionRoleARN", ROLE_ARN),
        required("StreamConfigurationList", CHANNEL_STREAM_CONFIGURATION_LIST),
        optional("S3DestinationConfiguration", S3_DESTINATION_CONFIGURATION),
        optional(
            "S3TablesDestinationConfiguration",
            S3_TABLES_DESTINATION_CONFIGURATION
        ),
        optional("EncryptionConfiguration", CHANNEL_ENCRYPTION_CONFIGURATION),
        optional("Tags", shapes::TAGS),
        optional("LoggingConfiguration", CHANNEL_LOGGING_CONFIGURATION),
    ],
    output: members![required("ChannelDescription", CHANNEL_DESCRIPTION),],
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
    run: None,
};

pub(super) const DESCRIBE_CHANNEL: Operation = Operation {
    name: "DescribeChannel",
    class: Class::Control,
    resource: Resource::Channel,
    input: members![required("ChannelARN", CHANNEL_ARN),],
    output: members![required("ChannelDescription", CHANNEL_DESCRIPTION),],
    errors: &[
        exception::VALIDATION,
        exception::RESOURCE_NOT_FOUND,
        exception::LIMIT_EXCEEDED,
        exception::INVALID_ARGUMENT,
        exception::ACCESS_DENIED,
    ],
    run: None,
};

pub(super) const LIST_CHANNELS: Operation = Operation {
    name: "ListChannels",
    class: Class::Control,
    resource: Resource::Channel,
    input: members![
        optional("StreamFilter", STREAM_FILTER_LIST),
        optional("MaxResults", shapes::LIMIT),
        optional("NextToken", shapes::NEXT_TOKEN),
    ],
    output: members![
        required("ChannelSummaries", CHANNEL_SUMMARY_LIST),
        optional("NextToken", shapes::NEXT_TOKEN),
    ],
    errors: &[
        exception::VALIDATION,
        exception::EXPIRED_NEXT_TOKEN,
        exception::LIMIT_EXCEEDED,
        exception::INVALID_ARGUMENT,
        exception::ACCESS_DENIED,
    ],
    run: None,
};

pub(super) const UPDATE_CHANNEL: Operation = Operation {
    name: "UpdateChannel",
    class: Class::Control,
    resource: Resource::Channel,
    input: members![
        required("ChannelARN", CHANNEL_ARN),
        optional("S3DestinationConfiguration", S3_DESTINATION_UPDATE_INPUT),
        optional(
            "S3TablesDestinationConfiguration",
            S3_TABLES_DESTINATION_UPDATE_INPUT
        ),
        optional("LoggingConfiguration", CHANNEL_LOGGING_UPDATE_INPUT),
    ],
    output: members![required("ChannelDescription", CHANNEL_DESCRIPTION),],
    errors: &[
        exception::VALIDATION,
        exception::RESOURCE_IN_USE,
        exception::RESOURCE_NOT_FOUND,
        exception::LIMIT_EXCEEDED,
        exception::INVALID_ARGUMENT,
        exception::ACCESS_DENIED,
    ],
    run: None,
};

pub(super) const DELETE_CHANNEL: Operation = Operation {
    name: "DeleteChannel",
    class: Class::Control,
    resource: Resource::Channel,
    input: members![required("ChannelARN", CHANNEL_ARN),],
    output: members![],
    errors: &[
        exception::VALIDATION,
        exception::RESOURCE_NOT_FOUND,
        exception::LIMIT_EXCEEDED,
        exception::INVALID_ARGUMENT,
        exception::ACCESS_DENIED,
    ],
    run: None,
};
