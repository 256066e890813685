//! Committing what a log has taken in: one frame at a time, by compare-and-set.
//!
//! A frame is sent with the sequence of the one before it, and goes in only if that is the last. An answer that does
//! not come says nothing; then the last frame of the subject does: it has the number of its writer and of the message.
//! If it is not this one, the same is sent again, by the same sequence, so that it goes in once at most, whatever is
//! still on its way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::sleep;

use super::api::{Failure, Stored};
use super::envelope::{Author, Envelope};
use super::frame::{Frame, LogPlace, NewFrame};
use super::log::ClusterLog;
use super::log_state::LogState;
use super::shared::PAUSE;
use crate::error::{Error, Result};

/// How long a group is tried. A leader is replaced within nine seconds.
const COMMIT_LIMIT: Duration = Duration::from_secs(30);

/// Right after an acknowledgement the leader may still take the append before for one that is under way.
const SHORT_PAUSE: Duration = Duration::from_millis(1);

const OPERATION: &str = "store records";

/// Has a task commit what is pending, unless one does.
pub(super) fn have_committed(log: &ClusterLog, state: &mut LogState) {
    if state.is_committing {
        return;
    }
    if let Some(log) = log.to_task() {
        state.is_committing = true;
        log.shared.clone().cluster.spawn(commit_all(log));
    }
}

/// Commits what is pending, until nothing is.
async fn commit_all(log: Arc<ClusterLog>) {
    while let Some((mut group, end, is_unsure)) = log.next_group() {
        let mut commit = Commit {
            log: &log,
            author: log.shared.next_author(),
            end,
            is_unsure,
            may_come: is_unsure,
            deadline: Instant::now() + COMMIT_LIMIT,
        };
        match commit.run(&mut group.frame).await {
            Ok(frame) => log.note_committed(&group, frame),
            Err(error) => log.note_failed(&group, error, commit.end, commit.may_come),
        }
    }
}

/// A group that is being committed.
struct Commit<'a> {
    log: &'a ClusterLog,
    author: Author,
    /// Behind the last frame that is known.
    end: LogPlace,
    /// Whether another frame than the last that is known may be there, this one among others.
    is_unsure: bool,
    /// Whether a message is under way that can still go in.
    may_come: bool,
    deadline: Instant,
}

impl Commit<'_> {
    async fn run(&mut self, frame: &mut NewFrame) -> Result<Frame> {
        let shared = self.log.shared.clone();
        loop {
            if self.is_unsure
                && let Some(committed) = self.look().await?
            {
                return Ok(committed);
            }
            shared.check()?;
            let message = frame.message(&self.log.subject, self.author, &self.end);
            let append = shared
                .api
                .append(&self.log.subject, self.end.sequence, message.clone());
            match append.await {
                Ok(sequence) => return self.opened(&message, sequence),
                Err(Failure::AppendInFlight) => {
                    self.check_time("another append does not come to an end")?;
                    sleep(SHORT_PAUSE).await;
                }
                Err(Failure::WrongLastSequence) => self.is_unsure = true,
                Err(Failure::NoAnswer(reason)) => {
                    (self.is_unsure, self.may_come) = (true, true);
                    self.check_time(&reason)?;
                    sleep(PAUSE).await;
                }
                Err(failure) => return Err(failure.into_error(OPERATION)),
            }
        }
    }

    /// Reads the last message of the log, after an append that had no clear answer. `None` if it is not this frame: then the
    /// frame is sent, for the first time or again.
    async fn look(&mut self) -> Result<Option<Frame>> {
        let shared = self.log.shared.clone();
        loop {
            match shared.api.last(&self.log.stream, &self.log.subject).await {
                Ok(Some(last)) if last.sequence > self.end.sequence => {
                    let last = self.opened_stored(&last)?;
                    if last.author == self.author {
                        return Ok(Some(last));
                    }
                    if !shared.is_own(last.author) {
                        // Who wrote this had the store before, unless it has it now.
                        shared.check_owner().await?;
                    }
                    // What was sent by an earlier sequence is refused from now on.
                    (self.end, self.is_unsure, self.may_come) = (last.place_behind(), false, false);
                    return Ok(None);
                }
                Ok(_) => {
                    // Nothing has come, or an old leader does not know of it. The next append tells.
                    self.check_time("what was stored last is not known")?;
                    sleep(SHORT_PAUSE).await;
                    self.is_unsure = false;
                    return Ok(None);
                }
                Err(failure) if shared.is_final(&failure) => return Err(failure.into_error(OPERATION)),
                Err(failure) => {
                    if let Failure::NoAnswer(reason) = &failure {
                        self.check_time(reason)?;
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    }

    fn opened(&self, message: &Bytes, sequence: u64) -> Result<Frame> {
        self.opened_stored(&Stored {
            sequence,
            message: message.clone(),
        })
    }

    fn opened_stored(&self, stored: &Stored) -> Result<Frame> {
        let log = self.log;
        let opened = Envelope::open(&stored.message, &log.subject);
        let frame = opened.and_then(|envelope| Frame::of(&envelope, stored.sequence));
        frame.map_err(|reason| {
            log.shared
                .corrupt(&log.stream, &log.subject, stored.sequence, reason)
        })
    }

    /// Refuses once the group was tried for long enough.
    fn check_time(&self, reason: &str) -> Result<()> {
        let may_wait = self.log.shared.cluster.may_wait() && Instant::now() < self.deadline;
        match may_wait && !self.log.is_abandoned() {
            true => Ok(()),
            false => Err(Error::Cluster {
                operation: OPERATION,
                reason: reason.to_owned(),
            }),
        }
    }
}
