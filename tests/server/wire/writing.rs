//! Putting records, and that refused records are not stored.

use std::time::Duration;

use anabranch_harness::http1::Head;
use base64_simd::STANDARD as BASE64;
use serde_json::{Value, json};

use super::test_server::{
    ACCOUNT, Backend, START, TestServer, all, invalid_argument, on_each_backend, text, validation,
};

const LAST_KEY: &str = "340282366920938463463374607431768211455";

fn blob(len: usize) -> String {
    BASE64.encode_to_string(vec![b'x'; len])
}

on_each_backend!(
    a_record_goes_to_the_shard_of_its_key,
    records_keep_their_bytes,
    a_batch_is_answered_record_by_record,
    members_may_come_in_any_order_and_unknown_ones_are_ignored,
    a_number_to_be_exceeded_must_be_one_that_can_have_been,
    a_hash_key_beyond_the_space_fails_the_whole_request,
    a_record_that_is_too_large_fails_the_whole_request,
    a_stream_of_large_records_takes_ten_mebibytes_at_once,
    a_dry_run_stores_nothing,
    a_batch_with_anything_wrong_stores_nothing,
    arrival_is_told_to_the_millisecond,
    puts_from_many_connections_are_all_stored,
);

fn a_record_goes_to_the_shard_of_its_key(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 2);
    let reply = server.connect().call(
        "PutRecord",
        &json!({"StreamName": "s", "PartitionKey": "a", "Data": "aGk="}),
    );
    // "a" has hash key 16955237001963240173058271559858726497. The first of this shard's numbers has counter 1, and in
    // memory, where numbers are left out, counter 10. On a cluster it follows from the messages before it.
    let number = match backend {
        Backend::Directory => "49547204513960148148222384694535363682458688131885432834".to_owned(),
        Backend::Memory => "49547204513960148148222384694546244014835219794457788418".to_owned(),
        #[cfg(feature = "nats")]
        Backend::Cluster => text(&reply.json()["SequenceNumber"]),
    };
    let expected = format!(r#"{{"ShardId":"shardId-000000000000","SequenceNumber":"{number}"}}"#);
    assert_eq!(reply.text(), expected);
    assert_eq!(server.put("s", "foo", "")["ShardId"], "shardId-000000000001");

    let mut explicit = json!({"StreamName": "s", "PartitionKey": "a", "Data": ""});
    for (key, shard) in [
        ("0", 0),
        (LAST_KEY, 1),
        ("170141183460469231731687303715884105728", 1),
    ] {
        explicit["ExplicitHashKey"] = json!(key);
        assert_eq!(
            server.ok("PutRecord", &explicit)["ShardId"],
            format!("shardId-{shard:012}")
        );
    }
}

fn records_keep_their_bytes(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    let every_byte: Vec<u8> = (0..=255).collect();
    let keys = ["k", "-4386", "ключ \"quoted\" \\ \n", &"€".repeat(256)];
    for key in keys {
        let data = BASE64.encode_to_string(&every_byte);
        server.ok(
            "PutRecord",
            &json!({"StreamName": "s", "PartitionKey": key, "Data": data}),
        );
    }
    let read = server.get(&server.iterator("s", "0", "TRIM_HORIZON"));
    assert_eq!(all(&read["Records"], "PartitionKey"), keys);
    for data in all(&read["Records"], "Data") {
        assert_eq!(BASE64.decode_to_vec(data).unwrap(), every_byte);
    }
}

fn a_batch_is_answered_record_by_record(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 3);
    let records: Vec<Value> = (0..500)
        .map(|n| json!({"PartitionKey": n.to_string(), "Data": BASE64.encode_to_string(n.to_string())}))
        .collect();
    let reply = server.ok("PutRecords", &json!({"StreamName": "s", "Records": records}));
    assert_eq!(reply["FailedRecordCount"], 0);
    assert_eq!(reply["Records"].as_array().unwrap().len(), 500);
    let numbers: Vec<(String, String)> = all(&reply["Records"], "ShardId")
        .into_iter()
        .zip(all(&reply["Records"], "SequenceNumber"))
        .collect();
    for shard in 0..3 {
        let shard = format!("shardId-{shard:012}");
        let read = server.get(&server.iterator("s", &shard, "TRIM_HORIZON"));
        let mine: Vec<_> = numbers
            .iter()
            .filter(|(of, _)| *of == shard)
            .map(|(_, number)| number)
            .collect();
        assert!(mine.is_sorted());
        assert_eq!(
            all(&read["Records"], "SequenceNumber").iter().collect::<Vec<_>>(),
            mine
        );
    }
    assert_eq!(server.count_records("s"), 500);
}

