//! The same name in two regions, or under two accounts, is two streams.

use anabranch_harness::http1::{Head, Reply};
use serde_json::{Value, json};

use super::calls::{self, with};
use super::test_server::{ACCOUNT, Backend, TestServer, on_each_backend, text};

on_each_backend!(
    a_name_in_two_regions_is_two_streams_also_after_a_restart,
    an_arn_says_which_stream_is_meant_whatever_the_request_is_signed_for,
    an_iterator_is_not_of_the_stream_of_that_name_in_another_region,
    a_name_under_two_accounts_is_two_streams,
    the_shard_limit_is_for_all_regions_together_and_settings_are_not,
    no_operation_takes_an_arn_of_another_region_or_account_for_what_is_here,
    every_operation_is_about_what_its_arn_names_wherever_it_is_called,
);

const WEST: &str = "eu-west-1";
const EAST: &str = "us-east-1";
const OTHER_ACCOUNT: &str = "123456789012";

/// One client, which signs all requests for one region.
struct Region<'a> {
    server: &'a TestServer,
    authorization: String,
}

impl Region<'_> {
    fn of<'a>(server: &'a TestServer, region: &str) -> Region<'a> {
        Region {
            server,
            authorization: format!(
                "AWS4-HMAC-SHA256 Credential=AKID/20150122/{region}/kinesis/aws4_request, \
                 SignedHeaders=host;x-amz-date;x-amz-target, Signature=80e8"
            ),
        }
    }

    #[track_caller]
    fn ok(&self, operation: &str, input: &Value) -> Value {
        self.reply(operation, input).ok()
    }

    #[track_caller]
    fn refusal(&self, operation: &str, input: &Value) -> (String, String) {
        self.reply(operation, input).refusal()
    }

    fn reply(&self, operation: &str, input: &Value) -> Reply {
        let target = format!("Kinesis_20131202.{operation}");
        let head = Head::of(&target).header("Authorization", &self.authorization);
        self.server.connect().send(&head, input.to_string().as_bytes())
    }

    #[track_caller]
    fn put(&self, stream: &Value, data: &str) {
        let mut input = stream.clone();
        input["PartitionKey"] = json!("k");
        input["Data"] = json!(base64_simd::STANDARD.encode_to_string(data));
        self.ok("PutRecord", &input);
    }

    /// The data of the stream's first shard.
    #[track_caller]
    fn data(&self, stream: &Value) -> Vec<String> {
        let mut input = stream.clone();
        input["ShardId"] = json!("shardId-000000000000");
        input["ShardIteratorType"] = json!("TRIM_HORIZON");
        let iterator = self.ok("GetShardIterator", &input);
        let read = self.ok("GetRecords", &json!({"ShardIterator": iterator["ShardIterator"]}));
        let records = read["Records"].as_array().unwrap().iter();
        let data =
            records.map(|record| base64_simd::STANDARD.decode_to_vec(record["Data"].as_str().unwrap()));
        data.map(|data| String::from_utf8(data.unwrap()).unwrap())
            .collect()
    }

    #[track_caller]
    fn names(&self) -> Value {
        self.ok("ListStreams", &json!({}))["StreamNames"].clone()
    }
}

fn create(shards: u32) -> Value {
    json!({"StreamName": "s", "ShardCount": shards})
}

fn arn(region: &str, account: &str) -> Value {
    json!({"StreamARN": format!("arn:aws:kinesis:{region}:{account}:stream/s")})
}

