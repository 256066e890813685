//! Token buckets, which limit rates.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::Timestamp;

/// The amount that is allowed in one second: a bucket fills at this rate, and holds as much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate(pub(super) u32);

/// One bucket for each key. A key that was not used for long takes no memory.
#[derive(Debug)]
pub(super) struct Buckets<K> {
    buckets: Mutex<HashMap<K, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    rate: Rate,
    /// In thousandths. Negative if more was taken than it had.
    level: i64,
    filled_at: Timestamp,
}

impl<K> Default for Buckets<K> {
    fn default() -> Self {
        Buckets {
            buckets: Mutex::default(),
        }
    }
}

impl<K: Eq + Hash> Buckets<K> {
    /// Takes an amount out of a bucket, if the bucket has that much or is full. An amount beyond a full bucket is owed,
    /// and nothing can be taken until the debt is filled up. Otherwise takes nothing.
    pub(super) fn take(&self, key: K, rate: Rate, amount: u64, now: Timestamp) -> bool {
        self.with(key, rate, now, |bucket| bucket.take(amount))
    }

    /// Whether the amount could be taken.
    pub(super) fn has(&self, key: K, rate: Rate, amount: u64, now: Timestamp) -> bool {
        self.with(key, rate, now, |bucket| bucket.has(amount))
    }

    /// Takes an amount out of a bucket in any case.
    pub(super) fn owe(&self, key: K, rate: Rate, amount: u64, now: Timestamp) {
        self.with(key, rate, now, |bucket| bucket.level -= thousandths(amount));
    }

    /// Whether a bucket owes something.
    pub(super) fn is_owing(&self, key: K, rate: Rate, now: Timestamp) -> bool {
        !self.owing_for(key, rate, now).is_zero()
    }

    /// How long it takes until a bucket no longer owes anything.
    pub(super) fn owing_for(&self, key: K, rate: Rate, now: Timestamp) -> Duration {
        self.with(key, rate, now, |bucket| bucket.owing_for())
    }

    fn with<T>(&self, key: K, rate: Rate, now: Timestamp, with: impl FnOnce(&mut Bucket) -> T) -> T {
        const MOST_FULL: usize = 4096;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() > MOST_FULL && !buckets.contains_key(&key) {
            buckets.retain(|_, bucket| !bucket.filled(now).is_full());
        }
        let bucket = buckets.entry(key).or_insert_with(|| Bucket::full(rate, now));
        *bucket = bucket.filled(now);
        with(bucket)
    }
}

impl Bucket {
    fn full(rate: Rate, now: Timestamp) -> Bucket {
        Bucket {
            rate,
            level: thousandths(rate.0.into()),
            filled_at: now,
        }
    }

    /// The bucket at this moment. A clock that went back has filled nothing.
    fn filled(self, now: Timestamp) -> Bucket {
        let millis = i64::try_from(now.since(self.filled_at).as_millis()).unwrap_or(i64::MAX);
        // A rate per second equals thousandths per millisecond.
        let filled = millis.saturating_mul(self.rate.0.into());
        Bucket {
            level: self
                .level
                .saturating_add(filled)
                .min(thousandths(self.rate.0.into())),
            filled_at: now,
            ..self
        }
    }

    fn is_full(self) -> bool {
        self.level >= thousandths(self.rate.0.into())
    }

    fn owing_for(self) -> Duration {
        let owed = self.level.min(0).unsigned_abs();
        Duration::from_millis(owed.div_ceil(self.rate.0.into()))
    }

    fn has(self, amount: u64) -> bool {
        self.level >= thousandths(amount.min(self.rate.0.into()))
    }

    fn take(&mut self, amount: u64) -> bool {
        if !self.has(amount) {
            return false;
        }
        self.level = self.level.saturating_sub(thousandths(amount));
        true
    }
}

fn thousandths(amount: u64) -> i64 {
    i64::try_from(amount).map_or(i64::MAX / 4, |amount| {
        amount.saturating_mul(1000).min(i64::MAX / 4)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate(10);

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + millis)
    }

    #[test]
    fn a_bucket_gives_its_rate_and_fills_again() {
        let buckets = Buckets::default();
        for _ in 0..10 {
            assert!(buckets.take("a", RATE, 1, at(0)));
        }
        assert!(!buckets.take("a", RATE, 1, at(99)));
        assert!(buckets.take("b", RATE, 10, at(99)));
        assert!(buckets.take("a", RATE, 1, at(100)));
        assert!(!buckets.take("a", RATE, 2, at(200)));
        assert!(
            buckets.take("a", RATE, 10, at(60_000)),
            "it holds no more than a second's"
        );
        assert!(!buckets.take("a", RATE, 1, at(60_000)));
    }

    #[test]
    fn what_is_larger_than_a_bucket_is_taken_from_a_full_one_and_made_up_for() {
        let buckets = Buckets::default();
        assert!(buckets.take("a", RATE, 50, at(0)));
        assert_eq!(
            buckets.owing_for("a", RATE, at(500)),
            Duration::from_millis(3_500)
        );
        assert!(buckets.is_owing("a", RATE, at(3_999)));
        assert_eq!(buckets.owing_for("a", RATE, at(4_000)), Duration::ZERO);
        assert!(!buckets.take("a", RATE, 1, at(4_000)));
        assert!(buckets.take("a", RATE, 1, at(4_100)));
        buckets.owe("a", RATE, 100, at(5_000));
        assert!(buckets.is_owing("a", RATE, at(14_000)));
    }

    #[test]
    fn a_clock_that_goes_back_does_not_close_a_bucket_for_long() {
        let buckets = Buckets::default();
        assert!(buckets.take("a", RATE, 10, at(900_000)));
        assert!(!buckets.take("a", RATE, 10, at(0)));
        assert!(buckets.take("a", RATE, 10, at(1_000)));
    }

    #[test]
    fn full_buckets_are_forgotten() {
        let buckets = Buckets::default();
        for key in 0..100_000_u32 {
            assert!(buckets.take(key, RATE, 1, at(u64::from(key) * 100)));
        }
        assert!(buckets.buckets.lock().unwrap().len() < 5_000);
    }
}
