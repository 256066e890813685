//! Provokes the errors that operations declare: those of many operations by limits and faults, the others by a wrong
//! call.

use std::time::Duration;

use anabranch::kinesis::{Fault, Limits, declared_api};
use anabranch::{KeyRing, PutRecord, ReadLimit, ReceiveOptions, limits};
use serde_json::{Map, Value, json};

use super::calls::{self, with};
use super::test_server::{ACCOUNT, Backend, REGION, Setup, TestServer, text};

const EXPIRED_NEXT_TOKEN: &str = "ExpiredNextTokenException";
const INTERNAL_FAILURE: &str = "InternalFailureException";
const INVALID_ARGUMENT: &str = "InvalidArgumentException";
const KMS_NOT_FOUND: &str = "KMSNotFoundException";
const LIMIT_EXCEEDED: &str = "LimitExceededException";
const RESOURCE_IN_USE: &str = "ResourceInUseException";
const RESOURCE_NOT_FOUND: &str = "ResourceNotFoundException";
const THROTTLING: &str = "ThrottlingException";
const THROUGHPUT_EXCEEDED: &str = "ProvisionedThroughputExceededException";
const VALIDATION: &str = "ValidationException";

/// The exceptions for too many calls. No operation declares two of them.
const THROTTLES: [&str; 3] = [LIMIT_EXCEEDED, THROTTLING, THROUGHPUT_EXCEEDED];

const DELAY: Duration = Duration::from_secs(60);

/// The errors that the server declares for each operation.
fn declared() -> Map<String, Value> {
    serde_json::from_str(&declared_api()).unwrap()
}

fn declares(operation: &Value, exception: &str) -> bool {
    operation["errors"]
        .as_array()
        .unwrap()
        .contains(&json!(exception))
}

/// The operations that declare this exception.
fn operations_with(exception: &str) -> Vec<String> {
    let operations = declared().into_iter();
    let with_it = operations.filter(|(_, operation)| declares(operation, exception));
    with_it.map(|(name, _)| name).collect()
}

/// The operations that declare this exception for the whole call. PutRecords throttles each record separately.
fn throttled_with(exception: &str) -> Vec<String> {
    let mut operations = operations_with(exception);
    operations.retain(|operation| operation != "PutRecords");
    operations
}

/// Faults that strike the first call of each of these operations.
fn at_first_calls(kind: &str, operations: &[String]) -> Vec<Fault> {
    let faults = operations.iter();
    faults
        .map(|operation| format!("{operation}:{kind}:1").parse().unwrap())
        .collect()
}

#[track_caller]
fn check(server: &TestServer, exception: &str, operation: &str, input: &Value) {
    let (found, message) = server.refusal(operation, input);
    assert_eq!(found, exception, "{operation} {input}: {message}");
}

fn arn(kind: &str, name: &str) -> String {
    format!("arn:aws:kinesis:{REGION}:{ACCOUNT}:{kind}/{name}")
}

/// The operations on such a resource that declare this exception and are not among the calls.
fn missed(calls: &[(&str, Value)], resource: &str, exception: &str) -> Vec<String> {
    let mut missed = operations_with(exception);
    let declared = declared();
    missed.retain(|name| {
        let is_tried = calls.iter().any(|(tried, _)| *tried == name.as_str());
        declared[name]["resource"] == resource && !is_tried
    });
    missed
}

fn create_jobs(server: &TestServer) {
    let on_demand = json!({"StreamName": "jobs", "StreamModeDetails": {"StreamMode": "ON_DEMAND"}});
    server.ok("CreateStream", &on_demand);
}

fn new_queue(name: &str) -> Value {
    json!({"QueueName": name, "StreamConfigurationList": [{"StreamARN": arn("stream", "jobs")}]})
}

/// A queue whose records are dead letters after 5 seconds. Gives its ARN.
fn create_queue(server: &TestServer, name: &str) -> String {
    let dead_letters = json!({"TargetType": "BUILT_IN", "MaxReceiveCount": 1});
    let attributes = json!({"VisibilityTimeoutSeconds": 5, "DeadLetterConfiguration": dead_letters});
    let queue = with(&new_queue(name), "QueueAttributes", attributes);
    text(&server.ok("CreateQueue", &queue)["QueueDescription"]["QueueARN"])
}

