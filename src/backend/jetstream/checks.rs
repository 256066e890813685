//! What keeps a cluster from being trusted with records.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::api::{Api, StreamInfo};
use super::cluster::Cluster;
use super::failure::Failure;
use super::frame::message_bytes;
use super::monitor;
use super::options::JetStream;
use super::shared::PAUSE;
use super::subjects::Names;
use crate::error::{Error, Result};
use crate::model::limits;

/// Where appends are fenced by the term of the leader, which all that is said of a compare-and-set relies on.
pub(super) const OLDEST_VERSION: (u64, u64) = (2, 15);

/// How long servers without a leader may take to choose one. Their own limits are four to nine seconds.
const ELECTION_LIMIT: Duration = Duration::from_secs(12);

/// The longest partition key: each of its characters can take four bytes.
const MOST_KEY_BYTES: usize = 4 * limits::MAX_PARTITION_KEY_CHARS;

/// A message that is asked of a leader comes in base64, with some words around it.
const MOST_WORDS_BYTES: usize = 4 * 1024;

/// The most bytes that a message of the store can have where a payload has so many.
///
/// # Errors
/// [`Error::ClusterUnfit`] if the largest record does not fit into that.
pub(super) fn message_limit(max_payload: usize) -> Result<usize> {
    let limit = max_payload.saturating_sub(MOST_WORDS_BYTES) / 4 * 3;
    let largest = message_bytes(limits::LARGEST_RECORD_BYTES as usize + MOST_KEY_BYTES);
    if limit < largest {
        let needed = largest.div_ceil(3) * 4 + MOST_WORDS_BYTES;
        return Err(unfit(format!(
            "max_payload is {max_payload} bytes, and the largest record needs {needed}: set max_payload: 16MB in the \
             configuration of each server"
        )));
    }
    Ok(limit)
}

/// Looks at the server that the client is connected to, and at what all of them say of themselves.
///
/// # Errors
/// [`Error::ClusterUnfit`]; [`Error::Cluster`] if JetStream does not answer.
pub(super) fn check_servers(cluster: &Cluster, api: &Api, at: &JetStream) -> Result<usize> {
    let server = cluster.client().server_info();
    check_version(&server.version, "the server")?;
    let limit = message_limit(server.max_payload)?;
    let api = api.clone();
    match cluster.run(async move { account(&api).await })? {
        Ok(()) => {}
        Err(Failure::NoAnswer(reason)) => {
            return Err(unfit(format!(
                "JetStream does not answer ({reason}): it needs jetstream {{ ... }} in the configuration of each server, \
                 and more than half of them"
            )));
        }
        Err(failure) => return Err(failure.into_error("say what it has")),
    }
    if !at.trusts_sync {
        check_monitors(&at.monitors)?;
    }
    Ok(limit)
}

/// Asks until the servers have chosen who leads them.
pub(super) async fn account(api: &Api) -> Result<(), Failure> {
    let began = Instant::now();
    loop {
        match api.account().await {
            Err(Failure::NoAnswer(_)) if began.elapsed() < ELECTION_LIMIT => tokio::time::sleep(PAUSE).await,
            answer => return answer,
        }
    }
}

/// Looks at the streams of the store that are there.
///
/// # Errors
/// [`Error::ClusterUnfit`] if one is another program's, or has fewer replicas.
pub(super) fn check_streams(streams: &[StreamInfo], names: &Names, replicas: usize) -> Result<()> {
    for stream in streams {
        let name = &stream.name;
        let is_named_so = *name == names.catalog_stream() || names.stream_of(name).is_some();
        if !stream.is_ours || !is_named_so {
            return Err(unfit(format!(
                "the stream {name} was made by another program and has subjects of {}: give the store another name",
                names.everything()
            )));
        }
        if stream.replicas < replicas as u64 {
            return Err(unfit(format!(
                "the stream {name} has {} replicas, and {replicas} are asked for: raise them with \
                 `nats stream edit {name} --replicas {replicas}`, or ask for fewer",
                stream.replicas
            )));
        }
    }
    Ok(())
}

/// What a refusal to make a stream means.
pub(super) fn not_made(failure: Failure, stream: &str, replicas: usize) -> Error {
    match failure {
        Failure::Refused(reason) => unfit(format!(
            "the stream {stream} cannot be made on {replicas} servers: {reason}"
        )),
        failure => failure.into_error("make a stream"),
    }
}

