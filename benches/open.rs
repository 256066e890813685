//! Opening a store: against its size, after a clean close and after a crash, and with thousands of shards.
//!
//! `cargo bench -p anabranch-benches --bench open`, or with `-- size` for one part, `-- mostly-idle` for one row of
//! shards.
//!
//! A new process opens each store, and reports how long it took, its memory, and its open files.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anabranch::bench::batch::Batch;
use anabranch::{Durability, PutRecord, Store, StoreOptions};
use measure::Outcome;
use measure::load::{keys, keys_in_turn};
use measure::pace::median;
use measure::process::{open_files, peak_resident_kib, resident_kib, wait_for_quiet};
use measure::report::{Cell, Report};
use measure::scratch::{Scratch, bytes_on_disk, copy_directory};
use measure::settings::{Settings, from_env};

/// Set for the process that opens.
const OPENER: &str = "ANABRANCH_BENCH_OPENER";
/// How many shards of each stream that process puts to.
const WRITTEN: &str = "ANABRANCH_BENCH_OPENER_SHARDS";

fn main() -> Outcome<()> {
    if let Some(directory) = std::env::var_os(OPENER) {
        return open_and_tell(Path::new(&directory));
    }
    let settings = Settings::read();
    let scratch = Scratch::new(&settings.directory, "open")?;
    let mut report = Report::new("open");
    if settings.selects("size") {
        by_size(&settings, &scratch, &mut report)?;
    }
    by_shards(&settings, &scratch, &mut report)?;
    report.save()
}

fn by_size(settings: &Settings, scratch: &Scratch, report: &mut Report) -> Outcome<()> {
    report.section(
        "Open by size: one shard, 1 KiB records",
        &[
            "case",
            "after a clean close ms",
            "after none ms",
            "then one put ms",
            "resident MiB",
        ],
    );
    let sizes: String = from_env("ANABRANCH_BENCH_SIZES_MIB", "1,16,256,1024".to_owned());
    for mebibytes in sizes.split(',').filter_map(|size| size.parse::<usize>().ok()) {
        let directory = scratch.fresh("store")?;
        let store = StoreOptions::new()
            .durability(Durability::Written)
            .open(&directory)?;
        let stream = store.create_stream("filled", 1)?;
        let mut records = Batch::new(0, 100, 1 << 10);
        let keys = keys(0, 100);
        for _ in 0..(mebibytes << 20) / (100 << 10) {
            records.advance();
            let records: Vec<_> = keys
                .iter()
                .zip(records.records())
                .map(|(key, data)| PutRecord::new(key, data))
                .collect();
            stream.put_records(&records)?;
        }
        let crashed = scratch.fresh("crashed")?;
        copy_directory(&directory, &crashed)?;
        store.close()?;
        let clean = openings(settings, scratch, &directory, 1)?;
        let interrupted = openings(settings, scratch, &crashed, 1)?;
        report.row(vec![
            Cell::text(format!("size/{mebibytes}MiB")),
            Cell::number(clean.open_millis),
            Cell::number(interrupted.open_millis),
            Cell::number(interrupted.put_millis),
            Cell::number(clean.resident_mib),
        ]);
        scratch.fresh("crashed")?;
        scratch.fresh("store")?;
    }
    Ok(())
}

fn by_shards(settings: &Settings, scratch: &Scratch, report: &mut Report) -> Outcome<()> {
    report.section(
        "Open by shards: each has one record of 100 bytes, or one of a hundred has",
        &[
            "case",
            "made and written s",
            "after a clean close ms",
            "after none ms",
            "resident MiB",
            "resident after a put to each of those MiB",
            "put to each of those s",
            "on disk MiB",
            "files open",
        ],
    );
    for (streams, shards, idle) in [
        (1_000, 1, Idle::No),
        (1, 1_000, Idle::No),
        (10, 1_000, Idle::No),
        (10, 1_000, Idle::Mostly),
    ] {
        let name = format!("shards/{streams}-streams-of-{shards}{}", idle.name());
        if !settings.selects(&name) {
            continue;
        }
        let directory = scratch.fresh("store")?;
        let begun = Instant::now();
        let store = Store::open(&directory)?;
        for number in 0..streams {
            let stream = store.create_stream(&format!("stream-{number:05}"), shards)?;
            put_to_each(&stream, idle.written(shards as usize))?;
        }
        let made = begun.elapsed().as_secs_f64();
        let crashed = scratch.fresh("crashed")?;
        copy_directory(&directory, &crashed)?;
        store.close()?;
        drop(store);
        let on_disk = bytes_on_disk(&directory)?;
        let written = idle.written(shards as usize);
        let clean = openings(settings, scratch, &directory, written)?;
        let interrupted = openings(settings, scratch, &crashed, written)?;
        report.row(vec![
            Cell::text(name),
            Cell::number(made),
            Cell::number(clean.open_millis),
            Cell::number(interrupted.open_millis),
            Cell::number(clean.resident_mib),
            Cell::number(clean.resident_after_puts_mib),
            Cell::number(clean.puts_seconds),
            Cell::number(on_disk as f64 / f64::from(1 << 20)),
            Cell::number(clean.files_after_puts),
        ]);
        scratch.fresh("crashed")?;
        scratch.fresh("store")?;
    }
    Ok(())
}

