//! The servers of a cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_nats::ServerInfo;
use serde_json::Value;

use super::problem::ClusterProblem;
use crate::backend::jetstream::checks::{OLDEST_VERSION, is_new_enough, message_limit};
use crate::backend::jetstream::cluster::Cluster;
use crate::backend::jetstream::monitor;
use crate::backend::jetstream::node::ask_each;
use crate::backend::jetstream::options::JetStream;
use crate::error::Result;

/// A server has little room from this part of its limit on.
const LITTLE_ROOM: u64 = 10;

/// A server that was reached.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CheckedServer {
    /// What it is called.
    pub name: String,
    /// Where it was reached: host and port.
    pub address: String,
    /// Of nats-server.
    pub version: String,
    /// The most bytes of a message.
    pub max_payload: u64,
    /// Whether it syncs what it acknowledges; `None` if its monitor was not reached.
    pub is_synced: Option<bool>,
    /// The bytes that JetStream has on its disk, of all streams; `None` if its monitor was not reached.
    pub used_bytes: Option<u64>,
    /// The bytes that JetStream may have there; `None` if its monitor was not reached.
    pub limit_bytes: Option<u64>,
}

/// Asks all servers: those that were named, and those that these tell of.
pub(super) fn look(
    at: &JetStream,
    cluster: &Arc<Cluster>,
    problems: &mut Vec<ClusterProblem>,
) -> Result<Vec<CheckedServer>> {
    let answers = {
        let (at, told) = (at.clone(), cluster.client().server_info().connect_urls);
        cluster.run(async move {
            let scheme = at.servers.first().and_then(|server| server.split_once("://"));
            let scheme = scheme.map_or("nats", |(scheme, _)| scheme).to_owned();
            let told = told.into_iter().map(|address| format!("{scheme}://{address}"));
            let addresses: BTreeSet<_> = at.servers.iter().cloned().chain(told).collect();
            ask_each(&at, addresses.into_iter().collect()).await
        })?
    };
    let monitors = Monitors::ask(at);
    let mut servers: BTreeMap<String, CheckedServer> = BTreeMap::new();
    for (address, answer) in &answers {
        match answer {
            Ok(info) => {
                let server = monitors.server(info, shown(address));
                servers.entry(info.server_id.clone()).or_insert(server);
            }
            // What a server tells of the others may be for clients of another network.
            Err(reason) if at.servers.contains(address) => problems.push(ClusterProblem::new(
                shown(address),
                format!("no server answers there: {reason}"),
                "start nats-server there, or leave the address out of --engine",
            )),
            Err(_) => {}
        }
    }
    let has_jetstream = |info: &ServerInfo| info.jetstream;
    for info in answers.values().flatten().filter(|info| !has_jetstream(info)) {
        problems.push(ClusterProblem::new(
            &info.server_name,
            "it has no JetStream",
            "write jetstream { store_dir: ..., sync_interval: always } into its configuration, and start it again",
        ));
    }
    let mut servers: Vec<_> = servers.into_values().collect();
    servers.sort_by(|one, other| one.name.cmp(&other.name));
    for server in &servers {
        server.note_problems(at.trusts_sync, &monitors, problems);
    }
    monitors.note_missing(&servers, problems);
    if servers.len() < at.replicas && monitors.size.is_none_or(|size| size < at.replicas as u64) {
        problems.push(ClusterProblem::new(
            "cluster",
            format!(
                "{} replicas are asked for, and it has {} servers that were reached",
                at.replicas,
                servers.len()
            ),
            "start more servers with routes to these, or ask for fewer with --replicas",
        ));
    }
    Ok(servers)
}

fn shown(address: &str) -> &str {
    address.split_once("://").map_or(address, |(_, address)| address)
}

/// What the monitors say.
struct Monitors {
    /// By the number that each server gives itself.
    answers: BTreeMap<String, Value>,
    silent: Option<String>,
    /// How many servers there are that take part in JetStream, and those of them that do not answer the others.
    size: Option<u64>,
    offline: BTreeSet<String>,
}

