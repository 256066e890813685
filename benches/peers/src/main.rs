//! Other embeddable logs and stores beside anabranch, in turns, on the same disk, with the same records.
//!
//! `cargo run --release --manifest-path benches/peers/Cargo.toml --target-dir target`, with `-- synced` for the rows
//! whose names contain that, and with `--features rocksdb` where Debian's librocksdb-dev is installed.
//! `ANABRANCH_BENCH_PEERS=okaywal,lmdb` leaves the other peers out.
//!
//! Every turn makes a store, writes 40 MiB to it that do not count, measures, closes it, opens it again, and reads back
//! all acknowledged records. A fast turn that lost a record ends the run.

mod engine;
mod engines;

use std::path::Path;
use std::time::Duration;

use anabranch::bench::batch::{Batch, Ledger};
use anabranch::bench::raw::{RawFile, RawPath, RawQueue, RawWriter};
use anabranch::bench::run::{Limits, Writer};
use measure::Outcome;
use measure::pace::{QUIET, Run, median, run};
use measure::process::{device_flushes, wait_for_quiet};
use measure::report::{Cell, Report};
use measure::scratch::Scratch;
use measure::settings::{Settings, from_env};

use engine::{Engine, Level, Peer};

const RECORD_BYTES: usize = 1 << 10;
const BATCH: usize = 100;
/// The bytes written before a turn counts, so that files and caches have their size.
const WARM_UP_BYTES: usize = 40 << 20;
/// The most bytes of a turn: less than okaywal has prefilled, and less than the kernel begins to write back.
const TURN_BYTES: usize = 256 << 20;
const UNSYNCED_TURN_BYTES: usize = 96 << 20;
/// Several segments, of which the last one is open for writing again.
const READ_BYTES: usize = 192 << 20;

fn main() -> Outcome<()> {
    let settings = Settings::read();
    let scratch = Scratch::new(&settings.directory, "peers")?;
    let wanted: String = from_env("ANABRANCH_BENCH_PEERS", String::new());
    let mut engines = engines::all();
    engines.retain(|engine| {
        engine.name == "anabranch" || wanted.is_empty() || wanted.split(',').any(|name| name == engine.name)
    });
    let mut report = Report::new("peers");
    report.section(
        "What their calls do",
        &["engine", "durable call", "call that is not synced", "reading"],
    );
    for engine in &engines {
        report.row(
            [engine.name, engine.synced, engine.written, engine.reading]
                .map(Cell::text)
                .to_vec(),
        );
    }
    let raw = RawFile::fill(&scratch.path().join("raw"), measure::beside::RAW_BYTES)?;
    for row in ROWS.iter().filter(|row| settings.selects(row.name)) {
        appending(&settings, &scratch, &raw, &engines, row, &mut report)?;
    }
    if settings.selects("read") {
        reading(&settings, &scratch, &engines, &mut report)?;
    }
    report.save()
}

#[derive(Clone, Copy, Debug)]
struct Row {
    name: &'static str,
    title: &'static str,
    level: Level,
    writers: usize,
    batch: usize,
}

#[rustfmt::skip]
const ROWS: [Row; 6] = [
    Row { name: "synced/1-writers/by-1", title: "Durable on return, 1 KiB records, 1 writer", level: Level::Synced, writers: 1, batch: 1 },
    Row { name: "synced/8-writers/by-1", title: "Durable on return, 1 KiB records, 8 writers", level: Level::Synced, writers: 8, batch: 1 },
    Row { name: "synced/64-writers/by-1", title: "Durable on return, 1 KiB records, 64 writers", level: Level::Synced, writers: 64, batch: 1 },
    Row { name: "synced/1-writers/by-100", title: "Durable on return, batches of 100 records of 1 KiB, 1 writer", level: Level::Synced, writers: 1, batch: BATCH },
    Row { name: "written/1-writers/by-1", title: "Not synced, 1 KiB records, 1 writer", level: Level::Written, writers: 1, batch: 1 },
    Row { name: "written/1-writers/by-100", title: "Not synced, batches of 100 records of 1 KiB, 1 writer", level: Level::Written, writers: 1, batch: BATCH },
];

/// One engine's turns in one row.
#[derive(Debug, Default)]
struct Turns {
    runs: Vec<Run>,
    flushes_per_call: Vec<f64>,
}

impl Turns {
    fn take(&mut self, (run, flushes): Turn) {
        self.runs.push(run);
        self.flushes_per_call.push(flushes);
    }

    fn middle(&self, of: impl Fn(&Run) -> f64) -> f64 {
        median(self.runs.iter().map(of).collect())
    }
}

