//! What all parts of an open store share.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::api::{Api, Stored, StreamInfo};
use super::cluster::Cluster;
use super::envelope::{Author, Envelope};
use super::failure::Failure;
use super::subjects::Names;
use crate::error::{Error, Result};
use crate::sync::{AtomicBool, AtomicU64, Mutex, OnceLock};

/// Between two attempts at something that was not answered.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// How long a leader is waited for.
pub(super) const LEADER_LIMIT: Duration = Duration::from_secs(30);

/// Each holds a few MiB while it runs.
const MOST_FETCHES: usize = 64;

const SAY_OWNER: &str = "say who has the store";

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
    /// When a leader was last told to step down.
    left_leader: Mutex<Option<Instant>>,
    has_doubt: AtomicBool,
    is_unsettled: AtomicBool,
    /// How many fetches for readers may run at once.
    pub(super) fetches: Semaphore,
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
            left_leader: Mutex::default(),
            has_doubt: AtomicBool::new(false),
            is_unsettled: AtomicBool::new(false),
            fetches: Semaphore::new(MOST_FETCHES),
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

    /// Whether an edit was not answered in time, and is still tried.
    pub(super) fn has_doubt(&self) -> bool {
        self.has_doubt.load(Ordering::Acquire)
    }

    pub(super) fn note_doubt(&self, has_doubt: bool) {
        self.has_doubt.store(has_doubt, Ordering::Release);
        self.note_unsettled();
    }

    /// Whether there is something that waits for a doubt to end.
    pub(super) fn is_unsettled(&self) -> bool {
        self.is_unsettled.load(Ordering::Acquire)
    }

    pub(super) fn note_unsettled(&self) {
        self.is_unsettled.store(true, Ordering::Release);
    }

    /// True if there was.
    pub(super) fn take_unsettled(&self) -> bool {
        self.is_unsettled.swap(false, Ordering::AcqRel)
    }

    /// Refuses if another opener has begun to write edits, as far as their leader knows. There is one who may write at a
    /// time: the last who did that.
    ///
    /// # Errors
    /// [`Error::Fenced`]; [`Error::Cluster`] if the cluster does not say.
    pub(super) async fn check_owner(&self) -> Result<()> {
        self.check()?;
        let last = self
            .api
            .last(&self.names.catalog_stream(), &self.names.edits())
            .await;
        let last = last.map_err(|failure| failure.into_error(SAY_OWNER))?;
        self.check_last_edit(last.as_ref())
    }

    pub(super) fn check_last_edit(&self, last: Option<&Stored>) -> Result<()> {
        // A leader whose disk is damaged may not find a message that is there.
        let author = last.and_then(|last| self.author_of(last, &self.names.edits()));
        match author {
            Some(author) if self.is_own(author) => Ok(()),
            Some(_) => Err(self.fence()),
            None => Err(Error::Cluster {
                operation: SAY_OWNER,
                reason: "its leader has no whole edit of the store".to_owned(),
            }),
        }
    }

    /// The last message on a subject, by the stream's leader, which is waited for as long as another one takes to be
    /// chosen. It may be an old one.
    ///
    /// # Errors
    /// [`Error::Cluster`].
    pub(super) async fn last_known(
        &self,
        stream: &str,
        subject: &str,
        deadline: Instant,
    ) -> Result<Option<Stored>> {
        loop {
            match self.api.last(stream, subject).await {
                Ok(last) => return Ok(last),
                Err(failure) if self.is_final(&failure) || Instant::now() >= deadline => {
                    return Err(failure.into_error("say where a log ends"));
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// Has another server lead a stream whose leader does not find a message that was acknowledged: its disk may be
    /// damaged. Not again within a while.
    pub(super) async fn leave_leader(&self, stream: &str) {
        const PAUSE: Duration = Duration::from_secs(5);
        {
            let mut left = self.left_leader.lock();
            if left.is_some_and(|left| left.elapsed() < PAUSE) {
                return;
            }
            *left = Some(Instant::now());
        }
        if self.replicas > 1 {
            // What it comes to is seen with the next request.
            let _ = self.api.step_down(stream).await;
        }
    }

    /// The same, once a leader has refused an append for so long that was made behind the last message it finds.
    pub(super) async fn leave_wrong_leader(&self, stream: &str, refused_since: Option<Instant>) {
        // One that was replaced, and does not know it, learns of it sooner.
        const LIMIT: Duration = Duration::from_secs(2);
        if refused_since.is_some_and(|since| since.elapsed() >= LIMIT) {
            self.leave_leader(stream).await;
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

    /// Makes a stream, unless it is there; waits for a cluster that has no leader yet, or whose leader has not heard of
    /// enough servers. True if nothing was ever put into it.
    pub(super) async fn make_stream(
        &self,
        stream: &str,
        subjects: &str,
        deadline: Instant,
    ) -> Result<bool, Failure> {
        loop {
            let made = self.api.create_stream(stream, subjects, self.replicas).await;
            match made {
                Err(failure)
                    if (!self.is_final(&failure) || failure.is_want_of_servers())
                        && Instant::now() < deadline =>
                {
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
