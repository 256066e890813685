//! Channels as clients see them.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use anabranch::{ChannelOptions, Delivery, DeliveryOptions, Destination, DirectoryBuckets};
use anabranch_harness::files::all_files;
use anabranch_harness::http1::{Client, Head};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::test_server::{
    ACCOUNT, Backend, REGION, Setup, TestServer, all, in_use, invalid_argument, not_found, on_each_backend,
    text, validation,
};

on_each_backend!(
    a_channel_is_described_listed_changed_and_deleted,
    a_channel_delivers_what_is_old_enough,
    a_channel_needs_a_stream_on_demand_and_keeps_it,
    what_is_wrong_with_a_channel_is_said,
    tables_are_noted_and_have_failed,
    a_server_without_buckets_says_that_channels_have_failed,
    channels_have_tags_and_policies_and_are_counted,
    a_channel_takes_its_time,
    a_channel_of_the_library_is_shown,
    those_who_run_the_server_see_the_last_delivery_also_after_a_restart,
);

const ROLE: &str = "arn:aws:iam::000000000000:role/deliver";

fn stream_arn(name: &str) -> String {
    format!("arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{name}")
}

fn create_stream(server: &TestServer, name: &str) {
    let on_demand = json!({"StreamName": name, "StreamModeDetails": {"StreamMode": "ON_DEMAND"}});
    server.ok("CreateStream", &on_demand);
}

/// A server that delivers into directories when a test asks it to.
struct Bench {
    server: TestServer,
    buckets: TempDir,
    delivery: Arc<Delivery>,
}

impl Bench {
    fn new(backend: Backend) -> Bench {
        Bench::with(backend, Setup::default())
    }

    fn with(backend: Backend, setup: Setup) -> Bench {
        let mut server = TestServer::with(backend, setup);
        let buckets = tempfile::tempdir().unwrap();
        fs::create_dir(buckets.path().join("archive")).unwrap();
        let directory = DirectoryBuckets::new(buckets.path());
        let delivery = Arc::new(Delivery::new(
            &server.store,
            directory,
            DeliveryOptions::default(),
        ));
        server.deliver_by(delivery.clone());
        create_stream(&server, "clicks");
        Bench {
            server,
            buckets,
            delivery,
        }
    }

    fn objects(&self) -> Vec<(String, String)> {
        let files = all_files(self.buckets.path()).into_iter();
        let name = |path: &std::path::Path| {
            let path = path.strip_prefix(self.buckets.path()).unwrap_or(path);
            path.to_str().unwrap().to_owned()
        };
        files
            .map(|(path, bytes)| (name(&path), String::from_utf8(bytes).unwrap()))
            .collect()
    }
}

fn storage() -> Value {
    json!({"BucketARN": "arn:aws:s3:::archive", "ExpectedBucketOwner": ACCOUNT, "CompressionType": "NONE"})
}

fn new_channel(name: &str) -> Value {
    json!({
        "ChannelName": name,
        "ServiceExecutionRoleARN": ROLE,
        "StreamConfigurationList": [
            {"StreamARN": stream_arn("clicks"), "RecordConfiguration": {"RecordFormatType": "JSON"}},
        ],
        "S3DestinationConfiguration": {"StorageConfiguration": storage()},
    })
}

fn new_table_channel(name: &str) -> Value {
    let dead_letters = json!({"BucketARN": "arn:aws:s3:::archive", "ExpectedBucketOwner": ACCOUNT});
    let table = json!({
        "TableBucketARN": "arn:aws:s3tables:eu-west-1:000000000000:bucket/tables",
        "Namespace": "web",
        "TableName": "clicks",
        "CompressionType": "ZSTD",
        "PartitionSpec": {"PartitionFields": [{"Transform": "TIME_HOUR", "SourceName": "at"}]},
    });
    let mut channel = new_channel(name);
    channel
        .as_object_mut()
        .unwrap()
        .remove("S3DestinationConfiguration");
    channel["StreamConfigurationList"][0]["RecordConfiguration"] = json!({"RecordFormatType": "GSR_JSON"});
    channel["S3TablesDestinationConfiguration"] =
        json!({"DeadLetterQueueS3Configuration": dead_letters, "S3TablesConfigurationList": [table]});
    channel
}

