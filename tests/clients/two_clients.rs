//! Operations that few clients have are called by two of the clients that the tests run: boto3, and the AWS command
//! line with boto3's model. The SDK for JavaScript has those on channels and encryption too.

use std::fs;

use super::install::source_directory;

const OPERATIONS: [&str; 19] = [
    "StartStreamEncryption",
    "StopStreamEncryption",
    "CreateQueue",
    "DescribeQueue",
    "ListQueues",
    "UpdateQueue",
    "DeleteQueue",
    "ReceiveQueueRecords",
    "AcknowledgeQueueRecords",
    "UpdateQueueRecordsVisibility",
    "ReceiveDeadLetterQueueRecords",
    "AcknowledgeDeadLetterQueueRecords",
    "UpdateDeadLetterQueueRecordsVisibility",
    "RestoreDeadLetterQueueRecords",
    "CreateChannel",
    "DescribeChannel",
    "ListChannels",
    "UpdateChannel",
    "DeleteChannel",
];

fn scripts(names: &[&str]) -> String {
    let texts = names
        .iter()
        .map(|name| fs::read_to_string(source_directory().join(name)).expect("read a script"));
    texts.collect()
}

/// The words of a name, in small letters.
fn joined_by(operation: &str, between: char) -> String {
    let mut joined = String::new();
    for letter in operation.chars() {
        if letter.is_ascii_uppercase() && !joined.is_empty() {
            joined.push(between);
        }
        joined.push(letter.to_ascii_lowercase());
    }
    joined
}

#[test]
fn every_operation_on_queues_channels_and_encryption_is_called_by_two_clients() {
    let boto3 = scripts(&["queues_boto3.py", "channels_boto3.py", "tutorial_boto3.py"]);
    let command_line = scripts(&["queues_aws_cli.sh"]);
    let sdk = scripts(&["node/channels.cjs"]);
    for operation in OPERATIONS {
        let name = joined_by(operation, '_');
        let is_called = [format!("kinesis.{name}("), format!("get_paginator(\"{name}\")")]
            .iter()
            .any(|call| boto3.contains(call));
        assert!(is_called, "boto3 does not call {operation}");
        let name = joined_by(operation, '-');
        let by_function = ["on_entries", "receive"].map(|function| format!("{function} {name}"));
        let is_called = command_line.contains(&format!("aws kinesis {name} "))
            || by_function.iter().any(|call| command_line.contains(call));
        assert!(is_called, "the command line does not call {operation}");
        // It does not have queues yet.
        let is_called = sdk.contains(&format!("new {operation}Command("));
        let is_of_queues = operation.contains("Queue");
        assert!(
            is_called != is_of_queues,
            "the SDK for JavaScript and {operation}"
        );
    }
}
