//! The maximum rate at which records are put.

use std::time::{Duration, Instant};

/// A number of records per second, or no maximum.
pub(super) struct Pace {
    rate: Option<u32>,
    /// When the next record may go.
    next: Instant,
}

impl Pace {
    pub(super) fn of(rate: Option<u32>) -> Self {
        Self {
            rate,
            next: Instant::now(),
        }
    }

    /// How many records may go in one call: those of a tenth of a second.
    pub(super) fn most(&self) -> usize {
        self.rate.map_or(usize::MAX, |rate| rate as usize / 10).max(1)
    }

    /// How long to wait after this many records. Time without records does not allow more of them later.
    pub(super) fn wait_after(&mut self, records: usize) -> Duration {
        let Some(rate) = self.rate else {
            return Duration::ZERO;
        };
        let now = Instant::now();
        self.next = self.next.max(now) + Duration::from_secs_f64(records as f64 / f64::from(rate));
        self.next - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_wait_for_those_before_them() {
        let mut pace = Pace::of(Some(50));
        assert_eq!(pace.most(), 5);
        assert!(pace.wait_after(5) > Duration::from_millis(99));
        assert!(pace.wait_after(5) > Duration::from_millis(190));
        let mut none = Pace::of(None);
        assert_eq!(
            (none.most(), none.wait_after(1_000)),
            (usize::MAX, Duration::ZERO)
        );
        assert_eq!(Pace::of(Some(1)).most(), 1);
    }
}
