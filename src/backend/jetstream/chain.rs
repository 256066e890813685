//! Reading messages of which each names the one before it.
//!
//! A server whose disk is damaged leaves a message out without a word, and one that lags behind ends early. So what a
//! server gives is believed as far as the chain holds; else another one is asked, the leader in turn with the rest.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::api::{Failure, Stored};
use super::envelope::Envelope;
use super::shared::{LEADER_LIMIT, PAUSE, Shared};
use crate::error::Result;

/// How many answers have to be wrong before a message is reported to be damaged, and for how long at least.
const WRONG_ANSWERS: u32 = 12;
const WRONG_FOR: Duration = Duration::from_secs(6);

/// A subject, and how much of it one request reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain<'a> {
    pub(super) stream: &'a str,
    pub(super) subject: &'a str,
    pub(super) most: usize,
    pub(super) most_bytes: usize,
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
            let answer = match attempt % 2 {
                0 => self.by_any(shared, from).await,
                _ => self.by_leader(shared, from).await,
            };
            attempt += 1;
            match answer {
                Ok(stored) => match self.links(&stored, from, &may_begin) {
                    Ok(links) => return Ok(links),
                    Err(reason) => {
                        wrong += 1;
                        if wrong >= WRONG_ANSWERS && began.elapsed() >= WRONG_FOR {
                            return Err(shared.corrupt(self.stream, self.subject, from, reason));
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
    ) -> Result<Vec<Link>, &'static str> {
        let mut links: Vec<Link> = Vec::with_capacity(stored.len());
        for stored in stored {
            let envelope = match Envelope::open(&stored.message, self.subject) {
                Ok(envelope) => envelope,
                Err(reason) if links.is_empty() => return Err(reason),
                Err(_) => break,
            };
            let previous = envelope.previous;
            let link = (stored.sequence, envelope);
            match links.last() {
                Some((last, _)) if previous != *last => break,
                None if previous >= from && !may_begin(&link) => {
                    return Err("a message before it is missing");
                }
                _ => links.push(link),
            }
        }
        match links.is_empty() {
            true => Err("it is not there"),
            false => Ok(links),
        }
    }
}
