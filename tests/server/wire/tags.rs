//! The tags of streams.

use std::time::Duration;

use anabranch::ConsumerDescription;
use serde_json::{Value, json};

use super::test_server::{
    ACCOUNT, Backend, Setup, TestServer, all, in_use, invalid_argument, not_found, on_each_backend,
    validation,
};

const LIST: &str = "ListTagsForStream";
const ADD: &str = "AddTagsToStream";
const REMOVE: &str = "RemoveTagsFromStream";
const TAG: &str = "TagResource";
const UNTAG: &str = "UntagResource";
const LIST_OF_RESOURCE: &str = "ListTagsForResource";
const INVALID_CHARACTERS: &str = "Some tags contain invalid characters. Valid characters: Unicode letters, digits, \
                                  white space, _ . / = + - % @.";

on_each_backend!(
    a_stream_without_tags_has_an_empty_list,
    tags_are_listed_in_the_order_of_their_keys_code_points,
    a_page_goes_on_behind_a_key_that_need_not_be_there,
    a_stream_is_named_by_its_arn_too,
    tags_are_there_after_a_restart_and_go_with_their_stream,
    what_cannot_be_listed_is_refused_in_the_words_of_aws,
    tags_are_added_overwritten_and_removed,
    a_tag_has_letters_digits_and_spaces_of_all_scripts_and_colons,
    no_more_than_fifty_tags_are_on_a_stream_and_ten_in_a_call,
    calls_at_once_cannot_put_more_than_fifty_tags_on_a_stream,
    tags_of_wrong_characters_are_refused_and_nothing_is_changed,
    tags_out_of_their_constraints_are_refused,
    only_tags_of_an_active_stream_are_changed,
    a_consumer_has_tags_of_its_own,
    resources_that_are_not_there_are_not_found,
);

fn with_tags(backend: Backend, tags: &Value) -> TestServer {
    let server = TestServer::start(backend);
    let input = json!({"StreamName": "s", "ShardCount": 1, "Tags": tags});
    server.ok("CreateStream", &input);
    server
}

fn a_stream_without_tags_has_an_empty_list(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    assert_eq!(
        server.ok(LIST, &json!({"StreamName": "s"})),
        json!({"Tags": [], "HasMoreTags": false})
    );
}

fn tags_are_listed_in_the_order_of_their_keys_code_points(backend: Backend) {
    let server = with_tags(
        backend,
        &json!({"b": "2", "ä": "", "B": "x=y", "a": "1", "a b": "3"}),
    );
    let tags = json!([
        {"Key": "B", "Value": "x=y"},
        {"Key": "a", "Value": "1"},
        {"Key": "a b", "Value": "3"},
        {"Key": "b", "Value": "2"},
        {"Key": "ä", "Value": ""},
    ]);
    let server_tags = server.ok(LIST, &json!({"StreamName": "s"}));
    assert_eq!(server_tags["HasMoreTags"], false);
    assert_eq!(server_tags["Tags"], tags);
}

fn a_page_goes_on_behind_a_key_that_need_not_be_there(backend: Backend) {
    let tags: serde_json::Map<_, _> = (10..60)
        .map(|number| (number.to_string(), json!(format!("v{number}"))))
        .collect();
    let server = with_tags(backend, &Value::Object(tags));
    let all = server.ok(LIST, &json!({"StreamName": "s"}));
    assert_eq!(all["Tags"].as_array().unwrap().len(), 50);
    assert_eq!(all["HasMoreTags"], false);

    let mut listed = Vec::new();
    let mut input = json!({"StreamName": "s", "Limit": 20});
    let mut pages = Vec::new();
    loop {
        let page = server.ok(LIST, &input);
        let tags = page["Tags"].as_array().unwrap();
        pages.push(tags.len());
        listed.extend_from_slice(tags);
        if page["HasMoreTags"] == false {
            break;
        }
        input["ExclusiveStartTagKey"] = tags.last().unwrap()["Key"].clone();
    }
    assert_eq!(pages, [20, 20, 10]);
    assert_eq!(json!(listed), all["Tags"]);

    for (after, limit, keys, more) in [
        ("10", 1, vec!["11"], true),
        ("5", 1, vec!["50"], true),
        ("58", 1, vec!["59"], false),
        ("585", 50, vec!["59"], false),
        ("59", 1, vec![], false),
        ("z", 50, vec![], false),
    ] {
        let input = json!({"StreamName": "s", "ExclusiveStartTagKey": after, "Limit": limit});
        let page = server.ok(LIST, &input);
        let found: Vec<&str> = page["Tags"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tag| tag["Key"].as_str().unwrap())
            .collect();
        assert_eq!(
            (found, page["HasMoreTags"] == true),
            (keys, more),
            "after {after}"
        );
    }
}

