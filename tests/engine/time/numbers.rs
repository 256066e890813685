//! Numbers and checkpoints that outlive their records.

use anabranch::{Error, HashKey, SequenceNumber, StartingPosition};

use super::*;

on_each_backend!(
    a_records_number_is_never_of_a_time_before_its_shards_creation,
    a_number_that_was_given_out_stays_possible_when_the_clock_goes_back,
    a_number_of_an_earlier_stream_of_the_same_name_is_foreign,
    a_checkpoint_is_good_for_its_own_stream_only,
);

fn a_records_number_is_never_of_a_time_before_its_shards_creation(place: &Place) {
    let world = World::new(place);
    let stream = world.store.create_stream("s", 1).unwrap();
    for _ in 0..6 {
        let shard = stream.put("k", b"x").unwrap().shard_id;
        let range = stream
            .shards(&ShardFilter::AtLatest)
            .unwrap()
            .into_iter()
            .find(|open| open.id == shard)
            .unwrap()
            .hash_key_range;
        let middle = range.start().value() + (range.end().value() - range.start().value()) / 2 + 1;
        stream.split_shard(shard, HashKey::new(middle)).unwrap();
        let number = stream.put("k", b"x").unwrap().sequence_number;
        assert!(number.seconds() >= number.created_seconds(), "{number}");
        assert!(number.created_seconds() > world.store.now().as_seconds());
        assert!(stream.can_have_issued(&parsed(number)).unwrap());
    }
}

fn a_number_that_was_given_out_stays_possible_when_the_clock_goes_back(place: &Place) {
    let world = World::new(place);
    let stream = world.store.create_stream("s", 2).unwrap();
    world.let_pass(Duration::from_secs(10));
    let number = stream.put("k", b"x").unwrap().sequence_number;
    world.clock.jump_back(Duration::from_secs(3));
    assert!(stream.can_have_issued(&parsed(number)).unwrap());
    let later = SequenceNumber::new(
        number.created_seconds(),
        number.shard_id(),
        number.record_number(),
        number.seconds() + 1,
    );
    assert!(!stream.can_have_issued(&parsed(later)).unwrap());
}

fn parsed(number: SequenceNumber) -> anabranch::ParsedSequenceNumber {
    SequenceNumber::parse_any(&number.to_string()).unwrap()
}

fn a_number_of_an_earlier_stream_of_the_same_name_is_foreign(place: &Place) {
    let mut world = World::new(place);
    let mut numbers: Vec<SequenceNumber> = Vec::new();
    for round in 0..4 {
        let stream = world.store.create_stream("s", 1).unwrap();
        for number in &numbers {
            let position = StartingPosition::AtSequenceNumber(*number);
            let error = stream.shard_iterator(number.shard_id(), position).unwrap_err();
            let is_refused = matches!(
                error,
                Error::ForeignSequenceNumber { .. } | Error::ShardNotFound { .. }
            );
            assert!(is_refused, "{error}");
        }
        let put = stream.put("k", b"x").unwrap();
        assert!(numbers.iter().all(|earlier| *earlier < put.sequence_number));
        numbers.push(put.sequence_number);
        if round == 1 {
            // Its children are created ahead of the clock.
            stream.split_shard(put.shard_id, HashKey::MAX / 2).unwrap();
            numbers.push(stream.put("k", b"y").unwrap().sequence_number);
            world.reopen();
        }
        world
            .store
            .stream("s")
            .and_then(|stream| stream.delete())
            .unwrap();
    }
}

fn a_checkpoint_is_good_for_its_own_stream_only(place: &Place) {
    let world = World::new(place);
    let stream = world.store.create_stream("s", 1).unwrap();
    for _ in 0..3 {
        stream.put("k", b"old").unwrap();
    }
    let mut reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
    assert_eq!(reader.by_ref().count(), 3);
    let checkpoint = reader.checkpoint();
    assert_eq!(stream.reader_from(checkpoint.clone()).unwrap().count(), 0);
    world
        .store
        .stream("s")
        .and_then(|stream| stream.delete())
        .unwrap();

    let same_name = world.store.create_stream("s", 1).unwrap();
    for _ in 0..4 {
        same_name.put("k", b"new").unwrap();
    }
    let other_store = World::another(place);
    let same_number = other_store.store.create_stream("s", 1).unwrap();
    for stream in [&same_name, &same_number] {
        let error = stream.reader_from(checkpoint.clone()).unwrap_err();
        assert!(matches!(error, Error::InvalidArgument { .. }), "{error}");
        let error = stream.save_checkpoint("c", &checkpoint).unwrap_err();
        assert!(matches!(error, Error::InvalidArgument { .. }), "{error}");
    }
}
