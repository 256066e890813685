//! What a program keeps in memory. A program of its own, for its allocator counts; and each test runs alone, for the
//! allocator counts for all.
#![allow(clippy::unwrap_used)]

mod buffers;
#[cfg(feature = "server")]
mod events;
mod queues;
mod records;
mod recovery;
#[cfg(feature = "sim")]
mod shards;

use std::sync::{Mutex, MutexGuard, PoisonError};

use anabranch_harness::allocation::CountingAllocator;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

static MEASURING: Mutex<()> = Mutex::new(());

/// No other test allocates while this lives.
fn alone() -> MutexGuard<'static, ()> {
    MEASURING.lock().unwrap_or_else(PoisonError::into_inner)
}
