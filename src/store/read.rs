//! Reading one shard from a position.

use std::ops::Range;
use std::sync::Arc;
use std::task::Poll;

use super::stream::Stream;
use super::stream_core::ShardIdentity;
use crate::backend::ShardLog;
use crate::catalog::{LogState, StreamState};
use crate::error::{Error, ForeignReason, Result};
use crate::model::{
    ChildShard, Moment, ParsedSequenceNumber, Record, RecordNumber, SequenceNumber, Shard, ShardId,
    StartingPosition, StreamId, Timestamp,
};
use crate::seam::{LogRead, ReadLimit, ReadRecord, RecordSink};

/// A position in one shard: small, self-contained, and valid as long as the shard exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ShardIterator {
    /// The stream.
    pub stream: StreamId,
    /// The shard.
    pub shard: ShardId,
    /// The number of the next record to read. If no record has that number, reading begins at the next one.
    /// [`RecordNumber::BEFORE_FIRST`] is the trim horizon at the time of reading.
    pub next: RecordNumber,
}

/// Records of one shard, and the position to go on at.
#[derive(Clone, Debug)]
pub struct RecordBatch {
    /// In the order in which they were put. May be empty.
    pub records: Vec<Record>,
    /// The position to go on at; `None` when the shard is closed and everything in it has been read.
    pub next: Option<ShardIterator>,
    /// The age of the last record returned, or else of the next one; 0 when there is nothing more to read.
    pub millis_behind_latest: u64,
    /// The shards that follow this one, when `next` is `None`. Their records come after all of this shard's.
    pub child_shards: Vec<ChildShard>,
    /// Whether the stream is encrypted now ([`Stream::is_encrypted`]). Older records of it may not be.
    pub is_encrypted: bool,
}

impl Stream {
    /// A position in a shard.
    ///
    /// A sequence number that belongs to the shard, but to no record that exists, is a position too: reading begins at
    /// the next record. A time in the future gives the present end.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// use anabranch::{ReadLimit, StartingPosition};
    ///
    /// let first = stream.put("user-42", b"first")?;
    /// stream.put("user-42", b"second")?;
    /// let behind = StartingPosition::AfterSequenceNumber(first.sequence_number);
    /// let from = stream.shard_iterator(first.shard_id, behind)?;
    /// let read = stream.get_records(&from, &ReadLimit::default())?;
    /// assert_eq!(read.records[0].data, "second");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::ShardNotFound`] also once the shard has expired, [`Error::ForeignSequenceNumber`],
    /// [`Error::SequenceNumberAtEnd`], [`Error::StreamNotFound`], [`Error::Corrupt`], [`Error::Io`],
    /// [`Error::Closed`].
    pub fn shard_iterator(&self, shard: ShardId, position: StartingPosition) -> Result<ShardIterator> {
        let (view, log) = self.readable(shard)?;
        let next = match position {
            StartingPosition::TrimHorizon => RecordNumber::BEFORE_FIRST,
            StartingPosition::Latest => log.end()?.next_record,
            StartingPosition::AtTimestamp(time) if time <= view.horizon => RecordNumber::BEFORE_FIRST,
            StartingPosition::AtTimestamp(time) => view.visible_from(seek_time(&log, time)?),
            StartingPosition::AtSequenceNumber(number) => {
                view.check_number(number)?;
                number.record_number().max(RecordNumber::FIRST)
            }
            StartingPosition::AfterSequenceNumber(number) => {
                view.check_number(number)?;
                if view.shard.ending_sequence_number() == Some(number) {
                    return Err(Error::SequenceNumberAtEnd { number });
                }
                number.record_number().next()
            }
        };
        Ok(ShardIterator {
            stream: self.id(),
            shard,
            next,
        })
    }