fn a_name_in_two_regions_is_two_streams_also_after_a_restart(backend: Backend) {
    let mut server = TestServer::start(backend);
    let by_name = json!({"StreamName": "s"});
    {
        let (west, east) = (Region::of(&server, WEST), Region::of(&server, EAST));
        west.ok("CreateStream", &create(2));
        assert_eq!((west.names(), east.names()), (json!(["s"]), json!([])));
        east.ok("CreateStream", &create(1));
        west.put(&by_name, "west");
        east.put(&by_name, "east");
        let tags = json!({"StreamName": "s", "Tags": {"where": "west"}});
        west.ok("AddTagsToStream", &tags);
    }
    server.restart();
    let (west, east) = (Region::of(&server, WEST), Region::of(&server, EAST));
    for (region, name, shards) in [(&west, WEST, 2), (&east, EAST, 1)] {
        let summary = region.ok("DescribeStreamSummary", &by_name);
        let summary = &summary["StreamDescriptionSummary"];
        assert_eq!(summary["OpenShardCount"], shards);
        assert_eq!(summary["StreamARN"], arn(name, ACCOUNT)["StreamARN"]);
        assert_eq!(region.ok("DescribeLimits", &json!({}))["OpenShardCount"], shards);
    }
    let tags = |region: &Region<'_>| region.ok("ListTagsForStream", &by_name)["Tags"].clone();
    assert_eq!(tags(&west), json!([{"Key": "where", "Value": "west"}]));
    assert_eq!(tags(&east), json!([]));
    assert_eq!(east.data(&by_name), ["east"]);

    east.ok("DeleteStream", &by_name);
    assert_eq!((west.names(), east.names()), (json!(["s"]), json!([])));
    assert_eq!(
        east.refusal("DescribeStreamSummary", &by_name),
        (
            "ResourceNotFoundException".to_owned(),
            format!("Stream s under account {ACCOUNT} not found.")
        )
    );
    assert_eq!(
        west.ok("DescribeStreamSummary", &by_name)["StreamDescriptionSummary"]["OpenShardCount"],
        2
    );
}

fn an_arn_says_which_stream_is_meant_whatever_the_request_is_signed_for(backend: Backend) {
    let server = TestServer::start(backend);
    let (west, east) = (Region::of(&server, WEST), Region::of(&server, EAST));
    west.ok("CreateStream", &create(1));
    east.ok("CreateStream", &create(1));
    east.put(&arn(WEST, ACCOUNT), "for west");
    west.put(&arn(EAST, ACCOUNT), "for east");
    // The name is the same as in the ARN, and has no region.
    let mut both = arn(EAST, ACCOUNT);
    both["StreamName"] = json!("s");
    west.put(&both, "for east too");
    let records = json!([{"PartitionKey": "k", "Data": "YQ=="}]);
    let mut many = arn(EAST, ACCOUNT);
    many["Records"] = records;
    west.ok("PutRecords", &many);
    for region in [&west, &east] {
        assert_eq!(region.data(&arn(WEST, ACCOUNT)), ["for west"]);
        assert_eq!(
            region.data(&arn(EAST, ACCOUNT)),
            ["for east", "for east too", "a"]
        );
    }
    let shown = west.ok("DescribeStream", &arn(EAST, ACCOUNT));
    assert_eq!(
        shown["StreamDescription"]["StreamARN"],
        arn(EAST, ACCOUNT)["StreamARN"]
    );
    // For an invalid region, the region that the request is signed for is used.
    assert_eq!(west.data(&arn("localhost", ACCOUNT)), ["for west"]);
    let tag = json!({"ResourceARN": arn(EAST, ACCOUNT)["StreamARN"], "Tags": {"a": "b"}});
    west.ok("TagResource", &tag);
    assert_eq!(
        west.ok("ListTagsForStream", &json!({"StreamName": "s"}))["Tags"],
        json!([])
    );
    assert_eq!(
        east.ok("ListTagsForStream", &json!({"StreamName": "s"}))["Tags"],
        json!([{"Key": "a", "Value": "b"}])
    );
}

