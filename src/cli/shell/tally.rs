//! How much has been put, for people, and for continuing after a failed put.

use super::meter::Meter;
use super::target::NewRecord;

/// The records put so far.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) meter: Meter,
    gap: Option<Gap>,
}

/// Lines of a failed call that are not put. All lines before them are put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Gap {
    first_line: u64,
    last_line: u64,
    /// How many lines after the first one are put nevertheless.
    behind: u64,
    /// Whether it is known that they are not put.
    is_certain: bool,
}

impl Tally {
    /// For an input of this many bytes, if that is known.
    pub(super) fn of_input(bytes: Option<u64>) -> Self {
        Self {
            meter: Meter::default().towards(bytes),
            gap: None,
        }
    }

    /// Notes the remaining records of lines up to `last_line`. All other lines are put.
    pub(super) fn note_left(&mut self, left: &[NewRecord], last_line: u64, is_certain: bool) {
        let (Some(first), Some(last)) = (left.first(), left.last()) else {
            return;
        };
        let behind = last_line.saturating_sub(first.line) + 1;
        self.gap = Some(Gap {
            first_line: first.line,
            last_line: last.line,
            behind: behind.saturating_sub(left.len() as u64),
            is_certain,
        });
    }

    /// For the message of a failure: how much is put, and at which line to continue.
    pub(super) fn done(&self) -> String {
        let put = match self.meter.records {
            0 => "No record was put".to_owned(),
            1 => "1 record was put".to_owned(),
            records => format!("{records} records were put"),
        };
        match self.gap {
            None if self.meter.records == 0 => format!("{put}."),
            None => format!("{put} before."),
            Some(gap) => format!("{put}.{}", gap.text()),
        }
    }
}

impl Gap {
    fn text(&self) -> String {
        let Gap {
            first_line,
            last_line,
            behind,
            is_certain,
        } = *self;
        let lines = match first_line == last_line {
            true => format!("line {first_line}"),
            false => format!("lines {first_line} to {last_line}"),
        };
        match (is_certain, behind) {
            (true, 0) => format!(" The first line that was not put is {first_line}, and none behind it was."),
            (true, _) => {
                format!(" The first line that was not put is {first_line}; {behind} behind it were.")
            }
            (false, 0) => format!(" Of {lines} it is not known."),
            (false, _) => format!(" Of {lines} it is not known, but for {behind} of them that were."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(lines: &[u64]) -> Vec<NewRecord> {
        let record = |line: &u64| NewRecord {
            line: *line,
            key: "k".to_owned(),
            hash_key: None,
            data: Vec::new().into(),
        };
        lines.iter().map(record).collect()
    }

    #[test]
    fn a_failure_names_the_first_line_that_was_not_put_and_how_many_behind_it_were() {
        for (lines, last, is_certain, expected) in [
            (&[][..], 0, true, "7 records were put before."),
            (
                &[5],
                5,
                true,
                "7 records were put. The first line that was not put is 5, and none behind it was.",
            ),
            (
                &[3, 7],
                9,
                true,
                "7 records were put. The first line that was not put is 3; 5 behind it were.",
            ),
            (&[8], 8, false, "7 records were put. Of line 8 it is not known."),
            (
                &[8, 9, 10],
                10,
                false,
                "7 records were put. Of lines 8 to 10 it is not known.",
            ),
        ] {
            let mut tally = Tally::default();
            tally.meter.add(7, 0, 0, String::new);
            tally.note_left(&left(lines), last, is_certain);
            assert_eq!(tally.done(), expected);
        }
        assert_eq!(Tally::default().done(), "No record was put.");
    }
}
