//! Reads everything that a store shows, and compares it with the model.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anabranch::{
    Error, HashKeyRange, ReadLimit, Record, SequenceNumber, Shard, ShardFilter, ShardId, StartingPosition,
    Store, Stream, StreamStatus, Timestamp,
};

use crate::hidden::Closing;
use crate::model::{
    Change, Horizons, KEYS, Model, Pending, Presence, Resharding, ShardModel, Since, StreamModel, Violation,
};

/// How to judge a difference.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub since: Since,
    pub is_poisoned: bool,
    /// The latest time that a right clock showed. Records that have not expired by then are never gone, whatever the
    /// clock shows now.
    pub latest: Timestamp,
    /// Whether records that have expired may still be readable.
    pub may_lag: bool,
    /// How much time has passed.
    pub elapsed: Duration,
    /// Whether something may have delayed the store's changes.
    pub may_be_late: bool,
}

impl Look {
    /// Whether a record that is not seen now is lost: nothing is in flight, and the disk was read again if necessary.
    fn is_final(self) -> bool {
        !self.is_poisoned
    }
}

impl Model {
    /// Compares all that the store shows with the model, and settles open questions of the model.
    pub fn check(&mut self, store: &Store, look: Look) -> Result<(), Violation> {
        self.check_names(store, look)?;
        for at in 0..self.streams.len() {
            if self.streams[at].presence == Presence::There {
                let name = self.streams[at].name.clone();
                self.check_stream(at, store, look)
                    .map_err(|what| format!("stream {name}: {what}"))?;
            }
        }
        if look.since != Since::Nothing {
            // Recovery syncs the records it finds before it shows them.
            self.streams
                .iter_mut()
                .flat_map(|stream| stream.shards.values_mut())
                .for_each(|shard| shard.synced = shard.seen);
        }
        Ok(())
    }

    fn check_names(&mut self, store: &Store, look: Look) -> Result<(), Violation> {
        let mut listed = BTreeMap::new();
        for summary in unwrapped("list the streams", store.streams(None, usize::MAX))? {
            let other = self
                .streams
                .iter()
                .find(|stream| stream.id == Some(summary.id) && stream.name != summary.name);
            if let Some(other) = other {
                return Err(format!(
                    "stream number {} was {} and is {}",
                    summary.id, other.name, summary.name
                ));
            }
            listed.insert(summary.name, summary.id);
        }
        for at in 0..self.streams.len() {
            let taken: BTreeSet<_> = self.streams.iter().filter_map(|stream| stream.id).collect();
            let stream = &mut self.streams[at];
            let found = listed.get(&stream.name).copied();
            let is_same = found.is_some() && (stream.id.is_none() || stream.id == found);
            match (stream.presence, is_same) {
                (Presence::Gone, true) if stream.id.is_some() => {
                    return Err(format!("stream {} was deleted and is there", stream.name));
                }
                (Presence::Gone, _) | (Presence::There, true) => continue,
                (Presence::There, false) => match &stream.pending {
                    Some(pending) if pending.change == Change::Delete => {
                        pending.check_not_early(look)?;
                        stream.presence = Presence::Gone;
                    }
                    _ => return Err(format!("stream {} is lost", stream.name)),
                },
                (Presence::MaybeCreated, true) => {
                    if found.is_some_and(|id| taken.contains(&id)) {
                        return Err(format!("stream {} has a number that another had", stream.name));
                    }
                    stream.id = found;
                    stream.presence = Presence::There;
                }
                (Presence::MaybeDeleted, true) if look.is_final() => stream.presence = Presence::There,
                (Presence::MaybeDeleted, true) => continue,
                (Presence::MaybeCreated | Presence::MaybeDeleted, false) if look.is_final() => {
                    stream.presence = Presence::Gone;
                }
                (Presence::MaybeCreated | Presence::MaybeDeleted, false) => continue,
            }
        }
        for name in listed.keys() {
            let is_known = |stream: &StreamModel| stream.name == *name && stream.presence != Presence::Gone;
            if !self.streams.iter().any(is_known) {
                return Err(format!("stream {name} was never created"));
            }
        }
        Ok(())
    }

