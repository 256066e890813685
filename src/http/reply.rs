//! The bodies of replies. Most are complete when they are made; a large one is encoded while it is sent; one may
//! consist of messages that are still to come; and one may be what another server sends.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use thiserror::Error;
use tokio::sync::mpsc;

use super::connections::{InService, Stream};
use super::reply_memory::ReplyShare;
use super::unsent::Unsent;

/// A body that is encoded in pieces. Encoding cannot fail: the head of the reply is sent before the first piece.
pub(crate) trait Encode: Send {
    /// How many bytes all pieces have together.
    fn len(&self) -> usize;

    /// Appends the next part, so that `piece` has about `most` bytes, which are no less than [`MOST_INDIVISIBLE`].
    fn encode(&mut self, piece: &mut Vec<u8>, most: usize);
}

/// The most that an [`Encode`] may append in one step. It may stop in front of such a step if there is less room.
pub(crate) const MOST_INDIVISIBLE: usize = 2 << 10;

/// Small enough to stay in a processor's own cache until it is copied to the socket.
const PIECE_BYTES: usize = 64 << 10;

/// Another server has not sent all of a body. The client learns it because its connection ends, or in HTTP/2 its stream.
#[cfg_attr(not(feature = "nats"), allow(dead_code))]
#[derive(Debug, Clone, Copy, Error)]
#[error("the rest of the answer has not come")]
pub(crate) struct BrokenOff;

/// A body that another server sends.
#[cfg(feature = "nats")]
pub(crate) type PassedBody = Pin<Box<dyn Body<Data = Bytes, Error = BrokenOff> + Send>>;

/// The body of a reply. All but messages, and bodies of other servers, have a known length.
pub(crate) struct ReplyBody {
    content: Content,
    share: Option<ReplyShare>,
    unsent: Option<Unsent>,
    delivery: Option<Arc<Delivery>>,
}

enum Content {
    Whole(Bytes),
    Encoded(EncodedBody),
    Messages {
        to_come: mpsc::Receiver<Bytes>,
        /// The rest of the message that is being sent.
        current: Bytes,
        ended: bool,
    },
    #[cfg(feature = "nats")]
    Passed {
        from: PassedBody,
        /// The rest of the piece that is being sent.
        current: Bytes,
        ended: bool,
    },
}

/// A body that is never in memory as a whole. For a client that reads slowly some pieces of it are, and the records
/// that they are made from.
struct EncodedBody {
    from: Box<dyn Encode>,
    left: usize,
    buffers: Arc<Buffers>,
}

/// What a reply holds until its last byte is in the socket.
#[derive(Debug)]
pub(super) struct Delivery {
    in_service: InService,
    /// The stream, over HTTP/2.
    stream: Option<Arc<Stream>>,
    /// Whether the next message has not come yet: then missing progress is not the client's fault.
    waits_for_message: AtomicBool,
    /// Whether hyper has taken the whole body.
    is_taken: AtomicBool,
}

impl Delivery {
    pub(super) fn new(in_service: InService, stream: Option<Arc<Stream>>) -> Delivery {
        Delivery {
            in_service,
            stream,
            waits_for_message: AtomicBool::new(false),
            is_taken: AtomicBool::new(false),
        }
    }

    /// Ends a body that was dropped. A body that hyper has taken completely is dropped when it was written, as far as
    /// can be known; the exception is a client of HTTP/2 that resets its stream, which also drops queued bytes.
    fn end(&self, unsent: Unsent) {
        if self.is_taken.load(Ordering::Relaxed) {
            self.in_service.written().add(unsent);
        }
    }

    fn progress(&self) {
        if let Some(stream) = &self.stream {
            if self.waits_for_message.load(Ordering::Relaxed) {
                stream.pause();
            } else {
                stream.progress();
            }
        }
    }

    fn message(&self, has_come: bool) {
        self.waits_for_message.store(!has_come, Ordering::Relaxed);
        self.progress();
    }
}

