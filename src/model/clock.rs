//! Time: a moment in milliseconds, and the clock of a store.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A moment, in milliseconds since the Unix epoch.
///
/// ```
/// use anabranch::Timestamp;
/// use std::time::Duration;
///
/// let noon = Timestamp::from_millis(1_421_279_230_250);
/// assert_eq!(noon.as_seconds(), 1_421_279_230);
/// assert_eq!(noon.to_string(), "2015-01-14T23:47:10.250Z");
/// assert!(noon.saturating_add(Duration::from_millis(1)) > noon);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The Unix epoch.
    pub const EPOCH: Timestamp = Timestamp(0);
    /// The last moment that can be written.
    pub const MAX: Timestamp = Timestamp(u64::MAX);

    /// The moment `millis` milliseconds after the epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// The moment `seconds` seconds after the epoch.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn as_seconds(self) -> u64 {
        self.0 / 1000
    }

    /// The moment that much later (whole milliseconds), or [`Timestamp::MAX`].
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(whole_millis(duration)))
    }

    /// The moment that much earlier (whole milliseconds), or [`Timestamp::EPOCH`].
    pub fn saturating_sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(whole_millis(duration)))
    }

    /// The time from `earlier` to here; zero if `earlier` is not earlier.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl From<SystemTime> for Timestamp {
    /// A time before the epoch becomes the epoch.
    fn from(time: SystemTime) -> Self {
        Self(whole_millis(time.duration_since(UNIX_EPOCH).unwrap_or_default()))
    }
}

/// The source of a store's time: two clocks, each of which knows something that the other does not.
///
/// The *wall clock* ([`now`](Self::now)) says when a record arrives. People and programs set it, so it may stand still,
/// go back, or jump years ahead. The *monotonic clock* ([`monotonic`](Self::monotonic)) says how much time has passed
/// since the program began, and nothing else. The order of records does not depend on either. The store deletes nothing
/// because of the wall clock alone, and measures its own delays by the monotonic one. `docs/design.md` has the rules.
pub trait Clock: Send + Sync {
    /// The time now, by the wall clock.
    fn now(&self) -> Timestamp;

    /// How long ago some fixed moment was. Never less than at an earlier call, and not affected by setting the wall
    /// clock. The moment may differ between processes.
    fn monotonic(&self) -> Duration;
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }

    fn monotonic(&self) -> Duration {
        (**self).monotonic()
    }
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }

    fn monotonic(&self) -> Duration {
        static BEGINNING: OnceLock<Instant> = OnceLock::new();
        BEGINNING.get_or_init(Instant::now).elapsed()
    }
}

/// A clock that moves only when a test moves it. Clones show the same time.
///
/// ```
/// use anabranch::{Clock, ManualClock, Timestamp};
/// use std::time::Duration;
///
/// let clock = ManualClock::starting_at(Timestamp::from_seconds(1_421_279_230));
/// let shown_to_the_store = clock.clone();
/// clock.advance(Duration::from_secs(3600));
/// assert_eq!(shown_to_the_store.now(), Timestamp::from_seconds(1_421_282_830));
/// assert_eq!(shown_to_the_store.monotonic(), Duration::from_secs(3600));
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock {
    wall_millis: Arc<AtomicU64>,
    monotonic_millis: Arc<AtomicU64>,
}

impl ManualClock {
    /// A clock that shows `now` until it is moved.
    pub fn starting_at(now: Timestamp) -> Self {
        Self {
            wall_millis: Arc::new(AtomicU64::new(now.as_millis())),
            monotonic_millis: Arc::default(),
        }
    }

    /// Shows `now` from here on. If that is later than before, the time in between has passed; if it is earlier, the
    /// wall clock was set back.
    pub fn set(&self, now: Timestamp) {
        let before = Timestamp(self.wall_millis.swap(now.as_millis(), Ordering::SeqCst));
        add(&self.monotonic_millis, now.since(before));
    }

    /// Time passes: both clocks move forward.
    pub fn advance(&self, by: Duration) {
        add(&self.monotonic_millis, by);
        add(&self.wall_millis, by);
    }

    /// Sets the wall clock forward: no time passes.
    pub fn jump_forward(&self, by: Duration) {
        add(&self.wall_millis, by);
    }

    /// Sets the wall clock back: no time passes.
    pub fn jump_back(&self, by: Duration) {
        update(&self.wall_millis, |now| now.saturating_sub(whole_millis(by)));
    }
}

fn add(millis: &AtomicU64, by: Duration) {
    update(millis, |now| now.saturating_add(whole_millis(by)));
}

fn update(millis: &AtomicU64, change: impl Fn(u64) -> u64) {
    millis
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |now| Some(change(now)))
        .expect("the update always gives a value");
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.wall_millis.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.monotonic_millis.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_rounded_down() {
        assert_eq!(Timestamp::from_millis(1_999).as_seconds(), 1);
        assert_eq!(Timestamp::from_seconds(2).as_millis(), 2_000);
    }

    #[test]
    fn time_stops_at_its_ends() {
        let hour = Duration::from_secs(3600);
        assert_eq!(Timestamp::MAX.saturating_add(hour), Timestamp::MAX);
        assert_eq!(Timestamp::EPOCH.saturating_sub(hour), Timestamp::EPOCH);
        assert_eq!(Timestamp::EPOCH.saturating_add(Duration::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::EPOCH.since(Timestamp::MAX), Duration::ZERO);
        assert_eq!(Timestamp::from(UNIX_EPOCH - hour), Timestamp::EPOCH);
    }

    #[test]
    fn a_manual_clock_and_its_clones_show_one_time() {
        let clock = ManualClock::starting_at(Timestamp::from_millis(10));
        let other = clock.clone();
        clock.advance(Duration::from_millis(5));
        assert_eq!(other.now(), Timestamp::from_millis(15));
        other.set(Timestamp::from_millis(3));
        assert_eq!(Arc::new(clock).now(), Timestamp::from_millis(3));
    }

    #[test]
    fn a_jump_moves_the_wall_clock_alone() {
        let clock = ManualClock::starting_at(Timestamp::from_millis(1_000));
        clock.advance(Duration::from_millis(5));
        clock.jump_forward(Duration::from_millis(100));
        clock.jump_back(Duration::from_millis(40));
        assert_eq!(clock.now(), Timestamp::from_millis(1_065));
        assert_eq!(clock.monotonic(), Duration::from_millis(5));
        clock.set(Timestamp::from_millis(1_070));
        assert_eq!(clock.monotonic(), Duration::from_millis(10));
        clock.set(Timestamp::from_millis(1));
        assert_eq!(clock.monotonic(), Duration::from_millis(10));
    }

    #[test]
    fn the_system_has_a_monotonic_clock() {
        let before = SystemClock.monotonic();
        assert!(SystemClock.monotonic() >= before);
    }
}