    /// Reads records from a position. Does not wait for records: at the end the list is short or empty.
    ///
    /// Records that have expired since the position was given are not skipped silently, unless the position is the trim
    /// horizon:
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # use std::time::Duration;
    /// # use anabranch::{ManualClock, Memory, StoreOptions, Timestamp};
    /// # let clock = ManualClock::starting_at(Timestamp::from_millis(1_700_000_000_000));
    /// # let store = StoreOptions::new().clock(clock.clone()).keeper(false).open_in_memory(&Memory::new())?;
    /// use anabranch::{Error, ReadLimit, ShardIterator, StartingPosition};
    ///
    /// let stream = store.create_stream("clicks", 1)?;
    /// let put = stream.put("user-42", b"expires")?;
    /// let from = stream.shard_iterator(
    ///     put.shard_id,
    ///     StartingPosition::AtSequenceNumber(put.sequence_number),
    /// )?;
    /// # for _ in 0..30 { clock.advance(Duration::from_secs(3_600)); store.maintain()?; }
    /// // A day later.
    /// stream.put("user-42", b"later")?;
    /// let limit = ReadLimit::default();
    /// let read = match stream.get_records(&from, &limit) {
    ///     Err(Error::Trimmed { first_kept: Some(next), .. }) => {
    ///         println!("records were missed");
    ///         stream.get_records(&ShardIterator { next, ..from }, &limit)?
    ///     }
    ///     read => read?,
    /// };
    /// assert_eq!(read.records[0].data, "later");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Trimmed`] if records from the position on have expired, with the position to go on at;
    /// [`Error::ShardNotFound`] once the shard has expired, [`Error::StreamNotFound`] also for an iterator of another
    /// stream, [`Error::Corrupt`] in front of damage (the records before it are returned first), [`Error::Io`],
    /// [`Error::Closed`].
    pub fn get_records(&self, from: &ShardIterator, limit: &ReadLimit) -> Result<RecordBatch> {
        self.check_iterator(from)?;
        let (view, log) = self.readable(from.shard)?;
        let mut records = Records {
            of: view.identity,
            list: Vec::new(),
            bytes: 0,
        };
        let is_oldest = from.next == RecordNumber::BEFORE_FIRST;
        let from_record = match is_oldest {
            true => view.oldest(&log)?,
            false => view.visible_from(from.next),
        };
        let read = answer_of(&log, || log.read(from_record, view.horizon, limit, &mut records))?;
        let first_kept = match read.began_behind_trimmed {
            None if !is_oldest && from_record > from.next => {
                let has_lost = view.has_lost_record_in(&log, &(from.next..from_record))?;
                has_lost.then_some(from_record)
            }
            began => began,
        };
        if !is_oldest && first_kept.is_some() {
            return Err(Error::Trimmed {
                shard: from.shard,
                from: from.next,
                first_kept,
            });
        }
        self.count_read(&records);
        let records = records.list;
        let is_drained = !view.shard.is_open() && read.is_at_end();
        let next = ShardIterator {
            next: read.next,
            ..*from
        };
        Ok(RecordBatch {
            millis_behind_latest: view.millis_behind_latest(read, &records, &log)?,
            next: (!is_drained).then_some(next),
            child_shards: if is_drained { view.children } else { Vec::new() },
            records,
            is_encrypted: self.is_encrypted(),
        })
    }

    /// Refuses an iterator of another stream.
    pub(super) fn check_iterator(&self, iterator: &ShardIterator) -> Result<()> {
        match iterator.stream == self.id() {
            true => Ok(()),
            false => Err(Error::StreamNotFound {
                name: format!("number {}", iterator.stream),
            }),
        }
    }

    /// Whether a sequence number can have been given out by now, as far as its time says. Its time must not be later
    /// than the latest of these: the clock, the last record of its shard, the creation of its shard, and the creation
    /// of the newest shard. The clock alone is not enough, since it may have gone back.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// use anabranch::SequenceNumber;
    ///
    /// let put = stream.put("user-42", b"{}")?;
    /// let number = SequenceNumber::parse_any(&put.sequence_number.to_string()).unwrap();
    /// assert!(stream.can_have_issued(&number)?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`summary`](Self::summary).
    pub fn can_have_issued(&self, number: &ParsedSequenceNumber) -> Result<bool> {
        let Some(seconds) = number.seconds() else {
            return Ok(true);
        };
        let shard = u32::try_from(number.shard_index())
            .ok()
            .and_then(|index| ShardId::new(index).ok());
        let (known, is_listed) = self.read(|stream, moment| {
            let lineage = stream.lineage.as_ref();
            let newest = lineage.and_then(|lineage| lineage.shards().next_back());
            let its_shard = shard.and_then(|shard| lineage?.shard(shard));
            let created = newest
                .into_iter()
                .chain(its_shard)
                .map(|shard| shard.created_seconds);
            let known = created.max().unwrap_or_default().max(moment.now.as_seconds());
            Ok((known, its_shard.is_some()))
        })?;
        let last_arrival = match shard.filter(|_| seconds > known && is_listed) {
            Some(shard) => self.core.open_log(shard)?.end()?.last_arrival.as_seconds(),
            None => 0,
        };
        Ok(seconds <= known.max(last_arrival))
    }

