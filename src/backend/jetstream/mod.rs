//! Logs on a cluster of NATS JetStream.
//!
//! A stream is one JetStream stream, a log is a subject in it, and a commit is a message: a frame. Every append names
//! the frame that it follows, and goes in only if that is the last (compare-and-set). The catalog is a subject of its
//! own, written in the same way. So what decides who may write is on the cluster, and not here; see `docs/design.md`.

// Without a server nothing takes calls of others.
#[cfg_attr(not(feature = "server"), allow(dead_code))]
mod answer;
mod api;
mod append;
mod cache;
mod chain;
mod checks;
mod cluster;
mod commit;
mod edits;
mod envelope;
mod fetch;
mod frame;
mod log;
mod log_state;
mod logs;
mod open;
mod options;
#[cfg(feature = "server")]
mod owners;
mod pieces;
mod presence;
mod removal;
#[cfg_attr(not(feature = "server"), allow(dead_code))]
mod seat;
mod shared;
mod streams;
mod subjects;
mod trim;
mod verbs;
mod waiter;

#[cfg(feature = "server")]
pub(crate) use answer::{Answer, CallAddress, News, Stage};
pub(crate) use open::open;
pub use options::JetStream;
#[cfg(feature = "server")]
pub(crate) use owners::{NewsFeed, Owners};
#[cfg(feature = "server")]
pub(crate) use seat::Seat;
