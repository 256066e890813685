//! Queues as clients see them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::test_server::{
    ACCOUNT, Backend, REGION, Setup, TestServer, all, in_use, invalid_argument, not_found, on_each_backend,
    text, validation,
};

on_each_backend!(
    a_queue_is_described_listed_changed_and_deleted,
    records_are_received_acknowledged_and_given_out_again,
    dead_letters_are_received_held_back_restored_and_acknowledged,
    entries_that_are_wrong_fail_by_themselves,
    entries_that_are_wrong_keep_no_dead_letter_from_it,
    a_queue_needs_a_stream_on_demand_and_keeps_it,
    of_a_new_queue_and_a_new_mode_at_once_one_is_refused,
    what_is_wrong_with_a_queue_is_said,
    a_receive_waits_for_a_put_and_no_longer_than_it_was_told_to,
    queues_have_tags_and_policies_and_count_as_consumers,
    handles_and_queues_outlive_a_restart,
    a_queue_takes_its_time,
    many_wait_at_once,
    a_wait_goes_on_in_the_shards_of_a_split,
);

fn stream_arn(name: &str) -> String {
    format!("arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{name}")
}

fn server(backend: Backend) -> TestServer {
    let server = TestServer::start(backend);
    create_stream(&server, "jobs");
    server
}

fn create_stream(server: &TestServer, name: &str) {
    let on_demand = json!({"StreamName": name, "StreamModeDetails": {"StreamMode": "ON_DEMAND"}});
    server.ok("CreateStream", &on_demand);
}

fn new_queue(name: &str) -> Value {
    json!({"QueueName": name, "StreamConfigurationList": [{"StreamARN": stream_arn("jobs")}]})
}

fn with(mut value: Value, member: &str, of: Value) -> Value {
    value[member] = of;
    value
}

/// Gives its ARN.
fn create_queue(server: &TestServer, input: &Value) -> String {
    text(&server.ok("CreateQueue", input)["QueueDescription"]["QueueARN"])
}

fn attributes(seconds: u32, most: u32) -> Value {
    let dead_letters = json!({"TargetType": "BUILT_IN", "MaxReceiveCount": most});
    json!({"VisibilityTimeoutSeconds": seconds, "DeadLetterConfiguration": dead_letters})
}

fn receive(server: &TestServer, queue: &str) -> Vec<Value> {
    receive_as(server, "ReceiveQueueRecords", queue)
}

fn receive_as(server: &TestServer, operation: &str, queue: &str) -> Vec<Value> {
    let received = server.ok(operation, &json!({"QueueARN": queue, "WaitTimeSeconds": 1}));
    received["QueueRecords"].as_array().unwrap().clone()
}

fn entries(queue: &str, handles: &[&Value]) -> Value {
    let entries: Vec<_> = handles
        .iter()
        .map(|handle| json!({ "ReceiptHandle": handle }))
        .collect();
    json!({"QueueARN": queue, "Entries": entries})
}

#[track_caller]
fn all_succeed(server: &TestServer, operation: &str, input: &Value) {
    let outcome = server.ok(operation, input);
    let asked = input["Entries"].as_array().unwrap().len();
    assert_eq!(
        outcome["Successful"].as_array().unwrap().len(),
        asked,
        "{outcome}"
    );
    assert_eq!(outcome["Failed"], json!([]));
}

