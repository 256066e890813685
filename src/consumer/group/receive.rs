//! Giving records to a member: it looks which shards it holds, reads them in turn, and waits.

use std::time::{Duration, Instant};

use super::leases::{Leases, Term};
use super::member::{GroupBatch, Member, Reading};
use crate::error::{Error, Result};
use crate::model::{Advance, RecordNumber, ShardId};
use crate::seam::ReadLimit;
use crate::store::ShardIterator;

/// A waiting member looks again this many times in its lease time, so that its leases do not run out.
const RENEWALS: u64 = 3;

/// The result of a shard's turn.
enum Turn {
    Batch(GroupBatch),
    /// There may be more to read.
    Progress,
    Nothing,
}

impl Member {
    /// The next records of one of the shards that this member holds; the shards come in turn. Waits for records, and
    /// for shards, for up to `wait`, and renews its leases meanwhile; `None` if there are none by then. A task of an
    /// async runtime calls it without a time to wait, and again before its leases run out.
    ///
    /// While the member holds the shard it does not get the same records again, committed or not. A member that comes
    /// to records which have expired gets [`Error::Trimmed`] once, and then goes on with the first record that is kept,
    /// unless the group is at the trim horizon there. An error of a shard comes in the shard's turn; the records of the
    /// other shards go on.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let orders = store.create_stream("orders", 1)?;
    /// use std::time::Duration;
    /// use anabranch::{MemberOptions, ReadLimit, StartingPosition};
    ///
    /// let group = orders.group("billing", StartingPosition::TrimHorizon)?;
    /// let mut member = group.join("worker-1", &MemberOptions::default())?;
    /// assert!(member.next_batch(&ReadLimit::default(), Duration::ZERO)?.is_none());
    /// orders.put("customer-1", b"first")?;
    /// let batch = member.next_batch(&ReadLimit::default(), Duration::from_secs(1))?;
    /// assert_eq!(batch.unwrap().records[0].data, "first");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::MemberNotFound`] if another member has replaced it, [`Error::GroupNotFound`] once the group is deleted;
    /// otherwise as for [`get_records`](crate::Stream::get_records), and, since the end of a shard is committed here,
    /// errors of the disk.
    pub fn next_batch(&mut self, limit: &ReadLimit, wait: Duration) -> Result<Option<GroupBatch>> {
        let deadline = Instant::now().checked_add(wait);
        loop {
            if let Some(batch) = self.read_on(limit)? {
                return Ok(Some(batch));
            }
            let left = deadline.map_or(wait, |deadline| {
                deadline.saturating_duration_since(Instant::now())
            });
            if left.is_zero() {
                return Ok(None);
            }
            // Another look finds changes from before the watch began.
            let until_look = self.until_look();
            if !self.watch_turns()?
                && let Some(watch) = &mut self.watch
            {
                watch.wait(left.min(until_look));
            }
        }
    }

    /// Gives each shard its turn, until one has records.
    fn read_on(&mut self, limit: &ReadLimit) -> Result<Option<GroupBatch>> {
        self.look()?;
        let mut idle = 0;
        while idle < self.turns.len() {
            let Some(shard) = self.turns.pop_front() else {
                break;
            };
            self.turns.push_back(shard);
            match self.take_turn(shard, limit)? {
                Turn::Batch(batch) => return Ok(Some(batch)),
                Turn::Progress => {
                    idle = 0;
                    self.look()?;
                }
                Turn::Nothing => idle += 1,
            }
        }
        Ok(None)
    }

    /// Renews the leases. If something has changed, takes and asks for shards, and notes the shards that it holds.
    fn look(&mut self) -> Result<()> {
        let now = self.now();
        let renewed = self.group.shared.with_leases(|leases| leases.renew(self.id, now));
        // Another look finds changes after this version.
        let version = renewed.map_err(|refusal| self.refused(refusal))?;
        if self.seen_version == Some(version) && now < self.look_again_at {
            return Ok(());
        }
        let positions = self.group.positions()?;
        let shards: Vec<_> = positions.keys().copied().collect();
        let done: Vec<_> = self
            .reading
            .iter()
            .filter(|(shard, _)| !positions.contains_key(shard))
            .map(|(shard, reading)| (*shard, reading.term))
            .collect();
        let id = self.id;
        let (held, due) = self.group.shared.with_leases(|leases| {
            for (shard, term) in done {
                leases.give_up(shard, term);
            }
            leases.balance(id, &shards, now);
            (leases.held_by(id), leases.next_due(id, now))
        });
        self.reading
            .retain(|shard, reading| held.get(shard) == Some(&reading.term));
        let new = held
            .into_iter()
            .filter(|(shard, _)| !self.reading.contains_key(shard));
        let new: Vec<_> = new.collect();
        self.begin_reading(new)?;
        let reading = &self.reading;
        self.turns.retain(|shard| reading.contains_key(shard));
        self.seen_version = Some(version);
        self.look_again_at = due.unwrap_or(u64::MAX);
        Ok(())
    }

    fn begin_reading(&mut self, new: Vec<(ShardId, Term)>) -> Result<()> {
        if new.is_empty() {
            return Ok(());
        }
        // Read after the last commits of the previous holders.
        let positions = self.group.positions()?;
        for (shard, term) in new {
            let Some(next) = positions.get(&shard) else {
                self.group
                    .shared
                    .with_leases(|leases| leases.give_up(shard, term));
                continue;
            };
            let reading = Reading {
                term,
                next: *next,
                is_drained: false,
                is_unread: *next == RecordNumber::BEFORE_FIRST,
                is_told: false,
            };
            self.reading.insert(shard, reading);
            if !self.turns.contains(&shard) {
                self.turns.push_back(shard);
            }
        }
        Ok(())
    }

