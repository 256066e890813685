//! Reading: a shard from its beginning, at its head, and from anywhere in it.
//!
//! `cargo bench -p anabranch-benches --bench read`, or with `-- seek` for one part: sequential, unmapped, tail, seek.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anabranch::bench::batch::Batch;
use anabranch::disk::{Disk, OpenMode, OsDisk};
use anabranch::{
    Durability, PutRecord, ReadLimit, SequenceNumber, ShardId, StartingPosition, Store, StoreOptions, Stream,
    Timestamp,
};
use measure::Outcome;
use measure::load::{keys, only_stream};
use measure::pace::median;
use measure::process::{read_calls, wait_for_quiet};
use measure::report::{Cell, Report};
use measure::scratch::{Scratch, files_ending};
use measure::settings::{Settings, from_env};

/// Room for one reply of the server.
const REPLY: ReadLimit = ReadLimit {
    records: 10_000,
    bytes: 10 << 20,
};

fn main() -> Outcome<()> {
    let settings = Settings::read();
    let scratch = Scratch::new(&settings.directory, "read")?;
    let mut report = Report::new("read");
    if settings.selects("sequential") {
        sequential(&settings, &scratch, &mut report)?;
    }
    if settings.selects("unmapped") {
        unmapped(&settings, &scratch, &mut report)?;
    }
    if settings.selects("tail") {
        tail(&settings, &scratch, &mut report)?;
    }
    if settings.selects("seek") {
        seek(&settings, &scratch, &mut report)?;
    }
    report.save()
}

/// Sealed segments through `get_records`, beside a CRC-32 over the same files' mappings.
fn sequential(settings: &Settings, scratch: &Scratch, report: &mut Report) -> Outcome<()> {
    report.section(
        "Sequential: sealed segments in the page cache, beside a bare mapped scan of the same files with a CRC",
        &[
            "case",
            "bare, CRC per record MB/s",
            "bare, CRC per 256 KiB MB/s",
            "get_records MB/s",
            "StreamReader MB/s",
            "get_records ratio, per record",
            "get_records ratio, per 256 KiB",
            "StreamReader ratio, per record",
        ],
    );
    for (record_bytes, batch) in [(100, 100), (1 << 10, 1), (1 << 10, 100), (16 << 10, 10)] {
        let directory = scratch.fresh("store")?;
        fill(
            &directory,
            from_env("ANABRANCH_BENCH_READ_MIB", 256),
            record_bytes,
            batch,
        )?;
        let store = Store::open(&directory)?;
        let stream = only_stream(&store)?;
        let mut files = files_ending(&directory.join("streams"), ".log")?;
        let last = files.pop().ok_or("no segment")?;
        let sealed = first_record_of(&last)? - 1;
        let mut mapped = Vec::new();
        for file in &files {
            let file = OsDisk.open(file, OpenMode::Read)?;
            let length = file.len()?;
            mapped.push(file.map(length)?);
        }
        let bytes: usize = mapped.iter().map(|file| (**file).as_ref().len()).sum();
        let scan = |piece: usize| -> Outcome<()> {
            let mut sum = 0;
            for file in &mapped {
                for piece in (**file).as_ref().chunks(piece) {
                    sum ^= crc32fast::hash(piece);
                }
            }
            std::hint::black_box(sum);
            Ok(())
        };
        let sides: [&dyn Fn() -> Outcome<()>; 4] = [
            &|| scan(record_bytes + 31),
            &|| scan(256 << 10),
            &|| read_shard(&stream, sealed),
            &|| read_stream(&stream, sealed),
        ];
        let seconds = in_turns(settings, &sides)?;
        let megabytes =
            |side: usize| bytes as f64 / 1e6 / median(seconds.iter().map(|round| round[side]).collect());
        let ratio = |side: usize, to: usize| {
            median(
                seconds
                    .iter()
                    .map(|round| round[to] / round[side])
                    .collect::<Vec<_>>(),
            )
        };
        report.row(vec![
            Cell::text(format!("sequential/{record_bytes}B/by-{batch}")),
            Cell::number(megabytes(0)),
            Cell::number(megabytes(1)),
            Cell::number(megabytes(2)),
            Cell::number(megabytes(3)),
            Cell::number(ratio(2, 0)),
            Cell::number(ratio(2, 1)),
            Cell::number(ratio(3, 0)),
        ]);
    }
    scratch.fresh("store")?;
    Ok(())
}

