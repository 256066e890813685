//! Committing groups of several logs together.
//!
//! With one sync for each log's file, a put to many shards takes as many syncs. In a round the groups become frames of
//! their segments as always, but one sync of the commit journal makes them durable: the journal takes a copy of all the
//! frames. They are written to their segments, and synced there, later
//! ([`CommitJournal`](super::journal::CommitJournal)).

use std::sync::Arc;

use super::context::FrameOf;
use super::durability::Durability;
use super::group::Group;
use super::local_log::{LocalLog, LogContext};
use super::place::{Place, make_all_ready};
use super::sharing::Sharing;
use super::turn::{FrameOrPlace, InFlight, Turn};
use super::writer::PlacedFrame;
use crate::error::Result;
use crate::log::format::log_end::LogEnd;
use crate::log::segments::open_segments::OpenSegment;
use crate::seam::{Awaited, Outcome, Ticket};

/// A larger round is committed in pieces, each of which the journal takes as one group.
const MAX_ROUND_BYTES: usize = 16 * 1024 * 1024;

/// A group that a caller waits for, and its log.
#[derive(Clone, Copy)]
pub(super) struct AwaitedGroup<'a> {
    pub(super) log: &'a LocalLog,
    outcome: &'a Outcome,
}

impl<'a> AwaitedGroup<'a> {
    pub(super) fn of(awaited: &'a Awaited) -> Option<Self> {
        Some(Self {
            log: awaited.by()?,
            outcome: awaited.outcome(),
        })
    }
}

/// Commits what is pending in those of these logs that no other thread commits.
pub(super) fn commit_pending(logs: &[Arc<LocalLog>], sharing: Sharing) {
    let mut round = Round::new(sharing);
    for log in logs {
        if let Some((in_flight, group)) = log.take_turn() {
            round.parts.push(Part {
                log,
                in_flight,
                group,
            });
        }
    }
    round.commit();
}

/// Commits all these groups, in as few rounds as the commits of other threads allow.
pub(super) fn commit_all(groups: &[AwaitedGroup<'_>], sharing: Sharing) {
    loop {
        let mut round = Round::new(sharing);
        let mut last_awaited = None;
        for AwaitedGroup { log, outcome } in groups.iter().copied() {
            match log.take_turn_for(outcome) {
                Turn::Answered => {}
                Turn::Taken(in_flight, group) => round.parts.push(Part {
                    log,
                    in_flight,
                    group,
                }),
                Turn::Awaited => last_awaited = Some(log),
            }
        }
        if !round.parts.is_empty() {
            round.commit();
        } else if let Some(log) = last_awaited {
            // Rounds end in the order of the logs, so when the last one is free, all are.
            log.wait_for_turn();
        } else {
            return;
        }
    }
}

/// Groups in flight that are committed together.
pub(super) struct Round<'a> {
    parts: Vec<Part<'a>>,
    sharing: Sharing,
}

struct Part<'a> {
    log: &'a LocalLog,
    in_flight: InFlight<'a>,
    group: Group,
}

impl<'a> Round<'a> {
    fn new(sharing: Sharing) -> Self {
        Self {
            parts: Vec::new(),
            sharing,
        }
    }

    /// A round of one, which shares the journal's sync with other rounds.
    pub(super) fn of(log: &'a LocalLog, in_flight: InFlight<'a>, group: Group) -> Self {
        Self {
            parts: vec![Part {
                log,
                in_flight,
                group,
            }],
            sharing: Sharing::Journal,
        }
    }

    /// Makes the groups durable and answers them, in pieces of limited size.
    pub(super) fn commit(self) {
        let mut parts = self.parts;
        while let Some(first) = parts.first() {
            let max_logs = first.log.context.resources.options.max_round_logs;
            let left = parts.split_off(piece(&parts, max_logs));
            let sharing = self.sharing;
            Self { parts, sharing }.commit_piece();
            parts = left;
        }
    }

    fn commit_piece(self) {
        let Some(first) = self.parts.first() else { return };
        let context: &LogContext = &first.log.context;
        let sharing = self.sharing;
        let mut answers = Answers::default();
        let framed = self.frame(context, &mut answers);
        // Groups without a place wait for none of the others.
        answers.finish(context);
        match context.resources.options.durability {
            Durability::Synced => make_durable(context, framed, sharing, &mut answers),
            Durability::Written | Durability::Buffered => {
                for (mut part, frame) in framed {
                    let result = part.log.write(&mut part.group, frame);
                    answers.give(part, result);
                }
            }
        }
        answers.finish(context);
    }

