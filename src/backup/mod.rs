//! A copy of a store in another directory: a backup, or a store that was restored from one.
//!
//! A backup is a store. Its logs rest where they ended at one moment, it has no commit journal and no pool, and the
//! next record of each shard leaves out numbers. This floor writes it. The floors above pass segments and ends:
//! `backend` copies the store that it has open, `inspect` one that it finds in a directory.
//!
//! # Whole or nothing
//! 1. `DIR/UNFINISHED` is made, durably, before anything else.
//! 2. Segments are written, each synced, and then the names of all. A segment that no program writes to any more is
//!    shared if that is wanted and the file system supports it ([`Disk::share`](crate::disk::Disk::share)).
//! 3. The manifest is written and synced.
//! 4. `DIR/CURRENT` is written: from here on it is a store, and all of it is durable.
//! 5. `DIR/UNFINISHED` is removed.
//!
//! A directory with `UNFINISHED` and without `CURRENT` was left by an interruption before step 4. It does not open, the
//! tools refuse it, and the next copy into it first removes the rest.

mod apart;
mod copied;
mod destination;
mod leftover;

pub(crate) use apart::check_is_apart;
pub use copied::{Copied, Sharing};
pub(crate) use destination::{Destination, SegmentSource};
