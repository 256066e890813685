//! Limits of AWS and faults, which a server has if they are turned on.

use std::time::Duration;

use anabranch::kinesis::{Fault, Limits, ServerOptions};
use anabranch_harness::http2::Http2Client;
use serde_json::{Value, json};

use super::test_server::{ACCOUNT, Backend, REGION, Setup, TestServer, on_each_backend, text};

on_each_backend!(
    without_limits_a_shard_takes_what_comes,
    a_shard_takes_a_thousand_records_a_second_and_put_records_says_which_it_did_not,
    a_shard_takes_a_mebibyte_a_second,
    a_shard_is_read_five_times_a_second_and_rests_behind_much,
    operations_can_be_called_so_often_a_second,
    streams_are_changed_so_often_a_day,
    five_streams_are_created_at_a_time,
    faults_throttle_fail_and_lose_answers,
    a_fault_of_all_operations_strikes_whichever_is_called,
    a_lost_answer_ends_its_stream_of_http2_and_no_other,
    some_records_of_a_put_are_throttled_and_the_others_are_stored,
    what_a_fault_throttles_takes_nothing_of_what_its_shard_takes,
    an_invalid_record_is_told_before_any_is_throttled_or_stored,
    a_slow_call_is_answered_later_and_what_is_asked_of_one_operation_strikes_no_other,
    a_fault_of_an_operation_that_does_not_exist_is_refused_at_the_start,
);

const SECOND: Duration = Duration::from_secs(1);

fn limited(backend: Backend) -> TestServer {
    TestServer::with_options(backend, |options| options.limits(Limits::AWS))
}

fn throttled(shard: u32) -> (String, String) {
    (
        "ProvisionedThroughputExceededException".to_owned(),
        format!("Rate exceeded for shard shardId-{shard:012} in stream s under account {ACCOUNT}."),
    )
}

fn put_of(records: usize, bytes: usize) -> Value {
    let data = "A".repeat(bytes / 3 * 4);
    let record = json!({"Data": data, "PartitionKey": "k"});
    json!({"StreamName": "s", "Records": vec![record; records]})
}

fn without_limits_a_shard_takes_what_comes(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    for _ in 0..5 {
        assert_eq!(server.ok("PutRecords", &put_of(500, 3))["FailedRecordCount"], 0);
    }
    for _ in 0..30 {
        server.ok("DescribeStream", &json!({"StreamName": "s"}));
    }
}

fn a_shard_takes_a_thousand_records_a_second_and_put_records_says_which_it_did_not(backend: Backend) {
    let server = limited(backend);
    server.create("s", 1);
    for _ in 0..2 {
        assert_eq!(server.ok("PutRecords", &put_of(500, 3))["FailedRecordCount"], 0);
    }
    let refused = server.ok("PutRecords", &put_of(3, 3));
    assert_eq!(refused["FailedRecordCount"], 3);
    let (code, message) = throttled(0);
    for record in refused["Records"].as_array().unwrap() {
        assert_eq!(*record, json!({"ErrorCode": code, "ErrorMessage": message}));
    }
    let one = json!({"StreamName": "s", "PartitionKey": "k", "Data": ""});
    assert_eq!(server.refusal("PutRecord", &one), throttled(0));
    server.advance(Duration::from_millis(1));
    let mixed = server.ok("PutRecords", &put_of(2, 3));
    assert_eq!(mixed["FailedRecordCount"], 1);
    assert!(mixed["Records"][0]["SequenceNumber"].is_string());
    assert_eq!(mixed["Records"][1]["ErrorMessage"], json!(message));
    server.advance(SECOND);
    server.ok("PutRecord", &one);
    assert_eq!(server.count_records("s"), 1002);
}

