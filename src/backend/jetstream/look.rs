//! Looking into a store on a cluster, for tools: nothing is opened, and nothing is written.

use std::ops::ControlFlow;
use std::sync::Arc;

use tokio::time::Instant;

use super::chain::Chain;
use super::cluster::Cluster;
use super::frame::Frame;
use super::options::JetStream;
use super::shared::{LEADER_LIMIT, Shared};
use super::stored_catalog::{reader, state_of, stored_edits};
use super::subjects::Names;
use crate::catalog::{CatalogState, Edit};
use crate::error::{Error, Result};
use crate::model::LogName;
use crate::seam::ReadRecord;

/// One request reads so much of a log.
const MOST_FRAMES: usize = 256;
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// A store that is looked into.
#[derive(Debug)]
pub(crate) struct ClusterLook {
    shared: Arc<Shared>,
    /// The catalog when the look began: the edits since its last snapshot, and that.
    pub(crate) edits: Vec<Edit>,
    pub(crate) state: CatalogState,
}

/// A frame of a log.
#[derive(Debug)]
pub(crate) struct SeenFrame {
    /// Of its message.
    pub(crate) sequence: u64,
    pub(crate) records: Vec<ReadRecord>,
}

impl ClusterLook {
    /// # Errors
    /// [`Error::NotAStore`] if the cluster has no store of the name; [`Error::Corrupt`] if its catalog is damaged on all
    /// servers; [`Error::Cluster`].
    pub(crate) fn at(at: &JetStream) -> Result<Self> {
        let cluster = Cluster::connect(at)?;
        let shared = reader(cluster, Names::of(&at.store));
        let of_task = shared.clone();
        let streams = shared.cluster.run(async move { of_task.known_streams().await })?;
        let streams = streams.map_err(|failure| failure.into_error("list its streams"))?;
        let catalog = shared.names.catalog_stream();
        let edits = match streams
            .iter()
            .any(|stream| stream.is_ours && stream.name == catalog)
        {
            true => {
                let of_task = shared.clone();
                shared
                    .cluster
                    .run(async move { stored_edits(&of_task).await })??
            }
            false => Vec::new(),
        };
        let state = state_of(&shared, edits.clone())?.ok_or_else(|| Error::NotAStore {
            path: shared.names.store().into(),
        })?;
        Ok(Self { shared, edits, state })
    }

    /// What has a log on the cluster, for people: the stream and the subject.
    pub(crate) fn place_of(&self, log: LogName) -> String {
        let stream = log.stream().map(|stream| self.shared.names.stream(stream));
        format!("{} {}", stream.unwrap_or_default(), self.shared.names.log(log))
    }

    /// The place of the catalog.
    pub(crate) fn place_of_catalog(&self) -> String {
        let names = &self.shared.names;
        format!("{} {}", names.catalog_stream(), names.edits())
    }

    /// Hands out the frames of a log up to its end of this moment, the first one first, until `on_frame` says to stop.
    /// What was freed is left out.
    ///
    /// # Errors
    /// [`Error::Corrupt`] in front of a frame that is damaged, or missing, on all servers; [`Error::Cluster`].
    pub(crate) fn read(
        &self,
        log: LogName,
        on_frame: &mut dyn FnMut(SeenFrame) -> ControlFlow<()>,
    ) -> Result<()> {
        let Some(stream) = log.stream() else {
            return Ok(());
        };
        let probe = self.shared.names.probe(Some(stream));
        let (stream, subject) = (self.shared.names.stream(stream), self.shared.names.log(log));
        let last = {
            let (shared, stream, subject) = (self.shared.clone(), stream.clone(), subject.clone());
            let deadline = Instant::now() + LEADER_LIMIT;
            let task = async move { shared.last_known(&stream, &subject, deadline).await };
            match self.shared.cluster.run(task)? {
                Ok(last) => last.map_or(0, |last| last.sequence),
                // A stream is made when its first record is put.
                Err(_) if !self.has_records(log) => 0,
                Err(error) => return Err(error),
            }
        };
        let mut reached = 0;
        while reached < last {
            for frame in self.frames((&stream, &subject, &probe), reached)? {
                reached = frame.sequence;
                let records = frame.read().collect();
                let seen = SeenFrame {
                    sequence: frame.sequence,
                    records,
                };
                if on_frame(seen).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn has_records(&self, log: LogName) -> bool {
        use crate::catalog::LogEnd;
        let log = self.state.log(log);
        log.is_some_and(|log| log.end != Some(LogEnd::EMPTY))
    }

    /// The frames behind this one, as many as one request gives. There is one.
    fn frames(&self, of: (&str, &str, &str), behind: u64) -> Result<Vec<Frame>> {
        let (stream, subject, probe) = (of.0.to_owned(), of.1.to_owned(), of.2.to_owned());
        let shared = self.shared.clone();
        self.shared.cluster.run(async move {
            let chain = Chain {
                stream: &stream,
                subject: &subject,
                probe: &probe,
                most: MOST_FRAMES,
                most_bytes: MOST_BYTES,
            };
            // What is in front of the first frame was freed, as far as is to be told here: `verify` tells more.
            let links = chain.read(&shared, behind + 1, |_| behind == 0).await?;
            let frames = links.iter().map(|(sequence, envelope)| {
                Frame::of(envelope, *sequence)
                    .map_err(|reason| shared.corrupt(&stream, &subject, *sequence, reason))
            });
            frames.collect()
        })?
    }
}

impl Drop for ClusterLook {
    fn drop(&mut self) {
        self.shared.cluster.close();
    }
}
