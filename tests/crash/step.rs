//! Does one step in a world: notes in the model what may change, calls the store, and notes the result in the model.

use std::path::Path;
use std::time::Duration;

use anabranch::disk::{Disk, EntryKind, OpenMode};
use anabranch::{
    Error, HashKey, PutRecord, PutResult, ShardFilter, ShardId, StartingPosition, Stream, StreamStatus,
};

use crate::model::{
    Change, KEYS, Pending, Presence, RecordModel, Resharding, Retention, Setting, StreamModel,
};
use crate::op::{Fault, Op, stream_name};
use crate::world::{DIRECTORY, Failure, Stop, World};

/// The name of the checkpoint that is saved.
pub const READER: &str = "reader";

/// The place of a call's record in the model.
type Place = (ShardId, usize);

impl World {
    /// Does a step. If it fails but can be retried, it is retried, and works. If it fails for good, everything is
    /// refused until the store is opened again.
    pub fn run(&mut self, op: &Op) -> Result<(), Stop> {
        loop {
            if self.is_anything_due() {
                // The model must know the result before the next call.
                self.look()?;
                if self.is_poisoned() {
                    return self.leave_poisoned();
                }
            }
            self.begin_step();
            let failed = self.attempt(op)?;
            self.check_running()?;
            match failed {
                None => self.end_step()?,
                Some(_) => self.find_background_failure()?,
            }
            if self.is_poisoned() {
                return self.leave_poisoned();
            }
            if failed.is_none() {
                return Ok(());
            }
            self.look()?;
        }
    }

    fn attempt(&mut self, op: &Op) -> Result<Option<Failure>, Stop> {
        match op {
            Op::Create { stream, shards } => self.create(&stream_name(*stream), *shards),
            Op::Delete { stream } => self.with_stream_in_any_state(*stream, Self::delete),
            Op::Put { stream, key, bytes } => {
                self.with_stream(*stream, |world, at| world.put(at, *key, *bytes))
            }
            Op::Batch { stream, records } => {
                self.with_stream(*stream, |world, at| world.put_batch(at, records))
            }
            Op::Appends { stream, records } => {
                self.with_stream(*stream, |world, at| world.append_all(at, records))
            }
            Op::Split { stream, nth } => self.with_stream(*stream, |world, at| world.split(at, *nth)),
            Op::Merge { stream, nth } => self.with_stream(*stream, |world, at| world.merge(at, *nth)),
            Op::ShardCount { stream, target } => {
                self.with_stream(*stream, |world, at| world.change_shard_count(at, *target))
            }
            Op::Encrypt { stream, key } => {
                self.with_stream(*stream, |world, at| world.change_encryption(at, *key))
            }
            Op::Retain { stream, hours } => self.with_stream(*stream, |world, at| world.retain(at, *hours)),
            Op::Checkpoint { stream, records } => {
                self.with_stream(*stream, |world, at| world.save_checkpoint(at, *records))
            }
            Op::Trim { stream, records } => self.with_stream(*stream, |world, at| world.trim(at, *records)),
            Op::TrimToSaved { stream } => self.with_stream(*stream, Self::trim_to_saved),
            Op::Limit { stream, limits } => self.with_stream(*stream, |world, at| world.limit(at, *limits)),
            Op::Hold { stream, records } => self.with_stream(*stream, |world, at| world.hold(at, *records)),
            Op::LetGo => self.let_go().map(|()| None),
            Op::Look => self.look().map(|()| None),
            Op::Litter => {
                self.litter(Path::new(DIRECTORY));
                Ok(None)
            }
            Op::Maintain => self.maintain(),
            Op::Advance(by) => {
                self.advance(*by);
                Ok(None)
            }
            Op::Expire => {
                self.advance(Duration::from_secs(25 * 3_600));
                match self.maintain()? {
                    None => self.maintain(),
                    failed => Ok(failed),
                }
            }
            Op::Glitch {
                by,
                forward,
                reopened,
            } => self.glitch(*by, *forward, *reopened),
            Op::Reopen => self.reopen().map(|()| None),
            Op::Crash(mode) => {
                self.crash(*mode);
                self.open().map(|()| None)
            }
            Op::CrashIn { calls, mode } => {
                self.arm_crash(*calls, *mode);
                Ok(None)
            }
            Op::Fail { calls, fault } => {
                self.arm_fault(*calls, *fault);
                Ok(None)
            }
        }
    }

