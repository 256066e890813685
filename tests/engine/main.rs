//! The engine at its public face.
#![allow(clippy::unwrap_used)]

mod backends;
mod backups;
#[cfg(feature = "channels")]
mod channels;
mod consumer_groups;
#[cfg(feature = "sim")]
mod cost;
#[cfg(feature = "encryption")]
mod encryption;
#[cfg(feature = "sim")]
mod failed_opens;
mod following;
mod foreign_names;
#[cfg(feature = "sim")]
mod full_disk;
#[cfg(all(feature = "channels", feature = "encryption", feature = "sim"))]
mod golden_format;
mod in_memory;
mod labels;
mod lineage_reader;
mod open_files;
mod queues;
#[cfg(feature = "sim")]
mod read_only;
mod reading;
mod stats;
mod store;
#[cfg(feature = "sim")]
mod time;
#[cfg(all(feature = "sim", feature = "tracing"))]
mod told;
mod tools;
#[cfg(feature = "sim")]
mod watch;
