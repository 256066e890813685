//! The logs of a directory that another program writes to. Nothing in it is locked, changed or synced.
//!
//! [`open`] gives a catalog and logs like those of a directory that this program owns. The catalog is brought up to
//! date by reading new edits of the manifest ([`follower`]). A log is brought up to date whenever it is used
//! ([`shard`]), and from time to time while it is watched ([`verbs`]).

mod follower;
mod open;
mod shard;
mod verbs;

pub(super) use open::open;