fn a_shard_takes_a_mebibyte_a_second(backend: Backend) {
    let server = limited(backend);
    server.create("s", 2);
    // There are two shards, and the other one has its own limit.
    let put = |key: u32, bytes: usize| {
        let key = ["0", "340282366920938463463374607431768211455"][key as usize];
        let data = "A".repeat(bytes / 3 * 4);
        json!({"StreamName": "s", "PartitionKey": "k", "ExplicitHashKey": key, "Data": data})
    };
    server.ok("PutRecord", &put(0, 900_000));
    assert_eq!(server.refusal("PutRecord", &put(0, 300_000)), throttled(0));
    server.ok("PutRecord", &put(1, 900_000));
    assert_eq!(server.refusal("PutRecord", &put(1, 300_000)), throttled(1));
    server.advance(SECOND);
    server.ok("PutRecord", &put(0, 300_000));
    assert_eq!(server.count_records("s"), 3);
}

fn a_shard_is_read_five_times_a_second_and_rests_behind_much(backend: Backend) {
    let server = limited(backend);
    server.create("s", 1);
    let streams = server.streams();
    let stream = streams.stream("s").unwrap();
    for _ in 0..5 {
        stream.put("k", &vec![0; 1_000_000]).unwrap();
    }
    let iterator = server.iterator("s", "shardId-000000000000", "TRIM_HORIZON");
    let read = |limit: u32| json!({"ShardIterator": iterator, "Limit": limit});
    let refused = (
        "ProvisionedThroughputExceededException".to_owned(),
        format!("Rate exceeded for Shard - {ACCOUNT}/s/shardId-000000000000"),
    );
    for _ in 0..5 {
        let latest = json!({"StreamName": "s", "ShardId": "0", "ShardIteratorType": "LATEST"});
        server.advance(SECOND / 5);
        server.ok("GetShardIterator", &latest);
    }
    server.advance(SECOND);
    let latest = server.iterator("s", "shardId-000000000000", "LATEST");
    for _ in 0..5 {
        server.get(&latest);
    }
    assert_eq!(
        server.refusal("GetRecords", &json!({"ShardIterator": latest})),
        refused
    );
    server.advance(SECOND);
    server.ok("GetRecords", &read(5));
    server.advance(SECOND);
    assert_eq!(
        server.refusal("GetRecords", &read(1)),
        refused,
        "5 MB were read a second ago"
    );
    server.advance(SECOND);
    server.ok("GetRecords", &read(1));
    for _ in 0..4 {
        let _ = server.call(
            "GetShardIterator",
            &json!({"StreamName": "s", "ShardId": "0", "ShardIteratorType": "LATEST"}),
        );
    }
    let one_more = json!({"StreamName": "s", "ShardId": "0", "ShardIteratorType": "LATEST"});
    server.ok("GetShardIterator", &one_more);
    assert_eq!(server.refusal("GetShardIterator", &one_more), refused);
}

fn operations_can_be_called_so_often_a_second(backend: Backend) {
    let server = limited(backend);
    server.create("s", 1);
    let refused = (
        "LimitExceededException".to_owned(),
        format!("Rate exceeded for account {ACCOUNT}."),
    );
    for (operation, calls, input) in [
        ("DescribeLimits", 1, json!({})),
        ("DescribeStream", 10, json!({"StreamName": "s"})),
        ("DescribeStreamSummary", 20, json!({"StreamName": "s"})),
        ("ListStreams", 5, json!({})),
    ] {
        for _ in 0..calls {
            server.ok(operation, &input);
        }
        assert_eq!(server.refusal(operation, &input), refused, "{operation}");
    }
    // Puts have the limits of their shards instead.
    for _ in 0..30 {
        server.put("s", "k", "data");
    }
    server.advance(SECOND);
    server.ok("DescribeLimits", &json!({}));
}

