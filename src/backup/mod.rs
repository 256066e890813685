//! A copy of a store in a directory of its own: a backup, or a store that was restored from one.
//!
//! A backup is a store. Its logs rest where they ended at the moment that it is of, it has no commit journal and no
//! pool, and the next record of each shard leaves out numbers. This floor writes it; where segments and ends come from
//! is told by those above: `backend` copies the store that it has open, `inspect` one that it finds in a directory.
//!
//! # Whole or nothing
//! 1. `DIR/UNFINISHED` is made, durably, before anything else.
//! 2. Segments are written, each synced, and then the names of all. A segment that no program writes to any more is
//!    shared where that is wanted and the file system can do it ([`Disk::share`](crate::disk::Disk::share)).
//! 3. The manifest is written and synced.
//! 4. `DIR/CURRENT` is written: from here on it is a store, and all of it is durable.
//! 5. `DIR/UNFINISHED` is removed.
//!
//! A directory with `UNFINISHED` and without `CURRENT` is what an interruption before step 4 has left. It does not
//! open, the tools refuse it, and the next copy into it first removes the leftover.

mod apart;
mod copied;
mod destination;
mod leftover;

pub(crate) use apart::check_is_apart;
pub use copied::{Copied, Sharing};
pub(crate) use destination::{Destination, SegmentSource};