/// How many of a stream's shards are written to before it is closed.
#[derive(Clone, Copy, Debug)]
enum Idle {
    No,
    Mostly,
}

impl Idle {
    fn written(self, shards: usize) -> usize {
        match self {
            Idle::No => shards,
            Idle::Mostly => shards / 100,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Idle::No => "",
            Idle::Mostly => "/mostly-idle",
        }
    }
}

/// Medians over several processes.
#[derive(Clone, Copy, Debug)]
struct Opening {
    open_millis: f64,
    put_millis: f64,
    resident_mib: f64,
    resident_after_puts_mib: f64,
    puts_seconds: f64,
    files_after_puts: f64,
}

/// Opens copies of a directory, so that each opener finds the same state. It puts to this many shards of each stream.
fn openings(settings: &Settings, scratch: &Scratch, directory: &Path, written: usize) -> Outcome<Opening> {
    let mut told: Vec<Vec<f64>> = Vec::new();
    for _ in 0..settings.rounds {
        let copy = scratch.fresh("copy")?;
        copy_directory(directory, &copy)?;
        rustix::fs::syncfs(std::fs::File::open(&copy)?)?;
        wait_for_quiet(0.15, settings.patience);
        let opener = Command::new(std::env::current_exe()?)
            .env(OPENER, &copy)
            .env(WRITTEN, written.to_string())
            .output()?;
        let text = String::from_utf8(opener.stdout)?;
        if !opener.status.success() {
            return Err(format!("{text}{}", String::from_utf8_lossy(&opener.stderr)).into());
        }
        told.push(
            text.split_whitespace()
                .filter_map(|number| number.parse().ok())
                .collect(),
        );
    }
    scratch.fresh("copy")?;
    let middle = |at: usize| {
        median(
            told.iter()
                .filter_map(|numbers| numbers.get(at).copied())
                .collect(),
        )
    };
    Ok(Opening {
        open_millis: middle(0),
        resident_mib: middle(1),
        put_millis: middle(2),
        puts_seconds: middle(3),
        resident_after_puts_mib: middle(4),
        files_after_puts: middle(5),
    })
}

fn open_and_tell(directory: &Path) -> Outcome<()> {
    let begun = Instant::now();
    let store = Store::open(directory)?;
    let open = begun.elapsed().as_secs_f64() * 1e3;
    let resident = resident_kib().max(peak_resident_kib()) as f64 / 1024.0;

    let names = store.streams(None, usize::MAX)?;
    let first = names.first().ok_or("there is no stream")?;
    let begun = Instant::now();
    store.stream(&first.name)?.put("key", b"data")?;
    let put = begun.elapsed().as_secs_f64() * 1e3;

    let begun = Instant::now();
    for summary in &names {
        put_to_each(&store.stream(&summary.name)?, from_env(WRITTEN, 1))?;
    }
    let puts = begun.elapsed().as_secs_f64();
    let resident_after = peak_resident_kib() as f64 / 1024.0;
    println!("{open} {resident} {put} {puts} {resident_after} {}", open_files());
    store.close()?;
    Ok(())
}

fn put_to_each(stream: &anabranch::Stream, shards: usize) -> Outcome<()> {
    let data = [7; 100];
    let keys = keys_in_turn(stream, 0, shards)?;
    for keys in keys.chunks(500) {
        let records: Vec<_> = keys.iter().map(|key| PutRecord::new(key, &data)).collect();
        stream.put_records(&records)?;
    }
    Ok(())
}
