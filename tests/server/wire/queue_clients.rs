//! Consumers of queues that go away, do not read, or find no room: other consumers get their records at once, as if
//! these had never been given out. The clock stands still, so no record is given out again because of the time; and a
//! record that was received once is a dead letter.

use std::net::Shutdown;
use std::time::{Duration, Instant};

use anabranch::ReceiveOptions;
use anabranch::kinesis::Fault;
use anabranch_harness::http1::Client;
use anabranch_harness::http2::Http2Client;
use anabranch_harness::wait::wait_until;
use serde_json::{Value, json};

use super::test_server::{ACCOUNT, Backend, REGION, TestServer, on_each_backend, text};

on_each_backend!(
    a_client_that_is_gone_is_given_nothing,
    a_client_of_http2_that_is_gone_is_given_nothing,
    a_client_that_has_closed_its_side_gets_what_there_is,
    requests_that_are_sent_ahead_of_a_wait_are_answered,
    what_a_client_does_not_read_is_given_to_another,
    what_a_client_of_http2_does_not_read_is_given_to_another,
    an_answer_that_waits_for_its_client_is_given_to_another,
    answers_that_a_stop_cuts_are_given_back_before_the_server_has_stopped,
    an_answer_that_http2_has_queued_is_given_to_another_once_its_client_ends,
    a_client_that_is_gone_before_there_is_memory_is_given_nothing,
    what_a_fault_keeps_from_a_client_is_given_out,
    a_record_for_which_there_is_no_room_is_refused_and_not_given_out,
    changes_of_settings_at_once_are_all_made,
);

/// Longer than any wait of a test.
const LONG: Duration = Duration::from_secs(15);

/// How long the machine may hold up a client that reads.
const STALL: Duration = Duration::from_millis(1_500);

fn create_queue(server: &TestServer) -> String {
    let on_demand = json!({"StreamName": "jobs", "StreamModeDetails": {"StreamMode": "ON_DEMAND"}});
    server.ok("CreateStream", &on_demand);
    let stream = format!("arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/jobs");
    let queue = json!({
        "QueueName": "work",
        "StreamConfigurationList": [{"StreamARN": stream}],
        "QueueAttributes": {"DeadLetterConfiguration": {"TargetType": "BUILT_IN", "MaxReceiveCount": 1}},
    });
    text(&server.ok("CreateQueue", &queue)["QueueDescription"]["QueueARN"])
}

fn wait(queue: &str, seconds: u32) -> Value {
    json!({"QueueARN": queue, "WaitTimeSeconds": seconds})
}

fn receive(server: &TestServer, queue: &str) -> Vec<Value> {
    let received = server.ok("ReceiveQueueRecords", &wait(queue, 1));
    received["QueueRecords"].as_array().unwrap().clone()
}

/// Puts this many records of 900,000 bytes.
fn fill(server: &TestServer, records: usize) {
    for _ in 0..records {
        put_bytes(server, 900_000);
    }
}

fn put_bytes(server: &TestServer, bytes: usize) {
    let stream = server.streams().stream("jobs").unwrap();
    stream.put("k", &vec![7; bytes]).unwrap();
}

/// Puts a record, and checks that another consumer gets it as new. A record of a consumer that has gone may come back
/// while this one waits.
#[track_caller]
fn put_and_receive(server: &TestServer, queue: &str) {
    server.put("jobs", "k", "x");
    let received = server.ok("ReceiveQueueRecords", &wait(queue, LONG.as_secs() as u32));
    let counts = received["QueueRecords"].as_array().unwrap().iter();
    let counts: Vec<_> = counts.map(|record| record["ReceiveCount"].clone()).collect();
    assert_eq!(counts, [1]);
}

/// A client whose connection the server has, beside this many others. A client that left earlier would be noticed
/// later.
fn connect_beside(server: &TestServer, others: usize) -> Client {
    wait_until("the others are gone", || server.gauges().connections() == others);
    let client = server.connect();
    wait_until("it is there", || server.gauges().connections() > others);
    client
}

