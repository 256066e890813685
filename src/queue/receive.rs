//! Giving records out.

use std::collections::BTreeSet;

use super::entry::{Entry, RecordId};
use super::handle::{Now, Queue};
use super::receipt::Receipt;
use super::shared::QueueTurn;
use super::state::State;
use crate::error::{Error, Result};
use crate::model::{Record, RecordNumber, ShardFilter, ShardId, Timestamp, limits};
use crate::seam::ReadLimit;
use crate::store::{RecordBatch, ShardIterator, check_visibility_seconds};

/// The options of a receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiveOptions {
    /// At most so many records (default 10, at most 10,000), and so many bytes of data and partition keys (default 10
    /// MiB). One record, however large, is always given.
    pub limit: ReadLimit,
    /// For how many seconds the records are held back from others; `None`, the default, for the queue's
    /// [setting](crate::QueueSettings::visibility_seconds).
    pub visibility_seconds: Option<u32>,
    /// Whether dead letters are received. Default: false.
    pub dead_letters: bool,
}

impl Default for ReceiveOptions {
    fn default() -> Self {
        Self {
            limit: ReadLimit {
                records: 10,
                ..ReadLimit::default()
            },
            visibility_seconds: None,
            dead_letters: false,
        }
    }
}

/// A record that was received.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct QueueRecord {
    /// The receipt to acknowledge it with.
    pub receipt: Receipt,
    /// The record. Its [sequence number](Record::sequence_number) is the same in each delivery, and in all queues of
    /// the stream.
    pub record: Record,
    /// When it was first received since it was put or restored.
    pub first_received: Timestamp,
    /// How often it was received, including this time, since it was put or restored.
    pub receive_count: u32,
}

impl Queue {
    /// Receives records, and holds them back from others for a while. Does not wait for records: if there are none the
    /// list is empty. Durable on return, so a record is never received more often than the queue's settings allow, also
    /// after a crash.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let jobs = store.create_stream("jobs", 1)?;
    /// # let queue = jobs.create_queue("resize", &Default::default())?;
    /// use anabranch::ReceiveOptions;
    ///
    /// jobs.put("picture-7", b"resize")?;
    /// let minute = ReceiveOptions { visibility_seconds: Some(60), ..ReceiveOptions::default() };
    /// assert_eq!(queue.receive(&minute)?[0].record.data, "resize");
    /// assert!(queue.receive(&minute)?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::TooManyUnacknowledged`] if that limit prevents every record; [`Error::InvalidArgument`] for the
    /// visibility; [`Error::QueueNotActive`], [`Error::QueueNotFound`]; the error of a shard that cannot be read, if no
    /// other shard has a record; otherwise as for [`Stream::summary`](crate::Stream::summary), and errors of the disk.
    pub fn receive(&self, options: &ReceiveOptions) -> Result<Vec<QueueRecord>> {
        match self.pick_and_note(options, false)? {
            Received::Records(records) => Ok(records),
            Received::NoRoom => Ok(Vec::new()),
        }
    }

    /// The same for a caller whose limit of bytes holds for a single record too.
    #[cfg(feature = "server")]
    pub(crate) fn receive_within_limit(&self, options: &ReceiveOptions) -> Result<Received> {
        self.pick_and_note(options, true)
    }

