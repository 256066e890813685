//! The tests of the wire on a cluster: three servers that the tests of this process share, a store for each test.

use std::path::Path;

use anabranch::JetStream;
use anabranch_harness::nats::{self, Nodes};

/// The tests that do not run on a cluster, by the reason.
const NOT_ON_A_CLUSTER: [(&str, &str); 3] = [
    (
        "console::a_stream_is_shown_with_the_lineage_of_its_shards",
        "record numbers rise by more than one there, so they do not say how many records a shard has",
    ),
    (
        "console::records_are_found_from_every_kind_of_place",
        "the console counts its way back from the end in record numbers, which rise by more than one there",
    ),
    (
        "operating::metrics_count_what_was_put_and_read",
        "there are no segments, whose bytes are counted",
    ),
];

/// Whether a test runs on a cluster, and there is one. `module` is the module of the test.
pub fn is_for(module: &str, test: &str) -> bool {
    let module = module.rsplit("::").nth(1).unwrap_or_default();
    let name = format!("{module}::{test}");
    if let Some((_, reason)) = NOT_ON_A_CLUSTER.iter().find(|(left_out, _)| *left_out == name) {
        eprintln!("not on a cluster: {reason}");
        return false;
    }
    match shared() {
        Ok(_) => true,
        Err(reason) => {
            eprintln!("not on a cluster: nats-server cannot be installed: {reason}");
            false
        }
    }
}

/// Where there is no store yet.
pub fn new_store() -> JetStream {
    let nodes = shared().as_ref().expect("it was there when the test began");
    let at = JetStream::at(&nodes.url()).unwrap();
    let at = at.store_name(&nats::new_store_name()).unwrap();
    at.monitors(&nodes.monitors()).unwrap()
}

fn shared() -> &'static Result<Nodes, String> {
    nats::shared(Path::new(env!("CARGO_TARGET_TMPDIR")), 3)
}
