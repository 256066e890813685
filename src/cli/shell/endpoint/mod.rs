//! An endpoint, through the Kinesis API.

mod answers;
mod certificates;
mod client;
mod signing;

use std::thread;
use std::time::{Duration, Instant};

use anabranch::{Clock, HashKey, ShardFilter, ShardId, StartingPosition, SystemClock};
use serde_json::{Value, json};

use super::super::Failure;
use super::target::{NewRecord, Page, PutAnswer, ReadRecord, ShardRow, StreamRow, Target};
use client::{CallError, Client};

/// A server, or Amazon Kinesis.
pub(super) struct Endpoint {
    client: Client,
}

/// A position in a shard.
pub(super) struct EndpointCursor {
    stream: String,
    shard: ShardId,
    /// `None` once no more records can come.
    iterator: Option<String>,
    /// Where to continue if the iterator is too old.
    behind: StartingPosition,
}

/// How long a change may take. On AWS it is about half a minute.
const PATIENCE: Duration = Duration::from_secs(300);

const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// The most records that GetRecords gives.
const MOST_READ_RECORDS: usize = 10_000;

impl Endpoint {
    pub(super) fn open(url: &str, region: Option<String>) -> Result<Self, Failure> {
        let client = Client::open(url, region)?;
        Ok(Self { client })
    }

    /// Waits until a stream has made its change.
    fn wait_until_active(&mut self, stream: &str) -> Result<(), Failure> {
        self.wait_until(stream, |row| row.is_some_and(|row| row.status == "ACTIVE"))
    }

    fn wait_until(
        &mut self,
        stream: &str,
        is_done: impl Fn(Option<&StreamRow>) -> bool,
    ) -> Result<(), Failure> {
        let begun = Instant::now();
        while !is_done(self.find(stream)?.as_ref()) {
            if begun.elapsed() > PATIENCE {
                return Err(Failure::Refused(format!(
                    "the change of stream {stream} is not done after {} s; it may still be",
                    PATIENCE.as_secs()
                )));
            }
            thread::sleep(BETWEEN_LOOKS);
        }
        Ok(())
    }

