//! `anabranch serve`: the Kinesis API on a port, until a signal.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

#[cfg(feature = "nats")]
use anabranch::JetStream;
use anabranch::disk::raise_open_file_limit;
#[cfg(feature = "nats")]
use anabranch::kinesis::{ClusterServer, Role, TakeOverError};
use anabranch::kinesis::{Credentials, Fault, Limits, Server, ServerOptions};
use anabranch::{Delivery, Durability, KeyRing, Memory, Retention, Store, StoreEvent, StoreOptions};
use clap::{ArgMatches, Args, ValueEnum};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::Failure;
use super::access::{AccessArguments, Tls};
use super::admin::AdminArguments;
use super::announcement::{self, Announcement, Audience, UrlFile};
use super::buckets::BucketArguments;
#[cfg(feature = "nats")]
use super::cluster::Owned;
use super::duration::duration;
use super::emulated::{self, Emulated};
use super::engine::EngineArguments;
use super::exclusive::{Holds, decide};
use super::initial_streams::{self, InitialStream};
use super::logging::LogArguments;
use super::secret_file::SecretFile;
use super::service_manager;
use super::space::SpaceArguments;
use super::store_directory::store_directory;

#[derive(Debug, Clone, Args)]
pub(super) struct ServeArguments {
    /// Where the streams are kept; created if it does not exist
    #[arg(
        long,
        value_name = "DIR",
        value_parser = store_directory(),
        default_value = "./anabranch-data",
        env = "ANABRANCH_DATA_DIR"
    )]
    pub(super) data_dir: PathBuf,

    /// Serve an existing store without changing anything, for example a copy, or one on a read-only file system
    ///
    /// Operations that change something get AccessDeniedException. What has to be recovered after a crash is recovered
    /// in memory. Several servers can read the same directory as long as no program writes to it.
    #[arg(long, env = "ANABRANCH_READ_ONLY")]
    read_only: bool,

    /// Keep the streams in memory until the server ends, and use no directory
    ///
    /// Records take up to 1 GiB; a put beyond that is refused until records expire or a stream is deleted. The server
    /// takes a free port unless --listen gives one. Its URL is the only line on standard output; with --log-format json,
    /// an object with it. Not with --data-dir or --read-only. On the command line, this option overrides the
    /// environment variables of these two.
    #[arg(long, env = "ANABRANCH_EPHEMERAL")]
    ephemeral: bool,

    /// Host and port to listen on; port 0 takes a free one [default: 127.0.0.1:4567, or a free port with --ephemeral]
    ///
    /// HTTP/1.1 and HTTP/2 with prior knowledge share the port. An address that other machines can reach needs
    /// --credentials.
    #[arg(long, value_name = "HOST:PORT", env = "ANABRANCH_LISTEN")]
    listen: Option<String>,

    /// Write the URL into this file once the server takes requests, and remove the file when it ends
    ///
    /// For programs that start a server on a free port and wait for it.
    #[arg(long, value_name = "FILE", env = "ANABRANCH_URL_FILE")]
    url_file: Option<PathBuf>,

    /// Stop when standard input ends, so that the server ends with the program that started it
    #[arg(long, env = "ANABRANCH_EXIT_WITH_STDIN")]
    exit_with_stdin: bool,

    /// The region of requests that are not signed for a region; streams of other regions are separate
    #[arg(long, default_value = ServerOptions::DEFAULT_REGION, env = "ANABRANCH_REGION")]
    region: String,

    /// The account of requests that name no ARN of another account: twelve digits
    #[arg(long, value_name = "ID", default_value = ServerOptions::DEFAULT_ACCOUNT_ID, env = "ANABRANCH_ACCOUNT_ID")]
    account_id: String,

    /// What an acknowledged record survives
    #[arg(long, value_enum, default_value_t = DurabilityLevel::Synced, env = "ANABRANCH_DURABILITY")]
    durability: DurabilityLevel,

    /// How long a stream is CREATING, UPDATING or DELETING, and a consumer CREATING or DELETING, as on AWS: 500ms, 10s,
    /// 1m [default: 0, or 10s with --emulate aws or delays]
    #[arg(long, value_name = "TIME", value_parser = duration, env = "ANABRANCH_TRANSITION_DELAY")]
    transition_delay: Option<Duration>,

    /// Apply limits and delays of AWS, to test programs that must handle them: aws for all, or some of delays,
    /// throughput, call-rates, changes
    #[arg(long, value_name = "LIMITS", value_delimiter = ',', env = "ANABRANCH_EMULATE")]
    emulate: Vec<Emulated>,

    /// A fault of some calls, to test how a program handles it: OPERATION:KIND:AMOUNT
    ///
    /// OPERATION is the name of an operation, or * for all. KIND is throttle, fail, error=NAME with an exception of the
    /// operation, slow=TIME, or lose: the call has its effect, and its answer is lost. AMOUNT is a percentage of the
    /// calls, or a number of calls from the first on: PutRecords:throttle:25%, '*:slow=200ms:3'. Can be given several
    /// times, or with commas.
    #[arg(long, value_name = "FAULT", value_delimiter = ',', env = "ANABRANCH_FAULT")]
    fault: Vec<Fault>,

    /// The seed that, together with the order of the calls, decides which calls have a fault
    #[arg(long, value_name = "SEED", default_value_t = 0, env = "ANABRANCH_FAULT_SEED")]
    fault_seed: u64,

    /// A file of keys, so that StartStreamEncryption encrypts records on the disk: lines of an id, =, and 64
    /// hexadecimal digits
    ///
    /// Other users must not be able to read the file. The server reads changes of the file while it runs. Without this
    /// option, StartStreamEncryption notes the id of the key and encrypts nothing.
    #[arg(long, value_name = "FILE", env = "ANABRANCH_KEYS")]
    keys: Option<PathBuf>,

    /// The maximum number of open shards of all streams together, like a quota of AWS
    #[arg(
        long,
        value_name = "SHARDS",
        default_value_t = ServerOptions::DEFAULT_SHARD_LIMIT,
        value_parser = clap::value_parser!(u64).range(1..),
        env = "ANABRANCH_SHARD_LIMIT"
    )]
    shard_limit: u64,

    /// For how many hours a new stream keeps its records, until a client changes it: 24 to 8760
    #[arg(
        long,
        value_name = "HOURS",
        default_value_t = 24,
        value_parser = clap::value_parser!(u32).range(24..=8760),
        env = "ANABRANCH_RETENTION"
    )]
    retention: u32,

    /// A stream to create before serving, by default with 4 shards; an existing stream is not changed
    ///
    /// Can be given several times, or with commas between streams: --create-stream clicks:2 --create-stream orders. The
    /// stream is created in the region that is given with it, as in clicks:2@eu-west-1, or else in that of --region.
    #[arg(
        long,
        value_name = "NAME[:SHARDS][@REGION]",
        value_delimiter = ',',
        value_parser = initial_streams::parse,
        env = "ANABRANCH_CREATE_STREAM"
    )]
    create_stream: Vec<InitialStream>,

    #[command(flatten)]
    engine: EngineArguments,

    #[command(flatten)]
    space: SpaceArguments,

    /// The maximum number of open connections; for one more, the longest idle one is closed [default: 8192, or what the
    /// limit of open files allows]
    #[arg(long, value_name = "CONNECTIONS", env = "ANABRANCH_MAX_CONNECTIONS")]
    max_connections: Option<usize>,

    /// How long completely received requests may take to finish after a signal to stop
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration, env = "ANABRANCH_SHUTDOWN_GRACE")]
    shutdown_grace: Duration,

    #[command(flatten)]
    buckets: BucketArguments,

    #[command(flatten)]
    access: AccessArguments,

    #[command(flatten)]
    admin: AdminArguments,

    #[command(flatten)]
    log: LogArguments,
}

