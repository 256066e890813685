//! SplitShard, MergeShards and ListShards.

use std::collections::HashSet;

use aws_sdk_kinesis::types::{
    ChildShard, ScalingType, Shard, ShardFilter, ShardFilterType, ShardIteratorType, StreamMode,
    StreamModeDetails, StreamStatus,
};

use crate::bench::{Bench, STREAM, shard_id};

const HALF: u128 = 1 << 127;

fn ids(shards: &[Shard]) -> Vec<&str> {
    shards.iter().map(|shard| shard.shard_id.as_str()).collect()
}

fn range(shard: &Shard) -> (u128, u128) {
    let range = shard.hash_key_range.as_ref().unwrap();
    (
        range.starting_hash_key.parse().unwrap(),
        range.ending_hash_key.parse().unwrap(),
    )
}

/// The children that the reply at the end of a shard names.
async fn children(bench: &Bench, shard: &str) -> Vec<ChildShard> {
    let iterator = bench.iterator(shard, ShardIteratorType::Latest).await;
    let reply = bench
        .client
        .get_records()
        .shard_iterator(iterator)
        .send()
        .await
        .unwrap();
    assert_eq!(
        reply.next_shard_iterator, None,
        "{shard} is closed and has been read to its end"
    );
    reply.child_shards.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_and_a_merge_close_parents_and_open_children() {
    let bench = Bench::with_stream(1).await;
    let (_, before) = bench.put("foo", "before").await;
    bench.split(&shard_id(0), HALF).await;
    let (home, between) = bench.put("foo", "between").await;
    assert_eq!(home, shard_id(2));
    assert!(between > before);
    bench.merge(&shard_id(1), &shard_id(2)).await;
    let (home, after) = bench.put("foo", "after").await;
    assert_eq!(home, shard_id(3));
    assert!(after > between);

    let shards = bench.shards().await;
    assert_eq!(ids(&shards), [shard_id(0), shard_id(1), shard_id(2), shard_id(3)]);
    assert_eq!(range(&shards[1]), (0, HALF - 1));
    assert_eq!(range(&shards[2]), (HALF, u128::MAX));
    assert_eq!(range(&shards[3]), (0, u128::MAX));
    let parents: Vec<_> = shards
        .iter()
        .map(|shard| (shard.parent_shard_id(), shard.adjacent_parent_shard_id()))
        .collect();
    let (first, low, high) = (shard_id(0), shard_id(1), shard_id(2));
    let expected = [
        (None, None),
        (Some(first.as_str()), None),
        (Some(first.as_str()), None),
        (Some(low.as_str()), Some(high.as_str())),
    ];
    assert_eq!(parents, expected);
    for (shard, is_open) in shards.iter().zip([false, false, false, true]) {
        let end = shard
            .sequence_number_range
            .as_ref()
            .unwrap()
            .ending_sequence_number();
        assert_eq!(end.is_none(), is_open, "{shard:?}");
    }
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_shard_names_its_children_with_all_their_parents() {
    let bench = Bench::with_stream(1).await;
    bench.split(&shard_id(0), HALF).await;
    bench.merge(&shard_id(1), &shard_id(2)).await;

    let of_first = children(&bench, &shard_id(0)).await;
    let named: Vec<_> = of_first
        .iter()
        .map(|child| (&child.shard_id, &child.parent_shards))
        .collect();
    assert_eq!(
        named,
        [
            (&shard_id(1), &vec![shard_id(0)]),
            (&shard_id(2), &vec![shard_id(0)])
        ]
    );
    for half in [shard_id(1), shard_id(2)] {
        let [child] = &children(&bench, &half).await[..] else {
            panic!("{half} has one child");
        };
        assert_eq!(child.shard_id, shard_id(3));
        assert_eq!(child.parent_shards, [shard_id(1), shard_id(2)]);
        let range = child.hash_key_range.as_ref().unwrap();
        assert_eq!(range.ending_hash_key, u128::MAX.to_string());
    }
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_are_listed_in_pages() {
    let bench = Bench::with_stream(5).await;
    let mut page = bench
        .client
        .list_shards()
        .stream_name(STREAM)
        .max_results(2)
        .send()
        .await
        .unwrap();
    let mut listed = page.shards().to_vec();
    while let Some(token) = page.next_token.take() {
        assert_eq!(page.shards().len(), 2, "a page is full unless it is the last");
        page = bench
            .client
            .list_shards()
            .next_token(token)
            .max_results(2)
            .send()
            .await
            .unwrap();
        listed.extend(page.shards().to_vec());
    }
    assert_eq!(ids(&listed), (0..5).map(shard_id).collect::<Vec<_>>());

    let rest = bench
        .client
        .list_shards()
        .stream_name(STREAM)
        .exclusive_start_shard_id(shard_id(2));
    assert_eq!(
        ids(rest.send().await.unwrap().shards()),
        [shard_id(3), shard_id(4)]
    );
    bench.close().await;
}

/// One shard from the start, split after 100 s, its children merged after 200 s; the clock is at 300 s.
async fn with_a_past() -> Bench {
    let bench = Bench::with_stream(1).await;
    bench.advance(100);
    bench.split(&shard_id(0), HALF).await;
    bench.advance(100);
    bench.merge(&shard_id(1), &shard_id(2)).await;
    bench.advance(100);
    bench
}

async fn filtered(bench: &Bench, kind: ShardFilterType, seconds: Option<i64>) -> Vec<Shard> {
    let filter = ShardFilter::builder().r#type(kind);
    let filter = filter.set_timestamp(seconds.map(Bench::at)).build().unwrap();
    let listed = bench
        .client
        .list_shards()
        .stream_name(STREAM)
        .shard_filter(filter);
    listed.send().await.unwrap().shards.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_select_shards_by_their_place_in_time() {
    let bench = with_a_past().await;
    let select = async |kind, seconds| {
        let shards = filtered(&bench, kind, seconds).await;
        let index = |shard: &Shard| shard.shard_id.trim_start_matches("shardId-").parse().unwrap();
        shards.iter().map(index).collect::<Vec<u32>>()
    };
    assert_eq!(select(ShardFilterType::FromTrimHorizon, None).await, [0, 1, 2, 3]);
    assert_eq!(select(ShardFilterType::AtTrimHorizon, None).await, [0]);
    assert_eq!(select(ShardFilterType::AtLatest, None).await, [3]);
    assert_eq!(select(ShardFilterType::AtTimestamp, Some(50)).await, [0]);
    assert_eq!(select(ShardFilterType::AtTimestamp, Some(150)).await, [1, 2]);
    assert_eq!(select(ShardFilterType::AtTimestamp, Some(250)).await, [3]);
    assert_eq!(select(ShardFilterType::FromTimestamp, Some(150)).await, [1, 2, 3]);
    assert_eq!(select(ShardFilterType::FromTimestamp, Some(250)).await, [3]);

    let after = ShardFilter::builder()
        .r#type(ShardFilterType::AfterShardId)
        .shard_id(shard_id(1));
    let after = bench
        .client
        .list_shards()
        .stream_name(STREAM)
        .shard_filter(after.build().unwrap());
    assert_eq!(
        ids(after.send().await.unwrap().shards()),
        [shard_id(2), shard_id(3)]
    );
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shards_at_any_moment_tile_all_hash_keys_and_none_is_another_ones_parent() {
    let bench = with_a_past().await;
    let moments = (0..=300)
        .step_by(20)
        .map(|at| (ShardFilterType::AtTimestamp, Some(at)));
    let ends = [
        (ShardFilterType::AtTrimHorizon, None),
        (ShardFilterType::AtLatest, None),
    ];
    for (kind, seconds) in moments.chain(ends) {
        let mut shards = filtered(&bench, kind.clone(), seconds).await;
        shards.sort_by_key(range);
        let mut next = Some(0);
        for shard in &shards {
            let (start, end) = range(shard);
            assert_eq!(Some(start), next, "{kind} {seconds:?}: {shards:?}");
            next = end.checked_add(1);
        }
        assert_eq!(next, None, "{kind} {seconds:?}: the ranges reach the end");
        let present: HashSet<&str> = ids(&shards).into_iter().collect();
        for shard in &shards {
            let parents = [shard.parent_shard_id(), shard.adjacent_parent_shard_id()];
            let with_child = parents
                .into_iter()
                .flatten()
                .find(|parent| present.contains(parent));
            assert_eq!(with_child, None, "{kind} {seconds:?}: a parent beside its child");
        }
    }
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_shard_is_listed_and_read_until_it_expires() {
    let bench = Bench::with_stream(1).await;
    bench.put("key", "kept for a day").await;
    bench.split(&shard_id(0), HALF).await;
    bench.advance(23 * 3600);
    assert_eq!(
        ids(&bench.shards().await),
        [shard_id(0), shard_id(1), shard_id(2)]
    );
    assert_eq!(bench.read_shard(&shard_id(0)).await, ["kept for a day"]);

    bench.advance(3600 + 2);
    let shards = bench.shards().await;
    assert_eq!(ids(&shards), [shard_id(1), shard_id(2)]);
    assert_eq!(
        shards[0].parent_shard_id(),
        Some(shard_id(0).as_str()),
        "a child goes on naming its parent"
    );
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_gets_another_number_of_shards_and_another_mode() {
    let bench = Bench::with_stream(4).await;
    let updated = bench
        .client
        .update_shard_count()
        .stream_name(STREAM)
        .target_shard_count(5)
        .scaling_type(ScalingType::UniformScaling)
        .send()
        .await
        .unwrap();
    assert_eq!(updated.current_shard_count, Some(4));
    assert_eq!(updated.target_shard_count, Some(5));
    let arn = updated.stream_arn.unwrap();
    // As on AWS, the answer does not wait for the shards.
    loop {
        let summary = bench
            .client
            .describe_stream_summary()
            .stream_name(STREAM)
            .send()
            .await
            .unwrap();
        match summary.stream_description_summary.unwrap().stream_status {
            StreamStatus::Updating => tokio::task::yield_now().await,
            status => break assert_eq!(status, StreamStatus::Active),
        }
    }
    assert_eq!(bench.shards().await.len(), 15);

    let on_demand = StreamModeDetails::builder()
        .stream_mode(StreamMode::OnDemand)
        .build()
        .unwrap();
    let request = bench.client.update_stream_mode().stream_arn(&arn);
    request.stream_mode_details(on_demand).send().await.unwrap();
    let refused = bench
        .client
        .update_shard_count()
        .stream_name(STREAM)
        .target_shard_count(4)
        .scaling_type(ScalingType::UniformScaling)
        .send()
        .await
        .unwrap_err();
    assert!(refused.into_service_error().is_validation_exception());
    bench.close().await;
}
