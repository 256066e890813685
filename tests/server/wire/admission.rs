//! Which hosts and web pages are admitted, before a request is looked at, over both versions of HTTP. The backend makes
//! no difference.

use anabranch_harness::http1::{CBOR, Head, JSON};
use anabranch_harness::http2::Http2Client;
use serde_json::{Value, json};

use super::test_server::{Backend, TestServer};

const LIST: &str = "Kinesis_20131202.ListStreams";

fn refusal(message: &str) -> Value {
    json!({ "__type": "AccessDeniedException", "message": message })
}

/// The status and the body over HTTP/2.
fn over_http2(server: &TestServer, method: &str, more: &[(&str, &str)]) -> (u16, Value) {
    let mut client = Http2Client::connect(server.address);
    let stream = client.begin_with(method, "ListStreams", Some(2), more);
    client.send_data(stream, b"{}");
    client.end(stream);
    client.finish(stream)
}

#[test]
fn a_web_page_from_elsewhere_is_refused_before_it_is_looked_at() {
    let server = TestServer::start(Backend::Memory);
    let expected = refusal(
        "Web pages of https://evil.example may not use this server. Its --allow-origin lets them in.",
    );
    for method in ["POST", "GET", "OPTIONS"] {
        let head = Head::of(LIST)
            .method(method)
            .header("Origin", "https://evil.example");
        let reply = server.connect().send(&head, b"{}");
        assert_eq!((reply.status, reply.json()), (403, expected.clone()), "{method}");
        assert_eq!(reply.header("x-amzn-errortype"), Some("AccessDeniedException"));
        assert!(reply.header("x-amzn-requestid").is_some());
        assert!(
            !reply
                .headers
                .iter()
                .any(|(name, _)| name.starts_with("access-control"))
        );
        let reply = over_http2(&server, method, &[("origin", "https://evil.example")]);
        assert_eq!(reply, (403, expected.clone()), "{method}");
    }
    // A page that may not send this type sends another one, and cannot read the answer.
    let head = Head::of(LIST)
        .header("Origin", "null")
        .header("Content-Type", "text/plain");
    let reply = server.connect().send(&head, b"{}");
    assert_eq!((reply.status, reply.header("content-type")), (403, Some(JSON)));
    // In the client's own encoding.
    let head = Head::of(LIST)
        .header("Origin", "null")
        .header("Content-Type", CBOR);
    assert_eq!(
        server.connect().send(&head, b"\xa0").header("content-type"),
        Some(CBOR)
    );
}

#[test]
fn a_web_page_under_another_name_for_us_is_refused_before_it_is_looked_at() {
    let server = TestServer::start(Backend::Memory);
    let expected = refusal(
        "The host evil.example:4567 is not one that this server answers for. Its --allow-host lets it in.",
    );
    let head = |host| Head::of(LIST).header("Host", host);
    let reply = server.connect().send(&head("evil.example:4567"), b"{}");
    assert_eq!((reply.status, reply.json()), (403, expected.clone()));
    // For a browser it is then its own page.
    let own = head("evil.example:4567").header("Origin", "http://evil.example:4567");
    assert_eq!(server.connect().send(&own, b"{}").json(), expected);
    let absolute = head("localhost").uri("http://evil.example:4567/");
    assert_eq!(server.connect().send(&absolute, b"{}").json(), expected);
    assert_eq!(
        over_http2(&server, "POST", &[(":authority", "evil.example:4567")]),
        (403, expected)
    );
    for host in ["127.0.0.1:4567", "[::1]", "kinesis.eu-west-1.amazonaws.com"] {
        assert_eq!(server.connect().send(&head(host), b"{}").status, 200, "{host}");
        assert_eq!(
            over_http2(&server, "POST", &[(":authority", host)]).0,
            200,
            "{host}"
        );
    }
}

#[test]
fn pages_of_this_machine_and_allowed_ones_read_what_they_get() {
    let server = TestServer::with_options(Backend::Memory, |options| {
        options.allow_origin("https://app.example")
    });
    for origin in ["http://localhost:3000", "http://127.0.0.1", "https://app.example"] {
        let preflight = Head {
            method: "OPTIONS",
            uri: "/",
            headers: vec![
                ("Origin", origin),
                ("Access-Control-Request-Headers", "x-amz-target, authorization"),
                ("Access-Control-Request-Method", "POST"),
            ],
        };
        let reply = server.connect().send(&preflight, b"");
        assert_eq!((reply.status, reply.body.len()), (200, 0));
        assert_eq!(reply.header("access-control-allow-origin"), Some(origin));
        assert_eq!(reply.header("vary"), Some("origin"));
        let reply = server
            .connect()
            .send(&Head::of(LIST).header("Origin", origin), b"{}");
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("access-control-allow-origin"), Some(origin));
        // An error too, since the page should see the error of its request.
        let reply = server
            .connect()
            .send(&Head::of(LIST).header("Origin", origin), b"[]");
        assert_eq!(reply.status, 400);
        assert_eq!(reply.header("access-control-allow-origin"), Some(origin));
    }
}

#[test]
fn what_is_allowed_is_let_in_over_both_versions() {
    let server = TestServer::with_options(Backend::Memory, |options| {
        options.allow_host("*.example").allow_origin("null")
    });
    let head = Head::of(LIST)
        .header("Host", "a.example:1")
        .header("Origin", "null");
    assert_eq!(server.connect().send(&head, b"{}").status, 200);
    let more = [(":authority", "a.example:1"), ("origin", "null")];
    assert_eq!(over_http2(&server, "POST", &more).0, 200);
    assert_eq!(over_http2(&server, "POST", &[(":authority", "example")]).0, 403);
}
