//! `anabranch put`: each line of standard input is a record.

use std::io;
use std::time::Duration;

use anabranch::disk::left_to_read;
use clap::Args;

use super::super::Failure;
use super::super::counted::Counted;
use super::super::interruption::Interruption;
use super::after_help;
use super::decoded::json_text;
use super::directory::Access;
use super::key::KeyArguments;
use super::lines::{End, Line, Lines};
use super::name::StreamArgument;
use super::output::{Format, OutputArguments};
use super::place::{PlaceArguments, Work};
use super::tally::Tally;
use super::target::{NewRecord, PutAnswer, Target};

#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct PutArguments {
    /// The stream
    #[arg(value_name = "NAME")]
    stream: StreamArgument,

    #[command(flatten)]
    key: KeyArguments,

    #[command(flatten)]
    output: OutputArguments,

    #[command(flatten)]
    place: PlaceArguments,
}

pub(super) const AFTER_HELP: &str = after_help!(
    "\
Examples:
  echo '{\"user\":\"u1\",\"page\":\"/\"}' | anabranch put clicks --key-field user
  tail -f access.log | anabranch put log
  anabranch get clicks --decode --output json |
    jq -r 'select(.encoding==\"text\").data, (select(.encoding==\"json\").data|tojson)' | anabranch put copy

The last example copies text without line feeds, and JSON. It leaves out other records, and does not keep the keys.

A line ends at its line feed, which is not part of the record. Lines that have arrived are put together in one call, up
to 500 lines and 5 MiB; no line waits for later ones. Records that the endpoint throttles are put again, before the
lines of later calls; if it takes none of them ten times in a row, the command ends. Within a call, they come after the records that the endpoint took, even with the
same key. If the endpoint answers a call with a failure of its own, the call is repeated, so records can be put twice.

The command ends at the first line that cannot be a record; all lines before it are put. Standard output has the number
of records that were put. The message of a failure has that number too, and the first line that was not put. If standard
error is a terminal, a line there shows how many records were put and how fast, and for a file as input how much of it.

"
);

/// The most records of one call, and the most bytes of their data and keys.
pub(super) const MOST_RECORDS: usize = 500;
pub(super) const MOST_BYTES: usize = 5 << 20;

/// How often records are put again if none of them is taken.
const MOST_ATTEMPTS: u32 = 10;

const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Puts all lines.
pub(super) fn run(arguments: &PutArguments) -> Result<(), Failure> {
    arguments
        .place
        .run(Access::Change, Some(&arguments.stream), Put(arguments))
}

struct Put<'a>(&'a PutArguments);

impl Work for Put<'_> {
    fn at(self, target: &mut impl Target) -> Result<(), Failure> {
        let arguments = self.0;
        let most = target.stream(&arguments.stream)?.max_record_bytes;
        // Before lines are read ahead.
        let input_bytes = left_to_read(io::stdin());
        let lines = Lines::default();
        let to_interrupt = lines.clone();
        let interruption = Interruption::watch(move || to_interrupt.interrupt());
        let reading = lines.read(io::stdin(), most);
        let system = |doing| move |source| Failure::System { doing, source };
        let interruption = interruption.map_err(system("wait for signals"))?;
        reading.map_err(system("start a thread"))?;
        let mut putter = Putter {
            target,
            stream: &arguments.stream,
            interruption,
            tally: Tally::of_input(input_bytes),
        };
        match putter.put_all(&lines, &arguments.key, most) {
            Ok(()) => write(&putter.tally, arguments),
            Err(failure) => Err(Failure::After {
                done: putter.tally.done(),
                failure: Box::new(failure),
            }),
        }
    }
}

/// Puts records into a stream.
struct Putter<'a, T> {
    target: &'a mut T,
    stream: &'a str,
    interruption: Interruption,
    tally: Tally,
}

