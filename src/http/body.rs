//! Reading request bodies: each into one buffer of limited length, within the memory for requests, and with an end to
//! all waiting.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::Version;
use hyper::body::{Body as _, Incoming};
use tokio::time::timeout;

use super::budget::{Budget, MOST_SMALL, NoRoom, Share};
use super::connections::{Connection, Stop};
use super::options::MAX_HEAD_BYTES;

/// A body, and its share of the memory for requests until it is dropped.
#[derive(Debug)]
pub(crate) struct RequestBody {
    pub(crate) bytes: Bytes,
    _share: RequestShare,
}

/// Why a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// Longer than allowed. If its announced length is too large, nothing of it is buffered.
    TooLarge,
    /// The client stopped sending.
    TooSlow,
    /// Other bodies hold all the memory.
    NoMemory,
    /// The client closed the connection, or sent something that is not HTTP.
    Broken,
    /// The server stops, and does not wait for the rest of the body.
    Stopping,
}

impl From<NoRoom> for BodyError {
    fn from(_: NoRoom) -> BodyError {
        BodyError::NoMemory
    }
}

/// The memory for requests, and the server's time limits.
#[derive(Debug)]
pub(crate) struct BodyReader {
    most_bytes: usize,
    memory: Budget,
    idle_timeout: Duration,
    total_timeout: Duration,
    stop: Arc<Stop>,
}

/// How much of a refused body is discarded, so that a client which sends everything before it reads gets the answer.
const MOST_DISCARDED: usize = 64 << 20;

