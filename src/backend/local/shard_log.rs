//! The verbs of one log of this machine. Nothing has to be fetched, so no answer is pending.

use std::task::Poll;

use crate::backend::ShardLog;
use crate::error::Result;
use crate::log::LocalLog;
use crate::model::{PutRecord, RecordNumber, Timestamp};
use crate::seam::{Appended, LogChanges, LogRead, ReadLimit, RecordSink, ShownEnd, Waiting};

impl ShardLog for LocalLog {
    fn append(&self, records: &[PutRecord<'_>], now: Timestamp, waiting: Waiting) -> Result<Appended> {
        LocalLog::append(self, records, now, waiting)
    }

    fn read(
        &self,
        from: RecordNumber,
        horizon: Timestamp,
        limit: &ReadLimit,
        sink: &mut dyn RecordSink,
    ) -> Poll<Result<LogRead>> {
        Poll::Ready(LocalLog::read(self, from, horizon, limit, sink))
    }

    fn seek_time(&self, time: Timestamp) -> Poll<Result<RecordNumber>> {
        Poll::Ready(self.first_since(time))
    }

    fn wait_until_fetched(&self) {}

    fn end(&self) -> Result<ShownEnd> {
        Ok(self.shown_end())
    }

    fn changes(&self) -> &LogChanges {
        LocalLog::changes(self)
    }
}
