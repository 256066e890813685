//! Creating, describing, listing and deleting streams.

use std::time::Duration;

use serde_json::{Value, json};

use super::test_server::{
    ACCOUNT, Backend, REGION, Setup, TestServer, all, in_use, invalid_argument, not_found, on_each_backend,
    text, validation,
};

fn describe(server: &TestServer, name: &str) -> Value {
    server.ok("DescribeStream", &json!({ "StreamName": name }))["StreamDescription"].clone()
}

on_each_backend!(
    a_stream_is_described_in_full,
    a_stream_can_be_named_by_its_arn,
    operations_on_a_missing_stream_say_that_it_is_not_found,
    a_name_is_taken_once,
    a_stream_without_a_shard_count_has_four,
    settings_that_a_provisioned_stream_cannot_have_are_refused,
    tags_are_checked_when_a_stream_is_created_with_them,
    shards_are_described_a_hundred_at_a_time,
    streams_are_listed_by_name_in_pages,
    a_list_of_streams_has_at_most_a_hundred_whatever_its_limit,
    a_place_in_the_list_of_streams_is_kept_for_five_minutes,
    a_deleted_stream_is_gone_and_its_name_is_free,
    states_pass_as_they_do_on_aws,
);

fn a_stream_is_described_in_full(backend: Backend) {
    let server = TestServer::start(backend);
    let reply = server.call("CreateStream", &json!({"StreamName": "a.b-c_D", "ShardCount": 3}));
    assert_eq!(
        (reply.status, reply.body.len(), reply.header("content-length")),
        (200, 0, Some("0"))
    );
    let range = |start: &str, end: &str| json!({"StartingHashKey": start, "EndingHashKey": end});
    let shard = |id: &str, keys: Value, start: &str| json!({"ShardId": id, "HashKeyRange": keys, "SequenceNumberRange": {"StartingSequenceNumber": start}});
    assert_eq!(
        describe(&server, "a.b-c_D"),
        json!({
            "StreamName": "a.b-c_D",
            "StreamARN": "arn:aws:kinesis:eu-west-1:000000000000:stream/a.b-c_D",
            "StreamStatus": "ACTIVE",
            "StreamModeDetails": {"StreamMode": "PROVISIONED"},
            "StreamCreationTimestamp": 1_421_889_722.0,
            "RetentionPeriodHours": 24,
            "EnhancedMonitoring": [{"ShardLevelMetrics": []}],
            "EncryptionType": "NONE",
            "HasMoreShards": false,
            "Shards": [
                shard(
                    "shardId-000000000000",
                    range("0", "113427455640312821154458202477256070484"),
                    "49547204513960148148222384694534154756639073502710726658"
                ),
                shard(
                    "shardId-000000000001",
                    range("113427455640312821154458202477256070485", "226854911280625642308916404954512140969"),
                    "49547204513982448893420915317675690474911721864216707090"
                ),
                shard(
                    "shardId-000000000002",
                    range("226854911280625642308916404954512140970", "340282366920938463463374607431768211455"),
                    "49547204514004749638619445940817226193184370225722687522"
                ),
            ],
        })
    );
    assert_eq!(
        server.ok("DescribeStreamSummary", &json!({"StreamName": "a.b-c_D"}))["StreamDescriptionSummary"],
        json!({
            "StreamName": "a.b-c_D",
            "StreamARN": "arn:aws:kinesis:eu-west-1:000000000000:stream/a.b-c_D",
            "StreamStatus": "ACTIVE",
            "StreamModeDetails": {"StreamMode": "PROVISIONED"},
            "StreamCreationTimestamp": 1_421_889_722.0,
            "RetentionPeriodHours": 24,
            "EnhancedMonitoring": [{"ShardLevelMetrics": []}],
            "EncryptionType": "NONE",
            "OpenShardCount": 3,
            "ConsumerCount": 0,
            "QueueCount": 0,
            "ChannelCount": 0,
            "MaxRecordSizeInKiB": 1024,
        })
    );
}

fn a_stream_can_be_named_by_its_arn(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    let arn = format!("arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/s");
    for input in [
        json!({"StreamARN": arn}),
        json!({"StreamARN": arn, "StreamName": "s"}),
        json!({"StreamName": "s", "StreamId": "abcdefghij0123456789-xyz"}),
    ] {
        assert_eq!(
            server.ok("DescribeStream", &input)["StreamDescription"]["StreamName"],
            "s"
        );
    }
    assert_eq!(
        server.refusal("DescribeStream", &json!({"StreamARN": arn, "StreamName": "t"})),
        invalid_argument(format!(
            "StreamName t and StreamARN {arn} are not of the same stream."
        ))
    );
    assert_eq!(
        server.refusal("DescribeStream", &json!({})),
        invalid_argument("Either StreamName or StreamARN should be provided.")
    );
    // AWS names the stream even when it was given the ARN.
    assert_eq!(
        server.refusal(
            "DescribeStream",
            &json!({"StreamARN": "arn:aws:kinesis:a:000000000000:stream/x"})
        ),
        not_found(format!("Stream x under account {ACCOUNT} not found."))
    );
}

