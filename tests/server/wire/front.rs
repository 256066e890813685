//! Answers that are given before any operation is looked at, in the order of AWS.

use anabranch_harness::http1::{AUTHORIZATION, CBOR, Head, JSON, Reply};
use serde_json::json;

use super::test_server::{Backend, TestServer, on_each_backend};

const LIST: &str = "Kinesis_20131202.ListStreams";
const ACCESS_DENIED: &str = "<AccessDeniedException>\n  <Message>Unable to determine service/operation name to be \
                             authorized</Message>\n</AccessDeniedException>\n";

fn send(server: &TestServer, head: &Head<'_>, body: &str) -> Reply {
    server.connect().send(head, body.as_bytes())
}

on_each_backend!(
    every_reply_carries_ids,
    a_browser_gets_what_aws_answers_it,
    only_post_is_served,
    an_empty_body_is_refused_in_cbor_unless_json_was_asked_for,
    an_unknown_content_type_is_refused_in_xml,
    plain_json_is_recognised_and_never_works,
    a_body_that_is_no_object_is_refused_before_the_target_is_looked_at,
    an_unknown_target_is_refused_before_the_signature_is_looked_at,
    the_content_type_may_carry_parameters,
    a_request_has_to_be_signed_in_one_way,
    an_unsigned_write_stores_nothing,
    the_signature_names_the_region_if_it_is_one,
);

fn every_reply_carries_ids(backend: Backend) {
    let server = TestServer::start(backend);
    for head in [Head::of(LIST), Head::of("x"), Head::of(LIST).method("GET")] {
        let (first, second) = (send(&server, &head, "{}"), send(&server, &head, "{}"));
        let id = first.header("x-amzn-requestid").unwrap();
        assert_eq!((id.len(), id.split('-').count()), (36, 5));
        assert_ne!(Some(id), second.header("x-amzn-requestid"));
        let extended = first.header("x-amz-id-2").unwrap();
        assert_eq!(base64_simd::STANDARD.decode_to_vec(extended).unwrap().len(), 72);
        assert!(first.header("date").is_some());
    }
}

/// From an admitted page; `admission` has the others.
fn a_browser_gets_what_aws_answers_it(backend: Backend) {
    let server = TestServer::start(backend);
    let preflight = Head {
        method: "OPTIONS",
        uri: "/",
        headers: vec![
            ("Origin", "http://localhost:3000"),
            ("Access-Control-Request-Headers", "x-amz-target, authorization"),
            ("Access-Control-Request-Method", "POST"),
        ],
    };
    let reply = send(&server, &preflight, "");
    assert_eq!((reply.status, reply.body.len()), (200, 0));
    assert_eq!(
        reply.header("access-control-allow-origin"),
        Some("http://localhost:3000")
    );
    assert_eq!(
        reply.header("access-control-allow-headers"),
        Some("x-amz-target, authorization")
    );
    assert_eq!(reply.header("access-control-allow-methods"), Some("POST"));
    assert_eq!(reply.header("access-control-max-age"), Some("172800"));
    assert_eq!(reply.header("content-type"), None);
    assert_eq!(reply.header("x-amz-id-2"), None);
    assert!(reply.header("x-amzn-requestid").is_some());

    let reply = send(
        &server,
        &Head::of(LIST).header("Origin", "http://127.0.0.1"),
        "{}",
    );
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.header("access-control-allow-origin"),
        Some("http://127.0.0.1")
    );
    assert_eq!(
        reply.header("access-control-expose-headers"),
        Some("x-amzn-RequestId,x-amzn-ErrorType,x-amz-request-id,x-amz-id-2,x-amzn-ErrorMessage,Date")
    );

    let reply = send(&server, &Head::of(LIST), "{}");
    assert_eq!(reply.header("access-control-allow-origin"), None);
    assert_eq!(reply.header("access-control-expose-headers"), None);
}