fn a_queue_is_described_listed_changed_and_deleted(backend: Backend) {
    let server = server(backend);
    let created = server.ok("CreateQueue", &new_queue("work"))["QueueDescription"].clone();
    let arn = text(&created["QueueARN"]);
    assert!(
        arn.starts_with(&format!("arn:aws:kinesis:{REGION}:{ACCOUNT}:queue/")),
        "{arn}"
    );
    let expected = json!({
        "QueueName": "work",
        "QueueARN": arn,
        "QueueStatus": "ACTIVE",
        "QueueCreationTimestamp": 1_421_889_722.0,
        "StreamConfigurationList": [{
            "StreamARN": stream_arn("jobs"),
            "StartingPosition": {"Type": "LATEST", "Timestamp": 1_421_889_722.0},
        }],
        "QueueAttributes": attributes(30, 6),
    });
    assert_eq!(created, expected);
    let described = server.ok("DescribeQueue", &json!({ "QueueARN": arn }));
    assert_eq!(described["QueueDescription"], expected);

    create_stream(&server, "more");
    let of_more = json!([{"StreamARN": stream_arn("more"), "StartingPosition": {"Type": "TRIM_HORIZON"}}]);
    for name in ["a", "z"] {
        server.ok(
            "CreateQueue",
            &with(new_queue(name), "StreamConfigurationList", of_more.clone()),
        );
    }
    let listed = server.ok("ListQueues", &json!({}));
    assert_eq!(all(&listed["QueueSummaries"], "QueueName"), ["a", "work", "z"]);
    assert_eq!(listed["NextToken"], Value::Null);
    let summary = json!({
        "QueueName": "work",
        "QueueARN": arn,
        "QueueStatus": "ACTIVE",
        "QueueCreationTimestamp": 1_421_889_722.0,
        "Streams": [{"StreamARN": stream_arn("jobs"), "StreamCreationTimestamp": 1_421_889_722.0}],
    });
    assert_eq!(listed["QueueSummaries"][1], summary);
    let page = server.ok("ListQueues", &json!({"MaxResults": 2}));
    assert_eq!(all(&page["QueueSummaries"], "QueueName"), ["a", "work"]);
    let page = server.ok("ListQueues", &json!({"NextToken": page["NextToken"]}));
    assert_eq!(all(&page["QueueSummaries"], "QueueName"), ["z"]);
    let filter = json!({"StreamFilter": [{"StreamARN": stream_arn("more")}]});
    assert_eq!(
        all(&server.ok("ListQueues", &filter)["QueueSummaries"], "QueueName"),
        ["a", "z"]
    );
    let other_time =
        json!({"StreamFilter": [{"StreamARN": stream_arn("more"), "StreamCreationTimestamp": 7}]});
    assert_eq!(server.ok("ListQueues", &other_time)["QueueSummaries"], json!([]));

    // Members that are missing leave their settings unchanged.
    let update = |new: Value| {
        let updated = server.ok("UpdateQueue", &json!({"QueueARN": arn, "QueueAttributes": new}));
        updated["QueueDescription"]["QueueAttributes"].clone()
    };
    assert_eq!(update(json!({"VisibilityTimeoutSeconds": 0})), attributes(0, 6));
    let none = json!({"DeadLetterConfiguration": {"TargetType": "NONE"}});
    let without = json!({"VisibilityTimeoutSeconds": 0, "DeadLetterConfiguration": {"TargetType": "NONE"}});
    assert_eq!(update(none), without);
    assert_eq!(update(json!({})), without);
    let built_in = json!({"DeadLetterConfiguration": {"TargetType": "BUILT_IN"}});
    assert_eq!(update(built_in), attributes(0, 6));

    server.ok("DeleteQueue", &json!({ "QueueARN": arn }));
    let gone = not_found(format!("Queue {arn} under account {ACCOUNT} not found."));
    for operation in ["DescribeQueue", "DeleteQueue", "ReceiveQueueRecords"] {
        assert_eq!(
            server.refusal(operation, &json!({ "QueueARN": arn })),
            gone,
            "{operation}"
        );
    }
    // The name is free again, and the new queue's ARN differs.
    assert_ne!(create_queue(&server, &new_queue("work")), arn);
}

