//! Passing requests on to another server, and its answers back.
//!
//! A [`Peer`] is that server at one address. A request is sent to it once. If it could not be sent, it had no effect
//! ([`Unpassed::NotSent`]), and the caller may try it again. If its answer is lost, its effect is unknown
//! ([`Unpassed::Unknown`]), and the caller must not try it again.
//!
//! The servers use HTTP/1.1, with a connection for each request in flight. So a request that is given up ends its
//! connection, which the other server notices, and a large body does not hold up other requests. Answers are passed on
//! while they arrive, as fast as their clients take them.
//!
//! This floor knows HTTP, and does not look at the contents of requests.

mod address;
mod connection;
mod headers;
mod passed;
mod peer;
mod pinned;
mod pool;

pub(crate) use address::PeerAddress;
pub(crate) use headers::{FORWARDED, OWNER};
pub(crate) use peer::{Peer, Unpassed};
