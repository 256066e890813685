//! The state of a queue's records: a value that entries change.

use std::collections::{BTreeMap, BTreeSet};

use super::entry::{Entry, RecordId};
use super::given::{Given, GivenOut, NO_DELIVERY};
use super::receipt::{Receipt, ReceiptError};
use super::shard_set::ShardSet;
use super::unread::Unread;
use crate::model::{ReaderStart, RecordNumber, ShardId, Timestamp, limits};

#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) start: ReaderStart,
    pub(super) next_delivery: u64,
    /// The shards with records that are not done with.
    pub(super) shards: BTreeMap<ShardId, ShardState>,
    /// The shards that are done with: they are closed, read to the end, and without a record that is given out, or they
    /// have expired. Shards that are neither here nor in `shards` are not known yet.
    pub(super) done: ShardSet,
    pub(super) records: GivenOut,
    pub(super) dead_letters: GivenOut,
    /// Records that became dead letters and that the log does not have as such yet.
    pub(super) unlogged_deaths: Vec<RecordId>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct ShardState {
    pub(super) unread: Unread,
    /// Records that were given out and are not done with.
    pub(super) given: BTreeMap<RecordNumber, Given>,
}

impl State {
    pub(super) fn new(start: ReaderStart) -> Self {
        Self {
            start,
            next_delivery: 1,
            shards: BTreeMap::new(),
            done: ShardSet::default(),
            records: GivenOut::default(),
            dead_letters: GivenOut::default(),
            unlogged_deaths: Vec::new(),
        }
    }

