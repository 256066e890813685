//! A store on a cluster, opened by this program. A cluster that a server has open is spoken to by the server's URL.

use std::path::PathBuf;

use anabranch::{JetStream, StoreOptions};
use clap::Args;

use super::super::super::Failure;
use super::super::directory::Directory;
use super::super::place::{PlaceArguments, Work, worked};

#[derive(Debug, Clone, Args)]
pub(super) struct ClusterArguments {
    /// On how many servers of a cluster each record is kept: 1, 3 or 5
    #[arg(long, value_name = "SERVERS", default_value_t = 3, env = "ANABRANCH_REPLICAS")]
    replicas: usize,

    /// Where each server of a cluster says how it is set up: http://HOST:PORT, with commas between them [default: port
    /// 8222 of its hosts]
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

    /// A file of certificates (PEM) of those who vouch for the servers of a cluster
    #[arg(long, value_name = "FILE", env = "ANABRANCH_ENGINE_CA")]
    engine_ca: Option<PathBuf>,

    /// Vouch for it that each server of a cluster has sync_interval: always, and do not ask them
    #[arg(long, env = "ANABRANCH_ENGINE_TRUST_SYNC")]
    engine_trust_sync: bool,
}

impl ClusterArguments {
    /// Opens the store that a URL with its name names, does the work, and lets it go.
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
