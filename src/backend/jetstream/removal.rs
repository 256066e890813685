//! Removing what the catalog has no more.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::failure::Failure;
use super::shared::Shared;
use crate::catalog::Catalog;
use crate::error::Result;
use crate::model::{LogName, StreamId};
use crate::sync::Mutex;

/// What is still to be removed. What a crash leaves of it, the next opener finds by the names on the cluster.
#[derive(Debug)]
pub(super) struct Removal {
    shared: Arc<Shared>,
    streams: Mutex<BTreeSet<StreamId>>,
    logs: Mutex<BTreeSet<LogName>>,
    /// Those in which an earlier opener may have left logs that are to be removed.
    unswept: Mutex<Vec<StreamId>>,
}

/// How many streams one round of house-keeping looks into.
const MOST_SWEPT: usize = 8;

impl Removal {
    /// `found` are the streams that are there.
    pub(super) fn new(shared: Arc<Shared>, found: Vec<StreamId>) -> Self {
        Self {
            shared,
            streams: Mutex::default(),
            logs: Mutex::default(),
            unswept: Mutex::new(found),
        }
    }

    pub(super) fn note_stream(&self, stream: StreamId) {
        self.streams.lock().insert(stream);
    }

    pub(super) fn note_log(&self, log: LogName) {
        self.logs.lock().insert(log);
    }

    /// Removes what it can, and gives the first failure. What failed is tried again the next time.
    pub(super) fn go_on(&self) -> Result<()> {
        let streams: Vec<_> = self.streams.lock().iter().copied().collect();
        let mut result = Ok(());
        for stream in streams {
            let removed = self.remove_stream(stream);
            if removed.is_ok() {
                self.streams.lock().remove(&stream);
            }
            result = result.and(removed);
        }
        let logs: Vec<_> = self.logs.lock().iter().copied().collect();
        for log in logs {
            let removed = self.remove_log(log);
            if removed.is_ok() {
                self.logs.lock().remove(&log);
            }
            result = result.and(removed);
        }
        result
    }

    /// Looks into some of the streams that were found for logs that the catalog has no more.
    pub(super) fn sweep(&self, catalog: &Catalog) -> Result<()> {
        for _ in 0..MOST_SWEPT {
            let Some(stream) = self.unswept.lock().last().copied() else {
                break;
            };
            let (shared, name) = (self.shared.clone(), self.shared.names.stream(stream));
            let listed = self
                .shared
                .cluster
                .run(async move { shared.api.subjects(&name).await })?;
            let subjects = match listed {
                Err(Failure::NoSuchStream) => Vec::new(),
                listed => listed.map_err(|failure| failure.into_error("list its subjects"))?,
            };
            let state = catalog.read();
            // The last message of a log that was removed stays.
            let with_more = subjects.iter().filter(|(_, messages)| *messages > 1);
            let logs = with_more.filter_map(|(subject, _)| self.shared.names.log_of(stream, subject));
            let left: Vec<_> = logs.filter(|log| state.log(*log).is_none()).collect();
            drop(state);
            left.into_iter().for_each(|log| self.note_log(log));
            self.unswept.lock().retain(|unswept| *unswept != stream);
        }
        Ok(())
    }

    fn remove_stream(&self, stream: StreamId) -> Result<()> {
        let shared = self.shared.clone();
        let deleted = self
            .shared
            .cluster
            .run(async move { shared.api.delete_stream(&shared.names.stream(stream)).await })?;
        deleted.map_err(|failure| failure.into_error("delete a stream"))
    }

    /// Its last frame stays for as long as the stream: an opener that last saw the log empty must not write to it.
    fn remove_log(&self, log: LogName) -> Result<()> {
        let Some(stream) = log.stream() else {
            return Ok(());
        };
        let shared = self.shared.clone();
        let purged = self.shared.cluster.run(async move {
            let (stream, subject) = (shared.names.stream(stream), shared.names.log(log));
            match shared.api.purge_but_last(&stream, &subject).await {
                // It went with its stream.
                Err(Failure::NoSuchStream) => Ok(()),
                purged => purged,
            }
        })?;
        purged.map_err(|failure| failure.into_error("free records"))
    }
}
