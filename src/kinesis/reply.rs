//! The bodies of replies: most are there as a whole; a large one is encoded while it is sent.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// A body that is encoded in pieces. Nothing can fail any more when it is made: the head of the reply goes out before
/// the first piece.
pub(super) trait Encode: Send {
    /// How many bytes all pieces have together.
    fn len(&self) -> usize;

    /// Adds what comes next: so much that `piece` has about `most` bytes, which are no less than
    /// [`MOST_INDIVISIBLE`].
    fn encode(&mut self, piece: &mut Vec<u8>, most: usize);
}

/// What an [`Encode`] may add in one go, and stop in front of if there is less room.
pub(super) const MOST_INDIVISIBLE: usize = 2 << 10;

/// Small enough to stay in a processor's own cache until it has been copied to the socket.
const PIECE_BYTES: usize = 64 << 10;

/// The body of a reply, with a length that is known from the beginning.
pub(super) enum ReplyBody {
    Whole(Bytes),
    Encoded(EncodedBody),
}

/// A body that never is in memory as a whole: a client that reads slowly keeps some pieces of it there, and what they
/// are made of.
pub(super) struct EncodedBody {
    from: Box<dyn Encode>,
    left: usize,
    buffers: Arc<Buffers>,
}

impl ReplyBody {
    pub(super) fn encoded(mut from: impl Encode + 'static, buffers: &Arc<Buffers>) -> ReplyBody {
        let len = from.len();
        if len <= PIECE_BYTES {
            let mut whole = Vec::with_capacity(len);
            from.encode(&mut whole, usize::MAX);
            return whole.into();
        }
        ReplyBody::Encoded(EncodedBody {
            from: Box::new(from),
            left: len,
            buffers: Arc::clone(buffers),
        })
    }

    fn len(&self) -> usize {
        match self {
            ReplyBody::Whole(bytes) => bytes.len(),
            ReplyBody::Encoded(body) => body.left,
        }
    }
}

impl<T: Into<Bytes>> From<T> for ReplyBody {
    fn from(bytes: T) -> ReplyBody {
        ReplyBody::Whole(bytes.into())
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        if this.is_end_stream() {
            return Poll::Ready(None);
        }
        let piece = match this {
            ReplyBody::Whole(bytes) => std::mem::take(bytes),
            ReplyBody::Encoded(body) => body.next_piece(),
        };
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.len() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len() as u64)
    }
}

impl EncodedBody {
    fn next_piece(&mut self) -> Bytes {
        let mut piece = self.buffers.take();
        self.from.encode(&mut piece.bytes, PIECE_BYTES);
        let encoded = piece.bytes.len();
        debug_assert!((1..=self.left).contains(&encoded), "the length was wrong");
        self.left = if encoded == 0 {
            0
        } else {
            self.left.saturating_sub(encoded)
        };
        Bytes::from_owner(piece)
    }
}

impl fmt::Debug for ReplyBody {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ReplyBody({} bytes)", self.len())
    }
}

/// Buffers for pieces, which come back when they have been sent. Fresh ones from the allocator would often be fresh
/// from the system, page by page.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    free: Mutex<Vec<Vec<u8>>>,
}

/// A buffer that goes back when it is dropped.
struct Piece {
    bytes: Vec<u8>,
    home: Arc<Buffers>,
}

impl Buffers {
    /// Two megabytes.
    const MOST_KEPT: usize = (2 << 20) / PIECE_BYTES;

    fn take(self: &Arc<Buffers>) -> Piece {
        let used = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Piece {
            bytes: used.unwrap_or_else(|| Vec::with_capacity(PIECE_BYTES)),
            home: Arc::clone(self),
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
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        let mut free = self.home.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < Buffers::MOST_KEPT {
            free.push(bytes);
        }
    }
}