    fn check_stream(&mut self, at: usize, store: &Store, look: Look) -> Result<(), Violation> {
        let now = store.now();
        let name = self.streams[at].name.clone();
        let stream = unwrapped("open the stream", store.stream(&name))?;
        let summary = unwrapped("describe", stream.summary())?;
        let model = &mut self.streams[at];
        let is_final = look.is_final();
        if !model.retention.observe(
            |retention| anabranch::Retention::hours(retention.hours) == summary.retention,
            is_final,
        ) {
            return Err(format!(
                "retention is {} h, not {:?}",
                summary.retention, model.retention
            ));
        }
        let found = summary.size_limits;
        if !model.limits.observe(|limits| *limits == found, is_final) {
            return Err(format!("the limits are {found:?}, not {:?}", model.limits));
        }
        let key = summary.encryption_key.as_deref();
        let is_key = |known: &Option<u8>| known.map(|known| KEYS[usize::from(known)]) == key;
        if !model.encryption.observe(is_key, is_final) {
            return Err(format!("the key is {key:?}, not {:?}", model.encryption));
        }
        for (checkpoint, setting) in &mut model.checkpoints {
            let found = unwrapped("read a checkpoint", stream.checkpoint(checkpoint))?;
            if !setting.observe(|is| *is == found, is_final) {
                return Err(format!("checkpoint {checkpoint} is {found:?}, not {setting:?}"));
            }
        }
        model.check_status(summary.status, look)?;
        if matches!(summary.status, StreamStatus::Creating | StreamStatus::Deleting) {
            return Ok(());
        }
        let known = model.shards.len();
        let listed = model.check_shards(&stream, now, summary.status, look)?;
        if summary.status == StreamStatus::Active && known > 0 {
            model.check_due_reshard(known, look)?;
        }
        self.check_records(at, &stream, &listed, look)
    }

    fn check_records(
        &mut self,
        at: usize,
        stream: &Stream,
        listed: &[ShardId],
        look: Look,
    ) -> Result<(), Violation> {
        let horizons = self.streams[at].horizons(look);
        let mut everything = BTreeMap::new();
        for &id in listed {
            let in_shard = |what: Violation| format!("{id}: {what}");
            let read = read_shard(stream, id, &self.streams[at]).map_err(in_shard)?;
            let shard = &self.streams[at].shards[&id];
            let least = shard.least(self.durability, look.since, look.is_final());
            let found = shard.compare(&read, horizons, least).map_err(in_shard)?;
            self.check_numbers(at, id, &read).map_err(in_shard)?;
            let shard = self.streams[at].shards.get_mut(&id).expect("it is listed");
            shard.seen = shard.seen.max(found.least);
            shard.note_read(&found, &read);
            if look.is_final() {
                shard.settle(&found);
            }
            everything.insert(id, read);
        }
        self.streams[at].check_reader(stream, &everything)
    }

    fn check_numbers(&mut self, at: usize, id: ShardId, read: &[Record]) -> Result<(), Violation> {
        let stream = &self.streams[at];
        let parents = &stream.shards[&id].parents;
        let of_parents = |parent| {
            stream
                .shards
                .get(parent)
                .and_then(|shard: &ShardModel| shard.greatest)
        };
        let greatest_of_parents: Option<SequenceNumber> = parents.iter().filter_map(of_parents).max();
        let stream_id = stream.id.ok_or("the stream has no number")?;
        let mut before = greatest_of_parents;
        for record in read {
            let number = record.sequence_number;
            if Some(number) <= before {
                return Err(format!("number {number} does not exceed {before:?} before it"));
            }
            if number.shard_id() != id {
                return Err(format!("number {number} is of {}", number.shard_id()));
            }
            before = Some(number);
            let id_of_record = record.data.first_chunk().map_or(0, |id| u64::from_le_bytes(*id));
            self.note_number(stream_id, number, id_of_record)?;
        }
        if let Some(number) = before {
            self.streams[at]
                .shards
                .get_mut(&id)
                .expect("it is read")
                .note_greatest(number);
        }
        Ok(())
    }
}

