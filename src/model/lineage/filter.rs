//! Choosing shards: all of them, a generation, or what came after.

use super::Lineage;
use crate::model::{Shard, ShardId, Timestamp};

/// Which shards to list.
///
/// Those that begin with `At` choose one generation: their ranges tile the hash space exactly, and no shard is chosen
/// together with a parent of it. A shard belongs to the generations from its own creation until its children's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ShardFilter {
    /// All shards that have not expired.
    #[default]
    FromTrimHorizon,
    /// The oldest generation that records are kept of.
    AtTrimHorizon,
    /// The open shards.
    AtLatest,
    /// The generation at this moment, or the nearest existing one.
    AtTimestamp(Timestamp),
    /// The open shards, and those that closed at this moment or later.
    FromTimestamp(Timestamp),
    /// All shards with a greater id than this one, which need not exist.
    AfterShardId(ShardId),
}

impl Lineage {
    /// The shards that a filter chooses, in the order of their ids.
    ///
    /// `horizon` is the oldest moment that records are kept of. Shards that closed before it are never chosen, even if
    /// they have not been removed yet.
    pub fn select(&self, filter: &ShardFilter, horizon: Timestamp) -> Vec<&Shard> {
        let unexpired = self.shards().filter(|shard| !shard.is_expired(horizon));
        match *filter {
            ShardFilter::FromTrimHorizon => unexpired.collect(),
            ShardFilter::AtTrimHorizon => self.generation(horizon),
            ShardFilter::AtLatest => self.open_shards().collect(),
            ShardFilter::AtTimestamp(time) => self.generation(time.max(horizon)),
            ShardFilter::FromTimestamp(time) => unexpired.filter(|shard| !shard.is_expired(time)).collect(),
            ShardFilter::AfterShardId(id) => unexpired.filter(|shard| shard.id > id).collect(),
        }
    }

    /// The shards that owned the hash space at this moment, or as soon after it as the listed shards tile it.
    fn generation(&self, time: Timestamp) -> Vec<&Shard> {
        let time = time.max(self.tiled_since);
        self.shards().filter(|shard| shard.owned_at(time)).collect()
    }
}
