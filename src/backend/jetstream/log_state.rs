//! What is known of one log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::frame::{Frame, LogPlace, MOST_RECORDS, NewFrame};
use crate::error::Error;
use crate::model::{PutRecord, RecordNumber, Timestamp};
use crate::seam::Outcome;

#[derive(Debug)]
pub(super) struct LogState {
    /// Behind the last frame that is known to be there.
    pub(super) end: LogPlace,
    /// No later record arrives earlier.
    pub(super) taken_arrival: Timestamp,
    /// Records that wait for the frame that is under way.
    pub(super) pending: Option<Group>,
    /// Of the group that is under way.
    pub(super) in_flight: Option<Arc<Outcome>>,
    pub(super) in_flight_since: Option<Instant>,
    /// Whether a task commits what is pending.
    pub(super) is_committing: bool,
    /// Whether a frame that was given up may be behind the end.
    pub(super) is_unsure: bool,
    /// Whether the catalog knows that the log is being written to.
    pub(super) is_noted: bool,
    /// Whether a thread is about to have it know that.
    pub(super) is_being_noted: bool,
    /// Whether the last frame is another opener's, who may have the store by now.
    pub(super) is_end_foreign: bool,
    pub(super) is_sealed: bool,
    /// Whether it is not known if the catalog has closed the log.
    pub(super) is_in_doubt: bool,
    pub(super) is_closed: bool,
    /// The first frame, if that is known.
    pub(super) beginning: Option<Beginning>,
    /// The latest horizon that a reader had: what arrived before may be gone.
    pub(super) horizon: Timestamp,
    /// The frames before this one were freed.
    pub(super) freed_before: u64,
    /// When the log may be trimmed again, by the monotonic clock.
    pub(super) trim_from: Duration,
    pub(super) fetches: Fetches,
    /// The first frames from some sequences on.
    pub(super) marks: BTreeMap<u64, Mark>,
}

/// Records that are committed together.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) frame: NewFrame,
    pub(super) outcome: Arc<Outcome>,
    pub(super) began: Instant,
}

/// The first frame of a log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beginning {
    pub(super) sequence: u64,
    /// Behind the last record before it.
    pub(super) follows: RecordNumber,
    pub(super) first_arrival: Timestamp,
    pub(super) last_arrival: Timestamp,
    pub(super) next_record: RecordNumber,
    pub(super) bytes_before: u64,
}

/// What a frame says of the log in front of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) sequence: u64,
    pub(super) records_before: u64,
    pub(super) bytes_before: u64,
    pub(super) previous_arrival: Timestamp,
}

/// What is being fetched for readers, and what came of it.
#[derive(Debug, Default)]
pub(super) struct Fetches {
    pub(super) asked: Vec<Question>,
    /// How many were answered.
    pub(super) answers: u64,
    /// Each is told to the next who asks.
    pub(super) failed: Vec<(Question, Error)>,
    pub(super) found: Vec<(Timestamp, RecordNumber)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// The frames from this sequence on.
    Frames(u64),
    /// The first record that arrived then or later.
    Time(Timestamp),
}

/// What became of records that were to go into the pending group.
pub(super) enum Taken {
    /// They are in this place of the group.
    In(Arc<Outcome>, u32, Timestamp),
    NoRoom,
}

impl LogState {
    /// Of a log that ends there.
    pub(super) fn at(end: LogPlace, is_noted: bool, is_sealed: bool) -> Self {
        Self {
            end,
            taken_arrival: end.last_arrival,
            pending: None,
            in_flight: None,
            in_flight_since: None,
            is_committing: false,
            is_unsure: false,
            is_noted,
            is_being_noted: false,
            is_end_foreign: false,
            is_sealed,
            is_in_doubt: false,
            is_closed: false,
            beginning: None,
            horizon: Timestamp::EPOCH,
            freed_before: 0,
            trim_from: Duration::ZERO,
            fetches: Fetches::default(),
            marks: BTreeMap::new(),
        }
    }

    /// Whether records of so many bytes in a message can be taken in now.
    pub(super) fn has_room(&self, records: usize, bytes: usize, group_bytes: usize) -> bool {
        self.pending.as_ref().is_none_or(|group| {
            let frame = &group.frame;
            frame.records == 0
                || (frame.message_bytes() + bytes <= group_bytes
                    && frame.records as usize + records <= MOST_RECORDS)
        })
    }