fn streams_are_changed_so_often_a_day(backend: Backend) {
    let server = TestServer::with_options(backend, |options| {
        let changes = Limits {
            changes: true,
            ..Limits::NONE
        };
        options.limits(changes)
    });
    server.create("s", 4);
    let update = |target: u32| json!({"StreamName": "s", "TargetShardCount": target, "ScalingType": "UNIFORM_SCALING"});
    let shard_count = |round: u32| update(4 + (round + 1) % 2);
    for round in 0..10 {
        server.ok("UpdateShardCount", &shard_count(round));
        server.ok("DescribeStreamSummary", &json!({"StreamName": "s"}));
    }
    assert_eq!(
        server.refusal("UpdateShardCount", &shard_count(10)),
        (
            "LimitExceededException".to_owned(),
            format!(
                "UpdateShardCount can be called for stream s under account {ACCOUNT} 10 times within 24 hours."
            )
        )
    );
    let arn = format!("arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/s");
    let mode = |mode: &str| json!({"StreamARN": arn, "StreamModeDetails": {"StreamMode": mode}});
    server.ok("UpdateStreamMode", &mode("ON_DEMAND"));
    server.ok("UpdateStreamMode", &mode("PROVISIONED"));
    assert_eq!(
        server.refusal("UpdateStreamMode", &mode("ON_DEMAND")).0,
        "LimitExceededException"
    );
    server.advance(Duration::from_secs(24 * 60 * 60));
    server.ok("UpdateShardCount", &shard_count(10));
}

fn five_streams_are_created_at_a_time(backend: Backend) {
    let server = TestServer::with(
        backend,
        Setup {
            transition_delay: Duration::from_secs(10),
            options: Some(|options| {
                options.limits(Limits {
                    changes: true,
                    ..Limits::NONE
                })
            }),
            ..Setup::default()
        },
    );
    let create = |name: u32| json!({"StreamName": name.to_string(), "ShardCount": 1});
    for name in 0..5 {
        server.ok("CreateStream", &create(name));
    }
    assert_eq!(
        server.refusal("CreateStream", &create(5)),
        (
            "LimitExceededException".to_owned(),
            format!("Account {ACCOUNT} has 5 streams in state CREATING, and cannot have more at a time.")
        )
    );
    server.advance(Duration::from_secs(10));
    server.ok("CreateStream", &create(5));
}

fn with_faults(options: ServerOptions, faults: &[&str]) -> ServerOptions {
    let faults: Vec<Fault> = faults.iter().map(|fault| fault.parse().unwrap()).collect();
    options.faults(faults, 1)
}

fn faults_throttle_fail_and_lose_answers(backend: Backend) {
    let server = TestServer::with_options(backend, |options| {
        with_faults(
            options,
            &[
                "PutRecord:throttle:1",
                "ListStreams:fail:2",
                "PutRecord:lose:2",
                "CreateStream:throttle:1",
            ],
        )
    });
    let create = json!({"StreamName": "s", "ShardCount": 1});
    assert_eq!(
        server.refusal("CreateStream", &create).0,
        "LimitExceededException"
    );
    server.create("s", 1);
    for _ in 0..2 {
        let failed = server.call("ListStreams", &json!({}));
        assert_eq!(failed.status, 500);
    }
    server.ok("ListStreams", &json!({}));
    let put = json!({"StreamName": "s", "PartitionKey": "k", "Data": "aGk="});
    // The first call is throttled, and its answer is lost; the second has its effect, and its answer is lost.
    for _ in 0..2 {
        assert!(server.connect().try_call("PutRecord", &put).is_err());
    }
    assert_eq!(server.count_records("s"), 1);
    server.ok("PutRecord", &put);
    assert_eq!(server.count_records("s"), 2);
}

fn a_fault_of_all_operations_strikes_whichever_is_called(backend: Backend) {
    let server = TestServer::with_options(backend, |options| with_faults(options, &["*:fail:2"]));
    for operation in ["ListStreams", "DescribeLimits"] {
        assert_eq!(server.call(operation, &json!({})).status, 500, "{operation}");
    }
    server.ok("DescribeAccountSettings", &json!({}));
}

