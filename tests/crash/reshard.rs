//! Splits and merges of a stream that a program chooses by number.

use anabranch::{HashKey, Result, ShardFilter, Stream};

/// Halves an open shard, unless there are many or it has one key.
pub fn split_nth(stream: &Stream, nth: usize) -> Result<()> {
    let shards = stream.shards(&ShardFilter::AtLatest)?;
    let range = shards[nth % shards.len()].hash_key_range;
    let half = range.start().value() / 2 + range.end().value() / 2;
    match shards.len() < 6 && half > range.start().value() {
        true => stream.split_shard(shards[nth % shards.len()].id, HashKey::new(half)),
        false => Ok(()),
    }
}

/// Merges two open neighbours, if there are two.
pub fn merge_nth(stream: &Stream, nth: usize) -> Result<()> {
    let mut shards = stream.shards(&ShardFilter::AtLatest)?;
    shards.sort_by_key(|shard| shard.hash_key_range.start());
    match shards.len() {
        0 | 1 => Ok(()),
        count => {
            let first = nth % (count - 1);
            stream.merge_shards(shards[first].id, shards[first + 1].id)
        }
    }
}