fn a_client_that_is_gone_is_given_nothing(backend: Backend) {
    let server = TestServer::start(backend);
    let queue = create_queue(&server);
    // Whichever comes first, the wait or its end.
    for pause in [0, 0, 1, 10, 100, 200] {
        let mut client = connect_beside(&server, 0);
        let began = Instant::now();
        client.begin("ReceiveQueueRecords", &wait(&queue, 20));
        std::thread::sleep(Duration::from_millis(pause));
        drop(client);
        wait_until("the server knows it", || server.gauges().connections() == 0);
        assert!(began.elapsed() < LONG, "it was waited for");
        put_and_receive(&server, &queue);
    }
}

fn a_client_of_http2_that_is_gone_is_given_nothing(backend: Backend) {
    let server = TestServer::start(backend);
    let queue = create_queue(&server);
    for pause in [0, 10, 100] {
        let mut client = Http2Client::connect(server.address);
        let stream = client.begin("ReceiveQueueRecords", &wait(&queue, 20));
        std::thread::sleep(Duration::from_millis(pause));
        // It cancels the request, and goes on. The records on their way to it come back.
        client.cancel(stream);
        client.ping();
        put_and_receive(&server, &queue);
        client.begin("ReceiveQueueRecords", &wait(&queue, 20));
        client.flush();
        std::thread::sleep(Duration::from_millis(pause));
        drop(client);
        wait_until("the server knows it", || server.gauges().connections() == 0);
        put_and_receive(&server, &queue);
    }
}

fn a_client_that_has_closed_its_side_gets_what_there_is(backend: Backend) {
    let server = TestServer::start(backend);
    let queue = create_queue(&server);
    let half_closed = || {
        let mut client = server.connect();
        client.begin("ReceiveQueueRecords", &wait(&queue, 20));
        client.socket().shutdown(Shutdown::Write).unwrap();
        let reply = client.read_reply(false).expect("an answer").ok();
        assert!(client.is_closed());
        reply["QueueRecords"].as_array().unwrap().len()
    };
    server.put("jobs", "k", "x");
    assert_eq!(half_closed(), 1);
    // The server does not wait for it, since it may be gone.
    let began = Instant::now();
    assert_eq!(half_closed(), 0);
    assert!(began.elapsed() < LONG);
    put_and_receive(&server, &queue);
}

fn requests_that_are_sent_ahead_of_a_wait_are_answered(backend: Backend) {
    let server = TestServer::start(backend);
    let queue = create_queue(&server);
    let mut client = server.connect();
    client.begin("ReceiveQueueRecords", &wait(&queue, 1));
    // They come while it waits.
    std::thread::sleep(Duration::from_millis(100));
    for _ in 0..100 {
        client.begin("ListStreams", &json!({}));
    }
    let received = client.read_reply(false).unwrap().ok();
    assert_eq!(received["QueueRecords"], json!([]));
    for _ in 0..100 {
        let listed = client.read_reply(false).unwrap().ok();
        assert_eq!(listed["StreamNames"], json!(["jobs"]));
    }
}

/// Receives until this many records have been given out, and checks that each is given out as if for the first time.
fn receive_again(server: &TestServer, queue: &str, records: usize) {
    let mut left = records;
    wait_until("they are given back", || {
        for record in receive(server, queue) {
            assert_eq!(record["ReceiveCount"], 1);
            left -= 1;
        }
        left == 0
    });
}

fn what_a_client_does_not_read_is_given_to_another(backend: Backend) {
    let server = TestServer::with_options(backend, |options| options.stall_timeout(STALL));
    let queue = create_queue(&server);
    fill(&server, 10);
    let mut never_reads: Client = server.connect();
    never_reads.begin("ReceiveQueueRecords", &wait(&queue, 1));
    wait_until("the reply is made", || server.gauges().reply_bytes() > 1 << 20);
    wait_until("it is given up", || server.gauges().connections() == 0);
    receive_again(&server, &queue, 10);
}

