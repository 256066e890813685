//! Fetching frames.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::api::Stored;
use super::certain::Watched;
use super::chain::Chain;
use super::envelope::Envelope;
use super::frame::Frame;
use super::log::ClusterLog;
use super::log_state::{LogState, Question};
use crate::error::{Error, Result};
use crate::model::{RecordNumber, Timestamp};

/// One fetch for a reader has at most so many frames, and stops behind so many bytes.
const MOST_FRAMES: usize = 256;
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// How long a fetch may take, with all that is in front of it.
const FETCH_LIMIT: Duration = Duration::from_secs(40);

/// What the catalog knows of the end of a log.
#[derive(Clone, Copy, Debug)]
pub(super) enum KnownEnd {
    /// No record was acknowledged.
    Unwritten,
    /// It has a frame at least.
    Written,
    /// It is closed, and this number is behind its last record.
    Closed(RecordNumber),
}

/// Answers a reader once what it asks for was fetched, or tells it why that was not.
pub(super) fn ask<T>(
    log: &ClusterLog,
    state: &mut LogState,
    question: Question,
    horizon: Timestamp,
) -> Poll<Result<T>> {
    if let Some(error) = state.fetches.take_failure(question) {
        return Poll::Ready(Err(error));
    }
    if state.fetches.ask(question)
        && let Some(log) = log.to_task()
    {
        log.shared.clone().cluster.spawn(answer(log, question, horizon));
    }
    Poll::Pending
}

/// Fetches what a reader waits for, and tells it.
async fn answer(log: Arc<ClusterLog>, question: Question, horizon: Timestamp) {
    let mut asked = Asked {
        log: &log,
        question,
        failed: Some(not_read("the store was closed first")),
    };
    let fetching = async {
        // Closed at no time.
        let _permit = log.shared.fetches.acquire().await;
        match question {
            Question::Frames(sequence) => {
                let fetched = log.fetch_from(sequence, horizon, MOST_FRAMES, MOST_BYTES).await;
                fetched.map(drop)
            }
            Question::Time(time) => log.find_time(time).await.map(|found| {
                log.lock().fetches.note_found(time, found);
            }),
        }
    };
    let answered = timeout(FETCH_LIMIT, fetching).await;
    let answered = answered.unwrap_or_else(|_| Err(not_read("it has not answered in 40 s")));
    asked.failed = answered.err();
}

/// A question that is answered when this is dropped, whatever becomes of the task.
struct Asked<'a> {
    log: &'a ClusterLog,
    question: Question,
    failed: Option<Error>,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.log.note_fetched(self.question, self.failed.take());
    }
}

/// A seal may come behind the last record, or several.
fn is_at(frame: &Frame, end: RecordNumber) -> bool {
    frame.place_behind().next_record >= end
}

fn not_read(reason: &str) -> Error {
    Error::Cluster {
        operation: "read records",
        reason: reason.to_owned(),
    }
}

impl ClusterLog {
    /// Finds out where the log ends, before it is used.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if records are gone that the log has according to the catalog; [`Error::Cluster`].
    pub(super) async fn find_end(&self, known: KnownEnd, deadline: Instant) -> Result<()> {
        let Some(frame) = self.last_frame(known, deadline).await? else {
            return Ok(());
        };
        let mut state = self.lock();
        state.end = frame.place_behind();
        state.taken_arrival = state.end.last_arrival;
        state.is_end_foreign = !self.shared.is_own(frame.author);
        state.beginning = None;
        if frame.previous == 0 {
            state.note_beginning(&frame);
        }
        drop(state);
        self.cache.keep(self.name, frame);
        Ok(())
    }

    async fn last_frame(&self, known: KnownEnd, deadline: Instant) -> Result<Option<Arc<Frame>>> {
        let shared = &self.shared;
        // What the leader says is enough where an old end does no harm: the first append finds it out, and that is not
        // made before the catalog knows that the log is written to.
        let said = shared.last_known(&self.stream, &self.subject, deadline).await?;
        let said_frame = said.as_ref().and_then(|stored| self.whole(stored));
        let is_enough = match known {
            KnownEnd::Unwritten => said.is_none() || said_frame.is_some(),
            KnownEnd::Closed(end) => said_frame.as_ref().is_some_and(|frame| is_at(frame, end)),
            KnownEnd::Written => false,
        };
        if is_enough {
            return Ok(said_frame);
        }
        let Some(stream) = self.name.stream() else {
            return Ok(None);
        };
        let watched = Watched::log(shared, stream, &self.subject);
        let last = shared
            .known_last(&watched, deadline, |last| match (known, last) {
                (KnownEnd::Unwritten, _) => true,
                (_, None) => false,
                (KnownEnd::Written, Some(_)) => true,
                // One that cannot be read here is read of another server below.
                (KnownEnd::Closed(end), Some(last)) => {
                    self.whole(last).is_none_or(|frame| is_at(&frame, end))
                }
            })
            .await?;
        let Some(last) = last else {
            return Ok(None);
        };
        match self.whole(&last) {
            Some(frame) => Ok(Some(frame)),
            // Another server may have it whole. What is before it is not looked at.
            None => {
                let frame = self.fetch_from(last.sequence, Timestamp::EPOCH, 1, MOST_BYTES);
                frame.await.map(Some)
            }
        }
    }