impl<T: Target> Putter<'_, T> {
    fn put_all(&mut self, lines: &Lines, keys: &KeyArguments, most: usize) -> Result<(), Failure> {
        let mut held = None;
        loop {
            let batch = Batch::gathered(lines, keys, most, held.take());
            self.put(batch.records)?;
            if let Some((number, reason)) = batch.wrong {
                return Err(Failure::Refused(format!("line {number}: {reason}")));
            }
            held = batch.held;
            if held.is_some() {
                continue;
            }
            match lines.end() {
                None => {}
                Some(End::OfInput) => return Ok(()),
                Some(End::TooLong(number)) => {
                    return Err(Failure::Refused(format!("line {number}: {}", too_long(most))));
                }
                Some(End::Failed(source)) => {
                    return Err(Failure::System {
                        doing: "read standard input",
                        source,
                    });
                }
                Some(End::Interrupted) => return Err(Failure::Refused("interrupted".to_owned())),
            }
        }
    }

    /// Puts these records repeatedly until all are taken, before any later line. The records are in the order of their
    /// lines, which have no gap.
    fn put(&mut self, mut records: Vec<NewRecord>) -> Result<(), Failure> {
        let last_line = records.last().map_or(0, |record| record.line);
        let mut wait = FIRST_WAIT;
        let mut attempts = 0;
        while !records.is_empty() {
            let answer = self.target.put(self.stream, &records)?;
            let taken = self.keep_untaken(&mut records, &answer);
            if let Some(failure) = answer.failure {
                self.tally.note_left(&records, last_line, !answer.is_doubtful);
                return Err(failure);
            }
            if records.is_empty() {
                break;
            }
            if taken > 0 {
                (wait, attempts) = (FIRST_WAIT, 0);
            }
            attempts += 1;
            if attempts == MOST_ATTEMPTS {
                self.tally.note_left(&records, last_line, true);
                return Err(Failure::Refused(format!(
                    "{} refused again and again: {}",
                    Counted(records.len() as u64, "record"),
                    answer.reason
                )));
            }
            if self.interruption.wait(wait) {
                self.tally.note_left(&records, last_line, true);
                return Err(Failure::Refused("interrupted".to_owned()));
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
        Ok(())
    }

    /// Keeps those that were not taken, and gives how many were taken.
    fn keep_untaken(&mut self, records: &mut Vec<NewRecord>, answer: &PutAnswer) -> usize {
        let size = |records: &[NewRecord]| records.iter().map(NewRecord::bytes).sum::<usize>() as u64;
        // With the ends of their lines.
        let input = |records: &[NewRecord]| {
            records
                .iter()
                .map(|record| record.data.len() as u64 + 1)
                .sum::<u64>()
        };
        let (count, bytes, of_input) = (records.len(), size(records), input(records));
        let mut untaken = answer.untaken.iter().peekable();
        let mut place = 0;
        records.retain(|_| {
            let is_untaken = untaken.next_if_eq(&&place).is_some();
            place += 1;
            is_untaken
        });
        let taken = count - records.len();
        let (bytes, of_input) = (bytes - size(records), of_input - input(records));
        self.tally.meter.add(taken as u64, bytes, of_input, String::new);
        taken
    }
}

/// Records that are put together.
#[derive(Default)]
struct Batch {
    records: Vec<NewRecord>,
    /// A record for which there was no room.
    held: Option<NewRecord>,
    /// The number of the line after these records, if it cannot be a record, and why.
    wrong: Option<(u64, String)>,
}

impl Batch {
    /// The record that was held, and the lines that have come. Waits for a line if there is neither.
    fn gathered(lines: &Lines, keys: &KeyArguments, most: usize, held: Option<NewRecord>) -> Batch {
        let mut bytes = held.as_ref().map_or(0, NewRecord::bytes);
        let mut batch = Batch {
            records: held.into_iter().collect(),
            ..Batch::default()
        };
        while batch.records.len() < MOST_RECORDS {
            let Some(line) = lines.take(batch.records.is_empty()) else {
                break;
            };
            let number = line.number;
            match record(line, keys, most) {
                Ok(record) if !batch.records.is_empty() && bytes + record.bytes() > MOST_BYTES => {
                    batch.held = Some(record);
                    break;
                }
                Ok(record) => {
                    bytes += record.bytes();
                    batch.records.push(record);
                }
                Err(reason) => {
                    batch.wrong = Some((number, reason));
                    break;
                }
            }
        }
        batch
    }
}

fn record(line: Line, keys: &KeyArguments, most: usize) -> Result<NewRecord, String> {
    let record = NewRecord {
        line: line.number,
        key: keys.of(&line.bytes)?,
        hash_key: None,
        data: line.bytes.into(),
    };
    match record.bytes() > most {
        true => Err(too_long(most)),
        false => Ok(record),
    }
}

fn too_long(most: usize) -> String {
    format!("longer than the stream takes: {most} bytes with the partition key")
}

fn write(tally: &Tally, arguments: &PutArguments) -> Result<(), Failure> {
    let meter = &tally.meter;
    meter.hide();
    let mut output = arguments.output.open();
    let line = match output.format {
        Format::Table => meter.text(),
        Format::Json => format!(
            r#"{{"stream":{},"records":{},"bytes":{},"seconds":{:.3}}}"#,
            json_text(&arguments.stream),
            meter.records,
            meter.bytes,
            meter.seconds(),
        ),
    };
    output.line(&line)?;
    output.flush()
}
