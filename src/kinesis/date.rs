//! Dates in AWS' two forms: as Java prints them, and as signatures have them.

use std::fmt;

use crate::model::{CalendarTime, Timestamp, date};

/// Prints as `Thu Jan 22 01:22:02 UTC 2015`.
pub(super) struct JavaDate(pub(super) Timestamp);

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

impl fmt::Display for JavaDate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = self.0.as_seconds() / 86_400;
        let time = CalendarTime::of(self.0);
        write!(
            formatter,
            "{} {} {:02} {:02}:{:02}:{:02} UTC {}",
            // 1970 began on a Thursday.
            DAYS[(days % 7) as usize],
            MONTHS[time.month as usize - 1],
            time.day,
            time.hour,
            time.minute,
            time.second,
            time.year,
        )
    }
}

/// ISO 8601 without separators, to the second: `20150122T012202Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BasicDate {
    /// Seconds since 1970.
    pub(super) seconds: u64,
}

impl BasicDate {
    /// `None` if the text has another form, or no such moment exists.
    pub(super) fn parse(text: &str) -> Option<BasicDate> {
        const FORM: &[u8] = b"ddddddddTddddddZ";
        let fits = |(byte, form): (u8, &u8)| match form {
            b'd' => byte.is_ascii_digit(),
            _ => byte == *form,
        };
        if text.len() != FORM.len() || !text.bytes().zip(FORM).all(fits) {
            return None;
        }
        let number = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
        let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
        let (hour, minute, second) = (number(9, 11)?, number(11, 13)?, number(13, 15)?);
        let days = days_since_1970(year, month, day)?;
        (hour < 24 && minute < 60 && second < 60).then_some(BasicDate {
            seconds: ((days * 24 + hour) * 60 + minute) * 60 + second,
        })
    }

    /// The day alone: `20150122`.
    pub(super) fn day(self) -> String {
        let (year, month, day) = date(self.seconds / 86_400);
        format!("{year:04}{month:02}{day:02}")
    }
}

impl fmt::Display for BasicDate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let second = self.seconds % 86_400;
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(formatter, "{}T{hour:02}{minute:02}{second:02}Z", self.day())
    }
}

/// The day after 1970-01-01 of a date. `None` if there is no such date, or it is earlier.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    let years = year.checked_sub(1970)?;
    // Close enough to look for it: no year has fewer days than 365, and none more than 366.
    let from = years * 365;
    let to = from + years + 366;
    let wanted = (year, month, day);
    let mut low = from;
    let mut high = to;
    while low < high {
        let middle = low + (high - low) / 2;
        if date(middle) < wanted {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    (date(low) == wanted).then_some(low)
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

    #[test]
    fn dates_of_signatures_are_read_as_they_are_printed() {
        for (text, seconds) in [
            ("20150122T012202Z", 1_421_889_722),
            ("19700101T000000Z", 0),
            ("20000229T000000Z", 951_782_400),
            ("21000301T000000Z", 4_107_542_400),
            ("99991231T235959Z", 253_402_300_799),
        ] {
            assert_eq!(BasicDate::parse(text), Some(BasicDate { seconds }), "{text}");
            assert_eq!(BasicDate { seconds }.to_string(), text);
        }
        for wrong in [
            "",
            "20150122",
            "2015-01-22T01:22:02Z",
            "20150122T012202",
            "20150229T000000Z",
            "20151301T000000Z",
            "20150001T000000Z",
            "20150132T000000Z",
            "20150122T240000Z",
            "20150122T006000Z",
            "20150122T000060Z",
            "19691231T235959Z",
            "2015012\u{e9}012202Z",
        ] {
            assert_eq!(BasicDate::parse(wrong), None, "{wrong}");
        }
    }
}
