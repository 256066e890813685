//! Reading whole streams: parents before children, checkpoints, waiting.

use std::collections::HashMap;
use std::time::Duration;

use crate::backends::{Place, on_each_backend};
use anabranch::{
    Checkpoint, Error, HashKey, InvalidArgument, ManualClock, PutRecord, ReadLimit, Record, RecordNumber,
    ShardFilter, ShardId, ShardIterator, StartingPosition, Store, StoreOptions, Stream, StreamReader,
    Timestamp,
};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

fn shard(index: u32) -> ShardId {
    ShardId::new(index).unwrap()
}

fn read(stream: &Stream, position: StartingPosition) -> Vec<Record> {
    stream
        .reader(position)
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap()
}

/// Splits or merges open shards as the numbers say, with puts to many keys in between.
fn write_through_reshards(stream: &Stream, reshards: &[(u8, u8)]) -> usize {
    let mut puts = 0;
    let mut put_some = || {
        for key in 0..40 {
            stream
                .put(&format!("key-{key}"), format!("{puts}").as_bytes())
                .unwrap();
            puts += 1;
        }
    };
    put_some();
    for (kind, which) in reshards {
        let open = stream.shards(&ShardFilter::AtLatest).unwrap();
        let mut by_range = open.clone();
        by_range.sort_by_key(|shard| shard.hash_key_range.start());
        let chosen = usize::from(*which) % by_range.len();
        if *kind == 0 || by_range.len() == 1 {
            let range = by_range[chosen].hash_key_range;
            let middle = range.start().value() + (range.end().value() - range.start().value()) / 2 + 1;
            stream
                .split_shard(by_range[chosen].id, HashKey::new(middle))
                .unwrap();
        } else {
            let first = chosen.min(by_range.len() - 2);
            stream
                .merge_shards(by_range[first].id, by_range[first + 1].id)
                .unwrap();
        }
        put_some();
    }
    puts
}

fn assert_each_key_is_in_order(records: &[Record]) {
    let mut last: HashMap<&str, (u64, _)> = HashMap::new();
    for record in records {
        let number: u64 = std::str::from_utf8(&record.data).unwrap().parse().unwrap();
        let before = last.insert(record.partition_key.as_str(), (number, record.sequence_number));
        if let Some((earlier, sequence_number)) = before {
            assert!(earlier < number, "{earlier} came before {number}");
            assert!(sequence_number < record.sequence_number);
        }
    }
}

on_each_backend!(
    every_key_is_read_in_the_order_of_its_puts_across_any_tree_of_reshards,
    a_merged_child_waits_for_both_of_its_parents,
    a_reader_at_the_head_sees_what_is_put_and_what_is_split_later,
    a_waiting_reader_is_woken_by_a_put,
    a_reader_that_starts_at_a_moment_gets_everything_since_across_a_split,
    a_reader_whose_shards_expire_goes_on_with_what_is_left,
    a_reader_that_comes_back_behind_the_horizon_is_told_once,
    a_reader_that_still_is_at_the_horizon_misses_nothing_of_a_child,
    a_reader_whose_shard_has_expired_unread_is_told_once,
    a_reader_that_had_read_all_of_a_shard_that_expired_is_told_nothing,
    a_reader_is_told_of_the_descendants_that_it_misses_and_of_no_other,
    a_shard_iterator_that_comes_back_behind_the_horizon_is_told,
    a_sequence_number_is_no_position_in_a_stream,
);