    /// A clock that is wrong for some seconds causes no loss, neither during a run nor over a restart. Nothing is put
    /// meanwhile, since such records rightly get a wrong time. House-keeping runs every second, so it sees the clock
    /// before and after.
    fn glitch(&mut self, by: Duration, forward: bool, reopened: bool) -> Result<Option<Failure>, Stop> {
        self.note_right_clock();
        self.may_lag = true;
        self.is_glitch = true;
        self.jump(by, forward);
        // A change that becomes due by a wrong clock gets a wrong time, as a record does.
        let is_anything_pending = self.model.pending().next().is_some();
        let outcome = match reopened && !is_anything_pending {
            true => self.reopen().map(|()| None),
            false => self.maintain(),
        };
        self.jump(by, !forward);
        self.is_glitch = false;
        match outcome? {
            None => self.maintain(),
            failed => Ok(failed),
        }
    }

    fn jump(&self, by: Duration, forward: bool) {
        match forward {
            true => self.clock.jump_forward(by),
            false => self.clock.jump_back(by),
        }
    }

    /// It does not matter whether the file can be made.
    fn litter(&self, directory: &Path) {
        const NAMES: [&str; 4] = ["lost+found/kept", ".nfs0001", "notes.txt", "1.log"];
        for name in self.disk.list(directory).unwrap_or_default() {
            let path = directory.join(&name);
            if name != "lost+found" && matches!(self.disk.kind(&path), Ok(EntryKind::Directory)) {
                self.litter(&path);
            }
        }
        drop(self.disk.create_dir(&directory.join("lost+found")));
        for name in NAMES {
            drop(self.disk.open(&directory.join(name), OpenMode::CreateNew));
        }
    }

    pub fn arm_fault(&mut self, call: u64, fault: Fault) {
        self.has_failing_disk = true;
        fault.arm(&self.disk, call);
    }

    /// Every write is refused with the first failure, reads go on, and the next opener finds the result.
    fn leave_poisoned(&mut self) -> Result<(), Stop> {
        self.look()?;
        for at in 0..self.model.streams.len() {
            let model = &self.model.streams[at];
            if model.presence == Presence::There && !model.is_without_shards() {
                let stream = self.stream(&self.model.streams[at].name.clone())?;
                match stream.put("key", b"after a failure") {
                    Err(error) => drop(self.judge("put into a poisoned store", &error)?),
                    Ok(_) => return Err("a poisoned store takes a record".to_owned().into()),
                }
            }
        }
        self.reopen()
    }

    /// Does something with a stream if it has shards.
    fn with_stream(
        &mut self,
        stream: u8,
        run: impl FnOnce(&mut Self, usize) -> Result<Option<Failure>, Stop>,
    ) -> Result<Option<Failure>, Stop> {
        self.with_stream_in_any_state(stream, |world, at| {
            match world.model.streams[at].is_without_shards() {
                true => world.be_refused(at),
                false => run(world, at),
            }
        })
    }

    /// A stream that is being created or deleted takes no records.
    fn be_refused(&mut self, at: usize) -> Result<Option<Failure>, Stop> {
        let put = self
            .stream(&self.model.streams[at].name.clone())?
            .put("key", b"refused");
        match put {
            Ok(put) => Err(format!("{put:?} is taken by {:?}", self.model.streams[at]).into()),
            Err(Error::StreamNotActive { .. }) => Ok(None),
            Err(error) => self.failed("put, to be refused", &error, |_| ()),
        }
    }

    fn with_stream_in_any_state(
        &mut self,
        stream: u8,
        run: impl FnOnce(&mut Self, usize) -> Result<Option<Failure>, Stop>,
    ) -> Result<Option<Failure>, Stop> {
        match self.model.position(&stream_name(stream)) {
            Some(at) if self.model.streams[at].presence == Presence::There => run(self, at),
            _ => Ok(None),
        }
    }

