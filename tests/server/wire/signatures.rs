//! Requests that have to be signed with a key that the server knows.

use std::time::Duration;

use anabranch::kinesis::{Credentials, ServerOptions, declared_api};
use anabranch_harness::http1::{Head, Reply, X_AMZ_DATE};
use anabranch_harness::sigv4::Signer;
use serde_json::{Value, json};

use super::calls;
use super::test_server::{ACCOUNT, Backend, REGION, TestServer, all, on_each_backend, text};

on_each_backend!(
    a_request_has_to_be_signed_with_a_known_key,
    signed_headers_have_one_form_each,
    a_client_without_a_key_gets_no_memory_for_its_body,
    a_request_for_no_operation_gets_no_memory_for_its_body,
    a_refusal_does_not_tell_what_another_account_has,
    what_is_not_signed_with_its_key_stores_nothing,
    a_large_body_is_verified_too,
    the_servers_clock_says_which_signature_is_too_old,
    the_key_says_whose_streams_are_meant,
    another_accounts_stream_may_not_be_used_by_any_operation,
    tokens_of_another_account_may_not_be_used,
    a_policy_lets_others_in_and_keeps_its_own_out,
);

const OTHER: &str = "111122223333";

const ALICE: Signer<'_> = Signer {
    key_id: "AKIDALICE",
    secret: "secret/of+alice",
    session_token: None,
    region: REGION,
    date: X_AMZ_DATE,
};

/// Of another account, with a session token.
const BOB: Signer<'_> = Signer {
    key_id: "AKIDBOB",
    secret: "secret/of+bob",
    session_token: Some("token+of/bob="),
    ..ALICE
};

fn with_credentials(options: ServerOptions) -> ServerOptions {
    let text = format!(
        "[alice]\naws_access_key_id = AKIDALICE\naws_secret_access_key = secret/of+alice\n\
         [bob]\naws_access_key_id = AKIDBOB\naws_secret_access_key = secret/of+bob\n\
         aws_session_token = token+of/bob=\naws_account_id = {OTHER}\n"
    );
    options.credentials(Credentials::parse(&text).unwrap())
}

fn start(backend: Backend) -> TestServer {
    TestServer::with_options(backend, with_credentials)
}

fn call(server: &TestServer, signer: &Signer<'_>, operation: &str, input: &Value) -> Reply {
    let (target, body) = (format!("Kinesis_20131202.{operation}"), input.to_string());
    let signed = signer.sign(&target, body.as_bytes());
    server.connect().send(&signed.head(), body.as_bytes())
}

fn arn(account: &str, stream: &str) -> String {
    format!("arn:aws:kinesis:{REGION}:{account}:stream/{stream}")
}

fn mismatch() -> (String, String) {
    (
        "InvalidSignatureException".into(),
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access \
         Key and signing method. Consult the service documentation for details."
            .into(),
    )
}

fn unknown() -> (String, String) {
    (
        "UnrecognizedClientException".into(),
        "The security token included in the request is invalid.".into(),
    )
}