fn operations_on_a_missing_stream_say_that_it_is_not_found(backend: Backend) {
    let server = TestServer::start(backend);
    for (operation, mut input) in [
        ("DescribeStream", json!({})),
        ("DescribeStreamSummary", json!({})),
        ("DeleteStream", json!({})),
        (
            "IncreaseStreamRetentionPeriod",
            json!({"RetentionPeriodHours": 1}),
        ),
        (
            "DecreaseStreamRetentionPeriod",
            json!({"RetentionPeriodHours": 1}),
        ),
        ("ListShards", json!({})),
        (
            "SplitShard",
            json!({"ShardToSplit": "0", "NewStartingHashKey": "2"}),
        ),
        (
            "MergeShards",
            json!({"ShardToMerge": "0", "AdjacentShardToMerge": "1"}),
        ),
        ("PutRecord", json!({"PartitionKey": "k", "Data": ""})),
        (
            "PutRecords",
            json!({"Records": [{"PartitionKey": "k", "Data": ""}]}),
        ),
    ] {
        input["StreamName"] = json!("nothing");
        assert_eq!(
            server.refusal(operation, &input),
            not_found(format!("Stream nothing under account {ACCOUNT} not found.")),
            "{operation}"
        );
    }
}

fn a_name_is_taken_once(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    assert_eq!(
        server.refusal("CreateStream", &json!({"StreamName": "s", "ShardCount": 1})),
        in_use(format!("Stream s under account {ACCOUNT} already exists."))
    );
}

fn a_stream_without_a_shard_count_has_four(backend: Backend) {
    let server = TestServer::start(backend);
    server.ok("CreateStream", &json!({"StreamName": "a"}));
    server.ok(
        "CreateStream",
        &json!({"StreamName": "b", "StreamModeDetails": {"StreamMode": "ON_DEMAND"}}),
    );
    for (name, mode) in [("a", "PROVISIONED"), ("b", "ON_DEMAND")] {
        let stream = describe(&server, name);
        assert_eq!(stream["Shards"].as_array().unwrap().len(), 4);
        assert_eq!(stream["StreamModeDetails"]["StreamMode"], mode);
    }
    let create = |mode: &str, count: Value| json!({"StreamName": "c", "StreamModeDetails": {"StreamMode": mode}, "ShardCount": count});
    assert_eq!(
        server.refusal("CreateStream", &create("PROVISIONED", Value::Null)),
        validation(&["null at 'shardCount' failed to satisfy constraint: Member must not be null"])
    );
    assert_eq!(
        server.refusal("CreateStream", &create("ON_DEMAND", json!(1))),
        invalid_argument("ShardCount is not expected when StreamMode=ON_DEMAND")
    );
    assert_eq!(
        server.ok("ListStreams", &json!({}))["StreamNames"],
        json!(["a", "b"])
    );
}

fn settings_that_a_provisioned_stream_cannot_have_are_refused(backend: Backend) {
    let server = TestServer::start(backend);
    let create = |name: &str, value: Value| {
        let mut input = json!({"StreamName": "s", "ShardCount": 1});
        input[name] = value;
        input
    };
    for (name, value, exception) in [
        (
            "RecordDistributionStrategy",
            json!("AUTO"),
            "InvalidArgumentException",
        ),
        ("WarmThroughputMiBps", json!(5), "ValidationException"),
    ] {
        assert_eq!(server.refusal("CreateStream", &create(name, value)).0, exception);
    }
    server.ok("CreateStream", &create("MaxRecordSizeInKiB", json!(2048)));
    let summary = server.ok("DescribeStreamSummary", &json!({"StreamName": "s"}));
    assert_eq!(summary["StreamDescriptionSummary"]["MaxRecordSizeInKiB"], 2048);
}

