//! Reading a whole stream in the order of its lineage: parents are drained before their children are read.
//!
//! This floor knows shards and positions. It uses nothing of the store but what an embedder could call, and keeps
//! its place in a [`Checkpoint`](crate::Checkpoint), which a stream can store under a name.

mod checkpoint;
mod reader;

pub use reader::StreamReader;
