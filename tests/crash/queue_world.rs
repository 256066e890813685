//! A queue together with a model of the possible states of each of its records.

use std::collections::{BTreeMap, BTreeSet};

use anabranch::sim::{LossMode, SimDisk};
use anabranch::{
    Queue, QueueOptions, QueueRecord, QueueSettings, ReadLimit, Receipt, ReceiptError, ReceiveOptions,
    StartingPosition, StoreOptions, Stream,
};

use crate::machine::{Machine, Stopped, stopped};
use crate::model::{KEYS, SECRET, key_ring};

pub const VISIBILITY_SECONDS: u64 = 100;
const MAX_RECEIVE_COUNT: u32 = 3;

#[derive(Clone, Debug)]
pub enum Op {
    Put(u8),
    Receive {
        records: usize,
        dead_letters: bool,
    },
    /// Acknowledges one of every `one_of` received records.
    Acknowledge {
        one_of: usize,
        dead_letters: bool,
    },
    /// Holds records back for another time from now on.
    Hold {
        one_of: usize,
        dead_letters: bool,
        seconds: u32,
    },
    /// Gives deliveries back, as if their consumer had gone without a result.
    GiveBack {
        one_of: usize,
        dead_letters: bool,
    },
    Restore {
        one_of: usize,
    },
    /// Uses receipts of earlier deliveries, of one of every `one_of` records. They have no effect.
    UseStale {
        one_of: usize,
    },
    /// Acknowledges records that are no longer held back, or whose state is unknown since the machine stopped.
    AcknowledgeLate {
        one_of: usize,
    },
    /// Gives back such records.
    GiveBackLate {
        one_of: usize,
    },
    /// Encrypts records put from now on with another key, or not at all.
    Encrypt(Option<u8>),
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

/// The model of a record that was put.
#[derive(Clone, Debug)]
struct Known {
    /// The possible states. A call during which the machine stopped may have had its effect or not.
    may_be_live: bool,
    may_be_dead: bool,
    may_be_gone: bool,
    least_count: u32,
    most_count: u32,
    /// Until when it is held back, by the clock's seconds. Unknown after a crash.
    held_until: Option<u64>,
    /// The receipt of the last delivery that a consumer got.
    receipt: Option<Receipt>,
    /// Whether it is certain that no delivery and no restoration came after it.
    is_last: bool,
    /// Some receipts of earlier deliveries.
    stale: Vec<Receipt>,
}

impl Known {
    fn is_there(&self) -> bool {
        !self.may_be_gone && (self.may_be_live || self.may_be_dead)
    }

    fn is_gone(&self) -> bool {
        !self.may_be_live && !self.may_be_dead
    }

    fn is_held(&self, now: u64) -> bool {
        self.held_until.is_some_and(|until| until > now)
    }

    /// From now on the receipt of the last delivery counts as one of an earlier delivery.
    fn leave_receipt(&mut self) {
        const MOST: usize = 3;
        if let Some(receipt) = self.receipt {
            self.stale.retain(|known| *known != receipt);
            self.stale.push(receipt);
            self.stale.drain(..self.stale.len().saturating_sub(MOST));
        }
    }
}

pub struct World {
    pub machine: Machine,
    /// Whether the stream is encrypted throughout the test.
    is_encrypted: bool,
    records: BTreeMap<u32, Known>,
    next: u32,
}

impl World {
    pub fn new(seed: u64, compacts: bool, is_encrypted: bool) -> Self {
        let journaled = [1, 2, usize::MAX][seed as usize % 3];
        let options = StoreOptions::new()
            .min_journaled_shards(journaled)
            .keys(key_ring());
        let options = match compacts {
            true => options.compaction_bytes(1),
            false => options,
        };
        let world = Self {
            machine: Machine::new(SimDisk::new(seed), options),
            is_encrypted,
            records: BTreeMap::new(),
            next: 0,
        };
        let stream = world.stream().unwrap();
        if is_encrypted {
            stream.start_encryption(KEYS[0]).unwrap();
        }
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

    pub fn stream(&self) -> anabranch::Result<Stream> {
        self.machine.stream()
    }

    pub fn queue(&self) -> anabranch::Result<Queue> {
        self.stream()?.queue("work")
    }

    /// Power is lost, and the store is opened again.
    fn crash(&mut self, mode: LossMode) {
        self.machine.crash(mode);
        self.forget_deadlines();
    }

    fn start_again(&mut self) {
        self.machine.start_again();
        self.forget_deadlines();
    }

    fn forget_deadlines(&mut self) {
        self.records
            .values_mut()
            .for_each(|known| known.held_until = None);
    }

    pub fn run(&mut self, op: &Op) {
        if self.try_run(op).is_err() {
            assert!(self.machine.has_stopped(), "{op:?} failed");
            self.start_again();
        }
        // A record that is not held back and was given out often enough is dead the next time it is looked at.
        let seconds = self.machine.seconds();
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
            Op::Hold {
                one_of,
                dead_letters,
                seconds,
            } => self.hold(*one_of, *dead_letters, *seconds),
            Op::GiveBack { one_of, dead_letters } => self.give_back(&self.some(*one_of, *dead_letters)),
            Op::Restore { one_of } => self.restore(*one_of),
            Op::UseStale { one_of } => self.use_stale(*one_of),
            Op::AcknowledgeLate { one_of } => self.acknowledge_late(*one_of),
            Op::GiveBackLate { one_of } => self.give_back(&self.late(*one_of)),
            Op::Encrypt(key) => self.encrypt(*key),
            Op::Advance(seconds) => {
                self.machine.advance(*seconds);
                Ok(())
            }
            Op::Split(nth) => self.machine.split(*nth),
            Op::Merge(nth) => self.machine.merge(*nth),
            Op::Expire => self.expire(),
            Op::Maintain => self.machine.maintain(),
            Op::Count => self.count(),
            Op::Reopen => {
                self.machine.close()?;
                self.machine.open()?;
                self.forget_deadlines();
                Ok(())
            }
            Op::Crash(mode) => {
                self.crash(*mode);
                Ok(())
            }
            Op::CrashIn(calls, mode) => {
                self.machine.stop_in(*calls, *mode);
                Ok(())
            }
        }
    }

