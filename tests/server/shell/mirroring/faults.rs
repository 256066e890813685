//! Calls that are throttled, lost or refused while a stream is mirrored, and servers that go away.

use serde_json::json;

use super::{Mirror, Shell, assert_is_whole, command, filled, last, mirror, place, put_numbers, restarted};

fn source() -> Shell {
    filled(|streams| {
        streams.create_stream("clicks", 2).unwrap();
        put_numbers(streams, 0..3_000);
    })
}

#[test]
fn refused_records_go_before_later_ones_of_their_keys() {
    let target = Shell::at_server(&["--fault", "PutRecords:throttle:30%"]);
    let events = mirror(&source(), &target, &[]);
    assert_eq!(last(&events)["records"], 3_000);
    assert_is_whole(&target, "clicks", 3_000);
}

#[test]
fn records_whose_answer_was_lost_or_a_failure_are_not_put_twice() {
    let faults = ["PutRecords:lose:30%", "PutRecords:fail:20%"];
    let target = Shell::at_server(&faults.map(|fault| ["--fault", fault]).concat());
    let ran = super::ran(&mut command(&place(&source()), &target, &[]));
    assert_eq!(ran.status, 0, "{}", ran.error);
    assert!(ran.error.contains("trying again"), "{}", ran.error);
    assert_is_whole(&target, "clicks", 3_000);
}

#[test]
fn a_source_that_throttles_is_asked_again() {
    let faults = ["GetRecords", "ListShards", "GetShardIterator"];
    let faults = faults.map(|operation| format!("{operation}:throttle:20%"));
    let mut arguments = vec!["--create-stream", "clicks:2"];
    arguments.extend(faults.iter().flat_map(|fault| ["--fault", fault]));
    let source = Shell::at_server(&arguments);
    let lines: String = (0..1_000).map(|number| format!("{number}\n")).collect();
    source.put(&lines, &["clicks", "--key", "k"]);
    let target = Shell::in_directory();
    assert_eq!(last(&mirror(&source, &target, &[]))["records"], 1_000);
    assert_is_whole(&target, "clicks", 1_000);
}

#[test]
fn servers_that_are_started_again_are_waited_for() {
    for is_source in [true, false] {
        let mut source = Shell::at_server(&["--create-stream", "clicks:2"]);
        let mut target = Shell::at_server(&[]);
        let lines = |from: u32| {
            (from..from + 100)
                .map(|number| format!("{number}\n"))
                .collect::<String>()
        };
        source.put(&lines(0), &["clicks", "--key", "k"]);
        let mut mirror = Mirror::start(command(&place(&source), &target, &["--follow"]));
        mirror.wait_for("caught_up");
        let away = if is_source { &mut source } else { &mut target };
        let server = away.server.take().unwrap();
        let listen = server.address().to_string();
        server.kill();
        if !is_source {
            // They are put while the target is away.
            source.put(&lines(100), &["clicks", "--key", "k"]);
        }
        let away = if is_source { &mut source } else { &mut target };
        away.server = Some(restarted(away, &listen));
        if is_source {
            source.put(&lines(100), &["clicks", "--key", "k"]);
        }
        anabranch_harness::wait::wait_until("all are at the target", || {
            target.rows(&["get", "clicks"]).len() >= 200
        });
        assert_eq!(mirror.interrupt()["records"], json!(200));
        assert_is_whole(&target, "clicks", 200);
    }
}
