//! Limits and settings of the account.

use std::time::Duration;

use serde_json::{Value, json};

use super::test_server::{Backend, START, TestServer, on_each_backend, validation};

const LIMITS: &str = "DescribeLimits";
const DESCRIBE: &str = "DescribeAccountSettings";
const UPDATE: &str = "UpdateAccountSettings";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

on_each_backend!(
    limits_count_open_shards_and_on_demand_streams,
    a_limit_that_the_api_cannot_say_is_the_greatest_that_it_can,
    a_commitment_lasts_a_day_at_least_and_ends_by_itself,
    settings_out_of_their_constraints_are_refused,
    settings_that_cannot_be_read_are_a_failure_of_the_server,
);

fn limits_count_open_shards_and_on_demand_streams(backend: Backend) {
    let server = TestServer::with_options(backend, |options| options.shard_limit(9));
    let limits = |open: u32, on_demand: u32| {
        json!({
            "ShardLimit": 9,
            "OpenShardCount": open,
            "OnDemandStreamCount": on_demand,
            "OnDemandStreamCountLimit": 9,
            "ChannelCount": 0,
            "ChannelCountLimit": 18,
        })
    };
    assert_eq!(server.ok(LIMITS, &json!({})), limits(0, 0));
    server.create("s", 3);
    let on_demand = json!({"StreamName": "d", "StreamModeDetails": {"StreamMode": "ON_DEMAND"}});
    server.ok("CreateStream", &on_demand);
    assert_eq!(server.ok(LIMITS, &json!({})), limits(7, 1));
    let split = json!({"StreamName": "s", "ShardToSplit": "0", "NewStartingHashKey": "100"});
    server.ok("SplitShard", &split);
    assert_eq!(server.ok(LIMITS, &json!({})), limits(8, 1));
    server.ok("DeleteStream", &json!({"StreamName": "d"}));
    assert_eq!(server.ok(LIMITS, &json!({})), limits(4, 0));
}

fn a_limit_that_the_api_cannot_say_is_the_greatest_that_it_can(backend: Backend) {
    let server = TestServer::with_options(backend, |options| options.shard_limit(u64::MAX));
    let limits = server.ok(LIMITS, &json!({}));
    assert_eq!(limits["ShardLimit"], 1_000_000);
    assert_eq!(limits["OnDemandStreamCountLimit"], 1_000_000);
}

/// The account's settings with this state of the commitment.
fn commitment(status: &str, times: &[(&str, Duration)]) -> Value {
    let mut commitment = json!({ "Status": status });
    for (name, since_start) in times {
        let time = START.saturating_add(*since_start);
        commitment[name] = json!(time.as_millis() as f64 / 1000.0);
    }
    json!({ "MinimumThroughputBillingCommitment": commitment })
}

#[track_caller]
fn check(server: &TestServer, expected: &Value) {
    assert_eq!(in_seconds(server.ok(DESCRIBE, &json!({}))), *expected);
}

#[track_caller]
fn update(server: &TestServer, status: &str) -> Value {
    let input = json!({"MinimumThroughputBillingCommitment": {"Status": status}});
    in_seconds(server.ok(UPDATE, &input))
}

/// With every number as a fraction, however it was written.
fn in_seconds(mut settings: Value) -> Value {
    let commitment = settings["MinimumThroughputBillingCommitment"].as_object_mut();
    for value in commitment.unwrap().values_mut() {
        if let Some(seconds) = value.as_f64() {
            *value = json!(seconds);
        }
    }
    settings
}

fn a_commitment_lasts_a_day_at_least_and_ends_by_itself(backend: Backend) {
    let mut server = TestServer::start(backend);
    let never = commitment("DISABLED", &[]);
    check(&server, &never);
    assert_eq!(update(&server, "DISABLED"), never);

    let zero = Duration::ZERO;
    let enabled = commitment("ENABLED", &[("StartedAt", zero), ("EarliestAllowedEndAt", DAY)]);
    assert_eq!(update(&server, "ENABLED"), enabled);
    server.clock.advance(DAY / 2);
    assert_eq!(update(&server, "ENABLED"), enabled);
    let ending = commitment(
        "ENABLED_UNTIL_EARLIEST_ALLOWED_END",
        &[("StartedAt", zero), ("EarliestAllowedEndAt", DAY)],
    );
    assert_eq!(update(&server, "DISABLED"), ending);
    assert_eq!(update(&server, "ENABLED"), enabled);
    assert_eq!(update(&server, "DISABLED"), ending);
    server.restart();
    check(&server, &ending);
    server.clock.advance(DAY / 2);
    let ended = commitment("DISABLED", &[("StartedAt", zero), ("EndedAt", DAY)]);
    check(&server, &ended);
    server.clock.advance(DAY);
    assert_eq!(update(&server, "DISABLED"), ended);

    let again = [("StartedAt", DAY * 2), ("EarliestAllowedEndAt", DAY * 3)];
    assert_eq!(update(&server, "ENABLED"), commitment("ENABLED", &again));
    server.clock.advance(DAY * 3);
    let ended_at_once = [("StartedAt", DAY * 2), ("EndedAt", DAY * 5)];
    assert_eq!(
        update(&server, "DISABLED"),
        commitment("DISABLED", &ended_at_once)
    );
}

fn settings_out_of_their_constraints_are_refused(backend: Backend) {
    let server = TestServer::start(backend);
    assert_eq!(
        server.refusal(UPDATE, &json!({})),
        validation(&[
            "null at 'minimumThroughputBillingCommitment' failed to satisfy constraint: Member must not be null"
        ])
    );
    let path = "'minimumThroughputBillingCommitment.status' failed to satisfy constraint";
    for (commitment, failure) in [
        (json!({}), format!("null at {path}: Member must not be null")),
        (
            json!({"Status": "ENABLED_UNTIL_EARLIEST_ALLOWED_END"}),
            format!(
                "'ENABLED_UNTIL_EARLIEST_ALLOWED_END' at {path}: Member must satisfy enum value set: [ENABLED, DISABLED]"
            ),
        ),
    ] {
        let input = json!({ "MinimumThroughputBillingCommitment": commitment });
        assert_eq!(server.refusal(UPDATE, &input), validation(&[&failure]));
    }
    let list = json!({"MinimumThroughputBillingCommitment": []});
    assert_eq!(server.refusal(UPDATE, &list).0, "SerializationException");
    check(&server, &commitment("DISABLED", &[]));
}

fn settings_that_cannot_be_read_are_a_failure_of_the_server(backend: Backend) {
    let server = TestServer::start(backend);
    let name = "minimum-throughput-billing-commitment";
    server
        .streams()
        .set_attribute(name, Some(b"of another program"))
        .unwrap();
    let input = json!({"MinimumThroughputBillingCommitment": {"Status": "ENABLED"}});
    for (operation, input) in [(DESCRIBE, json!({})), (UPDATE, input)] {
        let reply = server.call(operation, &input);
        assert_eq!(reply.status, 500);
        assert_eq!(reply.json()["__type"], "InternalFailureException");
    }
}
