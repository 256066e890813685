//! Committing groups of several logs together.
//!
//! With a sync for each log's file a put to many shards takes as many syncs. In a round the groups become frames of
//! their segments as ever; what makes them durable is one sync of the commit journal, which takes a copy of all the
//! frames. They are written to the segments, and synced there, some time later ([`CommitJournal`](super::CommitJournal)).

use std::collections::VecDeque;
use std::sync::Arc;

use super::LogEnd;
use super::commit::{Group, InFlight, Ticket};
use super::context::LogContext;
use super::shard_log::ShardLog;
use super::turn::Turn;
use super::writer::PlacedFrame;
use crate::error::Result;

/// Frames are written twice in a round. With larger ones than this that costs more than the syncs that it saves.
const MAX_MEAN_BYTES: usize = 32 * 1024;

/// Blocks until all tickets have their outcome. Commits them itself, together, if nobody else is at it.
pub(crate) fn wait_for_all<'a>(tickets: impl Iterator<Item = &'a Ticket> + Clone) {
    let count = tickets.clone().count();
    let bytes = tickets.clone().map(|ticket| ticket.bytes).sum();
    let round_logs = tickets
        .clone()
        .next()
        .map_or(usize::MAX, |first| first.log.context.options.round_logs);
    if count < round_logs || !is_small(count, bytes) {
        // The others are committed by flushers while this thread commits the first.
        Ticket::start_all(tickets.clone().skip(1));
    } else {
        commit_all(&tickets);
    }
    // Each ticket keeps its outcome.
    tickets.for_each(|ticket| drop(ticket.wait()));
}

/// Whether rounds are better than a sync for each log, if there are enough of them.
pub(super) fn is_small(logs: usize, bytes: usize) -> bool {
    bytes <= logs * MAX_MEAN_BYTES
}

/// Whether what is pending in these logs is better committed in a round.
pub(super) fn is_better(logs: &VecDeque<Arc<ShardLog>>) -> bool {
    is_small(logs.len(), logs.iter().map(|log| log.pending_bytes()).sum())
}

/// Commits what is pending in these logs and in nobody's hands.
pub(super) fn commit_pending(logs: &[Arc<ShardLog>]) {
    let mut round = Round::default();
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

/// Commits the groups of all tickets, in as few rounds as there can be beside what others commit.
fn commit_all<'a>(tickets: &(impl Iterator<Item = &'a Ticket> + Clone)) {
    loop {
        let mut round = Round::default();
        let mut last_awaited = None;
        for ticket in tickets.clone() {
            let Some(outcome) = ticket.outcome() else { continue };
            match ticket.log.take_turn_for(outcome) {
                Turn::Answered => {}
                Turn::Taken(in_flight, group) => round.parts.push(Part {
                    log: &ticket.log,
                    in_flight,
                    group,
                }),
                Turn::Awaited => last_awaited = Some(&ticket.log),
            }
        }
        if !round.parts.is_empty() {
            round.commit();
        } else if let Some(log) = last_awaited {
            // Rounds end in the order of the logs, so with the last one all are free.
            log.wait_for_turn();
        } else {
            return;
        }
    }
}

/// Groups in flight that become durable together.
#[derive(Default)]
pub(super) struct Round<'a> {
    parts: Vec<Part<'a>>,
}

struct Part<'a> {
    log: &'a ShardLog,
    in_flight: InFlight<'a>,
    group: Group,
}

impl<'a> Round<'a> {
    /// A round of one, which shares the journal's sync with others that are going on.
    pub(super) fn of(log: &'a ShardLog, in_flight: InFlight<'a>, group: Group) -> Self {
        Self {
            parts: vec![Part {
                log,
                in_flight,
                group,
            }],
        }
    }

    /// Makes the groups durable and answers them.
    pub(super) fn commit(self) {
        let Some(first) = self.parts.first() else { return };
        let context: &LogContext = &first.log.context;
        let mut answers = Answers::default();
        let framed = self.frame(&mut answers);
        let journaled = journal(context, &framed);
        let mut written: Vec<(Part<'_>, Result<LogEnd>)> = Vec::with_capacity(framed.len());
        for (mut part, frame) in framed {
            let result = part.log.defer(&mut part.group, frame);
            written.push((part, result));
        }
        // Where the journal has no room, each segment is synced instead. Where it failed, so does that.
        let is_journaled = journaled.is_some_and(|ticket| ticket.wait().is_ok());
        for (part, result) in written {
            let result = result.and_then(|end| part.log.publish(end, is_journaled));
            answers.give(part, result);
        }
        answers.finish(context);
    }

    /// Makes the groups frames. One that gets no place in a segment is answered with the reason.
    fn frame(self, answers: &mut Answers) -> Vec<(Part<'a>, PlacedFrame)> {
        let mut framed = Vec::with_capacity(self.parts.len());
        for mut part in self.parts {
            match part.log.frame(&mut part.group) {
                Ok(frame) => framed.push((part, frame)),
                Err(error) => answers.give(part, Err(error)),
            }
        }
        framed
    }
}

fn journal(context: &LogContext, framed: &[(Part<'_>, PlacedFrame)]) -> Option<Ticket> {
    let frames = framed
        .iter()
        .map(|(part, frame)| (part.log, frame.segment(), &part.group.buffer[..frame.bytes]));
    context.journal()?.append(frames)
}

/// What has to be done once groups have their answers.
#[derive(Default)]
struct Answers {
    is_any_committed: bool,
    for_flushers: Vec<Arc<ShardLog>>,
}

impl Answers {
    fn give(&mut self, part: Part<'_>, result: Result<()>) {
        self.is_any_committed |= result.is_ok();
        self.for_flushers
            .extend(part.in_flight.answer(result, part.group));
    }

    fn finish(self, context: &LogContext) {
        context.flushers.commit(self.for_flushers);
        if self.is_any_committed {
            (context.on_commit)();
        }
    }
}
