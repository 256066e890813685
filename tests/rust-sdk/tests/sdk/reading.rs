//! GetShardIterator and GetRecords.

use aws_sdk_kinesis::types::ShardIteratorType;

use crate::bench::{Bench, START, STREAM, text};

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_iterator_starts_where_it_says() {
    let bench = Bench::with_stream(1).await;
    bench.put("key", "one").await;
    bench.advance(10);
    let (shard, number) = bench.put("key", "two").await;
    bench.advance(10);
    bench.put("key", "three").await;
    let latest = bench.iterator(&shard, ShardIteratorType::Latest).await;
    bench.put("key", "four").await;

    let from = async |kind: ShardIteratorType, seconds: Option<i64>| {
        let iterator = bench
            .client
            .get_shard_iterator()
            .stream_name(STREAM)
            .shard_id(&shard);
        let iterator = iterator.set_timestamp(seconds.map(Bench::at));
        let number = seconds.is_none().then(|| number.clone());
        let iterator = iterator
            .set_starting_sequence_number(number)
            .shard_iterator_type(kind);
        let iterator = iterator.send().await.unwrap().shard_iterator.unwrap();
        bench.read(iterator).await
    };
    assert_eq!(bench.read_shard(&shard).await, ["one", "two", "three", "four"]);
    assert_eq!(bench.read(latest).await, ["four"]);
    assert_eq!(
        from(ShardIteratorType::AtSequenceNumber, None).await,
        ["two", "three", "four"]
    );
    assert_eq!(
        from(ShardIteratorType::AfterSequenceNumber, None).await,
        ["three", "four"]
    );
    assert_eq!(
        from(ShardIteratorType::AtTimestamp, Some(10)).await,
        ["two", "three", "four"]
    );
    assert_eq!(
        from(ShardIteratorType::AtTimestamp, Some(11)).await,
        ["three", "four"]
    );
    assert_eq!(
        from(ShardIteratorType::AtTimestamp, Some(-1)).await,
        ["one", "two", "three", "four"]
    );
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_comes_back_with_its_key_number_and_time_of_arrival() {
    let bench = Bench::with_stream(1).await;
    bench.advance(7);
    let (shard, number) = bench.put("schlüssel", "data").await;
    let iterator = bench.iterator(&shard, ShardIteratorType::TrimHorizon).await;
    let reply = bench
        .client
        .get_records()
        .shard_iterator(iterator)
        .send()
        .await
        .unwrap();
    let [record] = &reply.records[..] else {
        panic!("one record: {reply:?}");
    };
    assert_eq!(record.partition_key, "schlüssel");
    assert_eq!(record.sequence_number, number);
    assert_eq!(text(record), "data");
    assert_eq!(record.approximate_arrival_timestamp.unwrap().secs(), START + 7);
    assert_eq!(reply.millis_behind_latest, Some(0));
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_says_how_far_behind_the_head_it_is() {
    let bench = Bench::with_stream(1).await;
    let (shard, _) = bench.put("key", "one").await;
    bench.advance(5);
    bench.put("key", "two").await;
    bench.advance(60);
    let iterator = bench.iterator(&shard, ShardIteratorType::TrimHorizon).await;
    let first = bench.client.get_records().shard_iterator(iterator).limit(1);
    let first = first.send().await.unwrap();
    assert_eq!(first.millis_behind_latest, Some(65_000));
    let second = bench
        .client
        .get_records()
        .shard_iterator(first.next_shard_iterator.unwrap());
    assert_eq!(second.send().await.unwrap().millis_behind_latest, Some(0));
    bench.close().await;
}
