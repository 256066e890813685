//! Which streams have series, and the counts of all others.

use super::numbers::{Flow, Seen, StreamNumbers};
use crate::{Error, Result, Space, Store, Stream, StreamId};

/// How many streams have series.
const MOST_STREAMS: usize = 100;

/// A stream gets series when it is first seen, if there is a place, and keeps them until it is deleted. A stream that
/// was once among the others stays there: its counts would have to be subtracted, and a counter only grows.
#[derive(Debug, Default)]
pub(super) struct Series {
    shown: Vec<Shown>,
    /// The newest stream that was seen. All streams up to it have series by now, or never will.
    newest: Option<StreamId>,
    /// The last known counts of deleted streams that had series.
    deleted: Flow,
    others: Flow,
}

#[derive(Debug)]
struct Shown {
    stream: Stream,
    last: Flow,
}

impl Series {
    /// The streams that have series.
    pub(super) fn streams(&self) -> Vec<Stream> {
        self.shown.iter().map(|shown| shown.stream.clone()).collect()
    }

    /// Gives places to new streams, and frees those of deleted ones. Never waits.
    pub(super) fn admit(&mut self, store: &Store) -> Result<()> {
        let is_deleted = |shown: &mut Shown| {
            let stats = shown.stream.stats_at_once();
            matches!(stats, Err(Error::StreamNotFound { .. }))
        };
        let deleted = self.shown.extract_if(.., is_deleted);
        self.deleted = deleted.fold(self.deleted, |sum, shown| sum.and(shown.last));
        let places = MOST_STREAMS - self.shown.len();
        let (streams, newest) = store.streams_at_once(self.newest, places)?;
        self.newest = self.newest.max(newest);
        let last = Flow::default();
        self.shown
            .extend(streams.into_iter().map(|stream| Shown { stream, last }));
        Ok(())
    }

    /// Reads all numbers. Never waits.
    pub(super) fn read(&mut self, store: &Store, room: Option<Space>) -> Result<Seen> {
        // These are read before the numbers of the store, so that their sum is not more than those.
        let mut streams = Vec::new();
        for shown in &mut self.shown {
            if let Some(numbers) = StreamNumbers::of(&shown.stream)? {
                shown.last = numbers.flow;
                streams.push(numbers);
            }
        }
        let store = store.stats_at_once(room)?;
        let whole = Flow {
            put_records: store.puts.records,
            put_bytes: store.puts.bytes,
            read_records: store.reads.records,
            read_bytes: store.reads.bytes,
        };
        let of_series = self
            .shown
            .iter()
            .fold(self.deleted, |sum, shown| sum.and(shown.last));
        // Calls counted during this reading are only in the store's numbers, and for a moment count among the others.
        self.others = self.others.at_least(whole.without(of_series));
        Ok(Seen {
            streams,
            others: self.others,
            store,
        })
    }
}
