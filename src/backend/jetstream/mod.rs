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
mod archive;
mod cache;
mod certain;
mod chain;
mod check;
mod checks;
mod cluster;
mod commit;
mod counts;
mod edit_reads;
mod edit_writes;
mod edits;
mod envelope;
mod failure;
mod fetch;
mod frame;
mod log;
mod log_state;
mod logs;
mod look;
mod monitor;
mod node;
mod open;
mod opened_logs;
mod options;
#[cfg(feature = "server")]
mod owners;
mod pieces;
mod presence;
mod reads;
mod removal;
#[cfg_attr(not(feature = "server"), allow(dead_code))]
mod seat;
mod settling;
mod shared;
mod stored_catalog;
mod streams;
mod subjects;
mod traced;
mod trim;
mod verbs;
mod verification;
mod waiter;

#[cfg(feature = "server")]
pub(crate) use answer::{Answer, CallAddress, News, Stage};
pub use archive::ClusterCopied;
pub use check::{CheckedReplica, CheckedServer, CheckedStream, ClusterCheck, ClusterProblem, StoreOwner};
pub(crate) use look::{ClusterLook, SeenFrame};
pub(crate) use open::open;
pub use options::JetStream;
#[cfg(feature = "server")]
pub(crate) use owners::{NewsFeed, Owners};
#[cfg(feature = "server")]
pub(crate) use seat::Seat;
pub use verification::{ClusterChecked, ClusterProgress, ClusterVerification, ReplicaDamage, ReplicaFinding};
