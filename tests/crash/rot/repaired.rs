//! Random kills, rots and repairs. `verify` never reports a store as sound if an acknowledged record is lost, and never
//! reports a sound store as damaged, in use or not. A repair loses exactly what its plan says. Half of the stores have
//! encrypted streams; `verify` and `repair` never have the keys.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anabranch::inspect::{
    DumpItem, DumpOptions, DumpWhat, Inspection, Loss, RepairAction, RepairPlan, Verification,
};
use anabranch::sim::{Calls, LossMode, SimDisk};
use anabranch::{
    HashKey, ManualClock, PutRecord, RecordNumber, SequenceNumber, ShardFilter, ShardId, StartingPosition,
    Store, StoreOptions, Stream, StreamId, Timestamp,
};

use crate::manifest::{MANIFEST_STRIPE, flip_in_both_copies};
use crate::model::{KEYS, Violation, key_ring};
use crate::watchdog::Case;

const DIRECTORY: &str = "store";

/// How many stores are made, damaged and repaired, unless `ANABRANCH_REPAIR_CASES` is set.
const CASES: u64 = 250;

/// One in this many stores loses each of its lists of edits in turn.
const CASES_FOR_EACH_LOST_EDIT: u64 = 16;

/// One in this many stores loses each pair of a list of edits and a segment's header page.
const CASES_FOR_EACH_LOST_EDIT_AND_HEADER: u64 = 64;

/// `ANABRANCH_REPAIR_CASES` many, from `ANABRANCH_REPAIR_FIRST_SEED` on, or from 0.
fn seeds() -> Range<u64> {
    let number = |name, otherwise| std::env::var(name).map_or(otherwise, |number| number.parse().unwrap());
    let first = number("ANABRANCH_REPAIR_FIRST_SEED", 0);
    first..first + number("ANABRANCH_REPAIR_CASES", CASES)
}

/// How often each of these has happened.
type Counts = BTreeMap<&'static str, u64>;

/// Of each of them there are `ANABRANCH_REPAIR_EACH` at least, if that is set, however many stores that takes.
const COUNTED: [&str; 5] = [KILLS, ROTS, ROTS_IN_USE, REPAIRS, SOUND_IN_USE];
const KILLS: &str = "kills";
const ROTS: &str = "rots";
const ROTS_IN_USE: &str = "rots beside the running store";
const REPAIRS: &str = "repairs";
const SOUND_IN_USE: &str = "verifications beside the running store";

#[test]
fn no_record_is_lost_silently_by_random_kills_rots_and_repairs() {
    let least = std::env::var("ANABRANCH_REPAIR_EACH").map_or(0, |least| least.parse().unwrap());
    let mut counts = Counts::new();
    let is_enough = |counts: &Counts| {
        COUNTED
            .iter()
            .all(|what| counts.get(what).copied() >= Some(least))
    };
    for seed in seeds().start.. {
        if !seeds().contains(&seed) && is_enough(&counts) {
            break;
        }
        let _case = Case::begin(|| format!("seed {seed}"));
        live(seed, &mut counts).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
    }
    println!("{counts:?}");
}

/// Each list of edits of some manifests is lost in both copies, one after the other.
#[test]
fn no_lost_edit_takes_a_record_along_silently() {
    let Range { start, end } = seeds();
    for seed in start..start + (end - start).div_ceil(CASES_FOR_EACH_LOST_EDIT) {
        let _case = Case::begin(|| format!("seed {seed}"));
        let mut chance = Chance::of(seed);
        let made_up = World::new(seed, &mut chance).and_then(|mut world| {
            let disk = world.make_up(&mut chance)?;
            Ok((world, disk))
        });
        let (world, disk) = made_up.unwrap_or_else(|what| panic!("seed {seed}: {what}"));
        for ((path, offset), edits) in manifest_frames(&disk) {
            // In the frame's body.
            let rot = Rot::BothCopies(path, offset + 40, 3);
            let disk = disk.image(LossMode::KeepAll);
            rot.apply(&disk);
            let checked = world.check_damaged(&disk, &rot, &mut chance);
            checked.unwrap_or_else(|what| panic!("seed {seed}, {rot:?}, {edits:?}: {what}"));
        }
    }
}

