//! Registered consumers, and the records that are pushed to them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::thread::Scope;
use std::time::{Duration, Instant};

use anabranch::StartingPosition;
use anabranch::kinesis::{Fault, Limits};
use anabranch_harness::http1::{CBOR, Head};
use anabranch_harness::http2::Http2Client;
use anabranch_harness::wait::{PATIENCE, wait_until};
use serde_json::{Value, json};

use super::test_server::{
    ACCOUNT, Backend, REGION, START, Setup, TestServer, all, in_use, invalid_argument, not_found,
    on_each_backend, text,
};

on_each_backend!(
    a_consumer_is_registered_described_listed_and_deregistered,
    a_consumer_takes_time_to_be_made_and_to_be_removed_if_a_stream_does,
    a_consumer_that_is_registered_again_has_another_arn,
    which_consumer_is_meant_has_to_be_said_in_one_way,
    a_stream_has_twenty_consumers_and_fifty_with_the_commitment_in_pages,
    a_stream_with_consumers_is_deleted_only_if_that_is_enforced,
    a_stream_is_not_deleted_with_a_consumer_that_is_registered_meanwhile,
    records_are_pushed_as_they_come_from_every_position,
    silence_is_broken_by_events_that_lead_on_from_where_they_were_sent,
    a_closed_shard_ends_with_its_children_and_without_a_number,
    a_subscription_lasts_five_minutes_by_the_stores_clock,
    a_wall_clock_that_is_set_changes_neither_the_life_of_a_subscription_nor_when_it_is_taken_over,
    a_second_subscription_is_refused_for_five_seconds_and_then_takes_over,
    a_subscription_ends_with_its_consumer_and_with_its_stream,
    a_subscription_goes_on_until_its_stream_is_gone,
    a_subscription_whose_records_expire_goes_on_with_what_is_kept,
    every_record_is_pushed_once_over_resharding,
    what_is_wrong_with_a_subscription_is_said_before_it_begins,
    a_request_in_cbor_gets_events_in_json,
    records_are_pushed_over_http2_beside_other_requests,
    a_reader_that_does_not_read_holds_little_and_stops_no_writer,
    a_record_larger_than_an_event_comes_alone,
    a_consumer_gets_two_mebibytes_a_second_of_a_shard_where_that_is_emulated,
    a_subscription_that_waits_is_not_ended_by_records_that_are_hidden_meanwhile,
    a_consumer_subscribes_to_a_shard_once_a_second_where_that_is_emulated,
    a_subscription_is_not_silent_while_others_hold_its_connections_memory,
    an_event_that_does_not_fit_is_sent_once_there_is_memory_for_it,
    a_large_event_comes_whole_over_a_slow_connection_of_http2,
    a_server_that_stops_ends_subscriptions_at_once,
    a_client_that_goes_away_is_no_subscriber,
    a_client_whose_answer_is_lost_is_no_subscriber,
);

const FIRST: &str = "shardId-000000000000";

fn stream_arn(stream: &str) -> String {
    format!("arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{stream}")
}

fn consumer_arn(stream: &str, name: &str, created_seconds: u64) -> String {
    format!("{}/consumer/{name}:{created_seconds}", stream_arn(stream))
}

/// Registers a consumer, and gives its ARN.
#[track_caller]
fn register(server: &TestServer, stream: &str, name: &str) -> String {
    let input = json!({"StreamARN": stream_arn(stream), "ConsumerName": name});
    text(&server.ok("RegisterStreamConsumer", &input)["Consumer"]["ConsumerARN"])
}

fn position(kind: &str) -> Value {
    json!({ "Type": kind })
}

fn after(number: &str) -> Value {
    json!({"Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": number})
}

fn subscribe(consumer: &str, shard: &str, position: &Value) -> Value {
    json!({"ConsumerARN": consumer, "ShardId": shard, "StartingPosition": position})
}

/// A message of an event stream.
#[derive(Debug, Clone, PartialEq)]
enum Message {
    Event(String, Value),
    Exception(String, Value),
}

impl Message {
    #[track_caller]
    fn of(bytes: &[u8]) -> Message {
        let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!(number(0) as usize, bytes.len());
        assert_eq!(number(8), crc32fast::hash(&bytes[..8]));
        assert_eq!(
            number(bytes.len() - 4),
            crc32fast::hash(&bytes[..bytes.len() - 4])
        );
        let (mut headers, payload) = bytes[12..bytes.len() - 4].split_at(number(4) as usize);
        let mut values = BTreeMap::new();
        while let [len, rest @ ..] = headers {
            let (name, rest) = rest.split_at(usize::from(*len));
            assert_eq!(rest[0], 7, "not a string");
            let len = usize::from(u16::from_be_bytes(rest[1..3].try_into().unwrap()));
            values.insert(
                std::str::from_utf8(name).unwrap(),
                std::str::from_utf8(&rest[3..3 + len]).unwrap(),
            );
            headers = &rest[3 + len..];
        }
        assert_eq!(values[":content-type"], "application/x-amz-json-1.1");
        let payload = serde_json::from_slice(payload).unwrap();
        match values[":message-type"] {
            "event" => Message::Event(values[":event-type"].to_owned(), payload),
            "exception" => Message::Exception(values[":exception-type"].to_owned(), payload),
            other => panic!("{other}"),
        }
    }
}

/// The first message of some bytes, if it is whole, and its length.
fn first_message(bytes: &[u8]) -> Option<(Message, usize)> {
    let len = u32::from_be_bytes(bytes.get(..4)?.try_into().unwrap()) as usize;
    Some((Message::of(bytes.get(..len)?), len))
}

/// A subscription over HTTP/1.1, in chunks.
struct Subscription {
    stream: BufReader<TcpStream>,
    arrived: Vec<u8>,
}

impl Subscription {
    /// Subscribes, and takes the initial response.
    #[track_caller]
    fn begin(server: &TestServer, input: &Value) -> Subscription {
        let head = Head::of("Kinesis_20131202.SubscribeToShard");
        Subscription::begin_with(server, &head, input.to_string().as_bytes())
    }

    /// Whether a subscription begins. If it does, it is ended at once.
    fn is_taken(server: &TestServer, input: &Value) -> bool {
        let head = Head::of("Kinesis_20131202.SubscribeToShard");
        let mut asked = Subscription::ask(server, &head, input.to_string().as_bytes());
        asked.line() == "HTTP/1.1 200 OK"
    }

    fn ask(server: &TestServer, head: &Head<'_>, body: &[u8]) -> Subscription {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        let head = format!("{}Content-Length: {}\r\n\r\n", head.to_text(), body.len());
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        Subscription {
            stream: BufReader::new(stream),
            arrived: Vec::new(),
        }
    }