fn what_a_client_of_http2_does_not_read_is_given_to_another(backend: Backend) {
    let server = TestServer::with_options(backend, |options| options.stall_timeout(STALL));
    let queue = create_queue(&server);
    fill(&server, 10);
    let mut never_reads = Http2Client::with_window(server.address, 0);
    never_reads.begin("ReceiveQueueRecords", &wait(&queue, 1));
    while never_reads.resets().is_empty() {
        never_reads.take().expect("the connection stays open");
    }
    receive_again(&server, &queue, 10);
}

/// More than sockets hold for a client that does not read, but small enough that HTTP/1 takes the answer from the call
/// as a whole.
const TAKEN_BYTES: usize = 340_000;

/// A client that does not read its answer, which has such a record and is being sent.
fn begin_and_do_not_read(server: &TestServer, queue: &str) -> Client {
    put_bytes(server, TAKEN_BYTES);
    let mut never_reads = server.connect();
    never_reads.begin("ReceiveQueueRecords", &wait(queue, 1));
    // Until the answer is made, it holds as much memory as the largest could need.
    let made = TAKEN_BYTES..2 * TAKEN_BYTES;
    wait_until("the answer is made", || {
        made.contains(&server.gauges().reply_bytes())
    });
    never_reads
}

fn an_answer_that_waits_for_its_client_is_given_to_another(backend: Backend) {
    let server = TestServer::with_options(backend, |options| options.stall_timeout(STALL));
    let queue = create_queue(&server);
    let _never_reads = begin_and_do_not_read(&server, &queue);
    wait_until("it is given up", || server.gauges().connections() == 0);
    receive_again(&server, &queue, 1);
}

fn answers_that_a_stop_cuts_are_given_back_before_the_server_has_stopped(backend: Backend) {
    let mut server = TestServer::with_options(backend, |options| {
        options.shutdown_grace(Duration::from_millis(100))
    });
    let queue = create_queue(&server);
    let _never_reads = begin_and_do_not_read(&server, &queue);
    let _keeps_its_window = begin_and_have_queued(&server, &queue);
    server.stop();
    // The store is open, so nothing else frees the records.
    let queue = server.streams().stream("jobs").unwrap().queue("work").unwrap();
    let received = queue.receive(&ReceiveOptions::default()).unwrap();
    let counts: Vec<_> = received.iter().map(|record| record.receive_count).collect();
    assert_eq!(counts, [1, 1]);
}

/// A client whose window holds back most of its answer, which has a record, in the queue of its connection.
fn begin_and_have_queued(server: &TestServer, queue: &str) -> Http2Client {
    const WINDOW: usize = 1_000;
    put_bytes(server, 30_000);
    let mut client = Http2Client::with_window(server.address, WINDOW as u32);
    let stream = client.begin("ReceiveQueueRecords", &wait(queue, 1));
    while client.reply(stream).body.len() < WINDOW {
        client.take().expect("the connection stays open");
    }
    // It has read all bytes that have come, so its connection can end in order.
    client.ping();
    client
}

fn an_answer_that_http2_has_queued_is_given_to_another_once_its_client_ends(backend: Backend) {
    let server = TestServer::start(backend);
    let queue = create_queue(&server);
    drop(begin_and_have_queued(&server, &queue));
    wait_until("the server knows it", || server.gauges().connections() == 0);
    receive_again(&server, &queue, 1);
}

