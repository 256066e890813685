//! The AWS SDK for Rust, against a server in the same process.

mod bench;
mod consumers;
mod errors;
mod reading;
mod settings;
mod shards;
mod streams;
mod writing;
