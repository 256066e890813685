//! The effect of resharding, house-keeping and copies on concurrent writers: p99 and maximum of durable puts with and
//! without them.
//!
//! `cargo bench -p anabranch-benches --bench resharding`, or with `-- trim` for one part: split-merge, trim, delete,
//! snapshot, backup.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anabranch::bench::batch::Batch;
use anabranch::bench::run::Limits;
use anabranch::inspect::{Inspection, Sharing};
use anabranch::{
    Clock, Durability, HashKey, PutRecord, ShardFilter, Store, StoreOptions, Stream, SystemClock, Timestamp,
};
use measure::Outcome;
use measure::load::{StoreWriter, keys, keys_in_turn, verify, warm_up};
use measure::pace::{Comparison, Run, interleave, run};
use measure::report::{Cell, Report};
use measure::scratch::Scratch;
use measure::settings::Settings;

const SHARDS: usize = 4;
const SEGMENT_BYTES: u64 = 16 << 20;
/// Between two disturbances.
const PAUSE: Duration = Duration::from_millis(100);

fn main() -> Outcome<()> {
    let settings = Settings::read();
    let scratch = Scratch::new(&settings.directory, "resharding")?;
    let mut report = Report::new("resharding");
    report.section(
        "Durable puts of 1 KiB to four shards: alone, and while something else is done ten times a second",
        &[
            "case",
            "alone records/s",
            "disturbed records/s",
            "ratio",
            "alone p50 us",
            "disturbed p50 us",
            "alone p99 us",
            "disturbed p99 us",
            "p99 ratio",
            "p99 ratio low-high",
            "disturbed p99.9 us",
            "alone worst us",
            "disturbed worst us",
            "disturbances",
            "others' CPU %",
        ],
    );
    for disturbance in Disturbance::ALL {
        for writers in [8, 64] {
            let name = format!("{}/{writers}-writers", disturbance.name());
            if settings.selects(&name) {
                let (figures, count) = measure(&settings, &scratch, disturbance, writers)
                    .map_err(|error| format!("{name}: {error}"))?;
                report.row(row(&name, &figures, count));
            }
        }
    }
    report.save()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disturbance {
    /// A shard that is written to is split, and its children are merged.
    SplitMerge,
    /// A segment of another stream expires.
    Trim,
    /// Another stream of 16 MiB is deleted.
    Delete,
    /// The store is copied as of one moment, while puts wait for that.
    Snapshot,
    /// The store is copied from outside, as by `anabranch backup`.
    Backup,
}

impl Disturbance {
    const ALL: [Self; 5] = [
        Self::SplitMerge,
        Self::Trim,
        Self::Delete,
        Self::Snapshot,
        Self::Backup,
    ];

    fn name(self) -> &'static str {
        match self {
            Disturbance::SplitMerge => "split-merge",
            Disturbance::Trim => "trim",
            Disturbance::Delete => "delete",
            Disturbance::Snapshot => "snapshot",
            Disturbance::Backup => "backup",
        }
    }
}

fn row(name: &str, figures: &Comparison, disturbances: u64) -> Vec<Cell> {
    let (_, ratio, _) = figures.ratio(|run| run.per_second);
    let (low, p99_ratio, high) = figures.ratio(|run| run.p99_micros);
    vec![
        Cell::text(name),
        Cell::number(figures.raw(|run| run.per_second)),
        Cell::number(figures.store(|run| run.per_second)),
        Cell::number(ratio),
        Cell::number(figures.raw(|run| run.p50_micros)),
        Cell::number(figures.store(|run| run.p50_micros)),
        Cell::number(figures.raw(|run| run.p99_micros)),
        Cell::number(figures.store(|run| run.p99_micros)),
        Cell::number(p99_ratio),
        Cell::text(format!("{low:.2}-{high:.2}")),
        Cell::number(figures.store(|run| run.p999_micros)),
        Cell::number(figures.raw(|run| run.worst_micros)),
        Cell::number(figures.store(|run| run.worst_micros)),
        Cell::number(disturbances as f64),
        Cell::number(figures.others() * 100.0),
    ]
}

