//! One log.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;

use super::fetcher::{Fetched, Fetcher};
use super::log_state::{LogState, bytes_of};
use super::place::Room;
use crate::backend::ShardLog;
use crate::catalog::{Catalog, Edit};
use crate::error::{Error, InvalidArgument, Result};
use crate::model::{LogName, PartitionKey, PutRecord, RecordNumber, Timestamp};
use crate::seam::{
    Appended, CommittedGroup, LogChanges, LogPiece, LogRead, Placed, RECORD_OVERHEAD_BYTES, ReadLimit,
    ReadRecord, RecordSink, ShardCounters, ShownEnd, Ticket, Waiting, check_batch_bytes,
};
use crate::sync::{Condvar, Mutex, MutexGuard};

#[derive(Debug)]
pub(super) struct MemoryLog {
    /// For passing this log to the fetcher.
    this: Weak<MemoryLog>,
    name: LogName,
    catalog: Arc<Catalog>,
    room: Room,
    fetcher: Option<Arc<Fetcher>>,
    state: Mutex<LogState>,
    changes: LogChanges,
    fetching_ended: Condvar,
    /// Counts the puts. Only a shard's log has it.
    counters: Option<ShardCounters>,
}

impl MemoryLog {
    pub(super) fn new(
        name: LogName,
        state: LogState,
        catalog: Arc<Catalog>,
        room: Room,
        fetcher: Option<Arc<Fetcher>>,
        counters: Option<ShardCounters>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            name,
            catalog,
            room,
            fetcher,
            state: Mutex::new(state),
            changes: LogChanges::default(),
            fetching_ended: Condvar::default(),
            counters,
        })
    }

    /// Locks the state, which excludes writers and readers.
    pub(super) fn lock(&self) -> MutexGuard<'_, LogState> {
        self.state.lock()
    }

    /// Whether an append need not wait for the catalog.
    pub(super) fn is_noted(&self) -> bool {
        self.lock().is_noted
    }

    /// Frees the records before a number, and those that arrived before the horizon.
    pub(super) fn trim(&self, horizon: Timestamp, hidden_before: Option<RecordNumber>) {
        let mut state = self.lock();
        let is_gone = |record: &ReadRecord| {
            record.arrival < horizon || hidden_before.is_some_and(|number| record.number < number)
        };
        let gone = state.records.partition_point(is_gone);
        if let Some(last) = gone.checked_sub(1).and_then(|last| state.records.get(last)) {
            state.freed_before = last.number.next();
            let bytes = state.records.drain(..gone).map(|record| bytes_of(&record)).sum();
            state.bytes -= bytes;
            self.room.give_back(bytes);
            let kept = state.records.len();
            state.records.shrink_to(2 * kept);
        }
    }

    /// The parts that can be freed. Memory is freed record by record; this groups several from a number on.
    pub(super) fn pieces(&self, from: RecordNumber) -> Vec<LogPiece> {
        const PIECE_BYTES: u64 = 64 * 1024;
        let state = self.lock();
        let mut pieces: Vec<LogPiece> = Vec::new();
        let first = state.records.partition_point(|record| record.number < from);
        let before = first.checked_sub(1).and_then(|last| state.records.get(last));
        let mut follows = before.map_or(state.freed_before, |last| last.number.next());
        for record in state.records.range(first..) {
            let bytes = bytes_of(record) as u64;
            match pieces.last_mut() {
                Some(piece) if piece.bytes + bytes <= PIECE_BYTES => {
                    piece.records += 1;
                    piece.bytes += bytes;
                    piece.last_arrival = record.arrival;
                }
                _ => pieces.push(LogPiece {
                    follows,
                    records: 1,
                    bytes,
                    last_arrival: record.arrival,
                }),
            }
            follows = record.number.next();
        }
        pieces
    }

    /// Frees all records of a log that the catalog no longer has.
    pub(super) fn clear(&self, state: &mut LogState) {
        state.records = VecDeque::new();
        self.room.give_back(std::mem::take(&mut state.bytes));
    }

    /// Ends all use of the log, and gives its state.
    pub(super) fn close(&self) -> LogState {
        let mut state = self.lock();
        let closed = LogState {
            is_closed: true,
            ..LogState::of(self.name)
        };
        let left = std::mem::replace(&mut *state, closed);
        drop(state);
        self.fetching_ended.notify_all();
        self.changes.notify();
        left.rested()
    }

    fn take_in(
        &self,
        mut state: MutexGuard<'_, LogState>,
        records: &[PutRecord<'_>],
        now: Timestamp,
        bytes: usize,
    ) -> Result<Placed> {
        let keys = records.iter().map(|record| match record.partition_key {
            "" => Ok(PartitionKey::absent()),
            key => PartitionKey::new(key),
        });
        let keys: Vec<_> = keys
            .collect::<Result<_, _>>()
            .map_err(InvalidArgument::PartitionKey)?;
        let first_record =
            (state.numbers.take(records.len())).ok_or(InvalidArgument::SequenceNumbersUsedUp)?;
        let arrival = now.max(state.last_arrival);
        state.last_arrival = arrival;
        state.bytes += bytes;
        let placed = Placed {
            first_record,
            arrival,
        };
        for ((record, partition_key), place) in records.iter().zip(keys).zip(0..) {
            state.records.push_back(ReadRecord {
                number: placed.number(place),
                arrival,
                partition_key,
                data: Bytes::copy_from_slice(record.data),
            });
        }
        Ok(placed)
    }

    /// The records of a call are one group, which is stored at once.
    fn count(&self, records: usize, bytes: usize) {
        if let Some(counters) = self.counters.as_ref().filter(|_| records > 0) {
            counters.count(CommittedGroup {
                records: records as u64,
                bytes: (bytes - RECORD_OVERHEAD_BYTES * records) as u64,
                took: Duration::ZERO,
            });
        }
    }

    /// Whether a read has to wait, for a fetch that it asks for now or for an earlier one.
    fn has_to_fetch(&self, state: &mut LogState) -> bool {
        let Some(fetcher) = &self.fetcher else {
            return false;
        };
        if !state.is_fetching {
            state.reads = state.reads.wrapping_add(1);
            state.is_fetching =
                state.reads.is_multiple_of(fetcher.reads_for_each_wait) && fetcher.ask(self.this.clone());
        }
        state.is_fetching
    }

    /// The log's state, once no fetch is under way.
    fn fetched(&self) -> Poll<Result<MutexGuard<'_, LogState>>> {
        let mut state = self.lock();
        if state.is_closed {
            return Poll::Ready(Err(Error::Closed));
        }
        match self.has_to_fetch(&mut state) {
            true => Poll::Pending,
            false => Poll::Ready(Ok(state)),
        }
    }
}