fn a_request_has_to_be_signed_with_a_known_key(backend: Backend) {
    const LIST: &str = "Kinesis_20131202.ListStreams";
    let server = start(backend);
    for signer in [ALICE, BOB] {
        assert_eq!(call(&server, &signer, "ListStreams", &json!({})).status, 200);
        let signed = signer.presign(LIST, b"{}", 60);
        assert_eq!(server.connect().send(&signed.head(), b"{}").status, 200);
        // Another body than the one that was signed.
        assert_eq!(
            server.connect().send(&signed.head(), b"{ }").refusal(),
            mismatch()
        );
        let signed = signer.sign(LIST, b"{}");
        assert_eq!(
            server.connect().send(&signed.head(), b"{ }").refusal(),
            mismatch()
        );
        // Another operation, and another host.
        let other = signed
            .head()
            .header("x-amz-target", "Kinesis_20131202.DescribeLimits");
        assert_eq!(server.connect().send(&other, b"{}").refusal(), mismatch());
        let other = signed.head().header("host", "127.0.0.1");
        assert_eq!(server.connect().send(&other, b"{}").refusal(), mismatch());
    }
    let refused = |signer: Signer<'_>| call(&server, &signer, "ListStreams", &json!({})).refusal();
    assert_eq!(refused(Signer { secret: "x", ..ALICE }), mismatch());
    assert_eq!(
        refused(Signer {
            key_id: "AKID",
            ..ALICE
        }),
        unknown()
    );
    assert_eq!(
        refused(Signer {
            session_token: None,
            ..BOB
        }),
        unknown()
    );
    let forged = Signer {
        session_token: Some("x"),
        ..BOB
    };
    assert_eq!(refused(forged), unknown());
    // A request of an SDK with an arbitrary key.
    assert_eq!(server.refusal("ListStreams", &json!({})), unknown());
    let unsigned = Head::of(LIST).header("Authorization", "");
    assert_eq!(
        server.connect().send(&unsigned, b"{}").refusal().0,
        "MissingAuthenticationTokenException"
    );
}

/// A header may be named many times, but its value is not copied as often.
fn signed_headers_have_one_form_each(backend: Backend) {
    let server = start(backend);
    let many: Vec<_> = (0..300).map(|number| format!("x-{number}")).collect();
    for signed_headers in [
        "host;Host;x-amz-target".to_owned(),
        "host;X-Amz-Target".to_owned(),
        "authorization;host;x-amz-target".to_owned(),
        format!("host;x-amz-target;{}", many.join(";")),
    ] {
        let day = &X_AMZ_DATE[..8];
        let header = format!(
            "AWS4-HMAC-SHA256 Credential=AKIDALICE/{day}/{REGION}/kinesis/aws4_request, \
             SignedHeaders={signed_headers}, Signature={}",
            "0".repeat(64)
        );
        let head = Head::of("Kinesis_20131202.ListStreams").header("Authorization", &header);
        assert_eq!(
            server.connect().send(&head, b"{}").refusal(),
            (
                "InvalidSignatureException".to_owned(),
                "A 'SignedHeader' in the AWS Authorization is not in lower case, or is one that cannot be signed.".to_owned()
            ),
            "{signed_headers}"
        );
    }
}

/// The answer comes before the body.
fn a_client_without_a_key_gets_no_memory_for_its_body(backend: Backend) {
    let server = start(backend);
    let forged = Signer {
        key_id: "AKID",
        ..ALICE
    };
    let signed = forged.sign("Kinesis_20131202.PutRecords", b"{}");
    let head = signed.head().header("Content-Length", "20000000").to_text() + "\r\n";
    let mut client = server.connect();
    client.write(head.as_bytes());
    client.write(&[b' '; 100_000]);
    assert_eq!(client.read_reply(false).unwrap().refusal(), unknown());
    assert_eq!(server.gauges().request_bytes(), 0);
}

/// A request for no operation is refused without its body, also if its client has a key.
fn a_request_for_no_operation_gets_no_memory_for_its_body(backend: Backend) {
    let server = start(backend);
    for (target, content_type, status) in [
        ("Kinesis_20131202.NoSuch", "application/x-amz-json-1.1", "400"),
        ("a.b", "application/x-amz-cbor-1.1", "400"),
        ("Kinesis_20131202.PutRecords", "application/json", "404"),
        ("Kinesis_20131202.PutRecords", "text/plain", "404"),
        ("", "text/plain", "403"),
    ] {
        let head = Head::of(target)
            .header("Content-Type", content_type)
            .header("Content-Length", "20000000")
            .to_text()
            + "\r\n";
        let mut client = server.connect();
        client.write(head.as_bytes());
        client.write(&[b' '; 100_000]);
        let reply = client.read_reply(false).unwrap();
        assert_eq!(reply.status.to_string(), status, "{target} {content_type}");
        assert_eq!(server.gauges().request_bytes(), 0);
    }
}

