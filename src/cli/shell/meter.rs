//! How much a command has put or read, and how fast, for people at a terminal.

use std::time::{Duration, Instant};

use super::super::counted::Counted;
use super::super::progress_line::ProgressLine;

/// Counts, and shows the counts on standard error if that is a terminal.
pub(super) struct Meter {
    pub(super) records: u64,
    pub(super) bytes: u64,
    begun: Instant,
    shown: Option<Instant>,
    /// `None` if nothing is to be shown.
    line: Option<ProgressLine>,
    /// How much there is to do, if that is known, and how much of it is done.
    goal: Option<(u64, u64)>,
}

impl Default for Meter {
    fn default() -> Self {
        Self::telling(Some(ProgressLine::default()))
    }
}

impl Meter {
    /// A meter that shows nothing.
    pub(super) fn silent() -> Self {
        Self::telling(None)
    }

    fn telling(line: Option<ProgressLine>) -> Self {
        Self {
            records: 0,
            bytes: 0,
            begun: Instant::now(),
            shown: None,
            line,
            goal: None,
        }
    }

    /// Shows how much of the goal is done, if there is one.
    pub(super) fn towards(self, goal: Option<u64>) -> Self {
        Self {
            goal: goal.map(|goal| (goal, 0)),
            ..self
        }
    }

    /// Adds work that is done. If the counts are shown now, `more` is shown too.
    pub(super) fn add(&mut self, records: u64, bytes: u64, of_goal: u64, more: impl FnOnce() -> String) {
        const BETWEEN_SHOWS: Duration = Duration::from_millis(100);
        self.records += records;
        self.bytes += bytes;
        if let Some((_, done)) = &mut self.goal {
            *done += of_goal;
        }
        if self.shown.is_some_and(|shown| shown.elapsed() < BETWEEN_SHOWS) {
            return;
        }
        self.shown = Some(Instant::now());
        if let Some(line) = &self.line {
            let bar = self.goal.map_or_else(String::new, |(goal, done)| bar(done, goal));
            line.show(&format!("{bar}{}{}", self.text(), more()));
        }
    }

    /// Erases the line, before other output to the terminal.
    pub(super) fn hide(&self) {
        if let Some(line) = &self.line {
            line.show("");
        }
    }

    pub(super) fn text(&self) -> String {
        let seconds = self.seconds();
        let rate = |count: u64| count as f64 / seconds.max(0.001);
        format!(
            "{}, {:.1} MB in {seconds:.1} s: {:.0} records/s, {:.1} MB/s",
            Counted(self.records, "record"),
            self.bytes as f64 / 1e6,
            rate(self.records),
            rate(self.bytes) / 1e6,
        )
    }

    pub(super) fn seconds(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }
}

/// `[#####---------------]  25 %  `. At most 100 %, even if more than the goal is done, as with a file that has grown.
fn bar(done: u64, goal: u64) -> String {
    const WIDTH: usize = 20;
    let share = match goal {
        0 => 1.0,
        goal => (done as f64 / goal as f64).min(1.0),
    };
    let full = (share * WIDTH as f64) as usize;
    let (full, empty) = ("#".repeat(full), "-".repeat(WIDTH - full));
    format!("[{full}{empty}] {:3.0} %  ", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_what_is_done() {
        for (done, goal, expected) in [
            (0, 10, "[--------------------]   0 %  "),
            (1, 4, "[#####---------------]  25 %  "),
            (10, 10, "[####################] 100 %  "),
            (11, 10, "[####################] 100 %  "),
            (0, 0, "[####################] 100 %  "),
            (u64::MAX, u64::MAX, "[####################] 100 %  "),
        ] {
            assert_eq!(bar(done, goal), expected);
        }
    }

    #[test]
    fn a_meter_counts_also_where_it_tells_nothing() {
        let mut meter = Meter::silent().towards(Some(2));
        meter.add(1, 1_500_000, 1, || panic!("nothing is told"));
        assert!(
            meter.text().starts_with("1 record, 1.5 MB in 0.0 s: "),
            "{}",
            meter.text()
        );
        meter.add(1, 0, 1, String::new);
        assert!(meter.text().starts_with("2 records, "));
        assert_eq!(
            (meter.records, meter.bytes, meter.goal),
            (2, 1_500_000, Some((2, 2)))
        );
    }
}
