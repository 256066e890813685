//! A directory, through the library.
//!
//! A name without a slash is the name of a stream in the server's account and region. If there is none, it is the name
//! of a stream that a program made through the library. A name with slashes names a stream of a namespace:
//! `tenant-7/clicks`, and `/clicks` for one without a namespace.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anabranch::{
    Error, HashKey, KeyRing, PutRecord, ReadLimit, SequenceNumber, Shard, ShardFilter, ShardId,
    ShardIterator, StartingPosition, Store, StoreOptions, Stream, StreamOptions, StreamSummary,
};

use super::super::Failure;
use super::super::secret_file::SecretFile;
use super::rfc3339;
use super::target::{NewRecord, NewStream, Page, PutAnswer, ReadRecord, ShardRow, StreamRow, Target};

/// How a command uses a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Several programs can read at the same time, even while another one writes.
    Read,
    /// Reads while others may write.
    Follow,
    /// Changes the store.
    Change,
    /// Makes a store if there is none.
    Make,
}

/// An open store.
pub(super) struct Directory {
    store: Store,
    namespace: String,
}

/// A position in a shard, and the stream of the shard.
pub(super) struct DirectoryCursor {
    stream: Stream,
    next: ShardIterator,
}

/// How many bytes are read at a time.
const MOST_READ_BYTES: usize = 1 << 20;

impl Directory {
    /// Names without a slash are first looked for in `namespace`.
    pub(super) fn open(
        directory: &Path,
        namespace: &str,
        access: Access,
        keys: Option<&Path>,
    ) -> Result<Self, Failure> {
        // A mistyped name must not make a store.
        if access != Access::Make && !directory.join("CURRENT").exists() {
            return Err(Failure::NoStore {
                directory: directory.to_owned(),
            });
        }
        let mut options = StoreOptions::new().map_sealed_segments(false);
        if let Some(file) = keys {
            options = options.keys(SecretFile::<KeyRing>::read(file)?.secrets);
        }
        let store = match access {
            Access::Follow => options.follow(directory),
            // If no program has the store, its unfinished writes are recovered in memory, as the next opener will do on
            // the disk.
            Access::Read => match options.clone().read_only(true).open(directory) {
                Err(Error::Locked { .. }) => options.follow(directory),
                opened => opened,
            },
            Access::Change | Access::Make => options.open(directory),
        };
        Ok(Self::of_store(store.map_err(Failure::Directory)?, namespace))
    }

    /// A store that is open already.
    pub(super) fn of_store(store: Store, namespace: &str) -> Self {
        Self {
            store,
            namespace: namespace.to_owned(),
        }
    }

    fn find(&self, name: &str) -> Result<Stream, Failure> {
        let found = self.find_if_there(name)?;
        // The message has the name as it was given, perhaps with a namespace.
        found.ok_or_else(|| {
            let place = match name.contains('/') {
                true => String::new(),
                false => format!(" in {}", self.namespace),
            };
            Failure::Refused(format!(
                "stream {name} not found{place}; `anabranch streams` lists those of all regions and accounts"
            ))
        })
    }

    fn find_if_there(&self, name: &str) -> Result<Option<Stream>, Failure> {
        let found = match name.rsplit_once('/') {
            Some((namespace, local)) => self
                .store
                .namespace(namespace)
                .and_then(|namespace| namespace.stream(local)),
            None => self
                .store
                .namespace(&self.namespace)
                .and_then(|namespace| namespace.stream(name))
                .or_else(|error| match error {
                    Error::StreamNotFound { .. } => self.store.stream(name),
                    error => Err(error),
                }),
        };
        match found {
            Ok(stream) => Ok(Some(stream)),
            Err(Error::StreamNotFound { .. }) => Ok(None),
            Err(error) => Err(Failure::Directory(error)),
        }
    }

    /// The name by which [`find`](Self::find) finds a stream.
    fn shown_name(&self, namespace: &str, name: &str) -> String {
        let is_hidden = || {
            let ours = self.store.namespace(&self.namespace);
            ours.and_then(|ours| ours.stream(name)).is_ok()
        };
        match namespace {
            _ if namespace == self.namespace => name.to_owned(),
            "" if !is_hidden() => name.to_owned(),
            _ => format!("{namespace}/{name}"),
        }
    }