/// The value with another one at a path of members.
fn with(mut value: Value, path: &[&str], of: Value) -> Value {
    let mut place = &mut value;
    for part in path {
        place = match part.parse::<usize>() {
            Ok(at) => &mut place[at],
            Err(_) => &mut place[*part],
        };
    }
    *place = of;
    value
}

fn create(server: &TestServer, input: &Value) -> Value {
    server.ok("CreateChannel", input)["ChannelDescription"].clone()
}

fn describe(server: &TestServer, arn: &str) -> Value {
    server.ok("DescribeChannel", &json!({ "ChannelARN": arn }))["ChannelDescription"].clone()
}

fn a_channel_is_described_listed_changed_and_deleted(backend: Backend) {
    let bench = Bench::new(backend);
    let server = &bench.server;
    let created = create(server, &new_channel("raw"));
    let arn = text(&created["ChannelARN"]);
    let id = text(&created["ChannelId"]);
    assert_eq!(arn, format!("arn:aws:kinesis:{REGION}:{ACCOUNT}:channel/{id}"));
    let expected = json!({
        "ChannelName": "raw",
        "ChannelARN": arn,
        "ChannelId": id,
        "ChannelStatus": "ACTIVE",
        "ChannelCreationTimestamp": 1_421_889_722.0,
        "ServiceExecutionRoleARN": ROLE,
        "StreamConfigurationList": [{
            "StreamARN": stream_arn("clicks"),
            "StreamCreationTimestamp": 1_421_889_722.0,
            "RecordConfiguration": {"RecordFormatType": "JSON"},
        }],
        "S3DestinationConfiguration": {
            "DataFreshnessInSeconds": 300,
            "DeadLetterQueueS3Configuration": {
                "BucketARN": "arn:aws:s3:::archive",
                "ExpectedBucketOwner": ACCOUNT,
                "ErrorOutputPrefix": format!("kinesis-channel/errors/raw/{id}/"),
            },
            "StorageConfiguration": {
                "BucketARN": "arn:aws:s3:::archive",
                "ExpectedBucketOwner": ACCOUNT,
                "OutputKeyTemplate": "kinesis-channel/!{channel-name}/!{channel-id}/!{yyyy}/!{MM}/!{dd}/!{HH}/\
                                      !{channel-name}-!{channel-id}-!{yyyy}-!{MM}-!{dd}-!{HH}-!{mm}!{extension}",
                "StorageClass": "STANDARD",
                "CompressionType": "NONE",
            },
        },
        "LoggingConfiguration": {"CloudWatchLogs": {
            "Enabled": false,
            "LogGroupName": format!("/aws/kinesis/raw/{id}"),
            "LogStreamName": "DestinationDelivery",
        }},
    });
    assert_eq!(created, expected);
    assert_eq!(describe(server, &arn), expected);

    create_stream(server, "more");
    let of_more = |name| {
        with(
            new_channel(name),
            &["StreamConfigurationList", "0", "StreamARN"],
            json!(stream_arn("more")),
        )
    };
    create(server, &of_more("a"));
    let listed = server.ok("ListChannels", &json!({}));
    assert_eq!(all(&listed["ChannelSummaries"], "ChannelName"), ["a", "raw"]);
    assert_eq!(listed["NextToken"], Value::Null);
    let summary = json!({
        "ChannelName": "raw",
        "ChannelARN": arn,
        "ChannelId": id,
        "ChannelStatus": "ACTIVE",
        "ChannelCreationTimestamp": 1_421_889_722.0,
        "ChannelDestinationType": "S3",
        "Streams": [{"StreamARN": stream_arn("clicks"), "StreamCreationTimestamp": 1_421_889_722.0}],
    });
    assert_eq!(listed["ChannelSummaries"][1], summary);
    let page = server.ok("ListChannels", &json!({"MaxResults": 1}));
    assert_eq!(all(&page["ChannelSummaries"], "ChannelName"), ["a"]);
    let token = json!({"NextToken": page["NextToken"]});
    assert_eq!(
        server.ok("ListChannels", &token)["ChannelSummaries"],
        json!([summary])
    );
    server.advance(Duration::from_secs(301));
    let (kind, _) = server.refusal("ListChannels", &token);
    assert_eq!(kind, "ExpiredNextTokenException");
    let filter = json!({"StreamFilter": [{"StreamARN": stream_arn("more")}]});
    let filtered = server.ok("ListChannels", &filter);
    assert_eq!(all(&filtered["ChannelSummaries"], "ChannelName"), ["a"]);

    let logs = json!({"CloudWatchLogs": {"Enabled": true, "LogGroupName": "mine"}});
    let updated = server.ok(
        "UpdateChannel",
        &json!({
            "ChannelARN": arn,
            "S3DestinationConfiguration": {"DataFreshnessInSeconds": 900},
            "LoggingConfiguration": logs,
        }),
    );
    let updated = &updated["ChannelDescription"];
    assert_eq!(
        updated["S3DestinationConfiguration"]["DataFreshnessInSeconds"],
        900
    );
    let logs = json!({"Enabled": true, "LogGroupName": "mine", "LogStreamName": "DestinationDelivery"});
    assert_eq!(updated["LoggingConfiguration"]["CloudWatchLogs"], logs);
    assert_eq!(describe(server, &arn), *updated);

    server.ok("DeleteChannel", &json!({ "ChannelARN": arn }));
    let gone = not_found(format!("Channel {arn} under account {ACCOUNT} not found."));
    for operation in ["DescribeChannel", "DeleteChannel", "UpdateChannel"] {
        let mut input = json!({ "ChannelARN": arn });
        if operation == "UpdateChannel" {
            input["S3DestinationConfiguration"] = json!({"DataFreshnessInSeconds": 400});
        }
        assert_eq!(server.refusal(operation, &input), gone, "{operation}");
    }
    // The name is free again, and the new channel's ARN differs.
    assert_ne!(text(&create(server, &new_channel("raw"))["ChannelARN"]), arn);
}

