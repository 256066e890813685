//! The events that the engine gives to `tracing`.

use std::fmt::{Debug, Write};
use std::io::ErrorKind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anabranch::sim::{LossMode, Operation, SimDisk};
use anabranch::{ManualClock, ShardId, StartingPosition, StoreOptions, Timestamp};
use anabranch_harness::listening::heard_by;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Keeps the events of one thread, each as a line: its level, its message and its fields.
#[derive(Clone, Default)]
struct Heard {
    lines: Arc<Mutex<Vec<String>>>,
}

impl Heard {
    /// All events so far.
    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn during<T>(&self, run: impl FnOnce() -> T) -> T {
        heard_by(self.clone(), run)
    }

    fn count(&self, part: &str) -> usize {
        self.lines().iter().filter(|line| line.contains(part)).count()
    }

    #[track_caller]
    fn assert_has(&self, part: &str) {
        assert!(self.count(part) > 0, "{part:?} is not in {:#?}", self.lines());
    }
}

impl Subscriber for Heard {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "anabranch::engine"
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut line = format!("SPAN {}", span.metadata().name());
        span.record(&mut Fields(&mut line));
        self.lines().push(line);
        Id::from_u64(1)
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = event.metadata().level().to_string();
        event.record(&mut Fields(&mut line));
        self.lines().push(line);
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

fn on(disk: &SimDisk) -> StoreOptions {
    StoreOptions::new().disk(disk.clone()).keeper(false)
}

/// Of the harness: the tests below need it beside the others.
#[test]
fn a_thread_that_hears_nothing_silences_no_place_for_others() {
    fn place() {
        tracing::info!(target: "anabranch::engine", "somebody was here");
    }
    let heard = Heard::default();
    heard.during(|| {
        std::thread::spawn(place).join().unwrap();
        place();
    });
    assert_eq!(heard.count("somebody was here"), 1);
}

#[test]
fn the_life_of_a_store_is_told() {
    let heard = Heard::default();
    let disk = SimDisk::new(1);
    heard.during(|| {
        let store = on(&disk).segment_bytes(64 << 10).open("store").unwrap();
        let stream = store.create_stream("clicks", 1).unwrap();
        for _ in 0..20 {
            stream.put("key", &[b'x'; 10_000]).unwrap();
        }
        let shard = |index| ShardId::new(index).unwrap();
        stream.split_in_half(shard(0)).unwrap();
        stream.merge_shards(shard(1), shard(2)).unwrap();
        let mut reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
        reader.by_ref().take(15).for_each(|record| drop(record.unwrap()));
        stream.trim_to(&reader.checkpoint()).unwrap();
        store.maintain().unwrap();
        stream.delete().unwrap();
        store.close().unwrap();
    });
    for part in [
        "SPAN open path=store",
        "DEBUG message=a store is open streams=0 is_read_only=false",
        "DEBUG message=a stream was created stream=\"clicks\"",
        "DEBUG message=a segment was begun log=1/shardId-000000000000 first_record=",
        "DEBUG message=a shard was split stream=\"clicks\" parents=[ShardId(0)] children=[ShardId(1), ShardId(2)]",
        "DEBUG message=shards were merged stream=\"clicks\" parents=[ShardId(1), ShardId(2)] children=[ShardId(3)]",
        "DEBUG message=records were trimmed log=1/shardId-000000000000 first_kept=",
        "DEBUG message=segments were freed log=1/shardId-000000000000 first_kept=",
        "DEBUG message=a stream was deleted stream=\"clicks\"",
        "DEBUG message=a store is closed",
    ] {
        heard.assert_has(part);
    }
    assert!(heard.count("a segment was begun log=1/shardId-000000000000") >= 3);
}

#[test]
fn recovery_tells_what_it_finds_and_rest_has_nothing_to_tell() {
    let disk = SimDisk::new(1);
    let store = on(&disk).open("store").unwrap();
    store
        .create_stream("clicks", 1)
        .unwrap()
        .put("key", b"data")
        .unwrap();
    let after = disk.crash(LossMode::KeepAll);
    let heard = Heard::default();
    heard.during(|| on(&after).open("store").unwrap().close().unwrap());
    heard.assert_has(
        "DEBUG message=the end of a log was found that was being written to log=1/shardId-000000000000",
    );

    let heard = Heard::default();
    heard.during(|| on(&after).open("store").unwrap().close().unwrap());
    assert_eq!(heard.count("the end of a log"), 0, "{:?}", heard.lines());
}

#[test]
fn a_failed_sync_is_told_once() {
    let heard = Heard::default();
    let disk = SimDisk::new(1);
    heard.during(|| {
        let store = on(&disk).open("store").unwrap();
        let stream = store.create_stream("clicks", 1).unwrap();
        stream.put("key", b"data").unwrap();
        disk.faults().fail_nth(Operation::SyncData, 1, ErrorKind::Other);
        stream.put("key", b"data").unwrap_err();
        stream.put("key", b"data").unwrap_err();
    });
    assert_eq!(
        heard.count("ERROR message=a write or a sync failed"),
        1,
        "{:?}",
        heard.lines()
    );
}

#[test]
fn a_sync_that_took_a_second_is_told_and_a_shorter_one_is_not() {
    for (took, is_told) in [(999, false), (1_000, true)] {
        let heard = Heard::default();
        let (disk, clock) = (
            SimDisk::new(1),
            ManualClock::starting_at(Timestamp::from_seconds(1_700_000_000)),
        );
        let store = on(&disk).clock(clock.clone()).open("store").unwrap();
        let stream = store.create_stream("clicks", 1).unwrap();
        stream.put("key", b"data").unwrap();
        let stall = disk.stall_next(Operation::SyncData, "");
        let putting = {
            let heard = heard.clone();
            std::thread::spawn(move || heard.during(|| stream.put("key", b"data")))
        };
        stall.wait_until_reached();
        clock.advance(Duration::from_millis(took));
        drop(stall);
        putting.join().unwrap().unwrap();
        assert_eq!(
            heard.count("WARN message=a sync took long seconds=1"),
            usize::from(is_told)
        );
    }
}

#[test]
fn damage_is_told_when_it_is_met_and_not_again() {
    let disk = SimDisk::new(1);
    let store = on(&disk).open("store").unwrap();
    store
        .create_stream("clicks", 1)
        .unwrap()
        .put("key", &[b'x'; 1_000])
        .unwrap();
    store.close().unwrap();
    let is_segment = |path: &&std::path::Path| {
        path.to_string_lossy().contains("shardId") && path.extension() == Some("log".as_ref())
    };
    let files = disk.rot().files();
    let segment = files
        .iter()
        .map(|(path, _)| path.as_path())
        .find(is_segment)
        .unwrap();
    disk.rot().flip_bit(segment, 4_096 + 200, 1).unwrap();
    let heard = Heard::default();
    heard.during(|| {
        let stream = on(&disk).open("store").unwrap().stream("clicks").unwrap();
        for _ in 0..2 {
            stream
                .reader(StartingPosition::TrimHorizon)
                .unwrap()
                .next()
                .unwrap()
                .unwrap_err();
        }
    });
    let told = heard.count("WARN message=a log is damaged log=1/shardId-000000000000 error=");
    assert_eq!(told, 1, "{:?}", heard.lines());
}

#[test]
fn what_no_one_else_is_told_of_is_told_here() {
    let clock = ManualClock::starting_at(Timestamp::from_seconds(1_700_000_000));
    let disk = SimDisk::new(1);
    let options = on(&disk).clock(clock.clone());
    let step = |options: &StoreOptions| {
        let heard = Heard::default();
        heard.during(|| {
            let store = options.open("store").unwrap();
            clock.jump_forward(Duration::from_secs(1_000_000));
            store.maintain().unwrap();
            store.close().unwrap();
        });
        heard.count("WARN message=the wall clock is")
    };
    assert!(step(&options) > 0);
    assert_eq!(step(&options.clone().on_event(|_| ())), 0);
}
