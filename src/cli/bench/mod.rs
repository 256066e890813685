//! `anabranch bench`: how fast this machine and this directory are, and how much of that anabranch uses.
//!
//! The raw limit is `pwrite` and `fdatasync` alone, so this is the one tool that writes files without the engine. It
//! does so in a separate directory, which it removes.

mod endpoint;
mod library;
mod report;
mod scratch;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anabranch::bench::Outcome;
use anabranch::bench::raw::{RawFile, RawPath, RawQueue, RawWriter};
use anabranch::bench::run::{self, Figures, Limits};
use clap::Args;

use super::interruption::Interruption;
use super::progress_line::ProgressLine;
use super::serve::DurabilityLevel;
use endpoint::EndpointSide;
use library::LibrarySide;
use report::Report;
use scratch::Scratch;

#[derive(Debug, Clone, Args)]
pub(super) struct BenchArguments {
    /// A directory on the disk to measure, for the data that is written meanwhile
    #[arg(value_name = "DIR", default_value = ".")]
    directory: PathBuf,

    /// How long to measure the disk, and how long to measure anabranch
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    seconds: f64,

    /// How many threads write at the same time
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1024))]
    writers: u32,

    /// Records in one call, which is acknowledged as a whole
    #[arg(long, value_name = "RECORDS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=500))]
    batch: u32,

    /// Size of a record's data
    #[arg(long, value_name = "BYTES", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(18..=1_000_000))]
    record_bytes: u32,

    /// Shards that the records are spread over
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    shards: u32,

    /// What an acknowledged record survives. With --endpoint the server decides that: give its level here
    #[arg(long, value_enum, default_value_t = DurabilityLevel::Synced)]
    durability: DurabilityLevel,

    /// Write to a server, through its API, instead of through the library: http://127.0.0.1:4567
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

pub(super) const AFTER_HELP: &str = "\
Measures the raw limit of the disk and anabranch in turns of about a second: the same bytes, in calls of the same size,
by the same number of threads. The raw limit is pwrite and fdatasync on blocks that were written before, with a simple
queue that writes and syncs all waiting calls as one group. If puts do not wait for a sync, the raw limit is one pwrite
for each call.

Afterwards it opens the store again and reads back everything that was acknowledged. At the end it removes what it made
in DIR, and with --endpoint its stream.

Examples:
  anabranch bench /var/lib --writers 64
  anabranch bench /var/lib --batch 100 --shards 4 --json
  anabranch bench /var/lib --endpoint http://127.0.0.1:4567

Exit status:
  0  measured, and all that was acknowledged was read back
  1  failed: something is missing, or could not be written or read
  2  the command line is wrong";

/// Measures, checks and prints.
pub(super) fn run(arguments: &BenchArguments) -> ExitCode {
    let measured = measure(arguments).and_then(|report| {
        let printed = match arguments.json {
            true => writeln!(io::stdout(), "{}", report.json()),
            false => write!(io::stdout(), "{}", report.text()),
        };
        Ok(printed?)
    });
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("anabranch bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The subject that is measured beside the raw limit.
#[derive(Debug)]
enum Side {
    Library(LibrarySide),
    Endpoint(EndpointSide),
}

impl Side {
    fn run(&mut self, limits: Limits) -> Outcome<Figures> {
        match self {
            Side::Library(side) => side.run(limits),
            Side::Endpoint(side) => side.run(limits),
        }
    }

    fn read_back(&mut self) -> Outcome<u64> {
        match self {
            Side::Library(side) => side.read_back(),
            Side::Endpoint(side) => side.read_back(),
        }
    }
}

fn measure(arguments: &BenchArguments) -> Outcome<Report> {
    // The directory is removed then.
    let interruption = Interruption::watch(|| {})?;
    let scratch = Scratch::new(&arguments.directory)?;
    if scratch.is_in_memory()? {
        eprintln!(
            "anabranch bench: {} is in memory, where a sync costs nothing: name a directory on a disk",
            arguments.directory.display()
        );
    }
    let raw = RawFile::fill(&scratch.path().join("raw"), RAW_BYTES)?;
    let mut side = match &arguments.endpoint {
        Some(url) => Side::Endpoint(EndpointSide::open(url, arguments)?),
        None => Side::Library(LibrarySide::open(&scratch.path().join("store"), arguments)?),
    };

    let mut report = Report::new(arguments, scratch.path().parent());
    let slices = arguments.seconds.ceil() as u32;
    let slice = Duration::from_secs_f64(arguments.seconds) / slices;
    let progress = ProgressLine::default();
    for number in 0..=slices {
        // The first slice warms up: files reach their size, and pages are in memory.
        let window = if number == 0 { slice / 4 } else { slice };
        let on_disk = run_raw(&raw, arguments, window)?;
        let on_side = side.run(Limits::window(window))?;
        if number > 0 {
            report.add(&on_disk, &on_side);
        }
        progress.show(&format!("{number} of {slices}  {}", report.so_far()));
        if interruption.is_raised() {
            return Err("interrupted".into());
        }
    }
    progress.show("reading back");
    report.read_back = side.read_back()?;
    Ok(report)
}

/// Far more than is written in a second. Without waiting for the disk, unwritten data would fill the memory.
const RAW_BYTES: u64 = 128 << 20;

fn run_raw(raw: &RawFile, arguments: &BenchArguments, window: Duration) -> Outcome<Figures> {
    raw.realign();
    let queue = RawQueue::new(raw);
    let path = match arguments.durability {
        DurabilityLevel::Synced if arguments.writers == 1 => RawPath::Synced(raw),
        DurabilityLevel::Synced => RawPath::Queued(&queue),
        DurabilityLevel::Written | DurabilityLevel::Buffered => RawPath::Written(raw),
    };
    let mut writers: Vec<_> = (0..arguments.writers as usize)
        .map(|writer| {
            RawWriter::new(
                path,
                writer,
                arguments.batch as usize,
                arguments.record_bytes as usize,
            )
        })
        .collect();
    let figures = run::run(&mut writers, Limits::window(window))?;
    raw.sync()?;
    Ok(figures)
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected 0.1 to 3600".to_owned()),
    }
}
