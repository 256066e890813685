//! One JetStream stream on all of its servers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::finding::{ReplicaDamage, ReplicaFinding};
use super::followed_log::{FollowedLog, Gap, LogKind, Opened};
use super::late::{NotGiven, first_of};
use super::window::Window;
use super::{ClusterChecked, ClusterProgress, Info, Known, Outcome};
use crate::backend::jetstream::cluster::Cluster;
use crate::backend::jetstream::traced::{Asked, Found};
use crate::error::Result;
use crate::model::RecordNumber;

/// One request reads so much of a stream, of one server.
const MOST_MESSAGES: usize = 1_000;
const MOST_BYTES: usize = 4 * 1024 * 1024;

pub(super) struct StreamVerifier<'a> {
    cluster: &'a Arc<Cluster>,
    known: &'a Known<'a>,
    name: &'a str,
    /// Later messages are not looked at.
    last: u64,
    /// Those that are read.
    servers: BTreeSet<String>,
    /// By subject.
    logs: BTreeMap<String, FollowedLog>,
    not_given: NotGiven,
    /// By subject, those behind another message of the log. It may have been freed with them since it was read.
    gaps: Vec<(String, Gap)>,
    findings: Vec<ReplicaFinding>,
    checked: ClusterChecked,
}

impl<'a> StreamVerifier<'a> {
    pub(super) fn new(cluster: &'a Arc<Cluster>, known: &'a Known<'a>, name: &'a str, info: Info) -> Self {
        let mut verifier = Self {
            cluster,
            known,
            name,
            last: info.last,
            servers: BTreeSet::new(),
            logs: BTreeMap::new(),
            not_given: NotGiven::default(),
            gaps: Vec::new(),
            findings: Vec::new(),
            checked: ClusterChecked {
                streams: 1,
                ..ClusterChecked::default()
            },
        };
        for (server, is_heard) in info.servers {
            match is_heard {
                true => drop(verifier.servers.insert(server)),
                false => verifier.note_unread(&server, 1),
            }
        }
        verifier
    }

    /// Hands each message of a known log to `on_message`, as it is on a server that has it whole. Servers that are silent
    /// here are not waited for in the streams that follow.
    pub(super) fn run(
        mut self,
        were_silent: &mut BTreeSet<String>,
        on_message: &mut dyn FnMut(&Found) -> Result<()>,
        on_progress: &mut dyn FnMut(&ClusterProgress),
    ) -> Result<Outcome> {
        let mut from = 1;
        while from <= self.last {
            on_progress(&ClusterProgress {
                stream: self.name.to_owned(),
                sequence: from,
                last: self.last,
            });
            let asked = Asked {
                stream: self.name.to_owned(),
                subjects: ">".to_owned(),
                from,
                most: MOST_MESSAGES,
                most_bytes: MOST_BYTES,
            };
            let window = Window::read(self.cluster, &asked, &self.servers, were_silent, self.last)?;
            for server in window.silent {
                self.servers.remove(&server);
                self.note_unread(&server, from);
                were_silent.insert(server);
            }
            for (sequence, copies) in window.messages {
                if sequence <= self.last {
                    self.checked.copies += copies.len() as u64;
                    self.checked.messages += 1;
                    if let Some(whole) = self.take_in(sequence, &copies) {
                        on_message(whole)?;
                    }
                }
            }
            from = window.end + 1;
        }
        self.checked.logs = self.logs.len() as u64;
        let freed = self.note_missing()?;
        self.note_missing_ends();
        Ok(Outcome {
            findings: self.findings,
            checked: self.checked,
            freed,
            last: self.last,
        })
    }

