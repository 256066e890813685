//! The constraints of every operation's input, in the words of AWS.

use serde_json::{Value, json};

use super::test_server::{Backend, TestServer, on_each_backend, validation};

const ARN_PATTERN: &str = r"arn:aws.*:kinesis:.*:\d{12}:stream/\S+";
const NAME_PATTERN: &str = "[a-zA-Z0-9_.-]+";
const HASH_KEY_PATTERN: &str = r"0|([1-9]\d{0,38})";
const NUMBER_PATTERN: &str = r"0|([1-9]\d{0,128})";

fn must(value: &str, path: &str, constraint: &str) -> String {
    let value = if value == "null" {
        value.to_owned()
    } else {
        format!("'{value}'")
    };
    format!("{value} at '{path}' failed to satisfy constraint: Member must {constraint}")
}

fn matching(value: &str, path: &str, pattern: &str) -> String {
    must(
        value,
        path,
        &format!("satisfy regular expression pattern: {pattern}"),
    )
}

fn null(path: &str) -> String {
    must("null", path, "not be null")
}

fn at_least(value: &str, path: &str, minimum: u32) -> String {
    must(
        value,
        path,
        &format!("have length greater than or equal to {minimum}"),
    )
}

fn at_most(value: &str, path: &str, maximum: u32) -> String {
    must(
        value,
        path,
        &format!("have length less than or equal to {maximum}"),
    )
}

#[track_caller]
fn assert_refused(server: &TestServer, operation: &str, input: &Value, failures: &[String]) {
    let failures: Vec<&str> = failures.iter().map(String::as_str).collect();
    assert_eq!(
        server.refusal(operation, input),
        validation(&failures),
        "{operation} {input}"
    );
}

on_each_backend!(
    required_members_are_missed,
    names_are_held_against_their_pattern_and_length,
    arns_are_held_against_their_pattern_and_length,
    numbers_are_held_against_their_bounds,
    a_put_reports_all_that_is_wrong_with_it,
    a_batch_reports_by_record_and_does_not_repeat_it,
    an_iterator_is_asked_for_by_one_of_five_types,
    a_stream_is_created_in_one_of_two_modes,
);

fn required_members_are_missed(backend: Backend) {
    let server = TestServer::start(backend);
    for (operation, paths) in [
        ("CreateStream", vec!["streamName"]),
        ("IncreaseStreamRetentionPeriod", vec!["retentionPeriodHours"]),
        ("DecreaseStreamRetentionPeriod", vec!["retentionPeriodHours"]),
        ("SplitShard", vec!["newStartingHashKey", "shardToSplit"]),
        ("MergeShards", vec!["shardToMerge", "adjacentShardToMerge"]),
        ("PutRecord", vec!["partitionKey", "data"]),
        ("PutRecords", vec!["records"]),
        ("GetShardIterator", vec!["shardId", "shardIteratorType"]),
        ("GetRecords", vec!["shardIterator"]),
    ] {
        let failures: Vec<_> = paths.into_iter().map(null).collect();
        assert_refused(&server, operation, &json!({}), &failures);
    }
}

fn names_are_held_against_their_pattern_and_length(backend: Backend) {
    let server = TestServer::start(backend);
    let long = "a".repeat(129);
    for (operation, member, path) in [
        ("CreateStream", "StreamName", "streamName"),
        ("DeleteStream", "StreamName", "streamName"),
        ("DescribeStream", "StreamName", "streamName"),
        ("DescribeStream", "ExclusiveStartShardId", "exclusiveStartShardId"),
        ("DescribeStreamSummary", "StreamName", "streamName"),
        (
            "ListStreams",
            "ExclusiveStartStreamName",
            "exclusiveStartStreamName",
        ),
        ("ListShards", "StreamName", "streamName"),
        ("ListShards", "ExclusiveStartShardId", "exclusiveStartShardId"),
    ] {
        let input = |name: &str| json!({member: name});
        assert_refused(
            &server,
            operation,
            &input(""),
            &[matching("", path, NAME_PATTERN), at_least("", path, 1)],
        );
        assert_refused(
            &server,
            operation,
            &input("a;b"),
            &[matching("a;b", path, NAME_PATTERN)],
        );
        assert_refused(&server, operation, &input(&long), &[at_most(&long, path, 128)]);
    }
    assert_refused(
        &server,
        "SplitShard",
        &json!({"StreamName": "", "ShardToSplit": "", "NewStartingHashKey": ""}),
        &[
            matching("", "newStartingHashKey", HASH_KEY_PATTERN),
            matching("", "streamName", NAME_PATTERN),
            at_least("", "streamName", 1),
            matching("", "shardToSplit", NAME_PATTERN),
            at_least("", "shardToSplit", 1),
        ],
    );
    assert_refused(
        &server,
        "MergeShards",
        &json!({"StreamName": "a b", "ShardToMerge": long, "AdjacentShardToMerge": "?"}),
        &[
            at_most(&long, "shardToMerge", 128),
            matching("?", "adjacentShardToMerge", NAME_PATTERN),
            matching("a b", "streamName", NAME_PATTERN),
        ],
    );
}

