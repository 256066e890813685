//! Bytes that no writer made: in segments, indexes, the commit journal, the logs of queues, manifests, shard iterators,
//! the inputs of operations and on the server's sockets.
//!
//! Each target is a function of some bytes that panics if what it tests does not hold. Here each of them is run over
//! its corpus, over mutations of it and over random bytes, the same ones every time:
//!
//! ```text
//! cargo test --workspace --all-features --test fuzz
//! ANABRANCH_FUZZ_CASES=1000000 ANABRANCH_FUZZ_FIRST=5000 cargo test --workspace --all-features --test fuzz segment
//! ```
//! `docs/testing.md` says how the same targets are run under libFuzzer for as long as one likes.

mod corpus;
mod driver;
mod mutation;

use anabranch_fuzz::{http, journal, manifest, operations, queue, segments, signature, tools};
use anabranch_harness::allocation::CountingAllocator;

/// A length that was not checked is seen although the memory is there.
#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[test]
fn any_bytes_in_a_segment_or_an_index_are_the_records_or_damage() {
    driver::run("segments", 1_500, segments::run);
}

#[test]
fn any_bytes_in_a_manifest_are_refused_or_a_sound_store() {
    driver::run("manifest", 1_500, manifest::run);
}

#[test]
fn any_bytes_in_the_commit_journal_are_frames_or_damage() {
    driver::run("journal", 600, journal::run);
}

#[test]
fn any_bytes_in_the_log_of_a_queue_are_entries_or_damage() {
    driver::run("queue", 4_000, queue::run);
}

#[test]
fn any_damage_is_looked_at_and_repaired() {
    driver::run("tools", 400, tools::run);
}

#[test]
fn any_bytes_on_a_connection_are_answered_or_end_it() {
    driver::run("http", 1_500, http::run);
}

#[test]
fn any_input_of_any_operation_is_taken_or_refused_as_declared() {
    driver::run("operations", 800, operations::run);
}

#[test]
fn any_bytes_in_a_signature_or_a_file_of_credentials_are_refused() {
    driver::run("signature", 1_500, signature::run);
}

/// Writes the seeds of the corpus again, if `ANABRANCH_BLESS` is set: they are in the present format.
#[test]
fn every_target_has_seeds() {
    if std::env::var_os("ANABRANCH_BLESS").is_some() {
        corpus::write("segments", segments::seeds());
        corpus::write("journal", journal::seeds());
        corpus::write("manifest", manifest::seeds());
        corpus::write("queue", queue::seeds());
        corpus::write("tools", tools::seeds());
        corpus::write("http", http::seeds());
        corpus::write("operations", operations::seeds());
        corpus::write("signature", signature::seeds());
    }
    for target in [
        "segments",
        "journal",
        "manifest",
        "queue",
        "tools",
        "http",
        "operations",
        "signature",
    ] {
        assert!(corpus::read(target).len() >= 5, "{target}");
    }
    // Also of an operation that is new.
    let corpus = corpus::read("operations");
    for seed in operations::seeds() {
        assert!(
            corpus.contains(&seed),
            "type: ANABRANCH_BLESS=1 cargo test --workspace --all-features --test fuzz every_target"
        );
    }
}