fn every_key_is_read_in_the_order_of_its_puts_across_any_tree_of_reshards(place: &Place) {
    let histories = (
        1u32..4,
        prop::collection::vec((0u8..2, any::<u8>()), 0..10),
        0usize..300,
    );
    let mut runner = TestRunner::new(ProptestConfig::with_cases(24));
    let checked = runner.run(&histories, |(shards, reshards, stop_after)| {
        let place = place.another();
        let store = place.open();
        let stream = store.create_stream("clicks", shards).unwrap();
        let puts = write_through_reshards(&stream, &reshards);
        let records = read(&stream, StartingPosition::TrimHorizon);
        prop_assert_eq!(records.len(), puts);
        assert_each_key_is_in_order(&records);

        // The same in two parts, with a checkpoint and a restart between them.
        let mut reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
        let mut resumed: Vec<_> = reader.by_ref().take(stop_after).map(Result::unwrap).collect();
        reader.save_checkpoint("half-way").unwrap();
        drop((reader, stream));
        store.close().unwrap();
        let store = place.open();
        let stream = store.stream("clicks").unwrap();
        let rest = stream
            .resume_reader("half-way", StartingPosition::Latest)
            .unwrap();
        resumed.extend(rest.map(Result::unwrap));
        prop_assert_eq!(resumed.len(), puts);
        assert_each_key_is_in_order(&resumed);
        Ok(())
    });
    checked.unwrap();
}

fn a_merged_child_waits_for_both_of_its_parents(place: &Place) {
    let store = place.open();
    let stream = store.create_stream("clicks", 2).unwrap();
    for n in 0..3_000 {
        stream
            .put_record(&PutRecord::new("low", b"parent").explicit_hash_key(HashKey::new(n)))
            .unwrap();
    }
    stream
        .put_record(&PutRecord::new("high", b"parent").explicit_hash_key(HashKey::MAX))
        .unwrap();
    stream.merge_shards(shard(0), shard(1)).unwrap();
    stream.put("any", b"child").unwrap();
    let records = read(&stream, StartingPosition::TrimHorizon);
    assert_eq!(records.len(), 3_002);
    assert_eq!(&records.last().unwrap().data[..], b"child");
}

fn a_reader_at_the_head_sees_what_is_put_and_what_is_split_later(place: &Place) {
    let store = place.open();
    let stream = store.create_stream("clicks", 1).unwrap();
    stream.put("key", b"before").unwrap();
    let mut reader = stream.reader(StartingPosition::Latest).unwrap();
    assert!(reader.next().is_none());
    stream.put("key", b"one").unwrap();
    stream.split_shard(shard(0), HashKey::MAX / 2).unwrap();
    stream.put("key", b"two").unwrap();
    let data: Vec<_> = reader.by_ref().map(|record| record.unwrap().data).collect();
    assert_eq!(data, ["one", "two"]);
    assert!(reader.next().is_none());
}

fn a_waiting_reader_is_woken_by_a_put(place: &Place) {
    let store = place.open();
    let stream = store.create_stream("clicks", 1).unwrap();
    let mut reader = stream.reader(StartingPosition::Latest).unwrap();
    let writer = std::thread::spawn(move || stream.put("key", b"at last").unwrap());
    let record = reader.next_within(Duration::from_secs(600)).unwrap().unwrap();
    assert_eq!(&record.data[..], b"at last");
    writer.join().unwrap();
    assert!(reader.next_within(Duration::ZERO).unwrap().is_none());
}

fn a_reader_that_starts_at_a_moment_gets_everything_since_across_a_split(place: &Place) {
    let clock = ManualClock::starting_at(Timestamp::from_millis(1_700_000_000_000));
    let store = place.open_with(&StoreOptions::new().clock(clock.clone()));
    let stream = store.create_stream("clicks", 1).unwrap();
    let mut times = Vec::new();
    for n in 0..20u32 {
        clock.advance(Duration::from_millis(100));
        times.push(store.now());
        stream.put("key", n.to_string().as_bytes()).unwrap();
        if n % 5 == 4 {
            let open = stream.shards(&ShardFilter::AtLatest).unwrap();
            match open.as_slice() {
                [one] => stream.split_shard(one.id, HashKey::MAX / 2).unwrap(),
                [low, high] => stream.merge_shards(low.id, high.id).unwrap(),
                other => panic!("{other:?}"),
            }
        }
    }
    for (n, time) in times.into_iter().enumerate() {
        assert_eq!(read(&stream, StartingPosition::AtTimestamp(time)).len(), 20 - n);
        let later = time.saturating_add(Duration::from_millis(1));
        assert_eq!(read(&stream, StartingPosition::AtTimestamp(later)).len(), 19 - n);
    }
}

