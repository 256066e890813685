//! The confirmed time, by which records are deleted.
//!
//! The *confirmed time* is the wall clock's time where a second source agrees, and otherwise behind it, never ahead. It
//! goes on with the monotonic clock. A gain of the wall clock over that counts only once the clock has gone on for
//! [`CONFIRMATION`] without another step, by the monotonic clock; or if a later opener of the store finds that the
//! clock has gone on for that long since an earlier one looked. A loss counts at once.
//!
//! A clock that is set forward while the store is open may have been behind before: a machine without a clock of its
//! own begins in the past. Records that were put then have too early an arrival time. So the confirmed time does not
//! count by such a step for records until the store has been open for their retention period since ([`Lags`]).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// How long the wall clock has to go on after a step before the step counts. Between two openers a difference up to
/// this needs no confirmation: it can be the time between the last note of the one and the opening of the other.
pub(crate) const CONFIRMATION: Duration = Duration::from_secs(3600);

/// A smaller difference between the two clocks is no step: they are read one after the other.
const SMALLEST_STEP: Duration = Duration::from_secs(1);

/// The wall clock is slewed by up to 500 parts in a million. A step is more than twice that.
const SLEW_DIVISOR: u32 = 1_000;

/// What both clocks show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClockReading {
    pub(crate) wall: Timestamp,
    pub(crate) monotonic: Duration,
}

/// One moment by all clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// By the wall clock.
    pub(crate) now: Timestamp,
    /// The confirmed time: never later. Records expire by it.
    pub(crate) confirmed: Timestamp,
    /// How much younger records may be than their arrival times say.
    pub(crate) lags: Lags,
    /// How long the store has been open, all openers together.
    pub(crate) open_millis: u64,
}

impl Moment {
    /// Records that arrived earlier are older than this.
    pub(crate) fn before(&self, age: Duration) -> Timestamp {
        let lag = self.lags.since(self.open_millis, age);
        self.confirmed.saturating_sub(age.saturating_add(lag))
    }
}

/// How much younger records may be than their arrival times say, because the wall clock stepped forward after they were
/// put.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lags {
    /// Of earlier openers, one for each: a record was put under one of them, so the greatest applies.
    past: [Lag; MOST_OPENERS],
    /// Of this opener: a record may have been put before all of its steps, so they add up.
    steps: [Lag; MOST_STEPS],
}

const MOST_OPENERS: usize = 4;
const MOST_STEPS: usize = 8;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lag {
    millis: u64,
    /// How long the store had been open then.
    at_open_millis: u64,
}

impl Lags {
    /// How much younger a record of this age may be, by the steps during the time that the store has been open since it
    /// was put.
    fn since(&self, open_millis: u64, age: Duration) -> Duration {
        let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let counts = |lag: &&Lag| open_millis.saturating_sub(lag.at_open_millis) < age;
        let steps = self.steps.iter().filter(counts).map(|lag| lag.millis);
        let past = self.past.iter().filter(counts).map(|lag| lag.millis);
        let steps = steps.fold(0, u64::saturating_add);
        Duration::from_millis(past.max().unwrap_or(0).max(steps))
    }

    fn add(&mut self, step: Lag) {
        if step.millis > 0 {
            push(&mut self.steps, step, u64::saturating_add);
        }
    }

    /// The lags as the next opener finds them.
    fn of_earlier(mut self) -> Self {
        let steps = std::mem::take(&mut self.steps);
        let lag = Lag {
            millis: steps.iter().map(|lag| lag.millis).fold(0, u64::saturating_add),
            at_open_millis: steps.iter().map(|lag| lag.at_open_millis).max().unwrap_or(0),
        };
        if lag.millis > 0 {
            push(&mut self.past, lag, u64::max);
        }
        self
    }

    fn is_empty(&self) -> bool {
        self.past.iter().chain(&self.steps).all(|lag| lag.millis == 0)
    }

    /// The newest steps are undone first.
    fn take_back(&mut self, step: Duration) {
        let mut left = step.as_millis() as u64;
        for lag in self.steps.iter_mut().rev() {
            let undone = lag.millis.min(left);
            lag.millis -= undone;
            left -= undone;
        }
    }
}

