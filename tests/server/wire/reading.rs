//! Shard iterators, and the records read from them.

use std::time::Duration;

use base64_simd::STANDARD as BASE64;
use serde_json::{Value, json};

use super::test_server::{
    ACCOUNT, Backend, START, TestServer, all, invalid_argument, not_found, on_each_backend, text,
};

const SHARD: &str = "shardId-000000000000";

/// The data of the records of a reply, as text.
fn data(reply: &Value) -> Vec<String> {
    let decoded = |data: String| String::from_utf8(BASE64.decode_to_vec(data).unwrap()).unwrap();
    all(&reply["Records"], "Data").into_iter().map(decoded).collect()
}

fn start(kind: &str, member: &str, value: &Value) -> Value {
    json!({"StreamName": "s", "ShardId": "0", "ShardIteratorType": kind, member: value})
}

fn read_from(server: &TestServer, input: &Value) -> Vec<String> {
    data(&server.get(&text(&server.ok("GetShardIterator", input)["ShardIterator"])))
}

/// A stream with one shard and three records, one second apart.
fn three_records(server: &TestServer) -> Vec<String> {
    server.create("s", 1);
    let mut numbers = Vec::new();
    for text in ["a", "b", "c"] {
        numbers.push(super::test_server::text(
            &server.put("s", "k", text)["SequenceNumber"],
        ));
        server.clock.advance(Duration::from_secs(1));
    }
    numbers
}

fn increased(number: &str, by: u128) -> String {
    let (head, tail) = number.split_at(number.len() - 30);
    format!("{head}{:030}", tail.parse::<u128>().unwrap() + by)
}

on_each_backend!(
    an_iterator_and_the_arn_of_another_stream_are_refused,
    a_name_and_the_arn_of_another_stream_are_refused_by_every_operation_that_takes_both,
    every_type_of_iterator_begins_at_its_place,
    a_number_of_no_record_is_a_place_too,
    latest_is_after_the_records_of_the_moment_it_is_asked_for,
    reading_goes_on_where_it_stopped,
    a_reader_is_told_how_far_it_is_behind,
    an_iterator_can_be_used_again_and_each_reply_has_a_new_one,
    an_iterator_expires_after_five_minutes,
    an_iterator_whose_records_expire_goes_on_silently_with_what_is_kept,
    a_forged_iterator_is_refused,
    a_closed_shard_is_drained_and_then_names_its_children,
    a_shard_that_is_not_there_is_named_by_its_id,
    type_and_number_have_to_agree,
    numbers_that_the_shard_cannot_have_are_refused,
    nothing_comes_after_the_end_of_a_closed_shard,
    a_starting_time_has_to_be_given_and_past,
    an_iterator_dies_with_its_stream,
    an_iterator_dies_with_its_shard,
    a_dry_run_reads_nothing,
);

fn an_iterator_and_the_arn_of_another_stream_are_refused(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    server.create("t", 1);
    server.put("s", "k", "a");
    let iterator = server.iterator("s", "0", "TRIM_HORIZON");
    let arn = |stream: &str| format!("arn:aws:kinesis:eu-west-1:{ACCOUNT}:stream/{stream}");
    let get = |stream: &str| {
        server.call(
            "GetRecords",
            &json!({"ShardIterator": iterator, "StreamARN": arn(stream)}),
        )
    };
    assert_eq!(get("s").ok()["Records"].as_array().unwrap().len(), 1);
    for other in ["t", "not-there", "S"] {
        let refused = invalid_argument(format!(
            "StreamARN {} and the ShardIterator, which is of stream s, are not of the same stream.",
            arn(other)
        ));
        assert_eq!(get(other).refusal(), refused);
    }
}

