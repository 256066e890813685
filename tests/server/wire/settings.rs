//! Settings of streams and consumers that the server keeps and shows: policies, and shard metrics.

use anabranch_harness::http1::AUTHORIZATION;
use serde_json::{Value, json};

use super::test_server::{
    ACCOUNT, Backend, REGION, Setup, TestServer, in_use, invalid_argument, not_found, on_each_backend, text,
};

on_each_backend!(
    a_policy_is_kept_until_it_is_deleted,
    a_policy_has_to_be_an_object_of_a_resource_that_is_there,
    metrics_are_switched_on_and_off_one_by_one_and_all_at_once,
);

fn arn(stream: &str) -> String {
    format!("arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{stream}")
}

fn a_policy_is_kept_until_it_is_deleted(backend: Backend) {
    assert!(AUTHORIZATION.contains(REGION));
    let mut server = TestServer::start(backend);
    server.create("s", 1);
    let register = json!({"StreamARN": arn("s"), "ConsumerName": "c"});
    let consumer = text(&server.ok("RegisterStreamConsumer", &register)["Consumer"]["ConsumerARN"]);
    let policy = |server: &TestServer, arn: &str| {
        text(&server.ok("GetResourcePolicy", &json!({ "ResourceARN": arn }))["Policy"])
    };
    for (number, resource) in [arn("s"), consumer].iter().enumerate() {
        assert_eq!(policy(&server, resource), "{}");
        let first = format!("{{\"Version\": \"2012-10-17\", \"Id\": \"{number}\"}}");
        for document in [first.as_str(), "{ }"] {
            let put = json!({"ResourceARN": resource, "Policy": document});
            assert_eq!(server.ok("PutResourcePolicy", &put), Value::Null);
            assert_eq!(policy(&server, resource), document);
        }
        server.restart();
        assert_eq!(policy(&server, resource), "{ }");
        let named = json!({ "ResourceARN": resource });
        assert_eq!(server.ok("DeleteResourcePolicy", &named), Value::Null);
        assert_eq!(policy(&server, resource), "{}");
        assert_eq!(
            server.refusal("DeleteResourcePolicy", &named),
            not_found(format!(
                "Resource {resource} under account {ACCOUNT} has no policy."
            ))
        );
    }
}

fn a_policy_has_to_be_an_object_of_a_resource_that_is_there(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    let put = |arn: &str, policy: &str| json!({"ResourceARN": arn, "Policy": policy});
    for policy in ["", "x", "[]", "{", "null"] {
        assert_eq!(
            server.refusal("PutResourcePolicy", &put(&arn("s"), policy)),
            invalid_argument("The policy is not a JSON object."),
            "{policy}"
        );
    }
    for (statements, place) in [
        (json!({"Principal": "*"}), 1),
        (
            json!([{"Effect": "Allow"}, {"Effect": "allow", "Principal": "*"}]),
            2,
        ),
        (json!("Deny"), 1),
    ] {
        let policy = json!({ "Statement": statements }).to_string();
        assert_eq!(
            server.refusal("PutResourcePolicy", &put(&arn("s"), &policy)),
            invalid_argument(format!(
                "Statement {place} of the policy has no Effect that is Allow or Deny."
            ))
        );
    }
    let padded = |bytes: usize| format!("{{{}}}", " ".repeat(bytes - 2));
    server.ok("PutResourcePolicy", &put(&arn("s"), &padded(20_480)));
    let (kind, message) = server.refusal("PutResourcePolicy", &put(&arn("s"), &padded(20_481)));
    assert_eq!(kind, "InvalidArgumentException");
    assert!(message.contains("20481 bytes"), "{message}");
    for operation in ["PutResourcePolicy", "GetResourcePolicy", "DeleteResourcePolicy"] {
        assert_eq!(
            server.refusal(operation, &put(&arn("none"), "{}")),
            not_found(format!("Stream none under account {ACCOUNT} not found."))
        );
    }
}

#[test]
fn a_stream_that_is_not_active_gets_no_policy() {
    let setup = Setup {
        transition_delay: std::time::Duration::from_secs(60),
        ..Setup::default()
    };
    let server = TestServer::with(Backend::Directory, setup);
    server.create("s", 1);
    let put = json!({"ResourceARN": arn("s"), "Policy": "{}"});
    assert_eq!(
        server.refusal("PutResourcePolicy", &put),
        in_use(format!(
            "Stream s under account {ACCOUNT} not ACTIVE, instead in state CREATING"
        ))
    );
}

fn metrics_are_switched_on_and_off_one_by_one_and_all_at_once(backend: Backend) {
    const ALL: [&str; 7] = [
        "IncomingBytes",
        "IncomingRecords",
        "OutgoingBytes",
        "OutgoingRecords",
        "WriteProvisionedThroughputExceeded",
        "ReadProvisionedThroughputExceeded",
        "IteratorAgeMilliseconds",
    ];
    let mut server = TestServer::start(backend);
    server.create("s", 1);
    let mut current: Vec<&str> = Vec::new();
    for (operation, named, desired) in [
        ("DisableEnhancedMonitoring", vec!["IncomingBytes"], vec![]),
        (
            "EnableEnhancedMonitoring",
            vec!["OutgoingBytes", "IncomingBytes", "OutgoingBytes"],
            vec!["IncomingBytes", "OutgoingBytes"],
        ),
        (
            "EnableEnhancedMonitoring",
            vec!["OutgoingBytes"],
            vec!["IncomingBytes", "OutgoingBytes"],
        ),
        (
            "DisableEnhancedMonitoring",
            vec!["IncomingBytes"],
            vec!["OutgoingBytes"],
        ),
        ("EnableEnhancedMonitoring", vec!["ALL"], ALL.to_vec()),
        ("DisableEnhancedMonitoring", vec!["ALL"], vec![]),
        (
            "EnableEnhancedMonitoring",
            vec!["IncomingRecords"],
            vec!["IncomingRecords"],
        ),
    ] {
        let input = json!({"StreamName": "s", "ShardLevelMetrics": named});
        let expected = json!({
            "StreamName": "s",
            "CurrentShardLevelMetrics": current,
            "DesiredShardLevelMetrics": desired,
            "StreamARN": arn("s"),
        });
        assert_eq!(server.ok(operation, &input), expected, "{operation} {named:?}");
        current = desired;
    }
    server.restart();
    let by_arn = json!({"StreamARN": arn("s")});
    let monitoring = json!([{"ShardLevelMetrics": ["IncomingRecords"]}]);
    let description = server.ok("DescribeStream", &by_arn);
    assert_eq!(description["StreamDescription"]["EnhancedMonitoring"], monitoring);
    let summary = server.ok("DescribeStreamSummary", &by_arn);
    assert_eq!(
        summary["StreamDescriptionSummary"]["EnhancedMonitoring"],
        monitoring
    );

    let wrong = json!({"StreamName": "s", "ShardLevelMetrics": ["Bytes"]});
    assert_eq!(
        server.refusal("EnableEnhancedMonitoring", &wrong).0,
        "ValidationException"
    );
    let missing = json!({"StreamName": "none", "ShardLevelMetrics": ["ALL"]});
    assert_eq!(
        server.refusal("EnableEnhancedMonitoring", &missing),
        not_found(format!("Stream none under account {ACCOUNT} not found."))
    );
}