/// Adds a lag behind the others, oldest first. If there is no room, two neighbours with nearly the same relative age
/// become one, so that for a record of any age about the same lags count.
fn push<const MOST: usize>(lags: &mut [Lag; MOST], new: Lag, together: fn(u64, u64) -> u64) {
    if lags[0] != Lag::default() {
        let begin = |at: usize| at.checked_sub(1).map_or(0, |before| lags[before].at_open_millis);
        let span = |first: &usize| {
            let between = lags[first + 1].at_open_millis.saturating_sub(begin(*first));
            let ago = new.at_open_millis.saturating_sub(begin(*first)).max(1);
            u128::from(between) * 1_000_000 / u128::from(ago)
        };
        let first = (0..MOST - 1).min_by_key(span).unwrap_or(0);
        lags[first + 1].millis = together(lags[first + 1].millis, lags[first].millis);
        lags.copy_within(0..first, 1);
        lags[0] = Lag::default();
    }
    lags.rotate_left(1);
    lags[MOST - 1] = new;
}

/// The note that an opener of a store leaves to later ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClockNote {
    /// The confirmed time.
    pub(crate) confirmed: Timestamp,
    /// What the wall clock showed.
    pub(crate) shown: Timestamp,
    /// How many milliseconds the store had been open, all openers together.
    pub(crate) open_millis: u64,
    /// The steps that the wall clock has made.
    pub(crate) lags: Lags,
    /// Steps forward that are not confirmed.
    pub(crate) unconfirmed: Lag,
    /// The latest time that the wall clock had shown.
    pub(crate) latest_shown: Timestamp,
}

impl ClockNote {
    /// Whether the wall clock showed less than it once did.
    pub(crate) fn is_behind(&self) -> bool {
        self.shown < self.latest_shown
    }
}

/// A difference between the wall clock and the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockStep {
    /// It was set forward, or the program slept with the machine, or the store was closed for so long.
    Forward(Duration),
    /// It was set back.
    Back(Duration),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct ConfirmedTime {
    /// The confirmed time at a moment of the monotonic clock.
    confirmed: (Timestamp, Duration),
    last: ClockReading,
    /// When the wall clock last stepped, by the monotonic one.
    steady_since: Duration,
    opened_at: Duration,
    open_millis_before: u64,
    lags: Lags,
    /// The sum of the steps forward that are not confirmed, and when the last of them was.
    unconfirmed: Lag,
    latest_shown: Timestamp,
}

impl ConfirmedTime {
    /// Begins for an opener of a store, with the note of earlier ones. Also gives the difference between the wall clock
    /// and the note.
    pub(crate) fn begin(note: Option<ClockNote>, reading: ClockReading) -> (Self, Option<ClockStep>) {
        let wall = reading.wall;
        let (confirmed, step) = note.map_or((wall, None), |note| {
            let outlived = wall.since(note.shown) >= CONFIRMATION;
            let known = match outlived {
                true => note.confirmed.max(note.shown),
                false => note.confirmed,
            };
            let step = if note.shown.since(wall) > SMALLEST_STEP {
                Some(ClockStep::Back(note.shown.since(wall)))
            } else if wall.since(known) > CONFIRMATION {
                Some(ClockStep::Forward(wall.since(known)))
            } else {
                None
            };
            let is_near = wall.since(known) <= CONFIRMATION;
            (if is_near { wall } else { known }, step)
        });
        let is_believed = confirmed == wall;
        let (mut lags, mut unconfirmed) =
            note.map_or_else(Default::default, |note| (note.lags, note.unconfirmed));
        let has_gone_back = note.is_some_and(|note| note.shown > wall);
        if is_believed || has_gone_back {
            lags.add(std::mem::take(&mut unconfirmed));
        }
        if has_gone_back {
            // Records that are put from now on are affected by other steps than earlier ones.
            lags = lags.of_earlier();
        }
        let time = Self {
            confirmed: (confirmed, reading.monotonic),
            last: reading,
            steady_since: reading.monotonic,
            opened_at: reading.monotonic,
            open_millis_before: note.map_or(0, |note| note.open_millis),
            lags,
            unconfirmed,
            latest_shown: note.map_or(wall, |note| note.latest_shown.max(wall)),
        };
        (time, step)
    }