impl Change {
    fn status(self) -> StreamStatus {
        match self {
            Self::Create => StreamStatus::Creating,
            Self::Reshard => StreamStatus::Updating,
            Self::Delete => StreamStatus::Deleting,
        }
    }
}

impl Pending {
    fn check_not_early(&self, look: Look) -> Result<(), Violation> {
        match self.earliest <= look.elapsed {
            true => Ok(()),
            false => Err(format!("after {:?} this has happened: {self:?}", look.elapsed)),
        }
    }

    /// Notes that a change turned out to be under way.
    fn note_under_way(&mut self, look: Look) -> Result<(), Violation> {
        self.is_certain = true;
        match self.latest > look.elapsed || look.may_be_late || look.is_poisoned {
            true => Ok(()),
            false => Err(format!(
                "after {:?} this is still under way: {self:?}",
                look.elapsed
            )),
        }
    }
}

impl StreamModel {
    /// Checks that a stream is in the change that it was asked for, until the change is due.
    fn check_status(&mut self, status: StreamStatus, look: Look) -> Result<(), Violation> {
        let is_deleting = self.pending_change() == Some(Change::Delete);
        if is_deleting && status != StreamStatus::Deleting {
            // Only a deletion asked for in a call that failed may be missing here.
            let Some(deletion) = self.pending.take_if(|pending| !pending.is_certain) else {
                return Err(format!("it is {status}, and was to be deleted"));
            };
            if !look.is_final() {
                self.pending = Some(deletion);
                return Ok(());
            }
            self.pending = deletion.replaces.map(|before| *before);
        }
        match (&mut self.pending, status) {
            (None, StreamStatus::Active) => Ok(()),
            (Some(pending), StreamStatus::Active) => match pending.change {
                Change::Create => {
                    pending.check_not_early(look)?;
                    self.pending = None;
                    Ok(())
                }
                // The shards show it.
                Change::Reshard | Change::Delete => Ok(()),
            },
            (Some(pending), _) if pending.change.status() == status => pending.note_under_way(look),
            (pending, _) => Err(format!("it is {status}, and should be doing {pending:?}")),
        }
    }

    /// A reshard of a stream that is ACTIVE has happened, or was not recorded.
    fn check_due_reshard(&mut self, known: usize, look: Look) -> Result<(), Violation> {
        let has_happened = self.shards.len() > known;
        let Some(pending) = self.pending.take_if(|pending| pending.change == Change::Reshard) else {
            return Ok(());
        };
        if has_happened {
            return pending.check_not_early(look);
        }
        match (pending.is_certain, look.is_final()) {
            (true, _) => Err(format!("it is ACTIVE, and this has not happened: {pending:?}")),
            (false, true) => Ok(()),
            (false, false) => {
                self.pending = Some(pending);
                Ok(())
            }
        }
    }

    fn horizons(&self, look: Look) -> Horizons {
        let most = self.horizon(look.latest);
        Horizons {
            least: if look.may_lag { Timestamp::EPOCH } else { most },
            most,
        }
    }

    fn unexpired(&self, latest: Timestamp) -> impl Iterator<Item = (ShardId, &ShardModel)> {
        let horizon = self.horizon(latest);
        self.shards
            .iter()
            .filter(move |(_, shard)| shard.closed.is_none_or(|closed| closed >= horizon))
            .map(|(id, shard)| (*id, shard))
    }

