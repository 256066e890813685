//! The same part of a stream, as each of its servers has it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backend::jetstream::cluster::Cluster;
use crate::backend::jetstream::failure::Failure;
use crate::backend::jetstream::shared::PAUSE;
use crate::backend::jetstream::traced::{Asked, Found, read};
use crate::error::Result;

/// Which server answers is chance. One that has not answered after so many for each of them, and after so long, answers
/// none. A server that was started, or that has got a stream, answers within a few seconds.
const MOST_TRIES: usize = 40;
const PATIENCE: Duration = Duration::from_secs(15);

/// How many of them may come to nothing.
const MOST_FAILURES: usize = 20;

/// By sequence and server.
#[derive(Debug, Default)]
pub(super) struct Window {
    pub(super) messages: BTreeMap<u64, BTreeMap<String, Found>>,
    /// Up to here each server has said all that it has.
    pub(super) end: u64,
    /// Those that have not answered.
    pub(super) silent: BTreeSet<String>,
}

impl Window {
    /// Reads from one place on until all of these servers have answered. Those are not waited for that `were_silent`
    /// before.
    pub(super) fn read(
        cluster: &Arc<Cluster>,
        asked: &Asked,
        servers: &BTreeSet<String>,
        were_silent: &BTreeSet<String>,
        last: u64,
    ) -> Result<Self> {
        let (of_task, asked) = (cluster.clone(), asked.clone());
        let (servers, were_silent) = (servers.clone(), were_silent.clone());
        let answers = cluster.run(async move { answers(&of_task, &asked, &servers, &were_silent).await })?;
        let (answers, silent) = answers.map_err(|failure| failure.into_error("read messages"))?;
        let ends = answers.values().filter_map(|messages| messages.last());
        let end = ends.map(|message| message.sequence).min().unwrap_or(last);
        let mut messages: BTreeMap<u64, BTreeMap<String, Found>> = BTreeMap::new();
        for (server, found) in answers {
            for message in found.into_iter().filter(|message| message.sequence <= end) {
                let copies = messages.entry(message.sequence).or_default();
                copies.insert(server.clone(), message);
            }
        }
        Ok(Self {
            messages,
            end,
            silent,
        })
    }

    /// The first sequence that a server has.
    pub(super) fn first(&self) -> Option<u64> {
        self.messages.keys().next().copied()
    }
}

type Answers = BTreeMap<String, Vec<Found>>;

async fn answers(
    cluster: &Cluster,
    asked: &Asked,
    servers: &BTreeSet<String>,
    were_silent: &BTreeSet<String>,
) -> Result<(Answers, BTreeSet<String>), Failure> {
    let mut answers = Answers::new();
    let began = Instant::now();
    let mut failures = 0;
    let mut tries = 0;
    loop {
        let silent: BTreeSet<_> = servers
            .iter()
            .filter(|name| !answers.contains_key(*name))
            .cloned()
            .collect();
        let is_tried = tries >= MOST_TRIES * servers.len();
        let is_waited_for = !silent.is_subset(were_silent) && began.elapsed() < PATIENCE;
        let is_answered = silent.is_empty() && !answers.is_empty();
        if is_answered || (is_tried && !is_waited_for) {
            return Ok((answers, silent));
        }
        if is_tried {
            tokio::time::sleep(PAUSE).await;
        }
        match read(cluster, asked).await {
            Ok(answer) => {
                tries += 1;
                answers.entry(answer.server).or_insert(answer.messages);
            }
            Err(Failure::NoAnswer(_)) if failures < MOST_FAILURES => {
                failures += 1;
                tokio::time::sleep(PAUSE).await;
            }
            Err(failure) => return Err(failure),
        }
    }
}
