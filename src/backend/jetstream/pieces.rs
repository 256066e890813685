//! What of a log can be freed apart from the rest.
//!
//! Each frame says how many records came before it. So a few of them, spread over the log, say how much is between
//! them, and all others need not be read.

use super::frame::{Frame, number, sequence_and_place};
use super::log::ClusterLog;
use super::log_state::Mark;
use crate::error::Result;
use crate::model::{RecordNumber, Timestamp};
use crate::seam::LogPiece;

/// About so many pieces are told of a log.
const PIECES: u64 = 16;

impl ClusterLog {
    pub(super) async fn pieces(&self, from: RecordNumber) -> Result<Vec<LogPiece>> {
        let end = self.lock().end;
        // What is missing before a frame is not counted, for whatever reason it is missing.
        let horizon = Timestamp::MAX;
        let (sequence, place) = sequence_and_place(from);
        if end.sequence == 0 || sequence > end.sequence {
            return Ok(Vec::new());
        }
        let first = self.frame_at(sequence, horizon).await?;
        let place = match first.sequence == sequence {
            true => place.min(first.records),
            false => 0,
        };
        let counted_from = first.records_before + u64::from(place);
        if end.records == counted_from {
            return Ok(Vec::new());
        }
        let mut marks = vec![Mark::of(&first)];
        if from <= RecordNumber::FIRST {
            marks.extend(self.marks_behind(&first, end.sequence, horizon).await?);
        }
        let follows: Vec<_> = marks.iter().map(|mark| number(mark.sequence, 0)).collect();
        marks.push(Mark {
            sequence: end.sequence + 1,
            records_before: end.records,
            bytes_before: end.bytes,
            previous_arrival: end.last_arrival,
        });
        let between = marks.windows(2).zip(follows);
        let pieces = between.map(|(ends, follows)| {
            let (begin, end) = (ends[0], ends[1]);
            let all = end.records_before - begin.records_before;
            let records = end.records_before - begin.records_before.max(counted_from).min(end.records_before);
            let bytes = end.bytes_before - begin.bytes_before;
            LogPiece {
                follows,
                records,
                bytes: match records == all {
                    true => bytes,
                    false => (u128::from(bytes) * u128::from(records) / u128::from(all.max(1))) as u64,
                },
                last_arrival: end.previous_arrival,
            }
        });
        Ok(pieces.filter(|piece| piece.records > 0).collect())
    }

    /// Frames at places that stay the same while the log grows, so that few of them are fetched.
    async fn marks_behind(&self, first: &Frame, end: u64, horizon: Timestamp) -> Result<Vec<Mark>> {
        let step = ((end - first.sequence) / PIECES).max(1).next_power_of_two();
        let mut marks: Vec<Mark> = Vec::new();
        let mut targets = Vec::new();
        let mut target = (first.sequence / step + 1) * step;
        while target <= end {
            let known = self.lock().marks.get(&target).copied();
            let mark = match known {
                Some(mark) => mark,
                None => Mark::of(self.frame_at(target, horizon).await?.as_ref()),
            };
            targets.push((target, mark));
            let is_further = marks.last().map_or(first.sequence, |last| last.sequence) < mark.sequence;
            if is_further {
                marks.push(mark);
            }
            target += step;
        }
        self.lock().marks = targets.into_iter().collect();
        Ok(marks)
    }
}