    /// Gives the listed shards.
    fn check_shards(
        &mut self,
        stream: &Stream,
        now: Timestamp,
        status: StreamStatus,
        look: Look,
    ) -> Result<Vec<ShardId>, Violation> {
        let shards = unwrapped("list the shards", stream.shards(&ShardFilter::FromTrimHorizon))?;
        if self.shards.is_empty() {
            self.take_first_shards(&shards)?;
        }
        let is_under_way = status == StreamStatus::Updating;
        // The opener after a crash may have done a pending change, without the records that a crash took.
        let are_parents_synced = self.pending.is_none() || look.since == Since::Nothing;
        self.settle_reshard(&shards, is_under_way, look, are_parents_synced)?;
        let unexpired: Vec<_> = self.unexpired(look.latest).map(|(id, _)| id).collect();
        let found: Vec<_> = shards.iter().map(|shard| shard.id).collect();
        let closing = |id: &ShardId| self.shards.get(id).map(|shard| shard.hidden.closing);
        let is_expected = |id: &&ShardId| closing(id) == Some(Closing::Shown);
        let is_left = |id: &ShardId| unexpired.contains(id) || (look.may_lag && closing(id).is_some());
        let is_right = unexpired.iter().filter(is_expected).all(|id| found.contains(id))
            && found
                .iter()
                .all(|id| is_left(id) && closing(id) != Some(Closing::Gone));
        if !is_right {
            let known: Vec<_> = unexpired.iter().map(|id| (*id, closing(id))).collect();
            return Err(format!("shards {found:?} are there instead of {known:?}"));
        }
        for id in unexpired.iter().filter(|id| !found.contains(id)) {
            // It would be listed if its closing were not hidden, and does not come back.
            self.shards
                .entry(*id)
                .and_modify(|shard| shard.hidden.closing = Closing::Gone);
        }
        for shard in &shards {
            let model = &self.shards[&shard.id];
            let is_same = model.range == shard.hash_key_range
                && model.parents == shard.parents().collect::<Vec<_>>()
                && model.closed == shard.closed.map(|closed| closed.at);
            if !is_same {
                return Err(format!("{shard:?} is not {:?} {:?}", model.range, model.closed));
            }
        }
        self.check_tiling(stream, now)?;
        Ok(found)
    }

    fn take_first_shards(&mut self, shards: &[Shard]) -> Result<(), Violation> {
        let ranges = HashKeyRange::divide(self.shard_count);
        if shards.len() != ranges.len() {
            return Err(format!(
                "it has {} shards instead of {}",
                shards.len(),
                ranges.len()
            ));
        }
        for (shard, range) in shards.iter().zip(ranges) {
            self.shards.insert(shard.id, ShardModel::new(range, Vec::new()));
        }
        Ok(())
    }

    /// Updates the model by the steps of a reshard that have happened.
    fn settle_reshard(
        &mut self,
        shards: &[Shard],
        is_under_way: bool,
        look: Look,
        are_parents_synced: bool,
    ) -> Result<(), Violation> {
        let is_final = look.is_final() && !is_under_way;
        match self.maybe_resharded.clone() {
            None => Ok(()),
            Some(Resharding::Of(parents)) => self.settle_step(shards, &parents, is_final, are_parents_synced),
            Some(Resharding::To {
                target,
                newest_before,
            }) => {
                self.settle_steps(shards, target, is_under_way, look, are_parents_synced)?;
                let is_done = self.maybe_resharded.is_none() && self.open_shards().len() == target as usize;
                let is_left = |open: &ShardId| Some(*open) <= newest_before;
                match is_done && self.open_shards().iter().any(is_left) {
                    true => Err("shards that were to be split are open".to_owned()),
                    false => Ok(()),
                }
            }
        }
    }

    /// Updates the model by the steps of a change of many steps. All of them have happened once the stream is not under
    /// way.
    fn settle_steps(
        &mut self,
        shards: &[Shard],
        target: u32,
        is_under_way: bool,
        look: Look,
        are_parents_synced: bool,
    ) -> Result<(), Violation> {
        let known = self.shards.len();
        while let Some(child) = {
            let newest = self.shards.keys().next_back().copied();
            shards.iter().find(|shard| Some(shard.id) > newest)
        } {
            let parents: Vec<_> = child.parents().collect();
            if parents.is_empty() {
                return Err(format!("{} has no parent", child.id));
            }
            let siblings: Vec<_> = (shards.iter())
                .filter(|shard| shard.parents().any(|parent| parents.contains(&parent)))
                .collect();
            self.take_over(shards, &parents, &siblings, are_parents_synced)?;
        }
        if let Some(pending) = self.pending.as_ref().filter(|_| self.shards.len() > known) {
            pending.check_not_early(look)?;
        }
        let open = self.open_shards().len();
        if is_under_way {
            return Ok(());
        }
        if open == target as usize {
            self.maybe_resharded = None;
            self.pending = None;
            return Ok(());
        }
        let is_certain = self.pending.as_ref().is_some_and(|pending| pending.is_certain);
        if is_certain || self.shards.len() > known {
            return Err(format!(
                "it is not under way, and has {open} open shards instead of {target}"
            ));
        }
        if look.is_final() {
            self.maybe_resharded = None;
        }
        Ok(())
    }

