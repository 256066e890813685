//! StartStreamEncryption and StopStreamEncryption, with keys and without.

use std::time::Duration;

use anabranch::KeyRing;
use serde_json::{Value, json};

use super::test_server::{Backend, Setup, TestServer, on_each_backend, text};

on_each_backend!(
    without_keys_a_key_is_noted_and_shown,
    a_change_of_the_encryption_takes_its_time,
    what_is_wrong_with_a_change_of_the_encryption_is_told,
    a_stream_can_be_encrypted_so_many_times_a_day_where_that_is_emulated,
);

const KEY: &str = "arn:aws:kms:eu-west-1:000000000000:alias/orders";

fn start(stream: &str, key: &str) -> Value {
    json!({"StreamName": stream, "EncryptionType": "KMS", "KeyId": key})
}

fn create(server: &TestServer, name: &str) {
    server.ok("CreateStream", &json!({"StreamName": name, "ShardCount": 1}));
}

fn described(server: &TestServer) -> Value {
    let named = json!({"StreamName": "s"});
    let summary = server.ok("DescribeStreamSummary", &named)["StreamDescriptionSummary"].clone();
    let described = &server.ok("DescribeStream", &named)["StreamDescription"];
    for member in ["EncryptionType", "KeyId", "StreamStatus"] {
        assert_eq!(described[member], summary[member]);
    }
    summary
}

fn put(server: &TestServer) -> (Value, Value) {
    let one = json!({"StreamName": "s", "PartitionKey": "k", "Data": "AA=="});
    let many = json!({"StreamName": "s", "Records": [{"PartitionKey": "k", "Data": "AQ=="}]});
    (server.ok("PutRecord", &one), server.ok("PutRecords", &many))
}

fn iterator(server: &TestServer) -> String {
    let input =
        json!({"StreamName": "s", "ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON"});
    text(&server.ok("GetShardIterator", &input)["ShardIterator"]).to_owned()
}

fn records(server: &TestServer) -> Vec<Value> {
    let read = server.ok("GetRecords", &json!({"ShardIterator": iterator(server)}));
    read["Records"].as_array().unwrap().clone()
}

fn without_keys_a_key_is_noted_and_shown(backend: Backend) {
    let mut server = TestServer::start(backend);
    create(&server, "s");
    assert_eq!(described(&server)["EncryptionType"], "NONE");
    let (one, many) = put(&server);
    assert!(one.get("EncryptionType").is_none() && many.get("EncryptionType").is_none());
    assert!(records(&server)[0].get("EncryptionType").is_none());

    server.ok("StartStreamEncryption", &start("s", KEY));
    assert_eq!(described(&server)["EncryptionType"], "KMS");
    assert_eq!(described(&server)["KeyId"], KEY);
    let (one, many) = put(&server);
    assert_eq!(
        (&one["EncryptionType"], &many["EncryptionType"]),
        (&json!("KMS"), &json!("KMS"))
    );
    assert!(
        records(&server)
            .iter()
            .all(|record| record["EncryptionType"] == "KMS")
    );
    server.restart();
    assert_eq!(described(&server)["KeyId"], KEY);

    server.ok("StopStreamEncryption", &start("s", KEY));
    let stopped = described(&server);
    assert_eq!(stopped["EncryptionType"], "NONE");
    assert!(stopped.get("KeyId").is_none());
    assert!(put(&server).0.get("EncryptionType").is_none());
    // As infrastructure tools do.
    server.ok("StopStreamEncryption", &start("s", ""));
}

fn a_change_of_the_encryption_takes_its_time(backend: Backend) {
    const DELAY: Duration = Duration::from_secs(10);
    let setup = Setup {
        transition_delay: DELAY,
        ..Setup::default()
    };
    let server = TestServer::with(backend, setup);
    create(&server, "s");
    server.advance(DELAY);
    server.ok("StartStreamEncryption", &start("s", KEY));
    let updating = described(&server);
    assert_eq!(
        (&updating["StreamStatus"], &updating["EncryptionType"]),
        (&json!("UPDATING"), &json!("NONE"))
    );
    put(&server);
    assert_eq!(
        server.refusal("StopStreamEncryption", &start("s", KEY)).0,
        "ResourceInUseException"
    );
    server.advance(DELAY);
    let active = described(&server);
    assert_eq!(
        (&active["StreamStatus"], &active["EncryptionType"]),
        (&json!("ACTIVE"), &json!("KMS"))
    );
}

