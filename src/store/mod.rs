//! The types that an embedder uses: stores and streams.
//!
//! Only this floor knows both the catalog and the logs. It routes records to shards, splits and merges, hides and frees
//! records behind the trim horizon, and keeps a thread for work that need not be done at once. It knows no wire, no
//! tokens and no readers that follow lineage.

mod ages;
mod append;
#[cfg(feature = "channels")]
mod channels;
mod checkpoints;
mod clock_notes;
mod close;
mod core;
mod creation;
mod deletion;
mod descent;
mod event;
#[cfg(test)]
mod explored;
mod following;
mod handle;
mod keeper;
mod keeper_signal;
mod labels;
mod lag;
mod load_windows;
mod namespace;
mod oldest;
mod oldest_records;
mod open;
mod open_groups;
mod open_queues;
mod options;
mod queue_log;
mod queues;
mod read;
#[cfg(feature = "server")]
mod reader_lag;
mod reshard;
mod retention;
mod scaling;
mod settings;
mod settle;
mod shard_count;
mod shard_stats;
mod size_limits;
mod snapshot;
mod stats;
#[allow(clippy::module_inception)]
mod store;
mod stream;
mod stream_core;
mod streams;
mod timekeeper;
mod transitions;
mod watch;

pub use append::{Append, AppendEach, PutResult};
#[cfg(feature = "channels")]
pub(crate) use channels::ShardToDeliver;
#[cfg(feature = "channels")]
pub use channels::{ChannelDescription, ChannelOptions};
pub use creation::StreamOptions;
pub use event::StoreEvent;
pub use labels::{ConsumerDescription, NewConsumer};
pub use lag::ShardLag;
pub use namespace::Namespace;
pub(crate) use open_groups::OpenGroup;
pub(crate) use open_queues::{KeptStill, OpenQueue};
pub use options::StoreOptions;
pub(crate) use queue_log::{QueueLog, WrittenEntries};
pub(crate) use queues::check_visibility_seconds;
pub use queues::{QueueDescription, QueueOptions, QueueSettings};
pub use read::{RecordBatch, ShardIterator};
#[cfg(feature = "server")]
pub(crate) use reader_lag::ReaderLag;
pub use shard_stats::ShardStats;
pub use stats::{DamagedShard, StoreHealth, StoreStats, StreamStats};
pub use store::Store;
pub use stream::{ModeOptions, Stream, StreamDescription, StreamSummary};
pub use watch::ShardWatch;
