//! Taking records into a log, and sealing it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::commit::have_committed;
use super::frame::{LogPlace, MOST_RECORDS, NewFrame, OVERHEAD_BYTES};
use super::log::ClusterLog;
use super::log_state::{Group, LogState, Taken};
use super::waiter::Waiter;
use crate::error::{Error, InvalidArgument, Result};
use crate::model::{PartitionKey, PutRecord, RecordNumber, Timestamp};
use crate::seam::{Committer, Placed, Ticket, check_batch_bytes};
use crate::sync::{MutexGuard, OnceLock};

/// How long a first put waits until the log is known to be written to.
const BEGIN_LIMIT: Duration = Duration::from_secs(30);

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
        let began = Instant::now();
        let mut state = self.lock();
        if state.is_closed {
            return Err(Error::Closed);
        }
        state.is_sealed = true;
        while state.is_committing {
            state = self.changed.wait(state);
        }
        let group = Group::begun(NewFrame::of_seal(), began);
        let sealed = self.commit_alone(state, group);
        if sealed.is_err() {
            self.unseal();
        }
        sealed.map(|()| self.lock().end)
    }

    /// Commits a group of its own, where none is pending.
    fn commit_alone(&self, mut state: MutexGuard<'_, LogState>, group: Group) -> Result<()> {
        let outcome = group.outcome.clone();
        state.pending = Some(group);
        have_committed(self, &mut state);
        drop(state);
        Waiter.wait_for(&outcome)
    }

    /// Takes records again.
    pub(super) fn unseal(&self) {
        let mut state = self.lock();
        (state.is_sealed, state.is_in_doubt) = (false, false);
        drop(state);
        self.changed.notify_all();
    }

    /// Has the catalog know that the log is written to, before a record is: so a log that is to have some is never taken
    /// for one that has none. A frame without records comes first, since the log is known from then on to have a frame.
    ///
    /// # Errors
    /// [`Error::Cluster`] if the cluster does not answer in time. No record was taken then.
    pub(super) fn begin_writing(&self, now: Timestamp) -> Result<()> {
        let began = Instant::now();
        let mut state = self.lock();
        while (state.is_being_noted || state.is_committing) && !state.is_noted && !state.is_closed {
            let Some(left) = BEGIN_LIMIT.checked_sub(began.elapsed()) else {
                return Err(not_begun());
            };
            state = self.changed.wait_timeout(state, left);
        }
        if state.is_noted || state.is_closed || state.is_sealed {
            return Ok(());
        }
        state.is_being_noted = true;
        if state.end.sequence == 0 {
            // It expires with the records that follow.
            let frame = NewFrame::of_beginning(now.max(state.taken_arrival));
            let written = self.commit_alone(state, Group::begun(frame, began));
            if let Err(error) = written {
                self.note_noted(false);
                return Err(error);
            }
        } else {
            drop(state);
        }
        self.note_resumed(began)
    }

    /// A change of the catalog can be under way for as long as the cluster does not answer, and this one behind it.
    fn note_resumed(&self, began: Instant) -> Result<()> {
        let Some(log) = self.to_task() else {
            return Err(Error::Closed);
        };
        let failed = Arc::<OnceLock<Error>>::default();
        let of_thread = failed.clone();
        self.shared.cluster.spawn_waiting(move || {
            let resumed = log.commit_resumed();
            if let Err(error) = &resumed {
                let _ = of_thread.set(error.clone());
            }
            log.note_noted(resumed.is_ok());
        });
        let mut state = self.lock();
        loop {
            if let Some(error) = failed.get() {
                return Err(error.clone());
            }
            if state.is_noted {
                return Ok(());
            }
            if state.is_closed {
                return Err(Error::Closed);
            }
            let Some(left) = BEGIN_LIMIT.checked_sub(began.elapsed()) else {
                return Err(not_begun());
            };
            state = self.changed.wait_timeout(state, left);
        }
    }

    fn note_noted(&self, is_noted: bool) {
        let mut state = self.lock();
        (state.is_noted, state.is_being_noted) = (is_noted, false);
        drop(state);
        self.changed.notify_all();
    }
}

fn not_begun() -> Error {
    Error::Cluster {
        operation: "store records",
        reason: "it has not answered in 30 s that the log is written to; they are not stored".to_owned(),
    }
}
