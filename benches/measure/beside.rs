//! A case: writers on a stream, beside writers on the raw file.

use std::path::Path;

use anabranch::bench::raw::{RawFile, RawPath, RawQueue, RawWriter};
use anabranch::bench::run::Limits;
use anabranch::{Durability, Store, StoreOptions, Stream};

use crate::Outcome;
use crate::load::{StoreWriter, keys_in_turn, only_stream, verify, warm_up};
use crate::pace::{Comparison, Run, interleave, run};
use crate::report::Cell;
use crate::scratch::Scratch;
use crate::settings::Settings;

/// Length of the raw file, and the most that one side of a round writes without syncing.
pub const RAW_BYTES: u64 = 256 << 20;

#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub durability: Durability,
    pub record_bytes: usize,
    pub writers: usize,
    pub batch: usize,
    pub shards: usize,
    /// Whether segments come from the pool of recycled ones, as in a store that is older than its retention.
    pub is_recycling: bool,
}

pub const COLUMNS: [&str; 13] = [
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
];

impl Case {
    pub fn name(&self) -> String {
        let durability = format!("{:?}", self.durability).to_lowercase();
        let size = match self.record_bytes {
            bytes if bytes < 1024 => format!("{bytes}B"),
            bytes => format!("{}KiB", bytes >> 10),
        };
        let shards = match self.shards {
            1 => String::new(),
            shards => format!("/{shards}-shards"),
        };
        let store = if self.is_recycling { "" } else { "/new-store" };
        let (writers, batch) = (self.writers, self.batch);
        format!("{durability}/{size}/{writers}-writers/by-{batch}{shards}{store}")
    }

    /// Runs both sides in turns. A run that lost a record is an error, and gives no figure.
    pub fn measure(&self, settings: &Settings, scratch: &Scratch, raw: &RawFile) -> Outcome<Comparison> {
        self.measure_unnamed(settings, scratch, raw)
            .map_err(|error| format!("{}: {error}", self.name()).into())
    }

    fn measure_unnamed(&self, settings: &Settings, scratch: &Scratch, raw: &RawFile) -> Outcome<Comparison> {
        let directory = scratch.fresh("store")?;
        let store = self.open(&directory)?;
        let mut last: Option<(Stream, Vec<StoreWriter>)> = None;
        let mut round = 0;
        let comparison = interleave(
            settings,
            || self.run_raw(settings, raw),
            || {
                // A stream for each run; the one before gives its segments to the pool.
                if let Some((stream, _)) = last.take() {
                    stream.delete()?;
                    drop(stream);
                    store.maintain()?;
                }
                let stream = store.create_stream(&format!("round-{round}"), self.shards as u32)?;
                round += 1;
                warm_up(&stream, self.shards)?;
                store.maintain()?;
                let mut writers = Vec::new();
                for writer in 0..self.writers {
                    let keys = keys_in_turn(&stream, writer, self.batch)?;
                    writers.push(StoreWriter::new(stream.clone(), writer, keys, self.record_bytes));
                }
                let figures = run(&mut writers, self.limits(settings))?;
                // Written before the other side has its turn, and read back, at every level.
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

    fn run_raw(&self, settings: &Settings, raw: &RawFile) -> Outcome<Run> {
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
        let recycled = if self.is_recycling { 4 << 30 } else { 0 };
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

    /// Cells for [`COLUMNS`].
    pub fn row(&self, figures: &Comparison) -> Vec<Cell> {
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
