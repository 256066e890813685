//! Numbers in Prometheus' text format. `docs/operating.md` has the names, and a test compares the two.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, NoLabelSet, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

#[cfg(feature = "nats")]
use super::numbers::ForwardingNumbers;
use super::numbers::{Flow, Held, Numbers, OperationCalls, OperationErrors, StreamNumbers};
use crate::store::ReaderLag;
use crate::{Error, Histogram, ReplicaStats};

pub(super) const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// The name, in numbers, of all streams without series. No stream can have this name.
const OTHERS: &str = "(others)";

/// How many channels have series: the first ones of the oldest streams that have any.
const MOST_CHANNELS: usize = 100;

/// The buckets that are shown: powers of two between these. Prometheus keeps a series for each.
struct Shown {
    least: u64,
    most: u64,
    /// The value, in the unit that is shown, of 1 in the histogram.
    unit: f64,
}

/// From 16 µs to 16.8 s.
const SECONDS: Shown = Shown {
    least: 16,
    most: 1 << 24,
    unit: 1e-6,
};

const RECORDS: Shown = Shown {
    least: 1,
    most: 1 << 16,
    unit: 1.0,
};

/// The text of these numbers.
///
/// # Errors
/// None in practice: writing to a string does not fail.
pub(super) fn text_of(numbers: impl Collector) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(numbers));
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry)?;
    Ok(text)
}

/// The name of a metric, its description, and the function that gives its value.
type FlowMetric = (&'static str, &'static str, fn(Flow) -> u64);

type LagMetric = (&'static str, &'static str, fn(&ReaderLag) -> f64);

impl Collector for Numbers {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut to = Exposition(encoder);
        self.write_puts_and_reads(&mut to)?;
        self.write_storage(&mut to)?;
        self.write_streams(&mut to)?;
        self.write_lags(&mut to)?;
        self.write_deliveries(&mut to)?;
        self.write_cluster(&mut to)?;
        self.write_calls(&mut to)?;
        if self.is_owner {
            to.gauge(OWNER, OWNER_HELP, 1)?;
        }
        to.build()
    }
}

/// Only servers on a cluster have it.
const OWNER: &str = "anabranch_owner";
const OWNER_HELP: &str =
    "1 for the server that has the store of several, and 0 for one that passes calls on to it.";

#[cfg(feature = "nats")]
impl Collector for ForwardingNumbers {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut to = Exposition(encoder);
        to.calls(&self.calls, &self.errors)?;
        to.counter(
            "anabranch_forwarded_requests",
            "Requests that the owner has answered.",
            self.forwarded,
        )?;
        to.connections(&self.held)?;
        to.gauge(OWNER, OWNER_HELP, 0)?;
        to.build()
    }
}

impl Numbers {
    fn write_puts_and_reads(&self, to: &mut Exposition<'_>) -> fmt::Result {
        let (puts, reads) = (&self.store.puts, &self.store.reads);
        to.counter(
            "anabranch_put_records",
            "Records put and committed.",
            puts.records,
        )?;
        to.counter(
            "anabranch_put_bytes",
            "Bytes of data and partition keys put and committed.",
            puts.bytes,
        )?;
        to.counter(
            "anabranch_read_records",
            "Records read, by any reader.",
            reads.records,
        )?;
        to.counter(
            "anabranch_read_bytes",
            "Bytes of data and partition keys read.",
            reads.bytes,
        )?;
        to.counter(
            "anabranch_commits",
            "Groups of records that shards have committed.",
            puts.commits(),
        )?;
        to.histogram(
            "anabranch_commit_duration_seconds",
            "How long the first record of a group took from being taken in to being acknowledged.",
            &puts.commit_micros,
            &SECONDS,
        )?;
        to.histogram(
            "anabranch_group_records",
            "How many records a group had.",
            &puts.group_records,
            &RECORDS,
        )?;
        to.histogram(
            "anabranch_sync_duration_seconds",
            "How long a sync of records to the disk took.",
            &self.store.sync_micros,
            &SECONDS,
        )?;
        let oldest_sync = self.store.health.oldest_sync.unwrap_or_default();
        to.gauge(
            "anabranch_oldest_sync_seconds",
            "How long the oldest sync has taken so far that is under way, 0 while there is none.",
            oldest_sync.as_secs_f64(),
        )
    }

    fn write_storage(&self, to: &mut Exposition<'_>) -> fmt::Result {
        let store = &self.store;
        to.gauge("anabranch_streams", "Streams in all namespaces.", store.streams)?;
        to.gauge(
            "anabranch_open_shards",
            "Open shards of all streams.",
            store.open_shards,
        )?;
        to.gauge(
            "anabranch_damaged_shards",
            "Shards in which damage was found since the start.",
            store.damaged_shards.len() as u64,
        )?;
        to.gauge(
            "anabranch_poisoned",
            "1 after a write or a sync has failed: nothing more is written.",
            u64::from(store.health.failure.is_some()),
        )?;
        let storage = &store.storage;
        to.gauge("anabranch_segments", "Files of records.", storage.segments)?;
        to.gauge(
            "anabranch_segment_bytes",
            "Bytes of the files of records.",
            storage.segment_bytes,
        )?;
        to.gauge(
            "anabranch_pool_files",
            "Files that wait to be used for records.",
            storage.pool_files,
        )?;
        to.gauge(
            "anabranch_pool_bytes",
            "Bytes of the files that wait to be used for records.",
            storage.pool_bytes,
        )?;
        let Some(space) = store.health.space else {
            return Ok(());
        };
        to.gauge(
            "anabranch_disk_size_bytes",
            "Size of the file system with the data directory, or of the memory for records.",
            space.total_bytes,
        )?;
        to.gauge(
            "anabranch_disk_available_bytes",
            "What the server can still take of it, the pool included.",
            space.available_bytes,
        )
    }