fn records_are_received_acknowledged_and_given_out_again(backend: Backend) {
    let server = server(backend);
    let queue = create_queue(
        &server,
        &with(new_queue("work"), "QueueAttributes", attributes(30, 6)),
    );
    let other = create_queue(&server, &new_queue("other"));
    let put = server.put("jobs", "key-1", "hello");
    let first = receive(&server, &queue);
    let record = |received: &[Value], count: u32| {
        json!({
            "ReceiptHandle": received[0]["ReceiptHandle"],
            "RecordId": put["SequenceNumber"],
            "PartitionKey": "key-1",
            "Data": "aGVsbG8=",
            "ApproximateArrivalTimestamp": 1_421_889_722.0,
            "FirstReceiveTimestamp": 1_421_889_722.0,
            "ReceiveCount": count,
        })
    };
    assert_eq!(first, [record(&first, 1)]);
    let of_other = receive(&server, &other);
    assert_eq!(of_other[0]["RecordId"], first[0]["RecordId"]);
    assert!(receive(&server, &queue).is_empty());
    server.advance(Duration::from_secs(30));
    let second = receive(&server, &queue);
    assert_eq!(second, [record(&second, 2)]);
    assert_ne!(second[0]["ReceiptHandle"], first[0]["ReceiptHandle"]);

    let free = json!({"QueueARN": queue, "Entries": [
        {"ReceiptHandle": second[0]["ReceiptHandle"], "VisibilityTimeoutSeconds": 0},
    ]});
    all_succeed(&server, "UpdateQueueRecordsVisibility", &free);
    let held = json!({"QueueARN": queue, "VisibilityTimeoutSeconds": 100, "WaitTimeSeconds": 1});
    let third = server.ok("ReceiveQueueRecords", &held)["QueueRecords"].clone();
    assert_eq!(third[0]["ReceiveCount"], 3);
    server.advance(Duration::from_secs(99));
    assert!(receive(&server, &queue).is_empty());
    let handle = &third[0]["ReceiptHandle"];
    all_succeed(&server, "AcknowledgeQueueRecords", &entries(&queue, &[handle]));
    // A client whose answer was lost repeats the call.
    all_succeed(&server, "AcknowledgeQueueRecords", &entries(&queue, &[handle]));
    server.advance(Duration::from_secs(1_000));
    assert!(receive(&server, &queue).is_empty());
    // At most as many as requested.
    for name in 0..12 {
        server.put("jobs", &name.to_string(), "x");
    }
    let two = json!({"QueueARN": queue, "Limit": 2});
    let some = server.ok("ReceiveQueueRecords", &two);
    assert_eq!(some["QueueRecords"].as_array().unwrap().len(), 2);
    assert_eq!(receive(&server, &queue).len(), 10);
}

fn dead_letters_are_received_held_back_restored_and_acknowledged(backend: Backend) {
    let server = server(backend);
    let queue = create_queue(
        &server,
        &with(new_queue("work"), "QueueAttributes", attributes(5, 1)),
    );
    for name in ["a", "b"] {
        server.put("jobs", name, name);
    }
    let live = receive(&server, &queue);
    assert_eq!(live.len(), 2);
    server.advance(Duration::from_secs(5));
    assert!(receive(&server, &queue).is_empty());
    let dead = receive_as(&server, "ReceiveDeadLetterQueueRecords", &queue);
    assert_eq!((dead.len(), &dead[0]["ReceiveCount"]), (2, &json!(2)));
    assert!(receive_as(&server, "ReceiveDeadLetterQueueRecords", &queue).is_empty());
    let free = json!({"QueueARN": queue, "Entries": [
        {"ReceiptHandle": dead[0]["ReceiptHandle"], "VisibilityTimeoutSeconds": 0},
    ]});
    all_succeed(&server, "UpdateDeadLetterQueueRecordsVisibility", &free);
    let again = receive_as(&server, "ReceiveDeadLetterQueueRecords", &queue);
    assert_eq!(again[0]["RecordId"], dead[0]["RecordId"]);
    let restored = entries(&queue, &[&again[0]["ReceiptHandle"]]);
    all_succeed(&server, "RestoreDeadLetterQueueRecords", &restored);
    let done = entries(&queue, &[&dead[1]["ReceiptHandle"]]);
    all_succeed(&server, "AcknowledgeDeadLetterQueueRecords", &done);
    let live = receive(&server, &queue);
    assert_eq!((live.len(), &live[0]["ReceiveCount"]), (1, &json!(1)));
    assert_eq!(live[0]["RecordId"], dead[0]["RecordId"]);
    // The handle of a record is not valid for a dead letter, nor the other way round.
    for operation in [
        "AcknowledgeDeadLetterQueueRecords",
        "RestoreDeadLetterQueueRecords",
    ] {
        let outcome = server.ok(operation, &entries(&queue, &[&live[0]["ReceiptHandle"]]));
        assert_eq!(outcome["Failed"][0]["ErrorCode"], "InvalidArgumentException");
    }
    let outcome = server.ok(
        "AcknowledgeQueueRecords",
        &entries(&queue, &[&again[0]["ReceiptHandle"]]),
    );
    assert_eq!(outcome["Failed"][0]["ErrorCode"], "InvalidArgumentException");
}

