//! The state that a store should have: streams, shards, lineage and records, acknowledged or not.
//!
//! Before each call the model notes what the call may change, and afterwards its result. If a call failed in a crash,
//! its effect stays open until the next look at the store settles it for good.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anabranch::{
    Checkpoint, Durability, HashKey, HashKeyRange, KeyRing, Record, RecordNumber, SequenceNumber, ShardId,
    SizeLimits, StreamId, Timestamp,
};

use crate::hidden::Hidden;

/// A description of an error.
pub type Violation = String;

/// The event for the process and its machine since the model was last compared with the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// The same process goes on.
    Nothing,
    /// The process was killed, or closed the store.
    Kill,
    /// The machine lost power, or its disk failed a sync.
    PowerLoss,
}

#[derive(Clone, Debug)]
pub struct Model {
    pub durability: Durability,
    /// All streams that ever existed, or may have.
    pub streams: Vec<StreamModel>,
    /// The record that was given each number, whether or not it survived.
    pub numbers: HashMap<(StreamId, ShardId, RecordNumber), u64>,
    next_record: u64,
}

/// The ids of the keys that every store of this suite has.
pub const KEYS: [&str; 3] = ["first", "second", "third"];

/// Bytes that no file of a store may have.
pub const SECRET: &[u8] = b"to be found in no file";

pub fn key_ring() -> KeyRing {
    let keys = KeyRing::new();
    for (id, byte) in KEYS.into_iter().zip(1..) {
        keys.insert(id, [byte; 32]);
    }
    keys
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    MaybeCreated,
    There,
    MaybeDeleted,
    Gone,
}

#[derive(Clone, Debug)]
pub struct StreamModel {
    pub name: String,
    pub id: Option<StreamId>,
    pub presence: Presence,
    pub shard_count: u32,
    pub shards: BTreeMap<ShardId, ShardModel>,
    pub retention: Setting<Retention>,
    pub limits: Setting<SizeLimits>,
    /// The key of [`KEYS`] that records are encrypted with.
    pub encryption: Setting<Option<u8>>,
    pub checkpoints: BTreeMap<String, Setting<Option<Checkpoint>>>,
    /// A reshard of these parents may have happened.
    pub maybe_resharded: Option<Resharding>,
    /// A change that takes time, in stores whose changes do.
    pub pending: Option<Pending>,
}

/// A change that happens some time after it was asked for.
#[derive(Clone, Debug)]
pub struct Pending {
    pub change: Change,
    /// Whether it is known to be under way. It is not if the call that asked for it may have failed in a crash.
    pub is_certain: bool,
    /// It does not happen before this time, counted as [`World::elapsed`](crate::world::World) is.
    pub earliest: Duration,
    /// It has happened by this time, unless something delayed the store.
    pub latest: Duration,
    /// The change that a deletion replaced.
    pub replaces: Option<Box<Pending>>,
}

/// A change of the shards of a stream that may happen.
#[derive(Clone, Debug)]
pub enum Resharding {
    /// A split or a merge of these shards.
    Of(Vec<ShardId>),
    /// Splits and merges until this many are open. Once it has begun it runs to its end. If the number of shards grows,
    /// none of the shards up to this one stays open.
    To {
        target: u32,
        newest_before: Option<ShardId>,
    },
}