    /// Takes records in, which fit into a frame.
    pub(super) fn take_in(&mut self, records: &[PutRecord<'_>], now: Timestamp, group_bytes: usize) -> Taken {
        if !self.has_room(records.len(), NewFrame::bytes_of(records), group_bytes) {
            return Taken::NoRoom;
        }
        let arrival = now.max(self.taken_arrival);
        self.taken_arrival = arrival;
        let group = self
            .pending
            .get_or_insert_with(|| Group::of(NewFrame::of_records()));
        let place = group.frame.records;
        group.frame.push(records, arrival);
        Taken::In(group.outcome.clone(), place, arrival)
    }

    /// Whether what comes before a frame may be gone, since its records need not be kept.
    pub(super) fn may_begin_with(&self, frame: &Frame, horizon: Timestamp) -> bool {
        frame.previous < self.freed_before || frame.previous_arrival < self.horizon.max(horizon)
    }

    pub(super) fn note_beginning(&mut self, frame: &Frame) {
        self.beginning = Some(Beginning {
            sequence: frame.sequence,
            follows: frame.follows,
            first_arrival: frame.first_arrival(),
            last_arrival: frame.last_arrival,
            next_record: frame.place_behind().next_record,
            bytes_before: frame.bytes_before,
        });
    }

    /// How long the group has taken so far that is under way.
    pub(super) fn committing_for(&self) -> Option<Duration> {
        self.in_flight_since.map(|since| since.elapsed())
    }

    /// How many bytes the records have that are there.
    pub(super) fn stored_bytes(&self) -> u64 {
        let gone = self.beginning.map_or(0, |beginning| beginning.bytes_before);
        self.end.bytes.saturating_sub(gone)
    }
}

impl Group {
    pub(super) fn of(frame: NewFrame) -> Self {
        Self::begun(frame, Instant::now())
    }

    /// Which is tried for as long as one that began then.
    pub(super) fn begun(frame: NewFrame, began: Instant) -> Self {
        Self {
            frame,
            outcome: Arc::new(Outcome::new(0)),
            began,
        }
    }
}

/// A task that commits it may be dropped with it, where the store is let go: those who wait are told.
impl Drop for Group {
    fn drop(&mut self) {
        let unknown = Error::Cluster {
            operation: "store records",
            reason: "the store was closed first; they may be stored".to_owned(),
        };
        let wakers = self.outcome.set(Err(unknown));
        wakers.into_iter().for_each(std::task::Waker::wake);
    }
}

impl Mark {
    pub(super) fn of(frame: &Frame) -> Self {
        Self {
            sequence: frame.sequence,
            records_before: frame.records_before,
            bytes_before: frame.bytes_before,
            previous_arrival: frame.previous_arrival,
        }
    }
}

impl Fetches {
    /// Neither more failures nor more finds than this wait for a reader to ask.
    const MOST_KEPT: usize = 64;

    pub(super) fn take_failure(&mut self, question: Question) -> Option<Error> {
        let place = self.failed.iter().position(|(failed, _)| *failed == question)?;
        Some(self.failed.swap_remove(place).1)
    }

    pub(super) fn take_found(&mut self, time: Timestamp) -> Option<RecordNumber> {
        let place = self.found.iter().position(|(found, _)| *found == time)?;
        Some(self.found.swap_remove(place).1)
    }

    /// Whether a task has to be begun for this.
    pub(super) fn ask(&mut self, question: Question) -> bool {
        let is_new = !self.asked.contains(&question);
        if is_new {
            self.asked.push(question);
        }
        is_new
    }

    pub(super) fn note_failure(&mut self, question: Question, error: Error) {
        self.failed.push((question, error));
        if self.failed.len() > Self::MOST_KEPT {
            self.failed.remove(0);
        }
    }

    pub(super) fn note_found(&mut self, time: Timestamp, number: RecordNumber) {
        self.found.push((time, number));
        if self.found.len() > Self::MOST_KEPT {
            self.found.remove(0);
        }
    }

    pub(super) fn note_answered(&mut self, question: Question) {
        self.asked.retain(|asked| *asked != question);
        self.answers += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_a_group_is_told_when_that_is_dropped() {
        let group = Group::of(NewFrame::of_records());
        let outcome = group.outcome.clone();
        assert!(outcome.get().is_none());
        drop(group);
        assert!(matches!(outcome.get(), Some(Err(Error::Cluster { .. }))));
    }
}
