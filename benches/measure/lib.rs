//! What the benchmarks of disk paths share: writers, interleaved rounds, and the report.
//!
//! A disk is not a quiet place, so nothing here is compared across runs. Every figure of the store is taken beside
//! the same bytes through plain `pwrite` and `fdatasync`, in turns, on the same disk, and the ratio of the two in one
//! round is what counts; the median of the rounds is reported. The raw side is what `anabranch bench` measures with
//! too (`anabranch::bench`).

pub mod beside;
pub mod load;
pub mod pace;
pub mod process;
pub mod report;
pub mod scratch;
pub mod settings;

pub use anabranch::bench::Outcome;