    fn whole(&self, stored: &Stored) -> Option<Arc<Frame>> {
        let envelope = Envelope::open(&stored.message, &self.subject).ok()?;
        Frame::of(&envelope, stored.sequence).ok().map(Arc::new)
    }

    /// The first frame from a sequence on. There is one.
    pub(super) async fn frame_at(&self, sequence: u64, horizon: Timestamp) -> Result<Arc<Frame>> {
        let kept = self.kept(&self.lock(), sequence);
        match kept {
            Some(frame) => Ok(frame),
            None => self.fetch_from(sequence, horizon, 1, MOST_BYTES).await,
        }
    }

    /// The first record that arrived at a time or later, or the number behind the last.
    async fn find_time(&self, time: Timestamp) -> Result<RecordNumber> {
        let end = self.lock().end;
        let Some(frame) = self.find_frame(time).await? else {
            return Ok(end.next_record);
        };
        let first = frame.read().find(|record| record.arrival >= time);
        Ok(first.map_or(frame.place_behind().next_record, |record| record.number))
    }

    /// The first frame whose last record arrived at a time or later. Looks at as many frames as halving takes.
    pub(super) async fn find_frame(&self, time: Timestamp) -> Result<Option<Arc<Frame>>> {
        let end = self.lock().end.sequence;
        if end == 0 {
            return Ok(None);
        }
        let first = self.frame_at(1, time).await?;
        if first.last_arrival >= time {
            return Ok(Some(first));
        }
        let (mut from, mut to) = (first.sequence + 1, end);
        let mut found = None;
        while from <= to {
            let middle = from + (to - from) / 2;
            let frame = self.frame_at(middle, time).await?;
            if frame.last_arrival >= time {
                found = Some(frame);
                to = middle - 1;
            } else {
                from = frame.sequence + 1;
            }
        }
        Ok(found)
    }

    /// Gives the first.
    async fn fetch_from(
        &self,
        sequence: u64,
        horizon: Timestamp,
        most: usize,
        most_bytes: usize,
    ) -> Result<Arc<Frame>> {
        let sequence = sequence.max(1);
        let chain = Chain {
            stream: &self.stream,
            subject: &self.subject,
            probe: &self.shared.names.probe(self.name.stream()),
            most,
            most_bytes,
        };
        let may_begin = |(at, envelope): &(u64, Envelope)| {
            Frame::of(envelope, *at).is_ok_and(|frame| self.lock().may_begin_with(&frame, horizon))
        };
        let links = chain.read(&self.shared, sequence, may_begin).await?;
        let mut first = None;
        for (at, envelope) in links {
            let frame = Frame::of(&envelope, at)
                .map_err(|reason| self.shared.corrupt(&self.stream, &self.subject, at, reason))?;
            let frame = Arc::new(frame);
            self.check_follows(&frame)?;
            if first.is_none() {
                self.note_if_beginning(&frame, sequence);
            }
            self.cache.keep(self.name, frame.clone());
            first.get_or_insert(frame);
        }
        first.ok_or_else(|| {
            self.shared
                .corrupt(&self.stream, &self.subject, sequence, "it is not there")
        })
    }

    /// Refuses a frame that was put in by a leader that had lost what was before it: another server had that, and what is
    /// in both is there twice.
    fn check_follows(&self, frame: &Frame) -> Result<()> {
        let before = self.cache.before(self.name, frame.sequence);
        match before.is_none_or(|before| before.sequence <= frame.previous) {
            true => Ok(()),
            false => Err(self.shared.corrupt(
                &self.stream,
                &self.subject,
                frame.sequence,
                "it does not follow the one before",
            )),
        }
    }

    /// A frame that was asked for by an earlier sequence is the first of all only if what is missing before it had
    /// expired.
    fn note_if_beginning(&self, frame: &Frame, asked_for: u64) {
        let mut state = self.lock();
        let has_expired = frame.previous >= asked_for && state.may_begin_with(frame, Timestamp::EPOCH);
        if frame.previous == 0 || has_expired {
            state.note_beginning(frame);
        }
    }
}
