//! The records that `anabranch get` and `anabranch tail` show.

use std::io::{self, IsTerminal};
use std::time::Duration;

use anabranch::{Aggregate, AggregatedRecord, Clock, SystemClock};
use clap::Args;

use super::super::Failure;
use super::decoded::{Decoded, base64, json_text, pretty, printable};
use super::meter::Meter;
use super::output::{Format, Output, OutputArguments};
use super::rfc3339;
use super::target::ReadRecord;

#[derive(Debug, Clone, Args)]
pub(super) struct ShownArguments {
    /// Show at most this many records
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,

    /// Decode data, and show records that the Kinesis Producer Library has put into one as records of their own
    ///
    /// In JSON lines, data that is text or JSON is shown as such. In a table, JSON is shown over several lines.
    #[arg(long)]
    decode: bool,

    #[command(flatten)]
    output: OutputArguments,
}

/// How many records are requested at a time.
const MOST_RECORDS: usize = 1_000;

/// Shows records until there are enough.
pub(super) struct Shown {
    output: Output,
    is_decoded: bool,
    left: usize,
    has_head: bool,
    meter: Meter,
}

impl Shown {
    pub(super) fn new(arguments: &ShownArguments) -> Self {
        // If the records are shown on the terminal, they show the progress.
        let meter = match io::stdout().is_terminal() {
            true => Meter::silent(),
            false => Meter::default(),
        };
        Self {
            output: arguments.output.open(),
            is_decoded: arguments.decode,
            left: arguments.limit.unwrap_or(usize::MAX),
            has_head: false,
            meter: meter.towards(arguments.limit.map(|limit| limit as u64)),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.left == 0
    }

    /// How many more records to request.
    pub(super) fn room(&self) -> usize {
        self.left.min(MOST_RECORDS)
    }

    pub(super) fn show(&mut self, records: &[ReadRecord]) -> Result<(), Failure> {
        for record in records {
            let aggregate = match self.is_decoded {
                true => Aggregate::of(&record.data).filter(|aggregate| !aggregate.is_empty()),
                false => None,
            };
            match aggregate {
                None => self.line(&Item::of(record))?,
                Some(aggregate) => {
                    for (place, inner) in aggregate.records().enumerate() {
                        self.line(&Item::within(record, place, &inner))?;
                    }
                }
            }
        }
        self.note(records);
        self.left = self.left.saturating_sub(records.len());
        self.output.flush()
    }

    /// Erases the progress line, before other output to the terminal.
    pub(super) fn hide_progress(&self) {
        self.meter.hide();
    }

    fn note(&mut self, records: &[ReadRecord]) {
        let count = records.len() as u64;
        let bytes = records
            .iter()
            .map(|record| (record.key.len() + record.data.len()) as u64);
        self.meter.add(count, bytes.sum(), count, || {
            let last = records
                .last()
                .map(|record| SystemClock.now().since(record.arrival));
            last.map_or_else(String::new, |ago| {
                format!(", the last of {} ago", shown_span(ago))
            })
        });
    }

    fn line(&mut self, item: &Item<'_>) -> Result<(), Failure> {
        match self.output.format {
            Format::Json => self.output.line(&item.json(self.is_decoded)),
            Format::Table => {
                if !std::mem::replace(&mut self.has_head, true) {
                    let head = ["ARRIVAL", "SHARD", "SEQUENCE NUMBER", "PARTITION KEY"];
                    self.output.line(&columns(head, "DATA"))?;
                }
                self.output.line(&item.row(self.is_decoded))
            }
        }
    }
}

/// An item with a line of its own: a record, or one that the Kinesis Producer Library has put into a record.
struct Item<'a> {
    record: &'a ReadRecord,
    /// Its place among those in the record.
    place: Option<usize>,
    key: &'a str,
    data: &'a [u8],
}

impl<'a> Item<'a> {
    fn of(record: &'a ReadRecord) -> Self {
        Self {
            record,
            place: None,
            key: &record.key,
            data: &record.data,
        }
    }