    #[track_caller]
    fn begin_with(server: &TestServer, head: &Head<'_>, body: &[u8]) -> Subscription {
        let mut subscription = Subscription::ask(server, head, body);
        assert_eq!(subscription.line(), "HTTP/1.1 200 OK");
        let mut headers = Vec::new();
        loop {
            let line = subscription.line();
            if line.is_empty() {
                break;
            }
            headers.push(line.to_ascii_lowercase());
        }
        for wanted in [
            "content-type: application/vnd.amazon.eventstream",
            "transfer-encoding: chunked",
        ] {
            assert!(headers.iter().any(|header| header == wanted), "{headers:?}");
        }
        let initial = Message::Event("initial-response".to_owned(), json!({}));
        assert_eq!(subscription.next(), Some(initial));
        subscription
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// The next message, or `None` if the stream has ended in order.
    #[track_caller]
    fn next(&mut self) -> Option<Message> {
        loop {
            if let Some((message, len)) = first_message(&self.arrived) {
                self.arrived.drain(..len);
                return Some(message);
            }
            let len = usize::from_str_radix(&self.line(), 16).unwrap();
            let mut chunk = vec![0; len];
            self.stream.read_exact(&mut chunk).unwrap();
            assert_eq!(self.line(), "");
            self.arrived.extend(chunk);
            if len == 0 {
                assert!(self.arrived.is_empty(), "a part of a message");
                return None;
            }
        }
    }

    #[track_caller]
    fn event(&mut self) -> Value {
        match self.next() {
            Some(Message::Event(kind, event)) => {
                assert_eq!(kind, "SubscribeToShardEvent");
                event
            }
            other => panic!("{other:?}"),
        }
    }

    /// The next event with records: their data.
    #[track_caller]
    fn data(&mut self) -> Vec<String> {
        loop {
            let event = self.event();
            let data = data_of(&event);
            if !data.is_empty() {
                return data;
            }
        }
    }
}

fn data_of(event: &Value) -> Vec<String> {
    let data = all(&event["Records"], "Data");
    let decoded = data
        .iter()
        .map(|data| base64_simd::STANDARD.decode_to_vec(data).unwrap());
    decoded.map(|data| String::from_utf8(data).unwrap()).collect()
}

fn a_consumer_is_registered_described_listed_and_deregistered(backend: Backend) {
    let mut server = TestServer::start(backend);
    server.create("s", 1);
    let input = json!({"StreamARN": stream_arn("s"), "ConsumerName": "app", "Tags": {"team": "a"}});
    let consumer = server.ok("RegisterStreamConsumer", &input)["Consumer"].clone();
    let seconds = START.as_seconds();
    let arn = consumer_arn("s", "app", seconds);
    let expected = json!({
        "ConsumerName": "app",
        "ConsumerARN": arn,
        "ConsumerStatus": "ACTIVE",
        "ConsumerCreationTimestamp": START.as_millis() as f64 / 1000.0,
    });
    assert_eq!(consumer, expected);
    server.restart();
    let list = json!({"StreamARN": stream_arn("s")});
    assert_eq!(
        server.ok("ListStreamConsumers", &list),
        json!({"Consumers": [expected]})
    );
    let mut described = expected.clone();
    described["StreamARN"] = json!(stream_arn("s"));
    for by in [
        json!({ "ConsumerARN": arn }),
        json!({"StreamARN": stream_arn("s"), "ConsumerName": "app"}),
    ] {
        let description = server.ok("DescribeStreamConsumer", &by);
        assert_eq!(description, json!({ "ConsumerDescription": described }));
    }
    let tags = server.ok("ListTagsForResource", &json!({ "ResourceARN": arn }));
    assert_eq!(tags["Tags"], json!([{"Key": "team", "Value": "a"}]));
    let count = |server: &TestServer| {
        let summary = server.ok("DescribeStreamSummary", &json!({"StreamName": "s"}));
        summary["StreamDescriptionSummary"]["ConsumerCount"].clone()
    };
    assert_eq!(count(&server), 1);
    assert_eq!(
        server.refusal("RegisterStreamConsumer", &input),
        in_use(format!(
            "Consumer app of stream s under account {ACCOUNT} already exists."
        ))
    );

    assert_eq!(
        server.ok("DeregisterStreamConsumer", &json!({ "ConsumerARN": arn })),
        Value::Null
    );
    assert_eq!(count(&server), 0);
    assert_eq!(server.ok("ListStreamConsumers", &list), json!({"Consumers": []}));
    let gone = not_found(format!("Consumer app, account {ACCOUNT} not found."));
    for operation in ["DescribeStreamConsumer", "DeregisterStreamConsumer"] {
        assert_eq!(server.refusal(operation, &json!({ "ConsumerARN": arn })), gone);
    }
    server.clock.advance(Duration::from_secs(1));
    assert_eq!(
        register(&server, "s", "app"),
        consumer_arn("s", "app", seconds + 1)
    );
    assert_eq!(
        server.refusal("DescribeStreamConsumer", &json!({ "ConsumerARN": arn })),
        gone
    );
}

fn a_consumer_takes_time_to_be_made_and_to_be_removed_if_a_stream_does(backend: Backend) {
    const DELAY: Duration = Duration::from_secs(10);
    let setup = Setup {
        transition_delay: DELAY,
        ..Setup::default()
    };
    let mut server = TestServer::with(backend, setup);
    server.create("s", 1);
    server.advance(DELAY);
    let list = json!({"StreamARN": stream_arn("s")});
    let statuses = |server: &TestServer| {
        let listed = server.ok("ListStreamConsumers", &list);
        all(&listed["Consumers"], "ConsumerStatus")
    };
    let named = |name: &str| json!({"StreamARN": stream_arn("s"), "ConsumerName": name});
    let exists = |server: &TestServer| {
        let (kind, message) = server.refusal("RegisterStreamConsumer", &named("app"));
        assert_eq!(kind, "ResourceInUseException", "{message}");
    };
    let registered = server.ok("RegisterStreamConsumer", &named("app"))["Consumer"].clone();
    assert_eq!(registered["ConsumerStatus"], "CREATING");
    let arn = text(&registered["ConsumerARN"]);
    let created = START.as_seconds() + DELAY.as_secs();
    let subscribe = subscribe(&arn, FIRST, &position("LATEST"));
    let not_active = in_use(format!(
        "Consumer app with creation timestamp {created} under stream: s , account {ACCOUNT} is not in ACTIVE status."
    ));
    let policy = json!({"ResourceARN": arn, "Policy": "{}"});
    assert_eq!(server.refusal("SubscribeToShard", &subscribe), not_active);
    assert_eq!(server.refusal("PutResourcePolicy", &policy), not_active);
    exists(&server);
    for number in 0..4 {
        register(&server, "s", &format!("c{number}"));
    }
    let (kind, message) = server.refusal("RegisterStreamConsumer", &named("c4"));
    assert_eq!(kind, "LimitExceededException", "{message}");
    server.restart();
    server.advance(DELAY - Duration::from_millis(1));
    assert_eq!(statuses(&server), ["CREATING"; 5]);
    server.advance(Duration::from_millis(1));
    assert_eq!(statuses(&server), ["ACTIVE"; 5]);
    register(&server, "s", "c4");

    let mut subscription = Subscription::begin(&server, &subscribe);
    let by_arn = json!({ "ConsumerARN": arn });
    server.ok("DeregisterStreamConsumer", &by_arn);
    let end = loop {
        match subscription.next() {
            Some(Message::Event(..)) => {}
            end => break end,
        }
    };
    assert!(matches!(end, Some(Message::Exception(kind, _)) if kind == "ResourceNotFoundException"));
    assert_eq!(statuses(&server)[0], "DELETING");
    assert_eq!(server.refusal("SubscribeToShard", &subscribe), not_active);
    exists(&server);
    server.advance(DELAY - Duration::from_secs(1));
    // A second call has the same effect.
    server.ok("DeregisterStreamConsumer", &by_arn);
    server.restart();
    assert_eq!(
        server.ok("DescribeStreamConsumer", &by_arn)["ConsumerDescription"]["ConsumerStatus"],
        "DELETING"
    );
    server.advance(Duration::from_secs(1));
    assert_eq!(statuses(&server), ["ACTIVE"; 5]);
    let gone = not_found(format!("Consumer app, account {ACCOUNT} not found."));
    assert_eq!(server.refusal("DescribeStreamConsumer", &by_arn), gone);
    register(&server, "s", "app");
}

fn a_consumer_that_is_registered_again_has_another_arn(backend: Backend) {
    let mut server = TestServer::start(backend);
    let mut arns = Vec::new();
    let begin_again = |server: &TestServer, arns: &mut Vec<String>| {
        let arn = register(server, "s", "app");
        for older in &*arns {
            assert_ne!(*older, arn);
            let input = json!({ "ConsumerARN": older });
            let (kind, _) = server.refusal("DescribeStreamConsumer", &input);
            assert_eq!(kind, "ResourceNotFoundException");
        }
        server.ok("DescribeStreamConsumer", &json!({ "ConsumerARN": arn }));
        arns.push(arn);
    };
    server.create("s", 1);
    for _ in 0..3 {
        begin_again(&server, &mut arns);
        let last = json!({ "ConsumerARN": arns.last() });
        server.ok("DeregisterStreamConsumer", &last);
    }
    server.restart();
    begin_again(&server, &mut arns);
    server.ok(
        "DeleteStream",
        &json!({"StreamName": "s", "EnforceConsumerDeletion": true}),
    );
    server.create("s", 1);
    begin_again(&server, &mut arns);
}

fn which_consumer_is_meant_has_to_be_said_in_one_way(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    let arn = register(&server, "s", "app");
    for input in [
        json!({}),
        json!({"ConsumerName": "app"}),
        json!({"StreamARN": stream_arn("s")}),
        json!({"ConsumerARN": arn, "ConsumerName": "app"}),
        json!({"ConsumerARN": arn, "StreamARN": stream_arn("s")}),
    ] {
        for operation in ["DescribeStreamConsumer", "DeregisterStreamConsumer"] {
            assert_eq!(
                server.refusal(operation, &input),
                invalid_argument(
                    "Either ConsumerARN, or both StreamARN and ConsumerName should be provided."
                ),
                "{input}"
            );
        }
    }
    let (kind, message) = server.refusal("DescribeStreamConsumer", &json!({"ConsumerARN": stream_arn("s")}));
    assert_eq!(kind, "ValidationException");
    assert!(
        message.contains("at 'consumerARN' failed to satisfy constraint"),
        "{message}"
    );
    for missing in [
        json!({"StreamARN": stream_arn("none"), "ConsumerName": "app"}),
        json!({"ConsumerARN": consumer_arn("none", "app", 1)}),
    ] {
        assert_eq!(
            server.refusal("DescribeStreamConsumer", &missing),
            not_found(format!("Stream none under account {ACCOUNT} not found."))
        );
    }
}

fn a_stream_has_twenty_consumers_and_fifty_with_the_commitment_in_pages(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    for number in 0..20 {
        register(&server, "s", &format!("c{number}"));
    }
    let more = |name: &str| json!({"StreamARN": stream_arn("s"), "ConsumerName": name});
    let (kind, message) = server.refusal("RegisterStreamConsumer", &more("c20"));
    assert_eq!(kind, "LimitExceededException", "{message}");
    let enable = json!({"MinimumThroughputBillingCommitment": {"Status": "ENABLED"}});
    server.ok("UpdateAccountSettings", &enable);
    for number in 20..50 {
        register(&server, "s", &format!("c{number}"));
    }
    assert_eq!(
        server.refusal("RegisterStreamConsumer", &more("c50")).0,
        "LimitExceededException"
    );

    let mut names = Vec::new();
    let mut input = json!({"StreamARN": stream_arn("s"), "MaxResults": 7});
    loop {
        let page = server.ok("ListStreamConsumers", &input);
        names.extend(all(&page["Consumers"], "ConsumerName"));
        match &page["NextToken"] {
            Value::Null => break,
            token => input["NextToken"] = token.clone(),
        }
    }
    assert_eq!(
        names,
        (0..50).map(|number| format!("c{number}")).collect::<Vec<_>>()
    );
    server.clock.advance(Duration::from_secs(301));
    assert_eq!(
        server.refusal("ListStreamConsumers", &input).0,
        "ExpiredNextTokenException"
    );
    input["NextToken"] = json!("x");
    assert_eq!(
        server.refusal("ListStreamConsumers", &input),
        invalid_argument("Invalid NextToken.")
    );
}

fn a_stream_with_consumers_is_deleted_only_if_that_is_enforced(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    register(&server, "s", "app");
    let delete = |enforced: Value| json!({"StreamName": "s", "EnforceConsumerDeletion": enforced});
    for enforced in [Value::Null, json!(false)] {
        assert_eq!(
            server.refusal("DeleteStream", &delete(enforced)),
            in_use(format!(
                "DeleteStream can't delete {ACCOUNT}:s because there are consumers associated with this data stream. To \
                 delete s anyway, set the EnforceConsumerDeletion parameter to true to force the deletion of all the \
                 consumers that are associated with it."
            ))
        );
    }
    server.ok("DeleteStream", &delete(json!(true)));
    server.create("s", 1);
    assert_eq!(
        server.ok("ListStreamConsumers", &json!({"StreamARN": stream_arn("s")})),
        json!({"Consumers": []})
    );
}

/// Which of the two comes first is random: they never both succeed.
fn a_stream_is_not_deleted_with_a_consumer_that_is_registered_meanwhile(backend: Backend) {
    const ROUNDS: u32 = 30;
    let server = TestServer::start(backend);
    for _ in 0..ROUNDS {
        server.create("s", 1);
        let named = json!({"StreamARN": stream_arn("s"), "ConsumerName": "c"});
        let (deleted, registered) = std::thread::scope(|scope| {
            let call = |operation, input: Value| {
                let mut client = server.connect();
                scope.spawn(move || client.call(operation, &input).status == 200)
            };
            let deleted = call("DeleteStream", json!({"StreamName": "s"}));
            let registered = call("RegisterStreamConsumer", named);
            (deleted.join().unwrap(), registered.join().unwrap())
        });
        assert_ne!(deleted, registered);
        if registered {
            let delete = json!({"StreamName": "s", "EnforceConsumerDeletion": true});
            server.ok("DeleteStream", &delete);
        }
    }
}

fn records_are_pushed_as_they_come_from_every_position(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    let first = text(&server.put("s", "k", "first")["SequenceNumber"]);
    server.clock.advance(Duration::from_secs(10));
    let second = text(&server.put("s", "k", "second")["SequenceNumber"]);
    let time = START.as_seconds() as f64 + 5.0;
    let mut subscriptions = Vec::new();
    for (name, position, expected) in [
        ("horizon", position("TRIM_HORIZON"), vec!["first", "second"]),
        ("latest", position("LATEST"), vec![]),
        (
            "at",
            json!({"Type": "AT_SEQUENCE_NUMBER", "SequenceNumber": second}),
            vec!["second"],
        ),
        ("after", after(&first), vec!["second"]),
        (
            "time",
            json!({"Type": "AT_TIMESTAMP", "Timestamp": time}),
            vec!["second"],
        ),
    ] {
        let consumer = register(&server, "s", name);
        let mut subscription = Subscription::begin(&server, &subscribe(&consumer, FIRST, &position));
        if !expected.is_empty() {
            let event = subscription.event();
            assert_eq!(data_of(&event), expected, "{name}");
            assert_eq!(event["ContinuationSequenceNumber"], json!(second));
            assert_eq!(event["MillisBehindLatest"], 0);
            assert_eq!(event["ChildShards"], Value::Null);
            assert_eq!(event["Records"][0]["PartitionKey"], "k");
            assert_eq!(event["Records"][0]["EncryptionType"], Value::Null);
        }
        subscriptions.push(subscription);
    }
    for number in 0..20 {
        let data = format!("pushed {number}");
        server.put("s", "k", &data);
        for subscription in &mut subscriptions {
            assert_eq!(subscription.data(), [data.as_str()]);
        }
    }
}

fn silence_is_broken_by_events_that_lead_on_from_where_they_were_sent(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    server.put("s", "k", "before");
    let consumer = register(&server, "s", "app");
    let mut subscription = Subscription::begin(&server, &subscribe(&consumer, FIRST, &position("LATEST")));
    let silent = subscription.event();
    assert_eq!(
        (&silent["Records"], &silent["MillisBehindLatest"]),
        (&json!([]), &json!(0))
    );
    server.clock.advance(Duration::from_secs(2));
    let later = subscription.event();
    let number = |event: &Value| text(&event["ContinuationSequenceNumber"]);
    assert!(number(&later) > number(&silent), "{later} {silent}");
    drop(subscription);

    server.put("s", "k", "between");
    for event in [silent, later] {
        let other = register(&server, "s", &number(&event));
        let mut again = Subscription::begin(&server, &subscribe(&other, FIRST, &after(&number(&event))));
        assert_eq!(again.data(), ["between"]);
    }
    // A number of a shard without records leads to its first record.
    server.create("empty", 1);
    let consumer = register(&server, "empty", "app");
    let mut subscription = Subscription::begin(&server, &subscribe(&consumer, FIRST, &position("LATEST")));
    let continuation = number(&subscription.event());
    drop(subscription);
    server.put("empty", "k", "first");
    let other = register(&server, "empty", "other");
    let mut again = Subscription::begin(&server, &subscribe(&other, FIRST, &after(&continuation)));
    assert_eq!(again.data(), ["first"]);
}

fn a_closed_shard_ends_with_its_children_and_without_a_number(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 2);
    server.put("s", "k", "last");
    let consumer = register(&server, "s", "app");
    let shards = [FIRST, "shardId-000000000001"];
    let mut subscriptions = shards
        .map(|shard| Subscription::begin(&server, &subscribe(&consumer, shard, &position("TRIM_HORIZON"))));
    let merge = json!({"StreamName": "s", "ShardToMerge": shards[0], "AdjacentShardToMerge": shards[1]});
    server.ok("MergeShards", &merge);
    let mut pushed = Vec::new();
    for subscription in &mut subscriptions {
        let end = loop {
            let event = subscription.event();
            pushed.extend(data_of(&event));
            if event["ContinuationSequenceNumber"].is_null() {
                break event;
            }
        };
        assert_eq!(end["ChildShards"][0]["ShardId"], "shardId-000000000002");
        assert_eq!(end["ChildShards"][0]["ParentShards"], json!(shards));
        assert_eq!(end["MillisBehindLatest"], 0);
        assert_eq!(subscription.next(), None);
    }
    assert_eq!(pushed, ["last"]);
    // The consumer reads on in the child.
    let mut child = Subscription::begin(
        &server,
        &subscribe(&consumer, "shardId-000000000002", &position("TRIM_HORIZON")),
    );
    server.put("s", "k", "of the child");
    assert_eq!(child.data(), ["of the child"]);
}

