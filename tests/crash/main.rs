//! No crash, full disk, dying disk or rotten bit loses or invents a record.
//!
//! Every test drives a store on a simulated disk side by side with a model of what it should hold ([`model`]).
//! `docs/testing.md` says which test proves what, and how to run the long versions.
#![allow(clippy::unwrap_used)]

mod acknowledged;
mod backups;
mod between;
#[cfg(feature = "channels")]
mod channels;
mod check;
mod disturbed_disk;
mod faults;
mod followed;
mod full_disk;
mod groups;
mod held;
mod hidden;
mod interrupted;
mod kill;
mod machine;
mod manifest;
mod mixed;
mod model;
mod omissions;
mod op;
mod queue_world;
mod queues;
mod random;
#[cfg(feature = "channels")]
mod readers;
mod regressions;
mod removal;
mod repair_crashes;
mod rot;
mod scenario;
mod step;
mod targeted;
mod trim;
mod trimming;
mod unreadable;
mod watchdog;
mod world;

/// Simulated disks are copied all the time.
#[cfg(feature = "server")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
