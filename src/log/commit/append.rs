//! Appending: records get their numbers and go into the pending group.

use super::durability::Durability;
use super::local_log::LocalLog;
use super::tail::Tail;
use crate::encryption::KeyFingerprint;
use crate::error::{Error, InvalidArgument, Result};
use crate::model::{PutRecord, Timestamp};
use crate::seam::{Appended, Placed, Ticket, Waiting, check_batch_bytes, stored_bytes};
use crate::sync::MutexGuard;

/// Room in a log's pending group. Until it is used or dropped the log does not rest.
pub(crate) struct Reservation<'a> {
    log: &'a LocalLog,
    bytes: usize,
}

impl Reservation<'_> {
    /// Takes in the records that the room was reserved for, without waiting.
    pub(crate) fn append(mut self, records: &[PutRecord<'_>], now: Timestamp) -> Result<Appended> {
        self.log.check_takes_records()?;
        let bytes = std::mem::take(&mut self.bytes);
        let mut tail = self.log.tail.lock();
        tail.reserved -= bytes;
        self.log.take_in(tail, records, now, bytes)
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.log.tail.lock().reserved -= self.bytes;
        }
    }
}

impl LocalLog {
    /// Gives records their numbers and takes them into the pending group. All of them get the same arrival time: `now`,
    /// or that of the last record if the clock went back.
    ///
    /// Waits while too much is pending, if `waiting` allows it.
    pub(crate) fn append(
        &self,
        records: &[PutRecord<'_>],
        now: Timestamp,
        waiting: Waiting,
    ) -> Result<Appended> {
        self.check_takes_records()?;
        let bytes = check_batch_bytes(records)?;
        let tail = match waiting {
            Waiting::Allowed => self.lock_with_room_for(bytes)?,
            Waiting::Refused => match self.tail.lock() {
                tail if self.has_to_wait(&tail, bytes) => return Ok(Appended::WouldWait),
                tail => tail,
            },
        };
        self.take_in(tail, records, now, bytes)
    }

    /// Reserves room for records, so that they can be taken in without waiting once other logs have room for theirs
    /// too. `None` if that would have to wait.
    pub(crate) fn try_reserve(&self, records: &[PutRecord<'_>]) -> Option<Reservation<'_>> {
        let bytes = records.iter().map(stored_bytes).sum();
        let mut tail = self.tail.lock();
        if self.has_to_wait(&tail, bytes) {
            return None;
        }
        tail.reserved += bytes;
        Some(Reservation { log: self, bytes })
    }

    fn check_takes_records(&self) -> Result<()> {
        self.context.resources.health.check()?;
        self.check_undamaged()
    }

    /// Whether taking records in has to wait for another thread or the disk.
    fn has_to_wait(&self, tail: &Tail, bytes: usize) -> bool {
        let is_full = !tail.pending.is_empty() && self.is_too_much(tail, bytes);
        let has_to_be_tried_again = tail.stalled.is_some() && !tail.is_committing;
        is_full || has_to_be_tried_again || self.has_to_announce(tail)
    }

    fn take_in(
        &self,
        mut tail: MutexGuard<'_, Tail>,
        records: &[PutRecord<'_>],
        now: Timestamp,
        bytes: usize,
    ) -> Result<Appended> {
        // The caller holds the log, so this does not occur.
        let this = self.shared().ok_or(Error::Closed)?;
        // Looked at again under the lock: a failure may have come while this waited.
        self.context.resources.health.check()?;
        if let Some(error) = &tail.stalled {
            return Err(error.clone());
        }
        if tail.is_sealed {
            return Ok(Appended::Sealed);
        }
        let key = self.key_of_acknowledged(&mut tail)?;
        let first_record = tail.next_record;
        let next_record = first_record
            .checked_add(records.len() as u64)
            .ok_or(InvalidArgument::SequenceNumbersUsedUp)?;
        let arrival = now.max(tail.last_arrival);
        let is_first = tail.pending.is_empty();
        let usual = tail.usual_bytes;
        (tail.pending).push(
            first_record,
            records,
            arrival,
            bytes,
            usual,
            &self.context.resources.spare_buffers,
        );
        tail.pending.key = tail.pending.key.or(key);
        tail.next_record = next_record;
        tail.last_arrival = arrival;
        let outcome = tail.pending.outcome.clone();
        drop(tail);

        let placed = Placed {
            first_record,
            arrival,
        };
        let ticket = match self.context.resources.options.durability {
            Durability::Synced | Durability::Written => Ticket::of_group(placed, this, outcome, bytes),
            Durability::Buffered => {
                if is_first {
                    self.context.flushers.commit_soon(&this);
                }
                Ticket::done(placed)
            }
        };
        Ok(Appended::Taken(ticket))
    }

    /// The key for records that are acknowledged before they are written. If the key is missing the records are
    /// refused, since an acknowledged record must not fail later.
    fn key_of_acknowledged(&self, tail: &mut Tail) -> Result<Option<KeyFingerprint>> {
        if !self.is_acknowledged_from_memory() {
            return Ok(None);
        }
        let keys = &self.context.resources.keys;
        let revision = Some(keys.revision());
        if tail.key.0 != revision {
            let wanted = keys.wanted(self.files.identity).flatten();
            if let Some(key) = wanted {
                keys.check(self.files.identity, key)?;
            }
            tail.key = (revision, wanted);
        }
        Ok(tail.key.1)
    }

    /// Waits until the pending group has room for so many bytes, and this log's records can be given numbers. A group
    /// that cannot be written may stay too large; then its log is stalled.
    fn lock_with_room_for(&self, bytes: usize) -> Result<MutexGuard<'_, Tail>> {
        let mut tail = self.tail.lock();
        let mut is_tried = false;
        loop {
            let is_full = !tail.pending.is_empty() && self.is_too_much(&tail, bytes);
            if is_full && tail.is_committing {
                tail = self.wait_for_in_flight(tail);
            } else if (is_full || tail.stalled.is_some()) && !tail.is_committing && !is_tried {
                tail = self.lead(tail);
                is_tried = tail.stalled.is_some();
            } else if self.has_to_announce(&tail) {
                tail = self.announce(tail, bytes)?;
            } else {
                return Ok(tail);
            }
        }
    }

    fn is_too_much(&self, tail: &Tail, bytes: usize) -> bool {
        tail.pending.bytes() + tail.reserved + bytes > self.context.resources.options.max_group_bytes
    }
}