fn arns_are_held_against_their_pattern_and_length(backend: Backend) {
    let server = TestServer::start(backend);
    for operation in [
        "DeleteStream",
        "DescribeStream",
        "DescribeStreamSummary",
        "ListShards",
    ] {
        let path = "streamARN";
        assert_refused(
            &server,
            operation,
            &json!({"StreamARN": ""}),
            &[matching("", path, ARN_PATTERN), at_least("", path, 1)],
        );
        let wrong = "arn:aws:kinesis:eu-west-1:1:stream/s";
        assert_refused(
            &server,
            operation,
            &json!({"StreamARN": wrong}),
            &[matching(wrong, path, ARN_PATTERN)],
        );
        assert_refused(
            &server,
            operation,
            &json!({"StreamId": "short"}),
            &[matching("short", "streamId", "[a-z0-9]{20}-[a-z0-9]{3}")],
        );
    }
}

fn numbers_are_held_against_their_bounds(backend: Backend) {
    let server = TestServer::start(backend);
    let above = |value: &str, path: &str, bound: u32| {
        must(
            value,
            path,
            &format!("have value greater than or equal to {bound}"),
        )
    };
    let below = |value: &str, path: &str, bound: u32| {
        must(value, path, &format!("have value less than or equal to {bound}"))
    };
    let create = |member: &str, value: i64| json!({"StreamName": "s", member: value});
    assert_refused(
        &server,
        "CreateStream",
        &create("ShardCount", 0),
        &[above("0", "shardCount", 1)],
    );
    assert_refused(
        &server,
        "CreateStream",
        &create("ShardCount", 3_000_000_000),
        &[below("2147483647", "shardCount", 100_000)],
    );
    assert_refused(
        &server,
        "CreateStream",
        &create("MaxRecordSizeInKiB", 1023),
        &[above("1023", "maxRecordSizeInKiB", 1024)],
    );
    assert_refused(
        &server,
        "CreateStream",
        &create("MaxRecordSizeInKiB", 10_241),
        &[below("10241", "maxRecordSizeInKiB", 10_240)],
    );
    assert_refused(
        &server,
        "CreateStream",
        &create("WarmThroughputMiBps", -1),
        &[above("-1", "warmThroughputMiBps", 0)],
    );
    for (operation, member, path) in [
        ("DescribeStream", "Limit", "limit"),
        ("ListStreams", "Limit", "limit"),
        ("ListShards", "MaxResults", "maxResults"),
    ] {
        assert_refused(&server, operation, &json!({member: 0}), &[above("0", path, 1)]);
        assert_refused(
            &server,
            operation,
            &json!({member: 10_001}),
            &[below("10001", path, 10_000)],
        );
    }
    assert_refused(
        &server,
        "GetRecords",
        &json!({"Limit": 0, "ShardIterator": ""}),
        &[above("0", "limit", 1), at_least("", "shardIterator", 1)],
    );
    let long = "a".repeat(513);
    assert_refused(
        &server,
        "GetRecords",
        &json!({"Limit": 10_001, "ShardIterator": long}),
        &[
            below("10001", "limit", 10_000),
            at_most(&long, "shardIterator", 512),
        ],
    );
}

