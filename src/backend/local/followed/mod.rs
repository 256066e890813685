//! The logs of a directory that another program writes to. Nothing in it is locked, changed or synced.
//!
//! [`open`] gives a catalog and logs as that of a directory of one's own does. The catalog is brought up to date by reading
//! the manifest on ([`follower`]), a log whenever it is used ([`shard`]), and those that are watched from time to time
//! ([`verbs`]).

mod follower;
mod open;
mod shard;
mod verbs;

pub(super) use open::open;
