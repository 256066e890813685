//! Amazon Kinesis, through AWS' own SDK.

mod answers;
mod client;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::error::Error;
use std::thread;
use std::time::{Duration, Instant};

use anabranch::{Clock, HashKey, Retention, ShardFilter, ShardId, StartingPosition, StreamMode, SystemClock};
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::{BuildError, ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::primitives::{Blob, DateTime};
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, ShardIteratorType, StreamModeDetails};
use tokio::runtime::{Builder, Runtime};

use super::super::Failure;
use super::hours::hours_of;
use super::target::{NewRecord, NewStream, Page, PutAnswer, ReadRecord, ShardRow, StreamRow, Target};
use client::CallError;

/// The streams of an account in a region.
pub(super) struct Aws {
    client: Client,
    runtime: Runtime,
    /// The name of the place in messages.
    place: String,
}

/// The account of the streams, and their place.
#[derive(Debug, Clone, Copy)]
pub(super) struct AwsOptions<'a> {
    /// Empty if the environment has it.
    pub(super) region: &'a str,
    pub(super) endpoint_url: Option<&'a str>,
    pub(super) profile: Option<&'a str>,
}

/// A position in a shard.
pub(super) struct AwsCursor {
    stream: String,
    shard: ShardId,
    /// `None` once no more records can come.
    iterator: Option<String>,
    /// Where to continue if the iterator is too old.
    behind: Position,
}

