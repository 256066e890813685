//! The target `journal` under libFuzzer.
#![no_main]
#![allow(dead_code)]

#[path = "../targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::journal::run(input));