fn an_iterator_is_not_of_the_stream_of_that_name_in_another_region(backend: Backend) {
    let server = TestServer::start(backend);
    let (west, east) = (Region::of(&server, WEST), Region::of(&server, EAST));
    west.ok("CreateStream", &create(1));
    east.ok("CreateStream", &create(1));
    let wanted = json!({"StreamName": "s", "ShardId": "0", "ShardIteratorType": "LATEST"});
    let iterator = west.ok("GetShardIterator", &wanted)["ShardIterator"].clone();
    let read = |region: &str| {
        let mut input = arn(region, ACCOUNT);
        input["ShardIterator"] = iterator.clone();
        input
    };
    assert_eq!(west.ok("GetRecords", &read(WEST))["Records"], json!([]));
    let (kind, message) = west.refusal("GetRecords", &read(EAST));
    assert_eq!(kind, "InvalidArgumentException");
    assert!(message.contains("not of the same stream"), "{message}");
}

fn a_name_under_two_accounts_is_two_streams(backend: Backend) {
    let server = TestServer::start(backend);
    let west = Region::of(&server, WEST);
    west.ok("CreateStream", &create(1));
    let theirs = arn(WEST, OTHER_ACCOUNT);
    assert_eq!(
        west.refusal("DescribeStream", &theirs).1,
        format!("Stream s under account {OTHER_ACCOUNT} not found.")
    );
    let of_other = server
        .store
        .namespace(&format!("{OTHER_ACCOUNT}/{WEST}"))
        .unwrap();
    of_other.create_stream("s", 1).unwrap();
    west.put(&theirs, "theirs");
    assert_eq!(west.data(&json!({"StreamName": "s"})), [""; 0]);
    assert_eq!(west.data(&theirs), ["theirs"]);
    let shown = west.ok("DescribeStreamSummary", &theirs);
    assert_eq!(
        shown["StreamDescriptionSummary"]["StreamARN"],
        theirs["StreamARN"]
    );
    west.ok("DeleteStream", &theirs);
    assert_eq!(west.names(), json!(["s"]));
}

fn the_shard_limit_is_for_all_regions_together_and_settings_are_not(backend: Backend) {
    let server = TestServer::with_options(backend, |options| options.shard_limit(3));
    let (west, east) = (Region::of(&server, WEST), Region::of(&server, EAST));
    west.ok("CreateStream", &create(2));
    let (kind, message) = east.refusal("CreateStream", &create(2));
    assert_eq!(kind, "LimitExceededException");
    assert!(
        message.contains("in us-east-1. Current shard count for the account: 2."),
        "{message}"
    );
    east.ok("CreateStream", &create(1));

    let enable = json!({"MinimumThroughputBillingCommitment": {"Status": "ENABLED"}});
    west.ok("UpdateAccountSettings", &enable);
    let status = |region: &Region<'_>| {
        let settings = region.ok("DescribeAccountSettings", &json!({}));
        settings["MinimumThroughputBillingCommitment"]["Status"].clone()
    };
    assert_eq!(
        (status(&west), status(&east)),
        (json!("ENABLED"), json!("DISABLED"))
    );
}

/// A stream, a consumer of it, and a queue, by their ARNs.
struct Here {
    stream: String,
    consumer: String,
    queue: String,
}

impl Here {
    fn make(region: &Region<'_>, name: &str) -> Here {
        let stream = text(&arn(name, ACCOUNT)["StreamARN"]);
        region.ok("CreateStream", &create(2));
        let register = json!({"StreamARN": stream, "ConsumerName": "c"});
        let consumer = region.ok("RegisterStreamConsumer", &register);
        let on_demand = json!({"StreamName": "jobs", "StreamModeDetails": {"StreamMode": "ON_DEMAND"}});
        region.ok("CreateStream", &on_demand);
        let jobs = stream.replace("stream/s", "stream/jobs");
        let queue = json!({"QueueName": "q", "StreamConfigurationList": [{"StreamARN": jobs}]});
        let queue = region.ok("CreateQueue", &queue);
        Here {
            stream,
            consumer: text(&consumer["Consumer"]["ConsumerARN"]),
            queue: text(&queue["QueueDescription"]["QueueARN"]),
        }
    }
}

