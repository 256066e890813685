//! Changing the number of a stream's shards, by hand and by its load, and its other settings.

use anabranch::{
    Append, Error, HashKey, PutRecord, RecordDistribution, StreamMode, StreamOptions, StreamStatus, limits,
};

use super::*;

const MINUTE: Duration = Duration::from_secs(60);
const DELAY: Duration = Duration::from_secs(5);

on_each_backend!(
    another_number_of_shards_leaves_every_record_where_a_reader_finds_it,
    with_a_delay_the_number_of_shards_changes_when_it_is_due,
    a_number_of_shards_that_cannot_be_is_refused,
    an_on_demand_stream_gets_shards_for_twice_its_load_and_gives_them_back_when_it_is_quiet,
    a_hot_shard_is_split_and_a_provisioned_stream_is_left_alone,
    a_peak_counts_for_thirty_days_also_when_the_store_is_opened_again,
    warm_throughput_is_there_without_load,
    the_largest_record_can_be_changed,
    a_stream_that_distributes_its_records_needs_no_keys,
);

fn open_shards(stream: &Stream) -> u32 {
    stream.summary().unwrap().open_shard_count
}

/// Puts records with hash keys that lie evenly in the part of the hash space below `end`.
fn put_evenly(stream: &Stream, records: u32, bytes: usize, end: HashKey) {
    let data = vec![7; bytes];
    let step = end.value() / u128::from(records);
    let batch: Vec<_> = (0..records)
        .map(|number| {
            let key = HashKey::new(u128::from(number) * step);
            PutRecord::new("k", &data).explicit_hash_key(key)
        })
        .collect();
    for batch in batch.chunks(if bytes > 1_000 { 50 } else { 500 }) {
        stream.put_records(batch).unwrap();
    }
}

fn on_demand(world: &World, name: &str, shard_count: u32) -> Stream {
    let options = StreamOptions {
        shard_count,
        mode: StreamMode::OnDemand,
        ..StreamOptions::default()
    };
    world.store.create_stream_with(name, options).unwrap()
}

/// The end of a minute in which the stream took these records.
fn a_minute_passes(world: &World) {
    world.clock.advance(MINUTE);
    world.store.maintain().unwrap();
}

fn data_in_order(stream: &Stream, key: &str) -> Vec<u32> {
    let reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
    let records = reader.map(|record| record.unwrap());
    records
        .filter(|record| record.partition_key.as_str() == key)
        .map(|record| std::str::from_utf8(&record.data).unwrap().parse().unwrap())
        .collect()
}

fn another_number_of_shards_leaves_every_record_where_a_reader_finds_it(place: &Place) {
    let mut world = World::new(place);
    let keys: Vec<_> = (0..20).map(|key| format!("key-{key}")).collect();
    world.store.create_stream("s", 4).unwrap();
    let mut shards = 4;
    for (round, target) in [5, 10, 3, 3, 1, 7].into_iter().enumerate() {
        let stream = world.stream("s");
        for key in &keys {
            stream.put(key, round.to_string().as_bytes()).unwrap();
        }
        let before = open_shards(&stream);
        stream.update_shard_count(target).unwrap();
        shards += match target.cmp(&before) {
            // Each is split, and neighbours are merged.
            std::cmp::Ordering::Greater if target <= 2 * before => 2 * before + (2 * before - target),
            // Each is split as long as there are too few.
            std::cmp::Ordering::Greater => 2 * (target - before),
            _ => before - target,
        };
        let summary = stream.summary().unwrap();
        assert_eq!(
            (summary.open_shard_count, summary.status),
            (target, StreamStatus::Active)
        );
        assert_eq!(stream.describe().unwrap().shards.len() as u32, shards);
        if round % 2 == 0 {
            world.reopen();
        }
    }
    for key in &keys {
        assert_eq!(data_in_order(&world.stream("s"), key), [0, 1, 2, 3, 4, 5]);
    }
}

fn with_a_delay_the_number_of_shards_changes_when_it_is_due(place: &Place) {
    let mut world = World::with_delay(place, DELAY);
    world.store.create_stream("s", 2).unwrap();
    world.clock.advance(DELAY);
    world.stream("s").update_shard_count(4).unwrap();
    let is = |world: &World, status, open| {
        let summary = world.stream("s").summary().unwrap();
        assert_eq!((summary.status, summary.open_shard_count), (status, open));
    };
    is(&world, StreamStatus::Updating, 2);
    assert_eq!(world.store.open_shard_count().unwrap(), 4);
    let refused = world.stream("s").update_shard_count(3);
    assert!(
        matches!(refused, Err(Error::StreamNotActive { .. })),
        "{refused:?}"
    );
    world.reopen();
    is(&world, StreamStatus::Updating, 2);
    world.stream("s").put("k", b"between").unwrap();
    world.clock.advance(DELAY);
    is(&world, StreamStatus::Active, 4);
    world.stream("s").set_max_record_bytes(2 << 20).unwrap();
    is(&world, StreamStatus::Updating, 4);
    let large = vec![0; 3 << 19];
    let refused = world.stream("s").put("k", &large);
    assert!(
        matches!(refused, Err(Error::RecordTooLarge { .. })),
        "{refused:?}"
    );
    world.clock.advance(DELAY);
    world.stream("s").put("k", &large).unwrap();
    is(&world, StreamStatus::Active, 4);
}