fn a_name_and_the_arn_of_another_stream_are_refused_by_every_operation_that_takes_both(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    server.create("t", 1);
    let other = format!("arn:aws:kinesis:eu-west-1:{ACCOUNT}:stream/t");
    let refused = invalid_argument(format!(
        "StreamName s and StreamARN {other} are not of the same stream."
    ));
    for (operation, rest) in [
        ("PutRecord", json!({"PartitionKey": "k", "Data": ""})),
        (
            "PutRecords",
            json!({"Records": [{"PartitionKey": "k", "Data": ""}]}),
        ),
        (
            "GetShardIterator",
            json!({"ShardId": "0", "ShardIteratorType": "LATEST"}),
        ),
        ("DescribeStream", json!({})),
        ("DescribeStreamSummary", json!({})),
        ("ListShards", json!({})),
        (
            "SplitShard",
            json!({"ShardToSplit": "0", "NewStartingHashKey": "5"}),
        ),
        (
            "MergeShards",
            json!({"ShardToMerge": "0", "AdjacentShardToMerge": "1"}),
        ),
        (
            "IncreaseStreamRetentionPeriod",
            json!({"RetentionPeriodHours": 48}),
        ),
        (
            "DecreaseStreamRetentionPeriod",
            json!({"RetentionPeriodHours": 24}),
        ),
        ("DeleteStream", json!({})),
    ] {
        let mut input = rest;
        input["StreamName"] = json!("s");
        input["StreamARN"] = json!(other);
        assert_eq!(server.refusal(operation, &input), refused, "{operation}");
    }
}

fn every_type_of_iterator_begins_at_its_place(backend: Backend) {
    let server = TestServer::start(backend);
    let numbers = three_records(&server);
    let none = Value::Null;
    assert_eq!(
        read_from(&server, &start("TRIM_HORIZON", "Timestamp", &none)),
        ["a", "b", "c"]
    );
    assert!(read_from(&server, &start("LATEST", "Timestamp", &none)).is_empty());
    let (second, third) = (json!(numbers[1]), json!(numbers[2]));
    let number = "StartingSequenceNumber";
    assert_eq!(
        read_from(&server, &start("AT_SEQUENCE_NUMBER", number, &second)),
        ["b", "c"]
    );
    assert_eq!(
        read_from(&server, &start("AFTER_SEQUENCE_NUMBER", number, &second)),
        ["c"]
    );
    assert!(read_from(&server, &start("AFTER_SEQUENCE_NUMBER", number, &third)).is_empty());
    let begin = START.as_seconds() as f64;
    for (after, expected) in [
        (-9e9, 3),
        (0.0, 3),
        (0.001, 2),
        (1.0, 2),
        (1.001, 1),
        (2.0, 1),
        (2.5, 0),
        (3.0, 0),
    ] {
        let read = read_from(
            &server,
            &start("AT_TIMESTAMP", "Timestamp", &json!(begin + after)),
        );
        assert_eq!(read.len(), expected, "{after} s after the first");
    }
}

fn a_number_of_no_record_is_a_place_too(backend: Backend) {
    let server = TestServer::start(backend);
    let numbers = three_records(&server);
    let shards = server.ok("ListShards", &json!({"StreamName": "s"}))["Shards"].clone();
    let number = "StartingSequenceNumber";
    for kind in ["AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"] {
        let first = &shards[0]["SequenceNumberRange"]["StartingSequenceNumber"];
        assert_eq!(read_from(&server, &start(kind, number, first)), ["a", "b", "c"]);
        // The next counter after the last record, which no record has yet.
        let next = increased(&numbers[2], 1 << 80);
        assert!(read_from(&server, &start(kind, number, &json!(next))).is_empty());
    }
}

fn latest_is_after_the_records_of_the_moment_it_is_asked_for(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    server.put("s", "k", "before");
    let iterator = server.iterator("s", "0", "LATEST");
    server.put("s", "k", "after");
    assert_eq!(data(&server.get(&iterator)), ["after"]);
}

fn reading_goes_on_where_it_stopped(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    for n in 0..7 {
        server.put("s", "k", &n.to_string());
    }
    let mut iterator = server.iterator("s", "0", "TRIM_HORIZON");
    let mut pages = Vec::new();
    for _ in 0..4 {
        let reply = server.ok("GetRecords", &json!({"ShardIterator": iterator, "Limit": 3}));
        assert_eq!(reply.get("ChildShards"), None);
        iterator = text(&reply["NextShardIterator"]);
        pages.push(data(&reply));
    }
    assert_eq!(
        pages,
        [vec!["0", "1", "2"], vec!["3", "4", "5"], vec!["6"], vec![]]
    );
    server.put("s", "k", "7");
    assert_eq!(data(&server.get(&iterator)), ["7"]);
}

