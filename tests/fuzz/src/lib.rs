//! The targets. Each is a function that gets bytes, panics if the tested code misbehaves, and has seeds. The tests and
//! libFuzzer run it.

mod api;
mod base;
mod event_stream;
pub mod http;
pub mod journal;
pub mod manifest;
pub mod operations;
mod program;
pub mod queue;
pub mod segments;
pub mod signature;
pub mod tools;