fn a_channel_delivers_what_is_old_enough(backend: Backend) {
    let bench = Bench::new(backend);
    let server = &bench.server;
    server.put("clicks", "user-0", "{\"old\":1}");
    let template = with(
        new_channel("raw"),
        &[
            "S3DestinationConfiguration",
            "StorageConfiguration",
            "OutputKeyTemplate",
        ],
        json!("raw/!{stream-name}/!{yyyy}"),
    );
    let arn = text(&create(server, &template)["ChannelARN"]);
    server.put("clicks", "user-1", "{\"a\":1}");
    server.put("clicks", "user-1", "no json");
    assert_eq!(bench.delivery.deliver_due(), 0);
    server.advance(Duration::from_secs(300));
    assert_eq!(bench.delivery.deliver_due(), 2);
    let objects = bench.objects();
    assert_eq!(objects.len(), 2);
    let (errors, raw) = (&objects[0], &objects[1]);
    assert!(
        errors.0.starts_with("archive/kinesis-channel/errors/raw/"),
        "{}",
        errors.0
    );
    assert!(errors.1.contains("InvalidJson"), "{}", errors.1);
    assert!(raw.0.starts_with("archive/raw/clicks/2015-"), "{}", raw.0);
    assert_eq!(raw.1, "{\"a\":1}\n");

    // A bucket that is missing for an hour causes log lines, and nothing is lost.
    fs::rename(
        bench.buckets.path().join("archive"),
        bench.buckets.path().join("away"),
    )
    .unwrap();
    server.put("clicks", "user-1", "{\"b\":2}");
    server.advance(Duration::from_secs(300));
    for attempts in 1..=60 {
        assert_eq!(bench.delivery.deliver_due(), 0);
        let described = describe(server, &arn);
        assert_eq!(described["ChannelStatus"], "ACTIVE");
        let reason = text(&described["ChannelStatusReason"]);
        assert!(
            reason.contains(&format!("after {attempts} attempts"))
                && reason.ends_with("there is no bucket archive"),
            "{reason}"
        );
        server.advance(Duration::from_secs(60));
    }
    fs::rename(
        bench.buckets.path().join("away"),
        bench.buckets.path().join("archive"),
    )
    .unwrap();
    assert_eq!(bench.delivery.deliver_due(), 1);
    assert_eq!(describe(server, &arn)["ChannelStatusReason"], Value::Null);
    assert!(bench.objects().iter().any(|(_, body)| body == "{\"b\":2}\n"));
}