impl ServeArguments {
    /// Decides between options that exclude each other.
    ///
    /// # Errors
    /// The message if both were given in the same way.
    pub(super) fn settle(&mut self, matches: &ArgMatches) -> Result<(), String> {
        if decide(matches, "ephemeral", "data_dir")? == Holds::Second {
            self.ephemeral = false;
        }
        match decide(matches, "ephemeral", "read_only")? {
            Holds::First => self.read_only = false,
            Holds::Second => self.ephemeral = false,
            Holds::All => {}
        }
        self.engine.settle(matches)?;
        if self.engine.is_given() {
            // The environment may set these as well.
            (self.ephemeral, self.read_only, self.keys) = (false, false, None);
        }
        self.access.settle(matches)?;
        self.admin.settle(matches)
    }

    fn transition_delay(&self) -> Duration {
        /// About as long as on AWS.
        const OF_AWS: Duration = Duration::from_secs(10);
        let emulates_delays = self.emulate.iter().any(|emulated| emulated.delays);
        let default = if emulates_delays { OF_AWS } else { Duration::ZERO };
        self.transition_delay.unwrap_or(default)
    }

    fn limits(&self) -> Limits {
        let limits = self.emulate.iter().map(|emulated| emulated.limits);
        limits.fold(Limits::NONE, Limits::and)
    }

