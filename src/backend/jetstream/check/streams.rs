//! The streams of a store on a cluster.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::problem::ClusterProblem;
use crate::backend::jetstream::api::Api;
use crate::backend::jetstream::cluster::Cluster;
use crate::backend::jetstream::failure::Failure;
use crate::backend::jetstream::options::JetStream;
use crate::backend::jetstream::subjects::Names;
use crate::error::Result;

/// A replica that lacks more operations than this is behind. While records are put each lacks some.
const LARGE_LAG: u64 = 10_000;

/// A leader hears each replica every second.
const LONG_UNHEARD: Duration = Duration::from_secs(5);

/// In one problem so many streams are named.
const MOST_NAMED: usize = 3;

/// A stream of the cluster.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CheckedStream {
    /// What it is called there.
    pub name: String,
    /// Whether the store made it.
    pub is_ours: bool,
    /// The server that leads it; `None` while there is none.
    pub leader: Option<String>,
    /// On how many servers it is to be.
    pub wanted_replicas: u64,
    /// The servers that have it, with the leader.
    pub replicas: Vec<CheckedReplica>,
    /// How many messages it has.
    pub messages: u64,
    /// Their bytes, on each server.
    pub bytes: u64,
}

/// A server that has a stream.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CheckedReplica {
    /// What it is called.
    pub server: String,
    /// Whether it has all that the leader has, or nearly.
    pub is_current: bool,
    /// Whether the leader has not heard it for some seconds, or since it leads.
    pub is_offline: bool,
    /// How many operations it lacks.
    pub lag: u64,
    /// How long ago the leader heard it; zero for itself, and for one that it has not heard since it leads.
    pub heard: Duration,
}

impl CheckedStream {
    /// How many of the servers that have it are current.
    #[must_use]
    pub fn current_replicas(&self) -> u64 {
        self.replicas.iter().filter(|replica| replica.is_current).count() as u64
    }

    fn of(listed: &Value) -> Self {
        let cluster = &listed["cluster"];
        // A server that is no cluster has no leader, and is one.
        let leader = match cluster.is_null() {
            true => Some("the server"),
            false => cluster["leader"].as_str().filter(|leader| !leader.is_empty()),
        };
        let leading = leader.map(|leader| CheckedReplica {
            server: leader.to_owned(),
            is_current: true,
            is_offline: false,
            lag: 0,
            heard: Duration::ZERO,
        });
        let others = cluster["replicas"].as_array();
        let others = others.into_iter().flatten().map(|replica| CheckedReplica {
            server: replica["name"].as_str().unwrap_or_default().to_owned(),
            is_current: replica["current"] == true,
            is_offline: is_offline(replica),
            lag: replica["lag"].as_u64().unwrap_or_default(),
            heard: heard(replica),
        });
        let mut replicas: Vec<_> = leading.into_iter().chain(others).collect();
        replicas.sort_by(|one, other| one.server.cmp(&other.server));
        Self {
            name: name_of(listed).to_owned(),
            is_ours: !listed["config"]["metadata"]["anabranch"].is_null(),
            leader: leader.map(str::to_owned),
            wanted_replicas: listed["config"]["num_replicas"].as_u64().unwrap_or_default(),
            replicas,
            messages: listed["state"]["messages"].as_u64().unwrap_or_default(),
            bytes: listed["state"]["bytes"].as_u64().unwrap_or_default(),
        }
    }

    fn leaderless(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            is_ours: true,
            leader: None,
            wanted_replicas: 0,
            replicas: Vec::new(),
            messages: 0,
            bytes: 0,
        }
    }
}