/// The same segments through mappings and through buffers, which are the defaults of the library and the server. Each
/// time the store is opened and read twice: first through new mappings, then through existing ones.
fn unmapped(settings: &Settings, scratch: &Scratch, report: &mut Report) -> Outcome<()> {
    report.section(
        "Unmapped: sealed segments in the page cache, through mappings and through buffers",
        &[
            "case",
            "mapped, first pass MB/s",
            "mapped, second pass MB/s",
            "buffers MB/s",
            "buffers to first pass",
            "buffers to second pass",
        ],
    );
    for (record_bytes, batch) in [(1 << 10, 1), (1 << 10, 100), (1 << 10, 4_000), (16 << 10, 10)] {
        let directory = scratch.fresh("store")?;
        let mebibytes = from_env("ANABRANCH_BENCH_READ_MIB", 256);
        fill(&directory, mebibytes, record_bytes, batch)?;
        let records = (((mebibytes << 20) / (record_bytes * batch)).max(2) * batch) as u64;
        let bytes = (records as usize * record_bytes) as f64;
        let pass = |map: bool| -> Outcome<[f64; 2]> {
            let store = StoreOptions::new().map_sealed_segments(map).open(&directory)?;
            let stream = only_stream(&store)?;
            let mut seconds = [0.0; 2];
            for seconds in &mut seconds {
                let begun = Instant::now();
                read_shard(&stream, records)?;
                *seconds = begun.elapsed().as_secs_f64();
            }
            store.close()?;
            Ok(seconds)
        };
        let mut rounds = Vec::new();
        for round in 0..=settings.rounds {
            wait_for_quiet(0.15, settings.patience);
            let (mapped, buffers) = (pass(true)?, pass(false)?);
            if round > 0 {
                rounds.push([mapped[0], mapped[1], buffers[1]]);
            }
        }
        let megabytes = |side: usize| bytes / 1e6 / median(rounds.iter().map(|round| round[side]).collect());
        let ratio = |to: usize| {
            median(
                rounds
                    .iter()
                    .map(|round| round[to] / round[2])
                    .collect::<Vec<_>>(),
            )
        };
        report.row(vec![
            Cell::text(format!("unmapped/{record_bytes}B/by-{batch}")),
            Cell::number(megabytes(0)),
            Cell::number(megabytes(1)),
            Cell::number(megabytes(2)),
            Cell::number(ratio(0)),
            Cell::number(ratio(1)),
        ]);
    }
    scratch.fresh("store")?;
    Ok(())
}

/// A consumer that waits at the head while a producer puts.
fn tail(settings: &Settings, scratch: &Scratch, report: &mut Report) -> Outcome<()> {
    report.section(
        "Tail: one consumer waits at the head while one producer puts, 1 KiB records, durable",
        &[
            "case",
            "records/s",
            "put p50 us",
            "put to delivery p50 us",
            "put to delivery p99 us",
            "read calls/record",
        ],
    );
    for batch in [1, 10, 100] {
        let directory = scratch.fresh("store")?;
        let store = Store::open(&directory)?;
        let stream = store.create_stream("tail", 1)?;
        wait_for_quiet(0.15, settings.patience);
        let epoch = Instant::now();
        let is_over = AtomicBool::new(false);
        let calls = read_calls();
        let (puts, delays) = std::thread::scope(|scope| {
            let consumer = scope.spawn(|| -> Outcome<Vec<f64>> {
                let mut reader = stream.reader(StartingPosition::TrimHorizon)?;
                let mut delays = Vec::new();
                loop {
                    match reader.next_within(Duration::from_millis(200))? {
                        Some(record) => {
                            let put = record
                                .data
                                .first_chunk()
                                .map_or(0, |bytes| u64::from_le_bytes(*bytes));
                            delays.push((epoch.elapsed().as_nanos() as u64 - put) as f64 / 1000.0);
                        }
                        None if is_over.load(Ordering::Acquire) => return Ok(delays),
                        None => {}
                    }
                }
            });
            let puts = produce(&stream, epoch, settings.window * 4, batch);
            is_over.store(true, Ordering::Release);
            let delays = consumer
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            puts.and_then(|puts| Ok((puts, delays?)))
        })?;
        let calls = read_calls() - calls;
        if delays.len() != puts.len() * batch {
            let (put, delivered) = (puts.len() * batch, delays.len());
            return Err(format!("LOST: {put} records were put and {delivered} delivered").into());
        }
        let seconds = puts.iter().sum::<f64>() / 1e6;
        report.row(vec![
            Cell::text(format!("tail/by-{batch}")),
            Cell::number(delays.len() as f64 / seconds),
            Cell::number(median(puts)),
            Cell::number(percentile(&delays, 0.5)),
            Cell::number(percentile(&delays, 0.99)),
            Cell::number(calls as f64 / delays.len() as f64),
        ]);
    }
    scratch.fresh("store")?;
    Ok(())
}