    fn put(&mut self) -> Result<(), Stopped> {
        let id = self.next;
        self.next += 1;
        let put = self
            .stream()
            .and_then(|stream| stream.put(&format!("key-{id}"), &self.data_of(id)));
        let known = Known {
            may_be_live: true,
            may_be_dead: false,
            may_be_gone: put.is_err(),
            least_count: 0,
            most_count: 0,
            held_until: None,
            receipt: None,
            is_last: true,
            stale: Vec::new(),
        };
        self.records.insert(id, known);
        put.map(drop).map_err(stopped)
    }

    fn data_of(&self, id: u32) -> Vec<u8> {
        let secret = if self.is_encrypted { SECRET } else { b"" };
        [&id.to_be_bytes(), secret].concat()
    }

    fn id_of(&self, record: &QueueRecord) -> u32 {
        let data = &record.record.data[..];
        let id = u32::from_be_bytes(data[..4].try_into().unwrap());
        assert_eq!(data, self.data_of(id));
        id
    }

    fn encrypt(&mut self, key: Option<u8>) -> Result<(), Stopped> {
        let key = key.or(self.is_encrypted.then_some(0));
        self.machine.encrypt(key)
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
        let received = match received {
            Ok(received) => received,
            Err(error) => {
                // Any may have been given out.
                for known in self.records.values_mut() {
                    known.most_count += 1;
                    known.is_last = false;
                }
                return Err(Stopped(error));
            }
        };
        let held_until = self.machine.seconds() + VISIBILITY_SECONDS;
        let mut seen = BTreeSet::new();
        for record in &received {
            let id = self.id_of(record);
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
            assert_eq!(record.receipt.is_dead_letter, dead_letters, "{id}");
            known.leave_receipt();
            *known = Known {
                may_be_live: !dead_letters,
                may_be_dead: dead_letters,
                may_be_gone: false,
                least_count: record.receive_count,
                most_count: record.receive_count,
                held_until: Some(held_until),
                receipt: Some(record.receipt),
                is_last: true,
                stale: std::mem::take(&mut known.stale),
            };
        }
        Ok(received)
    }

    /// Some receipts of records, or of dead letters, that are still held back.
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

    fn hold(&mut self, one_of: usize, dead_letters: bool, seconds: u32) -> Result<(), Stopped> {
        let some = self.some(one_of, dead_letters);
        let changes: Vec<_> = some.iter().map(|(_, receipt)| (*receipt, seconds)).collect();
        let outcomes = self.queue().and_then(|queue| queue.change_visibility(&changes));
        let held_until = self.machine.seconds() + u64::from(seconds);
        for (id, _) in &some {
            self.records.get_mut(id).unwrap().held_until = Some(held_until);
        }
        let outcomes = outcomes.map_err(stopped)?;
        assert!(outcomes.iter().all(Result::is_ok));
        Ok(())
    }