fn a_client_that_is_gone_before_there_is_memory_is_given_nothing(backend: Backend) {
    let server = TestServer::with_options(backend, |options| {
        options
            .max_buffered_reply_bytes(4 << 20)
            .body_timeouts(Duration::from_secs(600), Duration::from_secs(600))
            .stall_timeout(Duration::from_secs(600))
    });
    let queue = create_queue(&server);
    // One client that does not read has the memory of large replies, another one that of reduced ones.
    server.fill("large", 12);
    let many = server.streams().create_stream("many", 1).unwrap();
    for _ in 0..100 {
        many.put("k", &[7; 20_000]).unwrap();
    }
    let never_reads = ["large", "many"].map(|stream| {
        let iterator = server.iterator(stream, "0", "TRIM_HORIZON");
        let mut client = Http2Client::with_window(server.address, 0);
        let reply = client.begin("GetRecords", &json!({"ShardIterator": iterator}));
        while client.reply(reply).status == 0 {
            client.take().expect("the connection stays open");
        }
        client
    });
    server.put("jobs", "k", "x");
    let mut client = connect_beside(&server, never_reads.len());
    client.begin("ReceiveQueueRecords", &wait(&queue, 20));
    // Much longer than an answer takes if there is memory for it.
    std::thread::sleep(Duration::from_secs(1));
    drop(client);
    drop(never_reads);
    wait_until("the server knows it", || server.gauges().connections() == 0);
    let received = receive(&server, &queue);
    assert_eq!(received.len(), 1);
    assert_eq!(received[0]["ReceiveCount"], 1);
}

/// As with any operation, the call has its effect.
fn what_a_fault_keeps_from_a_client_is_given_out(backend: Backend) {
    let server = TestServer::with_options(backend, |options| {
        let lose: Fault = "ReceiveQueueRecords:lose:1".parse().unwrap();
        options.faults([lose], 0)
    });
    let queue = create_queue(&server);
    server.put("jobs", "k", "x");
    let mut client = server.connect();
    client.begin("ReceiveQueueRecords", &wait(&queue, 1));
    assert!(client.is_closed());
    assert!(receive(&server, &queue).is_empty());
}

fn a_record_for_which_there_is_no_room_is_refused_and_not_given_out(backend: Backend) {
    let server = TestServer::with_options(backend, |options| options.max_buffered_reply_bytes(4 << 20));
    let queue = create_queue(&server);
    server.fill("large", 12);
    let large = server.iterator("large", "0", "TRIM_HORIZON");
    let mut never_reads = server.connect();
    never_reads.begin("GetRecords", &json!({"ShardIterator": large}));
    wait_until("it is made", || server.gauges().reply_bytes() > 8 << 20);
    // There is room for 256 KiB.
    fill(&server, 1);
    for _ in 0..3 {
        let refused = server.call("ReceiveQueueRecords", &wait(&queue, 1));
        assert_eq!(refused.status, 503);
        assert_eq!(refused.json()["__type"], "ServiceUnavailable");
    }
    drop(never_reads);
    wait_until("all is given back", || server.gauges().reply_bytes() == 0);
    let received = receive(&server, &queue);
    assert_eq!(received.len(), 1);
    assert_eq!(received[0]["ReceiveCount"], 1);
}

/// Each call changes one of the settings, and leaves the other unchanged.
fn changes_of_settings_at_once_are_all_made(backend: Backend) {
    let server = TestServer::start(backend);
    let queue = create_queue(&server);
    for round in 1..=50 {
        let update = |attributes: Value| {
            let (server, queue) = (&server, &queue);
            move || {
                server.ok(
                    "UpdateQueue",
                    &json!({"QueueARN": queue, "QueueAttributes": attributes}),
                )
            }
        };
        let seconds = update(json!({"VisibilityTimeoutSeconds": round}));
        let count =
            update(json!({"DeadLetterConfiguration": {"TargetType": "BUILT_IN", "MaxReceiveCount": round}}));
        std::thread::scope(|scope| {
            scope.spawn(seconds);
            scope.spawn(count);
        });
        let described = server.ok("DescribeQueue", &json!({ "QueueARN": queue }));
        let attributes = &described["QueueDescription"]["QueueAttributes"];
        assert_eq!(attributes["VisibilityTimeoutSeconds"], round);
        assert_eq!(attributes["DeadLetterConfiguration"]["MaxReceiveCount"], round);
    }
}
