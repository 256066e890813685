//! Freeing what lies behind the trim horizon.
//!
//! Readers hide records exactly at the horizon. What is done here only gives back the space of whole
//! segments, and of closed shards, of which nothing can be seen any more.

use super::core::StoreCore;
use crate::catalog::{Edit, LogState, StreamState};
use crate::error::Result;
use crate::model::{LogName, RecordNumber, Shard, ShardId, StreamId, Timestamp};

impl StoreCore {
    /// Drops expired shards and segments from the catalog, and hands their files to the garbage. Only what the confirmed
    /// time and the time that the store was open say counts.
    pub(super) fn trim(&self) -> Result<()> {
        let confirmed = self.time.moment().confirmed;
        for (stream, shard) in self.expired_shards(confirmed) {
            self.expire_shard(stream, shard)?;
        }
        for (stream, shard, first_record) in self.expired_segments(confirmed) {
            self.trim_log(stream, shard, first_record)?;
        }
        Ok(())
    }

    fn expired_shards(&self, confirmed: Timestamp) -> Vec<(StreamId, ShardId)> {
        let state = self.catalog.read();
        let streams = state.streams();
        let expired = streams.flat_map(|(id, stream)| {
            let shards = stream.expired_shards(confirmed).into_iter();
            shards.map(move |shard| (id, shard))
        });
        expired.collect()
    }

    fn expire_shard(&self, id: StreamId, shard: ShardId) -> Result<()> {
        let Some(stream) = self.known_stream(id) else {
            return Ok(());
        };
        let log = stream.logs.log(shard)?;
        self.catalog.commit(|state| match state.stream(id) {
            Some(stream) if stream.can_expire(shard) => Ok(vec![Edit::ShardExpired { stream: id, shard }]),
            _ => Ok(Vec::new()),
        })?;
        stream.logs.forget_log(shard);
        log.changes().notify();
        self.logs.remove_log(&log);
        Ok(())
    }

    fn expired_segments(&self, confirmed: Timestamp) -> Vec<(StreamId, ShardId, RecordNumber)> {
        let state = self.catalog.read();
        let expired = state.streams().flat_map(|(id, stream)| {
            let horizon = stream.horizon(confirmed);
            let logs = stream.logs.iter();
            logs.filter_map(move |(shard, log)| Some((id, *shard, first_kept(log, horizon)?)))
        });
        expired.collect()
    }

    fn trim_log(&self, id: StreamId, shard: ShardId, first_record: RecordNumber) -> Result<()> {
        let Some(stream) = self.known_stream(id) else {
            return Ok(());
        };
        let log = stream.logs.log(shard)?;
        self.catalog.commit(|state| match state.stream(id) {
            Some(stream) if stream.logs.contains_key(&shard) => Ok(vec![Edit::LogTrimmed {
                log: LogName::Shard(id, shard),
                first_record,
            }]),
            _ => Ok(Vec::new()),
        })?;
        self.logs.remove_before(&log, first_record);
        Ok(())
    }
}

impl StreamState {
    /// The shards of which nothing can be seen any more, in an order in which they can expire.
    fn expired_shards(&self, confirmed: Timestamp) -> Vec<ShardId> {
        let horizon = self.horizon(confirmed);
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

    /// Whether a closed shard's records are hidden, and its closing with them, whatever their times say.
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

/// The first record of the oldest segment that holds anything that can be seen, if it is not the oldest of all. The last segment is always kept: records will follow in it.
fn first_kept(log: &LogState, horizon: Timestamp) -> Option<RecordNumber> {
    let expired = log
        .segments
        .windows(2)
        .take_while(|pair| {
            let is_hidden = log
                .hidden_before
                .is_some_and(|number| pair[1].first_record <= number);
            is_hidden || pair[1].base_arrival < horizon
        })
        .count();
    (expired > 0).then(|| log.segments[expired].first_record)
}
