//! The position where reading begins, and to which records are trimmed: `--from` and `--to`.

use anabranch::{Clock, ShardId, StartingPosition, SystemClock};

use super::super::duration::duration;
use super::rfc3339;

/// `trim-horizon`, `latest`, a sequence number, a time, or a time relative to now: `-1h`.
pub(super) fn from(text: &str) -> Result<StartingPosition, String> {
    match text {
        "trim-horizon" => Ok(StartingPosition::TrimHorizon),
        "latest" => Ok(StartingPosition::Latest),
        text => number_or_time(text, "trim-horizon, latest, "),
    }
}

/// A sequence number, a time, or a time relative to now.
pub(super) fn to(text: &str) -> Result<StartingPosition, String> {
    number_or_time(text, "")
}

/// The shard that a sequence number belongs to.
pub(super) fn shard_of(position: StartingPosition) -> Option<ShardId> {
    match position {
        StartingPosition::AtSequenceNumber(number) | StartingPosition::AfterSequenceNumber(number) => {
            Some(number.shard_id())
        }
        _ => None,
    }
}

fn number_or_time(text: &str, others: &str) -> Result<StartingPosition, String> {
    if let Some(ago) = text.strip_prefix('-') {
        let ago = duration(ago).map_err(|error| format!("{error}, as in -1h"))?;
        return Ok(StartingPosition::AtTimestamp(
            SystemClock.now().saturating_sub(ago),
        ));
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let number = text
            .parse()
            .map_err(|error: anabranch::SequenceNumberError| format!("not a sequence number: {error}"));
        return number.map(StartingPosition::AtSequenceNumber);
    }
    rfc3339::parsed(text).map(StartingPosition::AtTimestamp).ok_or_else(|| {
        format!(
            "expected {others}a sequence number, a time like 2026-01-31T12:00:00Z, or one from now like -1h, not \
                 {text:?}"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use anabranch::{RecordNumber, SequenceNumber, Timestamp};

    #[test]
    fn a_position_has_five_forms() {
        let shard = ShardId::new(7).unwrap();
        let number = SequenceNumber::new(1_700_000_000, shard, RecordNumber::new(9), 1_700_000_001);
        let at_number = StartingPosition::AtSequenceNumber(number);
        assert_eq!(from("trim-horizon"), Ok(StartingPosition::TrimHorizon));
        assert_eq!(from("latest"), Ok(StartingPosition::Latest));
        assert_eq!(from(&number.to_string()), Ok(at_number));
        assert_eq!(shard_of(at_number), Some(shard));
        assert_eq!(shard_of(StartingPosition::Latest), None);
        let noon = Timestamp::from_millis(1_769_860_800_000);
        let noon = Ok(StartingPosition::AtTimestamp(noon));
        assert_eq!(from("2026-01-31T12:00:00Z"), noon);
        assert_eq!(to("2026-01-31T12:00:00Z"), noon);
        let hour_ago = SystemClock.now().as_millis() - 3_600_000;
        let Ok(StartingPosition::AtTimestamp(time)) = from("-1h") else {
            panic!("a time")
        };
        assert!((hour_ago..hour_ago + 60_000).contains(&time.as_millis()));
    }

    #[test]
    fn what_is_no_position_is_told_apart() {
        for (wrong, part) in [
            ("", "trim-horizon, latest, a sequence number"),
            ("horizon", "not \"horizon\""),
            ("TRIM_HORIZON", "expected trim-horizon"),
            ("2026-01-31", "2026-01-31T12:00:00Z"),
            ("-1", "a unit after 1"),
            ("-", "expected a time like"),
            ("-1y", "a unit after 1"),
            ("12", "not a sequence number"),
            ("0012", "not a sequence number"),
        ] {
            let error = from(wrong).unwrap_err();
            assert!(error.contains(part), "{wrong}: {error}");
            assert!(to(wrong).is_err(), "{wrong}");
        }
        assert!(to("latest").is_err() && to("trim-horizon").is_err());
    }
}