fn a_put_reports_all_that_is_wrong_with_it(backend: Backend) {
    let server = TestServer::start(backend);
    let long = "ä".repeat(257);
    assert_refused(
        &server,
        "PutRecord",
        &json!({
            "StreamName": "",
            "PartitionKey": "",
            "ExplicitHashKey": "",
            "SequenceNumberForOrdering": "",
        }),
        &[
            matching("", "sequenceNumberForOrdering", NUMBER_PATTERN),
            at_least("", "partitionKey", 1),
            matching("", "explicitHashKey", HASH_KEY_PATTERN),
            null("data"),
            matching("", "streamName", NAME_PATTERN),
            at_least("", "streamName", 1),
        ],
    );
    assert_refused(
        &server,
        "PutRecord",
        &json!({"StreamName": "s", "PartitionKey": long, "ExplicitHashKey": "01", "Data": ""}),
        &[
            at_most(&long, "partitionKey", 256),
            matching("01", "explicitHashKey", HASH_KEY_PATTERN),
        ],
    );
    // A hash key computed by Python's true division.
    let float = "1.7014118346046923e+38";
    assert_refused(
        &server,
        "SplitShard",
        &json!({"StreamName": "s", "ShardToSplit": "0", "NewStartingHashKey": float}),
        &[matching(float, "newStartingHashKey", HASH_KEY_PATTERN)],
    );
}

fn a_batch_reports_by_record_and_does_not_repeat_it(backend: Backend) {
    let server = TestServer::start(backend);
    let put = |records: Value| json!({"StreamName": "s", "Records": records});
    let masked = |constraint: &str| {
        format!("at 'records' failed to satisfy constraint: Member must have length {constraint}")
    };
    assert_refused(
        &server,
        "PutRecords",
        &put(json!([])),
        &[masked("greater than or equal to 1")],
    );
    let good = json!({"PartitionKey": "k", "Data": ""});
    assert_refused(
        &server,
        "PutRecords",
        &put(Value::Array(vec![good.clone(); 501])),
        &[masked("less than or equal to 500")],
    );
    let records = json!([good, {}, {"PartitionKey": "", "ExplicitHashKey": "x", "Data": ""}]);
    assert_refused(
        &server,
        "PutRecords",
        &put(records),
        &[
            null("records.2.member.partitionKey"),
            null("records.2.member.data"),
            at_least("", "records.3.member.partitionKey", 1),
            matching("x", "records.3.member.explicitHashKey", HASH_KEY_PATTERN),
        ],
    );
    let (_, message) = server.refusal("PutRecords", &put(json!(vec![json!({}); 20])));
    assert!(
        message.starts_with("10 validation errors detected: Value null at 'records.1.member.partitionKey'")
    );
    assert_eq!(message.matches("failed to satisfy constraint").count(), 10);
}

fn an_iterator_is_asked_for_by_one_of_five_types(backend: Backend) {
    let server = TestServer::start(backend);
    assert_refused(
        &server,
        "GetShardIterator",
        &json!({"StreamName": "s", "ShardId": "", "ShardIteratorType": "", "StartingSequenceNumber": "01"}),
        &[
            matching("", "shardId", NAME_PATTERN),
            at_least("", "shardId", 1),
            must(
                "",
                "shardIteratorType",
                "satisfy enum value set: [AFTER_SEQUENCE_NUMBER, LATEST, AT_TIMESTAMP, AT_SEQUENCE_NUMBER, TRIM_HORIZON]",
            ),
            matching("01", "startingSequenceNumber", NUMBER_PATTERN),
        ],
    );
}

fn a_stream_is_created_in_one_of_two_modes(backend: Backend) {
    let server = TestServer::start(backend);
    assert_refused(
        &server,
        "CreateStream",
        &json!({
            "StreamName": "s",
            "StreamModeDetails": {"StreamMode": "AUTO"},
            "RecordDistributionStrategy": "auto",
            "Tags": {},
        }),
        &[
            must(
                "AUTO",
                "streamModeDetails.streamMode",
                "satisfy enum value set: [PROVISIONED, ON_DEMAND]",
            ),
            at_least("{}", "tags", 1),
            must(
                "auto",
                "recordDistributionStrategy",
                "satisfy enum value set: [AUTO, USER_PARTITION_KEY]",
            ),
        ],
    );
    let key = "k".repeat(129);
    let constraint = "[Member must have length less than or equal to 128, Member must have length greater than or equal \
                      to 1]";
    assert_refused(
        &server,
        "CreateStream",
        &json!({"StreamName": "s", "Tags": {"a": "b", &key: ""}}),
        &[format!(
            "'{{a=b, {key}=}}' at 'tags' failed to satisfy constraint: Map keys must satisfy constraint: {constraint}"
        )],
    );
    assert_eq!(server.ok("ListStreams", &json!({}))["StreamNames"], json!([]));
}