    fn pick_and_note(&self, options: &ReceiveOptions, keeps_to_limit: bool) -> Result<Received> {
        check_visibility_seconds(options.visibility_seconds.unwrap_or(0).into())?;
        let (mut turn, now) = self.turn()?;
        let time = self.stream.now();
        let seconds = options
            .visibility_seconds
            .unwrap_or(now.settings.visibility_seconds);
        let due_before = turn.state.next_moment(false);
        let mut picked = Picked {
            queue: self,
            left: options.limit.records.min(limits::MAX_RECEIVED),
            bytes_left: options.limit.bytes,
            again: Vec::new(),
            seen: BTreeSet::new(),
            new: Vec::new(),
            error: None,
            keeps_to_limit,
            lacks_room_for_first: false,
        };
        picked.pick(&mut turn, now, options.dead_letters);
        let Picked {
            again,
            new,
            error,
            lacks_room_for_first,
            ..
        } = picked;
        if again.is_empty() && new.is_empty() {
            let is_full = turn.state.records.len() >= limits::MAX_UNACKNOWLEDGED;
            // Writes down the deaths that were found on the way.
            turn.commit(&[], 0)?.wait()?;
            return match error {
                _ if lacks_room_for_first => Ok(Received::NoRoom),
                Some(error) => Err(error),
                None if is_full && !options.dead_letters => Err(Error::TooManyUnacknowledged {
                    queue: self.describe()?.name,
                    limit: limits::MAX_UNACKNOWLEDGED,
                }),
                None => Ok(Received::Records(Vec::new())),
            };
        }
        if !options.dead_letters {
            turn.note_given_out(!new.is_empty());
        }
        let (entries, ids) = entries_of(&again, &new, turn.state.next_delivery, time);
        let held_until = now.after(seconds);
        let first_delivery = turn.state.next_delivery;
        let known: Vec<_> = again
            .iter()
            .map(|(id, _)| turn.state.given(*id).copied())
            .collect();
        let committing = turn.commit(&entries, held_until)?;
        if due_before.is_none_or(|due| held_until < due) {
            self.shared.changes.notify();
        }
        // There may be more for the next caller, which need not wait for this commit.
        self.shared.sleepers(options.dead_letters).wake_next();
        committing.wait()?;
        let known = known.into_iter().chain(std::iter::repeat(None));
        let records = again.into_iter().map(|(_, record)| record);
        let records = records.chain(new.into_iter().flat_map(|new| new.records));
        let received = ids.into_iter().zip(records).zip(known).zip(first_delivery..);
        let records = received
            .map(|(((id, record), known), delivery)| QueueRecord {
                receipt: Receipt {
                    stream: self.stream.id(),
                    queue: self.id,
                    shard: id.0,
                    record: id.1,
                    delivery,
                    is_dead_letter: options.dead_letters,
                },
                record,
                first_received: known.and_then(|known| known.first_received).unwrap_or(time),
                receive_count: known.map_or(1, |known| known.receive_count.saturating_add(1)),
            })
            .collect();
        Ok(Received::Records(records))
    }
}

/// The result for a caller that may have too little room.
#[derive(Debug)]
pub(crate) enum Received {
    Records(Vec<QueueRecord>),
    /// The next record is larger than the limit. Nothing was given out.
    NoRoom,
}

/// The records to be given out.
struct Picked<'a> {
    queue: &'a Queue,
    left: usize,
    bytes_left: usize,
    again: Vec<(RecordId, Record)>,
    /// Records that were looked at because they are due to be given out again.
    seen: BTreeSet<RecordId>,
    new: Vec<NewRecords>,
    /// The error of the first shard that cannot be read.
    error: Option<Error>,
    /// Whether the limit of bytes holds for the first record too.
    keeps_to_limit: bool,
    /// Whether the first record exceeded the limit.
    lacks_room_for_first: bool,
}

/// After so many unreadable records the caller waits for no more.
const MOST_UNREADABLE: usize = 64;

/// Records of one shard that were never given out, and a range of numbers that contains no other record.
struct NewRecords {
    shard: ShardId,
    from: RecordNumber,
    to: RecordNumber,
    records: Vec<Record>,
}

