//! `kill -9` in the middle of eight concurrent writers, again and again: every acknowledged record is in the store
//! afterwards, in order, once per acknowledgement. One test kills a process with the library, another the server.

mod history;
mod library;
#[cfg(feature = "server")]
mod server;