fn entries_that_are_wrong_fail_by_themselves(backend: Backend) {
    let server = server(backend);
    let queue = create_queue(
        &server,
        &with(new_queue("work"), "QueueAttributes", attributes(30, 9)),
    );
    let other = create_queue(&server, &new_queue("other"));
    server.put("jobs", "k", "stale");
    let stale = receive(&server, &queue)[0]["ReceiptHandle"].clone();
    server.advance(Duration::from_secs(30));
    receive(&server, &queue);
    let foreign = receive(&server, &other)[0]["ReceiptHandle"].clone();
    for name in 0..7 {
        server.put("jobs", &name.to_string(), "x");
    }
    let good = receive(&server, &queue);
    assert_eq!(good.len(), 7);
    let mut forged = text(&good[0]["ReceiptHandle"]);
    let last = if forged.starts_with('A') { 'B' } else { 'A' };
    forged.replace_range(..1, &last.to_string());
    let forged = json!(forged);

    let mut handles = vec![&forged, &stale, &foreign];
    let outcome = |operation: &str, input: &Value| {
        let outcome = server.ok(operation, input);
        let codes = all(&outcome["Failed"], "ErrorCode");
        (outcome["Successful"].as_array().unwrap().len(), codes)
    };
    let invalid = || vec!["InvalidArgumentException".to_owned(); 3];
    let changes: Vec<_> = handles
        .iter()
        .map(|handle| json!({"ReceiptHandle": handle, "VisibilityTimeoutSeconds": 0}))
        .collect();
    let changes = json!({"QueueARN": queue, "Entries": changes});
    assert_eq!(outcome("UpdateQueueRecordsVisibility", &changes), (0, invalid()));
    assert!(receive(&server, &queue).is_empty());
    handles.extend(good.iter().map(|record| &record["ReceiptHandle"]));
    assert_eq!(
        outcome("AcknowledgeQueueRecords", &entries(&queue, &handles)),
        (7, invalid())
    );
    server.advance(Duration::from_secs(30));
    let left = receive(&server, &queue);
    assert_eq!((left.len(), &left[0]["ReceiveCount"]), (1, &json!(3)));
    // A record that is gone is not found.
    let gone = json!({"QueueARN": queue, "Entries": [
        {"ReceiptHandle": good[0]["ReceiptHandle"], "VisibilityTimeoutSeconds": 9},
    ]});
    let outcome = server.ok("UpdateQueueRecordsVisibility", &gone);
    assert_eq!(outcome["Failed"][0]["ErrorCode"], "ResourceNotFoundException");
}

