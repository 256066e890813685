//! Splitting, merging and listing shards.

use std::time::Duration;

use serde_json::{Value, json};

use super::test_server::{
    ACCOUNT, Backend, START, Setup, TestServer, all, in_use, invalid_argument, not_found, on_each_backend,
    text, validation,
};

const LAST_KEY: &str = "340282366920938463463374607431768211455";
const MIDDLE: &str = "170141183460469231731687303715884105728";

fn id(index: u32) -> String {
    format!("shardId-{index:012}")
}

fn list(server: &TestServer, input: &Value) -> Vec<String> {
    all(&server.ok("ListShards", input)["Shards"], "ShardId")
}

fn filtered(server: &TestServer, filter: &Value) -> Vec<String> {
    list(server, &json!({"StreamName": "s", "ShardFilter": filter}))
}

fn split(shard: &str, key: &str) -> Value {
    json!({"StreamName": "s", "ShardToSplit": shard, "NewStartingHashKey": key})
}

fn merge(first: &str, second: &str) -> Value {
    json!({"StreamName": "s", "ShardToMerge": first, "AdjacentShardToMerge": second})
}

fn no_shard(shard: &str) -> (String, String) {
    not_found(format!(
        "Could not find shard {shard} in stream s under account {ACCOUNT}."
    ))
}

fn already_resharded(index: u32) -> (String, String) {
    invalid_argument(format!(
        "Shard {} in stream s under account {ACCOUNT} has already been merged or split, and thus is not eligible for \
         merging or splitting.",
        id(index)
    ))
}

on_each_backend!(
    a_split_closes_the_shard_and_opens_two,
    a_merge_closes_two_shards_and_opens_one,
    what_cannot_be_split_is_refused_in_the_words_of_aws,
    what_cannot_be_merged_is_refused_in_the_words_of_aws,
    on_demand_streams_are_not_resharded_by_hand,
    shards_that_are_being_made_count_against_the_limit,
    creations_at_the_same_time_do_not_pass_the_limit_together,
    without_a_limit_of_its_own_a_server_has_that_of_an_account,
    an_account_can_have_a_limit_of_shards,
    shards_are_listed_in_pages,
    every_filter_selects_its_shards,
    expired_shards_are_not_listed,
    a_filter_needs_what_its_type_says,
    a_list_is_named_or_continued_but_not_both,
    a_place_in_the_list_of_shards_is_kept_for_five_minutes,
    a_place_in_the_list_belongs_to_the_stream_and_not_to_its_name,
    a_creation_time_tells_streams_of_one_name_apart,
    a_second_reshard_waits_for_the_first,
);

fn a_split_closes_the_shard_and_opens_two(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    server.clock.advance(Duration::from_secs(60));
    assert_eq!(
        server.ok("SplitShard", &split("shardId-000000000000", MIDDLE)),
        Value::Null
    );
    let shards = server.ok("ListShards", &json!({"StreamName": "s"}))["Shards"].clone();
    let closed = &shards[0]["SequenceNumberRange"];
    assert_eq!(shards.as_array().unwrap().len(), 3);
    assert_eq!(shards[0].get("ParentShardId"), None);
    for (child, range) in [
        (
            &shards[1],
            json!({"StartingHashKey": "0", "EndingHashKey": "170141183460469231731687303715884105727"}),
        ),
        (
            &shards[2],
            json!({"StartingHashKey": MIDDLE, "EndingHashKey": LAST_KEY}),
        ),
    ] {
        assert_eq!(child["HashKeyRange"], range);
        assert_eq!(child["ParentShardId"], id(0));
        assert_eq!(child.get("AdjacentParentShardId"), None);
        let numbers = &child["SequenceNumberRange"];
        assert_eq!(numbers.get("EndingSequenceNumber"), None);
        assert!(text(&numbers["StartingSequenceNumber"]) > text(&closed["EndingSequenceNumber"]));
    }
}