fn a_channel_needs_a_stream_on_demand_and_keeps_it(backend: Backend) {
    let bench = Bench::new(backend);
    let server = &bench.server;
    server.ok("CreateStream", &json!({"StreamName": "fixed", "ShardCount": 1}));
    let of_fixed = with(
        new_channel("raw"),
        &["StreamConfigurationList", "0", "StreamARN"],
        json!(stream_arn("fixed")),
    );
    assert_eq!(
        server.refusal("CreateChannel", &of_fixed),
        invalid_argument(format!(
            "Stream fixed under account {ACCOUNT} is in PROVISIONED mode. A channel needs a stream in ON_DEMAND mode."
        ))
    );
    let arn = text(&create(server, &new_channel("raw"))["ChannelARN"]);
    let delete = json!({"StreamName": "clicks", "EnforceConsumerDeletion": true});
    assert_eq!(
        server.refusal("DeleteStream", &delete),
        in_use(format!(
            "Stream clicks under account {ACCOUNT} has 1 channels. Delete them first."
        ))
    );
    let provisioned =
        json!({"StreamARN": stream_arn("clicks"), "StreamModeDetails": {"StreamMode": "PROVISIONED"}});
    let (kind, message) = server.refusal("UpdateStreamMode", &provisioned);
    assert_eq!(kind, "ResourceInUseException");
    assert!(
        message.contains("has 1 channels, which need a stream in ON_DEMAND mode"),
        "{message}"
    );
    server.ok("DeleteChannel", &json!({ "ChannelARN": arn }));
    server.ok("UpdateStreamMode", &provisioned);
    server.ok("DeleteStream", &delete);
}

