//! How much has been put, for people who watch, and for what has to go on where a put has failed.

use std::time::{Duration, Instant};

use super::super::progress_line::ProgressLine;
use super::target::NewRecord;

/// What has been put so far.
pub(super) struct Tally {
    pub(super) records: u64,
    pub(super) bytes: u64,
    begun: Instant,
    shown: Option<Instant>,
    progress: ProgressLine,
    gap: Option<Gap>,
}

/// Lines of a failed call that are not put. All in front of them are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Gap {
    first_line: u64,
    last_line: u64,
    /// How many lines behind the first one are put nevertheless.
    behind: u64,
    /// Whether it is known that they are not put.
    is_certain: bool,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            records: 0,
            bytes: 0,
            begun: Instant::now(),
            shown: None,
            progress: ProgressLine::default(),
            gap: None,
        }
    }
}

impl Tally {
    pub(super) fn add(&mut self, records: usize, bytes: usize) {
        const BETWEEN_SHOWS: Duration = Duration::from_millis(100);
        self.records += records as u64;
        self.bytes += bytes as u64;
        if self.shown.is_none_or(|shown| shown.elapsed() >= BETWEEN_SHOWS) {
            self.shown = Some(Instant::now());
            self.progress.show(&self.text());
        }
    }

    /// Notes the records that are left of lines up to `last_line`, all others of which are put.
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

    pub(super) fn text(&self) -> String {
        let seconds = self.seconds();
        let rate = |count: u64| count as f64 / seconds.max(0.001);
        format!(
            "{} records, {:.1} MB in {seconds:.1} s: {:.0} records/s, {:.1} MB/s",
            self.records,
            self.bytes as f64 / 1e6,
            rate(self.records),
            rate(self.bytes) / 1e6,
        )
    }

    pub(super) fn seconds(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    pub(super) fn hide_progress(&self) {
        self.progress.show("");
    }

    /// For the message of a failure: how much is put, and with which line to go on.
    pub(super) fn done(&self) -> String {
        let put = match self.records {
            0 => "No record was put".to_owned(),
            1 => "1 record was put".to_owned(),
            records => format!("{records} records were put"),
        };
        match self.gap {
            None if self.records == 0 => format!("{put}."),
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
            data: Vec::new(),
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
            tally.add(7, 0);
            tally.note_left(&left(lines), last, is_certain);
            assert_eq!(tally.done(), expected);
        }
        assert_eq!(Tally::default().done(), "No record was put.");
    }
}
