//! Counts of the calls of an API and of their errors.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Counts calls, and errors by their names. All names are the server's, so their number is bounded.
#[derive(Debug)]
pub(crate) struct Calls {
    operations: Vec<(&'static str, AtomicU64)>,
    /// Requests that name no operation.
    others: AtomicU64,
    errors: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    throttled_records: AtomicU64,
}

/// The name, in numbers, of requests without an operation.
const NO_OPERATION: &str = "(none)";

impl Calls {
    /// Counts for these operations, the busiest first.
    pub(crate) fn of(operations: impl Iterator<Item = &'static str>) -> Calls {
        Calls {
            operations: operations.map(|name| (name, AtomicU64::new(0))).collect(),
            others: AtomicU64::new(0),
            errors: Mutex::default(),
            throttled_records: AtomicU64::new(0),
        }
    }

    /// Counts an answered request, with its error if it has one.
    pub(crate) fn note(&self, operation: Option<&str>, error: Option<&'static str>) {
        let known = operation.and_then(|wanted| self.operations.iter().find(|(name, _)| *name == wanted));
        let (name, calls) = known.map_or((NO_OPERATION, &self.others), |(name, calls)| (*name, calls));
        calls.fetch_add(1, Ordering::Relaxed);
        if let Some(error) = error {
            let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
            *errors.entry((name, error)).or_default() += 1;
        }
    }

    /// Counts records of batches that were refused because their shards take no more.
    pub(crate) fn note_throttled_records(&self, records: usize) {
        self.throttled_records
            .fetch_add(records as u64, Ordering::Relaxed);
    }

    /// The calls of each operation that was called, errors included.
    pub(super) fn calls(&self) -> Vec<(&'static str, u64)> {
        let operations = self.operations.iter().map(|(name, calls)| (*name, calls));
        let all = operations.chain([(NO_OPERATION, &self.others)]);
        all.map(|(name, calls)| (name, calls.load(Ordering::Relaxed)))
            .filter(|(_, calls)| *calls > 0)
            .collect()
    }

    /// The errors of each operation, by name.
    pub(super) fn errors(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        errors.clone()
    }

    pub(super) fn throttled_records(&self) -> u64 {
        self.throttled_records.load(Ordering::Relaxed)
    }
}