/// Three wrong entries among ten: a forged one, one of a record that was given out since, and one of another queue.
fn entries_that_are_wrong_keep_no_dead_letter_from_it(backend: Backend) {
    let server = server(backend);
    let queue = create_queue(
        &server,
        &with(new_queue("work"), "QueueAttributes", attributes(30, 1)),
    );
    let other = create_queue(
        &server,
        &with(new_queue("other"), "QueueAttributes", attributes(30, 1)),
    );
    for name in 0..8 {
        server.put("jobs", &name.to_string(), "x");
    }
    for queue in [&queue, &other] {
        assert_eq!(receive(&server, queue).len(), 8);
    }
    server.advance(Duration::from_secs(30));
    let receive_dead = |queue: &str| receive_as(&server, "ReceiveDeadLetterQueueRecords", queue);
    let stale = receive_dead(&queue);
    server.advance(Duration::from_secs(30));
    let (dead, foreign) = (receive_dead(&queue), receive_dead(&other));
    assert_eq!((stale.len(), dead.len(), foreign.len()), (8, 8, 8));
    let good = &dead[..7];
    let last = &dead[7]["RecordId"];
    let stale = stale.iter().find(|record| record["RecordId"] == *last).unwrap();
    let forged = json!(format!("{}x", text(&dead[7]["ReceiptHandle"])));
    let mut handles = vec![&forged, &stale["ReceiptHandle"], &foreign[0]["ReceiptHandle"]];
    handles.extend(good.iter().map(|record| &record["ReceiptHandle"]));
    let seconds = |handle: &&Value| json!({"ReceiptHandle": handle, "VisibilityTimeoutSeconds": 60});
    let held: Vec<_> = handles.iter().map(seconds).collect();
    let held = json!({"QueueARN": queue, "Entries": held});
    for (operation, input) in [
        ("UpdateDeadLetterQueueRecordsVisibility", &held),
        ("RestoreDeadLetterQueueRecords", &entries(&queue, &handles)),
    ] {
        let outcome = server.ok(operation, input);
        assert_eq!(
            all(&outcome["Failed"], "ErrorCode"),
            ["InvalidArgumentException"; 3],
            "{operation}"
        );
        let failed = all(&outcome["Failed"], "ReceiptHandle");
        assert!(failed.iter().eq(handles[..3].iter().copied()), "{operation}");
        let done = all(&outcome["Successful"], "ReceiptHandle");
        assert!(done.iter().eq(handles[3..].iter().copied()), "{operation}");
    }
    // The last record and those of the other queue are unchanged.
    assert_eq!(receive(&server, &queue).len(), 7);
    server.advance(Duration::from_secs(30));
    let left = receive_dead(&queue);
    assert!(left.iter().any(|record| record["RecordId"] == *last));
    assert_eq!(receive_dead(&other).len(), 8);
    // Restored records have died again, and can be acknowledged.
    let receipts: Vec<_> = left.iter().map(|record| &record["ReceiptHandle"]).collect();
    assert_eq!(receipts.len(), 8);
    all_succeed(
        &server,
        "AcknowledgeDeadLetterQueueRecords",
        &entries(&queue, &receipts),
    );
    server.advance(Duration::from_secs(30));
    assert!(receive_dead(&queue).is_empty());
}

fn a_queue_needs_a_stream_on_demand_and_keeps_it(backend: Backend) {
    let server = server(backend);
    server.create("fixed", 1);
    let fixed = json!([{"StreamARN": stream_arn("fixed")}]);
    assert_eq!(
        server.refusal(
            "CreateQueue",
            &with(new_queue("work"), "StreamConfigurationList", fixed)
        ),
        invalid_argument(format!(
            "Stream fixed under account {ACCOUNT} is in PROVISIONED mode. A queue needs a stream in ON_DEMAND mode."
        ))
    );
    assert_eq!(server.ok("ListQueues", &json!({}))["QueueSummaries"], json!([]));
    let queue = create_queue(&server, &new_queue("work"));
    let (kind, _) = server.refusal(
        "UpdateStreamMode",
        &json!({"StreamARN": stream_arn("jobs"), "StreamModeDetails": {"StreamMode": "PROVISIONED"}}),
    );
    assert_eq!(kind, "ResourceInUseException");
    for enforced in [false, true] {
        let delete = json!({"StreamName": "jobs", "EnforceConsumerDeletion": enforced});
        assert_eq!(
            server.refusal("DeleteStream", &delete),
            in_use(format!(
                "Stream jobs under account {ACCOUNT} has 1 queues. Delete them first."
            ))
        );
    }
    server.ok("DeleteQueue", &json!({ "QueueARN": queue }));
    server.ok("DeleteStream", &json!({"StreamName": "jobs"}));
}