fn only_post_is_served(backend: Backend) {
    let server = TestServer::start(backend);
    for method in ["GET", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let reply = send(
            &server,
            &Head {
                method,
                uri: "/",
                headers: Vec::new(),
            },
            "",
        );
        assert_eq!((reply.status, reply.text()), (403, ACCESS_DENIED), "{method}");
    }
    // A client that speaks JSON cannot read anything else.
    let reply = send(&server, &Head::of(LIST).method("PUT"), "{}");
    assert_eq!(reply.status, 403);
    assert_eq!(reply.json()["__type"], "AccessDeniedException");
}

fn an_empty_body_is_refused_in_cbor_unless_json_was_asked_for(backend: Backend) {
    let server = TestServer::start(backend);
    let reply = send(&server, &Head::of(LIST), "");
    assert_eq!(reply.refusal(), ("SerializationException".into(), String::new()));
    let reply = send(&server, &Head::of("Kinesis_20131202.Nothing"), "");
    assert_eq!(reply.refusal().0, "UnknownOperationException");

    for content_type in [CBOR, "application/json", "text/plain", ""] {
        let reply = send(&server, &Head::of(LIST).header("Content-Type", content_type), "");
        assert_eq!(reply.status, 400);
        assert_eq!(reply.header("content-type"), Some(CBOR));
        assert_eq!(reply.body, b"\xbf\x66__type\x76SerializationException\xff");
    }
}

fn an_unknown_content_type_is_refused_in_xml(backend: Backend) {
    let server = TestServer::start(backend);
    let head = Head::of(LIST).header("Content-Type", "text/plain");
    let reply = send(&server, &head, "{}");
    assert_eq!(
        (reply.status, reply.text()),
        (404, "<UnknownOperationException/>\n")
    );
    for target in ["", "Kinesis_20131202", "Kinesis_20131202.", ".ListStreams"] {
        let head = Head::of(LIST)
            .header("Content-Type", "")
            .header("X-Amz-Target", target);
        let reply = send(&server, &head, "{}");
        assert_eq!((reply.status, reply.text()), (403, ACCESS_DENIED), "{target}");
    }
}

fn plain_json_is_recognised_and_never_works(backend: Backend) {
    let server = TestServer::start(backend);
    let head = || Head::of(LIST).header("Content-Type", "application/json; charset=utf-8");
    let reply = send(&server, &head(), "{}");
    assert_eq!(reply.status, 404);
    assert_eq!(
        reply.json(),
        json!({"Output": {"__type": "com.amazon.coral.service#UnknownOperationException"}, "Version": "1.0"})
    );
    let reply = send(&server, &head(), "hello");
    assert_eq!(reply.status, 400);
    assert_eq!(
        reply.json()["Output"]["__type"],
        "com.amazon.coral.service#SerializationException"
    );
}

