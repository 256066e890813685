//! Queues against a small model: random receives, acknowledgements, time outs, dead letters, restorations, reshards, retention,
//! crashes and restarts. Nothing that was acknowledged comes back, nothing else is lost before retention takes it, no record
//! is given to two consumers at once, none more often than it may be, and counts are right. No order is promised.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anabranch::sim::{Calls, LossMode, SimDisk};
use anabranch::{
    ManualClock, Queue, QueueOptions, QueueRecord, QueueSettings, ReadLimit, Receipt, ReceiveOptions,
    StartingPosition, Store, StoreOptions, Stream, Timestamp,
};
use proptest::prelude::*;

use crate::reshard::{merge_nth, split_nth};
use crate::watchdog::Case;

const DIRECTORY: &str = "store";
const VISIBILITY_SECONDS: u64 = 100;
const MAX_RECEIVE_COUNT: u32 = 3;

#[derive(Clone, Debug)]
enum Op {
    Put(u8),
    Receive {
        records: usize,
        dead_letters: bool,
    },
    /// Of every so many that were received, one.
    Acknowledge {
        one_of: usize,
        dead_letters: bool,
    },
    GiveFree {
        one_of: usize,
    },
    Restore {
        one_of: usize,
    },
    Advance(u64),
    Split(usize),
    Merge(usize),
    Expire,
    Maintain,
    Count,
    Reopen,
    Crash(LossMode),
    CrashIn(u64, LossMode),
}

/// What is known of a record that was put.
#[derive(Clone, Debug)]
struct Known {
    /// What may be true. What was asked for when the machine stopped may have happened or not.
    may_be_live: bool,
    may_be_dead: bool,
    may_be_gone: bool,
    least_count: u32,
    most_count: u32,
    /// Until when it is held back, by the clock's seconds. Nothing is known after a crash.
    held_until: Option<u64>,
    receipt: Option<Receipt>,
}

/// The machine has stopped.
struct Stopped;

struct World {
    disk: SimDisk,
    seed: u64,
    compacts: bool,
    clock: ManualClock,
    seconds: u64,
    store: Option<Store>,
    records: BTreeMap<u32, Known>,
    next: u32,
    /// How it stops, if it is to.
    stop: LossMode,
}