/// Each of these lists is lost, and the header page of each segment in turn rots as well. A lost edit shows by the
/// segment that it named; without its header page the segment does not show its log.
#[test]
pub fn no_lost_edit_takes_a_record_along_silently_where_a_header_page_rots_too() {
    let Range { start, end } = seeds();
    let cases = (end - start).div_ceil(CASES_FOR_EACH_LOST_EDIT_AND_HEADER);
    for seed in start..start + cases {
        let mut chance = Chance::of(seed);
        let made_up = World::new(seed, &mut chance).and_then(|mut world| {
            let disk = world.make_up(&mut chance)?;
            Ok((world, disk))
        });
        let (world, disk) = made_up.unwrap_or_else(|what| panic!("seed {seed}: {what}"));
        let files = disk.rot().files().into_iter().map(|(path, _)| path);
        let segments: Vec<_> = files
            .filter(|path| path.extension().is_some_and(|kind| kind == "log"))
            .filter(|path| !path.to_string_lossy().contains("/pool/"))
            .collect();
        for ((manifest, offset), edits) in manifest_frames(&disk) {
            for segment in &segments {
                let _case = Case::begin(|| format!("seed {seed}, {offset}, {}", segment.display()));
                let rot = Rot::EditAndHeader {
                    manifest: manifest.clone(),
                    edit: offset + 40,
                    segment: segment.clone(),
                    // A field, or one of the zeros.
                    byte: *chance.one_of(&[0, 8, 12, 17, 33, 41, 49, 57, 65, 73, 81, 85, 100, 2_000, 4_093]),
                    bit: chance.below(8) as u32,
                };
                let disk = disk.image(LossMode::KeepAll);
                rot.apply(&disk);
                let checked = world.check_damaged(&disk, &rot, &mut chance);
                checked.unwrap_or_else(|what| panic!("seed {seed}, {rot:?}, {edits:?}: {what}"));
            }
        }
    }
}

/// The place of each list of edits except the first, without which no store opens.
fn manifest_frames(disk: &SimDisk) -> BTreeMap<(PathBuf, u64), Vec<String>> {
    let mut frames = BTreeMap::<_, Vec<_>>::new();
    let options = DumpOptions::of(DumpWhat::Manifest);
    let dumped = inspection(disk).dump(&options, &mut |item| {
        if let DumpItem::Edit(edit) = item
            && edit.frame > 0
        {
            let edits = frames.entry((edit.path.clone(), edit.offset)).or_default();
            edits.push(format!("{:?}", edit.edit));
        }
        ControlFlow::Continue(())
    });
    dumped.unwrap();
    frames
}

/// A made-up program leaves a store, which rots and is repaired, and goes on with it, until it needs no repair or cannot be
/// repaired. Counts what came of it.
fn live(seed: u64, counts: &mut Counts) -> Result<(), Violation> {
    const MOST_ROTS: usize = 5;
    let mut chance = Chance::of(seed);
    let mut world = World::new(seed, &mut chance)?;
    let mut beside = Chance::of(!seed);
    let mut rots = Vec::new();
    loop {
        world
            .do_this_and_that(&mut chance)
            .and_then(|()| match beside.below(2) {
                // Which makes all durable that was not synced.
                0 => world.rot_in_use(&mut beside),
                _ => Ok(()),
            })
            .map_err(|what| format!("after {rots:?}: {what}"))?;
        let disk = world
            .leave_sound(&mut chance)
            .map_err(|what| format!("after {rots:?}: {what}"))?;
        rots.push(Rot::draw(&disk, &mut chance));
        let rot = &rots[rots.len() - 1];
        rot.apply(&disk);
        let outcome = world
            .check_damaged(&disk, rot, &mut chance)
            .map_err(|what| format!("{rots:?}: {what}"))?;
        let is_repaired = outcome.starts_with("repaired");
        *world.counts.entry(ROTS).or_default() += 1;
        *world.counts.entry(REPAIRS).or_default() += u64::from(is_repaired);
        *world.counts.entry(outcome).or_default() += 1;
        if !is_repaired || rots.len() == MOST_ROTS {
            for (what, times) in world.counts {
                *counts.entry(what).or_default() += times;
            }
            return Ok(());
        }
        world
            .go_on_with(disk)
            .map_err(|what| format!("after {rots:?}: {what}"))?;
    }
}

/// A generator of numbers, so that a seed always gives the same case.
pub struct Chance(u64);

