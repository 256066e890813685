//! Limits of how often operations can be called.

use super::bucket::{Buckets, Rate};
use crate::Timestamp;
use crate::kinesis::error::ApiError;
use crate::kinesis::scope::Scope;
use crate::kinesis::subscriptions::Subscribed;

/// Subscriptions of one consumer to one shard.
const SUBSCRIPTIONS: Rate = Rate(1);

/// Counts calls, by account, region and operation, and subscriptions by consumer and shard.
#[derive(Debug, Default)]
pub(in crate::kinesis) struct CallRates {
    calls: Buckets<(String, &'static str)>,
    subscriptions: Buckets<Subscribed>,
}

impl CallRates {
    /// Refuses a call that exceeds its rate. A call about records is no control call.
    pub(in crate::kinesis) fn check(
        &self,
        operation: &'static str,
        is_control: bool,
        scope: Scope,
        now: Timestamp,
    ) -> Result<(), ApiError> {
        let Some(rate) = rate(operation, is_control) else {
            return Ok(());
        };
        if self.calls.take((scope.namespace(), operation), rate, 1, now) {
            return Ok(());
        }
        Err(ApiError::limit_exceeded(format!(
            "Rate exceeded for account {}.",
            scope.account_id()
        )))
    }

    /// Whether a consumer may subscribe to a shard once more now. Counts the attempt, whether or not it succeeds.
    pub(in crate::kinesis) fn may_subscribe(&self, to: Subscribed, now: Timestamp) -> bool {
        self.subscriptions.take(to, SUBSCRIPTIONS, 1, now)
    }
}

/// Calls a second. AWS counts ListShards and DescribeStreamConsumer by stream; here they count for the account.
fn rate(operation: &str, is_control: bool) -> Option<Rate> {
    match operation {
        "ListShards" => Some(Rate(1000)),
        "DescribeStreamSummary" | "DescribeStreamConsumer" => Some(Rate(20)),
        "DescribeStream" => Some(Rate(10)),
        "DescribeLimits" => Some(Rate(1)),
        // Calls about records are limited for each shard.
        _ => is_control.then_some(Rate(5)),
    }
}
