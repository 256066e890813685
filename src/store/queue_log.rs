//! The log of a queue, for the floor above.

use std::sync::Arc;

use super::read::answer_of;
use super::stream::Stream;
use crate::backend::ShardLog;
use crate::catalog::{Edit, QueueState};
use crate::error::{Error, Result};
use crate::model::{LogName, PutRecord, QueueId, RecordNumber, Timestamp};
use crate::seam::{Appended, ReadLimit, ReadRecord, Ticket, Waiting};

/// Entries of one queue, in the order in which they were written. Entries before a number are hidden once they are no
/// longer needed, and freed by house-keeping.
#[derive(Clone, Debug)]
pub(crate) struct QueueLog {
    stream: Stream,
    name: LogName,
    log: Arc<dyn ShardLog>,
}

/// Entries that were taken in. They are durable when [`wait`](Self::wait) returns.
#[derive(Debug)]
pub(crate) struct WrittenEntries(Ticket);

impl WrittenEntries {
    /// Blocks until the entries are as durable as the store's level says. Gives the number of the first.
    pub(crate) fn wait(&self) -> Result<RecordNumber> {
        self.0.wait().map(|placed| placed.first_record)
    }
}

impl QueueLog {
    pub(crate) fn open(stream: &Stream, queue: QueueId) -> Result<Self> {
        let name = LogName::Queue(stream.id(), queue);
        Ok(Self {
            stream: stream.clone(),
            name,
            log: stream.store_core().logs.open(name)?,
        })
    }

    /// Gives all entries from this one on, oldest first.
    pub(crate) fn read(
        &self,
        mut from: RecordNumber,
        mut take: impl FnMut(RecordNumber, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let limit = ReadLimit {
            records: 1_000,
            ..ReadLimit::default()
        };
        loop {
            let mut entries: Vec<ReadRecord> = Vec::new();
            let read = answer_of(&self.log, || {
                self.log.read(from, Timestamp::EPOCH, &limit, &mut entries)
            })?;
            for entry in &entries {
                take(entry.number, &entry.data)?;
            }
            if read.is_at_end() {
                return Ok(());
            }
            if read.next <= from {
                // A deleted queue has no entries.
                self.begins_at()?;
                let log = format!("the log {:?}", self.name);
                let reason = "it cannot be read on from this entry";
                return Err(Error::corrupt(log.as_ref(), from.value(), reason));
            }
            from = read.next;
        }
    }

    /// The first entry that is needed, if entries before it were hidden.
    pub(crate) fn begins_at(&self) -> Result<Option<RecordNumber>> {
        self.with_queue(|queue| queue.log.hidden_before)
    }

    /// Takes entries in, in their order, in one group.
    pub(crate) fn append(&self, entries: &[Vec<u8>]) -> Result<WrittenEntries> {
        let store = self.stream.store_core();
        store.check_takes_changes()?;
        let records: Vec<_> = entries.iter().map(|entry| PutRecord::new("", entry)).collect();
        match self.log.append(&records, store.now(), Waiting::Allowed)? {
            Appended::Taken(ticket) => Ok(WrittenEntries(ticket)),
            // The queue was deleted.
            Appended::Sealed | Appended::WouldWait => Err(self.not_found()),
        }
    }

    /// Makes all entries durable that were taken in, whatever the store's level is.
    pub(crate) fn sync(&self) -> Result<()> {
        self.stream.store_core().logs.sync(self.name)
    }

    /// The entries before this number are no longer needed.
    pub(crate) fn hide_before(&self, number: RecordNumber) -> Result<()> {
        let store = self.stream.store_core();
        store.catalog.commit(|state| {
            let is_there = state.log(self.name).is_some();
            let before = vec![(self.name, number)];
            Ok(is_there
                .then_some(Edit::RecordsHidden { before })
                .into_iter()
                .collect())
        })
    }

    /// The bytes of entries from which on they are compacted. `usual` is the value without the option for tests.
    pub(crate) fn compaction_bytes(&self, usual: usize) -> usize {
        let most = self.stream.store_core().options.local.compaction_bytes;
        usize::try_from(most).map_or(usual, |most| most.min(usual))
    }

    fn with_queue<T>(&self, read: impl FnOnce(&QueueState) -> T) -> Result<T> {
        let state = self.stream.store_core().catalog.read();
        let stream = state.stream(self.stream.id());
        let queue = stream
            .zip(self.name.queue())
            .and_then(|(stream, queue)| stream.queues.get(&queue));
        queue.map(read).ok_or_else(|| self.not_found())
    }

    fn not_found(&self) -> Error {
        let queue = self
            .name
            .queue()
            .map_or_else(String::new, |queue| format!("number {queue}"));
        Error::QueueNotFound {
            stream: self.stream.name().to_owned(),
            queue,
        }
    }
}