fn a_subscription_lasts_five_minutes_by_the_stores_clock(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    let consumer = register(&server, "s", "app");
    let input = subscribe(&consumer, FIRST, &position("LATEST"));
    let mut subscription = Subscription::begin(&server, &input);
    server.clock.advance(Duration::from_secs(299));
    server.put("s", "k", "in time");
    assert_eq!(subscription.data(), ["in time"]);
    server.clock.advance(Duration::from_secs(1));
    while let Some(message) = subscription.next() {
        assert!(matches!(message, Message::Event(..)), "{message:?}");
    }
    // It has ended, so there is nothing to take over.
    Subscription::begin(&server, &input);
}

fn a_wall_clock_that_is_set_changes_neither_the_life_of_a_subscription_nor_when_it_is_taken_over(
    backend: Backend,
) {
    const HOUR: Duration = Duration::from_secs(3600);
    let server = TestServer::start(backend);
    server.create("s", 1);
    let consumer = register(&server, "s", "app");
    let input = subscribe(&consumer, FIRST, &position("LATEST"));
    let mut first = Subscription::begin(&server, &input);
    server.clock.jump_forward(HOUR);
    let refused = in_use("Another active subscription exists for this consumer");
    assert_eq!(server.refusal("SubscribeToShard", &input), refused);
    server.put("s", "k", "a");
    assert_eq!(first.data(), ["a"]);
    server.clock.jump_back(2 * HOUR);
    server.clock.advance(Duration::from_secs(5));
    let mut second = Subscription::begin(&server, &input);
    while let Some(message) = first.next() {
        if let Message::Exception(kind, _) = message {
            assert_eq!(kind, refused.0);
        }
    }
    server.clock.jump_back(HOUR);
    server.clock.advance(Duration::from_secs(300));
    while let Some(message) = second.next() {
        assert!(matches!(message, Message::Event(..)), "{message:?}");
    }
}

