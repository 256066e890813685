//! Streams as a whole.

use aws_sdk_kinesis::types::{StreamMode, StreamStatus};

use crate::bench::{Bench, START, STREAM, shard_id};

#[tokio::test(flavor = "multi_thread")]
async fn a_created_stream_is_described_and_listed_until_it_is_deleted() {
    let bench = Bench::with_stream(3).await;

    let described = bench.client.describe_stream().stream_name(STREAM).send().await;
    let stream = described.unwrap().stream_description.unwrap();
    assert_eq!(stream.stream_name, STREAM);
    assert_eq!(stream.stream_status, StreamStatus::Active);
    assert_eq!(
        stream.stream_arn,
        format!("arn:aws:kinesis:eu-west-1:000000000000:stream/{STREAM}")
    );
    assert_eq!(stream.stream_creation_timestamp.secs(), START);
    assert_eq!(stream.retention_period_hours, 24);
    assert!(!stream.has_more_shards);
    let shards: Vec<&str> = stream
        .shards
        .iter()
        .map(|shard| shard.shard_id.as_str())
        .collect();
    assert_eq!(shards, [shard_id(0), shard_id(1), shard_id(2)]);

    let summary = bench.client.describe_stream_summary();
    let summary = summary.stream_arn(&stream.stream_arn).send().await.unwrap();
    let summary = summary.stream_description_summary.unwrap();
    assert_eq!(summary.stream_name, STREAM);
    assert_eq!(summary.open_shard_count, 3);

    let listed = bench.client.list_streams().send().await.unwrap();
    assert_eq!(listed.stream_names, [STREAM]);
    assert_eq!(listed.stream_summaries()[0].stream_arn, stream.stream_arn);

    let delete = bench.client.delete_stream().stream_name(STREAM);
    delete.send().await.unwrap();
    let listed = bench.client.list_streams().send().await.unwrap();
    assert!(listed.stream_names.is_empty(), "{listed:?}");
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_listed_in_the_order_of_their_names_over_pages() {
    let bench = Bench::new().await;
    for name in ["delta", "alpha", "echo", "charlie", "bravo"] {
        bench.create(name, 1).await;
    }
    let mut pages = bench.client.list_streams().limit(2).into_paginator().send();
    let mut names = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.unwrap();
        assert!(page.stream_names.len() <= 2);
        names.extend(page.stream_names);
    }
    assert_eq!(names, ["alpha", "bravo", "charlie", "delta", "echo"]);

    let rest = bench.client.list_streams().exclusive_start_stream_name("charlie");
    assert_eq!(rest.send().await.unwrap().stream_names, ["delta", "echo"]);
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shards_of_a_description_come_in_pages() {
    let bench = Bench::with_stream(5).await;
    let mut start = None;
    let mut shards = Vec::new();
    loop {
        let page = bench.client.describe_stream().stream_name(STREAM).limit(2);
        let page = page.set_exclusive_start_shard_id(start).send().await.unwrap();
        let page = page.stream_description.unwrap();
        shards.extend(page.shards.into_iter().map(|shard| shard.shard_id));
        if !page.has_more_shards {
            break;
        }
        start = shards.last().cloned();
    }
    assert_eq!(shards, (0..5).map(shard_id).collect::<Vec<_>>());
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_on_demand_stream_says_so_and_has_shards() {
    let bench = Bench::new().await;
    let mode = aws_sdk_kinesis::types::StreamModeDetails::builder()
        .stream_mode(StreamMode::OnDemand)
        .build()
        .unwrap();
    let create = bench.client.create_stream().stream_name(STREAM);
    create.stream_mode_details(mode).send().await.unwrap();

    let summary = bench.client.describe_stream_summary().stream_name(STREAM);
    let summary = summary.send().await.unwrap().stream_description_summary.unwrap();
    assert_eq!(
        summary.stream_mode_details.unwrap().stream_mode,
        StreamMode::OnDemand
    );
    assert_eq!(summary.open_shard_count, 4);
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_is_raised_and_lowered_and_hides_what_is_older() {
    let bench = Bench::with_stream(1).await;
    let hours = async || {
        let summary = bench.client.describe_stream_summary().stream_name(STREAM);
        let summary = summary.send().await.unwrap();
        summary.stream_description_summary.unwrap().retention_period_hours
    };
    let increase = bench
        .client
        .increase_stream_retention_period()
        .stream_name(STREAM);
    increase.retention_period_hours(48).send().await.unwrap();
    assert_eq!(hours().await, 48);

    bench.put("key", "old").await;
    bench.advance(30 * 3600);
    bench.put("key", "new").await;
    assert_eq!(bench.read_shard(&shard_id(0)).await, ["old", "new"]);

    let decrease = bench
        .client
        .decrease_stream_retention_period()
        .stream_name(STREAM);
    decrease.retention_period_hours(24).send().await.unwrap();
    assert_eq!(hours().await, 24);
    assert_eq!(bench.read_shard(&shard_id(0)).await, ["new"]);

    let again = bench
        .client
        .increase_stream_retention_period()
        .stream_name(STREAM);
    again.retention_period_hours(48).send().await.unwrap();
    assert_eq!(
        bench.read_shard(&shard_id(0)).await,
        ["new"],
        "what has expired does not come back"
    );
    bench.close().await;
}
