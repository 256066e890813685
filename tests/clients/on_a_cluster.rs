//! Some of the clients' tests with the streams on a cluster: three servers of NATS JetStream, which they share, and a
//! store for each test.

use std::path::Path;

use anabranch_harness::nats;

use super::{
    Bench, operations_with_the_javascript_sdk, queue_with_boto3, skipped, tutorial_with_boto3,
    tutorial_with_the_aws_command_line, tutorial_with_the_javascript_sdk,
};

/// Nothing where the servers cannot be installed.
fn bench() -> Option<Bench> {
    let nodes = match nats::shared(Path::new(env!("CARGO_TARGET_TMPDIR")), 3) {
        Ok(nodes) => nodes,
        Err(reason) => {
            skipped(&format!("a cluster: nats-server cannot be installed: {reason}"));
            return None;
        }
    };
    let (url, monitors, store) = (nodes.url(), nodes.monitors().join(","), nats::new_store_name());
    Some(Bench::new(&[
        "--engine",
        &url,
        "--engine-monitor",
        &monitors,
        "--engine-store",
        &store,
    ]))
}

#[test]
fn the_tutorial_runs_with_boto3_and_a_restart_changes_nothing() {
    if let Some(bench) = bench() {
        tutorial_with_boto3(&bench);
    }
}

#[test]
fn the_tutorial_runs_with_the_aws_command_line() {
    if let Some(bench) = bench() {
        tutorial_with_the_aws_command_line(&bench);
    }
}

#[test]
fn the_tutorial_runs_with_the_javascript_sdk_over_http2_without_tls() {
    if let Some(bench) = bench() {
        tutorial_with_the_javascript_sdk(&bench);
    }
}

#[test]
fn the_javascript_sdk_does_every_operation_that_it_has() {
    if let Some(bench) = bench() {
        operations_with_the_javascript_sdk(&bench);
    }
}

#[test]
fn boto3_works_off_a_queue() {
    if let Some(bench) = bench() {
        queue_with_boto3(&bench);
    }
}
