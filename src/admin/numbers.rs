//! The numbers of a server at one moment.

use std::collections::BTreeMap;

use super::calls::Calls;
use super::lags::LagNumbers;
use crate::http::ServerGauges;
use crate::{Error, ReplicaStats, Result, StoreStats, Stream, Timestamp};

/// The oldest record of each shard is looked up only for streams with at most this many shards, since each takes
/// memory.
const MOST_SHARDS_LOOKED_INTO: u64 = 64;

/// The numbers of a server.
#[derive(Debug)]
pub(super) struct Numbers {
    pub(super) store: StoreStats,
    pub(super) streams: Vec<StreamNumbers>,
    /// The flow of all streams without series.
    pub(super) others: Flow,
    pub(super) lags: Vec<LagNumbers>,
    pub(super) calls: OperationCalls,
    pub(super) errors: OperationErrors,
    pub(super) throttled_records: u64,
    pub(super) held: Held,
    /// Whether the server has the store of several.
    pub(super) is_owner: bool,
}

/// The calls of each operation.
pub(super) type OperationCalls = Vec<(&'static str, u64)>;

/// The errors of each operation, by name.
pub(super) type OperationErrors = BTreeMap<(&'static str, &'static str), u64>;

/// What connections hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) connections: u64,
    pub(super) closed_idle_connections: u64,
    pub(super) request_bytes: u64,
    pub(super) reply_bytes: u64,
}

/// What a server that passes calls on shows.
#[cfg(feature = "nats")]
#[derive(Debug)]
pub(super) struct ForwardingNumbers {
    pub(super) calls: OperationCalls,
    pub(super) errors: OperationErrors,
    pub(super) forwarded: u64,
    pub(super) held: Held,
}

/// The numbers of one stream.
#[derive(Debug)]
pub(super) struct StreamNumbers {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) flow: Flow,
    pub(super) open_shards: u64,
    pub(super) segment_bytes: u64,
    pub(super) replicas: Option<ReplicaStats>,
    pub(super) oldest_arrival: Option<Timestamp>,
    /// The time of the last object of each channel that has delivered records.
    pub(super) last_deliveries: Vec<(String, Timestamp)>,
}

/// Counts of the records and bytes that are put and read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flow {
    pub(super) put_records: u64,
    pub(super) put_bytes: u64,
    pub(super) read_records: u64,
    pub(super) read_bytes: u64,
}

/// The numbers of the store.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) streams: Vec<StreamNumbers>,
    /// The flow of all streams without series.
    pub(super) others: Flow,
    pub(super) store: StoreStats,
}

impl Numbers {
    pub(super) fn of(
        seen: Seen,
        lags: Vec<LagNumbers>,
        calls: &Calls,
        gauges: &ServerGauges,
        is_owner: bool,
    ) -> Numbers {
        Numbers {
            store: seen.store,
            streams: seen.streams,
            others: seen.others,
            lags,
            calls: calls.calls(),
            errors: calls.errors(),
            throttled_records: calls.throttled_records(),
            held: Held::of(gauges),
            is_owner,
        }
    }
}

impl Held {
    pub(super) fn of(gauges: &ServerGauges) -> Held {
        Held {
            connections: gauges.connections() as u64,
            closed_idle_connections: gauges.closed_idle_connections(),
            request_bytes: gauges.request_bytes() as u64,
            reply_bytes: gauges.reply_bytes() as u64,
        }
    }
}

impl StreamNumbers {
    /// `None` if the stream has been deleted. Never waits.
    pub(super) fn of(stream: &Stream) -> Result<Option<StreamNumbers>> {
        let gathered = stream.stats_at_once().and_then(|stats| {
            let oldest = stream.oldest_arrival_at_once()?;
            Ok((stats, oldest, stream.last_deliveries_at_once()?))
        });
        let (stats, oldest_arrival, last_deliveries) = match gathered {
            Ok(gathered) => gathered,
            Err(Error::StreamNotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(StreamNumbers {
            namespace: stream.namespace().to_owned(),
            name: stream.name().to_owned(),
            flow: Flow {
                put_records: stats.puts.records,
                put_bytes: stats.puts.bytes,
                read_records: stats.reads.records,
                read_bytes: stats.reads.bytes,
            },
            open_shards: stats.open_shards,
            segment_bytes: stats.storage.segment_bytes,
            replicas: stats.replicas,
            oldest_arrival: oldest_arrival.filter(|_| may_look_into(stats.shards)),
            last_deliveries,
        }))
    }
}

/// Looks up the oldest records of streams, in at most `most` shards whose oldest record is unknown. An error for one
/// stream does not stop the look-up for others.
pub(super) fn look_for_oldest(streams: &[Stream], most: usize) {
    let mut left = most;
    for stream in streams {
        let shards = stream.stats_at_once().map(|stats| stats.shards);
        if shards.is_ok_and(may_look_into) {
            left -= stream.look_for_oldest(left).unwrap_or(0).min(left);
        }
    }
}

fn may_look_into(shards: u64) -> bool {
    shards <= MOST_SHARDS_LOOKED_INTO
}

impl Flow {
    pub(super) fn and(self, other: Flow) -> Flow {
        self.with(other, u64::saturating_add)
    }

    pub(super) fn at_least(self, other: Flow) -> Flow {
        self.with(other, u64::max)
    }

    pub(super) fn without(self, other: Flow) -> Flow {
        self.with(other, u64::saturating_sub)
    }

    fn with(self, other: Flow, each: fn(u64, u64) -> u64) -> Flow {
        Flow {
            put_records: each(self.put_records, other.put_records),
            put_bytes: each(self.put_bytes, other.put_bytes),
            read_records: each(self.read_records, other.read_records),
            read_bytes: each(self.read_bytes, other.read_bytes),
        }
    }
}