fn members_may_come_in_any_order_and_unknown_ones_are_ignored(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    for body in [
        r#"{"Data":"","PartitionKey":"k","StreamName":"s"}"#,
        r#"{"Data":"","PartitionKey":"k","StreamName":"s","Unknown":{"a":[1]},"ExplicitHashKey":null}"#,
        r#"{"Data":"AA==","Data":"","PartitionKey":"k","StreamName":"s"}"#,
        r#"{"Data":"","PartitionKey":"k","StreamARN":"arn:aws:kinesis:eu-west-1:000000000000:stream/s","DryRun":false}"#,
        r#"{"Data":"","PartitionKey":"k","StreamName":"s","StreamId":"abcdefghij0123456789-xyz"}"#,
    ] {
        let reply = server
            .connect()
            .send(&Head::of("Kinesis_20131202.PutRecord"), body.as_bytes());
        assert_eq!(reply.status, 200, "{body}: {}", reply.text());
    }
    let body = r#"{"Records":[{"Data":"","X":1,"PartitionKey":"k"}],"StreamName":"s"}"#;
    let reply = server
        .connect()
        .send(&Head::of("Kinesis_20131202.PutRecords"), body.as_bytes());
    assert_eq!(reply.status, 200);
    assert_eq!(server.count_records("s"), 6);
}

fn a_number_to_be_exceeded_must_be_one_that_can_have_been(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    let first = server.put("s", "k", "");
    let put = |number: &str| json!({"StreamName": "s", "PartitionKey": "k", "Data": "", "SequenceNumberForOrdering": number});
    let number = text(&first["SequenceNumber"]);
    let second = text(&server.ok("PutRecord", &put(&number))["SequenceNumber"]);
    assert!(second > number);
    // Of another stream, of the first layout, of the second.
    for number in [
        "49546986683135544286507457935754639466300920667981217794",
        "0",
        "49039857307708443467467104868809893875799651909875269633",
    ] {
        server.ok("PutRecord", &put(number));
    }
    let lead_three = "73559785961562665201200657303214840813699477864812904450";
    let future = "49547204513960148148222384694535363682458688200604909570";
    for number in [lead_three, future, "1000000000000000000000000000000000000000000"] {
        assert_eq!(
            server.refusal("PutRecord", &put(number)),
            invalid_argument(format!(
                "ExclusiveMinimumSequenceNumber {number} used in PutRecord on stream s under account {ACCOUNT} is \
                 invalid."
            ))
        );
    }
    assert_eq!(server.count_records("s"), 5);

    // Numbers that were given out stay valid when the clock goes back.
    server.advance(Duration::from_secs(10));
    let number = text(&server.put("s", "k", "")["SequenceNumber"]);
    server.clock.jump_back(Duration::from_secs(3));
    server.ok("PutRecord", &put(&number));
}

fn a_hash_key_beyond_the_space_fails_the_whole_request(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    let over = "340282366920938463463374607431768211456";
    let refused = invalid_argument(format!(
        "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was {over}"
    ));
    let good = json!({"PartitionKey": "k", "Data": ""});
    let bad = json!({"PartitionKey": "k", "Data": "", "ExplicitHashKey": over});
    let put = json!({"StreamName": "s", "PartitionKey": "k", "Data": "", "ExplicitHashKey": over});
    assert_eq!(server.refusal("PutRecord", &put), refused);
    assert_eq!(
        server.refusal(
            "PutRecords",
            &json!({"StreamName": "s", "Records": [good, bad, good]})
        ),
        refused
    );
    assert_eq!(server.count_records("s"), 0);
}

fn a_record_that_is_too_large_fails_the_whole_request(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    let constraint = "failed to satisfy constraint: Member must have length less than or equal to 1048576";
    let put = |bytes: usize| json!({"StreamName": "s", "PartitionKey": "k", "Data": blob(bytes)});
    assert_eq!(
        server.refusal("PutRecord", &put(1 << 20)),
        validation(&[&format!("at 'data' {constraint}")])
    );
    let entry = |bytes: usize| json!({"PartitionKey": "k", "Data": blob(bytes)});
    let batch = json!({"StreamName": "s", "Records": [entry(1), entry(1 << 20), entry(1)]});
    assert_eq!(
        server.refusal("PutRecords", &batch),
        validation(&[&format!("at 'records.2.member.data' {constraint}")])
    );
    assert_eq!(server.count_records("s"), 0);
    server.ok("PutRecord", &put((1 << 20) - 1));
    assert_eq!(server.count_records("s"), 1);
}

