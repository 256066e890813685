//! Which log bytes belong to.

use crate::model::{LogName, QueueId, ShardId, StreamId};

/// The log that bytes belong to. Part of every checksum, so that bytes of another store, stream or shard never
/// validate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LogIdentity {
    pub(crate) store: u128,
    pub(crate) name: LogName,
}

impl LogIdentity {
    #[cfg(test)]
    pub(crate) fn of_shard(store: u128, stream: StreamId, shard: ShardId) -> Self {
        let name = LogName::Shard(stream, shard);
        Self { store, name }
    }

    /// The log whose records are other logs' frames.
    pub(crate) fn commit_journal(store: u128) -> Self {
        let name = LogName::CommitJournal;
        Self { store, name }
    }

    pub(crate) fn is_commit_journal(&self) -> bool {
        self.name == LogName::CommitJournal
    }

    /// The name as header pages and checksums have it: the kind of log, and two numbers that mean what the kind says.
    pub(crate) fn name_in_numbers(&self) -> (u16, u64, u32) {
        match self.name {
            LogName::Shard(stream, shard) => (SHARD, stream.value(), shard.index()),
            LogName::CommitJournal => (JOURNAL, 0, 0),
            LogName::Queue(stream, queue) => (QUEUE, stream.value(), queue.value()),
        }
    }

    /// The bytes that the key of a segment is bound to.
    pub(crate) fn associated(&self, salt: u64) -> [u8; 38] {
        let (kind, first, second) = self.name_in_numbers();
        let mut bytes = [0; 38];
        bytes[0..16].copy_from_slice(&self.store.to_le_bytes());
        bytes[16..18].copy_from_slice(&kind.to_le_bytes());
        bytes[18..26].copy_from_slice(&first.to_le_bytes());
        bytes[26..30].copy_from_slice(&second.to_le_bytes());
        bytes[30..38].copy_from_slice(&salt.to_le_bytes());
        bytes
    }

    pub(crate) fn of_numbers(store: u128, kind: u16, first: u64, second: u32) -> Option<Self> {
        let name = match (kind, first, second) {
            (SHARD, stream, shard) => LogName::Shard(StreamId::new(stream), ShardId::new(shard).ok()?),
            (JOURNAL, 0, 0) => LogName::CommitJournal,
            (QUEUE, stream, queue) => LogName::Queue(StreamId::new(stream), QueueId::new(queue)),
            _ => return None,
        };
        Some(Self { store, name })
    }
}

/// The kinds of logs as they are stored. Another kind gets the next number.
const SHARD: u16 = 1;
const JOURNAL: u16 = 2;
const QUEUE: u16 = 3;
