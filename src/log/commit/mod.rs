//! Group commit: records are taken in, become frames, and are durable when their tickets are done.
//!
//! A file here imports only files that stand above it in this list, or a lower floor:
//! - [`durability`], [`readable_end`], [`spare_buffers`], [`group`], [`tail`], [`sharing`]: values.
//! - [`resources`], [`sealing`], [`place`], [`writer`]: putting groups into segments.
//! - [`commits`], [`flushers`], [`journal_doubts`], [`context`]: threads that wait, and threads that commit for them.
//!   They know a log only as something that can commit, and the journal as something that takes frames.
//! - [`local_log`], [`turn`], [`round`], [`lead`], [`announce`], [`append`], [`rest`], [`cut`]: a log, and
//!   its operations.
//! - [`journal`]: a log whose records are other logs' frames.

pub(super) mod announce;
pub(super) mod append;
pub(super) mod commits;
pub(super) mod context;
pub(super) mod cut;
pub(super) mod durability;
#[cfg(test)]
mod explored;
pub(super) mod flushers;
pub(super) mod group;
pub(super) mod journal;
pub(super) mod journal_doubts;
pub(super) mod lead;
pub(super) mod local_log;
pub(super) mod place;
pub(super) mod readable_end;
pub(super) mod resources;
pub(super) mod rest;
pub(super) mod round;
pub(super) mod sealing;
pub(super) mod sharing;
pub(super) mod spare_buffers;
pub(super) mod tail;
pub(super) mod turn;
pub(super) mod writer;
