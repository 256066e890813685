//! A call of every operation, by the kind of resource that it names.

use serde_json::{Value, json};

/// Every operation that names a stream, with its other members.
pub fn of_streams() -> Vec<(&'static str, Value)> {
    let (first, second) = ("shardId-000000000000", "shardId-000000000001");
    let encryption = json!({"EncryptionType": "KMS", "KeyId": "k"});
    let metrics = json!({"ShardLevelMetrics": ["ALL"]});
    let record = json!({"PartitionKey": "k", "Data": ""});
    vec![
        ("AddTagsToStream", json!({"Tags": {"a": "b"}})),
        (
            "DecreaseStreamRetentionPeriod",
            json!({"RetentionPeriodHours": 24}),
        ),
        ("DeleteStream", json!({})),
        ("DescribeStream", json!({})),
        ("DescribeStreamSummary", json!({})),
        ("DisableEnhancedMonitoring", metrics.clone()),
        ("EnableEnhancedMonitoring", metrics),
        (
            "GetShardIterator",
            json!({"ShardId": first, "ShardIteratorType": "LATEST"}),
        ),
        (
            "IncreaseStreamRetentionPeriod",
            json!({"RetentionPeriodHours": 48}),
        ),
        ("ListShards", json!({})),
        ("ListStreamConsumers", json!({})),
        ("ListTagsForStream", json!({})),
        (
            "MergeShards",
            json!({"ShardToMerge": first, "AdjacentShardToMerge": second}),
        ),
        ("PutRecord", record.clone()),
        ("PutRecords", json!({"Records": [record]})),
        ("RegisterStreamConsumer", json!({"ConsumerName": "c"})),
        ("RemoveTagsFromStream", json!({"TagKeys": ["a"]})),
        (
            "SplitShard",
            json!({"ShardToSplit": first, "NewStartingHashKey": "9"}),
        ),
        ("StartStreamEncryption", encryption.clone()),
        ("StopStreamEncryption", encryption),
        ("UpdateMaxRecordSize", json!({"MaxRecordSizeInKiB": 2048})),
        (
            "UpdateShardCount",
            json!({"TargetShardCount": 4, "ScalingType": "UNIFORM_SCALING"}),
        ),
        (
            "UpdateStreamMode",
            json!({"StreamModeDetails": {"StreamMode": "ON_DEMAND"}}),
        ),
        (
            "UpdateStreamRecordDistributionStrategy",
            json!({"RecordDistributionStrategy": "AUTO"}),
        ),
        ("UpdateStreamWarmThroughput", json!({"WarmThroughputMiBps": 1})),
    ]
}

/// Every operation that names a consumer, with its other members. The last one removes the consumer.
pub fn of_consumers() -> Vec<(&'static str, Value)> {
    let latest = json!({"Type": "LATEST"});
    vec![
        ("DescribeStreamConsumer", json!({})),
        (
            "SubscribeToShard",
            json!({"ShardId": "shardId-000000000000", "StartingPosition": latest}),
        ),
        ("DeregisterStreamConsumer", json!({})),
    ]
}

/// Every operation that names a resource of any kind, with its other members.
pub fn of_resources() -> Vec<(&'static str, Value)> {
    vec![
        ("TagResource", json!({"Tags": {"a": "b"}})),
        ("UntagResource", json!({"TagKeys": ["a"]})),
        ("ListTagsForResource", json!({})),
        ("PutResourcePolicy", json!({"Policy": "{}"})),
        ("GetResourcePolicy", json!({})),
        ("DeleteResourcePolicy", json!({})),
    ]
}

/// Every operation that names a queue, with its other members.
pub fn of_queues() -> Vec<(&'static str, Value)> {
    let entries = json!({"Entries": [{"ReceiptHandle": "x"}]});
    let held = json!({"Entries": [{"ReceiptHandle": "x", "VisibilityTimeoutSeconds": 1}]});
    vec![
        ("DescribeQueue", json!({})),
        ("UpdateQueue", json!({"QueueAttributes": {}})),
        ("DeleteQueue", json!({})),
        ("ReceiveQueueRecords", json!({})),
        ("AcknowledgeQueueRecords", entries.clone()),
        ("UpdateQueueRecordsVisibility", held.clone()),
        ("ReceiveDeadLetterQueueRecords", json!({})),
        ("AcknowledgeDeadLetterQueueRecords", entries.clone()),
        ("UpdateDeadLetterQueueRecordsVisibility", held),
        ("RestoreDeadLetterQueueRecords", entries),
    ]
}

/// The input with one more member.
pub fn with(input: &Value, member: &str, value: Value) -> Value {
    let mut input = input.clone();
    input[member] = value;
    input
}
