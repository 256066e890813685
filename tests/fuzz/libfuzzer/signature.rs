//! The target `signature` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| anabranch_fuzz::signature::run(input));
