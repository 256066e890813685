//! The number of shards of an on-demand stream, by its load.
//!
//! The rules are Kinesis' documented ones, made exact: a stream can take twice its greatest load within the last 30
//! days, and a shard that takes more than half of its limit is split. [`StreamLoad::decide`] depends on its input
//! alone.

use std::time::Duration;

use crate::model::ShardId;

/// The time over which load is measured.
pub(crate) const LOAD_WINDOW: Duration = Duration::from_secs(60);

/// How many days the greatest load of a day counts.
pub(crate) const PEAK_DAYS: u64 = 30;

/// How long no shard may be hot before a stream gets fewer shards.
pub(crate) const QUIET_TIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The load never reduces a stream below this number, with which an on-demand stream is created.
const LEAST_SHARDS: u32 = 4;

/// The load never raises a stream above this number, unless its warm throughput requires more.
const MOST_SHARDS: u32 = 200;

/// The limits of one shard.
const BYTES_PER_SECOND: u128 = 1024 * 1024;
const RECORDS_PER_SECOND: u128 = 1000;

/// A load, in thousandths of what one shard can take permanently.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Load(u64);

/// The state of a stream at the end of a window.
#[derive(Clone, Debug)]
pub(crate) struct StreamLoad {
    /// The open shards.
    pub(crate) shards: Vec<(ShardId, Load)>,
    /// The greatest load in the days before, in whole shards.
    pub(crate) peak: u32,
    /// The load that it must always be able to take, in whole shards.
    pub(crate) warm: u32,
    /// Whether no shard was hot for [`QUIET_TIME`].
    pub(crate) is_quiet: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scaling {
    None,
    /// Split these shards into halves.
    Halve(Vec<ShardId>),
    /// Change the number of shards to this.
    Count(u32),
}

impl Load {
    const FULL_SHARD: u64 = 1000;
    const HOT: Self = Self(Self::FULL_SHARD / 2);

    /// The load of so many bytes and records in so much time, by the limit that is reached first.
    pub(crate) fn of(bytes: u64, records: u64, time: Duration) -> Self {
        let millis = time.as_millis().max(1);
        // In thousandths, and per second instead of per millisecond: a thousand times a thousand.
        let share = |count: u64, per_second: u128| u128::from(count) * 1_000_000 / (per_second * millis);
        let share = share(bytes, BYTES_PER_SECOND).max(share(records, RECORDS_PER_SECOND));
        Self(u64::try_from(share).unwrap_or(u64::MAX))
    }

    /// Whether a shard with this load is split.
    pub(crate) fn is_hot(self) -> bool {
        self > Self::HOT
    }

    /// How many shards can take it, rounded up.
    fn in_shards(self) -> u32 {
        u32::try_from(self.0.div_ceil(Self::FULL_SHARD)).unwrap_or(u32::MAX)
    }
}

impl StreamLoad {
    /// The load of all shards, in whole shards.
    pub(crate) fn in_shards(&self) -> u32 {
        self.total().in_shards()
    }

    pub(crate) fn has_hot_shard(&self) -> bool {
        self.shards.iter().any(|(_, load)| load.is_hot())
    }

    /// A day with a peak up to this need not be remembered: a stream never has fewer shards.
    pub(crate) fn is_worth_noting(shards: u32) -> bool {
        shards > LEAST_SHARDS / 2
    }

    pub(crate) fn decide(&self) -> Scaling {
        let open = u32::try_from(self.shards.len()).unwrap_or(u32::MAX);
        let most = MOST_SHARDS.max(self.warm);
        let needed = self.needed().min(most);
        // With a bad distribution of keys a hot shard is split although the stream has enough shards. If a single key
        // is hot, splitting never helps.
        let bound = needed.saturating_mul(2).max(LEAST_SHARDS).min(most);
        let hot = self.hottest(bound.saturating_sub(open) as usize);
        if !hot.is_empty() {
            return Scaling::Halve(hot);
        }
        if open < needed {
            return Scaling::Count(needed.min(open.saturating_mul(2)));
        }
        let enough = needed.max(LEAST_SHARDS);
        if self.is_quiet && open > enough {
            return Scaling::Count(enough.max(open.div_ceil(2)));
        }
        Scaling::None
    }

