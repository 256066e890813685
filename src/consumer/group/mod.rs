//! Several members that share the shards of a stream: each shard is held by one of them at a time.
//!
//! A *group* is a checkpoint under its name, which is durable and says how far the members together have come. A
//! *lease* says which member holds a shard, and is in memory alone: the next opener of the store finds no member, so every
//! shard is free ([`leases`], a plain value whose verbs take the time). What a member has dealt with is noted only if
//! it still holds the shard, which is decided in the order of the catalog's edits; so the position of a shard never
//! falls, and no member notes anything for another.
//!
//! A shard is held only once all its parents are noted as drained, whichever members drained them.

mod balance;
#[cfg(test)]
mod explored;
mod handle;
mod leases;
mod member;
mod receive;
mod shared;
#[cfg(test)]
mod tests;

pub use handle::{ConsumerGroup, MemberDescription};
pub use member::{GroupBatch, Member, MemberOptions};