/// One record from anywhere, by its number and by a time.
fn seek(settings: &Settings, scratch: &Scratch, report: &mut Report) -> Outcome<()> {
    report.section(
        "Seek: an iterator and one record from a random place, 1 KiB records, warm, beside a pread of 1 KiB",
        &[
            "case",
            "pread p50 us",
            "by number p50 us",
            "by number p99 us",
            "by time p50 us",
            "by time p99 us",
            "read calls/seek",
        ],
    );
    let sizes: String = from_env("ANABRANCH_BENCH_SIZES_MIB", "1,16,256".to_owned());
    for mebibytes in sizes.split(',').filter_map(|size| size.parse().ok()) {
        let directory = scratch.fresh("store")?;
        fill(&directory, mebibytes, 1 << 10, 20)?;
        let store = Store::open(&directory)?;
        let stream = only_stream(&store)?;
        let (first, last) = ends(&stream)?;
        wait_for_quiet(0.15, settings.patience);
        let mut random = 1;
        let mut by_number = Vec::new();
        let calls = read_calls();
        for _ in 0..2_000 {
            let record = first.0.record_number().value()
                + next_random(&mut random)
                    % (last.0.record_number().value() - first.0.record_number().value() + 1);
            let record = anabranch::RecordNumber::new(record);
            let number = SequenceNumber::new(
                first.0.created_seconds(),
                first.0.shard_id(),
                record,
                first.0.seconds(),
            );
            by_number.push(seek_once(&stream, StartingPosition::AtSequenceNumber(number))?);
        }
        let calls = (read_calls() - calls) as f64 / by_number.len() as f64;
        let mut by_time = Vec::new();
        for _ in 0..2_000 {
            let span = last.1.as_millis() - first.1.as_millis() + 1;
            let time = Timestamp::from_millis(first.1.as_millis() + next_random(&mut random) % span);
            by_time.push(seek_once(&stream, StartingPosition::AtTimestamp(time))?);
        }
        let files = files_ending(&directory.join("streams"), ".log")?;
        let file = OsDisk.open(files.last().ok_or("no segment")?, OpenMode::Read)?;
        let length = file.len()?;
        let mut preads = Vec::new();
        let mut buffer = vec![0; 1024];
        for _ in 0..2_000 {
            let offset = next_random(&mut random) % (length - 1024);
            let begun = Instant::now();
            file.read_exact_at(&mut buffer, offset)?;
            preads.push(begun.elapsed().as_secs_f64() * 1e6);
        }
        report.row(vec![
            Cell::text(format!("seek/{mebibytes}MiB")),
            Cell::number(median(preads)),
            Cell::number(percentile(&by_number, 0.5)),
            Cell::number(percentile(&by_number, 0.99)),
            Cell::number(percentile(&by_time, 0.5)),
            Cell::number(percentile(&by_time, 0.99)),
            Cell::number(calls),
        ]);
    }
    scratch.fresh("store")?;
    Ok(())
}

fn seek_once(stream: &Stream, position: StartingPosition) -> Outcome<f64> {
    let begun = Instant::now();
    let from = stream.shard_iterator(only_shard()?, position)?;
    let read = stream.get_records(
        &from,
        &ReadLimit {
            records: 1,
            bytes: 1 << 20,
        },
    )?;
    let micros = begun.elapsed().as_secs_f64() * 1e6;
    match read.records.len() {
        1 => Ok(micros),
        _ => Err(format!("LOST: nothing at {position:?}").into()),
    }
}