fn a_reader_whose_shards_expire_goes_on_with_what_is_left(place: &Place) {
    let clock = ManualClock::starting_at(Timestamp::from_millis(1_700_000_000_000));
    let store = place.open_with(&StoreOptions::new().clock(clock.clone()));
    let stream = store.create_stream("clicks", 2).unwrap();
    let mut reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
    stream.put("key", b"expires").unwrap();
    // Two generations expire before the reader looks again.
    clock.advance(Duration::from_secs(10));
    stream.merge_shards(shard(0), shard(1)).unwrap();
    clock.advance(Duration::from_secs(10));
    stream.split_shard(shard(2), HashKey::MAX / 2).unwrap();
    clock.advance(Duration::from_secs(25 * 3_600));
    store.maintain().unwrap();
    stream.put("key", b"stays").unwrap();
    let data: Vec<_> = reader.by_ref().map(|record| record.unwrap().data).collect();
    assert_eq!(data, ["stays"]);
    assert_eq!(stream.describe().unwrap().shards.len(), 2);
}

/// Some records, large enough that a few of them fill a segment, and the first reads of them.
fn read_and_expired(place: &Place) -> (Store, Stream, [Checkpoint; 2], RecordNumber) {
    let clock = ManualClock::starting_at(Timestamp::from_millis(1_700_000_000_000));
    let options = StoreOptions::new().clock(clock.clone()).segment_bytes(64 << 10);
    let store = place.open_with(&options);
    let stream = store.create_stream("clicks", 1).unwrap();
    let mut put = (0..6).map(|_| stream.put("key", &[1; 30_000]).unwrap().sequence_number);
    let second = put.nth(1).unwrap().record_number();
    assert_eq!(put.count(), 4);
    let mut reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
    reader.next().unwrap().unwrap();
    let after_one = reader.checkpoint();
    assert_eq!(reader.by_ref().count(), 5);
    let after_all = reader.checkpoint();
    for _ in 0..26 {
        clock.advance(Duration::from_secs(3_600));
        store.maintain().unwrap();
    }
    (store, stream, [after_one, after_all], second)
}

fn a_reader_that_comes_back_behind_the_horizon_is_told_once(place: &Place) {
    let (_store, stream, [after_one, after_all], second) = read_and_expired(place);
    let put = stream.put("key", b"later").unwrap();
    let mut reader = stream.reader_from(after_one.clone()).unwrap();
    match reader.next() {
        Some(Err(Error::Trimmed {
            shard,
            from,
            first_kept,
        })) => {
            assert_eq!((shard, from), (put.shard_id, second));
            assert_eq!(first_kept, Some(put.sequence_number.record_number()));
        }
        other => panic!("{other:?}"),
    }
    let data = |reader: StreamReader| -> Vec<_> { reader.map(|record| record.unwrap().data).collect() };
    assert_eq!(data(reader), ["later"]);
    let silent = stream.reader_from(after_one).unwrap().skip_trimmed();
    assert_eq!(data(silent), ["later"]);
    // Readers that had read everything, or begin now, miss nothing.
    assert_eq!(data(stream.reader_from(after_all).unwrap()), ["later"]);
    assert_eq!(
        data(stream.reader(StartingPosition::TrimHorizon).unwrap()),
        ["later"]
    );
}