/// A refusal is the same whether or not the other account has the named resource, however the name is written.
fn a_refusal_does_not_tell_what_another_account_has(backend: Backend) {
    let server = start(backend);
    for name in ["s", "denied"] {
        let stream = json!({"StreamName": name, "ShardCount": 1});
        call(&server, &ALICE, "CreateStream", &stream).ok();
    }
    for (partition, region) in [("aws", REGION), ("aws-x", REGION), ("aws", "")] {
        let arn = |stream: &str| format!("arn:{partition}:kinesis:{region}:{ACCOUNT}:stream/{stream}");
        for name in ["s", "missing"] {
            let reply = call(&server, &BOB, "DescribeStream", &json!({"StreamARN": arn(name)}));
            let (kind, message) = reply.refusal();
            if kind == "AccessDeniedException" {
                assert_eq!(message, not_allowed("DescribeStream", &arn(name)).1);
            } else {
                let other = call(
                    &server,
                    &BOB,
                    "DescribeStream",
                    &json!({"StreamARN": arn("other")}),
                );
                assert_eq!(kind, other.refusal().0, "{partition} {region}");
            }
        }
    }
    // However long the ARN is, the message does not contain all of it.
    let long = format!("{}{}", arn(ACCOUNT, "s"), "x".repeat(100_000));
    let reply = call(&server, &BOB, "DescribeStream", &json!({ "StreamARN": long }));
    assert!(reply.text().len() < 10_000, "{}", reply.text().len());
}

fn what_is_not_signed_with_its_key_stores_nothing(backend: Backend) {
    let server = start(backend);
    call(
        &server,
        &ALICE,
        "CreateStream",
        &json!({"StreamName": "s", "ShardCount": 1}),
    )
    .ok();
    let record = json!({"StreamName": "s", "PartitionKey": "k", "Data": ""});
    let records = json!({"StreamName": "s", "Records": [{"PartitionKey": "k", "Data": ""}]});
    for (operation, input) in [("PutRecord", &record), ("PutRecords", &records)] {
        let wrong = Signer { secret: "x", ..ALICE };
        assert_eq!(call(&server, &wrong, operation, input).refusal(), mismatch());
    }
    let stream = server.store.namespace(&format!("{ACCOUNT}/{REGION}")).unwrap();
    let mut records = stream
        .stream("s")
        .unwrap()
        .reader(anabranch::StartingPosition::TrimHorizon)
        .unwrap();
    assert!(records.next_within(Duration::ZERO).unwrap().is_none());
    call(&server, &ALICE, "PutRecord", &record).ok();
    assert!(records.next_within(Duration::ZERO).unwrap().is_some());
}

fn a_large_body_is_verified_too(backend: Backend) {
    let server = start(backend);
    call(
        &server,
        &ALICE,
        "CreateStream",
        &json!({"StreamName": "s", "ShardCount": 1}),
    )
    .ok();
    let data = "QUFB".repeat(200_000);
    let input = json!({"StreamName": "s", "PartitionKey": "k", "Data": data});
    let wrong = Signer { secret: "x", ..ALICE };
    assert_eq!(call(&server, &wrong, "PutRecord", &input).refusal(), mismatch());
    call(&server, &ALICE, "PutRecord", &input).ok();
}

fn the_servers_clock_says_which_signature_is_too_old(backend: Backend) {
    let server = start(backend);
    server.advance(Duration::from_secs(300));
    assert_eq!(call(&server, &ALICE, "ListStreams", &json!({})).status, 200);
    server.advance(Duration::from_secs(1));
    assert_eq!(
        call(&server, &ALICE, "ListStreams", &json!({})).refusal(),
        (
            "InvalidSignatureException".into(),
            "Signature expired: 20150122T012202Z is now earlier than 20150122T012203Z (20150122T012703Z - 5 min.)".into()
        )
    );
    let signed = ALICE.presign("Kinesis_20131202.ListStreams", b"{}", 301);
    assert_eq!(server.connect().send(&signed.head(), b"{}").status, 200);
}