/// A server with one stream and one queue, and the ARN of the queue.
fn server_with_queue() -> (TestServer, String) {
    let server = TestServer::start(Backend::Memory);
    create_jobs(&server);
    let queue = create_queue(&server, "work");
    (server, queue)
}

fn wait_a_second(queue: &str) -> Value {
    json!({"QueueARN": queue, "WaitTimeSeconds": 1})
}

#[test]
fn every_control_operation_is_refused_beyond_its_rate() {
    let server = TestServer::with_options(Backend::Memory, |options| {
        options.limits(Limits {
            call_rates: true,
            ..Limits::NONE
        })
    });
    let refused = (
        LIMIT_EXCEEDED.to_owned(),
        format!("Rate exceeded for account {ACCOUNT}."),
    );
    let mut client = server.connect();
    for (name, operation) in declared() {
        if operation["class"] != "control" {
            continue;
        }
        assert!(declares(&operation, LIMIT_EXCEEDED), "{name}");
        let rate = match name.as_str() {
            "ListShards" => 1000,
            "DescribeStreamSummary" | "DescribeStreamConsumer" => 20,
            "DescribeStream" => 10,
            "DescribeLimits" => 1,
            _ => 5,
        };
        // The clock stands still. Errors of the input are given only to calls within the rate.
        for _ in 0..rate {
            let reply = client.call(&name, &json!({}));
            assert_ne!(reply.header("x-amzn-errortype"), Some(LIMIT_EXCEEDED), "{name}");
        }
        assert_eq!(client.call(&name, &json!({})).refusal(), refused, "{name}");
    }
}

#[test]
fn every_operation_that_can_be_throttled_is_where_that_is_asked_for() {
    let server = TestServer::with_options(Backend::Memory, |options| {
        let operations = THROTTLES.map(throttled_with).concat();
        options.faults(at_first_calls("throttle", &operations), 1)
    });
    for exception in THROTTLES {
        for operation in throttled_with(exception) {
            check(&server, exception, &operation, &json!({}));
            let second = server.call(&operation, &json!({}));
            assert_ne!(second.header("x-amzn-errortype"), Some(exception), "{operation}");
        }
    }
}

#[test]
fn every_operation_that_can_fail_does_where_that_is_asked_for() {
    let server = TestServer::with_options(Backend::Memory, |options| {
        options.faults(at_first_calls("fail", &operations_with(INTERNAL_FAILURE)), 1)
    });
    for operation in operations_with(INTERNAL_FAILURE) {
        let failed = server.call(&operation, &json!({}));
        assert_eq!(failed.status, 500, "{operation}");
        assert_eq!(failed.json()["__type"], INTERNAL_FAILURE, "{operation}");
        let second = server.call(&operation, &json!({}));
        assert!(second.status < 500, "{operation}: {}", second.status);
    }
}

#[test]
fn a_stream_that_is_not_there_is_not_found_by_any_operation() {
    let server = TestServer::start(Backend::Memory);
    let calls = calls::of_streams();
    for (operation, input) in &calls {
        let missing = with(input, "StreamARN", json!(arn("stream", "missing")));
        check(&server, RESOURCE_NOT_FOUND, operation, &missing);
    }
    // It takes an iterator.
    assert_eq!(missed(&calls, "stream", RESOURCE_NOT_FOUND), ["GetRecords"]);
}

