//! Readers that come back to shards which have expired.

use super::stream::Stream;
use crate::error::Result;
use crate::model::{Advance, Checkpoint, PositionChanges, RecordNumber, ShardId};

impl Stream {
    /// Whether a reader that was to go on at this number of a shard misses records, now that the shard has expired. Where it
    /// is not known any more whether there were any, it may.
    pub(crate) fn may_have_lost(&self, shard: ShardId, from: RecordNumber) -> Result<bool> {
        self.read(|stream, moment| {
            let descent = stream.descent(stream.horizon(moment));
            Ok(descent.is_none_or(|descent| descent.may_have_lost(shard, from)))
        })
    }

    /// Where a reader goes on that was in a shard which has expired.
    pub(crate) fn positions_behind(
        &self,
        reached: &Checkpoint,
        expired: ShardId,
        is_at_horizon: bool,
    ) -> Result<PositionChanges> {
        let advance = Advance::Expired { is_at_horizon };
        self.read(|stream, moment| {
            let descent = || stream.descent(stream.horizon(moment));
            Ok(reached.changes(expired, advance, descent))
        })
    }
}
