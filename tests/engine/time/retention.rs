//! How long, and how many bytes, a stream keeps.

use anabranch::{
    Error, InvalidArgument, PutRecord, ReadLimit, RecordNumber, Retention, RetentionReason, ShardIterator,
    SizeLimits, StreamOptions,
};

use super::*;

on_each_backend!(
    a_stream_keeps_its_records_for_any_time,
    a_stream_keeps_its_records_for_ever,
    a_retention_is_increased_and_decreased_in_one_direction,
    a_shard_keeps_no_more_than_its_limit,
    a_stream_keeps_no_more_than_its_limit_across_reshards,
    what_a_checkpoint_is_past_is_trimmed_on_request,
    one_shard_is_trimmed_to_a_position_with_all_that_it_descends_from,
    a_reader_behind_what_was_trimmed_is_told,
    a_reader_that_had_all_that_was_trimmed_is_told_nothing,
    a_reader_at_the_end_of_what_has_expired_is_told_nothing,
    a_checkpoint_of_another_stream_trims_nothing,
    a_stream_is_opened_or_made,
    a_shard_is_split_in_half,
);

const MINUTE: Duration = Duration::from_secs(60);

fn stream_with(world: &World, options: StreamOptions) -> Stream {
    world.store.create_stream_with("s", options).unwrap()
}

fn kept_for(retention: Retention) -> StreamOptions {
    StreamOptions {
        retention,
        ..StreamOptions::default()
    }
}

fn a_stream_keeps_its_records_for_any_time(place: &Place) {
    let mut world = World::new(place);
    stream_with(&world, kept_for(Retention::of(90 * MINUTE)));
    for number in 0..4 {
        put_large(&world.stream("s"), number);
        world.let_pass(30 * MINUTE);
    }
    world.reopen();
    let stream = world.stream("s");
    assert_eq!(stream.summary().unwrap().retention, Retention::of(90 * MINUTE));
    assert_eq!(numbers(&stream), [1, 2, 3]);
    // Shorter than the shortest of Kinesis. Older records are hidden at once, and do not come back.
    stream.set_retention(Retention::of(45 * MINUTE)).unwrap();
    assert_eq!(numbers(&stream), [3]);
    stream.set_retention(Retention::FOREVER).unwrap();
    assert_eq!(numbers(&stream), [3]);
}

fn a_stream_keeps_its_records_for_ever(place: &Place) {
    let mut world = World::new(place);
    let stream = stream_with(&world, kept_for(Retention::FOREVER));
    let shard = put_large(&stream, 0).shard_id;
    stream.split_in_half(shard).unwrap();
    put_large(&stream, 1);
    for _ in 0..30 {
        world.clock.advance(YEAR);
        world.store.maintain().unwrap();
    }
    world.reopen();
    world.let_pass(2 * HOUR);
    assert_eq!(numbers(&world.stream("s")), [0, 1]);
    assert_eq!(shard_count(&world.stream("s")), 3);
}

fn a_retention_is_increased_and_decreased_in_one_direction(place: &Place) {
    let world = World::new(place);
    let stream = stream_with(&world, StreamOptions::default());
    stream.increase_retention(Retention::hours(48)).unwrap();
    stream.increase_retention(Retention::hours(48)).unwrap();
    stream.decrease_retention(Retention::hours(36)).unwrap();
    for (refused, expected) in [
        (
            stream.increase_retention(Retention::hours(35)),
            RetentionReason::IncreaseWouldShorten,
        ),
        (
            stream.decrease_retention(Retention::FOREVER),
            RetentionReason::DecreaseWouldLengthen,
        ),
    ] {
        let Err(Error::InvalidRetention { current, reason, .. }) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!((current, reason), (Retention::hours(36), expected));
    }
    assert_eq!(stream.summary().unwrap().retention, Retention::hours(36));
}