    /// Takes a reading into account, and gives the step of the wall clock since the last one, if there was one.
    ///
    /// `earliest` is the earliest arrival time of a record that was put while the clock [was behind](Self::is_behind),
    /// if there was one.
    pub(crate) fn observe(
        &mut self,
        reading: ClockReading,
        earliest: Option<Timestamp>,
    ) -> Option<ClockStep> {
        let step = self.step_to(reading);
        match step {
            Some(ClockStep::Forward(step)) => {
                // A record never has an earlier time than the one before in its shard, and a record that was put before
                // the clock went back has no later time than was shown.
                let from = earliest.map_or(self.latest_shown, |earliest| earliest.min(self.latest_shown));
                let lag = match self.is_behind(self.last) {
                    true => step.min(reading.wall.since(from)),
                    false => step,
                };
                self.unconfirmed = Lag {
                    millis: self.unconfirmed.millis.saturating_add(lag.as_millis() as u64),
                    at_open_millis: self.open_millis(reading),
                };
            }
            Some(ClockStep::Back(step)) => {
                let undone = self.unconfirmed.millis.min(step.as_millis() as u64);
                self.unconfirmed.millis -= undone;
                self.lags
                    .take_back(step.saturating_sub(Duration::from_millis(undone)));
            }
            None => {}
        }
        self.latest_shown = self.latest_shown.max(reading.wall);
        if step.is_some() {
            self.steady_since = reading.monotonic;
        }
        let is_confirmed = reading.monotonic.saturating_sub(self.steady_since) >= CONFIRMATION;
        // The steps become lags at the same moment as they enter the confirmed time: hidden records stay hidden.
        if is_confirmed {
            self.lags.add(std::mem::take(&mut self.unconfirmed));
        }
        let confirmed = match is_confirmed {
            true => reading.wall,
            false => self.at(reading),
        };
        self.confirmed = (confirmed, reading.monotonic);
        self.last = reading;
        step
    }

    /// The confirmed time.
    pub(crate) fn at(&self, reading: ClockReading) -> Timestamp {
        let (confirmed, since) = self.confirmed;
        let passed = reading.monotonic.saturating_sub(since);
        confirmed.saturating_add(passed).min(reading.wall)
    }

    /// How long the store has been open, all openers together.
    pub(crate) fn open_millis(&self, reading: ClockReading) -> u64 {
        let here = reading.monotonic.saturating_sub(self.opened_at).as_millis();
        self.open_millis_before
            .saturating_add(u64::try_from(here).unwrap_or(u64::MAX))
    }

    /// How long ago the clocks were compared last.
    pub(crate) fn since_compared(&self, reading: ClockReading) -> Duration {
        reading.monotonic.saturating_sub(self.last.monotonic)
    }

    /// Whether the wall clock shows less than it once did.
    pub(crate) fn is_behind(&self, reading: ClockReading) -> bool {
        reading.wall < self.latest_shown
    }

    pub(crate) fn note(&self, reading: ClockReading) -> ClockNote {
        ClockNote {
            confirmed: self.at(reading),
            shown: reading.wall,
            open_millis: self.open_millis(reading),
            lags: self.lags,
            unconfirmed: self.unconfirmed,
            latest_shown: self.latest_shown,
        }
    }

    /// Whether there are steps that count for some records.
    pub(crate) fn has_lags(&self) -> bool {
        !self.lags.is_empty()
    }

    /// The present moment, by a reading that was not compared with the one before.
    pub(crate) fn moment(&self, reading: ClockReading) -> Moment {
        Moment {
            now: reading.wall,
            confirmed: self.at(reading),
            lags: self.lags,
            open_millis: self.open_millis(reading),
        }
    }