fn a_stream_is_named_by_its_arn_too(backend: Backend) {
    let server = with_tags(backend, &json!({"a": "1"}));
    let arn = format!("arn:aws:kinesis:eu-west-1:{ACCOUNT}:stream/s");
    let expected = json!({"Tags": [{"Key": "a", "Value": "1"}], "HasMoreTags": false});
    assert_eq!(server.ok(LIST, &json!({"StreamARN": arn})), expected);
    assert_eq!(
        server.ok(LIST, &json!({"StreamARN": arn, "StreamName": "s"})),
        expected
    );
}

fn tags_are_there_after_a_restart_and_go_with_their_stream(backend: Backend) {
    let mut server = with_tags(backend, &json!({"a": "1"}));
    server.restart();
    let expected = json!({"Tags": [{"Key": "a", "Value": "1"}], "HasMoreTags": false});
    assert_eq!(server.ok(LIST, &json!({"StreamName": "s"})), expected);
    server.ok("DeleteStream", &json!({"StreamName": "s"}));
    server.create("s", 1);
    assert_eq!(server.ok(LIST, &json!({"StreamName": "s"}))["Tags"], json!([]));
}

fn what_cannot_be_listed_is_refused_in_the_words_of_aws(backend: Backend) {
    let server = TestServer::start(backend);
    assert_eq!(
        server.refusal(LIST, &json!({"StreamName": "s"})),
        not_found(format!("Stream s under account {ACCOUNT} not found."))
    );
    assert_eq!(
        server.refusal(LIST, &json!({})),
        invalid_argument("Either StreamName or StreamARN should be provided.")
    );
    for limit in [0, 51] {
        let bound = if limit == 0 {
            "greater than or equal to 1"
        } else {
            "less than or equal to 50"
        };
        assert_eq!(
            server.refusal(LIST, &json!({"StreamName": "s", "Limit": limit})),
            validation(&[&format!(
                "'{limit}' at 'limit' failed to satisfy constraint: Member must have value {bound}"
            )])
        );
    }
    assert_eq!(
        server.refusal(LIST, &json!({"StreamName": "s", "ExclusiveStartTagKey": ""})),
        validation(&["'' at 'exclusiveStartTagKey' failed to satisfy constraint: \
                      Member must have length greater than or equal to 1"])
    );
}

fn stream_arn(name: &str) -> String {
    format!("arn:aws:kinesis:eu-west-1:{ACCOUNT}:stream/{name}")
}

/// Tags with these keys, the empty string each.
fn keyed(keys: impl IntoIterator<Item = usize>) -> Value {
    Value::Object(
        keys.into_iter()
            .map(|key| (format!("{key:02}"), json!("")))
            .collect(),
    )
}

/// The tags of a stream as `key=value`. Checks that both operations that list them agree.
#[track_caller]
fn tags_of(server: &TestServer, stream: &str) -> Vec<String> {
    let of_stream = server.ok(LIST, &json!({"StreamName": stream}));
    let of_resource = server.ok(LIST_OF_RESOURCE, &json!({"ResourceARN": stream_arn(stream)}));
    assert_eq!(of_resource, json!({"Tags": of_stream["Tags"]}));
    listed(&of_resource)
}

#[track_caller]
fn listed(reply: &Value) -> Vec<String> {
    let (keys, values) = (all(&reply["Tags"], "Key"), all(&reply["Tags"], "Value"));
    let tags = keys.iter().zip(values);
    tags.map(|(key, value)| format!("{key}={value}")).collect()
}