fn a_merge_closes_two_shards_and_opens_one(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 3);
    assert_eq!(server.ok("MergeShards", &merge(&id(1), "2")), Value::Null);
    let shards = server.ok("ListShards", &json!({"StreamName": "s"}))["Shards"].clone();
    assert_eq!(all(&shards, "ShardId"), [id(0), id(1), id(2), id(3)]);
    let child = &shards[3];
    assert_eq!(
        (&child["ParentShardId"], &child["AdjacentParentShardId"]),
        (&json!(id(1)), &json!(id(2)))
    );
    assert_eq!(
        child["HashKeyRange"]["StartingHashKey"],
        shards[1]["HashKeyRange"]["StartingHashKey"]
    );
    assert_eq!(child["HashKeyRange"]["EndingHashKey"], LAST_KEY);
    assert_eq!(shards[0]["SequenceNumberRange"].get("EndingSequenceNumber"), None);
    assert!(shards[1]["SequenceNumberRange"]["EndingSequenceNumber"].is_string());
    assert!(shards[2]["SequenceNumberRange"]["EndingSequenceNumber"].is_string());
}

fn what_cannot_be_split_is_refused_in_the_words_of_aws(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 2);
    for shard in ["shard", "shardId-", "shardId-9999999999", "5-"] {
        assert_eq!(server.refusal("SplitShard", &split(shard, "5")), no_shard(shard));
    }
    assert_eq!(server.refusal("SplitShard", &split("7", "5")), no_shard(&id(7)));
    let over = "340282366920938463463374607431768211456";
    let end = "170141183460469231731687303715884105727";
    for key in ["0", "1", end, MIDDLE, LAST_KEY, over, &"9".repeat(39)] {
        assert_eq!(
            server.refusal("SplitShard", &split("shardId-0", key)),
            invalid_argument(format!(
                "NewStartingHashKey {key} used in SplitShard() on shard {} in stream s under account {ACCOUNT} is not \
                 both greater than one plus the shard's StartingHashKey 0 and less than the shard's EndingHashKey \
                 {end}.",
                id(0)
            ))
        );
    }
    assert_eq!(list(&server, &json!({"StreamName": "s"})), [id(0), id(1)]);
    server.ok("SplitShard", &split("shardId-0", "2"));
    assert_eq!(
        server.refusal("SplitShard", &split("shardId-0", "5")),
        already_resharded(0)
    );
    server.ok(
        "SplitShard",
        &split("3", "170141183460469231731687303715884105726"),
    );
}

fn what_cannot_be_merged_is_refused_in_the_words_of_aws(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 4);
    assert_eq!(server.refusal("MergeShards", &merge("x", "y")), no_shard("x"));
    assert_eq!(server.refusal("MergeShards", &merge("0", "y")), no_shard("y"));
    assert_eq!(server.refusal("MergeShards", &merge("8", "9")), no_shard(&id(8)));
    assert_eq!(server.refusal("MergeShards", &merge("0", "9")), no_shard(&id(9)));
    for (first, second) in [(0, 2), (1, 0), (3, 0), (1, 1)] {
        assert_eq!(
            server.refusal("MergeShards", &merge(&id(first), &id(second))),
            invalid_argument(format!(
                "Shards {} and {} in stream s under account {ACCOUNT} are not an adjacent pair of shards eligible for \
                 merging",
                id(first),
                id(second)
            ))
        );
    }
    server.ok("MergeShards", &merge("0", "1"));
    assert_eq!(
        server.refusal("MergeShards", &merge("0", "1")),
        already_resharded(0)
    );
    assert_eq!(
        server.refusal("MergeShards", &merge("1", "2")),
        already_resharded(1)
    );
}

fn on_demand_streams_are_not_resharded_by_hand(backend: Backend) {
    let server = TestServer::start(backend);
    server.ok(
        "CreateStream",
        &json!({"StreamName": "s", "StreamModeDetails": {"StreamMode": "ON_DEMAND"}}),
    );
    let refused = (
        "ValidationException".to_owned(),
        format!("Request is invalid. Stream s under account {ACCOUNT} is in On-Demand mode."),
    );
    assert_eq!(server.refusal("SplitShard", &split("0", "5")), refused);
    assert_eq!(server.refusal("MergeShards", &merge("0", "1")), refused);
}

/// The error of a request for `additional` shards if the limit is 3 and there are `current`.
fn beyond(current: u32, additional: u32) -> (String, String) {
    let message = format!(
        "This request would exceed the shard limit for the account {ACCOUNT} in eu-west-1. Current shard count for \
         the account: {current}. Limit: 3. Number of additional shards that would have resulted from this request: \
         {additional}. Refer to the AWS Service Limits page \
         (http://docs.aws.amazon.com/general/latest/gr/aws_service_limits.html) for current limits and how to \
         request higher limits."
    );
    ("LimitExceededException".to_owned(), message)
}