fn appending(
    settings: &Settings,
    scratch: &Scratch,
    raw: &RawFile,
    engines: &[Engine],
    row: &Row,
    report: &mut Report,
) -> Outcome<()> {
    report.section(
        row.title,
        &[
            "engine",
            "records/s",
            "ratio to the raw limit",
            "low-high",
            "anabranch is faster by",
            "low-high of that",
            "p50 us",
            "p90 us",
            "p99 us",
            "p99.9 us",
            "device flushes/call",
            "others' CPU %",
        ],
    );
    let contestants: Vec<_> = engines.iter().filter(|engine| engine.can(row.level)).collect();
    let mut raw_turns = Turns::default();
    let mut turns: Vec<Turns> = contestants.iter().map(|_| Turns::default()).collect();
    for round in 0..settings.rounds {
        // Each in another place in every round.
        for step in 0..=contestants.len() {
            let place = (step + round * 3) % (contestants.len() + 1);
            std::thread::sleep(settings.settle);
            match place.checked_sub(1) {
                None => raw_turns.take(raw_turn(settings, raw, row)?),
                Some(at) => {
                    let directory = scratch.fresh("store")?;
                    let turn = peer_turn(settings, &directory, contestants[at], row)
                        .map_err(|error| format!("{}, {}: {error}", row.name, contestants[at].name))?;
                    scratch.fresh("store")?;
                    turns[at].take(turn);
                }
            }
        }
    }

    check_flushes(row, &contestants, &raw_turns, &turns)?;
    let records = row.batch as f64;
    let ours = turns.first().ok_or("anabranch is the first engine")?;
    let raw_row = ("raw limit: pwrite, fdatasync, a queue", &raw_turns);
    let names = contestants.iter().map(|engine| engine.name);
    for (name, turns) in std::iter::once(raw_row).chain(names.zip(&turns)) {
        let to_raw = ratios(turns, &raw_turns);
        let of_ours = ratios(ours, turns);
        report.row(vec![
            Cell::text(name),
            Cell::number(turns.middle(|run| run.per_second * records)),
            Cell::number(to_raw.1),
            Cell::text(format!("{:.2}-{:.2}", to_raw.0, to_raw.2)),
            Cell::number(of_ours.1),
            Cell::text(format!("{:.2}-{:.2}", of_ours.0, of_ours.2)),
            Cell::number(turns.middle(|run| run.p50_micros)),
            Cell::number(turns.middle(|run| run.p90_micros)),
            Cell::number(turns.middle(|run| run.p99_micros)),
            Cell::number(turns.middle(|run| run.p999_micros)),
            Cell::number(median(turns.flushes_per_call.clone())),
            Cell::number(turns.middle(|run| run.others) * 100.0),
        ]);
    }
    Ok(())
}

/// A durable call of a single writer flushes the device, if the device needs flushes at all. An engine that does not
/// flush is not comparable.
fn check_flushes(row: &Row, contestants: &[&Engine], raw: &Turns, turns: &[Turns]) -> Outcome<()> {
    const ONE: f64 = 0.95;
    let flushes = |turns: &Turns| median(turns.flushes_per_call.clone());
    if row.level != Level::Synced || row.writers > 1 || flushes(raw) < ONE {
        return Ok(());
    }
    for (engine, turns) in contestants.iter().zip(turns) {
        let flushes = flushes(turns);
        if flushes < ONE {
            let name = engine.name;
            return Err(
                format!("{name} calls it durable and flushes the device {flushes:.2} times a call").into(),
            );
        }
    }
    Ok(())
}

/// Lowest, median and highest ratio of the two sides' throughput in the same round.
fn ratios(of: &Turns, to: &Turns) -> (f64, f64, f64) {
    let ratios: Vec<_> = of
        .runs
        .iter()
        .zip(&to.runs)
        .map(|(of, to)| of.per_second / to.per_second)
        .collect();
    let lowest = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = ratios.iter().copied().fold(0.0, f64::max);
    (lowest, median(ratios), highest)
}

/// A run, and how often the device was flushed for each call of it.
type Turn = (Run, f64);

fn counted<W: Writer>(
    directory: &Path,
    settings: &Settings,
    writers: &mut [W],
    limits: Limits,
) -> Outcome<Turn> {
    wait_for_quiet(QUIET, settings.patience);
    let before = device_flushes(directory);
    let ran = run(writers, limits)?;
    let after = device_flushes(directory);
    let flushes = before
        .zip(after)
        .map_or(f64::NAN, |(before, after)| (after - before) as f64);
    Ok((ran, flushes / ran.operations as f64))
}

fn raw_turn(settings: &Settings, raw: &RawFile, row: &Row) -> Outcome<Turn> {
    raw.realign();
    let queue = RawQueue::new(raw);
    let path = match row.level {
        Level::Synced if row.writers == 1 => RawPath::Synced(raw),
        Level::Synced => RawPath::Queued(&queue),
        Level::Written => RawPath::Written(raw),
    };
    let mut writers: Vec<_> = (0..row.writers)
        .map(|writer| RawWriter::new(path, writer, row.batch, RECORD_BYTES))
        .collect();
    let turn = counted(&settings.directory, settings, &mut writers, limits(settings, row))?;
    raw.sync()?;
    Ok(turn)
}