fn a_reader_is_told_how_far_it_is_behind(backend: Backend) {
    let server = TestServer::start(backend);
    three_records(&server);
    let iterator = server.iterator("s", "0", "TRIM_HORIZON");
    let page = server.ok("GetRecords", &json!({"ShardIterator": iterator, "Limit": 1}));
    assert_eq!(page["MillisBehindLatest"], 3000);
    let page = server.get(&text(&page["NextShardIterator"]));
    assert_eq!(page["MillisBehindLatest"], 0);
}

fn an_iterator_can_be_used_again_and_each_reply_has_a_new_one(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    let iterator = server.iterator("s", "0", "LATEST");
    let mut seen = std::collections::HashSet::from([iterator.clone()]);
    for _ in 0..10 {
        let next = text(&server.get(&iterator)["NextShardIterator"]);
        assert!(next.len() <= 512);
        assert!(seen.insert(next));
    }
    // AWS takes it in quotes as well.
    server.get(&format!("\"{iterator}\""));
}

fn an_iterator_whose_records_expire_goes_on_silently_with_what_is_kept(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    let first = text(&server.put("s", "k", "expires")["SequenceNumber"]);
    server.advance(Duration::from_secs(24 * 3_600 - 60));
    server.put("s", "k", "stays");
    let input = start("AT_SEQUENCE_NUMBER", "StartingSequenceNumber", &json!(first));
    let iterator = text(&server.ok("GetShardIterator", &input)["ShardIterator"]);
    assert_eq!(data(&server.get(&iterator)), ["expires", "stays"]);
    server.advance(Duration::from_secs(120));
    assert_eq!(data(&server.get(&iterator)), ["stays"]);
    assert_eq!(read_from(&server, &input), ["stays"]);
}

fn an_iterator_expires_after_five_minutes(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    let iterator = server.iterator("s", "0", "LATEST");
    server.clock.advance(Duration::from_millis(300_000));
    let next = text(&server.get(&iterator)["NextShardIterator"]);
    server.clock.advance(Duration::from_millis(1));
    assert_eq!(
        server.refusal("GetRecords", &json!({"ShardIterator": iterator})),
        (
            "ExpiredIteratorException".into(),
            "Iterator expired. The iterator was created at time Thu Jan 22 01:22:02 UTC 2015 while right now it is \
             Thu Jan 22 01:27:02 UTC 2015 which is further in the future than the tolerated delay of 300000 \
             milliseconds."
                .into()
        )
    );
    server.get(&next);
    // Setting the clock back does not invalidate tokens.
    server.clock.set(START);
    server.get(&next);
}

fn a_forged_iterator_is_refused(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    let iterator = server.iterator("s", "0", "LATEST");
    let listing = {
        server.create("t", 1);
        text(&server.ok("ListStreams", &json!({"Limit": 1}))["NextToken"])
    };
    let mut flipped = BASE64.decode_to_vec(&iterator).unwrap();
    flipped[20] ^= 1;
    for forged in [
        "a",
        "AAAAAAAAAAE=",
        &iterator[4..],
        &BASE64.encode_to_string(flipped),
        &listing,
    ] {
        assert_eq!(
            server.refusal("GetRecords", &json!({"ShardIterator": forged})),
            invalid_argument("Invalid ShardIterator.")
        );
    }
}

fn a_closed_shard_is_drained_and_then_names_its_children(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    server.put("s", "k", "a");
    let early = server.iterator("s", "0", "TRIM_HORIZON");
    server.ok(
        "SplitShard",
        &json!({"StreamName": "s", "ShardToSplit": "0", "NewStartingHashKey": "1000"}),
    );
    let child = |id: &str, start: &str, end: &str| {
        json!({
            "ShardId": id,
            "ParentShards": [SHARD],
            "HashKeyRange": {"StartingHashKey": start, "EndingHashKey": end},
        })
    };
    let children = json!([
        child("shardId-000000000001", "0", "999"),
        child(
            "shardId-000000000002",
            "1000",
            "340282366920938463463374607431768211455"
        ),
    ]);
    // However the reader gets there: with its last record, from its end, and in small steps.
    let mut reply = server.ok("GetRecords", &json!({"ShardIterator": early, "Limit": 1}));
    assert_eq!(data(&reply), ["a"]);
    while let Some(next) = reply.get("NextShardIterator") {
        assert_eq!(reply.get("ChildShards"), None);
        reply = server.get(&text(next));
    }
    assert_eq!(reply["ChildShards"], children);
    let reply = server.get(&server.iterator("s", "0", "LATEST"));
    assert_eq!(
        (reply.get("NextShardIterator"), &reply["ChildShards"]),
        (None, &children)
    );
    assert_eq!(reply["Records"], json!([]));

    server.ok(
        "MergeShards",
        &json!({"StreamName": "s", "ShardToMerge": "1", "AdjacentShardToMerge": "2"}),
    );
    let reply = server.get(&server.iterator("s", "1", "LATEST"));
    assert_eq!(
        reply["ChildShards"][0]["ParentShards"],
        json!(["shardId-000000000001", "shardId-000000000002"])
    );
}

