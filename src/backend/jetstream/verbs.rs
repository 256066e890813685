//! What one log can do.

use std::task::Poll;

use super::fetch::ask;
use super::frame::{Frame, number, sequence_and_place};
use super::log::ClusterLog;
use super::log_state::Question;
use crate::backend::ShardLog;
use crate::error::{Error, Result};
use crate::model::{PutRecord, RecordNumber, Timestamp};
use crate::seam::{Appended, LogChanges, LogRead, ReadLimit, RecordSink, ShownEnd, Waiting};

impl ShardLog for ClusterLog {
    fn append(&self, records: &[PutRecord<'_>], now: Timestamp, waiting: Waiting) -> Result<Appended> {
        let bytes = self.check_records(records)?;
        self.shared.check()?;
        let mut state = self.lock();
        loop {
            if state.is_closed {
                return Err(Error::Closed);
            }
            if state.is_in_doubt {
                return match waiting {
                    Waiting::Refused => Ok(Appended::WouldWait),
                    Waiting::Allowed => Err(in_doubt()),
                };
            }
            if state.is_sealed {
                return Ok(Appended::Sealed);
            }
            if !state.is_noted {
                if waiting == Waiting::Refused {
                    return Ok(Appended::WouldWait);
                }
                drop(state);
                self.begin_writing(now)?;
                state = self.lock();
                continue;
            }
            match self.take_in(&mut state, records, now, bytes) {
                Some(ticket) => return Ok(Appended::Taken(ticket)),
                None if waiting == Waiting::Refused => return Ok(Appended::WouldWait),
                None => state = self.changed.wait(state),
            }
        }
    }

    fn read(
        &self,
        from: RecordNumber,
        horizon: Timestamp,
        limit: &ReadLimit,
        sink: &mut dyn RecordSink,
    ) -> Poll<Result<LogRead>> {
        let mut state = self.lock();
        if state.is_closed {
            return Poll::Ready(Err(Error::Closed));
        }
        state.horizon = state.horizon.max(horizon);
        let end = state.end;
        let (mut sequence, mut place) = sequence_and_place(from);
        let is_behind = state.beginning.is_some_and(|first| from < first.follows);
        let mut reading = Reading {
            from,
            horizon,
            limit,
            is_behind,
            began: None,
            taken: 0,
            bytes: 0,
        };
        while sequence <= end.sequence && end.sequence > 0 {
            let Some(frame) = self.kept(&state, sequence) else {
                let next = number(sequence, place);
                // Who has passed a frame without records has got nowhere yet that a reader could see.
                if next > from && (reading.taken > 0 || reading.is_behind) {
                    return Poll::Ready(Ok(reading.stopped(next, end.next_record)));
                }
                return ask(self, &mut state, Question::Frames(sequence), horizon);
            };
            if frame.sequence > end.sequence {
                break;
            }
            if frame.sequence > sequence {
                place = 0;
            }
            if let Some(next) = reading.hand_out(&frame, place, sink) {
                return Poll::Ready(Ok(reading.stopped(next, end.next_record)));
            }
            (sequence, place) = (frame.sequence + 1, 0);
        }
        let next = from.max(end.next_record);
        Poll::Ready(Ok(reading.stopped(next, end.next_record)))
    }

    fn seek_time(&self, time: Timestamp) -> Poll<Result<RecordNumber>> {
        let mut state = self.lock();
        if state.is_closed {
            return Poll::Ready(Err(Error::Closed));
        }
        if state.end.sequence == 0 || time > state.end.last_arrival {
            return Poll::Ready(Ok(state.end.next_record));
        }
        if let Some(first) = state.beginning.filter(|first| time <= first.first_arrival) {
            return Poll::Ready(Ok(number(first.sequence, 0)));
        }
        match state.fetches.take_found(time) {
            Some(number) => Poll::Ready(Ok(number)),
            None => ask(self, &mut state, Question::Time(time), time),
        }
    }

    fn wait_until_fetched(&self) {
        let mut state = self.lock();
        let answers = state.fetches.answers;
        // The one that the caller asked for may have been answered before this, and then it is asked again soon.
        while !state.fetches.asked.is_empty() && state.fetches.answers == answers && !state.is_closed {
            state = self.changed.wait(state);
        }
    }

    fn end(&self) -> Result<ShownEnd> {
        let state = self.lock();
        Ok(ShownEnd {
            next_record: state.end.next_record,
            last_arrival: state.taken_arrival,
        })
    }

    fn changes(&self) -> &LogChanges {
        &self.changes
    }
}

fn in_doubt() -> Error {
    Error::Cluster {
        operation: "store records",
        reason: "it is not known yet whether their shard was closed; they are not stored".to_owned(),
    }
}

/// A read that is under way.
struct Reading<'a> {
    from: RecordNumber,
    horizon: Timestamp,
    limit: &'a ReadLimit,
    /// Whether something that was asked for is not to be seen any more.
    is_behind: bool,
    began: Option<RecordNumber>,
    taken: usize,
    bytes: usize,
}

impl Reading<'_> {
    /// Hands out records of a frame from a place on. Gives where the next read goes on if that is in this frame.
    fn hand_out(&mut self, frame: &Frame, place: u32, sink: &mut dyn RecordSink) -> Option<RecordNumber> {
        for record in frame.read().skip(place as usize) {
            if record.arrival < self.horizon {
                self.is_behind = true;
                continue;
            }
            let bytes = record.partition_key.as_str().len() + record.data.len();
            self.bytes = self.bytes.saturating_add(bytes);
            if self.taken >= self.limit.records || (self.taken > 0 && self.bytes > self.limit.bytes) {
                return Some(record.number);
            }
            self.began.get_or_insert(record.number);
            self.taken += 1;
            sink.take(record);
        }
        None
    }

    fn stopped(&self, next: RecordNumber, end: RecordNumber) -> LogRead {
        let began = self.began.unwrap_or(next).max(self.from);
        LogRead {
            next,
            end,
            began_behind_trimmed: self.is_behind.then_some(began),
        }
    }
}
