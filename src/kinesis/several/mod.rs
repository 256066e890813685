//! Several servers on one cluster: one of them, the owner, has the store open, and the others pass every call on to it.
//!
//! So one engine keeps every promise that must hold across servers. The catalog determines the owner: an opener writes
//! into it, by compare-and-set, that the store is its own. The other messages between servers only help to find the
//! owner sooner. If they are wrong, that costs a pause, and never a record.
//!
//! `succession` finds the owner and takes its place when it is gone, `roles` answers requests by the present role, and
//! `passing` passes them on.

mod ownership;
mod passing;
mod roles;
mod server;
mod succession;

pub use ownership::{Ownership, TakeOverError};
pub use server::{BegunServer, ClusterServer, Role};