    /// Compares the copies of a message, and follows its log. Gives one that is whole, if its log is known.
    fn take_in<'c>(&mut self, sequence: u64, copies: &'c BTreeMap<String, Found>) -> Option<&'c Found> {
        let any = copies.values().next()?;
        let subject = any.subject.clone();
        if self.known.is_of_no_log(self.name, &subject) {
            return None;
        }
        let log = match self.logs.remove(&subject) {
            Some(log) => log,
            None => {
                let log = self.begin_log(&subject);
                if log.kind == LogKind::Unknown {
                    self.note(&log, None, [sequence, sequence, 1], ReplicaDamage::Unknown);
                }
                log
            }
        };
        for server in self.servers.iter().filter(|server| !copies.contains_key(*server)) {
            self.not_given.note(server, &subject, sequence, log.last);
        }
        let mut log = log;
        let whole = self.take_in_log(&mut log, sequence, copies);
        self.logs.insert(subject, log);
        whole
    }

    fn take_in_log<'c>(
        &mut self,
        log: &mut FollowedLog,
        sequence: u64,
        copies: &'c BTreeMap<String, Found>,
    ) -> Option<&'c Found> {
        let here = [sequence, sequence, 1];
        if log.kind == LogKind::Unknown {
            log.pass_over(sequence);
            return None;
        }
        let mut whole: Option<(&Found, Opened)> = None;
        for (server, copy) in copies {
            match log.open(sequence, &copy.message) {
                Ok(opened) => match &whole {
                    None => whole = Some((copy, opened)),
                    Some((other, _)) if other.message == copy.message => {}
                    Some(_) => self.note(log, Some(server), here, ReplicaDamage::Other),
                },
                Err(reason) => {
                    let reason = reason.to_owned();
                    self.note(log, Some(server), here, ReplicaDamage::Damaged { reason });
                }
            }
        }
        let Some((copy, opened)) = whole else {
            log.pass_over(sequence);
            self.note(log, None, here, ReplicaDamage::Missing);
            return None;
        };
        self.checked.records += opened.records();
        self.checked.bytes += copy.message.len() as u64;
        let is_first = log.last.is_none();
        match log.follow(sequence, &opened) {
            Ok(None) => {}
            Ok(Some(gap)) if !is_first => self.gaps.push((log.subject.clone(), gap)),
            Ok(Some(gap)) => self.note(log, None, [gap.first, gap.last, 0], ReplicaDamage::Missing),
            Err(reason) => {
                let reason = reason.to_owned();
                self.note(log, None, here, ReplicaDamage::Unchained { reason });
            }
        }
        Some(copy)
    }

    fn begin_log(&self, subject: &str) -> FollowedLog {
        let known = self.known;
        let (shown, kind) = match known.stream(self.name) {
            None if subject == known.names.edits() => (Some("the catalog".to_owned()), LogKind::Edits),
            None => (None, LogKind::Unknown),
            Some((id, state)) => match known.names.log_of(id, subject) {
                None => (None, LogKind::Unknown),
                Some(name) => {
                    let log = state.and_then(|state| state.log(name));
                    let hidden_before = log.and_then(|log| log.hidden_before);
                    let kind = match (known.state, state, log) {
                        (Some(_), Some(state), Some(_)) => LogKind::Records {
                            horizon: known.horizon(state),
                            hidden_before: hidden_before.unwrap_or(RecordNumber::BEFORE_FIRST),
                        },
                        // Without a catalog all that is there is believed to be the store's.
                        (None, ..) => LogKind::Records {
                            horizon: known.now,
                            hidden_before: RecordNumber::BEFORE_FIRST,
                        },
                        _ => LogKind::Unknown,
                    };
                    (known.shown(name), kind)
                }
            },
        };
        FollowedLog {
            subject: subject.to_owned(),
            shown: shown.unwrap_or_else(|| subject.to_owned()),
            kind,
            last: None,
            place: None,
        }
    }

    /// Gives the first messages that are left of logs of which some were freed meanwhile, behind others that were read.
    fn note_missing(&mut self) -> Result<BTreeMap<String, u64>> {
        let not_given = std::mem::take(&mut self.not_given);
        let missing = not_given.that_are_missing(self.cluster, self.name, &self.servers, self.last)?;
        for (server, subject, missing) in missing {
            let Some(log) = self.logs.remove(&subject) else {
                continue;
            };
            let places = [missing.first, missing.last, missing.messages];
            self.note(&log, Some(&server), places, ReplicaDamage::Missing);
            self.logs.insert(subject, log);
        }
        let mut freed = BTreeMap::new();
        for (subject, gap) in std::mem::take(&mut self.gaps) {
            let begins = first_of(self.cluster, self.name, &subject, &self.servers, self.last)?;
            if begins > gap.last {
                freed.insert(subject, begins);
                continue;
            }
            let Some(log) = self.logs.remove(&subject) else {
                continue;
            };
            let places = [gap.first.max(begins), gap.last, 0];
            self.note(&log, None, places, ReplicaDamage::Missing);
            self.logs.insert(subject, log);
        }
        Ok(freed)
    }

    /// The catalog knows where the log of a closed shard ends, so that the loss of its last messages shows.
    fn note_missing_ends(&mut self) {
        let Some((id, Some(state))) = self.known.stream(self.name) else {
            return;
        };
        for (name, known) in state.logs_of(id) {
            let Some(end) = known.end.filter(|end| end.next_record > RecordNumber::FIRST) else {
                continue;
            };
            let subject = self.known.names.log(name);
            let log = self
                .logs
                .remove(&subject)
                .unwrap_or_else(|| self.begin_log(&subject));
            let (last, _) = crate::backend::jetstream::frame::sequence_and_place(end.next_record);
            let reached = log.last.unwrap_or(0);
            if reached < last {
                self.note(&log, None, [reached + 1, last, 0], ReplicaDamage::Missing);
            }
            self.logs.insert(subject, log);
        }
    }

    fn note_unread(&mut self, server: &str, from: u64) {
        self.findings.push(ReplicaFinding {
            stream: self.name.to_owned(),
            log: "all logs".to_owned(),
            server: Some(server.to_owned()),
            first: from,
            last: self.last.max(from),
            messages: 0,
            damage: ReplicaDamage::Unread,
        });
    }

    fn note(&mut self, log: &FollowedLog, server: Option<&str>, places: [u64; 3], damage: ReplicaDamage) {
        let [first, last, messages] = places;
        self.findings.push(ReplicaFinding {
            stream: self.name.to_owned(),
            log: log.shown.clone(),
            server: server.map(str::to_owned),
            first,
            last,
            messages,
            damage,
        });
    }
}