    /// The place of the streams, for people.
    fn place(&self) -> String {
        match self.engine.place() {
            Some(cluster) => cluster,
            None if self.ephemeral => "memory".to_owned(),
            None => shown(&self.data_dir),
        }
    }

    pub(super) fn listen(&self) -> &str {
        let default = match self.ephemeral {
            true => "127.0.0.1:0",
            false => "127.0.0.1:4567",
        };
        self.listen.as_deref().unwrap_or(default)
    }

    /// A store in memory survives nothing.
    fn durability_name(&self) -> &'static str {
        match self.durability {
            _ if self.engine.is_given() => "synced by a majority",
            _ if self.ephemeral => "none",
            DurabilityLevel::Synced => "synced",
            DurabilityLevel::Written => "written",
            DurabilityLevel::Buffered => "buffered",
        }
    }

    /// Whether all output of the server is JSON.
    pub(super) fn logs_json(&self) -> bool {
        self.log.is_json()
    }

    fn audience(&self) -> Audience {
        match self.ephemeral {
            _ if self.logs_json() => Audience::Machine,
            true => Audience::Program,
            false => Audience::People,
        }
    }

    /// A directory in which the server may keep other files than the store.
    fn directory_to_write(&self) -> Option<&Path> {
        let has_directory = !self.ephemeral && !self.read_only && !self.engine.is_given();
        has_directory.then_some(&*self.data_dir)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum DurabilityLevel {
    /// A crash of the process or the system, and a power failure: acknowledged after fdatasync
    Synced,
    /// A crash of the process: acknowledged when the operating system has the record, synced about once a second
    Written,
    /// Nothing: acknowledged when the record is in memory, and written in the background
    Buffered,
}

impl From<DurabilityLevel> for Durability {
    fn from(level: DurabilityLevel) -> Durability {
        match level {
            DurabilityLevel::Synced => Durability::Synced,
            DurabilityLevel::Written => Durability::Written,
            DurabilityLevel::Buffered => Durability::Buffered,
        }
    }
}

/// Serves until SIGINT, SIGTERM or SIGHUP. After a second one it does not wait for anything.
pub(super) fn run(arguments: &ServeArguments) -> Result<(), Failure> {
    arguments.log.start()?;
    let url_file = arguments.url_file.as_deref().map(UrlFile::at).transpose()?;
    let descriptors = Descriptors::divide(raise_open_file_limit());
    let runtime = Runtime::new().map_err(|source| Failure::System {
        doing: "start threads",
        source,
    })?;
    let credentials = arguments.access.credentials()?;
    let mut options = server_options(arguments, descriptors);
    if let Some(file) = &credentials {
        options = options.credentials(file.secrets.clone());
    }
    #[cfg(feature = "nats")]
    if let Some(at) = arguments.engine.cluster() {
        let server = OnCluster {
            at: at.map_err(Failure::Store)?,
            descriptors,
            credentials,
            url_file,
        };
        let served = runtime.block_on(serve_on_cluster(arguments, options, server));
        // Tasks that still run have no answers to send.
        runtime.shutdown_timeout(Duration::from_secs(1));
        return served;
    }
    let keys: Option<SecretFile<KeyRing>> = arguments.keys.as_deref().map(SecretFile::read).transpose()?;
    let opening = Instant::now();
    let store = open(arguments, descriptors, keys.as_ref()).map_err(Failure::Store)?;
    let opened_in = opening.elapsed();
    url_file.as_ref().map_or(Ok(()), UrlFile::remove_earlier)?;
    let created = initial_streams::create(
        &store,
        &arguments.create_stream,
        &options,
        arguments.shard_limit,
        Retention::hours(arguments.retention),
    );
    let tls = created.and_then(|()| arguments.access.tls(arguments.directory_to_write()));
    let served = tls.and_then(|tls| {
        let delivery = match arguments.read_only {
            true => None,
            false => arguments.buckets.deliver(&store, &arguments.region)?,
        };
        let opened = Opened {
            store: store.clone(),
            took: opened_in,
            descriptors,
            credentials,
            keys,
            delivery: delivery.clone(),
            url_file,
        };
        let served = runtime.block_on(serve(arguments, options, tls.as_ref(), opened));
        if let Some(delivery) = delivery {
            // The next server repeats puts that have not ended by then.
            delivery.stop_within(arguments.shutdown_grace);
        }
        served
    });
    let closed = store.close().map_err(Failure::Store);
    // Tasks that still run have no answers to send.
    runtime.shutdown_timeout(Duration::from_secs(1));
    served.and(closed)?;
    let data_dir = arguments.place();
    info!(data_dir, "the store is closed");
    Ok(())
}

/// Logs a store's event. Errors are warnings.
fn log_event(event: &StoreEvent, place: &str) {
    match event {
        StoreEvent::StreamScaled { stream, .. } => info!(stream, "{event}"),
        StoreEvent::ChangeGivenUp { stream, .. } | StoreEvent::TransitionDelayed { stream, .. } => {
            warn!(stream, "{event}");
        }
        StoreEvent::DamageFound { .. } => warn!(
            "{event}. Stop the server; `anabranch verify {place}` says what is damaged, and `anabranch repair {place}` what \
             can be saved"
        ),
        event => warn!("{event}"),
    }
}

fn open(
    arguments: &ServeArguments,
    descriptors: Descriptors,
    keys: Option<&SecretFile<KeyRing>>,
) -> anabranch::Result<Store> {
    let options = store_options(arguments, descriptors, keys);
    match arguments.ephemeral {
        true => options.open_in_memory(&Memory::new()),
        false => options.open(&arguments.data_dir),
    }
}

fn store_options(
    arguments: &ServeArguments,
    descriptors: Descriptors,
    keys: Option<&SecretFile<KeyRing>>,
) -> StoreOptions {
    let place = arguments.place();
    let mut options = StoreOptions::new()
        .read_only(arguments.read_only)
        .durability(arguments.durability.into())
        .transition_delay(arguments.transition_delay())
        .max_open_segments(descriptors.segments)
        .on_event(move |event| log_event(event, &place));
    options = arguments.space.given_to(options);
    if let Some(file) = keys {
        options = options.keys(file.secrets.clone());
    }
    options
}

/// How the files that this process may have open are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Descriptors {
    segments: usize,
    connections: usize,
}

