//! What streams and subjects of a store are called on the cluster.

use crate::model::{LogName, StreamId};

/// One JetStream stream has all logs of a stream, and one more the catalog. A log is a subject.
#[derive(Clone, Debug)]
pub(super) struct Names {
    store: String,
}

impl Names {
    pub(super) fn of(store: &str) -> Self {
        Self {
            store: store.to_owned(),
        }
    }

    /// For people.
    pub(super) fn store(&self) -> String {
        format!("the store {} on the cluster", self.store)
    }

    /// What the names of all streams of the store begin with.
    pub(super) fn prefix(&self) -> String {
        format!("AB_{}_", self.store)
    }

    pub(super) fn catalog_stream(&self) -> String {
        format!("AB_{}_catalog", self.store)
    }

    pub(super) fn stream(&self, stream: StreamId) -> String {
        format!("AB_{}_{stream}", self.store)
    }

    /// The stream of which the other names are, if it is one of the store's.
    pub(super) fn stream_of(&self, name: &str) -> Option<StreamId> {
        let number = name
            .strip_prefix("AB_")?
            .strip_prefix(self.store.as_str())?
            .strip_prefix('_')?;
        number.parse().ok().map(StreamId::new)
    }

    /// All subjects of the store.
    pub(super) fn everything(&self) -> String {
        format!("ab.{}.>", self.store)
    }

    pub(super) fn catalog_subjects(&self) -> String {
        format!("ab.{}.catalog.>", self.store)
    }

    pub(super) fn subjects(&self, stream: StreamId) -> String {
        format!("ab.{}.{stream}.>", self.store)
    }

    pub(super) fn edits(&self) -> String {
        format!("ab.{}.catalog.edits", self.store)
    }

    /// What is written there says how far the servers are that have a stream, or the catalog if `stream` is none.
    pub(super) fn probe(&self, stream: Option<StreamId>) -> String {
        match stream {
            Some(stream) => format!("ab.{}.{stream}.probe", self.store),
            None => format!("ab.{}.catalog.probe", self.store),
        }
    }

    /// Who asks there is answered by the opener of the store. It is no subject of a stream.
    pub(super) fn presence(&self) -> String {
        format!("ab-present.{}", self.store)
    }

    /// What openers of the store have all servers know. It is no subject of a stream either.
    pub(super) fn news(&self) -> String {
        format!("ab-news.{}", self.store)
    }

    /// Of a message that is of no log: the last one of a stream that is backed up.
    pub(super) fn left_out(&self, name: &str) -> String {
        let id = self.stream_of(name).map_or(0, StreamId::value);
        format!("ab.{}.{id}.left-out", self.store)
    }

    pub(super) fn log(&self, log: LogName) -> String {
        let store = &self.store;
        match log {
            LogName::Shard(stream, shard) => format!("ab.{store}.{stream}.s.{}", shard.index()),
            LogName::Queue(stream, queue) => format!("ab.{store}.{stream}.q.{queue}"),
            // There is none on a cluster.
            LogName::CommitJournal => format!("ab.{store}.journal"),
        }
    }

    /// The log that has a subject of this stream.
    pub(super) fn log_of(&self, stream: StreamId, subject: &str) -> Option<LogName> {
        let rest = subject.strip_prefix(&format!("ab.{}.{stream}.", self.store))?;
        let (kind, number) = rest.split_once('.')?;
        let number = number.parse().ok()?;
        match kind {
            "s" => Some(LogName::Shard(stream, crate::model::ShardId::new(number).ok()?)),
            "q" => Some(LogName::Queue(stream, crate::model::QueueId::new(number))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{QueueId, ShardId};

    #[test]
    fn each_log_has_a_subject_of_its_own_that_leads_back_to_it() {
        let names = Names::of("main");
        let stream = StreamId::new(12);
        for log in [
            LogName::Shard(stream, ShardId::FIRST),
            LogName::Shard(stream, ShardId::new(7).unwrap()),
            LogName::Queue(stream, QueueId::new(7)),
        ] {
            assert_eq!(names.log_of(stream, &names.log(log)), Some(log));
            assert_eq!(names.log_of(StreamId::new(1), &names.log(log)), None);
        }
        assert_eq!(names.stream_of(&names.stream(stream)), Some(stream));
        assert_eq!(names.stream_of(&names.catalog_stream()), None);
        assert_eq!(names.stream_of("AB_other_12"), None);
        for of in [None, Some(stream)] {
            let probe = names.probe(of);
            assert_eq!(names.log_of(stream, &probe), None);
        }
    }
}
