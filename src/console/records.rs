//! Records of one shard, from a position that a person can name.

use serde_json::{Value, json};

use super::answer::Problem;
use super::parameters::{Parameters, parsed};
use super::source::Source;
use crate::{
    Aggregate, Error, HashKey, ReadLimit, Record, RecordBatch, RecordNumber, SequenceNumber, ShardFilter,
    ShardId, ShardIterator, StartingPosition, Stream, Timestamp,
};

pub(super) const PARAMETERS: [&str; 5] = ["namespace", "shard", "from", "limit", "key"];

/// The memory for a full reply, and for a reduced one.
pub(super) const FULL_REPLY_BYTES: usize = 1 << 20;
pub(super) const REDUCED_REPLY_BYTES: usize = 256 << 10;

/// How many bytes of a record are shown.
const MOST_SHOWN_BYTES: usize = 64 << 10;

/// How many records of an aggregate are shown, as far as they fit the bytes that are shown of a record.
const MOST_AGGREGATED: usize = 100;

/// A longer record is not parsed as an aggregate: they are made for AWS, which takes no longer records.
const LONGEST_AGGREGATE: usize = 1 << 20;

/// How many bytes are searched for a key before the page asks again.
const MOST_SEARCHED_BYTES: usize = 4 << 20;

const MOST_RECORDS: usize = 500;
const USUAL_RECORDS: usize = 50;

/// The fields of a request.
#[derive(Debug)]
pub(super) struct Asked {
    shard: Option<ShardId>,
    from: Start,
    limit: usize,
    key: Option<String>,
}

#[derive(Debug)]
enum Start {
    Position(StartingPosition),
    /// The last records, as many as the answer may have.
    Tail,
    /// The record at which an earlier answer says to continue.
    Record(RecordNumber),
}

impl Asked {
    pub(super) fn of(parameters: &Parameters) -> Result<Asked, Problem> {
        let limit = parameters.parsed("limit")?.unwrap_or(USUAL_RECORDS);
        if !(1..=MOST_RECORDS).contains(&limit) {
            return Err(Problem::bad_request(format!(
                "limit: expected 1 to {MOST_RECORDS}, not {limit}"
            )));
        }
        Ok(Asked {
            shard: parameters.parsed("shard")?,
            from: Start::of(parameters.get("from").unwrap_or("tail"))?,
            limit,
            key: parameters.get("key").map(str::to_owned),
        })
    }

    /// The shard that is named; otherwise the shard of the sequence number, or the open shard of the key.
    fn shard(&self, stream: &Stream) -> Result<ShardId, Problem> {
        if let Some(shard) = self.shard {
            return Ok(shard);
        }
        if let Start::Position(
            StartingPosition::AtSequenceNumber(number) | StartingPosition::AfterSequenceNumber(number),
        ) = self.from
        {
            return Ok(number.shard_id());
        }
        let Some(key) = &self.key else {
            return Err(Problem::bad_request(
                "say which shard: by its id, by a sequence number, or by a partition key",
            ));
        };
        let place = HashKey::of_partition_key(key);
        let open = stream.shards(&ShardFilter::AtLatest)?;
        let found = open.iter().find(|shard| shard.covers(place));
        found
            .map(|shard| shard.id)
            .ok_or_else(|| Problem::bad_request("the stream has no shards yet"))
    }
}

impl Start {
    fn of(text: &str) -> Result<Start, Problem> {
        let position = match text.split_once(':') {
            None if text == "oldest" => StartingPosition::TrimHorizon,
            None if text == "latest" => StartingPosition::Latest,
            None if text == "tail" => return Ok(Start::Tail),
            Some(("time", millis)) => {
                let millis = parsed("from", millis).map_err(|_| not_a_start())?;
                StartingPosition::AtTimestamp(Timestamp::from_millis(millis))
            }
            Some(("number", number)) => {
                StartingPosition::AtSequenceNumber(parsed::<SequenceNumber>("from", number)?)
            }
            Some(("after", number)) => {
                StartingPosition::AfterSequenceNumber(parsed::<SequenceNumber>("from", number)?)
            }
            Some(("record", number)) => {
                let number = parsed("from", number).map_err(|_| not_a_start())?;
                return Ok(Start::Record(RecordNumber::new(number)));
            }
            _ => return Err(not_a_start()),
        };
        Ok(Start::Position(position))
    }
}

fn not_a_start() -> Problem {
    Problem::bad_request(
        "from: expected oldest, latest, tail, time:MILLISECONDS, number:SEQUENCE_NUMBER, after:SEQUENCE_NUMBER or \
         record:NUMBER",
    )
}

/// The requested records, with up to `most_bytes` of data and partition keys.
pub(super) fn records_of(
    source: &Source,
    stream: &Stream,
    asked: &Asked,
    most_bytes: usize,
) -> Result<Value, Problem> {
    let shard = asked.shard(stream)?;
    let mut found = Found::from(position_of(stream, shard, asked)?);
    loop {
        let limit = ReadLimit {
            records: match asked.key {
                Some(_) => MOST_RECORDS,
                None => asked.limit,
            },
            bytes: most_bytes,
        };
        let Some(position) = found.next else { break };
        found.take(read_from(stream, position, &limit)?, asked, most_bytes);
        if found.is_enough {
            break;
        }
    }
    let children = found.children.iter().map(ToString::to_string);
    Ok(json!({
        "now": source.store.now().as_millis(),
        "shard": shard.to_string(),
        "records": found.records,
        "next": found.next.map(|next| format!("record:{}", next.next.value())),
        "millisBehind": found.millis_behind,
        "children": children.collect::<Vec<_>>(),
        "isEncrypted": stream.is_encrypted(),
        "hasSkippedExpired": found.has_skipped,
        "searchedBytes": found.searched_bytes,
    }))
}