impl Fetched for MemoryLog {
    fn note_fetched(&self) {
        self.lock().is_fetching = false;
        self.fetching_ended.notify_all();
    }
}

impl ShardLog for MemoryLog {
    fn append(&self, records: &[PutRecord<'_>], now: Timestamp, waiting: Waiting) -> Result<Appended> {
        let bytes = check_batch_bytes(records)?;
        let mut state = self.lock();
        if state.is_closed {
            return Err(Error::Closed);
        }
        if state.is_sealed {
            return Ok(Appended::Sealed);
        }
        if !state.is_noted {
            if waiting == Waiting::Refused {
                return Ok(Appended::WouldWait);
            }
            let log = self.name;
            self.catalog.commit(|_| Ok(vec![Edit::LogResumed { log }]))?;
            state.is_noted = true;
        }
        self.room.take(bytes)?;
        let placed = self.take_in(state, records, now, bytes);
        if placed.is_err() {
            self.room.give_back(bytes);
        }
        let placed = placed?;
        self.count(records.len(), bytes);
        self.changes.notify();
        Ok(Appended::Taken(Ticket::done(placed)))
    }

    fn read(
        &self,
        from: RecordNumber,
        horizon: Timestamp,
        limit: &ReadLimit,
        sink: &mut dyn RecordSink,
    ) -> Poll<Result<LogRead>> {
        let fetched = self.fetched();
        fetched.map_ok(|state| state.read(from, horizon, limit, sink))
    }

    fn seek_time(&self, time: Timestamp) -> Poll<Result<RecordNumber>> {
        self.fetched().map_ok(|state| {
            let first = state.records.get(state.first_from(RecordNumber::FIRST, time));
            first.map_or(state.numbers.next(), |record| record.number)
        })
    }

    fn wait_until_fetched(&self) {
        let mut state = self.lock();
        while state.is_fetching {
            state = self.fetching_ended.wait(state);
        }
    }

    fn end(&self) -> Result<ShownEnd> {
        let state = self.lock();
        Ok(ShownEnd {
            next_record: state.numbers.next(),
            last_arrival: state.last_arrival,
        })
    }

    fn changes(&self) -> &LogChanges {
        &self.changes
    }
}
