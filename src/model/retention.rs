//! How long and how much a stream keeps.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How long a stream keeps its records, in whole milliseconds.
///
/// Older records are hidden, and their space is freed in whole segments. The time is the wall clock's, as far as it is
/// confirmed: a store that is opened again believes a clock that has gone on by up to an hour. So with a shorter
/// retention, a clock that is wrong by less can hide records too early.
///
/// The default is 24 hours, as in Kinesis. The `anabranch` server takes whole hours from 24 to 8760; the library takes
/// any time, and [`FOREVER`](Self::FOREVER).
///
/// ```
/// use anabranch::Retention;
/// use std::time::Duration;
///
/// let week = Retention::hours(7 * 24);
/// assert_eq!(week, Retention::of(Duration::from_secs(7 * 24 * 3600)));
/// assert!(week < Retention::FOREVER);
/// assert_eq!(Retention::FOREVER.duration(), None);
/// assert_eq!(Retention::default(), Retention::hours(24));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Retention {
    millis: u64,
}

impl Retention {
    /// Records do not expire by their age.
    pub const FOREVER: Self = Self { millis: u64::MAX };

    /// So many hours; zero counts as a millisecond.
    pub const fn hours(hours: u32) -> Self {
        let millis = hours as u64 * MILLIS_OF_HOUR;
        Self {
            millis: if millis == 0 { 1 } else { millis },
        }
    }

    /// A time of at least a millisecond; fractions are rounded up.
    pub fn of(time: Duration) -> Self {
        let millis = time.as_nanos().div_ceil(1_000_000).max(1);
        Self {
            millis: u64::try_from(millis).unwrap_or(u64::MAX),
        }
    }

    /// How long that is; `None` for [`FOREVER`](Self::FOREVER).
    pub fn duration(self) -> Option<Duration> {
        (self != Self::FOREVER).then(|| Duration::from_millis(self.millis))
    }

    pub(crate) fn millis(self) -> u64 {
        self.millis
    }
}

const MILLIS_OF_HOUR: u64 = 3_600_000;

impl Default for Retention {
    /// 24 hours.
    fn default() -> Self {
        Self::hours(24)
    }
}

impl From<Duration> for Retention {
    fn from(time: Duration) -> Self {
        Self::of(time)
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.millis {
            u64::MAX => f.write_str("forever"),
            millis if millis.is_multiple_of(MILLIS_OF_HOUR) => write!(f, "{} h", millis / MILLIS_OF_HOUR),
            millis if millis.is_multiple_of(1000) => write!(f, "{} s", millis / 1000),
            millis => write!(f, "{millis} ms"),
        }
    }
}

/// How much a stream keeps, whatever its [`Retention`] is: beyond that the oldest records are hidden.
///
/// The store hides whole pieces of a shard, which on disk are segments, and a piece only if the remaining ones still
/// reach the limit. So there can be up to a piece more. The newest piece of each open shard always stays. The store
/// looks once a second. It counts encoded bytes on disk, without the reserved part of segments.
///
/// ```
/// # fn main() -> anabranch::Result<()> {
/// # let store = anabranch::Store::in_memory()?;
/// use anabranch::{Retention, SizeLimits, StreamOptions};
///
/// let options = StreamOptions {
///     retention: Retention::FOREVER,
///     size_limits: SizeLimits { stream_bytes: Some(10 << 30), ..SizeLimits::NONE },
///     ..StreamOptions::default()
/// };
/// store.create_stream_with("clicks", options)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizeLimits {
    /// The most bytes of one shard.
    pub shard_bytes: Option<u64>,
    /// The most bytes of all shards together, including closed ones.
    pub stream_bytes: Option<u64>,
}

impl SizeLimits {
    /// No limit, which is the default.
    pub const NONE: Self = Self {
        shard_bytes: None,
        stream_bytes: None,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_millisecond_is_one_and_the_longest_is_forever() {
        for (time, millis) in [
            (Duration::ZERO, 1),
            (Duration::from_nanos(1), 1),
            (Duration::from_micros(1001), 2),
            (Duration::from_secs(1), 1000),
            (Duration::MAX, u64::MAX),
        ] {
            assert_eq!(Retention::of(time).millis(), millis, "{time:?}");
        }
        assert_eq!(Retention::of(Duration::MAX), Retention::FOREVER);
        assert_eq!(
            Retention::hours(u32::MAX).duration().unwrap().as_secs(),
            u64::from(u32::MAX) * 3600
        );
    }

    #[test]
    fn it_is_shown_in_its_largest_unit() {
        let shown = [
            (Retention::hours(48), "48 h"),
            (Retention::of(Duration::from_secs(90)), "90 s"),
            (Retention::of(Duration::from_millis(1500)), "1500 ms"),
            (Retention::FOREVER, "forever"),
        ];
        for (retention, text) in shown {
            assert_eq!(retention.to_string(), text);
        }
    }
}
