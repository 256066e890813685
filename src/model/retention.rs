//! For how long records are kept, and how many.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// For how long a stream keeps its records, in whole milliseconds.
///
/// What is older is not to be seen, and its space is given back in whole segments. The time is the wall clock's as far as that
/// is confirmed: a store that is opened again believes a clock that has gone on by up to an hour, so with a shorter retention
/// a clock that is wrong by less can hide records too early.
///
/// A stream that does not say otherwise keeps them for 24 hours, as Kinesis does. The `anabranch` server takes whole hours
/// from 24 to 8760; the library takes any time, and [`FOREVER`](Self::FOREVER).
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

    /// So many hours; none are a millisecond.
    pub const fn hours(hours: u32) -> Self {
        let millis = hours as u64 * MILLIS_OF_HOUR;
        Self {
            millis: if millis == 0 { 1 } else { millis },
        }
    }

    /// A time of at least a millisecond; parts of one count as a whole.
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

/// How much a stream keeps, whatever its [`Retention`] says: the oldest records go when there is more.
///
/// The store removes pieces of a shard, which on disk are whole segments. It removes a piece only if the rest still reaches the
/// limit. So there can be up to a piece more. The newest piece of each open shard stays in any case. The store looks once a second. Counted are
/// bytes on disk, encoded, without what segments have in reserve.
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
    /// The most bytes of all shards together, the closed ones included.
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
