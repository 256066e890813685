//! The type of every member of every operation, and the error for every other type.

use serde_json::{Value, json};

use super::test_server::{Backend, TestServer, on_each_backend};

/// The members of an operation, by type.
struct Types {
    operation: &'static str,
    strings: &'static [&'static str],
    integers: &'static [&'static str],
    booleans: &'static [&'static str],
    timestamps: &'static [&'static str],
}

const TYPES: &[Types] = &[
    Types {
        operation: "CreateStream",
        strings: &["StreamName", "RecordDistributionStrategy"],
        integers: &["ShardCount", "WarmThroughputMiBps", "MaxRecordSizeInKiB"],
        booleans: &[],
        timestamps: &[],
    },
    Types {
        operation: "DeleteStream",
        strings: &["StreamName", "StreamARN", "StreamId"],
        integers: &[],
        booleans: &["EnforceConsumerDeletion"],
        timestamps: &[],
    },
    Types {
        operation: "DescribeStream",
        strings: &["StreamName", "StreamARN", "StreamId", "ExclusiveStartShardId"],
        integers: &["Limit"],
        booleans: &[],
        timestamps: &[],
    },
    Types {
        operation: "DescribeStreamSummary",
        strings: &["StreamName", "StreamARN", "StreamId"],
        integers: &[],
        booleans: &[],
        timestamps: &[],
    },
    Types {
        operation: "ListStreams",
        strings: &["ExclusiveStartStreamName", "NextToken"],
        integers: &["Limit"],
        booleans: &[],
        timestamps: &[],
    },
    Types {
        operation: "IncreaseStreamRetentionPeriod",
        strings: &["StreamName", "StreamARN", "StreamId"],
        integers: &["RetentionPeriodHours"],
        booleans: &[],
        timestamps: &[],
    },
    Types {
        operation: "DecreaseStreamRetentionPeriod",
        strings: &["StreamName", "StreamARN", "StreamId"],
        integers: &["RetentionPeriodHours"],
        booleans: &[],
        timestamps: &[],
    },
    Types {
        operation: "ListShards",
        strings: &[
            "StreamName",
            "StreamARN",
            "StreamId",
            "NextToken",
            "ExclusiveStartShardId",
        ],
        integers: &["MaxResults"],
        booleans: &[],
        timestamps: &["StreamCreationTimestamp"],
    },
    Types {
        operation: "SplitShard",
        strings: &[
            "StreamName",
            "StreamARN",
            "StreamId",
            "ShardToSplit",
            "NewStartingHashKey",
        ],
        integers: &[],
        booleans: &[],
        timestamps: &[],
    },
    Types {
        operation: "MergeShards",
        strings: &[
            "StreamName",
            "StreamARN",
            "StreamId",
            "ShardToMerge",
            "AdjacentShardToMerge",
        ],
        integers: &[],
        booleans: &[],
        timestamps: &[],
    },
    Types {
        operation: "PutRecord",
        strings: &[
            "StreamName",
            "StreamARN",
            "StreamId",
            "PartitionKey",
            "ExplicitHashKey",
            "SequenceNumberForOrdering",
        ],
        integers: &[],
        booleans: &["DryRun"],
        timestamps: &[],
    },
    Types {
        operation: "PutRecords",
        strings: &["StreamName", "StreamARN", "StreamId"],
        integers: &[],
        booleans: &["DryRun"],
        timestamps: &[],
    },
    Types {
        operation: "GetShardIterator",
        strings: &[
            "StreamName",
            "StreamARN",
            "StreamId",
            "ShardId",
            "ShardIteratorType",
            "StartingSequenceNumber",
        ],
        integers: &[],
        booleans: &["DryRun"],
        timestamps: &["Timestamp"],
    },
    Types {
        operation: "GetRecords",
        strings: &["ShardIterator", "StreamARN", "StreamId"],
        integers: &["Limit"],
        booleans: &["DryRun"],
        timestamps: &[],
    },
];

/// Two values of a wrong type, and the errors for them.
type Refusals = [(Value, String); 2];

on_each_backend!(
    members_of_a_wrong_type_are_refused_before_anything_else,
    lists_maps_structures_and_blobs_have_words_of_their_own,
    types_are_checked_before_constraints,
);

