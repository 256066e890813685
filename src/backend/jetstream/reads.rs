//! Reading messages: of the leader, or of any server that has the stream.

use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::{Value, json};

use super::api::{Api, REQUEST_LIMIT, Stored};
use super::failure::Failure;

/// The last message on a subject, as one server has it.
#[derive(Clone, Debug)]
pub(super) struct Newest {
    pub(super) last: Option<Stored>,
    /// The last sequence of the stream that this server has applied.
    pub(super) reached: u64,
}

/// What a server answers to a request for several messages.
struct Collected {
    stored: Vec<(Option<String>, Stored)>,
    /// As it says at the end; not where it found nothing.
    reached: Option<u64>,
}

impl Api {
    /// The last message on a subject, by the stream's leader. What a leader says that was replaced without knowing it
    /// yet may be old.
    pub(super) async fn last(&self, stream: &str, subject: &str) -> Result<Option<Stored>, Failure> {
        self.by_leader(stream, &json!({ "last_by_subj": subject })).await
    }

    /// The first message on a subject with this sequence or a higher one, by the stream's leader.
    pub(super) async fn next_by_leader(
        &self,
        stream: &str,
        subject: &str,
        sequence: u64,
    ) -> Result<Option<Stored>, Failure> {
        let asked = json!({ "seq": sequence, "next_by_subj": subject });
        self.by_leader(stream, &asked).await
    }

    /// Messages on a subject from this sequence on, by any server that has the stream. One that lags behind gives
    /// fewer, and one that is damaged may leave some out.
    pub(super) async fn next(
        &self,
        stream: &str,
        subject: &str,
        sequence: u64,
        most: usize,
        most_bytes: usize,
    ) -> Result<Vec<Stored>, Failure> {
        let asked = json!({
            "seq": sequence,
            "next_by_subj": subject,
            "batch": most,
            "max_bytes": most_bytes,
        });
        let collecting = self.collect(format!("$JS.API.DIRECT.GET.{stream}"), asked.to_string().into());
        let collected = collecting.await?;
        Ok(collected.stored.into_iter().map(|(_, stored)| stored).collect())
    }

    /// The last message on a subject, by any server that has the stream. `probe` is another subject of it that has a
    /// message, so that there is an answer. `None` from a server that does not have that one, or cannot read what it has.
    pub(super) async fn newest(
        &self,
        stream: &str,
        subject: &str,
        probe: &str,
    ) -> Result<Option<Newest>, Failure> {
        let asked = json!({ "multi_last": [subject, probe] });
        let collected = self
            .collect(format!("$JS.API.DIRECT.GET.{stream}"), asked.to_string().into())
            .await?;
        let is_asked = |of: &Option<String>| of.as_deref() == Some(subject);
        let mut stored = collected.stored.into_iter();
        let last = stored.find(|(of, _)| is_asked(of)).map(|(_, stored)| stored);
        Ok(collected.reached.map(|reached| Newest { last, reached }))
    }

    async fn by_leader(&self, stream: &str, asked: &Value) -> Result<Option<Stored>, Failure> {
        let verb = format!("STREAM.MSG.GET.{stream}");
        match self.request_found(verb, asked, REQUEST_LIMIT).await? {
            None => Ok(None),
            Some(answer) => {
                let message = &answer["message"];
                let stored = message["seq"].as_u64().zip(message["data"].as_str());
                let stored = stored.and_then(|(sequence, data)| {
                    let decoded = base64_simd::STANDARD.decode_to_vec(data).ok()?;
                    Some(Stored {
                        sequence,
                        message: decoded.into(),
                    })
                });
                let unreadable = || Failure::Refused("its answer cannot be read".to_owned());
                stored.ok_or_else(unreadable).map(Some)
            }
        }
    }

    async fn collect(&self, subject: String, asked: Bytes) -> Result<Collected, Failure> {
        let collecting = self.collect_all(subject, asked);
        match tokio::time::timeout(REQUEST_LIMIT, collecting).await {
            Ok(collected) => collected,
            Err(_) => Err(Failure::NoAnswer("a read was not answered in time".to_owned())),
        }
    }

    async fn collect_all(&self, subject: String, asked: Bytes) -> Result<Collected, Failure> {
        const END_OF_BATCH: u16 = 204;
        const NOT_FOUND: u16 = 404;
        let client = self.cluster.client();
        let inbox = client.new_inbox();
        let unsent = |error: String| Failure::NoAnswer(error);
        let mut answers = client
            .subscribe(inbox.clone())
            .await
            .map_err(|error| unsent(error.to_string()))?;
        client
            .publish_with_reply(subject, inbox, asked)
            .await
            .map_err(|error| unsent(error.to_string()))?;
        let mut collected = Collected {
            stored: Vec::new(),
            reached: None,
        };
        while let Some(answer) = answers.next().await {
            match answer.status.map(|status| status.as_u16()) {
                None => collected.stored.push(stored_of(answer)?),
                Some(END_OF_BATCH) => {
                    collected.reached = number_of(answer.headers.as_ref(), "Nats-UpTo-Sequence");
                    return Ok(collected);
                }
                Some(NOT_FOUND) => return Ok(collected),
                Some(status) => {
                    return Err(Failure::NoAnswer(format!("a read was answered by {status}")));
                }
            }
        }
        Err(Failure::NoAnswer("the connection was closed".to_owned()))
    }
}

fn stored_of(answer: Message) -> Result<(Option<String>, Stored), Failure> {
    let headers = answer.headers.as_ref();
    let sequence = number_of(headers, "Nats-Sequence")
        .ok_or_else(|| Failure::Refused("a message has no sequence".to_owned()))?;
    let subject = headers.and_then(|headers| headers.get("Nats-Subject"));
    let subject = subject.map(|subject| subject.as_str().to_owned());
    let stored = Stored {
        sequence,
        message: answer.payload,
    };
    Ok((subject, stored))
}

fn number_of(headers: Option<&HeaderMap>, name: &str) -> Option<u64> {
    headers?.get(name)?.as_str().parse().ok()
}
