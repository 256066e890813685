//! Logs on a cluster of NATS JetStream.
//!
//! A stream is one JetStream stream, a log is a subject in it, and a commit is a message: a frame. Every append names
//! the frame that it follows, and goes in only if that is the last (compare-and-set). The catalog is a subject of its
//! own, written in the same way. So what decides who may write is on the cluster, and not here; see `docs/design.md`.

mod api;
mod append;
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
mod fetch;
mod frame;
mod log;
mod log_state;
mod logs;
mod look;
mod monitor;
mod node;
mod open;
mod options;
mod pieces;
mod presence;
mod reads;
mod removal;
mod shared;
mod stored_catalog;
mod streams;
mod subjects;
mod traced;
mod trim;
mod verbs;
mod verification;
mod waiter;

pub use check::{CheckedReplica, CheckedServer, CheckedStream, ClusterCheck, ClusterProblem};
pub(crate) use look::{ClusterLook, SeenFrame};
pub(crate) use open::open;
pub use options::JetStream;
pub use verification::{ClusterChecked, ClusterProgress, ClusterVerification, ReplicaDamage, ReplicaFinding};