fn what_is_wrong_with_a_change_of_the_encryption_is_told(backend: Backend) {
    let server = TestServer::start(backend);
    create(&server, "s");
    for operation in ["StartStreamEncryption", "StopStreamEncryption"] {
        let none = json!({"StreamName": "s", "EncryptionType": "NONE", "KeyId": KEY});
        assert_eq!(server.refusal(operation, &none).0, "InvalidArgumentException");
        let unknown = json!({"StreamName": "s", "EncryptionType": "AES", "KeyId": KEY});
        assert_eq!(server.refusal(operation, &unknown).0, "ValidationException");
        let no_key = json!({"StreamName": "s", "EncryptionType": "KMS"});
        assert_eq!(server.refusal(operation, &no_key).0, "ValidationException");
        let long = start("s", &"k".repeat(2049));
        assert_eq!(server.refusal(operation, &long).0, "ValidationException");
        assert_eq!(
            server.refusal(operation, &start("t", KEY)).0,
            "ResourceNotFoundException"
        );
    }
    assert_eq!(
        server.refusal("StartStreamEncryption", &start("s", "")).0,
        "ValidationException"
    );
    assert_eq!(described(&server)["EncryptionType"], "NONE");
}

fn a_stream_can_be_encrypted_so_many_times_a_day_where_that_is_emulated(backend: Backend) {
    let server = TestServer::with_options(backend, |options| options.limits("changes".parse().unwrap()));
    create(&server, "s");
    for _ in 0..25 {
        server.ok("StartStreamEncryption", &start("s", KEY));
    }
    assert_eq!(
        server.refusal("StartStreamEncryption", &start("s", KEY)).0,
        "LimitExceededException"
    );
    server.advance(Duration::from_secs(24 * 3_600));
    server.ok("StartStreamEncryption", &start("s", KEY));
}

#[test]
fn a_start_that_is_refused_does_not_count() {
    let keys = KeyRing::new();
    keys.insert("alias/orders", [1; 32]);
    let setup = Setup {
        keys: Some(keys),
        options: Some(|options| options.limits("changes".parse().unwrap())),
        ..Setup::default()
    };
    let server = TestServer::with(Backend::Directory, setup);
    create(&server, "s");
    for _ in 0..26 {
        let (exception, _) = server.refusal("StartStreamEncryption", &start("s", "alias/other"));
        assert_eq!(exception, "KMSNotFoundException");
    }
    for _ in 0..25 {
        server.ok("StartStreamEncryption", &start("s", KEY));
    }
    assert_eq!(
        server.refusal("StartStreamEncryption", &start("s", KEY)).0,
        "LimitExceededException"
    );
}

#[test]
fn a_key_that_is_missing_is_told_and_nothing_is_stored() {
    let keys = KeyRing::new();
    keys.insert("alias/orders", [1; 32]);
    let setup = Setup {
        keys: Some(keys.clone()),
        ..Setup::default()
    };
    let server = TestServer::with(Backend::Directory, setup);
    create(&server, "s");
    let (exception, message) = server.refusal("StartStreamEncryption", &start("s", "alias/other"));
    assert_eq!(exception, "KMSNotFoundException");
    assert!(message.contains("alias/other"), "{message}");
    assert_eq!(described(&server)["EncryptionType"], "NONE");

    server.ok("StartStreamEncryption", &start("s", KEY));
    put(&server);
    assert_eq!(records(&server).len(), 2);
    let from = json!({"ShardIterator": iterator(&server)});
    keys.remove("alias/orders");
    let one = json!({"StreamName": "s", "PartitionKey": "k", "Data": "AA=="});
    let many = json!({"StreamName": "s", "Records": [{"PartitionKey": "k", "Data": "AQ=="}]});
    for (operation, input) in [("PutRecord", &one), ("PutRecords", &many), ("GetRecords", &from)] {
        let (exception, message) = server.refusal(operation, input);
        assert_eq!(exception, "KMSNotFoundException", "{operation}");
        assert!(message.contains(KEY), "{message}");
    }
    keys.insert("alias/orders", [1; 32]);
    assert_eq!(records(&server).len(), 2);
}
