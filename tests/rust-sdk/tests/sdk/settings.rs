//! Tags, policies, encryption, monitoring, sizes, and the settings of an account.

use aws_sdk_kinesis::operation::delete_resource_policy::DeleteResourcePolicyError;
use aws_sdk_kinesis::types::{
    EncryptionType, MetricsName, MinimumThroughputBillingCommitmentInput,
    MinimumThroughputBillingCommitmentInputStatus, MinimumThroughputBillingCommitmentOutputStatus,
    StreamDescriptionSummary, StreamMode, StreamModeDetails, StreamStatus, Tag,
};

use crate::bench::{Bench, START, STREAM};

/// The stream once a change of it is done.
async fn active(bench: &Bench) -> StreamDescriptionSummary {
    loop {
        let summary = bench.client.describe_stream_summary().stream_name(STREAM);
        let summary = summary.send().await.unwrap().stream_description_summary.unwrap();
        match summary.stream_status {
            StreamStatus::Updating => tokio::task::yield_now().await,
            _ => break summary,
        }
    }
}

fn named(tags: &[Tag]) -> Vec<(&str, &str)> {
    tags.iter()
        .map(|tag| (tag.key(), tag.value().unwrap_or_default()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_of_a_stream_are_changed_by_its_name_and_by_its_arn() {
    let bench = Bench::with_stream(1).await;
    let arn = active(&bench).await.stream_arn;
    let client = &bench.client;
    let add = client.add_tags_to_stream().stream_name(STREAM);
    add.tags("team", "web")
        .tags("cost:center", "1")
        .send()
        .await
        .unwrap();
    let tag = client.tag_resource().resource_arn(&arn);
    tag.tags("owner", "me").send().await.unwrap();

    let listed = client.list_tags_for_stream().stream_name(STREAM).limit(2);
    let listed = listed.send().await.unwrap();
    assert_eq!(named(&listed.tags), [("cost:center", "1"), ("owner", "me")]);
    assert!(listed.has_more_tags);

    let remove = client.remove_tags_from_stream().stream_name(STREAM);
    remove.tag_keys("team").send().await.unwrap();
    let untag = client.untag_resource().resource_arn(&arn);
    untag.tag_keys("owner").send().await.unwrap();
    let listed = client.list_tags_for_resource().resource_arn(&arn).send().await;
    assert_eq!(named(listed.unwrap().tags()), [("cost:center", "1")]);
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_kept_until_it_is_deleted() {
    let bench = Bench::with_stream(1).await;
    let arn = active(&bench).await.stream_arn;
    let policy = async || {
        let policy = bench.client.get_resource_policy().resource_arn(&arn);
        policy.send().await.unwrap().policy
    };
    assert_eq!(policy().await, "{}");
    let put = bench.client.put_resource_policy().resource_arn(&arn);
    let text = r#"{"Version":"2012-10-17","Statement":[]}"#;
    put.policy(text).send().await.unwrap();
    assert_eq!(policy().await, text);
    let delete = bench.client.delete_resource_policy().resource_arn(&arn);
    delete.clone().send().await.unwrap();
    assert_eq!(policy().await, "{}");
    let refused = delete.send().await.unwrap_err().into_service_error();
    assert!(
        matches!(refused, DeleteResourcePolicyError::ResourceNotFoundException(_)),
        "{refused:?}"
    );
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encryption_is_started_and_stopped() {
    let bench = Bench::with_stream(1).await;
    let start = bench.client.start_stream_encryption().stream_name(STREAM);
    let start = start.encryption_type(EncryptionType::Kms).key_id("alias/any");
    start.send().await.unwrap();
    let summary = active(&bench).await;
    assert_eq!(summary.encryption_type, Some(EncryptionType::Kms));
    assert_eq!(summary.key_id.as_deref(), Some("alias/any"));
    let stop = bench.client.stop_stream_encryption().stream_name(STREAM);
    let stop = stop.encryption_type(EncryptionType::Kms).key_id("alias/any");
    stop.send().await.unwrap();
    assert_eq!(active(&bench).await.encryption_type, Some(EncryptionType::None));
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_switched_on_and_off() {
    let bench = Bench::with_stream(1).await;
    let enable = bench.client.enable_enhanced_monitoring().stream_name(STREAM);
    let enabled = enable.shard_level_metrics(MetricsName::All).send().await.unwrap();
    assert!(enabled.current_shard_level_metrics().is_empty());
    assert_eq!(enabled.desired_shard_level_metrics().len(), 7);
    let disable = bench.client.disable_enhanced_monitoring().stream_name(STREAM);
    let disable = disable.shard_level_metrics(MetricsName::IncomingBytes);
    let disabled = disable.send().await.unwrap();
    assert_eq!(disabled.current_shard_level_metrics().len(), 7);
    assert!(
        !disabled
            .desired_shard_level_metrics()
            .contains(&MetricsName::IncomingBytes)
    );
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_has_limits_and_a_commitment_that_warm_throughput_needs() {
    let bench = Bench::with_stream(2).await;
    let client = &bench.client;
    let limits = client.describe_limits().send().await.unwrap();
    assert_eq!((limits.open_shard_count, limits.shard_limit), (2, 20_000));
    assert_eq!(limits.on_demand_stream_count, 0);

    let status = async || {
        let settings = client.describe_account_settings().send().await.unwrap();
        settings.minimum_throughput_billing_commitment.unwrap()
    };
    assert_eq!(
        status().await.status,
        MinimumThroughputBillingCommitmentOutputStatus::Disabled
    );
    let enabled = MinimumThroughputBillingCommitmentInput::builder()
        .status(MinimumThroughputBillingCommitmentInputStatus::Enabled)
        .build()
        .unwrap();
    let update = client.update_account_settings();
    update
        .minimum_throughput_billing_commitment(enabled)
        .send()
        .await
        .unwrap();
    let enabled = status().await;
    assert_eq!(
        enabled.status,
        MinimumThroughputBillingCommitmentOutputStatus::Enabled
    );
    assert_eq!(enabled.started_at.unwrap().secs(), START);

    let arn = active(&bench).await.stream_arn;
    let on_demand = StreamModeDetails::builder()
        .stream_mode(StreamMode::OnDemand)
        .build()
        .unwrap();
    let mode = client.update_stream_mode().stream_arn(&arn);
    mode.stream_mode_details(on_demand).send().await.unwrap();
    active(&bench).await;
    let warm = client.update_stream_warm_throughput().stream_arn(&arn);
    let warm = warm.warm_throughput_mibps(8).send().await.unwrap();
    assert_eq!(warm.stream_name.as_deref(), Some(STREAM));
    assert_eq!(warm.warm_throughput.unwrap().target_mibps, Some(8));
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_record_of_a_stream_can_be_changed() {
    let bench = Bench::with_stream(1).await;
    let arn = active(&bench).await.stream_arn;
    let update = bench.client.update_max_record_size().stream_arn(arn);
    update.max_record_size_in_kib(2_048).send().await.unwrap();
    assert_eq!(active(&bench).await.max_record_size_in_kib, Some(2_048));
    bench.put("key", &"x".repeat(2_000_000)).await;
    bench.close().await;
}