fn a_shard_keeps_no_more_than_its_limit(place: &Place) {
    let mut world = World::new(place);
    let limits = SizeLimits {
        shard_bytes: Some(100_000),
        ..SizeLimits::NONE
    };
    let stream = stream_with(
        &world,
        StreamOptions {
            size_limits: limits,
            ..StreamOptions::default()
        },
    );
    (0..5).for_each(|number| _ = put_large(&stream, number));
    assert_eq!(numbers(&stream), [0, 1, 2, 3, 4]);
    world.store.maintain().unwrap();
    // The remaining records still reach the limit.
    assert_eq!(numbers(&stream), [2, 3, 4]);
    world.reopen();
    let stream = world.stream("s");
    assert_eq!(stream.summary().unwrap().size_limits, limits);
    put_large(&stream, 5);
    world.store.maintain().unwrap();
    assert_eq!(numbers(&stream), [3, 4, 5]);
    // The newest piece stays, however small the limit is.
    let none = SizeLimits {
        shard_bytes: Some(0),
        ..SizeLimits::NONE
    };
    stream.set_size_limits(none).unwrap();
    world.store.maintain().unwrap();
    assert_eq!(numbers(&stream), [5]);
    // The same in a closed shard.
    let shard = stream.describe().unwrap().shards[0].id;
    stream.split_in_half(shard).unwrap();
    world.store.maintain().unwrap();
    assert_eq!(numbers(&stream), [5]);
    stream.set_size_limits(SizeLimits::NONE).unwrap();
    (6..9).for_each(|number| _ = put_large(&stream, number));
    world.store.maintain().unwrap();
    assert_eq!(numbers(&stream), [5, 6, 7, 8]);
}

fn a_stream_keeps_no_more_than_its_limit_across_reshards(place: &Place) {
    let world = World::new(place);
    let limits = SizeLimits {
        stream_bytes: Some(140_000),
        ..SizeLimits::NONE
    };
    let stream = stream_with(
        &world,
        StreamOptions {
            size_limits: limits,
            retention: Retention::FOREVER,
            ..StreamOptions::default()
        },
    );
    let mut shard = put_large(&stream, 0).shard_id;
    for number in 1..8 {
        world.let_pass(MINUTE);
        if number % 2 == 0 {
            stream.split_in_half(shard).unwrap();
        }
        shard = put_large(&stream, number).shard_id;
    }
    world.store.maintain().unwrap();
    // The oldest records are freed first, in whichever shard they are.
    assert_eq!(numbers(&stream), [4, 5, 6, 7]);
    world.store.maintain().unwrap();
    // Closed shards without records are gone.
    let shards = stream.shards(&ShardFilter::FromTrimHorizon).unwrap();
    let closed = shards.iter().filter(|shard| !shard.is_open());
    assert_eq!(closed.count(), 1, "{shards:?}");
}

fn what_a_checkpoint_is_past_is_trimmed_on_request(place: &Place) {
    let mut world = World::new(place);
    let stream = stream_with(&world, kept_for(Retention::FOREVER));
    let shard = put_large(&stream, 0).shard_id;
    put_large(&stream, 1);
    stream.split_in_half(shard).unwrap();
    put_large(&stream, 2);
    put_large(&stream, 3);
    let mut reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
    reader.next().unwrap().unwrap();
    stream.trim_to(&reader.checkpoint()).unwrap();
    assert_eq!(numbers(&stream), [1, 2, 3]);
    // An older checkpoint does not undo a trim.
    let older = reader.checkpoint();
    (&mut reader).take(2).for_each(|record| drop(record.unwrap()));
    stream.trim_to(&reader.checkpoint()).unwrap();
    stream.trim_to(&older).unwrap();
    assert_eq!(numbers(&stream), [3]);
    world.store.maintain().unwrap();
    // The parent is drained, and gone.
    assert_eq!(shard_count(&world.stream("s")), 2);
    world.reopen();
    assert_eq!(numbers(&world.stream("s")), [3]);
}