fn a_second_subscription_is_refused_for_five_seconds_and_then_takes_over(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 2);
    let consumer = register(&server, "s", "app");
    let input = subscribe(&consumer, FIRST, &position("LATEST"));
    let mut first = Subscription::begin(&server, &input);
    let refused = in_use("Another active subscription exists for this consumer");
    assert_eq!(server.refusal("SubscribeToShard", &input), refused);
    server.clock.advance(Duration::from_millis(4_999));
    assert_eq!(server.refusal("SubscribeToShard", &input), refused);
    // Another shard and another consumer are independent of it.
    let other_shard = subscribe(&consumer, "shardId-000000000001", &position("LATEST"));
    let _other_shard = Subscription::begin(&server, &other_shard);
    let other = subscribe(&register(&server, "s", "other"), FIRST, &position("LATEST"));
    let _other = Subscription::begin(&server, &other);
    server.clock.advance(Duration::from_millis(1));
    let mut second = Subscription::begin(&server, &input);
    let end = loop {
        match first.next() {
            Some(Message::Event(..)) => {}
            end => break end,
        }
    };
    let (kind, message) = refused;
    let payload = json!({"__type": kind, "message": message});
    assert_eq!(end, Some(Message::Exception(kind, payload)));
    assert_eq!(first.next(), None);
    server.ok(
        "PutRecord",
        &json!({"StreamName": "s", "PartitionKey": "k", "ExplicitHashKey": "0", "Data": "YQ=="}),
    );
    assert_eq!(second.data(), ["a"]);
}

