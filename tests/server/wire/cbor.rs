//! The encoding that the Java SDK uses.

use anabranch_harness::http1::{CBOR, Head, Reply};
use ciborium::Value;
use ciborium::value::Integer;

use super::test_server::{Backend, START, TestServer, on_each_backend};

fn map(members: &[(&str, Value)]) -> Value {
    Value::Map(
        members
            .iter()
            .map(|(name, value)| (text(name), value.clone()))
            .collect(),
    )
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn time(milliseconds: u64) -> Value {
    Value::Tag(1, Box::new(Value::Integer(Integer::from(milliseconds))))
}

#[track_caller]
fn member<'a>(value: &'a Value, name: &str) -> &'a Value {
    let members = value.as_map().unwrap();
    let found = members.iter().find(|(known, _)| known.as_text() == Some(name));
    found
        .map(|(_, value)| value)
        .unwrap_or_else(|| panic!("no {name} in {value:?}"))
}

fn send(server: &TestServer, operation: &str, body: &[u8]) -> Reply {
    let target = format!("Kinesis_20131202.{operation}");
    let reply = server
        .connect()
        .send(&Head::of(&target).header("Content-Type", CBOR), body);
    assert_eq!(reply.header("content-type"), Some(CBOR));
    reply
}

fn call(server: &TestServer, operation: &str, input: &Value) -> (u16, Value) {
    let mut body = Vec::new();
    ciborium::into_writer(input, &mut body).unwrap();
    let reply = send(server, operation, &body);
    let output = match reply.body.is_empty() {
        true => Value::Null,
        false => ciborium::from_reader(reply.body.as_slice()).unwrap(),
    };
    (reply.status, output)
}

on_each_backend!(
    records_go_in_and_out_as_bytes_with_times_in_milliseconds,
    a_time_is_not_taken_for_seconds,
    what_is_no_number_is_neither_a_time_nor_a_count,
    errors_are_in_cbor_too,
    tags_are_maps_in_requests_and_lists_in_replies,
    limits_are_numbers_and_times_of_the_account_are_in_milliseconds,
);

fn records_go_in_and_out_as_bytes_with_times_in_milliseconds(backend: Backend) {
    let server = TestServer::start(backend);
    let create = map(&[("StreamName", text("foo")), ("ShardCount", Value::from(1))]);
    assert_eq!(call(&server, "CreateStream", &create), (200, Value::Null));

    let body = b"\xbf\x6aStreamName\x63foo\x64Data\x45hello\x6cPartitionKey\x62pk\xff";
    let put: Value = ciborium::from_reader(send(&server, "PutRecord", body).body.as_slice()).unwrap();
    assert_eq!(member(&put, "ShardId"), &text("shardId-000000000000"));

    let records = Value::Array(vec![map(&[
        ("PartitionKey", text("k")),
        ("Data", Value::Bytes(vec![0, 255])),
    ])]);
    let (status, put) = call(
        &server,
        "PutRecords",
        &map(&[("StreamName", text("foo")), ("Records", records)]),
    );
    assert_eq!(
        (status, member(&put, "FailedRecordCount")),
        (200, &Value::from(0))
    );

    let start = map(&[
        ("StreamName", text("foo")),
        ("ShardId", text("shardId-000000000000")),
        ("ShardIteratorType", text("AT_TIMESTAMP")),
        ("Timestamp", time(START.as_millis())),
    ]);
    let (_, iterator) = call(&server, "GetShardIterator", &start);
    let iterator = member(&iterator, "ShardIterator").clone();
    let (status, read) = call(&server, "GetRecords", &map(&[("ShardIterator", iterator)]));
    assert_eq!(status, 200);
    let records = member(&read, "Records").as_array().unwrap();
    let data: Vec<_> = records
        .iter()
        .map(|record| member(record, "Data").clone())
        .collect();
    assert_eq!(
        data,
        [Value::Bytes(b"hello".to_vec()), Value::Bytes(vec![0, 255])]
    );
    assert_eq!(
        member(&records[0], "ApproximateArrivalTimestamp"),
        &time(START.as_millis())
    );
    assert_eq!(member(&read, "MillisBehindLatest"), &Value::from(0));
}

fn a_time_is_not_taken_for_seconds(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    server.put("s", "k", "old");
    let later = START.as_millis() + 1;
    server.clock.advance(std::time::Duration::from_millis(1));
    server.put("s", "k", "new");
    let start = map(&[
        ("StreamName", text("s")),
        ("ShardId", text("0")),
        ("ShardIteratorType", text("AT_TIMESTAMP")),
        ("Timestamp", time(later)),
    ]);
    let (_, iterator) = call(&server, "GetShardIterator", &start);
    let (_, read) = call(
        &server,
        "GetRecords",
        &map(&[("ShardIterator", member(&iterator, "ShardIterator").clone())]),
    );
    let records = member(&read, "Records").as_array().unwrap();
    assert_eq!(member(&records[0], "Data"), &Value::Bytes(b"new".to_vec()));
}