impl Monitors {
    fn ask(at: &JetStream) -> Self {
        let mut monitors = Self {
            answers: BTreeMap::new(),
            silent: None,
            size: None,
            offline: BTreeSet::new(),
        };
        for address in &at.monitors {
            match monitor::ask(address, "/varz") {
                Ok(answer) => {
                    let id = answer["server_id"].as_str().unwrap_or_default().to_owned();
                    monitors.note_meta(&answer);
                    monitors.answers.insert(id, answer);
                }
                Err(error) => monitors.silent = Some(format!("http://{address}: {error}")),
            }
        }
        monitors
    }

    /// What the leader of all of JetStream says of the others.
    fn note_meta(&mut self, answer: &Value) {
        let meta = &answer["jetstream"]["meta"];
        self.size = meta["cluster_size"].as_u64().or(self.size);
        if meta["leader"]
            .as_str()
            .is_none_or(|leader| answer["server_name"] != leader)
        {
            return;
        }
        let replicas = meta["replicas"].as_array();
        let offline = replicas
            .into_iter()
            .flatten()
            .filter(|replica| replica["offline"] == true)
            .filter_map(|replica| replica["name"].as_str());
        self.offline.extend(offline.map(str::to_owned));
    }

    fn server(&self, info: &ServerInfo, address: &str) -> CheckedServer {
        let said = self
            .answers
            .get(&info.server_id)
            .map(|answer| &answer["jetstream"]);
        CheckedServer {
            name: info.server_name.clone(),
            address: address.to_owned(),
            version: info.version.clone(),
            max_payload: info.max_payload as u64,
            is_synced: said.map(|said| said["config"]["sync_always"] == true),
            used_bytes: said.and_then(|said| said["stats"]["storage"].as_u64()),
            limit_bytes: said.and_then(|said| said["config"]["max_storage"].as_u64()),
        }
    }

    /// Servers of the cluster that were not reached, if they were not named.
    fn note_missing(&self, servers: &[CheckedServer], problems: &mut Vec<ClusterProblem>) {
        for name in &self.offline {
            if servers.iter().all(|server| server.name != *name) {
                problems.push(ClusterProblem::new(
                    name,
                    "the other servers of the cluster do not hear it",
                    "start it; or, if it will not come back, start one in its place and take it out with \
                     `nats server cluster peer-remove`",
                ));
            }
        }
    }
}

impl CheckedServer {
    fn note_problems(&self, trusts_sync: bool, monitors: &Monitors, problems: &mut Vec<ClusterProblem>) {
        let mut note = |what: String, next: &str| {
            problems.push(ClusterProblem::new(&self.name, what, next));
        };
        let (major, minor) = OLDEST_VERSION;
        if !is_new_enough(&self.version) {
            note(
                format!(
                    "it has version {} of nats-server, and {major}.{minor} is the oldest that will do",
                    self.version
                ),
                "install a newer one: one server at a time, and the next when all streams are current again",
            );
        }
        if message_limit(usize::try_from(self.max_payload).unwrap_or(usize::MAX)).is_err() {
            note(
                format!(
                    "its max_payload is {} bytes, and the largest record needs more",
                    self.max_payload
                ),
                "set max_payload: 16MB in its configuration, and have it read that with \
                 `nats-server --signal reload`",
            );
        }
        match self.is_synced {
            Some(false) => note(
                "it does not sync what it acknowledges, so that a power cut can take records".to_owned(),
                "set sync_interval: always in jetstream { ... }, and start it again",
            ),
            None if !trusts_sync => note(
                format!(
                    "it is not known whether it syncs what it acknowledges: {}",
                    monitors
                        .silent
                        .as_deref()
                        .unwrap_or("none of the monitors is its own")
                ),
                "set http: HOST:8222 in its configuration and name it with --engine-monitor, or vouch for it with \
                 --engine-trust-sync",
            ),
            _ => {}
        }
        if let Some((used, limit)) = self.used_bytes.zip(self.limit_bytes)
            && limit.saturating_sub(used) < limit / LITTLE_ROOM
        {
            note(
                format!("JetStream has {used} of the {limit} bytes that it may have there"),
                "shorten the retention of streams, or give it more room and raise max_file_store in jetstream { ... }",
            );
        }
    }
}