/// The undisturbed side has the place that the raw limit has in other benchmarks.
fn measure(
    settings: &Settings,
    scratch: &Scratch,
    disturbance: Disturbance,
    writers: usize,
) -> Outcome<(Comparison, u64)> {
    static AHEAD_MILLIS: AtomicU64 = AtomicU64::new(0);
    let directory = scratch.fresh("store")?;
    let store = StoreOptions::new()
        .durability(Durability::Synced)
        .segment_bytes(SEGMENT_BYTES)
        .clock(ClockAhead(&AHEAD_MILLIS))
        .open(&directory)?;
    let window = settings.window * 4;
    let mut round = 0;
    let mut disturbances = 0;
    let mut side = |is_disturbed: bool| -> Outcome<Run> {
        round += 1;
        let stream = store.create_stream(&format!("written-{round}"), SHARDS as u32)?;
        stream.increase_retention(anabranch::Retention::hours(8760))?;
        warm_up(&stream, SHARDS)?;
        let victims = match (is_disturbed, disturbance) {
            (true, Disturbance::Delete) => (0..window.div_duration_f64(PAUSE) as u64 + 1)
                .map(|victim| fill(&store, &format!("victim-{round}-{victim}"), 1, None))
                .collect::<Outcome<Vec<_>>>()?,
            (true, Disturbance::Trim) => {
                let segments = window.div_duration_f64(PAUSE) as u64 + 1;
                vec![fill(
                    &store,
                    &format!("victim-{round}"),
                    segments,
                    Some(&AHEAD_MILLIS),
                )?]
            }
            _ => Vec::new(),
        };
        store.maintain()?;
        std::thread::sleep(settings.settle);
        let keys = keys_in_turn(&stream, 0, writers)?;
        let mut writers: Vec<_> = keys
            .into_iter()
            .enumerate()
            .map(|(writer, key)| StoreWriter::new(stream.clone(), writer, vec![key], 1 << 10))
            .collect();
        let is_over = AtomicBool::new(false);
        let ran = std::thread::scope(|scope| {
            let disturber = scope.spawn(|| -> Outcome<u64> {
                let mut victims = victims.iter();
                let mut done = 0;
                while is_disturbed && !is_over.load(Ordering::Relaxed) {
                    match disturbance {
                        Disturbance::SplitMerge => split_and_merge(&stream)?,
                        Disturbance::Trim => {
                            AHEAD_MILLIS.fetch_add(HOUR_MILLIS, Ordering::Relaxed);
                            store.maintain()?;
                        }
                        Disturbance::Delete => {
                            let Some(victim) = victims.next() else { break };
                            victim.delete()?;
                            store.maintain()?;
                        }
                        Disturbance::Snapshot => drop(store.snapshot(scratch.fresh("copy")?)?),
                        Disturbance::Backup => {
                            let copy = scratch.fresh("copy")?;
                            Inspection::of(&directory).back_up(copy, Sharing::WherePossible, &mut |_| ())?;
                        }
                    }
                    done += 1;
                    std::thread::sleep(PAUSE);
                }
                Ok(done)
            });
            let ran = run(&mut writers, Limits::window(window));
            is_over.store(true, Ordering::Relaxed);
            let done = disturber
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            disturbances = disturbances.max(done);
            ran
        })?;
        verify(&stream, &writers)?;
        drop(writers);
        stream.delete()?;
        store.maintain()?;
        Ok(ran)
    };
    let side = std::cell::RefCell::new(&mut side);
    let comparison = interleave(settings, || side.borrow_mut()(false), || side.borrow_mut()(true))?;
    store.close()?;
    drop(store);
    scratch.fresh("store")?;
    scratch.fresh("copy")?;
    Ok((comparison, disturbances))
}

const HOUR_MILLIS: u64 = 3_600_000;

/// A stream of this many full segments. With a clock, they are an hour apart, and the first one is about to expire.
fn fill(store: &Store, name: &str, segments: u64, clock: Option<&AtomicU64>) -> Outcome<Stream> {
    let stream = store.create_stream(name, 1)?;
    let keys = keys(0, 64);
    let mut batch = Batch::new(0, keys.len(), 16 << 10);
    for _ in 0..segments {
        for _ in 0..SEGMENT_BYTES / (1 << 20) {
            batch.advance();
            let records: Vec<_> = keys
                .iter()
                .zip(batch.records())
                .map(|(key, data)| PutRecord::new(key, data))
                .collect();
            stream.put_records(&records)?;
        }
        if let Some(clock) = clock {
            clock.fetch_add(HOUR_MILLIS, Ordering::Relaxed);
        }
    }
    if let Some(clock) = clock {
        clock.fetch_add(24u64.saturating_sub(segments) * HOUR_MILLIS, Ordering::Relaxed);
    }
    Ok(stream)
}

fn split_and_merge(stream: &Stream) -> Outcome<()> {
    let first = stream
        .shards(&ShardFilter::AtLatest)?
        .into_iter()
        .min_by_key(|shard| shard.hash_key_range.start())
        .ok_or("there is no open shard")?;
    let (start, end) = (first.hash_key_range.start(), first.hash_key_range.end());
    let middle = HashKey::new(start.value() + (end.value() - start.value()) / 2);
    stream.split_shard(first.id, middle)?;
    let mut children = stream.shards(&ShardFilter::AtLatest)?;
    children.sort_by_key(|shard| shard.hash_key_range.start());
    stream.merge_shards(children[0].id, children[1].id)?;
    Ok(())
}

/// The time, moved ahead as far as requested.
#[derive(Debug)]
struct ClockAhead(&'static AtomicU64);

impl Clock for ClockAhead {
    fn now(&self) -> Timestamp {
        SystemClock.now().saturating_add(self.ahead())
    }

    fn monotonic(&self) -> Duration {
        SystemClock.monotonic() + self.ahead()
    }
}

impl ClockAhead {
    fn ahead(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}