fn tags_are_checked_when_a_stream_is_created_with_them(backend: Backend) {
    let server = TestServer::start(backend);
    let create = |tags: Value| json!({"StreamName": "s", "ShardCount": 1, "Tags": tags});
    assert_eq!(
        server.refusal("CreateStream", &create(json!({"a": "!"}))),
        invalid_argument(
            "Some tags contain invalid characters. Valid characters: Unicode letters, digits, white space, \
             _ . / = + - % @."
        )
    );
    assert_eq!(
        server.refusal("CreateStream", &create(json!({"a%": "b"}))),
        invalid_argument(format!(
            "Failed to add tags to stream s under account {ACCOUNT} because some tags contained illegal characters. \
             The allowed characters are Unicode letters, white-spaces, '_',',','/','=','+','-','@'."
        ))
    );
    let many: serde_json::Map<_, _> = (0..51).map(|n| (n.to_string(), json!(""))).collect();
    assert_eq!(
        server.refusal("CreateStream", &create(Value::Object(many))),
        invalid_argument(format!(
            "Failed to add tags to stream s under account {ACCOUNT} because a given stream cannot have more than 50 \
             tags associated with it."
        ))
    );
    server.ok("CreateStream", &create(json!({"Zeichen ä": "a/b=c+d-e@f_g.h"})));
    let tags = server.streams().stream("s").unwrap().summary().unwrap().tags;
    assert_eq!(tags.get("Zeichen ä").map(String::as_str), Some("a/b=c+d-e@f_g.h"));
}

fn shards_are_described_a_hundred_at_a_time(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 150);
    let page = |input: Value| {
        let page = server.ok("DescribeStream", &input)["StreamDescription"].clone();
        let ids = all(&page["Shards"], "ShardId");
        (
            ids.len(),
            ids.first().cloned(),
            page["HasMoreShards"].as_bool().unwrap(),
        )
    };
    let id = |n: u32| Some(format!("shardId-{n:012}"));
    assert_eq!(page(json!({"StreamName": "s"})), (100, id(0), true));
    assert_eq!(
        page(json!({"StreamName": "s", "Limit": 10_000})),
        (100, id(0), true)
    );
    assert_eq!(page(json!({"StreamName": "s", "Limit": 1})), (1, id(0), true));
    let after = |n: u32| json!({"StreamName": "s", "ExclusiveStartShardId": id(n)});
    assert_eq!(page(after(99)), (50, id(100), false));
    assert_eq!(page(after(49)), (100, id(50), false));
    assert_eq!(page(after(48)), (100, id(49), true));
    assert_eq!(page(after(149)), (0, None, false));
    assert_eq!(page(after(1000)), (0, None, false));
    assert_eq!(
        server.refusal(
            "DescribeStream",
            &json!({"StreamName": "s", "ExclusiveStartShardId": "shard"})
        ),
        not_found(format!(
            "Could not find shard shard in stream s under account {ACCOUNT}."
        ))
    );
}

fn streams_are_listed_by_name_in_pages(backend: Backend) {
    let server = TestServer::start(backend);
    for name in ["d", "a", "e", "B", "c"] {
        server.create(name, 1);
    }
    let whole = server.ok("ListStreams", &json!({}));
    assert_eq!(whole["StreamNames"], json!(["B", "a", "c", "d", "e"]));
    assert_eq!(whole["HasMoreStreams"], false);
    assert_eq!(whole.get("NextToken"), None);
    assert_eq!(
        whole["StreamSummaries"][1],
        json!({
            "StreamName": "a",
            "StreamARN": "arn:aws:kinesis:eu-west-1:000000000000:stream/a",
            "StreamStatus": "ACTIVE",
            "StreamModeDetails": {"StreamMode": "PROVISIONED"},
            "StreamCreationTimestamp": 1_421_889_722.0,
        })
    );

    let first = server.ok("ListStreams", &json!({"Limit": 2}));
    assert_eq!(
        (&first["StreamNames"], &first["HasMoreStreams"]),
        (&json!(["B", "a"]), &json!(true))
    );
    // As the paginators of older and newer clients go on.
    let by_name = server.ok(
        "ListStreams",
        &json!({"Limit": 2, "ExclusiveStartStreamName": "a"}),
    );
    let by_token = server.ok(
        "ListStreams",
        &json!({"Limit": 2, "NextToken": first["NextToken"]}),
    );
    for second in [by_name, by_token] {
        assert_eq!(
            (&second["StreamNames"], &second["HasMoreStreams"]),
            (&json!(["c", "d"]), &json!(true))
        );
        let third = json!({"NextToken": second["NextToken"], "ExclusiveStartStreamName": "A"});
        let third = server.ok("ListStreams", &third);
        assert_eq!(
            (&third["StreamNames"], &third["HasMoreStreams"]),
            (&json!(["e"]), &json!(false))
        );
        assert_eq!(third.get("NextToken"), None);
    }
    let behind = server.ok("ListStreams", &json!({"ExclusiveStartStreamName": "bb"}));
    assert_eq!(behind["StreamNames"], json!(["c", "d", "e"]));
}