    /// Makes the groups frames. A group that gets no place in a segment is answered with the error.
    fn frame(self, context: &LogContext, answers: &mut Answers) -> Vec<(Part<'a>, PlacedFrame)> {
        let mut framed = Vec::with_capacity(self.parts.len());
        let mut unplaced = Vec::new();
        for mut part in self.parts {
            match part.log.frame_or_place(&mut part.group) {
                Ok(FrameOrPlace::Frame(frame)) => framed.push((part, frame)),
                Ok(FrameOrPlace::Place(place)) => unplaced.push((part, place)),
                Err(error) => answers.give(part, Err(error)),
            }
        }
        if !unplaced.is_empty() {
            frame_in_new_places(context, unplaced, &mut framed, answers);
        }
        framed
    }
}

/// Writes frames, makes them durable with one sync of the journal if it has room, and answers their groups.
fn make_durable(
    context: &LogContext,
    framed: Vec<(Part<'_>, PlacedFrame)>,
    sharing: Sharing,
    answers: &mut Answers,
) {
    let journaled = match sharing {
        Sharing::Journal => journal(context, &framed),
        Sharing::Ledger => None,
    };
    let mut written: Vec<(Part<'_>, Arc<OpenSegment>, Result<LogEnd>)> = Vec::with_capacity(framed.len());
    for (mut part, frame) in framed {
        let open = frame.keep_open();
        let result = part.log.defer(&mut part.group, frame);
        written.push((part, open, result));
    }
    // If the journal has no room, or failed, each segment is synced instead; after a failure that fails too.
    let is_journaled = journaled.is_some_and(|ticket| ticket.wait().is_ok());
    for (part, open, result) in written {
        let result = result.and_then(|end| part.log.publish(end, is_journaled));
        drop(open);
        answers.give(part, result);
        if !is_journaled {
            // The next group is answered after a sync of its own.
            answers.finish(context);
        }
    }
}

/// How many of the first groups are committed as one piece.
fn piece(parts: &[Part<'_>], max_logs: usize) -> usize {
    let mut bytes = 0;
    let fitting = parts.iter().take(max_logs).take_while(|part| {
        bytes += part.group.bytes();
        bytes <= MAX_ROUND_BYTES
    });
    fitting.count().max(1)
}

/// Makes groups frames of segments that are begun or rested. The segments are made ready together.
fn frame_in_new_places<'a>(
    context: &LogContext,
    mut unplaced: Vec<(Part<'a>, Place)>,
    framed: &mut Vec<(Part<'a>, PlacedFrame)>,
    answers: &mut Answers,
) {
    let mut places: Vec<_> = unplaced
        .iter_mut()
        .map(|(part, place)| (part.log.files.as_ref(), place))
        .collect();
    let in_round: Vec<_> = framed.iter().map(|(part, _)| part.log.files.as_ref()).collect();
    let in_round = context.journal().map(|_| in_round.as_slice());
    let ready = make_all_ready(&context.resources, &mut places, in_round);
    for ((mut part, place), ready) in unplaced.into_iter().zip(ready) {
        match ready.and_then(|()| part.log.frame_in(&mut part.group, place)) {
            Ok(frame) => framed.push((part, frame)),
            Err(error) => answers.give(part, Err(error)),
        }
    }
}

/// Passes the frames to the journal, if there are any and it has room.
fn journal(context: &LogContext, framed: &[(Part<'_>, PlacedFrame)]) -> Option<Ticket> {
    if framed.is_empty() {
        return None;
    }
    let journal = context.journal()?;
    let frames: Vec<_> = framed
        .iter()
        .map(|(part, frame)| FrameOf {
            log: part.log,
            segment: frame.segment(),
            bytes: &part.group.buffer[..frame.bytes],
        })
        .collect();
    journal.append(&frames)
}

/// What has to be done after groups have their answers.
#[derive(Default)]
struct Answers {
    for_flushers: Vec<Arc<LocalLog>>,
}

impl Answers {
    fn give(&mut self, part: Part<'_>, result: Result<()>) {
        let is_committed = result.is_ok();
        self.for_flushers
            .extend(part.in_flight.answer(result, part.group));
        if is_committed {
            part.log.changes().notify();
        }
    }

    /// Does it for the answers so far.
    fn finish(&mut self, context: &LogContext) {
        if !self.for_flushers.is_empty() {
            context.flushers.commit(self.for_flushers.drain(..));
        }
    }
}
