//! The target `operations` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| anabranch_fuzz::operations::run(input));