/// The input of GetShardIterator: the type, a sequence number, a time.
type Position = (&'static str, Option<String>, Option<DateTime>);

/// How long a change may take. On AWS it is about half a minute.
const PATIENCE: Duration = Duration::from_secs(300);

const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

const MOST_READ_RECORDS: usize = 10_000;

impl Aws {
    pub(super) fn open(options: AwsOptions<'_>) -> Result<Self, Failure> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|source| Failure::System {
            doing: "wait for Amazon Kinesis",
            source,
        })?;
        let client = runtime.block_on(client::client(&options))?;
        let place = match options.endpoint_url {
            Some(url) => format!("aws://{} at {url}", options.region),
            None => format!("aws://{}", options.region),
        };
        Ok(Self {
            client,
            runtime,
            place,
        })
    }

    fn call<O, E>(&self, call: impl Future<Output = Result<O, SdkError<E>>>) -> Result<O, CallError>
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let answered = self.runtime.block_on(call);
        answered.map_err(|error| CallError::of(&self.place, &error))
    }

    /// Waits until a change of a stream is done.
    fn changed<O>(&mut self, stream: &str, change: Result<O, CallError>) -> Result<(), Failure> {
        change?;
        self.wait_until(stream, |row| row.is_some_and(StreamRow::is_active))
    }

    fn wait_until(
        &mut self,
        stream: &str,
        is_done: impl Fn(Option<&StreamRow>) -> bool,
    ) -> Result<(), Failure> {
        let begun = Instant::now();
        while !is_done(self.look_up(stream)?.as_ref()) {
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

    /// `None` if the shard does not exist any more.
    fn iterator(&self, stream: &str, shard: ShardId, at: &Position) -> Result<Option<String>, Failure> {
        let (kind, number, time) = at.clone();
        let call = self
            .client
            .get_shard_iterator()
            .stream_name(stream)
            .shard_id(shard.to_string())
            .shard_iterator_type(ShardIteratorType::from(kind))
            .set_starting_sequence_number(number)
            .set_timestamp(time);
        match self.call(call.send()) {
            Ok(answer) => match answer.shard_iterator {
                Some(iterator) => Ok(Some(iterator)),
                None => Err(answers::not_understood("ShardIterator")),
            },
            Err(error) if error.is("ResourceNotFoundException") => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn cursor_at(
        &self,
        stream: &str,
        shard: ShardId,
        at: &Position,
        behind: Position,
    ) -> Result<Option<AwsCursor>, Failure> {
        let iterator = self.iterator(stream, shard, at)?;
        Ok(iterator.map(|iterator| AwsCursor {
            stream: stream.to_owned(),
            shard,
            iterator: Some(iterator),
            behind,
        }))
    }
}

impl Target for Aws {
    type Cursor = AwsCursor;

    /// AWS allows five reads of a shard in a second.
    const BETWEEN_READS: Duration = Duration::from_millis(250);

    /// Kinesis takes or refuses each record independently.
    const KEEPS_ORDER: bool = false;

    fn streams(&mut self) -> Result<Vec<StreamRow>, Failure> {
        let mut rows = Vec::new();
        let mut last = None;
        loop {
            let call = self.client.list_streams().set_exclusive_start_stream_name(last);
            let answer = self.call(call.send())?;
            for name in answer.stream_names() {
                // It may have been deleted meanwhile.
                rows.extend(self.look_up(name)?);
            }
            last = answer.stream_names().last().cloned();
            if !answer.has_more_streams() || last.is_none() {
                return Ok(rows);
            }
        }
    }

    fn look_up(&mut self, stream: &str) -> Result<Option<StreamRow>, Failure> {
        let call = self.client.describe_stream_summary().stream_name(stream);
        match self.call(call.send()) {
            Ok(answer) => match answer.stream_description_summary() {
                Some(summary) => Ok(Some(answers::stream(summary))),
                None => Err(answers::not_understood("StreamDescriptionSummary")),
            },
            Err(error) if error.is("ResourceNotFoundException") => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn shards(&mut self, stream: &str, filter: ShardFilter) -> Result<Vec<ShardRow>, Failure> {
        let mut rows = Vec::new();
        let first = self.client.list_shards().stream_name(stream);
        let mut call = first.shard_filter(answers::filter(filter)?);
        loop {
            let answer = self.call(call.send())?;
            for shard in answer.shards() {
                rows.push(answers::shard(shard)?);
            }
            let Some(token) = answer.next_token else {
                return Ok(rows);
            };
            call = self.client.list_shards().next_token(token);
        }
    }

    fn tags(&mut self, stream: &str) -> Result<BTreeMap<String, String>, Failure> {
        let mut tags = BTreeMap::new();
        let mut last = None;
        loop {
            let call = self.client.list_tags_for_stream().stream_name(stream);
            let answer = self.call(call.set_exclusive_start_tag_key(last).send())?;
            last = answer.tags().last().map(|tag| tag.key().to_owned());
            let has_more = answer.has_more_tags();
            let listed = answer.tags.into_iter();
            tags.extend(listed.map(|tag| (tag.key, tag.value.unwrap_or_default())));
            if !has_more || last.is_none() {
                return Ok(tags);
            }
        }
    }

    fn create(&mut self, stream: &str, new: &NewStream) -> Result<(), Failure> {
        let mut call = self.client.create_stream().stream_name(stream);
        call = match new.mode {
            StreamMode::Provisioned => call.shard_count(i32::try_from(new.shards).unwrap_or(i32::MAX)),
            StreamMode::OnDemand => {
                let mode = StreamModeDetails::builder()
                    .stream_mode("ON_DEMAND".into())
                    .build();
                call.stream_mode_details(mode.map_err(|error| not_built(&error))?)
            }
        };
        if let Some(bytes) = new.max_record_bytes {
            call = call.max_record_size_in_kib(i32::try_from(bytes.div_ceil(1024)).unwrap_or(i32::MAX));
        }
        for (name, value) in &new.tags {
            call = call.tags(name, value);
        }
        let created = self.call(call.send());
        self.changed(stream, created)?;
        let Some(retention) = new.retention else {
            return Ok(());
        };
        let now = self.stream(stream)?.retention;
        let now = now.map_or(Retention::FOREVER, Retention::of);
        let hours = i32::try_from(hours_of(retention)).unwrap_or(i32::MAX);
        let changed = match hours_of(retention).cmp(&hours_of(now)) {
            Ordering::Equal => return Ok(()),
            Ordering::Less => {
                let call = self.client.decrease_stream_retention_period();
                let call = call.stream_name(stream).retention_period_hours(hours);
                self.call(call.send()).map(drop)
            }
            Ordering::Greater => {
                let call = self.client.increase_stream_retention_period();
                let call = call.stream_name(stream).retention_period_hours(hours);
                self.call(call.send()).map(drop)
            }
        };
        self.changed(stream, changed)
    }

    fn delete(&mut self, stream: &str) -> Result<(), Failure> {
        self.call(self.client.delete_stream().stream_name(stream).send())?;
        self.wait_until(stream, |row| row.is_none())
    }

    fn split(&mut self, stream: &str, shard: ShardId, at: HashKey) -> Result<(), Failure> {
        let call = self.client.split_shard().stream_name(stream);
        let call = call
            .shard_to_split(shard.to_string())
            .new_starting_hash_key(at.to_string());
        let split = self.call(call.send());
        self.changed(stream, split)
    }

    fn merge(&mut self, stream: &str, first: ShardId, second: ShardId) -> Result<(), Failure> {
        let call = self.client.merge_shards().stream_name(stream);
        let call = call
            .shard_to_merge(first.to_string())
            .adjacent_shard_to_merge(second.to_string());
        let merged = self.call(call.send());
        self.changed(stream, merged)
    }

    fn trim(&mut self, _stream: &str, _to: StartingPosition) -> Result<(), Failure> {
        Err(Failure::Usage(
            "the Kinesis API has no operation that trims a stream: shorten the stream's retention".to_owned(),
        ))
    }

    fn put(&mut self, stream: &str, records: &[NewRecord]) -> Result<PutAnswer, Failure> {
        let mut call = self.client.put_records().stream_name(stream);
        for record in records {
            let entry = PutRecordsRequestEntry::builder()
                .data(Blob::new(record.data.clone()))
                .partition_key(&record.key)
                .set_explicit_hash_key(record.hash_key.map(|key| key.to_string()));
            call = call.records(entry.build().map_err(|error| not_built(&error))?);
        }
        let answered = self.call(call.customize().config_override(client::once()).send());
        match answered {
            Ok(answer) => {
                let mut put = answers::put_answer(&answer, records.len())?;
                if let (true, Some(failure)) = (put.is_doubtful, &put.failure) {
                    put.failure = Some(Failure::Endpoint {
                        url: self.place.clone(),
                        reason: failure.first_line(),
                        may_pass: true,
                    });
                }
                Ok(put)
            }
            Err(CallError::Refused { code, message }) if answers::is_throttling(&code) => Ok(PutAnswer {
                untaken: (0..records.len()).collect(),
                reason: format!("{code}: {message}"),
                ..PutAnswer::default()
            }),
            Err(error) => Ok(PutAnswer {
                untaken: (0..records.len()).collect(),
                is_doubtful: matches!(error, CallError::Failed(_)),
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
    ) -> Result<Option<AwsCursor>, Failure> {
        let behind = match from {
            // Later, the latest position would be after the records that came meanwhile.
            StartingPosition::Latest => StartingPosition::AtTimestamp(SystemClock.now()),
            from => from,
        };
        self.cursor_at(stream, shard, &answers::position(from), answers::position(behind))
    }

    fn cursor_behind(
        &mut self,
        stream: &str,
        shard: ShardId,
        number: &str,
    ) -> Result<Option<AwsCursor>, Failure> {
        let at = behind(number);
        self.cursor_at(stream, shard, &at, at.clone())
    }

    /// The API does not tell it.
    fn count_from(&mut self, _: &AwsCursor) -> Result<Option<u64>, Failure> {
        Ok(None)
    }

    fn read(&mut self, cursor: &mut AwsCursor, limit: usize) -> Result<Page, Failure> {
        let Some(iterator) = &cursor.iterator else {
            return Ok(Page::of_gone_shard());
        };
        let limit = i32::try_from(limit.min(MOST_READ_RECORDS)).unwrap_or(i32::MAX);
        let call = self.client.get_records().shard_iterator(iterator).limit(limit);
        let answer = match self.call(call.send()) {
            Ok(answer) => answer,
            Err(error) if error.is("ResourceNotFoundException") => return Ok(Page::of_gone_shard()),
            Err(error) if error.is("ExpiredIteratorException") => {
                cursor.iterator = self.iterator(&cursor.stream, cursor.shard, &cursor.behind)?;
                return Ok(Page {
                    is_drained: cursor.iterator.is_none(),
                    ..Page::default()
                });
            }
            Err(error) => return Err(error.into()),
        };
        let millis_behind = answer.millis_behind_latest.unwrap_or(0);
        let records = answer.records.into_iter();
        let records: Vec<ReadRecord> = records
            .map(|record| answers::record(cursor.shard, record))
            .collect();
        if let Some(last) = records.last() {
            cursor.behind = behind(&last.sequence_number);
        }
        cursor.iterator = answer.next_shard_iterator;
        Ok(Page {
            records,
            millis_behind: u64::try_from(millis_behind).unwrap_or(0),
            is_at_head: millis_behind == 0,
            is_drained: cursor.iterator.is_none(),
        })
    }

    fn close(self) -> Result<(), Failure> {
        Ok(())
    }
}

fn behind(number: &str) -> Position {
    ("AFTER_SEQUENCE_NUMBER", Some(number.to_owned()), None)
}

fn not_built(error: &BuildError) -> Failure {
    Failure::Refused(error.to_string())
}