impl World {
    fn new(seed: u64, compacts: bool) -> Self {
        let mut world = Self {
            disk: SimDisk::new(seed),
            seed,
            compacts,
            clock: ManualClock::starting_at(Timestamp::from_seconds(1_700_000_000)),
            seconds: 0,
            store: None,
            records: BTreeMap::new(),
            next: 0,
            stop: LossMode::LoseAll,
        };
        world.open().unwrap();
        let stream = world.store().create_stream("jobs", 2).unwrap();
        let options = QueueOptions {
            start: StartingPosition::TrimHorizon,
            settings: QueueSettings {
                visibility_seconds: VISIBILITY_SECONDS as u32,
                max_receive_count: Some(MAX_RECEIVE_COUNT),
            },
            ..QueueOptions::default()
        };
        stream.create_queue("work", &options).unwrap();
        world
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn stream(&self) -> anabranch::Result<Stream> {
        self.store().stream("jobs")
    }

    fn queue(&self) -> anabranch::Result<Queue> {
        self.stream()?.queue("work")
    }

    fn open(&mut self) -> anabranch::Result<()> {
        let journaled = [1, 2, usize::MAX][self.seed as usize % 3];
        let options = StoreOptions::new()
            .segment_bytes(64 << 10)
            .keeper(false)
            .flusher_threads(1)
            .min_journaled_shards(journaled)
            .clock(self.clock.clone())
            .disk(self.disk.clone());
        let options = match self.compacts {
            true => options.compaction_bytes(1),
            false => options,
        };
        self.store = Some(options.open(DIRECTORY)?);
        Ok(())
    }

    /// Power is lost, and the store is opened again.
    fn crash(&mut self, mode: LossMode) {
        self.disk.freeze();
        let after = self.disk.crash(mode);
        self.store = None;
        self.disk = after;
        self.open().unwrap();
        self.forget_deadlines();
    }

    fn forget_deadlines(&mut self) {
        self.records
            .values_mut()
            .for_each(|known| known.held_until = None);
    }

    fn run(&mut self, op: &Op) {
        if self.try_run(op).is_err() {
            assert!(self.disk.is_frozen(), "{op:?} failed");
            self.crash(self.stop);
        }
        // What is not held back and was given out often enough is dead whenever it is looked at.
        let seconds = self.seconds;
        for known in self.records.values_mut() {
            known.held_until = known.held_until.filter(|until| *until > seconds);
            if known.held_until.is_none() && known.may_be_live && known.most_count >= MAX_RECEIVE_COUNT {
                known.may_be_dead = true;
                known.may_be_live = known.least_count < MAX_RECEIVE_COUNT;
            }
        }
    }

    fn try_run(&mut self, op: &Op) -> Result<(), Stopped> {
        match op {
            Op::Put(count) => (0..*count).try_for_each(|_| self.put()),
            Op::Receive {
                records,
                dead_letters,
            } => self.receive(*records, *dead_letters).map(drop),
            Op::Acknowledge { one_of, dead_letters } => self.acknowledge(*one_of, *dead_letters),
            Op::GiveFree { one_of } => self.give_free(*one_of),
            Op::Restore { one_of } => self.restore(*one_of),
            Op::Advance(seconds) => {
                self.advance(*seconds);
                Ok(())
            }
            Op::Split(nth) => self
                .stream()
                .and_then(|stream| split_nth(&stream, *nth))
                .map_err(stopped),
            Op::Merge(nth) => self
                .stream()
                .and_then(|stream| merge_nth(&stream, *nth))
                .map_err(stopped),
            Op::Expire => self.expire(),
            Op::Maintain => self.store().maintain().map_err(stopped),
            Op::Count => self.count(),
            Op::Reopen => {
                let closed = self.store().close();
                self.store = None;
                closed.map_err(stopped)?;
                self.open().map_err(stopped)?;
                self.forget_deadlines();
                Ok(())
            }
            Op::Crash(mode) => {
                self.crash(*mode);
                Ok(())
            }
            Op::CrashIn(calls, mode) => {
                self.stop = *mode;
                self.disk.faults().freeze_nth(Calls::ALL, *calls);
                Ok(())
            }
        }
    }

    fn advance(&mut self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
        self.seconds += seconds;
    }

    fn put(&mut self) -> Result<(), Stopped> {
        let id = self.next;
        self.next += 1;
        let put = self
            .stream()
            .and_then(|stream| stream.put(&format!("key-{id}"), &id.to_be_bytes()));
        let known = Known {
            may_be_live: true,
            may_be_dead: false,
            may_be_gone: put.is_err(),
            least_count: 0,
            most_count: 0,
            held_until: None,
            receipt: None,
        };
        self.records.insert(id, known);
        put.map(drop).map_err(stopped)
    }

    fn receive(&mut self, records: usize, dead_letters: bool) -> Result<Vec<QueueRecord>, Stopped> {
        let options = ReceiveOptions {
            limit: ReadLimit {
                records,
                ..ReadLimit::default()
            },
            dead_letters,
            ..ReceiveOptions::default()
        };
        let received = self.queue().and_then(|queue| queue.receive(&options));
        let Ok(received) = received else {
            // Any may have been given out.
            for known in self.records.values_mut() {
                known.most_count += 1;
            }
            return Err(Stopped);
        };
        let held_until = self.seconds + VISIBILITY_SECONDS;
        let mut seen = BTreeSet::new();
        for record in &received {
            let id = u32::from_be_bytes(record.record.data[..].try_into().unwrap());
            assert!(seen.insert(id), "{id} is given out twice at once");
            let known = self.records.get_mut(&id).expect("what is given out was put");
            let may_be = match dead_letters {
                true => known.may_be_dead,
                false => known.may_be_live,
            };
            assert!(
                may_be,
                "{id} is given out, dead letters: {dead_letters}: {known:?}"
            );
            assert_eq!(known.held_until, None, "{id} is held back");
            let counts = known.least_count + 1..=known.most_count + 1;
            assert!(
                counts.contains(&record.receive_count),
                "{id}: {known:?}, {}",
                record.receive_count
            );
            assert!(dead_letters || record.receive_count <= MAX_RECEIVE_COUNT, "{id}");
            *known = Known {
                may_be_live: !dead_letters,
                may_be_dead: dead_letters,
                may_be_gone: false,
                least_count: record.receive_count,
                most_count: record.receive_count,
                held_until: Some(held_until),
                receipt: Some(record.receipt),
            };
        }
        Ok(received)
    }

    /// Some of the receipts that there are of records, or of dead letters, that are still held back.
    fn some(&self, one_of: usize, dead_letters: bool) -> Vec<(u32, Receipt)> {
        let held = self
            .records
            .iter()
            .filter(|(_, known)| known.held_until.is_some());
        let receipts = held.filter_map(|(id, known)| Some((*id, known.receipt?)));
        let of_kind = receipts.filter(|(_, receipt)| receipt.is_dead_letter == dead_letters);
        of_kind.step_by(one_of.max(1)).collect()
    }

    fn acknowledge(&mut self, one_of: usize, dead_letters: bool) -> Result<(), Stopped> {
        let some = self.some(one_of, dead_letters);
        let receipts: Vec<_> = some.iter().map(|(_, receipt)| *receipt).collect();
        let outcomes = self.queue().and_then(|queue| queue.acknowledge(&receipts));
        for (at, (id, _)) in some.iter().enumerate() {
            let known = self.records.get_mut(id).unwrap();
            known.may_be_gone = true;
            if let Ok(outcomes) = &outcomes {
                assert_eq!(outcomes[at], Ok(()));
                (known.may_be_live, known.may_be_dead) = (false, false);
                known.held_until = None;
            }
        }
        outcomes.map(drop).map_err(stopped)
    }

    fn give_free(&mut self, one_of: usize) -> Result<(), Stopped> {
        let some = self.some(one_of, false);
        let changes: Vec<_> = some.iter().map(|(_, receipt)| (*receipt, 0)).collect();
        let outcomes = self.queue().and_then(|queue| queue.change_visibility(&changes));
        for (id, _) in &some {
            self.records.get_mut(id).unwrap().held_until = None;
        }
        let outcomes = outcomes.map_err(stopped)?;
        assert!(outcomes.iter().all(Result::is_ok));
        Ok(())
    }

    fn restore(&mut self, one_of: usize) -> Result<(), Stopped> {
        let some = self.some(one_of, true);
        let receipts: Vec<_> = some.iter().map(|(_, receipt)| *receipt).collect();
        let outcomes = self.queue().and_then(|queue| queue.restore(&receipts));
        for (id, _) in &some {
            let known = self.records.get_mut(id).unwrap();
            known.may_be_live = true;
            known.least_count = 0;
            known.held_until = None;
            if outcomes.is_ok() {
                known.may_be_dead = false;
                known.most_count = 0;
            }
        }
        let outcomes = outcomes.map_err(stopped)?;
        assert!(outcomes.iter().all(Result::is_ok));
        Ok(())
    }

    /// What the clock gains at once is not believed for an hour.
    fn expire(&mut self) -> Result<(), Stopped> {
        self.records
            .values_mut()
            .for_each(|known| known.may_be_gone = true);
        for _ in 0..26 {
            self.advance(3_600);
            self.store().maintain().map_err(stopped)?;
        }
        for known in self.records.values_mut() {
            (known.may_be_live, known.may_be_dead) = (false, false);
            known.held_until = None;
        }
        Ok(())
    }

    fn count(&self) -> Result<(), Stopped> {
        let counts = self.queue().and_then(|queue| queue.counts()).map_err(stopped)?;
        let all =
            counts.in_flight + counts.to_redeliver + counts.dead_letters + counts.dead_letters_in_flight;
        let is_there = |known: &&Known| known.may_be_live || known.may_be_dead;
        let given = |known: &&Known| known.most_count > 0 || known.receipt.is_some();
        let there = self.records.values().filter(is_there);
        let most = there.clone().filter(given).count();
        let sure = |known: &&Known| !known.may_be_gone && (known.least_count > 0);
        let least = there.clone().filter(sure).count();
        assert!((least..=most).contains(&all), "{least} to {most}: {counts:?}");
        let held = |known: &&Known| known.held_until.is_some_and(|until| until > self.seconds);
        let held: Vec<_> = there.filter(held).collect();
        let least_held = held.iter().filter(|known| !known.may_be_gone).count();
        let in_flight = counts.in_flight + counts.dead_letters_in_flight;
        assert!(in_flight >= least_held, "{least_held}: {counts:?}");
        Ok(())
    }

    /// All that is there is given out in the end, and nothing else.
    fn drain(&mut self) {
        // The machine may have stopped while a snapshot was written, whose failure is told to no caller.
        if self.disk.is_frozen() {
            self.crash(self.stop);
        }
        self.disk.faults().clear();
        let mut drained = BTreeSet::new();
        for _ in 0..=MAX_RECEIVE_COUNT {
            self.advance(VISIBILITY_SECONDS);
            self.run(&Op::Count);
            for dead_letters in [false, true] {
                loop {
                    let received = self
                        .receive(50, dead_letters)
                        .map_err(|_| "a receive failed")
                        .unwrap();
                    if received.is_empty() {
                        break;
                    }
                    for record in &received {
                        drained.insert(u32::from_be_bytes(record.record.data[..].try_into().unwrap()));
                    }
                }
                self.acknowledge(1, dead_letters)
                    .map_err(|_| "an acknowledgement failed")
                    .unwrap();
            }
        }
        for (id, known) in &self.records {
            let was_there = drained.contains(id) || known.may_be_gone;
            assert!(was_there, "{id} is lost: {known:?}");
        }
        let counts = self.queue().unwrap().counts().unwrap();
        assert_eq!(counts, Default::default());
        self.crash(LossMode::LoseAll);
        let received = self.receive(50, false).map_err(|_| "a receive failed").unwrap();
        assert!(received.is_empty(), "{received:?}");
        assert_eq!(self.queue().unwrap().counts().unwrap(), Default::default());
    }
}

fn stopped(_: anabranch::Error) -> Stopped {
    Stopped
}

fn op() -> impl Strategy<Value = Op> {
    let loss = || prop::sample::select(LossMode::ALL.to_vec());
    let kinds = || prop_oneof![3 => Just(false), 1 => Just(true)];
    prop_oneof![
        8 => (1..20_u8).prop_map(Op::Put),
        10 => (1..20_usize, kinds()).prop_map(|(records, dead_letters)| Op::Receive { records, dead_letters }),
        6 => (1..4_usize, kinds()).prop_map(|(one_of, dead_letters)| Op::Acknowledge { one_of, dead_letters }),
        3 => (1..4_usize).prop_map(|one_of| Op::GiveFree { one_of }),
        2 => (1..4_usize).prop_map(|one_of| Op::Restore { one_of }),
        5 => (1..150_u64).prop_map(Op::Advance),
        2 => (0..6_usize).prop_map(Op::Split),
        2 => (0..6_usize).prop_map(Op::Merge),
        1 => Just(Op::Expire),
        2 => Just(Op::Maintain),
        4 => Just(Op::Count),
        1 => Just(Op::Reopen),
        2 => loss().prop_map(Op::Crash),
        3 => (1..40_u64, loss()).prop_map(|(calls, mode)| Op::CrashIn(calls, mode)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_acknowledged_comes_back_and_nothing_else_is_lost(
        seed in any::<u64>(),
        compacts in any::<bool>(),
        ops in prop::collection::vec(op(), 1..60),
    ) {
        let _case = Case::begin(|| format!("seed {seed}, compacts {compacts}: {ops:?}"));
        let mut world = World::new(seed, compacts);
        ops.iter().for_each(|op| world.run(op));
        world.drain();
    }
}

/// Each kind of change, with snapshots between.
fn scenario() -> Vec<Op> {
    let receive = |records| Op::Receive {
        records,
        dead_letters: false,
    };
    let acknowledge = |one_of| Op::Acknowledge {
        one_of,
        dead_letters: false,
    };
    vec![
        Op::Put(6),
        receive(4),
        acknowledge(2),
        Op::Split(0),
        Op::Put(3),
        Op::GiveFree { one_of: 2 },
        receive(9),
        Op::Advance(VISIBILITY_SECONDS),
        receive(9),
        Op::Reopen,
        acknowledge(1),
        receive(9),
        Op::Merge(0),
        Op::Advance(VISIBILITY_SECONDS),
        Op::Receive {
            records: 9,
            dead_letters: true,
        },
        Op::Restore { one_of: 2 },
        Op::Acknowledge {
            one_of: 1,
            dead_letters: true,
        },
        Op::Maintain,
        Op::Put(2),
        receive(5),
        acknowledge(1),
    ]
}

#[test]
fn a_crash_in_any_call_of_a_queue_loses_and_brings_back_nothing() {
    for compacts in [false, true] {
        for mode in [LossMode::LoseAll, LossMode::Random, LossMode::KeepAll] {
            for call in 1.. {
                let _case = Case::begin(|| format!("a crash in call {call}, {mode:?}, compacts {compacts}"));
                let mut world = World::new(call, compacts);
                world.run(&Op::CrashIn(call, mode));
                let before = world.disk.clone();
                scenario().iter().for_each(|op| world.run(op));
                let has_stopped = before.is_frozen();
                world.drain();
                if !has_stopped {
                    break;
                }
            }
        }
    }
}

/// A failed put of an entry must not leave the state ahead of the log: what a caller was told has failed is as it was.
#[test]
fn what_a_full_disk_refuses_is_as_it_was() {
    for (capacity, compacts) in (600_000..1_400_000)
        .step_by(40_000)
        .flat_map(|capacity| [(capacity, false), (capacity, true)])
    {
        let mut world = World::new(capacity, compacts);
        world.disk.set_capacity(capacity);
        let queue = world.queue().unwrap();
        let stream = world.stream().unwrap();
        let mut put = 0_u32;
        let mut acknowledged = BTreeSet::new();
        let mut failed = false;
        for _ in 0..400 {
            if stream.put("key", &put.to_be_bytes()).is_ok() {
                put += 1;
            }
            // Fills the disk.
            let _ = stream.put("key", &vec![0; 4_000]);
            let Ok(received) = queue.receive(&ReceiveOptions::default()) else {
                failed = true;
                continue;
            };
            for record in received {
                match queue.acknowledge(&[record.receipt]) {
                    Ok(_) => {
                        acknowledged.insert(record.record.data.to_vec());
                    }
                    Err(_) => failed = true,
                }
            }
        }
        world.disk.set_capacity(u64::MAX);
        for _ in 0..4 {
            world.advance(VISIBILITY_SECONDS);
            for dead_letters in [false, true] {
                let options = ReceiveOptions {
                    limit: ReadLimit::default(),
                    dead_letters,
                    ..ReceiveOptions::default()
                };
                loop {
                    let received = queue.receive(&options).unwrap();
                    if received.is_empty() {
                        break;
                    }
                    for record in received {
                        let data = record.record.data.to_vec();
                        let is_filling = data.len() > 4;
                        assert!(
                            is_filling || acknowledged.insert(data),
                            "{:?} came back",
                            record.record
                        );
                        queue.acknowledge(&[record.receipt]).unwrap();
                    }
                }
            }
        }
        let all = (0..put).all(|id| acknowledged.contains(id.to_be_bytes().as_slice()));
        assert!(
            all,
            "with {capacity} bytes, compacts {compacts}, failed: {failed}"
        );
    }
}
