//! A stream, and all that uses it: a queue, a consumer group, a reader that is always there, copies of the store.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anabranch::sim::{LossMode, SimDisk};
use anabranch::{
    Checkpoint, ConsumerGroup, Error, Member, MemberOptions, PutRecord, Queue, QueueOptions, QueueSettings,
    ReadLimit, Receipt, ReceiveOptions, Record, RecordNumber, ShardId, StartingPosition, Store, StoreOptions,
    Stream, StreamId, StreamReader,
};

use super::damage::{self, Rot};
use crate::machine::{DIRECTORY, Machine, STREAM, Stopped, stopped};
use crate::model::key_ring;
use crate::op::Fault;

const VISIBILITY_SECONDS: u64 = 30;
const NUMBER_BYTES: usize = 8;

#[derive(Clone, Debug)]
pub enum Op {
    Put {
        records: u8,
        bytes: usize,
    },
    /// The queue gives out so many records, and every second one is acknowledged.
    Receive(usize),
    /// The group's member is given so many records, and commits them.
    Poll(usize),
    /// The reader goes on.
    Follow(usize),
    /// What the reader was given is trimmed.
    TrimToReader,
    /// What the group has committed is trimmed.
    TrimToGroup,
    /// A snapshot is made, and opened.
    Copy,
    /// A snapshot is made, rots, and is repaired.
    CopyRots(Rot),
    Split(usize),
    Merge(usize),
    Encrypt(Option<u8>),
    /// The clock is wrong for some seconds, in which records are trimmed, and perhaps over a restart.
    Glitch {
        hours: u64,
        is_forward: bool,
        is_reopened: bool,
    },
    Pass(u64),
    Maintain,
    /// The stream is deleted, and made again under its name.
    Recreate,
    Look,
    Reopen,
    Crash(LossMode),
    CrashIn(u64, LossMode),
    /// A call fails, and the store goes on if it can.
    FailIn(u64, Fault),
    /// Until something is refused, the disk has so many bytes more.
    BeFull(u64),
    /// Until something is refused, so many files more can be open.
    RunOutOfFiles(usize),
    /// Power is lost, a call of the recovery fails, and power is lost again.
    FailRecovery(u64, Fault, LossMode),
}

/// What the store is like.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub compacts: bool,
    pub has_few_files: bool,
    pub journaled_from: usize,
    pub maps: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Done {
    #[default]
    No,
    Maybe,
    Yes,
}

/// What is known of a record of the stream.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    bytes: usize,
    is_acknowledged: bool,
    /// Where it is, if it was acknowledged.
    place: Option<(ShardId, RecordNumber)>,
    /// It was trimmed, or may have been.
    may_be_hidden: bool,
    of_queue: Done,
    of_group: Done,
}

type Step<T> = Result<T, Stopped>;

pub struct World {
    pub machine: Machine,
    settings: Settings,
    /// The stream that there is, and what was put to it.
    stream: Option<StreamId>,
    records: BTreeMap<u64, Known>,
    next: u64,
    /// Those of the last put that was acknowledged, and of later ones.
    last_put: BTreeSet<u64>,
    /// Those that were acknowledged last in each shard: its last commit, unless one followed that was not acknowledged.
    last_of_shards: BTreeMap<ShardId, BTreeSet<u64>>,
    reader: Option<(StreamReader, BTreeSet<u64>)>,
    member: Option<Member>,
    /// Of streams that had the name before.
    old_checkpoints: Vec<Checkpoint>,
    old_receipts: Vec<Receipt>,
    receipts: Vec<Receipt>,
    copies: u32,
    /// Whether room or descriptors were short since the machine began. A change that found none is tried again later.
    was_short: bool,
}

impl World {
    pub fn new(seed: u64, settings: Settings) -> Self {
        let disk = SimDisk::new(seed);
        settings.begin(&disk);
        let mut world = Self {
            machine: Machine::new(disk, settings.options()),
            settings,
            stream: None,
            records: BTreeMap::new(),
            next: 0,
            last_put: BTreeSet::new(),
            last_of_shards: BTreeMap::new(),
            reader: None,
            member: None,
            old_checkpoints: Vec::new(),
            old_receipts: Vec::new(),
            receipts: Vec::new(),
            copies: 0,
            was_short: false,
        };
        world.find_stream().unwrap();
        world
    }

