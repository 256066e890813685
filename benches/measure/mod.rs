//! What the benchmarks of disk paths share: writers, the raw limit, interleaved rounds, and the report.
//!
//! A disk is not a quiet place, so nothing here is compared across runs. Every figure of the store is taken beside
//! the same bytes through plain `pwrite` and `fdatasync`, in turns, on the same disk, and the ratio of the two in one
//! round is what counts; the median of the rounds is reported.

// Every benchmark uses its own part of this.
#![allow(dead_code)]

pub mod beside;
pub mod load;
pub mod pace;
pub mod process;
pub mod report;
pub mod scratch;
pub mod settings;

// What `anabranch bench` measures with is what the benchmarks measure with.
#[path = "../../src/cli/bench/batch.rs"]
pub mod batch;
#[cfg(feature = "server")]
#[path = "../../src/cli/bench/http_client.rs"]
pub mod http_client;
#[cfg(feature = "server")]
#[path = "../../src/cli/bench/put_request.rs"]
pub mod put_request;
#[path = "../../src/cli/bench/raw.rs"]
pub mod raw;
#[path = "../../src/cli/bench/run.rs"]
pub mod run;

pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
