//! The contents of one log.

use std::collections::VecDeque;

use super::numbers::Numbers;
use crate::catalog::LogEnd;
use crate::model::{LogName, PutRecord, RecordNumber, Timestamp};
use crate::seam::{LogRead, ReadLimit, ReadRecord, RecordSink, stored_bytes};

/// The contents of a log.
#[derive(Debug)]
pub(super) struct LogState {
    pub(super) records: VecDeque<ReadRecord>,
    /// The bytes that they take.
    pub(super) bytes: usize,
    pub(super) numbers: Numbers,
    pub(super) last_arrival: Timestamp,
    /// The number behind all records that were freed.
    pub(super) freed_before: RecordNumber,
    /// Whether the catalog knows that the log is being written to.
    pub(super) is_noted: bool,
    pub(super) is_sealed: bool,
    pub(super) is_closed: bool,
    pub(super) reads: u32,
    pub(super) is_fetching: bool,
}

impl LogState {
    /// The state of a log without a record.
    pub(super) fn of(log: LogName) -> Self {
        Self {
            records: VecDeque::new(),
            bytes: 0,
            numbers: Numbers::of(log),
            last_arrival: Timestamp::EPOCH,
            freed_before: RecordNumber::FIRST,
            is_noted: false,
            is_sealed: false,
            is_closed: false,
            reads: 0,
            is_fetching: false,
        }
    }

    /// The state as the next opener of the store finds it.
    pub(super) fn rested(self) -> Self {
        Self {
            is_fetching: false,
            ..self
        }
    }

    pub(super) fn end(&self) -> LogEnd {
        LogEnd {
            next_record: self.numbers.next(),
            last_arrival: self.last_arrival,
            ..LogEnd::EMPTY
        }
    }

    pub(super) fn seal(&mut self) {
        self.is_sealed = true;
    }

    pub(super) fn first_from(&self, number: RecordNumber, horizon: Timestamp) -> usize {
        self.records
            .partition_point(|record| record.number < number || record.arrival < horizon)
    }

    pub(super) fn read(
        &self,
        from: RecordNumber,
        horizon: Timestamp,
        limit: &ReadLimit,
        sink: &mut dyn RecordSink,
    ) -> LogRead {
        let end = self.numbers.next();
        let mut next = from;
        let (mut taken, mut bytes) = (0, 0_usize);
        let first = self.first_from(from, horizon);
        let is_behind = from < self.freed_before || self.first_from(from, Timestamp::EPOCH) < first;
        let began = self.records.get(first).map_or(end, |record| record.number);
        let began_behind_trimmed = is_behind.then_some(began);
        for record in self.records.range(first..) {
            bytes = bytes.saturating_add(record.partition_key.as_str().len() + record.data.len());
            if taken >= limit.records || (taken > 0 && bytes > limit.bytes) {
                return LogRead {
                    next,
                    end,
                    began_behind_trimmed,
                };
            }
            next = record.number.next();
            sink.take(record.clone());
            taken += 1;
        }
        // The requested number may be behind the end, where the caller waits for it.
        let next = next.max(end);
        LogRead {
            next,
            end,
            began_behind_trimmed,
        }
    }
}

/// The bytes that a record takes.
pub(super) fn bytes_of(record: &ReadRecord) -> usize {
    let record = PutRecord::new(record.partition_key.as_str(), &record.data);
    stored_bytes(&record)
}
