use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::credentials::Credentials;
use super::emulation::Limits;
use super::faults::Fault;
use crate::http::{self, HttpOptions, TlsIdentity};
use crate::{Delivery, Retention};

/// How many bytes of data and partition keys a read may read.
pub(super) const MOST_READ_BYTES: usize = 10 << 20;

/// How many bytes a read may read while many replies are unread.
pub(super) const LESS_READ_BYTES: usize = 256 << 10;

/// The range of a stream's retention in the API.
pub(super) const RETENTION_HOURS: RangeInclusive<u32> = 24..=8760;

/// The size of a reply with so many bytes of records, most of them in base64.
pub(super) const fn reply_bytes(read: usize) -> usize {
    read / 2 * 3
}

/// The options of a [`Server`](super::Server).
///
/// ```
/// # use anabranch::kinesis::ServerOptions;
/// let options = ServerOptions::new("127.0.0.1:0").region("eu-west-1").account_id("123456789012");
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct ServerOptions {
    pub(super) listen: String,
    pub(super) region: String,
    pub(super) account_id: String,
    pub(super) credentials: Option<Credentials>,
    pub(super) allow_unsigned_beyond_loopback: bool,
    pub(super) allowed_hosts: Vec<String>,
    pub(super) allowed_origins: Vec<String>,
    pub(super) shard_limit: u64,
    pub(super) retention: Retention,
    pub(super) max_blocking_calls: usize,
    pub(super) simulated: Option<u64>,
    pub(super) subscription_life: Duration,
    pub(super) limits: Limits,
    pub(super) faults: Vec<Fault>,
    pub(super) fault_seed: u64,
    pub(super) delivery: Option<Arc<Delivery>>,
    pub(super) admin: AdminPlace,
    pub(super) has_console: bool,
    #[cfg(feature = "nats")]
    pub(super) max_forwarded_calls: usize,
    pub(super) http: HttpOptions,
}

/// Where the pages for people who run the server are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AdminPlace {
    BesideApi,
    Address(String),
    Off,
}

impl ServerOptions {
    /// The region of requests that are not signed for one.
    pub const DEFAULT_REGION: &'static str = "us-east-1";
    /// The account of requests that name no ARN of another account.
    pub const DEFAULT_ACCOUNT_ID: &'static str = "000000000000";

    /// The most open shards of all streams together: the greatest quota that AWS gives to a new account.
    pub const DEFAULT_SHARD_LIMIT: u64 = 20_000;

    /// The number of shards of a stream that is created without one, which is AWS' default.
    pub const DEFAULT_SHARD_COUNT: u32 = 4;

    /// The largest head of a request, over HTTP/1.1 and HTTP/2: the names and values of all fields, and 32 bytes for
    /// each of them. A larger one is answered with status 431.
    pub const MAX_HEAD_BYTES: usize = http::MAX_HEAD_BYTES;
    /// The most header fields of a request. More are answered with status 431.
    pub const MAX_HEADERS: usize = http::MAX_HEADERS;

    /// Listens on `listen`, a host and a port: `127.0.0.1:4567`, `localhost:4567`, `[::1]:0`. Port 0 takes any free
    /// one. A name stands for all of its addresses.
    pub fn new(listen: impl Into<String>) -> ServerOptions {
        ServerOptions {
            listen: listen.into(),
            region: ServerOptions::DEFAULT_REGION.to_owned(),
            account_id: ServerOptions::DEFAULT_ACCOUNT_ID.to_owned(),
            credentials: None,
            allow_unsigned_beyond_loopback: false,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            shard_limit: ServerOptions::DEFAULT_SHARD_LIMIT,
            retention: Retention::default(),
            max_blocking_calls: 32,
            simulated: None,
            subscription_life: Duration::from_secs(300),
            limits: Limits::NONE,
            faults: Vec::new(),
            fault_seed: 0,
            delivery: None,
            admin: AdminPlace::BesideApi,
            has_console: true,
            #[cfg(feature = "nats")]
            max_forwarded_calls: 1024,
            http: HttpOptions {
                max_connections: 8192,
                max_request_bytes: 20 << 20,
                max_reply_bytes: reply_bytes(MOST_READ_BYTES),
                max_streams_per_connection: 128,
                max_buffered_request_bytes: 256 << 20,
                max_buffered_reply_bytes: 256 << 20,
                max_connection_request_bytes: 64 << 20,
                max_connection_reply_bytes: 64 << 20,
                idle_timeout: Duration::from_secs(600),
                stall_timeout: Duration::from_secs(60),
                body_idle_timeout: Duration::from_secs(20),
                body_timeout: Duration::from_secs(180),
                shutdown_grace: Duration::from_secs(5),
                handshake_timeout: Duration::from_secs(10),
                tls: None,
            },
        }
    }