impl ReplyBody {
    pub(crate) fn encoded(mut from: Box<dyn Encode>, buffers: &Arc<Buffers>) -> ReplyBody {
        let len = from.len();
        if len <= PIECE_BYTES {
            let mut whole = Vec::with_capacity(len);
            from.encode(&mut whole, usize::MAX);
            return whole.into();
        }
        ReplyBody::of(Content::Encoded(EncodedBody {
            from,
            left: len,
            buffers: Arc::clone(buffers),
        }))
    }

    /// Messages, until their sender is dropped.
    pub(crate) fn messages(to_come: mpsc::Receiver<Bytes>) -> ReplyBody {
        ReplyBody::of(Content::Messages {
            to_come,
            current: Bytes::new(),
            ended: false,
        })
    }

    /// What another server sends, as it comes.
    #[cfg(feature = "nats")]
    pub(crate) fn passed(from: PassedBody) -> ReplyBody {
        let ended = from.is_end_stream();
        ReplyBody::of(Content::Passed {
            from,
            current: Bytes::new(),
            ended,
        })
    }

    fn of(content: Content) -> ReplyBody {
        ReplyBody {
            content,
            share: None,
            unsent: None,
            delivery: None,
        }
    }

    /// The body, with the action to take if it does not reach its client. Only a body that is complete when it is made
    /// can tell.
    pub(crate) fn or_unsent(self, unsent: Unsent) -> ReplyBody {
        ReplyBody {
            unsent: Some(unsent),
            ..self
        }
    }

    /// The body counts as one that has reached its client.
    pub(super) fn note_sent(self) {
        if let Some(unsent) = self.unsent {
            unsent.note_sent();
        }
    }

    /// The body, which now holds its share of the memory for replies.
    pub(crate) fn holding(self, share: ReplyShare) -> ReplyBody {
        ReplyBody {
            share: Some(share),
            ..self
        }
    }

    /// The body, which keeps these values until its last byte is in the socket.
    pub(super) fn delivered_by(mut self, delivery: Delivery) -> ReplyBody {
        if self.is_end_stream() {
            return self;
        }
        delivery.progress();
        let delivery = Arc::new(delivery);
        if let Content::Whole(bytes) = &mut self.content {
            // The bytes that are queued behind this body are parts of these, and keep what they own.
            *bytes = Bytes::from_owner(Whole {
                bytes: std::mem::take(bytes),
                _share: self.share.take(),
                unsent: self.unsent.take(),
                delivery: Arc::clone(&delivery),
            });
        }
        self.delivery = Some(delivery);
        self
    }

    /// How many of the available bytes remain. Messages to come do not count, nor what another server has yet to send.
    pub(crate) fn len(&self) -> usize {
        match &self.content {
            Content::Whole(bytes) => bytes.len(),
            Content::Encoded(body) => body.left,
            Content::Messages { .. } => 0,
            #[cfg(feature = "nats")]
            Content::Passed { current, .. } => current.len(),
        }
    }
}