fn a_shard_that_is_not_there_is_named_by_its_id(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    let input = |stream: &str, shard: &str| json!({"StreamName": stream, "ShardId": shard, "ShardIteratorType": "LATEST"});
    for shard in ["x", "shardId-", "shardId-2147483648"] {
        for stream in ["s", "nothing"] {
            assert_eq!(
                server.refusal("GetShardIterator", &input(stream, shard)),
                not_found(format!(
                    "Could not find shard {shard} in stream {stream} under account {ACCOUNT}."
                ))
            );
        }
    }
    for (stream, shard, index) in [
        ("s", "shardId-5", 5),
        ("nothing", "0", 0),
        ("s", "x-2147483647", i32::MAX),
    ] {
        assert_eq!(
            server.refusal("GetShardIterator", &input(stream, shard)),
            not_found(format!(
                "Shard shardId-{index:012} in stream {stream} under account {ACCOUNT} does not exist"
            ))
        );
    }
    for shard in ["shardId-000000000000", "shardId-0", "x-0", "0"] {
        server.ok("GetShardIterator", &input("s", shard));
    }
}

fn type_and_number_have_to_agree(backend: Backend) {
    let server = TestServer::start(backend);
    let numbers = three_records(&server);
    let disagree = |kind: &str, also: &str| {
        invalid_argument(format!(
            "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or (2) \
             TRIM_HORIZON or LATEST and no StartingSequenceNumber. Request specified {kind} and {also}."
        ))
    };
    for kind in ["TRIM_HORIZON", "LATEST"] {
        let input = start(kind, "StartingSequenceNumber", &json!(numbers[0]));
        assert_eq!(
            server.refusal("GetShardIterator", &input),
            disagree(kind, "also a StartingSequenceNumber")
        );
    }
    for kind in ["AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"] {
        let input = start(kind, "Timestamp", &json!(0));
        assert_eq!(
            server.refusal("GetShardIterator", &input),
            disagree(kind, "no StartingSequenceNumber")
        );
    }
    // The missing shard is reported first.
    let input = json!({"StreamName": "s", "ShardId": "9", "ShardIteratorType": "AT_SEQUENCE_NUMBER"});
    assert_eq!(
        server.refusal("GetShardIterator", &input).0,
        "ResourceNotFoundException"
    );
}

fn numbers_that_the_shard_cannot_have_are_refused(backend: Backend) {
    let server = TestServer::start(backend);
    let numbers = three_records(&server);
    let refusal = |number: &str| {
        server.refusal(
            "GetShardIterator",
            &start("AT_SEQUENCE_NUMBER", "StartingSequenceNumber", &json!(number)),
        )
    };
    let used = |number: &str| {
        format!(
            "StartingSequenceNumber {number} used in GetShardIterator on shard {SHARD} in stream s under account \
             {ACCOUNT} is invalid"
        )
    };
    let lead_three = "73559785961562665201200657303214840813699477864812904450";
    for number in [lead_three, &"9".repeat(129)] {
        assert_eq!(refusal(number), invalid_argument(format!("{}.", used(number))));
    }
    // Of shard 1: another 2^144 + 2^4.
    server.create("two", 2);
    let shards = server.ok("ListShards", &json!({"StreamName": "two"}))["Shards"].clone();
    let of_one = text(&shards[1]["SequenceNumberRange"]["StartingSequenceNumber"]);
    assert_eq!(
        refusal(&of_one),
        invalid_argument(format!(
            "Invalid StartingSequenceNumber. It encodes shardId-000000000001, while it was used in a call to a shard \
             with {SHARD}"
        ))
    );
    // Of another stream's shard 0, and of the layouts that AWS once used.
    let elsewhere = "49546986683135544286507457935754639466300920667981217794";
    for number in [
        elsewhere,
        "0",
        "49039857307708443467467104868809893875799651909875269633",
    ] {
        assert_eq!(
            refusal(number),
            invalid_argument(format!(
                "{} because it did not come from this stream.",
                used(number)
            ))
        );
    }
    server.ok("DeleteStream", &json!({"StreamName": "s"}));
    server.clock.advance(Duration::from_secs(1));
    server.create("s", 1);
    assert_eq!(
        refusal(&numbers[0]),
        invalid_argument(format!(
            "{} because it did not come from this stream.",
            used(&numbers[0])
        ))
    );
}

