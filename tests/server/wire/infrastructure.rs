//! The calls of infrastructure tools: Terraform's in the order of its provider's source, CloudFormation's by the
//! permissions that its resource types require.

use std::time::Duration;

use serde_json::{Value, json};

use super::test_server::{ACCOUNT, Backend, REGION, Setup, TestServer, on_each_backend, text};

on_each_backend!(
    a_stream_is_planned_created_read_updated_and_deleted,
    a_consumer_is_registered_tagged_and_deregistered,
    a_policy_and_the_account_are_read_back_as_they_were_set,
    twenty_streams_are_made_at_once,
    cloudformation_makes_changes_lists_and_deletes_a_stream,
    cloudformation_makes_a_consumer_and_a_policy_and_takes_them_back,
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

/// The calls at the end of every refresh and import.
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
    // Always called, even with the stream's present value.
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

fn cloudformation_makes_changes_lists_and_deletes_a_stream(backend: Backend) {
    let server = server(backend);
    let on_demand = json!({"StreamName": "stack-s-1X2Y", "StreamModeDetails": {"StreamMode": "ON_DEMAND"}});
    server.ok("CreateStream", &on_demand);
    let active = || wait_until_active(&server, "stack-s-1X2Y");
    assert_eq!(active()["OpenShardCount"], 4);
    let call = |operation: &str, more: &Value| {
        let mut input = named("stack-s-1X2Y");
        for (member, value) in more.as_object().unwrap() {
            input[member] = value.clone();
        }
        server.ok(operation, &input);
        active()
    };
    call("AddTagsToStream", &json!({"Tags": {"stack": "clicks"}}));
    call(
        "IncreaseStreamRetentionPeriod",
        &json!({"RetentionPeriodHours": 168}),
    );
    let key = json!({"EncryptionType": "KMS", "KeyId": "alias/aws/kinesis"});
    call("StartStreamEncryption", &key);
    let all_metrics = json!({"ShardLevelMetrics": ["ALL"]});
    call("EnableEnhancedMonitoring", &all_metrics);
    let (read, tags) = refresh(&server, "stack-s-1X2Y");
    assert_eq!(
        (&read["EncryptionType"], &read["RetentionPeriodHours"]),
        (&json!("KMS"), &json!(168))
    );
    assert_eq!(tags, json!([{"Key": "stack", "Value": "clicks"}]));

    let mode = json!({"StreamARN": arn("stack-s-1X2Y"), "StreamModeDetails": {"StreamMode": "PROVISIONED"}});
    server.ok("UpdateStreamMode", &mode);
    active();
    let count = json!({"TargetShardCount": 2, "ScalingType": "UNIFORM_SCALING"});
    assert_eq!(call("UpdateShardCount", &count)["OpenShardCount"], 2);
    call(
        "DecreaseStreamRetentionPeriod",
        &json!({"RetentionPeriodHours": 24}),
    );
    call("StopStreamEncryption", &key);
    call("DisableEnhancedMonitoring", &all_metrics);
    call("RemoveTagsFromStream", &json!({"TagKeys": ["stack"]}));
    let (read, tags) = refresh(&server, "stack-s-1X2Y");
    assert_eq!(
        (&read["EncryptionType"], &read["RetentionPeriodHours"]),
        (&json!("NONE"), &json!(24))
    );
    assert_eq!(read["EnhancedMonitoring"], json!([{"ShardLevelMetrics": []}]));
    assert_eq!(tags, json!([]));
    assert_eq!(
        server.ok("ListStreams", &json!({}))["StreamNames"],
        json!(["stack-s-1X2Y"])
    );
    server.ok("DeleteStream", &named("stack-s-1X2Y"));
    server.advance(DELAY);
    let (exception, _) = server.refusal("DescribeStreamSummary", &named("stack-s-1X2Y"));
    assert_eq!(exception, "ResourceNotFoundException");
}

fn cloudformation_makes_a_consumer_and_a_policy_and_takes_them_back(backend: Backend) {
    let server = server(backend);
    create(&server, "s");
    let register = json!({"StreamARN": arn("s"), "ConsumerName": "c", "Tags": {"stack": "clicks"}});
    let consumer = text(&server.ok("RegisterStreamConsumer", &register)["Consumer"]["ConsumerARN"]);
    server.advance(DELAY);
    let by_arn = json!({ "ConsumerARN": consumer });
    let described = server.ok("DescribeStreamConsumer", &by_arn);
    assert_eq!(described["ConsumerDescription"]["ConsumerStatus"], "ACTIVE");
    let tags = server.ok("ListTagsForResource", &json!({ "ResourceARN": consumer }));
    assert_eq!(tags["Tags"], json!([{"Key": "stack", "Value": "clicks"}]));
    let listed = server.ok("ListStreamConsumers", &json!({"StreamARN": arn("s")}));
    assert_eq!(listed["Consumers"][0]["ConsumerARN"], json!(consumer));
    for resource in [arn("s"), consumer] {
        let by_arn = json!({ "ResourceARN": resource });
        let policy = json!({"ResourceARN": resource, "Policy": "{\"Statement\":[]}"});
        server.ok("PutResourcePolicy", &policy);
        assert_eq!(
            server.ok("GetResourcePolicy", &by_arn)["Policy"],
            policy["Policy"]
        );
        server.ok("DeleteResourcePolicy", &by_arn);
    }
    // The stack deletes the stream before the consumer.
    server.ok("DeregisterStreamConsumer", &by_arn);
    let (exception, _) = server.refusal("DeleteStream", &named("s"));
    assert_eq!(exception, "ResourceInUseException");
    server.advance(DELAY);
    server.ok("DeleteStream", &named("s"));
}
