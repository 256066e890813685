//! `--engine`: a cluster that keeps the streams instead of a directory. Only where the program was built with `nats`.

use clap::{ArgMatches, Args};

#[cfg(feature = "nats")]
use {
    super::Failure,
    super::exclusive::{Holds, decide},
    anabranch::JetStream,
    clap::parser::ValueSource,
    std::path::PathBuf,
};

#[derive(Debug, Clone, Args)]
pub(super) struct EngineArguments {
    /// Keep the streams on a cluster of NATS JetStream instead of in a directory: nats://HOST[:PORT],... or
    /// tls://HOST[:PORT],...
    ///
    /// A put is acknowledged when it is on the disks of more than half of the servers that keep it. Several servers of
    /// anabranch can use the same cluster: each takes any call, one of them has the store, and the others pass calls on
    /// to it. A user and a password may precede the first host: nats://user:password@a,b,c. Not with --data-dir,
    /// --ephemeral, --read-only or --keys.
    #[cfg(feature = "nats")]
    #[arg(long, value_name = "URL", env = "ANABRANCH_ENGINE", hide_env_values = true)]
    engine: Option<String>,

    /// The parsed `engine`. The parser of the command line does not parse it, because its errors would show the
    /// password.
    #[cfg(feature = "nats")]
    #[arg(skip)]
    cluster: Option<JetStream>,

    /// The URL at which other servers of anabranch on the cluster reach this one: http://HOST:PORT, or https:// with
    /// TLS [default: the address of --listen, if that is a single address]
    #[cfg(feature = "nats")]
    #[arg(long, value_name = "URL", requires = "engine", env = "ANABRANCH_ADVERTISE")]
    advertise: Option<String>,

    #[cfg(feature = "nats")]
    #[command(flatten)]
    options: ClusterArguments,
}

/// The cluster with the store that a tool works on.
#[cfg(feature = "nats")]
#[derive(Debug, Clone, Args)]
pub(super) struct ClusterOfTool {
    /// The servers of the cluster that has the store: nats://HOST[:PORT],... or tls://HOST[:PORT],...
    ///
    /// A user and a password may precede the first host: nats://user:password@a,b,c.
    #[arg(long, value_name = "URL", env = "ANABRANCH_ENGINE", hide_env_values = true)]
    engine: Option<String>,

    #[command(flatten)]
    options: ClusterArguments,
}

/// The options of a cluster besides its servers.
#[cfg(feature = "nats")]
#[derive(Debug, Clone, Args)]
struct ClusterArguments {
    /// The name of the store on the cluster, which can have several stores: 1 to 32 characters of a-z A-Z 0-9 -
    #[arg(
        long,
        value_name = "NAME",
        default_value = "main",
        requires = "engine",
        env = "ANABRANCH_ENGINE_STORE"
    )]
    engine_store: String,

    /// How many servers of the cluster keep each record: 1, 3 or 5
    #[arg(
        long,
        value_name = "SERVERS",
        default_value_t = 3,
        requires = "engine",
        env = "ANABRANCH_REPLICAS"
    )]
    replicas: usize,

    /// The monitoring address of each server of the cluster, which shows its configuration: http://HOST:PORT, with
    /// commas between them [default: port 8222 of the hosts of --engine]
    #[arg(
        long,
        value_name = "URL",
        value_delimiter = ',',
        requires = "engine",
        env = "ANABRANCH_ENGINE_MONITOR"
    )]
    engine_monitor: Vec<String>,

    /// A file of credentials (.creds) for the cluster
    #[arg(
        long,
        value_name = "FILE",
        requires = "engine",
        env = "ANABRANCH_ENGINE_CREDENTIALS"
    )]
    engine_credentials: Option<PathBuf>,

    /// A file of the CA certificates (PEM) that are trusted for the servers of the cluster
    #[arg(long, value_name = "FILE", requires = "engine", env = "ANABRANCH_ENGINE_CA")]
    engine_ca: Option<PathBuf>,

    /// Assume that each server of the cluster has sync_interval: always, instead of checking it
    ///
    /// If a server does not have that setting, a power failure can lose acknowledged records, and whole streams.
    #[arg(long, requires = "engine", env = "ANABRANCH_ENGINE_TRUST_SYNC")]
    engine_trust_sync: bool,
}