impl Chance {
    pub fn of(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    pub fn one_of<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// A stream's name, one of its shards, and a record's number there.
type Place = (String, ShardId, RecordNumber);

/// A store and the acknowledgements.
struct World {
    disk: SimDisk,
    clock: ManualClock,
    journaled: usize,
    is_encrypted: bool,
    store: Option<Store>,
    ids: BTreeMap<String, StreamId>,
    acknowledged: BTreeMap<Place, Vec<u8>>,
    /// Commits that are the last of their logs, as long as the end of the log is not recorded.
    undecidable: BTreeMap<(String, ShardId), BTreeSet<Place>>,
    streams_made: u32,
    /// All numbers that were ever acknowledged, with the names of their streams.
    numbers: BTreeSet<(String, SequenceNumber)>,
    counts: Counts,
}

impl World {
    fn new(seed: u64, chance: &mut Chance) -> Result<Self, Violation> {
        let mut world = Self {
            disk: SimDisk::new(seed),
            clock: ManualClock::starting_at(Timestamp::from_millis(1_700_000_000_000)),
            journaled: *chance.one_of(&[1, 1, 2, usize::MAX]),
            is_encrypted: seed % 2 == 1,
            store: None,
            ids: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            undecidable: BTreeMap::new(),
            streams_made: 0,
            numbers: BTreeSet::new(),
            counts: Counts::new(),
        };
        world.open()?;
        world.create(chance)?;
        Ok(world)
    }

    /// Does random operations, and leaves a store that is sound and has all acknowledged records.
    fn make_up(&mut self, chance: &mut Chance) -> Result<SimDisk, Violation> {
        self.do_this_and_that(chance)?;
        self.leave_sound(chance)
    }

    fn do_this_and_that(&mut self, chance: &mut Chance) -> Result<(), Violation> {
        (0..chance.below(30) + 5).try_for_each(|_| self.step(chance))
    }

    /// While the store is open one bit rots, and is put right again. Where `verify` says sound meanwhile, who opens the store
    /// then has all of it.
    fn rot_in_use(&mut self, chance: &mut Chance) -> Result<(), Violation> {
        let rot = Rot::draw(&self.disk, chance);
        let Rot::Flip(path, offset, bit) = &rot else {
            return Ok(());
        };
        rot.apply(&self.disk);
        let verification = verify(&self.disk)?;
        let left = self.disk.image(LossMode::KeepAll);
        self.disk.rot().flip_bit(path, *offset, *bit).unwrap();
        *self.counts.entry(ROTS_IN_USE).or_default() += 1;
        if !verification.is_sound() {
            return Ok(());
        }
        let what = "said to be sound in use";
        let all = read_all(&left, self).map_err(|error| format!("{rot:?}: {what}: {error}"))?;
        self.check_read(&all, &self.may_pass_for_torn(&rot), what)
            .map_err(|error| format!("{rot:?}: {error}"))
    }

    fn leave_sound(&mut self, chance: &mut Chance) -> Result<SimDisk, Violation> {
        let disk = self.leave(chance)?;
        must_be_sound(&disk, "before it rots")?;
        let all = read_all(&disk, self)?;
        self.check_read(&all, &BTreeSet::new(), "before it rots")?;
        Ok(disk)
    }

    /// The next opener opens a store that was repaired, and closed. Lost records are not expected any more.
    fn go_on_with(&mut self, disk: SimDisk) -> Result<(), Violation> {
        self.store = None;
        self.disk = disk;
        let all = read_all(&self.disk, self)?;
        self.acknowledged
            .retain(|place, _| all.records.contains_key(place));
        self.undecidable.clear();
        self.open()?;
        let store = self.store().clone();
        self.ids
            .retain(|name, id| store.stream(name).is_ok_and(|stream| stream.id() == *id));
        match self.ids.is_empty() {
            true => self.create(&mut Chance::of(0)),
            false => Ok(()),
        }
    }

    fn options(&self, disk: &SimDisk) -> StoreOptions {
        StoreOptions::new()
            .segment_bytes(128 * 1024)
            .keeper(false)
            .flusher_threads(1)
            .min_journaled_shards(self.journaled)
            .clock(self.clock.clone())
            .keys(key_ring())
            .disk(disk.clone())
    }

    fn open(&mut self) -> Result<(), Violation> {
        let opened = self.options(&self.disk).open(DIRECTORY);
        self.store = Some(opened.map_err(|error| format!("it does not open: {error}"))?);
        Ok(())
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn stream(&self, chance: &mut Chance) -> Option<Stream> {
        let names: Vec<_> = self.ids.keys().collect();
        let name = names.get(chance.below(names.len()))?;
        Some(self.store().stream(name).unwrap())
    }

    fn step(&mut self, chance: &mut Chance) -> Result<(), Violation> {
        match chance.below(24) {
            0 => self.create(chance),
            1 => {
                self.split(chance);
                Ok(())
            }
            2 => {
                self.merge(chance);
                Ok(())
            }
            3 if self.ids.len() > 1 => {
                self.delete(chance);
                Ok(())
            }
            4 => self.reopen(),
            5 => self.kill(LossMode::KeepAll),
            6 => self.kill(*chance.one_of(&[LossMode::LoseAll, LossMode::Random])),
            7 => self.rest(),
            8 => {
                *self.counts.entry(SOUND_IN_USE).or_default() += 1;
                must_be_sound(&self.disk, "in use")
            }
            9 => self.save_checkpoint(chance),
            10 if self.is_encrypted => self.encrypt_otherwise(chance),
            _ => self.put(chance),
        }
    }

    fn create(&mut self, chance: &mut Chance) -> Result<(), Violation> {
        self.streams_made += 1;
        let name = format!("stream-{}", self.streams_made);
        let stream = self
            .store()
            .create_stream(&name, 1 + chance.below(3) as u32)
            .map_err(|error| error.to_string())?;
        self.ids.insert(name, stream.id());
        match self.is_encrypted {
            true => encrypt(&stream, KEYS[0]),
            false => Ok(()),
        }
    }

    /// Encrypts with another key from now on.
    fn encrypt_otherwise(&self, chance: &mut Chance) -> Result<(), Violation> {
        let key = *chance.one_of(&KEYS);
        self.stream(chance).map_or(Ok(()), |stream| encrypt(&stream, key))
    }

    fn split(&mut self, chance: &mut Chance) {
        let Some(stream) = self.stream(chance) else { return };
        let open = stream.shards(&ShardFilter::AtLatest).unwrap();
        let shard = chance.one_of(&open);
        let range = shard.hash_key_range;
        let middle = range.start().value() / 2 + range.end().value() / 2;
        let _ = stream.split_shard(shard.id, HashKey::new(middle));
        self.forget_undecidable(stream.name(), shard.id);
    }

    fn merge(&mut self, chance: &mut Chance) {
        let Some(stream) = self.stream(chance) else { return };
        let mut open = stream.shards(&ShardFilter::AtLatest).unwrap();
        open.sort_by_key(|shard| shard.hash_key_range.start());
        if open.len() < 2 {
            return;
        }
        let first = chance.below(open.len() - 1);
        let (a, b) = (open[first].id, open[first + 1].id);
        if stream.merge_shards(a, b).is_ok() {
            self.forget_undecidable(stream.name(), a);
            self.forget_undecidable(stream.name(), b);
        }
    }

    /// Notes that the end of a shard's log is recorded.
    fn forget_undecidable(&mut self, stream: &str, shard: ShardId) {
        self.undecidable.remove(&(stream.to_owned(), shard));
    }

    fn delete(&mut self, chance: &mut Chance) {
        let Some(stream) = self.stream(chance) else { return };
        let name = stream.name().to_owned();
        stream.delete().unwrap();
        self.ids.remove(&name);
        self.acknowledged.retain(|(of, _, _), _| *of != name);
        self.undecidable.retain(|(of, _), _| *of != name);
    }

    fn reopen(&mut self) -> Result<(), Violation> {
        self.store().close().map_err(|error| error.to_string())?;
        self.undecidable.clear();
        self.store = None;
        must_be_sound(&self.disk, "closed")?;
        self.open()
    }

    fn kill(&mut self, mode: LossMode) -> Result<(), Violation> {
        let disk = self.disk.crash(mode);
        *self.counts.entry(KILLS).or_default() += 1;
        self.store = None;
        self.disk = disk;
        must_be_sound(&self.disk, "killed")?;
        self.open()
    }

    /// Lets all logs be idle until their ends are recorded.
    fn rest(&mut self) -> Result<(), Violation> {
        for _ in 0..3 {
            self.store().maintain().map_err(|error| error.to_string())?;
            self.clock.advance(Duration::from_secs(6));
        }
        self.undecidable.clear();
        Ok(())
    }

    fn save_checkpoint(&self, chance: &mut Chance) -> Result<(), Violation> {
        let Some(stream) = self.stream(chance) else {
            return Ok(());
        };
        let mut reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
        let _ = reader.next();
        stream
            .reset_checkpoint("reader", &reader.checkpoint())
            .map_err(|error| error.to_string())
    }

    fn put(&mut self, chance: &mut Chance) -> Result<(), Violation> {
        let Some(stream) = self.stream(chance) else {
            return Ok(());
        };
        let bytes = *chance.one_of(&[10, 100, 1_000, 9_000, 30_000]);
        let count = *chance.one_of(&[1, 1, 2, 6]);
        let datas: Vec<_> = (0..count).map(|_| vec![chance.next() as u8; bytes]).collect();
        let puts: Vec<_> = datas
            .iter()
            .map(|data| {
                let key = HashKey::new(u128::from(chance.next()) << 75);
                PutRecord::new("key", data).explicit_hash_key(key)
            })
            .collect();
        let outcomes = stream.put_records(&puts).map_err(|error| error.to_string())?;
        let mut last: BTreeMap<(String, ShardId), BTreeSet<Place>> = BTreeMap::new();
        for (data, outcome) in datas.into_iter().zip(outcomes) {
            let number = outcome.sequence_number.record_number();
            let place = (stream.name().to_owned(), outcome.shard_id, number);
            last.entry((stream.name().to_owned(), outcome.shard_id))
                .or_default()
                .insert(place.clone());
            self.acknowledged.insert(place, data);
            self.numbers
                .insert((stream.name().to_owned(), outcome.sequence_number));
        }
        self.undecidable.extend(last);
        Ok(())
    }

    /// Ends the program in one of several ways.
    fn leave(&mut self, chance: &mut Chance) -> Result<SimDisk, Violation> {
        let way = chance.below(4);
        *self.counts.entry(KILLS).or_default() += u64::from(way > 0);
        match way {
            0 => {
                self.store().close().map_err(|error| error.to_string())?;
                self.undecidable.clear();
                self.store = None;
                Ok(self.disk.image(LossMode::KeepAll))
            }
            1 => Ok(self.disk.crash(LossMode::LoseAll)),
            _ => Ok(self.disk.crash(LossMode::KeepAll)),
        }
    }

    fn may_pass_for_torn(&self, rot: &Rot) -> BTreeSet<Place> {
        match rot.is_in_logs() {
            true => self.undecidable.values().flatten().cloned().collect(),
            false => BTreeSet::new(),
        }
    }

    fn check_damaged(
        &self,
        disk: &SimDisk,
        rot: &Rot,
        chance: &mut Chance,
    ) -> Result<&'static str, Violation> {
        let may_pass_for_torn = self.may_pass_for_torn(rot);
        let verification = verify(disk)?;
        // Opening the store without a repair must give no fewer records, and no others.
        let opened = disk.image(LossMode::KeepAll);
        let without_repair = read_all(&opened, self);
        if verification.is_sound() {
            let all = without_repair.map_err(|what| format!("it is said to be sound: {what}"))?;
            self.check_read(&all, &may_pass_for_torn, "said to be sound")?;
            return Ok("sound");
        }
        if let Ok(read) = &without_repair {
            let mut may_be_missing = may_pass_for_torn.clone();
            may_be_missing.extend(self.of_shards(&read.failed));
            self.check_read(read, &may_be_missing, "not repaired")?;
        }
        if rot.is_of_one_copy() {
            let all = without_repair.map_err(|what| format!("one copy of the manifest rots: {what}"))?;
            self.check_read(&all, &BTreeSet::new(), "opened with one copy of the manifest")?;
        }
        self.check_repair(disk, rot, may_pass_for_torn, chance)
    }

    fn check_repair(
        &self,
        disk: &SimDisk,
        rot: &Rot,
        mut may_be_missing: BTreeSet<Place>,
        chance: &mut Chance,
    ) -> Result<&'static str, Violation> {
        let plan = plan(disk)?;
        let is_double = matches!(rot, Rot::BothCopies(..) | Rot::EditAndHeader { .. });
        if !plan.hopeless.is_empty() {
            // Without a snapshot a repair has no base, and changes nothing.
            let before = contents(disk);
            let hopeless = format!("hopeless: {:?}", plan.hopeless);
            let is_left_alone = plan.apply().is_ok_and(|repaired| repaired.is_none());
            return match is_double && is_left_alone && contents(disk) == before {
                true => Ok("hopeless"),
                false => Err(hopeless),
            };
        }
        if plan.sets_aside() && !is_double {
            return Err(format!("it sets aside: {:?}", plan.steps));
        }
        let (before, sets_aside) = (contents(disk), plan.sets_aside());
        let refused = match sets_aside {
            true => plan.apply().is_err() && contents(disk) == before,
            false => {
                drop(plan);
                true
            }
        };
        if !refused {
            return Err("it sets segments aside although nobody said so".to_owned());
        }
        let plan = self::plan(disk)?;
        may_be_missing.extend(self.said_to_be_lost(&plan));
        let steps = format!("{:?}", plan.steps);
        self.check_interrupted_repair(disk, &may_be_missing, chance)
            .map_err(|what| format!("{what}; the plan was {steps}"))?;
        let repaired = plan
            .apply_and_set_aside()
            .map_err(|error| error.to_string())?
            .ok_or("verify finds damage, and repair nothing to do")?;
        if !repaired.verification.is_sound() {
            return Err(format!("still damaged: {:?}", repaired.verification.findings));
        }
        must_be_sound(disk, "repaired")?;
        let all = read_all(disk, self)?;
        if let Some(shard) = all.failed.first() {
            return Err(format!("{shard:?} is repaired and cannot be read"));
        }
        self.check_read(&all, &may_be_missing, "repaired")
            .map_err(|what| format!("{what}; the plan was {steps}"))?;
        self.check_puts(disk)?;
        Ok(match is_double {
            true => "repaired, both copies damaged",
            false => "repaired",
        })
    }

    /// The machine stops in some call of a repair, or just behind the last. The store is then repaired again, and no
    /// more is lost than the first plan said.
    fn check_interrupted_repair(
        &self,
        disk: &SimDisk,
        may_be_missing: &BTreeSet<Place>,
        chance: &mut Chance,
    ) -> Result<(), Violation> {
        const MOST_CALLS: usize = 60;
        let disk = disk.image(LossMode::KeepAll);
        let plan = plan(&disk)?;
        let call = 1 + chance.below(MOST_CALLS) as u64;
        let mode = *chance.one_of(&LossMode::ALL);
        disk.faults().freeze_nth(Calls::CHANGING, call);
        let repaired = plan.apply_and_set_aside();
        let found = disk.crash(mode);
        let when = format!("repaired again after a crash in call {call}, {mode:?}");
        match repaired {
            Ok(_) => must_be_sound(&found, "repaired before power was lost")?,
            Err(_) => {
                let plan = self::plan(&found).map_err(|what| format!("{when}: {what}"))?;
                if !plan.hopeless.is_empty() {
                    return Err(format!("{when}: hopeless: {:?}", plan.hopeless));
                }
                plan.apply_and_set_aside()
                    .map_err(|error| format!("{when}: {error}"))?;
                must_be_sound(&found, &when)?;
            }
        }
        let all = read_all(&found, self).map_err(|what| format!("{when}: {what}"))?;
        self.check_read(&all, may_be_missing, &when)?;
        self.check_puts(&found).map_err(|what| format!("{when}: {what}"))
    }

    /// The records that a plan gives as lost or as no longer served.
    fn said_to_be_lost(&self, plan: &RepairPlan) -> BTreeSet<Place> {
        let mut lost = BTreeSet::new();
        for step in &plan.steps {
            for place in self.acknowledged.keys() {
                let is_of = step.log.as_ref().is_some_and(|log| {
                    self.ids.get(&place.0).copied() == log.stream() && log.shard() == Some(place.1)
                });
                let is_set_aside = matches!(step.action, RepairAction::SetAside { .. });
                let is_lost = step.loses.iter().any(|loss| match loss {
                    Loss::Records(lost) => {
                        is_of && lost.from <= place.2 && lost.to.is_none_or(|to| place.2 < to)
                    }
                    Loss::LastRecords => true,
                    _ => false,
                });
                if is_lost || is_set_aside && is_of {
                    lost.insert(place.clone());
                }
            }
        }
        lost
    }

    fn of_shards(&self, shards: &[(String, ShardId)]) -> BTreeSet<Place> {
        let of = |(name, shard, _): &Place| shards.contains(&(name.clone(), *shard));
        self.acknowledged
            .keys()
            .filter(|place| of(place))
            .cloned()
            .collect()
    }

    fn check_read(
        &self,
        all: &ReadAll,
        may_be_missing: &BTreeSet<Place>,
        when: &str,
    ) -> Result<(), Violation> {
        for (place, data) in &self.acknowledged {
            match all.records.get(place) {
                Some(read) if read == data => {}
                Some(_) => return Err(format!("{when}: {place:?} is another record")),
                None if may_be_missing.contains(place) => {}
                None => return Err(format!("{when}: {place:?} is missing")),
            }
        }
        Ok(())
    }

    /// Checks that every open shard takes a record, with a number that no other record got.
    fn check_puts(&self, disk: &SimDisk) -> Result<(), Violation> {
        self.check_new_numbers(&disk.image(LossMode::KeepAll))?;
        let store = self
            .options(disk)
            .open(DIRECTORY)
            .map_err(|error| error.to_string())?;
        for name in self.ids.keys() {
            let Ok(stream) = store.stream(name) else { continue };
            self.put_to_each(&stream)?;
        }
        store.close().map_err(|error| error.to_string())?;
        must_be_sound(disk, "repaired, written to and closed")
    }

    /// Checks that new shards, and streams with the names of lost ones, give no number that was given before.
    fn check_new_numbers(&self, disk: &SimDisk) -> Result<(), Violation> {
        let store = self
            .options(disk)
            .open(DIRECTORY)
            .map_err(|error| error.to_string())?;
        for name in self.ids.keys() {
            let stream = store.stream(name).or_else(|_| store.create_stream(name, 3));
            let stream = stream.map_err(|error| error.to_string())?;
            let shards = stream
                .shards(&ShardFilter::AtLatest)
                .map_err(|error| error.to_string())?;
            let range = shards[0].hash_key_range;
            let middle = HashKey::new(range.start().value() / 2 + range.end().value() / 2);
            // A shard of the smallest size cannot be split.
            let _ = stream.split_shard(shards[0].id, middle);
            self.put_to_each(&stream)?;
        }
        store.close().map_err(|error| error.to_string())?;
        must_be_sound(disk, "repaired, resharded and closed")
    }

    fn put_to_each(&self, stream: &Stream) -> Result<(), Violation> {
        let shards = stream
            .shards(&ShardFilter::AtLatest)
            .map_err(|error| error.to_string())?;
        shards
            .iter()
            .try_for_each(|shard| self.check_put(stream, shard.hash_key_range.start()))
    }

    fn check_put(&self, stream: &Stream, key: HashKey) -> Result<(), Violation> {
        let put = PutRecord::new("key", b"more").explicit_hash_key(key);
        let put = stream
            .put_record(&put)
            .map_err(|error| format!("{}: {error}", stream.name()))?;
        let number = put.sequence_number;
        match self.numbers.contains(&(stream.name().to_owned(), number)) {
            true => Err(format!("the number {number} of {} is given again", put.shard_id)),
            false => Ok(()),
        }
    }
}

fn encrypt(stream: &Stream, key: &str) -> Result<(), Violation> {
    stream.start_encryption(key).map_err(|error| error.to_string())
}

/// All records of a store, and the shards that could not be read to their end.
struct ReadAll {
    records: BTreeMap<Place, Vec<u8>>,
    failed: Vec<(String, ShardId)>,
}

fn read_all(disk: &SimDisk, world: &World) -> Result<ReadAll, Violation> {
    let disk = disk.image(LossMode::KeepAll);
    let store = world
        .options(&disk)
        .open(DIRECTORY)
        .map_err(|error| format!("it does not open: {error}"))?;
    let mut all = ReadAll {
        records: BTreeMap::new(),
        failed: Vec::new(),
    };
    for (name, shard) in super::outcome::read_store(&store) {
        let records = shard.records.into_iter().map(|record| {
            let number = record.sequence_number.record_number();
            ((name.0.clone(), name.1, number), record.data.to_vec())
        });
        all.records.extend(records);
        if shard.error.is_some() {
            all.failed.push(name);
        }
    }
    Ok(all)
}

fn inspection(disk: &SimDisk) -> Inspection {
    Inspection::of(DIRECTORY).disk(disk.clone())
}

fn verify(disk: &SimDisk) -> Result<Verification, Violation> {
    inspection(disk)
        .verify(&mut |_| {})
        .map_err(|error| format!("it cannot be verified: {error}"))
}

fn must_be_sound(disk: &SimDisk, when: &str) -> Result<(), Violation> {
    let verification = verify(disk)?;
    match verification.is_sound() {
        true => Ok(()),
        false => Err(format!("{when}: {:?}", verification.findings)),
    }
}

fn plan(disk: &SimDisk) -> Result<RepairPlan, Violation> {
    inspection(disk)
        .plan_repair(&mut |_| {})
        .map_err(|error| format!("no plan: {error}"))
}

/// Every file but the lock, which the planner of a repair takes.
fn contents(disk: &SimDisk) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = disk
        .rot()
        .files()
        .into_iter()
        .filter(|(path, _)| !path.ends_with("LOCK"));
    files
        .map(|(path, _)| (path.clone(), disk.rot().read(&path).unwrap()))
        .collect()
}

