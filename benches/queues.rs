//! Receiving and acknowledging one record as a stream grows: neither may get slower. They are compared with one
//! `fdatasync` of one file with about as many bytes as an entry of a queue's log.
//!
//! `cargo bench -p anabranch-benches --bench queues`; `ANABRANCH_BENCH_RECORDS=1000,10000000` chooses the lengths, and
//! a part of a case's name behind `--` some cases.

use std::path::Path;

use anabranch::bench::raw::{RawFile, RawPath, RawQueue, RawWriter};
use anabranch::bench::run::{Limits, Writer};
use anabranch::{
    Durability, PutRecord, Queue, QueueOptions, QueueSettings, ReadLimit, Receipt, ReceiveOptions,
    StartingPosition, Store, StoreOptions, Stream,
};
use measure::Outcome;
use measure::beside::RAW_BYTES;
use measure::load::keys;
use measure::pace::{Comparison, interleave, run};
use measure::report::{Cell, Report};
use measure::scratch::Scratch;
use measure::settings::{Settings, from_env};

const RECORD_BYTES: usize = 100;
const ENTRY_BYTES: usize = 40;
const BATCH: usize = 500;

/// In each round, so that a short stream has enough for all rounds.
const SHARE_OF_A_ROUND: usize = 16;
const MOST_OF_A_ROUND: usize = 2_000;

const LENGTHS: &str = "1000,10000,100000,1000000";

fn main() -> Outcome<()> {
    let settings = Settings::read();
    let scratch = Scratch::new(&settings.directory, "queues")?;
    let raw = RawFile::fill(&scratch.path().join("raw"), RAW_BYTES)?;
    let mut report = Report::new("queues");
    report.section(
        "One consumer, one record a call, durable on return: beside a raw write and sync",
        &[
            "case",
            "raw p50 us",
            "p50 us",
            "p99 us",
            "p50 ratio",
            "ratio low-high",
            "p99 ratio",
            "others' CPU %",
        ],
    );
    let lengths: String = from_env("ANABRANCH_BENCH_RECORDS", LENGTHS.to_owned());
    for length in lengths.split(',').filter_map(|length| length.parse().ok()) {
        let is_selected = |case: &str| settings.selects(&name(length, case));
        if !CASES.iter().any(|case| is_selected(case)) {
            continue;
        }
        let directory = scratch.fresh("store")?;
        fill(&directory, length)?;
        let store = Store::open(&directory)?;
        let stream = store.stream("jobs")?;
        for case in CASES.into_iter().filter(|case| is_selected(case)) {
            let queue = stream.queue(case)?;
            let figures = match case.ends_with("receive") {
                true => receives(&settings, &raw, &queue, length)?,
                false => acknowledgements(&settings, &raw, &queue, length)?,
            };
            report.row(row(name(length, case), &figures));
        }
        store.close()?;
    }
    report.save()
}

/// Each is a queue, which has all records, or those behind the first half.
const CASES: [&str; 4] = [
    "front-receive",
    "front-acknowledge",
    "middle-receive",
    "middle-acknowledge",
];

fn name(length: usize, case: &str) -> String {
    format!("{length}-records/{case}")
}

/// A stream of this many records with its queues.
fn fill(directory: &Path, length: usize) -> Outcome<()> {
    let store = StoreOptions::new()
        .durability(Durability::Written)
        .open(directory)?;
    let stream = store.create_stream("jobs", 1)?;
    for half in ["front", "middle"] {
        for case in CASES.into_iter().filter(|case| case.starts_with(half)) {
            stream.create_queue(case, &options())?;
        }
        put(&stream, length / 2)?;
    }
    Ok(store.close()?)
}

fn options() -> QueueOptions {
    QueueOptions {
        start: StartingPosition::Latest,
        settings: QueueSettings {
            visibility_seconds: 43_200,
            max_receive_count: None,
        },
        ..QueueOptions::default()
    }
}

fn put(stream: &Stream, records: usize) -> Outcome<()> {
    let keys = keys(0, BATCH);
    let data = [b'x'; RECORD_BYTES];
    let batch: Vec<_> = keys.iter().map(|key| PutRecord::new(key, &data)).collect();
    for put in (0..records).step_by(BATCH) {
        stream.put_records(&batch[..BATCH.min(records - put)])?;
    }
    Ok(())
}

fn limits(settings: &Settings, length: usize) -> Limits {
    Limits {
        window: settings.window,
        operations_each: operations(length) as u64,
    }
}

fn operations(length: usize) -> usize {
    (length / SHARE_OF_A_ROUND).clamp(1, MOST_OF_A_ROUND)
}

fn beside(
    settings: &Settings,
    raw: &RawFile,
    length: usize,
    store: impl FnMut() -> Outcome<measure::pace::Run>,
) -> Outcome<Comparison> {
    interleave(
        settings,
        || {
            raw.realign();
            let queue = RawQueue::new(raw);
            let mut writers = [RawWriter::new(RawPath::Queued(&queue), 0, 1, ENTRY_BYTES)];
            run(&mut writers, limits(settings, length))
        },
        store,
    )
}

fn receives(settings: &Settings, raw: &RawFile, queue: &Queue, length: usize) -> Outcome<Comparison> {
    beside(settings, raw, length, || {
        run(&mut [Receiver { queue }], limits(settings, length))
    })
}

fn acknowledgements(settings: &Settings, raw: &RawFile, queue: &Queue, length: usize) -> Outcome<Comparison> {
    beside(settings, raw, length, || {
        let mut receipts = Vec::new();
        while receipts.len() < operations(length) {
            let received = queue.receive(&of_records(operations(length) - receipts.len()))?;
            if received.is_empty() {
                return Err("there are too few records for all rounds".into());
            }
            receipts.extend(received.iter().map(|record| record.receipt));
        }
        run(&mut [Acknowledger { queue, receipts }], limits(settings, length))
    })
}

fn of_records(records: usize) -> ReceiveOptions {
    ReceiveOptions {
        limit: ReadLimit {
            records,
            ..ReadLimit::default()
        },
        ..ReceiveOptions::default()
    }
}

struct Receiver<'a> {
    queue: &'a Queue,
}

impl Writer for Receiver<'_> {
    fn write(&mut self) -> Outcome<()> {
        match self.queue.receive(&of_records(1))?.len() {
            1 => Ok(()),
            _ => Err("there are too few records for all rounds".into()),
        }
    }
}

struct Acknowledger<'a> {
    queue: &'a Queue,
    receipts: Vec<Receipt>,
}

impl Writer for Acknowledger<'_> {
    fn write(&mut self) -> Outcome<()> {
        let receipt = self.receipts.pop().ok_or("there are too few receipts")?;
        Ok(self.queue.acknowledge(&[receipt])?[0]?)
    }
}

fn row(case: String, figures: &Comparison) -> Vec<Cell> {
    let (low, p50_ratio, high) = figures.ratio(|run| run.p50_micros);
    let (_, p99_ratio, _) = figures.ratio(|run| run.p99_micros);
    vec![
        Cell::text(case),
        Cell::number(figures.raw(|run| run.p50_micros)),
        Cell::number(figures.store(|run| run.p50_micros)),
        Cell::number(figures.store(|run| run.p99_micros)),
        Cell::number(p50_ratio),
        Cell::text(format!("{low:.2}-{high:.2}")),
        Cell::number(p99_ratio),
        Cell::number(figures.others() * 100.0),
    ]
}