fn what_is_wrong_with_a_channel_is_said(backend: Backend) {
    let bench = Bench::new(backend);
    let server = &bench.server;
    let storage_path = ["S3DestinationConfiguration", "StorageConfiguration"];
    let stored = |member: &str, value: Value| {
        with(
            new_channel("raw"),
            &[storage_path[0], storage_path[1], member],
            value,
        )
    };
    let stream = |arn: &str| {
        with(
            new_channel("raw"),
            &["StreamConfigurationList", "0", "StreamARN"],
            json!(arn),
        )
    };
    let format = |format: &str| {
        let path = [
            "StreamConfigurationList",
            "0",
            "RecordConfiguration",
            "RecordFormatType",
        ];
        with(new_channel("raw"), &path, json!(format))
    };
    let both = with(
        new_channel("raw"),
        &["S3TablesDestinationConfiguration"],
        new_table_channel("raw")["S3TablesDestinationConfiguration"].clone(),
    );
    let mut neither = new_channel("raw");
    neither
        .as_object_mut()
        .unwrap()
        .remove("S3DestinationConfiguration");
    let no_schema = with(
        new_table_channel("raw"),
        &["StreamConfigurationList", "0", "RecordConfiguration"],
        json!({"RecordFormatType": "JSON"}),
    );
    let kinesis_key = with(
        new_channel("raw"),
        &["EncryptionConfiguration"],
        json!({"EncryptionType": "KMS", "KeyId": "alias/aws/kinesis"}),
    );
    let other_key = with(
        new_channel("raw"),
        &["EncryptionConfiguration"],
        json!({"EncryptionType": "KMS", "KeyId": "mine"}),
    );
    let refused = [
        (
            stream(&stream_arn("missing")),
            not_found(format!("Stream missing under account {ACCOUNT} not found.")),
        ),
        (
            stored("BucketARN", json!("arn:aws:s3:::missing")),
            invalid_argument("The channel cannot deliver to its destination: there is no bucket missing."),
        ),
        (
            stored("OutputKeyTemplate", json!("a/!{year}")),
            invalid_argument("the key template \"a/!{year}\" has a variable that there is not"),
        ),
        (
            format("GSR_JSON"),
            invalid_argument(
                "A channel with an S3DestinationConfiguration takes records of type JSON, STRING or BYTE_ARRAY, without a \
                 GSRSchemaARN.",
            ),
        ),
        (
            both,
            invalid_argument(
                "A channel has exactly one of S3DestinationConfiguration and S3TablesDestinationConfiguration.",
            ),
        ),
        (
            neither,
            invalid_argument(
                "A channel has exactly one of S3DestinationConfiguration and S3TablesDestinationConfiguration.",
            ),
        ),
        (
            no_schema,
            invalid_argument(
                "A channel with an S3TablesDestinationConfiguration and records of type JSON needs a GSRSchemaARN.",
            ),
        ),
        (
            kinesis_key,
            invalid_argument(
                "A channel cannot use the key alias/aws/kinesis. Specify a customer managed key.",
            ),
        ),
        (
            other_key,
            invalid_argument(
                "The channel cannot deliver to its destination: bucket archive: it is a directory, which does not encrypt \
                 objects.",
            ),
        ),
        (
            with(
                new_channel("raw"),
                &["S3DestinationConfiguration", "DataFreshnessInSeconds"],
                json!(299),
            ),
            validation(&[
                "at 's3DestinationConfiguration.dataFreshnessInSeconds' failed to satisfy \
                 constraint: Member must have value greater than or equal to 300",
            ]),
        ),
        (
            with(
                new_channel("raw"),
                &["S3DestinationConfiguration", "DataFreshnessInSeconds"],
                json!(901),
            ),
            validation(&[
                "at 's3DestinationConfiguration.dataFreshnessInSeconds' failed to satisfy \
                 constraint: Member must have value less than or equal to 900",
            ]),
        ),
        (
            stored("BucketARN", json!("arn:aws:s3:::UPPER")),
            validation(&["'arn:aws:s3:::UPPER' at \
                 's3DestinationConfiguration.storageConfiguration.bucketARN' failed to satisfy constraint: Member must \
                 satisfy regular expression pattern: arn:aws[-a-z0-9]*:s3:::[a-z0-9._-]{3,63}"]),
        ),
    ];
    for (input, refusal) in refused {
        assert_eq!(server.refusal("CreateChannel", &input), refusal, "{input}");
    }
    assert_eq!(
        server.ok("ListChannels", &json!({}))["ChannelSummaries"],
        json!([])
    );

    let arn = text(&create(server, &new_channel("raw"))["ChannelARN"]);
    create_stream(server, "more");
    let of_more = with(
        new_channel("raw"),
        &["StreamConfigurationList", "0", "StreamARN"],
        json!(stream_arn("more")),
    );
    assert_eq!(
        server.refusal("CreateChannel", &of_more),
        in_use(format!("Channel raw under account {ACCOUNT} already exists."))
    );
    let (kind, message) = server.refusal("CreateChannel", &new_channel("second"));
    assert_eq!(kind, "LimitExceededException");
    assert_eq!(
        message,
        format!("Stream clicks under account {ACCOUNT} has 1 channel of this kind, and cannot have more.")
    );
    let update = |more: Value| {
        let mut input = json!({ "ChannelARN": arn });
        input
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        server.refusal("UpdateChannel", &input)
    };
    assert_eq!(
        update(json!({})),
        invalid_argument("Specify a DataFreshnessInSeconds or a LoggingConfiguration.")
    );
    assert_eq!(
        update(json!({"S3TablesDestinationConfiguration": {"DataFreshnessInSeconds": 300}})),
        invalid_argument("Channel raw has a destination of the other kind.")
    );
    let (kind, _) = update(json!({"S3DestinationConfiguration": {"DataFreshnessInSeconds": 1}}));
    assert_eq!(kind, "ValidationException");
    for id in ["x", "1-1-00000000"] {
        let arn = format!("arn:aws:kinesis:{REGION}:{ACCOUNT}:channel/{id}");
        let gone = not_found(format!("Channel {arn} under account {ACCOUNT} not found."));
        assert_eq!(
            server.refusal("DescribeChannel", &json!({ "ChannelARN": arn })),
            gone
        );
    }
}

