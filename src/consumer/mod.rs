//! Reading a whole stream in the order of its lineage: parents are drained before their children are read.
//!
//! This floor knows shards and positions. A reader uses only what an embedder can call, and keeps its place in a
//! [`Checkpoint`](crate::Checkpoint), which a stream can store under a name. The members of a [`group`] share such a
//! checkpoint, and the shards.

mod checkpoint;
mod group;
mod reader;

pub use group::{ConsumerGroup, GroupBatch, Member, MemberDescription, MemberOptions};
pub use reader::StreamReader;
