//! Counts the bytes that a program has allocated, for suites that have
//! `#[global_allocator] static ALLOCATOR: CountingAllocator = CountingAllocator;`.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator with a count of the bytes in use.
pub struct CountingAllocator;

/// Allocations beyond this fail, so that a test with an error does not use up the machine's memory.
const ALL_BYTES: usize = 1 << 30;

static USED: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The bytes that are allocated now.
pub fn used() -> usize {
    USED.load(Ordering::Relaxed)
}

/// Begins a new peak, and gives the bytes that are allocated now.
pub fn start_peak() -> usize {
    let used = USED.load(Ordering::Relaxed);
    PEAK.store(used, Ordering::Relaxed);
    used
}

/// The most bytes that were allocated at once since the peak began.
pub fn peak() -> usize {
    PEAK.load(Ordering::Relaxed)
}

// SAFETY: every call is passed unchanged to the system's allocator, which keeps the contract.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match count(layout.size()) {
            // SAFETY: the caller keeps the contract of `alloc`.
            true => unsafe { System.alloc(layout) },
            false => std::ptr::null_mut(),
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match count(layout.size()) {
            // SAFETY: the caller keeps the contract of `alloc_zeroed`.
            true => unsafe { System.alloc_zeroed(layout) },
            false => std::ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        USED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Counts bytes that are about to be allocated; false if they are too many.
fn count(bytes: usize) -> bool {
    let used = USED.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
    PEAK.fetch_max(used, Ordering::Relaxed);
    let is_there = used <= ALL_BYTES;
    if !is_there {
        USED.fetch_sub(bytes, Ordering::Relaxed);
    }
    is_there
}