fn tags_are_added_overwritten_and_removed(backend: Backend) {
    let mut server = TestServer::start(backend);
    server.create("s", 1);
    let added = json!({"StreamName": "s", "Tags": {"b": "2", "a": "1"}});
    assert_eq!(server.ok(ADD, &added), Value::Null);
    server.ok(
        ADD,
        &json!({"StreamARN": stream_arn("s"), "Tags": {"b": "3", "c": ""}}),
    );
    assert_eq!(tags_of(&server, "s"), ["a=1", "b=3", "c="]);
    let removed =
        json!({"StreamName": "s", "StreamARN": stream_arn("s"), "TagKeys": ["a", "never there", "a"]});
    assert_eq!(server.ok(REMOVE, &removed), Value::Null);
    assert_eq!(tags_of(&server, "s"), ["b=3", "c="]);
    server.restart();
    assert_eq!(tags_of(&server, "s"), ["b=3", "c="]);
    server.ok(
        REMOVE,
        &json!({"StreamARN": stream_arn("s"), "TagKeys": ["b", "c"]}),
    );
    assert_eq!(tags_of(&server, "s"), [""; 0]);
}

fn a_tag_has_letters_digits_and_spaces_of_all_scripts_and_colons(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    let tags = json!({
        "team:owner": "arn:aws:iam::123456789012:role/x",
        "my:aws:tag": ":",
        "ключ": "значение",
        "名前": "\u{3000}値",
        "हिन्दी": "٣½",
        "Ａ𝒜": "a_b.c/d=e+f-g@h i",
    });
    server.ok(ADD, &json!({"StreamName": "s", "Tags": tags}));
    let listed = server.ok(LIST, &json!({"StreamName": "s"}));
    for (key, value) in tags.as_object().unwrap() {
        let tag = json!({"Key": key, "Value": value});
        assert!(listed["Tags"].as_array().unwrap().contains(&tag), "{tag}");
    }
    let keys: Vec<_> = tags.as_object().unwrap().keys().collect();
    server.ok(REMOVE, &json!({"StreamName": "s", "TagKeys": keys}));
    assert_eq!(tags_of(&server, "s"), [""; 0]);
}

fn no_more_than_fifty_tags_are_on_a_stream_and_ten_in_a_call(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    for tens in 0..5 {
        server.ok(
            ADD,
            &json!({"StreamName": "s", "Tags": keyed(tens * 10..tens * 10 + 10)}),
        );
    }
    let full = tags_of(&server, "s");
    assert_eq!(full.len(), 50);
    let too_many = invalid_argument(format!(
        "Failed to add tags to stream s under account {ACCOUNT} because a given stream cannot have more than 50 tags \
         associated with it."
    ));
    // The tag that exists makes no room for the other.
    let one_more = json!({"StreamName": "s", "Tags": {"00": "new", "50": ""}});
    assert_eq!(server.refusal(ADD, &one_more), too_many);
    let one_more = json!({"ResourceARN": stream_arn("s"), "Tags": {"00": "new", "50": ""}});
    assert_eq!(server.refusal(TAG, &one_more), too_many);
    assert_eq!(tags_of(&server, "s"), full);
    server.ok(ADD, &json!({"StreamName": "s", "Tags": {"00": "new"}}));

    let ten_at_most = |path: &str| {
        validation(&[&format!(
            "at '{path}' failed to satisfy constraint: Member must have length less than or equal to 10"
        )])
    };
    assert_eq!(
        server.refusal(ADD, &json!({"StreamName": "s", "Tags": keyed(0..11)})),
        ten_at_most("tags")
    );
    let keys: Vec<_> = (0..11).map(|key| format!("{key:02}")).collect();
    assert_eq!(
        server.refusal(REMOVE, &json!({"StreamName": "s", "TagKeys": keys})),
        ten_at_most("tagKeys")
    );
    assert_eq!(tags_of(&server, "s").len(), 50);
    server.ok(REMOVE, &json!({"StreamName": "s", "TagKeys": keys[..10]}));
    server.ok(ADD, &json!({"StreamName": "s", "Tags": keyed(90..100)}));
    assert_eq!(tags_of(&server, "s").len(), 50);

    // By ARN, all fifty at once.
    let keys: Vec<_> = (10..50).chain(90..100).map(|key| key.to_string()).collect();
    server.ok(UNTAG, &json!({"ResourceARN": stream_arn("s"), "TagKeys": keys}));
    assert_eq!(tags_of(&server, "s"), [""; 0]);
    server.ok(
        TAG,
        &json!({"ResourceARN": stream_arn("s"), "Tags": keyed(0..50)}),
    );
    assert_eq!(tags_of(&server, "s").len(), 50);
}