fn one_shard_is_trimmed_to_a_position_with_all_that_it_descends_from(place: &Place) {
    let mut world = World::new(place);
    let stream = stream_with(&world, kept_for(Retention::FOREVER));
    let parent = put_large(&stream, 0).shard_id;
    stream.split_in_half(parent).unwrap();
    let shards = stream.shards(&ShardFilter::AtLatest).unwrap();
    for (number, shard) in [(1, 0), (2, 0), (3, 1)] {
        let data = [number];
        let record = PutRecord::new("key", &data).explicit_hash_key(shards[shard].hash_key_range.start());
        stream.put_record(&record).unwrap();
    }
    let position = |number: u8| {
        let records = stream.reader(StartingPosition::TrimHorizon).unwrap();
        let mut records = records.map(Result::unwrap);
        let record = records.find(|record| record.data[0] == number).unwrap();
        let at = StartingPosition::AtSequenceNumber(record.sequence_number);
        stream
            .shard_iterator(record.sequence_number.shard_id(), at)
            .unwrap()
    };
    let (first, second) = (position(0), position(2));
    stream.trim_shard_to(&first).unwrap();
    assert_eq!(numbers(&stream), [0, 1, 2, 3]);
    let other = world.store.create_stream("other", 1).unwrap();
    assert!(matches!(
        other.trim_shard_to(&second),
        Err(Error::InvalidArgument(_))
    ));
    // A position ahead of the shard hides nothing.
    let behind = ShardIterator {
        next: RecordNumber::new(second.next.value() + 1_000),
        ..second
    };
    assert!(matches!(
        stream.trim_shard_to(&behind),
        Err(Error::InvalidArgument(InvalidArgument::PositionBehindEnd { .. }))
    ));
    assert_eq!(numbers(&stream), [0, 1, 2, 3]);
    stream.trim_shard_to(&second).unwrap();
    // The other child keeps its records.
    assert_eq!(numbers(&stream), [2, 3]);
    stream.trim_shard_to(&first).unwrap();
    world.reopen();
    assert_eq!(numbers(&world.stream("s")), [2, 3]);
}

fn a_reader_behind_what_was_trimmed_is_told(place: &Place) {
    let world = World::new(place);
    let stream = stream_with(&world, kept_for(Retention::FOREVER));
    (0..3).for_each(|number| _ = put_large(&stream, number));
    let mut slow = stream.reader(StartingPosition::TrimHorizon).unwrap();
    slow.next().unwrap().unwrap();
    let slow = slow.checkpoint();
    let mut fast = stream.reader(StartingPosition::TrimHorizon).unwrap();
    (&mut fast).take(2).for_each(|record| drop(record.unwrap()));
    stream.trim_to(&fast.checkpoint()).unwrap();
    let mut slow = stream.reader_from(slow).unwrap();
    assert!(matches!(slow.next(), Some(Err(Error::Trimmed { .. }))));
    assert_eq!(slow.next().unwrap().unwrap().data[0], 2);
    assert!(slow.next().is_none());
}

/// The numbers of records may have gaps, and readers may go on from different numbers of a gap.
fn a_reader_that_had_all_that_was_trimmed_is_told_nothing(place: &Place) {
    let world = World::new(place);
    let stream = stream_with(&world, kept_for(Retention::FOREVER));
    let shard = put_large(&stream, 0).shard_id;
    (1..3).for_each(|number| _ = put_large(&stream, number));
    let two = ReadLimit {
        records: 2,
        ..ReadLimit::default()
    };
    let oldest = stream
        .shard_iterator(shard, StartingPosition::TrimHorizon)
        .unwrap();
    let behind_two = stream.get_records(&oldest, &two).unwrap().next.unwrap();
    let mut reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
    (&mut reader).take(2).for_each(|record| drop(record.unwrap()));
    stream.trim_to(&reader.checkpoint()).unwrap();
    for _ in 0..2 {
        let read = stream.get_records(&behind_two, &two).unwrap();
        assert_eq!(read.records[0].data[0], 2);
        world.store.maintain().unwrap();
    }
}

fn a_checkpoint_of_another_stream_trims_nothing(place: &Place) {
    let world = World::new(place);
    let stream = stream_with(&world, StreamOptions::default());
    let other = world.store.create_stream("other", 1).unwrap();
    put_large(&stream, 0);
    put_large(&other, 0);
    let mut reader = other.reader(StartingPosition::TrimHorizon).unwrap();
    reader.next().unwrap().unwrap();
    assert!(matches!(
        stream.trim_to(&reader.checkpoint()),
        Err(Error::InvalidArgument(_))
    ));
    assert_eq!(numbers(&stream), [0]);
}