fn a_number_of_shards_that_cannot_be_is_refused(place: &Place) {
    let world = World::new(place);
    let stream = world.store.create_stream("s", 2).unwrap();
    for target in [0, limits::MAX_SHARDS_PER_STREAM + 1, u32::MAX] {
        let refused = stream.update_shard_count(target);
        assert!(
            matches!(refused, Err(Error::InvalidArgument { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(stream.describe().unwrap().shards.len(), 2);
    stream.delete().unwrap();
    let refused = stream.update_shard_count(4);
    assert!(
        matches!(refused, Err(Error::StreamNotFound { .. })),
        "{refused:?}"
    );
}

fn an_on_demand_stream_gets_shards_for_twice_its_load_and_gives_them_back_when_it_is_quiet(place: &Place) {
    let world = World::new(place);
    let stream = on_demand(&world, "s", 4);
    // 3,000 records a second are the load of three shards.
    put_evenly(&stream, 180_000, 1, HashKey::MAX);
    world.clock.advance(MINUTE - Duration::from_secs(1));
    world.store.maintain().unwrap();
    assert_eq!(open_shards(&stream), 4, "the minute is not over");
    world.clock.advance(Duration::from_secs(1));
    world.store.maintain().unwrap();
    assert_eq!(
        open_shards(&stream),
        8,
        "each of the four took 750 records a second"
    );
    assert!(
        world.was_told("on-demand stream s goes from 4 to 8 open shards"),
        "{:?}",
        world.events
    );
    a_minute_passes(&world);
    assert_eq!(open_shards(&stream), 8);
    // After a day without a hot shard it has the shards that twice its peak needs.
    world.clock.advance(DAY);
    a_minute_passes(&world);
    assert_eq!(open_shards(&stream), 6);
    // After a month the peak does not count.
    for day in 0..32 {
        world.clock.advance(DAY);
        a_minute_passes(&world);
        assert!(open_shards(&stream) >= if day < 29 { 6 } else { 4 });
    }
    assert_eq!(open_shards(&stream), 4, "as many as a new one");
}

fn a_hot_shard_is_split_and_a_provisioned_stream_is_left_alone(place: &Place) {
    let world = World::new(place);
    let skewed = on_demand(&world, "skewed", 4);
    let provisioned = world.store.create_stream("provisioned", 4).unwrap();
    for stream in [&skewed, &provisioned] {
        put_evenly(stream, 72_000, 1, HashKey::new(HashKey::MAX.value() / 4));
    }
    a_minute_passes(&world);
    assert_eq!(open_shards(&skewed), 5);
    assert_eq!(open_shards(&provisioned), 4);
    provisioned.set_mode(StreamMode::OnDemand).unwrap();
    put_evenly(&provisioned, 72_000, 1, HashKey::new(HashKey::MAX.value() / 4));
    a_minute_passes(&world);
    assert_eq!(open_shards(&provisioned), 5);
    // Few records, but many bytes: a little more than a MiB a second.
    put_evenly(&skewed, 128, 1 << 19, HashKey::new(HashKey::MAX.value() / 8));
    a_minute_passes(&world);
    assert_eq!(open_shards(&skewed), 6);
    skewed.set_mode(StreamMode::Provisioned).unwrap();
    world.clock.advance(40 * DAY);
    a_minute_passes(&world);
    assert_eq!(open_shards(&skewed), 6);
}

fn a_peak_counts_for_thirty_days_also_when_the_store_is_opened_again(place: &Place) {
    let mut world = World::new(place);
    let stream = on_demand(&world, "s", 4);
    put_evenly(&stream, 480_000, 1, HashKey::MAX);
    a_minute_passes(&world);
    assert_eq!(open_shards(&stream), 8, "twice as many at most in a minute");
    world.reopen();
    let stream = world.stream("s");
    a_minute_passes(&world);
    assert_eq!(open_shards(&stream), 16);
    drop(stream);
    world.clock.advance(29 * DAY);
    a_minute_passes(&world);
    a_minute_passes(&world);
    assert_eq!(open_shards(&world.stream("s")), 16);
}

fn warm_throughput_is_there_without_load(place: &Place) {
    let mut world = World::new(place);
    on_demand(&world, "s", 4).set_warm_throughput(20).unwrap();
    world.reopen();
    for expected in [8, 16, 20, 20] {
        a_minute_passes(&world);
        assert_eq!(open_shards(&world.stream("s")), expected);
    }
    let stream = world.stream("s");
    assert_eq!(stream.summary().unwrap().warm_throughput, 20);
    let refused = stream.set_warm_throughput(limits::MAX_SHARDS_PER_STREAM + 1);
    assert!(
        matches!(refused, Err(Error::InvalidArgument { .. })),
        "{refused:?}"
    );
    stream.set_warm_throughput(0).unwrap();
    for expected in [10, 5, 4, 4] {
        world.clock.advance(DAY);
        a_minute_passes(&world);
        assert_eq!(open_shards(&stream), expected);
    }
}

fn the_largest_record_can_be_changed(place: &Place) {
    let mut world = World::new(place);
    let stream = world.store.create_stream("s", 1).unwrap();
    let large = vec![1; 5 << 20];
    let refused = stream.put("k", &large);
    assert!(
        matches!(refused, Err(Error::RecordTooLarge { .. })),
        "{refused:?}"
    );
    for bytes in [
        0,
        limits::DEFAULT_MAX_RECORD_BYTES - 1,
        limits::LARGEST_RECORD_BYTES + 1,
    ] {
        let refused = stream.set_max_record_bytes(bytes);
        assert!(
            matches!(refused, Err(Error::InvalidArgument { .. })),
            "{refused:?}"
        );
    }
    stream.set_max_record_bytes(limits::LARGEST_RECORD_BYTES).unwrap();
    stream.put("k", &large).unwrap();
    world.reopen();
    let stream = world.stream("s");
    assert_eq!(
        stream.summary().unwrap().max_record_bytes,
        limits::LARGEST_RECORD_BYTES
    );
    stream.put("k", &large).unwrap();
    stream
        .set_max_record_bytes(limits::DEFAULT_MAX_RECORD_BYTES)
        .unwrap();
    let refused = stream.put("k", &large);
    assert!(
        matches!(refused, Err(Error::RecordTooLarge { .. })),
        "{refused:?}"
    );
    let read = stream.reader(StartingPosition::TrimHorizon).unwrap();
    assert_eq!(
        read.map(|record| record.unwrap().data.len()).collect::<Vec<_>>(),
        [5 << 20; 2]
    );
}

fn a_stream_that_distributes_its_records_needs_no_keys(place: &Place) {
    let mut world = World::new(place);
    let options = StreamOptions {
        shard_count: 4,
        mode: StreamMode::OnDemand,
        distribution: RecordDistribution::Auto,
        ..StreamOptions::default()
    };
    let stream = world.store.create_stream_with("s", options).unwrap();
    let batch = vec![PutRecord::new("", b"batch"); 9];
    let puts = stream.put_records(&batch).unwrap();
    assert!(
        puts.iter().all(|put| put.shard_id == puts[0].shard_id),
        "a call goes to one shard"
    );
    let mut calls_to = [0; 4];
    calls_to[puts[0].shard_id.index() as usize] += 1;
    for number in 0..11 {
        // As a program does that must not block unless it has to: a call that is tried twice counts once.
        let record = [PutRecord::new("same", b"one")];
        let begun = match number % 2 {
            0 => stream.try_append(&record).unwrap(),
            _ => None,
        };
        let puts = begun
            .map_or_else(|| stream.append(&record), Ok)
            .and_then(Append::wait);
        calls_to[puts.unwrap()[0].shard_id.index() as usize] += 1;
    }
    assert_eq!(calls_to, [3; 4]);
    world.reopen();
    let stream = world.stream("s");
    stream.put("", b"later").unwrap();
    let too_long = "k".repeat(limits::MAX_PARTITION_KEY_CHARS + 1);
    let refused = stream.put(&too_long, b"");
    assert!(
        matches!(refused, Err(Error::InvalidArgument { .. })),
        "{refused:?}"
    );
    stream.set_distribution(RecordDistribution::PartitionKey).unwrap();
    let refused = stream.put("", b"never");
    assert!(
        matches!(refused, Err(Error::InvalidArgument { .. })),
        "{refused:?}"
    );
    let first = stream.put("same", b"by key").unwrap();
    assert_eq!(stream.put("same", b"by key").unwrap().shard_id, first.shard_id);
    let records: Vec<_> = stream
        .reader(StartingPosition::TrimHorizon)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(records.len(), 9 + 11 + 1 + 2);
    assert_eq!(
        records
            .iter()
            .filter(|record| record.partition_key.is_absent())
            .count(),
        9 + 1
    );
    assert_eq!(
        stream.summary().unwrap().distribution,
        RecordDistribution::PartitionKey
    );
}
