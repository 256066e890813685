//! What the catalog keeps of a log.

use serde::{Deserialize, Serialize};

use crate::log::{LogEnd, SegmentEntry};
use crate::model::RecordNumber;

/// What the catalog keeps of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogState {
    /// All segments, oldest first.
    pub(crate) segments: Vec<SegmentEntry>,
    /// The end of the log while it rests; `None` for a log that is or was being written to.
    pub(crate) end: Option<LogEnd>,
    /// Marks of records whose arrival times are ahead of the clock, in the order of their numbers.
    pub(crate) ages: Vec<AgeMark>,
    /// The records before this number are hidden, in addition to those that arrived before the horizon.
    pub(crate) hidden_before: Option<RecordNumber>,
    /// Whether the commit journal may have frames that the segments lack.
    pub(crate) is_journaled: bool,
    /// No later segment begins with a lower number.
    pub(crate) numbers_from: Option<RecordNumber>,
}

/// All records before a number were put before the store had been open for a certain time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AgeMark {
    pub(crate) before: RecordNumber,
    pub(crate) open_millis: u64,
}

impl LogState {
    /// The log of a new shard or queue: it rests without a record, at its beginning.
    pub(super) fn of_new_log() -> Self {
        Self {
            end: Some(LogEnd::EMPTY),
            ..Self::default()
        }
    }

    /// The log rests: all of it is durable in its segments.
    pub(super) fn rest_at(&mut self, end: LogEnd) {
        self.end = Some(end);
        self.is_journaled = false;
    }

    /// The number behind the last record of a log that rests. An empty last segment leaves out numbers in front of it.
    pub(crate) fn end_of_records(&self) -> Option<RecordNumber> {
        let end = self.end?;
        let empty = self
            .segments
            .last()
            .filter(|last| last.base_position == end.position);
        Some(empty.map_or(end.next_record, |last| last.follows.min(end.next_record)))
    }

    pub(super) fn add_segment(&mut self, segment: SegmentEntry) -> Result<(), &'static str> {
        let follows = self.segments.last().is_none_or(|last| {
            last.first_record < segment.first_record && last.base_position <= segment.base_position
        });
        if !follows {
            return Err("the segment does not follow the ones before");
        }
        if self.segments.is_empty() {
            // Most logs have one segment. A vector makes room for four.
            self.segments.reserve_exact(1);
        }
        self.segments.push(segment);
        self.end = None;
        self.numbers_from = self.numbers_from.filter(|from| *from > segment.first_record);
        Ok(())
    }

    pub(super) fn reserve_numbers(&mut self, before: RecordNumber) {
        self.numbers_from = self.numbers_from.max(Some(before));
    }

    /// The closing of a shard counts as one more record, with the number at the end. A mark that was made before must
    /// not include it. After a crash that took records back, such a mark can reach behind the end, so it is cut here.
    pub(super) fn note_closing(&mut self, end: LogEnd) {
        self.hidden_before = self.hidden_before.map(|number| number.min(end.next_record));
        for mark in &mut self.ages {
            mark.before = mark.before.min(end.next_record);
        }
    }

    pub(super) fn hide_before(&mut self, number: RecordNumber) {
        self.hidden_before = self.hidden_before.max(Some(number));
        self.ages.retain(|mark| mark.before > number);
    }

    pub(super) fn trim(&mut self, first_record: RecordNumber) {
        let kept = self
            .segments
            .partition_point(|segment| segment.first_record < first_record);
        self.segments.drain(..kept);
    }
}
