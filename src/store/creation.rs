//! The options of a new stream, and making its shards.

use std::collections::BTreeMap;

use super::core::StoreCore;
use crate::catalog::{CatalogState, Edit, Lifecycle, Resource, Setting};
use crate::error::{Error, InvalidArgument, Result};
use crate::model::{
    Lineage, RecordDistribution, Retention, SizeLimits, StreamId, StreamMode, StreamName, StreamStatus,
    Timestamp, limits,
};

/// The options of a new stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamOptions {
    /// How many shards it begins with. Default: 1.
    pub shard_count: u32,
    /// Whether the owner or the load decides how many shards it has.
    pub mode: StreamMode,
    /// How records are distributed over the shards.
    pub distribution: RecordDistribution,
    /// The throughput, in MiB a second, that the stream must always be able to take if it is
    /// [on demand](StreamMode::OnDemand): it gets a shard for each MiB. Default: 0, so only its load counts.
    pub warm_throughput: u32,
    /// The largest record, in bytes of data and partition key: 1 MiB (the default) to 10 MiB.
    pub max_record_bytes: u32,
    /// How long it keeps records. Default: 24 hours.
    pub retention: Retention,
    /// How much it keeps at most. Default: no limit.
    pub size_limits: SizeLimits,
    /// Names and values of the caller's own.
    pub tags: BTreeMap<String, String>,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self {
            shard_count: 1,
            mode: StreamMode::default(),
            distribution: RecordDistribution::default(),
            warm_throughput: 0,
            max_record_bytes: limits::DEFAULT_MAX_RECORD_BYTES,
            retention: Retention::default(),
            size_limits: SizeLimits::NONE,
            tags: BTreeMap::new(),
        }
    }
}

impl StreamOptions {
    /// The edits that change the settings of a new stream from those that the format gives it.
    pub(super) fn edits(self, stream: StreamId) -> Vec<Edit> {
        let settings = [
            Setting::Mode(self.mode),
            Setting::Distribution(self.distribution),
            Setting::WarmThroughput(self.warm_throughput),
            Setting::MaxRecordBytes(self.max_record_bytes),
            Setting::Retention {
                time: self.retention,
                horizon_floor: Timestamp::EPOCH,
            },
            Setting::SizeLimits(self.size_limits),
        ];
        let resource = Resource::Stream(stream);
        let initial = Setting::initial_of_stream();
        let mut edits: Vec<_> = settings
            .into_iter()
            .filter(|setting| !initial.contains(setting))
            .map(|setting| Edit::SettingChanged {
                resource: resource.clone(),
                setting,
            })
            .collect();
        if !self.tags.is_empty() {
            edits.push(Edit::TagsChanged {
                resource,
                set: self.tags,
                removed: Vec::new(),
            });
        }
        edits
    }
}

impl StoreCore {
    pub(super) fn activate(&self, stream: StreamId, shard_count: u32, due: Timestamp) -> Result<()> {
        self.catalog.commit(|catalog| match catalog.stream(stream) {
            Some(state) if state.status() == StreamStatus::Creating => {
                let lineage = plan_lineage(catalog, &state.name, shard_count, due)?;
                Ok(vec![
                    Edit::ShardsCreated { stream, lineage },
                    Edit::LifecycleChanged {
                        stream,
                        lifecycle: Lifecycle::Active,
                    },
                ])
            }
            _ => Ok(Vec::new()),
        })
    }
}

pub(super) fn plan_lineage(
    state: &CatalogState,
    name: &StreamName,
    shard_count: u32,
    created: Timestamp,
) -> Result<Lineage> {
    let lineage = Lineage::with_numbers_after(shard_count, created, state.numbers_begin_after(name));
    Ok(lineage.map_err(InvalidArgument::Lineage)?)
}

pub(super) fn check_max_record_bytes(bytes: u32) -> Result<()> {
    let sizes = limits::DEFAULT_MAX_RECORD_BYTES..=limits::LARGEST_RECORD_BYTES;
    if sizes.contains(&bytes) {
        return Ok(());
    }
    let (least, most) = sizes.into_inner();
    Err(Error::InvalidArgument(InvalidArgument::MaxRecordBytes {
        actual: bytes.into(),
        least: least.into(),
        most: most.into(),
    }))
}

pub(super) fn check_warm_throughput(mib_per_second: u32) -> Result<()> {
    if mib_per_second <= limits::MAX_SHARDS_PER_STREAM {
        return Ok(());
    }
    Err(Error::InvalidArgument(InvalidArgument::WarmThroughput {
        actual: mib_per_second,
        most: limits::MAX_SHARDS_PER_STREAM,
    }))
}