impl Descriptors {
    fn divide(limit: u64) -> Descriptors {
        const MOST_SEGMENTS: u64 = 4096;
        const MOST_CONNECTIONS: u64 = 8192;
        /// For the manifest, the journal, directories, segments that are being prepared, and the runtime.
        const OTHERS: u64 = 64;
        let rest = limit.saturating_sub(OTHERS + limit / 16);
        let segments = (rest / 7 * 4).clamp(1, MOST_SEGMENTS);
        let connections = rest.saturating_sub(segments).clamp(1, MOST_CONNECTIONS);
        Descriptors {
            segments: segments as usize,
            connections: connections as usize,
        }
    }
}

fn server_options(arguments: &ServeArguments, descriptors: Descriptors) -> ServerOptions {
    let options = ServerOptions::new(arguments.listen())
        .region(&arguments.region)
        .account_id(&arguments.account_id)
        .shard_limit(arguments.shard_limit)
        .retention_of_new_streams(arguments.retention)
        .max_connections(max_connections(arguments, descriptors))
        .shutdown_grace(arguments.shutdown_grace)
        .limits(arguments.limits())
        .faults(arguments.fault.iter().cloned(), arguments.fault_seed);
    let options = arguments.admin.given_to(options);
    arguments.access.given_to(options)
}

/// An open store, and how long opening it took.
struct Opened {
    store: Store,
    took: Duration,
    descriptors: Descriptors,
    credentials: Option<SecretFile<Credentials>>,
    keys: Option<SecretFile<KeyRing>>,
    delivery: Option<Arc<Delivery>>,
    url_file: Option<UrlFile>,
}

