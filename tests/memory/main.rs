//! The memory that a program keeps. The suite is a separate program, because its allocator counts; and each test runs
//! alone, because the allocator counts for all.
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
