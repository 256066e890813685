//! Clocks that jump.

use anabranch::{HashKey, StartingPosition};

use super::*;

/// Five records in a segment each, an hour apart, and a closed parent with two of them.
fn filled(world: &World) -> Stream {
    let stream = world.store.create_stream("s", 1).unwrap();
    for number in 0..3 {
        put_large(&stream, number);
        world.let_pass(HOUR);
    }
    let shard = put_large(&stream, 3).shard_id;
    stream.split_shard(shard, HashKey::MAX / 2).unwrap();
    world.let_pass(HOUR);
    put_large(&stream, 4);
    stream
}

on_each_backend!(
    a_jump_forward_that_is_undone_deletes_and_hides_nothing,
    a_jump_forward_with_restarts_in_it_deletes_nothing,
    a_jump_forward_that_stands_for_an_hour_counts,
    a_clock_that_begins_in_the_past_deletes_nothing_that_is_young,
    a_clock_that_begins_in_the_past_each_day_lets_records_expire,
    what_is_only_put_while_the_clock_is_behind_stays,
    a_step_forward_shows_nothing_again,
    a_store_that_was_closed_for_long_expires_what_is_old_an_hour_after_it_is_opened,
    a_program_that_never_runs_for_an_hour_expires_what_is_old_too,
    what_is_put_after_a_clock_was_a_year_ahead_expires,
    what_is_put_after_a_clock_was_a_year_ahead_expires_across_restarts,
    a_clock_that_was_years_behind_for_hours_deletes_nothing_when_it_is_set_right,
);

fn a_jump_forward_that_is_undone_deletes_and_hides_nothing(place: &Place) {
    let world = World::new(place);
    let stream = filled(&world);
    world.clock.jump_forward(2 * DAY);
    world.let_pass(Duration::from_secs(25));
    assert_eq!(numbers(&stream), [0, 1, 2, 3, 4]);
    // The floor set by a change of the retention does not follow the jump either.
    stream
        .increase_retention(anabranch::Retention::hours(48))
        .unwrap();
    stream
        .decrease_retention(anabranch::Retention::hours(24))
        .unwrap();
    world.clock.jump_back(2 * DAY);
    world.let_pass(Duration::from_secs(25));
    assert_eq!(numbers(&stream), [0, 1, 2, 3, 4]);
    assert_eq!(shard_count(&stream), 3);
    assert!(world.was_told("172800 s ahead"), "{:?}", world.events);
    assert!(world.was_told("172800 s behind"), "{:?}", world.events);
}

fn a_jump_forward_with_restarts_in_it_deletes_nothing(place: &Place) {
    let mut world = World::new(place);
    filled(&world);
    world.clock.jump_forward(2 * DAY);
    for _ in 0..3 {
        world.reopen();
        world.let_pass(Duration::from_secs(25));
        assert_eq!(numbers(&world.stream("s")), [0, 1, 2, 3, 4]);
    }
    world.clock.jump_back(2 * DAY);
    world.reopen();
    world.let_pass(Duration::from_secs(25));
    assert_eq!(numbers(&world.stream("s")), [0, 1, 2, 3, 4]);
    assert_eq!(shard_count(&world.stream("s")), 3);
    assert!(world.was_told("ahead") && world.was_told("behind"));
}

#[test]
fn a_jump_between_a_kill_and_the_next_opener_deletes_nothing() {
    let mut world = World::new(&Place::directory());
    let stream = world.store.create_stream("s", 1).unwrap();
    put_large(&stream, 0);
    put_large(&stream, 1);
    // Killed before any time was noted but that of the stream's creation.
    world.clock.jump_forward(2 * DAY);
    world.reopen_after_kill();
    world.let_pass(Duration::from_secs(25));
    assert_eq!(numbers(&world.stream("s")), [0, 1]);
    assert!(world.was_told("ahead"));
}