fn a_stream_is_opened_or_made(place: &Place) {
    let world = World::with_delay(place, MINUTE);
    let two = || StreamOptions {
        shard_count: 2,
        ..StreamOptions::default()
    };
    let made = world.store.open_or_create_stream("s", two()).unwrap();
    world.let_pass(2 * MINUTE);
    let opened = world.store.open_or_create_stream("s", StreamOptions::default());
    assert_eq!(opened.unwrap().id(), made.id());
    assert_eq!(made.summary().unwrap().open_shard_count, 2);
    // Each of many callers gets the same one.
    let ids: Vec<_> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| world.store.open_or_create_stream("t", two()).unwrap().id()))
            .collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    made.delete().unwrap();
    let refused = world.store.open_or_create_stream("s", two());
    assert!(matches!(refused, Err(Error::StreamExists { .. })), "{refused:?}");
    world.let_pass(2 * MINUTE);
    assert_ne!(
        world.store.open_or_create_stream("s", two()).unwrap().id(),
        made.id()
    );
    let refused = world.store.open_or_create_stream("no name", two());
    assert!(refused.is_err());
}

fn a_shard_is_split_in_half(place: &Place) {
    let world = World::new(place);
    let stream = stream_with(&world, StreamOptions::default());
    let shard = stream.describe().unwrap().shards[0].id;
    stream.split_in_half(shard).unwrap();
    let open = stream.shards(&ShardFilter::AtLatest).unwrap();
    let half = anabranch::HashKey::new(1 << 127);
    assert_eq!(open[1].hash_key_range.start(), half);
    assert!(matches!(
        stream.split_in_half(shard),
        Err(Error::ShardClosed { .. })
    ));
    let unknown = anabranch::ShardId::new(99).unwrap();
    assert!(matches!(
        stream.split_in_half(unknown),
        Err(Error::ShardNotFound { .. })
    ));
    // Down to shards that cannot be halved.
    stream
        .split_shard(open[0].id, anabranch::HashKey::new(2))
        .unwrap();
    let narrow = stream.shards(&ShardFilter::AtLatest).unwrap();
    let narrow = narrow
        .iter()
        .find(|shard| shard.hash_key_range.end().value() == 1)
        .unwrap();
    assert!(matches!(
        stream.split_in_half(narrow.id),
        Err(Error::InvalidSplit { .. })
    ));
}

fn a_reader_at_the_end_of_what_has_expired_is_told_nothing(place: &Place) {
    let mut world = World::new(place);
    let stream = stream_with(&world, StreamOptions::default());
    (0..3).for_each(|number| _ = put_large(&stream, number));
    let mut reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
    assert_eq!((&mut reader).filter(Result::is_ok).count(), 3);
    let at_end = reader.checkpoint();
    world.let_pass(26 * HOUR);
    assert_eq!(numbers(&stream), [0; 0]);
    // By the same process and by the next one, before and after something is put.
    for put in [3, 4] {
        let stream = world.stream("s");
        let mut reader = stream.reader_from(at_end.clone()).unwrap();
        let read: Result<Vec<_>, Error> = reader.by_ref().collect();
        assert_eq!(read.unwrap().len(), usize::from(put - 3));
        put_large(&stream, put);
        assert_eq!(reader.next().unwrap().unwrap().data[0], put);
        world.reopen();
    }
}

/// A killed process leaves numbers out. A reader that had read all records misses nothing behind the gap.
#[test]
fn a_reader_at_numbers_that_a_kill_left_out_is_told_nothing() {
    let mut world = World::new(&Place::directory());
    let stream = stream_with(&world, kept_for(Retention::FOREVER));
    (0..2).for_each(|number| _ = put_large(&stream, number));
    let mut reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
    assert_eq!((&mut reader).filter(Result::is_ok).count(), 2);
    let at_end = reader.checkpoint();
    world.reopen_after_kill();
    let stream = world.stream("s");
    (2..5).for_each(|number| _ = put_large(&stream, number));
    // The records that the reader has read are freed.
    stream.trim_to(&at_end).unwrap();
    world.store.maintain().unwrap();
    assert_eq!(numbers(&stream), [2, 3, 4]);
    let left: Vec<_> = stream
        .reader_from(at_end)
        .unwrap()
        .map(|record| record.unwrap().data[0])
        .collect();
    assert_eq!(left, [2, 3, 4]);
    // The same by size.
    let one = SizeLimits {
        shard_bytes: Some(50_000),
        ..SizeLimits::NONE
    };
    let mut reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
    assert_eq!((&mut reader).filter(Result::is_ok).count(), 3);
    let at_end = reader.checkpoint();
    world.reopen_after_kill();
    let stream = world.stream("s");
    put_large(&stream, 5);
    stream.set_size_limits(one).unwrap();
    world.store.maintain().unwrap();
    let left: Vec<_> = stream
        .reader_from(at_end)
        .unwrap()
        .map(|record| record.unwrap().data[0])
        .collect();
    assert_eq!(left, [5]);
}