fn peer_turn(settings: &Settings, directory: &Path, engine: &Engine, row: &Row) -> Outcome<Turn> {
    let peer = (engine.open)(directory, row.level)?;
    let mut warm_up = PeerWriter::new(&*peer, row.writers, BATCH, row.level);
    for _ in 0..WARM_UP_BYTES / (BATCH * RECORD_BYTES) {
        warm_up.write()?;
    }
    let mut writers: Vec<_> = (0..row.writers)
        .map(|writer| PeerWriter::new(&*peer, writer, row.batch, row.level))
        .collect();
    let turn = counted(directory, settings, &mut writers, limits(settings, row))?;
    writers.push(warm_up);
    let acknowledged: Vec<_> = writers.iter().map(|writer| writer.batch.next).collect();
    drop(writers);
    peer.close()?;
    let mut ledger = Ledger::new(acknowledged, RECORD_BYTES, false);
    (engine.read)(directory, &mut |data| ledger.read(data).map(drop))?;
    ledger.close()?;
    Ok(turn)
}

fn limits(settings: &Settings, row: &Row) -> Limits {
    let most = match row.level {
        Level::Synced => TURN_BYTES,
        Level::Written => UNSYNCED_TURN_BYTES,
    };
    Limits {
        window: settings.window,
        operations_each: (most / (row.writers * row.batch * RECORD_BYTES)) as u64,
    }
}

/// Appends stamped records.
struct PeerWriter<'a> {
    peer: &'a dyn Peer,
    batch: Batch,
    level: Level,
}

impl<'a> PeerWriter<'a> {
    fn new(peer: &'a dyn Peer, writer: usize, batch: usize, level: Level) -> Self {
        Self {
            peer,
            batch: Batch::new(writer as u64, batch, RECORD_BYTES),
            level,
        }
    }
}

impl Writer for PeerWriter<'_> {
    fn write(&mut self) -> Outcome<()> {
        self.batch.advance();
        if self.batch.bytes.len() == RECORD_BYTES {
            return self.peer.append(&[&self.batch.bytes], self.level);
        }
        let records: Vec<_> = self.batch.records().collect();
        self.peer.append(&records, self.level)
    }
}

/// Everything from the beginning, right after opening, from the page cache.
fn reading(settings: &Settings, scratch: &Scratch, engines: &[Engine], report: &mut Report) -> Outcome<()> {
    report.section(
        "Sequential read, 1 KiB records, in the page cache",
        &[
            "engine",
            "records/s",
            "MB/s",
            "anabranch is faster by",
            "low-high of that",
            "verifies",
            "reading",
        ],
    );
    let contestants: Vec<_> = engines.iter().filter(|engine| engine.can_be_read_twice).collect();
    let mut acknowledged = 0;
    for engine in &contestants {
        let directory = scratch.fresh(engine.name)?;
        let level = if engine.can(Level::Written) {
            Level::Written
        } else {
            Level::Synced
        };
        let peer = (engine.open)(&directory, level)?;
        let mut writer = PeerWriter::new(&*peer, 0, BATCH, level);
        for _ in 0..READ_BYTES / (BATCH * RECORD_BYTES) {
            writer.write()?;
        }
        acknowledged = writer.batch.next;
        peer.close()?;
    }
    let mut seconds: Vec<Vec<f64>> = vec![Vec::new(); contestants.len()];
    for round in 0..=settings.rounds {
        for step in 0..contestants.len() {
            let at = (step + round * 3) % contestants.len();
            wait_for_quiet(QUIET, settings.patience);
            let mut records = 0;
            let mut sum = 0;
            let read: Duration =
                (contestants[at].read)(&scratch.path().join(contestants[at].name), &mut |data| {
                    records += 1;
                    sum ^= anabranch::bench::batch::stamp_of(data).1;
                    Ok(())
                })?;
            std::hint::black_box(sum);
            if records != acknowledged {
                let name = contestants[at].name;
                return Err(
                    format!("LOST: {name} had {acknowledged} records and {records} were read").into(),
                );
            }
            // The first round fills the page cache.
            if round > 0 {
                seconds[at].push(read.as_secs_f64());
            }
        }
    }
    let ours = seconds.first().cloned().unwrap_or_default();
    for (engine, seconds) in contestants.iter().zip(seconds) {
        let ratios: Vec<_> = seconds
            .iter()
            .zip(&ours)
            .map(|(theirs, ours)| theirs / ours)
            .collect();
        let lowest = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = ratios.iter().copied().fold(0.0, f64::max);
        let per_second = acknowledged as f64 / median(seconds);
        report.row(vec![
            Cell::text(engine.name),
            Cell::number(per_second),
            Cell::number(per_second * RECORD_BYTES as f64 / 1e6),
            Cell::number(median(ratios)),
            Cell::text(format!("{lowest:.2}-{highest:.2}")),
            Cell::text(if engine.verifies { "yes" } else { "no" }),
            Cell::text(engine.reading),
        ]);
        scratch.fresh(engine.name)?;
    }
    Ok(())
}
