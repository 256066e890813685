//! Reads request bodies: into one buffer each, no longer than allowed, no more of them at once than memory is set
//! aside for, and never waiting for ever.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::Version;
use hyper::body::{Body as _, Incoming};
use tokio::time::timeout;

use super::budget::{Budget, MOST_SMALL, NoRoom, Pool, Share};
use super::connections::{Connection, Stop};

/// A body, and its share of the memory for requests until it is dropped.
#[derive(Debug)]
pub(crate) struct RequestBody {
    pub(crate) bytes: Bytes,
    _share: RequestShare,
}

/// Why a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// Longer than allowed. If it says so itself, nothing of it is buffered.
    TooLarge,
    /// The client stopped sending.
    TooSlow,
    /// Other bodies have all the memory, and keep it.
    NoMemory,
    /// The client went away, or what it sent is not HTTP.
    Broken,
    /// The server stops, and does not wait for the rest.
    Stopping,
}

impl From<NoRoom> for BodyError {
    fn from(_: NoRoom) -> BodyError {
        BodyError::NoMemory
    }
}

/// The memory for requests, and how patient the server is.
#[derive(Debug)]
pub(crate) struct BodyReader {
    most_bytes: usize,
    memory: Budget,
    idle_timeout: Duration,
    total_timeout: Duration,
    stop: Arc<Stop>,
}

/// How much of a refused body is swallowed, so that a client which sends all before it reads gets to see the answer.
const MOST_DISCARDED: usize = 64 << 20;

impl BodyReader {
    pub(super) fn new(
        most_bytes: usize,
        memory_bytes: usize,
        idle: Duration,
        total: Duration,
        stop: Arc<Stop>,
    ) -> BodyReader {
        BodyReader {
            most_bytes,
            memory: Budget::new(memory_bytes, most_bytes),
            idle_timeout: idle,
            total_timeout: total,
            stop,
        }
    }

    pub(crate) fn most_bytes(&self) -> usize {
        self.most_bytes
    }

    pub(super) fn memory(&self) -> &Budget {
        &self.memory
    }

    /// The whole body, with its end. `head_bytes` is what the request holds besides.
    ///
    /// In HTTP/2 the end may be a frame of its own, which comes later than the last byte: a request that is answered
    /// before it gets a RST_STREAM behind its reply, and after some of those the client loses its connection.
    pub(crate) async fn read(
        &self,
        connection: &Connection,
        version: Version,
        head_bytes: usize,
        mut body: Incoming,
    ) -> Result<RequestBody, BodyError> {
        let read = timeout(
            self.total_timeout,
            self.read_whole(connection, head_bytes, &mut body),
        );
        let read = read.await.unwrap_or(Err(BodyError::TooSlow));
        if matches!(read, Err(BodyError::TooLarge | BodyError::NoMemory)) {
            self.discard_refused(version, body).await;
        }
        read
    }

    /// Swallows a body that is of no interest to the reply, up to a limit.
    pub(crate) async fn discard(&self, body: Incoming) {
        if !body.is_end_stream() {
            let discarded = discard(body, self.idle_timeout, Arc::clone(&self.stop));
            let _ = timeout(self.total_timeout, discarded).await;
        }
    }

    /// A client of HTTP/1 may wait for the answer before it sends the body, if it sends it at all. A stream of HTTP/2
    /// ends in order only if the answer comes behind the body.
    async fn discard_refused(&self, version: Version, body: Incoming) {
        if version == Version::HTTP_2 {
            self.discard(body).await;
        } else {
            let discarded = discard(body, self.idle_timeout, Arc::clone(&self.stop));
            tokio::spawn(timeout(self.total_timeout, discarded));
        }
    }

