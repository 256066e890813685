//! Code that the benchmarks of disk paths share: writers, interleaved rounds, and the report.
//!
//! Disks vary, so figures are not compared across runs. Every figure of the store is taken in turns with the same bytes
//! through plain `pwrite` and `fdatasync` on the same disk. The result of a round is the ratio of the two; the median
//! of the rounds is reported. `anabranch bench` measures the raw side with the same code (`anabranch::bench`).

pub mod beside;
pub mod load;
pub mod pace;
pub mod process;
pub mod report;
pub mod scratch;
pub mod served;
pub mod settings;

pub use anabranch::bench::Outcome;
