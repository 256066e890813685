//! The clients' tests with the streams on a cluster: three servers of NATS JetStream, which they share, and a store for
//! each test. Not here are the tests of signatures and TLS, which a store knows nothing of, those that start the program
//! as a page or a package does, on a directory, and those of the console. The AWS command line and the KCL are here once.

use std::path::Path;

use anabranch_harness::nats;

use super::{
    Bench, channel_with_boto3, channel_with_the_javascript_sdk, faults_with_boto3, kcl,
    operations_with_the_javascript_sdk, queue_with_boto3, skipped, tutorial_with_boto_2, tutorial_with_boto3,
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
fn the_tutorial_runs_with_boto_2_redirected_by_its_configuration_file_alone() {
    if let Some(bench) = bench() {
        tutorial_with_boto_2(bench);
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
fn the_javascript_sdk_reads_what_a_channel_has_put_into_a_directory() {
    if let Some(bench) = bench() {
        channel_with_the_javascript_sdk(bench);
    }
}

#[test]
fn boto3_tries_again_where_a_fault_was_asked_for() {
    if let Some(bench) = bench() {
        faults_with_boto3(bench);
    }
}

#[test]
fn boto3_works_off_a_queue() {
    if let Some(bench) = bench() {
        queue_with_boto3(&bench);
    }
}

#[test]
fn boto3_reads_what_a_channel_has_put_into_a_bucket() {
    if let Some(bench) = bench() {
        channel_with_boto3(bench);
    }
}

#[test]
fn the_kcl_reads_each_record_in_order_over_resharding_and_failover() {
    if let Some(bench) = bench() {
        kcl::failover(bench);
    }
}

#[test]
fn the_java_sdk_does_every_operation_and_a_thousand_puts_on_a_connection() {
    if let Some(bench) = bench() {
        kcl::operations_with_the_java_sdk(&bench, 1_000);
    }
}