    /// `None` if there is no such stream.
    fn find(&mut self, stream: &str) -> Result<Option<StreamRow>, Failure> {
        match self
            .client
            .call("DescribeStreamSummary", &json!({"StreamName": stream}))
        {
            Ok(answer) => {
                let row = answers::stream(&answer);
                row.map(Some)
                    .ok_or_else(|| answers::not_understood("StreamDescriptionSummary"))
            }
            Err(CallError::Refused(refusal)) if refusal.is("ResourceNotFoundException") => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn change(&mut self, stream: &str, operation: &str, input: &Value) -> Result<(), Failure> {
        self.client.call(operation, input)?;
        self.wait_until_active(stream)
    }

    /// `None` if the shard does not exist any more.
    fn iterator(
        &mut self,
        stream: &str,
        shard: ShardId,
        from: StartingPosition,
    ) -> Result<Option<String>, Failure> {
        let input = answers::iterator_input(stream, shard, from);
        match self.client.call("GetShardIterator", &input) {
            Ok(answer) => match answer.get("ShardIterator").and_then(Value::as_str) {
                Some(iterator) => Ok(Some(iterator.to_owned())),
                None => Err(answers::not_understood("ShardIterator")),
            },
            Err(CallError::Refused(refusal)) if refusal.is("ResourceNotFoundException") => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl Target for Endpoint {
    type Cursor = EndpointCursor;

    /// AWS allows five reads of a shard in a second.
    const BETWEEN_READS: Duration = Duration::from_millis(250);

    fn streams(&mut self) -> Result<Vec<StreamRow>, Failure> {
        let mut rows = Vec::new();
        let mut input = json!({});
        loop {
            let answer = self.client.call("ListStreams", &input)?;
            let names = answers::list(&answer, "StreamNames", |name| name.as_str().map(str::to_owned))?;
            for name in &names {
                // It may have been deleted meanwhile.
                rows.extend(self.find(name)?);
            }
            match names.last() {
                Some(last) if answer.get("HasMoreStreams") == Some(&Value::Bool(true)) => {
                    input = json!({"ExclusiveStartStreamName": last});
                }
                _ => return Ok(rows),
            }
        }
    }

    fn stream(&mut self, stream: &str) -> Result<StreamRow, Failure> {
        let found = self.find(stream)?;
        found.ok_or_else(|| Failure::Refused(format!("stream {stream} not found")))
    }

    fn shards(&mut self, stream: &str, filter: ShardFilter) -> Result<Vec<ShardRow>, Failure> {
        let mut rows = Vec::new();
        let mut input = json!({"StreamName": stream, "ShardFilter": answers::filter_input(filter)});
        loop {
            let answer = self.client.call("ListShards", &input)?;
            rows.extend(answers::list(&answer, "Shards", answers::shard)?);
            match answer.get("NextToken") {
                Some(token @ Value::String(_)) => input = json!({"NextToken": token}),
                _ => return Ok(rows),
            }
        }
    }

    fn create(&mut self, stream: &str, shards: u32) -> Result<(), Failure> {
        let input = json!({"StreamName": stream, "ShardCount": shards});
        self.change(stream, "CreateStream", &input)
    }

    fn delete(&mut self, stream: &str) -> Result<(), Failure> {
        self.client.call("DeleteStream", &json!({"StreamName": stream}))?;
        self.wait_until(stream, |row| row.is_none())
    }

    fn split(&mut self, stream: &str, shard: ShardId, at: HashKey) -> Result<(), Failure> {
        let input = json!({
            "StreamName": stream,
            "ShardToSplit": shard.to_string(),
            "NewStartingHashKey": at.to_string(),
        });
        self.change(stream, "SplitShard", &input)
    }

    fn merge(&mut self, stream: &str, first: ShardId, second: ShardId) -> Result<(), Failure> {
        let input = json!({
            "StreamName": stream,
            "ShardToMerge": first.to_string(),
            "AdjacentShardToMerge": second.to_string(),
        });
        self.change(stream, "MergeShards", &input)
    }

    fn trim(&mut self, _stream: &str, _to: StartingPosition) -> Result<(), Failure> {
        Err(Failure::Usage(
            "the Kinesis API has no operation that trims a stream: stop the server and trim its directory with \
             --data-dir, or shorten the stream's retention"
                .to_owned(),
        ))
    }

    fn put(&mut self, stream: &str, records: &[NewRecord]) -> Result<PutAnswer, Failure> {
        match self
            .client
            .call("PutRecords", &answers::put_input(stream, records))
        {
            Ok(answer) => answers::put_answer(&answer, records.len()),
            Err(error) => Ok(PutAnswer {
                untaken: (0..records.len()).collect(),
                is_doubtful: error.leaves_doubt(),
                failure: Some(error.into()),
                ..PutAnswer::default()
            }),
        }
    }

    fn cursor(
        &mut self,
        stream: &str,
        shard: ShardId,
        from: StartingPosition,
    ) -> Result<Option<EndpointCursor>, Failure> {
        let now = SystemClock.now();
        let iterator = self.iterator(stream, shard, from)?;
        Ok(iterator.map(|iterator| EndpointCursor {
            stream: stream.to_owned(),
            shard,
            iterator: Some(iterator),
            behind: match from {
                // A later position would be behind the records that came meanwhile.
                StartingPosition::Latest => StartingPosition::AtTimestamp(now),
                from => from,
            },
        }))
    }

    fn read(&mut self, cursor: &mut EndpointCursor, limit: usize) -> Result<Page, Failure> {
        let Some(iterator) = &cursor.iterator else {
            return Ok(Page::of_gone_shard());
        };
        let input = json!({"ShardIterator": iterator, "Limit": limit.min(MOST_READ_RECORDS)});
        let answer = match self.client.call("GetRecords", &input) {
            Ok(answer) => answer,
            Err(CallError::Refused(refusal)) if refusal.is("ResourceNotFoundException") => {
                return Ok(Page::of_gone_shard());
            }
            Err(CallError::Refused(refusal)) if refusal.is("ExpiredIteratorException") => {
                cursor.iterator = self.iterator(&cursor.stream, cursor.shard, cursor.behind)?;
                return Ok(Page {
                    is_drained: cursor.iterator.is_none(),
                    ..Page::default()
                });
            }
            Err(error) => return Err(error.into()),
        };
        let records: Vec<ReadRecord> =
            answers::list(&answer, "Records", |record| answers::record(cursor.shard, record))?;
        let last = records
            .last()
            .and_then(|record| record.sequence_number.parse().ok());
        if let Some(last) = last {
            cursor.behind = StartingPosition::AfterSequenceNumber(last);
        }
        let next = answer.get("NextShardIterator").and_then(Value::as_str);
        cursor.iterator = next.map(str::to_owned);
        Ok(Page {
            is_at_head: answer
                .get("MillisBehindLatest")
                .and_then(Value::as_u64)
                .unwrap_or(0)
                == 0,
            is_drained: cursor.iterator.is_none(),
            records,
        })
    }

    fn close(self) -> Result<(), Failure> {
        Ok(())
    }
}