impl Picked<'_> {
    /// Picks records that are given out again, and new ones, each about half if there are both. So neither records that
    /// fail each time nor an endless stream hold up the others.
    fn pick(&mut self, turn: &mut QueueTurn<'_>, now: Now, dead_letters: bool) {
        if dead_letters {
            return self.pick_again(turn, now, true, self.left);
        }
        let half = (self.left + (turn.turns().of_records % 2) as usize) / 2;
        self.pick_again(turn, now, false, half);
        self.pick_new(turn);
        self.pick_again(turn, now, false, self.left);
    }

    fn pick_again(&mut self, turn: &mut QueueTurn<'_>, now: Now, dead_letters: bool, most: usize) {
        let mut taken = 0;
        let mut unreadable = 0;
        loop {
            let candidates = self.candidates(&turn.state, dead_letters, most - taken);
            if candidates.is_empty() {
                return;
            }
            for id in candidates {
                if taken >= most || unreadable >= MOST_UNREADABLE || self.is_full() {
                    return;
                }
                self.seen.insert(id);
                if !dead_letters && turn.state.bury_if_due(id, now.settings.max_receive_count) {
                    continue;
                }
                match self.read_one(id) {
                    Ok(Some(record)) if !self.has_room_for(&record) => return,
                    Ok(Some(record)) => {
                        self.note(&record);
                        self.again.push((id, record));
                        taken += 1;
                    }
                    // The record has expired.
                    Ok(None) => {
                        turn.state.take_out(id);
                    }
                    Err(error) => {
                        // It must not hold up readable ones.
                        turn.state.put_behind(id, now.millis);
                        self.note_error(error);
                        unreadable += 1;
                    }
                }
            }
        }
    }

    /// Some records that are due to be given out again and were not looked at yet. Some may have been removed, or be
    /// dead letters by now.
    fn candidates(&self, state: &State, dead_letters: bool, most: usize) -> Vec<RecordId> {
        const SPARE: usize = 16;
        let ready = match dead_letters {
            true => &state.dead_letters.ready,
            false => &state.records.ready,
        };
        let ready = ready.iter().map(|(_, shard, number)| (*shard, *number));
        let not_seen = ready.filter(|id| !self.seen.contains(id));
        not_seen.take(most.saturating_add(SPARE)).collect()
    }

    fn pick_new(&mut self, turn: &mut QueueTurn<'_>) {
        let room = limits::MAX_UNACKNOWLEDGED.saturating_sub(turn.state.records.len());
        // Each caller that gets some begins with another shard.
        let unread = turn
            .state
            .shards
            .iter()
            .filter(|(_, state)| state.unread.first().is_some());
        let mut shards: Vec<_> = unread.map(|(shard, _)| *shard).collect();
        let turns = turn.turns().of_new_records;
        let first = turns.checked_rem(shards.len() as u64).unwrap_or(0);
        shards.rotate_left(first as usize);
        let mut next = 0;
        while let Some(shard) = shards.get(next).copied() {
            next += 1;
            let given: usize = self.new.iter().map(|new| new.records.len()).sum();
            let most = self.left.min(room.saturating_sub(given));
            if most == 0 || self.is_full() {
                return;
            }
            match self.pick_of_shard(turn, shard, most) {
                Ok(found) => shards.extend(found),
                Err(error) => self.note_error(error),
            }
        }
    }

    /// Picks new records of a shard. Gives the child shards that it has found.
    fn pick_of_shard(
        &mut self,
        turn: &mut QueueTurn<'_>,
        shard: ShardId,
        most: usize,
    ) -> Result<Vec<ShardId>> {
        while let Some((from, to)) = turn.state.first_unread(shard) {
            let position = ShardIterator {
                stream: self.queue.stream.id(),
                shard,
                next: from,
            };
            let limit = ReadLimit {
                records: most,
                bytes: self.bytes_left,
            };
            let read = match self.queue.stream.get_records(&position, &limit) {
                Ok(read) => read,
                Err(Error::Trimmed {
                    first_kept: Some(first),
                    ..
                }) if first > from => {
                    turn.state.pass_over(shard, from, first);
                    continue;
                }
                Err(Error::Trimmed { first_kept: None, .. } | Error::ShardNotFound { .. }) => {
                    return self.leave_expired(turn, shard);
                }
                Err(error) => {
                    // The shard cannot be read to its end, where its children would be found.
                    self.note_error(error);
                    return self.find_shards(turn);
                }
            };
            if let Some(first) = read.records.first()
                && !self.has_room_for(first)
            {
                return Ok(Vec::new());
            }
            let through = read.next.map_or(RecordNumber::END, |next| next.next).min(to);
            let RecordBatch {
                mut records,
                child_shards,
                ..
            } = read;
            records.retain(|record| record.sequence_number.record_number() < to);
            let is_empty = records.is_empty();
            match is_empty {
                // Only numbers without a record were passed, which need not be noted.
                true => turn.state.pass_over(shard, from, through),
                false => {
                    records.iter().for_each(|record| self.note(record));
                    self.new.push(NewRecords {
                        shard,
                        from,
                        to: through,
                        records,
                    });
                }
            }
            let mut found = Vec::new();
            for child in child_shards {
                if !turn.state.knows(child.shard_id) {
                    turn.state.note_shard(child.shard_id);
                    found.push(child.shard_id);
                }
            }
            if !is_empty || through < to || !found.is_empty() {
                return Ok(found);
            }
        }
        Ok(Vec::new())
    }

    /// The shard has expired before it was read to its end, so its children are not known from there.
    fn leave_expired(&self, turn: &mut QueueTurn<'_>, shard: ShardId) -> Result<Vec<ShardId>> {
        let before: Vec<_> = turn.state.shards.keys().copied().collect();
        let shards = self.queue.stream.shards(&ShardFilter::FromTrimHorizon)?;
        turn.state.keep_shards(shards.iter().map(|shard| shard.id));
        turn.state
            .pass_over(shard, RecordNumber::BEFORE_FIRST, RecordNumber::END);
        let now = turn.state.shards.keys();
        Ok(now.filter(|shard| !before.contains(shard)).copied().collect())
    }

    /// Gives the shards that were not known.
    fn find_shards(&self, turn: &mut QueueTurn<'_>) -> Result<Vec<ShardId>> {
        let shards = self.queue.stream.shards(&ShardFilter::FromTrimHorizon)?;
        let mut found: Vec<_> = shards.iter().map(|shard| shard.id).collect();
        found.retain(|shard| !turn.state.knows(*shard));
        for shard in &found {
            turn.state.note_shard(*shard);
        }
        Ok(found)
    }

    fn read_one(&self, (shard, number): RecordId) -> Result<Option<Record>> {
        let position = ShardIterator {
            stream: self.queue.stream.id(),
            shard,
            next: number,
        };
        let one = ReadLimit { records: 1, bytes: 0 };
        match self.queue.stream.get_records(&position, &one) {
            Ok(read) => {
                let first = read.records.into_iter().next();
                Ok(first.filter(|record| record.sequence_number.record_number() == number))
            }
            Err(Error::Trimmed { .. } | Error::ShardNotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the caller has room for one more record. Always true for the first one, unless the caller keeps to its
    /// limit.
    fn has_room_for(&mut self, record: &Record) -> bool {
        let is_first = self.again.is_empty() && self.new.is_empty();
        let bytes = record.data.len() + record.partition_key.as_str().len();
        let has_room = (is_first && !self.keeps_to_limit) || bytes <= self.bytes_left;
        self.lacks_room_for_first |= is_first && !has_room;
        has_room
    }

    fn note_error(&mut self, error: Error) {
        self.error.get_or_insert(error);
    }

    fn note(&mut self, record: &Record) {
        let bytes = record.data.len() + record.partition_key.as_str().len();
        self.left = self.left.saturating_sub(1);
        self.bytes_left = self.bytes_left.saturating_sub(bytes);
    }

    fn is_full(&self) -> bool {
        let has_some = !self.again.is_empty() || !self.new.is_empty();
        self.left == 0 || (has_some && self.bytes_left == 0)
    }
}

/// The entries for the records that are given out, and these records, in the order of their deliveries.
fn entries_of(
    again: &[(RecordId, Record)],
    new: &[NewRecords],
    mut next_delivery: u64,
    at: Timestamp,
) -> (Vec<Entry>, Vec<RecordId>) {
    let mut ids: Vec<_> = again.iter().map(|(id, _)| *id).collect();
    let mut entries = Vec::new();
    if !ids.is_empty() {
        entries.push(Entry::ReceivedAgain {
            first_delivery: next_delivery,
            at,
            records: ids.clone(),
        });
        next_delivery += ids.len() as u64;
    }
    for new in new {
        let numbers = new
            .records
            .iter()
            .map(|record| record.sequence_number.record_number());
        ids.extend(numbers.clone().map(|number| (new.shard, number)));
        let arrivals = new.records.iter().map(|record| record.approximate_arrival);
        entries.push(Entry::Received {
            shard: new.shard,
            from: new.from,
            to: new.to,
            first_delivery: next_delivery,
            at,
            records: numbers.zip(arrivals).collect(),
        });
        next_delivery += new.records.len() as u64;
    }
    (entries, ids)
}
