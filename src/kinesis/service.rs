//! What all requests share.

use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;

use super::body::BodyReader;
use super::connections::Stop;
use super::failures::Failures;
use super::options::ServerOptions;
use super::protocol::Protocol;
use super::reply::Buffers;
use super::reply_memory::{ReadSize, ReplyMemory};
use super::request_id::UniqueNumbers;
use super::token::Tokens;
use crate::Store;

/// The store, and what the server itself was told or has to limit.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) store: Store,
    pub(super) region: String,
    pub(super) account_id: String,
    pub(super) shard_limit: u64,
    /// Held by the call that opens shards, from the count of those there are to the end.
    pub(super) shard_claim: Mutex<()>,
    pub(super) tokens: Tokens,
    pub(super) request_ids: UniqueNumbers,
    pub(super) failures: Failures,
    pub(super) bodies: BodyReader,
    pub(super) replies: ReplyMemory,
    /// For replies that are encoded while they are sent.
    pub(super) buffers: Arc<Buffers>,
    /// One permit for each call that may be on a blocking thread.
    pub(super) blocking_calls: Arc<Semaphore>,
}

/// One request's view of the service: who answers, as whom, in which encoding.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) service: &'a Service,
    pub(super) region: &'a str,
    pub(super) protocol: Protocol,
    pub(super) read_size: ReadSize,
}

impl Service {
    pub(super) fn new(store: Store, options: &ServerOptions, stop: Arc<Stop>) -> Service {
        let tokens = Tokens::new(&store.token_key());
        Service {
            store,
            region: options.region.clone(),
            account_id: options.account_id.clone(),
            shard_limit: options.shard_limit,
            shard_claim: Mutex::default(),
            tokens,
            request_ids: UniqueNumbers::new(),
            failures: Failures::default(),
            bodies: BodyReader::new(
                options.max_request_bytes,
                options.max_buffered_request_bytes,
                options.body_idle_timeout,
                options.body_timeout,
                stop,
            ),
            replies: ReplyMemory::new(options.max_buffered_reply_bytes, options.body_idle_timeout),
            buffers: Arc::default(),
            blocking_calls: Arc::new(Semaphore::new(
                options.max_blocking_calls.clamp(1, Semaphore::MAX_PERMITS),
            )),
        }
    }
}

impl Context<'_> {
    pub(super) fn account_id(&self) -> &str {
        &self.service.account_id
    }
}
