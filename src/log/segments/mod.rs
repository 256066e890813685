//! The files of logs: segments, holds on them, open files, and the pool that new segments come from.

pub(super) mod directories;
pub(super) mod hold;
pub(super) mod index_file;
pub(super) mod ledger;
pub(super) mod left_off;
pub(super) mod log_files;
pub(super) mod open_segments;
pub(super) mod pieces;
pub(super) mod pool;
mod pool_name;
pub(super) mod segment;
pub(super) mod segment_keys;
pub(super) mod write_back;