fn calls_at_once_cannot_put_more_than_fifty_tags_on_a_stream(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    server.ok(
        TAG,
        &json!({"ResourceARN": stream_arn("s"), "Tags": keyed(0..45)}),
    );
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let server = &server;
            scope.spawn(move || {
                let first = 50 + thread * 5;
                server.call(ADD, &json!({"StreamName": "s", "Tags": keyed(first..first + 5)}))
            });
        }
    });
    assert_eq!(tags_of(&server, "s").len(), 50);
}

fn tags_of_wrong_characters_are_refused_and_nothing_is_changed(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    server.ok(ADD, &json!({"StreamName": "s", "Tags": {"a": "1"}}));
    let (name, arn) = (
        json!({"StreamName": "s"}),
        json!({"ResourceARN": stream_arn("s")}),
    );
    let with = |target: &Value, member: &str, value: Value| {
        let mut input = target.clone();
        input[member] = value;
        input
    };
    for (operation, target) in [(ADD, &name), (TAG, &arn)] {
        let refusal = |tags: Value| server.refusal(operation, &with(target, "Tags", tags));
        for character in ["!", "*", ";", ",", "\u{0}", "\n", "😀"] {
            assert_eq!(
                refusal(json!({"b": "1", character: ""})),
                invalid_argument(INVALID_CHARACTERS)
            );
            assert_eq!(
                refusal(json!({"b": character})),
                invalid_argument(INVALID_CHARACTERS)
            );
        }
        assert_eq!(
            refusal(json!({"b": "1%"})),
            invalid_argument(format!(
                "Failed to add tags to stream s under account {ACCOUNT} because some tags contained illegal \
                 characters. The allowed characters are Unicode letters, white-spaces, \
                 '_',',','/','=','+','-','@'."
            ))
        );
        assert_eq!(
            refusal(json!({"b": "1", "AWS:b": "1"})),
            invalid_argument(format!(
                "Failed to add tags to stream s under account {ACCOUNT} because some tags have a key that starts \
                 with the reserved prefix aws:."
            ))
        );
    }
    for (operation, target) in [(REMOVE, &name), (UNTAG, &arn)] {
        let refusal = |keys: Value| server.refusal(operation, &with(target, "TagKeys", keys));
        assert_eq!(refusal(json!(["a", "!"])), invalid_argument(INVALID_CHARACTERS));
        assert_eq!(
            refusal(json!(["a", "%"])),
            invalid_argument(format!(
                "Failed to remove tags from stream s under account {ACCOUNT} because some tags contained illegal \
                 characters. The allowed characters are Unicode letters, white-spaces, \
                 '_',',','/','=','+','-','@'."
            ))
        );
        assert_eq!(
            refusal(json!(["a", "aws:b"])),
            invalid_argument(format!(
                "Failed to remove tags from stream s under account {ACCOUNT} because some tags have a key that starts \
                 with the reserved prefix aws:."
            ))
        );
    }
    assert_eq!(tags_of(&server, "s"), ["a=1"]);
    let reserved = json!({"StreamName": "t", "ShardCount": 1, "Tags": {"aws:x": ""}});
    assert_eq!(
        server.refusal("CreateStream", &reserved).0,
        "InvalidArgumentException"
    );
}