    fn create(&mut self, name: &str, shards: u32) -> Result<Option<Failure>, Stop> {
        if self.model.position(name).is_some() {
            return Ok(None);
        }
        let pending = self.pending(Change::Create);
        self.model.streams.push(StreamModel {
            pending,
            ..StreamModel::new(name, shards)
        });
        let at = self.model.streams.len() - 1;
        let created = self.store()?.create_stream(name, shards);
        match created {
            Ok(stream) => {
                let is_known = |other: &StreamModel| other.id == Some(stream.id());
                if self.model.streams.iter().any(is_known) {
                    return Err(format!("stream number {} is given again", stream.id()).into());
                }
                self.model.streams[at].presence = Presence::There;
                self.model.streams[at].id = Some(stream.id());
                self.look().map(|()| None)
            }
            Err(error) => self.failed("create", &error, |world| {
                world.model.streams[at].presence = Presence::Gone;
            }),
        }
    }

    fn delete(&mut self, at: usize) -> Result<Option<Failure>, Stop> {
        let stream = self.stream(&self.model.streams[at].name.clone())?;
        if let Some(deletion) = self.pending(Change::Delete) {
            return self.delete_later(at, &stream, deletion);
        }
        self.model.streams[at].presence = Presence::MaybeDeleted;
        match stream.delete() {
            Ok(()) => {
                self.model.streams[at].presence = Presence::Gone;
                Ok(None)
            }
            Err(error) => self.failed("delete", &error, |world| {
                world.model.streams[at].presence = Presence::There;
            }),
        }
    }

    fn delete_later(
        &mut self,
        at: usize,
        stream: &Stream,
        mut deletion: Pending,
    ) -> Result<Option<Failure>, Stop> {
        let pending = &mut self.model.streams[at].pending;
        // A deletion that has begun goes on.
        let is_deleting = pending
            .as_ref()
            .is_some_and(|pending| pending.change == Change::Delete);
        if !is_deleting {
            deletion.replaces = pending.take().map(Box::new);
            *pending = Some(deletion);
        }
        match (stream.delete(), pending) {
            (Ok(()), Some(pending)) => {
                pending.is_certain = true;
                Ok(None)
            }
            (Ok(()), None) => Ok(None),
            (Err(error), _) => self.failed("delete", &error, |world| {
                let pending = &mut world.model.streams[at].pending;
                if let Some(deletion) = pending.take_if(|_| !is_deleting) {
                    *pending = deletion.replaces.map(|before| *before);
                }
            }),
        }
    }

    fn put(&mut self, at: usize, key: u8, bytes: usize) -> Result<Option<Failure>, Stop> {
        let stream = self.stream(&self.model.streams[at].name.clone())?;
        let (record, place) = self.expect(at, key, bytes)?;
        let (partition_key, data) = (record.partition_key(), record.data());
        let put = PutRecord::new(&partition_key, &data).explicit_hash_key(record.hash_key());
        match stream.put_record(&put) {
            Ok(put) => self.acknowledge(at, place, put).map(|()| None),
            Err(error) => self.failed("put", &error, |world| world.forget(at, place)),
        }
    }

    fn put_batch(&mut self, at: usize, records: &[(u8, usize)]) -> Result<Option<Failure>, Stop> {
        let stream = self.stream(&self.model.streams[at].name.clone())?;
        let expected = self.expect_all(at, records)?;
        let parts: Vec<_> = expected
            .iter()
            .map(|(record, _)| (record.partition_key(), record.data(), record.hash_key()))
            .collect();
        let puts: Vec<_> = parts
            .iter()
            .map(|(key, data, hash)| PutRecord::new(key, data).explicit_hash_key(*hash))
            .collect();
        match stream.put_records(&puts) {
            Ok(puts) => {
                for ((_, place), put) in expected.iter().zip(puts) {
                    self.acknowledge(at, *place, put)?;
                }
                Ok(None)
            }
            // Some shards may have their records: the next read shows which.
            Err(error) => self.failed("put a batch", &error, |_| ()),
        }
    }

