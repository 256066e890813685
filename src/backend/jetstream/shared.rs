//! What all parts of an open store share.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::api::{Api, Failure, Stored, StreamInfo};
use super::cluster::Cluster;
use super::envelope::{Author, Envelope};
use super::subjects::Names;
use crate::error::{Error, Result};
use crate::sync::{AtomicU64, OnceLock};

/// Between two attempts at something that was not answered.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// How long a leader is waited for.
pub(super) const LEADER_LIMIT: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) cluster: Arc<Cluster>,
    pub(super) api: Api,
    pub(super) names: Names,
    /// On how many servers streams are made.
    pub(super) replicas: usize,
    /// The most bytes of a message.
    pub(super) message_bytes: usize,
    /// From how many bytes on a group takes no further records.
    pub(super) group_bytes: usize,
    writer: u64,
    counter: AtomicU64,
    /// Why nothing is written any more.
    stopped: OnceLock<Error>,
}

impl Shared {
    /// `writer` is a number that no other opener has.
    pub(super) fn new(
        cluster: Arc<Cluster>,
        names: Names,
        replicas: usize,
        message_bytes: usize,
        group_bytes: usize,
        writer: u64,
    ) -> Self {
        Self {
            api: Api::of(cluster.clone()),
            cluster,
            names,
            replicas,
            message_bytes,
            group_bytes: group_bytes.min(message_bytes),
            writer,
            counter: AtomicU64::new(0),
            stopped: OnceLock::new(),
        }
    }

    /// Of the next message.
    pub(super) fn next_author(&self) -> Author {
        Author {
            writer: self.writer,
            counter: self.counter.fetch_add(1, Ordering::Relaxed),
        }
    }

    pub(super) fn is_own(&self, author: Author) -> bool {
        author.writer == self.writer
    }

    /// Refuses once another opener has the store, or it is not known whether an edit was written.
    pub(super) fn check(&self) -> Result<()> {
        self.stopped.get().map_or(Ok(()), |stopped| Err(stopped.clone()))
    }

    /// Writes nothing more, because another opener has the store.
    pub(super) fn fence(&self) -> Error {
        self.stop(Error::Fenced {
            store: self.names.store(),
        })
    }

    /// Writes nothing more. Gives the error that all further writing gets.
    pub(super) fn stop(&self, error: Error) -> Error {
        let _ = self.stopped.set(error.clone());
        self.stopped.get().cloned().unwrap_or(error)
    }

    /// Refuses if another opener has begun to write edits. There is one who may write at a time: the last who did that.
    ///
    /// # Errors
    /// [`Error::Fenced`]; [`Error::Cluster`] if the cluster does not say.
    pub(super) async fn check_owner(&self) -> Result<()> {
        self.check()?;
        let last = self
            .api
            .last(&self.names.catalog_stream(), &self.names.edits())
            .await;
        const OPERATION: &str = "say who has the store";
        let last = last.map_err(|failure| failure.into_error(OPERATION))?;
        // A leader whose disk is damaged may not find a message that is there.
        let author = last.and_then(|last| self.author_of(&last, &self.names.edits()));
        match author {
            Some(author) if self.is_own(author) => Ok(()),
            Some(_) => Err(self.fence()),
            None => Err(Error::Cluster {
                operation: OPERATION,
                reason: "its leader has no whole edit of the store".to_owned(),
            }),
        }
    }

    /// The last message on a subject, by the stream's leader, which is waited for as long as another one takes to be
    /// chosen.
    ///
    /// # Errors
    /// [`Error::Cluster`].
    pub(super) async fn last_known(&self, stream: &str, subject: &str) -> Result<Option<Stored>> {
        let began = Instant::now();
        loop {
            match self.api.last(stream, subject).await {
                Ok(last) => return Ok(last),
                Err(failure) if self.is_final(&failure) || began.elapsed() >= LEADER_LIMIT => {
                    return Err(failure.into_error("say where a log ends"));
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// All streams of the store, once each of them has a leader.
    pub(super) async fn known_streams(&self) -> Result<Vec<StreamInfo>, Failure> {
        let began = Instant::now();
        loop {
            match self.api.streams(&self.names.everything()).await {
                Err(failure) if !self.is_final(&failure) && began.elapsed() < LEADER_LIMIT => {
                    tokio::time::sleep(PAUSE).await;
                }
                streams => return streams,
            }
        }
    }

    /// Makes a stream, unless it is there; waits for a cluster that has no leader yet. True if nothing was ever put into
    /// it.
    pub(super) async fn make_stream(&self, stream: &str, subjects: &str) -> Result<bool, Failure> {
        let began = Instant::now();
        loop {
            let made = self.api.create_stream(stream, subjects, self.replicas).await;
            match made {
                Err(failure) if !self.is_final(&failure) && began.elapsed() < LEADER_LIMIT => {
                    tokio::time::sleep(PAUSE).await;
                }
                made => return made,
            }
        }
    }

    pub(super) fn author_of(&self, stored: &Stored, subject: &str) -> Option<Author> {
        let envelope = Envelope::open(&stored.message, subject).ok()?;
        Some(envelope.author)
    }

    /// What a damaged message is reported as.
    pub(super) fn corrupt(&self, stream: &str, subject: &str, sequence: u64, reason: &str) -> Error {
        let place = format!("{stream} {subject}");
        Error::corrupt(place.as_ref(), sequence, reason)
    }

    /// Whether to go on after this failure, for something that has to be known.
    pub(super) fn is_final(&self, failure: &Failure) -> bool {
        match failure {
            Failure::WrongLastSequence | Failure::AppendInFlight => false,
            Failure::NoAnswer(_) => !self.cluster.may_wait(),
            Failure::NoSuchStream | Failure::NoRoom | Failure::Refused(_) => true,
        }
    }
}