    /// The region of requests that are not signed for one (default `us-east-1`). A stream belongs to an account and a
    /// region: the same name in another one is another stream.
    pub fn region(mut self, region: impl Into<String>) -> ServerOptions {
        self.region = region.into();
        self
    }

    /// The account of requests that name no ARN of another account, twelve digits (default `000000000000`).
    pub fn account_id(mut self, account_id: impl Into<String>) -> ServerOptions {
        self.account_id = account_id.into();
        self
    }

    /// The keys that requests have to be signed with (default: none, and signatures are not verified). A caller's
    /// stream names are those of its account, and policies decide what it may do to streams of others. A later
    /// [replacement](Credentials::replace) of the credentials counts from then on.
    pub fn credentials(mut self, credentials: Credentials) -> ServerOptions {
        self.credentials = Some(credentials);
        self
    }

    /// Allows addresses that other machines can reach although signatures are not verified (default: not allowed, with
    /// the error [`BindError::Unsigned`](super::BindError::Unsigned)). Then everyone there can read and write
    /// everything, or, with credentials, see the pages of [`admin_listen`](ServerOptions::admin_listen).
    pub fn allow_unsigned_beyond_loopback(mut self, allow: bool) -> ServerOptions {
        self.allow_unsigned_beyond_loopback = allow;
        self
    }

    /// Admits one more host of requests, by their `Host` or `:authority`, without a port (default: loopback's names and
    /// addresses, the addresses that are listened on, and the names that AWS has for Kinesis). `*.NAME` stands for all
    /// names below one, `*` for all. Other hosts get status 403: they belong to web pages whose names were pointed at
    /// our address.
    pub fn allow_host(mut self, host: impl Into<String>) -> ServerOptions {
        self.allowed_hosts.push(host.into());
        self
    }

    /// Admits one more origin of web pages: `https://app.example:8443` (default: those of this machine). `*` stands for
    /// all, `null` for pages without one. Other origins get status 403.
    pub fn allow_origin(mut self, origin: impl Into<String>) -> ServerOptions {
        self.allowed_origins.push(origin.into());
        self
    }

    /// Speaks TLS with this certificate and its key, and only TLS (default: no TLS).
    pub fn tls(mut self, identity: TlsIdentity) -> ServerOptions {
        self.http.tls = Some(identity);
        self
    }

    /// How long a handshake of TLS may take (default 10 s).
    pub fn tls_handshake_timeout(mut self, timeout: Duration) -> ServerOptions {
        self.http.handshake_timeout = timeout;
        self
    }

    /// How long a new stream keeps its records, until a client changes it: 24 to 8760 hours, the range of the API.
    /// Default: 24 hours.
    pub fn retention_of_new_streams(mut self, hours: u32) -> ServerOptions {
        let (shortest, longest) = RETENTION_HOURS.into_inner();
        self.retention = Retention::hours(hours.clamp(shortest, longest));
        self
    }

    /// The most open shards that all streams may have together, including those that are being made (default
    /// [`DEFAULT_SHARD_LIMIT`](ServerOptions::DEFAULT_SHARD_LIMIT), at least 1), like the quota of an AWS account. A
    /// store that has more keeps them, and gets no more.
    pub fn shard_limit(mut self, shards: u64) -> ServerOptions {
        self.shard_limit = shards.max(1);
        self
    }