    fn append_all(&mut self, at: usize, records: &[(u8, usize)]) -> Result<Option<Failure>, Stop> {
        let stream = self.stream(&self.model.streams[at].name.clone())?;
        let mut failure = None;
        let mut waiting = Vec::new();
        for (key, bytes) in records {
            let (record, place) = self.expect(at, *key, *bytes)?;
            let (partition_key, data) = (record.partition_key(), record.data());
            let put = PutRecord::new(&partition_key, &data).explicit_hash_key(record.hash_key());
            match stream.append(&[put]) {
                Ok(append) => waiting.push((place, append)),
                Err(error) => {
                    failure = self.failed("append", &error, |world| world.forget(at, place))?;
                    break;
                }
            }
        }
        let mut errors = Vec::new();
        for (place, append) in waiting {
            match append.wait() {
                Ok(puts) => self.acknowledge(at, place, puts[0])?,
                Err(error) => errors.push(error),
            }
        }
        // Another shard's group may have failed before the store was poisoned.
        errors.sort_by_key(|error| matches!(error, Error::Poisoned { .. }));
        for error in &errors {
            // Others of the same group fail with it: the next read shows which.
            failure = self.failed("wait for an append", error, |_| ())?;
        }
        Ok(failure)
    }

    fn split(&mut self, at: usize, nth: usize) -> Result<Option<Failure>, Stop> {
        let open = self.model.streams[at].open_shards();
        let shard = open[nth % open.len()];
        let range = self.model.streams[at].shards[&shard].range;
        let (start, end) = (range.start().value(), range.end().value());
        if end - start < 16 {
            return Ok(None);
        }
        let middle = HashKey::new(start + (end - start) / 2 + 1);
        let stream = self.stream(&self.model.streams[at].name.clone())?;
        self.reshard(at, vec![shard], || stream.split_shard(shard, middle))
    }

    fn merge(&mut self, at: usize, nth: usize) -> Result<Option<Failure>, Stop> {
        let open = self.model.streams[at].open_shards();
        if open.len() < 2 {
            return Ok(None);
        }
        let low = nth % (open.len() - 1);
        let stream = self.stream(&self.model.streams[at].name.clone())?;
        let parents = vec![open[low], open[low + 1]];
        self.reshard(at, parents, || stream.merge_shards(open[low], open[low + 1]))
    }

    fn reshard(
        &mut self,
        at: usize,
        parents: Vec<ShardId>,
        run: impl FnOnce() -> anabranch::Result<()>,
    ) -> Result<Option<Failure>, Stop> {
        if self.model.streams[at].pending.is_some() {
            return self.be_refused_while_updating("reshard", &run());
        }
        let pending = self.pending(Change::Reshard);
        let model = &mut self.model.streams[at];
        model.maybe_resharded = Some(Resharding::Of(parents));
        model.pending = pending;
        match run() {
            Ok(()) => {
                let model = &mut self.model.streams[at];
                let before = model.shards.len();
                let happens_later = model.pending.is_some();
                if let Some(pending) = &mut model.pending {
                    pending.is_certain = true;
                }
                self.look()?;
                match self.model.streams[at].shards.len() > before || happens_later {
                    true => Ok(None),
                    false => Err("a reshard was acknowledged and has no children".to_owned().into()),
                }
            }
            Err(error) => self.failed("reshard", &error, |world| {
                world.model.streams[at].maybe_resharded = None;
                world.model.streams[at].pending = None;
            }),
        }
    }

