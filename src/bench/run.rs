//! Runs writers at the same time for a while, and counts their work.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::Outcome;

/// Does one operation after another, and counts what was acknowledged.
pub trait Writer: Send {
    /// Does one operation, and gives its failure.
    fn write(&mut self) -> Outcome<()>;
}

/// When a run ends: after a time, or after this many operations of each writer.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// No operation begins later than this.
    pub window: Duration,
    /// No writer does more operations.
    pub operations_each: u64,
}

impl Limits {
    /// By the time alone.
    pub fn window(window: Duration) -> Self {
        Self {
            window,
            operations_each: u64::MAX,
        }
    }
}

/// The counts and times of the writers.
#[derive(Clone, Debug)]
pub struct Figures {
    /// How long they took, all together.
    pub seconds: f64,
    /// Nanoseconds of each operation, good to one percent.
    latencies: Histogram<u64>,
}

impl Default for Figures {
    /// Nothing yet.
    fn default() -> Self {
        const LONGEST_NANOS: u64 = 600_000_000_000;
        Self {
            seconds: 0.0,
            latencies: Histogram::new_with_bounds(1, LONGEST_NANOS, 2)
                .expect("the bounds of the histogram are in order"),
        }
    }
}

impl Figures {
    /// The number of operations.
    pub fn operations(&self) -> u64 {
        self.latencies.len()
    }

    /// Operations per second.
    pub fn per_second(&self) -> f64 {
        self.operations() as f64 / self.seconds
    }

    /// The latency in microseconds that this share of the operations, from 0 to 1, does not exceed. Share 1 is the
    /// worst latency.
    pub fn micros(&self, share: f64) -> f64 {
        self.latencies.value_at_quantile(share) as f64 / 1000.0
    }

    /// Adds the figures of a later stretch of time.
    pub fn add_later(&mut self, later: &Figures) {
        self.seconds += later.seconds;
        self.add_latencies(later);
    }

    fn add_latencies(&mut self, other: &Figures) {
        self.latencies
            .add(&other.latencies)
            .expect("all histograms have the same bounds");
    }
}

/// Runs all writers at once, each in a separate thread unless there is only one.
///
/// # Errors
/// The first failure of a writer.
pub fn run<W: Writer>(writers: &mut [W], limits: Limits) -> Outcome<Figures> {
    if let [writer] = writers {
        return run_one(writer, limits);
    }
    let ready = Barrier::new(writers.len() + 1);
    let (begun, runs): (Instant, Vec<_>) = std::thread::scope(|scope| {
        let threads: Vec<_> = writers
            .iter_mut()
            .map(|writer| {
                scope.spawn(|| {
                    ready.wait();
                    run_one(writer, limits)
                })
            })
            .collect();
        ready.wait();
        let begun = Instant::now();
        let runs = threads
            .into_iter()
            .map(std::thread::ScopedJoinHandle::join)
            .collect();
        (begun, runs)
    });
    let mut all = Figures {
        seconds: begun.elapsed().as_secs_f64(),
        ..Figures::default()
    };
    for run in runs {
        all.add_latencies(&run.map_err(|_| "a writer panicked")??);
    }
    Ok(all)
}

fn run_one(writer: &mut impl Writer, limits: Limits) -> Outcome<Figures> {
    let mut figures = Figures::default();
    let begun = Instant::now();
    let mut before = begun;
    while figures.operations() < limits.operations_each && before - begun < limits.window {
        writer.write()?;
        let now = Instant::now();
        let nanos = u64::try_from((now - before).as_nanos()).unwrap_or(u64::MAX);
        figures.latencies.saturating_record(nanos);
        before = now;
    }
    figures.seconds = (before - begun).as_secs_f64();
    Ok(figures)
}
