//! What JetStream is asked for: its requests are JSON, but for messages.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use serde_json::{Value, json};

use super::cluster::{Cluster, NoAnswer};
use super::failure::Failure;

/// How long one request may take. A leader that dies is replaced within four to nine seconds, by when it is asked
/// again.
pub(super) const REQUEST_LIMIT: Duration = Duration::from_secs(3);

/// How long creating and deleting a stream may take, for which its servers agree first.
const STREAM_LIMIT: Duration = Duration::from_secs(5);

/// How long it may take until all servers know where a part of a restored stream goes: the server that waits for it
/// waits as long.
const ROUTE_LIMIT: Duration = Duration::from_secs(5);

/// The time between two tries to send such a part.
const ROUTE_PAUSE: Duration = Duration::from_millis(20);

/// The server's codes of what it refuses.
mod code {
    pub(super) const WRONG_LAST_SEQUENCE: u64 = 10071;
    pub(super) const APPEND_IN_FLIGHT: u64 = 10164;
    pub(super) const NO_MESSAGE: u64 = 10037;
    pub(super) const NO_STREAM: u64 = 10059;
    /// Memory, storage, the account's or the stream's own limit: refused before anything is proposed. Not "store failed"
    /// (10077), which a leader also says of its own disk when the others have the message.
    pub(super) const NO_ROOM: [u64; 4] = [10002, 10023, 10028, 10047];
    pub(super) const STORE_FAILED: u64 = 10077;
}

/// JetStream, as this backend asks it.
#[derive(Clone, Debug)]
pub(super) struct Api {
    pub(super) cluster: Arc<Cluster>,
}

/// A message of a stream.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) sequence: u64,
    pub(super) message: Bytes,
}

/// What the cluster says of a stream.
#[derive(Clone, Debug)]
pub(super) struct StreamInfo {
    pub(super) name: String,
    pub(super) is_ours: bool,
    pub(super) replicas: u64,
    pub(super) bytes: u64,
    /// Of the last message that was ever put into it; 0 if none was.
    pub(super) last_sequence: u64,
    /// None while it has none, or where the server is no cluster.
    pub(super) leader: Option<String>,
    /// Of its replicas, the leader's included, those that are current.
    pub(super) current_replicas: u64,
    /// How many operations the replica lacks that lacks the most.
    pub(super) lag: u64,
}

impl Api {
    pub(super) fn of(cluster: Arc<Cluster>) -> Self {
        Self { cluster }
    }

    /// Whether JetStream answers at all.
    pub(super) async fn account(&self) -> Result<(), Failure> {
        self.request("INFO".to_owned(), &Value::Null, REQUEST_LIMIT)
            .await
            .map(drop)
    }

    /// Makes a stream, or finds that there is the same. True if nothing was ever put into it.
    pub(super) async fn create_stream(
        &self,
        name: &str,
        subjects: &str,
        replicas: usize,
    ) -> Result<bool, Failure> {
        let configuration = json!({
            "name": name,
            "subjects": [subjects],
            "retention": "limits",
            "max_consumers": -1,
            "max_msgs": -1,
            "max_bytes": -1,
            // Retention is the store's: by its clock, and by what each reader is done with.
            "max_age": 0,
            "max_msgs_per_subject": -1,
            "max_msg_size": -1,
            "discard": "new",
            "storage": "file",
            "num_replicas": replicas,
            "allow_direct": true,
            "metadata": { "anabranch": "1" },
        });
        let answer = self
            .request(format!("STREAM.CREATE.{name}"), &configuration, STREAM_LIMIT)
            .await?;
        Ok(answer["state"]["last_seq"].as_u64() == Some(0))
    }

