//! Passing requests on to another server, and its answers back.
//!
//! A [`Peer`] is that server at one address. A request is sent to it once: what becomes of one that could not be sent is
//! known ([`Unpassed::NotSent`]), and what becomes of one whose answer is lost is not ([`Unpassed::Unknown`]). So who has
//! a request passed on may try the first again, and must not try the second.
//!
//! HTTP/1.1 is spoken, with a connection for each request that is under way. Then one that is given up ends its
//! connection, which the other server sees, and a large body keeps back no other. Answers are passed on as they come, as
//! fast as their clients take them.
//!
//! This floor knows HTTP and nothing of what is asked.

mod address;
mod connection;
mod headers;
mod passed;
mod peer;
mod pinned;

pub(crate) use address::PeerAddress;
pub(crate) use headers::{FORWARDED, OWNER};
pub(crate) use peer::{Peer, Unpassed};
