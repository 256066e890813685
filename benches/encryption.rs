//! The cost of encryption: an encrypted stream and a plain one, in the same store and in turns.
//!
//! `cargo bench -p anabranch-benches --bench encryption`, with a part of a case's name behind `--` for some of them.

use std::path::Path;
use std::time::Instant;

use anabranch::bench::run::Limits;
use anabranch::{Durability, KeyRing, Store, StoreOptions, Stream};
use measure::Outcome;
use measure::load::{StoreWriter, delete, keys_in_turn, read_all, verify, warm_up};
use measure::pace::{Run, interleave, median, run};
use measure::process::wait_for_quiet;
use measure::report::{Cell, Report};
use measure::scratch::Scratch;
use measure::settings::Settings;

const KEY: &str = "alias/bench";

/// If puts do not wait for the disk, each side of a round writes at most this.
const MOST_BYTES: u64 = 256 << 20;

struct Case {
    durability: Durability,
    record_bytes: usize,
    writers: usize,
    batch: usize,
}

fn main() -> Outcome<()> {
    let settings = Settings::read();
    let scratch = Scratch::new(&settings.directory, "encryption")?;
    let mut report = Report::new("encryption");
    report.section(
        "Puts: encrypted beside plain",
        &[
            "case",
            "plain records/s",
            "encrypted records/s",
            "ratio",
            "ratio low-high",
            "p50 ratio",
            "p99 ratio",
            "plain CPU us/record",
            "encrypted CPU us/record",
            "others' CPU %",
        ],
    );
    for case in cases().iter().filter(|case| settings.selects(&case.name())) {
        report.row(case.measure(&settings, &scratch)?);
    }
    if settings.selects("read") {
        report.section(
            "Reads of all records, in the page cache: encrypted beside plain",
            &["case", "plain MB/s", "encrypted MB/s", "ratio"],
        );
        for (record_bytes, batch) in [(100, 100), (1 << 10, 1), (1 << 10, 100), (16 << 10, 10)] {
            report.row(read(&settings, &scratch, record_bytes, batch)?);
        }
    }
    report.save()
}

fn cases() -> Vec<Case> {
    let case = |durability, record_bytes, writers, batch| Case {
        durability,
        record_bytes,
        writers,
        batch,
    };
    vec![
        case(Durability::Synced, 1 << 10, 1, 1),
        case(Durability::Synced, 1 << 10, 8, 1),
        case(Durability::Synced, 1 << 10, 64, 1),
        case(Durability::Synced, 1 << 10, 1, 100),
        case(Durability::Synced, 16 << 10, 1, 100),
        case(Durability::Written, 1 << 10, 1, 1),
        case(Durability::Written, 1 << 10, 1, 100),
        case(Durability::Written, 16 << 10, 1, 100),
    ]
}

fn open(directory: &Path, durability: Durability) -> Outcome<Store> {
    let keys = KeyRing::new();
    keys.insert(KEY, [7; 32]);
    Ok(StoreOptions::new()
        .durability(durability)
        .max_recycled_bytes(4 << 30)
        .keys(keys)
        .open(directory)?)
}

fn create(store: &Store, name: &str, is_encrypted: bool) -> Outcome<Stream> {
    let stream = store.create_stream(name, 1)?;
    if is_encrypted {
        stream.start_encryption(KEY)?;
    }
    Ok(stream)
}

impl Case {
    fn name(&self) -> String {
        let durability = format!("{:?}", self.durability).to_lowercase();
        let (kibibytes, writers, batch) = (self.record_bytes >> 10, self.writers, self.batch);
        format!("{durability}/{kibibytes}KiB/{writers}-writers/by-{batch}")
    }

