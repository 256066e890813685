//! Consumers of a queue: the cost of many that wait while nothing comes, and when a record wakes one of them; and the
//! memory for the most records in flight.
//!
//! `cargo bench -p anabranch-benches --bench consumers`, with a part of a case's name behind `--` for some of them.

use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anabranch::{
    PutRecord, Queue, QueueOptions, QueueSettings, ReadLimit, Receipt, ReceiveOptions, Store, Stream, limits,
};
use measure::Outcome;
use measure::load::keys;
use measure::process::{OthersShare, anonymous_kib, processor_time, wait_for_quiet};
use measure::report::{Cell, Report};
use measure::scratch::Scratch;
use measure::settings::Settings;

const SHARDS: u32 = 4;

/// As long as the API lets a consumer wait.
const WAIT: Duration = Duration::from_secs(20);

fn main() -> Outcome<()> {
    let settings = Settings::read();
    let scratch = Scratch::new(&settings.directory, "consumers")?;
    let mut report = Report::new("consumers");
    report.section(
        "Consumers that wait, each in a thread: while nothing comes, and for one record after the other, put, received and \
         acknowledged durably",
        &[
            "case",
            "idle CPU ms/s",
            "put to received p50 us",
            "put to received p99 us",
            "CPU us/record",
            "others' CPU %",
        ],
    );
    for consumers in [1, 8, 64, 256] {
        let name = format!("{consumers}-waiting");
        if settings.selects(&name) {
            report.row(waiting(&settings, &scratch, name, consumers)?);
        }
    }
    let name = format!("{}-in-flight", limits::MAX_UNACKNOWLEDGED);
    if settings.selects(&name) {
        report.section(
            "Memory, without pages of files, with as many records in flight as there can be, of 100 B",
            &[
                "case",
                "before MiB",
                "in flight MiB",
                "bytes/record",
                "acknowledged MiB",
            ],
        );
        report.row(in_flight(&scratch, name)?);
    }
    report.save()
}

fn create(store: &Store) -> Outcome<(Stream, Queue)> {
    let stream = store.create_stream("jobs", SHARDS)?;
    let options = QueueOptions {
        settings: QueueSettings {
            visibility_seconds: 43_200,
            max_receive_count: None,
        },
        ..QueueOptions::default()
    };
    let queue = stream.create_queue("work", &options)?;
    Ok((stream, queue))
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

fn waiting(settings: &Settings, scratch: &Scratch, name: String, consumers: usize) -> Outcome<Vec<Cell>> {
    const SETTLE: Duration = Duration::from_millis(500);
    const IDLE: Duration = Duration::from_secs(2);
    const WARM_UP: usize = 50;
    const RECORDS: usize = 1_000;
    let store = Store::open(&scratch.fresh("store")?)?;
    let (stream, queue) = create(&store)?;
    let (threads, received) = consume(&queue, consumers);
    thread::sleep(SETTLE);
    wait_for_quiet(0.15, settings.patience);

    let before = processor_time();
    thread::sleep(IDLE);
    let idle = (processor_time() - before).as_secs_f64() * 1e3 / IDLE.as_secs_f64();

    let one = |number: usize| -> Outcome<f64> {
        let begun = Instant::now();
        stream.put(&number.to_string(), &[b'x'; 100])?;
        let at = received.recv()?;
        Ok((at - begun).as_secs_f64() * 1e6)
    };
    for number in 0..WARM_UP {
        one(number)?;
    }
    let (before, others) = (processor_time(), OthersShare::begin());
    let mut micros = (0..RECORDS).map(one).collect::<Outcome<Vec<_>>>()?;
    let used = (processor_time() - before).as_secs_f64() * 1e6 / RECORDS as f64;
    let others = others.end();
    micros.sort_by(f64::total_cmp);

    // They end with the queue.
    queue.delete()?;
    for thread in threads {
        thread.join().map_err(|_| "a consumer panicked")?;
    }
    store.close()?;
    Ok(vec![
        Cell::text(name),
        Cell::number(idle),
        Cell::number(micros[RECORDS / 2]),
        Cell::number(micros[RECORDS * 99 / 100]),
        Cell::number(used),
        Cell::number(others * 100.0),
    ])
}

/// This many threads, which each take one record at a time and report when they got it, until the queue is deleted.
/// They report after the acknowledgement, so that the next put has the disk for itself.
fn consume(queue: &Queue, consumers: usize) -> (Vec<JoinHandle<()>>, Receiver<Instant>) {
    let (tell, told) = mpsc::channel();
    let threads = (0..consumers).map(|_| {
        let (queue, tell) = (queue.clone(), tell.clone());
        thread::spawn(move || {
            while let Ok(received) = queue.receive_within(&of_records(1), WAIT) {
                let at = Instant::now();
                for record in received {
                    if queue.acknowledge(&[record.receipt]).is_err() || tell.send(at).is_err() {
                        return;
                    }
                }
            }
        })
    });
    (threads.collect(), told)
}

fn in_flight(scratch: &Scratch, name: String) -> Outcome<Vec<Cell>> {
    const RECORDS: usize = limits::MAX_UNACKNOWLEDGED;
    const BATCH: usize = 500;
    const AT_ONCE: usize = 5_000;
    let store = Store::open(&scratch.fresh("store")?)?;
    let (stream, queue) = create(&store)?;
    let keys = keys(0, BATCH);
    let batch: Vec<_> = keys.iter().map(|key| PutRecord::new(key, &[b'x'; 100])).collect();
    for _ in 0..RECORDS / BATCH {
        stream.put_records(&batch)?;
    }
    // The receipts are the consumers' memory, and do not count.
    let of_receipts = (RECORDS * size_of::<Receipt>() / 1024) as u64;
    let mut receipts = Vec::with_capacity(RECORDS);
    let before = anonymous_kib();
    while receipts.len() < RECORDS {
        let received = queue.receive(&of_records(AT_ONCE))?;
        if received.is_empty() {
            return Err("there are too few records".into());
        }
        receipts.extend(received.iter().map(|record| record.receipt));
    }
    let held = anonymous_kib().saturating_sub(of_receipts);
    for some in receipts.chunks(AT_ONCE) {
        queue.acknowledge(some)?;
    }
    let after = anonymous_kib().saturating_sub(of_receipts);
    store.close()?;
    let mebibytes = |kibibytes: u64| Cell::number(kibibytes as f64 / 1024.0);
    Ok(vec![
        Cell::text(name),
        mebibytes(before),
        mebibytes(held),
        Cell::number(held.saturating_sub(before) as f64 * 1024.0 / RECORDS as f64),
        mebibytes(after),
    ])
}