/// More than half of the servers have to say how they are set up, and none that says so may be wrong.
fn check_monitors(monitors: &[String]) -> Result<()> {
    let mut answered = 0;
    let mut silent = None;
    for monitor in monitors {
        match monitor::ask(monitor, "/varz") {
            Ok(answer) => {
                check_server(&answer, monitor)?;
                answered += 1;
            }
            Err(error) => silent = Some(format!("http://{monitor}: {error}")),
        }
    }
    match silent {
        Some(silent) if answered * 2 <= monitors.len() => Err(unfit(format!(
            "it is not known whether the servers sync what they acknowledge: {silent}. Set http: 127.0.0.1:8222 in the \
             configuration of each server and name all of them as monitors, or vouch for sync_interval: always"
        ))),
        _ => Ok(()),
    }
}

fn check_server(answer: &Value, monitor: &str) -> Result<()> {
    let name = answer["server_name"].as_str().unwrap_or(monitor);
    check_version(answer["version"].as_str().unwrap_or_default(), name)?;
    if let Some(max_payload) = answer["max_payload"].as_u64() {
        message_limit(usize::try_from(max_payload).unwrap_or(usize::MAX))?;
    }
    let jetstream = &answer["jetstream"]["config"];
    match jetstream["sync_always"].as_bool() {
        Some(true) => Ok(()),
        _ if jetstream.is_null() => Err(unfit(format!("{name} has no JetStream"))),
        _ => Err(unfit(format!(
            "{name} does not sync what it acknowledges, so that a power cut can take records: set sync_interval: \
             always in jetstream {{ ... }}, on each server"
        ))),
    }
}

/// Whether a server of this version will do.
pub(super) fn is_new_enough(version: &str) -> bool {
    let mut numbers = version
        .trim_start_matches('v')
        .split('.')
        .map_while(|part| part.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= OLDEST_VERSION
}

fn check_version(version: &str, name: &str) -> Result<()> {
    let (major, minor) = OLDEST_VERSION;
    match is_new_enough(version) {
        true => Ok(()),
        false => Err(unfit(format!(
            "{name} has version {version} of nats-server, and {major}.{minor} is the oldest that will do"
        ))),
    }
}

fn unfit(problem: String) -> Error {
    Error::ClusterUnfit { problem }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        for version in ["2.15.0", "2.15.1-dev", "v2.16.0", "3.0.0"] {
            assert!(check_version(version, "n1").is_ok(), "{version}");
        }
        for version in ["2.14.9", "2.9.10", "1.99.0", "", "unknown"] {
            let refused = check_version(version, "n1").unwrap_err().to_string();
            assert!(refused.contains("2.15"), "{refused}");
        }
    }

    #[test]
    fn what_a_server_says_decides_whether_it_will_do() {
        let answer = |sync_always: bool, max_payload: u64| {
            json!({
                "server_name": "n1",
                "version": "2.15.1",
                "max_payload": max_payload,
                "jetstream": { "config": { "sync_always": sync_always } },
            })
        };
        assert!(check_server(&answer(true, 16 << 20), "m").is_ok());
        let refused = |answer: &Value| check_server(answer, "m").unwrap_err().to_string();
        assert!(refused(&answer(false, 16 << 20)).contains("sync_interval: always"));
        assert!(refused(&answer(true, 1 << 20)).contains("max_payload"));
        let bare = json!({ "version": "2.15.1", "jetstream": {} });
        assert!(refused(&bare).contains("no JetStream"));
    }

    #[test]
    fn the_largest_record_fits_in_base64_into_what_is_asked_for() {
        let limit = message_limit(16 << 20).unwrap();
        let largest = message_bytes(limits::LARGEST_RECORD_BYTES as usize + MOST_KEY_BYTES);
        assert!(limit >= largest && limit / 3 * 4 + MOST_WORDS_BYTES <= 16 << 20);
        let needed = message_limit(8 << 20).unwrap_err().to_string();
        let needed: Vec<usize> = needed
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|digits| digits.parse().ok())
            .collect();
        assert!(message_limit(needed[1] + 4).is_ok(), "{needed:?}");
    }
}