fn of_a_new_queue_and_a_new_mode_at_once_one_is_refused(backend: Backend) {
    let server = server(backend);
    let mode = |mode: &str| {
        let details = json!({ "StreamMode": mode });
        json!({"StreamARN": stream_arn("jobs"), "StreamModeDetails": details})
    };
    for round in 0..50 {
        let name = round.to_string();
        let (created, changed) = std::thread::scope(|scope| {
            let creating = scope.spawn(|| server.call("CreateQueue", &new_queue(&name)));
            let changing = scope.spawn(|| server.call("UpdateStreamMode", &mode("PROVISIONED")));
            (creating.join().unwrap(), changing.join().unwrap())
        });
        let is_created = created.status == 200;
        assert_ne!(is_created, changed.status == 200, "{created:?} {changed:?}");
        if is_created {
            let arn = text(&server.ok("ListQueues", &json!({}))["QueueSummaries"][0]["QueueARN"]);
            server.ok("DeleteQueue", &json!({ "QueueARN": arn }));
        }
        server.ok("UpdateStreamMode", &mode("ON_DEMAND"));
    }
}

fn what_is_wrong_with_a_queue_is_said(backend: Backend) {
    let server = server(backend);
    let queue = create_queue(&server, &new_queue("work"));
    let refusal = |input: &Value| server.refusal("CreateQueue", input);
    assert_eq!(
        refusal(&new_queue("work")),
        in_use(format!("Queue work under account {ACCOUNT} already exists."))
    );
    let position = |position: Value| {
        let list = json!([{"StreamARN": stream_arn("jobs"), "StartingPosition": position}]);
        with(new_queue("q"), "StreamConfigurationList", list)
    };
    let at = json!({"Type": "AT_TIMESTAMP"});
    assert_eq!(refusal(&position(at)).0, "ValidationException");
    let latest = json!({"Type": "LATEST", "Timestamp": 1});
    assert_eq!(refusal(&position(latest)).0, "ValidationException");
    let future = json!({"Type": "AT_TIMESTAMP", "Timestamp": 1_421_889_723});
    assert_eq!(refusal(&position(future)).0, "InvalidArgumentException");
    let two = json!([{"StreamARN": stream_arn("jobs")}, {"StreamARN": stream_arn("jobs")}]);
    assert_eq!(
        refusal(&with(new_queue("q"), "StreamConfigurationList", two)),
        validation(&[
            "at 'streamConfigurationList' failed to satisfy constraint: Member must have length less than or equal to 1"
        ])
    );
    let missing = json!([{"StreamARN": stream_arn("missing")}]);
    assert_eq!(
        refusal(&with(new_queue("q"), "StreamConfigurationList", missing)),
        not_found(format!("Stream missing under account {ACCOUNT} not found."))
    );
    let none = json!({"DeadLetterConfiguration": {"TargetType": "NONE", "MaxReceiveCount": 3}});
    assert_eq!(
        refusal(&with(new_queue("q"), "QueueAttributes", none)).0,
        "ValidationException"
    );
    for number in ["VisibilityTimeoutSeconds", "WaitTimeSeconds", "Limit"] {
        let input = with(json!({ "QueueARN": queue }), number, json!(50_000));
        assert_eq!(
            server.refusal("ReceiveQueueRecords", &input).0,
            "ValidationException"
        );
    }
    // One of another store, and one that is no id.
    for id in ["1-1-00000000", "jobs"] {
        let arn = format!("arn:aws:kinesis:{REGION}:{ACCOUNT}:queue/{id}");
        let refused = server.refusal("DescribeQueue", &json!({ "QueueARN": arn }));
        assert_eq!(refused.0, "ResourceNotFoundException");
    }
    let elsewhere = queue.replace(ACCOUNT, "111111111111");
    assert_eq!(
        server
            .refusal("ReceiveQueueRecords", &json!({ "QueueARN": elsewhere }))
            .0,
        "ResourceNotFoundException"
    );
    let forged = json!({"QueueARN": queue, "Entries": [{"ReceiptHandle": "x"}]});
    let outcome = server.ok("AcknowledgeQueueRecords", &forged);
    assert_eq!(outcome["Failed"][0]["ErrorCode"], "InvalidArgumentException");
    let none = json!({"QueueARN": queue, "Entries": []});
    assert_eq!(
        server.refusal("AcknowledgeQueueRecords", &none).0,
        "ValidationException"
    );
    assert_eq!(
        all(
            &server.ok("ListQueues", &json!({}))["QueueSummaries"],
            "QueueName"
        ),
        ["work"]
    );
}

