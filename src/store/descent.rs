//! Positions of readers in shards that have expired.

use super::stream::Stream;
use crate::error::Result;
use crate::model::{Advance, Checkpoint, PositionChanges, RecordNumber, ShardId};

impl Stream {
    /// Whether a reader that was at this number of a shard misses records because the shard has expired. True also if
    /// it is not known whether there were any.
    pub(crate) fn may_have_lost(&self, shard: ShardId, from: RecordNumber) -> Result<bool> {
        self.read(|stream, moment| {
            let descent = stream.descent(stream.horizon(moment));
            Ok(descent.is_none_or(|descent| descent.may_have_lost(shard, from)))
        })
    }

    /// The positions at which a reader goes on after the shard that it was in has expired.
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