    async fn read_whole(
        &self,
        connection: &Connection,
        head_bytes: usize,
        body: &mut Incoming,
    ) -> Result<RequestBody, BodyError> {
        let announced = body.size_hint().exact();
        if announced.is_some_and(|len| len > self.most_bytes as u64) {
            return Err(BodyError::TooLarge);
        }
        // Memory is taken for what is here, not for what is announced: a client that sends little has little.
        let mut share = RequestShare::default();
        if head_bytes > 0 {
            self.hold(&mut share, connection, head_bytes).await?;
        }
        let Some(first) = self.next_chunk(body).await? else {
            return Ok(RequestBody {
                bytes: Bytes::new(),
                _share: share,
            });
        };
        if first.len() > self.most_bytes {
            return Err(BodyError::TooLarge);
        }
        self.hold(&mut share, connection, head_bytes + first.len())
            .await?;
        let mut next = if body.is_end_stream() {
            None
        } else {
            self.next_chunk(body).await?
        };
        if next.is_none() {
            return Ok(RequestBody {
                bytes: first,
                _share: share,
            });
        }
        let mut bytes = BytesMut::from(first);
        while let Some(chunk) = next {
            let len = bytes.len() + chunk.len();
            if len > self.most_bytes {
                return Err(BodyError::TooLarge);
            }
            self.hold(&mut share, connection, head_bytes + len).await?;
            if bytes.capacity() < len {
                // Twice the room each time, but no more than the body can need.
                let most = announced.map_or(self.most_bytes, |len| len as usize);
                bytes.reserve((2 * len).min(most).max(len) - bytes.len());
            }
            bytes.extend_from_slice(&chunk);
            next = self.next_chunk(body).await?;
        }
        Ok(RequestBody {
            bytes: bytes.freeze(),
            _share: share,
        })
    }

    async fn hold(
        &self,
        share: &mut RequestShare,
        connection: &Connection,
        bytes: usize,
    ) -> Result<(), NoRoom> {
        share
            .hold(
                &self.memory,
                connection.request_memory(),
                bytes,
                self.idle_timeout,
            )
            .await
    }

    async fn next_chunk(&self, body: &mut Incoming) -> Result<Option<Bytes>, BodyError> {
        next_chunk(body, self.idle_timeout, &self.stop).await
    }
}

/// What a request holds: a small part, or a large one that counts for its connection too.
#[derive(Debug, Default)]
struct RequestShare {
    small: Option<Share>,
    large: Option<LargeShare>,
}

#[derive(Debug)]
struct LargeShare {
    of_connection: Share,
    of_all: Share,
}

impl RequestShare {
    /// Waits until the request may hold so many bytes in all.
    async fn hold(
        &mut self,
        memory: &Budget,
        connection: &Arc<Pool>,
        bytes: usize,
        patience: Duration,
    ) -> Result<(), NoRoom> {
        if let Some(large) = &mut self.large {
            return large.hold(bytes, patience).await;
        }
        if bytes > MOST_SMALL {
            let of_connection = connection.take(bytes, patience).await?;
            let of_all = memory.large.take(bytes, patience).await?;
            self.small = None;
            self.large = Some(LargeShare {
                of_connection,
                of_all,
            });
            return Ok(());
        }
        match &mut self.small {
            Some(small) if small.bytes() >= bytes => {}
            Some(small) => small.grow(bytes - small.bytes(), patience).await?,
            None => self.small = Some(memory.small.take(bytes, patience).await?),
        }
        Ok(())
    }
}

impl LargeShare {
    async fn hold(&mut self, bytes: usize, patience: Duration) -> Result<(), NoRoom> {
        /// In steps, not for each chunk of a few kilobytes.
        const STEP: usize = 64 << 10;
        let held = self.of_all.bytes();
        if bytes <= held {
            return Ok(());
        }
        let most = self.of_connection.pool().bytes();
        let more = (bytes + STEP).min(most).max(bytes) - held;
        if !self.of_connection.try_grow(more) {
            tokio::select! {
                grown = self.of_connection.grow(more, patience) => grown?,
                refused = self.of_all.wait_elsewhere() => refused?,
            }
        }
        self.of_all.grow(more, patience).await
    }
}

async fn next_chunk(
    body: &mut Incoming,
    idle_timeout: Duration,
    stop: &Stop,
) -> Result<Option<Bytes>, BodyError> {
    loop {
        let frame = tokio::select! {
            biased;
            frame = timeout(idle_timeout, body.frame()) => frame,
            () = stop.ends_half_requests() => return Err(BodyError::Stopping),
        };
        match frame {
            Err(_) => return Err(BodyError::TooSlow),
            Ok(None) => return Ok(None),
            Ok(Some(Err(_))) => return Err(BodyError::Broken),
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(chunk) if chunk.is_empty() => {}
                Ok(chunk) => return Ok(Some(chunk)),
                Err(_trailers) => {}
            },
        }
    }
}

async fn discard(mut body: Incoming, idle_timeout: Duration, stop: Arc<Stop>) {
    let mut discarded = 0;
    while discarded < MOST_DISCARDED {
        match next_chunk(&mut body, idle_timeout, &stop).await {
            Ok(Some(chunk)) => discarded += chunk.len(),
            _ => return,
        }
    }
}