fn a_receive_waits_for_a_put_and_no_longer_than_it_was_told_to(backend: Backend) {
    let server = server(backend);
    let queue = create_queue(&server, &new_queue("work"));
    let began = Instant::now();
    assert!(receive(&server, &queue).is_empty());
    assert!(
        (900..10_000).contains(&began.elapsed().as_millis()),
        "{:?}",
        began.elapsed()
    );
    let received = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let wait = json!({"QueueARN": queue, "WaitTimeSeconds": 20});
            server.ok("ReceiveQueueRecords", &wait)
        });
        server.put("jobs", "k", "late");
        waiting.join().unwrap()
    });
    assert_eq!(received["QueueRecords"].as_array().unwrap().len(), 1);
    // Waits on a deleted queue end.
    let refused = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let wait = json!({"QueueARN": queue, "WaitTimeSeconds": 20});
            server.refusal("ReceiveQueueRecords", &wait)
        });
        server.ok("DeleteQueue", &json!({ "QueueARN": queue }));
        waiting.join().unwrap()
    });
    assert_eq!(refused.0, "ResourceNotFoundException");
}

fn queues_have_tags_and_policies_and_count_as_consumers(backend: Backend) {
    let server = server(backend);
    let queue = create_queue(&server, &with(new_queue("work"), "Tags", json!({"a": "1"})));
    server.ok("TagResource", &json!({"ResourceARN": queue, "Tags": {"b": "2"}}));
    server.ok("UntagResource", &json!({"ResourceARN": queue, "TagKeys": ["a"]}));
    let tags = server.ok("ListTagsForResource", &json!({ "ResourceARN": queue }));
    assert_eq!(tags["Tags"], json!([{"Key": "b", "Value": "2"}]));
    let policy = json!({"Version": "2012-10-17", "Statement": []}).to_string();
    server.ok(
        "PutResourcePolicy",
        &json!({"ResourceARN": queue, "Policy": policy}),
    );
    let kept = server.ok("GetResourcePolicy", &json!({ "ResourceARN": queue }));
    assert_eq!(kept["Policy"], json!(policy));
    server.ok("DeleteResourcePolicy", &json!({ "ResourceARN": queue }));

    let summary = server.ok("DescribeStreamSummary", &json!({"StreamName": "jobs"}));
    let summary = &summary["StreamDescriptionSummary"];
    assert_eq!(
        (&summary["QueueCount"], &summary["ConsumerCount"]),
        (&json!(1), &json!(0))
    );
    for name in 0..19 {
        let consumer = json!({"StreamARN": stream_arn("jobs"), "ConsumerName": format!("c{name}")});
        server.ok("RegisterStreamConsumer", &consumer);
    }
    assert_eq!(
        server.refusal("CreateQueue", &new_queue("full")).0,
        "LimitExceededException"
    );
    let consumer = json!({"StreamARN": stream_arn("jobs"), "ConsumerName": "more"});
    assert_eq!(
        server.refusal("RegisterStreamConsumer", &consumer).0,
        "LimitExceededException"
    );
}

fn handles_and_queues_outlive_a_restart(backend: Backend) {
    let mut server = server(backend);
    let queue = create_queue(&server, &new_queue("work"));
    for name in ["a", "b"] {
        server.put("jobs", name, name);
    }
    let received = receive(&server, &queue);
    server.restart();
    let one = entries(&queue, &[&received[0]["ReceiptHandle"]]);
    all_succeed(&server, "AcknowledgeQueueRecords", &one);
    let again = receive(&server, &queue);
    assert_eq!((again.len(), &again[0]["ReceiveCount"]), (1, &json!(2)));
    assert_eq!(again[0]["RecordId"], received[1]["RecordId"]);
    let stale = entries(&queue, &[&received[1]["ReceiptHandle"]]);
    let outcome = server.ok("AcknowledgeQueueRecords", &stale);
    assert_eq!(outcome["Failed"][0]["ErrorCode"], "InvalidArgumentException");
}

