//! What all requests share.

use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;

use super::failures::Failures;
use super::options::ServerOptions;
use super::protocol::Protocol;
use super::request_id::UniqueNumbers;
use super::token::Tokens;
use crate::Store;
use crate::http::Resources;

/// The store, and what the server itself was told or has to limit.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) store: Store,
    pub(super) region: String,
    pub(super) account_id: String,
    pub(super) shard_limit: u64,
    /// Held by the call that opens shards, from the count of those there are to the end.
    pub(super) shard_claim: Mutex<()>,
    /// Held from the reading of the account's settings to the writing of others.
    pub(super) account_settings: Mutex<()>,
    pub(super) tokens: Tokens,
    pub(super) request_ids: UniqueNumbers,
    pub(super) failures: Failures,
    /// What the connections share, with the memory for requests and replies.
    pub(super) http: Arc<Resources>,
    /// Whether calls wait on the thread of the async runtime.
    pub(super) waits_inline: bool,
    /// One permit for each call that may be on a blocking thread.
    pub(super) blocking_calls: Arc<Semaphore>,
}

/// One request's view of the service: who answers, as whom, in which encoding.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) service: &'a Service,
    pub(super) region: &'a str,
    pub(super) protocol: Protocol,
    /// The most bytes of data and partition keys that a read may read.
    pub(super) most_read_bytes: usize,
}

impl Service {
    pub(super) fn new(store: Store, options: &ServerOptions) -> Service {
        let tokens = Tokens::new(&store.token_key(), options.simulated);
        Service {
            store,
            region: options.region.clone(),
            account_id: options.account_id.clone(),
            shard_limit: options.shard_limit,
            shard_claim: Mutex::default(),
            account_settings: Mutex::default(),
            tokens,
            request_ids: UniqueNumbers::new(options.simulated),
            failures: Failures::default(),
            http: Arc::new(Resources::new(&options.http)),
            waits_inline: options.simulated.is_some(),
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
