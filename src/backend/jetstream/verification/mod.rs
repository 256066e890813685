//! Reading every message of a store on all servers that have it, and comparing.

mod finding;
mod followed_log;
mod late;
mod stream;
mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;

use super::api::{Api, REQUEST_LIMIT};
use super::check::is_offline;
use super::cluster::Cluster;
use super::failure::Failure;
use super::options::JetStream;
use super::shared::{PAUSE, Shared};
use super::stored_catalog::{reader, stored_catalog};
use super::subjects::Names;
use super::traced::Found;
use crate::catalog::{CatalogState, StreamState};
use crate::error::{Error, Result};
use crate::model::{LogName, StreamId, Timestamp};

pub use finding::{ReplicaDamage, ReplicaFinding};
use stream::StreamVerifier;

/// How long a stream's leader may take until it hears a server that runs.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was found when a store on a cluster was verified.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ClusterVerification {
    /// What is not as it was written.
    pub findings: Vec<ReplicaFinding>,
    /// How much was read.
    pub checked: ClusterChecked,
}

/// How much was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterChecked {
    /// Streams of JetStream, with the catalog's.
    pub streams: u64,
    /// Subjects, each of which is a log.
    pub logs: u64,
    /// Messages, each counted once for all servers that have it.
    pub messages: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of the messages, each counted once.
    pub bytes: u64,
    /// Messages that were read of one server.
    pub copies: u64,
}

/// How far a verification is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClusterProgress {
    /// The JetStream stream that is being read.
    pub stream: String,
    /// The sequence that was reached in it.
    pub sequence: u64,
    /// Its last sequence.
    pub last: u64,
}

impl ClusterVerification {
    /// Whether all that was read is as it was written, on each server.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        !self.findings.iter().any(ReplicaFinding::is_damage)
    }
}

impl JetStream {
    /// Reads every message of the store that is there now, on each server that has it, and compares: checksums, that each
    /// message follows from the one before, that all servers have the same ones. Says which server has something else.
    /// Changes nothing, and may run while the store is open: what is put or freed meanwhile is left out.
    ///
    /// A server gives what it has in memory of what was written or read a few seconds before, without a look at its
    /// disk.
    ///
    /// ```no_run
    /// # fn main() -> anabranch::Result<()> {
    /// use anabranch::JetStream;
    ///
    /// let verification = JetStream::at("nats://a,b,c")?.verify(&mut |_| {})?;
    /// for finding in &verification.findings {
    ///     println!("{finding}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Cluster`] if it cannot be reached, or does not answer; [`Error::NotAStore`] if it has no stream of the
    /// store; [`Error::Io`] if credentials or certificates cannot be read. Damage is not an error but a finding.
    pub fn verify(&self, on_progress: &mut dyn FnMut(&ClusterProgress)) -> Result<ClusterVerification> {
        let cluster = Cluster::connect(self)?;
        let verified = verify(&cluster, &Names::of(&self.store), on_progress);
        cluster.close();
        verified
    }
}

fn verify(
    cluster: &Arc<Cluster>,
    names: &Names,
    on_progress: &mut dyn FnMut(&ClusterProgress),
) -> Result<ClusterVerification> {
    let shared = reader(cluster.clone(), names.clone());
    let streams = {
        let of_task = shared.clone();
        let listed = cluster.run(async move { of_task.known_streams().await })?;
        listed.map_err(|failure| failure.into_error("list its streams"))?
    };
    if streams.is_empty() {
        return Err(Error::NotAStore {
            path: names.store().into(),
        });
    }
    let mut state = known_state(cluster, &shared)?;
    let is_catalog = |name: &str| name == names.catalog_stream();
    let of_the_store = streams.iter().filter(|stream| {
        stream.is_ours && (is_catalog(&stream.name) || names.stream_of(&stream.name).is_some())
    });
    let mut verifier = Verifier {
        cluster,
        were_silent: BTreeSet::new(),
    };
    let mut verification = ClusterVerification::default();
    for stream in of_the_store {
        let mut outcome = verifier.run(
            &Known::new(names, state.as_ref()),
            &stream.name,
            &mut |_| Ok(()),
            on_progress,
        )?;
        if outcome.as_ref().is_some_and(Outcome::has_loss) {
            // The catalog may have changed since it was read, and records have been freed: what is missing is missing
            // twice.
            state = known_state(cluster, &shared)?;
            let known = Known::new(names, state.as_ref());
            outcome = verifier.run(&known, &stream.name, &mut |_| Ok(()), on_progress)?;
        }
        // There is none of one that was deleted meanwhile.
        if let Some(mut outcome) = outcome {
            verification.checked.add(&outcome.checked);
            verification.findings.append(&mut outcome.findings);
        }
    }
    Ok(verification)
}

/// Nothing if the catalog cannot be read: why not is found when its messages are.
fn known_state(cluster: &Arc<Cluster>, shared: &Arc<Shared>) -> Result<Option<CatalogState>> {
    let of_task = shared.clone();
    match cluster.run(async move { stored_catalog(&of_task).await })? {
        Err(Error::Corrupt { .. }) => Ok(None),
        state => state,
    }
}

/// Verifies streams one after the other.
pub(super) struct Verifier<'a> {
    pub(super) cluster: &'a Arc<Cluster>,
    /// Servers that are not waited for any more.
    pub(super) were_silent: BTreeSet<String>,
}

