//! Shapes that operations of several families share, named as in the API model where it has one name for them.

use crate::kinesis::key::{
    BLOB, Blob, INTEGER, Integer, Key, List, Map, Shape, Structure, TEXT, Text, list, map, members, optional,
    required, structure,
};
use crate::kinesis::shape::Pattern;

pub(super) const NAME: Shape<Text> = TEXT.pattern(Pattern::NAME).at_least(1).at_most(128);

pub(super) const POSITIVE: Shape<Integer> = INTEGER.at_least(1);

pub(super) const TAGS: Shape<Map<Text>> = map(&TEXT)
    .at_least(1)
    .at_most(200)
    .key_lengths(1, 128)
    .value_lengths(0, 256);

pub(super) const NATURAL: Shape<Integer> = INTEGER.at_least(0);

pub(super) const MAX_RECORD_SIZE_IN_KIB: Shape<Integer> = INTEGER.at_least(1024).at_most(10_240);

pub(super) const RECORD_DISTRIBUTION_STRATEGY: Shape<Text> = TEXT.one_of(&["AUTO", "USER_PARTITION_KEY"]);

pub(super) const STREAM_ARN: Shape<Text> = TEXT.pattern(Pattern::STREAM_ARN).at_least(1).at_most(2048);

pub(super) const CONSUMER_ARN: Shape<Text> = TEXT.pattern(Pattern::CONSUMER_ARN).at_least(1).at_most(2048);

pub(super) const QUEUE_ARN: Shape<Text> = TEXT.pattern(Pattern::QUEUE_ARN).at_least(1).at_most(2048);

pub(super) const STREAM_ID: Shape<Text> = TEXT.pattern(Pattern::STREAM_ID).at_least(1).at_most(24);

pub(super) const LIMIT: Shape<Integer> = INTEGER.at_least(1).at_most(10_000);

pub(super) const HASH_KEY: Shape<Text> = TEXT.pattern(Pattern::HASH_KEY);

pub(super) const SEQUENCE_NUMBER: Shape<Text> = TEXT.pattern(Pattern::SEQUENCE_NUMBER);

pub(super) const METRICS_NAME: Shape<Text> = TEXT.one_of(&[
    "IncomingBytes",
    "IncomingRecords",
    "OutgoingBytes",
    "OutgoingRecords",
    "WriteProvisionedThroughputExceeded",
    "ReadProvisionedThroughputExceeded",
    "IteratorAgeMilliseconds",
    "ALL",
]);

pub(super) const METRICS_NAME_LIST: Shape<List<Text>> = list(&METRICS_NAME).at_least(1).at_most(7);

pub(super) const ENCRYPTION_TYPE: Shape<Text> = TEXT.one_of(&["NONE", "KMS"]);

pub(super) const KEY_ID: Shape<Text> = TEXT.at_least(1).at_most(2048);

pub(super) const COUNT: Shape<Integer> = INTEGER.at_least(0).at_most(1_000_000);

pub(super) const STREAM_MODE_DETAILS: Shape<Structure> = structure(members![STREAM_MODE]);
pub(super) const STREAM_MODE: Key<Text> = required("StreamMode", TEXT.one_of(&["PROVISIONED", "ON_DEMAND"]));

pub(super) const WARM_THROUGHPUT_MIBPS: Key<Option<Integer>> = optional("WarmThroughputMiBps", NATURAL);
pub(super) const WARM_THROUGHPUT: Key<Option<Structure>> = optional("WarmThroughput", WARM_THROUGHPUT_OBJECT);
pub(super) const WARM_THROUGHPUT_OBJECT: Shape<Structure> = structure(members![TARGET_MIBPS, CURRENT_MIBPS]);
pub(super) const TARGET_MIBPS: Key<Option<Integer>> = optional("TargetMiBps", NATURAL);
pub(super) const CURRENT_MIBPS: Key<Option<Integer>> = optional("CurrentMiBps", NATURAL);

pub(super) const NEXT_TOKEN: Shape<Text> = TEXT.at_least(1).at_most(1_048_576);

pub(super) const DATA: Shape<Blob> = BLOB.at_most(10_485_760);

pub(super) const PARTITION_KEY: Shape<Text> = TEXT.at_least(1).at_most(256);

pub(super) const SHARD_ITERATOR_TYPE: Shape<Text> = TEXT.one_of(&[
    "AFTER_SEQUENCE_NUMBER",
    "LATEST",
    "AT_TIMESTAMP",
    "AT_SEQUENCE_NUMBER",
    "TRIM_HORIZON",
]);

pub(super) const EXCEPTION: Shape<Structure> = structure(members![optional("message", TEXT),]);

pub(super) const RESOURCE_ARN: Shape<Text> = TEXT.pattern(Pattern::RESOURCE_ARN).at_least(1).at_most(2048);