impl Resharding {
    /// Whether a shard that is open before the change may be closed by it.
    pub fn may_close(&self, shard: ShardId) -> bool {
        match self {
            Self::Of(parents) => parents.contains(&shard),
            Self::To { .. } => true,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Create,
    Reshard,
    Delete,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    pub hours: u32,
    pub floor: Timestamp,
}

/// A value that has perhaps been replaced by another.
#[derive(Clone, Debug)]
pub struct Setting<T> {
    pub is: T,
    pub maybe: Option<T>,
}

#[derive(Clone, Debug)]
pub struct ShardModel {
    pub range: HashKeyRange,
    pub parents: Vec<ShardId>,
    pub closed: Option<Timestamp>,
    /// In the order in which they were put, the unacknowledged ones included.
    pub records: Vec<RecordModel>,
    /// How many of the first of them are hidden, besides those that have expired.
    pub hidden: Hidden,
    /// How many of them were acknowledged, or lie before one that was.
    pub acknowledged: usize,
    /// How many of them were read.
    pub seen: usize,
    /// How many of them are synced for certain.
    pub synced: usize,
    /// The greatest number that was given out.
    pub greatest: Option<SequenceNumber>,
}

/// Records that arrived before a time are hidden. The time is known only within bounds while the clock is, or was,
/// wrong.
#[derive(Clone, Copy, Debug)]
pub struct Horizons {
    pub least: Timestamp,
    pub most: Timestamp,
}

/// How many of the first records of a shard are there, hidden or not, except some that were lost.
#[derive(Clone, Debug)]
pub struct Found {
    pub least: usize,
    pub most: usize,
    pub lost: Vec<usize>,
    /// The places of those that were read.
    pub read: Vec<usize>,
    /// What this shows of trims and limits.
    pub hidden: Hidden,
}

#[derive(Clone, Debug)]
pub struct RecordModel {
    pub id: u64,
    pub key: u8,
    pub bytes: usize,
    /// Whether it was put to a stream that was encrypted for certain.
    pub is_secret: bool,
    pub arrival: Timestamp,
    pub number: Option<SequenceNumber>,
    /// Whether a crash may have taken it without notice, because it was hidden at the next look.
    pub may_be_lost: bool,
}

impl Model {
    pub fn new(durability: Durability) -> Self {
        Self {
            durability,
            streams: Vec::new(),
            numbers: HashMap::new(),
            next_record: 1,
        }
    }

    pub fn new_record(&mut self, key: u8, bytes: usize, arrival: Timestamp) -> RecordModel {
        self.next_record += 1;
        RecordModel {
            id: self.next_record,
            key,
            bytes: bytes.max(8),
            is_secret: false,
            arrival,
            number: None,
            may_be_lost: false,
        }
    }

    /// Changes that take time.
    pub fn pending(&mut self) -> impl Iterator<Item = &mut Pending> {
        let streams = self.streams.iter_mut();
        let there = streams.filter(|stream| stream.presence != Presence::Gone);
        there.filter_map(|stream| stream.pending.as_mut())
    }

    /// The stream of this name that exists, or may exist.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.streams
            .iter()
            .rposition(|stream| stream.name == name && stream.presence != Presence::Gone)
    }

    /// Notes which record has a number. Each number is given once.
    pub fn note_number(
        &mut self,
        stream: StreamId,
        number: SequenceNumber,
        record: u64,
    ) -> Result<(), Violation> {
        let key = (stream, number.shard_id(), number.record_number());
        match self.numbers.insert(key, record) {
            Some(other) if other != record => Err(format!(
                "stream {stream}, {}: number {} was given to record {other} and again to record {record}",
                key.1, key.2
            )),
            _ => Ok(()),
        }
    }

    /// Everything acknowledged so far is on the device.
    pub fn note_all_synced(&mut self) {
        for shard in self
            .streams
            .iter_mut()
            .flat_map(|stream| stream.shards.values_mut())
        {
            shard.synced = shard.synced.max(shard.acknowledged);
        }
    }

    /// The keeper has synced all that was written. What is acknowledged from memory is written for certain only if it
    /// was read.
    pub fn note_written_synced(&mut self) {
        let is_buffered = self.durability == Durability::Buffered;
        for shard in self
            .streams
            .iter_mut()
            .flat_map(|stream| stream.shards.values_mut())
        {
            let written = if is_buffered {
                shard.seen
            } else {
                shard.acknowledged
            };
            shard.synced = shard.synced.max(written);
        }
    }
}

impl StreamModel {
    pub fn new(name: &str, shard_count: u32) -> Self {
        Self {
            name: name.to_owned(),
            id: None,
            presence: Presence::MaybeCreated,
            shard_count,
            shards: BTreeMap::new(),
            retention: Setting::new(Retention {
                hours: 24,
                floor: Timestamp::EPOCH,
            }),
            limits: Setting::new(SizeLimits::NONE),
            encryption: Setting::new(None),
            checkpoints: BTreeMap::new(),
            maybe_resharded: None,
            pending: None,
        }
    }

    pub fn pending_change(&self) -> Option<Change> {
        self.pending.as_ref().map(|pending| pending.change)
    }

    /// Whether it has no shards yet, or is about to lose them.
    pub fn is_without_shards(&self) -> bool {
        matches!(self.pending_change(), Some(Change::Create | Change::Delete))
    }