    fn change_shard_count(&mut self, at: usize, target: u32) -> Result<Option<Failure>, Stop> {
        let stream = self.stream(&self.model.streams[at].name.clone())?;
        if self.model.streams[at].pending.is_some() {
            let result = stream.update_shard_count(target);
            return self.be_refused_while_updating("change the number of shards", &result);
        }
        if self.model.streams[at].open_shards().len() == target as usize {
            return match stream.update_shard_count(target) {
                Ok(()) => Ok(None),
                Err(error) => self.failed("keep the number of shards", &error, |_| ()),
            };
        }
        // Some of its steps may happen in later calls, even if none has to wait.
        let pending = self.pending(Change::Reshard).unwrap_or(Pending {
            change: Change::Reshard,
            is_certain: false,
            earliest: Duration::ZERO,
            latest: self.elapsed,
            replaces: None,
        });
        let model = &mut self.model.streams[at];
        let is_more = target as usize > model.open_shards().len();
        model.maybe_resharded = Some(Resharding::To {
            target,
            newest_before: model.shards.keys().next_back().copied().filter(|_| is_more),
        });
        model.pending = Some(pending);
        match stream.update_shard_count(target) {
            Ok(()) => {
                if let Some(pending) = &mut self.model.streams[at].pending {
                    pending.is_certain = true;
                }
                self.look()?;
                let is_immediate = self.settings.transition_delay.is_zero();
                match is_immediate && self.model.streams[at].pending.is_some() {
                    false => Ok(None),
                    true => Err("a number of shards was acknowledged and is not there"
                        .to_owned()
                        .into()),
                }
            }
            Err(error) => self.failed("change the number of shards", &error, |world| {
                let status = stream.summary().map(|summary| summary.status);
                let open = stream.shards(&ShardFilter::AtLatest).map_or(0, |open| open.len());
                let model = &mut world.model.streams[at];
                match (&mut model.pending, status) {
                    // It has begun, and goes on later.
                    (Some(pending), Ok(StreamStatus::Updating)) => pending.is_certain = true,
                    _ if open == target as usize => {}
                    _ => {
                        model.maybe_resharded = None;
                        model.pending = None;
                    }
                }
            }),
        }
    }

    pub fn be_refused_while_updating(
        &mut self,
        what: &str,
        result: &anabranch::Result<()>,
    ) -> Result<Option<Failure>, Stop> {
        match result {
            Ok(()) => Err(format!("a stream that is UPDATING takes this: {what}").into()),
            Err(Error::StreamNotActive { .. }) => Ok(None),
            Err(error) => self.failed(what, error, |_| ()),
        }
    }

    fn change_encryption(&mut self, at: usize, key: Option<u8>) -> Result<Option<Failure>, Stop> {
        if !self.settings.transition_delay.is_zero() {
            return Ok(None);
        }
        let stream = self.stream(&self.model.streams[at].name.clone())?;
        let change = || match key {
            Some(key) => stream.start_encryption(KEYS[usize::from(key)]),
            None => stream.stop_encryption(),
        };
        if self.model.streams[at].pending.is_some() {
            return self.be_refused_while_updating("encrypt", &change());
        }
        self.model.streams[at].encryption.maybe = Some(key);
        match change() {
            Ok(()) => {
                self.model.streams[at].encryption.settle();
                Ok(None)
            }
            Err(error) => self.failed("change the encryption", &error, |world| {
                world.model.streams[at].encryption.maybe = None;
            }),
        }
    }

    fn retain(&mut self, at: usize, hours: u32) -> Result<Option<Failure>, Stop> {
        let stream = self.stream(&self.model.streams[at].name.clone())?;
        if self.model.streams[at].pending.is_some() {
            let hours = self.model.streams[at].retention.is.hours;
            let result = stream.increase_retention(anabranch::Retention::hours(hours));
            return self.be_refused_while_updating("keep records for longer", &result);
        }
        let now = self.now();
        let retention = &mut self.model.streams[at].retention;
        let floor = retention.is.horizon(now);
        retention.maybe = Some(Retention { hours, floor });
        let result = match hours >= retention.is.hours {
            true => stream.increase_retention(anabranch::Retention::hours(hours)),
            false => stream.decrease_retention(anabranch::Retention::hours(hours)),
        };
        let retention = &mut self.model.streams[at].retention;
        match result {
            Ok(()) => {
                retention.settle();
                Ok(None)
            }
            Err(error) => self.failed("change the retention", &error, |world| {
                world.model.streams[at].retention.maybe = None;
            }),
        }
    }

