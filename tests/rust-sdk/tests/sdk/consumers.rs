//! Registered consumers, and the records that are pushed to them.

use aws_sdk_kinesis::operation::describe_stream_consumer::DescribeStreamConsumerError;
use aws_sdk_kinesis::operation::subscribe_to_shard::{SubscribeToShardError, SubscribeToShardOutput};
use aws_sdk_kinesis::types::{ConsumerStatus, ShardIteratorType, StartingPosition, SubscribeToShardEvent};

use crate::bench::{Bench, START, STREAM, shard_id, text};

const HALF: u128 = 1 << 127;

fn stream_arn() -> String {
    format!("arn:aws:kinesis:eu-west-1:000000000000:stream/{STREAM}")
}

/// Registers a consumer, and gives its ARN.
async fn register(bench: &Bench, name: &str) -> String {
    let register = bench.client.register_stream_consumer().stream_arn(stream_arn());
    let registered = register.consumer_name(name).tags("team", "web").send().await;
    let consumer = registered.unwrap().consumer.unwrap();
    assert_eq!(consumer.consumer_status, ConsumerStatus::Active);
    assert_eq!(consumer.consumer_creation_timestamp.secs(), START);
    consumer.consumer_arn
}

async fn subscribe(
    bench: &Bench,
    consumer: &str,
    position: ShardIteratorType,
) -> Result<SubscribeToShardOutput, SubscribeToShardError> {
    let position = StartingPosition::builder().r#type(position).build().unwrap();
    let subscribe = bench.client.subscribe_to_shard().consumer_arn(consumer);
    let subscribe = subscribe.shard_id(shard_id(0)).starting_position(position);
    let begun = subscribe.send().await;
    begun.map_err(aws_sdk_kinesis::error::SdkError::into_service_error)
}

/// The next event, or `None` at the end of the subscription.
async fn event(subscription: &mut SubscribeToShardOutput) -> Option<SubscribeToShardEvent> {
    let event = subscription.event_stream.recv().await.unwrap()?;
    Some(event.as_subscribe_to_shard_event().unwrap().clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_is_registered_described_listed_and_deregistered() {
    let bench = Bench::with_stream(1).await;
    let client = &bench.client;
    let arn = register(&bench, "app").await;
    let describe = client.describe_stream_consumer().consumer_arn(&arn);
    let described = describe.clone().send().await.unwrap();
    let described = described.consumer_description.unwrap();
    assert_eq!(described.consumer_name, "app");
    assert_eq!(described.stream_arn, stream_arn());

    register(&bench, "other").await;
    let mut pages = client
        .list_stream_consumers()
        .stream_arn(stream_arn())
        .max_results(1)
        .into_paginator()
        .send();
    let mut names = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.unwrap();
        names.extend(
            page.consumers()
                .iter()
                .map(|consumer| consumer.consumer_name.clone()),
        );
    }
    assert_eq!(names, ["app", "other"]);

    let deregister = client.deregister_stream_consumer().stream_arn(stream_arn());
    deregister.consumer_name("app").send().await.unwrap();
    let gone = describe.send().await.unwrap_err().into_service_error();
    assert!(
        matches!(gone, DescribeStreamConsumerError::ResourceNotFoundException(_)),
        "{gone:?}"
    );
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_pushed_until_the_end_of_the_shard() {
    let bench = Bench::with_stream(1).await;
    let consumer = register(&bench, "app").await;
    let (_, before) = bench.put("key", "before").await;
    let mut subscription = subscribe(&bench, &consumer, ShardIteratorType::TrimHorizon)
        .await
        .unwrap();
    let first = event(&mut subscription).await.unwrap();
    assert_eq!(first.records.iter().map(text).collect::<Vec<_>>(), ["before"]);
    assert_eq!(first.continuation_sequence_number, before);
    assert_eq!(first.millis_behind_latest, 0);

    let refused = subscribe(&bench, &consumer, ShardIteratorType::Latest).await;
    let refused = refused.map(drop).unwrap_err();
    assert!(
        matches!(refused, SubscribeToShardError::ResourceInUseException(_)),
        "{refused:?}"
    );

    bench.put("key", "between").await;
    bench.split(&shard_id(0), HALF).await;
    let mut pushed = Vec::new();
    let mut children = Vec::new();
    while let Some(event) = event(&mut subscription).await {
        pushed.extend(event.records.iter().map(text));
        children.extend(event.child_shards.unwrap_or_default());
    }
    assert_eq!(pushed, ["between"]);
    let children: Vec<_> = children.into_iter().map(|child| child.shard_id).collect();
    assert_eq!(children, [shard_id(1), shard_id(2)]);
    bench.close().await;
}