    /// The most connections at once (default 8192, at least 1). For a new connection beyond it, the one that has been
    /// idle for longest is closed; if none is idle, the new one waits.
    pub fn max_connections(mut self, connections: usize) -> ServerOptions {
        self.http.max_connections = connections;
        self
    }

    /// The most requests that a connection of HTTP/2 may have open at once (default 128; 1 to 32,767). Each may have 64
    /// KiB of its body in flight, so that none holds up another; more if at most 64 may be open at once.
    pub fn max_streams_per_connection(mut self, streams: u32) -> ServerOptions {
        self.http.max_streams_per_connection = streams;
        self
    }

    /// The longest request body, in bytes (default 20 MiB). The largest legal PutRecords has 10 MiB of data, which is
    /// 13.4 MiB of base64. A longer body is answered with status 413.
    pub fn max_request_bytes(mut self, bytes: usize) -> ServerOptions {
        self.http.max_request_bytes = bytes;
        self
    }

    /// How much memory all request bodies may take, in bytes (default 256 MiB; at least one longest body with the
    /// largest head in addition to the part for small ones). A body takes memory as it arrives. Bodies that announce up
    /// to 64 KiB have a quarter for themselves. When the memory is used up, bodies are not read until there is room,
    /// for up to the [time without progress](ServerOptions::body_timeouts); after that their requests get status 503.
    pub fn max_buffered_request_bytes(mut self, bytes: usize) -> ServerOptions {
        self.http.max_buffered_request_bytes = bytes;
        self
    }

    /// How much of that the bodies of one connection may take, in bytes (default 64 MiB, at least one longest body with
    /// the largest head). Its bodies that announce up to 64 KiB do not count for this: they may take a thirty-second of
    /// the part for such bodies.
    pub fn max_connection_request_bytes(mut self, bytes: usize) -> ServerOptions {
        self.http.max_connection_request_bytes = bytes;
        self
    }

    /// How much memory all replies may take until they are in their sockets, in bytes (default 256 MiB; at least one
    /// largest reply in addition to the part for small ones). A GetRecords takes its share before it reads. An eighth
    /// is for small replies, and an eighth for a GetRecords of up to 256 KiB if there is no room for more. When all is
    /// used up, requests wait, as they do for request bodies.
    pub fn max_buffered_reply_bytes(mut self, bytes: usize) -> ServerOptions {
        self.http.max_buffered_reply_bytes = bytes;
        self
    }

    /// How much of that the replies of one connection may take, in bytes (default 64 MiB, at least one largest reply).
    /// Its small replies do not count for this: they may take a sixteenth of the part for small replies.
    pub fn max_connection_reply_bytes(mut self, bytes: usize) -> ServerOptions {
        self.http.max_connection_reply_bytes = bytes;
        self
    }

    /// How many calls may wait for the disk or a lock at once, each on its own thread (default 32, at least 1). Writes
    /// are not among them: they wait without a thread.
    pub fn max_blocking_calls(mut self, calls: usize) -> ServerOptions {
        self.max_blocking_calls = calls;
        self
    }

    /// Makes the server depend only on `seed` and on its clients, for simulations with one thread: request ids and the
    /// salt of tokens come from the seed, and calls that wait for the disk or a lock do so on the thread of the async
    /// runtime, instead of on threads of their own (default: off). Not for a server with real clients.
    pub fn simulated(mut self, seed: u64) -> ServerOptions {
        self.simulated = Some(seed);
        self
    }

    /// How long a subscription of SubscribeToShard lasts, by the store's monotonic clock (default 5 min, as on AWS).
    /// After that its client subscribes again.
    pub fn subscription_life(mut self, life: Duration) -> ServerOptions {
        self.subscription_life = life;
        self
    }

    /// The limits of AWS that the server has (default: none): throughput of shards, rates of calls, changes of streams.
    /// They are for testing programs that back off, and count by the store's clock.
    pub fn limits(mut self, limits: Limits) -> ServerOptions {
        self.limits = limits;
        self
    }