    /// The open shards in the order of their ranges.
    pub fn open_shards(&self) -> Vec<ShardId> {
        let mut open: Vec<_> = self
            .shards
            .iter()
            .filter(|(_, shard)| shard.closed.is_none())
            .map(|(id, shard)| (shard.range.start(), *id))
            .collect();
        open.sort();
        open.into_iter().map(|(_, id)| id).collect()
    }

    pub fn route(&self, key: HashKey) -> Option<ShardId> {
        let owns = |(_, shard): &(&ShardId, &ShardModel)| shard.closed.is_none() && shard.range.contains(key);
        self.shards.iter().find(owns).map(|(id, _)| *id)
    }

    /// Records that arrived earlier are hidden.
    pub fn horizon(&self, now: Timestamp) -> Timestamp {
        self.retention.is.horizon(now)
    }
}

impl Retention {
    pub fn horizon(&self, now: Timestamp) -> Timestamp {
        let kept = Duration::from_secs(u64::from(self.hours) * 3_600);
        now.saturating_sub(kept).max(self.floor)
    }
}

impl<T: PartialEq + std::fmt::Debug + Clone> Setting<T> {
    pub fn new(is: T) -> Self {
        Self { is, maybe: None }
    }

    /// The change has happened.
    pub fn settle(&mut self) {
        if let Some(now) = self.maybe.take() {
            self.is = now;
        }
    }

    /// Takes a finding for the truth, if it can be true. Unless the finding is final, the question stays open.
    pub fn observe(&mut self, is_found: impl Fn(&T) -> bool, is_final: bool) -> bool {
        if self.maybe.as_ref().is_some_and(&is_found) && !is_found(&self.is) {
            self.settle();
        }
        if is_final {
            self.maybe = None;
        }
        is_found(&self.is)
    }
}

impl ShardModel {
    pub fn new(range: HashKeyRange, parents: Vec<ShardId>) -> Self {
        Self {
            range,
            parents,
            closed: None,
            records: Vec::new(),
            hidden: Hidden::default(),
            acknowledged: 0,
            seen: 0,
            synced: 0,
            greatest: None,
        }
    }

    /// How many records must be there.
    pub fn least(&self, durability: Durability, since: Since, is_final: bool) -> usize {
        let kept = match (since, durability) {
            (Since::Nothing, Durability::Buffered) if !is_final => self.seen,
            (Since::Nothing, _) => self.acknowledged.max(self.seen),
            (Since::Kill, Durability::Buffered) => self.seen,
            (Since::Kill, _) => self.acknowledged.max(self.seen),
            (Since::PowerLoss, Durability::Synced) => self.acknowledged.max(self.seen),
            (Since::PowerLoss, _) => 0,
        };
        kept.max(self.synced)
    }

    /// Compares the records that were read with those that should be there, and gives which of these were found.
    pub fn compare(&self, read: &[Record], horizons: Horizons, least: usize) -> Result<Found, Violation> {
        let expired_by = |horizon| self.records.partition_point(|record| record.arrival < horizon);
        let expired = expired_by(horizons.most);
        let surely = expired_by(horizons.least).max(self.hidden.least);
        let perhaps = expired.max(self.hidden.most);
        let is_first = |record: &RecordModel| read.first().is_some_and(|read| record.compare(read).is_ok());
        let first = self.records[surely..perhaps].iter().position(is_first);
        let hidden = first.map_or(perhaps, |first| surely + first);
        let (mut lost, mut places) = (Vec::new(), Vec::new());
        let mut place = hidden;
        for record in read {
            loop {
                let model = self.records.get(place);
                let model = model.ok_or_else(|| format!("a foreign record: {}", describe(record)))?;
                match model.compare(record) {
                    Ok(()) => break,
                    Err(_) if model.may_be_lost => lost.push(place),
                    Err(what) => return Err(format!("at {place}, behind {hidden} that are hidden: {what}")),
                }
                place += 1;
            }
            places.push(place);
            place += 1;
        }
        let found = place;
        if found < least && !self.records[found..least].iter().all(|record| record.may_be_lost) {
            let first = &self.records[found];
            return Err(format!(
                "{} records are lost, from {first:?} on: {found} of {least} are there ({} acknowledged, {} seen, {} \
                 synced, {hidden} hidden)",
                least - found,
                self.acknowledged,
                self.seen,
                self.synced
            ));
        }
        // If nothing is read, all records that can be hidden are hidden or lost.
        let is_known = !read.is_empty() || surely == perhaps;
        Ok(Found {
            least: if is_known {
                found
            } else {
                surely.max(least).min(found)
            },
            most: found,
            lost,
            hidden: match read.is_empty() {
                true => self.hidden,
                false => self.hidden_as_seen(hidden, expired),
            },
            read: places,
        })
    }

