//! What became of a queue's records: a value that entries change.

use std::collections::{BTreeMap, BTreeSet};

use super::entry::{Entry, Place};
use super::receipt::{Receipt, ReceiptError};
use super::unread::Unread;
use crate::model::{ReaderStart, RecordNumber, ShardId, Timestamp, limits};

#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) start: ReaderStart,
    pub(super) next_delivery: u64,
    pub(super) shards: BTreeMap<ShardId, ShardState>,
    pub(super) records: Waiting,
    pub(super) dead_letters: Waiting,
    /// Records that have become dead letters, which the log does not say yet.
    pub(super) unlogged_deaths: Vec<Place>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct ShardState {
    pub(super) unread: Unread,
    /// Those that were given out and are not done with.
    pub(super) given: BTreeMap<RecordNumber, Given>,
}

/// A record that was given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) arrival: Timestamp,
    /// `None` once it was restored.
    pub(super) first_received: Option<Timestamp>,
    pub(super) receive_count: u32,
    /// The last one.
    pub(super) delivery: u64,
    pub(super) is_dead: bool,
    /// Until when it is held back, or since when it is not, in ms of the monotonic clock.
    pub(super) moment: u64,
    pub(super) is_held: bool,
}

/// The records that were given out, or the dead letters, by their moments.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting {
    /// Held back until their moments.
    pub(super) held: BTreeSet<(u64, ShardId, RecordNumber)>,
    /// To be given out again.
    pub(super) ready: BTreeSet<(u64, ShardId, RecordNumber)>,
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.held.len() + self.ready.len()
    }

    fn set_of(&mut self, given: &Given) -> &mut BTreeSet<(u64, ShardId, RecordNumber)> {
        match given.is_held {
            true => &mut self.held,
            false => &mut self.ready,
        }
    }
}

impl State {
    pub(super) fn new(start: ReaderStart) -> Self {
        Self {
            start,
            next_delivery: 1,
            shards: BTreeMap::new(),
            records: Waiting::default(),
            dead_letters: Waiting::default(),
            unlogged_deaths: Vec::new(),
        }
    }

    /// Takes note of what happened. Records that were given out are held back until then, in ms of the monotonic clock. What
    /// an entry says of a record that is not known as given out is passed over, but for its end: the entry that gave it out
    /// may have been lost on a full disk.
    pub(super) fn apply(&mut self, entry: &Entry, held_until: u64) {
        match entry {
            Entry::Received {
                shard,
                from,
                to,
                first_delivery,
                at,
                records,
            } => {
                self.shard(*shard).unread.remove(*from, *to);
                for ((number, arrival), delivery) in records.iter().zip(*first_delivery..) {
                    let given = Given {
                        arrival: *arrival,
                        first_received: Some(*at),
                        receive_count: 1,
                        delivery,
                        is_dead: false,
                        moment: held_until,
                        is_held: true,
                    };
                    self.put((*shard, *number), given);
                }
                self.note_deliveries(*first_delivery, records.len());
            }
            Entry::ReceivedAgain {
                first_delivery,
                at,
                records,
            } => {
                for (place, delivery) in records.iter().zip(*first_delivery..) {
                    self.change(*place, |given| {
                        given.first_received.get_or_insert(*at);
                        given.receive_count = given.receive_count.saturating_add(1);
                        given.delivery = delivery;
                        given.moment = held_until;
                        given.is_held = true;
                    });
                }
                self.note_deliveries(*first_delivery, records.len());
            }
            Entry::Acknowledged(records) => {
                for (shard, number) in records {
                    if !self.take_out((*shard, *number)) {
                        self.shard(*shard).unread.remove(*number, number.next());
                    }
                }
            }
            Entry::Died(records) => records.iter().for_each(|place| self.bury(*place)),
            Entry::Restored(records) => {
                for place in records {
                    self.change(*place, |given| {
                        given.first_received = None;
                        given.receive_count = 0;
                        given.is_dead = false;
                        given.is_held = false;
                    });
                }
            }
            // Which the log's reader puts together.
            Entry::Snapshot { .. } => {}
        }
    }

    /// Gives free what is held back no longer, and makes dead letters of what was given out often enough.
    pub(super) fn pass_time(&mut self, now: u64, max_receive_count: Option<u32>) {
        while let Some(&(moment, shard, number)) = self.records.held.first()
            && moment <= now
        {
            self.change((shard, number), |given| given.is_held = false);
            self.bury_if_due((shard, number), max_receive_count);
        }
        while let Some(&(moment, shard, number)) = self.dead_letters.held.first()
            && moment <= now
        {
            self.change((shard, number), |given| given.is_held = false);
        }
    }

    /// Makes a dead letter of a record that was given out often enough. Says whether it did.
    pub(super) fn bury_if_due(&mut self, place: Place, max_receive_count: Option<u32>) -> bool {
        let count = self.given(place).map(|given| given.receive_count);
        let is_due = count
            .zip(max_receive_count)
            .is_some_and(|(count, most)| count >= most);
        let is_buried = is_due && self.dead_letters.len() < limits::MAX_DEAD_LETTERS;
        if is_buried {
            self.bury(place);
            self.unlogged_deaths.push(place);
        }
        is_buried
    }

    /// Forgets the records that have expired.
    pub(super) fn pass_horizon(&mut self, horizon: Timestamp) {
        let mut expired = Vec::new();
        for (shard, state) in &self.shards {
            // They never arrive earlier than the one before.
            let old = state
                .given
                .iter()
                .take_while(|(_, given)| given.arrival < horizon);
            expired.extend(old.map(|(number, _)| (*shard, *number)));
        }
        for place in expired {
            self.take_out(place);
        }
    }

