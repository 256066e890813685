//! The names of logs.

use serde::{Deserialize, Serialize};

use super::{QueueId, ShardId, StreamId};

/// The name of a log, unique in its store for ever. Variants are only added at the end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum LogName {
    /// The records of a shard.
    Shard(StreamId, ShardId),
    /// Frames of other logs, which are durable here before they are in their segments.
    CommitJournal,
    /// The state of a stream's records in a queue.
    Queue(StreamId, QueueId),
}

/// The prefix of the name of a queue's directory.
const QUEUE: &str = "queue-";

impl LogName {
    /// The stream that the log belongs to, if it belongs to one.
    pub fn stream(self) -> Option<StreamId> {
        match self {
            Self::Shard(stream, _) | Self::Queue(stream, _) => Some(stream),
            Self::CommitJournal => None,
        }
    }

    /// The shard whose records the log has, if it is a shard's.
    pub fn shard(self) -> Option<ShardId> {
        match self {
            Self::Shard(_, shard) => Some(shard),
            Self::CommitJournal | Self::Queue(..) => None,
        }
    }

    /// The queue whose state the log has, if it is a queue's.
    pub fn queue(self) -> Option<QueueId> {
        match self {
            Self::Queue(_, queue) => Some(queue),
            Self::CommitJournal | Self::Shard(..) => None,
        }
    }

    /// The name of the log's directory in that of its stream, or in the store's if it belongs to no stream.
    pub(crate) fn directory_name(self) -> String {
        match self {
            Self::Shard(_, shard) => shard.to_string(),
            Self::CommitJournal => "journal".to_owned(),
            Self::Queue(_, queue) => format!("{QUEUE}{:010}", queue.value()),
        }
    }

    /// The log of a stream whose directory has this name.
    pub(crate) fn in_stream(stream: StreamId, directory_name: &str) -> Option<Self> {
        let name = match directory_name.strip_prefix(QUEUE) {
            Some(number) => Self::Queue(stream, QueueId::new(number.parse().ok()?)),
            None => Self::Shard(stream, directory_name.parse().ok()?),
        };
        (name.directory_name() == directory_name).then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_directories_read_back_and_no_others_do() {
        let stream = StreamId::new(3);
        for log in [
            LogName::Shard(stream, ShardId::FIRST),
            LogName::Queue(stream, QueueId::new(1)),
            LogName::Queue(stream, QueueId::new(u32::MAX)),
        ] {
            assert_eq!(LogName::in_stream(stream, &log.directory_name()), Some(log));
        }
        for name in [
            "",
            "queue-",
            "queue-1",
            "queue-+000000001",
            "queue-99999999999",
            "journal",
        ] {
            assert_eq!(LogName::in_stream(stream, name), None, "{name}");
        }
    }
}
