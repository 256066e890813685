//! Locks, conditions, shared values and threads: all that one thread can do to another goes through here.
//!
//! Locks are the standard library's, without its poisoning. A panic under a lock cannot leave half a change behind for
//! others to trust: whatever happens while a group is being committed latches the store's health (`disk::Health`), and
//! everything else that is guarded changes in single steps.
//!
//! One place for all of it is also where a schedule explorer has its hands: in this crate's own tests the same types,
//! inside [`explore`](explored::explore), give every decision about which thread goes on to it (`explored`). Nothing of
//! that is in what others build.

#[cfg(test)]
mod explored;
#[cfg(not(test))]
mod standard;

#[cfg(test)]
pub(crate) use explored::*;
#[cfg(not(test))]
pub(crate) use standard::*;
