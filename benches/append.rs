//! Putting records: throughput and latency beside the raw limit of the same disk.
//!
//! `cargo bench --bench append`, or `cargo bench --bench append -- synced/1KiB` for the cases whose names contain that.
//! What each column means is in `docs/performance.md`.

mod measure;

use std::path::Path;

use anabranch::{Durability, Store, StoreOptions, Stream};

use measure::Outcome;
use measure::load::{RawPath, RawWriter, StoreWriter, keys, only_stream, verify, warm_up};
use measure::pace::{Comparison, Limits, interleave, run};
use measure::raw::{RawFile, RawQueue};
use measure::report::{Cell, Report};
use measure::scratch::Scratch;
use measure::settings::Settings;

/// Length of the raw file, and the most that one side of a round writes without syncing.
const RAW_BYTES: u64 = 256 << 20;

#[derive(Clone, Copy, Debug)]
struct Case {
    durability: Durability,
    record_bytes: usize,
    writers: usize,
    batch: usize,
    /// Whether segments come from the pool of recycled ones, as in a store that is older than its retention.
    is_recycling: bool,
}

fn main() -> Outcome<()> {
    let settings = Settings::read();
    let scratch = Scratch::new(&settings.directory, "append")?;
    let raw = RawFile::fill(&scratch.path().join("raw"), RAW_BYTES)?;
    let mut report = Report::new("append");
    for (durability, title) in [
        (
            Durability::Synced,
            "Synced: beside pwrite + fdatasync, blocks written before",
        ),
        (Durability::Written, "Written: beside pwrite"),
        (Durability::Buffered, "Buffered: beside pwrite"),
    ] {
        let cases: Vec<_> = cases(durability)
            .into_iter()
            .filter(|case| settings.selects(&case.name()))
            .collect();
        if cases.is_empty() {
            continue;
        }
        report.section(
            title,
            &[
                "case",
                "raw records/s",
                "store records/s",
                "ratio",
                "ratio low-high",
                "raw p50 us",
                "store p50 us",
                "p50 ratio",
                "raw p99 us",
                "store p99 us",
                "raw CPU us/record",
                "store CPU us/record",
                "others' CPU %",
            ],
        );
        for case in cases {
            let comparison = case
                .measure(&settings, &scratch, &raw)
                .map_err(|error| format!("{}: {error}", case.name()))?;
            report.row(case.row(&comparison));
        }
    }
    report.save()
}

fn cases(durability: Durability) -> Vec<Case> {
    let mut cases = Vec::new();
    for (record_bytes, writers) in [
        (100, 1),
        (100, 64),
        (1 << 10, 1),
        (1 << 10, 8),
        (1 << 10, 64),
        (16 << 10, 1),
        (16 << 10, 64),
    ] {
        for batch in [1, 100] {
            cases.push(Case {
                durability,
                record_bytes,
                writers,
                batch,
                is_recycling: true,
            });
        }
    }
    if durability != Durability::Buffered {
        for (writers, batch) in [(1, 1), (64, 1), (1, 100)] {
            cases.push(Case {
                durability,
                record_bytes: 1 << 10,
                writers,
                batch,
                is_recycling: false,
            });
        }
    }
    cases
}

impl Case {
    fn name(&self) -> String {
        let durability = format!("{:?}", self.durability).to_lowercase();
        let size = match self.record_bytes {
            bytes if bytes < 1024 => format!("{bytes}B"),
            bytes => format!("{}KiB", bytes >> 10),
        };
        let store = if self.is_recycling { "" } else { "/new-store" };
        let (writers, batch) = (self.writers, self.batch);
        format!("{durability}/{size}/{writers}-writers/by-{batch}{store}")
    }

    fn measure(&self, settings: &Settings, scratch: &Scratch, raw: &RawFile) -> Outcome<Comparison> {
        let directory = scratch.fresh("store")?;
        let store = self.open(&directory)?;
        let mut last: Option<(Stream, Vec<StoreWriter>)> = None;
        let mut round = 0;
        let comparison = interleave(
            settings,
            || self.measure_raw(settings, raw),
            || {
                // A stream for each run; the one before gives its segments to the pool.
                if let Some((stream, _)) = last.take() {
                    stream.delete()?;
                    drop(stream);
                    store.maintain()?;
                }
                let stream = store.create_stream(&format!("round-{round}"), 1)?;
                round += 1;
                warm_up(&stream, 1)?;
                store.maintain()?;
                let mut writers: Vec<_> = (0..self.writers)
                    .map(|writer| {
                        StoreWriter::new(
                            stream.clone(),
                            writer,
                            keys(writer, self.batch),
                            self.record_bytes,
                        )
                    })
                    .collect();
                let figures = run(&mut writers, self.limits(settings))?;
                // Written back before the other side has its turn, and read back, at whatever level.
                store.maintain()?;
                verify(&stream, &writers)?;
                last = Some((stream, writers));
                Ok(figures)
            },
        )?;

        let writers = last.map(|(_, writers)| writers).unwrap_or_default();
        store.close()?;
        drop(store);
        let store = self.open(&directory)?;
        verify(&only_stream(&store)?, &writers)?;
        drop(writers);
        store.close()?;
        drop(store);
        scratch.fresh("store")?;
        std::thread::sleep(settings.settle);
        Ok(comparison)
    }

    fn measure_raw(&self, settings: &Settings, raw: &RawFile) -> Outcome<measure::pace::Run> {
        raw.realign();
        let queue = RawQueue::new(raw);
        let path = match self.durability {
            Durability::Synced if self.writers == 1 => RawPath::Synced(raw),
            Durability::Synced => RawPath::Queued(&queue),
            _ => RawPath::Written(raw),
        };
        let mut writers: Vec<_> = (0..self.writers)
            .map(|writer| RawWriter::new(path, writer, self.batch, self.record_bytes))
            .collect();
        let figures = run(&mut writers, self.limits(settings))?;
        raw.sync()?;
        Ok(figures)
    }

    fn open(&self, directory: &Path) -> Outcome<Store> {
        let recycled = if self.is_recycling { 2 << 30 } else { 0 };
        Ok(StoreOptions::new()
            .durability(self.durability)
            .max_recycled_bytes(recycled)
            .open(directory)?)
    }

    fn limits(&self, settings: &Settings) -> Limits {
        let bytes_each = (self.batch * self.record_bytes * self.writers) as u64;
        Limits {
            window: settings.window,
            operations_each: match self.durability {
                Durability::Synced => u64::MAX,
                _ => (RAW_BYTES / bytes_each).max(1),
            },
        }
    }

    fn row(&self, figures: &Comparison) -> Vec<Cell> {
        let records = self.batch as f64;
        let (low, ratio, high) = figures.ratio(|run| run.per_second);
        let (_, p50_ratio, _) = figures.ratio(|run| run.p50_micros);
        vec![
            Cell::text(self.name()),
            Cell::number(figures.raw(|run| run.per_second * records)),
            Cell::number(figures.store(|run| run.per_second * records)),
            Cell::number(ratio),
            Cell::text(format!("{low:.2}-{high:.2}")),
            Cell::number(figures.raw(|run| run.p50_micros)),
            Cell::number(figures.store(|run| run.p50_micros)),
            Cell::number(p50_ratio),
            Cell::number(figures.raw(|run| run.p99_micros)),
            Cell::number(figures.store(|run| run.p99_micros)),
            Cell::number(figures.raw(|run| run.cpu_micros / records)),
            Cell::number(figures.store(|run| run.cpu_micros / records)),
            Cell::number(figures.others() * 100.0),
        ]
    }
}