/// Two kills, with no put in between but a segment begun: the next records have higher numbers, and none is missed.
#[test]
fn a_reader_at_numbers_that_two_kills_left_out_is_told_nothing() {
    use anabranch::sim::Operation;
    let mut world = World::new(&Place::directory());
    let stream = stream_with(&world, kept_for(Retention::FOREVER));
    (0..2).for_each(|number| _ = put_large(&stream, number));
    let mut reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
    assert_eq!((&mut reader).filter(Result::is_ok).count(), 2);
    let at_end = reader.checkpoint();
    world.reopen_after_kill();
    // The segment gets its name, and no frame.
    let faults = world.disk.faults();
    let _ = faults
        .on(".log")
        .fail_nth(Operation::Write, 1, std::io::ErrorKind::Other);
    let _ = world.stream("s").put("k", b"refused");
    faults.clear();
    world.reopen_after_kill();
    let stream = world.stream("s");
    (2..4).for_each(|number| _ = put_large(&stream, number));
    stream.trim_to(&at_end).unwrap();
    world.store.maintain().unwrap();
    let left: Vec<_> = stream
        .reader_from(at_end)
        .unwrap()
        .map(|record| record.unwrap().data[0])
        .collect();
    assert_eq!(left, [2, 3]);
}

/// Empty shards that were split are dropped even if a size limits the stream, since otherwise the lineage would grow
/// without end.
#[test]
fn closed_shards_without_a_record_go_where_a_size_is_kept() {
    let world = World::new(&Place::directory());
    let limits = SizeLimits {
        stream_bytes: Some(1 << 20),
        ..SizeLimits::NONE
    };
    let options = StreamOptions {
        size_limits: limits,
        ..kept_for(Retention::FOREVER)
    };
    let stream = stream_with(&world, options);
    for _ in 0..5 {
        let open = stream.shards(&ShardFilter::AtLatest).unwrap();
        stream.split_in_half(open[0].id).unwrap();
        for _ in 0..2 {
            world.store.maintain().unwrap();
        }
    }
    let open = stream.shards(&ShardFilter::AtLatest).unwrap().len();
    assert_eq!((open, shard_count(&stream)), (6, 6));
}

/// The last segment has no frame, and all records before it have expired.
#[test]
fn a_reader_at_the_end_of_an_expired_log_with_an_empty_segment_is_told_nothing() {
    use anabranch::sim::Operation;
    for begins_segment in [false, true] {
        let mut world = World::new(&Place::directory());
        let stream = stream_with(&world, StreamOptions::default());
        (0..2).for_each(|number| _ = put_large(&stream, number));
        let mut reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
        assert_eq!((&mut reader).filter(Result::is_ok).count(), 2);
        let at_end = reader.checkpoint();
        world.reopen_after_kill();
        if begins_segment {
            let faults = world.disk.faults();
            let _ = faults
                .on(".log")
                .fail_nth(Operation::Write, 1, std::io::ErrorKind::Other);
            world.stream("s").put("k", b"refused").unwrap_err();
            faults.clear();
            world.reopen_after_kill();
        }
        world.let_pass(26 * HOUR);
        let stream = world.stream("s");
        let mut reader = stream.reader_from(at_end).unwrap();
        let told = reader.next();
        assert!(told.is_none(), "begins a segment: {begins_segment}: {told:?}");
        put_large(&stream, 2);
        assert_eq!(reader.next().unwrap().unwrap().data[0], 2);
    }
}