fn no_operation_takes_an_arn_of_another_region_or_account_for_what_is_here(backend: Backend) {
    let server = TestServer::start(backend);
    let (west, east) = (Region::of(&server, WEST), Region::of(&server, EAST));
    let here = Here::make(&east, EAST);
    let of_here = || {
        let by_arn = json!({ "ResourceARN": here.stream });
        [
            east.ok("DescribeStream", &json!({ "StreamARN": here.stream })),
            east.ok("ListStreamConsumers", &json!({ "StreamARN": here.stream })),
            east.ok("ListTagsForResource", &by_arn),
            east.ok("GetResourcePolicy", &by_arn),
            east.ok("DescribeQueue", &json!({ "QueueARN": here.queue })),
        ]
    };
    let before = of_here();
    for (region, account) in [(WEST, ACCOUNT), (EAST, OTHER_ACCOUNT)] {
        let elsewhere = |arn: &str| json!(arn.replace(EAST, region).replace(ACCOUNT, account));
        let check = |operation: &str, input: &Value| {
            let (kind, message) = east.refusal(operation, input);
            assert_eq!(
                kind, "ResourceNotFoundException",
                "{operation} {input}: {message}"
            );
            assert!(message.contains(account), "{operation}: {message}");
        };
        for (operation, input) in calls::of_streams() {
            check(operation, &with(&input, "StreamARN", elsewhere(&here.stream)));
        }
        for (operation, input) in calls::of_consumers() {
            check(operation, &with(&input, "ConsumerARN", elsewhere(&here.consumer)));
        }
        for operation in ["DescribeStreamConsumer", "DeregisterStreamConsumer"] {
            let named = json!({"StreamARN": elsewhere(&here.stream), "ConsumerName": "c"});
            check(operation, &named);
        }
        for (operation, input) in calls::of_resources() {
            for arn in [&here.stream, &here.consumer, &here.queue] {
                check(operation, &with(&input, "ResourceARN", elsewhere(arn)));
            }
        }
        for (operation, input) in calls::of_queues() {
            check(operation, &with(&input, "QueueARN", elsewhere(&here.queue)));
        }
        let stream = json!([{ "StreamARN": elsewhere(&here.stream) }]);
        check(
            "CreateQueue",
            &json!({"QueueName": "r", "StreamConfigurationList": stream}),
        );
    }
    assert_eq!(of_here(), before);
    assert_eq!(west.names(), json!([]));
}

fn every_operation_is_about_what_its_arn_names_wherever_it_is_called(backend: Backend) {
    const NOT_FOUND: Option<&str> = Some("ResourceNotFoundException");
    let server = TestServer::start(backend);
    let (west, east) = (Region::of(&server, WEST), Region::of(&server, EAST));
    let here = Here::make(&east, EAST);
    let found = |operation: &str, input: &Value| {
        let reply = west.reply(operation, input);
        assert_ne!(
            reply.header("x-amzn-errortype"),
            NOT_FOUND,
            "{operation} {input}: {}",
            reply.text()
        );
    };
    for (operation, input) in calls::of_resources() {
        for arn in [&here.stream, &here.consumer] {
            found(operation, &with(&input, "ResourceARN", json!(arn)));
        }
    }
    for (operation, input) in calls::of_consumers() {
        let input = with(&input, "ConsumerARN", json!(here.consumer));
        match operation {
            // The call would not end.
            "SubscribeToShard" => found(operation, &with(&input, "DryRun", json!(true))),
            _ => found(operation, &input),
        }
    }
    found("DescribeQueue", &json!({ "QueueARN": here.queue }));
    for (operation, input) in calls::of_streams() {
        found(operation, &with(&input, "StreamARN", json!(here.stream)));
        // Each finds the stream in its first state.
        let delete = json!({"StreamARN": here.stream, "EnforceConsumerDeletion": true});
        west.reply("DeleteStream", &delete);
        east.ok("CreateStream", &create(2));
    }
    assert_eq!((west.names(), east.names()), (json!([]), json!(["jobs", "s"])));
}