    fn total(&self) -> Load {
        let loads = self.shards.iter().map(|(_, load)| load.0);
        Load(loads.fold(0, u64::saturating_add))
    }

    /// How many shards can take twice the present load, and the warm throughput.
    fn needed(&self) -> u32 {
        let twice_now = Load(self.total().0.saturating_mul(2)).in_shards();
        twice_now.max(self.peak.saturating_mul(2)).max(self.warm)
    }

    /// Up to so many hot shards, the hottest first.
    fn hottest(&self, most: usize) -> Vec<ShardId> {
        let mut hot: Vec<_> = self.shards.iter().filter(|(_, load)| load.is_hot()).collect();
        hot.sort_by_key(|(shard, load)| (std::cmp::Reverse(*load), *shard));
        hot.iter().take(most).map(|(shard, _)| *shard).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(loads: &[u64]) -> StreamLoad {
        let shards = (0..).zip(loads);
        StreamLoad {
            shards: shards.map(|(index, load)| (id(index), Load(*load))).collect(),
            peak: 0,
            warm: 0,
            is_quiet: false,
        }
    }

    fn id(index: u32) -> ShardId {
        ShardId::new(index).unwrap()
    }

    #[test]
    fn load_is_what_is_scarcer_of_bytes_and_records() {
        let minute = Duration::from_secs(60);
        assert_eq!(Load::of(60 << 20, 1, minute), Load(1000));
        assert_eq!(Load::of(60, 30_000, minute), Load(500));
        assert_eq!(Load::of(0, 0, Duration::ZERO), Load(0));
        assert_eq!(Load::of(u64::MAX, u64::MAX, Duration::ZERO), Load(u64::MAX));
    }

    #[test]
    fn a_hot_shard_is_split_the_hottest_first() {
        assert_eq!(stream(&[500, 500, 500, 500]).decide(), Scaling::None);
        assert_eq!(
            stream(&[501, 700, 0, 0]).decide(),
            Scaling::Halve(vec![id(1), id(0)])
        );
    }

    #[test]
    fn one_hot_key_does_not_split_its_shard_for_ever() {
        let mut loads = vec![900, 0, 0, 0];
        assert_eq!(stream(&loads).decide(), Scaling::None);
        loads[0] = 1500;
        assert_eq!(stream(&loads).decide(), Scaling::Halve(vec![id(0)]));
        loads.extend([0, 0]);
        assert_eq!(stream(&loads).decide(), Scaling::None);
    }

    #[test]
    fn a_stream_can_take_twice_its_peak() {
        let mut load = stream(&[0; 4]);
        load.peak = 3;
        assert_eq!(load.decide(), Scaling::Count(6));
        load.warm = 30;
        assert_eq!(load.decide(), Scaling::Count(8));
    }

    #[test]
    fn a_quiet_stream_loses_half_of_its_shards_at_a_time_and_keeps_four() {
        let mut load = stream(&[0; 20]);
        assert_eq!(load.decide(), Scaling::None);
        load.is_quiet = true;
        assert_eq!(load.decide(), Scaling::Count(10));
        load.peak = 7;
        assert_eq!(load.decide(), Scaling::Count(14));
        assert_eq!(
            StreamLoad {
                is_quiet: true,
                ..stream(&[0; 5])
            }
            .decide(),
            Scaling::Count(4)
        );
        assert_eq!(
            StreamLoad {
                is_quiet: true,
                ..stream(&[0; 3])
            }
            .decide(),
            Scaling::None
        );
    }

    #[test]
    fn a_stream_has_no_more_shards_than_it_can_or_its_warm_throughput_says() {
        let hot = vec![5000; 199];
        assert_eq!(stream(&hot).decide(), Scaling::Halve(vec![id(0)]));
        assert_eq!(stream(&[5000; 200]).decide(), Scaling::None);
        let mut load = stream(&[5000; 200]);
        load.warm = 201;
        assert_eq!(load.decide(), Scaling::Halve(vec![id(0)]));
    }
}