    /// Does a step. A failure that was not made is a bug.
    pub fn run(&mut self, op: &Op) {
        let Err(Stopped(error)) = self.try_run(op) else {
            return;
        };
        let was_made = self.machine.has_failed() || self.was_short;
        assert!(was_made, "{op:?} failed: {error}");
        assert!(
            !matches!(error, Error::Corrupt { .. }),
            "{op:?} found damage: {error}"
        );
        match self.machine.goes_on_after(&error) && !matches!(op, Op::Recreate) {
            true => end_faults(&self.machine.disk),
            false => self.crash(self.machine.stop()),
        }
    }

    fn try_run(&mut self, op: &Op) -> Step<()> {
        match op {
            Op::Put { records, bytes } => self.put(*records, *bytes),
            Op::Receive(records) => self.receive(*records, 2).map(drop),
            Op::Poll(records) => self.poll(*records).map(drop),
            Op::Follow(records) => self.follow(*records),
            Op::TrimToReader => self.trim_to_reader(),
            Op::TrimToGroup => self.trim_to_group(),
            Op::Copy => self.copy(),
            Op::CopyRots(rot) => self.copy_rots(rot),
            Op::Split(nth) => self.machine.split(*nth),
            Op::Merge(nth) => self.machine.merge(*nth),
            Op::Encrypt(key) => self.machine.encrypt(*key),
            Op::Glitch {
                hours,
                is_forward,
                is_reopened,
            } => self.glitch(Duration::from_secs(3_600 * hours), *is_forward, *is_reopened),
            Op::Pass(seconds) => {
                self.machine.advance(*seconds);
                self.machine.maintain()
            }
            Op::Maintain => self.machine.maintain(),
            Op::Recreate => self.recreate(),
            Op::Look => self.look(),
            Op::Reopen => self.reopen(),
            Op::Crash(mode) => {
                self.crash(*mode);
                Ok(())
            }
            Op::CrashIn(calls, mode) => {
                self.machine.stop_in(*calls, *mode);
                Ok(())
            }
            Op::FailIn(calls, fault) => {
                fault.arm(&self.machine.disk, *calls);
                Ok(())
            }
            Op::BeFull(bytes) => {
                let disk = &self.machine.disk;
                disk.set_capacity(disk.used_bytes() + bytes);
                self.was_short = true;
                Ok(())
            }
            Op::RunOutOfFiles(files) => {
                let disk = &self.machine.disk;
                disk.set_open_file_limit(disk.open_files() + files);
                self.was_short = true;
                Ok(())
            }
            Op::FailRecovery(calls, fault, mode) => {
                self.fail_recovery(*calls, *fault, *mode);
                Ok(())
            }
        }
    }

    fn begin_disk(&mut self) {
        self.was_short = false;
        self.settings.begin(&self.machine.disk);
    }

    fn open(&mut self) -> Step<()> {
        self.machine.open()?;
        self.find_stream()
    }

    /// The stream, which is another one if it was being made again.
    fn find_stream(&mut self) -> Step<()> {
        let store = self.machine.store();
        let found = match store.stream(STREAM) {
            Err(Error::StreamNotFound { .. }) => store.create_stream(STREAM, 2),
            found => found,
        };
        let id = found.map_err(stopped)?.id();
        if self.stream.replace(id) != Some(id) {
            self.records.clear();
            self.last_put.clear();
            self.last_of_shards.clear();
            self.old_receipts.append(&mut self.receipts);
        }
        Ok(())
    }

    fn stream(&self) -> Step<Stream> {
        self.machine.stream().map_err(stopped)
    }

    fn let_go(&mut self) {
        self.reader = None;
        self.member = None;
    }

    fn reopen(&mut self) -> Step<()> {
        self.let_go();
        self.machine.close()?;
        self.open()
    }

    /// Power is lost.
    fn end(&mut self, mode: LossMode) {
        self.let_go();
        self.machine.lose_power(mode);
        self.begin_disk();
    }

    /// Power is lost, and the store is opened again and looked at.
    fn crash(&mut self, mode: LossMode) {
        self.end(mode);
        let opened = self.open().and_then(|()| self.look());
        opened.unwrap_or_else(|Stopped(error)| panic!("after a crash: {error}"));
    }

    fn fail_recovery(&mut self, calls: u64, fault: Fault, mode: LossMode) {
        self.end(mode);
        fault.arm(&self.machine.disk, calls);
        // What cannot be read then is told, and nothing is taken for the end.
        let looked = self.open().and_then(|()| self.look());
        if let Err(Stopped(error)) = looked {
            assert!(self.machine.has_failed(), "a recovery failed: {error}");
            assert!(
                !matches!(error, Error::Corrupt { .. }),
                "{fault:?} in a recovery is damage: {error}"
            );
        }
        self.crash(mode);
    }