fn shards_that_are_being_made_count_against_the_limit(backend: Backend) {
    let server = TestServer::with(
        backend,
        Setup {
            transition_delay: Duration::from_secs(10),
            options: Some(|options| options.shard_limit(3)),
            ..Setup::default()
        },
    );
    let create = |name: &str, shards: u32| {
        server.call("CreateStream", &json!({"StreamName": name, "ShardCount": shards}))
    };
    create("s", 2).ok();
    assert_eq!(create("t", 2).refusal(), beyond(2, 2));
    server.advance(Duration::from_secs(10));
    server.ok("SplitShard", &split("0", "5"));
    assert_eq!(create("t", 1).refusal(), beyond(3, 1));
    server.advance(Duration::from_secs(10));
    assert_eq!(create("t", 1).refusal(), beyond(3, 1));
    server.ok("MergeShards", &merge("2", "3"));
    assert_eq!(create("t", 1).refusal(), beyond(3, 1));
    server.advance(Duration::from_secs(10));
    create("t", 1).ok();
}

fn creations_at_the_same_time_do_not_pass_the_limit_together(backend: Backend) {
    let server = TestServer::with_options(backend, |options| options.shard_limit(3));
    let created: u32 = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..16)
            .map(|number| {
                let server = &server;
                scope.spawn(move || {
                    let input = json!({"StreamName": format!("s{number}"), "ShardCount": 1});
                    u32::from(server.call("CreateStream", &input).status == 200)
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    assert_eq!(created, 3);
}

fn without_a_limit_of_its_own_a_server_has_that_of_an_account(backend: Backend) {
    let server = TestServer::start(backend);
    let create = |name: &str, shards: u32| {
        server.call("CreateStream", &json!({"StreamName": name, "ShardCount": shards}))
    };
    assert_eq!(create("s", 100_000).refusal().0, "LimitExceededException");
    create("s", 20_000).ok();
    assert_eq!(create("t", 1).refusal().0, "LimitExceededException");
}

fn an_account_can_have_a_limit_of_shards(backend: Backend) {
    let server = TestServer::with_options(backend, |options| options.shard_limit(3));
    assert_eq!(
        server.refusal("CreateStream", &json!({"StreamName": "s", "ShardCount": 4})),
        beyond(0, 4)
    );
    server.create("s", 2);
    assert_eq!(
        server.refusal("CreateStream", &json!({"StreamName": "t", "ShardCount": 2})),
        beyond(2, 2)
    );
    server.ok("SplitShard", &split("0", "5"));
    assert_eq!(server.refusal("SplitShard", &split("1", "5")), beyond(3, 1));
    assert_eq!(server.ok("ListStreams", &json!({}))["StreamNames"], json!(["s"]));
}

fn shards_are_listed_in_pages(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1005);
    let first = server.ok("ListShards", &json!({"StreamName": "s"}));
    assert_eq!(first["Shards"].as_array().unwrap().len(), 1000);
    let second = server.ok("ListShards", &json!({"NextToken": first["NextToken"]}));
    assert_eq!(
        all(&second["Shards"], "ShardId"),
        [id(1000), id(1001), id(1002), id(1003), id(1004)]
    );
    assert_eq!(second.get("NextToken"), None);

    let page = server.ok("ListShards", &json!({"StreamName": "s", "MaxResults": 10_000}));
    assert_eq!(page["Shards"].as_array().unwrap().len(), 1000);
    let page = server.ok(
        "ListShards",
        &json!({"StreamName": "s", "MaxResults": 2, "ExclusiveStartShardId": id(1000)}),
    );
    assert_eq!(all(&page["Shards"], "ShardId"), [id(1001), id(1002)]);
    let page = server.ok(
        "ListShards",
        &json!({"NextToken": page["NextToken"], "MaxResults": 2}),
    );
    assert_eq!(all(&page["Shards"], "ShardId"), [id(1003), id(1004)]);
    assert_eq!(page.get("NextToken"), None);
    assert_eq!(
        server.refusal(
            "ListShards",
            &json!({"StreamName": "s", "ExclusiveStartShardId": "shard"})
        ),
        no_shard("shard")
    );
}

fn every_filter_selects_its_shards(backend: Backend) {
    let server = TestServer::start(backend);
    let at = |seconds: u64| START.as_seconds() as f64 + seconds as f64;
    let timed = |kind: &str, seconds: u64| json!({"Type": kind, "Timestamp": at(seconds)});
    server.create("s", 2);
    server.clock.advance(Duration::from_secs(100));
    server.ok("SplitShard", &split("0", "1000")); // 2 and 3
    server.clock.advance(Duration::from_secs(100));
    server.ok("MergeShards", &merge("3", "1")); // 4

    let everything = [id(0), id(1), id(2), id(3), id(4)];
    assert_eq!(list(&server, &json!({"StreamName": "s"})), everything);
    assert_eq!(
        filtered(&server, &json!({"Type": "FROM_TRIM_HORIZON"})),
        everything
    );
    assert_eq!(
        filtered(&server, &json!({"Type": "AT_TRIM_HORIZON"})),
        [id(0), id(1)]
    );
    assert_eq!(filtered(&server, &json!({"Type": "AT_LATEST"})), [id(2), id(4)]);
    for (seconds, shards) in [
        (0, vec![0, 1]),
        (99, vec![0, 1]),
        (101, vec![1, 2, 3]),
        (201, vec![2, 4]),
        (900, vec![2, 4]),
    ] {
        let shards: Vec<_> = shards.into_iter().map(id).collect();
        assert_eq!(
            filtered(&server, &timed("AT_TIMESTAMP", seconds)),
            shards,
            "{seconds} s"
        );
    }
    for (seconds, shards) in [
        (0, vec![0, 1, 2, 3, 4]),
        (101, vec![1, 2, 3, 4]),
        (201, vec![2, 4]),
        (900, vec![2, 4]),
    ] {
        let shards: Vec<_> = shards.into_iter().map(id).collect();
        assert_eq!(
            filtered(&server, &timed("FROM_TIMESTAMP", seconds)),
            shards,
            "{seconds} s"
        );
    }
    for (after, shards) in [
        ("shardId-0", vec![1, 2, 3, 4]),
        ("3", vec![4]),
        ("4", vec![]),
        ("99", vec![]),
    ] {
        let shards: Vec<_> = shards.into_iter().map(id).collect();
        assert_eq!(
            filtered(&server, &json!({"Type": "AFTER_SHARD_ID", "ShardId": after})),
            shards
        );
    }

    // A filter holds for all pages of a list.
    let page = json!({"StreamName": "s", "MaxResults": 1, "ShardFilter": {"Type": "AT_LATEST"}});
    let page = server.ok("ListShards", &page);
    assert_eq!(all(&page["Shards"], "ShardId"), [id(2)]);
    let page = server.ok(
        "ListShards",
        &json!({"NextToken": page["NextToken"], "MaxResults": 1}),
    );
    assert_eq!(
        (all(&page["Shards"], "ShardId"), page.get("NextToken")),
        (vec![id(4)], None)
    );
}

fn expired_shards_are_not_listed(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    server.ok("SplitShard", &split("0", "1000"));
    server.advance(Duration::from_secs(25 * 3600));
    assert_eq!(list(&server, &json!({"StreamName": "s"})), [id(1), id(2)]);
    assert_eq!(
        filtered(&server, &json!({"Type": "AT_TRIM_HORIZON"})),
        [id(1), id(2)]
    );
    let shards = server.ok("ListShards", &json!({"StreamName": "s"}))["Shards"].clone();
    assert_eq!(shards[0]["ParentShardId"], id(0));
}

fn a_filter_needs_what_its_type_says(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    let refusal =
        |filter: Value| server.refusal("ListShards", &json!({"StreamName": "s", "ShardFilter": filter}));
    for kind in ["AT_TIMESTAMP", "FROM_TIMESTAMP"] {
        assert_eq!(
            refusal(json!({"Type": kind})),
            invalid_argument(format!(
                "Timestamp must be provided in ShardFilter when its Type is {kind}."
            ))
        );
    }
    assert_eq!(
        refusal(json!({"Type": "AFTER_SHARD_ID"})),
        invalid_argument("ShardId must be provided in ShardFilter when its Type is AFTER_SHARD_ID.")
    );
    assert_eq!(
        refusal(json!({"Type": "AFTER_SHARD_ID", "ShardId": "x"})),
        no_shard("x")
    );
    assert_eq!(
        refusal(json!({})),
        validation(&["null at 'shardFilter.type' failed to satisfy constraint: Member must not be null"])
    );
    assert_eq!(
        refusal(json!({"Type": "LATEST", "ShardId": ""})),
        validation(&[
            "'LATEST' at 'shardFilter.type' failed to satisfy constraint: Member must satisfy enum value set: \
             [AFTER_SHARD_ID, AT_TRIM_HORIZON, FROM_TRIM_HORIZON, AT_LATEST, AT_TIMESTAMP, FROM_TIMESTAMP]",
            "'' at 'shardFilter.shardId' failed to satisfy constraint: Member must satisfy regular expression pattern: \
             [a-zA-Z0-9_.-]+",
            "'' at 'shardFilter.shardId' failed to satisfy constraint: Member must have length greater than or equal \
             to 1",
        ])
    );
}

fn a_list_is_named_or_continued_but_not_both(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 2);
    let token = server.ok("ListShards", &json!({"StreamName": "s", "MaxResults": 1}))["NextToken"].clone();
    assert_eq!(
        server.refusal("ListShards", &json!({})),
        invalid_argument("Either NextToken or StreamName should be provided.")
    );
    for (member, value) in [
        ("StreamName", json!("s")),
        (
            "StreamARN",
            json!("arn:aws:kinesis:eu-west-1:000000000000:stream/s"),
        ),
        ("ShardFilter", json!({"Type": "AT_LATEST"})),
        ("ExclusiveStartShardId", json!("0")),
        ("StreamCreationTimestamp", json!(1)),
    ] {
        let mut input = json!({"NextToken": token});
        input[member] = value;
        assert_eq!(
            server.refusal("ListShards", &input),
            invalid_argument(format!("NextToken and {member} cannot be provided together."))
        );
    }
    for forged in ["x", "AAAA", &text(&token)[4..]] {
        assert_eq!(
            server.refusal("ListShards", &json!({"NextToken": forged})),
            invalid_argument("Invalid NextToken.")
        );
    }
}

fn a_place_in_the_list_of_shards_is_kept_for_five_minutes(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 2);
    let token = server.ok("ListShards", &json!({"StreamName": "s", "MaxResults": 1}))["NextToken"].clone();
    server.clock.advance(Duration::from_secs(300));
    assert_eq!(list(&server, &json!({"NextToken": token})), [id(1)]);
    server.clock.advance(Duration::from_millis(1));
    assert_eq!(
        server.refusal("ListShards", &json!({"NextToken": token})).0,
        "ExpiredNextTokenException"
    );
}

