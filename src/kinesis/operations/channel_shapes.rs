//! The members of the operations on channels, and the checks of their patterns.

use super::shapes;
use crate::kinesis::arn::is_account_id;
use crate::kinesis::key::{
    BOOLEAN, Boolean, INTEGER, Integer, Key, List, Shape, Structure, TEXT, TIME, Text, Time, list, members,
    optional, required, structure,
};
use crate::kinesis::shape::Pattern;

const ROLE_ARN: Shape<Text> = TEXT
    .pattern(Pattern {
        printed: r"arn:aws[-a-z0-9]*:iam::\d{12}:role/[a-zA-Z_0-9+=,.@\-_/]+",
        matches: Some(is_role_arn),
    })
    .at_least(1)
    .at_most(512);

const GSR_SCHEMA_ARN_SHAPE: Shape<Text> = TEXT
    .pattern(Pattern {
        printed: r"arn:aws[-a-z0-9]*:glue:[-a-z0-9]+:\d{12}:schema/[-a-zA-Z0-9_$#.]+/[-a-zA-Z0-9_$#.]+",
        matches: Some(is_schema_arn),
    })
    .at_least(1)
    .at_most(512);

const BUCKET_ARN_SHAPE: Shape<Text> = TEXT
    .pattern(Pattern {
        printed: r"arn:aws[-a-z0-9]*:s3:::[a-z0-9._-]{3,63}",
        matches: Some(|arn| bucket_name(arn).is_some()),
    })
    .at_least(1)
    .at_most(2048);

const ACCOUNT: Shape<Text> = TEXT
    .pattern(Pattern {
        printed: r"\d{12}",
        matches: Some(is_account_id),
    })
    .at_least(12)
    .at_most(12);

const ERROR_PREFIX: Shape<Text> = TEXT
    .pattern(Pattern {
        printed: r"[0-9A-Za-z!\-_'.*()\/]+",
        matches: Some(|text| consists_of(text, b"!-_'.*()/")),
    })
    .at_least(1)
    .at_most(512);

const KEY_TEMPLATE: Shape<Text> = TEXT
    .pattern(Pattern {
        printed: r"[0-9A-Za-z!\-_'.*()\/=:{}]+",
        matches: Some(|text| consists_of(text, b"!-_'.*()/=:{}")),
    })
    .at_least(1)
    .at_most(1024);

const TABLE_BUCKET_ARN_SHAPE: Shape<Text> = TEXT
    .pattern(Pattern {
        printed: r"arn:aws[-a-z0-9]*:s3tables:[-a-z0-9]+:\d{12}:bucket/[a-z0-9_-]{3,63}",
        matches: Some(is_table_bucket_arn),
    })
    .at_least(1)
    .at_most(2048);

const TABLE_WORD: Shape<Text> = TEXT
    .pattern(Pattern {
        printed: r"[0-9a-z_]+",
        matches: Some(|text| is_lower(text, b"_")),
    })
    .at_least(1)
    .at_most(255);

const COLUMN: Shape<Text> = TEXT
    .pattern(Pattern {
        printed: r"[a-zA-Z0-9\.\_]+",
        matches: Some(|text| consists_of(text, b"._")),
    })
    .at_least(1)
    .at_most(255);

const LOG_GROUP: Shape<Text> = TEXT
    .pattern(Pattern {
        printed: r"[\.\-_/#A-Za-z0-9]+",
        matches: Some(|text| consists_of(text, b".-_/#")),
    })
    .at_least(1)
    .at_most(512);

const LOG_STREAM: Shape<Text> = TEXT
    .pattern(Pattern {
        printed: r"[^:*]*",
        matches: Some(|text| !text.contains([':', '*'])),
    })
    .at_least(1)
    .at_most(512);

