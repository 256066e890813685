//! A stream, and all that uses it: a queue, a consumer group, a reader that is always there, copies of the store.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anabranch::inspect::Inspection;
use anabranch::sim::{Calls, LossMode, SimDisk};
use anabranch::{
    Checkpoint, ConsumerGroup, Error, ManualClock, Member, MemberOptions, PutRecord, Queue, QueueOptions,
    QueueSettings, ReadLimit, Receipt, ReceiveOptions, Record, StartingPosition, Store, StoreOptions, Stream,
    StreamId, StreamReader, Timestamp,
};

use crate::machine::{merge_nth, split_nth};
use crate::model::{KEYS, key_ring};
use crate::op::Fault;

pub const DIRECTORY: &str = "store";
const STREAM: &str = "jobs";
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
    /// It was trimmed, or may have been.
    may_be_hidden: bool,
    of_queue: Done,
    of_group: Done,
}

/// What ended a step.
#[derive(Debug)]
pub struct Stopped(pub Error);

type Step<T> = Result<T, Stopped>;

fn stopped(error: Error) -> Stopped {
    Stopped(error)
}

pub struct World {
    pub disk: SimDisk,
    settings: Settings,
    clock: ManualClock,
    store: Option<Store>,
    /// The stream that there is, and what was put to it.
    stream: Option<StreamId>,
    records: BTreeMap<u64, Known>,
    next: u64,
    /// Those of the last put that was acknowledged, and of later ones.
    last_put: BTreeSet<u64>,
    reader: Option<(StreamReader, BTreeSet<u64>)>,
    member: Option<Member>,
    /// Of streams that had the name before.
    old_checkpoints: Vec<Checkpoint>,
    old_receipts: Vec<Receipt>,
    receipts: Vec<Receipt>,
    copies: u32,
    /// Whether room or descriptors were short since the machine began. A change that found none is tried again later.
    was_short: bool,
    stop: LossMode,
}

impl World {
    pub fn new(seed: u64, settings: Settings) -> Self {
        let mut world = Self {
            disk: SimDisk::new(seed),
            settings,
            clock: ManualClock::starting_at(Timestamp::from_seconds(1_700_000_000)),
            store: None,
            stream: None,
            records: BTreeMap::new(),
            next: 0,
            last_put: BTreeSet::new(),
            reader: None,
            member: None,
            old_checkpoints: Vec::new(),
            old_receipts: Vec::new(),
            receipts: Vec::new(),
            copies: 0,
            was_short: false,
            stop: LossMode::LoseAll,
        };
        world.begin_disk();
        world.open().unwrap_or_else(|Stopped(error)| panic!("{error}"));
        world
    }

    /// Does a step. A failure that was not made is a bug.
    pub fn run(&mut self, op: &Op) {
        let Err(Stopped(error)) = self.try_run(op) else {
            return;
        };
        let was_made = self.disk.is_frozen() || self.disk.faults().struck() > 0 || self.was_short;
        assert!(was_made, "{op:?} failed: {error}");
        assert!(
            !matches!(error, Error::Corrupt { .. }),
            "{op:?} found damage: {error}"
        );
        let may_go_on = !self.disk.is_frozen() && self.store.is_some() && !matches!(op, Op::Recreate);
        match may_go_on && !matches!(error, Error::Poisoned { .. }) {
            true => end_faults(&self.disk),
            false => self.crash(self.stop),
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
            Op::Split(nth) => split_nth(&self.stream()?, *nth).map_err(stopped),
            Op::Merge(nth) => merge_nth(&self.stream()?, *nth).map_err(stopped),
            Op::Encrypt(key) => match key {
                Some(key) => self.stream()?.start_encryption(KEYS[usize::from(*key)]),
                None => self.stream()?.stop_encryption(),
            }
            .map_err(stopped),
            Op::Glitch {
                hours,
                is_forward,
                is_reopened,
            } => self.glitch(Duration::from_secs(3_600 * hours), *is_forward, *is_reopened),
            Op::Pass(seconds) => {
                self.clock.advance(Duration::from_secs(*seconds));
                self.maintain()
            }
            Op::Maintain => self.maintain(),
            Op::Recreate => self.recreate(),
            Op::Look => self.look(),
            Op::Reopen => self.reopen(),
            Op::Crash(mode) => {
                self.crash(*mode);
                Ok(())
            }
            Op::CrashIn(calls, mode) => {
                self.stop = *mode;
                self.disk.faults().freeze_nth(Calls::ALL, *calls);
                Ok(())
            }
            Op::FailIn(calls, fault) => {
                fault.arm(&self.disk, *calls);
                Ok(())
            }
            Op::BeFull(bytes) => {
                self.disk.set_capacity(self.disk.used_bytes() + bytes);
                self.was_short = true;
                Ok(())
            }
            Op::RunOutOfFiles(files) => {
                self.disk.set_open_file_limit(self.disk.open_files() + files);
                self.was_short = true;
                Ok(())
            }
            Op::FailRecovery(calls, fault, mode) => {
                self.fail_recovery(*calls, *fault, *mode);
                Ok(())
            }
        }
    }