#[test]
fn a_stream_that_is_being_created_is_in_use_for_every_operation_that_says_so() {
    let setup = Setup {
        transition_delay: DELAY,
        ..Setup::default()
    };
    let server = TestServer::with(Backend::Memory, setup);
    server.create("s", 2);
    let (declared, calls) = (declared(), calls::of_streams());
    for (operation, input) in &calls {
        // A stream can be deleted in any state: it is in use while it has consumers.
        if declares(&declared[*operation], RESOURCE_IN_USE) && *operation != "DeleteStream" {
            let named = with(input, "StreamARN", json!(arn("stream", "s")));
            check(&server, RESOURCE_IN_USE, operation, &named);
        }
    }
    let resource = json!({"ResourceARN": arn("stream", "s")});
    for (operation, member, value) in [
        ("PutResourcePolicy", "Policy", json!("{}")),
        ("DeleteResourcePolicy", "StreamId", Value::Null),
        ("TagResource", "Tags", json!({"a": "b"})),
        ("UntagResource", "TagKeys", json!(["a"])),
    ] {
        check(
            &server,
            RESOURCE_IN_USE,
            operation,
            &with(&resource, member, value),
        );
    }
    check(
        &server,
        RESOURCE_IN_USE,
        "CreateStream",
        &json!({"StreamName": "s", "ShardCount": 2}),
    );
    assert_eq!(missed(&calls, "stream", RESOURCE_IN_USE), ["CreateStream"]);
}

#[test]
fn a_call_that_does_not_name_its_stream_is_refused() {
    let server = TestServer::start(Backend::Memory);
    let declared = declared();
    for (operation, input) in calls::of_streams() {
        let required = declared[operation]["input"]["required"].as_array().unwrap();
        let exception = match required.contains(&json!("StreamARN")) {
            true => VALIDATION,
            false => INVALID_ARGUMENT,
        };
        check(&server, exception, operation, &input);
    }
}

#[test]
fn members_that_are_wrong_are_refused() {
    let (server, queue) = server_with_queue();
    let stream = arn("stream", "jobs");
    let mode = json!({"StreamARN": stream, "StreamModeDetails": {"StreamMode": "x"}});
    check(&server, VALIDATION, "UpdateStreamMode", &mode);
    let strategy = json!({"StreamARN": stream, "RecordDistributionStrategy": "x"});
    check(
        &server,
        VALIDATION,
        "UpdateStreamRecordDistributionStrategy",
        &strategy,
    );
    let tagged = json!({"StreamARN": stream, "ConsumerName": "c", "Tags": {"a": "!"}});
    check(&server, INVALID_ARGUMENT, "RegisterStreamConsumer", &tagged);
    let tagged = with(&new_queue("other"), "Tags", json!({"a": "!"}));
    check(&server, INVALID_ARGUMENT, "CreateQueue", &tagged);

    let token = json!({"StreamARN": stream, "NextToken": "x"});
    check(&server, INVALID_ARGUMENT, "ListStreamConsumers", &token);
    // A stream on demand changes its shards itself.
    for (operation, input) in calls::of_streams() {
        if ["MergeShards", "SplitShard", "UpdateShardCount"].contains(&operation) {
            let named = with(&input, "StreamARN", json!(stream));
            check(&server, VALIDATION, operation, &named);
        }
    }

    let resource = json!({"ResourceARN": "s", "Policy": "{}", "Tags": {"a": "b"}, "TagKeys": ["a"]});
    for operation in [
        "PutResourcePolicy",
        "GetResourcePolicy",
        "DeleteResourcePolicy",
        "TagResource",
        "UntagResource",
        "ListTagsForResource",
    ] {
        check(&server, VALIDATION, operation, &resource);
    }
    let channel = json!({"ChannelARN": "x"});
    for operation in ["DescribeChannel", "DeleteChannel"] {
        check(&server, VALIDATION, operation, &channel);
    }
    for operation in ["ListQueues", "ListChannels"] {
        check(&server, VALIDATION, operation, &json!({"MaxResults": 0}));
        check(&server, INVALID_ARGUMENT, operation, &json!({"NextToken": "x"}));
    }

    for (operation, input) in calls::of_queues() {
        check(
            &server,
            VALIDATION,
            operation,
            &with(&input, "QueueARN", json!("x")),
        );
        if input.get("Entries").is_some() {
            let none = json!({"QueueARN": queue, "Entries": []});
            check(&server, VALIDATION, operation, &none);
        }
    }
    for operation in ["ReceiveQueueRecords", "ReceiveDeadLetterQueueRecords"] {
        for (member, value) in [
            ("Limit", 0),
            ("Limit", 11),
            ("WaitTimeSeconds", 0),
            ("WaitTimeSeconds", 21),
            ("VisibilityTimeoutSeconds", -1),
            ("VisibilityTimeoutSeconds", 43_201),
        ] {
            let input = with(&json!({ "QueueARN": queue }), member, json!(value));
            check(&server, VALIDATION, operation, &input);
        }
    }
}