const CHANNEL_ARN_SHAPE: Shape<Text> = TEXT
    .pattern(Pattern {
        printed: r"arn:aws.*:kinesis:.*:\d{12}:channel/\S+",
        matches: Some(crate::kinesis::arn::is_channel),
    })
    .at_least(1)
    .at_most(2048);

pub(super) const CHANNEL_NAME: Key<Text> = required("ChannelName", shapes::NAME);
pub(super) const CHANNEL_ARN: Key<Text> = required("ChannelARN", CHANNEL_ARN_SHAPE);
pub(super) const CHANNEL_ID: Key<Text> = required("ChannelId", TEXT.at_least(1).at_most(64));
pub(super) const CHANNEL_STATUS: Key<Text> = required(
    "ChannelStatus",
    TEXT.one_of(&["CREATING", "ACTIVE", "UPDATING", "DELETING", "FAILED"]),
);
pub(super) const CHANNEL_STATUS_REASON: Key<Option<Text>> =
    optional("ChannelStatusReason", TEXT.at_least(1).at_most(MOST_REASON_CHARS));
pub(super) const MOST_REASON_CHARS: i64 = 2048;
pub(super) const CHANNEL_CREATION_TIMESTAMP: Key<Time> = required("ChannelCreationTimestamp", TIME);
pub(super) const SERVICE_EXECUTION_ROLE_ARN: Key<Text> = required("ServiceExecutionRoleARN", ROLE_ARN);
pub(super) const STREAM_ARN: Key<Text> = required("StreamARN", shapes::STREAM_ARN);
pub(super) const STREAM_CREATION_TIMESTAMP: Key<Time> = required("StreamCreationTimestamp", TIME);

pub(super) const RECORD_FORMAT_TYPE: Key<Text> = required(
    "RecordFormatType",
    TEXT.one_of(&["GSR_JSON", "JSON", "STRING", "BYTE_ARRAY"]),
);
pub(super) const GSR_SCHEMA_ARN: Key<Option<Text>> = optional("GSRSchemaARN", GSR_SCHEMA_ARN_SHAPE);
pub(super) const RECORD_CONFIGURATION: Key<Structure> = required(
    "RecordConfiguration",
    structure(members![RECORD_FORMAT_TYPE, GSR_SCHEMA_ARN]),
);

const STREAM_CONFIGURATION: Shape<Structure> = structure(members![STREAM_ARN, RECORD_CONFIGURATION]);
pub(super) const STREAM_CONFIGURATION_LIST: Key<List<Structure>> = required(
    "StreamConfigurationList",
    list(&STREAM_CONFIGURATION).at_least(1).at_most(10_000),
);
const STREAM_DESCRIPTION: Shape<Structure> = structure(members![
    STREAM_ARN,
    STREAM_CREATION_TIMESTAMP,
    RECORD_CONFIGURATION
]);
pub(super) const STREAM_DESCRIPTION_LIST: Key<List<Structure>> = required(
    "StreamConfigurationList",
    list(&STREAM_DESCRIPTION).at_least(1).at_most(10_000),
);
const STREAM_IDENTIFIER: Shape<Structure> = structure(members![STREAM_ARN, STREAM_CREATION_TIMESTAMP]);
pub(super) const STREAMS: Key<List<Structure>> =
    required("Streams", list(&STREAM_IDENTIFIER).at_least(1).at_most(10_000));

pub(super) const DATA_FRESHNESS: Key<Option<Integer>> = optional("DataFreshnessInSeconds", INTEGER);
pub(super) const DATA_FRESHNESS_SHOWN: Key<Integer> = required("DataFreshnessInSeconds", INTEGER);

pub(super) const BUCKET_ARN: Key<Text> = required("BucketARN", BUCKET_ARN_SHAPE);
pub(super) const EXPECTED_BUCKET_OWNER: Key<Text> = required("ExpectedBucketOwner", ACCOUNT);
pub(super) const ERROR_OUTPUT_PREFIX: Key<Option<Text>> = optional("ErrorOutputPrefix", ERROR_PREFIX);
const DEAD_LETTERS: Shape<Structure> =
    structure(members![BUCKET_ARN, EXPECTED_BUCKET_OWNER, ERROR_OUTPUT_PREFIX]);