    /// Removes a stream with all that is in it, if it is there.
    pub(super) async fn delete_stream(&self, name: &str) -> Result<(), Failure> {
        let deleted = self
            .request(format!("STREAM.DELETE.{name}"), &Value::Null, STREAM_LIMIT)
            .await;
        match deleted {
            Ok(_) | Err(Failure::NoSuchStream) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// All streams with subjects of these. Not known while one of them has no leader: a list of the others says nothing
    /// of it.
    pub(super) async fn streams(&self, subjects: &str) -> Result<Vec<StreamInfo>, Failure> {
        let names = self.list("STREAM.NAMES", subjects).await?;
        let listed = self.list("STREAM.LIST", subjects).await?;
        let streams: Vec<_> = listed.iter().map(StreamInfo::of).collect();
        let is_listed = |name: &Value| streams.iter().any(|stream| *name == stream.name.as_str());
        match names.iter().find(|&name| !is_listed(name)) {
            None => Ok(streams),
            Some(missing) => Err(Failure::NoAnswer(format!("the stream {missing} has no leader"))),
        }
    }

    /// All pages of a list of the streams with subjects of these, or of all for an empty subject.
    pub(super) async fn list(&self, verb: &str, subjects: &str) -> Result<Vec<Value>, Failure> {
        let mut listed = Vec::new();
        loop {
            let asked = json!({ "subject": subjects, "offset": listed.len() });
            let answer = self.request(verb.to_owned(), &asked, REQUEST_LIMIT).await?;
            let page = answer["streams"].as_array().cloned().unwrap_or_default();
            let total = answer["total"].as_u64().unwrap_or_default();
            let is_last = page.is_empty();
            listed.extend(page);
            if is_last || listed.len() as u64 >= total {
                return Ok(listed);
            }
        }
    }

    /// The subjects of a stream that have messages, and how many.
    pub(super) async fn subjects(&self, stream: &str) -> Result<Vec<(String, u64)>, Failure> {
        let mut subjects = Vec::new();
        loop {
            let asked = json!({ "subjects_filter": ">", "offset": subjects.len() });
            let answer = self
                .request(format!("STREAM.INFO.{stream}"), &asked, STREAM_LIMIT)
                .await?;
            let page = answer["state"]["subjects"]
                .as_object()
                .cloned()
                .unwrap_or_default();
            let total = answer["total"].as_u64().unwrap_or_default();
            let is_empty = page.is_empty();
            let count = |(subject, count): (String, Value)| (subject, count.as_u64().unwrap_or_default());
            subjects.extend(page.into_iter().map(count));
            if is_empty || subjects.len() as u64 >= total {
                return Ok(subjects);
            }
        }
    }

    /// Appends to a subject if its last message has this sequence, 0 for none. Gives the message's own.
    pub(super) async fn append(&self, subject: &str, expected: u64, message: Bytes) -> Result<u64, Failure> {
        let mut headers = HeaderMap::new();
        let expected = expected.to_string();
        headers.insert("Nats-Expected-Last-Subject-Sequence", expected.as_str());
        self.publish(subject, Some(headers), message).await
    }

    /// Appends an empty message to a subject, whatever is there. Gives its sequence.
    pub(super) async fn append_probe(&self, subject: &str) -> Result<u64, Failure> {
        self.publish(subject, None, Bytes::new()).await
    }

    async fn publish(
        &self,
        subject: &str,
        headers: Option<HeaderMap>,
        message: Bytes,
    ) -> Result<u64, Failure> {
        let asked = Instant::now();
        let answer = self
            .cluster
            .ask(subject.to_owned(), headers, message, REQUEST_LIMIT)
            .await;
        let answer = parsed(answer);
        self.cluster.counts.note_append(&answer, asked.elapsed());
        answer?["seq"]
            .as_u64()
            .filter(|sequence| *sequence > 0)
            .ok_or_else(|| Failure::NoAnswer("the acknowledgement has no sequence".to_owned()))
    }

    /// The last sequence of a stream, as its leader has it.
    pub(super) async fn reached(&self, stream: &str) -> Result<u64, Failure> {
        let answer = self
            .request(format!("STREAM.INFO.{stream}"), &Value::Null, REQUEST_LIMIT)
            .await?;
        Ok(answer["state"]["last_seq"].as_u64().unwrap_or_default())
    }

    /// Has another server lead a stream.
    pub(super) async fn step_down(&self, stream: &str) -> Result<(), Failure> {
        self.request(
            format!("STREAM.LEADER.STEPDOWN.{stream}"),
            &Value::Null,
            STREAM_LIMIT,
        )
        .await
        .map(drop)
    }

    /// Frees the messages on a subject before this sequence.
    pub(super) async fn purge_before(
        &self,
        stream: &str,
        subject: &str,
        sequence: u64,
    ) -> Result<(), Failure> {
        self.purge(stream, &json!({ "filter": subject, "seq": sequence }))
            .await
    }

    /// Frees the messages on a subject but the last.
    pub(super) async fn purge_but_last(&self, stream: &str, subject: &str) -> Result<(), Failure> {
        self.purge(stream, &json!({ "filter": subject, "keep": 1 })).await
    }

    async fn purge(&self, stream: &str, which: &Value) -> Result<(), Failure> {
        self.request(format!("STREAM.PURGE.{stream}"), which, STREAM_LIMIT)
            .await
            .map(drop)
    }

    /// Sends a part of a stream that is restored, and waits until it is taken.
    ///
    /// The server that takes the parts names the subject as soon as it listens there. The server of this connection may
    /// not know yet that it does. It then answers that nothing listens, and has passed nothing on. So the part is sent again.
    pub(super) async fn send(&self, to: String, part: Bytes, limit: Duration) -> Result<(), Failure> {
        let begun = Instant::now();
        let answer = loop {
            let answer = self.cluster.ask(to.clone(), None, part.clone(), limit).await;
            match answer {
                Err(NoAnswer::NoResponders) if begun.elapsed() < ROUTE_LIMIT => {
                    tokio::time::sleep(ROUTE_PAUSE).await;
                }
                answer => break answer,
            }
        };
        match answer {
            Ok(answer) if answer.payload.is_empty() => Ok(()),
            answer => parsed(answer).map(drop),
        }
    }

    pub(super) async fn request_found(
        &self,
        verb: String,
        body: &Value,
        limit: Duration,
    ) -> Result<Option<Value>, Failure> {
        let body = match body {
            Value::Null => Bytes::new(),
            body => body.to_string().into(),
        };
        let answer = self
            .cluster
            .ask(format!("$JS.API.{verb}"), None, body, limit)
            .await;
        let answer = found(answer);
        self.cluster.counts.note(&answer);
        answer
    }

    pub(super) async fn request(
        &self,
        verb: String,
        body: &Value,
        limit: Duration,
    ) -> Result<Value, Failure> {
        let answer = self.request_found(verb, body, limit).await?;
        answer.ok_or_else(|| Failure::Refused("no message was found".to_owned()))
    }
}

impl StreamInfo {
    fn of(listed: &Value) -> Self {
        let cluster = &listed["cluster"];
        let others = cluster["replicas"].as_array();
        let others = || others.into_iter().flatten();
        Self {
            name: listed["config"]["name"].as_str().unwrap_or_default().to_owned(),
            is_ours: !listed["config"]["metadata"]["anabranch"].is_null(),
            replicas: listed["config"]["num_replicas"].as_u64().unwrap_or_default(),
            bytes: listed["state"]["bytes"].as_u64().unwrap_or_default(),
            // Where it does not say, something may be there.
            last_sequence: listed["state"]["last_seq"].as_u64().unwrap_or(u64::MAX),
            leader: cluster["leader"].as_str().map(str::to_owned),
            current_replicas: 1 + others().filter(|other| other["current"] == true).count() as u64,
            lag: others()
                .filter_map(|other| other["lag"].as_u64())
                .max()
                .unwrap_or(0),
        }
    }
}

fn parsed(answer: Result<Message, NoAnswer>) -> Result<Value, Failure> {
    found(answer)?.ok_or_else(|| Failure::Refused("no message was found".to_owned()))
}

/// `None` where there is no such message.
fn found(answer: Result<Message, NoAnswer>) -> Result<Option<Value>, Failure> {
    let answer = answer.map_err(|no_answer| match no_answer {
        NoAnswer::NoResponders => Failure::NoAnswer("no server of the cluster answers for this".to_owned()),
        NoAnswer::Unknown(reason) => Failure::NoAnswer(reason),
    })?;
    let answer: Value = serde_json::from_slice(&answer.payload)
        .map_err(|error| Failure::NoAnswer(format!("its answer cannot be read: {error}")))?;
    let error = &answer["error"];
    if error.is_null() {
        return Ok(Some(answer));
    }
    let description = error["description"].as_str().unwrap_or("it did not say why");
    match error["err_code"].as_u64().unwrap_or_default() {
        code::NO_MESSAGE => Ok(None),
        code::WRONG_LAST_SEQUENCE => Err(Failure::WrongLastSequence),
        code::APPEND_IN_FLIGHT => Err(Failure::AppendInFlight),
        code::NO_STREAM => Err(Failure::NoSuchStream),
        code if code::NO_ROOM.contains(&code) => Err(Failure::NoRoom),
        // A server that has no leader for the stream, or that is going down, says so; what was asked for is not known.
        code::STORE_FAILED => Err(Failure::NoAnswer(description.to_owned())),
        _ if error["code"].as_u64() == Some(503) => Err(Failure::NoAnswer(description.to_owned())),
        _ => Err(Failure::Refused(description.to_owned())),
    }
}