/// A store with one shard and about this much data, closed cleanly.
fn fill(directory: &Path, mebibytes: usize, record_bytes: usize, batch: usize) -> Outcome<()> {
    let store = StoreOptions::new()
        .durability(Durability::Written)
        .open(directory)?;
    let stream = store.create_stream("filled", 1)?;
    let mut records = Batch::new(0, batch, record_bytes);
    let keys = keys(0, batch);
    for _ in 0..((mebibytes << 20) / (record_bytes * batch)).max(2) {
        records.advance();
        let records: Vec<_> = keys
            .iter()
            .zip(records.records())
            .map(|(key, data)| PutRecord::new(key, data))
            .collect();
        stream.put_records(&records)?;
    }
    Ok(store.close()?)
}

/// Puts until the time is over. Gives the microseconds of each call.
fn produce(stream: &Stream, epoch: Instant, window: Duration, batch: usize) -> Outcome<Vec<f64>> {
    let keys = keys(0, batch);
    let mut data = vec![7; 1024];
    let mut puts = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < window {
        let now = epoch.elapsed();
        data[0..8].copy_from_slice(&(now.as_nanos() as u64).to_le_bytes());
        let records: Vec<_> = keys.iter().map(|key| PutRecord::new(key, &data)).collect();
        stream.put_records(&records)?;
        puts.push((epoch.elapsed() - now).as_secs_f64() * 1e6);
    }
    Ok(puts)
}

fn read_shard(stream: &Stream, records: u64) -> Outcome<()> {
    let mut from = stream.shard_iterator(only_shard()?, StartingPosition::TrimHorizon)?;
    let mut left = records as usize;
    while left > 0 {
        let limit = ReadLimit {
            records: REPLY.records.min(left),
            ..REPLY
        };
        let read = stream.get_records(&from, &limit)?;
        left -= read.records.len();
        from = read.next.ok_or("the shard ended early")?;
        std::hint::black_box(&read.records);
    }
    Ok(())
}

fn read_stream(stream: &Stream, records: u64) -> Outcome<()> {
    let mut seen = 0;
    for record in stream
        .reader(StartingPosition::TrimHorizon)?
        .take(records as usize)
    {
        std::hint::black_box(record?);
        seen += 1;
    }
    match seen == records {
        true => Ok(()),
        false => Err(format!("LOST: {records} records are there and {seen} were read").into()),
    }
}

/// Seconds of each side in each round, after one round that warms up.
fn in_turns<const N: usize>(
    settings: &Settings,
    sides: &[&dyn Fn() -> Outcome<()>; N],
) -> Outcome<Vec<[f64; N]>> {
    let mut rounds = Vec::new();
    for round in 0..=settings.rounds {
        let mut seconds = [0.0; N];
        for step in 0..N {
            let side = (step + round) % N;
            wait_for_quiet(0.15, settings.patience);
            let begun = Instant::now();
            sides[side]()?;
            seconds[side] = begun.elapsed().as_secs_f64();
        }
        if round > 0 {
            rounds.push(seconds);
        }
    }
    Ok(rounds)
}

/// The first and the last record of the only shard: number and arrival.
fn ends(stream: &Stream) -> Outcome<((SequenceNumber, Timestamp), (SequenceNumber, Timestamp))> {
    let mut from = stream.shard_iterator(only_shard()?, StartingPosition::TrimHorizon)?;
    let mut first = None;
    let mut last = None;
    loop {
        let read = stream.get_records(&from, &REPLY)?;
        for record in &read.records {
            let end = (record.sequence_number, record.approximate_arrival);
            first = first.or(Some(end));
            last = Some(end);
        }
        match read.next {
            Some(next) if !read.records.is_empty() => from = next,
            _ => break,
        }
    }
    Ok(first.zip(last).ok_or("the stream is empty")?)
}

/// A segment's file is named after its first record.
fn first_record_of(segment: &Path) -> Outcome<u64> {
    let name = segment.file_stem().unwrap_or_default().to_string_lossy();
    Ok(name.parse()?)
}

fn only_shard() -> Outcome<ShardId> {
    Ok(ShardId::new(0)?)
}

fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

fn next_random(state: &mut u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *state >> 11
}