fn tags_out_of_their_constraints_are_refused(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    let (long_key, long_value) = ("k".repeat(129), "v".repeat(257));
    for (operation, target) in [
        (ADD, json!({"StreamName": "s"})),
        (TAG, json!({"ResourceARN": stream_arn("s")})),
    ] {
        let refusal = |tags: Value| {
            let mut input = target.clone();
            input["Tags"] = tags;
            server.refusal(operation, &input)
        };
        assert_eq!(
            refusal(Value::Null),
            validation(&["null at 'tags' failed to satisfy constraint: Member must not be null"])
        );
        assert_eq!(
            refusal(json!({})),
            validation(&[
                "'{}' at 'tags' failed to satisfy constraint: Member must have length greater than or equal to 1"
            ])
        );
        assert_eq!(
            refusal(json!({&long_key: ""})),
            validation(&[&format!(
                "'{{{long_key}=}}' at 'tags' failed to satisfy constraint: Map keys must satisfy constraint: [Member \
                 must have length less than or equal to 128, Member must have length greater than or equal to 1]"
            )])
        );
        assert_eq!(
            refusal(json!({"k": &long_value})),
            validation(&[&format!(
                "'{{k={long_value}}}' at 'tags' failed to satisfy constraint: Map value must satisfy constraint: \
                 [Member must have length less than or equal to 256, Member must have length greater than or equal to 0]"
            )])
        );
        assert_eq!(refusal(json!({"k": 1})).0, "SerializationException");
    }
    for (operation, target) in [
        (REMOVE, json!({"StreamName": "s"})),
        (UNTAG, json!({"ResourceARN": stream_arn("s")})),
    ] {
        let refusal = |keys: Value| {
            let mut input = target.clone();
            input["TagKeys"] = keys;
            server.refusal(operation, &input)
        };
        assert_eq!(
            refusal(json!([])),
            validation(&[
                "'[]' at 'tagKeys' failed to satisfy constraint: Member must have length greater than or equal to 1"
            ])
        );
        assert_eq!(
            refusal(json!([""])),
            validation(&[
                "'[]' at 'tagKeys' failed to satisfy constraint: Member must satisfy constraint: [Member must have \
                 length less than or equal to 128, Member must have length greater than or equal to 1]"
            ])
        );
        assert_eq!(refusal(json!({})).0, "SerializationException");
    }
    assert_eq!(tags_of(&server, "s"), [""; 0]);
}

fn only_tags_of_an_active_stream_are_changed(backend: Backend) {
    let server = TestServer::with(
        backend,
        Setup {
            transition_delay: Duration::from_secs(10),
            ..Setup::default()
        },
    );
    let created = json!({"StreamName": "s", "ShardCount": 1, "Tags": {"a": "1"}});
    server.ok("CreateStream", &created);
    let tags = json!({"b": "2"});
    let changes = [
        (ADD, json!({"StreamName": "s", "Tags": tags})),
        (REMOVE, json!({"StreamName": "s", "TagKeys": ["a"]})),
        (TAG, json!({"ResourceARN": stream_arn("s"), "Tags": tags})),
        (UNTAG, json!({"ResourceARN": stream_arn("s"), "TagKeys": ["a"]})),
    ];
    let refused_as = |status: &str| {
        for (operation, input) in &changes {
            assert_eq!(
                server.refusal(operation, input),
                in_use(format!(
                    "Stream s under account {ACCOUNT} not ACTIVE, instead in state {status}"
                ))
            );
        }
        assert_eq!(tags_of(&server, "s"), ["a=1"]);
    };
    refused_as("CREATING");
    server.advance(Duration::from_secs(11));
    let split = json!({"StreamName": "s", "ShardToSplit": "0", "NewStartingHashKey": "100"});
    server.ok("SplitShard", &split);
    refused_as("UPDATING");
    server.advance(Duration::from_secs(11));
    for (operation, input) in &changes {
        server.ok(operation, input);
    }
    assert_eq!(tags_of(&server, "s"), ["b=2"]);
    server.ok("DeleteStream", &json!({"StreamName": "s"}));
    assert_eq!(server.refusal(ADD, &changes[0].1).0, "ResourceInUseException");
    server.advance(Duration::from_secs(11));
    for (operation, input) in &changes {
        assert_eq!(
            server.refusal(operation, input),
            not_found(format!("Stream s under account {ACCOUNT} not found."))
        );
    }
}

fn consumer_arn(stream: &str, consumer: &ConsumerDescription) -> String {
    let created = consumer.created.as_seconds();
    format!("{}/consumer/{}:{created}", stream_arn(stream), consumer.name)
}

