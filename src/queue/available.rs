//! How many records a queue has.

use super::handle::Queue;
use super::unread::Unread;
use crate::error::Result;
use crate::model::{RecordNumber, ShardFilter, ShardId};

impl Queue {
    /// How many records can be received now: those that were never given out, and those that are due to be given out
    /// again. Records in flight, expired records and dead letters do not count; [`counts`](Self::counts) has the
    /// numbers of those. Reads at most one record of each shard, however many there are.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let jobs = store.create_stream("jobs", 1)?;
    /// # let queue = jobs.create_queue("resize", &Default::default())?;
    /// jobs.put("picture-7", b"resize")?;
    /// assert_eq!(queue.available()?, 1);
    /// queue.receive(&Default::default())?;
    /// assert_eq!(queue.available()?, 0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`counts`](Self::counts).
    pub fn available(&self) -> Result<u64> {
        let shards = self.stream().shards(&ShardFilter::FromTrimHorizon)?;
        let (unread, to_redeliver) = {
            let (turn, _) = self.turn()?;
            let unread = shards
                .iter()
                .map(|shard| (shard.id, turn.state.unread_of(shard.id)));
            let unread: Vec<_> = unread.collect();
            (unread, turn.state.records.ready.len())
        };
        let mut available = to_redeliver as u64;
        for (shard, unread) in unread {
            available += self.count(shard, &unread)?;
        }
        Ok(available)
    }

    /// Counts from the first unread number on, and subtracts the gaps between the ranges and everything behind the last
    /// range.
    fn count(&self, shard: ShardId, unread: &Unread) -> Result<u64> {
        let Some((first, _)) = unread.first() else {
            return Ok(0);
        };
        let lag = self.stream().lag_from([(shard, first)])?;
        let all: u64 = lag.iter().map(|lag| lag.records).sum();
        let mut others = 0;
        let ends = unread.ranges().iter().map(|(_, end)| *end);
        let begins = unread.ranges().iter().skip(1).map(|(begin, _)| *begin);
        for (end, begin) in ends.zip(begins.chain([RecordNumber::END])) {
            others += self.stream().count_between(shard, end, begin)?;
        }
        Ok(all.saturating_sub(others))
    }
}
