//! Taking records into a log, and sealing it.

use std::sync::Arc;

use super::commit::have_committed;
use super::frame::{LogPlace, MOST_RECORDS, NewFrame, OVERHEAD_BYTES};
use super::log::ClusterLog;
use super::log_state::{Group, LogState, Taken};
use super::waiter::Waiter;
use crate::error::{Error, InvalidArgument, Result};
use crate::model::{PartitionKey, PutRecord, RecordNumber, Timestamp};
use crate::seam::{Committer, Placed, Ticket, check_batch_bytes};

impl ClusterLog {
    /// Refuses what no frame has room for, and keys that are none.
    pub(super) fn check_records(&self, records: &[PutRecord<'_>]) -> Result<usize> {
        let bytes = check_batch_bytes(records)?;
        if records.len() > MOST_RECORDS {
            return Err(InvalidArgument::RecordsAtOnce {
                actual: records.len(),
                most: MOST_RECORDS,
            }
            .into());
        }
        let limit = self.shared.message_bytes - OVERHEAD_BYTES;
        if NewFrame::bytes_of(records) > limit {
            return Err(Error::BatchTooLarge { bytes, limit });
        }
        for record in records {
            PartitionKey::check_stored(record.partition_key.as_bytes())
                .map_err(InvalidArgument::PartitionKey)?;
        }
        Ok(bytes)
    }

    /// Whether these records can be taken in without waiting.
    pub(super) fn can_take(&self, state: &LogState, records: &[PutRecord<'_>]) -> bool {
        let bytes = NewFrame::bytes_of(records);
        state.is_noted && state.has_room(records.len(), bytes, self.shared.group_bytes)
    }

    /// Takes checked records in, if there is room for them.
    pub(super) fn take_in(
        &self,
        state: &mut LogState,
        records: &[PutRecord<'_>],
        now: Timestamp,
        bytes: usize,
    ) -> Option<Ticket> {
        if records.is_empty() {
            return Some(Ticket::done(Placed {
                first_record: state.end.next_record,
                arrival: now.max(state.taken_arrival),
            }));
        }
        match state.take_in(records, now, self.shared.group_bytes) {
            Taken::NoRoom => None,
            Taken::In(outcome, place, arrival) => {
                have_committed(self, state);
                let placed = Placed {
                    first_record: RecordNumber::new(place.into()),
                    arrival,
                };
                let by: Arc<dyn Committer> = Arc::new(Waiter);
                Some(Ticket::of_group(placed, by, outcome, bytes))
            }
        }
    }

    /// Takes no more records, commits those that were taken, and has a writer be refused that does not
    /// know of the seal. Gives where the log ends.
    ///
    /// # Errors
    /// The log goes on then.
    pub(super) fn seal(&self) -> Result<LogPlace> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(Error::Closed);
        }
        state.is_sealed = true;
        while state.is_committing {
            state = self.changed.wait(state);
        }
        let group = Group::of(NewFrame::of_seal());
        let outcome = group.outcome.clone();
        state.pending = Some(group);
        have_committed(self, &mut state);
        drop(state);
        let sealed = Waiter.wait_for(&outcome);
        if sealed.is_err() {
            self.unseal();
        }
        sealed.map(|()| self.lock().end)
    }

    /// Takes records again.
    pub(super) fn unseal(&self) {
        self.lock().is_sealed = false;
        self.changed.notify_all();
    }
}