/// The most that a request holds: its body and its head.
pub(super) fn most_bytes_of_request(most_bytes_of_body: usize) -> usize {
    most_bytes_of_body + MAX_HEAD_BYTES
}

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
            memory: Budget::new(memory_bytes, most_bytes_of_request(most_bytes)),
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

    /// Reads the whole body, with its end. `head_bytes` is what the request holds besides.
    ///
    /// In HTTP/2 the end may be a frame of its own, which comes later than the last byte. A request that is answered
    /// before that end gets a RST_STREAM behind its reply, and after some of those the client loses its connection.
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
            self.refuse(version, body).await;
        }
        read
    }

    /// Discards a body that the reply does not depend on, up to a limit.
    pub(crate) async fn discard(&self, body: Incoming) {
        if !body.is_end_stream() {
            let discarded = discard(body, self.idle_timeout, Arc::clone(&self.stop));
            let _ = timeout(self.total_timeout, discarded).await;
        }
    }

    /// Discards the body of a refused request. A client of HTTP/1 may wait for the answer before it sends the body, if
    /// it sends it at all. A stream of HTTP/2 ends in order only if the answer comes behind the body.
    pub(crate) async fn refuse(&self, version: Version, body: Incoming) {
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
        let most = announced.map_or(self.most_bytes, |len| len as usize);
        // Memory is taken for bytes that are here, not for those that are announced.
        let mut share = RequestShare::of_at_most(head_bytes + most);
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
                // Doubles the room each time, up to what the body can need.
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

/// The memory that a request holds: of that for small requests, or of that for large ones. It also counts for the
/// request's connection, which has a part of its own for each of the two.
///
/// The greatest possible length decides which, before the request holds anything. So no request holds some of one
/// memory while it waits for the other, and large requests never hold up small ones.
#[derive(Debug)]
struct RequestShare {
    is_small: bool,
    held: Option<HeldShare>,
}

#[derive(Debug)]
struct HeldShare {
    of_connection: Share,
    of_all: Share,
}

impl RequestShare {
    /// The share of a request with no more than so many bytes. It holds nothing yet.
    fn of_at_most(bytes: usize) -> RequestShare {
        RequestShare {
            is_small: bytes <= MOST_SMALL,
            held: None,
        }
    }

    /// Waits until the request may hold so many bytes in all.
    async fn hold(
        &mut self,
        memory: &Budget,
        of_connection: &Budget,
        bytes: usize,
        patience: Duration,
    ) -> Result<(), NoRoom> {
        /// The unit of growth of large requests, instead of each chunk of a few kilobytes.
        const STEP: usize = 64 << 10;
        let step = if self.is_small { 0 } else { STEP };
        if let Some(held) = &mut self.held {
            return held.hold(bytes, step, patience).await;
        }
        let (of_connection, of_all) = match self.is_small {
            true => (&of_connection.small, &memory.small),
            false => (&of_connection.large, &memory.large),
        };
        let of_connection = of_connection.take(bytes, patience).await?;
        let of_all = of_all.take(bytes, patience).await?;
        self.held = Some(HeldShare {
            of_connection,
            of_all,
        });
        Ok(())
    }
}

impl HeldShare {
    /// The pool of all requests knows which of its holders wait, including those that wait for their connection's pool.
    /// So if all of them wait, one is refused.
    async fn hold(&mut self, bytes: usize, step: usize, patience: Duration) -> Result<(), NoRoom> {
        let held = self.of_all.bytes();
        if bytes <= held {
            return Ok(());
        }
        // A pool never has more than its own size.
        let most = self.of_connection.pool().bytes().min(self.of_all.pool().bytes());
        let more = (bytes + step).min(most).max(bytes) - held;
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

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::budget::Pool;
    use super::super::budget::standstill::{let_others_go_on, run};
    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    const KIB: usize = 1024;
    const MOST_BODY: usize = 300 * KIB;

    /// A request: its connection, its greatest length, and its chunks, each with how often others go on before it.
    fn request() -> impl Strategy<Value = (usize, usize, Vec<(usize, usize)>)> {
        let most = prop_oneof![1..MOST_SMALL, MOST_SMALL..MOST_BODY];
        (0..2usize, most, vec((1..100 * KIB, 0..5usize), 1..8))
    }

    fn of_connection(small: usize, large: usize) -> Budget {
        Budget {
            small: Pool::new(small),
            large: Pool::new(large),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]

        /// For all combinations of the sizes of the pools.
        #[test]
        fn requests_of_several_connections_never_all_wait(
            requests in vec(request(), 1..10),
            small in MOST_SMALL..3 * MOST_SMALL,
            large in MOST_BODY..3 * MOST_BODY,
            of_all in 1..3 * MOST_BODY,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let _entered = runtime.enter();
            let memory = Arc::new(Budget::new(of_all, MOST_BODY));
            let connections = [(); 2].map(|()| Arc::new(of_connection(small, large)));
            let requests: Vec<_> = requests
                .into_iter()
                .map(|(connection, most, chunks)| {
                    hold_request(Arc::clone(&memory), Arc::clone(&connections[connection]), most, chunks)
                })
                .collect();
            prop_assert_eq!(run(requests), 0, "so many wait for ever");
            prop_assert_eq!(memory.held(), 0);
        }
    }

    async fn hold_request(
        memory: Arc<Budget>,
        connection: Arc<Budget>,
        most: usize,
        chunks: Vec<(usize, usize)>,
    ) {
        let mut share = RequestShare::of_at_most(most);
        let mut bytes = 0;
        for (chunk, turns) in chunks {
            let_others_go_on(turns).await;
            bytes = (bytes + chunk).min(most);
            if share.hold(&memory, &connection, bytes, LONG).await.is_err() {
                return;
            }
        }
    }

    /// A waiting large request holds none of the memory for small ones.
    #[tokio::test]
    async fn large_requests_that_wait_leave_room_for_small_ones() {
        let memory = Budget::new(0, MOST_BODY);
        let connection = of_connection(MOST_SMALL, MOST_BODY);
        let all = memory.large.try_take(MOST_BODY).unwrap();
        let mut waiting = Vec::new();
        for _ in 0..10 {
            let mut share = RequestShare::of_at_most(MOST_BODY);
            // The time is over at once, and the request has its first bytes.
            let held = share.hold(&memory, &connection, 1, Duration::ZERO).await;
            assert_eq!(held, Err(NoRoom));
            waiting.push(share);
        }
        let mut small = RequestShare::of_at_most(MOST_SMALL);
        let held = small.hold(&memory, &connection, MOST_SMALL, Duration::ZERO).await;
        assert_eq!(held, Ok(()));
        drop((all, waiting));
    }

    /// Others have room, however much one connection's small requests want.
    #[tokio::test]
    async fn small_requests_of_one_connection_leave_room_for_those_of_others() {
        let memory = Budget::new(64 * MOST_SMALL, MOST_BODY);
        let connection = of_connection(2 * MOST_SMALL, MOST_BODY);
        let mut held = Vec::new();
        for expected in [Ok(()), Ok(()), Err(NoRoom)] {
            let mut share = RequestShare::of_at_most(MOST_SMALL);
            let taken = share.hold(&memory, &connection, MOST_SMALL, Duration::ZERO).await;
            assert_eq!(taken, expected);
            held.push(share);
        }
        assert_eq!(memory.held(), 2 * MOST_SMALL);
        let other = of_connection(2 * MOST_SMALL, MOST_BODY);
        let mut share = RequestShare::of_at_most(MOST_SMALL);
        let taken = share.hold(&memory, &other, MOST_SMALL, Duration::ZERO).await;
        assert_eq!(taken, Ok(()));
    }

    /// The last step is as long as the smaller of the pools allows.
    #[tokio::test]
    async fn a_request_can_have_all_of_the_smaller_pool() {
        for (large, of_all) in [(MOST_BODY, 9 * MOST_BODY), (9 * MOST_BODY, 0)] {
            let memory = Budget::new(of_all, MOST_BODY);
            let connection = of_connection(MOST_SMALL, large);
            let mut share = RequestShare::of_at_most(MOST_BODY);
            for bytes in [1, MOST_BODY - 1, MOST_BODY] {
                let held = share.hold(&memory, &connection, bytes, LONG).await;
                assert_eq!(held, Ok(()), "{bytes} bytes");
            }
        }
    }
}