/// Looks at all streams that have subjects or names of the store.
pub(super) fn look(
    at: &JetStream,
    cluster: &Arc<Cluster>,
    api: &Api,
    names: &Names,
    problems: &mut Vec<ClusterProblem>,
) -> Result<Vec<CheckedStream>> {
    let (asked, everything) = (api.clone(), names.everything());
    let listed = cluster.run(async move { Listed::of(&asked, &everything).await })?;
    let listed = listed.map_err(|failure| failure.into_error("list its streams"))?;
    let mut streams = Vec::new();
    let mut behind = Behind::default();
    for found in &listed.streams {
        let stream = CheckedStream::of(found);
        match is_of_the_store(found, names) {
            false => problems.push(foreign(&stream.name, names)),
            true => {
                note_wrong_options(&stream, found, names, problems);
                note_replicas(&stream, at.replicas, problems);
                behind.note(&stream);
            }
        }
        streams.push(stream);
    }
    for name in &listed.leaderless {
        streams.push(CheckedStream::leaderless(name));
        problems.push(ClusterProblem::new(
            name,
            "it has no leader, so nothing can be put there",
            "start the servers that have it: more than half of them have to run. A leader is chosen within about nine \
             seconds",
        ));
    }
    let is_named = |prefix: &str, name: &&String| {
        name.starts_with(prefix) && streams.iter().all(|stream| stream.name != **name)
    };
    let prefix = names.prefix();
    let others = listed.all_names.iter().filter(|name| is_named(&prefix, name));
    problems.extend(others.map(|name| foreign(name, names)));
    behind.note_problems(problems);
    let has_catalog = streams.iter().any(|stream| stream.name == names.catalog_stream());
    if !has_catalog && streams.iter().any(|stream| stream.is_ours) {
        problems.push(ClusterProblem::new(
            names.catalog_stream(),
            "it is not there, and other streams of the store are",
            "restore the store from a backup, or remove its streams with `nats stream rm`",
        ));
    }
    streams.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(streams)
}

/// Whether a leader does not hear a replica, of what it says of it. That it is offline it says only of one that said so
/// itself when it was stopped.
pub(in crate::backend::jetstream) fn is_offline(replica: &Value) -> bool {
    let is_unheard = heard(replica).is_zero() || heard(replica) > LONG_UNHEARD;
    replica["offline"] == true || (replica["current"] != true && is_unheard)
}

/// How long ago a leader heard a replica; zero if it has not since it leads.
fn heard(replica: &Value) -> Duration {
    Duration::from_nanos(replica["active"].as_u64().unwrap_or_default())
}

struct Listed {
    /// With subjects of the store.
    streams: Vec<Value>,
    /// The names of others of these, of which there is nothing else to be told.
    leaderless: Vec<String>,
    /// The names of all streams that there are.
    all_names: Vec<String>,
}

impl Listed {
    async fn of(api: &Api, everything: &str) -> Result<Self, Failure> {
        let named = names_in(&api.list("STREAM.NAMES", everything).await?);
        let streams = api.list("STREAM.LIST", everything).await?;
        let all_names = names_in(&api.list("STREAM.NAMES", "").await?);
        let is_listed = |name: &String| streams.iter().any(|stream| name_of(stream) == name);
        Ok(Self {
            leaderless: named.into_iter().filter(|name| !is_listed(name)).collect(),
            streams,
            all_names,
        })
    }
}

fn names_in(listed: &[Value]) -> Vec<String> {
    let names = listed.iter().filter_map(Value::as_str);
    names.map(str::to_owned).collect()
}

fn name_of(stream: &Value) -> &str {
    stream["config"]["name"].as_str().unwrap_or_default()
}

fn is_of_the_store(stream: &Value, names: &Names) -> bool {
    let name = name_of(stream);
    let is_named_so = name == names.catalog_stream() || names.stream_of(name).is_some();
    is_named_so && !stream["config"]["metadata"]["anabranch"].is_null()
}

fn foreign(name: &str, names: &Names) -> ClusterProblem {
    ClusterProblem::new(
        name,
        format!(
            "another program made it, and it has a name or subjects of the store: {} or {}",
            names.prefix(),
            names.everything()
        ),
        "choose another name with --engine-store, or remove the stream with its program",
    )
}

