//! Writing and reading as a store grows: neither may get slower.
//!
//! `cargo bench -p anabranch-benches --bench growth`; `ANABRANCH_BENCH_SIZES_MIB` chooses the sizes.

use anabranch::bench::batch::Batch;
use anabranch::bench::raw::{RawFile, RawPath, RawQueue, RawWriter};
use anabranch::bench::run::Limits;
use anabranch::{Durability, PutRecord, ReadLimit, StartingPosition, Store, StoreOptions, Stream};
use measure::Outcome;
use measure::beside::RAW_BYTES;
use measure::load::{StoreWriter, keys, verify};
use measure::pace::{interleave, run};
use measure::process::{open_files, resident_kib};
use measure::report::{Cell, Report};
use measure::scratch::Scratch;
use measure::settings::{Settings, from_env};

const WRITERS: usize = 8;
const RECORD_BYTES: usize = 1 << 10;

fn main() -> Outcome<()> {
    let settings = Settings::read();
    let scratch = Scratch::new(&settings.directory, "growth")?;
    let raw = RawFile::fill(&scratch.path().join("raw"), RAW_BYTES)?;
    let mut report = Report::new("growth");
    report.section(
        "By the store's size: durable puts of 8 writers beside the raw queue, one shard, 1 KiB records",
        &[
            "case",
            "MiB",
            "raw records/s",
            "store records/s",
            "ratio",
            "ratio low-high",
            "store p99 us",
            "seek and read p50 us",
            "resident MiB",
            "files open",
        ],
    );
    let sizes: String = from_env("ANABRANCH_BENCH_SIZES_MIB", "16,64,256,1024,2048".to_owned());
    let directory = scratch.fresh("store")?;
    let mut filled = 0;
    for mebibytes in sizes.split(',').filter_map(|size| size.parse::<usize>().ok()) {
        fill(&directory, mebibytes.saturating_sub(filled))?;
        filled = mebibytes;
        let store = Store::open(&directory)?;
        let stream = store.stream("filled")?;
        let mut number = 0;
        let comparison = interleave(
            &settings,
            || {
                raw.realign();
                let queue = RawQueue::new(&raw);
                let mut writers: Vec<_> = (0..WRITERS)
                    .map(|writer| RawWriter::new(RawPath::Queued(&queue), writer, 1, RECORD_BYTES))
                    .collect();
                run(&mut writers, Limits::window(settings.window))
            },
            || {
                // In another stream than the one that fills the store, so that all acknowledged records can be read
                // back without reading that one.
                number += 1;
                let beside = store.create_stream(&format!("measured-{mebibytes}-{number}"), 1)?;
                measure::load::warm_up(&beside, 1)?;
                let mut writers: Vec<_> = (0..WRITERS)
                    .map(|writer| StoreWriter::new(beside.clone(), writer, keys(writer, 1), RECORD_BYTES))
                    .collect();
                let ran = run(&mut writers, Limits::window(settings.window))?;
                verify(&beside, &writers)?;
                drop(writers);
                beside.delete()?;
                store.maintain()?;
                Ok(ran)
            },
        )?;
        let seek = seeks(&stream)?;
        let (low, ratio, high) = comparison.ratio(|run| run.per_second);
        report.row(vec![
            Cell::text(format!("growth/{mebibytes}MiB")),
            Cell::number(mebibytes as f64),
            Cell::number(comparison.raw(|run| run.per_second)),
            Cell::number(comparison.store(|run| run.per_second)),
            Cell::number(ratio),
            Cell::text(format!("{low:.2}-{high:.2}")),
            Cell::number(comparison.store(|run| run.p99_micros)),
            Cell::number(seek),
            Cell::number(resident_kib() as f64 / 1024.0),
            Cell::number(open_files() as f64),
        ]);
        store.close()?;
    }
    report.save()
}

/// Adds this much to the stream that determines the size.
fn fill(directory: &std::path::Path, mebibytes: usize) -> Outcome<()> {
    let store = StoreOptions::new()
        .durability(Durability::Written)
        .open(directory)?;
    let stream = match store.stream("filled") {
        Ok(stream) => stream,
        Err(_) => store.create_stream("filled", 1)?,
    };
    let keys = keys(0, 100);
    let mut batch = Batch::new(0, keys.len(), RECORD_BYTES);
    for _ in 0..(mebibytes << 20) / (keys.len() * RECORD_BYTES) {
        batch.advance();
        let records: Vec<_> = keys
            .iter()
            .zip(batch.records())
            .map(|(key, data)| PutRecord::new(key, data))
            .collect();
        stream.put_records(&records)?;
    }
    Ok(store.close()?)
}

/// Median microseconds of finding and reading one record from anywhere.
fn seeks(stream: &Stream) -> Outcome<f64> {
    let shard = anabranch::ShardId::new(0)?;
    let one = ReadLimit {
        records: 1,
        bytes: 1 << 20,
    };
    let first = stream.shard_iterator(shard, StartingPosition::TrimHorizon)?;
    let last = stream.shard_iterator(shard, StartingPosition::Latest)?;
    let span = last.next.value() - first.next.value();
    let mut micros = Vec::new();
    let mut random = 1u64;
    for _ in 0..1000 {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let from = anabranch::ShardIterator {
            next: anabranch::RecordNumber::new(first.next.value() + (random >> 11) % span),
            ..first
        };
        let begun = std::time::Instant::now();
        let read = stream.get_records(&from, &one)?;
        micros.push(begun.elapsed().as_secs_f64() * 1e6);
        if read.records.len() != 1 {
            return Err(format!("LOST: there is nothing at {}", from.next.value()).into());
        }
    }
    Ok(measure::pace::median(micros))
}
