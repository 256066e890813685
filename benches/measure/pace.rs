//! Running writers for a while, and two sides in turns.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use super::Outcome;
use super::process::{OthersShare, processor_time, wait_for_quiet};
use super::settings::Settings;

/// Does one operation after another, and keeps account of what was acknowledged.
pub trait Writer: Send {
    fn write(&mut self) -> Outcome<()>;
}

/// When a run ends: after a time, or after so many operations of each writer.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub window: Duration,
    pub operations_each: u64,
}

/// What the writers of one run did.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub per_second: f64,
    pub p50_micros: f64,
    pub p99_micros: f64,
    pub worst_micros: f64,
    /// Processor time of this process for each operation, all threads together.
    pub cpu_micros: f64,
    /// 0 to 1 of the processors, taken by others meanwhile.
    pub others: f64,
}

/// Runs all writers at once, each in a thread of its own unless it is alone.
pub fn run<W: Writer>(writers: &mut [W], limits: Limits) -> Outcome<Run> {
    let mut latencies = Vec::new();
    let others = OthersShare::begin();
    let processor = processor_time();
    let begun = Instant::now();
    if let [writer] = writers {
        latencies = run_one(writer, limits)?;
    } else {
        let ready = Barrier::new(writers.len());
        let runs: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = writers
                .iter_mut()
                .map(|writer| {
                    scope.spawn(|| {
                        ready.wait();
                        run_one(writer, limits)
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(std::thread::ScopedJoinHandle::join)
                .collect()
        });
        for run in runs {
            latencies.extend(run.map_err(|_| "a writer panicked")??);
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let processor = processor_time() - processor;
    let others = others.end();
    latencies.sort_unstable();
    Ok(Run {
        per_second: latencies.len() as f64 / seconds,
        p50_micros: percentile(&latencies, 0.50),
        p99_micros: percentile(&latencies, 0.99),
        worst_micros: percentile(&latencies, 1.0),
        cpu_micros: processor.as_secs_f64() * 1e6 / latencies.len().max(1) as f64,
        others,
    })
}

/// Nanoseconds of each operation.
fn run_one(writer: &mut impl Writer, limits: Limits) -> Outcome<Vec<u32>> {
    let mut latencies = Vec::with_capacity(1 << 16);
    let begun = Instant::now();
    let mut before = begun;
    while (latencies.len() as u64) < limits.operations_each && before - begun < limits.window {
        writer.write()?;
        let now = Instant::now();
        latencies.push(u32::try_from((now - before).as_nanos()).unwrap_or(u32::MAX));
        before = now;
    }
    Ok(latencies)
}

fn percentile(sorted_nanos: &[u32], share: f64) -> f64 {
    let at = ((sorted_nanos.len() as f64 * share) as usize).min(sorted_nanos.len().saturating_sub(1));
    sorted_nanos
        .get(at)
        .map_or(0.0, |nanos| f64::from(*nanos) / 1000.0)
}

/// Two sides of several rounds: raw first, the store second.
#[derive(Clone, Debug)]
pub struct Comparison {
    rounds: Vec<(Run, Run)>,
}

/// Others may take this share of the processors in a round that counts.
const QUIET: f64 = 0.15;

/// Runs both sides in turns: A B, B A, A B, ... The first round warms up and does not count. Rounds that others
/// disturbed are repeated, as many times again as rounds were asked for; then the quietest count.
pub fn interleave(
    settings: &Settings,
    mut raw: impl FnMut() -> Outcome<Run>,
    mut store: impl FnMut() -> Outcome<Run>,
) -> Outcome<Comparison> {
    let mut rounds: Vec<(Run, Run)> = Vec::new();
    let disturbance = |(raw, store): &(Run, Run)| raw.others.max(store.others);
    for round in 0..=settings.rounds * 2 {
        let quiet = rounds.iter().filter(|round| disturbance(round) <= QUIET).count();
        if quiet >= settings.rounds {
            break;
        }
        let pair = if round % 2 == 0 {
            let first = in_quiet(settings, &mut raw)?;
            (first, in_quiet(settings, &mut store)?)
        } else {
            let first = in_quiet(settings, &mut store)?;
            (in_quiet(settings, &mut raw)?, first)
        };
        if round > 0 {
            rounds.push(pair);
        }
    }
    rounds.sort_by(|a, b| disturbance(a).total_cmp(&disturbance(b)));
    rounds.truncate(settings.rounds);
    Ok(Comparison { rounds })
}

fn in_quiet(settings: &Settings, side: &mut impl FnMut() -> Outcome<Run>) -> Outcome<Run> {
    std::thread::sleep(settings.settle);
    wait_for_quiet(QUIET, settings.patience);
    side()
}

impl Comparison {
    pub fn raw(&self, of: impl Fn(&Run) -> f64) -> f64 {
        median(self.rounds.iter().map(|(raw, _)| of(raw)).collect())
    }

    pub fn store(&self, of: impl Fn(&Run) -> f64) -> f64 {
        median(self.rounds.iter().map(|(_, store)| of(store)).collect())
    }

    /// The most that other processes took of the processors, in the median round.
    pub fn others(&self) -> f64 {
        median(
            self.rounds
                .iter()
                .map(|(raw, store)| raw.others.max(store.others))
                .collect(),
        )
    }

    /// The store's figure divided by the raw one of the same round: lowest, median, highest.
    pub fn ratio(&self, of: impl Fn(&Run) -> f64) -> (f64, f64, f64) {
        let ratios: Vec<_> = self
            .rounds
            .iter()
            .map(|(raw, store)| of(store) / of(raw))
            .collect();
        let lowest = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = ratios.iter().copied().fold(0.0, f64::max);
        (lowest, median(ratios), highest)
    }
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}
