//! What was acknowledged, and which streams there must be.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::record::Name;

/// Where a record is, in the words of the acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub shard: String,
    pub number: Number,
}

/// A sequence number: it has more digits than an integer takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Number(pub String);

impl Ord for Number {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0.len(), &self.0).cmp(&(other.0.len(), &other.0))
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It was asked for, and may be there.
    Wanted,
    There,
    /// Its end was asked for, and it may be gone.
    Unwanted,
    Gone,
}

#[derive(Clone)]
pub struct Noted {
    pub state: State,
    pub acknowledged: BTreeMap<Name, Place>,
}

#[derive(Default)]
pub struct Ledger {
    streams: Mutex<BTreeMap<String, Noted>>,
    acknowledged: AtomicU64,
    uncertain: AtomicU64,
    /// How often a call was refused or carried out, by its name and the outcome.
    outcomes: Mutex<BTreeMap<String, u64>>,
}

impl Ledger {
    /// The records are noted before they are counted.
    pub fn acknowledge(&self, stream: &str, puts: Vec<(Name, Place)>) {
        let count = puts.len() as u64;
        if let Some(noted) = lock(&self.streams).get_mut(stream) {
            noted.acknowledged.extend(puts);
        }
        self.acknowledged.fetch_add(count, Ordering::SeqCst);
    }

    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// So many records may be there or not.
    pub fn leave_open(&self, records: u64) {
        self.uncertain.fetch_add(records, Ordering::SeqCst);
    }

    pub fn set_state(&self, stream: &str, state: State) {
        let none = Noted {
            state,
            acknowledged: BTreeMap::new(),
        };
        lock(&self.streams).entry(stream.to_owned()).or_insert(none).state = state;
    }

    /// The streams in this state.
    pub fn streams_in(&self, state: State) -> Vec<String> {
        let streams = lock(&self.streams);
        let found = streams.iter().filter(|(_, noted)| noted.state == state);
        found.map(|(stream, _)| stream.clone()).collect()
    }

    /// All of it at this moment.
    pub fn streams(&self) -> BTreeMap<String, Noted> {
        lock(&self.streams).clone()
    }

    pub fn count(&self, outcome: String) {
        *lock(&self.outcomes).entry(outcome).or_default() += 1;
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uncertain = self.uncertain.load(Ordering::SeqCst);
        write!(f, "{} acknowledged, {uncertain} uncertain", self.acknowledged())?;
        for (outcome, count) in lock(&self.outcomes).iter() {
            write!(f, ", {count} {outcome}")?;
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