/// Damage to a store that no program has open.
#[derive(Debug)]
enum Rot {
    Flip(PathBuf, u64, u32),
    /// The same bit of both copies of the manifest.
    BothCopies(PathBuf, u64, u32),
    Cut(PathBuf, u64),
    /// A byte of both copies of the manifest, and one of a segment's header page.
    EditAndHeader {
        manifest: PathBuf,
        edit: u64,
        segment: PathBuf,
        byte: u64,
        bit: u32,
    },
}

impl Rot {
    fn draw(disk: &SimDisk, chance: &mut Chance) -> Self {
        let files = disk.rot().files().into_iter().filter(|(_, length)| *length > 0);
        let files: Vec<_> = files.map(|(path, _)| path).collect();
        let of_kind = |kind: &str| -> Vec<_> {
            let is_of = |path: &&PathBuf| path.to_string_lossy().contains(kind);
            files.iter().filter(is_of).collect()
        };
        let kinds: [&str; 7] = [
            "CURRENT", "MANIFEST", "MANIFEST", "journal/", "journal/", "streams/", "streams/",
        ];
        let mut candidates = of_kind(kinds[chance.below(kinds.len())]);
        if candidates.is_empty() {
            candidates = of_kind("MANIFEST");
        }
        let path = (*chance.one_of(&candidates)).clone();
        let bytes = disk.rot().read(&path).unwrap();
        let bit = chance.below(8) as u32;
        let is_manifest = path.to_string_lossy().contains("MANIFEST");
        if is_manifest {
            let used = bytes[..MANIFEST_STRIPE]
                .iter()
                .rposition(|byte| *byte != 0)
                .unwrap()
                + 1;
            let offset = chance.below(used);
            return match chance.below(4) {
                0 => Self::BothCopies(path, offset as u64, bit),
                1 => Self::Flip(path, (MANIFEST_STRIPE + offset) as u64, bit),
                _ => Self::Flip(path, offset as u64, bit),
            };
        }
        let used = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(1, |last| last + 1);
        let is_segment = path.extension().is_some_and(|kind| kind == "log");
        match chance.below(5) {
            0 if is_segment && !path.to_string_lossy().contains("journal/") => {
                Self::Cut(path, chance.below(used) as u64)
            }
            _ => Self::Flip(path, chance.below(used) as u64, bit),
        }
    }