    fn take_turn(&mut self, shard: ShardId, limit: &ReadLimit) -> Result<Turn> {
        let Some(reading) = self.reading.get(&shard).copied() else {
            return Ok(Turn::Nothing);
        };
        if reading.is_drained {
            return self.finish(shard, reading);
        }
        let now = self.now();
        let may_read = |leases: &mut Leases| leases.may_read(shard, reading.term, now);
        if !self.group.shared.with_leases(may_read) {
            return Ok(Turn::Nothing);
        }
        let from = ShardIterator {
            stream: self.group.stream.id(),
            shard,
            next: reading.next,
        };
        let read = match self.group.stream.get_records(&from, limit) {
            Ok(read) => read,
            Err(Error::ShardNotFound { .. }) => return self.skip_expired(shard, reading),
            Err(error) => {
                if let Error::Trimmed {
                    first_kept: Some(first),
                    ..
                } = error
                {
                    self.read_from(shard, first);
                }
                return Err(error);
            }
        };
        let end = read.next.map_or(RecordNumber::END, |next| next.next);
        if read.records.is_empty() {
            let has_more = read.millis_behind_latest > 0 && end != reading.next;
            if read.next.is_some() && read.millis_behind_latest == 0 {
                self.note_read(shard);
            }
            self.read_from(shard, end);
            return match read.next {
                Some(_) if has_more => Ok(Turn::Progress),
                Some(_) => Ok(Turn::Nothing),
                None => self.finish(shard, reading),
            };
        }
        let hand_out = |leases: &mut Leases| leases.hand_out(shard, reading.term, end, now);
        if !self.group.shared.with_leases(hand_out) {
            // Another member has the shard, or will get it.
            return Ok(Turn::Nothing);
        }
        self.note_read(shard);
        self.read_from(shard, end);
        Ok(Turn::Batch(GroupBatch {
            shard,
            records: read.records,
            of: self.group.shared.clone(),
            term: reading.term,
            advance: match read.next {
                Some(next) => Advance::To(next.next),
                None => Advance::Drained { is_unread: false },
            },
        }))
    }

    /// Sets where the next read of a shard begins; the shard is drained at [`RecordNumber::END`].
    fn read_from(&mut self, shard: ShardId, next: RecordNumber) {
        if let Some(reading) = self.reading.get_mut(&shard) {
            reading.next = next;
            reading.is_drained = next == RecordNumber::END;
        }
    }

    /// Notes that records of this shard, and of its children, are missed if they expire from now on.
    fn note_read(&mut self, shard: ShardId) {
        if let Some(reading) = self.reading.get_mut(&shard) {
            reading.is_unread = false;
        }
    }

    /// Commits the end of a drained shard.
    fn finish(&self, shard: ShardId, reading: Reading) -> Result<Turn> {
        let Reading { term, is_unread, .. } = reading;
        self.note_end(shard, term, Advance::Drained { is_unread })
    }

    /// Goes on behind a shard that has expired. Missed records are reported first: if the machine stops in between,
    /// they are reported again.
    fn skip_expired(&mut self, shard: ShardId, reading: Reading) -> Result<Turn> {
        let Reading {
            term, next, is_told, ..
        } = reading;
        let was_at_horizon = reading.is_unread || next == RecordNumber::BEFORE_FIRST;
        let is_missed = !was_at_horizon && self.group.stream.may_have_lost(shard, next)?;
        if is_missed && !is_told {
            self.note_told(shard);
            return Err(Error::Trimmed {
                shard,
                from: next,
                first_kept: None,
            });
        }
        let is_at_horizon = was_at_horizon || is_missed;
        self.note_end(shard, term, Advance::Expired { is_at_horizon })
    }

    fn note_told(&mut self, shard: ShardId) {
        if let Some(reading) = self.reading.get_mut(&shard) {
            reading.is_told = true;
        }
    }

    /// Commits the end, once everything that was given out of the shard is committed.
    fn note_end(&self, shard: ShardId, term: Term, advance: Advance) -> Result<Turn> {
        let is_settled = |leases: &mut Leases| leases.is_settled(shard, term);
        if !self.group.shared.with_leases(is_settled) {
            return Ok(Turn::Nothing);
        }
        match self.note(shard, term, advance) {
            Ok(()) => Ok(Turn::Progress),
            // Another member has it, and commits the end.
            Err(Error::LeaseLost { .. }) => Ok(Turn::Nothing),
            Err(error) => Err(error),
        }
    }

    /// Watches the shards that it holds, and its group; true if some of that was not watched before.
    fn watch_turns(&mut self) -> Result<bool> {
        let mut is_any_new = false;
        let watch = match &mut self.watch {
            Some(watch) => watch,
            None => {
                is_any_new = true;
                let watch = self.group.stream.watch(&[])?;
                self.group.shared.changes.raise_at_each(watch.signal());
                self.watch.insert(watch)
            }
        };
        watch.retain(|shard| self.reading.contains_key(&shard));
        for shard in &self.turns {
            // A shard that cannot be watched cannot be read either. Its turn gives the error.
            is_any_new |= watch.add(*shard).unwrap_or(false);
        }
        Ok(is_any_new)
    }

    /// How long a waiting member can wait before it has to look at the leases again.
    fn until_look(&self) -> Duration {
        let now = self.now();
        let until_due = self.look_again_at.saturating_sub(now);
        Duration::from_millis(until_due.min(self.lease_millis / RENEWALS).max(1))
    }
}
