//! The state of a copy of a store, whose logs rest and which has no commit journal.

use super::state::CatalogState;
use crate::log::{LogEnd, SegmentEntry};
use crate::model::{LogName, StreamId, Timestamp};

/// The least count of numbers that the log of a copy leaves out. The original store goes on giving out numbers, and
/// readers see them, until the copy takes its place. With a million records a second in a shard, these last for twelve
/// days.
const NUMBERS_LEFT_OUT: u64 = 1 << 40;

/// The count of further numbers that are left out for each millisecond from 2020 to the moment of the copy. So two
/// copies of one store begin at different numbers, and a shard that takes less than a million records a second does not
/// reach the numbers of a later copy.
const NUMBERS_PER_MILLISECOND: u64 = 1 << 10;

/// The least count of stream numbers that a copy leaves out. One more is left out for each second from 2020 to the
/// moment of the copy.
const STREAMS_LEFT_OUT: u64 = 1 << 20;

/// The least count of numbers of shards, consumers, queues and channels that a stream of a copy leaves out.
const IDS_LEFT_OUT: u64 = 1 << 12;

/// These numbers are also at least as high as this count for each minute from 2020 to the moment of the copy. So two
/// copies of one store begin at different numbers. Since it is no distance, copies of copies do not use the numbers up;
/// there are enough for 255 years.
const IDS_FOR_EACH_MINUTE: u64 = 16;

const YEAR_2020: Timestamp = Timestamp::from_seconds(1_577_836_800);

/// No clock that shows a later time is believed, which is in the year 2159: there are numbers for thousands of copies
/// of copies.
const MAX_MILLISECONDS: u64 = 1 << 42;

fn milliseconds_since_2020(now: Timestamp) -> u64 {
    let since = now.as_millis().saturating_sub(YEAR_2020.as_millis());
    since.min(MAX_MILLISECONDS)
}

impl CatalogState {
    /// Leaves out the numbers that the original store, or another copy of it, may give to streams and to what belongs
    /// to one.
    pub(crate) fn leave_out_ids(&mut self, now: Timestamp) {
        for stream in self.streams.values_mut() {
            stream.leave_out_ids(|next| {
                let by_time = milliseconds_since_2020(now) / 60_000 * IDS_FOR_EACH_MINUTE;
                next.saturating_add(IDS_LEFT_OUT).max(by_time)
            });
        }
        let left_out = STREAMS_LEFT_OUT + milliseconds_since_2020(now) / 1_000;
        let through = self.next_stream().value().saturating_add(left_out);
        self.reserve_stream_ids(StreamId::new(through));
    }

    /// Makes a log consist of these segments, and rest where they end. If records may follow, it goes on like a log
    /// that was interrupted: in another segment, and far behind the numbers that anyone may have seen.
    pub(crate) fn settle_copied_log(
        &mut self,
        log: LogName,
        segments: Vec<SegmentEntry>,
        end: LogEnd,
        now: Timestamp,
    ) {
        let is_open = self.may_go_on(log);
        let end = LogEnd {
            is_interrupted: end.is_interrupted || is_open,
            ..end
        };
        let Ok(known) = self.log_mut(log) else {
            return;
        };
        known.segments = segments;
        known.rest_at(end);
        if is_open && log.shard().is_some() {
            // The original store may itself be a copy that has not yet given out the numbers from which it goes on.
            let begins_from = known.numbers_from.unwrap_or(end.next_record).max(end.next_record);
            let left_out = NUMBERS_LEFT_OUT + milliseconds_since_2020(now) * NUMBERS_PER_MILLISECOND;
            known.reserve_numbers(begins_from.saturating_add(left_out));
        }
    }

    /// Whether records may follow in a log: false for a closed shard.
    pub(crate) fn may_go_on(&self, log: LogName) -> bool {
        let (Some(stream), Some(shard)) = (log.stream(), log.shard()) else {
            return true;
        };
        self.stream(stream).is_none_or(|stream| stream.is_open(shard))
    }

    /// Makes the commit journal begin behind everything that it can have had. All of its frames are in the segments.
    pub(crate) fn drop_copied_journal(&mut self) {
        if let Some(last) = self.journal.segments.last() {
            let end = last.end_behind_all();
            self.journal.trim(end.next_record);
            self.journal.rest_at(end);
        }
        self.note_empty_journal();
    }
}