#[test]
fn an_encryption_can_be_stopped_so_many_times_a_day_where_that_is_emulated() {
    const A_DAY: Duration = Duration::from_secs(24 * 3_600);
    const START: &str = "StartStreamEncryption";
    const STOP: &str = "StopStreamEncryption";
    let server = TestServer::with_options(Backend::Memory, |options| {
        options.limits(Limits {
            changes: true,
            ..Limits::NONE
        })
    });
    server.create("s", 1);
    let key = json!({"StreamName": "s", "EncryptionType": "KMS", "KeyId": "k"});
    // The start of the day before no longer counts, so there can be 26 stops for 25 starts.
    server.ok(START, &key);
    server.advance(A_DAY);
    server.ok(STOP, &key);
    for _ in 0..24 {
        server.ok(START, &key);
        server.ok(STOP, &key);
    }
    server.ok(START, &key);
    check(&server, LIMIT_EXCEEDED, STOP, &key);
    server.advance(A_DAY);
    server.ok(STOP, &key);
}

#[test]
fn five_queues_of_a_stream_are_created_at_a_time() {
    let setup = Setup {
        transition_delay: DELAY,
        ..Setup::default()
    };
    let server = TestServer::with(Backend::Memory, setup);
    create_jobs(&server);
    server.advance(DELAY);
    for number in 0..5 {
        server.ok("CreateQueue", &new_queue(&number.to_string()));
    }
    check(&server, LIMIT_EXCEEDED, "CreateQueue", &new_queue("sixth"));
    server.advance(DELAY);
    server.ok("CreateQueue", &new_queue("sixth"));
}

#[test]
fn a_token_of_the_list_of_queues_expires() {
    let (server, _) = server_with_queue();
    create_queue(&server, "more");
    let page = server.ok("ListQueues", &json!({"MaxResults": 1}));
    let next = json!({"NextToken": page["NextToken"]});
    server.advance(Duration::from_secs(300));
    server.ok("ListQueues", &next);
    server.advance(Duration::from_secs(1));
    check(&server, EXPIRED_NEXT_TOKEN, "ListQueues", &next);
}

#[test]
fn a_queue_that_is_not_there_is_not_found_by_any_operation() {
    let (server, deleted) = server_with_queue();
    server.ok("DeleteQueue", &json!({ "QueueARN": deleted }));
    let calls = calls::of_queues();
    for (operation, input) in &calls {
        for queue in [&deleted, &arn("queue", "1-1-00000000")] {
            let named = with(input, "QueueARN", json!(queue));
            check(&server, RESOURCE_NOT_FOUND, operation, &named);
        }
    }
    // It names a stream.
    assert_eq!(missed(&calls, "queue", RESOURCE_NOT_FOUND), ["CreateQueue"]);
}

#[test]
fn a_channel_that_is_not_there_is_not_found_by_any_operation() {
    let server = TestServer::start(Backend::Memory);
    let freshness = json!({"S3DestinationConfiguration": {"DataFreshnessInSeconds": 600}});
    let calls = [
        ("DescribeChannel", json!({})),
        ("UpdateChannel", freshness),
        ("DeleteChannel", json!({})),
    ];
    for (operation, input) in &calls {
        let named = with(input, "ChannelARN", json!(arn("channel", "1-1-00000000")));
        check(&server, RESOURCE_NOT_FOUND, operation, &named);
    }
    // It names a stream.
    assert_eq!(missed(&calls, "channel", RESOURCE_NOT_FOUND), ["CreateChannel"]);
}