fn max_connections(arguments: &ServeArguments, descriptors: Descriptors) -> usize {
    arguments.max_connections.unwrap_or(descriptors.connections)
}

async fn serve(
    arguments: &ServeArguments,
    mut options: ServerOptions,
    tls: Option<&Tls>,
    opened: Opened,
) -> Result<(), Failure> {
    let Opened {
        store,
        took,
        descriptors,
        credentials,
        keys,
        delivery,
        mut url_file,
    } = opened;
    if let Some(delivery) = delivery {
        options = options.delivery(delivery);
    }
    if let Some(tls) = tls {
        options = options.tls(tls.identity.clone());
    }
    let stop = stop_signal(arguments.exit_with_stdin).map_err(cannot_wait_for_signals)?;
    let open_shards = store.open_shard_count().map_err(Failure::Store)?;
    let server = Server::bind(store, options).await.map_err(Failure::Bind)?;
    let begun = Begun {
        addresses: server.local_addrs().to_vec(),
        admin_address: server.admin_addr(),
        open_shards: Some(open_shards),
        passes_on_to: None,
        took,
        descriptors,
        tls,
        keys: keys.as_ref(),
    };
    begun.tell(arguments, url_file.as_mut())?;
    let followed = [
        keys.map(|file| tokio::spawn(file.follow())),
        credentials.map(|file| tokio::spawn(file.follow())),
    ];
    server.run_until(stopping(stop, url_file.as_mut())).await;
    for followed in followed.into_iter().flatten() {
        followed.abort();
    }
    Ok(())
}

/// What a server on a cluster starts with.
#[cfg(feature = "nats")]
struct OnCluster {
    at: JetStream,
    descriptors: Descriptors,
    credentials: Option<SecretFile<Credentials>>,
    url_file: Option<UrlFile>,
}

/// Serves the store on a cluster together with other servers: as its owner, or as a forwarding server.
#[cfg(feature = "nats")]
async fn serve_on_cluster(
    arguments: &ServeArguments,
    mut options: ServerOptions,
    server: OnCluster,
) -> Result<(), Failure> {
    let OnCluster {
        at,
        descriptors,
        credentials,
        mut url_file,
    } = server;
    let tls = arguments.access.tls(None)?;
    if let Some(tls) = &tls {
        options = options.tls(tls.identity.clone());
    }
    // On a cluster no file of a store is open, so these descriptors are free.
    let options = options.max_forwarded_calls(descriptors.segments);
    let beginning = Instant::now();
    let bound = ClusterServer::bind(
        at,
        owned_by(arguments, descriptors, options.clone()),
        options,
        arguments.engine.advertised(),
    );
    let server = bound.await.map_err(Failure::Bind)?;
    let (addresses, admin_address) = (server.local_addrs().to_vec(), server.admin_addr());
    let server = server.begin().await.map_err(|error| match error {
        TakeOverError::Store(error) => Failure::Store(error),
        TakeOverError::Prepare(failure) => failure,
    })?;
    let (open_shards, passes_on_to) = match server.role() {
        Role::Owner { open_shards } => (Some(*open_shards), None),
        Role::Forwarding { owner } => (None, Some(owner.clone().unwrap_or_default())),
        _ => (None, None),
    };
    url_file.as_ref().map_or(Ok(()), UrlFile::remove_earlier)?;
    let stop = stop_signal(arguments.exit_with_stdin).map_err(cannot_wait_for_signals)?;
    let begun = Begun {
        addresses,
        admin_address,
        open_shards,
        passes_on_to,
        took: beginning.elapsed(),
        descriptors,
        tls: tls.as_ref(),
        keys: None,
    };
    begun.tell(arguments, url_file.as_mut())?;
    let followed = credentials.map(|file| tokio::spawn(file.follow()));
    let served = server.run_until(stopping(stop, url_file.as_mut())).await;
    if let Some(followed) = followed {
        followed.abort();
    }
    served.map_err(Failure::Store)?;
    let data_dir = arguments.place();
    info!(
        data_dir,
        "the server has ended, and its store is closed if it had it"
    );
    Ok(())
}