    /// What every disk is like.
    fn begin_disk(&mut self) {
        end_faults(&self.disk);
        self.was_short = false;
        if self.settings.has_few_files {
            self.disk.faults().lose_what_is_closed_unsynced();
        }
    }

    fn options(&self, disk: &SimDisk) -> StoreOptions {
        let options = StoreOptions::new()
            .segment_bytes(64 << 10)
            .max_recycled_bytes(256 << 10)
            .keeper(false)
            .flusher_threads(1)
            .min_journaled_shards(self.settings.journaled_from)
            .map_sealed_segments(self.settings.maps)
            .keys(key_ring())
            .clock(self.clock.clone())
            .disk(disk.clone());
        let options = match self.settings.compacts {
            true => options.compaction_bytes(1),
            false => options,
        };
        match self.settings.has_few_files {
            true => options.max_open_segments(2),
            false => options,
        }
    }

    fn open(&mut self) -> Step<()> {
        let store = self.options(&self.disk).open(DIRECTORY).map_err(stopped)?;
        self.store = Some(store);
        self.find_stream()
    }

    /// The stream, which is another one if it was being made again.
    fn find_stream(&mut self) -> Step<()> {
        let store = self.store();
        let found = match store.stream(STREAM) {
            Err(Error::StreamNotFound { .. }) => store.create_stream(STREAM, 2),
            found => found,
        };
        let id = found.map_err(stopped)?.id();
        if self.stream.replace(id) != Some(id) {
            self.records.clear();
            self.last_put.clear();
            self.old_receipts.append(&mut self.receipts);
        }
        Ok(())
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn stream(&self) -> Step<Stream> {
        self.store().stream(STREAM).map_err(stopped)
    }

    fn maintain(&self) -> Step<()> {
        self.store().maintain().map_err(stopped)
    }

    fn let_go(&mut self) {
        self.reader = None;
        self.member = None;
    }

    fn reopen(&mut self) -> Step<()> {
        self.let_go();
        let closed = self.store().close();
        self.store = None;
        closed.map_err(stopped)?;
        self.open()
    }

    /// Power is lost, and the store is opened again and looked at.
    fn crash(&mut self, mode: LossMode) {
        self.let_go();
        self.disk.freeze();
        self.store = None;
        self.disk = self.disk.crash(mode);
        self.begin_disk();
        let opened = self.open().and_then(|()| self.look());
        opened.unwrap_or_else(|Stopped(error)| panic!("after a crash: {error}"));
    }

    fn fail_recovery(&mut self, calls: u64, fault: Fault, mode: LossMode) {
        self.let_go();
        self.disk.freeze();
        self.store = None;
        self.disk = self.disk.crash(mode);
        self.begin_disk();
        fault.arm(&self.disk, calls);
        // What cannot be read then is told, and nothing is taken for the end.
        let looked = self.open().and_then(|()| self.look());
        if let Err(Stopped(error)) = looked {
            assert!(self.disk.faults().struck() > 0, "a recovery failed: {error}");
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
        for id in &ids {
            let known = Known {
                bytes,
                is_acknowledged: put.is_ok(),
                ..Known::default()
            };
            self.records.insert(*id, known);
        }
        // Behind one that failed there need not be anything.
        if put.is_ok() {
            self.last_put.clear();
        }
        self.last_put.extend(ids);
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
        let clock = self.clock.clone();
        let jump = |is_forward: bool| match is_forward {
            true => clock.jump_forward(by),
            false => clock.jump_back(by),
        };
        self.maintain()?;
        jump(is_forward);
        let trimmed = self
            .maintain()
            .and_then(|()| match is_reopened {
                true => self.reopen(),
                false => Ok(()),
            })
            .and_then(|()| self.trim_to_group())
            .and_then(|()| self.maintain());
        jump(!is_forward);
        trimmed.and_then(|()| self.maintain())
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
        let read = read_all(self.store()).map_err(stopped)?;
        check_read(&self.records, &read, |_| false);
        Ok(())
    }

    fn copy(&mut self) -> Step<()> {
        self.copies += 1;
        let directory = format!("copies/{}", self.copies);
        self.store().snapshot(&directory).map_err(stopped)?;
        // What becomes of the copy is no concern of the store, whose segments it shares.
        let disk = self.image();
        let copy = self.options(&disk).open(&directory);
        let copy = copy.unwrap_or_else(|error| panic!("{directory}: {error}"));
        let read = read_all(&copy).unwrap_or_else(|error| panic!("{directory}: {error}"));
        check_read(&self.records, &read, |_| false);
        self.check_queue_of(&copy);
        copy.close().unwrap();
        Ok(())
    }

    /// A disk with the same on it, and without faults.
    fn image(&self) -> SimDisk {
        let image = self.disk.image(LossMode::KeepAll);
        end_faults(&image);
        image
    }

    /// What was acknowledged does not come back in a copy.
    fn check_queue_of(&self, copy: &Store) {
        let Ok(queue) = copy.stream(STREAM).and_then(|stream| stream.queue("work")) else {
            return;
        };
        self.clock.advance(Duration::from_secs(VISIBILITY_SECONDS));
        for record in queue.receive(&up_to(10_000)).unwrap() {
            let id = self.check(&record.record);
            assert_ne!(self.records[&id].of_queue, Done::Yes, "{id} comes back in a copy");
        }
    }

    /// A record is gone for good only where that is told, but for those of the last commit.
    pub fn rot_journal(&mut self, mode: LossMode, byte: u64) {
        self.let_go();
        self.disk.freeze();
        self.store = None;
        let disk = self.disk.crash(mode);
        end_faults(&disk);
        let mut files = disk.rot().files();
        files.retain(|(path, bytes)| path.starts_with(format!("{DIRECTORY}/journal")) && *bytes > 0);
        let Some((path, bytes)) = files.last().cloned() else {
            return;
        };
        disk.rot()
            .flip_bit(&path, byte % bytes, (byte % 8) as u32)
            .unwrap();
        let inspection = Inspection::of(DIRECTORY).disk(disk.clone());
        let is_sound = inspection.verify(&mut |_| {}).unwrap().is_sound();
        let store = match self.options(&disk).open(DIRECTORY) {
            Ok(store) => store,
            Err(error) => panic!("the journal has rotten, and the store does not open: {error}"),
        };
        let found = store.stream(STREAM).map(|stream| stream.id()).ok();
        if found.is_none() || found != self.stream {
            // It was being made again.
            return;
        }
        match read_all(&store) {
            Ok(read) => check_read(&self.records, &read, |id| {
                !is_sound || self.last_put.contains(&id)
            }),
            Err(error) => assert!(!is_sound, "sound, and cannot be read: {error}"),
        }
    }

    /// In the end everything is given out.
    pub fn drain(&mut self) {
        if self.disk.is_frozen() || self.disk.faults().struck() > 0 {
            self.crash(self.stop);
        }
        end_faults(&self.disk);
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
        self.clock.advance(Duration::from_secs(VISIBILITY_SECONDS));
        while self.receive(50, 1)? > 0 {}
        self.member = None;
        while self.poll(50)? > 0 {}
        Ok(())
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