fn a_list_of_streams_has_at_most_a_hundred_whatever_its_limit(backend: Backend) {
    let server = TestServer::start(backend);
    for number in 0..101 {
        server.create(&format!("s{number:03}"), 1);
    }
    for input in [
        json!({}),
        json!({"Limit": 100}),
        json!({"Limit": 101}),
        json!({"Limit": 10_000}),
    ] {
        let page = server.ok("ListStreams", &input);
        assert_eq!(page["StreamNames"].as_array().unwrap().len(), 100, "{input}");
        assert_eq!(page["HasMoreStreams"], true, "{input}");
        let rest = json!({"NextToken": page["NextToken"], "Limit": 10_000});
        assert_eq!(server.ok("ListStreams", &rest)["StreamNames"], json!(["s100"]));
    }
}

fn a_place_in_the_list_of_streams_is_kept_for_five_minutes(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("a", 1);
    server.create("b", 1);
    let token = text(&server.ok("ListStreams", &json!({"Limit": 1}))["NextToken"]);
    server.clock.advance(Duration::from_secs(300));
    assert_eq!(
        server.ok("ListStreams", &json!({"NextToken": token}))["StreamNames"],
        json!(["b"])
    );
    server.clock.advance(Duration::from_millis(1));
    assert_eq!(
        server.refusal("ListStreams", &json!({"NextToken": token})).0,
        "ExpiredNextTokenException"
    );
    assert_eq!(
        server.refusal("ListStreams", &json!({"NextToken": "x"})),
        invalid_argument("Invalid NextToken.")
    );
}

fn a_deleted_stream_is_gone_and_its_name_is_free(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    server.put("s", "k", "old");
    server.ok(
        "DeleteStream",
        &json!({"StreamName": "s", "EnforceConsumerDeletion": true}),
    );
    assert_eq!(
        server.call("DescribeStream", &json!({"StreamName": "s"})).status,
        400
    );
    server.create("s", 1);
    assert_eq!(server.count_records("s"), 0);
}

fn states_pass_as_they_do_on_aws(backend: Backend) {
    let delay = Duration::from_secs(1);
    let server = TestServer::with(
        backend,
        Setup {
            transition_delay: delay,
            ..Setup::default()
        },
    );
    let status = || text(&describe(&server, "s")["StreamStatus"]);
    let not_active = |state: &str| {
        in_use(format!(
            "Stream s under account {ACCOUNT} not ACTIVE, instead in state {state}"
        ))
    };
    let put = json!({"StreamName": "s", "PartitionKey": "k", "Data": ""});
    let split = json!({"StreamName": "s", "ShardToSplit": "0", "NewStartingHashKey": "9"});
    let retain = json!({"StreamName": "s", "RetentionPeriodHours": 48});
    let gone = not_found(format!("Stream s under account {ACCOUNT} not found."));

    server.create("s", 1);
    assert_eq!(status(), "CREATING");
    assert_eq!(describe(&server, "s")["Shards"], json!([]));
    assert_eq!(server.refusal("PutRecord", &put), gone);
    assert_eq!(server.refusal("SplitShard", &split), not_active("CREATING"));
    assert_eq!(
        server.refusal("IncreaseStreamRetentionPeriod", &retain),
        not_active("CREATING")
    );
    assert_eq!(
        server.refusal("ListShards", &json!({"StreamName": "s"})),
        not_active("CREATING")
    );
    let iterator = json!({"StreamName": "s", "ShardId": "0", "ShardIteratorType": "LATEST"});
    assert_eq!(
        server.refusal("GetShardIterator", &iterator),
        not_found(format!(
            "Shard shardId-000000000000 in stream s under account {ACCOUNT} does not exist"
        ))
    );

    server.advance(delay);
    assert_eq!(status(), "ACTIVE");
    server.ok("PutRecord", &put);
    server.ok("SplitShard", &split);
    assert_eq!(status(), "UPDATING");
    let shards = describe(&server, "s")["Shards"].clone();
    assert_eq!(all(&shards, "ShardId"), ["shardId-000000000000"]);
    assert_eq!(shards[0]["SequenceNumberRange"].get("EndingSequenceNumber"), None);
    server.ok("PutRecord", &put);
    assert_eq!(server.refusal("SplitShard", &split), not_active("UPDATING"));

    server.advance(delay);
    assert_eq!(status(), "ACTIVE");
    assert_eq!(describe(&server, "s")["Shards"].as_array().unwrap().len(), 3);

    server.ok("DeleteStream", &json!({"StreamName": "s"}));
    assert_eq!(status(), "DELETING");
    assert_eq!(server.refusal("PutRecord", &put), gone);
    assert_eq!(server.refusal("SplitShard", &split), not_active("DELETING"));
    assert_eq!(
        server.refusal("CreateStream", &json!({"StreamName": "s", "ShardCount": 1})),
        in_use(format!("Stream s under account {ACCOUNT} already exists."))
    );
    server.advance(delay);
    assert_eq!(
        server.refusal("DescribeStream", &json!({"StreamName": "s"})),
        gone
    );
}