#[test]
fn a_second_jump_forward_does_not_confirm_the_first() {
    let mut world = World::new(&Place::directory());
    let stream = world.store.create_stream("s", 1).unwrap();
    put_large(&stream, 0);
    put_large(&stream, 1);
    world.clock.jump_forward(2 * DAY);
    world.reopen();
    world.clock.jump_back(2 * DAY);
    // Opened with a right clock, and killed before any house-keeping.
    world.reopen_after_kill();
    world.clock.jump_forward(4 * DAY);
    world.reopen_after_kill();
    world.let_pass(Duration::from_secs(25));
    assert_eq!(numbers(&world.stream("s")), [0, 1]);
}

fn a_jump_forward_that_stands_for_an_hour_counts(place: &Place) {
    let world = World::new(place);
    let stream = filled(&world);
    world.clock.jump_forward(2 * DAY);
    world.let_pass(Duration::from_secs(25));
    assert_eq!(numbers(&stream), [0, 1, 2, 3, 4]);
    world.let_pass(2 * HOUR);
    // Until the store has been open for a retention period since, the records may be as young as the other clock shows.
    assert_eq!(numbers(&stream), [0, 1, 2, 3, 4]);
    world.let_pass(DAY);
    assert_eq!(numbers(&stream), [0; 0]);
    assert_eq!(shard_count(&stream), 2);
}

/// A machine without a battery-backed clock begins in the past, and gets the time when its network comes up.
fn a_clock_that_begins_in_the_past_deletes_nothing_that_is_young(place: &Place) {
    let mut world = World::new(place);
    let stream = world.store.create_stream("s", 1).unwrap();
    let parent = put_large(&stream, 0).shard_id;
    world.store.close().unwrap();
    // It was off for three days.
    world.reopen();
    world.let_pass(Duration::from_secs(60));
    let stream = world.stream("s");
    put_large(&stream, 1);
    stream.split_in_half(parent).unwrap();
    put_large(&stream, 2);
    let late = world.store.create_stream("late", 1).unwrap();
    put_large(&late, 3);
    world.clock.jump_forward(3 * DAY);
    world.let_pass(3 * HOUR);
    for _ in 0..2 {
        assert_eq!(numbers(&world.stream("s")), [0, 1, 2]);
        assert_eq!(numbers(&world.stream("late")), [3]);
        world.reopen();
        world.let_pass(10 * HOUR);
    }
    world.let_pass(DAY);
    assert_eq!(numbers(&world.stream("s")), [0; 0]);
    assert_eq!(numbers(&world.stream("late")), [0; 0]);
}

fn a_store_that_was_closed_for_long_expires_what_is_old_an_hour_after_it_is_opened(place: &Place) {
    let mut world = World::new(place);
    filled(&world);
    world.store.close().unwrap();
    world.clock.jump_forward(3 * DAY);
    world.reopen();
    world.let_pass(2 * HOUR);
    assert_eq!(numbers(&world.stream("s")), [0; 0]);
}

fn a_program_that_never_runs_for_an_hour_expires_what_is_old_too(place: &Place) {
    let mut world = World::new(place);
    filled(&world);
    for _ in 0..3 {
        world.store.close().unwrap();
        world.clock.jump_forward(DAY);
        world.reopen();
        world.let_pass(Duration::from_secs(10));
    }
    assert_eq!(numbers(&world.stream("s")), [0; 0]);
}

/// The clock was once a year ahead: records put afterwards repeat the last time, and still expire a day later.
fn year_ahead(world: &mut World, undo: impl Fn(&mut World)) {
    let stream = world.store.create_stream("s", 1).unwrap();
    world.clock.jump_forward(YEAR);
    world.let_pass(Duration::from_secs(25));
    let ahead = world.store.now();
    put_large(&stream, 0);
    drop(stream);
    undo(world);
    let stream = world.stream("s");
    for number in 1..4 {
        put_large(&stream, number);
        world.let_pass(HOUR);
    }
    let records: Vec<_> = stream
        .reader(StartingPosition::TrimHorizon)
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert!(records.iter().all(|record| record.approximate_arrival == ahead));
    // A shard closed then has a closing time in a year.
    stream.split_shard(shard(0), HashKey::MAX / 2).unwrap();
    put_large(&stream, 4);
    world.let_pass(19 * HOUR);
    assert_eq!(numbers(&stream), [0, 1, 2, 3, 4]);
    world.let_pass(2 * HOUR + Duration::from_secs(4_000));
    let left = numbers(&stream);
    assert!(
        left == [2, 3, 4] || left == [3, 4],
        "the oldest expire first: {left:?}"
    );
    put_large(&stream, 5);
    world.let_pass(4 * HOUR);
    assert_eq!(numbers(&stream), [5]);
    assert_eq!(shard_count(&stream), 2, "the parent is gone");
    world.let_pass(DAY);
    assert_eq!(numbers(&stream), [0; 0]);
    assert!(world.was_told("behind"));
}