#[test]
fn entries_about_dead_letters_fail_by_themselves() {
    let (server, queue) = server_with_queue();
    server.put("jobs", "k", "data");
    server.ok("ReceiveQueueRecords", &wait_a_second(&queue));
    server.advance(Duration::from_secs(5));
    let dead = server.ok("ReceiveDeadLetterQueueRecords", &wait_a_second(&queue));
    let handle = &dead["QueueRecords"][0]["ReceiptHandle"];
    let done = json!({"QueueARN": queue, "Entries": [{"ReceiptHandle": handle}]});
    let acknowledged = server.ok("AcknowledgeDeadLetterQueueRecords", &done);
    assert_eq!(acknowledged["Failed"], json!([]));

    let failure = |operation: &str, handle: &Value| {
        let mut entry = json!({ "ReceiptHandle": handle });
        if operation.ends_with("Visibility") {
            entry["VisibilityTimeoutSeconds"] = json!(1);
        }
        let outcome = server.ok(operation, &json!({"QueueARN": queue, "Entries": [entry]}));
        assert_eq!(outcome["Successful"], json!([]), "{operation}");
        assert_eq!(outcome["Failed"][0]["ReceiptHandle"], *handle, "{operation}");
        text(&outcome["Failed"][0]["ErrorCode"])
    };
    for operation in [
        "UpdateDeadLetterQueueRecordsVisibility",
        "RestoreDeadLetterQueueRecords",
    ] {
        assert_eq!(failure(operation, handle), RESOURCE_NOT_FOUND, "{operation}");
    }
    for (operation, input) in calls::of_queues() {
        if input.get("Entries").is_some() {
            assert_eq!(failure(operation, &json!("x")), INVALID_ARGUMENT, "{operation}");
        }
    }
}

#[test]
fn records_and_dead_letters_whose_key_is_missing_are_not_received() {
    let keys = KeyRing::new();
    keys.insert("alias/orders", [1; 32]);
    let setup = Setup {
        keys: Some(keys.clone()),
        ..Setup::default()
    };
    let server = TestServer::with(Backend::Directory, setup);
    create_jobs(&server);
    let queue = create_queue(&server, "work");
    server.ok(
        "StartStreamEncryption",
        &json!({"StreamName": "jobs", "EncryptionType": "KMS", "KeyId": "alias/orders"}),
    );
    server.put("jobs", "k", "of a dead letter");
    let received = server.ok("ReceiveQueueRecords", &wait_a_second(&queue));
    assert_eq!(received["QueueRecords"].as_array().unwrap().len(), 1);
    server.put("jobs", "k", "of a record");
    server.advance(Duration::from_secs(5));
    keys.remove("alias/orders");
    for operation in ["ReceiveQueueRecords", "ReceiveDeadLetterQueueRecords"] {
        check(&server, KMS_NOT_FOUND, operation, &wait_a_second(&queue));
    }
    keys.insert("alias/orders", [1; 32]);
    for operation in ["ReceiveQueueRecords", "ReceiveDeadLetterQueueRecords"] {
        let received = server.ok(operation, &wait_a_second(&queue));
        assert_eq!(
            received["QueueRecords"].as_array().unwrap().len(),
            1,
            "{operation}"
        );
    }
}

