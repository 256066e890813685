//! The operations: one file per family, and for each operation, in one place, the members of its input with their
//! constraints and what it does.

mod get_records;
mod put_body;
mod put_records;
mod records_body;
mod refusal;
mod shards;
mod stream_reference;
mod streams;
mod tags;

use super::dispatch::{Operation, Run};

pub(super) use put_records::PendingPut;

/// All operations of Kinesis Data Streams 2013-12-02, the busiest first.
pub(super) static ALL: [Operation; 57] = [
    put_records::PUT_RECORDS,
    put_records::PUT_RECORD,
    get_records::GET_RECORDS,
    get_records::GET_SHARD_ITERATOR,
    streams::CREATE_STREAM,
    streams::DELETE_STREAM,
    streams::DESCRIBE_STREAM,
    streams::DESCRIBE_STREAM_SUMMARY,
    streams::LIST_STREAMS,
    streams::INCREASE_STREAM_RETENTION_PERIOD,
    streams::DECREASE_STREAM_RETENTION_PERIOD,
    shards::LIST_SHARDS,
    shards::SPLIT_SHARD,
    shards::MERGE_SHARDS,
    not_offered("UpdateShardCount"),
    not_offered("RegisterStreamConsumer"),
    not_offered("DescribeStreamConsumer"),
    not_offered("ListStreamConsumers"),
    not_offered("DeregisterStreamConsumer"),
    not_offered("SubscribeToShard"),
    not_offered("AddTagsToStream"),
    not_offered("RemoveTagsFromStream"),
    not_offered("ListTagsForStream"),
    not_offered("TagResource"),
    not_offered("UntagResource"),
    not_offered("ListTagsForResource"),
    not_offered("PutResourcePolicy"),
    not_offered("GetResourcePolicy"),
    not_offered("DeleteResourcePolicy"),
    not_offered("StartStreamEncryption"),
    not_offered("StopStreamEncryption"),
    not_offered("EnableEnhancedMonitoring"),
    not_offered("DisableEnhancedMonitoring"),
    not_offered("UpdateStreamMode"),
    not_offered("UpdateMaxRecordSize"),
    not_offered("UpdateStreamRecordDistributionStrategy"),
    not_offered("UpdateStreamWarmThroughput"),
    not_offered("DescribeLimits"),
    not_offered("DescribeAccountSettings"),
    not_offered("UpdateAccountSettings"),
    not_offered("CreateQueue"),
    not_offered("DescribeQueue"),
    not_offered("ListQueues"),
    not_offered("UpdateQueue"),
    not_offered("DeleteQueue"),
    not_offered("ReceiveQueueRecords"),
    not_offered("AcknowledgeQueueRecords"),
    not_offered("UpdateQueueRecordsVisibility"),
    not_offered("ReceiveDeadLetterQueueRecords"),
    not_offered("AcknowledgeDeadLetterQueueRecords"),
    not_offered("UpdateDeadLetterQueueRecordsVisibility"),
    not_offered("RestoreDeadLetterQueueRecords"),
    not_offered("CreateChannel"),
    not_offered("DescribeChannel"),
    not_offered("ListChannels"),
    not_offered("UpdateChannel"),
    not_offered("DeleteChannel"),
];

const fn not_offered(name: &'static str) -> Operation {
    Operation {
        name,
        input: &[],
        run: Run::NotOffered,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_listed_once() {
        let names: std::collections::BTreeSet<_> = ALL.iter().map(|operation| operation.name).collect();
        assert_eq!(names.len(), ALL.len());
    }

    #[test]
    fn the_documentation_says_of_each_operation_whether_it_is_offered() {
        let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/compatibility.md"));
        for operation in &ALL {
            let offered = if matches!(operation.run, Run::NotOffered) {
                "no"
            } else {
                "yes"
            };
            let row = format!("| {} | {offered} |", operation.name);
            assert_eq!(page.matches(&row).count(), 1, "{row}");
        }
    }

    #[test]
    fn no_operation_lists_a_member_twice() {
        for operation in &ALL {
            let names: std::collections::BTreeSet<_> =
                operation.input.iter().map(|member| member.name).collect();
            assert_eq!(names.len(), operation.input.len(), "{}", operation.name);
        }
    }
}