    /// Forgets the records of a shard before this number.
    pub(super) fn hide_before(&mut self, shard: ShardId, number: RecordNumber) {
        let Some(state) = self.shards.get(&shard) else {
            return;
        };
        let hidden: Vec<_> = state.given.range(..number).map(|(number, _)| *number).collect();
        for number in hidden {
            self.take_out((shard, number));
        }
    }

    /// Forgets all of a shard that has expired.
    pub(super) fn remove_shard(&mut self, shard: ShardId) {
        self.hide_before(shard, RecordNumber::END);
        self.shards.remove(&shard);
    }

    /// Forgets all shards but these, and knows of these.
    pub(super) fn keep_shards(&mut self, shards: impl Iterator<Item = ShardId>) {
        let kept: BTreeSet<_> = shards.collect();
        let gone: Vec<_> = self
            .shards
            .keys()
            .filter(|shard| !kept.contains(shard))
            .copied()
            .collect();
        gone.into_iter().for_each(|shard| self.remove_shard(shard));
        for shard in kept {
            self.shard(shard);
        }
    }

    /// What is known of a shard; a new one has all the records that the queue begins with.
    pub(super) fn shard(&mut self, shard: ShardId) -> &mut ShardState {
        let start = &self.start;
        self.shards.entry(shard).or_insert_with(|| ShardState {
            unread: start.first_of(shard).map_or_else(Unread::default, Unread::from),
            given: BTreeMap::new(),
        })
    }

    pub(super) fn given(&self, (shard, number): Place) -> Option<&Given> {
        self.shards.get(&shard)?.given.get(&number)
    }

    /// The record of a receipt, if it is of the last delivery. `Ok(None)` if the delivery is not known any more, since it was
    /// lost on a full disk, and the record not given out since.
    pub(super) fn delivered(&self, receipt: &Receipt) -> Result<Option<&Given>, ReceiptError> {
        let place = (receipt.shard, receipt.record);
        match self.given(place) {
            // One that has become a dead letter was not given out again since.
            Some(given)
                if given.delivery == receipt.delivery && (given.is_dead || !receipt.is_dead_letter) =>
            {
                Ok(Some(given))
            }
            Some(_) => Err(ReceiptError::Expired),
            None => {
                let shard = self.shards.get(&receipt.shard);
                let is_unread = shard.is_some_and(|shard| shard.unread.contains(receipt.record));
                is_unread.then_some(None).ok_or(ReceiptError::Gone)
            }
        }
    }

    /// Holds a record that is held back until another moment.
    pub(super) fn hold_until(&mut self, place: Place, moment: u64) {
        self.change(place, |given| given.moment = moment);
    }

    /// Puts a record that is to be given out again behind those that wait since before `now`.
    pub(super) fn put_behind(&mut self, place: Place, now: u64) {
        self.change(place, |given| given.moment = now);
    }

    /// Holds back what another state of the same queue holds back, where it knows of the same delivery.
    pub(super) fn hold_as(&mut self, other: Option<&Self>) {
        let shards = other.into_iter().flat_map(|other| &other.shards);
        for (shard, known) in shards {
            for (number, given) in known.given.iter().filter(|(_, given)| given.is_held) {
                let place = (*shard, *number);
                let is_same = |mine: &Given| (mine.delivery, mine.is_dead) == (given.delivery, given.is_dead);
                if self.given(place).is_some_and(is_same) {
                    self.change(place, |mine| {
                        mine.moment = given.moment;
                        mine.is_held = true;
                    });
                }
            }
        }
    }

    /// The next moment at which a record, or a dead letter, is held back no longer.
    pub(super) fn next_moment(&self, of_dead_letters: bool) -> Option<u64> {
        let first_of = |waiting: &Waiting| waiting.held.first().map(|(moment, ..)| *moment);
        // A record that is free can be a dead letter then.
        match of_dead_letters {
            true => [first_of(&self.dead_letters), first_of(&self.records)]
                .into_iter()
                .flatten()
                .min(),
            false => first_of(&self.records),
        }
    }

    pub(super) fn put(&mut self, place @ (shard, number): Place, given: Given) {
        self.take_out(place);
        self.shard(shard).given.insert(number, given);
        self.waiting_of(&given)
            .set_of(&given)
            .insert((given.moment, shard, number));
    }

    fn bury(&mut self, place: Place) {
        self.change(place, |given| {
            given.is_dead = true;
            given.is_held = false;
        });
    }

    fn change(&mut self, place: Place, change: impl FnOnce(&mut Given)) {
        if let Some(mut given) = self.given(place).copied() {
            change(&mut given);
            self.put(place, given);
        }
    }

    /// Says whether it was there.
    pub(super) fn take_out(&mut self, (shard, number): Place) -> bool {
        let Some(state) = self.shards.get_mut(&shard) else {
            return false;
        };
        let Some(given) = state.given.remove(&number) else {
            return false;
        };
        self.waiting_of(&given)
            .set_of(&given)
            .remove(&(given.moment, shard, number));
        true
    }

    fn waiting_of(&mut self, given: &Given) -> &mut Waiting {
        match given.is_dead {
            true => &mut self.dead_letters,
            false => &mut self.records,
        }
    }

    fn note_deliveries(&mut self, first: u64, count: usize) {
        self.next_delivery = self.next_delivery.max(first.saturating_add(count as u64));
    }
}