    fn put(&mut self, records: u8, bytes: usize) -> Step<()> {
        let ids: BTreeSet<_> = (self.next..self.next + u64::from(records)).collect();
        self.next += u64::from(records);
        let data: Vec<_> = ids.iter().map(|id| data_of(*id, bytes)).collect();
        let keys: Vec<_> = ids.iter().map(|id| format!("key-{id}")).collect();
        let batch: Vec<_> = keys
            .iter()
            .zip(&data)
            .map(|(key, data)| PutRecord::new(key, data))
            .collect();
        let put = self
            .stream()
            .and_then(|stream| stream.put_records(&batch).map_err(stopped));
        let mut places = put.iter().flatten().map(|put| {
            let number = put.sequence_number.record_number();
            (put.shard_id, number)
        });
        let mut last_of_shards: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for id in &ids {
            let place = places.next();
            if let Some((shard, _)) = place {
                last_of_shards.entry(shard).or_default().insert(*id);
            }
            let known = Known {
                bytes,
                is_acknowledged: put.is_ok(),
                place,
                ..Known::default()
            };
            self.records.insert(*id, known);
        }
        // Behind one that failed there need not be anything.
        if put.is_ok() {
            self.last_put.clear();
        }
        self.last_put.extend(ids);
        self.last_of_shards.extend(last_of_shards);
        put.map(drop)
    }

    fn queue(&self) -> Step<Queue> {
        let stream = self.stream()?;
        let options = QueueOptions {
            start: StartingPosition::TrimHorizon,
            settings: QueueSettings {
                visibility_seconds: VISIBILITY_SECONDS as u32,
                max_receive_count: None,
            },
            ..QueueOptions::default()
        };
        match stream.queue("work") {
            Err(Error::QueueNotFound { .. }) => stream.create_queue("work", &options),
            queue => queue,
        }
        .map_err(stopped)
    }

    /// How many records were given out. Of every so many one is acknowledged.
    fn receive(&mut self, records: usize, one_of: usize) -> Step<usize> {
        let queue = self.queue()?;
        // Of a stream that is gone. What comes of it is found at the end.
        if let Some(old) = self.old_receipts.pop() {
            let outcomes = queue.acknowledge(&[old]).map_err(stopped)?;
            assert!(outcomes[0].is_err(), "the receipt of another queue is taken");
        }
        let received = queue.receive(&up_to(records)).map_err(stopped)?;
        for record in &received {
            let id = self.check(&record.record);
            let known = self.records[&id];
            assert_ne!(
                known.of_queue,
                Done::Yes,
                "{id} was acknowledged, and is given out"
            );
        }
        let acknowledged: Vec<_> = received.iter().step_by(one_of).collect();
        let receipts: Vec<_> = acknowledged.iter().map(|record| record.receipt).collect();
        let outcome = queue.acknowledge(&receipts);
        let done = match &outcome {
            Ok(outcomes) => {
                assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
                Done::Yes
            }
            Err(_) => Done::Maybe,
        };
        for record in acknowledged {
            self.records.get_mut(&id_of(&record.record)).unwrap().of_queue = done;
        }
        self.receipts.extend(receipts);
        outcome.map_err(stopped)?;
        Ok(received.len())
    }

    fn group(&self) -> Step<ConsumerGroup> {
        let group = self.stream()?.group("work", StartingPosition::TrimHorizon);
        group.map_err(stopped)
    }

    /// How many records were given out.
    fn poll(&mut self, records: usize) -> Step<usize> {
        let mut member = match self.member.take() {
            Some(member) => member,
            None => self
                .group()?
                .join("one", &MemberOptions::default())
                .map_err(stopped)?,
        };
        let limit = ReadLimit {
            records,
            ..ReadLimit::default()
        };
        let batch = loop {
            match member.next_batch(&limit, Duration::ZERO) {
                Err(Error::Trimmed { .. }) => {
                    let is_lost = |known: &Known| known.may_be_hidden && known.of_group != Done::Yes;
                    assert!(
                        self.records.values().any(is_lost),
                        "nothing is lost, and that is told"
                    );
                }
                batch => break batch.map_err(stopped)?,
            }
        };
        let Some(batch) = batch else {
            self.member = Some(member);
            return Ok(0);
        };
        for record in &batch.records {
            let id = self.check(record);
            assert_ne!(
                self.records[&id].of_group,
                Done::Yes,
                "{id} was committed, and is given out"
            );
        }
        let committed = member.commit(&batch);
        for record in &batch.records {
            let known = self.records.get_mut(&id_of(record)).unwrap();
            known.of_group = if committed.is_ok() { Done::Yes } else { Done::Maybe };
        }
        // One whose commit failed may be given it again only by another.
        self.member = committed.is_ok().then_some(member);
        committed.map_err(stopped)?;
        Ok(batch.records.len())
    }