    fn measure(&self, settings: &Settings, scratch: &Scratch) -> Outcome<Vec<Cell>> {
        let directory = scratch.fresh("store")?;
        let store = open(&directory, self.durability)?;
        let mut rounds = 0..;
        let mut names = || format!("round-{}", rounds.next().unwrap_or(0));
        let (plain, encrypted) = (names(), names());
        let figures = interleave(
            settings,
            || self.write(settings, &store, &plain, false),
            || self.write(settings, &store, &encrypted, true),
        )?;
        store.close()?;
        let records = self.batch as f64;
        let (low, ratio, high) = figures.ratio(|run| run.per_second);
        let (_, p50_ratio, _) = figures.ratio(|run| run.p50_micros);
        let (_, p99_ratio, _) = figures.ratio(|run| run.p99_micros);
        Ok(vec![
            Cell::text(self.name()),
            Cell::number(figures.raw(|run| run.per_second * records)),
            Cell::number(figures.store(|run| run.per_second * records)),
            Cell::number(ratio),
            Cell::text(format!("{low:.2}-{high:.2}")),
            Cell::number(p50_ratio),
            Cell::number(p99_ratio),
            Cell::number(figures.raw(|run| run.cpu_micros / records)),
            Cell::number(figures.store(|run| run.cpu_micros / records)),
            Cell::number(figures.others() * 100.0),
        ])
    }

    /// One side of a round, in a new stream. The next side gets its segments.
    fn write(&self, settings: &Settings, store: &Store, name: &str, is_encrypted: bool) -> Outcome<Run> {
        let stream = create(store, name, is_encrypted)?;
        warm_up(&stream, 1)?;
        store.maintain()?;
        let mut writers = Vec::new();
        for writer in 0..self.writers {
            let keys = keys_in_turn(&stream, writer, self.batch)?;
            writers.push(StoreWriter::new(stream.clone(), writer, keys, self.record_bytes));
        }
        let bytes_each = (self.batch * self.record_bytes * self.writers) as u64;
        let limits = Limits {
            window: settings.window,
            operations_each: match self.durability {
                Durability::Synced => u64::MAX,
                _ => (MOST_BYTES / bytes_each).max(1),
            },
        };
        let figures = run(&mut writers, limits)?;
        store.maintain()?;
        verify(&stream, &writers)?;
        drop(writers);
        delete(store, stream)?;
        Ok(figures)
    }
}

fn read(settings: &Settings, scratch: &Scratch, record_bytes: usize, batch: usize) -> Outcome<Vec<Cell>> {
    const BYTES: usize = 128 << 20;
    let directory = scratch.fresh("store")?;
    let store = open(&directory, Durability::Written)?;
    let mut sides = Vec::new();
    for (name, is_encrypted) in [("plain", false), ("encrypted", true)] {
        let stream = create(&store, name, is_encrypted)?;
        let keys = keys_in_turn(&stream, 0, batch)?;
        let mut writer = StoreWriter::new(stream.clone(), 0, keys, record_bytes);
        let limits = Limits {
            window: std::time::Duration::from_secs(3_600),
            operations_each: (BYTES / (record_bytes * batch)) as u64,
        };
        run(std::slice::from_mut(&mut writer), limits)?;
        verify(&stream, std::slice::from_ref(&writer))?;
        sides.push(stream);
    }
    let mut seconds: [Vec<f64>; 2] = Default::default();
    for round in 0..=settings.rounds {
        for step in 0..2 {
            let side = (step + round) % 2;
            wait_for_quiet(0.15, settings.patience);
            let begun = Instant::now();
            read_all(&sides[side])?;
            if round > 0 {
                seconds[side].push(begun.elapsed().as_secs_f64());
            }
        }
    }
    drop(sides);
    store.close()?;
    let [plain, encrypted] = seconds.map(median);
    let megabytes = BYTES as f64 / 1e6;
    Ok(vec![
        Cell::text(format!("read/{record_bytes}B/by-{batch}")),
        Cell::number(megabytes / plain),
        Cell::number(megabytes / encrypted),
        Cell::number(plain / encrypted),
    ])
}
