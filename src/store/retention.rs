//! Expiring shards behind the trim horizon.
//!
//! Readers hide records exactly at the horizon. This, and the logs' own house-keeping, only frees the space of records
//! that are no longer visible.

use super::core::StoreCore;
use crate::catalog::{Edit, StreamState};
use crate::error::Result;
use crate::model::{LogName, Moment, Shard, ShardId, StreamId};

impl StoreCore {
    /// Drops expired shards from the catalog, with their logs. Only the confirmed time and the time that the store was
    /// open count.
    pub(super) fn expire_shards(&self) -> Result<()> {
        let expired: Vec<_> = {
            let (state, time) = (self.catalog.read(), self.time.moment());
            let streams = state.streams();
            let expired = streams.flat_map(|(id, stream)| {
                let shards = stream.expired_shards(time).into_iter();
                shards.map(move |shard| (id, shard))
            });
            expired.collect()
        };
        for (stream, shard) in expired {
            self.expire_shard(stream, shard)?;
        }
        Ok(())
    }

    fn expire_shard(&self, id: StreamId, shard: ShardId) -> Result<()> {
        let removed =
            self.logs.remove(
                id,
                Some(LogName::Shard(id, shard)),
                &mut |state| match state.stream(id) {
                    Some(stream) if stream.can_expire(shard) => {
                        Ok(vec![Edit::ShardExpired { stream: id, shard }])
                    }
                    _ => Ok(Vec::new()),
                },
            )?;
        removed.iter().for_each(|log| log.changes().notify());
        Ok(())
    }
}

impl StreamState {
    /// The shards without visible records, in an order in which they can expire.
    fn expired_shards(&self, time: Moment) -> Vec<ShardId> {
        let horizon = self.horizon(time);
        let Some(lineage) = &self.lineage else {
            return Vec::new();
        };
        let mut expired = Vec::new();
        for shard in lineage.shards() {
            let is_oldest = lineage
                .parents_of(shard.id)
                .all(|parent| expired.contains(&parent.id));
            if is_oldest && (shard.is_expired(horizon) || self.is_hidden(shard)) {
                expired.push(shard.id);
            }
        }
        expired
    }

    /// Whether a closed shard's records are hidden by number, and its closing with them.
    fn is_hidden(&self, shard: &Shard) -> bool {
        let log = self.logs.get(&shard.id);
        let hidden = log.and_then(|log| log.hidden_before.zip(log.end));
        !shard.is_open() && hidden.is_some_and(|(number, end)| number > end.next_record)
    }

    fn can_expire(&self, shard: ShardId) -> bool {
        let lineage = self.lineage.as_ref();
        self.logs.contains_key(&shard)
            && lineage.is_some_and(|lineage| lineage.parents_of(shard).next().is_none())
    }
}
