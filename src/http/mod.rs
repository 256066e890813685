//! Serving HTTP/1.1 and HTTP/2 on one port, with a bound for everything that a client can make the server hold.
//!
//! This floor takes connections from a [`Listener`], reads requests, and gives each one to [`Routes`], whose reply it
//! sends. It knows nothing about the contents of requests and replies. It bounds and counts connections, and which of
//! them are idle (`connections`); the bytes of request bodies (`body`) and of replies (`reply`, `reply_memory`), both
//! from a `budget`; and the time that a client may take (`socket`, `tls`, `http2_streams`). `admission` decides which
//! hosts and web pages are let in; the routes call it. [`Resources`] has all of these, and is shared with the routes.
//!
//! Time is tokio's, and connections come from the listener. So under a runtime whose clock is paused and with a
//! listener in memory, the whole server runs in a simulation.

mod admission;
mod body;
mod budget;
mod connections;
mod gauges;
mod head;
mod http2_streams;
mod line;
mod listener;
mod options;
pub(crate) mod query;
mod reply;
mod reply_memory;
mod resources;
mod self_signed;
mod server;
mod socket;
mod tcp_listener;
mod tls;
mod unsent;

pub(crate) use admission::{Admission, Refusal, RuleError};
pub(crate) use body::BodyError;
pub(crate) use budget::MOST_SMALL;
pub(crate) use connections::Connection;
pub use gauges::ServerGauges;
pub(crate) use head::{USUAL_HEAD_BYTES, head_bytes, is_head_too_large};
pub use listener::Listener;
pub(crate) use options::{HttpOptions, MAX_HEAD_BYTES, MAX_HEADERS};
#[cfg(test)]
pub(crate) use reply::Buffers;
pub(crate) use reply::{Encode, MOST_INDIVISIBLE, ReplyBody};
pub(crate) use reply_memory::{Granted, ReplyShare};
pub(crate) use resources::Resources;
pub use self_signed::SelfSigned;
pub(crate) use server::{NoAnswer, Reply, Routes, serve_until};
pub(crate) use tcp_listener::ListenError;
pub use tcp_listener::TcpListener;
pub use tls::{TlsError, TlsIdentity};
pub(crate) use unsent::{Undoable, Unsent};
