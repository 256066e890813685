//! What is on a subject for certain.
//!
//! An append is compared with the last message by a leader that a majority follows, and so it is certain. A read is not:
//! a leader that was stopped and does not know yet that there is another one has an old end, and one whose disk is
//! damaged finds no last message, or an earlier one. So an end that something depends on is read as follows. First a
//! message is written on another subject of the stream, the probe; when that is acknowledged, all that was acknowledged
//! before it is in front of it. Then a server that has applied the probe is asked for the last message: one answer has
//! both. Then several servers are asked for what comes behind, because the one that answered may be damaged.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::api::Stored;
use super::envelope::Envelope;
use super::failure::Failure;
use super::shared::{PAUSE, Shared};
use crate::error::{Error, Result};
use crate::model::StreamId;

const OPERATION: &str = "say where a log ends";

/// How many answers are needed that there is no later message. Each is of one server, no matter which: if one of three
/// servers is damaged, it gives all of them once in several thousand times.
const ANSWERS: usize = 8;
/// The questions are asked at once, since a server that was stopped gets a part of them and gives no answer.
const QUESTIONS: usize = 12;
const MOST_ROUNDS: u32 = 4;
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// A server that lags behind has a probe a moment later. From then on the pauses are longer.
const SHORT_PAUSE: Duration = Duration::from_millis(2);
const SHORT_PAUSES: u32 = 10;

/// From how many servers' answers on, and after how long at least, none of them can read what it has.
const UNREADABLE_ANSWERS: u32 = 30;
const WRONG_FOR: Duration = Duration::from_secs(6);

/// Between two looks for a message that has to be there.
const LONG_PAUSE: Duration = Duration::from_millis(500);

/// A subject, and the probe of its stream.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    stream: String,
    subject: String,
    probe: String,
}

impl Watched {
    /// The edits of the catalog.
    pub(super) fn edits(shared: &Shared) -> Self {
        Self {
            stream: shared.names.catalog_stream(),
            subject: shared.names.edits(),
            probe: shared.names.probe(None),
        }
    }

    /// The subject of a log of this stream.
    pub(super) fn log(shared: &Shared, stream: StreamId, subject: &str) -> Self {
        Self {
            stream: shared.names.stream(stream),
            subject: subject.to_owned(),
            probe: shared.names.probe(Some(stream)),
        }
    }
}

impl Shared {
    /// Refuses if another opener has begun to write edits, for certain. What another opener wrote before
    /// this is refused by the edits, and what it writes later by the caller's next append.
    ///
    /// # Errors
    /// [`Error::Fenced`]; [`Error::Cluster`] if the cluster does not say.
    pub(super) async fn check_owner_for_certain(&self, deadline: Instant) -> Result<()> {
        self.check()?;
        let last = self.certain_last(&Watched::edits(self), deadline).await?;
        self.check_last_edit(last.as_ref())
    }

    /// The last message on a subject: none that was acknowledged before this was called comes behind it.
    ///
    /// # Errors
    /// [`Error::Cluster`] if the cluster does not say so before the deadline; [`Error::Corrupt`] if no server can read
    /// the message.
    pub(super) async fn certain_last(&self, of: &Watched, deadline: Instant) -> Result<Option<Stored>> {
        let last = timeout_at(deadline, self.certain_last_in_time(of)).await;
        last.unwrap_or_else(|_| Err(not_said("the servers that answer are behind, or none answers")))
    }

    /// The last message on a subject of which it is known that the last one `is_right`, or that a later one is.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if no such message is found; as for [`certain_last`](Self::certain_last).
    pub(super) async fn known_last(
        &self,
        of: &Watched,
        deadline: Instant,
        is_right: impl Fn(Option<&Stored>) -> bool,
    ) -> Result<Option<Stored>> {
        let began = Instant::now();
        loop {
            let last = self.certain_last(of, deadline).await?;
            if is_right(last.as_ref()) {
                return Ok(last);
            }
            if began.elapsed() >= WRONG_FOR {
                let sequence = last.map_or(0, |last| last.sequence);
                let reason = "what was acknowledged behind it is gone";
                return Err(self.corrupt(&of.stream, &of.subject, sequence, reason));
            }
            sleep(LONG_PAUSE).await;
        }
    }

    /// Whether no server has a message on a subject of a stream that may have none at all. Writes no probe: then it would
    /// have one.
    ///
    /// # Errors
    /// [`Error::Cluster`].
    pub(super) async fn has_never_had(&self, of: &Watched, deadline: Instant) -> Result<bool> {
        loop {
            let last = self.last_known(&of.stream, &of.subject, deadline).await?;
            match self.later(of, last).await {
                Ok(last) => return Ok(last.is_none()),
                Err(failure) if self.is_final(&failure) || Instant::now() >= deadline => {
                    return Err(failure.into_error(OPERATION));
                }
                Err(_) => sleep(PAUSE).await,
            }
        }
    }