fn tables_are_noted_and_have_failed(backend: Backend) {
    let bench = Bench::new(backend);
    let server = &bench.server;
    create(server, &new_channel("raw"));
    // One of each kind.
    let created = create(server, &new_table_channel("tables"));
    assert_eq!(created["ChannelStatus"], "FAILED");
    assert_eq!(
        created["ChannelStatusReason"],
        "This server does not deliver to streaming tables (Amazon S3 Tables)."
    );
    let given = new_table_channel("tables")["S3TablesDestinationConfiguration"].clone();
    let shown = &created["S3TablesDestinationConfiguration"];
    assert_eq!(
        shown["S3TablesConfigurationList"],
        given["S3TablesConfigurationList"]
    );
    assert_eq!(shown["DataFreshnessInSeconds"], 300);
    let listed = server.ok("ListChannels", &json!({}));
    assert_eq!(
        all(&listed["ChannelSummaries"], "ChannelDestinationType"),
        ["S3", "S3_TABLES"]
    );
    server.put("clicks", "user-1", "{}");
    server.advance(Duration::from_secs(300));
    assert_eq!(bench.delivery.deliver_due(), 1);
    let arn = text(&created["ChannelARN"]);
    let freshness =
        json!({"ChannelARN": arn, "S3TablesDestinationConfiguration": {"DataFreshnessInSeconds": 600}});
    let updated = server.ok("UpdateChannel", &freshness)["ChannelDescription"].clone();
    assert_eq!(
        updated["S3TablesDestinationConfiguration"]["DataFreshnessInSeconds"],
        600
    );
    server.ok("DeleteChannel", &json!({ "ChannelARN": arn }));
}

fn a_server_without_buckets_says_that_channels_have_failed(backend: Backend) {
    let server = TestServer::start(backend);
    create_stream(&server, "clicks");
    let created = create(&server, &new_channel("raw"));
    assert_eq!(created["ChannelStatus"], "FAILED");
    assert!(
        text(&created["ChannelStatusReason"]).contains("--buckets"),
        "{created}"
    );
}

