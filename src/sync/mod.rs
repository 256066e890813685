//! Locks, conditions, shared values and threads: everything by which threads affect each other.
//!
//! Locks are the standard library's, without its poisoning. A panic under a lock cannot leave half a change that others
//! would use: any panic during a commit latches the store's health (`disk::Health`), and all other guarded values
//! change in single steps.
//!
//! These types are also the place where a schedule explorer takes part: in this crate's own tests, inside
//! [`explore`](explored::explore), it decides which thread goes on (`explored`). No other build has any of that.

#[cfg(test)]
mod explored;
#[cfg(not(test))]
mod standard;

#[cfg(test)]
pub(crate) use explored::*;
#[cfg(not(test))]
pub(crate) use standard::*;