    fn write_streams(&self, to: &mut Exposition<'_>) -> fmt::Result {
        const FLOWS: [FlowMetric; 4] = [
            (
                "anabranch_stream_put_records",
                "Records put to a stream and committed.",
                |flow| flow.put_records,
            ),
            (
                "anabranch_stream_put_bytes",
                "Bytes of data and partition keys put to a stream and committed.",
                |flow| flow.put_bytes,
            ),
            (
                "anabranch_stream_read_records",
                "Records read of a stream.",
                |flow| flow.read_records,
            ),
            (
                "anabranch_stream_read_bytes",
                "Bytes of data and partition keys read of a stream.",
                |flow| flow.read_bytes,
            ),
        ];
        let labels = |namespace, stream| [("namespace", namespace), ("stream", stream)];
        for (name, help, number) in FLOWS {
            let streams = self.streams.iter().map(|stream| {
                let labels = labels(stream.namespace.as_str(), stream.name.as_str());
                (labels, number(stream.flow))
            });
            let others = (labels("", OTHERS), number(self.others));
            to.counters(name, help, streams.chain([others]))?;
        }
        let gauges = |number: fn(&StreamNumbers) -> Option<f64>| {
            self.streams.iter().filter_map(move |stream| {
                let labels = labels(stream.namespace.as_str(), stream.name.as_str());
                Some((labels, number(stream)?))
            })
        };
        to.gauges(
            "anabranch_stream_open_shards",
            "Open shards of a stream.",
            gauges(|stream| Some(stream.open_shards as f64)),
        )?;
        to.gauges(
            "anabranch_stream_segment_bytes",
            "Bytes of the files of a stream's records.",
            gauges(|stream| Some(stream.segment_bytes as f64)),
        )?;
        to.gauges(
            "anabranch_stream_oldest_record_timestamp_seconds",
            "When the oldest record of a stream arrived that can be read.",
            gauges(|stream| Some(stream.oldest_arrival?.as_millis() as f64 / 1e3)),
        )
    }

    /// For stores on a cluster only. `docs/cluster.md` has the names.
    fn write_cluster(&self, to: &mut Exposition<'_>) -> fmt::Result {
        let Some(cluster) = &self.store.cluster else {
            return Ok(());
        };
        to.histogram(
            "anabranch_cluster_append_duration_seconds",
            "How long an append to the cluster took that went in.",
            &cluster.append_micros,
            &SECONDS,
        )?;
        to.counter(
            "anabranch_cluster_refused_appends",
            "Appends that the cluster refused, most of which are tried again.",
            cluster.refused_appends,
        )?;
        to.counter(
            "anabranch_cluster_unknown_appends",
            "Appends that the cluster did not answer, so that their outcome was looked up.",
            cluster.unknown_appends,
        )?;
        to.counter(
            "anabranch_cluster_leader_changes",
            "Streams that were found to have another leader than a minute before.",
            cluster.leader_changes,
        )?;
        to.gauge(
            "anabranch_cluster_unanswered_seconds",
            "For how long the cluster has not answered; 0 while it does.",
            cluster.unanswered_for.map_or(0, |since| since.as_secs()),
        )?;
        to.gauge(
            "anabranch_cluster_fenced",
            "1 after another server has taken the store over.",
            u64::from(matches!(self.store.health.failure, Some(Error::Fenced { .. }))),
        )?;
        if let Some(replicas) = self.store.replicas {
            to.gauge(
                "anabranch_cluster_missing_replicas",
                "Servers that do not have the newest, of the stream that lacks the most.",
                replicas.wanted.saturating_sub(replicas.current),
            )?;
        }
        let of_streams = |number: fn(ReplicaStats) -> u64| {
            self.streams.iter().filter_map(move |stream| {
                let labels = [
                    ("namespace", stream.namespace.as_str()),
                    ("stream", stream.name.as_str()),
                ];
                Some((labels, number(stream.replicas?) as f64))
            })
        };
        to.gauges(
            "anabranch_stream_current_replicas",
            "Servers that have the newest of a stream.",
            of_streams(|replicas| replicas.current),
        )?;
        to.gauges(
            "anabranch_stream_replica_lag",
            "Operations on a stream that the server lacks which lacks the most.",
            of_streams(|replicas| replicas.lag),
        )
    }