pub(super) const DEAD_LETTER_BUCKET: Key<Option<Structure>> =
    optional("DeadLetterQueueS3Configuration", DEAD_LETTERS);
pub(super) const DEAD_LETTER_BUCKET_NEEDED: Key<Structure> =
    required("DeadLetterQueueS3Configuration", DEAD_LETTERS);

pub(super) const OUTPUT_KEY_TEMPLATE: Key<Option<Text>> = optional("OutputKeyTemplate", KEY_TEMPLATE);
pub(super) const STORAGE_CLASS: Key<Option<Text>> = optional(
    "StorageClass",
    TEXT.one_of(&["STANDARD", "INTELLIGENT_TIERING", "GLACIER_IR"]),
);
pub(super) const COMPRESSION_TYPE: Key<Text> =
    required("CompressionType", TEXT.one_of(&["NONE", "GZIP", "ZSTD"]));
pub(super) const STORAGE_CONFIGURATION: Key<Structure> = required(
    "StorageConfiguration",
    structure(members![
        BUCKET_ARN,
        EXPECTED_BUCKET_OWNER,
        OUTPUT_KEY_TEMPLATE,
        STORAGE_CLASS,
        COMPRESSION_TYPE,
    ]),
);

pub(super) const S3_DESTINATION: Key<Option<Structure>> = optional(
    "S3DestinationConfiguration",
    structure(members![
        DATA_FRESHNESS,
        DEAD_LETTER_BUCKET,
        STORAGE_CONFIGURATION
    ]),
);
pub(super) const S3_DESTINATION_SHOWN: Key<Option<Structure>> = optional(
    "S3DestinationConfiguration",
    structure(members![
        DATA_FRESHNESS_SHOWN,
        DEAD_LETTER_BUCKET_NEEDED,
        STORAGE_CONFIGURATION,
    ]),
);
const FRESHNESS_UPDATE: Shape<Structure> = structure(members![DATA_FRESHNESS_SHOWN]);
pub(super) const S3_DESTINATION_UPDATE: Key<Option<Structure>> =
    optional("S3DestinationConfiguration", FRESHNESS_UPDATE);

pub(super) const TABLE_BUCKET_ARN: Key<Text> = required("TableBucketARN", TABLE_BUCKET_ARN_SHAPE);
pub(super) const NAMESPACE: Key<Text> = required("Namespace", TABLE_WORD);
pub(super) const TABLE_NAME: Key<Text> = required("TableName", TABLE_WORD);
pub(super) const TABLE_COMPRESSION_TYPE: Key<Text> =
    required("CompressionType", TEXT.one_of(&["NONE", "ZSTD", "SNAPPY"]));
pub(super) const TRANSFORM: Key<Text> = required("Transform", TEXT.one_of(&["TIME_HOUR"]));
pub(super) const SOURCE_NAME: Key<Text> = required("SourceName", COLUMN);
const PARTITION_FIELD: Shape<Structure> = structure(members![TRANSFORM, SOURCE_NAME]);
pub(super) const PARTITION_FIELDS: Key<List<Structure>> =
    required("PartitionFields", list(&PARTITION_FIELD).at_least(1).at_most(10));
pub(super) const PARTITION_SPEC: Key<Option<Structure>> =
    optional("PartitionSpec", structure(members![PARTITION_FIELDS]));
const TABLE: Shape<Structure> = structure(members![
    TABLE_BUCKET_ARN,
    NAMESPACE,
    TABLE_NAME,
    TABLE_COMPRESSION_TYPE,
    PARTITION_SPEC,
]);
pub(super) const TABLES: Key<List<Structure>> = required(
    "S3TablesConfigurationList",
    list(&TABLE).at_least(1).at_most(10_000),
);

