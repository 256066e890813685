//! Reading what one server has of a stream, where it is known which one.
//!
//! A direct get is answered by any server that has the stream and is current, and not by the one that the client is
//! connected to before the others. So its trace is asked for (`Nats-Trace-Dest`): each server that a request goes
//! through says there where it sent it. The one that sent it nowhere has answered.

use std::time::Duration;

use async_nats::{Client, HeaderMap, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::{Value, json};

use super::cluster::Cluster;
use super::failure::Failure;

/// How long one answer may take, with all of its messages.
const LIMIT: Duration = Duration::from_secs(10);

/// Of a stream: where to begin, and how much to read at once.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) stream: String,
    pub(super) subjects: String,
    pub(super) from: u64,
    pub(super) most: usize,
    pub(super) most_bytes: usize,
}

/// What one server has.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) server: String,
    pub(super) messages: Vec<Found>,
}

/// A message as one server has it.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) sequence: u64,
    pub(super) subject: String,
    pub(super) message: Bytes,
}

/// Reads messages of whichever server answers.
pub(super) async fn read(cluster: &Cluster, asked: &Asked) -> Result<Answer, Failure> {
    match tokio::time::timeout(LIMIT, read_at_leisure(cluster.client(), asked)).await {
        Ok(answer) => answer,
        Err(_) => Err(Failure::NoAnswer("a read was not answered in time".to_owned())),
    }
}

async fn read_at_leisure(client: &Client, asked: &Asked) -> Result<Answer, Failure> {
    let (answers, traces) = (client.new_inbox(), client.new_inbox());
    let told = client
        .subscribe(answers.clone())
        .await
        .map_err(|error| no_answer(&error))?;
    let traced = client
        .subscribe(traces.clone())
        .await
        .map_err(|error| no_answer(&error))?;
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Trace-Dest", traces.as_str());
    let body = json!({
        "seq": asked.from,
        "next_by_subj": asked.subjects,
        "batch": asked.most,
        "max_bytes": asked.most_bytes,
    });
    let subject = format!("$JS.API.DIRECT.GET.{}", asked.stream);
    client
        .publish_with_reply_and_headers(subject, answers, headers, body.to_string().into())
        .await
        .map_err(|error| no_answer(&error))?;
    let (messages, server) = tokio::join!(messages_of(told), answering(traced));
    Ok(Answer {
        messages: messages?,
        server: server?,
    })
}

async fn messages_of(mut told: Subscriber) -> Result<Vec<Found>, Failure> {
    const END_OF_BATCH: u16 = 204;
    const NOT_FOUND: u16 = 404;
    const NO_RESPONDERS: u16 = 503;
    let mut messages = Vec::new();
    while let Some(answer) = told.next().await {
        match answer.status.map(|status| status.as_u16()) {
            None => {
                let headers = answer.headers.unwrap_or_default();
                let header = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
                let sequence = header("Nats-Sequence").and_then(|sequence| sequence.parse().ok());
                let found = sequence.zip(header("Nats-Subject"));
                let (sequence, subject) =
                    found.ok_or_else(|| Failure::Refused("a message has no sequence".to_owned()))?;
                messages.push(Found {
                    sequence,
                    subject,
                    message: answer.payload,
                });
            }
            Some(END_OF_BATCH | NOT_FOUND) => return Ok(messages),
            Some(NO_RESPONDERS) => return Err(no_answer("no server of the cluster answers for this")),
            Some(status) => return Err(no_answer(&format!("a read was answered by {status}"))),
        }
    }
    Err(no_answer("the connection was closed"))
}

/// The server that has answered.
async fn answering(mut traced: Subscriber) -> Result<String, Failure> {
    while let Some(trace) = traced.next().await {
        let trace: Value = serde_json::from_slice(&trace.payload)
            .map_err(|error| Failure::Refused(format!("a trace cannot be read: {error}")))?;
        match Path::of(&trace) {
            Path::Answered(server) => return Ok(server),
            Path::SentOn => {}
            Path::Ambiguous => {
                return Err(Failure::Refused(
                    "another program listens to what is read of the cluster, so that it is not known which server \
                     answers: stop it"
                        .to_owned(),
                ));
            }
        }
    }
    Err(no_answer("the connection was closed"))
}

/// What a server did with a request.
#[derive(Debug, PartialEq, Eq)]
enum Path {
    Answered(String),
    SentOn,
    /// Another client got it too, so it is not known which server answers.
    Ambiguous,
}

impl Path {
    fn of(trace: &Value) -> Self {
        // As the server numbers the kinds of what it is connected to.
        const CLIENT: u64 = 0;
        const OTHER_SERVERS: [u64; 3] = [1, 2, 4];
        let events = trace["events"].as_array().map(Vec::as_slice).unwrap_or_default();
        let sent_to = || {
            let sent = events.iter().filter(|event| event["type"] == "eg");
            sent.filter_map(|event| event["kind"].as_u64())
        };
        if sent_to().any(|kind| kind == CLIENT) {
            return Self::Ambiguous;
        }
        match sent_to().filter(|kind| OTHER_SERVERS.contains(kind)).count() {
            0 => Self::Answered(trace["server"]["name"].as_str().unwrap_or_default().to_owned()),
            1 => Self::SentOn,
            _ => Self::Ambiguous,
        }
    }
}

fn no_answer(reason: &(impl ToString + ?Sized)) -> Failure {
    Failure::NoAnswer(reason.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_that_sent_a_request_nowhere_has_answered_it() {
        let trace = |kinds: &[u64]| {
            let sent = kinds
                .iter()
                .map(|kind| json!({ "type": "eg", "kind": kind, "name": "n2" }));
            let events: Vec<_> = [json!({ "type": "in", "kind": 0 })]
                .into_iter()
                .chain(sent)
                .collect();
            Path::of(&json!({ "server": { "name": "n1" }, "events": events }))
        };
        assert_eq!(trace(&[]), Path::Answered("n1".to_owned()));
        // To a part of the server itself.
        assert_eq!(trace(&[5]), Path::Answered("n1".to_owned()));
        assert_eq!(trace(&[1]), Path::SentOn);
        assert_eq!(trace(&[1, 1]), Path::Ambiguous);
        assert_eq!(trace(&[0]), Path::Ambiguous);
    }
}
