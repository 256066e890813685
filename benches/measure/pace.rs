//! Two sides in turns, and their figures.

use anabranch::bench::run::{self, Limits, Writer};

use crate::Outcome;
use crate::process::{OthersShare, processor_time, wait_for_quiet};
use crate::settings::Settings;

/// The figures of the writers of one run.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub operations: u64,
    pub per_second: f64,
    pub p50_micros: f64,
    pub p90_micros: f64,
    pub p99_micros: f64,
    pub p999_micros: f64,
    pub worst_micros: f64,
    /// Processor time of this process for each operation, all threads together.
    pub cpu_micros: f64,
    /// The share of the processors, 0 to 1, that other processes took meanwhile.
    pub others: f64,
}

/// Runs all writers at once, each in a separate thread unless there is only one.
pub fn run<W: Writer>(writers: &mut [W], limits: Limits) -> Outcome<Run> {
    let others = OthersShare::begin();
    let processor = processor_time();
    let figures = run::run(writers, limits)?;
    let processor = processor_time() - processor;
    Ok(Run {
        operations: figures.operations(),
        per_second: figures.per_second(),
        p50_micros: figures.micros(0.50),
        p90_micros: figures.micros(0.90),
        p99_micros: figures.micros(0.99),
        p999_micros: figures.micros(0.999),
        worst_micros: figures.micros(1.0),
        cpu_micros: processor.as_secs_f64() * 1e6 / figures.operations().max(1) as f64,
        others: others.end(),
    })
}

/// Two sides of several rounds: raw first, the store second.
#[derive(Clone, Debug)]
pub struct Comparison {
    rounds: Vec<(Run, Run)>,
}

/// Other processes may take this share of the processors in a round that counts.
pub const QUIET: f64 = 0.15;

/// Runs both sides in turns: A B, B A, A B, ... The first round warms up and does not count. Rounds that other
/// processes disturbed are repeated, at most as many times as rounds were requested; then the quietest count.
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

    /// The largest share of the processors that other processes took, in the median round.
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