    /// A sequence number in front of a position: reading after it goes on at the position. It need not be a record's.
    /// It rises with the time of the call, even if the position stays.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// use anabranch::StartingPosition;
    ///
    /// let put = stream.put("user-42", b"{}")?;
    /// let end = stream.shard_iterator(put.shard_id, StartingPosition::Latest)?;
    /// let number = stream.sequence_number_before(&end)?;
    /// let same = stream.shard_iterator(put.shard_id, StartingPosition::AfterSequenceNumber(number))?;
    /// assert_eq!(same, end);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::ShardNotFound`] once the shard has expired, [`Error::StreamNotFound`], [`Error::Closed`].
    pub fn sequence_number_before(&self, position: &ShardIterator) -> Result<SequenceNumber> {
        let (identity, now) = self.read(|stream, moment| {
            let view = ShardView::of(stream, position.shard, moment);
            let view = view.ok_or_else(|| Error::ShardNotFound {
                stream: stream.name.local.clone(),
                shard: position.shard,
            })?;
            Ok((view.identity, view.now))
        })?;
        let before = RecordNumber::new(position.next.value().saturating_sub(1));
        Ok(identity.sequence_number(before, now))
    }

    fn count_read(&self, read: &Records) {
        let records = read.list.len() as u64;
        // The counters of the whole store come first, as for puts.
        self.store_core().reads.count(records, read.bytes);
        self.core.reads.count(records, read.bytes);
    }

    pub(super) fn log_to_watch(&self, shard: ShardId) -> Result<Arc<dyn ShardLog>> {
        self.readable(shard).map(|(_, log)| log)
    }

    /// What the catalog says of a readable shard, and its log.
    pub(super) fn readable(&self, shard: ShardId) -> Result<(ShardView, Arc<dyn ShardLog>)> {
        self.store_core().begin(Some(self.id()))?;
        self.readable_as_it_is(shard)
    }

    /// The same without finishing due changes.
    pub(super) fn readable_as_it_is(&self, shard: ShardId) -> Result<(ShardView, Arc<dyn ShardLog>)> {
        let view = self.store_core().read_stream(&self.core, |stream, moment| {
            ShardView::of(stream, shard, moment).ok_or_else(|| Error::ShardNotFound {
                stream: stream.name.local.clone(),
                shard,
            })
        })?;
        Ok((view, self.core.open_log(shard)?))
    }
}

/// A shard at one moment.
pub(super) struct ShardView {
    shard: Shard,
    children: Vec<ChildShard>,
    identity: ShardIdentity,
    horizon: Timestamp,
    /// Records before this one are also hidden.
    first_visible: Option<RecordNumber>,
    pub(super) now: Timestamp,
}

impl ShardView {
    fn of(stream: &StreamState, id: ShardId, moment: Moment) -> Option<Self> {
        let lineage = stream.lineage.as_ref()?;
        let horizon = stream.horizon(moment);
        let shard = lineage
            .shard(id)
            .filter(|shard| !shard.is_expired(horizon))?
            .clone();
        let children = match shard.is_open() {
            true => Vec::new(),
            false => lineage.children(id).map(ChildShard::from).collect(),
        };
        let identity = ShardIdentity {
            shard: id,
            created_seconds: shard.created_seconds,
        };
        Some(Self {
            shard,
            children,
            identity,
            horizon,
            first_visible: stream.logs.get(&id).and_then(first_visible),
            now: moment.now,
        })
    }

    /// The number at which reading from this record on begins.
    fn visible_from(&self, record: RecordNumber) -> RecordNumber {
        self.first_visible.map_or(record, |first| record.max(first))
    }

    /// The first visible record. If damage hides it, the first of all: reading from there serves the records before the
    /// damage.
    pub(super) fn oldest(&self, log: &Arc<dyn ShardLog>) -> Result<RecordNumber> {
        match seek_time(log, self.horizon) {
            Ok(oldest) => Ok(self.visible_from(oldest)),
            Err(Error::Corrupt { .. } | Error::Unreadable { .. }) => {
                Ok(self.visible_from(RecordNumber::FIRST))
            }
            Err(error) => Err(error),
        }
    }

    /// The first visible record, and when it arrived.
    pub(super) fn oldest_record(&self, log: &Arc<dyn ShardLog>) -> Result<Option<(RecordNumber, Timestamp)>> {
        let from = self.oldest(log)?;
        let one = ReadLimit { records: 1, bytes: 0 };
        let mut found: Vec<ReadRecord> = Vec::new();
        answer_of(log, || log.read(from, self.horizon, &one, &mut found))?;
        Ok(found.first().map(|record| (record.number, record.arrival)))
    }