fn the_key_says_whose_streams_are_meant(backend: Backend) {
    let server = start(backend);
    for (signer, account) in [(ALICE, ACCOUNT), (BOB, OTHER)] {
        call(
            &server,
            &signer,
            "CreateStream",
            &json!({"StreamName": "s", "ShardCount": 1}),
        )
        .ok();
        let own = format!("of-{account}");
        call(
            &server,
            &signer,
            "CreateStream",
            &json!({"StreamName": own, "ShardCount": 1}),
        )
        .ok();
        let summary = call(
            &server,
            &signer,
            "DescribeStreamSummary",
            &json!({"StreamName": "s"}),
        )
        .ok();
        assert_eq!(
            summary["StreamDescriptionSummary"]["StreamARN"],
            arn(account, "s")
        );
        let by_arn = json!({ "StreamARN": arn(account, "s") });
        assert_eq!(
            call(&server, &signer, "DescribeStreamSummary", &by_arn).status,
            200
        );
        let streams = call(&server, &signer, "ListStreams", &json!({})).ok();
        assert_eq!(streams["StreamNames"], json!([own, "s"]));
    }
}

fn not_allowed(operation: &str, resource: &str) -> (String, String) {
    (
        "AccessDeniedException".into(),
        format!(
            "User: arn:aws:iam::{OTHER}:user/bob is not authorized to perform: kinesis:{operation} on resource: \
             {resource} because no resource-based policy allows the kinesis:{operation} action"
        ),
    )
}

/// Every operation on a resource, with an input that names one of another account.
fn another_accounts_stream_may_not_be_used_by_any_operation(backend: Backend) {
    let server = start(backend);
    call(
        &server,
        &ALICE,
        "CreateStream",
        &json!({"StreamName": "s", "ShardCount": 2}),
    )
    .ok();
    let stream = arn(ACCOUNT, "s");
    let register = json!({"StreamARN": stream, "ConsumerName": "c"});
    let registered = call(&server, &ALICE, "RegisterStreamConsumer", &register).ok();
    let consumer = text(&registered["Consumer"]["ConsumerARN"]);
    let operations = operations_on_resources();
    let mut tried = Vec::new();
    let mut refuse = |operation: &str, input: &Value, member: &str, resources: &[&str]| {
        tried.push(operation.to_owned());
        for resource in resources {
            let mut input = input.clone();
            input[member] = json!(resource);
            assert_eq!(
                call(&server, &BOB, operation, &input).refusal(),
                not_allowed(operation, resource),
                "{input}"
            );
        }
    };
    let missing = arn(ACCOUNT, "missing");
    // Operations that take no ARN of a stream cannot name one of another account.
    for (operation, input) in &calls::of_streams() {
        refuse(operation, input, "StreamARN", &[&stream, &missing]);
    }
    for (operation, input) in &calls::of_resources() {
        refuse(operation, input, "ResourceARN", &[&stream, &missing, &consumer]);
    }
    for (operation, input) in &calls::of_consumers() {
        refuse(
            operation,
            input,
            "ConsumerARN",
            &[&consumer, &format!("{stream}/consumer/x:1")],
        );
    }
    let owned = server.streams().stream("s").unwrap();
    let queue = owned
        .create_queue("q", &anabranch::QueueOptions::default())
        .unwrap();
    let store = server.store.id() as u32;
    let queue = format!("{:x}-{:x}-{store:08x}", owned.id().value(), queue.id().value());
    let queue_arn = |id: &str| arn(ACCOUNT, "").replace("stream/", &format!("queue/{id}"));
    for (operation, input) in &calls::of_queues() {
        refuse(
            operation,
            input,
            "QueueARN",
            &[&queue_arn(&queue), &queue_arn("1-9-00000000")],
        );
    }
    refuse(
        "TagResource",
        &json!({"Tags": {"a": "b"}}),
        "ResourceARN",
        &[&queue_arn(&queue)],
    );
    let channel = owned
        .create_channel("c", &anabranch::ChannelOptions::new(None))
        .unwrap();
    let channel_arn = |id: &str| arn(ACCOUNT, "").replace("stream/", &format!("channel/{id}"));
    let freshness = json!({"S3DestinationConfiguration": {"DataFreshnessInSeconds": 300}});
    for (operation, input) in [
        ("DescribeChannel", json!({})),
        ("UpdateChannel", freshness),
        ("DeleteChannel", json!({})),
    ] {
        refuse(
            operation,
            &input,
            "ChannelARN",
            &[&channel_arn(&channel.unique_name()), &channel_arn("1-9-00000000")],
        );
    }
    for stream in [&stream, &missing] {
        let storage = json!({"BucketARN": "arn:aws:s3:::any", "ExpectedBucketOwner": ACCOUNT, "CompressionType": "NONE"});
        let record = json!({"RecordFormatType": "JSON"});
        let input = json!({
            "ChannelName": "d",
            "ServiceExecutionRoleARN": "arn:aws:iam::000000000000:role/any",
            "StreamConfigurationList": [{"StreamARN": stream, "RecordConfiguration": record}],
            "S3DestinationConfiguration": {"StorageConfiguration": storage},
        });
        let refused = call(&server, &BOB, "CreateChannel", &input).refusal();
        assert_eq!(refused, not_allowed("CreateChannel", stream));
    }
    for stream in [&stream, &missing] {
        let input = json!({"QueueName": "r", "StreamConfigurationList": [{"StreamARN": stream}]});
        let refused = call(&server, &BOB, "CreateQueue", &input).refusal();
        assert_eq!(refused, not_allowed("CreateQueue", stream));
    }
    // Operations that an ARN of a stream does not describe, and the one that takes a token.
    let others = [
        "CreateStream",
        "ListStreams",
        "GetRecords",
        "CreateQueue",
        "ListQueues",
        "CreateChannel",
        "ListChannels",
    ];
    let missed: Vec<&String> = operations
        .iter()
        .filter(|operation| !tried.contains(operation) && !others.contains(&operation.as_str()))
        .collect();
    assert!(missed.is_empty(), "say here what these take: {missed:?}");
    // With the name alone, the caller's own stream is meant, which does not exist.
    assert_eq!(
        call(&server, &BOB, "DescribeStream", &json!({"StreamName": "s"}))
            .refusal()
            .0,
        "ResourceNotFoundException"
    );
}