fn a_subscription_ends_with_its_consumer_and_with_its_stream(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    let [removed, kept] = ["removed", "kept"].map(|name| register(&server, "s", name));
    let [mut of_removed, mut of_kept] = [&removed, &kept]
        .map(|consumer| Subscription::begin(&server, &subscribe(consumer, FIRST, &position("LATEST"))));
    let end = |subscription: &mut Subscription| loop {
        match subscription.next() {
            Some(Message::Event(..)) => {}
            Some(Message::Exception(kind, error)) => {
                assert_eq!(subscription.next(), None);
                return (kind, text(&error["message"]));
            }
            None => panic!("it ends without a reason"),
        }
    };
    server.ok("DeregisterStreamConsumer", &json!({ "ConsumerARN": removed }));
    assert_eq!(
        end(&mut of_removed),
        not_found(format!("Consumer removed, account {ACCOUNT} not found."))
    );
    server.put("s", "k", "a");
    assert_eq!(of_kept.data(), ["a"]);
    server.ok(
        "DeleteStream",
        &json!({"StreamName": "s", "EnforceConsumerDeletion": true}),
    );
    assert_eq!(
        end(&mut of_kept),
        not_found(format!(
            "Shard {FIRST} in stream s under account {ACCOUNT} does not exist"
        ))
    );
}

fn a_subscription_goes_on_until_its_stream_is_gone(backend: Backend) {
    const DELAY: Duration = Duration::from_secs(10);
    let setup = Setup {
        transition_delay: DELAY,
        ..Setup::default()
    };
    let server = TestServer::with(backend, setup);
    server.create("s", 1);
    server.advance(DELAY);
    server.put("s", "k", "first");
    let consumer = register(&server, "s", "app");
    server.advance(DELAY);
    let begin = subscribe(&consumer, FIRST, &position("TRIM_HORIZON"));
    let mut subscription = Subscription::begin(&server, &begin);
    assert_eq!(subscription.data(), ["first"]);
    server.ok(
        "DeleteStream",
        &json!({"StreamName": "s", "EnforceConsumerDeletion": true}),
    );
    assert_eq!(subscription.event()["Records"], json!([]));
    server.advance(DELAY);
    let end = loop {
        match subscription.next() {
            Some(Message::Event(..)) => {}
            end => break end,
        }
    };
    assert!(matches!(end, Some(Message::Exception(kind, _)) if kind == "ResourceNotFoundException"));
    assert_eq!(subscription.next(), None);
    // A new stream of the same name is independent of it.
    server.create("s", 1);
    server.advance(DELAY);
    assert_eq!(
        server.refusal("SubscribeToShard", &begin),
        not_found(format!("Consumer app, account {ACCOUNT} not found."))
    );
}

fn a_subscription_whose_records_expire_goes_on_with_what_is_kept(backend: Backend) {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let server = TestServer::with_options(backend, |options| options.subscription_life(3 * DAY));
    server.create("s", 1);
    let expired = text(&server.put("s", "k", "expired")["SequenceNumber"]);
    let consumer = register(&server, "s", "app");
    let begin = |position: &Value| Subscription::begin(&server, &subscribe(&consumer, FIRST, position));
    server.advance(DAY + Duration::from_secs(1));
    server.put("s", "k", "kept");
    let at = json!({"Type": "AT_SEQUENCE_NUMBER", "SequenceNumber": expired});
    let mut subscription = begin(&at);
    assert_eq!(subscription.data(), ["kept"]);
    // The records that it has read expire, and so does its position.
    server.advance(2 * DAY - Duration::from_secs(1));
    assert_eq!(subscription.event()["Records"], json!([]));
    server.put("s", "k", "later");
    assert_eq!(subscription.data(), ["later"]);
}

/// A consumer of all shards of stream `s`, each from its beginning, and children behind their parents.
struct Follower<'a> {
    server: &'a TestServer,
    consumer: String,
    records: usize,
    read: Mutex<Followed>,
}

#[derive(Default)]
struct Followed {
    begun: BTreeSet<String>,
    ended: BTreeSet<String>,
    /// By key.
    data: BTreeMap<String, Vec<String>>,
}

impl Followed {
    fn records(&self) -> usize {
        self.data.values().map(Vec::len).sum()
    }

    fn note(&mut self, event: &Value) {
        let keys = all(&event["Records"], "PartitionKey");
        for (key, data) in keys.into_iter().zip(data_of(event)) {
            self.data.entry(key).or_default().push(data);
        }
    }

    /// Gives the children of a shard that has ended, as far as all their parents have ended and they are not begun yet.
    fn note_end(&mut self, ended: &str, event: &Value) -> Vec<String> {
        self.ended.insert(ended.to_owned());
        let children = event["ChildShards"].as_array().unwrap().iter();
        let whole = children.filter(|child| {
            let parents = child["ParentShards"].as_array().unwrap();
            parents
                .iter()
                .all(|parent| self.ended.contains(parent.as_str().unwrap()))
        });
        let whole: Vec<_> = whole.map(|child| text(&child["ShardId"])).collect();
        whole
            .into_iter()
            .filter(|child| self.begun.insert(child.clone()))
            .collect()
    }
}

impl Follower<'_> {
    /// Reads a shard to its end, or until all records have come, and then its children.
    fn follow<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, shard: String) {
        scope.spawn(move || {
            let began = Instant::now();
            let begin = subscribe(&self.consumer, &shard, &position("TRIM_HORIZON"));
            let mut subscription = Subscription::begin(self.server, &begin);
            while self.read.lock().unwrap().records() < self.records {
                assert!(began.elapsed() < PATIENCE, "records are missing");
                let event = subscription.event();
                let mut read = self.read.lock().unwrap();
                read.note(&event);
                if event["ContinuationSequenceNumber"].is_null() {
                    let children = read.note_end(&shard, &event);
                    drop(read);
                    assert_eq!(subscription.next(), None);
                    children.into_iter().for_each(|child| self.follow(scope, child));
                    return;
                }
            }
        });
    }
}