/// What an option has to be, as the store makes its streams.
fn note_wrong_options(
    stream: &CheckedStream,
    found: &Value,
    names: &Names,
    problems: &mut Vec<ClusterProblem>,
) {
    let subjects = match names.stream_of(&stream.name) {
        Some(id) => names.subjects(id),
        None => names.catalog_subjects(),
    };
    let wanted = [
        ("subjects", json!([subjects])),
        ("retention", json!("limits")),
        ("discard", json!("new")),
        ("storage", json!("file")),
        ("max_msgs", json!(-1)),
        ("max_bytes", json!(-1)),
        ("max_age", json!(0)),
        ("max_msgs_per_subject", json!(-1)),
        ("max_msg_size", json!(-1)),
        ("allow_direct", json!(true)),
    ];
    // These are not told where they are off.
    let absent = [
        "sealed",
        "deny_purge",
        "mirror",
        "sources",
        "republish",
        "subject_transform",
    ];
    let configuration = &found["config"];
    let mut wrong: Vec<_> = wanted
        .into_iter()
        .filter(|(option, value)| configuration[option] != *value)
        .map(|(option, value)| format!("{option} is {} and not {value}", configuration[option]))
        .collect();
    let is_set = |option: &&str| !matches!(configuration[*option], Value::Null | Value::Bool(false));
    wrong.extend(
        absent
            .into_iter()
            .filter(is_set)
            .map(|option| format!("{option} is set")),
    );
    if !wrong.is_empty() {
        problems.push(ClusterProblem::new(
            &stream.name,
            format!("its configuration was changed: {}", wrong.join(", ")),
            "change it back with `nats stream edit`; messages may have been lost meanwhile, which \
             `anabranch verify --engine` tells",
        ));
    }
}

fn note_replicas(stream: &CheckedStream, asked_for: usize, problems: &mut Vec<ClusterProblem>) {
    let (name, wanted) = (&stream.name, stream.wanted_replicas);
    if wanted < asked_for as u64 {
        problems.push(ClusterProblem::new(
            name,
            format!("it has {wanted} replicas, and {asked_for} are asked for"),
            format!("raise them with `nats stream edit {name} --replicas {asked_for}`, or ask for fewer with --replicas"),
        ));
    }
    if (stream.replicas.len() as u64) < wanted {
        problems.push(ClusterProblem::new(
            name,
            format!("{} servers have it, and {wanted} are to", stream.replicas.len()),
            "start more servers with routes to these: one that has room takes it over by itself",
        ));
    }
}

/// The streams of which a server does not have the newest, by server.
#[derive(Default)]
struct Behind {
    offline: BTreeMap<String, Vec<String>>,
    late: BTreeMap<String, Vec<String>>,
}

impl Behind {
    fn note(&mut self, stream: &CheckedStream) {
        for replica in &stream.replicas {
            let is_late = !replica.is_current || replica.lag > LARGE_LAG;
            let of = match (replica.is_offline, is_late) {
                (true, _) => &mut self.offline,
                (false, true) => &mut self.late,
                (false, false) => continue,
            };
            of.entry(replica.server.clone())
                .or_default()
                .push(stream.name.clone());
        }
    }

    fn note_problems(self, problems: &mut Vec<ClusterProblem>) {
        for (server, streams) in self.offline {
            problems.push(ClusterProblem::new(
                server,
                format!("it is not heard by the leader of {}", named(&streams)),
                "start it; or, if it will not come back, start one in its place and take it out with \
                 `nats server cluster peer-remove`",
            ));
        }
        for (server, streams) in self.late {
            problems.push(ClusterProblem::new(
                server,
                format!("it does not have the newest of {}", named(&streams)),
                "wait until it has caught up before another server is stopped; if it does not, look into its log",
            ));
        }
    }
}

fn named(streams: &[String]) -> String {
    let first = streams[..streams.len().min(MOST_NAMED)].join(", ");
    match streams.len().saturating_sub(MOST_NAMED) {
        0 => first,
        more => format!("{first} and {more} more streams"),
    }
}
