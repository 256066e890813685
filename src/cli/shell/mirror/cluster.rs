//! A store on a cluster, which this program opens. If a server has it open, the place is the URL of the server instead.

use std::path::PathBuf;

use anabranch::{JetStream, StoreOptions};
use clap::Args;

use super::super::super::Failure;
use super::super::directory::Directory;
use super::super::place::{PlaceArguments, Work, worked};

#[derive(Debug, Clone, Args)]
pub(super) struct ClusterArguments {
    /// How many servers of a cluster keep each record: 1, 3 or 5
    #[arg(long, value_name = "SERVERS", default_value_t = 3, env = "ANABRANCH_REPLICAS")]
    replicas: usize,

    /// The monitoring address of each server of a cluster, which shows its configuration: http://HOST:PORT, with commas
    /// between them [default: port 8222 of its hosts]
    #[arg(
        long,
        value_name = "URL",
        value_delimiter = ',',
        env = "ANABRANCH_ENGINE_MONITOR"
    )]
    engine_monitor: Vec<String>,

    /// A file of credentials (.creds) for a cluster
    #[arg(long, value_name = "FILE", env = "ANABRANCH_ENGINE_CREDENTIALS")]
    engine_credentials: Option<PathBuf>,

    /// A file of the CA certificates (PEM) that are trusted for the servers of a cluster
    #[arg(long, value_name = "FILE", env = "ANABRANCH_ENGINE_CA")]
    engine_ca: Option<PathBuf>,

    /// Assume that each server of a cluster has sync_interval: always, instead of checking it
    #[arg(long, env = "ANABRANCH_ENGINE_TRUST_SYNC")]
    engine_trust_sync: bool,
}

impl ClusterArguments {
    /// Opens the store at a URL, which ends with its name, does the work, and closes it.
    pub(super) fn run(
        &self,
        url: &str,
        region: Option<&str>,
        account_id: &str,
        work: impl Work,
    ) -> Result<(), Failure> {
        let namespace = PlaceArguments::namespace_of(region, account_id)?;
        let cluster = self
            .cluster(url)
            .map_err(|error| Failure::Usage(error.to_string()))?;
        let store = StoreOptions::new().open_jetstream(&cluster);
        let store = store.map_err(Failure::Directory)?;
        worked(Directory::of_store(store, &namespace), work)
    }

    fn cluster(&self, url: &str) -> anabranch::Result<JetStream> {
        let (hosts, store) = parts(url);
        let mut cluster = JetStream::at(hosts)?.replicas(self.replicas)?;
        if let Some(store) = store {
            cluster = cluster.store_name(store)?;
        }
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

/// The hosts, and the name of the store if there is one.
fn parts(url: &str) -> (&str, Option<&str>) {
    let scheme = url.find("://").map_or(0, |at| at + 3);
    match url[scheme..].rsplit_once('/') {
        Some((hosts, store)) => (
            &url[..scheme + hosts.len()],
            Some(store).filter(|store| !store.is_empty()),
        ),
        None => (url, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_of_a_cluster_is_behind_its_hosts() {
        assert_eq!(parts("nats://a,b:4223"), ("nats://a,b:4223", None));
        assert_eq!(parts("nats://a,b/"), ("nats://a,b", None));
        assert_eq!(parts("nats://u:p@a/orders"), ("nats://u:p@a", Some("orders")));
    }
}
