//! Freeing what is not to be seen any more.
//!
//! JetStream could expire messages by itself, but by its servers' clocks, and a clock alone deletes nothing here. The
//! last frame of a log stays, whatever its age: a log without a message would take one from an opener that last saw it
//! empty.

use std::time::Duration;

use super::frame::{Frame, sequence_and_place};
use super::log::ClusterLog;
use crate::error::Result;
use crate::model::{RecordNumber, Timestamp};

/// A log is trimmed no more often.
const PAUSE: Duration = Duration::from_secs(10);

impl ClusterLog {
    /// Whether something can be freed, as far as that is known without looking. Until a while later it then cannot.
    pub(super) fn needs_trim(
        &self,
        horizon: Timestamp,
        hidden_before: Option<RecordNumber>,
        monotonic: Duration,
    ) -> bool {
        let hidden = hidden_before.unwrap_or(RecordNumber::BEFORE_FIRST);
        let mut state = self.lock();
        state.horizon = state.horizon.max(horizon);
        let end = state.end.sequence;
        let is_needed = state.beginning.is_none_or(|first| {
            let is_over = first.last_arrival < horizon || first.next_record <= hidden;
            is_over && first.sequence < end
        });
        if !is_needed || state.trim_from > monotonic || end == 0 {
            return false;
        }
        state.trim_from = monotonic + PAUSE;
        true
    }

    /// Frees whole frames that arrived before the horizon, or are hidden.
    pub(super) async fn trim(&self, horizon: Timestamp, hidden_before: Option<RecordNumber>) -> Result<()> {
        let hidden = hidden_before.unwrap_or(RecordNumber::BEFORE_FIRST);
        let end = self.note_hidden(hidden);
        let first = self.frame_at(1, horizon).await?;
        self.note_if_first(&first);
        let expired = match first.last_arrival < horizon {
            true => (self.find_frame(horizon).await?).map_or(end, |kept| kept.sequence),
            false => first.sequence,
        };
        let kept_from = expired.max(sequence_and_place(hidden).0).min(end);
        if kept_from > first.sequence {
            self.free_before(kept_from).await?;
        }
        Ok(())
    }

    /// What is before a frame with hidden records may be gone: this opener or an earlier one may have freed it, and not have
    /// heard that it was done. Gives the end.
    fn note_hidden(&self, before: RecordNumber) -> u64 {
        let mut state = self.lock();
        state.freed_before = state.freed_before.max(sequence_and_place(before).0);
        state.end.sequence
    }

    fn note_if_first(&self, first: &Frame) {
        let mut state = self.lock();
        if state.beginning.is_none() {
            state.note_beginning(first);
        }
    }

    async fn free_before(&self, sequence: u64) -> Result<()> {
        let api = &self.shared.api;
        let purged = api.purge_before(&self.stream, &self.subject, sequence).await;
        purged.map_err(|failure| failure.into_error("free records"))?;
        let horizon = self.note_freed(sequence);
        let first = self.frame_at(sequence, horizon).await?;
        self.lock().note_beginning(&first);
        Ok(())
    }

    /// Gives the latest horizon.
    fn note_freed(&self, before: u64) -> Timestamp {
        let mut state = self.lock();
        state.freed_before = state.freed_before.max(before);
        state.beginning = None;
        state.horizon
    }
}