#[cfg(feature = "nats")]
impl EngineArguments {
    /// Decides between options that exclude each other.
    ///
    /// # Errors
    /// The message if both were given in the same way.
    pub(super) fn settle(&mut self, matches: &ArgMatches) -> Result<(), String> {
        for other in ["data_dir", "ephemeral", "read_only", "keys"] {
            if decide(matches, "engine", other)? == Holds::Second {
                self.engine = None;
            }
        }
        let cluster = self.engine.as_deref().map(JetStream::at).transpose();
        self.cluster = cluster.map_err(|error| format!("--engine: {error}"))?;
        Ok(())
    }

    /// Whether a cluster keeps the streams.
    pub(super) fn is_given(&self) -> bool {
        self.engine.is_some()
    }

    /// The place of the streams, for people.
    pub(super) fn place(&self) -> Option<String> {
        let cluster = self.cluster.as_ref()?;
        Some(format!("{cluster}/{}", self.options.engine_store))
    }

    /// The cluster, if one is given.
    pub(super) fn cluster(&self) -> Option<anabranch::Result<JetStream>> {
        let cluster = self.cluster.clone()?;
        Some(self.options.of(cluster))
    }

    /// The URL at which other servers on the cluster reach this one, if it is given.
    pub(super) fn advertised(&self) -> Option<String> {
        self.advertise.clone()
    }
}

#[cfg(feature = "nats")]
impl ClusterOfTool {
    /// Decides between a cluster and a directory. The command line takes precedence over an environment variable.
    ///
    /// # Errors
    /// The message if both were given on the command line.
    pub(super) fn settle(&mut self, matches: &ArgMatches, has_directory: bool) -> Result<(), String> {
        match matches.value_source("engine") {
            Some(ValueSource::CommandLine) if has_directory => {
                return Err("'--engine' cannot be used with a directory of a store".to_owned());
            }
            Some(ValueSource::EnvVariable) if has_directory => self.engine = None,
            _ => {}
        }
        Ok(())
    }

    /// The cluster, if one is given.
    ///
    /// # Errors
    /// The failure if the URL or another option is invalid.
    pub(super) fn given(&self) -> Result<Option<JetStream>, Failure> {
        let cluster = self.engine.as_deref().map(JetStream::at).transpose();
        let cluster = cluster.and_then(|cluster| cluster.map(|cluster| self.options.of(cluster)).transpose());
        cluster.map_err(|error| Failure::Usage(format!("--engine: {error}")))
    }
}

#[cfg(feature = "nats")]
impl ClusterArguments {
    fn of(&self, cluster: JetStream) -> anabranch::Result<JetStream> {
        let mut cluster = cluster.store_name(&self.engine_store)?.replicas(self.replicas)?;
        if !self.engine_monitor.is_empty() {
            cluster = cluster.monitors(&self.engine_monitor)?;
        }
        if let Some(file) = &self.engine_credentials {
            cluster = cluster.credentials_file(file);
        }
        if let Some(file) = &self.engine_ca {
            cluster = cluster.root_certificates_file(file);
        }
        Ok(match self.engine_trust_sync {
            true => cluster.trust_sync(),
            false => cluster,
        })
    }
}

#[cfg(not(feature = "nats"))]
impl EngineArguments {
    pub(super) fn settle(&mut self, _: &ArgMatches) -> Result<(), String> {
        Ok(())
    }

    pub(super) fn is_given(&self) -> bool {
        false
    }

    pub(super) fn place(&self) -> Option<String> {
        None
    }
}
