//! An endpoint, through the Kinesis API.

mod answers;
pub(super) mod certificates;
mod client;
mod signing;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use anabranch::{Clock, HashKey, Retention, ShardFilter, ShardId, StartingPosition, SystemClock};
use serde_json::{Value, json};

use super::super::Failure;
use super::hours::hours_of;
use super::target::{NewRecord, NewStream, Page, PutAnswer, ReadRecord, ShardRow, StreamRow, Target};
use client::{CallError, Client};

/// A server, or Amazon Kinesis.
pub(super) struct Endpoint {
    client: Client,
    /// Whether a call that puts records is made only once: its caller finds out its effect.
    puts_once: bool,
}

/// A position in a shard.
pub(super) struct EndpointCursor {
    stream: String,
    shard: ShardId,
    /// `None` once no more records can come.
    iterator: Option<String>,
    /// Where to continue if the iterator is too old: the input of GetShardIterator.
    behind: Value,
}

/// How long a change may take. On AWS it is about half a minute.
const PATIENCE: Duration = Duration::from_secs(300);

const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// The most records that GetRecords gives.
const MOST_READ_RECORDS: usize = 10_000;

impl Endpoint {
    pub(super) fn open(url: &str, region: Option<String>) -> Result<Self, Failure> {
        let client = Client::open(url, region)?;
        Ok(Self {
            client,
            puts_once: false,
        })
    }

    /// The same, but a call that puts records is not repeated if it may have failed.
    pub(super) fn that_puts_once(self) -> Self {
        Self {
            puts_once: true,
            ..self
        }
    }

    fn put_once(&mut self, stream: &str, records: &[NewRecord]) -> Result<PutAnswer, Failure> {
        let untaken = |reason: String, failure: Option<Failure>| PutAnswer {
            untaken: (0..records.len()).collect(),
            reason,
            is_doubtful: failure.is_some(),
            failure,
            ..PutAnswer::default()
        };
        let input = answers::put_input(stream, records);
        match self.client.call_without_repeat("PutRecords", &input) {
            Ok(answer) => {
                let mut put = answers::put_answer(&answer, records.len())?;
                if let (true, Some(failure)) = (put.is_doubtful, &put.failure) {
                    put.failure = Some(self.client.passing_failure(failure.first_line()));
                }
                Ok(put)
            }
            Err(CallError::Refused(refusal)) if answers::is_throttling(&refusal.kind) => {
                Ok(untaken(format!("{}: {}", refusal.kind, refusal.message), None))
            }
            Err(CallError::Refused(refusal)) if refusal.status >= 500 => {
                let reason = format!("{}: {}", refusal.kind, refusal.message);
                Ok(untaken(String::new(), Some(self.client.passing_failure(reason))))
            }
            Err(error) => Ok(untaken(String::new(), Some(error.into()))),
        }
    }

    /// Waits until the change of a stream is done.
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
    fn iterator(&mut self, input: &Value) -> Result<Option<String>, Failure> {
        match self.client.call("GetShardIterator", input) {
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

    /// The endpoint takes or refuses each record independently.
    const KEEPS_ORDER: bool = false;

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

    fn look_up(&mut self, stream: &str) -> Result<Option<StreamRow>, Failure> {
        self.find(stream)
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

    fn tags(&mut self, stream: &str) -> Result<BTreeMap<String, String>, Failure> {
        let mut tags = BTreeMap::new();
        let mut input = json!({"StreamName": stream});
        loop {
            let answer = self.client.call("ListTagsForStream", &input)?;
            let listed = answers::list(&answer, "Tags", answers::tag)?;
            let last = listed.last().map(|(name, _)| name.clone());
            tags.extend(listed);
            match last {
                Some(last) if answer.get("HasMoreTags") == Some(&Value::Bool(true)) => {
                    input = json!({"StreamName": stream, "ExclusiveStartTagKey": last});
                }
                _ => return Ok(tags),
            }
        }
    }

    fn create(&mut self, stream: &str, new: &NewStream) -> Result<(), Failure> {
        self.change(stream, "CreateStream", &answers::create_input(stream, new))?;
        let Some(retention) = new.retention else {
            return Ok(());
        };
        let now = self.stream(stream)?.retention;
        let now = now.map_or(Retention::FOREVER, Retention::of);
        let operation = match hours_of(retention).cmp(&hours_of(now)) {
            Ordering::Less => "DecreaseStreamRetentionPeriod",
            Ordering::Equal => return Ok(()),
            Ordering::Greater => "IncreaseStreamRetentionPeriod",
        };
        let input = json!({"StreamName": stream, "RetentionPeriodHours": hours_of(retention)});
        self.change(stream, operation, &input)
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
        if self.puts_once {
            return self.put_once(stream, records);
        }
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
        let iterator = self.iterator(&answers::iterator_input(stream, shard, from))?;
        Ok(iterator.map(|iterator| {
            let behind = match from {
                // Later, the latest position would be after the records that came meanwhile.
                StartingPosition::Latest => StartingPosition::AtTimestamp(now),
                from => from,
            };
            EndpointCursor {
                stream: stream.to_owned(),
                shard,
                iterator: Some(iterator),
                behind: answers::iterator_input(stream, shard, behind),
            }
        }))
    }

    fn cursor_behind(
        &mut self,
        stream: &str,
        shard: ShardId,
        number: &str,
    ) -> Result<Option<EndpointCursor>, Failure> {
        let behind = answers::iterator_input_behind(stream, shard, number);
        let iterator = self.iterator(&behind)?;
        Ok(iterator.map(|iterator| EndpointCursor {
            stream: stream.to_owned(),
            shard,
            iterator: Some(iterator),
            behind,
        }))
    }

    /// The API does not tell it.
    fn count_from(&mut self, _: &EndpointCursor) -> Result<Option<u64>, Failure> {
        Ok(None)
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
                cursor.iterator = self.iterator(&cursor.behind)?;
                return Ok(Page {
                    is_drained: cursor.iterator.is_none(),
                    ..Page::default()
                });
            }
            Err(error) => return Err(error.into()),
        };
        let records: Vec<ReadRecord> =
            answers::list(&answer, "Records", |record| answers::record(cursor.shard, record))?;
        if let Some(last) = records.last() {
            cursor.behind =
                answers::iterator_input_behind(&cursor.stream, cursor.shard, &last.sequence_number);
        }
        let next = answer.get("NextShardIterator").and_then(Value::as_str);
        cursor.iterator = next.map(str::to_owned);
        let millis_behind = answer.get("MillisBehindLatest").and_then(Value::as_u64);
        Ok(Page {
            millis_behind: millis_behind.unwrap_or(0),
            is_at_head: millis_behind.unwrap_or(0) == 0,
            is_drained: cursor.iterator.is_none(),
            records,
        })
    }

    fn close(self) -> Result<(), Failure> {
        Ok(())
    }
}
