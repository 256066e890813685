//! What infrastructure tools call, in their order, as it was found in the source of Terraform's provider.

use std::time::Duration;

use serde_json::{Value, json};

use super::test_server::{ACCOUNT, Backend, REGION, Setup, TestServer, on_each_backend, text};

on_each_backend!(
    a_stream_is_planned_created_read_updated_and_deleted,
    a_consumer_is_registered_tagged_and_deregistered,
    a_policy_and_the_account_are_read_back_as_they_were_set,
    twenty_streams_are_made_at_once,
);

const DELAY: Duration = Duration::from_secs(5);

fn server(backend: Backend) -> TestServer {
    TestServer::with(
        backend,
        Setup {
            transition_delay: DELAY,
            ..Setup::default()
        },
    )
}

fn arn(stream: &str) -> String {
    format!("arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{stream}")
}

fn named(name: &str) -> Value {
    json!({ "StreamName": name })
}

fn summary(server: &TestServer, name: &str) -> Value {
    server.ok("DescribeStreamSummary", &named(name))["StreamDescriptionSummary"].clone()
}

/// The tool polls; here the time passes instead.
fn wait_until_active(server: &TestServer, name: &str) -> Value {
    for _ in 0..10 {
        let summary = summary(server, name);
        if summary["StreamStatus"] == "ACTIVE" {
            return summary;
        }
        server.advance(DELAY);
    }
    panic!("stream {name} does not become ACTIVE");
}

/// What every refresh and import ends in.
fn refresh(server: &TestServer, name: &str) -> (Value, Value) {
    let summary = summary(server, name);
    let tags = server.ok("ListTagsForStream", &named(name));
    assert_eq!(tags["HasMoreTags"], false);
    (summary, tags["Tags"].clone())
}

fn create(server: &TestServer, name: &str) {
    let limits = server.ok("DescribeLimits", &json!({}));
    assert!(limits["ShardLimit"].as_u64().unwrap() > limits["OpenShardCount"].as_u64().unwrap());
    let input = json!({
        "StreamName": name,
        "ShardCount": 2,
        "StreamModeDetails": {"StreamMode": "PROVISIONED"},
        "Tags": {"team:owner": "storage", "env": "test"},
    });
    server.ok("CreateStream", &input);
    wait_until_active(server, name);
    // Always called, also with what the stream has.
    let retention = json!({"StreamName": name, "RetentionPeriodHours": 24});
    server.ok("IncreaseStreamRetentionPeriod", &retention);
    wait_until_active(server, name);
}

fn a_stream_is_planned_created_read_updated_and_deleted(backend: Backend) {
    let server = server(backend);
    create(&server, "s");
    let metrics = json!({"StreamName": "s", "ShardLevelMetrics": ["IncomingBytes", "OutgoingBytes"]});
    server.ok("EnableEnhancedMonitoring", &metrics);
    wait_until_active(&server, "s");
    let encryption = json!({"StreamName": "s", "EncryptionType": "KMS", "KeyId": "alias/aws/kinesis"});
    server.ok("StartStreamEncryption", &encryption);
    wait_until_active(&server, "s");
    let (described, tags) = refresh(&server, "s");
    assert_eq!(described["StreamARN"], arn("s"));
    assert_eq!(described["OpenShardCount"], 2);
    assert_eq!(described["EncryptionType"], "KMS");
    assert_eq!(described["KeyId"], "alias/aws/kinesis");
    assert_eq!(
        described["EnhancedMonitoring"],
        json!([{"ShardLevelMetrics": ["IncomingBytes", "OutgoingBytes"]}])
    );
    assert_eq!(
        tags,
        json!([{"Key": "env", "Value": "test"}, {"Key": "team:owner", "Value": "storage"}])
    );

    let removed = json!({"StreamName": "s", "TagKeys": ["env"]});
    server.ok("RemoveTagsFromStream", &removed);
    for chunk in 0..2 {
        let tags: serde_json::Map<_, _> = (0..10)
            .map(|number| (format!("tag-{chunk}-{number}"), json!("v")))
            .collect();
        server.ok("AddTagsToStream", &json!({"StreamName": "s", "Tags": tags}));
    }
    let count = json!({"StreamName": "s", "TargetShardCount": 4, "ScalingType": "UNIFORM_SCALING"});
    server.ok("UpdateShardCount", &count);
    assert_eq!(wait_until_active(&server, "s")["OpenShardCount"], 4);
    server.ok("StopStreamEncryption", &encryption);
    assert_eq!(wait_until_active(&server, "s")["EncryptionType"], "NONE");
    let longer = json!({"StreamName": "s", "RetentionPeriodHours": 48});
    server.ok("IncreaseStreamRetentionPeriod", &longer);
    wait_until_active(&server, "s");
    server.ok("DisableEnhancedMonitoring", &metrics);
    wait_until_active(&server, "s");
    let size = json!({"StreamARN": arn("s"), "MaxRecordSizeInKiB": 2048});
    server.ok("UpdateMaxRecordSize", &size);
    wait_until_active(&server, "s");
    let mode = json!({"StreamARN": arn("s"), "StreamModeDetails": {"StreamMode": "ON_DEMAND"}});
    server.ok("UpdateStreamMode", &mode);
    let updated = wait_until_active(&server, "s");
    assert_eq!(updated["StreamModeDetails"]["StreamMode"], "ON_DEMAND");
    assert_eq!(updated["MaxRecordSizeInKiB"], 2048);
    assert_eq!(updated["RetentionPeriodHours"], 48);
    assert_eq!(refresh(&server, "s").1.as_array().unwrap().len(), 21);
    // The data source.
    let listed = server.ok("ListShards", &named("s"));
    assert_eq!(listed["Shards"].as_array().unwrap().len(), 6);

    let delete = json!({"StreamName": "s", "EnforceConsumerDeletion": true});
    server.ok("DeleteStream", &delete);
    assert_eq!(summary(&server, "s")["StreamStatus"], "DELETING");
    server.advance(DELAY);
    let (exception, _) = server.refusal("DescribeStreamSummary", &named("s"));
    assert_eq!(exception, "ResourceNotFoundException");
}

