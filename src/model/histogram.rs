//! Histograms: how many values of each size there were.

/// The first bound is 1; from 2 on, each power of two is followed by one and a half times itself, up to the last one.
const LAST_BOUND: u64 = 1 << 24;

/// One for each bound, and one for what is beyond the last.
pub(crate) const BUCKETS: usize = 49;

/// How many values of each size there were: whole numbers, in buckets whose bounds grow by a third or a half.
///
/// The field that has the histogram says what is counted, and in which unit.
///
/// ```
/// # fn main() -> anabranch::Result<()> {
/// # let store = anabranch::Store::in_memory()?;
/// # let stream = store.create_stream("clicks", 1)?;
/// stream.put("user-42", b"{}")?;
/// let groups = store.stats()?.puts.group_records;
/// assert_eq!((groups.count(), groups.sum()), (1, 1));
/// assert_eq!(groups.quantile(0.99), Some(1));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    pub(crate) counts: [u64; BUCKETS],
    pub(crate) sum: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: [0; BUCKETS],
            sum: 0,
        }
    }
}

impl Histogram {
    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All values together.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The value that this share of the values, 0 to 1, does not exceed: the bound of a bucket, so up to half more than
    /// the exact value. `u64::MAX` if it is beyond the last bound, 2^24; `None` if there were no values.
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let count = self.count();
        let wanted = ((count as f64 * share.clamp(0.0, 1.0)).ceil() as u64).clamp(1, count.max(1));
        let mut up_to = 0;
        let found = self.buckets().find(|(_, values)| {
            up_to += values;
            up_to >= wanted
        });
        found.map(|(bound, _)| bound)
    }

    /// The buckets from the smallest values on: the largest value that belongs into each, and how many did. The last
    /// one has no bound, and `u64::MAX` in its place.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let bounds = (0..BUCKETS - 1).map(bound_of).chain([u64::MAX]);
        bounds.zip(self.counts.iter().copied())
    }
}

/// The largest value that belongs into a bucket with a bound.
const fn bound_of(bucket: usize) -> u64 {
    match bucket {
        0 => 1,
        _ if bucket.is_multiple_of(2) => 3 << (bucket / 2 - 1),
        _ => 1 << bucket.div_ceil(2),
    }
}

/// The bucket that a value belongs into.
pub(crate) fn bucket_of(value: u64) -> usize {
    if value > LAST_BOUND {
        return BUCKETS - 1;
    }
    let Some(octave) = value.saturating_sub(1).checked_ilog2() else {
        return 0;
    };
    // Above this power of two, and no more than twice as much.
    let octave = octave as usize;
    let is_in_first_half = octave > 0 && value <= 3 << (octave - 1);
    2 * octave + usize::from(!is_in_first_half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_rise_from_one_to_the_last() {
        let bounds: Vec<_> = (0..BUCKETS - 1).map(bound_of).collect();
        assert_eq!(bounds[..9], [1, 2, 3, 4, 6, 8, 12, 16, 24]);
        assert!(bounds.is_sorted_by(|a, b| a < b));
        assert_eq!(bounds.last(), Some(&LAST_BOUND));
    }

    #[test]
    fn a_value_belongs_into_the_first_bucket_that_takes_it() {
        let near = (0..BUCKETS - 1)
            .map(bound_of)
            .flat_map(|bound| bound - 1..=bound + 1);
        for value in near.chain([0, 1, u64::MAX]) {
            let first = (0..BUCKETS - 1).find(|bucket| value <= bound_of(*bucket));
            assert_eq!(bucket_of(value), first.unwrap_or(BUCKETS - 1), "{value}");
        }
    }

    #[test]
    fn a_quantile_is_the_bound_of_its_bucket() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        for value in [1, 5, 5, 100, u64::MAX] {
            histogram.counts[bucket_of(value)] += 1;
        }
        let quantiles = [0.0, 0.2, 0.21, 0.6, 0.8, 1.0, 7.0].map(|share| histogram.quantile(share).unwrap());
        assert_eq!(quantiles, [1, 1, 6, 6, 128, u64::MAX, u64::MAX]);
    }
}
