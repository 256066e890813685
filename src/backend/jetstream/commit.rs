//! Committing what a log has taken in: one frame at a time, by compare-and-set.
//!
//! A frame is sent with the sequence of the one before it, and goes in only if that is the last. An answer that does
//! not come says nothing; then the last frame of the subject does: it has the number of its writer and of the message.
//! If it is not this one, the same is sent again, by the same sequence, so that it goes in once at most, whatever is
//! still on its way.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::api::Stored;
use super::envelope::{Author, Envelope};
use super::failure::Failure;
use super::frame::{Frame, LogPlace, NewFrame};
use super::log::ClusterLog;
use super::log_state::LogState;
use super::shared::PAUSE;
use crate::error::{Error, Result};

/// How long a group is tried, from its first record on, and once at least. A leader is replaced within nine seconds.
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
    let mut task = Task {
        log: &log,
        is_done: false,
    };
    while let Some((mut group, end, is_unsure)) = log.next_group() {
        let mut commit = Commit {
            log: &log,
            author: log.shared.next_author(),
            end,
            is_unsure,
            may_come: is_unsure,
            refused_since: None,
            deadline: Instant::from_std(group.began) + COMMIT_LIMIT,
        };
        match commit.run(&mut group.frame).await {
            Ok(frame) => log.note_committed(&group, frame),
            Err(error) => log.note_failed(&group, error, commit.end, commit.may_come),
        }
    }
    task.is_done = true;
}

/// That may be dropped where it waits.
struct Task<'a> {
    log: &'a ClusterLog,
    is_done: bool,
}

impl Drop for Task<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.log.note_task_lost();
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
    /// Since when the leader has refused what is made behind the last frame that it finds.
    refused_since: Option<Instant>,
    deadline: Instant,
}

impl Commit<'_> {
    async fn run(&mut self, frame: &mut NewFrame) -> Result<Frame> {
        let shared = self.log.shared.clone();
        if self.log.lock().is_end_foreign {
            // Who wrote it had the store before, unless it has it now.
            shared.check_owner_for_certain(self.deadline).await?;
            self.log.lock().is_end_foreign = false;
        }
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
                Err(Failure::WrongLastSequence) => {
                    self.is_unsure = true;
                    self.refused_since.get_or_insert_with(Instant::now);
                }
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
                        shared.check_owner_for_certain(self.deadline).await?;
                    }
                    // What was sent by an earlier sequence is refused from now on.
                    (self.end, self.is_unsure, self.may_come) = (last.place_behind(), false, false);
                    self.refused_since = None;
                    return Ok(None);
                }
                Ok(_) => {
                    // Nothing has come, or an old leader does not know of it, or a damaged one does not find it. The next
                    // append tells.
                    self.check_time("its leader does not find what was stored last")?;
                    let refused_since = self.refused_since;
                    shared.leave_wrong_leader(&self.log.stream, refused_since).await;
                    let is_new = refused_since.is_none_or(|since| since.elapsed() < PAUSE);
                    sleep(if is_new { SHORT_PAUSE } else { PAUSE }).await;
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
                reason: match self.may_come {
                    true => format!("{reason}; they may be stored"),
                    false => format!("{reason}; they are not stored"),
                },
            }),
        }
    }
}