fn what_is_no_number_is_neither_a_time_nor_a_count(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    let not_a_number = Value::Float(f64::NAN);
    let tagged = Value::Tag(1, Box::new(not_a_number.clone()));
    for (operation, name, value) in [
        ("GetShardIterator", "Timestamp", not_a_number.clone()),
        ("GetShardIterator", "Timestamp", tagged),
        ("ListStreams", "Limit", not_a_number),
    ] {
        let input = map(&[
            ("StreamName", text("s")),
            ("ShardId", text("0")),
            ("ShardIteratorType", text("AT_TIMESTAMP")),
            (name, value),
        ]);
        let (status, error) = call(&server, operation, &input);
        assert_eq!(status, 400, "{operation} {name}");
        assert_eq!(
            member(&error, "__type"),
            &text("SerializationException"),
            "{name}"
        );
    }
}

fn errors_are_in_cbor_too(backend: Backend) {
    let server = TestServer::start(backend);
    let (status, error) = call(&server, "DescribeStream", &map(&[("StreamName", text("x"))]));
    assert_eq!(status, 400);
    assert_eq!(member(&error, "__type"), &text("ResourceNotFoundException"));
    assert_eq!(
        member(&error, "message"),
        &text("Stream x under account 000000000000 not found.")
    );

    let (_, error) = call(&server, "DescribeStream", &map(&[("StreamName", Value::from(1))]));
    assert_eq!(member(&error, "__type"), &text("SerializationException"));
    assert!(
        member(&error, "Message")
            .as_text()
            .unwrap()
            .ends_with("can not be converted to an String")
    );

    let reply = send(&server, "DescribeStream", b"\xbf\x6aStreamName");
    assert_eq!(
        (reply.status, reply.body.as_slice()),
        (400, &b"\xbf\x66__type\x76SerializationException\xff"[..])
    );
}

fn tags_are_maps_in_requests_and_lists_in_replies(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    let stream = ("StreamName", text("s"));
    let tags = map(&[("b", text("2")), ("team:ä", text(""))]);
    let add = map(&[stream.clone(), ("Tags", tags.clone())]);
    assert_eq!(call(&server, "AddTagsToStream", &add), (200, Value::Null));
    let keys = Value::Array(vec![text("b")]);
    let remove = map(&[stream.clone(), ("TagKeys", keys.clone())]);
    assert_eq!(call(&server, "RemoveTagsFromStream", &remove), (200, Value::Null));
    let tag = map(&[("Key", text("team:ä")), ("Value", text(""))]);
    let (_, listed) = call(&server, "ListTagsForStream", &map(&[stream]));
    assert_eq!(member(&listed, "Tags"), &Value::Array(vec![tag.clone()]));
    assert_eq!(member(&listed, "HasMoreTags"), &Value::Bool(false));

    let arn = (
        "ResourceARN",
        text("arn:aws:kinesis:eu-west-1:000000000000:stream/s"),
    );
    let add = map(&[arn.clone(), ("Tags", tags)]);
    assert_eq!(call(&server, "TagResource", &add), (200, Value::Null));
    let remove = map(&[arn.clone(), ("TagKeys", keys)]);
    assert_eq!(call(&server, "UntagResource", &remove), (200, Value::Null));
    let (_, listed) = call(&server, "ListTagsForResource", &map(&[arn]));
    assert_eq!(member(&listed, "Tags"), &Value::Array(vec![tag]));

    let reserved = map(&[("StreamName", text("s")), ("Tags", map(&[("aws:a", text("b"))]))]);
    let (status, refused) = call(&server, "AddTagsToStream", &reserved);
    assert_eq!(
        (status, member(&refused, "__type")),
        (400, &text("InvalidArgumentException"))
    );
}

fn limits_are_numbers_and_times_of_the_account_are_in_milliseconds(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 3);
    let (status, limits) = call(&server, "DescribeLimits", &map(&[]));
    assert_eq!(status, 200);
    assert_eq!(member(&limits, "OpenShardCount"), &Value::from(3));
    assert_eq!(member(&limits, "ShardLimit"), &Value::from(20_000));

    let name = "MinimumThroughputBillingCommitment";
    let enable = map(&[(name, map(&[("Status", text("ENABLED"))]))]);
    let (status, settings) = call(&server, "UpdateAccountSettings", &enable);
    let commitment = member(&settings, name);
    assert_eq!((status, member(commitment, "Status")), (200, &text("ENABLED")));
    assert_eq!(member(commitment, "StartedAt"), &time(START.as_millis()));
    assert_eq!(
        call(&server, "DescribeAccountSettings", &map(&[])),
        (200, settings)
    );
}