/// The parent was listed when the reader began, and had no record to read.
fn a_reader_that_still_is_at_the_horizon_misses_nothing_of_a_child(place: &Place) {
    let clock = ManualClock::starting_at(Timestamp::from_millis(1_700_000_000_000));
    let store = place.open_with(&StoreOptions::new().clock(clock.clone()).keeper(false));
    let pass = |half_hours: u32| {
        for _ in 0..half_hours {
            clock.advance(Duration::from_secs(1_800));
            store.maintain().unwrap();
        }
    };
    let stream = store.create_stream("clicks", 1).unwrap();
    stream.put("key", b"of the parent").unwrap();
    pass(46);
    stream.split_shard(shard(0), HashKey::MAX / 2).unwrap();
    stream.put("key", b"of the child").unwrap();
    pass(3);
    let reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
    let mut at_head = stream.reader(StartingPosition::TrimHorizon).unwrap();
    assert_eq!(at_head.by_ref().count(), 1);
    assert_eq!(stream.describe().unwrap().shards.len(), 3);
    pass(46);
    stream.put("key", b"later").unwrap();
    let data = |reader: StreamReader| -> Vec<_> { reader.map(|record| record.unwrap().data).collect() };
    assert_eq!(data(reader), ["later"]);
    assert_eq!(data(at_head), ["later"]);
}

fn a_reader_whose_shard_has_expired_unread_is_told_once(place: &Place) {
    let clock = ManualClock::starting_at(Timestamp::from_millis(1_700_000_000_000));
    let store = place.open_with(&StoreOptions::new().clock(clock.clone()));
    let stream = store.create_stream("clicks", 1).unwrap();
    stream.put("key", b"read").unwrap();
    let missed = stream.put("key", b"missed").unwrap();
    let mut reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
    assert_eq!(reader.next().unwrap().unwrap().data, "read");
    let checkpoint = reader.checkpoint();
    stream.split_shard(missed.shard_id, HashKey::MAX / 2).unwrap();
    clock.advance(Duration::from_secs(25 * 3_600));
    store.maintain().unwrap();
    stream.put("key", b"stays").unwrap();
    let mut reader = stream.reader_from(checkpoint).unwrap();
    match reader.next() {
        Some(Err(Error::Trimmed {
            shard,
            from,
            first_kept,
        })) => {
            assert_eq!((shard, first_kept), (missed.shard_id, None));
            assert_eq!(from, missed.sequence_number.record_number());
        }
        other => panic!("{other:?}"),
    }
    let data: Vec<_> = reader.map(|record| record.unwrap().data).collect();
    assert_eq!(data, ["stays"]);
}

/// A store whose clock a test sets, with a manifest that is rewritten at each edit.
struct Aging<'a> {
    place: &'a Place,
    clock: ManualClock,
    store: Store,
}

impl<'a> Aging<'a> {
    fn new(place: &'a Place) -> Self {
        let clock = ManualClock::starting_at(Timestamp::from_millis(1_700_000_000_000));
        let store = Self::open(place, &clock);
        Self { place, clock, store }
    }

    fn open(place: &Place, clock: &ManualClock) -> Store {
        let options = StoreOptions::new().keeper(false).compaction_bytes(1);
        place.open_with(&options.clock(clock.clone()))
    }

    fn reopen(&mut self) {
        self.store.close().unwrap();
        self.store = Self::open(self.place, &self.clock);
    }

    /// Waits until all records have expired.
    fn expire(&self) {
        for _ in 0..30 {
            self.clock.advance(Duration::from_secs(3_600));
            self.store.maintain().unwrap();
        }
    }

    /// The records that a reader from the saved checkpoint gets, and the shards for which it gets the error that
    /// records are missing.
    fn resumed(&self) -> (Vec<String>, Vec<ShardId>) {
        let stream = self.store.stream("clicks").unwrap();
        let reader = stream.resume_reader("saved", StartingPosition::Latest).unwrap();
        let (mut given, mut told) = (Vec::new(), Vec::new());
        for record in reader {
            match record {
                Ok(record) => given.push(String::from_utf8_lossy(&record.data).into_owned()),
                Err(Error::Trimmed { shard, .. }) => told.push(shard),
                Err(error) => panic!("{error}"),
            }
        }
        told.sort_unstable();
        (given, told)
    }
}

