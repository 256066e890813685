//! Reading messages of which each names the one before it.
//!
//! A server whose disk is damaged leaves a message out without a word, and one that lags behind ends early. So what a
//! server gives is believed as far as the chain holds; else another one is asked, the leader in turn with the rest.
//! A message is damaged when the leader, which has applied what comes behind it, does not have it whole, and no other
//! server gave it. Until the leader has said so, the servers that answer may be late.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::api::Stored;
use super::envelope::Envelope;
use super::failure::Failure;
use super::shared::{LEADER_LIMIT, PAUSE, Shared};
use crate::error::{Error, Result};

/// How many answers have to be wrong before a message is reported to be damaged, and for how long at least. Half of them are of
/// servers that are not chosen: where one of three has the message whole, all of these are of the other two once in
/// some ten thousand times.
const WRONG_ANSWERS: u32 = 44;
const WRONG_FOR: Duration = Duration::from_secs(6);

/// A subject, and how much of it one request reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain<'a> {
    pub(super) stream: &'a str,
    pub(super) subject: &'a str,
    pub(super) probe: &'a str,
    pub(super) most: usize,
    pub(super) most_bytes: usize,
}

/// What is wrong with an answer.
enum Wrong {
    /// There is no message in it.
    Absent,
    /// The first does not follow what is before it.
    Gap,
    Damaged(&'static str),
}

impl Wrong {
    fn reason(&self) -> &'static str {
        match self {
            Self::Absent => "it is not there",
            Self::Gap => "a message before it is missing",
            Self::Damaged(reason) => reason,
        }
    }
}

/// A message and its sequence.
pub(super) type Link = (u64, Envelope);

impl Chain<'_> {
    /// Messages from this sequence on, of which there is one: at least the first, and as many as follow it without a
    /// gap. The first follows what is before the sequence, or is one that `may_begin`.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) if the first is damaged or missing on all servers that were asked, and
    /// [`Error::Cluster`](crate::Error::Cluster) if none answers.
    pub(super) async fn read(
        &self,
        shared: &Shared,
        from: u64,
        may_begin: impl Fn(&Link) -> bool,
    ) -> Result<Vec<Link>> {
        let began = Instant::now();
        let mut wrong = 0;
        let mut attempt: u32 = 0;
        loop {
            let is_of_leader = attempt % 2 == 1;
            let answer = match is_of_leader {
                false => self.by_any(shared, from).await,
                true => self.by_leader(shared, from).await,
            };
            attempt += 1;
            match answer {
                Ok(stored) => match self.links(&stored, from, &may_begin) {
                    Ok(links) => return Ok(links),
                    Err(found) => {
                        wrong += 1;
                        let is_sure = wrong >= WRONG_ANSWERS && began.elapsed() >= WRONG_FOR;
                        if is_sure && is_of_leader && self.is_beyond(shared, from, &found).await {
                            return Err(shared.corrupt(self.stream, self.subject, from, found.reason()));
                        }
                        if began.elapsed() >= LEADER_LIMIT || !shared.cluster.may_wait() {
                            return Err(behind());
                        }
                    }
                },
                Err(failure) => {
                    let is_final = shared.is_final(&failure);
                    if is_final || began.elapsed() >= LEADER_LIMIT {
                        return Err(failure.into_error("read records"));
                    }
                }
            }
            // The server that is asked first is right nearly always.
            if attempt > 1 {
                sleep(PAUSE).await;
            }
        }
    }

    /// Whether the leader has applied what it does not give whole. One that gives a damaged message or a later one has.
    /// One that gives none may be late, or a leader no more: then it has not applied what is written now.
    async fn is_beyond(&self, shared: &Shared, from: u64, found: &Wrong) -> bool {
        if !matches!(found, Wrong::Absent) {
            return true;
        }
        let Ok(probe) = shared.api.append_probe(self.probe).await else {
            return false;
        };
        let reached = shared.api.reached(self.stream).await;
        let found = self.by_leader(shared, from).await;
        found.is_ok_and(|found| found.is_empty()) && reached.is_ok_and(|reached| reached >= probe)
    }

    async fn by_any(&self, shared: &Shared, from: u64) -> Result<Vec<Stored>, Failure> {
        shared
            .api
            .next(self.stream, self.subject, from, self.most, self.most_bytes)
            .await
    }

    async fn by_leader(&self, shared: &Shared, from: u64) -> Result<Vec<Stored>, Failure> {
        let next = shared.api.next_by_leader(self.stream, self.subject, from).await?;
        Ok(next.into_iter().collect())
    }

    fn links(
        &self,
        stored: &[Stored],
        from: u64,
        may_begin: &impl Fn(&Link) -> bool,
    ) -> Result<Vec<Link>, Wrong> {
        let mut links: Vec<Link> = Vec::with_capacity(stored.len());
        for stored in stored {
            let envelope = match Envelope::open(&stored.message, self.subject) {
                Ok(envelope) => envelope,
                Err(reason) if links.is_empty() => return Err(Wrong::Damaged(reason)),
                Err(_) => break,
            };
            let previous = envelope.previous;
            let link = (stored.sequence, envelope);
            match links.last() {
                Some((last, _)) if previous != *last => break,
                None if previous >= from && !may_begin(&link) => {
                    return Err(Wrong::Gap);
                }
                _ => links.push(link),
            }
        }
        match links.is_empty() {
            true => Err(Wrong::Absent),
            false => Ok(links),
        }
    }
}

fn behind() -> Error {
    Error::Cluster {
        operation: "read records",
        reason: "the servers that answer are behind".to_owned(),
    }
}