    /// Makes some calls fail, be slow or lose their answers (default: none), for testing how clients react. `seed` and
    /// the order of the calls decide which ones.
    pub fn faults(mut self, faults: impl IntoIterator<Item = Fault>, seed: u64) -> ServerOptions {
        self.faults = faults.into_iter().collect();
        self.fault_seed = seed;
        self
    }

    /// The delivery of the store's channels, in threads that the caller has started (default: none, and channels are
    /// FAILED).
    pub fn delivery(mut self, delivery: Arc<Delivery>) -> ServerOptions {
        self.delivery = Some(delivery);
        self
    }

    /// Whether the server has pages for people who run it (default: yes): `GET /health`, `/metrics` and `/version`,
    /// beside the API unless they have [an address of their own](ServerOptions::admin_listen). Without them, these
    /// paths are answered like all others. If requests [have to be signed](ServerOptions::credentials), `/metrics` is
    /// not beside the API.
    pub fn admin(mut self, has_pages: bool) -> ServerOptions {
        self.admin = match has_pages {
            true => AdminPlace::BesideApi,
            false => AdminPlace::Off,
        };
        self
    }

    /// Puts these pages on an address of their own, and not beside the API (default: beside it). The address is a host
    /// and a port, as for [`new`](ServerOptions::new). It speaks TLS if the other one does, and admits the same hosts
    /// and web pages. Requests to it need no signature. An address that other machines can reach is a
    /// [`BindError::AdminBeyondLoopback`](super::BindError::AdminBeyondLoopback) unless
    /// [that is allowed](ServerOptions::allow_unsigned_beyond_loopback), also with credentials.
    ///
    /// A server over a [`Listener`](super::Listener) of its own has no such address; with this option it has no pages.
    pub fn admin_listen(mut self, listen: impl Into<String>) -> ServerOptions {
        self.admin = AdminPlace::Address(listen.into());
        self
    }

    /// Whether the server has its console (default: yes), which shows streams and records in a browser. It is in the
    /// same place as [the pages for people who run the server](ServerOptions::admin), and does not exist without them.
    /// If requests [have to be signed](ServerOptions::credentials) it is not beside the API, only at
    /// [an address of its own](ServerOptions::admin_listen), since browsers do not sign.
    pub fn console(mut self, has_console: bool) -> ServerOptions {
        self.has_console = has_console;
        self
    }

    /// How many calls a [`ClusterServer`](super::ClusterServer) may have passed on to another server at once, each over
    /// a connection of its own (default 1024, at least 1). One more waits, and is answered with status 503 after a
    /// while. A subscription of SubscribeToShard is one for as long as it lasts.
    #[cfg(feature = "nats")]
    pub fn max_forwarded_calls(mut self, calls: usize) -> ServerOptions {
        self.max_forwarded_calls = calls.clamp(1, tokio::sync::Semaphore::MAX_PERMITS);
        self
    }

    /// How long a connection may stay silent before it is closed, and how long a request's head may take to arrive
    /// (default 10 min: clients keep connections for their next request).
    pub fn idle_timeout(mut self, timeout: Duration) -> ServerOptions {
        self.http.idle_timeout = timeout;
        self
    }

    /// How long a reply may make no progress (default 1 min). After that a stream of HTTP/2 is reset, and a connection
    /// of HTTP/1 is closed. Progress counts in steps of up to 128 KiB, so a client that reads steadily should read some
    /// kilobytes a second.
    pub fn stall_timeout(mut self, timeout: Duration) -> ServerOptions {
        self.http.stall_timeout = timeout;
        self
    }

    /// How long a request's body may make no progress (default 20 s), and how long it may take in all (default
    /// 3 min). A slower one is answered with status 408.
    pub fn body_timeouts(mut self, idle: Duration, total: Duration) -> ServerOptions {
        self.http.body_idle_timeout = idle;
        self.http.body_timeout = total;
        self
    }

    /// How long requests that have arrived completely before a shutdown may take to finish (default 5 s). Incomplete
    /// ones end at once.
    pub fn shutdown_grace(mut self, grace: Duration) -> ServerOptions {
        self.http.shutdown_grace = grace;
        self
    }
}