fn channels_have_tags_and_policies_and_are_counted(backend: Backend) {
    let bench = Bench::new(backend);
    let server = &bench.server;
    let tagged = with(new_channel("raw"), &["Tags"], json!({"stage": "test"}));
    let arn = text(&create(server, &tagged)["ChannelARN"]);
    let tags = || server.ok("ListTagsForResource", &json!({ "ResourceARN": arn }))["Tags"].clone();
    assert_eq!(tags(), json!([{"Key": "stage", "Value": "test"}]));
    server.ok(
        "TagResource",
        &json!({"ResourceARN": arn, "Tags": {"team": "web"}}),
    );
    server.ok(
        "UntagResource",
        &json!({"ResourceARN": arn, "TagKeys": ["stage"]}),
    );
    assert_eq!(tags(), json!([{"Key": "team", "Value": "web"}]));
    let policy = json!({"Version": "2012-10-17", "Statement": []}).to_string();
    server.ok(
        "PutResourcePolicy",
        &json!({"ResourceARN": arn, "Policy": policy}),
    );
    assert_eq!(
        server.ok("GetResourcePolicy", &json!({ "ResourceARN": arn }))["Policy"],
        policy
    );
    let summary = server.ok("DescribeStreamSummary", &json!({"StreamName": "clicks"}));
    let summary = &summary["StreamDescriptionSummary"];
    assert_eq!(
        (&summary["ChannelCount"], &summary["QueueCount"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(summary["ConsumerCount"], 0);
    let limits = server.ok("DescribeLimits", &json!({}));
    assert_eq!(limits["ChannelCount"], 1);
    assert_eq!(limits["ChannelCountLimit"], 40_000);
    let bad = with(new_channel("other"), &["Tags"], json!({"aws:mine": "x"}));
    assert_eq!(
        server.refusal("CreateChannel", &bad).0,
        "InvalidArgumentException"
    );
}

fn a_channel_takes_its_time(backend: Backend) {
    let setup = Setup {
        transition_delay: Duration::from_secs(10),
        ..Setup::default()
    };
    let bench = Bench::with(backend, setup);
    let server = &bench.server;
    let wait = || server.advance(Duration::from_secs(10));
    let creating = server.refusal("CreateChannel", &new_channel("raw"));
    assert_eq!(
        creating,
        in_use(format!(
            "Stream clicks under account {ACCOUNT} not ACTIVE, instead in state CREATING"
        ))
    );
    wait();
    let created = create(server, &new_channel("raw"));
    let arn = text(&created["ChannelARN"]);
    assert_eq!(created["ChannelStatus"], "CREATING");
    let update = json!({"ChannelARN": arn, "S3DestinationConfiguration": {"DataFreshnessInSeconds": 600}});
    assert_eq!(
        server.refusal("UpdateChannel", &update),
        in_use(format!(
            "Channel raw under account {ACCOUNT} not ACTIVE, instead in state CREATING"
        ))
    );
    wait();
    assert_eq!(describe(server, &arn)["ChannelStatus"], "ACTIVE");
    let updated = server.ok("UpdateChannel", &update)["ChannelDescription"].clone();
    assert_eq!(updated["ChannelStatus"], "UPDATING");
    wait();
    server.ok("DeleteChannel", &json!({ "ChannelARN": arn }));
    assert_eq!(describe(server, &arn)["ChannelStatus"], "DELETING");
    wait();
    assert_eq!(
        server.refusal("DescribeChannel", &json!({ "ChannelARN": arn })).0,
        "ResourceNotFoundException"
    );
}

fn a_channel_of_the_library_is_shown(backend: Backend) {
    let bench = Bench::new(backend);
    let namespace = bench
        .server
        .store
        .namespace(&format!("{ACCOUNT}/{REGION}"))
        .unwrap();
    let clicks = namespace.stream("clicks").unwrap();
    clicks
        .create_channel("own", &ChannelOptions::to(Destination::new("archive")))
        .unwrap();
    let listed = bench.server.ok("ListChannels", &json!({}));
    let arn = text(&listed["ChannelSummaries"][0]["ChannelARN"]);
    let described = describe(&bench.server, &arn);
    let record = &described["StreamConfigurationList"][0]["RecordConfiguration"];
    assert_eq!(record["RecordFormatType"], "BYTE_ARRAY");
    let storage = &described["S3DestinationConfiguration"]["StorageConfiguration"];
    assert_eq!(storage["BucketARN"], "arn:aws:s3:::archive");
}

fn those_who_run_the_server_see_the_last_delivery_also_after_a_restart(backend: Backend) {
    let mut bench = Bench::new(backend);
    create(&bench.server, &new_channel("raw"));
    bench.server.put("clicks", "k", "{}");
    bench.server.advance(Duration::from_secs(300));
    let at = bench.server.store.now();
    assert_eq!(bench.delivery.deliver_due(), 1);
    // A channel that has delivered nothing.
    create_stream(&bench.server, "orders");
    let mut idle = new_channel("idle");
    idle["StreamConfigurationList"][0]["StreamARN"] = json!(stream_arn("orders"));
    create(&bench.server, &idle);
    bench.server.advance(Duration::from_secs(60));
    for is_restarted in [false, true] {
        if is_restarted {
            bench.server.restart();
        }
        let get = |uri: &str| {
            let head = Head {
                method: "GET",
                uri,
                headers: Vec::new(),
            };
            Client::connect(bench.server.address).send(&head, b"")
        };
        let namespace = format!("{ACCOUNT}/{REGION}");
        for (stream, last) in [("clicks", json!(at.as_millis())), ("orders", Value::Null)] {
            let path = format!("/console/api/streams/{stream}/readers?namespace={namespace}");
            let readers = get(&path).json();
            assert_eq!(readers["channels"][0]["lastDelivery"], last, "{readers}");
        }
        let metrics = get("/metrics");
        let name = "anabranch_channel_last_delivery_timestamp_seconds";
        let lines = metrics.text().lines().filter(|line| line.starts_with(name));
        let value = at.as_millis() as f64 / 1e3;
        let labels = format!(r#"{{namespace="{namespace}",stream="clicks",channel="raw"}}"#);
        assert_eq!(lines.collect::<Vec<_>>(), [format!("{name}{labels} {value:?}")]);
    }
}
