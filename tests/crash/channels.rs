//! Deliveries, with the store and the buckets on a disk that stops: all records that were put are in the objects at
//! least once, the records of a shard are in order, and the objects contain nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anabranch::disk::Disk;
use anabranch::sim::{Calls, LossMode, SimDisk};
use anabranch::{
    Bucket, BucketError, ChannelOptions, Delivery, DeliveryError, DeliveryOptions, Destination,
    DirectoryBuckets, Error, HashKey, Object, PutRecord, ShardFilter, StoreOptions, Stream,
};
use proptest::prelude::*;

use crate::machine::{Machine, Stopped, stopped};
use crate::model::{SECRET, key_ring};
use crate::watchdog::Case;

const BUCKETS: &str = "buckets";
const FRESHNESS_SECONDS: u64 = 300;

#[derive(Clone, Debug)]
enum Op {
    Put(u8),
    Deliver,
    Advance(u64),
    Split(usize),
    Merge(usize),
    /// Records that are not delivered by then expire.
    Expire,
    Maintain,
    /// Records are put from now on encrypted with another key, or not encrypted.
    Encrypt(Option<u8>),
    Reopen,
    Crash(LossMode),
    CrashIn(u64, LossMode),
}

struct World {
    machine: Machine,
    /// There is one while the store is open.
    delivery: Option<Delivery>,
    /// The records that must be delivered in the end.
    acknowledged: BTreeSet<u32>,
    next: u32,
}

impl World {
    fn new(seed: u64) -> Self {
        let disk = SimDisk::new(seed);
        disk.create_dir(BUCKETS.as_ref()).unwrap();
        disk.create_dir(&PathBuf::from(BUCKETS).join("archive")).unwrap();
        disk.sync_dir(BUCKETS.as_ref()).unwrap();
        disk.sync_dir("".as_ref()).unwrap();
        let journaled = [1, 2, usize::MAX][seed as usize % 3];
        let options = StoreOptions::new()
            .min_journaled_shards(journaled)
            .compaction_bytes(if seed.is_multiple_of(2) { 1 } else { 1 << 20 })
            .keys(key_ring());
        let mut world = Self {
            machine: Machine::new(disk, options),
            delivery: None,
            acknowledged: BTreeSet::new(),
            next: 0,
        };
        world.begin_delivery();
        let stream = world.stream().unwrap();
        let destination = Destination {
            key_template: Some("!{yyyy}/!{MM}/!{channel-name}".to_owned()),
            ..Destination::new("archive")
        };
        stream
            .create_channel("all", &ChannelOptions::to(destination))
            .unwrap();
        world
    }

    fn begin_delivery(&mut self) {
        let buckets = DirectoryBuckets::on_disk(BUCKETS, self.machine.disk.clone());
        let options = DeliveryOptions {
            object_bytes: 40,
            ..DeliveryOptions::default()
        };
        self.delivery = Some(Delivery::new(self.machine.store(), buckets, options));
    }

    fn delivery(&self) -> &Delivery {
        self.delivery.as_ref().unwrap()
    }

    fn stream(&self) -> anabranch::Result<Stream> {
        self.machine.stream()
    }

    fn crash(&mut self, mode: LossMode) {
        self.end_delivery_by(|machine| machine.crash(mode));
    }

    fn start_again(&mut self) {
        self.end_delivery_by(Machine::start_again);
    }

    fn end_delivery_by(&mut self, crash: impl FnOnce(&mut Machine)) {
        // It does no more.
        self.machine.disk.freeze();
        self.delivery = None;
        crash(&mut self.machine);
        self.begin_delivery();
    }

    fn run(&mut self, op: &Op) {
        if self.try_run(op).is_err() || self.machine.has_stopped() {
            assert!(self.machine.has_stopped(), "{op:?} failed");
            self.start_again();
        }
    }