fn members_of_a_wrong_type_are_refused_before_anything_else(backend: Backend) {
    const NUMBER: &str =
        "class com.amazon.coral.value.json.numbers.TruncatingBigNumber can not be converted to";
    const BOOLEAN: &str = "class java.lang.Boolean can not be converted to";
    const STRING: &str = "class java.lang.String can not be converted to";
    let server = TestServer::start(backend);
    let mut client = server.connect();
    for types in TYPES {
        let kinds: [(&[&str], Refusals); 4] = [
            (
                types.strings,
                [
                    (json!(true), format!("{BOOLEAN} an String")),
                    (json!(23), format!("{NUMBER} an String")),
                ],
            ),
            (
                types.integers,
                [
                    (json!(true), format!("{BOOLEAN} an Integer")),
                    (json!("1"), format!("{STRING} an Integer")),
                ],
            ),
            (
                types.booleans,
                [
                    (json!("abc"), "'ABC' can not be converted to an Boolean".into()),
                    (json!(23), format!("{NUMBER} an Boolean")),
                ],
            ),
            (
                types.timestamps,
                [
                    (json!(true), format!("{BOOLEAN} milliseconds since epoch")),
                    (json!("1"), format!("{STRING} milliseconds since epoch")),
                ],
            ),
        ];
        for (members, values) in kinds {
            let containers = [
                (json!([]), "Start of list found where not expected".to_owned()),
                (
                    json!({}),
                    "Start of structure or map found where not expected.".to_owned(),
                ),
            ];
            for member in members {
                for (value, message) in values.iter().chain(&containers) {
                    let reply = client.call(types.operation, &json!({*member: value}));
                    let expected = ("SerializationException".to_owned(), message.clone());
                    assert_eq!(reply.refusal(), expected, "{} {member} {value}", types.operation);
                }
            }
        }
    }
}

fn lists_maps_structures_and_blobs_have_words_of_their_own(backend: Backend) {
    let server = TestServer::start(backend);
    let record = |member: &str, value: Value| json!({"Records": [{member: value}]});
    for (operation, input, message) in [
        ("PutRecords", json!({"Records": "x"}), "Expected list or null"),
        ("PutRecords", json!({"Records": 1}), "Expected list or null"),
        (
            "PutRecords",
            json!({"Records": {}}),
            "Start of structure or map found where not expected.",
        ),
        ("PutRecords", json!({"Records": [1]}), "Expected null"),
        (
            "PutRecords",
            json!({"Records": [[]]}),
            "Start of list found where not expected",
        ),
        (
            "PutRecords",
            record("PartitionKey", json!(true)),
            "class java.lang.Boolean can not be converted to an String",
        ),
        (
            "PutRecords",
            record("Data", json!(true)),
            "class java.lang.Boolean can not be converted to a Blob",
        ),
        (
            "PutRecords",
            record("Data", json!("=abc")),
            "'=abc' can not be converted to a Blob: Invalid Base64 character: '='",
        ),
        ("CreateStream", json!({"Tags": "x"}), "Expected map or null"),
        (
            "CreateStream",
            json!({"Tags": []}),
            "Start of list found where not expected",
        ),
        (
            "CreateStream",
            json!({"Tags": {"a": 1}}),
            "class com.amazon.coral.value.json.numbers.TruncatingBigNumber can not be converted to an String",
        ),
        ("CreateStream", json!({"StreamModeDetails": "x"}), "Expected null"),
        ("ListShards", json!({"ShardFilter": 1}), "Expected null"),
        (
            "ListShards",
            json!({"ShardFilter": {"Timestamp": "x"}}),
            "class java.lang.String can not be converted to milliseconds since epoch",
        ),
        (
            "PutRecord",
            json!({"Data": "23456"}),
            "'23456' can not be converted to a Blob: Base64 encoded length is expected a multiple of 4 bytes but \
             found: 5",
        ),
        (
            "PutRecord",
            json!({"Data": "+/+="}),
            "'+/+=' can not be converted to a Blob: Invalid last non-pad Base64 character dectected",
        ),
        (
            "PutRecord",
            json!({"Data": 1.5}),
            "class com.amazon.coral.value.json.numbers.TruncatingBigNumber can not be \
                                             converted to a Blob",
        ),
    ] {
        let expected = ("SerializationException".to_owned(), message.to_owned());
        assert_eq!(server.refusal(operation, &input), expected, "{operation} {input}");
    }
}

fn types_are_checked_before_constraints(backend: Backend) {
    let server = TestServer::start(backend);
    let (kind, _) = server.refusal(
        "PutRecord",
        &json!({"StreamName": "", "PartitionKey": "", "Data": 1}),
    );
    assert_eq!(kind, "SerializationException");
}
