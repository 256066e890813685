//! Years, months and days, and a moment as text.

use std::fmt;

use super::Timestamp;

/// A moment in the Gregorian calendar, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CalendarTime {
    pub(crate) year: u64,
    /// From 1.
    pub(crate) month: u64,
    /// From 1.
    pub(crate) day: u64,
    pub(crate) hour: u64,
    pub(crate) minute: u64,
    pub(crate) second: u64,
}

impl CalendarTime {
    pub(crate) fn of(time: Timestamp) -> Self {
        let seconds = time.as_millis() / 1000;
        let (year, month, day) = date(seconds / 86_400);
        Self {
            year,
            month,
            day,
            hour: seconds / 3600 % 24,
            minute: seconds / 60 % 60,
            second: seconds % 60,
        }
    }
}

impl fmt::Display for Timestamp {
    /// In UTC to the millisecond, in the form of RFC 3339: `2015-01-14T23:47:10.250Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CalendarTime {
            year,
            month,
            day,
            hour,
            minute,
            second,
        } = CalendarTime::of(*self);
        let millis = self.as_millis() % 1000;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z"
        )
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timestamp({self})")
    }
}

/// Year, month and day of the given day after 1970-01-01.
pub(crate) fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    /// Days from 0000-03-01, on which the count begins so that a leap day is a year's last, to 1970-01-01.
    const DAYS_TO_1970: u64 = 719_468;
    let days = days + DAYS_TO_1970;
    let (era, day_of_era) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12;
    let year = era * 400 + year_of_era + u64::from(month < 2);
    (year, month + 1, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_shown_as_rfc_3339_has_it() {
        for (millis, shown) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_421_279_230_250, "2015-01-14T23:47:10.250Z"),
            (4_107_542_400_001, "2100-03-01T00:00:00.001Z"),
        ] {
            let time = Timestamp::from_millis(millis);
            assert_eq!(time.to_string(), shown);
            assert_eq!(format!("{time:?}"), format!("Timestamp({shown})"));
        }
        // No year is too late to be shown.
        assert!(Timestamp::MAX.to_string().ends_with('Z'));
    }
}