/// How this server opens the store each time that it becomes the owner, and what it does then.
#[cfg(feature = "nats")]
fn owned_by(arguments: &ServeArguments, descriptors: Descriptors, options: ServerOptions) -> Owned {
    let (of_open, of_prepare) = (arguments.clone(), arguments.clone());
    Owned {
        open: Box::new(move |at| store_options(&of_open, descriptors, None).open_jetstream(at)),
        prepare: Box::new(move |store| {
            initial_streams::create(
                store,
                &of_prepare.create_stream,
                &options,
                of_prepare.shard_limit,
                Retention::hours(of_prepare.retention),
            )?;
            of_prepare.buckets.deliver(store, &of_prepare.region)
        }),
    }
}

/// The facts about a server that listens.
struct Begun<'a> {
    addresses: Vec<SocketAddr>,
    admin_address: Option<SocketAddr>,
    /// If this server has the store.
    open_shards: Option<u64>,
    /// The server that has the store, if that is another one; empty if it is not ready yet.
    passes_on_to: Option<String>,
    took: Duration,
    descriptors: Descriptors,
    tls: Option<&'a Tls>,
    keys: Option<&'a SecretFile<KeyRing>>,
}

impl Begun<'_> {
    /// Tells where the server is: in the log, in the file of the URL, to the service manager, and on standard output.
    fn tell(&self, arguments: &ServeArguments, url_file: Option<&mut UrlFile>) -> Result<(), Failure> {
        self.log(arguments);
        let emulated = emulated::in_words(arguments.transition_delay(), arguments.limits());
        if let Some(emulated) = &emulated {
            warn!(
                emulated,
                "the server has delays or limits of AWS, because of --emulate or --transition-delay"
            );
        }
        for fault in &arguments.fault {
            warn!(%fault, seed = arguments.fault_seed, "some calls have a fault, because of --fault");
        }
        let is_tls = self.tls.is_some();
        let url = announcement::url(self.addresses[0], is_tls);
        if let Some(file) = url_file {
            file.write(&url)?;
        }
        service_manager::tell_ready(&url);
        let announcement = Announcement {
            url,
            admin_url: self
                .admin_address
                .map(|address| announcement::url(address, is_tls)),
            has_console: arguments.admin.has_console(),
            region: &arguments.region,
            place: arguments.place(),
            is_read_only: arguments.read_only,
            passes_on_to: self.passes_on_to.as_deref(),
            emulated: emulated.as_deref(),
            needs_key: arguments.access.verifies_signatures(),
            self_signed: self.tls.and_then(|tls| tls.self_signed.as_deref()),
        };
        // The server also serves if standard output is closed.
        let _ = announcement.write(&mut io::stdout().lock(), arguments.audience());
        Ok(())
    }

    fn log(&self, arguments: &ServeArguments) {
        let addresses = &self.addresses;
        let listed = addresses
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(",");
        let key_ids = self.keys.map(|file| file.secrets.ids().join(","));
        let address = addresses[0];
        let admin_address = self.admin_address.map(tracing::field::display);
        let data_dir = arguments.place();
        let max_connections = max_connections(arguments, self.descriptors);
        let durability = arguments.durability_name();
        info!(
            version = env!("CARGO_PKG_VERSION"),
            process = std::process::id(),
            %address,
            addresses = listed,
            admin_address,
            data_dir,
            read_only = arguments.read_only,
            durability,
            region = arguments.region,
            account_id = arguments.account_id,
            open_shards = self.open_shards,
            passes_on_to = self.passes_on_to,
            max_connections,
            max_open_segments = self.descriptors.segments,
            tls = self.tls.is_some(),
            keys = key_ids,
            opened_in_ms = self.took.as_millis() as u64,
            "serving"
        );
        let mut beyond = addresses.iter().filter(|address| !address.ip().is_loopback());
        if let Some(address) = beyond.next()
            && !arguments.access.verifies_signatures()
        {
            let can = match arguments.read_only {
                true => "read",
                false => "read and write",
            };
            warn!(%address, "no signature is verified: every client that reaches this address can {can} all streams");
        }
        if self.keys.is_none() {
            info!("without --keys, StartStreamEncryption notes a key and encrypts nothing");
        }
    }
}

/// Ready when the server is to stop.
async fn stopping(stop: impl Future<Output = ()>, url_file: Option<&mut UrlFile>) {
    stop.await;
    service_manager::tell_stopping();
    // A program that reads the file now would come too late.
    if let Some(file) = url_file {
        file.remove();
    }
}

fn cannot_wait_for_signals(source: io::Error) -> Failure {
    Failure::System {
        doing: "wait for signals",
        source,
    }
}

