//! The operations: one file per family, and for each operation, in one place, its declaration and its function.
//!
//! To add one, write its declaration and its function, and its row here.

mod account;
mod channel_notes;
mod channel_shapes;
mod channels;
mod consumer_reference;
mod consumers;
mod get_records;
mod monitoring;
mod policies;
mod put_body;
mod put_records;
mod queue_receives;
mod queue_records;
mod queue_reference;
mod queues;
mod records_body;
mod refusal;
mod resource_reference;
mod shapes;
mod shards;
mod stream_reference;
mod stream_settings;
mod streams;
mod subscribe;
mod tag_rules;
mod tags;
mod throttled;

use super::operation::Operation;

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
    shards::UPDATE_SHARD_COUNT,
    consumers::REGISTER_STREAM_CONSUMER,
    consumers::DESCRIBE_STREAM_CONSUMER,
    consumers::LIST_STREAM_CONSUMERS,
    consumers::DEREGISTER_STREAM_CONSUMER,
    subscribe::SUBSCRIBE_TO_SHARD,
    tags::ADD_TAGS_TO_STREAM,
    tags::REMOVE_TAGS_FROM_STREAM,
    tags::LIST_TAGS_FOR_STREAM,
    tags::TAG_RESOURCE,
    tags::UNTAG_RESOURCE,
    tags::LIST_TAGS_FOR_RESOURCE,
    policies::PUT_RESOURCE_POLICY,
    policies::GET_RESOURCE_POLICY,
    policies::DELETE_RESOURCE_POLICY,
    stream_settings::START_STREAM_ENCRYPTION,
    stream_settings::STOP_STREAM_ENCRYPTION,
    monitoring::ENABLE_ENHANCED_MONITORING,
    monitoring::DISABLE_ENHANCED_MONITORING,
    stream_settings::UPDATE_STREAM_MODE,
    stream_settings::UPDATE_MAX_RECORD_SIZE,
    stream_settings::UPDATE_STREAM_RECORD_DISTRIBUTION_STRATEGY,
    stream_settings::UPDATE_STREAM_WARM_THROUGHPUT,
    account::DESCRIBE_LIMITS,
    account::DESCRIBE_ACCOUNT_SETTINGS,
    account::UPDATE_ACCOUNT_SETTINGS,
    queues::CREATE_QUEUE,
    queues::DESCRIBE_QUEUE,
    queues::LIST_QUEUES,
    queues::UPDATE_QUEUE,
    queues::DELETE_QUEUE,
    queue_receives::RECEIVE_QUEUE_RECORDS,
    queue_records::ACKNOWLEDGE_QUEUE_RECORDS,
    queue_records::UPDATE_QUEUE_RECORDS_VISIBILITY,
    queue_receives::RECEIVE_DEAD_LETTER_QUEUE_RECORDS,
    queue_records::ACKNOWLEDGE_DEAD_LETTER_QUEUE_RECORDS,
    queue_records::UPDATE_DEAD_LETTER_QUEUE_RECORDS_VISIBILITY,
    queue_records::RESTORE_DEAD_LETTER_QUEUE_RECORDS,
    channels::CREATE_CHANNEL,
    channels::DESCRIBE_CHANNEL,
    channels::LIST_CHANNELS,
    channels::UPDATE_CHANNEL,
    channels::DELETE_CHANNEL,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinesis::shape::{AnyShape, Kind, Member};

    #[test]
    fn every_operation_is_listed_once() {
        let names: std::collections::BTreeSet<_> = ALL.iter().map(|operation| operation.name).collect();
        assert_eq!(names.len(), ALL.len());
    }

    #[test]
    fn the_documentation_has_a_row_for_each_operation_with_a_test_that_calls_it() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let page = std::fs::read_to_string(root.join("docs/compatibility.md")).unwrap();
        for operation in &ALL {
            let begin = format!("| {} | ", operation.name);
            let rows: Vec<_> = page.lines().filter(|line| line.starts_with(&begin)).collect();
            let [row] = rows[..] else {
                panic!("{begin}: {rows:?}")
            };
            let mut paths = row.split('`').filter(|code| code.starts_with("tests/"));
            let calls_it = |path: &str| {
                let test = std::fs::read_to_string(root.join(path)).expect(path);
                test.contains(operation.name)
            };
            assert!(paths.any(calls_it), "{row}");
        }
    }

    #[test]
    fn no_structure_lists_a_member_twice_and_every_pattern_of_an_input_is_matched() {
        for operation in &ALL {
            check_members(operation.input, true);
            check_members(operation.output, false);
        }
    }

    fn check_members(members: &[Member], patterns_are_matched: bool) {
        let names: std::collections::BTreeSet<_> = members.iter().map(|member| member.name).collect();
        assert_eq!(names.len(), members.len(), "{names:?}");
        for member in members {
            check_shape(&member.shape, patterns_are_matched);
        }
    }

    fn check_shape(shape: &AnyShape, patterns_are_matched: bool) {
        if let Some(pattern) = shape.pattern {
            assert!(pattern.matches.is_some() || !patterns_are_matched, "{pattern:?}");
        }
        match shape.kind {
            Kind::Structure(members) | Kind::Events(members) => check_members(members, patterns_are_matched),
            Kind::List(items) | Kind::Map(items) => check_shape(items, patterns_are_matched),
            _ => {}
        }
    }
}
