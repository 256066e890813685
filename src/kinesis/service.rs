//! The state that all requests share.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::arn::{ReaderArn, ReaderKind, ReaderName, StreamArn};
use super::credentials::{Identity, Keys};
use super::emulation::{CallRates, Changes, Limits, Throughput};
use super::error::ApiError;
use super::failures::Failures;
use super::faults::Faults;
use super::options::{AdminPlace, ServerOptions};
use super::protocol::Protocol;
use super::request_id::UniqueNumbers;
use super::scope::Scope;
use super::subject::Subject;
use super::subscriptions::Subscriptions;
use super::token::Tokens;
use crate::admin::{Admin, Calls, Page};
use crate::console::Console;
use crate::http::{Admission, Resources, ServerGauges};
use crate::{Channel, ChannelId, Delivery, Error, Namespace, Queue, QueueId, Retention, Store, Stream};

/// The API and its version, as in `X-Amz-Target`.
pub(super) const API: &str = "Kinesis_20131202";

/// The store, and the server's own settings and limits.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) store: Store,
    /// The scope of requests without another one.
    pub(super) scope: Scope,
    /// Which hosts and web pages are let in.
    pub(super) admission: Admission,
    /// The keys of signatures. Without them signatures are not verified.
    pub(super) keys: Option<Arc<Keys>>,
    pub(super) shard_limit: u64,
    /// The retention of new streams.
    pub(super) retention: Retention,
    /// Held by a call that opens shards, from counting the present ones to its end.
    pub(super) shard_claim: Mutex<()>,
    /// Held while a consumer is registered, and from the look for a stream's consumers to its deletion.
    pub(super) consumer_claim: Mutex<()>,
    /// Held from reading the account's settings to writing changed ones.
    pub(super) account_settings: Mutex<()>,
    /// Held from reading a stream's mode and distribution to a change of one of them, since they have to agree.
    pub(super) mode_changes: Mutex<()>,
    /// Held from reading a stream's metrics to writing changed ones.
    pub(super) shard_level_metrics: Mutex<()>,
    /// Held from reading a channel's notes to writing changed ones.
    pub(super) channel_notes: Mutex<()>,
    /// Held while a queue's settings are changed.
    pub(super) queue_changes: Mutex<()>,
    pub(super) tokens: Tokens,
    pub(super) subscriptions: Arc<Subscriptions>,
    pub(super) subscription_life: Duration,
    /// The limits of AWS that this server has, with their counts.
    pub(super) limits: Limits,
    pub(super) call_rates: CallRates,
    pub(super) throughput: Throughput,
    pub(super) changes: Changes,
    pub(super) faults: Faults,
    pub(super) request_ids: UniqueNumbers,
    pub(super) failures: Failures,
    /// Counts the calls by their results.
    pub(super) calls: Arc<Calls>,
    pub(super) admin: Arc<Admin>,
    /// Which pages of `admin` are beside the API.
    pub(super) pages: Pages,
    /// The console, if there is one.
    pub(super) console: Option<Arc<Console>>,
    /// What the connections share, including the memory for requests and replies.
    pub(super) http: Arc<Resources>,
    /// Whether calls wait on the thread of the async runtime.
    pub(super) waits_inline: bool,
    /// The delivery of the store's channels, if there is one.
    pub(super) delivery: Option<Arc<Delivery>>,
    /// One permit for each call that may be on a blocking thread.
    pub(super) blocking_calls: Arc<Semaphore>,
}

/// Which of the pages for people who run the server are beside the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pages {
    None,
    /// The pages that any client may see if clients have to sign.
    WithoutMetrics,
    All,
}

impl Pages {
    fn of(options: &ServerOptions) -> Pages {
        match (&options.admin, &options.credentials) {
            (AdminPlace::Off | AdminPlace::Address(_), _) => Pages::None,
            (AdminPlace::BesideApi, Some(_)) => Pages::WithoutMetrics,
            (AdminPlace::BesideApi, None) => Pages::All,
        }
    }

    /// Whether the console is beside the API too, if there is one: its users see all records.
    pub(super) fn have_console(self) -> bool {
        self == Pages::All
    }

    pub(super) fn has(self, page: Page) -> bool {
        match self {
            Pages::None => false,
            Pages::WithoutMetrics => page != Page::Metrics,
            Pages::All => true,
        }
    }
}

/// The service for one request: with the request's scope and encoding.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) service: &'a Service,
    /// The name of the request in the log.
    pub(super) subject: &'a Subject,
    /// The scope of the request.
    pub(super) scope: Scope,
    /// The sender of the request, if signatures are verified.
    pub(super) caller: Option<&'a Identity>,
    /// The name of the operation.
    pub(super) operation: &'static str,
    pub(super) protocol: Protocol,
    /// The most bytes of data and partition keys that a read may read.
    pub(super) most_read_bytes: usize,
}