    fn give_back(&mut self, some: &[(u32, Receipt)]) -> Result<(), Stopped> {
        let receipts: Vec<_> = some.iter().map(|(_, receipt)| *receipt).collect();
        let outcomes = self.queue().and_then(|queue| queue.give_back(&receipts));
        for (at, (id, receipt)) in some.iter().enumerate() {
            let known = self.records.get_mut(id).unwrap();
            match outcomes.as_ref().map(|outcomes| outcomes[at]) {
                // It was the last delivery, which is now undone.
                Ok(Ok(())) => {
                    assert!(!known.is_gone(), "{id}: {known:?}");
                    known.may_be_gone = false;
                    known.may_be_dead = receipt.is_dead_letter;
                    known.may_be_live = !receipt.is_dead_letter;
                    known.least_count = known.least_count.saturating_sub(1);
                    known.most_count = known.most_count.saturating_sub(1);
                    known.held_until = None;
                    known.is_last = false;
                    known.leave_receipt();
                }
                Ok(Err(ReceiptError::Gone)) => {
                    assert!(!known.is_there(), "{id}: {known:?}");
                    (known.may_be_live, known.may_be_dead) = (false, false);
                }
                Ok(Err(error)) => {
                    assert_eq!(error, ReceiptError::Expired, "{id}: {known:?}");
                    assert!(!known.is_last, "{id}: {known:?}");
                    known.leave_receipt();
                }
                Err(_) => {
                    known.may_be_live |= !known.is_gone() && !receipt.is_dead_letter;
                    known.least_count = known.least_count.saturating_sub(1);
                    known.held_until = None;
                    known.is_last = false;
                }
            }
        }
        outcomes.map(drop).map_err(stopped)
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
            match outcomes.is_ok() {
                // It is as if it had never been given out: its receipt is no longer valid.
                true => {
                    known.may_be_dead = false;
                    known.most_count = 0;
                    known.leave_receipt();
                    known.is_last = false;
                }
                false => known.is_last = false,
            }
        }
        let outcomes = outcomes.map_err(stopped)?;
        assert!(outcomes.iter().all(Result::is_ok));
        Ok(())
    }

    fn expire(&mut self) -> Result<(), Stopped> {
        self.records
            .values_mut()
            .for_each(|known| known.may_be_gone = true);
        self.machine.let_hours_pass(26)?;
        for known in self.records.values_mut() {
            (known.may_be_live, known.may_be_dead) = (false, false);
            known.held_until = None;
        }
        Ok(())
    }

    fn use_stale(&mut self, one_of: usize) -> Result<(), Stopped> {
        let queue = self.queue().map_err(stopped)?;
        let with_stale = self.records.values().filter(|known| !known.stale.is_empty());
        for known in with_stale.step_by(one_of.max(1)) {
            let changes: Vec<_> = known.stale.iter().map(|receipt| (*receipt, 1_000)).collect();
            let changed = queue.change_visibility(&changes).map_err(stopped)?;
            let acknowledged = queue.acknowledge(&known.stale).map_err(stopped)?;
            let given_back = queue.give_back(&known.stale).map_err(stopped)?;
            let restored = queue.restore(&known.stale).map_err(stopped)?;
            for (at, receipt) in known.stale.iter().enumerate() {
                let mut expired = vec![Err(ReceiptError::Expired)];
                let mut gone = vec![Err(ReceiptError::Gone)];
                let mut done = vec![Ok(())];
                // Records that are still there are unchanged, and those that are gone are acknowledged again.
                if known.is_there() {
                    (gone, done) = (Vec::new(), Vec::new());
                } else if known.is_gone() {
                    expired = Vec::new();
                }
                let may_change = [&expired[..], &gone].concat();
                let may_acknowledge = [&expired[..], &done].concat();
                let may_restore = match receipt.is_dead_letter {
                    true => may_change.clone(),
                    false => vec![Err(ReceiptError::NotADeadLetter)],
                };
                for outcome in [changed[at], given_back[at]] {
                    assert!(may_change.contains(&outcome), "{outcome:?}: {known:?}");
                }
                assert!(
                    may_restore.contains(&restored[at]),
                    "{:?}: {known:?}",
                    restored[at]
                );
                let outcome = acknowledged[at];
                assert!(may_acknowledge.contains(&outcome), "{outcome:?}: {known:?}");
            }
        }
        Ok(())
    }

