//! The numbers of a server at one moment.

use std::collections::BTreeMap;

use super::calls::Calls;
use crate::http::ServerGauges;
use crate::{Error, Result, Store, StoreStats, Stream, StreamStats, Timestamp};

/// So many streams have numbers of their own: those that are there for longest.
const MOST_STREAMS: usize = 100;

/// The first record of each shard is looked for if a stream has no more shards. It takes memory for each.
const MOST_SHARDS_LOOKED_INTO: u64 = 64;

/// What is shown as the numbers of a server.
#[derive(Debug)]
pub(super) struct Numbers {
    pub(super) store: StoreStats,
    pub(super) streams: Vec<StreamNumbers>,
    /// Those of all other streams, and of those that are deleted.
    pub(super) others: Flow,
    pub(super) calls: Vec<(&'static str, u64)>,
    pub(super) errors: BTreeMap<(&'static str, &'static str), u64>,
    pub(super) throttled_records: u64,
    pub(super) connections: u64,
    pub(super) closed_idle_connections: u64,
    pub(super) request_bytes: u64,
    pub(super) reply_bytes: u64,
}

/// The numbers of one stream.
#[derive(Debug)]
pub(super) struct StreamNumbers {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) flow: Flow,
    pub(super) open_shards: u64,
    pub(super) segment_bytes: u64,
    pub(super) oldest_arrival: Option<Timestamp>,
}

/// What goes in and out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flow {
    pub(super) put_records: u64,
    pub(super) put_bytes: u64,
    pub(super) read_records: u64,
    pub(super) read_bytes: u64,
}

impl Numbers {
    /// Waits for locks, and for the disk.
    pub(super) fn of(store: &Store, calls: &Calls, gauges: &ServerGauges) -> Result<Numbers> {
        // Before those of the store, which then are no less than theirs together.
        let mut streams = Vec::new();
        for stream in store.all_streams(None, MOST_STREAMS)? {
            streams.extend(numbers_of(&stream)?);
        }
        let store = store.stats()?;
        let whole = Flow {
            put_records: store.puts.records,
            put_bytes: store.puts.bytes,
            read_records: store.reads.records,
            read_bytes: store.reads.bytes,
        };
        Ok(Numbers {
            others: streams
                .iter()
                .fold(whole, |left, stream| left.without(stream.flow)),
            store,
            streams,
            calls: calls.calls(),
            errors: calls.errors(),
            throttled_records: calls.throttled_records(),
            connections: gauges.connections() as u64,
            closed_idle_connections: gauges.closed_idle_connections(),
            request_bytes: gauges.request_bytes() as u64,
            reply_bytes: gauges.reply_bytes() as u64,
        })
    }
}

/// `None` if the stream is deleted by now.
fn numbers_of(stream: &Stream) -> Result<Option<StreamNumbers>> {
    let gathered = stream
        .stats()
        .and_then(|stats| Ok((oldest_arrival(stream, &stats)?, stats)));
    let (oldest_arrival, stats) = match gathered {
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
        oldest_arrival,
    }))
}

/// Where the disk cannot tell, other numbers still can.
fn oldest_arrival(stream: &Stream, stats: &StreamStats) -> Result<Option<Timestamp>> {
    if stats.shards > MOST_SHARDS_LOOKED_INTO {
        return Ok(None);
    }
    match stream.oldest_arrival() {
        Err(Error::Io { .. } | Error::Poisoned { .. } | Error::TooManyOpenFiles { .. }) => Ok(None),
        found => found,
    }
}

impl Flow {
    fn without(self, other: Flow) -> Flow {
        Flow {
            put_records: self.put_records.saturating_sub(other.put_records),
            put_bytes: self.put_bytes.saturating_sub(other.put_bytes),
            read_records: self.read_records.saturating_sub(other.read_records),
            read_bytes: self.read_bytes.saturating_sub(other.read_bytes),
        }
    }
}