/// They declare no exception for keys, so the error is an internal failure of the server.
#[test]
fn operations_that_know_nothing_of_keys_fail_while_the_key_is_missing() {
    let keys = KeyRing::new();
    keys.insert("alias/orders", [1; 32]);
    let setup = Setup {
        keys: Some(keys.clone()),
        ..Setup::default()
    };
    let server = TestServer::with(Backend::Directory, setup);
    create_jobs(&server);
    let queue = create_queue(&server, "work");
    server.ok(
        "StartStreamEncryption",
        &json!({"StreamName": "jobs", "EncryptionType": "KMS", "KeyId": "alias/orders"}),
    );
    let received = |operation: &str| {
        let received = server.ok(operation, &wait_a_second(&queue));
        assert_eq!(
            received["QueueRecords"].as_array().unwrap().len(),
            1,
            "{operation}"
        );
        received["QueueRecords"][0]["ReceiptHandle"].clone()
    };
    server.put("jobs", "k", "of a dead letter");
    received("ReceiveQueueRecords");
    server.advance(Duration::from_secs(5));
    let dead = received("ReceiveDeadLetterQueueRecords");
    server.put("jobs", "k", "of a record");
    let live = received("ReceiveQueueRecords");
    keys.remove("alias/orders");
    let calls = [
        ("AcknowledgeQueueRecords", &live),
        ("UpdateQueueRecordsVisibility", &live),
        ("UpdateDeadLetterQueueRecordsVisibility", &dead),
        ("AcknowledgeDeadLetterQueueRecords", &dead),
        ("RestoreDeadLetterQueueRecords", &dead),
    ];
    for (operation, handle) in calls {
        assert!(!declares(&declared()[operation], KMS_NOT_FOUND), "{operation}");
        let mut entry = json!({ "ReceiptHandle": handle });
        if operation.ends_with("Visibility") {
            entry["VisibilityTimeoutSeconds"] = json!(1);
        }
        let failed = server.call(operation, &json!({"QueueARN": queue, "Entries": [entry]}));
        assert_eq!(failed.status, 500, "{operation}: {}", failed.text());
        assert_eq!(failed.json()["__type"], INTERNAL_FAILURE, "{operation}");
        assert!(failed.text().contains("alias/orders"), "{}", failed.text());
    }
    keys.insert("alias/orders", [1; 32]);
    for (operation, handle) in [calls[0], calls[4]] {
        let done = json!({"QueueARN": queue, "Entries": [{"ReceiptHandle": handle}]});
        assert_eq!(server.ok(operation, &done)["Failed"], json!([]), "{operation}");
    }
}

#[test]
fn a_queue_gives_out_no_more_than_may_be_in_flight() {
    const IN_A_BATCH: usize = 1_000;
    let server = TestServer::start(Backend::Directory);
    create_jobs(&server);
    let queue = create_queue(&server, "work");
    let stream = server.streams().stream("jobs").unwrap();
    let keys: Vec<String> = (0..IN_A_BATCH).map(|key| key.to_string()).collect();
    let records: Vec<_> = keys.iter().map(|key| PutRecord::new(key, b"x")).collect();
    for _ in 0..limits::MAX_UNACKNOWLEDGED / IN_A_BATCH {
        stream.put_records(&records).unwrap();
    }
    let many = ReceiveOptions {
        limit: ReadLimit {
            records: limits::MAX_RECEIVED,
            ..ReadLimit::default()
        },
        ..ReceiveOptions::default()
    };
    let in_process = stream.queue("work").unwrap();
    let mut in_flight = 0;
    while in_flight < limits::MAX_UNACKNOWLEDGED {
        let received = in_process.receive(&many).unwrap().len();
        assert_ne!(received, 0, "{in_flight} records are in flight");
        in_flight += received;
    }
    check(&server, THROTTLING, "ReceiveQueueRecords", &wait_a_second(&queue));
}

/// All that operations declare, by operation.
fn declared_exceptions() -> Vec<(String, Vec<String>)> {
    let exceptions = |operation: &Value| {
        let exceptions = operation["errors"].as_array().unwrap().iter();
        exceptions.map(|exception| text(exception).to_owned()).collect()
    };
    let declared = declared().into_iter();
    declared
        .map(|(name, operation)| (name, exceptions(&operation)))
        .collect()
}

/// A client can test its handling of every error of the API. If several faults strike a call, the last one is the
/// answer.
#[test]
fn any_error_that_an_operation_declares_can_be_asked_for() {
    let server = TestServer::with_options(Backend::Memory, |options| {
        let faults = declared_exceptions().into_iter().flat_map(|(name, exceptions)| {
            let times = (1..=exceptions.len()).rev();
            let faults = exceptions.into_iter().zip(times);
            let faults = faults.map(|(exception, times)| format!("{name}:error={exception}:{times}"));
            faults.collect::<Vec<_>>()
        });
        options.faults(faults.map(|fault| fault.parse::<Fault>().unwrap()), 0)
    });
    for (name, exceptions) in declared_exceptions() {
        for exception in exceptions.iter().rev() {
            let reply = server.call(&name, &json!({}));
            let wanted = if exception == INTERNAL_FAILURE { 500 } else { 400 };
            assert_eq!(reply.status, wanted, "{name} {exception}");
            assert!(reply.text().contains(exception.as_str()), "{name} {exception}");
        }
    }
}
