//! How a record of the commit journal names the place of its frame.

use super::identity::LogIdentity;
use crate::model::{LogName, QueueId, ShardId, StreamId};

/// Stands in front of the number of a queue, to distinguish it from a shard's.
const QUEUE: char = 'q';

/// The segment that a frame belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FrameHome {
    pub(crate) log: LogName,
    pub(crate) salt: u64,
}

impl FrameHome {
    pub(crate) fn of(log: LogIdentity, salt: u64) -> Self {
        let log = log.name;
        Self { log, salt }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split('/');
        let stream = StreamId::new(parts.next()?.parse().ok()?);
        let log = parts.next()?;
        let log = match log.strip_prefix(QUEUE) {
            Some(queue) => LogName::Queue(stream, QueueId::new(queue.parse().ok()?)),
            None => LogName::Shard(stream, ShardId::new(log.parse().ok()?).ok()?),
        };
        let home = Self {
            log,
            salt: u64::from_str_radix(parts.next()?, 16).ok()?,
        };
        (home.to_string() == name).then_some(home)
    }
}

impl std::fmt::Display for FrameHome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.log {
            LogName::Shard(stream, shard) => write!(f, "{stream}/{}/{:016x}", shard.index(), self.salt),
            LogName::Queue(stream, queue) => write!(f, "{stream}/{QUEUE}{queue}/{:016x}", self.salt),
            // A journal never has frames of a journal: no text decodes to this.
            LogName::CommitJournal => write!(f, "journal/{:016x}", self.salt),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_frames_home_reads_back_and_nothing_else_does() {
        let home = FrameHome {
            log: LogName::Shard(StreamId::new(12), ShardId::new(7).unwrap()),
            salt: 0xab,
        };
        assert_eq!(home.to_string(), "12/7/00000000000000ab");
        assert_eq!(FrameHome::parse("12/7/00000000000000ab"), Some(home));
        let of_queue = FrameHome {
            log: LogName::Queue(StreamId::new(12), QueueId::new(7)),
            ..home
        };
        assert_eq!(of_queue.to_string(), "12/q7/00000000000000ab");
        assert_eq!(FrameHome::parse("12/q7/00000000000000ab"), Some(of_queue));
        for other in [
            "",
            "12/q/00000000000000ab",
            "12/q+7/00000000000000ab",
            "12/7",
            "12/7/ab",
            "12/7/00000000000000ab/",
            "+12/7/00000000000000ab",
        ] {
            assert_eq!(FrameHome::parse(other), None, "{other}");
        }
    }
}