    /// Some receipts of records that are no longer held back, in whatever state they are now.
    fn late(&self, one_of: usize) -> Vec<(u32, Receipt)> {
        let now = self.machine.seconds();
        let late = self.records.iter().filter(|(_, known)| !known.is_held(now));
        let receipts = late.filter_map(|(id, known)| Some((*id, known.receipt?)));
        receipts.step_by(one_of.max(1)).collect()
    }

    fn acknowledge_late(&mut self, one_of: usize) -> Result<(), Stopped> {
        let some = self.late(one_of);
        let receipts: Vec<_> = some.iter().map(|(_, receipt)| *receipt).collect();
        let outcomes = self.queue().and_then(|queue| queue.acknowledge(&receipts));
        for (at, (id, _)) in some.iter().enumerate() {
            let known = self.records.get_mut(id).unwrap();
            match outcomes.as_ref().map(|outcomes| outcomes[at]) {
                // It was gone before, or is now.
                Ok(Ok(())) => {
                    known.may_be_gone = true;
                    (known.may_be_live, known.may_be_dead) = (false, false);
                }
                Ok(Err(error)) => {
                    assert_eq!(error, ReceiptError::Expired, "{id}: {known:?}");
                    assert!(!known.is_last, "{id}: {known:?}");
                    known.leave_receipt();
                }
                Err(_) => known.may_be_gone = true,
            }
        }
        outcomes.map(drop).map_err(stopped)
    }

    fn count(&self) -> Result<(), Stopped> {
        let counts = self.queue().and_then(|queue| queue.counts()).map_err(stopped)?;
        let live = [counts.in_flight, counts.to_redeliver];
        self.check_counts(live, |known| !known.may_be_dead, |known| known.may_be_live);
        let dead = [counts.dead_letters_in_flight, counts.dead_letters];
        self.check_counts(dead, |known| !known.may_be_live, |known| known.may_be_dead);
        Ok(())
    }

    /// Checks counts of held and free records: at least those that are certainly such, at most those that may be.
    fn check_counts(&self, counts: [usize; 2], is_such: fn(&Known) -> bool, may_be_such: fn(&Known) -> bool) {
        for (is_held, count) in [true, false].into_iter().zip(counts) {
            let of_kind = self
                .records
                .values()
                .filter(|known| known.is_held(self.machine.seconds()) == is_held);
            // If a consumer has a receipt, the record was certainly given out.
            let is_given = |known: &&Known| is_such(known) && known.is_there() && known.receipt.is_some();
            let least = of_kind.clone().filter(is_given).count();
            let may_be_given = |known: &Known| known.most_count > 0 || known.receipt.is_some();
            let most = of_kind
                .filter(|known| may_be_such(known) && may_be_given(known))
                .count();
            assert!(
                (least..=most).contains(&count),
                "{least} to {most}, held back: {is_held}: {counts:?}"
            );
        }
    }

    /// Checks that every record that is there is given out in the end, and nothing else.
    pub fn drain(&mut self) {
        // The machine may have stopped while a snapshot was written. No caller sees that failure.
        if self.machine.has_stopped() {
            self.start_again();
        }
        self.machine.disk.faults().clear();
        let mut drained = BTreeSet::new();
        for _ in 0..=MAX_RECEIVE_COUNT {
            self.run(&Op::Advance(VISIBILITY_SECONDS));
            self.run(&Op::Count);
            for dead_letters in [false, true] {
                loop {
                    let received = self.receive(50, dead_letters).unwrap();
                    if received.is_empty() {
                        break;
                    }
                    for record in &received {
                        drained.insert(self.id_of(record));
                    }
                }
                self.acknowledge(1, dead_letters).unwrap();
            }
        }
        for (id, known) in &self.records {
            let was_there = drained.contains(id) || known.may_be_gone;
            assert!(was_there, "{id} is lost: {known:?}");
        }
        let counts = self.queue().unwrap().counts().unwrap();
        assert_eq!(counts, Default::default());
        self.crash(LossMode::LoseAll);
        let received = self.receive(50, false).unwrap();
        assert!(received.is_empty(), "{received:?}");
        assert_eq!(self.queue().unwrap().counts().unwrap(), Default::default());
        // Receipts are no longer valid.
        self.run(&Op::UseStale { one_of: 1 });
        self.find_no_secret();
    }

    /// Checks that no file has any bytes of a record that was encrypted.
    fn find_no_secret(&self) {
        let rot = self.machine.disk.rot();
        for (path, _) in rot.files() {
            let bytes = rot.read(&path).unwrap();
            let found = bytes.windows(SECRET.len()).any(|window| window == SECRET);
            assert!(!found, "{}", path.display());
        }
    }
}
