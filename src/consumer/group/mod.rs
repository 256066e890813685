//! Consumer groups: several members share the shards of a stream, and one of them at a time holds each shard.
//!
//! A *group* is a checkpoint under its name, which is durable and is the position of all members together. A *lease*
//! says which member holds a shard, and is in memory alone: the next opener of the store finds no member, so every
//! shard is free ([`leases`], a plain value whose methods take the time as an argument). A commit of a member counts
//! only if the member still holds the shard, which is decided in the order of the catalog's edits. So the position in a
//! shard never falls, and no member commits for another.
//!
//! A shard can be held only after all of its parents are committed to their ends, by any members.

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
