//! Reads request bodies: into one buffer each, no longer than allowed, no more of them at once than memory is set
//! aside for, and never waiting for ever.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::Version;
use hyper::body::{Body as _, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// A body, and its share of the memory for bodies until it is dropped.
#[derive(Debug)]
pub(super) struct RequestBody {
    pub(super) bytes: Bytes,
    _share: Option<OwnedSemaphorePermit>,
}

/// Why a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyError {
    /// Longer than allowed. If it says so itself, nothing of it is buffered.
    TooLarge,
    /// The client stopped sending.
    TooSlow,
    /// Other bodies have all the memory, and keep it.
    NoMemory,
    /// The client went away, or what it sent is not HTTP.
    Broken,
}

/// The memory for bodies, and how patient the server is.
#[derive(Debug)]
pub(super) struct BodyReader {
    most_bytes: usize,
    memory: Arc<Semaphore>,
    idle_timeout: Duration,
    total_timeout: Duration,
}

/// Memory is handed out in these units, since a semaphore counts in 32 bits.
const UNIT: usize = 1024;

/// How much of a refused body is swallowed, so that a client which sends all before it reads gets to see the answer.
const MOST_DISCARDED: usize = 64 << 20;

impl BodyReader {
    pub(super) fn new(most_bytes: usize, memory_bytes: usize, idle: Duration, total: Duration) -> BodyReader {
        let units = memory_bytes
            .max(most_bytes)
            .div_ceil(UNIT)
            .min(Semaphore::MAX_PERMITS);
        BodyReader {
            most_bytes,
            memory: Arc::new(Semaphore::new(units)),
            idle_timeout: idle,
            total_timeout: total,
        }
    }

    pub(super) fn most_bytes(&self) -> usize {
        self.most_bytes
    }

    /// The whole body, with its end.
    ///
    /// In HTTP/2 the end may be a frame of its own, which comes later than the last byte: a request that is answered
    /// before it gets a RST_STREAM behind its reply, and after some of those the client loses its connection.
    pub(super) async fn read(&self, version: Version, mut body: Incoming) -> Result<RequestBody, BodyError> {
        let read = timeout(self.total_timeout, self.read_whole(&mut body)).await;
        let read = read.unwrap_or(Err(BodyError::TooSlow));
        if read.as_ref().is_err_and(|error| *error == BodyError::TooLarge) {
            self.discard_refused(version, body).await;
        }
        read
    }

    /// Swallows a body that is of no interest to the reply, up to a limit.
    pub(super) async fn discard(&self, body: Incoming) {
        if !body.is_end_stream() {
            let _ = timeout(self.total_timeout, discard(body, self.idle_timeout)).await;
        }
    }

    /// A client of HTTP/1 may wait for the answer before it sends the body, if it sends it at all. A stream of HTTP/2
    /// ends in order only if the answer comes behind the body.
    async fn discard_refused(&self, version: Version, body: Incoming) {
        if version == Version::HTTP_2 {
            self.discard(body).await;
        } else {
            tokio::spawn(discard(body, self.idle_timeout));
        }
    }

    async fn read_whole(&self, body: &mut Incoming) -> Result<RequestBody, BodyError> {
        let announced = body.size_hint().exact();
        if announced.is_some_and(|len| len > self.most_bytes as u64) {
            return Err(BodyError::TooLarge);
        }
        // Memory is taken when the first bytes are here: a client that sends only a head has no claim on it.
        let Some(first) = self.next_chunk(body).await? else {
            return Ok(RequestBody {
                bytes: Bytes::new(),
                _share: None,
            });
        };
        let expected = announced.map_or(self.most_bytes, |len| len as usize);
        let share = self.share(expected).await?;
        let second = if body.is_end_stream() {
            None
        } else {
            self.next_chunk(body).await?
        };
        let Some(second) = second else {
            return Ok(RequestBody {
                bytes: first,
                _share: Some(share),
            });
        };
        let mut bytes = BytesMut::with_capacity(announced.map_or(2 * first.len(), |len| len as usize));
        bytes.extend_from_slice(&first);
        let mut next = Some(second);
        while let Some(chunk) = next {
            if bytes.len() + chunk.len() > self.most_bytes {
                return Err(BodyError::TooLarge);
            }
            bytes.extend_from_slice(&chunk);
            next = self.next_chunk(body).await?;
        }
        Ok(RequestBody {
            bytes: bytes.freeze(),
            _share: Some(share),
        })
    }

    async fn share(&self, bytes: usize) -> Result<OwnedSemaphorePermit, BodyError> {
        let units = bytes.div_ceil(UNIT) as u32;
        match timeout(
            self.idle_timeout,
            Arc::clone(&self.memory).acquire_many_owned(units),
        )
        .await
        {
            Ok(Ok(share)) => Ok(share),
            _ => Err(BodyError::NoMemory),
        }
    }

    async fn next_chunk(&self, body: &mut Incoming) -> Result<Option<Bytes>, BodyError> {
        next_chunk(body, self.idle_timeout).await
    }
}

async fn next_chunk(body: &mut Incoming, idle_timeout: Duration) -> Result<Option<Bytes>, BodyError> {
    loop {
        match timeout(idle_timeout, body.frame()).await {
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

async fn discard(mut body: Incoming, idle_timeout: Duration) {
    let mut discarded = 0;
    while discarded < MOST_DISCARDED {
        match next_chunk(&mut body, idle_timeout).await {
            Ok(Some(chunk)) => discarded += chunk.len(),
            _ => return,
        }
    }
}
