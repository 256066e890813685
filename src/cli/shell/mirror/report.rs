//! The messages of a mirror while it runs, and at its end.

use std::time::{Duration, Instant};

use anabranch::Timestamp;
use serde_json::{Value, json};

use super::super::super::Failure;
use super::super::super::counted::Counted;
use super::super::meter::Meter;
use super::super::output::{Format, Output, OutputArguments};
use super::super::rfc3339;
use super::checkpoint::Checkpoint;
use super::reading::Lag;

/// How often a program is told the progress of a mirror.
pub(super) const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// Writes JSON lines for programs, or text for people, to standard output, and shows progress on a line of the
/// terminal.
pub(super) struct Report {
    output: Output,
    meter: Meter,
    told: Instant,
    is_caught_up: bool,
}

/// How a mirror ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// All that was to be mirrored is at the target.
    Complete,
    /// The same, and no new record has come for this time.
    Drained(Duration),
    /// It was interrupted before all was at the target.
    Incomplete,
}

impl Report {
    pub(super) fn new(arguments: &OutputArguments) -> Self {
        Self {
            output: arguments.open(),
            meter: Meter::default(),
            told: Instant::now(),
            is_caught_up: false,
        }
    }

    pub(super) fn begun(
        &mut self,
        checkpoint: &Checkpoint,
        path: &str,
        is_resumed: bool,
    ) -> Result<(), Failure> {
        let [stream, to] = [&checkpoint.source, &checkpoint.target].map(|identity| &identity.stream);
        match self.output.format {
            Format::Json => self.line(&json!({
                "event": "begun",
                "stream": stream,
                "to": to,
                "lineage": checkpoint.lineage,
                "checkpoint": path,
                "resumed": is_resumed,
            })),
            Format::Table if is_resumed => self.text(&format!(
                "Going on with {stream} behind {} ({path}).",
                Counted(checkpoint.records, "record")
            )),
            Format::Table => self.text(&format!("Mirroring {stream} to {to} ({path}).")),
        }
    }

    /// Adds records that are at the target now.
    pub(super) fn add(&mut self, records: u64, bytes: u64, millis_behind: u64) {
        self.meter
            .add(records, bytes, 0, || format!(", {} behind", time(millis_behind)));
    }

    /// Whether it is time for a line.
    pub(super) fn is_line_due(&self) -> bool {
        self.output.format == Format::Json && self.told.elapsed() >= BETWEEN_LINES
    }

    pub(super) fn progress(&mut self, checkpoint: &Checkpoint, lag: Lag) -> Result<(), Failure> {
        self.told = Instant::now();
        let mut line = numbers("progress", checkpoint, lag);
        line["seconds"] = json!(self.meter.seconds());
        self.line(&line)
    }

    /// Says once that the target has all that the source has. `and` tells people what to do next.
    pub(super) fn caught_up(&mut self, checkpoint: &Checkpoint, and: &str) -> Result<(), Failure> {
        if std::mem::replace(&mut self.is_caught_up, true) {
            return Ok(());
        }
        let lag = Lag {
            millis: 0,
            records: Some(0),
        };
        match self.output.format {
            Format::Json => self.line(&numbers("caught_up", checkpoint, lag)),
            Format::Table => self.text(&format!(
                "The target has all that the source has: {}.{and}",
                Counted(checkpoint.records, "record")
            )),
        }
    }

    pub(super) fn resharded(&mut self, changes: u64) -> Result<(), Failure> {
        match self.output.format {
            Format::Json => self.line(&json!({"event": "resharded", "changes": changes})),
            Format::Table => self.text(&format!(
                "The shards of the target were split or merged as at the source ({}).",
                Counted(changes, "change")
            )),
        }
    }

    pub(super) fn ended(&mut self, checkpoint: &Checkpoint, lag: Lag, ended: Ended) -> Result<(), Failure> {
        let up_to = checkpoint
            .last_arrival
            .map(|time| rfc3339::shown(Timestamp::from_millis(time)));
        if self.output.format == Format::Json {
            let mut line = numbers("ended", checkpoint, lag);
            line["seconds"] = json!(self.meter.seconds());
            line["complete"] = json!(ended != Ended::Incomplete);
            line["up_to"] = Value::from(up_to);
            return self.line(&line);
        }
        let records = Counted(checkpoint.records, "record");
        let up_to = up_to.map_or_else(String::new, |up_to| format!(" up to {up_to}"));
        self.text(&match ended {
            Ended::Complete => format!("All {records}{up_to} are at the target."),
            Ended::Drained(quiet) => format!(
                "All {records}{up_to} are at the target, and none has come for {}. Writers and readers can go there.",
                time(u64::try_from(quiet.as_millis()).unwrap_or(u64::MAX))
            ),
            Ended::Incomplete => format!(
                "Interrupted: {records}{up_to} are at the target, which is {} behind. The same command goes on.",
                time(lag.millis)
            ),
        })
    }

    /// A warning, on standard error.
    pub(super) fn warn(&self, what: &str) {
        self.hide();
        eprintln!("anabranch: {what}");
    }

    /// Erases the line on the terminal.
    pub(super) fn hide(&self) {
        self.meter.hide();
    }

    fn line(&mut self, line: &Value) -> Result<(), Failure> {
        self.text(&line.to_string())
    }

    fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.hide();
        self.output.line(text)?;
        self.output.flush()
    }
}

fn numbers(event: &str, checkpoint: &Checkpoint, lag: Lag) -> Value {
    json!({
        "event": event,
        "records": checkpoint.records,
        "bytes": checkpoint.bytes,
        "behind_ms": lag.millis,
        "behind_records": lag.records,
    })
}

/// `250 ms`, `12 s`, `5 min`, `30 h`.
fn time(millis: u64) -> String {
    match millis {
        0..1_000 => format!("{millis} ms"),
        1_000..120_000 => format!("{} s", millis / 1_000),
        120_000..7_200_000 => format!("{} min", millis / 60_000),
        _ => format!("{} h", millis / 3_600_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_as_people_say_them() {
        for (millis, told) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (10_500, "10 s"),
            (300_000, "5 min"),
            (86_400_000, "24 h"),
        ] {
            assert_eq!(time(millis), told);
        }
    }
}
