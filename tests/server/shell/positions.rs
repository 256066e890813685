//! The position where reading begins, and to which a stream is trimmed.

use std::collections::BTreeSet;
use std::time::Duration;

use anabranch::{ManualClock, Namespace, Retention, StreamOptions};

use serde_json::Value;

use super::{Shell, texts};

/// A record each hour from 22:13:20 of 14 November 2023 on, with a split between the second and the third.
fn fill(streams: &Namespace, clock: &ManualClock) {
    let options = StreamOptions {
        shard_count: 1,
        retention: Retention::FOREVER,
        ..StreamOptions::default()
    };
    let stream = streams.create_stream_with("clicks", options).unwrap();
    for number in 0..4_u8 {
        let put = stream.put("k", &[b'0' + number]).unwrap();
        clock.advance(Duration::from_secs(1800));
        if number == 1 {
            stream.split_in_half(put.shard_id).unwrap();
        }
        clock.advance(Duration::from_secs(1800));
    }
}

#[test]
fn reading_begins_at_a_time_a_number_or_an_end() {
    for shell in Shell::each_filled(fill) {
        let all = shell.rows(&["get", "clicks"]);
        assert_eq!(texts(&all), ["0", "1", "2", "3"]);
        assert_eq!(all[0]["arrival"], "2023-11-14T22:13:20.000Z");
        assert_eq!(shell.rows(&["streams"])[0]["oldest"], all[0]["arrival"]);
        for (from, expected) in [
            ("trim-horizon", &["0", "1", "2", "3"][..]),
            ("latest", &[]),
            ("2023-11-14T22:13:20Z", &["0", "1", "2", "3"]),
            ("2023-11-14T23:13:20.000Z", &["1", "2", "3"]),
            ("2023-11-15T00:13:20.001+01:00", &["2", "3"]),
            ("2023-11-14T23:13:20.001Z", &["2", "3"]),
            ("2023-11-15T00:13:20Z", &["2", "3"]),
            ("2023-11-15T01:13:20Z", &["3"]),
            ("-1h", &[]),
            ("-36500d", &["0", "1", "2", "3"]),
        ] {
            for command in ["get", "tail"] {
                assert_eq!(
                    texts(&shell.rows(&[command, "clicks", "--from", from])),
                    expected,
                    "{from}"
                );
            }
        }
        let number = |at: usize| all[at]["sequence_number"].as_str().unwrap();
        let from = |number: &str| texts(&shell.rows(&["get", "clicks", "--from", number]));
        assert_eq!(from(number(1)), ["1"]);
        assert_eq!(from(number(2)), ["2", "3"]);
        let of_shard = ["get", "clicks", "--shard", "0", "--from", number(2)];
        assert!(shell.refusal(1, &of_shard).contains("shardId-00000000000"));
        let in_shard = ["get", "clicks", "--shard", "0", "--from", "2023-11-14T23:00:00Z"];
        assert_eq!(texts(&shell.rows(&in_shard)), ["1"]);
    }
}

#[test]
fn a_directory_is_trimmed_to_a_time() {
    for (to, kept) in [
        ("2023-11-14T22:13:20Z", &["0", "1", "2", "3"][..]),
        ("2023-11-14T23:00:00Z", &["1", "2", "3"]),
        ("2023-11-15T00:13:20Z", &["2", "3"]),
        ("2023-11-15T00:13:20.001Z", &["3"]),
        ("-1h", &[]),
    ] {
        let [shell, _] = Shell::each_filled(fill);
        let beginnings = shell.rows(&["trim", "clicks", "--to", to]);
        let left = shell.rows(&["get", "clicks"]);
        assert_eq!(texts(&left), kept, "{to}");
        // The first record of each remaining shard.
        let shown = beginnings.iter().filter(|row| !row["first"].is_null());
        for row in shown.clone() {
            let is_first = |record: &&Value| record["shard"] == row["shard"];
            let first = left.iter().find(is_first).unwrap();
            assert_eq!(
                (&row["first"], &row["arrival"]),
                (&first["sequence_number"], &first["arrival"])
            );
        }
        let with_records: BTreeSet<_> = left.iter().map(|record| record["shard"].to_string()).collect();
        assert_eq!(shown.count(), with_records.len());
    }
}

#[test]
fn a_directory_is_trimmed_to_a_record_which_stays() {
    for at in 0..4 {
        let [shell, _] = Shell::each_filled(fill);
        let all = shell.rows(&["get", "clicks"]);
        let number = all[at]["sequence_number"].as_str().unwrap();
        shell.ok(&["trim", "clicks", "--to", number]);
        assert_eq!(shell.rows(&["get", "clicks"]), all[at..]);
    }
    let [shell, _] = Shell::each_filled(fill);
    let foreign = anabranch::SequenceNumber::new(
        1_600_000_000,
        anabranch::ShardId::new(0).unwrap(),
        anabranch::RecordNumber::FIRST,
        1_600_000_000,
    );
    let foreign = foreign.to_string();
    assert!(
        shell
            .refusal(1, &["trim", "clicks", "--to", &foreign])
            .contains("did not come from this stream")
    );
    assert!(
        shell
            .refusal(1, &["trim", "nothing", "--to", "-1h"])
            .contains("stream nothing not found")
    );
    assert_eq!(shell.rows(&["get", "clicks"]).len(), 4);
}

#[test]
fn nothing_is_trimmed_to_what_has_not_come_or_is_of_another_stream() {
    // Two streams of the same second, whose records came at different times.
    let [shell, _] = Shell::each_filled(|streams, clock| {
        let options = || StreamOptions {
            shard_count: 1,
            retention: Retention::FOREVER,
            ..StreamOptions::default()
        };
        let [clicks, other] =
            ["clicks", "other"].map(|name| streams.create_stream_with(name, options()).unwrap());
        for _ in 0..4 {
            clicks.put("k", b"click").unwrap();
        }
        clock.advance(Duration::from_secs(3_600));
        for _ in 0..9 {
            other.put("k", b"other").unwrap();
        }
    });
    let refused = |status: i32, to: &str, said: &str| {
        let error = shell.refusal(status, &["trim", "clicks", "--to", to]);
        assert!(error.contains(said), "{error}");
    };
    refused(
        2,
        "2999-01-01T00:00:00Z",
        "2999-01-01T00:00:00.000Z is in the future",
    );
    let others = shell.rows(&["get", "other"]);
    let number = |at: usize| others[at]["sequence_number"].as_str().unwrap();
    refused(1, number(1), "did not come from this stream");
    refused(1, number(8), "cannot be trimmed to number");
    assert_eq!(shell.rows(&["get", "clicks"]).len(), 4);
}

#[test]
fn the_api_trims_nothing() {
    let shell = Shell::at_server(&["--create-stream", "clicks:1"]);
    let error = shell.refusal(2, &["trim", "clicks", "--to", "-1h"]);
    assert!(
        error.contains("the Kinesis API has no operation that trims") && error.contains("--data-dir"),
        "{error}"
    );
}