fn a_consumer_has_tags_of_its_own(backend: Backend) {
    let mut server = TestServer::start(backend);
    server.create("s", 1);
    let consumer = server
        .streams()
        .stream("s")
        .unwrap()
        .register_consumer("c")
        .unwrap();
    let arn = consumer_arn("s", &consumer);
    let tags = |server: &TestServer| listed(&server.ok(LIST_OF_RESOURCE, &json!({"ResourceARN": arn})));
    assert_eq!(tags(&server), [""; 0]);
    let tag = |tags: Value| json!({"ResourceARN": arn, "Tags": tags});
    assert_eq!(server.ok(TAG, &tag(json!({"b": "2", "a": "1"}))), Value::Null);
    let untag = json!({"ResourceARN": arn, "TagKeys": ["b", "never there"]});
    assert_eq!(server.ok(UNTAG, &untag), Value::Null);
    assert_eq!(
        server.refusal(TAG, &tag(keyed(0..50))),
        invalid_argument(format!(
            "Failed to add tags to consumer c under account {ACCOUNT} because a given consumer cannot have more than \
             50 tags associated with it."
        ))
    );
    server.restart();
    assert_eq!(tags(&server), ["a=1"]);
    assert_eq!(tags_of(&server, "s"), [""; 0]);

    let stream = server.streams().stream("s").unwrap();
    stream.remove_consumer(consumer.id).unwrap();
    server.clock.advance(Duration::from_secs(1));
    let again = stream.register_consumer("c").unwrap();
    assert_eq!(
        server.refusal(TAG, &tag(json!({"a": "1"}))),
        not_found(format!("Consumer c, account {ACCOUNT} not found."))
    );
    let of_the_new_one = json!({"ResourceARN": consumer_arn("s", &again)});
    assert_eq!(server.ok(LIST_OF_RESOURCE, &of_the_new_one), json!({"Tags": []}));
}

fn resources_that_are_not_there_are_not_found(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    let head = format!("arn:aws:kinesis:eu-west-1:{ACCOUNT}:");
    let resource = |rest: &str| format!("Resource {head}{rest} under account {ACCOUNT} not found.");
    for (rest, message) in [
        ("stream/t", format!("Stream t under account {ACCOUNT} not found.")),
        (
            "stream/s/consumer/c:1",
            format!("Consumer c, account {ACCOUNT} not found."),
        ),
        (
            "stream/t/consumer/c:1",
            format!("Stream t under account {ACCOUNT} not found."),
        ),
        ("stream/s/consumer/c", resource("stream/s/consumer/c")),
        ("queue/s", resource("queue/s")),
        ("channel/s", resource("channel/s")),
    ] {
        let arn = format!("{head}{rest}");
        for (operation, input) in [
            (TAG, json!({"ResourceARN": arn, "Tags": {"a": "1"}})),
            (UNTAG, json!({"ResourceARN": arn, "TagKeys": ["a"]})),
            (LIST_OF_RESOURCE, json!({"ResourceARN": arn})),
        ] {
            assert_eq!(server.refusal(operation, &input), not_found(&message));
        }
    }
    let pattern = r"arn:aws.*:kinesis:.*:\d{12}:.*(stream|channel|queue)/\S+";
    let constraint = "failed to satisfy constraint: Member must satisfy regular expression pattern";
    for (operation, input) in [
        (TAG, json!({"ResourceARN": "s", "Tags": {"a": "1"}})),
        (UNTAG, json!({"ResourceARN": "s", "TagKeys": ["a"]})),
        (LIST_OF_RESOURCE, json!({"ResourceARN": "s"})),
    ] {
        assert_eq!(
            server.refusal(operation, &input),
            validation(&[&format!("'s' at 'resourceARN' {constraint}: {pattern}")])
        );
    }
    for operation in [ADD, REMOVE] {
        let input = json!({"Tags": {"a": "1"}, "TagKeys": ["a"]});
        assert_eq!(
            server.refusal(operation, &input),
            invalid_argument("Either StreamName or StreamARN should be provided.")
        );
    }
    assert_eq!(tags_of(&server, "s"), [""; 0]);
}
