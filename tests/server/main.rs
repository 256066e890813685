//! The server: in this process, byte by byte, on a clock that the tests set; and as the program that a person starts.
#![allow(clippy::unwrap_used)]

mod access;
mod backup;
mod bench;
mod command_line;
#[cfg(target_os = "linux")]
mod idle_queue;
mod json_log;
mod limits;
mod log;
mod manual;
#[cfg(target_os = "linux")]
mod memory;
mod read_only;
mod service_manager;
mod shell;
mod space;
mod wire;

use anabranch_harness::program::Program;

const PROGRAM: Program = Program(env!("CARGO_BIN_EXE_anabranch"));