    fn row(&self, namespace: &str, summary: &StreamSummary) -> StreamRow {
        StreamRow {
            name: self.shown_name(namespace, &summary.name),
            status: summary.status.to_string(),
            mode: summary.mode.to_string(),
            open_shards: summary.open_shard_count,
            retention: summary.retention.duration(),
            max_record_bytes: summary.max_record_bytes as usize,
            created: summary.created,
        }
    }
}

impl Target for Directory {
    type Cursor = DirectoryCursor;

    const BETWEEN_READS: Duration = Duration::from_millis(50);

    /// A log that does not take a record does not take later ones either.
    const KEEPS_ORDER: bool = true;

    fn streams(&mut self) -> Result<Vec<StreamRow>, Failure> {
        let mut rows = Vec::new();
        for namespace in self.store.namespaces().map_err(Failure::Directory)? {
            let streams = self
                .store
                .namespace(&namespace)
                .and_then(|namespace| namespace.streams(None, usize::MAX));
            let streams = streams.map_err(Failure::Directory)?;
            rows.extend(streams.iter().map(|summary| self.row(&namespace, summary)));
        }
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(rows)
    }

    fn look_up(&mut self, stream: &str) -> Result<Option<StreamRow>, Failure> {
        let Some(stream) = self.find_if_there(stream)? else {
            return Ok(None);
        };
        let summary = stream.summary().map_err(Failure::Directory)?;
        Ok(Some(self.row(stream.namespace(), &summary)))
    }

    fn shards(&mut self, stream: &str, filter: ShardFilter) -> Result<Vec<ShardRow>, Failure> {
        let shards = self.find(stream)?.shards(&filter).map_err(Failure::Directory)?;
        Ok(shards.iter().map(ShardRow::from).collect())
    }

    fn tags(&mut self, stream: &str) -> Result<BTreeMap<String, String>, Failure> {
        self.find(stream)?.tags().map_err(Failure::Directory)
    }

    fn create(&mut self, stream: &str, new: &NewStream) -> Result<(), Failure> {
        let (namespace, name) = stream.rsplit_once('/').unwrap_or((&self.namespace, stream));
        let namespace = self.store.namespace(namespace).map_err(Failure::Directory)?;
        let default = StreamOptions::default();
        let options = StreamOptions {
            shard_count: new.shards,
            mode: new.mode,
            retention: new.retention.unwrap_or(default.retention),
            max_record_bytes: new.max_record_bytes.unwrap_or(default.max_record_bytes),
            tags: new.tags.clone(),
            ..default
        };
        namespace
            .create_stream_with(name, options)
            .map(|_| ())
            .map_err(Failure::Directory)
    }

    fn delete(&mut self, stream: &str) -> Result<(), Failure> {
        self.find(stream)?.delete().map_err(Failure::Directory)
    }

    fn split(&mut self, stream: &str, shard: ShardId, at: HashKey) -> Result<(), Failure> {
        self.find(stream)?
            .split_shard(shard, at)
            .map_err(Failure::Directory)
    }

    fn merge(&mut self, stream: &str, first: ShardId, second: ShardId) -> Result<(), Failure> {
        self.find(stream)?
            .merge_shards(first, second)
            .map_err(Failure::Directory)
    }

    fn trim(&mut self, stream: &str, to: StartingPosition) -> Result<(), Failure> {
        let stream = self.find(stream)?;
        let trimmed = match to {
            StartingPosition::AtSequenceNumber(number) => {
                check_is_of(&stream, number)?;
                let position = stream.shard_iterator(number.shard_id(), to);
                position.and_then(|position| stream.trim_shard_to(&position))
            }
            // A mistyped year would hide all records.
            StartingPosition::AtTimestamp(time) if time > self.store.now() => {
                return Err(Failure::Usage(format!(
                    "--to: {} is in the future",
                    rfc3339::shown(time)
                )));
            }
            to => stream
                .reader(to)
                .and_then(|reader| stream.trim_to(&reader.checkpoint())),
        };
        // House-keeping frees the space.
        let kept = trimmed.and_then(|()| self.store.maintain());
        kept.map_err(Failure::Directory)
    }