fn position_of(stream: &Stream, shard: ShardId, asked: &Asked) -> Result<ShardIterator, Problem> {
    let at = |next| ShardIterator {
        stream: stream.id(),
        shard,
        next,
    };
    match asked.from {
        Start::Position(position) => Ok(stream.shard_iterator(shard, position)?),
        Start::Record(number) => Ok(at(number)),
        Start::Tail => {
            let stats = stream.shard_stats(shard)?;
            let next = stats.next_record.value().saturating_sub(asked.limit as u64);
            Ok(at(RecordNumber::new(next.max(stats.first_record.value()))))
        }
    }
}

/// A batch, and whether records before it have expired.
fn read_from(
    stream: &Stream,
    position: ShardIterator,
    limit: &ReadLimit,
) -> Result<(RecordBatch, bool), Problem> {
    match stream.get_records(&position, limit) {
        Err(Error::Trimmed { first_kept, .. }) => {
            let kept = ShardIterator {
                next: first_kept.unwrap_or(RecordNumber::BEFORE_FIRST),
                ..position
            };
            Ok((stream.get_records(&kept, limit)?, true))
        }
        read => Ok((read?, false)),
    }
}

/// The records found so far.
struct Found {
    records: Vec<Value>,
    next: Option<ShardIterator>,
    millis_behind: u64,
    children: Vec<ShardId>,
    has_skipped: bool,
    is_enough: bool,
    searched_bytes: usize,
    shown_bytes: usize,
}

impl Found {
    fn from(position: ShardIterator) -> Found {
        Found {
            records: Vec::new(),
            next: Some(position),
            millis_behind: 0,
            children: Vec::new(),
            has_skipped: false,
            is_enough: false,
            searched_bytes: 0,
            shown_bytes: 0,
        }
    }

    fn take(&mut self, (batch, has_skipped): (RecordBatch, bool), asked: &Asked, most_bytes: usize) {
        self.has_skipped |= has_skipped;
        self.millis_behind = batch.millis_behind_latest;
        self.children = batch.child_shards.iter().map(|child| child.shard_id).collect();
        let is_at_end = batch.next.is_none() || batch.records.is_empty();
        self.next = batch.next;
        for record in &batch.records {
            self.searched_bytes += record.partition_key.as_str().len() + record.data.len();
            let is_wanted = asked
                .key
                .as_ref()
                .is_none_or(|key| record.partition_key.as_str() == key);
            if !is_wanted {
                continue;
            }
            self.shown_bytes += record.data.len().min(MOST_SHOWN_BYTES);
            self.records.push(shown(record));
            if self.records.len() >= asked.limit || self.shown_bytes >= most_bytes {
                self.stop_behind(record);
                return;
            }
        }
        self.is_enough = is_at_end || asked.key.is_none() || self.searched_bytes >= MOST_SEARCHED_BYTES;
    }

    /// Ends the answer behind this record, although there may be more.
    fn stop_behind(&mut self, record: &Record) {
        let behind = record.sequence_number.record_number().next();
        self.is_enough = true;
        if let Some(next) = &mut self.next
            && next.next > behind
        {
            next.next = behind;
        }
    }
}

fn shown(record: &Record) -> Value {
    let mut value = json!({
        "number": record.sequence_number.to_string(),
        "record": record.sequence_number.record_number().value(),
        "arrival": record.approximate_arrival.as_millis(),
        "key": record.partition_key.as_str(),
        "bytes": record.data.len(),
    });
    let aggregate = (record.data.len() <= LONGEST_AGGREGATE).then(|| Aggregate::of(&record.data));
    match aggregate.flatten() {
        Some(aggregate) => value["aggregate"] = shown_aggregate(&aggregate),
        None => {
            let data = &record.data[..record.data.len().min(MOST_SHOWN_BYTES)];
            value["data"] = base64_simd::STANDARD.encode_to_string(data).into();
        }
    }
    value
}

/// The first records of an aggregate, as many as are shown for one record.
fn shown_aggregate(aggregate: &Aggregate<'_>) -> Value {
    let mut left = MOST_SHOWN_BYTES;
    let records = aggregate.records().take(MOST_AGGREGATED).map_while(|record| {
        let hash_key = record.explicit_hash_key;
        let bytes = record.data.len() + record.partition_key.len() + hash_key.map_or(0, str::len);
        left = left.checked_sub(bytes)?;
        Some(json!({
            "key": record.partition_key,
            "hashKey": hash_key,
            "data": base64_simd::STANDARD.encode_to_string(record.data),
        }))
    });
    json!({ "records": records.collect::<Vec<_>>(), "count": aggregate.len() })
}