    fn follow(&mut self, records: usize) -> Step<()> {
        let (mut reader, mut followed) = match self.reader.take() {
            Some(reader) => reader,
            None => {
                let reader = self.stream()?.reader(StartingPosition::TrimHorizon);
                (reader.map_err(stopped)?, BTreeSet::new())
            }
        };
        for _ in 0..records {
            match reader.next() {
                None => break,
                Some(Ok(record)) => {
                    let id = self.check(&record);
                    assert!(followed.insert(id), "{id} is read twice");
                }
                Some(Err(Error::Trimmed { .. })) => {
                    let is_lost = |(id, known): (&u64, &Known)| known.may_be_hidden && !followed.contains(id);
                    assert!(
                        self.records.iter().any(is_lost),
                        "nothing is lost, and that is told"
                    );
                }
                Some(Err(error)) => {
                    self.reader = Some((reader, followed));
                    return Err(Stopped(error));
                }
            }
        }
        self.reader = Some((reader, followed));
        Ok(())
    }

    fn trim_to_reader(&mut self) -> Step<()> {
        let Some((reader, followed)) = &self.reader else {
            return Ok(());
        };
        for id in followed {
            self.records.get_mut(id).unwrap().may_be_hidden = true;
        }
        let checkpoint = reader.checkpoint();
        self.stream()?.trim_to(&checkpoint).map_err(stopped)
    }

    fn trim_to_group(&mut self) -> Step<()> {
        let checkpoint = self.group()?.checkpoint().map_err(stopped)?;
        for known in self
            .records
            .values_mut()
            .filter(|known| known.of_group != Done::No)
        {
            known.may_be_hidden = true;
        }
        self.stream()?.trim_to(&checkpoint).map_err(stopped)
    }

    fn glitch(&mut self, by: Duration, is_forward: bool, is_reopened: bool) -> Step<()> {
        let clock = self.machine.clock().clone();
        let jump = |is_forward: bool| match is_forward {
            true => clock.jump_forward(by),
            false => clock.jump_back(by),
        };
        self.machine.maintain()?;
        jump(is_forward);
        let trimmed = self
            .machine
            .maintain()
            .and_then(|()| match is_reopened {
                true => self.reopen(),
                false => Ok(()),
            })
            .and_then(|()| self.trim_to_group())
            .and_then(|()| self.machine.maintain());
        jump(!is_forward);
        trimmed.and_then(|()| self.machine.maintain())
    }

    fn recreate(&mut self) -> Step<()> {
        let (stream, group) = (self.stream()?, self.group()?);
        let mut old = vec![group.checkpoint().map_err(stopped)?];
        old.extend(self.reader.as_ref().map(|(reader, _)| reader.checkpoint()));
        self.old_checkpoints = old;
        // A queue that is made after this one gives everything out once more.
        self.records
            .values_mut()
            .for_each(|known| known.of_queue = Done::Maybe);
        self.queue()?.delete().map_err(stopped)?;
        stream.delete().map_err(stopped)?;
        if let Some(mut member) = self.member.take() {
            let late = member.next_batch(&ReadLimit::default(), Duration::ZERO);
            assert!(matches!(late, Err(Error::StreamNotFound { .. })), "{late:?}");
        }
        self.let_go();
        self.find_stream()?;
        let group = self.group()?;
        let stream = self.stream()?;
        let before = group.checkpoint().map_err(stopped)?;
        for old in &self.old_checkpoints {
            let is_refused = |result: anabranch::Result<()>| match result {
                Err(Error::InvalidArgument(_)) => {}
                other => panic!("a checkpoint of another stream is taken: {other:?}"),
            };
            is_refused(group.reset_to(old));
            is_refused(stream.save_checkpoint("other", old));
            is_refused(stream.trim_to(old));
            is_refused(stream.reader_from(old.clone()).map(drop));
        }
        let after = group.checkpoint().map_err(stopped)?;
        assert_eq!(before, after);
        Ok(())
    }

    /// Its number, once it is found to be as it was put, to this stream.
    fn check(&self, record: &Record) -> u64 {
        check_record(&self.records, record)
    }