    /// Applies an entry. Records that were given out are held back until `held_until`, in ms of the monotonic clock;
    /// those that were restored or given back are free since then. An entry about a record that is not known as given
    /// out has no effect, except that an acknowledgement is final: the entry that gave it out may have been lost on a
    /// full disk.
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
                self.leave_if_done(*shard);
                self.note_deliveries(*first_delivery, records.len());
            }
            Entry::ReceivedAgain {
                first_delivery,
                at,
                records,
            } => {
                for (id, delivery) in records.iter().zip(*first_delivery..) {
                    self.change(*id, |given| {
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
                        self.pass_over(*shard, *number, number.next());
                    }
                }
            }
            Entry::Died(records) => records.iter().for_each(|id| self.bury(*id)),
            Entry::Restored(records) => {
                for id in records {
                    self.change(*id, |given| {
                        given.first_received = None;
                        given.receive_count = 0;
                        given.is_dead = false;
                        given.is_held = false;
                        // As if it were given out for the first time now.
                        given.moment = held_until;
                    });
                }
            }
            Entry::GivenBack {
                are_dead_letters,
                deliveries,
            } => {
                for (id, delivery) in deliveries {
                    self.change(*id, |given| {
                        given.take_back(*delivery, *are_dead_letters, held_until);
                    });
                }
            }
            // The reader of the log puts its parts together.
            Entry::Snapshot { .. } => {}
        }
    }

    /// Frees records that are no longer held back, and makes dead letters of those that were given out often enough.
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

    /// Makes a dead letter of a record that was given out often enough. Returns whether it did.
    pub(super) fn bury_if_due(&mut self, id: RecordId, max_receive_count: Option<u32>) -> bool {
        let count = self.given(id).map(|given| given.receive_count);
        let is_due = count
            .zip(max_receive_count)
            .is_some_and(|(count, most)| count >= most);
        let is_buried = is_due && self.dead_letters.len() < limits::MAX_DEAD_LETTERS;
        if is_buried {
            self.bury(id);
            self.unlogged_deaths.push(id);
        }
        is_buried
    }

    /// Forgets the records that have expired.
    pub(super) fn pass_horizon(&mut self, horizon: Timestamp) {
        let mut expired = Vec::new();
        for (shard, state) in &self.shards {
            // Arrival times never decrease within a shard.
            let old = state
                .given
                .iter()
                .take_while(|(_, given)| given.arrival < horizon);
            expired.extend(old.map(|(number, _)| (*shard, *number)));
        }
        for id in expired {
            self.take_out(id);
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

    /// Keeps exactly these shards, which are all that exist.
    pub(super) fn keep_shards(&mut self, shards: impl Iterator<Item = ShardId>) {
        let kept: BTreeSet<_> = shards.collect();
        let is_gone = |shard: &&ShardId| !kept.contains(shard);
        let gone: Vec<_> = self.shards.keys().filter(is_gone).copied().collect();
        for shard in gone {
            self.hide_before(shard, RecordNumber::END);
            self.shards.remove(&shard);
        }
        // A shard that is older than the newest and not in the list has expired, so the queue is done with it. So the
        // only gaps between the ranges of `done` are shards that the queue is not done with.
        let mut next = Some(0);
        for shard in &kept {
            if let Some((first, last)) = next.zip(shard.index().checked_sub(1))
                && let (Ok(first), Ok(last)) = (ShardId::new(first), ShardId::new(last))
            {
                self.done.insert_range(first, last);
            }
            next = shard.index().checked_add(1);
        }
        kept.into_iter().for_each(|shard| self.note_shard(shard));
    }

    /// Adds a shard. Nothing was given out of a new one.
    pub(super) fn note_shard(&mut self, shard: ShardId) {
        if !self.knows(shard) {
            self.shard(shard);
            self.leave_if_done(shard);
        }
    }

    pub(super) fn knows(&self, shard: ShardId) -> bool {
        self.shards.contains_key(&shard) || self.done.contains(shard)
    }

    /// The numbers of a shard that were not given out, also for a shard that the queue has not come to.
    pub(super) fn unread_of(&self, shard: ShardId) -> Unread {
        match self.shards.get(&shard) {
            Some(known) => known.unread.clone(),
            None if self.done.contains(shard) => Unread::default(),
            None => self
                .start
                .first_of(shard)
                .map_or_else(Unread::default, Unread::from),
        }
    }

    /// The first range of numbers of a shard that were not given out.
    pub(super) fn first_unread(&self, shard: ShardId) -> Option<(RecordNumber, RecordNumber)> {
        self.shards.get(&shard)?.unread.first()
    }

    /// Marks the unread numbers of a range as done with.
    pub(super) fn pass_over(&mut self, shard: ShardId, from: RecordNumber, to: RecordNumber) {
        self.shard(shard).unread.remove(from, to);
        self.leave_if_done(shard);
    }

    pub(super) fn set_unread(&mut self, shard: ShardId, unread: Unread) {
        self.shard(shard).unread = unread;
    }

    /// The state of a shard. A new shard has all records that the queue begins with.
    fn shard(&mut self, shard: ShardId) -> &mut ShardState {
        let first = match self.done.contains(shard) {
            true => None,
            false => self.start.first_of(shard),
        };
        self.shards.entry(shard).or_insert_with(|| ShardState {
            unread: first.map_or_else(Unread::default, Unread::from),
            given: BTreeMap::new(),
        })
    }

    /// An open shard always has unread numbers. A closed one has none once it is read to its end, or has expired.
    fn leave_if_done(&mut self, shard: ShardId) {
        let known = self.shards.get(&shard);
        if known.is_some_and(|known| known.given.is_empty() && known.unread.first().is_none()) {
            self.shards.remove(&shard);
            self.done.insert(shard);
        }
    }

    pub(super) fn given(&self, (shard, number): RecordId) -> Option<&Given> {
        self.shards.get(&shard)?.given.get(&number)
    }

    /// The record of a receipt, if it is of the last delivery. `Ok(None)` if the delivery is no longer known, because
    /// it was lost on a full disk, and the record was not given out since.
    pub(super) fn delivered(&self, receipt: &Receipt) -> Result<Option<&Given>, ReceiptError> {
        let id = (receipt.shard, receipt.record);
        match self.given(id) {
            // No queue gives such a receipt out.
            Some(_) if receipt.delivery == NO_DELIVERY => Err(ReceiptError::Expired),
            // A record that became a dead letter was not given out again since.
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
    pub(super) fn hold_until(&mut self, id: RecordId, moment: u64) {
        self.change(id, |given| given.moment = moment);
    }

    /// Puts a record that is due to be given out again behind those that have waited since before `now`.
    pub(super) fn put_behind(&mut self, id: RecordId, now: u64) {
        self.change(id, |given| given.moment = now);
    }

    /// Holds back the records that another state of the same queue holds back, if both know the same delivery.
    pub(super) fn hold_as(&mut self, other: Option<&Self>) {
        let shards = other.into_iter().flat_map(|other| &other.shards);
        for (shard, known) in shards {
            for (number, given) in known.given.iter().filter(|(_, given)| given.is_held) {
                let id = (*shard, *number);
                let is_same = |mine: &Given| (mine.delivery, mine.is_dead) == (given.delivery, given.is_dead);
                if self.given(id).is_some_and(is_same) {
                    self.change(id, |mine| {
                        mine.moment = given.moment;
                        mine.is_held = true;
                    });
                }
            }
        }
    }

    /// The next moment at which a record, or a dead letter, is no longer held back.
    pub(super) fn next_moment(&self, of_dead_letters: bool) -> Option<u64> {
        let first_of = |waiting: &GivenOut| waiting.held.first().map(|(moment, ..)| *moment);
        // A record that becomes free can become a dead letter then.
        match of_dead_letters {
            true => [first_of(&self.dead_letters), first_of(&self.records)]
                .into_iter()
                .flatten()
                .min(),
            false => first_of(&self.records),
        }
    }

    pub(super) fn put(&mut self, id @ (shard, number): RecordId, given: Given) {
        self.remove(id);
        self.shard(shard).given.insert(number, given);
        self.given_out_of(&given)
            .set_of(&given)
            .insert((given.moment, shard, number));
    }

    fn bury(&mut self, id: RecordId) {
        self.change(id, |given| {
            given.is_dead = true;
            given.is_held = false;
        });
    }

    fn change(&mut self, id: RecordId, change: impl FnOnce(&mut Given)) {
        if let Some(mut given) = self.given(id).copied() {
            change(&mut given);
            self.put(id, given);
        }
    }

    /// Removes a record that was given out. Returns whether it was there.
    pub(super) fn take_out(&mut self, id: RecordId) -> bool {
        let was_there = self.remove(id);
        self.leave_if_done(id.0);
        was_there
    }

    fn remove(&mut self, (shard, number): RecordId) -> bool {
        let Some(state) = self.shards.get_mut(&shard) else {
            return false;
        };
        let Some(given) = state.given.remove(&number) else {
            return false;
        };
        self.given_out_of(&given)
            .set_of(&given)
            .remove(&(given.moment, shard, number));
        true
    }

    fn given_out_of(&mut self, given: &Given) -> &mut GivenOut {
        match given.is_dead {
            true => &mut self.dead_letters,
            false => &mut self.records,
        }
    }

    fn note_deliveries(&mut self, first: u64, count: usize) {
        self.next_delivery = self.next_delivery.max(first.saturating_add(count as u64));
    }
}