fn shown(directory: &Path) -> String {
    std::fs::canonicalize(directory)
        .unwrap_or_else(|_| directory.to_owned())
        .display()
        .to_string()
}

/// Ready at the first SIGINT, SIGTERM, or SIGHUP (which comes when a terminal is closed), and if requested at the end
/// of standard input. A second signal ends the process at any point: acknowledged records are as safe as the durability
/// level promises.
fn stop_signal(with_stdin: bool) -> io::Result<impl Future<Output = ()>> {
    const STDIN_END: &str = "standard input has ended";
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut stdin_ended = with_stdin.then(stdin_end).transpose()?;
    Ok(async move {
        let stdin_ended = async {
            match &mut stdin_ended {
                Some(ended) => drop(ended.await),
                None => std::future::pending().await,
            }
        };
        let reason = tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
            _ = hang_up.recv() => "SIGHUP",
            () = stdin_ended => STDIN_END,
        };
        info!(reason, "stopping: no more connections, and requests are finished");
        // A program that closes our standard input may also send a signal, and means the same stop.
        let signals = if reason == STDIN_END { 2 } else { 1 };
        tokio::spawn(async move {
            for _ in 0..signals {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hang_up.recv() => {}
                }
            }
            warn!("stopped at once by a second signal");
            std::process::exit(1);
        });
    })
}

/// Ready at the end of standard input. The input is ignored.
fn stdin_end() -> io::Result<oneshot::Receiver<()>> {
    const BETWEEN_LOOKS: Duration = Duration::from_millis(100);
    let (ended, receiver) = oneshot::channel();
    // In a separate thread, because a read of a terminal cannot be cancelled, and the runtime would wait for it.
    let name = "anabranch-stdin".to_owned();
    std::thread::Builder::new().name(name).spawn(move || {
        let mut stdin = io::stdin().lock();
        // The program that started us may have made it non-blocking.
        while let Err(error) = io::copy(&mut stdin, &mut io::sink()) {
            match error.kind() {
                ErrorKind::WouldBlock => std::thread::sleep(BETWEEN_LOOKS),
                _ => break,
            }
        }
        let _ = ended.send(());
    })?;
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek};

    use anabranch::{ManualClock, StreamMode, StreamOptions, Timestamp};

    use super::*;

    /// The log of `work`.
    fn logged(work: impl FnOnce()) -> String {
        let mut file = tempfile::tempfile().unwrap();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(Arc::new(file.try_clone().unwrap()))
            .finish();
        tracing::subscriber::with_default(subscriber, work);
        let mut log = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut log).unwrap();
        log
    }

    #[test]
    fn a_stream_that_gets_other_shards_by_its_load_is_told_and_is_no_warning() {
        let clock = ManualClock::starting_at(Timestamp::from_seconds(1_000_000));
        let store = StoreOptions::new()
            .keeper(false)
            .clock(clock.clone())
            .on_event(|event| log_event(event, "memory"))
            .open_in_memory(&Memory::new())
            .unwrap();
        let options = StreamOptions {
            shard_count: 4,
            mode: StreamMode::OnDemand,
            ..StreamOptions::default()
        };
        let stream = store.create_stream_with("clicks", options).unwrap();
        stream.set_warm_throughput(8).unwrap();
        let log = logged(|| {
            clock.advance(Duration::from_secs(60));
            store.maintain().unwrap();
        });
        assert_eq!(log.lines().count(), 1, "{log}");
        let said = "on-demand stream clicks goes from 4 to 8 open shards";
        assert!(log.contains(" INFO ") && log.contains(said), "{log}");
    }

    #[test]
    fn segments_and_connections_fit_the_limit_of_open_files_together() {
        assert_eq!(
            Descriptors::divide(1024),
            Descriptors {
                segments: 512,
                connections: 384
            }
        );
        assert_eq!(
            Descriptors::divide(u64::MAX),
            Descriptors {
                segments: 4096,
                connections: 8192
            }
        );
        for limit in 80..20_000 {
            let Descriptors {
                segments,
                connections,
            } = Descriptors::divide(limit);
            assert!(segments >= 1 && connections >= 1, "{limit}");
            assert!(segments as u64 + connections as u64 + 64 <= limit, "{limit}");
        }
    }
}