impl Service {
    pub(super) fn new(
        store: Store,
        scope: Scope,
        admission: Admission,
        calls: Calls,
        options: &ServerOptions,
    ) -> Service {
        let keys = options.credentials.as_ref();
        let keys = keys.map(|credentials| Arc::new(Keys::new(credentials, scope.account_id())));
        let tokens = Tokens::new(&store.secret(), options.simulated);
        let http = Arc::new(Resources::new(&options.http));
        let calls = Arc::new(calls);
        let waits_inline = options.simulated.is_some();
        let subscriptions = Arc::<Subscriptions>::default();
        let admin = Admin::new(
            store.clone(),
            Arc::clone(&calls),
            ServerGauges::new(Arc::clone(&http)),
            Arc::<Subscriptions>::clone(&subscriptions),
            API,
            waits_inline,
        );
        let has_console = options.has_console && options.admin != AdminPlace::Off;
        let console = has_console.then(|| {
            Arc::new(Console::new(
                store.clone(),
                options.delivery.clone(),
                subscriptions.clone(),
                scope.namespace(),
                waits_inline,
            ))
        });
        Service {
            store,
            scope,
            admission,
            keys,
            shard_limit: options.shard_limit,
            retention: options.retention,
            shard_claim: Mutex::default(),
            consumer_claim: Mutex::default(),
            account_settings: Mutex::default(),
            mode_changes: Mutex::default(),
            shard_level_metrics: Mutex::default(),
            channel_notes: Mutex::default(),
            queue_changes: Mutex::default(),
            tokens,
            subscriptions,
            subscription_life: options.subscription_life,
            limits: options.limits,
            call_rates: CallRates::default(),
            throughput: Throughput::default(),
            changes: Changes::default(),
            faults: Faults::new(&options.faults, options.fault_seed),
            request_ids: UniqueNumbers::new(options.simulated),
            failures: Failures::default(),
            calls,
            admin: Arc::new(admin),
            pages: Pages::of(options),
            console,
            http,
            waits_inline,
            delivery: options.delivery.clone(),
            blocking_calls: Arc::new(Semaphore::new(
                options.max_blocking_calls.clamp(1, Semaphore::MAX_PERMITS),
            )),
        }
    }

    /// The name of a new request in the log.
    pub(super) fn new_subject(&self, operation: Option<&'static str>) -> Subject {
        Subject::new(self.request_ids.request_id(), operation)
    }

    /// Logs the error of a whole request, if it is the server's.
    pub(super) fn note_failure(&self, subject: &Subject, error: &ApiError) {
        self.failures.note_request(self.store.monotonic(), subject, error);
    }
}

impl Context<'_> {
    pub(super) fn account_id(&self) -> &str {
        self.scope.account_id()
    }

    /// The ARN of a stream of this name.
    pub(super) fn stream_arn<'b>(&'b self, stream_name: &'b str) -> StreamArn<'b> {
        StreamArn {
            region: self.scope.region(),
            account_id: self.scope.account_id(),
            stream_name,
        }
    }

    /// The streams of the scope, by their names.
    pub(super) fn streams(&self) -> crate::Result<Namespace> {
        self.service.store.namespace(&self.scope.namespace())
    }

    /// A stream by its name, in any state.
    pub(super) fn stream(&self, name: &str) -> crate::Result<Stream> {
        self.subject.note_stream(name);
        self.streams()?.stream(name)
    }

    pub(super) fn queue_arn<'b>(&self, queue: &'b Queue) -> ReaderArn<'b> {
        self.reader_arn(queue.stream(), ReaderKind::Queue, queue.id().value())
    }

    pub(super) fn channel_arn<'b>(&self, channel: &'b Channel) -> ReaderArn<'b> {
        self.reader_arn(channel.stream(), ReaderKind::Channel, channel.id().value())
    }

    /// The ARN of a queue or a channel, by the namespace of its stream.
    fn reader_arn<'b>(&self, stream: &'b Stream, kind: ReaderKind, number: u32) -> ReaderArn<'b> {
        let (account_id, region) = stream.namespace().split_once('/').unwrap_or_default();
        ReaderArn {
            region,
            account_id,
            kind,
            reader: ReaderName {
                stream: stream.id(),
                number,
                store: self.store_bits(),
            },
        }
    }

    /// The queue of an ARN of this scope, in any state.
    pub(super) fn queue(&self, name: ReaderName) -> crate::Result<Queue> {
        self.stream_of(name)?.queue_by_id(QueueId::new(name.number))
    }

    /// The channel of an ARN of this scope, in any state.
    pub(super) fn channel(&self, name: ReaderName) -> crate::Result<Channel> {
        self.stream_of(name)?.channel_by_id(ChannelId::new(name.number))
    }

    /// The stream of a queue or a channel of an ARN of this scope.
    fn stream_of(&self, name: ReaderName) -> crate::Result<Stream> {
        let stream = self.service.store.stream_by_id(name.stream)?;
        let is_here = stream.namespace() == self.scope.namespace() && name.store == self.store_bits();
        match is_here {
            true => {
                self.subject.note_stream(stream.name());
                Ok(stream)
            }
            false => Err(Error::StreamNotFound {
                name: name.to_string(),
            }),
        }
    }

    /// The lowest bits of the store's number.
    fn store_bits(&self) -> u32 {
        self.service.store.id() as u32
    }

    /// The same for a request that names its resource by an ARN, which has the scope.
    pub(super) fn at_arn(self, arn: &str) -> Self {
        let scope = self.scope.of_arn(arn);
        Self { scope, ..self }
    }
}
