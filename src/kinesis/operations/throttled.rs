//! Records that are refused because their shard takes no more, or because a test asked for that.

use crate::kinesis::authorization::stream_arn;
use crate::kinesis::service::Context;
use crate::{PutRecord, RecordDistribution, ShardFilter, ShardId, Stream};

/// Whether any record can be refused.
pub(super) fn may_be(context: Context<'_>) -> bool {
    context.service.limits.throughput || context.service.faults.throttle_records()
}

/// For each record, why its shard does not take it, if so. Empty if none can be refused.
pub(super) fn refused(
    context: Context<'_>,
    stream: &Stream,
    records: &[PutRecord<'_>],
    are_many: bool,
) -> crate::Result<Vec<Option<String>>> {
    if !may_be(context) {
        return Ok(Vec::new());
    }
    let service = context.service;
    let now = service.store.now();
    let places = Places::of(stream)?;
    let is_refused = |(number, record): (usize, &PutRecord<'_>)| {
        let shard = places.shard_of(number, record)?;
        let has_fault = are_many && service.faults.throttles_record();
        // A record that a fault refuses is not written, and does not count for the shard.
        let is_full = || {
            let throughput = &service.throughput;
            service.limits.throughput && !throughput.writes((stream.id(), shard), record.size_bytes(), now)
        };
        (has_fault || is_full()).then(|| message(stream, shard))
    };
    let refused: Vec<_> = records.iter().enumerate().map(is_refused).collect();
    if are_many {
        service
            .calls
            .note_throttled_records(refused.iter().flatten().count());
    }
    Ok(refused)
}

fn message(stream: &Stream, shard: ShardId) -> String {
    let arn = stream_arn(stream);
    format!(
        "Rate exceeded for shard {shard} in stream {} under account {}.",
        arn.stream_name, arn.account_id
    )
}

/// The shard of each record, as far as it is known in advance.
struct Places {
    open: Vec<crate::Shard>,
    is_distributed: bool,
}

impl Places {
    fn of(stream: &Stream) -> crate::Result<Places> {
        let open = stream.shards(&ShardFilter::AtLatest)?;
        let is_distributed = stream.summary()?.distribution == RecordDistribution::Auto;
        Ok(Places { open, is_distributed })
    }

    /// `None` while the stream has no shards. For records that go to all shards in turn, the first shard is assumed to
    /// be next.
    fn shard_of(&self, number: usize, record: &PutRecord<'_>) -> Option<ShardId> {
        if self.is_distributed {
            return self
                .open
                .get(number % self.open.len().max(1))
                .map(|shard| shard.id);
        }
        let key = record.hash_key();
        self.open
            .iter()
            .find(|shard| shard.covers(key))
            .map(|shard| shard.id)
    }
}
