//! Freeing what lies behind the trim horizon.
//!
//! Records are hidden exactly at the horizon by whoever reads. What is done here only gives back the space of whole
//! segments, and of closed shards, of which nothing can be seen any more.

use super::core::StoreCore;
use super::garbage::Garbage;
use crate::catalog::{Edit, LogState};
use crate::error::Result;
use crate::model::{RecordNumber, ShardId, StreamId, Timestamp};

impl StoreCore {
    /// Drops expired shards and segments from the catalog, and hands their files to the garbage.
    pub(super) fn trim(&self, now: Timestamp) -> Result<()> {
        for (stream, shard) in self.expired_shards(now) {
            self.expire_shard(stream, shard)?;
        }
        for (stream, shard, first_record) in self.expired_segments(now) {
            self.trim_log(stream, shard, first_record)?;
        }
        Ok(())
    }

    fn expired_shards(&self, now: Timestamp) -> Vec<(StreamId, ShardId)> {
        let state = self.catalog.read();
        let expired = state.streams().flat_map(|(id, stream)| {
            let shards = stream
                .lineage
                .iter()
                .flat_map(|lineage| lineage.expired(stream.horizon(now)));
            shards.map(move |shard| (id, shard.id))
        });
        expired.collect()
    }

    fn expire_shard(&self, id: StreamId, shard: ShardId) -> Result<()> {
        let Some(stream) = self.known_stream(id) else {
            return Ok(());
        };
        let log = stream.log(shard)?;
        self.catalog.commit(|state| match state.stream(id) {
            Some(stream) if stream.logs.contains_key(&shard) => {
                Ok(vec![Edit::ShardExpired { stream: id, shard }])
            }
            _ => Ok(Vec::new()),
        })?;
        stream.forget_log(shard);
        self.garbage
            .lock()
            .push(Garbage::of_log(log.directory().to_owned(), &log));
        Ok(())
    }

    fn expired_segments(&self, now: Timestamp) -> Vec<(StreamId, ShardId, RecordNumber)> {
        let state = self.catalog.read();
        let expired = state.streams().flat_map(|(id, stream)| {
            let horizon = stream.horizon(now);
            let logs = stream.logs.iter();
            logs.filter_map(move |(shard, log)| Some((id, *shard, first_kept(log, horizon)?)))
        });
        expired.collect()
    }

    fn trim_log(&self, id: StreamId, shard: ShardId, first_record: RecordNumber) -> Result<()> {
        let Some(stream) = self.known_stream(id) else {
            return Ok(());
        };
        let log = stream.log(shard)?;
        self.catalog.commit(|state| match state.stream(id) {
            Some(stream) if stream.logs.contains_key(&shard) => Ok(vec![Edit::LogTrimmed {
                stream: id,
                shard,
                first_record,
            }]),
            _ => Ok(Vec::new()),
        })?;
        self.garbage
            .lock()
            .push(Garbage::of_segments(log.forget_segments_before(first_record)));
        Ok(())
    }
}

/// The first record of the oldest segment that holds anything that arrived at the horizon or later, if it is not the
/// oldest of all. The last segment is always kept: records will follow in it.
fn first_kept(log: &LogState, horizon: Timestamp) -> Option<RecordNumber> {
    let expired = log
        .segments
        .windows(2)
        .take_while(|pair| pair[1].base_arrival < horizon)
        .count();
    (expired > 0).then(|| log.segments[expired].first_record)
}
