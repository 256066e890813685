//! The state of a copy of a store, whose logs rest and which has no commit journal.

use super::state::CatalogState;
use crate::log::{LogEnd, SegmentEntry};
use crate::model::{LogName, StreamId, Timestamp};

/// Numbers that the log of a copy leaves out at least. The store that was copied goes on giving numbers, and readers see
/// them, until the copy takes its place: with a million records a second in a shard, these last for twelve days.
const NUMBERS_LEFT_OUT: u64 = 1 << 40;

/// So many more are left out for each millisecond from 2020 to the moment of the copy. So two copies of one store begin at
/// different numbers, and a shard that takes less than a million records a second does not catch up with a later copy.
const NUMBERS_PER_MILLISECOND: u64 = 1 << 10;

/// Numbers of streams that a copy leaves out at least, and one more for each second from 2020 to the moment of the copy.
const STREAMS_LEFT_OUT: u64 = 1 << 20;

/// Numbers of shards, consumers, queues and channels that a stream of a copy leaves out at least.
const IDS_LEFT_OUT: u64 = 1 << 12;

/// And these numbers are as high at least as so many for each minute from 2020 to the moment of the copy. So two copies of
/// one store begin at different numbers; and since it is no distance, copies of copies do not use the numbers up, of which
/// there are enough for 255 years.
const IDS_FOR_EACH_MINUTE: u64 = 16;

const YEAR_2020: Timestamp = Timestamp::from_seconds(1_577_836_800);

/// No clock is believed that says more, which is in the year 2159: there are numbers for thousands of copies of copies.
const MAX_MILLISECONDS: u64 = 1 << 42;

fn milliseconds_since_2020(now: Timestamp) -> u64 {
    let since = now.as_millis().saturating_sub(YEAR_2020.as_millis());
    since.min(MAX_MILLISECONDS)
}

impl CatalogState {
    /// Leaves out numbers that the store which is copied may give to streams, and to what belongs to one, or another copy of
    /// it.
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

    /// Has a log consist of these segments, and rest where they end. If records may follow, it goes on as a log that
    /// was interrupted does, in another segment and far behind the numbers that anyone may have seen.
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
            // The store that is copied may be a copy, and have given none of the numbers yet from which it goes on.
            let begins_from = known.numbers_from.unwrap_or(end.next_record).max(end.next_record);
            let left_out = NUMBERS_LEFT_OUT + milliseconds_since_2020(now) * NUMBERS_PER_MILLISECOND;
            known.reserve_numbers(begins_from.saturating_add(left_out));
        }
    }

    /// Whether records may follow in a log: it is not the one of a closed shard.
    pub(crate) fn may_go_on(&self, log: LogName) -> bool {
        let (Some(stream), Some(shard)) = (log.stream(), log.shard()) else {
            return true;
        };
        self.stream(stream).is_none_or(|stream| stream.is_open(shard))
    }

    /// Has the commit journal begin behind all that it can have had. All frames that it had are in the segments.
    pub(crate) fn drop_copied_journal(&mut self) {
        if let Some(last) = self.journal.segments.last() {
            let end = last.end_behind_all();
            self.journal.trim(end.next_record);
            self.journal.rest_at(end);
        }
        self.note_empty_journal();
    }
}
