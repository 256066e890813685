//! One log while it is read from its first message on: whether each message follows from the one before.

use crate::backend::jetstream::envelope::{Envelope, Fields, Kind};
use crate::backend::jetstream::frame::{Frame, LogPlace};
use crate::model::{RecordNumber, Timestamp};

/// A log, as far as it was read.
#[derive(Debug)]
pub(super) struct FollowedLog {
    pub(super) subject: String,
    /// For people.
    pub(super) shown: String,
    pub(super) kind: LogKind,
    /// The last message, whichever server has it.
    pub(super) last: Option<u64>,
    /// Behind the last frame, if it is whole and this is a log of records.
    pub(super) place: Option<LogPlace>,
}

/// What a log is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogKind {
    Edits,
    /// Of a shard or a queue. Records that arrived before the horizon, or are before the number, may be gone.
    Records {
        horizon: Timestamp,
        hidden_before: RecordNumber,
    },
    /// Of a stream or a queue that the catalog does not have. Its messages are not checked.
    Unknown,
}

/// A message, opened.
#[derive(Debug)]
pub(super) struct Opened {
    envelope: Envelope,
    frame: Option<Frame>,
}

/// Messages that are on no server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) first: u64,
    pub(super) last: u64,
}

impl FollowedLog {
    /// # Errors
    /// What does not hold in the message alone.
    pub(super) fn open(&self, sequence: u64, message: &bytes::Bytes) -> Result<Opened, &'static str> {
        let envelope = Envelope::open(message, &self.subject)?;
        let frame = match (self.kind, envelope.kind) {
            (LogKind::Edits, Kind::Edits | Kind::Snapshot | Kind::Opened) => None,
            (LogKind::Edits, _) => return Err("it is not of the catalog"),
            _ => Some(Frame::of(&envelope, sequence)?),
        };
        Ok(Opened { envelope, frame })
    }

    /// Takes the next message in, and gives what is missing in front of it.
    ///
    /// # Errors
    /// What does not follow.
    pub(super) fn follow(&mut self, sequence: u64, opened: &Opened) -> Result<Option<Gap>, &'static str> {
        let previous = opened.envelope.previous;
        let (last, place) = (self.last, self.place);
        self.last = Some(sequence);
        self.place = opened.frame.as_ref().map(Frame::place_behind);
        match last {
            _ if previous >= sequence => Err("it names a later one as the one before it"),
            None if self.may_begin_with(opened) => Ok(None),
            None => Ok(Some(Gap {
                first: 1,
                last: previous,
            })),
            Some(last) if previous > last => Ok(Some(Gap {
                first: last + 1,
                last: previous,
            })),
            Some(last) if previous < last => Err("it follows an earlier message than the one before it"),
            Some(_) => match opened.frame.as_ref().zip(place) {
                Some((frame, place)) if frame.records_before != place.records => {
                    Err("it does not count the records before it")
                }
                Some((frame, place)) if frame.previous_arrival != place.last_arrival => {
                    Err("it does not say when the record before it arrived")
                }
                _ => Ok(None),
            },
        }
    }

    /// Passes over a message that is whole on no server.
    pub(super) fn pass_over(&mut self, sequence: u64) {
        (self.last, self.place) = (Some(sequence), None);
    }

    /// Whether what was before a message may have been freed.
    fn may_begin_with(&self, opened: &Opened) -> bool {
        let envelope = &opened.envelope;
        let is_first_part = || Fields(&envelope.content).u32() == Some(0);
        match (self.kind, &opened.frame) {
            _ if envelope.previous == 0 => true,
            (LogKind::Edits, _) => envelope.kind == Kind::Snapshot && is_first_part(),
            (
                LogKind::Records {
                    horizon,
                    hidden_before,
                },
                Some(frame),
            ) => {
                let (hidden, _) = crate::backend::jetstream::frame::sequence_and_place(hidden_before);
                frame.previous < hidden || frame.previous_arrival < horizon
            }
            _ => true,
        }
    }
}

impl Opened {
    pub(super) fn records(&self) -> u64 {
        self.frame.as_ref().map_or(0, |frame| frame.records.into())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::backend::jetstream::envelope::Author;
    use crate::backend::jetstream::frame::NewFrame;
    use crate::model::PutRecord;

    const SUBJECT: &str = "ab.main.1.s.0";

    fn log(horizon: u64) -> FollowedLog {
        FollowedLog {
            subject: SUBJECT.to_owned(),
            shown: String::new(),
            kind: LogKind::Records {
                horizon: Timestamp::from_millis(horizon),
                hidden_before: RecordNumber::BEFORE_FIRST,
            },
            last: None,
            place: None,
        }
    }

    fn message(behind: &LogPlace) -> Bytes {
        let mut frame = NewFrame::of_records();
        frame.push(&[PutRecord::new("k", b"v")], Timestamp::from_millis(700));
        let author = Author {
            writer: 1,
            counter: 1,
        };
        frame.message(SUBJECT, author, behind)
    }

    #[test]
    fn a_message_that_is_missing_is_told_from_one_that_was_freed() {
        let mut of_all = log(0);
        let first = of_all.open(5, &message(&LogPlace::BEGINNING)).unwrap();
        assert_eq!(of_all.follow(5, &first), Ok(None));
        let behind = of_all.place.unwrap();
        let second = of_all.open(7, &message(&behind)).unwrap();
        assert_eq!(of_all.follow(7, &second), Ok(None));

        let mut of_second = log(0);
        let missing = Gap { first: 1, last: 5 };
        assert_eq!(of_second.follow(7, &second), Ok(Some(missing)));
        assert_eq!(log(701).follow(7, &second), Ok(None));

        let skipped = LogPlace {
            sequence: 9,
            ..of_all.place.unwrap()
        };
        let third = of_all.open(12, &message(&skipped)).unwrap();
        assert_eq!(of_all.follow(12, &third), Ok(Some(Gap { first: 8, last: 9 })));
        let stray = of_all.open(13, &message(&behind)).unwrap();
        assert!(of_all.follow(13, &stray).is_err());
    }
}