fn a_consumer_is_registered_tagged_and_deregistered(backend: Backend) {
    let server = server(backend);
    create(&server, "s");
    let register = json!({"StreamARN": arn("s"), "ConsumerName": "c"});
    let registered = server.ok("RegisterStreamConsumer", &register);
    let consumer = text(&registered["Consumer"]["ConsumerARN"]);
    let by_arn = json!({ "ConsumerARN": consumer });
    let describe = || server.ok("DescribeStreamConsumer", &by_arn)["ConsumerDescription"].clone();
    assert_eq!(describe()["ConsumerStatus"], "CREATING");
    server.advance(DELAY);
    let described = describe();
    assert_eq!(described["ConsumerStatus"], "ACTIVE");
    assert_eq!(described["StreamARN"], arn("s"));
    let resource = json!({ "ResourceARN": consumer });
    assert_eq!(server.ok("ListTagsForResource", &resource)["Tags"], json!([]));
    server.ok(
        "TagResource",
        &json!({"ResourceARN": consumer, "Tags": {"a": "1", "b": "2"}}),
    );
    server.ok(
        "UntagResource",
        &json!({"ResourceARN": consumer, "TagKeys": ["a"]}),
    );
    assert_eq!(
        server.ok("ListTagsForResource", &resource)["Tags"],
        json!([{"Key": "b", "Value": "2"}])
    );
    server.ok("DeregisterStreamConsumer", &by_arn);
    assert_eq!(describe()["ConsumerStatus"], "DELETING");
    server.advance(DELAY);
    let (exception, _) = server.refusal("DescribeStreamConsumer", &by_arn);
    assert_eq!(exception, "ResourceNotFoundException");
}

fn a_policy_and_the_account_are_read_back_as_they_were_set(backend: Backend) {
    let server = server(backend);
    create(&server, "s");
    let document = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":{{"AWS":"{ACCOUNT}"}},"Action":"kinesis:GetRecords","Resource":"{}"}}]}}"#,
        arn("s")
    );
    let resource = json!({ "ResourceARN": arn("s") });
    server.ok(
        "PutResourcePolicy",
        &json!({"ResourceARN": arn("s"), "Policy": document}),
    );
    assert_eq!(
        server.ok("GetResourcePolicy", &resource)["Policy"],
        document.as_str()
    );
    server.ok("DeleteResourcePolicy", &resource);
    assert_eq!(server.ok("GetResourcePolicy", &resource)["Policy"], "{}");
    let commitment = json!({"MinimumThroughputBillingCommitment": {"Status": "ENABLED"}});
    let updated = server.ok("UpdateAccountSettings", &commitment);
    assert_eq!(server.ok("DescribeAccountSettings", &json!({})), updated);
}

fn twenty_streams_are_made_at_once(backend: Backend) {
    let server = TestServer::start(backend);
    std::thread::scope(|scope| {
        for number in 0..20 {
            let server = &server;
            scope.spawn(move || {
                let name = format!("s{number}");
                create(server, &name);
                let count =
                    json!({"StreamName": name, "TargetShardCount": 3, "ScalingType": "UNIFORM_SCALING"});
                server.ok("UpdateShardCount", &count);
                assert_eq!(wait_until_active(server, &name)["OpenShardCount"], 3);
            });
        }
    });
    assert_eq!(server.ok("DescribeLimits", &json!({}))["OpenShardCount"], 60);
}