    fn step_to(&self, reading: ClockReading) -> Option<ClockStep> {
        let passed = reading.monotonic.saturating_sub(self.last.monotonic);
        let expected = self.last.wall.saturating_add(passed);
        let tolerance = SMALLEST_STEP + passed / SLEW_DIVISOR;
        let (forward, back) = (reading.wall.since(expected), expected.since(reading.wall));
        if forward > tolerance {
            Some(ClockStep::Forward(forward))
        } else if back > tolerance {
            Some(ClockStep::Back(back))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_count_for_records_that_were_put_before_them() {
        let mut lags = Lags::default();
        let since = |lags: &Lags, now, age| lags.since(now, Duration::from_millis(age)).as_millis();
        let step = |millis, at_open_millis| Lag {
            millis,
            at_open_millis,
        };
        lags.add(step(70, 1_000));
        assert_eq!(since(&lags, 1_400, 500), 70);
        assert_eq!(since(&lags, 1_500, 500), 0);
        lags.add(step(30, 1_200));
        assert_eq!(since(&lags, 1_400, 500), 100);
        assert_eq!(since(&lags, 1_600, 500), 30);
        lags.take_back(Duration::from_millis(50));
        assert_eq!(since(&lags, 1_400, 500), 50);
        assert!(!lags.is_empty());
        lags.take_back(Duration::from_millis(500));
        assert!(lags.is_empty());
    }

    #[test]
    fn of_earlier_openers_the_greatest_counts() {
        let mut lags = Lags::default();
        let since = |lags: &Lags, now, age| lags.since(now, Duration::from_millis(age)).as_millis();
        for (millis, at_open_millis) in [(10, 100), (30, 200)] {
            lags.add(Lag {
                millis,
                at_open_millis,
            });
        }
        lags = lags.of_earlier();
        assert_eq!(since(&lags, 250, 500), 40);
        lags.add(Lag {
            millis: 25,
            at_open_millis: 300,
        });
        assert_eq!(since(&lags, 350, 500), 40);
        lags = lags.of_earlier().of_earlier();
        assert_eq!(since(&lags, 350, 500), 40);
        assert_eq!(since(&lags, 750, 500), 25);
        assert_eq!(since(&lags, 800, 500), 0);
    }

    /// A note is written when something new is to be said, and not each time that one could be.
    #[test]
    fn a_step_that_is_not_confirmed_is_noted_the_same_each_time() {
        let mut time = ConfirmedTime::begin(None, reading(NOW, 0)).0;
        assert!(time.observe(reading(NOW + 1_000, 10), None).is_some());
        let mut noted = Lags::default();
        noted.add(time.note(reading(NOW + 1_000, 10)).unconfirmed);
        assert_ne!(noted, Lags::default());
        for seconds in [11, 60, HOUR, 2 * HOUR] {
            time.observe(reading(NOW + 990 + seconds, seconds), None);
            let note = time.note(reading(NOW + 990 + seconds, seconds));
            let mut lags = note.lags;
            lags.add(note.unconfirmed);
            assert_eq!(lags, noted, "{seconds}");
        }
    }

    /// A machine that sleeps each night has its clock step forward each morning, for years.
    #[test]
    fn of_many_steps_the_old_ones_count_no_more() {
        let mut lags = Lags::default();
        let (day, sleep) = (HOUR * 8, Duration::from_secs(HOUR * 16));
        for morning in 1..2_000 {
            lags.add(Lag {
                millis: sleep.as_millis() as u64,
                at_open_millis: morning * day * 1000,
            });
            for days in [1, 3, 7, 30] {
                let open = morning * day * 1000 + 1;
                let lag = lags.since(open, Duration::from_secs(days * day));
                let least = sleep * u32::try_from(days.min(morning)).unwrap();
                assert!(lag >= least, "{morning} {days} {lag:?}");
                assert!(lag <= 5 * least, "{morning} {days} {lag:?}");
            }
        }
    }

    const NOW: u64 = 1_700_000_000;
    const HOUR: u64 = 3_600;
    const DAY: u64 = 24 * HOUR;

    fn reading(wall: u64, monotonic: u64) -> ClockReading {
        ClockReading {
            wall: Timestamp::from_seconds(wall),
            monotonic: Duration::from_secs(monotonic),
        }
    }

    fn opened(note: Option<ClockNote>, wall: u64) -> ConfirmedTime {
        ConfirmedTime::begin(note, reading(wall, 0)).0
    }

    fn seconds(time: &ConfirmedTime, wall: u64, monotonic: u64) -> u64 {
        time.at(reading(wall, monotonic)).as_seconds()
    }

    #[test]
    fn while_both_clocks_go_on_the_time_is_confirmed() {
        let mut time = opened(None, NOW);
        assert_eq!(seconds(&time, NOW + DAY, DAY), NOW + DAY);
        // Slewed by 500 parts in a million.
        assert_eq!(time.observe(reading(NOW + DAY + 43, DAY), None), None);
        assert_eq!(seconds(&time, NOW + DAY + 43, DAY), NOW + DAY + 43);
    }

    #[test]
    fn a_step_forward_counts_when_it_has_stood_for_an_hour() {
        let mut time = opened(None, NOW);
        let stepped = NOW + 2 * DAY;
        assert_eq!(seconds(&time, stepped, 5), NOW + 5);
        let step = time.observe(reading(stepped + 10, 10), None);
        assert_eq!(step, Some(ClockStep::Forward(Duration::from_secs(2 * DAY))));
        assert_eq!(time.observe(reading(stepped + HOUR, HOUR), None), None);
        assert_eq!(seconds(&time, stepped + HOUR, HOUR), NOW + HOUR);
        assert_eq!(time.observe(reading(stepped + HOUR + 10, HOUR + 10), None), None);
        assert_eq!(
            seconds(&time, stepped + HOUR + 10, HOUR + 10),
            stepped + HOUR + 10
        );
    }

    #[test]
    fn a_step_back_counts_at_once_and_another_one_forward_does_not() {
        let mut time = opened(None, NOW);
        let step = time.observe(reading(NOW - DAY, 0), None);
        assert_eq!(step, Some(ClockStep::Back(Duration::from_secs(DAY))));
        assert_eq!(seconds(&time, NOW + 10, 10), NOW - DAY + 10);
    }

    #[test]
    fn a_later_opener_believes_what_the_manifest_does_not_contradict() {
        let note = opened(None, NOW).note(reading(NOW, 0));
        let (time, step) = ConfirmedTime::begin(Some(note), reading(NOW + HOUR, 0));
        assert_eq!((step, seconds(&time, NOW + HOUR, 0)), (None, NOW + HOUR));
        // Closed over a week-end, or opened with a wrong clock.
        let (mut time, step) = ConfirmedTime::begin(Some(note), reading(NOW + 3 * DAY, 0));
        assert!(matches!(step, Some(ClockStep::Forward(_))));
        // The note itself is confirmed by a clock that has gone on for so long.
        assert_eq!(seconds(&time, NOW + 3 * DAY + 5, 5), NOW + 5);
        time.observe(reading(NOW + 3 * DAY + HOUR, HOUR), None);
        assert_eq!(seconds(&time, NOW + 3 * DAY + HOUR, HOUR), NOW + 3 * DAY + HOUR);
    }

    #[test]
    fn a_step_that_was_noted_is_believed_by_an_opener_who_finds_that_it_stood() {
        let mut time = opened(None, NOW);
        time.observe(reading(NOW + 2 * DAY, 25), None);
        let note = time.note(reading(NOW + 2 * DAY, 25));
        assert_eq!(note.confirmed.as_seconds(), NOW + 25);
        // In the middle of the step, and after it was undone.
        for wall in [NOW + 2 * DAY + 60, NOW + 60] {
            let time = opened(Some(note), wall);
            assert!(seconds(&time, wall, 0) <= NOW + 60);
        }
        let stood = NOW + 2 * DAY + HOUR;
        assert_eq!(seconds(&opened(Some(note), stood), stood, 0), stood);
    }

    #[test]
    fn the_time_a_store_was_open_is_counted_over_all_openers() {
        let note = opened(None, NOW).note(reading(NOW + 10, 10));
        let time = opened(Some(note), NOW + DAY);
        assert_eq!(time.open_millis(reading(NOW, 5)), 15_000);
    }
}
