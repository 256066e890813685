//! The tags of streams.

use serde_json::{Value, json};

use crate::support::{ACCOUNT, TestServer, invalid_argument, not_found, validation};

const LIST: &str = "ListTagsForStream";

fn with_tags(tags: &Value) -> TestServer {
    let server = TestServer::start();
    let input = json!({"StreamName": "s", "ShardCount": 1, "Tags": tags});
    server.ok("CreateStream", &input);
    server
}

#[test]
fn a_stream_without_tags_has_an_empty_list() {
    let server = TestServer::start();
    server.create("s", 1);
    assert_eq!(
        server.ok(LIST, &json!({"StreamName": "s"})),
        json!({"Tags": [], "HasMoreTags": false})
    );
}

#[test]
fn tags_are_listed_in_the_order_of_their_keys_code_points() {
    let server = with_tags(&json!({"b": "2", "ä": "", "B": "x=y", "a": "1", "a b": "3"}));
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

#[test]
fn a_page_goes_on_behind_a_key_that_need_not_be_there() {
    let tags: serde_json::Map<_, _> = (10..60)
        .map(|number| (number.to_string(), json!(format!("v{number}"))))
        .collect();
    let server = with_tags(&Value::Object(tags));
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

#[test]
fn a_stream_is_named_by_its_arn_too() {
    let server = with_tags(&json!({"a": "1"}));
    let arn = format!("arn:aws:kinesis:eu-west-1:{ACCOUNT}:stream/s");
    let expected = json!({"Tags": [{"Key": "a", "Value": "1"}], "HasMoreTags": false});
    assert_eq!(server.ok(LIST, &json!({"StreamARN": arn})), expected);
    assert_eq!(
        server.ok(LIST, &json!({"StreamARN": arn, "StreamName": "s"})),
        expected
    );
}

#[test]
fn tags_are_there_after_a_restart_and_go_with_their_stream() {
    let mut server = with_tags(&json!({"a": "1"}));
    server.restart();
    let expected = json!({"Tags": [{"Key": "a", "Value": "1"}], "HasMoreTags": false});
    assert_eq!(server.ok(LIST, &json!({"StreamName": "s"})), expected);
    server.ok("DeleteStream", &json!({"StreamName": "s"}));
    server.create("s", 1);
    assert_eq!(server.ok(LIST, &json!({"StreamName": "s"}))["Tags"], json!([]));
}

#[test]
fn what_cannot_be_listed_is_refused_in_the_words_of_aws() {
    let server = TestServer::start();
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
