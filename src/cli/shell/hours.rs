//! Retention as the Kinesis API takes it: whole hours, from a day to a year.

use anabranch::Retention;

const FEWEST: u64 = 24;
const MOST: u64 = 8760;

/// The next number of hours that the API takes.
pub(super) fn hours_of(retention: Retention) -> u64 {
    let hours = retention
        .duration()
        .map_or(MOST, |time| time.as_secs().div_ceil(3600));
    hours.clamp(FEWEST, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_time_that_the_api_does_not_take_is_the_next_that_it_does() {
        for (seconds, hours) in [
            (60, 24),
            (86_400, 24),
            (86_401, 25),
            (31_536_000, 8760),
            (31_536_001, 8760),
        ] {
            assert_eq!(
                hours_of(Retention::of(Duration::from_secs(seconds))),
                hours,
                "{seconds}"
            );
        }
        assert_eq!(hours_of(Retention::FOREVER), 8760);
    }
}