impl<T: Into<Bytes>> From<T> for ReplyBody {
    fn from(bytes: T) -> ReplyBody {
        ReplyBody::of(Content::Whole(bytes.into()))
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let this = self.get_mut();
        if this.is_end_stream() {
            return Poll::Ready(None);
        }
        let piece = match &mut this.content {
            // Sent in pieces, so that progress is visible.
            Content::Whole(bytes) => {
                let piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
                if let Some(delivery) = this.delivery.as_ref().filter(|_| bytes.is_empty()) {
                    delivery.is_taken.store(true, Ordering::Relaxed);
                }
                piece
            }
            Content::Encoded(body) => body.next_piece(this.share.as_mut(), this.delivery.as_ref()),
            Content::Messages {
                to_come,
                current,
                ended,
            } => {
                if current.is_empty() {
                    let message = to_come.poll_recv(context);
                    if let Some(delivery) = &this.delivery {
                        delivery.message(message.is_ready());
                    }
                    let Some(message) = ready!(message) else {
                        *ended = true;
                        return Poll::Ready(None);
                    };
                    *current = message;
                }
                // Sent in pieces, so that the progress of a large message is visible.
                Bytes::from_owner(Message {
                    bytes: current.split_to(current.len().min(PIECE_BYTES)),
                    delivery: this.delivery.clone(),
                })
            }
            #[cfg(feature = "nats")]
            Content::Passed { from, current, ended } => {
                while current.is_empty() {
                    let frame = from.as_mut().poll_frame(context);
                    if let Some(delivery) = &this.delivery {
                        delivery.message(frame.is_ready());
                    }
                    match ready!(frame) {
                        // Trailers are of a connection, and this is another one.
                        Some(Ok(frame)) => *current = frame.into_data().unwrap_or_default(),
                        Some(Err(broken_off)) => {
                            *ended = true;
                            return Poll::Ready(Some(Err(broken_off)));
                        }
                        None => {
                            *ended = true;
                            return Poll::Ready(None);
                        }
                    }
                }
                let piece = current.split_to(current.len().min(PIECE_BYTES));
                *ended = current.is_empty() && from.is_end_stream();
                Bytes::from_owner(Message {
                    bytes: piece,
                    delivery: this.delivery.clone(),
                })
            }
        };
        if let Some(delivery) = &this.delivery {
            delivery.progress();
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Messages { ended, .. } => *ended,
            #[cfg(feature = "nats")]
            Content::Passed { ended, .. } => *ended,
            Content::Whole(_) | Content::Encoded(_) => self.len() == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Messages { ended: false, .. } => SizeHint::default(),
            #[cfg(feature = "nats")]
            Content::Passed { from, current, .. } => match from.size_hint().exact() {
                Some(to_come) => SizeHint::with_exact(to_come + current.len() as u64),
                None => SizeHint::default(),
            },
            _ => SizeHint::with_exact(self.len() as u64),
        }
    }
}

impl EncodedBody {
    /// The share of the piece's source goes with the piece.
    fn next_piece(&mut self, share: Option<&mut ReplyShare>, delivery: Option<&Arc<Delivery>>) -> Bytes {
        let mut piece = self.buffers.take();
        self.from.encode(&mut piece.bytes, PIECE_BYTES);
        let encoded = piece.bytes.len();
        debug_assert!((1..=self.left).contains(&encoded), "the length was wrong");
        self.left = if encoded == 0 {
            0
        } else {
            self.left.saturating_sub(encoded)
        };
        piece.share = share.and_then(|share| share.split(encoded));
        piece.delivery = delivery.cloned();
        Bytes::from_owner(piece)
    }
}

/// The bytes of a reply that was complete when it was made.
struct Whole {
    bytes: Bytes,
    _share: Option<ReplyShare>,
    unsent: Option<Unsent>,
    delivery: Arc<Delivery>,
}

impl AsRef<[u8]> for Whole {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        self.delivery.progress();
        if let Some(unsent) = self.unsent.take() {
            self.delivery.end(unsent);
        }
    }
}

/// A piece of a message until it is in the socket.
struct Message {
    bytes: Bytes,
    delivery: Option<Arc<Delivery>>,
}

impl AsRef<[u8]> for Message {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        if let Some(delivery) = &self.delivery {
            delivery.progress();
        }
    }
}

impl fmt::Debug for ReplyBody {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ReplyBody({} bytes)", self.len())
    }
}

/// Buffers for pieces, which return when they have been sent. Fresh buffers from the allocator would often be fresh
/// from the system, with a page fault for each page.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    free: Mutex<Vec<Vec<u8>>>,
}

/// A buffer that returns when it is dropped, which is when its bytes are in the socket.
struct Piece {
    bytes: Vec<u8>,
    home: Arc<Buffers>,
    share: Option<ReplyShare>,
    delivery: Option<Arc<Delivery>>,
}

impl Buffers {
    /// Two megabytes.
    const MOST_KEPT: usize = (2 << 20) / PIECE_BYTES;

    fn take(self: &Arc<Buffers>) -> Piece {
        let used = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Piece {
            bytes: used.unwrap_or_else(|| Vec::with_capacity(PIECE_BYTES)),
            home: Arc::clone(self),
            share: None,
            delivery: None,
        }
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if let Some(delivery) = &self.delivery {
            delivery.progress();
        }
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        let mut free = self.home.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < Buffers::MOST_KEPT {
            free.push(bytes);
        }
    }
}