fn every_record_is_pushed_once_over_resharding(backend: Backend) {
    const RECORDS: usize = 140;
    const KEYS: usize = 7;
    let server = TestServer::start(backend);
    server.create("s", 2);
    let shards = [FIRST, "shardId-000000000001"].map(str::to_owned);
    let follower = Follower {
        server: &server,
        consumer: register(&server, "s", "app"),
        records: RECORDS,
        read: Mutex::new(Followed {
            begun: BTreeSet::from(shards.clone()),
            ..Followed::default()
        }),
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..RECORDS {
                server.put("s", &format!("key-{}", number % KEYS), &format!("{number:03}"));
            }
        });
        scope.spawn(|| {
            for target in [4, 3, 6, 3, 2] {
                let update =
                    json!({"StreamName": "s", "TargetShardCount": target, "ScalingType": "UNIFORM_SCALING"});
                server.ok("UpdateShardCount", &update);
                wait_until("the shards are there", || {
                    let summary = server.ok("DescribeStreamSummary", &json!({"StreamName": "s"}));
                    summary["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE"
                });
            }
        });
        for shard in shards {
            follower.follow(scope, shard);
        }
    });
    let read = follower.read.into_inner().unwrap();
    for key in 0..KEYS {
        let expected: Vec<_> = (key..RECORDS)
            .step_by(KEYS)
            .map(|number| format!("{number:03}"))
            .collect();
        assert_eq!(read.data[&format!("key-{key}")], expected);
    }
}

fn what_is_wrong_with_a_subscription_is_said_before_it_begins(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    let number = text(&server.put("s", "k", "a")["SequenceNumber"]);
    let consumer = register(&server, "s", "app");
    let latest = position("LATEST");
    let mut dry = subscribe(&consumer, FIRST, &latest);
    dry["DryRun"] = json!(true);
    for (input, (kind, part)) in [
        (
            subscribe(&consumer_arn("s", "none", 1), FIRST, &latest),
            ("ResourceNotFoundException", "Consumer none"),
        ),
        (
            subscribe(&consumer_arn("none", "app", 1), FIRST, &latest),
            ("ResourceNotFoundException", "Stream none"),
        ),
        (
            subscribe(&consumer, "x", &latest),
            ("ResourceNotFoundException", "Could not find shard x"),
        ),
        (
            subscribe(&consumer, "shardId-000000000009", &latest),
            ("ResourceNotFoundException", "does not exist"),
        ),
        (
            subscribe(&consumer, FIRST, &position("AT_SEQUENCE_NUMBER")),
            ("InvalidArgumentException", "no StartingSequenceNumber"),
        ),
        (
            subscribe(&consumer, FIRST, &after(&"9".repeat(129))),
            ("InvalidArgumentException", "used in SubscribeToShard on shard"),
        ),
        (
            subscribe(
                &consumer,
                FIRST,
                &json!({"Type": "LATEST", "SequenceNumber": number}),
            ),
            ("InvalidArgumentException", "also a StartingSequenceNumber"),
        ),
        (
            subscribe(&consumer, FIRST, &position("SOMEWHERE")),
            ("ValidationException", "startingPosition.type"),
        ),
        (dry, ("DryRunOperationException", "DryRun")),
        (json!({}), ("ValidationException", "consumerARN")),
    ] {
        let (refused_kind, message) = server.refusal("SubscribeToShard", &input);
        assert_eq!(refused_kind, kind, "{input}: {message}");
        assert!(message.contains(part), "{input}: {message}");
    }
    // None of them counts as a subscription.
    Subscription::begin(&server, &subscribe(&consumer, FIRST, &latest));
}

fn a_request_in_cbor_gets_events_in_json(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    let consumer = register(&server, "s", "app");
    let input = subscribe(&consumer, FIRST, &position("TRIM_HORIZON"));
    let mut body = Vec::new();
    ciborium::into_writer(&input, &mut body).unwrap();
    let head = Head::of("Kinesis_20131202.SubscribeToShard").header("Content-Type", CBOR);
    let mut subscription = Subscription::begin_with(&server, &head, &body);
    server.put("s", "k", "a");
    assert_eq!(subscription.data(), ["a"]);
}

