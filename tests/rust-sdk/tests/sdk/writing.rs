//! PutRecord and PutRecords.

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;

use crate::bench::{Bench, STREAM, shard_id};

fn entry(key: &str, data: &[u8]) -> PutRecordsRequestEntry {
    PutRecordsRequestEntry::builder()
        .partition_key(key)
        .data(Blob::new(data))
        .build()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_lands_where_the_hash_of_its_key_is_at_home() {
    let bench = Bench::with_stream(2).await;
    // MD5: "a" is 0x0cc1..., "foo" is 0xacbd...
    assert_eq!(bench.put("a", "low").await.0, shard_id(0));
    assert_eq!(bench.put("foo", "high").await.0, shard_id(1));

    let put = bench.client.put_record().stream_name(STREAM).partition_key("a");
    let put = put
        .explicit_hash_key(u128::MAX.to_string())
        .data(Blob::new("explicit"));
    assert_eq!(put.send().await.unwrap().shard_id, shard_id(1));

    assert_eq!(bench.read_shard(&shard_id(0)).await, ["low"]);
    assert_eq!(bench.read_shard(&shard_id(1)).await, ["high", "explicit"]);
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sequence_numbers_have_56_digits_and_rise() {
    let bench = Bench::with_stream(1).await;
    let mut last = String::new();
    for n in 0..20 {
        let (_, number) = bench.put("key", &n.to_string()).await;
        assert_eq!(number.len(), 56, "{number}");
        assert!(number.bytes().all(|byte| byte.is_ascii_digit()), "{number}");
        assert!(number > last, "{number} after {last}");
        last = number;
    }
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_put_together_are_answered_and_stored_in_their_order() {
    let bench = Bench::with_stream(1).await;
    let records = (0..5).map(|n| entry(&format!("key-{n}"), n.to_string().as_bytes()));
    let put = bench.client.put_records().stream_name(STREAM);
    let put = put.set_records(Some(records.collect())).send().await.unwrap();
    assert_eq!(put.failed_record_count, Some(0));
    let numbers: Vec<&str> = put
        .records
        .iter()
        .filter_map(|record| record.sequence_number())
        .collect();
    assert_eq!(numbers.len(), 5);
    assert!(numbers.is_sorted(), "{numbers:?}");
    assert_eq!(bench.read_shard(&shard_id(0)).await, ["0", "1", "2", "3", "4"]);
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_legal_put_is_taken_and_read_back_in_several_replies() {
    let bench = Bench::with_stream(1).await;
    let key = "k".repeat(8);
    let largest: Vec<u8> = (0..(1 << 20) - key.len()).map(|n| n as u8).collect();
    let records = vec![entry(&key, &largest); 10];
    let put = bench
        .client
        .put_records()
        .stream_name(STREAM)
        .set_records(Some(records));
    assert_eq!(put.send().await.unwrap().failed_record_count, Some(0));
    bench.put("key", "the end").await;

    let kind = aws_sdk_kinesis::types::ShardIteratorType::TrimHorizon;
    let mut next = Some(bench.iterator(&shard_id(0), kind).await);
    let mut lengths = Vec::new();
    while let Some(iterator) = next {
        let reply = bench
            .client
            .get_records()
            .shard_iterator(iterator)
            .send()
            .await
            .unwrap();
        let bytes: usize = reply
            .records
            .iter()
            .map(|record| record.data.as_ref().len())
            .sum();
        assert!(bytes <= 10 << 20, "{bytes} bytes in one reply");
        for record in &reply.records {
            let data = record.data.as_ref();
            assert!(
                data == largest || data == b"the end",
                "a record came back changed"
            );
            lengths.push(data.len());
        }
        next = reply.next_shard_iterator.filter(|_| !reply.records.is_empty());
    }
    let mut expected = vec![largest.len(); 10];
    expected.push("the end".len());
    assert_eq!(lengths, expected);
    bench.close().await;
}
