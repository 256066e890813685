//! Several servers on one cluster: one of them, the owner, has the store open, and the others pass every call on to it.
//!
//! So all that has to hold across servers holds because one engine does it. Who the owner is says the catalog, in which
//! an opener writes that the store is its own (compare-and-set); what servers tell each other besides only makes it quick
//! to find out. A wrong guess costs a pause, and never a record.
//!
//! `succession` finds the owner and takes its place when it is gone, `roles` is what answers requests meanwhile, and
//! `passing` passes them on.

mod ownership;
mod passing;
mod roles;
mod server;
mod succession;

pub use ownership::{Ownership, TakeOverError};
pub use server::{BegunServer, ClusterServer, Role};