fn a_lost_answer_ends_its_stream_of_http2_and_no_other(backend: Backend) {
    let server = TestServer::with_options(backend, |options| with_faults(options, &["PutRecord:lose:1"]));
    server.create("s", 1);
    let put = json!({"StreamName": "s", "PartitionKey": "k", "Data": "aGk="});
    let mut client = Http2Client::connect(server.address);
    let lost = client.begin("PutRecord", &put);
    while client.resets().is_empty() {
        client.take().unwrap();
    }
    assert_eq!(client.reply(lost).status, 0);
    assert_eq!(client.call("PutRecord", &put).0, 200);
    assert!(client.goaways().is_empty());
    assert_eq!(server.count_records("s"), 2);
}

fn some_records_of_a_put_are_throttled_and_the_others_are_stored(backend: Backend) {
    let server = TestServer::with_options(backend, |options| {
        with_faults(options, &["PutRecords:throttle:25%"])
    });
    server.create("s", 1);
    let put = server.ok("PutRecords", &put_of(400, 3));
    let records = put["Records"].as_array().unwrap();
    let failed = records.iter().filter(|record| record.get("ErrorCode").is_some());
    let failed: Vec<_> = failed.map(|record| text(&record["ErrorMessage"])).collect();
    assert_eq!(put["FailedRecordCount"], failed.len());
    assert!((60..140).contains(&failed.len()), "{}", failed.len());
    assert!(failed.iter().all(|message| *message == throttled(0).1));
    assert_eq!(server.count_records("s"), 400 - failed.len());
    // One record alone is another operation.
    server.put("s", "k", "data");
}

fn what_a_fault_throttles_takes_nothing_of_what_its_shard_takes(backend: Backend) {
    let server = TestServer::with_options(backend, |options| {
        with_faults(options, &["PutRecords:throttle:500"]).limits(Limits::AWS)
    });
    server.create("s", 1);
    for refused in [500, 0, 0, 500] {
        let put = server.ok("PutRecords", &put_of(500, 3));
        assert_eq!(put["FailedRecordCount"], refused);
    }
}

fn an_invalid_record_is_told_before_any_is_throttled_or_stored(backend: Backend) {
    let server = TestServer::with_options(backend, |options| {
        with_faults(options, &["PutRecords:throttle:1"]).limits(Limits::AWS)
    });
    server.create("s", 1);
    let records = json!({"StreamName": "s", "Records": [
        {"Data": "", "PartitionKey": "k"},
        {"Data": "A".repeat(2 << 20), "PartitionKey": "k"},
    ]});
    let (kind, message) = server.call("PutRecords", &records).refusal();
    assert_eq!(kind, "ValidationException");
    assert!(message.contains("'records.2.member.data'"), "{message}");
    assert_eq!(server.count_records("s"), 0);
    // The fault has not struck yet.
    assert_eq!(server.ok("PutRecords", &put_of(2, 3))["FailedRecordCount"], 1);
}

fn a_slow_call_is_answered_later_and_what_is_asked_of_one_operation_strikes_no_other(backend: Backend) {
    let server = TestServer::with_options(backend, |options| {
        with_faults(
            options,
            &["ListStreams:slow=30ms:1", "DescribeLimits:slow=600s:100%"],
        )
    });
    let began = std::time::Instant::now();
    server.ok("ListStreams", &json!({}));
    assert!(began.elapsed() >= Duration::from_millis(30));
    server.ok("ListStreams", &json!({}));
}

fn a_fault_of_an_operation_that_does_not_exist_is_refused_at_the_start(_: Backend) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for (fault, reason) in [
        (
            "PutRecordz:fail:1",
            "there is no operation \"PutRecordz\" that a fault could be about",
        ),
        (
            "ListStreams:error=KMSThrottlingException:1",
            "the operation ListStreams has no exception \"KMSThrottlingException\" that a fault could answer with",
        ),
    ] {
        let options = with_faults(ServerOptions::new("127.0.0.1:0"), &[fault]);
        let store = anabranch::Store::in_memory().unwrap();
        let refused = runtime
            .block_on(anabranch::kinesis::Server::bind(store, options))
            .unwrap_err();
        assert_eq!(refused.to_string(), reason);
    }
}