fn a_reader_that_had_read_all_of_a_shard_that_expired_is_told_nothing(place: &Place) {
    let mut aging = Aging::new(place);
    let stream = aging.store.create_stream("clicks", 1).unwrap();
    stream.put("key", b"read").unwrap();
    let mut reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
    assert_eq!(reader.by_ref().count(), 1);
    reader.save_checkpoint("saved").unwrap();
    stream.split_in_half(shard(0)).unwrap();
    aging.expire();
    assert_eq!(stream.describe().unwrap().shards.len(), 2);
    stream.put("key", b"kept").unwrap();
    let expected = (vec!["kept".to_owned()], Vec::new());
    assert_eq!(aging.resumed(), expected);
    // The reader that existed all the time gets the same.
    let data: Vec<_> = reader.by_ref().map(|record| record.unwrap().data).collect();
    assert_eq!(data, ["kept"]);
    drop((reader, stream));
    aging.reopen();
    assert_eq!(aging.resumed(), expected);
}

fn a_reader_is_told_of_the_descendants_that_it_misses_and_of_no_other(place: &Place) {
    let mut aging = Aging::new(place);
    let stream = aging.store.create_stream("clicks", 1).unwrap();
    let put = |key, data: &[u8]| {
        stream
            .put_record(&PutRecord::new("key", data).explicit_hash_key(key))
            .unwrap()
            .shard_id
    };
    put(HashKey::MIN, b"read");
    let mut reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
    assert_eq!(reader.by_ref().count(), 1);
    reader.save_checkpoint("saved").unwrap();
    stream.split_in_half(shard(0)).unwrap();
    assert_eq!(put(HashKey::MAX, b"missed"), shard(2));
    for parent in [1, 2] {
        stream.split_in_half(shard(parent)).unwrap();
    }
    // The first child and its own children had no record.
    aging.expire();
    assert_eq!(stream.describe().unwrap().shards.len(), 4);
    put(HashKey::MIN, b"kept");
    put(HashKey::MAX, b"kept");
    drop(stream);
    aging.reopen();
    let (given, told) = aging.resumed();
    assert_eq!((given.len(), told), (2, vec![shard(2)]));
}

fn a_shard_iterator_that_comes_back_behind_the_horizon_is_told(place: &Place) {
    let (_store, stream, _, second) = read_and_expired(place);
    let put = stream.put("key", b"later").unwrap();
    let limit = ReadLimit::default();
    let at = |next| ShardIterator {
        stream: stream.id(),
        shard: put.shard_id,
        next,
    };
    let first_kept = match stream.get_records(&at(second), &limit) {
        Err(Error::Trimmed { from, first_kept, .. }) if from == second => first_kept.unwrap(),
        other => panic!("{other:?}"),
    };
    for from in [first_kept, RecordNumber::BEFORE_FIRST] {
        let read = stream.get_records(&at(from), &limit).unwrap();
        assert_eq!(read.records[0].data, "later");
    }
    let oldest = stream.shard_iterator(put.shard_id, StartingPosition::TrimHorizon);
    let read = stream.get_records(&oldest.unwrap(), &limit).unwrap();
    assert_eq!(read.records.len(), 1);
}

fn a_sequence_number_is_no_position_in_a_stream(place: &Place) {
    let store = place.open();
    let stream = store.create_stream("clicks", 1).unwrap();
    let put = stream.put("key", b"data").unwrap();
    let refused = stream.reader(StartingPosition::AtSequenceNumber(put.sequence_number));
    assert!(matches!(
        refused,
        Err(Error::InvalidArgument(InvalidArgument::PositionInOneShard))
    ));
}
