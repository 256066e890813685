//! Times as people and programs read them.

use anabranch::Timestamp;
use chrono::{DateTime, SecondsFormat, Utc};

/// To the millisecond, in UTC: `2026-01-31T12:00:00.000Z`.
pub(super) fn shown(time: Timestamp) -> String {
    calendar_time(time).map_or_else(
        || format!("{} ms", time.as_millis()),
        |time| time.to_rfc3339_opts(SecondsFormat::Millis, true),
    )
}

/// A time with its offset from UTC, of 1970 or later. `None` for anything else.
pub(super) fn parsed(text: &str) -> Option<Timestamp> {
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    u64::try_from(time.timestamp_millis())
        .ok()
        .map(Timestamp::from_millis)
}

/// In the form of signatures: `20260131T120000Z`.
pub(super) fn basic(time: Timestamp) -> String {
    calendar_time(time).map_or_else(String::new, |time| time.format("%Y%m%dT%H%M%SZ").to_string())
}

/// `None` for a time outside of the calendar.
fn calendar_time(time: Timestamp) -> Option<DateTime<Utc>> {
    let milliseconds = i64::try_from(time.as_millis()).ok()?;
    DateTime::from_timestamp_millis(milliseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_shown() {
        for (milliseconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_007, "2000-02-29T00:00:00.007Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            let time = Timestamp::from_millis(milliseconds);
            assert_eq!(shown(time), text);
            assert_eq!(parsed(text), Some(time));
        }
        assert_eq!(shown(Timestamp::MAX), format!("{} ms", u64::MAX));
        assert_eq!(basic(Timestamp::from_millis(951_782_400_007)), "20000229T000000Z");
    }

    #[test]
    fn a_time_has_an_offset() {
        let noon = parsed("2026-01-31T12:00:00Z");
        assert!(noon.is_some());
        for same in [
            "2026-01-31T13:30:00+01:30",
            "2026-01-31t12:00:00.0001z",
            "2026-01-31 12:00:00Z",
        ] {
            assert_eq!(parsed(same), noon, "{same}");
        }
        for wrong in [
            "",
            "2026-01-31",
            "2026-01-31T12:00:00",
            "2026-02-30T12:00:00Z",
            "1969-12-31T23:59:59Z",
        ] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }
}