    fn put(&mut self, stream: &str, records: &[NewRecord]) -> Result<PutAnswer, Failure> {
        let stream = self.find(stream)?;
        let records: Vec<_> = records
            .iter()
            .map(|record| PutRecord {
                partition_key: &record.key,
                data: &record.data,
                explicit_hash_key: record.hash_key,
            })
            .collect();
        let outcomes = stream.append(&records).map_err(Failure::Directory)?.each().wait();
        let mut answer = PutAnswer::default();
        for (place, outcome) in outcomes.into_iter().enumerate() {
            match outcome {
                Ok(put) => answer.note_taken(put.shard_id, put.sequence_number.to_string()),
                Err(error) => {
                    answer.untaken.push(place);
                    answer.is_doubtful |= !matches!(error, Error::StorageFull { .. });
                    // If the disk is full or broken, another try does not help.
                    answer.failure = answer.failure.or(Some(Failure::Directory(error)));
                }
            }
        }
        Ok(answer)
    }

    fn cursor(
        &mut self,
        stream: &str,
        shard: ShardId,
        from: StartingPosition,
    ) -> Result<Option<DirectoryCursor>, Failure> {
        let stream = self.find(stream)?;
        match stream.shard_iterator(shard, from) {
            Ok(next) => Ok(Some(DirectoryCursor { stream, next })),
            Err(Error::ShardNotFound { .. }) => Ok(None),
            Err(error) => Err(Failure::Directory(error)),
        }
    }

    fn cursor_behind(
        &mut self,
        stream: &str,
        shard: ShardId,
        number: &str,
    ) -> Result<Option<DirectoryCursor>, Failure> {
        let number = number
            .parse()
            .map_err(|error| Failure::Refused(format!("{number} is no sequence number: {error}")))?;
        self.cursor(stream, shard, StartingPosition::AfterSequenceNumber(number))
    }

    fn count_from(&mut self, cursor: &DirectoryCursor) -> Result<Option<u64>, Failure> {
        match cursor.stream.shard_lag(&cursor.next) {
            Ok(lag) => Ok(Some(lag.records)),
            Err(Error::ShardNotFound { .. }) => Ok(Some(0)),
            Err(error) => Err(Failure::Directory(error)),
        }
    }

    fn read(&mut self, cursor: &mut DirectoryCursor, limit: usize) -> Result<Page, Failure> {
        let limit = ReadLimit {
            records: limit,
            bytes: MOST_READ_BYTES,
        };
        loop {
            let batch = match cursor.stream.get_records(&cursor.next, &limit) {
                Ok(batch) => batch,
                // As in a server, reading continues with the first record that is kept.
                Err(Error::Trimmed {
                    first_kept: Some(next),
                    ..
                }) => {
                    cursor.next.next = next;
                    continue;
                }
                Err(Error::Trimmed { .. } | Error::ShardNotFound { .. }) => return Ok(Page::of_gone_shard()),
                Err(error) => return Err(Failure::Directory(error)),
            };
            cursor.next = batch.next.unwrap_or(cursor.next);
            let shard = cursor.next.shard;
            let records = batch.records.into_iter().map(|record| ReadRecord {
                shard,
                sequence_number: record.sequence_number.to_string(),
                arrival: record.approximate_arrival,
                key: record.partition_key.as_str().to_owned(),
                data: record.data,
            });
            return Ok(Page {
                records: records.collect(),
                millis_behind: batch.millis_behind_latest,
                is_at_head: batch.millis_behind_latest == 0,
                is_drained: batch.next.is_none(),
            });
        }
    }

    fn close(self) -> Result<(), Failure> {
        self.store.close().map_err(Failure::Directory)
    }
}

/// Refuses a sequence number of another stream, whose shards may have been made in the same second. If there is a
/// record of this number, it has to have arrived at the time in the sequence number.
fn check_is_of(stream: &Stream, number: SequenceNumber) -> Result<(), Failure> {
    let at = StartingPosition::AtSequenceNumber(number);
    let position = stream.shard_iterator(number.shard_id(), at);
    let one = ReadLimit { records: 1, bytes: 0 };
    let read = position.and_then(|position| stream.get_records(&position, &one));
    let first = match read {
        Ok(batch) => batch.records.first().map(|record| record.sequence_number),
        // The record is hidden already, or damaged. The next call gives the error for an impossible number.
        Err(_) => None,
    };
    match first {
        Some(first) if first.record_number() == number.record_number() && first != number => {
            Err(Failure::Refused(format!(
                "sequence number {number} did not come from this stream: in {} that record arrived at another time",
                number.shard_id()
            )))
        }
        _ => Ok(()),
    }
}

impl From<&Shard> for ShardRow {
    fn from(shard: &Shard) -> Self {
        Self {
            id: shard.id,
            range: shard.hash_key_range,
            parents: shard.parents().collect(),
            is_open: shard.is_open(),
        }
    }
}
