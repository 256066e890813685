//! The engines, one file for each: with their defaults, except as the file says.

mod anabranch;
mod commitlog;
mod fjall;
mod lmdb;
mod okaywal;
mod raft_engine;
mod redb;
#[cfg(feature = "rocksdb")]
mod rocksdb;
mod shardlog;
mod sqlite;

use crate::engine::Engine;

/// Anabranch first.
pub fn all() -> Vec<Engine> {
    vec![
        anabranch::ENGINE,
        okaywal::ENGINE,
        raft_engine::ENGINE,
        shardlog::ENGINE,
        commitlog::ENGINE,
        fjall::ENGINE,
        redb::ENGINE,
        #[cfg(feature = "rocksdb")]
        rocksdb::ENGINE,
        sqlite::ENGINE,
        lmdb::ENGINE,
    ]
}