    /// All that must be there is, and nothing else.
    pub fn look(&self) -> Step<()> {
        let read = read_all(self.machine.store()).map_err(stopped)?;
        check_read(&self.records, &read, |_| false);
        Ok(())
    }

    fn copy(&mut self) -> Step<()> {
        let (disk, directory) = self.make_copy()?;
        self.check_copy(&disk, &directory, &damage::Told::default());
        Ok(())
    }

    /// What is told to be lost may be, and nothing else.
    fn copy_rots(&mut self, rot: &Rot) -> Step<()> {
        let (disk, directory) = self.make_copy()?;
        damage::remove_outside(&disk, &directory);
        rot.apply(&disk, &directory);
        let told = damage::repair(&disk, &directory).unwrap_or_default();
        self.check_copy(&disk, &directory, &told);
        damage::must_be_sound(&disk, &directory);
        Ok(())
    }

    /// A snapshot, on a disk of its own: what becomes of it is no concern of the store, whose segments it shares.
    fn make_copy(&mut self) -> Step<(SimDisk, PathBuf)> {
        self.copies += 1;
        let directory = PathBuf::from(format!("copies/{}", self.copies));
        self.machine.store().snapshot(&directory).map_err(stopped)?;
        Ok((self.image(), directory))
    }

    fn check_copy(&self, disk: &SimDisk, directory: &Path, told: &damage::Told) {
        let copy = self.machine.options(disk).open(directory);
        let copy = copy.unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        let read = read_all(&copy).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        check_read(&self.records, &read, |id| told.has(self.records[&id].place));
        if !told.has_lost_of_queue {
            self.check_queue_of(&copy);
        }
        copy.close().unwrap();
    }

    /// A disk with the same on it, and without faults.
    fn image(&self) -> SimDisk {
        let image = self.machine.disk.image(LossMode::KeepAll);
        end_faults(&image);
        image
    }

    /// What was acknowledged does not come back in a copy.
    fn check_queue_of(&self, copy: &Store) {
        let Ok(queue) = copy.stream(STREAM).and_then(|stream| stream.queue("work")) else {
            return;
        };
        self.machine
            .clock()
            .advance(Duration::from_secs(VISIBILITY_SECONDS));
        for record in queue.receive(&up_to(10_000)).unwrap() {
            let id = self.check(&record.record);
            assert_ne!(self.records[&id].of_queue, Done::Yes, "{id} comes back in a copy");
        }
    }

    /// Power is lost, and then the journal rots. A record is gone for good only where that is told, but for those of the
    /// last commit.
    pub fn rot_journal(&mut self, mode: LossMode, byte: u64) {
        let disk = self.left_by(mode);
        let journal = Path::new(DIRECTORY).join("journal");
        let Some(rot) = Rot::of_last_file(&disk, &journal, byte) else {
            return;
        };
        rot.apply(&disk, Path::new(DIRECTORY));
        let is_sound = damage::is_sound(&disk, Path::new(DIRECTORY));
        let repaired = disk.image(LossMode::KeepAll);
        let store = match self.machine.options(&disk).open(DIRECTORY) {
            Ok(store) => store,
            Err(error) => panic!("the journal has rotten, and the store does not open: {error}"),
        };
        if !self.has_stream(&store) {
            return;
        }
        match read_all(&store) {
            Ok(read) => check_read(&self.records, &read, |id| {
                !is_sound || self.last_put.contains(&id)
            }),
            Err(error) => assert!(!is_sound, "sound, and cannot be read: {error}"),
        }
        drop(store);
        self.repair_and_check(&repaired, &self.last_put);
    }

    /// Power is lost, then something of the store rots, and it is repaired. What is lost was told, but for the last commit
    /// of each log, which may pass for one that power cut short.
    pub fn rot(&mut self, mode: LossMode, rot: &Rot) {
        let disk = self.left_by(mode);
        rot.apply(&disk, Path::new(DIRECTORY));
        let last = self.last_of_shards.values().flatten().copied().collect();
        self.repair_and_check(&disk, &last);
    }

    fn left_by(&mut self, mode: LossMode) -> SimDisk {
        self.let_go();
        self.machine.lose_power(mode);
        end_faults(&self.machine.disk);
        // What it shares with copies is damaged there too, and a repair would write to that.
        damage::remove_outside(&self.machine.disk, Path::new(DIRECTORY));
        self.machine.disk.clone()
    }