    /// Adds the children of a split or a merge that has happened.
    fn settle_step(
        &mut self,
        shards: &[Shard],
        parents: &[ShardId],
        is_final: bool,
        are_parents_synced: bool,
    ) -> Result<(), Violation> {
        let children: Vec<_> = shards
            .iter()
            .filter(|shard| shard.parents().any(|parent| parents.contains(&parent)))
            .collect();
        if is_final || !children.is_empty() {
            self.maybe_resharded = None;
        }
        if children.is_empty() {
            return Ok(());
        }
        self.take_over(shards, parents, &children, are_parents_synced)
    }

    fn take_over(
        &mut self,
        shards: &[Shard],
        parents: &[ShardId],
        children: &[&Shard],
        are_parents_synced: bool,
    ) -> Result<(), Violation> {
        let greatest_id = self.shards.keys().next_back().copied();
        for child in children {
            if Some(child.id) <= greatest_id {
                return Err(format!("{} has an id that was given out before", child.id));
            }
            let model = ShardModel::new(child.hash_key_range, child.parents().collect());
            self.shards.insert(child.id, model);
        }
        let may_be_gone = self.may_be_limited();
        for id in parents {
            let listed = shards.iter().find(|shard| shard.id == *id);
            let parent = self.shards.get_mut(id).ok_or("a parent is unknown")?;
            parent.closed = match (listed, children.first()) {
                // Closed and dropped in one round of house-keeping.
                (None, Some(child)) if may_be_gone => {
                    parent.hidden.closing = Closing::Gone;
                    Some(child.created)
                }
                _ => {
                    let closed = listed.and_then(|shard| shard.closed);
                    Some(closed.ok_or_else(|| format!("{id} has children and is open"))?.at)
                }
            };
            // A parent is sealed, and synced, before its children are made.
            if are_parents_synced {
                parent.synced = parent.synced.max(parent.acknowledged);
            }
        }
        let ranges_of = |ids: &mut dyn Iterator<Item = HashKeyRange>| {
            let mut ranges: Vec<_> = ids.collect();
            ranges.sort_by_key(HashKeyRange::start);
            (
                ranges.first().map(HashKeyRange::start),
                ranges.last().map(HashKeyRange::end),
            )
        };
        let before = ranges_of(&mut parents.iter().map(|id| self.shards[id].range));
        let after = ranges_of(&mut children.iter().map(|child| child.hash_key_range));
        match before == after {
            true => Ok(()),
            false => Err(format!(
                "the children of {parents:?} own {after:?} instead of {before:?}"
            )),
        }
    }

    fn check_tiling(&self, stream: &Stream, now: Timestamp) -> Result<(), Violation> {
        let mut filters = vec![
            ShardFilter::AtLatest,
            ShardFilter::AtTrimHorizon,
            ShardFilter::AtTimestamp(now),
        ];
        for closed in self.shards.values().filter_map(|shard| shard.closed) {
            let before = Timestamp::from_millis(closed.as_millis().saturating_sub(1));
            filters.extend([closed, before].map(ShardFilter::AtTimestamp));
        }
        for filter in filters {
            let generation = unwrapped("list a generation", stream.shards(&filter))?;
            if !tiles_the_hash_space(&generation) {
                return Err(format!("{filter:?} does not tile the hash space: {generation:?}"));
            }
        }
        Ok(())
    }

