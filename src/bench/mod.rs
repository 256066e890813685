//! The measuring code of `anabranch bench` and the benchmarks in `benches`: records whose loss would be noticed,
//! writers that run at the same time, the raw limit of a disk, and a client of the API that costs next to nothing.
//!
//! It is public for those two programs, and no part of the interface: it may change with any version.

pub mod batch;
pub mod http_client;
pub mod put_request;
pub mod raw;
pub mod run;

/// The result of a measurement, or why there is none.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