/// What was found in a stream.
pub(super) struct Outcome {
    pub(super) findings: Vec<ReplicaFinding>,
    checked: ClusterChecked,
    /// Of logs of which messages were freed meanwhile behind others that were handed out: the first that is left, by
    /// subject.
    pub(super) freed: BTreeMap<String, u64>,
    /// The sequence up to which was read.
    pub(super) last: u64,
}

impl Verifier<'_> {
    /// Hands each message of a known log to `on_message`, whole. `None` if there is no such stream.
    pub(super) fn run(
        &mut self,
        known: &Known<'_>,
        name: &str,
        on_message: &mut dyn FnMut(&Found) -> Result<()>,
        on_progress: &mut dyn FnMut(&ClusterProgress),
    ) -> Result<Option<Outcome>> {
        let Some(info) = self.info_of(name)? else {
            return Ok(None);
        };
        let verifier = StreamVerifier::new(self.cluster, known, name, info);
        let outcome = verifier.run(&mut self.were_silent, on_message, on_progress)?;
        Ok(Some(outcome))
    }

    /// What a stream's leader says of it. A leader that was just chosen hears a server a moment later, and a busy one
    /// later still: a server counts as silent only if it is not heard for the whole patience.
    fn info_of(&mut self, name: &str) -> Result<Option<Info>> {
        let began = Instant::now();
        loop {
            let Some(info) = info_of(self.cluster, name)? else {
                return Ok(None);
            };
            let unheard: Vec<_> = info
                .servers
                .iter()
                .filter(|(server, is_heard)| !**is_heard && !self.were_silent.contains(*server))
                .map(|(server, _)| server.clone())
                .collect();
            if unheard.is_empty() {
                return Ok(Some(info));
            }
            if began.elapsed() > PATIENCE {
                self.were_silent.extend(unheard);
                return Ok(Some(info));
            }
            self.cluster.run(async { tokio::time::sleep(PAUSE).await })?;
        }
    }
}

impl Outcome {
    /// The first message that is lost on all servers, if one is.
    pub(super) fn loss(&self) -> Option<&ReplicaFinding> {
        let is_loss = |finding: &&ReplicaFinding| finding.server.is_none() && finding.is_damage();
        self.findings.iter().find(is_loss)
    }

    fn has_loss(&self) -> bool {
        self.loss().is_some()
    }
}

impl ClusterChecked {
    fn add(&mut self, other: &Self) {
        self.streams += other.streams;
        self.logs += other.logs;
        self.messages += other.messages;
        self.records += other.records;
        self.bytes += other.bytes;
        self.copies += other.copies;
    }
}

/// What there is to know of the store besides its messages.
pub(super) struct Known<'a> {
    names: &'a Names,
    /// Of the moment at which the verification began.
    state: Option<&'a CatalogState>,
    now: Timestamp,
}

impl<'a> Known<'a> {
    pub(super) fn new(names: &'a Names, state: Option<&'a CatalogState>) -> Self {
        Self {
            names,
            state,
            now: SystemTime::now().into(),
        }
    }

    fn stream(&self, name: &str) -> Option<(StreamId, Option<&StreamState>)> {
        let id = self.names.stream_of(name)?;
        Some((id, self.state.and_then(|state| state.stream(id))))
    }

    /// Whether the store itself puts messages there that are of no log.
    fn is_of_no_log(&self, name: &str, subject: &str) -> bool {
        let names = self.names;
        subject == names.probe(names.stream_of(name)) || subject == names.left_out(name)
    }

    /// Of a log, for people.
    fn shown(&self, log: LogName) -> Option<String> {
        let state = self.state?.stream(log.stream()?)?;
        let of = match log {
            LogName::Shard(_, shard) => shard.to_string(),
            LogName::Queue(_, queue) => format!("queue {queue}"),
            LogName::CommitJournal => return None,
        };
        state.log(log).map(|_| format!("{of} of {}", state.name.local))
    }

    /// Records of the stream that arrived before may be gone, as far as this machine's clock tells.
    fn horizon(&self, state: &StreamState) -> Timestamp {
        match state.retention.duration() {
            Some(retention) => self.now.saturating_sub(retention).max(state.horizon_floor),
            None => state.horizon_floor,
        }
    }
}

/// What a stream's leader says of it when its verification begins.
struct Info {
    last: u64,
    /// Each server that is to have it, and whether it is heard.
    servers: BTreeMap<String, bool>,
}

fn info_of(cluster: &Arc<Cluster>, stream: &str) -> Result<Option<Info>> {
    let (api, verb) = (Api::of(cluster.clone()), format!("STREAM.INFO.{stream}"));
    let answer = cluster.run(async move { api.request(verb, &json!({}), REQUEST_LIMIT).await })?;
    let answer = match answer {
        Err(Failure::NoSuchStream) => return Ok(None),
        answer => answer.map_err(|failure| failure.into_error("say what a stream has"))?,
    };
    let leader = answer["cluster"]["leader"]
        .as_str()
        .map(|leader| (leader.to_owned(), true));
    let others = answer["cluster"]["replicas"].as_array();
    let others = others.into_iter().flatten().filter_map(|replica| {
        let name = replica["name"].as_str()?;
        Some((name.to_owned(), !is_offline(replica)))
    });
    Ok(Some(Info {
        last: answer["state"]["last_seq"].as_u64().unwrap_or_default(),
        servers: leader.into_iter().chain(others).collect(),
    }))
}