    /// A reader that follows the lineage gives all records of the shards, a child's after those of all its parents, and
    /// each key's in the order in which they were put.
    fn check_reader(
        &self,
        stream: &Stream,
        shards: &BTreeMap<ShardId, Vec<Record>>,
    ) -> Result<(), Violation> {
        let reader = unwrapped("read the stream", stream.reader(StartingPosition::TrimHorizon))?;
        let mut read: BTreeMap<ShardId, Vec<Record>> = BTreeMap::new();
        let mut last_of_key = BTreeMap::new();
        let is_partly_hidden = |shard: &ShardId| {
            let known = self.shards.get(shard);
            known.is_some_and(|shard| shard.hidden.most > 0)
        };
        for record in reader {
            let record = match record {
                // A limit can hide the first records of a shard whose parent still has its last ones.
                Err(Error::Trimmed { shard, .. }) if is_partly_hidden(&shard) => continue,
                record => unwrapped("read the stream", record)?,
            };
            let shard = record.sequence_number.shard_id();
            let id = record.data.first_chunk().map_or(0, |id| u64::from_le_bytes(*id));
            let before = last_of_key.insert(record.partition_key.to_string(), id);
            if before.is_some_and(|before| before >= id) {
                return Err(format!(
                    "the reader gives record {id} of its key after {before:?}"
                ));
            }
            for child in self
                .shards
                .iter()
                .filter(|(_, other)| other.parents.contains(&shard))
            {
                if read.contains_key(child.0) {
                    return Err(format!(
                        "the reader gives record {id} of {shard} after one of {}",
                        child.0
                    ));
                }
            }
            read.entry(shard).or_default().push(record);
        }
        for (id, records) in shards {
            let by_reader = read.remove(id).unwrap_or_default();
            if by_reader != *records {
                return Err(format!(
                    "the reader gives {} of {} records of {id}",
                    by_reader.len(),
                    records.len()
                ));
            }
        }
        match read.keys().next() {
            Some(id) => Err(format!("the reader gives records of {id}, which is not listed")),
            None => Ok(()),
        }
    }
}

fn tiles_the_hash_space(shards: &[Shard]) -> bool {
    let mut ranges: Vec<_> = shards.iter().map(|shard| shard.hash_key_range).collect();
    ranges.sort_by_key(HashKeyRange::start);
    let joined = ranges
        .iter()
        .skip(1)
        .try_fold(*ranges.first().unwrap_or(&HashKeyRange::FULL), |all, next| {
            all.joined(next)
        });
    !ranges.is_empty() && joined == Some(HashKeyRange::FULL)
}

/// All records of a shard, in pages of odd sizes.
fn read_shard(stream: &Stream, shard: ShardId, model: &StreamModel) -> Result<Vec<Record>, Violation> {
    let mut from = unwrapped(
        "find the first record",
        stream.shard_iterator(shard, StartingPosition::TrimHorizon),
    )?;
    let limit = ReadLimit {
        records: 7,
        bytes: 100_000,
    };
    let mut records = Vec::new();
    loop {
        let read = unwrapped("read", stream.get_records(&from, &limit))?;
        let is_at_head = read.records.is_empty();
        records.extend(read.records);
        match read.next {
            Some(next) if !is_at_head => from = next,
            Some(_) if model.shards[&shard].closed.is_some() => {
                return Err("it is closed, and its end is not told".to_owned());
            }
            Some(_) => return Ok(records),
            None => {
                let told: BTreeSet<_> = read.child_shards.iter().map(|child| child.shard_id).collect();
                let children = model
                    .shards
                    .iter()
                    .filter(|(_, other)| other.parents.contains(&shard));
                return match told == children.map(|(id, _)| *id).collect() {
                    true => Ok(records),
                    false => Err(format!("its children are told to be {told:?}")),
                };
            }
        }
    }
}

fn unwrapped<T>(what: &str, result: anabranch::Result<T>) -> Result<T, Violation> {
    result.map_err(|error| format!("cannot {what}: {error}"))
}