fn nothing_comes_after_the_end_of_a_closed_shard(backend: Backend) {
    let server = TestServer::start(backend);
    three_records(&server);
    server.ok(
        "SplitShard",
        &json!({"StreamName": "s", "ShardToSplit": "0", "NewStartingHashKey": "1000"}),
    );
    let shards = server.ok("ListShards", &json!({"StreamName": "s"}))["Shards"].clone();
    let end = &shards[0]["SequenceNumberRange"]["EndingSequenceNumber"];
    assert_eq!(
        server.refusal(
            "GetShardIterator",
            &start("AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber", end)
        ),
        invalid_argument(
            "Invalid SequenceNumber for ShardIteratorType AFTER_SEQUENCE_NUMBER, SequenceNumber has reached max \
             possible value for the shard."
        )
    );
    assert!(
        read_from(
            &server,
            &start("AT_SEQUENCE_NUMBER", "StartingSequenceNumber", end)
        )
        .is_empty()
    );
}

fn a_starting_time_has_to_be_given_and_past(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    assert_eq!(
        server.refusal(
            "GetShardIterator",
            &start("AT_TIMESTAMP", "Timestamp", &Value::Null)
        ),
        invalid_argument(
            "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. Current request has no \
             timestamp parameter."
        )
    );
    assert_eq!(
        server.refusal(
            "GetShardIterator",
            &start("AT_TIMESTAMP", "Timestamp", &json!(1_421_889_722.001))
        ),
        invalid_argument(
            "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. timestampInMillis: \
             1421889722001, currentTimestampInMillis: 1421889722000"
        )
    );
}

fn an_iterator_dies_with_its_stream(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    let iterator = server.iterator("s", "0", "LATEST");
    server.ok("DeleteStream", &json!({"StreamName": "s"}));
    let gone = not_found(format!(
        "Shard {SHARD} in stream s under account {ACCOUNT} does not exist"
    ));
    assert_eq!(
        server.refusal("GetRecords", &json!({"ShardIterator": iterator})),
        gone
    );
    server.create("s", 1);
    assert_eq!(
        server.refusal("GetRecords", &json!({"ShardIterator": iterator})),
        gone
    );
}

fn an_iterator_dies_with_its_shard(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    server.ok(
        "SplitShard",
        &json!({"StreamName": "s", "ShardToSplit": "0", "NewStartingHashKey": "1000"}),
    );
    server.advance(Duration::from_secs(24 * 3600) - Duration::from_secs(1));
    let iterator = server.iterator("s", "0", "LATEST");
    server.advance(Duration::from_secs(2));
    let gone = not_found(format!(
        "Shard {SHARD} in stream s under account {ACCOUNT} does not exist"
    ));
    assert_eq!(
        server.refusal("GetRecords", &json!({"ShardIterator": iterator})),
        gone
    );
}

fn a_dry_run_reads_nothing(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    let iterator = server.iterator("s", "0", "LATEST");
    let input = json!({"ShardIterator": iterator, "DryRun": true});
    assert_eq!(server.refusal("GetRecords", &input).0, "DryRunOperationException");
    let input = json!({"StreamName": "s", "ShardId": "0", "ShardIteratorType": "LATEST", "DryRun": true});
    assert_eq!(
        server.refusal("GetShardIterator", &input).0,
        "DryRunOperationException"
    );
}