    fn write_lags(&self, to: &mut Exposition<'_>) -> fmt::Result {
        const LAGS: [LagMetric; 3] = [
            (
                "anabranch_stream_reader_lag_records",
                "Records of a stream that a reader has not dealt with.",
                |lag| lag.records as f64,
            ),
            (
                "anabranch_stream_reader_lag_bytes",
                "Bytes that these records take in the store.",
                |lag| lag.bytes as f64,
            ),
            (
                "anabranch_stream_reader_lag_seconds",
                "How long ago the oldest of these records arrived.",
                |lag| lag.time.as_secs_f64(),
            ),
        ];
        for (name, help, number) in LAGS {
            let readers = self.lags.iter().map(|numbers| {
                let labels = [
                    ("namespace", numbers.namespace.as_str()),
                    ("stream", numbers.stream.as_str()),
                    ("kind", numbers.kind),
                    ("reader", numbers.reader.as_str()),
                ];
                (labels, number(&numbers.lag))
            });
            to.gauges(name, help, readers)?;
        }
        Ok(())
    }

    fn write_deliveries(&self, to: &mut Exposition<'_>) -> fmt::Result {
        let channels = self.streams.iter().flat_map(|stream| {
            let channels = stream.last_deliveries.iter();
            channels.map(move |(channel, at)| {
                let labels = [
                    ("namespace", stream.namespace.as_str()),
                    ("stream", stream.name.as_str()),
                    ("channel", channel.as_str()),
                ];
                (labels, at.as_millis() as f64 / 1e3)
            })
        });
        to.gauges(
            "anabranch_channel_last_delivery_timestamp_seconds",
            "When an object was last made of a channel's records.",
            channels.take(MOST_CHANNELS),
        )
    }

    fn write_calls(&self, to: &mut Exposition<'_>) -> fmt::Result {
        to.calls(&self.calls, &self.errors)?;
        to.counter(
            "anabranch_throttled_records",
            "Records of batches that were refused because their shards took no more.",
            self.throttled_records,
        )?;
        to.connections(&self.held)
    }
}

/// Writes one metric after the other. The names lack the suffix that their type adds.
struct Exposition<'a>(DescriptorEncoder<'a>);

impl Exposition<'_> {
    fn calls(&mut self, calls: &OperationCalls, errors: &OperationErrors) -> fmt::Result {
        self.counters(
            "anabranch_requests",
            "Requests to an operation that were answered.",
            calls
                .iter()
                .map(|(operation, calls)| ([("operation", *operation)], *calls)),
        )?;
        self.counters(
            "anabranch_request_errors",
            "Requests to an operation that were answered with an error.",
            errors
                .iter()
                .map(|((operation, error), count)| ([("operation", *operation), ("error", *error)], *count)),
        )
    }

    fn connections(&mut self, held: &Held) -> fmt::Result {
        self.gauge("anabranch_connections", "Open connections.", held.connections)?;
        self.counter(
            "anabranch_connections_closed_idle",
            "Idle connections that were closed because others needed their place.",
            held.closed_idle_connections,
        )?;
        self.gauge(
            "anabranch_request_memory_bytes",
            "Memory that request bodies hold.",
            held.request_bytes,
        )?;
        self.gauge(
            "anabranch_reply_memory_bytes",
            "Memory that replies hold until they are sent.",
            held.reply_bytes,
        )
    }

    fn build(&mut self) -> fmt::Result {
        self.info(
            "anabranch_build",
            "The version of the server.",
            env!("CARGO_PKG_VERSION"),
        )
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, u64, u64>(&value, None)
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue + Copy) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        metric.encode_gauge(&value)
    }

    fn histogram(&mut self, name: &str, help: &str, of: &Histogram, shown: &Shown) -> fmt::Result {
        let buckets = shown.buckets(of);
        let (sum, count) = (
            of.sum() as f64 * shown.unit,
            buckets.iter().map(|(_, values)| values).sum(),
        );
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Histogram)?;
        metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn counters<'l, const LABELS: usize>(
        &mut self,
        name: &str,
        help: &str,
        series: impl Iterator<Item = ([(&'static str, &'l str); LABELS], u64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in series {
            let mut one = metric.encode_family(&labels)?;
            one.encode_counter::<NoLabelSet, u64, u64>(&value, None)?;
        }
        Ok(())
    }

    fn gauges<'l, const LABELS: usize>(
        &mut self,
        name: &str,
        help: &str,
        series: impl Iterator<Item = ([(&'static str, &'l str); LABELS], f64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in series {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn info(&mut self, name: &str, help: &str, version: &str) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Info)?;
        metric.encode_info(&[("version", version)])
    }
}

impl Shown {
    /// The bounds that are shown, each with the number of values between it and the bound before. The last one has no
    /// bound.
    fn buckets(&self, of: &Histogram) -> Vec<(f64, u64)> {
        let mut shown = Vec::new();
        let mut values = 0;
        for (bound, more) in of.buckets() {
            values += more;
            let is_shown = bound.is_power_of_two() && (self.least..=self.most).contains(&bound);
            if is_shown {
                shown.push((bound as f64 * self.unit, std::mem::take(&mut values)));
            }
        }
        shown.push((f64::INFINITY, values));
        shown
    }
}