fn records_are_pushed_over_http2_beside_other_requests(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    let consumer = register(&server, "s", "app");
    let mut client = Http2Client::connect(server.address);
    let pushed = client.begin(
        "SubscribeToShard",
        &subscribe(&consumer, FIRST, &position("LATEST")),
    );
    let mut taken = 0;
    let mut next = |client: &mut Http2Client| loop {
        if let Some((message, len)) = first_message(&client.reply(pushed).body[taken..]) {
            taken += len;
            return message;
        }
        client.take().unwrap();
    };
    assert_eq!(
        next(&mut client),
        Message::Event("initial-response".to_owned(), json!({}))
    );
    for _ in 0..3 {
        let put = json!({"StreamName": "s", "PartitionKey": "k", "Data": "YQ=="});
        assert_eq!(client.call("PutRecord", &put).0, 200);
        let records = loop {
            match next(&mut client) {
                Message::Event(_, event) if event["Records"] == json!([]) => {}
                Message::Event(_, event) => break event["Records"].clone(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(records.as_array().unwrap().len(), 1);
    }
    let merge = json!({"StreamName": "s", "ShardToSplit": FIRST, "NewStartingHashKey": "100"});
    assert_eq!(client.call("SplitShard", &merge).0, 200);
    while !client.reply(pushed).has_ended {
        client.take().unwrap();
    }
    assert_eq!((client.resets(), client.goaways().len()), (vec![], 0));
}

fn a_reader_that_does_not_read_holds_little_and_stops_no_writer(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    let consumer = register(&server, "s", "app");
    let mut subscription =
        Subscription::begin(&server, &subscribe(&consumer, FIRST, &position("TRIM_HORIZON")));
    let stream = server.streams().stream("s").unwrap();
    for number in 0..40u8 {
        stream.put("k", &vec![number; 900_000]).unwrap();
        // An event, and bytes on their way to the socket.
        assert!(
            server.gauges().reply_bytes() < 8 << 20,
            "{}",
            server.gauges().reply_bytes()
        );
    }
    // All records come once the client reads.
    let mut records = 0;
    while records < 40 {
        records += subscription.event()["Records"].as_array().unwrap().len();
    }
}

fn a_record_larger_than_an_event_comes_alone(backend: Backend) {
    let server = TestServer::with_options(backend, |options| options.max_buffered_reply_bytes(32 << 20));
    let create = json!({"StreamName": "s", "ShardCount": 1, "MaxRecordSizeInKiB": 10_240});
    server.ok("CreateStream", &create);
    let stream = server.streams().stream("s").unwrap();
    let large = vec![b'x'; 10_000_000];
    for data in [&b"before"[..], &large, b"after"] {
        stream.put("k", data).unwrap();
    }
    let consumer = register(&server, "s", "app");
    let mut subscription =
        Subscription::begin(&server, &subscribe(&consumer, FIRST, &position("TRIM_HORIZON")));
    let mut lengths = Vec::new();
    while lengths.len() < 3 {
        lengths.extend(subscription.data().iter().map(String::len));
    }
    assert_eq!(lengths, [6, 10_000_000, 5]);
}

fn a_consumer_gets_two_mebibytes_a_second_of_a_shard_where_that_is_emulated(backend: Backend) {
    const RECORDS: usize = 12;
    /// Three are in an event, and the third event exceeds the rest of the first second.
    const AT_ONCE: usize = 9;
    let server = TestServer::with_options(backend, |options| {
        options.limits(Limits {
            throughput: true,
            ..Limits::NONE
        })
    });
    server.create("s", 1);
    let stream = server.streams().stream("s").unwrap();
    let mut put = Vec::new();
    for _ in 0..RECORDS {
        let record = stream.put("k", &[b'x'; 300_000]).unwrap();
        put.push(record.sequence_number.to_string());
    }
    let begin = |name: &str| {
        let consumer = register(&server, "s", name);
        Subscription::begin(&server, &subscribe(&consumer, FIRST, &position("TRIM_HORIZON")))
    };
    let take = |subscription: &mut Subscription, records: usize| {
        let mut taken = 0;
        while taken < records {
            taken += subscription.data().len();
        }
        assert_eq!(taken, records);
    };
    let [mut first, mut second] = ["first", "second"].map(begin);
    // Each consumer has its own limit.
    for subscription in [&mut first, &mut second] {
        take(subscription, AT_ONCE);
    }
    // The clock stands still, so no records come; but the subscription is not silent.
    let waiting = first.event();
    assert_eq!(waiting["Records"], json!([]));
    let continuation = text(&waiting["ContinuationSequenceNumber"]);
    assert!((put[AT_ONCE - 1].as_str()..put[AT_ONCE].as_str()).contains(&continuation.as_str()));
    server.advance(Duration::from_secs(1));
    for subscription in [&mut first, &mut second] {
        take(subscription, RECORDS - AT_ONCE);
    }
}

fn a_subscription_that_waits_is_not_ended_by_records_that_are_hidden_meanwhile(backend: Backend) {
    /// More than may be pushed in the first second.
    const AT_ONCE: usize = 9;
    let server = TestServer::with_options(backend, |options| {
        options.limits(Limits {
            throughput: true,
            ..Limits::NONE
        })
    });
    server.create("s", 1);
    let stream = server.streams().stream("s").unwrap();
    let put = |_| stream.put("k", &[b'x'; 300_000]).unwrap();
    let put: Vec<_> = (0..12).map(put).collect();
    let last = &put[11];
    let consumer = register(&server, "s", "app");
    let mut subscription =
        Subscription::begin(&server, &subscribe(&consumer, FIRST, &position("TRIM_HORIZON")));
    let mut taken = 0;
    while taken < AT_ONCE {
        taken += subscription.data().len();
    }
    // Only the last one is kept, and it is behind the position where the subscription waits.
    let kept = StartingPosition::AtSequenceNumber(last.sequence_number);
    let kept = stream.shard_iterator(last.shard_id, kept).unwrap();
    stream.trim_shard_to(&kept).unwrap();
    assert_eq!(subscription.event()["Records"], json!([]));
    server.advance(Duration::from_secs(2));
    let mut events = (0..10).map(|_| all(&subscription.event()["Records"], "SequenceNumber"));
    let pushed = events.find(|numbers| !numbers.is_empty());
    assert_eq!(pushed, Some(vec![last.sequence_number.to_string()]));
}

fn a_consumer_subscribes_to_a_shard_once_a_second_where_that_is_emulated(backend: Backend) {
    let server = TestServer::with_options(backend, |options| {
        options.limits(Limits {
            call_rates: true,
            ..Limits::NONE
        })
    });
    server.create("s", 2);
    let [consumer, other] = ["app", "other"].map(|name| register(&server, "s", name));
    let latest = position("LATEST");
    let input = subscribe(&consumer, FIRST, &latest);
    let too_often = (
        "LimitExceededException".to_owned(),
        format!("Rate exceeded for consumer app and shard {FIRST} in stream s under account {ACCOUNT}."),
    );
    let mut first = Subscription::begin(&server, &input);
    assert_eq!(server.refusal("SubscribeToShard", &input), too_often);
    let _of_others = [
        subscribe(&consumer, "shardId-000000000001", &latest),
        subscribe(&other, FIRST, &latest),
    ]
    .map(|input| Subscription::begin(&server, &input));
    server.advance(Duration::from_secs(1));
    // Now the refusal has its reason, and it counted as a call too.
    assert_eq!(
        server.refusal("SubscribeToShard", &input),
        in_use("Another active subscription exists for this consumer")
    );
    assert_eq!(server.refusal("SubscribeToShard", &input), too_often);
    server.advance(Duration::from_secs(4));
    let _second = Subscription::begin(&server, &input);
    while let Some(message) = first.next() {
        if let Message::Exception(kind, _) = message {
            assert_eq!(kind, "ResourceInUseException");
        }
    }
}

/// A subscription over HTTP/2, beside others on the same connection.
struct Http2Subscription {
    stream: u32,
    taken: usize,
}

impl Http2Subscription {
    fn begin(client: &mut Http2Client, input: &Value) -> Http2Subscription {
        let stream = client.begin("SubscribeToShard", input);
        Http2Subscription { stream, taken: 0 }
    }

    /// The next message, if it is there.
    fn arrived(&mut self, client: &Http2Client) -> Option<Message> {
        let (message, len) = first_message(&client.reply(self.stream).body[self.taken..])?;
        self.taken += len;
        Some(message)
    }

    #[track_caller]
    fn next(&mut self, client: &mut Http2Client) -> Message {
        loop {
            if let Some(message) = self.arrived(client) {
                return message;
            }
            client.take().unwrap();
        }
    }

    #[track_caller]
    fn event(&mut self, client: &mut Http2Client) -> Value {
        match self.next(client) {
            Message::Event(_, event) => event,
            other => panic!("{other:?}"),
        }
    }
}

/// Two replies that are not read: of 11 records of 900,000 bytes, and events with one of them each.
struct Hogs([u32; 2]);

impl Hogs {
    /// Windows are closed except for `window` bytes of events.
    fn begin(server: &TestServer, client: &mut Http2Client, window: u32) -> Hogs {
        server.fill("large", 12);
        let hog = register(server, "large", "hog");
        let iterator = server.iterator("large", FIRST, "TRIM_HORIZON");
        let records = client.begin("GetRecords", &json!({"ShardIterator": iterator}));
        while client.reply(records).status == 0 {
            client.take().unwrap();
        }
        let begin = subscribe(&hog, FIRST, &position("TRIM_HORIZON"));
        let events = client.begin("SubscribeToShard", &begin);
        client.widen(0, 1 << 30);
        if window > 0 {
            client.widen(events, window);
        }
        client.flush();
        Hogs([records, events])
    }

    fn end(self, client: &mut Http2Client) {
        self.0.iter().for_each(|stream| client.cancel(*stream));
    }
}

fn a_subscription_is_not_silent_while_others_hold_its_connections_memory(backend: Backend) {
    let server = TestServer::with_options(backend, |options| {
        options
            .max_connection_reply_bytes(1)
            .stall_timeout(Duration::from_secs(600))
    });
    server.create("s", 1);
    server.put("s", "k", "first");
    server.clock.advance(Duration::from_secs(3));
    let last = text(&server.put("s", "k", "last")["SequenceNumber"]);
    let mut client = Http2Client::with_window(server.address, 0);
    let hogs = Hogs::begin(&server, &mut client, 0);
    // An event would need more than the rest of 15 MiB.
    wait_until("an event waits for its client", || {
        server.gauges().reply_bytes() > 14_300_000
    });
    let consumer = register(&server, "s", "app");
    let begin = subscribe(&consumer, FIRST, &position("TRIM_HORIZON"));
    let mut subscription = Http2Subscription::begin(&mut client, &begin);
    client.widen(subscription.stream, 1 << 30);
    let initial = Message::Event("initial-response".to_owned(), json!({}));
    assert_eq!(subscription.next(&mut client), initial);
    let mut continuations = Vec::new();
    for _ in 0..2 {
        let began = Instant::now();
        let event = subscription.event(&mut client);
        assert!(began.elapsed() < Duration::from_secs(15), "it was silent");
        assert_eq!(
            (&event["Records"], &event["ChildShards"]),
            (&json!([]), &Value::Null)
        );
        assert_eq!(event["MillisBehindLatest"], 3_000);
        continuations.push(text(&event["ContinuationSequenceNumber"]));
        assert_eq!(server.call("ListStreams", &json!({})).status, 200);
    }
    hogs.end(&mut client);
    let event = loop {
        let event = subscription.event(&mut client);
        if event["Records"] != json!([]) {
            break event;
        }
    };
    assert_eq!(data_of(&event), ["first", "last"]);
    assert_eq!(event["ContinuationSequenceNumber"], json!(last));
    // The client continues from an event without records at the records that the event lacked.
    for (number, continuation) in continuations.iter().enumerate() {
        let other = register(&server, "s", &format!("other-{number}"));
        let mut again = Subscription::begin(&server, &subscribe(&other, FIRST, &after(continuation)));
        assert_eq!(again.data(), ["first", "last"]);
    }
}

fn an_event_that_does_not_fit_is_sent_once_there_is_memory_for_it(backend: Backend) {
    let server = TestServer::with_options(backend, |options| {
        options
            .max_buffered_reply_bytes(1 << 20)
            .stall_timeout(Duration::from_secs(600))
    });
    let mut client = Http2Client::with_window(server.address, 0);
    // The first event is begun, so that a second one is made.
    let hogs = Hogs::begin(&server, &mut client, 200);
    wait_until("two events wait for their client", || {
        server.gauges().reply_bytes() > 15_500_000
    });
    server.create("s", 1);
    let consumer = register(&server, "s", "app");
    let begin = subscribe(&consumer, FIRST, &position("TRIM_HORIZON"));
    let mut subscription = Subscription::begin(&server, &begin);
    let stream = server.streams().stream("s").unwrap();
    stream.put("k", b"small").unwrap();
    assert_eq!(subscription.data(), ["small"]);
    stream.put("k", &[b'x'; 900_000]).unwrap();
    let last = text(&server.put("s", "k", "last")["SequenceNumber"]);
    for _ in 0..2 {
        assert_eq!(subscription.event()["Records"], json!([]));
        assert_eq!(server.call("ListStreams", &json!({})).status, 200);
    }
    hogs.end(&mut client);
    let mut lengths = Vec::new();
    let event = loop {
        let event = subscription.event();
        lengths.extend(data_of(&event).iter().map(String::len));
        if lengths.len() == 2 {
            break event;
        }
    };
    assert_eq!(lengths, [900_000, 4]);
    assert_eq!(event["ContinuationSequenceNumber"], json!(last));
}

/// It takes several times longer than a reply may make no progress.
fn a_large_event_comes_whole_over_a_slow_connection_of_http2(backend: Backend) {
    const STALL: Duration = Duration::from_secs(2);
    const PAUSE: Duration = Duration::from_millis(100);
    const STEP: u32 = 64 << 10;
    let server = TestServer::with_options(backend, |options| options.stall_timeout(STALL));
    let create = json!({"StreamName": "s", "ShardCount": 1, "MaxRecordSizeInKiB": 10_240});
    server.ok("CreateStream", &create);
    let stream = server.streams().stream("s").unwrap();
    stream.put("k", &[b'x'; 3_500_000]).unwrap();
    let consumer = register(&server, "s", "app");
    let mut client = Http2Client::with_window(server.address, 0);
    client.widen(0, 1 << 30);
    let begin = subscribe(&consumer, FIRST, &position("TRIM_HORIZON"));
    let mut subscription = Http2Subscription::begin(&mut client, &begin);
    let began = Instant::now();
    let mut may_have_come = 0;
    let event = loop {
        may_have_come += STEP as usize;
        client.widen(subscription.stream, STEP);
        let mut arrived = None;
        while arrived.is_none() && client.reply(subscription.stream).body.len() < may_have_come {
            client.take().expect("the connection is not closed");
            assert_eq!(client.resets(), [0; 0], "after {may_have_come} bytes");
            arrived = subscription.arrived(&client);
        }
        match arrived {
            Some(Message::Event(kind, event)) if kind == "SubscribeToShardEvent" => break event,
            Some(Message::Exception(..)) => panic!("{arrived:?}"),
            _ => std::thread::sleep(PAUSE),
        }
    };
    assert!(began.elapsed() > 3 * STALL);
    assert_eq!(data_of(&event)[0].len(), 3_500_000);
    assert!(client.goaways().is_empty());
}

fn a_server_that_stops_ends_subscriptions_at_once(backend: Backend) {
    let mut server = TestServer::with_options(backend, |options| {
        options.shutdown_grace(Duration::from_secs(3600))
    });
    server.create("s", 1);
    let consumer = register(&server, "s", "app");
    let mut subscription = Subscription::begin(&server, &subscribe(&consumer, FIRST, &position("LATEST")));
    let running = server.begin_stop();
    while let Some(message) = subscription.next() {
        assert!(matches!(message, Message::Event(..)), "{message:?}");
    }
    server.finish(running);
}

fn a_client_that_goes_away_is_no_subscriber(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    let consumer = register(&server, "s", "app");
    let input = subscribe(&consumer, FIRST, &position("LATEST"));
    drop(Subscription::begin(&server, &input));
    let began = Instant::now();
    while server.gauges().connections() > 0 {
        assert!(began.elapsed() < Duration::from_secs(60), "its connection stays");
        std::thread::sleep(Duration::from_millis(1));
    }
    // Its subscription ends shortly after its connection. The clock stands still, so no other takes over.
    while !Subscription::is_taken(&server, &input) {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "its subscription stays"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn a_client_whose_answer_is_lost_is_no_subscriber(backend: Backend) {
    let server = TestServer::with_options(backend, |options| {
        let fault: Fault = "SubscribeToShard:lose:1".parse().unwrap();
        options.faults([fault], 1)
    });
    server.create("s", 1);
    let consumer = register(&server, "s", "app");
    let input = subscribe(&consumer, FIRST, &position("LATEST"));
    let head = Head::of("Kinesis_20131202.SubscribeToShard");
    let mut lost = Subscription::ask(&server, &head, input.to_string().as_bytes());
    let mut answer = Vec::new();
    let _ = lost.stream.read_to_end(&mut answer);
    assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    // The clock stands still, so no other takes over.
    wait_until("its subscription ends", || {
        Subscription::is_taken(&server, &input)
    });
}