    fn save_checkpoint(&mut self, at: usize, records: usize) -> Result<Option<Failure>, Stop> {
        let stream = self.stream(&self.model.streams[at].name.clone())?;
        let saved = stream.reader(StartingPosition::TrimHorizon).and_then(|reader| {
            // A limit of size can hide the first records of a child while its parent still shows its last.
            let mut reader = reader.skip_trimmed();
            reader
                .by_ref()
                .take(records)
                .try_for_each(|record| record.map(drop))?;
            let checkpoint = reader.checkpoint();
            let checkpoints = &mut self.model.streams[at].checkpoints;
            let setting = checkpoints
                .entry(READER.to_owned())
                .or_insert_with(|| Setting::new(None));
            setting.maybe = Some(Some(checkpoint));
            reader.stream().reset_checkpoint(READER, &reader.checkpoint())
        });
        let setting = self.model.streams[at].checkpoints.get_mut(READER);
        match (saved, setting) {
            (Ok(()), Some(setting)) => {
                setting.settle();
                Ok(None)
            }
            (Ok(()), None) => Ok(None),
            (Err(error), _) => self.failed("save a checkpoint", &error, |world| {
                if let Some(setting) = world.model.streams[at].checkpoints.get_mut(READER) {
                    setting.maybe = None;
                }
            }),
        }
    }

    fn maintain(&mut self) -> Result<Option<Failure>, Stop> {
        match self.keep_house()? {
            Ok(()) => {
                self.model.note_written_synced();
                Ok(None)
            }
            Err(error) => self.failed("maintain", &error, |_| ()),
        }
    }

    /// Judges an error, and undoes the expectation if the call had no effect.
    pub fn failed(
        &mut self,
        what: &str,
        error: &Error,
        take_back: impl FnOnce(&mut Self),
    ) -> Result<Option<Failure>, Stop> {
        let failure = self.judge(what, error)?;
        if failure == Failure::NotDone {
            take_back(self);
        }
        Ok(Some(failure))
    }

    /// From now on the record may be there.
    fn expect(&mut self, at: usize, key: u8, bytes: usize) -> Result<(RecordModel, Place), Stop> {
        let mut record = self.model.new_record(key, bytes, self.now());
        let stream = &mut self.model.streams[at];
        record.is_secret = stream.encryption.is.is_some() && stream.encryption.maybe.is_none();
        let shard = stream
            .route(record.hash_key())
            .ok_or_else(|| format!("no open shard owns the key of {record:?}"))?;
        let records = &mut stream.shards.get_mut(&shard).expect("it is open").records;
        records.push(record.clone());
        Ok((record, (shard, records.len() - 1)))
    }

    fn expect_all(&mut self, at: usize, records: &[(u8, usize)]) -> Result<Vec<(RecordModel, Place)>, Stop> {
        records
            .iter()
            .map(|(key, bytes)| self.expect(at, *key, *bytes))
            .collect()
    }

    fn forget(&mut self, at: usize, (shard, place): Place) {
        if let Some(shard) = self.model.streams[at].shards.get_mut(&shard) {
            shard.records.truncate(place);
        }
    }

    fn acknowledge(&mut self, at: usize, (shard, place): Place, put: PutResult) -> Result<(), Stop> {
        let stream = &mut self.model.streams[at];
        let model = stream
            .shards
            .get_mut(&shard)
            .ok_or("the shard is unknown".to_owned())?;
        if put.shard_id != shard {
            return Err(format!("a record of {shard} went to {}", put.shard_id).into());
        }
        if Some(put.sequence_number) <= model.greatest {
            return Err(format!("{} does not exceed {:?}", put.sequence_number, model.greatest).into());
        }
        model.note_greatest(put.sequence_number);
        model.acknowledged = model.acknowledged.max(place + 1);
        let record = model
            .records
            .get_mut(place)
            .ok_or("the record is unknown".to_owned())?;
        record.number = Some(put.sequence_number);
        let id = record.id;
        let stream_id = stream.id.ok_or("the stream has no number".to_owned())?;
        Ok(self.model.note_number(stream_id, put.sequence_number, id)?)
    }
}
