//! Messages that a server did not give: whether they are missing, or were freed or not there yet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::window::Window;
use crate::backend::jetstream::cluster::Cluster;
use crate::backend::jetstream::traced::Asked;
use crate::error::Result;

/// So often it is looked again, and so long after the last time.
const LOOKS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(700);

/// Messages of a log that follow each other there, and that a server has not given.
#[derive(Clone, Debug)]
pub(super) struct Missing {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) messages: u64,
}

/// By server and subject.
#[derive(Debug, Default)]
pub(super) struct NotGiven(BTreeMap<(String, String), Vec<Missing>>);

impl NotGiven {
    /// A message that a server has not given, and the one before it in its log.
    pub(super) fn note(&mut self, server: &str, subject: &str, sequence: u64, before: Option<u64>) {
        let of_log = self.0.entry((server.to_owned(), subject.to_owned())).or_default();
        match of_log.last_mut().filter(|missing| Some(missing.last) == before) {
            Some(missing) => {
                missing.last = sequence;
                missing.messages += 1;
            }
            None => of_log.push(Missing {
                first: sequence,
                last: sequence,
                messages: 1,
            }),
        }
    }

    /// Those of them that are missing: not before the first message of their log that any server has, and still not
    /// there. `stream` and `last` are the stream's name and the last sequence that was compared.
    pub(super) fn that_are_missing(
        mut self,
        cluster: &Arc<Cluster>,
        stream: &str,
        servers: &BTreeSet<String>,
        last: u64,
    ) -> Result<Vec<(String, String, Missing)>> {
        let none = BTreeSet::new();
        for look in 0..LOOKS {
            if self.0.is_empty() {
                break;
            }
            if look > 0 {
                cluster.run(async { tokio::time::sleep(PAUSE).await })?;
            }
            let mut kept = BTreeMap::new();
            for ((server, subject), missing) in self.0 {
                let at = |from| one_of(stream, &subject, from);
                let begins = first_of(cluster, stream, &subject, servers, last)?;
                let mut of_log = Vec::new();
                for mut range in missing.into_iter().filter(|range| range.last >= begins) {
                    range.first = range.first.max(begins);
                    let is_there = |sequence| -> Result<bool> {
                        let found = Window::read(cluster, &at(sequence), servers, &none, last)?;
                        let copies = found.messages.get(&sequence);
                        Ok(copies.is_some_and(|copies| copies.contains_key(&server)))
                    };
                    if !is_there(range.first)? || !is_there(range.last)? {
                        of_log.push(range);
                    }
                }
                if !of_log.is_empty() {
                    kept.insert((server, subject), of_log);
                }
            }
            self.0 = kept;
        }
        let missing = self.0.into_iter().flat_map(|((server, subject), missing)| {
            let of_log = missing.into_iter();
            of_log.map(move |missing| (server.clone(), subject.clone(), missing))
        });
        Ok(missing.collect())
    }
}

/// The sequence of the first message of a log that any server has, or one behind all.
pub(super) fn first_of(
    cluster: &Arc<Cluster>,
    stream: &str,
    subject: &str,
    servers: &BTreeSet<String>,
    last: u64,
) -> Result<u64> {
    let first = Window::read(
        cluster,
        &one_of(stream, subject, 1),
        servers,
        &BTreeSet::new(),
        last,
    )?;
    Ok(first.first().unwrap_or(u64::MAX))
}

/// The first message of a log from a sequence on.
fn one_of(stream: &str, subject: &str, from: u64) -> Asked {
    Asked {
        stream: stream.to_owned(),
        subjects: subject.to_owned(),
        from,
        most: 1,
        most_bytes: 1,
    }
}