    async fn certain_last_in_time(&self, of: &Watched) -> Result<Option<Stored>> {
        let probe = self.write_probe(of).await?;
        let began = Instant::now();
        let mut attempt = 0;
        let mut unreadable = 0;
        loop {
            match self.api.newest(&of.stream, &of.subject, &of.probe).await {
                Ok(Some(newest)) if newest.reached >= probe => {
                    let later = self.later(of, newest.last).await;
                    match later {
                        Ok(last) => return Ok(last),
                        Err(failure) if self.is_final(&failure) => {
                            return Err(failure.into_error(OPERATION));
                        }
                        Err(_) => {}
                    }
                }
                // It is behind.
                Ok(Some(_)) => {}
                Ok(None) => unreadable += 1,
                Err(failure) if self.is_final(&failure) => return Err(failure.into_error(OPERATION)),
                Err(_) => {}
            }
            if unreadable >= UNREADABLE_ANSWERS && began.elapsed() >= WRONG_FOR {
                self.check_is_readable(of, probe).await?;
            }
            if !self.cluster.may_wait() {
                return Err(not_said("the store is being closed"));
            }
            attempt += 1;
            sleep(if attempt < SHORT_PAUSES {
                SHORT_PAUSE
            } else {
                PAUSE
            })
            .await;
        }
    }

    /// Refuses if the leader has applied the probe too, and finds no message in front of it: then that cannot be read.
    async fn check_is_readable(&self, of: &Watched, probe: u64) -> Result<()> {
        let reached = self.api.reached(&of.stream).await;
        let last = self.api.last(&of.stream, &of.subject).await;
        match (reached, last) {
            (Ok(reached), Ok(None)) if reached >= probe => {
                let reason = "no server that was asked can read its last message";
                Err(self.corrupt(&of.stream, &of.subject, 0, reason))
            }
            _ => Ok(()),
        }
    }

    /// The sequence of a message that was written since this was called.
    async fn write_probe(&self, of: &Watched) -> Result<u64> {
        loop {
            match self.api.append_probe(&of.probe).await {
                Ok(probe) => {
                    self.free_probes(of);
                    return Ok(probe);
                }
                Err(failure) if self.is_final(&failure) => return Err(failure.into_error(OPERATION)),
                Err(_) => sleep(PAUSE).await,
            }
        }
    }

    /// The last probe stays, for those who ask at this moment.
    fn free_probes(&self, of: &Watched) {
        let (api, stream, probe) = (self.api.clone(), of.stream.clone(), of.probe.clone());
        self.cluster.spawn(async move {
            // If it fails, the next one frees those too.
            let _ = api.purge_but_last(&stream, &probe).await;
        });
    }

    /// The last message, unless a server has one behind it: then that.
    async fn later(&self, of: &Watched, known: Option<Stored>) -> Result<Option<Stored>, Failure> {
        let mut last = known;
        if self.replicas == 1 {
            return Ok(last);
        }
        let mut answers = 0;
        let mut failure = None;
        for _ in 0..MOST_ROUNDS {
            let from = last.as_ref().map_or(1, |last| last.sequence + 1);
            let mut later = None;
            for answer in self.ask_several(of, from).await {
                match answer {
                    Ok(stored) => {
                        answers += 1;
                        let whole = stored.into_iter().find(|stored| is_whole(stored, of));
                        later = later
                            .into_iter()
                            .chain(whole)
                            .max_by_key(|stored: &Stored| stored.sequence);
                    }
                    Err(error) => failure = Some(error),
                }
            }
            if later.is_some() {
                (last, answers) = (later, 0);
            } else if answers >= ANSWERS {
                return Ok(last);
            }
        }
        Err(failure.unwrap_or_else(|| Failure::NoAnswer("it goes on".to_owned())))
    }

    /// Asks servers for the next message, all at once.
    async fn ask_several(&self, of: &Watched, from: u64) -> Vec<Result<Vec<Stored>, Failure>> {
        let mut asked = JoinSet::new();
        for _ in 0..QUESTIONS {
            let (api, of) = (self.api.clone(), of.clone());
            asked.spawn(async move {
                let answer = timeout(ANSWER_LIMIT, api.next(&of.stream, &of.subject, from, 1, 1)).await;
                answer
                    .unwrap_or_else(|_| Err(Failure::NoAnswer("a read was not answered in time".to_owned())))
            });
        }
        asked.join_all().await
    }
}

fn is_whole(stored: &Stored, of: &Watched) -> bool {
    Envelope::open(&stored.message, &of.subject).is_ok()
}

fn not_said(reason: &str) -> Error {
    Error::Cluster {
        operation: OPERATION,
        reason: reason.to_owned(),
    }
}