pub(super) const TABLES_DESTINATION: Key<Option<Structure>> = optional(
    "S3TablesDestinationConfiguration",
    structure(members![DATA_FRESHNESS, DEAD_LETTER_BUCKET_NEEDED, TABLES]),
);
pub(super) const TABLES_DESTINATION_SHOWN: Key<Option<Structure>> = optional(
    "S3TablesDestinationConfiguration",
    structure(members![DATA_FRESHNESS_SHOWN, DEAD_LETTER_BUCKET_NEEDED, TABLES]),
);
pub(super) const TABLES_DESTINATION_UPDATE: Key<Option<Structure>> =
    optional("S3TablesDestinationConfiguration", FRESHNESS_UPDATE);

pub(super) const ENCRYPTION_TYPE: Key<Text> = required("EncryptionType", TEXT.one_of(&["KMS"]));
pub(super) const KEY_ID: Key<Text> = required("KeyId", shapes::KEY_ID);
pub(super) const ENCRYPTION_CONFIGURATION: Key<Option<Structure>> = optional(
    "EncryptionConfiguration",
    structure(members![ENCRYPTION_TYPE, KEY_ID]),
);

pub(super) const ENABLED: Key<Boolean> = required("Enabled", BOOLEAN);
pub(super) const LOG_GROUP_NAME: Key<Option<Text>> = optional("LogGroupName", LOG_GROUP);
pub(super) const LOG_STREAM_NAME: Key<Option<Text>> = optional("LogStreamName", LOG_STREAM);
pub(super) const CLOUD_WATCH_LOGS: Key<Structure> = required(
    "CloudWatchLogs",
    structure(members![ENABLED, LOG_GROUP_NAME, LOG_STREAM_NAME]),
);
const LOGGING: Shape<Structure> = structure(members![CLOUD_WATCH_LOGS]);
pub(super) const LOGGING_CONFIGURATION: Key<Option<Structure>> = optional("LoggingConfiguration", LOGGING);
pub(super) const LOGGING_CONFIGURATION_SHOWN: Key<Structure> = required("LoggingConfiguration", LOGGING);

pub(super) const CHANNEL_DESCRIPTION: Key<Structure> = required(
    "ChannelDescription",
    structure(members![
        CHANNEL_NAME,
        CHANNEL_ARN,
        CHANNEL_ID,
        CHANNEL_STATUS,
        CHANNEL_STATUS_REASON,
        CHANNEL_CREATION_TIMESTAMP,
        SERVICE_EXECUTION_ROLE_ARN,
        STREAM_DESCRIPTION_LIST,
        S3_DESTINATION_SHOWN,
        TABLES_DESTINATION_SHOWN,
        ENCRYPTION_CONFIGURATION,
        LOGGING_CONFIGURATION_SHOWN,
    ]),
);

pub(super) const CHANNEL_DESTINATION_TYPE: Key<Text> =
    required("ChannelDestinationType", TEXT.one_of(&["S3", "S3_TABLES"]));
const SUMMARY: Shape<Structure> = structure(members![
    CHANNEL_NAME,
    CHANNEL_ARN,
    CHANNEL_ID,
    CHANNEL_STATUS,
    CHANNEL_STATUS_REASON,
    CHANNEL_CREATION_TIMESTAMP,
    CHANNEL_DESTINATION_TYPE,
    STREAMS,
]);
pub(super) const CHANNEL_SUMMARIES: Key<List<Structure>> = required("ChannelSummaries", list(&SUMMARY));

/// The name in the ARN of a bucket.
pub(super) fn bucket_name(arn: &str) -> Option<&str> {
    let name = behind_partition(arn)?.strip_prefix("s3:::")?;
    let fits = (3..=63).contains(&name.len()) && is_lower(name, b"._-");
    fits.then_some(name)
}

