//! `kill -9` in the middle of eight concurrent writers, again and again: every acknowledged record is there afterwards,
//! in order, once per acknowledgement. Once with the library in a process of its own, once with the server.

#![allow(clippy::unwrap_used)]

#[path = "kill/history.rs"]
mod history;
#[cfg(feature = "server")]
#[path = "kill/http.rs"]
mod http;
#[path = "kill/library.rs"]
mod library;
#[cfg(feature = "server")]
#[path = "kill/server.rs"]
mod server;
#[cfg(feature = "server")]
mod server_process;
