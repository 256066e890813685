//! What connections, requests and replies share.

use std::sync::Arc;

use super::body::{BodyReader, most_bytes_of_request};
use super::budget::MOST_SMALL;
use super::connections::{ConnectionMemory, Connections, Stop};
use super::options::HttpOptions;
use super::reply::Buffers;
use super::reply_memory::ReplyMemory;
use super::unsent::Undoing;

/// One connection's small requests may hold one in so many parts of the memory for all small requests, so that a few
/// connections cannot hold all of it. Its small replies likewise.
const SMALL_REQUEST_PARTS: usize = 32;
const SMALL_REPLY_PARTS: usize = 16;

/// The connections that are open, and the memory for their requests and replies.
#[derive(Debug)]
pub(crate) struct Resources {
    pub(super) connections: Connections,
    pub(crate) bodies: BodyReader,
    pub(crate) replies: ReplyMemory,
    /// Buffers for replies that are encoded while they are sent.
    pub(crate) buffers: Arc<Buffers>,
    /// Undoes calls whose replies may not reach their clients.
    pub(crate) undoing: Undoing,
    pub(super) stop: Arc<Stop>,
}

/// A small body always fits.
fn small_of_connection(of_all: usize, parts: usize) -> usize {
    (of_all / parts).max(MOST_SMALL)
}

impl Resources {
    pub(crate) fn new(options: &HttpOptions) -> Resources {
        let stop = Arc::new(Stop::default());
        let bodies = BodyReader::new(
            options.max_request_bytes,
            options.max_buffered_request_bytes,
            options.body_idle_timeout,
            options.body_timeout,
            Arc::clone(&stop),
        );
        let replies = ReplyMemory::new(
            options.max_buffered_reply_bytes,
            options.max_reply_bytes,
            options.body_idle_timeout,
        );
        let memory_of_each = ConnectionMemory {
            requests: options
                .max_connection_request_bytes
                .max(most_bytes_of_request(options.max_request_bytes)),
            small_requests: small_of_connection(bodies.memory().small.bytes(), SMALL_REQUEST_PARTS),
            replies: options.max_connection_reply_bytes.max(options.max_reply_bytes),
            small_replies: small_of_connection(replies.small_bytes(), SMALL_REPLY_PARTS),
        };
        Resources {
            connections: Connections::new(memory_of_each),
            bodies,
            replies,
            buffers: Arc::default(),
            undoing: Undoing::default(),
            stop,
        }
    }

    /// Ready when the server stops.
    pub(crate) async fn stops(&self) {
        self.stop.begins().await;
    }

    /// Ready when no connection is open on which another server [passes calls on](Connection::passes_calls_on).
    #[cfg(feature = "nats")]
    pub(crate) async fn no_call_is_passed_on(&self) {
        self.connections.none_passes_calls_on().await;
    }

    #[cfg(test)]
    pub(crate) fn connection(&self) -> Arc<super::Connection> {
        self.connections.add()
    }
}