fn a_body_that_is_no_object_is_refused_before_the_target_is_looked_at(backend: Backend) {
    let server = TestServer::start(backend);
    for body in [
        "hello",
        "{",
        "null",
        "1",
        "\"s\"",
        "[]",
        "{\"StreamName\":\"\\ud800\"}",
    ] {
        for head in [
            Head::of(LIST),
            Head::of("Kinesis_20131202.Nothing"),
            Head::of(LIST).header("Authorization", ""),
        ] {
            let reply = send(&server, &head, body);
            assert_eq!(
                reply.refusal(),
                ("SerializationException".into(), String::new()),
                "{body}"
            );
            assert_eq!(reply.text(), r#"{"__type":"SerializationException"}"#);
        }
    }
}

fn an_unknown_target_is_refused_before_the_signature_is_looked_at(backend: Backend) {
    let server = TestServer::start(backend);
    for target in [
        "",
        "ListStreams",
        "Kinesis_20131202.",
        "Kinesis_20131202.listStreams",
        "DynamoDB.ListStreams",
    ] {
        let head = Head::of(LIST)
            .header("X-Amz-Target", target)
            .header("Authorization", "");
        let reply = send(&server, &head, "{}");
        assert_eq!(reply.refusal().0, "UnknownOperationException", "{target}");
        assert_eq!(reply.text(), r#"{"__type":"UnknownOperationException"}"#);
    }
}

fn the_content_type_may_carry_parameters(backend: Backend) {
    let server = TestServer::start(backend);
    let content_type = format!("  {JSON} ; charset=utf-8");
    assert_eq!(
        send(
            &server,
            &Head::of(LIST).header("Content-Type", &content_type),
            "{}"
        )
        .status,
        200
    );
}

fn a_request_has_to_be_signed_in_one_way(backend: Backend) {
    let server = TestServer::start(backend);
    let unsigned = || Head::of(LIST).header("Authorization", "");
    let query = "/?X-Amz-Algorithm=a&X-Amz-Credential=b&X-Amz-Signature=c&X-Amz-SignedHeaders=d&X-Amz-Date=e";
    assert_eq!(send(&server, &unsigned().uri(query), "{}").status, 200);
    assert_eq!(
        send(&server, &unsigned(), "{}").refusal(),
        (
            "MissingAuthenticationTokenException".into(),
            "Missing Authentication Token".into()
        )
    );
    assert_eq!(
        send(&server, &Head::of(LIST).uri(query), "{}").refusal(),
        (
            "InvalidSignatureException".into(),
            "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.".into()
        )
    );
    assert_eq!(
        send(&server, &unsigned().header("Authorization", "X").header("X-Amz-Date", ""), "{}").refusal(),
        (
            "IncompleteSignatureException".into(),
            "Authorization header requires 'Credential' parameter. \
             Authorization header requires 'Signature' parameter. \
             Authorization header requires 'SignedHeaders' parameter. \
             Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. Authorization=X"
                .into()
        )
    );
    assert_eq!(
        send(&server, &unsigned().uri("/?X-Amz-Algorithm=a&X-Amz-Date=b&X-Amz-Credential=c"), "{}").refusal(),
        (
            "IncompleteSignatureException".into(),
            "AWS query-string parameters must include 'X-Amz-Signature'. \
             AWS query-string parameters must include 'X-Amz-SignedHeaders'. Re-examine the query-string parameters."
                .into()
        )
    );
}

fn an_unsigned_write_stores_nothing(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    for operation in ["PutRecord", "PutRecords"] {
        let target = format!("Kinesis_20131202.{operation}");
        let body =
            r#"{"StreamName":"s","PartitionKey":"k","Data":"","Records":[{"PartitionKey":"k","Data":""}]}"#;
        let reply = send(&server, &Head::of(&target).header("Authorization", ""), body);
        assert_eq!(reply.refusal().0, "MissingAuthenticationTokenException");
    }
    assert_eq!(server.count_records("s"), 0);
}

fn the_signature_names_the_region_if_it_is_one(backend: Backend) {
    let server = TestServer::with_options(backend, |options| {
        options.region("ap-south-1").account_id("123456789012")
    });
    for region in ["eu-west-1", "ap-south-1"] {
        let streams = server.store.namespace(&format!("123456789012/{region}"));
        streams.unwrap().create_stream("s", 1).unwrap();
    }
    let arn = |authorization: &str| {
        let head = Head::of("Kinesis_20131202.DescribeStreamSummary").header("Authorization", authorization);
        let reply = send(&server, &head, r#"{"StreamName":"s"}"#).ok();
        reply["StreamDescriptionSummary"]["StreamARN"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(
        arn(AUTHORIZATION),
        "arn:aws:kinesis:eu-west-1:123456789012:stream/s"
    );
    for scope in ["0/127", "localhost/localhost", "us-east-1x/kinesis"] {
        let header = format!("X Credential=A/20150122/{scope}/aws4_request,SignedHeaders=host,Signature=b");
        assert_eq!(arn(&header), "arn:aws:kinesis:ap-south-1:123456789012:stream/s");
    }
}
