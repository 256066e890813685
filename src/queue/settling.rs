//! Acknowledging, holding back, restoring and giving back records.

use super::entry::{Entry, RecordId};
use super::handle::Queue;
use super::receipt::{Receipt, ReceiptError};
use super::shared::Committing;
use super::state::State;
use crate::error::Result;
use crate::store::check_visibility_seconds;

impl Queue {
    /// Removes records, or dead letters, from the queue for good. The result has an outcome for each receipt; a refused
    /// one does not affect the others. Durable on return.
    ///
    /// A receipt is valid until its record is given out again, also after the record is no longer held back.
    /// Acknowledging a record again, or one that has expired, is no error, so a call whose answer was lost can be
    /// repeated.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let jobs = store.create_stream("jobs", 1)?;
    /// # let queue = jobs.create_queue("resize", &Default::default())?;
    /// # let other = jobs.create_queue("count", &Default::default())?;
    /// use anabranch::ReceiptError;
    ///
    /// jobs.put("picture-7", b"resize")?;
    /// let receipt = queue.receive(&Default::default())?[0].receipt;
    /// assert_eq!(other.acknowledge(&[receipt])?, [Err(ReceiptError::OtherQueue)]);
    /// assert_eq!(queue.acknowledge(&[receipt])?, [Ok(())]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::QueueNotActive`](crate::Error::QueueNotActive), [`Error::QueueNotFound`](crate::Error::QueueNotFound);
    /// otherwise as for [`Stream::summary`](crate::Stream::summary), and errors of the disk. After an error this call
    /// has acknowledged nothing.
    pub fn acknowledge(&self, receipts: &[Receipt]) -> Result<Vec<Result<(), ReceiptError>>> {
        let (turn, _) = self.turn()?;
        let mut acknowledged = Vec::new();
        let outcomes = receipts.iter().map(|receipt| {
            self.check_own(receipt)?;
            match turn.state.delivered(receipt) {
                // An expired record may be back for a later opener, whose clock is not as far. An acknowledgement by
                // another call may not be durable yet.
                Ok(_) => acknowledged.push(id_of(receipt)),
                Err(ReceiptError::Gone) if turn.state.knows(receipt.shard) => {
                    acknowledged.push(id_of(receipt));
                }
                Err(ReceiptError::Gone) => {}
                Err(error) => return Err(error),
            }
            Ok(())
        });
        let outcomes = outcomes.collect();
        let entry = (!acknowledged.is_empty()).then_some(Entry::Acknowledged(acknowledged));
        turn.commit(entry.as_slice(), 0)?.wait()?;
        Ok(outcomes)
    }

    /// Holds records, or dead letters, back for so many seconds from now on instead; with 0 seconds they are given out
    /// again at once. The result has an outcome for each receipt. A later opener of the store does not know of it.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let jobs = store.create_stream("jobs", 1)?;
    /// # let queue = jobs.create_queue("resize", &Default::default())?;
    /// jobs.put("picture-7", b"resize")?;
    /// let first = queue.receive(&Default::default())?.remove(0);
    /// queue.change_visibility(&[(first.receipt, 0)])?;
    /// let again = queue.receive(&Default::default())?.remove(0);
    /// assert_eq!((first.receive_count, again.receive_count), (1, 2));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) for more than 43,200 seconds, and nothing was changed;
    /// otherwise as for [`acknowledge`](Self::acknowledge).
    pub fn change_visibility(&self, changes: &[(Receipt, u32)]) -> Result<Vec<Result<(), ReceiptError>>> {
        for (_, seconds) in changes {
            check_visibility_seconds((*seconds).into())?;
        }
        let (mut turn, now) = self.turn()?;
        let before = NextMoments::of(&turn.state);
        let mut outcomes = Vec::with_capacity(changes.len());
        for (receipt, seconds) in changes {
            let held = self
                .check_own(receipt)
                .and_then(|()| turn.state.delivered(receipt));
            let outcome = match held {
                Ok(Some(given)) if given.is_held => Ok(()),
                Ok(_) => Err(ReceiptError::NotInFlight),
                Err(error) => Err(error),
            };
            if outcome.is_ok() {
                turn.state.hold_until(id_of(receipt), now.after(*seconds));
            }
            outcomes.push(outcome);
        }
        let is_earlier = NextMoments::of(&turn.state).is_earlier_than(&before);
        turn.state.pass_time(now.millis, now.settings.max_receive_count);
        let committed = turn.commit(&[], 0).and_then(Committing::wait);
        // They have the new moments from now on, whatever happens to the dead letters below.
        if is_earlier {
            self.shared.changes.notify();
        }
        committed?;
        Ok(outcomes)
    }

