//! Refusals, as the SDK's own types.

use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::operation::create_stream::CreateStreamError;
use aws_sdk_kinesis::operation::get_records::GetRecordsError;
use aws_sdk_kinesis::operation::get_shard_iterator::GetShardIteratorError;
use aws_sdk_kinesis::operation::list_shards::ListShardsError;
use aws_sdk_kinesis::operation::merge_shards::MergeShardsError;
use aws_sdk_kinesis::operation::put_record::PutRecordError;
use aws_sdk_kinesis::operation::split_shard::SplitShardError;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::ShardIteratorType;

use crate::bench::{Bench, STREAM, shard_id};

/// The operation's own error, which must be of this kind.
macro_rules! refused {
    ($call:expr, $kind:pat) => {{
        let error = $call.send().await.unwrap_err().into_service_error();
        assert!(matches!(error, $kind), "another error was expected: {error:?}");
        error.message().map_or_else(String::new, str::to_owned)
    }};
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_not_there_is_not_found() {
    let bench = Bench::new().await;
    let put = bench
        .client
        .put_record()
        .stream_name("nobody")
        .partition_key("key")
        .data(Blob::new("x"));
    let message = refused!(put, PutRecordError::ResourceNotFoundException(_));
    assert_eq!(message, "Stream nobody under account 000000000000 not found.");
    let list = bench.client.list_shards().stream_name("nobody");
    refused!(list, ListShardsError::ResourceNotFoundException(_));
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_given_once() {
    let bench = Bench::with_stream(1).await;
    let again = bench.client.create_stream().stream_name(STREAM).shard_count(1);
    let message = refused!(again, CreateStreamError::ResourceInUseException(_));
    assert_eq!(
        message,
        "Stream clicks under account 000000000000 already exists."
    );
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_iterator_and_an_old_one_are_refused() {
    let bench = Bench::with_stream(1).await;
    let forged = bench.client.get_records().shard_iterator("forged");
    refused!(forged, GetRecordsError::InvalidArgumentException(_));

    let iterator = bench.iterator(&shard_id(0), ShardIteratorType::TrimHorizon).await;
    bench.advance(300);
    let fresh = bench.client.get_records().shard_iterator(&iterator).send().await;
    fresh.expect("an iterator is good for five minutes");
    bench.advance(1);
    let old = bench.client.get_records().shard_iterator(&iterator);
    let message = refused!(old, GetRecordsError::ExpiredIteratorException(_));
    assert!(message.starts_with("Iterator expired."), "{message}");
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_iterator_does_not_outlive_its_stream() {
    let bench = Bench::with_stream(1).await;
    let iterator = bench.iterator(&shard_id(0), ShardIteratorType::TrimHorizon).await;
    bench
        .client
        .delete_stream()
        .stream_name(STREAM)
        .send()
        .await
        .unwrap();
    bench.create(STREAM, 1).await;
    let of_the_old = bench.client.get_records().shard_iterator(iterator);
    refused!(of_the_old, GetRecordsError::ResourceNotFoundException(_));
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_is_split_within_its_range_and_merged_with_its_neighbour() {
    let bench = Bench::with_stream(3).await;
    let split = bench
        .client
        .split_shard()
        .stream_name(STREAM)
        .shard_to_split(shard_id(0));
    let at_the_edge = split.clone().new_starting_hash_key("1");
    let message = refused!(at_the_edge, SplitShardError::InvalidArgumentException(_));
    assert!(
        message.starts_with("NewStartingHashKey 1 used in SplitShard()"),
        "{message}"
    );

    let merge = bench
        .client
        .merge_shards()
        .stream_name(STREAM)
        .shard_to_merge(shard_id(0));
    let strangers = merge.clone().adjacent_shard_to_merge(shard_id(2));
    refused!(strangers, MergeShardsError::InvalidArgumentException(_));
    let nobody = merge.adjacent_shard_to_merge(shard_id(9));
    refused!(nobody, MergeShardsError::ResourceNotFoundException(_));

    bench.split(&shard_id(0), 1000).await;
    let closed = split.new_starting_hash_key("500");
    refused!(closed, SplitShardError::InvalidArgumentException(_));
    assert_eq!(bench.shards().await.len(), 5, "what was refused changed nothing");
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequence_number_of_another_shard_starts_no_reading() {
    let bench = Bench::with_stream(2).await;
    let (_, number) = bench.put("a", "in the first shard").await;
    let iterator = bench
        .client
        .get_shard_iterator()
        .stream_name(STREAM)
        .shard_id(shard_id(1));
    let iterator = iterator.shard_iterator_type(ShardIteratorType::AtSequenceNumber);
    let foreign = iterator.clone().starting_sequence_number(number);
    refused!(foreign, GetShardIteratorError::InvalidArgumentException(_));
    let unknown = iterator.shard_id(shard_id(7)).starting_sequence_number("0");
    refused!(unknown, GetShardIteratorError::ResourceNotFoundException(_));
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_a_constraint_is_a_validation_error() {
    let bench = Bench::with_stream(1).await;
    let put = bench
        .client
        .put_record()
        .stream_name(STREAM)
        .partition_key("k".repeat(257));
    let error = put
        .data(Blob::new("x"))
        .send()
        .await
        .unwrap_err()
        .into_service_error();
    assert_eq!(error.code(), Some("ValidationException"));
    let message = error.message().unwrap_or_default();
    assert!(
        message.starts_with("1 validation error detected: Value '")
            && message.contains("' at 'partitionKey' failed"),
        "{message}"
    );
    let too_large = bench.client.put_record().stream_name(STREAM).partition_key("key");
    let too_large = too_large.data(Blob::new(vec![0; 1 << 20])).send().await;
    let error = too_large.unwrap_err().into_service_error();
    assert_eq!(error.code(), Some("ValidationException"), "{error:?}");
    assert_eq!(
        bench.read_shard(&shard_id(0)).await,
        [""; 0],
        "what was refused is not stored"
    );
    bench.close().await;
}
