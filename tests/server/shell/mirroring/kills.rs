//! Mirrors that are killed at any moment, and go on.

use std::fs;

use anabranch::{HashKey, HashKeyRange, ShardFilter, StartingPosition, Store};
use anabranch_harness::wait::wait_until;
use serde_json::Value;

use super::{
    Mirror, NAMESPACE, Shell, assert_is_whole, checkpoint, command, filled, last, lineage, mirror, numbers,
    place, put_numbers,
};

/// How many records the checkpoint says are at the target.
fn in_checkpoint(target: &Shell) -> u64 {
    let text = fs::read_to_string(checkpoint(target)).unwrap();
    let read: Value = serde_json::from_str(&text).unwrap();
    read["records"].as_u64().unwrap()
}

/// How many records are at the target. Of a directory without its lock, which the mirror is going to need.
fn count(target: &Shell) -> usize {
    if target.server.is_some() {
        return target.run(&["get", "clicks"]).out.lines().count();
    }
    let store = Store::follow(target.data_dir());
    let stream = store.and_then(|store| store.namespace(NAMESPACE)?.stream("clicks"));
    let reader = stream.and_then(|stream| stream.reader(StartingPosition::TrimHorizon));
    reader.map_or(0, Iterator::count)
}

/// Kills a mirror once this many records are at the target.
fn kill_behind(source: &Shell, target: &Shell, records: usize, arguments: &[&str]) {
    let mirror = Mirror::start(command(&place(source), target, arguments));
    wait_until("records are at the target", || count(target) >= records);
    mirror.kill();
}

#[test]
fn records_behind_the_checkpoint_are_found_at_a_target_that_the_mirror_made() {
    for (lineage, target) in ["mirror", "flatten"]
        .into_iter()
        .flat_map(|lineage| Shell::each().into_iter().map(move |target| (lineage, target)))
    {
        let source = filled(|streams| {
            streams.create_stream("clicks", 2).unwrap();
            put_numbers(streams, 0..3_000);
        });
        let slow = ["--lineage", lineage, "--rate", "300"];
        for records in [100, 400] {
            kill_behind(&source, &target, records, &slow);
            // So all that is there is behind it.
            assert_eq!(in_checkpoint(&target), 0);
        }
        let events = mirror(&source, &target, &["--lineage", lineage]);
        assert_eq!(last(&events)["records"], 3_000);
        assert_is_whole(&target, "clicks", 3_000);
    }
}

#[test]
fn a_target_that_was_there_has_no_more_than_a_page_of_each_shard_twice() {
    let target = Shell::at_server(&["--create-stream", "clicks:2"]);
    let source = filled(|streams| {
        streams.create_stream("clicks", 2).unwrap();
        put_numbers(streams, 0..3_000);
    });
    kill_behind(&source, &target, 100, &["--existing", "--rate", "300"]);
    mirror(&source, &target, &[]);
    for (key, of_key) in numbers(&target, "clicks") {
        // What was put before the kill is a beginning of what was put behind it.
        let begin = of_key
            .iter()
            .rposition(|number| number == of_key.iter().min().unwrap())
            .unwrap();
        assert!(begin <= 100 && of_key[begin..].is_sorted(), "{key}: {of_key:?}");
        assert_eq!(of_key[..begin], of_key[begin..][..begin], "{key}");
        assert_eq!(of_key.len() - begin, 150);
    }
}

#[test]
fn kills_between_splits_and_merges_leave_the_lineage_whole() {
    let source = filled(|streams| {
        let stream = streams.create_stream("clicks", 1).unwrap();
        for round in 0..4 {
            put_numbers(streams, 100 * round..100 * (round + 1));
            let open = stream.shards(&ShardFilter::AtLatest).unwrap();
            match open.len() {
                1 => stream.split_shard(open[0].id, HashKey::MAX / 3).unwrap(),
                _ => stream.merge_shards(open[0].id, open[1].id).unwrap(),
            }
        }
        put_numbers(streams, 400..500);
    });
    for target in Shell::each() {
        for records in [60, 130, 220, 310, 420] {
            kill_behind(&source, &target, records, &["--rate", "400"]);
        }
        mirror(&source, &target, &[]);
        assert_is_whole(&target, "clicks", 500);
        assert_eq!(lineage(&target, "clicks"), lineage(&source, "clicks"));
    }
}

#[test]
fn uneven_shards_are_made_and_a_kill_in_between_is_made_good() {
    let source = filled(|streams| {
        let stream = streams.create_stream("clicks", 1).unwrap();
        for _ in 0..5 {
            let last = stream.shards(&ShardFilter::AtLatest).unwrap().pop().unwrap();
            let range: HashKeyRange = last.hash_key_range;
            let third = range.start().value() + (range.end().value() - range.start().value()) / 3;
            stream.split_shard(last.id, HashKey::new(third)).unwrap();
        }
        put_numbers(streams, 0..500);
    });
    let target = Shell::at_server(&["--fault", "SplitShard:slow=50ms:100%"]);
    let killed = Mirror::start(command(&place(&source), &target, &["--from", "latest"]));
    wait_until("the first shards are split", || {
        target.run(&["streams", "clicks"]).out.lines().count() > 3
    });
    killed.kill();
    mirror(&source, &target, &["--from", "latest"]);
    let open = |shell: &Shell| {
        let shards = shell.rows(&["streams", "clicks"]);
        let open = shards.into_iter().filter(|row| row["state"] == "open");
        let mut starts: Vec<_> = open
            .map(|row| row["starting_hash_key"].as_str().unwrap().to_owned())
            .collect();
        starts.sort_unstable();
        starts
    };
    assert_eq!(open(&target), open(&source));
    assert_eq!(open(&target).len(), 6);
}
