//! The settings of a benchmark.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// Read from the environment, so that `cargo bench --bench append` alone is a complete command.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `ANABRANCH_BENCH_DIR`: where the data goes. Default: a directory under cargo's target directory.
    pub directory: PathBuf,
    /// `ANABRANCH_BENCH_SECONDS`: how long one side of one round writes at most.
    pub window: Duration,
    /// `ANABRANCH_BENCH_ROUNDS`: how many rounds count. One more goes before, and does not.
    pub rounds: usize,
    /// `ANABRANCH_BENCH_SETTLE_MS`: the pause after each side of a round.
    pub settle: Duration,
    /// `ANABRANCH_BENCH_PATIENCE`: how many seconds to wait, before each side of a round, until other processes use
    /// little of the processors.
    pub patience: Duration,
    /// Arguments: only cases whose name contains one of them are run.
    filters: Vec<String>,
}

impl Settings {
    pub fn read() -> Self {
        Self {
            directory: std::env::var_os("ANABRANCH_BENCH_DIR")
                .map_or_else(|| target_directory().join("bench-data"), PathBuf::from),
            window: Duration::from_secs_f64(from_env("ANABRANCH_BENCH_SECONDS", 0.4)),
            rounds: from_env("ANABRANCH_BENCH_ROUNDS", 3),
            settle: Duration::from_millis(from_env("ANABRANCH_BENCH_SETTLE_MS", 100)),
            patience: Duration::from_secs_f64(from_env("ANABRANCH_BENCH_PATIENCE", 2.0)),
            filters: std::env::args()
                .skip(1)
                .filter(|argument| !argument.starts_with("--"))
                .collect(),
        }
    }

    pub fn selects(&self, case: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| case.contains(filter.as_str()))
    }
}

/// A variable that is missing, or not of its kind, is the default.
pub fn from_env<T: FromStr>(name: &str, default: T) -> T {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

/// Cargo's target directory, which contains this program: it has a tag.
pub fn target_directory() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    program
        .ancestors()
        .find(|directory| directory.join("CACHEDIR.TAG").exists())
        .map_or_else(|| PathBuf::from("target"), Path::to_path_buf)
}