fn a_stream_of_large_records_takes_ten_mebibytes_at_once(backend: Backend) {
    let server = TestServer::start(backend);
    server.ok(
        "CreateStream",
        &json!({"StreamName": "s", "ShardCount": 1, "MaxRecordSizeInKiB": 10_240}),
    );
    let most = 10 << 20;
    let put = |bytes: usize| json!({"StreamName": "s", "PartitionKey": "k", "Data": blob(bytes)});
    server.ok("PutRecord", &put(most - 1));
    assert_eq!(
        server.refusal("PutRecord", &put(most)),
        validation(&[
            "at 'data' failed to satisfy constraint: Member must have length less than or equal to 10485760"
        ])
    );
    assert_eq!(
        server.refusal("PutRecord", &put(most + 1)),
        validation(&[
            "at 'data' failed to satisfy constraint: Member must have length less than or equal to 10485760"
        ])
    );
    let batch = |bytes: usize| {
        let entry = json!({"PartitionKey": "k", "Data": blob(bytes / 2 - 1)});
        json!({"StreamName": "s", "Records": [entry, entry]})
    };
    assert_eq!(
        server.refusal("PutRecords", &batch(most + 2)),
        invalid_argument("Records size exceeds 10 MB limit")
    );
    assert_eq!(server.count_records("s"), 1);
    server.ok("PutRecords", &batch(most));
    // A reply ends before it would get longer than ten mebibytes, but it has one record at least.
    let first = server.get(&server.iterator("s", "0", "TRIM_HORIZON"));
    assert_eq!(first["Records"].as_array().unwrap().len(), 1);
    let second = server.get(&text(&first["NextShardIterator"]));
    assert_eq!(second["Records"].as_array().unwrap().len(), 2);
}

fn a_dry_run_stores_nothing(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    let one = json!({"StreamName": "s", "PartitionKey": "k", "Data": "", "DryRun": true});
    let many = json!({"StreamName": "s", "Records": [{"PartitionKey": "k", "Data": ""}], "DryRun": true});
    assert_eq!(server.refusal("PutRecord", &one).0, "DryRunOperationException");
    assert_eq!(server.refusal("PutRecords", &many).0, "DryRunOperationException");
    assert_eq!(server.count_records("s"), 0);
}

fn a_batch_with_anything_wrong_stores_nothing(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    let good = json!({"PartitionKey": "k", "Data": ""});
    let batch = |records: Value| json!({"StreamName": "s", "Records": records});
    for (records, kind) in [
        (json!([good, {"PartitionKey": "k"}]), "ValidationException"),
        (
            json!([good, {"PartitionKey": "", "Data": ""}]),
            "ValidationException",
        ),
        (
            json!([good, {"PartitionKey": "k", "Data": "", "ExplicitHashKey": "x"}]),
            "ValidationException",
        ),
        (
            json!([good, {"PartitionKey": "k", "Data": "x"}]),
            "SerializationException",
        ),
        (
            json!([good, {"PartitionKey": 1, "Data": ""}]),
            "SerializationException",
        ),
        (json!([good, null]), "ValidationException"),
        (json!([good, "x"]), "SerializationException"),
        (json!([]), "ValidationException"),
        (Value::Array(vec![good.clone(); 501]), "ValidationException"),
    ] {
        assert_eq!(server.refusal("PutRecords", &batch(records)).0, kind);
    }
    assert_eq!(server.count_records("s"), 0);
    server.ok("PutRecords", &batch(Value::Array(vec![good; 500])));
    assert_eq!(server.count_records("s"), 500);
}

fn arrival_is_told_to_the_millisecond(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    server.clock.advance(Duration::from_millis(7));
    server.put("s", "k", "");
    let reply = server.call(
        "GetRecords",
        &json!({"ShardIterator": server.iterator("s", "0", "TRIM_HORIZON")}),
    );
    assert!(
        reply
            .text()
            .contains(r#""ApproximateArrivalTimestamp":1421889722.007"#),
        "{}",
        reply.text()
    );
    assert_eq!(START.as_millis(), 1_421_889_722_000);
}

fn puts_from_many_connections_are_all_stored(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 4);
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let mut client = server.connect();
            scope.spawn(move || {
                for n in 0..25 {
                    let key = format!("{writer}-{n}");
                    client
                        .call(
                            "PutRecord",
                            &json!({"StreamName": "s", "PartitionKey": key, "Data": ""}),
                        )
                        .ok();
                }
            });
        }
    });
    assert_eq!(server.count_records("s"), 200);
}
