//! Fetching frames.

use std::sync::Arc;
use std::task::Poll;

use super::chain::Chain;
use super::envelope::Envelope;
use super::frame::{Frame, number};
use super::log::ClusterLog;
use super::log_state::{LogState, Question};
use crate::error::Result;
use crate::model::{RecordNumber, Timestamp};

/// One fetch for a reader has at most so many frames, and stops behind so many bytes.
const MOST_FRAMES: usize = 256;
const MOST_BYTES: usize = 4 * 1024 * 1024;

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
    let answered = match question {
        Question::Frames(sequence) => {
            let fetched = log.fetch_from(sequence, horizon, MOST_FRAMES, MOST_BYTES).await;
            fetched.map(drop)
        }
        Question::Time(time) => log.find_time(time).await.map(|found| {
            log.lock().fetches.note_found(time, found);
        }),
    };
    log.note_fetched(question, answered.err());
}

impl ClusterLog {
    /// Finds out where the log ends, before it is used.
    pub(super) async fn find_end(&self) -> Result<()> {
        let last = self.shared.last_known(&self.stream, &self.subject).await?;
        let Some(last) = last else {
            return Ok(());
        };
        let opened = Envelope::open(&last.message, &self.subject);
        let frame = match opened.and_then(|envelope| Frame::of(&envelope, last.sequence)) {
            Ok(frame) => Arc::new(frame),
            // Another server may have it whole. What is before it is not looked at.
            Err(_) => {
                self.fetch_from(last.sequence, Timestamp::EPOCH, 1, MOST_BYTES)
                    .await?
            }
        };
        let mut state = self.lock();
        state.end = frame.place_behind();
        state.taken_arrival = state.end.last_arrival;
        state.beginning = None;
        if frame.previous == 0 {
            state.note_beginning(&frame);
        }
        drop(state);
        self.cache.keep(self.name, frame);
        Ok(())
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
        Ok(first.map_or(number(frame.sequence, frame.records), |record| record.number))
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