fn a_queue_takes_its_time(backend: Backend) {
    let server = TestServer::with(
        backend,
        Setup {
            transition_delay: Duration::from_secs(10),
            ..Setup::default()
        },
    );
    create_stream(&server, "jobs");
    assert_eq!(
        server.refusal("CreateQueue", &new_queue("work")).0,
        "ResourceInUseException"
    );
    server.advance(Duration::from_secs(10));
    let created = server.ok("CreateQueue", &new_queue("work"))["QueueDescription"].clone();
    assert_eq!(created["QueueStatus"], "CREATING");
    assert_eq!(
        created["StreamConfigurationList"][0]["StartingPosition"],
        json!({"Type": "LATEST"})
    );
    let queue = text(&created["QueueARN"]);
    let named = json!({ "QueueARN": queue });
    server.put("jobs", "k", "early");
    assert_eq!(
        server.refusal("ReceiveQueueRecords", &named).0,
        "ResourceNotFoundException"
    );
    let update = json!({"QueueARN": queue, "QueueAttributes": attributes(9, 9)});
    assert_eq!(
        server.refusal("UpdateQueue", &update),
        in_use(format!(
            "Queue work under account {ACCOUNT} not ACTIVE, instead in state CREATING"
        ))
    );
    server.advance(Duration::from_secs(10));
    let status = || text(&server.ok("DescribeQueue", &named)["QueueDescription"]["QueueStatus"]);
    assert_eq!(status(), "ACTIVE");
    assert_eq!(
        text(&server.ok("UpdateQueue", &update)["QueueDescription"]["QueueStatus"]),
        "UPDATING"
    );
    assert_eq!(receive(&server, &queue).len(), 1);
    assert_eq!(server.refusal("UpdateQueue", &update).0, "ResourceInUseException");
    server.advance(Duration::from_secs(10));
    assert_eq!(status(), "ACTIVE");
    server.ok("DeleteQueue", &named);
    assert_eq!(status(), "DELETING");
    assert_eq!(
        server.refusal("ReceiveQueueRecords", &named).0,
        "ResourceNotFoundException"
    );
    server.advance(Duration::from_secs(10));
    assert_eq!(
        server.refusal("DescribeQueue", &named).0,
        "ResourceNotFoundException"
    );
}

fn many_wait_at_once(backend: Backend) {
    const CONSUMERS: usize = 64;
    let server = server(backend);
    let queue = create_queue(&server, &new_queue("work"));
    let wait = json!({"QueueARN": queue, "WaitTimeSeconds": 20, "Limit": 1});
    let mut ids: Vec<_> = std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..CONSUMERS)
            .map(|_| scope.spawn(|| server.ok("ReceiveQueueRecords", &wait)))
            .collect();
        for name in 0..CONSUMERS {
            server.put("jobs", &name.to_string(), "x");
        }
        let received = waiting.into_iter().map(|waiting| waiting.join().unwrap());
        received
            .map(|received| text(&received["QueueRecords"][0]["RecordId"]))
            .collect()
    });
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), CONSUMERS);
}

/// A wait that was woken by a split, and found nothing, gets signals for puts to the new shards.
fn a_wait_goes_on_in_the_shards_of_a_split(backend: Backend) {
    let server = server(backend);
    let queue = create_queue(&server, &new_queue("work"));
    let wait = json!({"QueueARN": queue, "WaitTimeSeconds": 20});
    let scope = format!("{ACCOUNT}/{REGION}");
    let stream = server.store.namespace(&scope).unwrap().stream("jobs").unwrap();
    for round in 0..3 {
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| server.ok("ReceiveQueueRecords", &wait));
            // Whichever comes first, the wait or one of these, the record is received.
            std::thread::sleep(Duration::from_millis(100));
            let shards = stream.shards(&anabranch::ShardFilter::AtLatest).unwrap();
            for shard in shards {
                let range = shard.hash_key_range;
                let middle = range.start().value() + (range.end().value() - range.start().value()) / 2;
                stream
                    .split_shard(shard.id, anabranch::HashKey::new(middle))
                    .unwrap();
            }
            std::thread::sleep(Duration::from_millis(200));
            server.put("jobs", &round.to_string(), "x");
            let received = waiting.join().unwrap();
            assert_eq!(
                received["QueueRecords"].as_array().unwrap().len(),
                1,
                "round {round}"
            );
        });
    }
}
