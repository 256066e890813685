//! Dates as Java prints them, which is how AWS writes them into messages.

use std::fmt;

use crate::model::Timestamp;

/// Prints as `Thu Jan 22 01:22:02 UTC 2015`.
pub(super) struct JavaDate(pub(super) Timestamp);

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

impl fmt::Display for JavaDate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_millis() / 1000;
        let (days, second_of_day) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        write!(
            formatter,
            "{} {} {day:02} {:02}:{:02}:{:02} UTC {year}",
            // 1970 began on a Thursday.
            DAYS[(days % 7) as usize],
            MONTHS[month],
            second_of_day / 3600,
            second_of_day / 60 % 60,
            second_of_day % 60,
        )
    }
}

/// Year, month from 0 and day from 1 of the given day after 1970-01-01, in the Gregorian calendar.
fn civil(days: u64) -> (u64, usize, u64) {
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
    (year, month as usize, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(seconds: u64) -> String {
        JavaDate(Timestamp::from_millis(seconds * 1000 + 999)).to_string()
    }

    #[test]
    fn dates_look_like_java_s() {
        assert_eq!(printed(1_421_889_722), "Thu Jan 22 01:22:02 UTC 2015");
        assert_eq!(printed(0), "Thu Jan 01 00:00:00 UTC 1970");
        assert_eq!(printed(951_782_399), "Mon Feb 28 23:59:59 UTC 2000");
        assert_eq!(printed(951_782_400), "Tue Feb 29 00:00:00 UTC 2000");
        assert_eq!(printed(1_709_251_199), "Thu Feb 29 23:59:59 UTC 2024");
        assert_eq!(printed(1_735_689_599), "Tue Dec 31 23:59:59 UTC 2024");
        assert_eq!(printed(4_107_542_400), "Mon Mar 01 00:00:00 UTC 2100");
    }
}
