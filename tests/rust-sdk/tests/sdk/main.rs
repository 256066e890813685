//! The AWS SDK for Rust, against a server in the same process.

mod bench;
mod errors;
mod reading;
mod shards;
mod streams;
mod writing;
