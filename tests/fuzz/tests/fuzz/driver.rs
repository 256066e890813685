//! Runs a target over its corpus and over what can be made of it, and says which input it was that failed.

use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use anabranch_harness::allocation;

use crate::mutation::Random;
use crate::{corpus, mutation};

/// An input that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(300);

/// The most that one input may make a program allocate at a time, although none is longer than a few kilobytes.
const MOST_BYTES: usize = 64 << 20;

/// How many bytes a random input has at most, and a mutated one is cut to.
const LONGEST: usize = 16 << 10;

pub(crate) fn run(target: &'static str, cases: u64, run: fn(&[u8])) {
    let cases = number("ANABRANCH_FUZZ_CASES").unwrap_or(cases);
    let first = number("ANABRANCH_FUZZ_FIRST").unwrap_or(0);
    let (sender, done) = channel();
    let inputs = std::thread::spawn(move || {
        let corpus = corpus::read(target);
        for (name, input) in &corpus {
            let _ = sender.send(name.clone());
            run_one(target, name, input, run);
        }
        for case in first..first + cases {
            let name = format!("case {case}");
            let input = input(&corpus, case);
            let _ = sender.send(name.clone());
            run_one(target, &name, &input, run);
        }
    });
    let mut last = String::new();
    loop {
        match done.recv_timeout(PATIENCE) {
            Ok(name) => last = name,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => panic!("{target}: {last} hangs"),
        }
    }
    assert!(inputs.join().is_ok(), "{target}: {last} failed, see above");
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("a number of cases"))
}

/// The same for the same number, as long as the corpus is the same.
fn input(corpus: &[(String, Vec<u8>)], case: u64) -> Vec<u8> {
    let mut random = Random(case);
    match random.below(8) {
        0 => {
            let length = random.below(LONGEST as u64);
            (0..length).map(|_| random.next() as u8).collect()
        }
        _ => {
            let mut input = random.pick(corpus).1.clone();
            for _ in 0..random.below(6) + 1 {
                let other = &random.pick(corpus).1;
                mutation::mutate(&mut input, other, &mut random);
            }
            input.truncate(LONGEST);
            input
        }
    }
}

fn run_one(target: &str, name: &str, input: &[u8], run: fn(&[u8])) {
    // Kept until it has passed: a program that is out of memory, or stuck, has no more to say.
    let kept = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{target}"));
    std::fs::write(&kept, input).unwrap();
    let shown = ShownOnPanic { target, name, kept };
    let before = allocation::start_peak();
    run(input);
    let used = allocation::peak().saturating_sub(before);
    // Targets run at the same time in other threads, which has room in the limit.
    assert!(used < MOST_BYTES, "{used} bytes were allocated");
    drop(shown);
}

/// Tells the input that failed.
struct ShownOnPanic<'a> {
    target: &'a str,
    name: &'a str,
    kept: PathBuf,
}

impl Drop for ShownOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { target, name, kept } = self;
            eprintln!("{target}: {name} failed; it is in {}", kept.display());
        }
    }
}