fn is_role_arn(arn: &str) -> bool {
    let role = behind_partition(arn).and_then(|rest| rest.strip_prefix("iam::")?.split_once(":role/"));
    role.is_some_and(|(account, name)| is_account_id(account) && consists_of(name, b"_+=,.@-/"))
}

fn is_schema_arn(arn: &str) -> bool {
    let is_name = |name: &str| consists_of(name, b"-_$#.");
    let schema = of_region(arn, "glue:").and_then(|rest| rest.strip_prefix("schema/")?.split_once('/'));
    schema.is_some_and(|(registry, schema)| is_name(registry) && is_name(schema))
}

fn is_table_bucket_arn(arn: &str) -> bool {
    let bucket = of_region(arn, "s3tables:").and_then(|rest| rest.strip_prefix("bucket/"));
    bucket.is_some_and(|bucket| (3..=63).contains(&bucket.len()) && is_lower(bucket, b"_-"))
}

/// The part of an ARN behind `arn:aws[-a-z0-9]*:`.
fn behind_partition(arn: &str) -> Option<&str> {
    let (partition, rest) = arn.strip_prefix("arn:aws")?.split_once(':')?;
    (partition.is_empty() || is_lower(partition, b"-")).then_some(rest)
}

/// The part of an ARN behind this service, a region and an account.
fn of_region<'a>(arn: &'a str, service: &str) -> Option<&'a str> {
    let (region, rest) = behind_partition(arn)?.strip_prefix(service)?.split_once(':')?;
    let (account, rest) = rest.split_once(':')?;
    (is_lower(region, b"-") && is_account_id(account)).then_some(rest)
}

/// Whether a text consists of one or more letters, digits, and some other characters, all ASCII.
fn consists_of(text: &str, others: &[u8]) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || others.contains(&byte);
    !text.is_empty() && text.bytes().all(fits)
}

/// The same without upper-case letters.
fn is_lower(text: &str, others: &[u8]) -> bool {
    consists_of(text, others) && !text.bytes().any(|byte| byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_are_taken_and_refused_as_their_patterns_say() {
        for (matches, good, bad) in [
            (
                is_role_arn as fn(&str) -> bool,
                vec![
                    "arn:aws:iam::000000000000:role/a",
                    "arn:aws-cn:iam::000000000000:role/x/y+=,.@-_",
                ],
                vec![
                    "arn:aws:iam::00000000000:role/a",
                    "arn:aws:iam::000000000000:role/",
                    "arn:AWS:iam::000000000000:role/a",
                ],
            ),
            (
                is_schema_arn,
                vec!["arn:aws:glue:eu-west-1:000000000000:schema/r/s$#."],
                vec![
                    "arn:aws:glue:eu-west-1:000000000000:schema/r",
                    "arn:aws:glue::000000000000:schema/r/s",
                    "arn:aws:glue:eu-west-1:000000000000:schema/r/s/t",
                ],
            ),
            (
                is_table_bucket_arn,
                vec!["arn:aws:s3tables:eu-west-1:000000000000:bucket/abc"],
                vec![
                    "arn:aws:s3tables:eu-west-1:000000000000:bucket/ab",
                    "arn:aws:s3tables:eu-west-1:000000000000:bucket/a.bc",
                ],
            ),
        ] {
            good.iter().for_each(|arn| assert!(matches(arn), "{arn}"));
            bad.iter().for_each(|arn| assert!(!matches(arn), "{arn}"));
        }
        assert_eq!(bucket_name("arn:aws:s3:::a-b.c_d"), Some("a-b.c_d"));
        for arn in [
            "arn:aws:s3:::ab",
            "arn:aws:s3:::Abc",
            "arn:aws:s3:eu:0:abc",
            "arn:aws_:s3:::abc",
            "s3:::abc",
        ] {
            assert_eq!(bucket_name(arn), None, "{arn}");
        }
    }
}