/// Operations on a resource of an account.
fn operations_on_resources() -> Vec<String> {
    let declared: Value = serde_json::from_str(&declared_api()).unwrap();
    let operations = declared.as_object().unwrap().iter();
    let on_resources = operations.filter(|(_, declared)| declared["resource"] != json!("account"));
    on_resources.map(|(name, _)| name.clone()).collect()
}

fn tokens_of_another_account_may_not_be_used(backend: Backend) {
    let server = start(backend);
    call(
        &server,
        &ALICE,
        "CreateStream",
        &json!({"StreamName": "s", "ShardCount": 2}),
    )
    .ok();
    let stream = arn(ACCOUNT, "s");
    let position = json!({"StreamName": "s", "ShardId": "0", "ShardIteratorType": "LATEST"});
    let iterator = call(&server, &ALICE, "GetShardIterator", &position).ok();
    let first_page = json!({"StreamName": "s", "MaxResults": 1});
    let page = call(&server, &ALICE, "ListShards", &first_page).ok();
    let by_token = [
        (
            "GetRecords",
            json!({ "ShardIterator": iterator["ShardIterator"] }),
        ),
        ("ListShards", json!({ "NextToken": page["NextToken"] })),
    ];
    for (operation, input) in by_token {
        assert_eq!(
            call(&server, &BOB, operation, &input).refusal(),
            not_allowed(operation, &stream)
        );
        assert_eq!(call(&server, &ALICE, operation, &input).status, 200);
    }
}