fn shard(index: u32) -> anabranch::ShardId {
    anabranch::ShardId::new(index).unwrap()
}

fn what_is_put_after_a_clock_was_a_year_ahead_expires(place: &Place) {
    year_ahead(&mut World::new(place), |world| world.clock.jump_back(YEAR));
}

fn what_is_put_after_a_clock_was_a_year_ahead_expires_across_restarts(place: &Place) {
    year_ahead(&mut World::new(place), |world| {
        world.clock.jump_back(YEAR);
        world.reopen();
        world.reopen();
    });
}

fn a_clock_that_was_years_behind_for_hours_deletes_nothing_when_it_is_set_right(place: &Place) {
    let world = World::new(place);
    let stream = world.store.create_stream("s", 1).unwrap();
    put_large(&stream, 0);
    world.clock.jump_back(2 * YEAR);
    world.let_pass(3 * HOUR);
    put_large(&stream, 1);
    put_large(&stream, 2);
    world.let_pass(3 * HOUR);
    world.clock.jump_forward(2 * YEAR);
    world.let_pass(3 * HOUR);
    assert_eq!(numbers(&stream), [0, 1, 2]);
    world.let_pass(DAY);
    assert_eq!(numbers(&stream), [0; 0]);
}

/// A machine without a battery-backed clock that is on for two hours a day, and begins in the past each time.
fn a_clock_that_begins_in_the_past_each_day_lets_records_expire(place: &Place) {
    let mut world = World::new(place);
    world.store.create_stream("s", 1).unwrap();
    for day in 0..150 {
        world.store.close().unwrap();
        world.clock.jump_back(20 * YEAR);
        world.reopen();
        world.let_pass(Duration::from_secs(60));
        put_large(&world.stream("s"), day);
        world.clock.jump_forward(20 * YEAR + DAY);
        world.let_pass(2 * HOUR);
        put_large(&world.stream("s"), day);
        let kept = numbers(&world.stream("s"));
        assert!(kept.ends_with(&[day, day]), "{day}: {kept:?}");
    }
    // The machine was off for a day before each put, and behind by years at the first. It is open for a day in twelve
    // days, and a record from then counts for up to five times as long.
    assert!(numbers(&world.stream("s")).len() <= 2 * 5 * 12);
}

/// If nothing is put while the clock is right, all records have the same time, and stay until the store was open for a
/// retention period.
fn what_is_only_put_while_the_clock_is_behind_stays(place: &Place) {
    let mut world = World::new(place);
    world.store.create_stream("s", 1).unwrap();
    for day in 0..30 {
        world.store.close().unwrap();
        world.clock.jump_back(20 * YEAR);
        world.reopen();
        world.let_pass(Duration::from_secs(60));
        put_large(&world.stream("s"), day);
        world.clock.jump_forward(20 * YEAR + DAY);
        world.let_pass(2 * HOUR);
        let kept = numbers(&world.stream("s"));
        assert!(kept.ends_with(&[day]), "{day}: {kept:?}");
    }
    world.let_pass(DAY);
    assert_eq!(numbers(&world.stream("s")), [0; 0]);
}