    /// Whether there is a visible record among these numbers.
    pub(super) fn has_record_in(
        &self,
        log: &Arc<dyn ShardLog>,
        numbers: &Range<RecordNumber>,
    ) -> Result<bool> {
        let one = ReadLimit { records: 1, bytes: 0 };
        let mut from = numbers.start.max(self.oldest(log)?);
        while from < numbers.end {
            let mut found: Vec<ReadRecord> = Vec::new();
            let read = answer_of(log, || log.read(from, self.horizon, &one, &mut found))?;
            if let Some(record) = found.first() {
                return Ok(record.number < numbers.end);
            }
            if read.is_at_end() || read.next <= from {
                return Ok(false);
            }
            // One read may look only at records that it skips.
            from = read.next;
        }
        Ok(false)
    }

    /// Whether records with these numbers were hidden or freed. Numbers that were left out do not count: two readers of
    /// the same records can go on from different ones of them.
    fn has_lost_record_in(&self, log: &Arc<dyn ShardLog>, numbers: &Range<RecordNumber>) -> Result<bool> {
        let one = ReadLimit { records: 1, bytes: 0 };
        let mut found: Vec<ReadRecord> = Vec::new();
        match answer_of(log, || {
            log.read(numbers.start, Timestamp::EPOCH, &one, &mut found)
        }) {
            Ok(read) => {
                let next = found.first().map_or(read.next, |record| record.number);
                Ok(read.began_behind_trimmed.is_some() || next < numbers.end)
            }
            // There was something.
            Err(Error::Corrupt { .. } | Error::Unreadable { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn check_number(&self, number: SequenceNumber) -> Result<()> {
        let foreign = |reason| Err(Error::ForeignSequenceNumber { number, reason });
        if number.shard_id() != self.shard.id {
            return foreign(ForeignReason::OtherShard {
                encoded: number.shard_id(),
                used_with: self.shard.id,
            });
        }
        if number.created_seconds() != self.shard.created_seconds {
            return foreign(ForeignReason::OtherStream);
        }
        Ok(())
    }

    fn millis_behind_latest(
        &self,
        read: LogRead,
        records: &[Record],
        log: &Arc<dyn ShardLog>,
    ) -> Result<u64> {
        if read.is_at_end() {
            return Ok(0);
        }
        let arrival = match records.last() {
            Some(last) => Some(last.approximate_arrival),
            None => arrival_from(log, read.next)?,
        };
        Ok(arrival.map_or(0, |arrival| self.now.since(arrival).as_millis() as u64))
    }
}

/// The number behind the hidden records, if some are hidden.
pub(super) fn first_visible(log: &LogState) -> Option<RecordNumber> {
    let hidden = log.hidden_before?;
    // The closing of a closed shard can be hidden with its records.
    Some(log.end.map_or(hidden, |end| hidden.min(end.next_record)))
}

/// When a record arrived, or the next one if no record has that number.
pub(super) fn arrival_from(log: &Arc<dyn ShardLog>, from: RecordNumber) -> Result<Option<Timestamp>> {
    let one = ReadLimit { records: 1, bytes: 0 };
    let mut found: Vec<ReadRecord> = Vec::new();
    answer_of(log, || log.read(from, Timestamp::EPOCH, &one, &mut found))?;
    Ok(found.first().map(|record| record.arrival))
}

fn seek_time(log: &Arc<dyn ShardLog>, time: Timestamp) -> Result<RecordNumber> {
    answer_of(log, || log.seek_time(time))
}

/// Calls a log until it answers, and waits in between for what it fetches.
pub(super) fn answer_of<T>(log: &Arc<dyn ShardLog>, mut ask: impl FnMut() -> Poll<Result<T>>) -> Result<T> {
    loop {
        match ask() {
            Poll::Ready(answer) => return answer,
            Poll::Pending => log.wait_until_fetched(),
        }
    }
}

/// The records of a shard that a read returns.
struct Records {
    of: ShardIdentity,
    list: Vec<Record>,
    /// Of data and partition keys.
    bytes: u64,
}

impl RecordSink for Records {
    fn expect(&mut self, records: usize) {
        self.list.reserve(records);
    }

    fn take(&mut self, record: ReadRecord) {
        self.bytes += (record.partition_key.as_str().len() + record.data.len()) as u64;
        self.list.push(Record {
            sequence_number: self.of.sequence_number(record.number, record.arrival),
            approximate_arrival: record.arrival,
            partition_key: record.partition_key,
            data: record.data,
        });
    }
}