    fn apply(&self, disk: &SimDisk) {
        let rot = disk.rot();
        match self {
            Self::Flip(path, offset, bit) => rot.flip_bit(path, *offset, *bit).unwrap(),
            Self::BothCopies(path, offset, bit) => {
                rot.flip_bit(path, *offset, *bit).unwrap();
                rot.flip_bit(path, MANIFEST_STRIPE as u64 + *offset, *bit)
                    .unwrap();
            }
            Self::Cut(path, length) => rot.set_len(path, *length).unwrap(),
            Self::EditAndHeader {
                manifest,
                edit,
                segment,
                byte,
                bit,
            } => {
                flip_in_both_copies(disk, manifest, *edit);
                rot.flip_bit(segment, *byte, *bit).unwrap();
            }
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Flip(path, ..) | Self::BothCopies(path, ..) | Self::Cut(path, _) => path,
            Self::EditAndHeader { manifest, .. } => manifest,
        }
    }

    /// Whether it may hit the last commit of a log.
    fn is_in_logs(&self) -> bool {
        self.path().extension().is_some_and(|kind| kind == "log")
    }

    fn is_of_one_copy(&self) -> bool {
        matches!(self, Self::Flip(path, ..) if path.to_string_lossy().contains("MANIFEST"))
    }
}