/// Hidden records stay hidden when the clock steps, and while the step is not confirmed.
fn a_step_forward_shows_nothing_again(place: &Place) {
    let world = World::new(place);
    let stream = world.store.create_stream("s", 1).unwrap();
    put_large(&stream, 0);
    world.let_pass(20 * HOUR);
    put_large(&stream, 1);
    world.let_pass(5 * HOUR);
    assert_eq!(numbers(&stream), [1]);
    let from_the_beginning = || {
        let shard = stream.describe().unwrap().shards[0].id;
        let oldest = stream
            .shard_iterator(shard, StartingPosition::TrimHorizon)
            .unwrap();
        stream.get_records(&oldest, &ALL).unwrap().records.len()
    };
    world.clock.jump_forward(16 * HOUR);
    for _ in 0..20 {
        world.let_pass(HOUR / 6);
        assert_eq!(from_the_beginning(), 1);
    }
}

/// The step is noted before the next opener could take the records for old.
#[test]
fn a_step_forward_before_a_kill_counts_for_the_next_opener() {
    let mut world = World::new(&Place::directory());
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let options = anabranch::StreamOptions {
        retention: minutes(10).into(),
        ..anabranch::StreamOptions::default()
    };
    let stream = world.store.create_stream_with("s", options).unwrap();
    put_large(&stream, 0);
    put_large(&stream, 1);
    world.clock.jump_forward(minutes(20));
    world.store.maintain().unwrap();
    world.reopen_after_kill();
    world.let_pass(minutes(5));
    assert_eq!(numbers(&world.stream("s")), [0, 1]);
    world.let_pass(minutes(20));
    assert_eq!(numbers(&world.stream("s")), [0; 0]);
}

/// The clock is set right before anything is put: records put by earlier openers do not age by it.
#[test]
fn a_step_before_anything_is_put_counts_for_what_was_put_before() {
    for hours_before in [0, 5] {
        let mut world = World::new(&Place::directory());
        put_large(&world.store.create_stream("s", 1).unwrap(), 0);
        world.let_pass(HOUR * hours_before);
        put_large(&world.stream("s"), 1);
        // The next boot begins at the same time in the past, and the network is up before anything is put.
        world
            .clock
            .jump_back(HOUR * hours_before + Duration::from_secs(5));
        world.reopen_after_kill();
        world.clock.jump_forward(300 * DAY);
        world.let_pass(3 * HOUR);
        assert_eq!(numbers(&world.stream("s")), [0, 1], "{hours_before}");
        world.let_pass(DAY + HOUR);
        assert_eq!(numbers(&world.stream("s")), [0; 0], "{hours_before}");
    }
}

/// A new stream is made while the clock is behind, and it is still behind after a restart.
#[test]
fn a_restart_while_the_clock_is_behind_forgets_nothing() {
    let mut world = World::new(&Place::directory());
    world.let_pass(HOUR);
    put_large(&world.store.create_stream("old", 1).unwrap(), 0);
    world.store.maintain().unwrap();
    world.store.close().unwrap();
    world.clock.jump_back(10 * DAY);
    world.reopen();
    put_large(&world.store.create_stream("new", 1).unwrap(), 1);
    world.let_pass(HOUR);
    world.reopen();
    world.clock.jump_forward(10 * DAY);
    world.let_pass(3 * HOUR);
    assert_eq!(numbers(&world.stream("new")), [1]);
}

/// The clock is set right in two parts, with a restart in between.
#[test]
fn steps_on_both_sides_of_a_restart_count_together() {
    let mut world = World::new(&Place::directory());
    let options = anabranch::StreamOptions {
        retention: anabranch::Retention::hours(7 * 24),
        ..anabranch::StreamOptions::default()
    };
    put_large(&world.store.create_stream_with("s", options).unwrap(), 0);
    for _ in 0..2 {
        world.let_pass(Duration::from_secs(60));
        world.clock.jump_forward(5 * DAY);
        world.let_pass(2 * HOUR);
        world.reopen();
    }
    world.let_pass(3 * DAY);
    assert_eq!(numbers(&world.stream("s")), [0]);
    world.let_pass(5 * DAY);
    assert_eq!(numbers(&world.stream("s")), [0; 0]);
}
