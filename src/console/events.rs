//! News for open pages, as server-sent events. Each event is made once for all pages.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::time::{Instant, sleep, timeout};

use super::answer::{Problem, data_reply};
use super::source::Source;
use super::summary::summary;
use crate::http::{Connection, Reply, ReplyBody, ReplyShare, Resources};

/// How many pages may listen at once. Their connections are never idle.
const MOST_LISTENERS: usize = 8;

/// The least time between two readings of the store.
const INTERVAL: Duration = Duration::from_millis(500);

/// Reading the store takes at most one part in this many of the time, so a large store is read less often.
const SHARE_OF_TIME: u32 = 20;

/// After this time without an event a listener gets an empty comment line. A listener that has gone is noticed by the
/// second of these lines at the latest. Nothing else shows it, since a client may close its half of the connection and
/// still read.
const LONGEST_SILENCE: Duration = Duration::from_secs(2);

/// A listener that takes nothing for this long is dropped, so that it does not take the place of others.
const MOST_PATIENCE: Duration = Duration::from_secs(30);

/// Sends news to pages.
#[derive(Debug)]
pub(super) struct Events {
    source: Arc<Source>,
    /// One permit for each listener.
    listeners: Arc<Semaphore>,
    /// The last reading, and until when it is new enough. The thread that reads the store holds this lock, so that no
    /// other does.
    seen: Mutex<Option<Seen>>,
}

#[derive(Debug, Clone)]
struct Seen {
    /// Changes with the content.
    number: u64,
    content: Arc<str>,
    event: Bytes,
    good_until: Instant,
}

impl Events {
    pub(super) fn new(source: Arc<Source>) -> Events {
        Events {
            source,
            listeners: Arc::new(Semaphore::new(MOST_LISTENERS)),
            seen: Mutex::default(),
        }
    }

    /// A reply that goes on until its client leaves or the server stops.
    pub(super) fn listen(
        self: &Arc<Self>,
        http: &Arc<Resources>,
        connection: &Arc<Connection>,
    ) -> Result<Reply, Problem> {
        let place = Arc::clone(&self.listeners).try_acquire_owned().map_err(|_| {
            Problem::unavailable(format!(
                "{MOST_LISTENERS} pages of the console are open, which is as many as there may be"
            ))
        })?;
        let (events, messages) = mpsc::channel(1);
        let (this, http) = (Arc::clone(self), Arc::clone(http));
        let connection = Arc::clone(connection);
        tokio::spawn(async move {
            let _place = place;
            tokio::select! {
                biased;
                () = events.closed() => {}
                () = http.stops() => {}
                () = this.tell(&http, &connection, &events) => {}
            }
        });
        Ok(data_reply(
            StatusCode::OK,
            "text/event-stream",
            ReplyBody::messages(messages),
        ))
    }

    /// Sends news until there can be no more. A slow listener misses the events that newer ones have replaced.
    async fn tell(&self, http: &Resources, connection: &Connection, events: &mpsc::Sender<Bytes>) {
        let mut told = None;
        let mut spoke = Instant::now();
        loop {
            let seen = match self.see().await {
                Ok(seen) => seen,
                Err(problem) => {
                    let event = format!("event: failed\ndata: {}\n\n", one_line(problem.message()));
                    let _ = timeout(INTERVAL, events.send(event.into())).await;
                    return;
                }
            };
            let message = match told {
                Some(number) if number == seen.number => {
                    (spoke.elapsed() >= LONGEST_SILENCE).then(|| Bytes::from_static(b":\n\n"))
                }
                _ => Some(seen.event),
            };
            if let Some(message) = message {
                // While replies hold all memory for small ones, this event is left out.
                if let Ok(share) = http.replies.reserve(connection, message.len()).await {
                    let held = Bytes::from_owner(Held {
                        message,
                        _share: share,
                    });
                    match timeout(MOST_PATIENCE, events.send(held)).await {
                        Ok(Ok(())) => (told, spoke) = (Some(seen.number), Instant::now()),
                        Ok(Err(_)) | Err(_) => return,
                    }
                }
            }
            sleep(INTERVAL).await;
        }
    }

    /// The present content, no older than the interval.
    async fn see(&self) -> Result<Seen, Problem> {
        let mut last = self.seen.lock().await;
        let began = Instant::now();
        if let Some(seen) = last.as_ref().filter(|seen| began < seen.good_until) {
            return Ok(seen.clone());
        }
        let (content, now) = self
            .source
            .look(|source| Ok((summary(source)?.to_string(), source.store.now())))
            .await?;
        let is_same = |seen: &&Seen| *seen.content == *content;
        let seen = match last.as_ref().filter(is_same) {
            Some(same) => Seen {
                good_until: good_until(began),
                ..same.clone()
            },
            None => Seen {
                number: last.as_ref().map_or(0, |seen| seen.number + 1),
                event: event_of(now.as_millis(), &content),
                content: content.into(),
                good_until: good_until(began),
            },
        };
        *last = Some(seen.clone());
        Ok(seen)
    }
}

/// How long a reading that has just ended is new enough.
fn good_until(began: Instant) -> Instant {
    let ended = Instant::now();
    let pause = (ended - began).saturating_mul(SHARE_OF_TIME);
    // A little less than the interval, so that two listeners share a reading even if they do not ask at the same
    // instant.
    ended + pause.max(INTERVAL * 9 / 10)
}

/// The time is not compared, since otherwise every event would be new.
fn event_of(now: u64, content: &str) -> Bytes {
    let rest = content.strip_prefix('{').unwrap_or(content);
    format!("event: summary\ndata: {{\"now\":{now},{rest}\n\n").into()
}

fn one_line(text: &str) -> String {
    text.replace(['\r', '\n'], " ")
}

/// A message, and its share of the memory for replies until its last byte is in the socket.
struct Held {
    message: Bytes,
    _share: ReplyShare,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.message
    }
}