fn a_place_in_the_list_belongs_to_the_stream_and_not_to_its_name(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 2);
    let token = server.ok("ListShards", &json!({"StreamName": "s", "MaxResults": 1}))["NextToken"].clone();
    server.ok("DeleteStream", &json!({"StreamName": "s"}));
    server.create("s", 2);
    assert_eq!(
        server.refusal("ListShards", &json!({"NextToken": token})),
        not_found(format!("Stream s under account {ACCOUNT} not found."))
    );
}

fn a_creation_time_tells_streams_of_one_name_apart(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    let created = START.as_seconds() as f64;
    for time in [created, created + 0.5, created - 0.9] {
        assert_eq!(
            list(
                &server,
                &json!({"StreamName": "s", "StreamCreationTimestamp": time})
            ),
            [id(0)]
        );
    }
    assert_eq!(
        server.refusal(
            "ListShards",
            &json!({"StreamName": "s", "StreamCreationTimestamp": created - 3600.0})
        ),
        not_found(format!("Stream s under account {ACCOUNT} not found."))
    );
}

fn a_second_reshard_waits_for_the_first(backend: Backend) {
    let delay = Duration::from_secs(1);
    let server = TestServer::with(
        backend,
        Setup {
            transition_delay: delay,
            ..Setup::default()
        },
    );
    server.create("s", 2);
    server.advance(delay);
    server.ok("MergeShards", &merge("0", "1"));
    let updating = in_use(format!(
        "Stream s under account {ACCOUNT} not ACTIVE, instead in state UPDATING"
    ));
    assert_eq!(server.refusal("MergeShards", &merge("0", "1")), updating);
    assert_eq!(server.refusal("SplitShard", &split("0", "9")), updating);
    assert_eq!(list(&server, &json!({"StreamName": "s"})), [id(0), id(1)]);
    server.advance(delay);
    assert_eq!(list(&server, &json!({"StreamName": "s"})), [id(0), id(1), id(2)]);
}