fn a_policy_lets_others_in_and_keeps_its_own_out(backend: Backend) {
    let server = start(backend);
    call(
        &server,
        &ALICE,
        "CreateStream",
        &json!({"StreamName": "s", "ShardCount": 1}),
    )
    .ok();
    let stream = arn(ACCOUNT, "s");
    let put_policy = |resource: &str, statements: Value| {
        let policy = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
        call(
            &server,
            &ALICE,
            "PutResourcePolicy",
            &json!({"ResourceARN": resource, "Policy": policy}),
        )
        .ok();
    };
    put_policy(
        &stream,
        json!([
            {"Effect": "Allow", "Principal": {"AWS": format!("arn:aws:iam::{OTHER}:root")}, "Action": "kinesis:*",
             "Resource": stream},
            {"Effect": "Deny", "Principal": "*", "Action": ["kinesis:Get*", "kinesis:DeleteStream"], "Resource": "*"},
        ]),
    );
    let record = json!({"StreamARN": stream, "PartitionKey": "k", "Data": ""});
    for signer in [ALICE, BOB] {
        assert_eq!(call(&server, &signer, "PutRecord", &record).status, 200);
        let named = json!({ "StreamARN": stream });
        assert_eq!(
            call(&server, &signer, "DescribeStreamSummary", &named).status,
            200
        );
    }
    let position = json!({"StreamARN": stream, "ShardId": "0", "ShardIteratorType": "LATEST"});
    for (signer, user) in [
        (ALICE, format!("{ACCOUNT}:user/alice")),
        (BOB, format!("{OTHER}:user/bob")),
    ] {
        assert_eq!(
            call(&server, &signer, "GetShardIterator", &position).refusal(),
            (
                "AccessDeniedException".into(),
                format!(
                    "User: arn:aws:iam::{user} is not authorized to perform: kinesis:GetShardIterator on resource: \
                     {stream} with an explicit deny in a resource-based policy"
                )
            )
        );
    }
    // A policy that denies its own account everything can still be removed, by that account alone.
    put_policy(
        &stream,
        json!({"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*"}),
    );
    let named = json!({ "ResourceARN": stream });
    assert_eq!(
        call(&server, &ALICE, "PutRecord", &record).refusal().0,
        "AccessDeniedException"
    );
    assert_eq!(
        call(&server, &BOB, "DeleteResourcePolicy", &named).refusal().0,
        "AccessDeniedException"
    );
    call(&server, &ALICE, "DeleteResourcePolicy", &named).ok();
    call(&server, &ALICE, "PutRecord", &record).ok();
    assert_eq!(
        call(&server, &BOB, "PutRecord", &record).refusal(),
        not_allowed("PutRecord", &stream)
    );

    // A consumer has its own policy.
    let register = json!({"StreamARN": stream, "ConsumerName": "c"});
    let registered = call(&server, &ALICE, "RegisterStreamConsumer", &register).ok();
    let consumer = text(&registered["Consumer"]["ConsumerARN"]);
    let described = json!({ "ConsumerARN": consumer });
    assert_eq!(
        call(&server, &BOB, "DescribeStreamConsumer", &described).refusal(),
        not_allowed("DescribeStreamConsumer", &consumer)
    );
    // The answer does not reveal whether there is a consumer of a name.
    for name in ["c", "none"] {
        let named = json!({"StreamARN": stream, "ConsumerName": name});
        assert_eq!(
            call(&server, &BOB, "DescribeStreamConsumer", &named).refusal(),
            not_allowed("DescribeStreamConsumer", &stream)
        );
    }
    put_policy(
        &consumer,
        json!({"Effect": "Allow", "Principal": {"AWS": OTHER}, "Action": "kinesis:Describe*", "Resource": consumer}),
    );
    call(&server, &BOB, "DescribeStreamConsumer", &described).ok();
    let consumers = call(
        &server,
        &ALICE,
        "ListStreamConsumers",
        &json!({ "StreamARN": stream }),
    )
    .ok();
    assert_eq!(all(&consumers["Consumers"], "ConsumerName"), ["c"]);
}