    /// Returns dead letters to the queue as if they had never been given out. The result has an outcome for each
    /// receipt. Durable on return.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let jobs = store.create_stream("jobs", 1)?;
    /// use anabranch::{QueueOptions, QueueSettings, ReceiveOptions};
    ///
    /// let settings = QueueSettings { visibility_seconds: 0, max_receive_count: Some(1) };
    /// let queue = jobs.create_queue("resize", &QueueOptions { settings, ..QueueOptions::default() })?;
    /// jobs.put("picture-7", b"resize")?;
    /// queue.receive(&ReceiveOptions::default())?;
    /// assert!(queue.receive(&ReceiveOptions::default())?.is_empty());
    ///
    /// let dead = queue.receive(&ReceiveOptions { dead_letters: true, ..ReceiveOptions::default() })?;
    /// queue.restore(&[dead[0].receipt])?;
    /// assert_eq!(queue.receive(&ReceiveOptions::default())?[0].receive_count, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`acknowledge`](Self::acknowledge).
    pub fn restore(&self, receipts: &[Receipt]) -> Result<Vec<Result<(), ReceiptError>>> {
        let (turn, now) = self.turn()?;
        let mut restored = Vec::new();
        let outcomes = receipts.iter().map(|receipt| {
            self.check_own(receipt)?;
            if !receipt.is_dead_letter {
                return Err(ReceiptError::NotADeadLetter);
            }
            match turn.state.delivered(receipt)? {
                Some(_) => restored.push(id_of(receipt)),
                None => return Err(ReceiptError::Expired),
            }
            Ok(())
        });
        let outcomes = outcomes.collect();
        let entry = (!restored.is_empty()).then_some(Entry::Restored(restored));
        let has_some = entry.is_some();
        turn.commit(entry.as_slice(), now.millis)?.wait()?;
        if has_some {
            self.shared.changes.notify();
        }
        Ok(outcomes)
    }

    /// Undoes deliveries of records or of dead letters: for records that were received and not used, because their
    /// consumer was gone. They are given out again at once, their [receive counts](super::QueueRecord::receive_count)
    /// are as before, and a record that became a dead letter by this delivery is none any more. The result has an
    /// outcome for each receipt: it must be of its record's last delivery, and is invalid afterwards, like all earlier
    /// ones of the record. Durable on return.
    ///
    /// A consumer that failed calls [`change_visibility`](Self::change_visibility) instead: then the delivery counts.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let jobs = store.create_stream("jobs", 1)?;
    /// # let queue = jobs.create_queue("resize", &Default::default())?;
    /// use anabranch::ReceiptError;
    ///
    /// jobs.put("picture-7", b"resize")?;
    /// let receipt = queue.receive(&Default::default())?[0].receipt;
    /// // The worker is gone.
    /// assert_eq!(queue.give_back(&[receipt])?, [Ok(())]);
    /// assert_eq!(queue.acknowledge(&[receipt])?, [Err(ReceiptError::Expired)]);
    /// assert_eq!(queue.receive(&Default::default())?[0].receive_count, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`acknowledge`](Self::acknowledge). After an error of the disk the records may be given out again, with
    /// the delivery counted.
    pub fn give_back(&self, receipts: &[Receipt]) -> Result<Vec<Result<(), ReceiptError>>> {
        let (turn, now) = self.turn()?;
        let (mut records, mut dead_letters) = (Vec::new(), Vec::new());
        let outcomes = receipts.iter().map(|receipt| {
            self.check_own(receipt)?;
            // If the queue no longer knows the delivery, because its entry was lost, it was never given out as far as
            // the queue knows.
            if turn.state.delivered(receipt)?.is_some() {
                let of_kind = match receipt.is_dead_letter {
                    true => &mut dead_letters,
                    false => &mut records,
                };
                of_kind.push((id_of(receipt), receipt.delivery));
            }
            Ok(())
        });
        let outcomes = outcomes.collect();
        let entries = [(false, records), (true, dead_letters)];
        let entries = entries
            .into_iter()
            .filter(|(_, deliveries)| !deliveries.is_empty());
        let entries: Vec<_> = entries
            .map(|(are_dead_letters, deliveries)| Entry::GivenBack {
                are_dead_letters,
                deliveries,
            })
            .collect();
        let committing = turn.commit(&entries, now.millis)?;
        if !entries.is_empty() {
            self.shared.changes.notify();
        }
        committing.wait()?;
        Ok(outcomes)
    }

    fn check_own(&self, receipt: &Receipt) -> Result<(), ReceiptError> {
        match (receipt.stream, receipt.queue) == (self.stream.id(), self.id) {
            true => Ok(()),
            false => Err(ReceiptError::OtherQueue),
        }
    }
}

/// The moments for which lookouts have timers.
struct NextMoments {
    of_records: Option<u64>,
    of_dead_letters: Option<u64>,
}

impl NextMoments {
    fn of(state: &State) -> Self {
        Self {
            of_records: state.next_moment(false),
            of_dead_letters: state.next_moment(true),
        }
    }

    /// Whether one of the timers is too late.
    fn is_earlier_than(&self, before: &Self) -> bool {
        let is_earlier = |moment: Option<u64>, before: Option<u64>| {
            moment.is_some_and(|moment| before.is_none_or(|before| moment < before))
        };
        is_earlier(self.of_records, before.of_records)
            || is_earlier(self.of_dead_letters, before.of_dead_letters)
    }
}

fn id_of(receipt: &Receipt) -> RecordId {
    (receipt.shard, receipt.record)
}
