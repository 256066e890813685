//! How long a stream keeps its records.

use std::time::Duration;

use serde_json::{Value, json};

use super::test_server::{Backend, TestServer, invalid_argument, on_each_backend};

const INCREASE: &str = "IncreaseStreamRetentionPeriod";
const DECREASE: &str = "DecreaseStreamRetentionPeriod";

fn hours(hours: i64) -> Value {
    json!({"StreamName": "s", "RetentionPeriodHours": hours})
}

fn current(server: &TestServer) -> Value {
    let summary = server.ok("DescribeStreamSummary", &json!({"StreamName": "s"}));
    summary["StreamDescriptionSummary"]["RetentionPeriodHours"].clone()
}

on_each_backend!(
    the_period_goes_up_and_down_within_its_bounds,
    periods_out_of_bounds_are_refused_in_the_words_of_aws,
    records_older_than_the_period_are_not_read,
);

fn the_period_goes_up_and_down_within_its_bounds(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    for (operation, period) in [
        (INCREASE, 24),
        (INCREASE, 48),
        (INCREASE, 8760),
        (DECREASE, 8760),
        (DECREASE, 30),
        (DECREASE, 24),
    ] {
        assert_eq!(server.ok(operation, &hours(period)), Value::Null);
        assert_eq!(current(&server), period);
    }
}

fn periods_out_of_bounds_are_refused_in_the_words_of_aws(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    for operation in [INCREASE, DECREASE] {
        for period in [23, 0, -5] {
            assert_eq!(
                server.refusal(operation, &hours(period)),
                invalid_argument(format!(
                    "Minimum allowed retention period is 24 hours. Requested retention period ({period} hours) is too \
                     short."
                ))
            );
        }
        assert_eq!(
            server.refusal(operation, &hours(8761)),
            invalid_argument(
                "Maximum allowed retention period is 8760 hours. Requested retention period (8761 hours) is too long."
            )
        );
    }
    assert_eq!(
        server.refusal(DECREASE, &hours(25)),
        invalid_argument(
            "Requested retention period (25 hours) for stream s can not be longer than existing retention period (24 \
             hours). Use IncreaseRetentionPeriod API."
        )
    );
    server.ok(INCREASE, &hours(48));
    assert_eq!(
        server.refusal(INCREASE, &hours(47)),
        invalid_argument(
            "Requested retention period (47 hours) for stream s can not be shorter than existing retention period (48 \
             hours). Use DecreaseRetentionPeriod API."
        )
    );
    assert_eq!(current(&server), 48);
}

fn records_older_than_the_period_are_not_read(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    server.ok(INCREASE, &hours(72));
    server.put("s", "k", "old");
    server.advance(Duration::from_secs(30 * 3600));
    server.put("s", "k", "new");
    assert_eq!(server.count_records("s"), 2);
    server.ok(DECREASE, &hours(24));
    assert_eq!(server.count_records("s"), 1);
    server.ok(INCREASE, &hours(72));
    assert_eq!(server.count_records("s"), 1);
}
