//! The numbers of one shard.

use super::stream::Stream;
use crate::error::Result;
use crate::model::{LogName, RecordNumber, ShardId, Timestamp};

/// The numbers of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShardStats {
    /// The oldest readable record; the next one to be put if there is none.
    pub first_record: RecordNumber,
    /// When that arrived; `None` if there is none.
    pub oldest_arrival: Option<Timestamp>,
    /// The number behind the last readable record, which is the least number of the next one.
    pub next_record: RecordNumber,
    /// When the last record arrived, including expired ones; `None` if there never was one.
    pub last_arrival: Option<Timestamp>,
    /// The disk space or memory that the shard takes, in bytes.
    pub stored_bytes: u64,
}

impl Stream {
    /// The numbers of a shard. Reads its oldest record, so it may block.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// let shard = stream.put("user-42", b"{}")?.shard_id;
    /// let stats = stream.shard_stats(shard)?;
    /// assert_eq!(stats.next_record.value() - stats.first_record.value(), 1);
    /// assert_eq!(stats.oldest_arrival, stats.last_arrival);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::ShardNotFound`](crate::Error::ShardNotFound) also once the shard has expired; otherwise as for
    /// [`get_records`](Self::get_records) from the trim horizon.
    pub fn shard_stats(&self, shard: ShardId) -> Result<ShardStats> {
        let (view, log) = self.readable(shard)?;
        let oldest = view.oldest_record(&log)?;
        // Read after the oldest record, so that a record that is put meanwhile is not behind the end.
        let end = log.end()?;
        Ok(ShardStats {
            first_record: oldest.map_or(end.next_record, |(number, _)| number),
            oldest_arrival: oldest.map(|(_, arrival)| arrival),
            next_record: end.next_record,
            last_arrival: (end.last_arrival > Timestamp::EPOCH).then_some(end.last_arrival),
            stored_bytes: self
                .store_core()
                .logs
                .stored_bytes(LogName::Shard(self.id(), shard)),
        })
    }
}