    fn within(record: &'a ReadRecord, place: usize, inner: &AggregatedRecord<'a>) -> Self {
        Self {
            record,
            place: Some(place),
            key: inner.partition_key,
            data: inner.data,
        }
    }

    fn json(&self, is_decoded: bool) -> String {
        let (encoding, data) = match is_decoded {
            true => Decoded::of(self.data).json(),
            false => ("base64", base64(self.data)),
        };
        let arrival = rfc3339::shown(self.record.arrival);
        let ReadRecord {
            shard,
            sequence_number,
            ..
        } = self.record;
        let within = self
            .place
            .map(|place| format!(r#""sub_sequence_number":{place},"#));
        let within = within.unwrap_or_default();
        let place = format!(
            r#""shard":"{shard}","sequence_number":"{sequence_number}",{within}"arrival":"{arrival}""#
        );
        let key = json_text(self.key);
        format!(r#"{{{place},"partition_key":{key},"encoding":"{encoding}","data":{data}}}"#)
    }

    fn row(&self, is_decoded: bool) -> String {
        const INDENT: &str = "    ";
        let arrival = rfc3339::shown(self.record.arrival);
        let shard = self.record.shard.to_string();
        let number = match self.place {
            None => self.record.sequence_number.clone(),
            Some(place) => format!("{}#{place}", self.record.sequence_number),
        };
        let key = printable(self.key);
        let columns = |data: &str| columns([&arrival, &shard, &number, &key], data);
        match Decoded::of(self.data) {
            Decoded::Json(document) if is_decoded => {
                format!("{}\n{INDENT}{}", columns(""), pretty(document, INDENT))
            }
            decoded => columns(&decoded.line()),
        }
    }
}

/// One line. Later rows may be wider than all before, so only the usual widths are kept.
fn columns([arrival, shard, number, key]: [&str; 4], data: &str) -> String {
    let line = format!("{arrival:24}  {shard:20}  {number:56}  {key:13}  {data}");
    line.trim_end().to_owned()
}

/// In the largest unit that it has at least one of.
fn shown_span(span: Duration) -> String {
    let seconds = span.as_secs();
    for (unit, of_seconds) in [("days", 86_400), ("h", 3_600), ("min", 60)] {
        if seconds >= 2 * of_seconds {
            return format!("{} {unit}", seconds / of_seconds);
        }
    }
    format!("{:.1} s", span.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use anabranch::{ShardId, Timestamp};

    use super::*;

    fn record(data: &[u8]) -> ReadRecord {
        ReadRecord {
            shard: ShardId::new(3).unwrap(),
            sequence_number: "49".to_owned(),
            arrival: Timestamp::EPOCH,
            key: "outer".to_owned(),
            data: data.to_vec().into(),
        }
    }

    #[test]
    fn a_record_within_another_says_which_one_it_is() {
        let record = record(b"outer data");
        let inner = Item {
            record: &record,
            place: Some(7),
            key: "inner\u{1b}",
            data: b"[1]",
        };
        assert_eq!(
            inner.json(true),
            r#"{"shard":"shardId-000000000003","sequence_number":"49","sub_sequence_number":7,"arrival":"1970-01-01T00:00:00.000Z","partition_key":"inner\u001b","encoding":"json","data":[1]}"#
        );
        let row = inner.row(false);
        assert!(
            row.contains("  49#7  ") && row.contains(r"inner\u{1b}") && row.ends_with("[1]"),
            "{row}"
        );
        assert!(!Item::of(&record).json(false).contains("sub_sequence_number"));
    }

    #[test]
    fn a_span_has_a_unit_that_fits() {
        let shown = |seconds| shown_span(Duration::from_secs_f64(seconds));
        for (seconds, expected) in [
            (0.3, "0.3 s"),
            (119.0, "119.0 s"),
            (120.0, "2 min"),
            (7_200.0, "2 h"),
            (200_000.0, "2 days"),
        ] {
            assert_eq!(shown(seconds), expected);
        }
    }
}