    fn try_run(&mut self, op: &Op) -> Result<(), Stopped> {
        match op {
            Op::Put(count) => (0..*count).try_for_each(|_| self.put()),
            // It fails because the disk has stopped.
            Op::Deliver => {
                self.deliver();
                Ok(())
            }
            Op::Advance(seconds) => {
                self.machine.advance(*seconds);
                Ok(())
            }
            Op::Split(nth) => self.machine.split(*nth),
            Op::Merge(nth) => self.machine.merge(*nth),
            Op::Expire => self.expire(),
            Op::Maintain => self.machine.maintain(),
            Op::Encrypt(key) => self.machine.encrypt(*key),
            Op::Reopen => {
                self.delivery = None;
                self.machine.close()?;
                self.machine.open()?;
                self.begin_delivery();
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

    fn deliver(&self) -> usize {
        let objects = self.delivery().deliver_due();
        let channel = self.stream().and_then(|stream| stream.channel("all"));
        let problem = channel.ok().and_then(|channel| self.delivery().problem(&channel));
        assert!(problem.is_none() || self.machine.has_stopped(), "{problem:?}");
        objects
    }

    fn put(&mut self) -> Result<(), Stopped> {
        let id = self.next;
        self.next += 1;
        let put = self
            .stream()
            .and_then(|stream| stream.put(&format!("key-{id}"), &id.to_be_bytes()));
        put.map_err(stopped)?;
        self.acknowledged.insert(id);
        Ok(())
    }

    fn expire(&mut self) -> Result<(), Stopped> {
        self.acknowledged.clear();
        self.machine.let_hours_pass(26)
    }

    /// In the end all records are in objects, and a loss of power does not change that.
    fn finish(&mut self) {
        if self.machine.has_stopped() {
            self.start_again();
        }
        self.machine.disk.faults().clear();
        self.machine.advance(FRESHNESS_SECONDS);
        self.deliver();
        assert_eq!(self.deliver(), 0, "what is delivered is not delivered again");
        self.crash(LossMode::LoseAll);
        self.machine.advance(FRESHNESS_SECONDS);
        assert_eq!(self.deliver(), 0, "what is delivered stays so");
        self.check();
    }

    fn check(&self) {
        let files = self.machine.disk.rot().files();
        let mut shards: BTreeMap<String, Vec<(u64, u64, Vec<u32>)>> = BTreeMap::new();
        for (path, _) in files.iter().filter(|(path, _)| path.starts_with(BUCKETS)) {
            let name = path.file_name().unwrap().to_str().unwrap();
            if name.ends_with(".partial") {
                continue;
            }
            let body = self.machine.disk.rot().read(path).unwrap();
            assert!(
                body.len() <= 40 && body.len().is_multiple_of(4),
                "{name}: {} bytes",
                body.len()
            );
            let records = body
                .chunks(4)
                .map(|record| u32::from_be_bytes(record.try_into().unwrap()));
            let mut parts = name.rsplitn(4, '-');
            let number = |part: Option<&str>| part.unwrap().parse::<u64>().unwrap();
            let (last, first) = (number(parts.next()), number(parts.next()));
            let shard = parts.next().unwrap().to_owned();
            shards
                .entry(shard)
                .or_default()
                .push((first, last, records.collect()));
        }
        let mut delivered = BTreeSet::new();
        for (shard, mut objects) in shards {
            objects.sort();
            let mut by_number = BTreeMap::new();
            for (first, last, records) in objects {
                assert!(
                    records.len() as u64 <= last - first + 1,
                    "{shard}: {first} to {last}"
                );
                assert!(records.is_sorted(), "{shard}: {records:?}");
                assert!(
                    records.iter().all(|record| *record < self.next),
                    "{shard}: {records:?}"
                );
                // Those of other records have other numbers, so what comes behind an object comes behind its records.
                for (at, record) in records.iter().enumerate() {
                    let number = first + at as u64;
                    let known = by_number.insert(number, *record);
                    assert!(known.is_none_or(|known| known == *record), "{shard}: {number}");
                }
                delivered.extend(records);
            }
            assert!(by_number.values().is_sorted(), "{shard}: {by_number:?}");
        }
        let missing: Vec<_> = self.acknowledged.difference(&delivered).collect();
        assert!(missing.is_empty(), "never delivered: {missing:?}");
    }
}

fn op() -> impl Strategy<Value = Op> {
    let loss = || prop::sample::select(LossMode::ALL.to_vec());
    prop_oneof![
        8 => (1..30_u8).prop_map(Op::Put),
        8 => Just(Op::Deliver),
        5 => (1..200_u64).prop_map(Op::Advance),
        2 => (0..6_usize).prop_map(Op::Split),
        2 => (0..6_usize).prop_map(Op::Merge),
        1 => Just(Op::Expire),
        2 => Just(Op::Maintain),
        1 => prop::option::weighted(0.7, 0..3_u8).prop_map(Op::Encrypt),
        1 => Just(Op::Reopen),
        2 => loss().prop_map(Op::Crash),
        4 => (1..60_u64, loss()).prop_map(|(calls, mode)| Op::CrashIn(calls, mode)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_objects_have_all_records_and_nothing_else(
        seed in any::<u64>(),
        ops in prop::collection::vec(op(), 1..50),
    ) {
        let _case = Case::begin(|| format!("seed {seed}: {ops:?}"));
        let mut world = World::new(seed);
        ops.iter().for_each(|op| world.run(op));
        world.finish();
    }
}

#[test]
fn a_crash_in_any_call_of_a_delivery_loses_nothing() {
    let scenario = [
        Op::Put(25),
        Op::Deliver,
        Op::Advance(300),
        Op::Encrypt(Some(0)),
        Op::Put(5),
        Op::Deliver,
        Op::Split(0),
        Op::Put(7),
        Op::Encrypt(Some(1)),
        Op::Advance(300),
        Op::Deliver,
        Op::Merge(1),
        Op::Put(3),
        Op::Reopen,
        Op::Advance(300),
        Op::Deliver,
    ];
    for mode in [LossMode::LoseAll, LossMode::Random, LossMode::KeepAll] {
        for call in 1.. {
            let _case = Case::begin(|| format!("a crash in call {call}, {mode:?}"));
            let mut world = World::new(call);
            world.run(&Op::CrashIn(call, mode));
            let before = world.machine.disk.clone();
            scenario.iter().for_each(|op| world.run(op));
            let has_stopped = before.is_frozen();
            world.finish();
            if !has_stopped {
                break;
            }
        }
    }
}

/// The objects have the records as they were put, and no file of the store has any of their bytes.
#[test]
fn a_crash_in_any_call_of_a_delivery_of_an_encrypted_stream_leaves_no_secret() {
    const CALLS_BETWEEN: usize = 3;
    let secret = |id: u32| [&id.to_be_bytes(), SECRET].concat();
    for mode in [LossMode::LoseAll, LossMode::KeepAll] {
        for call in (1..).step_by(CALLS_BETWEEN) {
            let _case = Case::begin(|| format!("a crash in call {call}, {mode:?}"));
            let mut world = World::new(call);
            world.machine.encrypt(Some(2)).unwrap();
            let stream = world.stream().unwrap();
            for id in 0..8 {
                stream.put(&format!("key-{id}"), &secret(id)).unwrap();
            }
            drop(stream);
            world.machine.advance(FRESHNESS_SECONDS);
            world.run(&Op::CrashIn(call, mode));
            let before = world.machine.disk.clone();
            world.run(&Op::Deliver);
            let has_stopped = before.is_frozen();
            world.machine.disk.faults().clear();
            world.machine.advance(FRESHNESS_SECONDS);
            world.deliver();
            let rot = world.machine.disk.rot();
            let mut delivered = BTreeSet::new();
            for (path, _) in rot.files() {
                let bytes = rot.read(&path).unwrap();
                let mut found = bytes.windows(SECRET.len()).enumerate();
                let is_object = path.starts_with(BUCKETS);
                assert!(
                    is_object || found.all(|(_, window)| window != SECRET),
                    "{}",
                    path.display()
                );
                if is_object && !path.to_string_lossy().ends_with(".partial") {
                    let records = bytes.chunks(4 + SECRET.len());
                    delivered
                        .extend(records.map(|record| u32::from_be_bytes(record[..4].try_into().unwrap())));
                }
            }
            assert_eq!(delivered, (0..8).collect());
            if !has_stopped {
                break;
            }
        }
    }
}

/// A delivery that a full disk has stopped goes on once there is room.
#[test]
fn a_full_disk_delays_a_delivery() {
    let mut world = World::new(3);
    let used = world.machine.disk.used_bytes();
    for id in 0..50 {
        world.put().map_err(|_| id).unwrap();
    }
    world.machine.advance(FRESHNESS_SECONDS);
    world.machine.disk.set_capacity(used);
    let delivery = world.delivery();
    assert_eq!(delivery.deliver_due(), 0);
    let channel = world.stream().unwrap().channel("all").unwrap();
    let problem = delivery.problem(&channel).unwrap();
    assert!(
        problem
            .error
            .to_string()
            .starts_with("cannot put an object in bucket archive"),
        "{problem:?}"
    );
    world.machine.disk.set_capacity(u64::MAX);
    assert!(delivery.deliver_due() > 0);
    assert!(delivery.problem(&channel).is_none());
    world.finish();
}

/// A place that keeps only the number of objects it was given.
#[derive(Clone, Debug, Default)]
struct Counting(Arc<AtomicUsize>);

impl Bucket for Counting {
    fn check(&self, _: &Destination) -> Result<(), BucketError> {
        Ok(())
    }

    fn put(&self, _: Object) -> Result<(), BucketError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// A delivery that cannot be noted is noted later, and its records are not delivered again meanwhile.
#[test]
fn a_full_store_has_no_object_put_twice() {
    let mut world = World::new(3);
    for _ in 0..5 {
        world.put().unwrap();
    }
    world.machine.advance(FRESHNESS_SECONDS);
    let counting = Counting::default();
    let delivery = Delivery::new(
        world.machine.store(),
        counting.clone(),
        DeliveryOptions::default(),
    );
    world
        .machine
        .disk
        .faults()
        .on("MANIFEST")
        .fail_from_nth(Calls::ALL, 1, std::io::ErrorKind::StorageFull);
    let puts = |counting: &Counting| counting.0.load(Ordering::Relaxed);
    delivery.deliver_due();
    let put = puts(&counting);
    assert!(put > 0);
    let channel = world.stream().unwrap().channel("all").unwrap();
    assert!(delivery.problem(&channel).is_some());
    for _ in 0..5 {
        world.machine.advance(FRESHNESS_SECONDS);
        delivery.deliver_due();
    }
    assert_eq!(puts(&counting), put);
    world.machine.disk.faults().clear();
}

/// Records in front of damage are delivered, and so are the children of a shard that cannot be read to its end.
#[test]
fn damage_holds_up_only_what_is_behind_it() {
    let mut world = World::new(4);
    let stream = world.stream().unwrap();
    let first = |id: u32| {
        let record = id.to_be_bytes();
        let put = PutRecord::new("key", &record).explicit_hash_key(HashKey::MIN);
        stream.put_record(&put).unwrap();
    };
    first(0);
    first(1);
    let large = vec![7; 8_000];
    stream
        .put_record(&PutRecord::new("key", &large).explicit_hash_key(HashKey::MIN))
        .unwrap();
    first(2);
    let shard = stream.shards(&ShardFilter::AtLatest).unwrap()[0].id;
    stream.split_shard(shard, HashKey::new(1 << 125)).unwrap();
    first(3);
    drop(stream);
    world.delivery = None;
    world.machine.close().unwrap();
    // The large record is found by its bytes.
    let rot = world.machine.disk.rot();
    let mut found = 0;
    for (path, _) in rot.files() {
        let bytes = rot.read(&path).unwrap();
        let large = bytes
            .windows(1_000)
            .position(|window| window.iter().all(|byte| *byte == 7));
        if let Some(at) = large.filter(|_| path.to_string_lossy().contains("streams")) {
            rot.flip_bit(&path, at as u64 + 10, 3).unwrap();
            found += 1;
        }
    }
    assert_eq!(found, 1);
    world.machine.open().unwrap();
    world.begin_delivery();
    world.machine.advance(FRESHNESS_SECONDS);
    let delivery = world.delivery();
    assert_eq!(delivery.deliver_due(), 2);
    let channel = world.stream().unwrap().channel("all").unwrap();
    let problem = delivery.problem(&channel).unwrap();
    let is_damage = matches!(&problem.error, DeliveryError::Store(Error::Corrupt { .. }));
    assert!(is_damage, "{problem:?}");
    let mut delivered: Vec<_> = rot
        .files()
        .iter()
        .filter(|(path, _)| path.starts_with(BUCKETS))
        .map(|(path, _)| rot.read(path).unwrap())
        .collect();
    delivered.sort();
    assert_eq!(delivered, [vec![0, 0, 0, 0, 0, 0, 0, 1], vec![0, 0, 0, 3]]);
}
