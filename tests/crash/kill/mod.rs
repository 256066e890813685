//! `kill -9` in the middle of eight concurrent writers, again and again: every acknowledged record is there afterwards,
//! in order, once per acknowledgement. Once with the library in a process of its own, once with the server.

mod history;
mod library;
#[cfg(feature = "server")]
mod server;