    /// The bounds that follow from the first record that is seen: the records before it are hidden or lost, and no
    /// others.
    fn hidden_as_seen(&self, first_seen: usize, expired: usize) -> Hidden {
        let unexpired = self.records.get(expired..first_seen).unwrap_or_default();
        let is_known_to_hide = unexpired.iter().any(|record| !record.may_be_lost);
        Hidden {
            least: match is_known_to_hide {
                true => first_seen,
                false => self.hidden.least,
            },
            most: self.hidden.most.min(first_seen),
            ..self.hidden
        }
    }

    /// A record that was read keeps its number, whether or not it was acknowledged.
    pub fn note_read(&mut self, found: &Found, read: &[Record]) {
        for (place, record) in found.read.iter().zip(read) {
            self.records[*place].number = Some(record.sequence_number);
        }
    }

    /// From now on no other records than the found ones can appear.
    pub fn settle(&mut self, found: &Found) {
        self.records.truncate(found.most);
        for record in &mut self.records[found.least..] {
            record.may_be_lost = true;
        }
        self.seen = found.least;
        self.acknowledged = self.acknowledged.min(found.least);
        self.synced = self.synced.min(found.least);
        self.hidden = Hidden {
            least: found.hidden.least.min(found.most),
            most: found.hidden.most.min(found.most),
            ..found.hidden
        };
        // The lost records lie behind the hidden ones.
        for place in found.lost.iter().rev() {
            self.records.remove(*place);
            for count in [&mut self.seen, &mut self.acknowledged, &mut self.synced] {
                *count -= usize::from(*count > *place);
            }
        }
    }

    pub fn note_greatest(&mut self, number: SequenceNumber) {
        self.greatest = self.greatest.max(Some(number));
    }
}

impl RecordModel {
    pub fn partition_key(&self) -> String {
        partition_key(self.key)
    }

    pub fn hash_key(&self) -> HashKey {
        hash_key(self.key)
    }

    /// Bytes that no other record has, and of which no part equals another part.
    pub fn data(&self) -> Vec<u8> {
        let mut data = Vec::with_capacity(self.bytes + size_of::<u64>());
        data.extend_from_slice(&self.id.to_le_bytes());
        if self.is_secret && self.bytes >= data.len() + SECRET.len() {
            data.extend_from_slice(SECRET);
        }
        let mut state = self.id;
        while data.len() < self.bytes {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            data.extend_from_slice(&state.to_le_bytes());
        }
        data.truncate(self.bytes);
        data
    }

    pub fn compare(&self, record: &Record) -> Result<(), Violation> {
        if record.data != self.data() || record.partition_key.as_str() != self.partition_key() {
            return Err(format!("{} instead of {self:?}", describe(record)));
        }
        if record.approximate_arrival != self.arrival {
            let arrival = record.approximate_arrival;
            return Err(format!("arrival {} instead of {self:?}", arrival.as_millis()));
        }
        match self.number {
            Some(number) if number != record.sequence_number => Err(format!(
                "number {} instead of {number}: {self:?}",
                record.sequence_number
            )),
            _ => Ok(()),
        }
    }
}

pub fn partition_key(key: u8) -> String {
    format!("key-{key}")
}

/// Sixteen keys, spread evenly over the hash space.
pub fn hash_key(key: u8) -> HashKey {
    HashKey::new(u128::from(key % 16) << 124)
}

fn describe(record: &Record) -> String {
    let id = record
        .data
        .first_chunk()
        .map_or_else(|| "?".to_owned(), |id| u64::from_le_bytes(*id).to_string());
    format!(
        "record {id} of {} bytes, key {}, {} record {}, arrival {}",
        record.data.len(),
        record.partition_key,
        record.sequence_number.shard_id(),
        record.sequence_number.record_number(),
        record.approximate_arrival.as_millis()
    )
}