    fn repair_and_check(&self, disk: &SimDisk, may_pass_for_torn: &BTreeSet<u64>) {
        let told = damage::repair(disk, Path::new(DIRECTORY)).unwrap_or_default();
        let store = match self.machine.options(disk).open(DIRECTORY) {
            Ok(store) => store,
            Err(error) => panic!("it was repaired, or sound, and does not open: {error}"),
        };
        if !self.has_stream(&store) {
            return;
        }
        let read = read_all(&store).unwrap_or_else(|error| panic!("repaired, or sound: {error}"));
        check_read(&self.records, &read, |id| {
            may_pass_for_torn.contains(&id) || told.has(self.records[&id].place)
        });
        store.close().unwrap();
        damage::must_be_sound(disk, Path::new(DIRECTORY));
    }

    /// Not if it was being made again.
    fn has_stream(&self, store: &Store) -> bool {
        let found = store.stream(STREAM).map(|stream| stream.id()).ok();
        found.is_some() && found == self.stream
    }

    /// In the end everything is given out.
    pub fn drain(&mut self) {
        if self.machine.has_failed() {
            self.crash(self.machine.stop());
        }
        end_faults(&self.machine.disk);
        let drained = self.try_drain();
        drained.unwrap_or_else(|Stopped(error)| panic!("at last: {error}"));
        for (id, known) in &self.records {
            let must_be_there = known.is_acknowledged && !known.may_be_hidden;
            assert!(
                !must_be_there || known.of_queue != Done::No,
                "{id} is lost to the queue"
            );
            assert!(
                !must_be_there || known.of_group != Done::No,
                "{id} is lost to the group"
            );
        }
    }

    fn try_drain(&mut self) -> Step<()> {
        self.look()?;
        self.machine.advance(VISIBILITY_SECONDS);
        while self.receive(50, 1)? > 0 {}
        self.member = None;
        while self.poll(50)? > 0 {}
        Ok(())
    }
}

impl Settings {
    fn options(&self) -> StoreOptions {
        let options = StoreOptions::new()
            .max_recycled_bytes(256 << 10)
            .min_journaled_shards(self.journaled_from)
            .map_sealed_segments(self.maps)
            .keys(key_ring());
        let options = match self.compacts {
            true => options.compaction_bytes(1),
            false => options,
        };
        match self.has_few_files {
            true => options.max_open_segments(2),
            false => options,
        }
    }

    /// What every disk is like.
    fn begin(&self, disk: &SimDisk) {
        end_faults(disk);
        if self.has_few_files {
            disk.faults().lose_what_is_closed_unsynced();
        }
    }
}

fn end_faults(disk: &SimDisk) {
    disk.faults().clear();
    disk.set_capacity(u64::MAX);
    disk.set_open_file_limit(usize::MAX);
}

fn up_to(records: usize) -> ReceiveOptions {
    ReceiveOptions {
        limit: ReadLimit {
            records,
            ..ReadLimit::default()
        },
        ..ReceiveOptions::default()
    }
}

fn data_of(id: u64, bytes: usize) -> Vec<u8> {
    let mut data = id.to_be_bytes().to_vec();
    let filling = (0..bytes.saturating_sub(NUMBER_BYTES)).map(|at| (at as u64 ^ id) as u8);
    data.extend(filling);
    data
}

fn id_of(record: &Record) -> u64 {
    u64::from_be_bytes(record.data[..NUMBER_BYTES].try_into().unwrap())
}

fn check_record(records: &BTreeMap<u64, Known>, record: &Record) -> u64 {
    let id = id_of(record);
    let known = records
        .get(&id)
        .unwrap_or_else(|| panic!("{id} was not put to this stream"));
    assert_eq!(record.data, data_of(id, known.bytes), "{id} has other bytes");
    assert_eq!(record.partition_key.as_str(), format!("key-{id}"));
    id
}

fn read_all(store: &Store) -> anabranch::Result<Vec<Record>> {
    store
        .stream(STREAM)?
        .reader(StartingPosition::TrimHorizon)?
        .collect()
}

fn check_read(records: &BTreeMap<u64, Known>, read: &[Record], may_be_lost: impl Fn(u64) -> bool) {
    let mut seen = BTreeSet::new();
    for record in read {
        let id = check_record(records, record);
        assert!(seen.insert(id), "{id} is read twice");
    }
    for (id, known) in records {
        let must_be_there = known.is_acknowledged && !known.may_be_hidden && !may_be_lost(*id);
        assert!(!must_be_there || seen.contains(id), "{id} is lost: {known:?}");
    }
}
