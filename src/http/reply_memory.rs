//! The memory for replies: taken before a reply is made, and returned as it goes into the socket.

use std::sync::Arc;
use std::time::Duration;

use super::budget::{MOST_SMALL, NoRoom, Pool, Share};
use super::connections::Connection;

/// The memory that all replies may hold, and how long a request waits for its share.
///
/// Reduced replies have their own part: clients leave them unread as they do large ones, and a small reply must not
/// wait for them.
#[derive(Debug)]
pub(crate) struct ReplyMemory {
    small: Arc<Pool>,
    reduced: Arc<Pool>,
    large: Arc<Pool>,
    patience: Duration,
}

/// What one reply holds.
#[derive(Debug)]
pub(crate) struct ReplyShare {
    of_all: Share,
    /// Of the connection's memory for small replies, or of that for all others.
    of_connection: Share,
}

/// Whether a large reply gets the full size that it asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Granted {
    Full,
    /// Many replies are unread, so this one gets less, from the part that is kept for that.
    Reduced,
}

impl ReplyMemory {
    /// No reply takes more than `largest` at a time. An eighth is for small replies, and an eighth for reduced ones.
    pub(super) fn new(bytes: usize, largest: usize, patience: Duration) -> ReplyMemory {
        let eighth = bytes / 8;
        ReplyMemory {
            small: Pool::new(eighth.max(MOST_SMALL)),
            reduced: Pool::new(eighth),
            large: Pool::new((bytes - 2 * eighth).max(largest)),
            patience,
        }
    }

    pub(crate) fn held(&self) -> usize {
        self.small.held() + self.reduced.held() + self.large.held()
    }

    pub(super) fn small_bytes(&self) -> usize {
        self.small.bytes()
    }

    /// A share for a reply with about so many bytes, which are few in any case.
    pub(crate) async fn reserve(&self, connection: &Connection, bytes: usize) -> Result<ReplyShare, NoRoom> {
        let bytes = bytes.min(MOST_SMALL);
        let of_connection = &connection.reply_memory().small;
        let of_connection = of_connection.take(bytes, self.patience).await?;
        Ok(ReplyShare {
            of_all: self.small.take(bytes, self.patience).await?,
            of_connection,
        })
    }

    /// A share for a reply of up to `full` bytes, or of `reduced` ones if those are available earlier.
    pub(crate) async fn reserve_large(
        &self,
        connection: &Connection,
        full: usize,
        reduced: usize,
    ) -> Result<(ReplyShare, Granted), NoRoom> {
        let of_connection = &connection.reply_memory().large;
        let of_connection = of_connection.take(full, self.patience).await?;
        let (of_all, granted) = tokio::select! {
            biased;
            share = self.large.take(full, self.patience) => (share?, Granted::Full),
            share = self.reduced.take(reduced, self.patience), if reduced <= self.reduced.bytes() => {
                (share?, Granted::Reduced)
            }
        };
        let mut share = ReplyShare {
            of_all,
            of_connection,
        };
        if granted == Granted::Reduced {
            share.shrink(reduced);
        }
        Ok((share, granted))
    }

    /// A share for a large reply that cannot be reduced. Waits for it.
    pub(crate) async fn reserve_whole(
        &self,
        connection: &Connection,
        bytes: usize,
    ) -> Result<ReplyShare, NoRoom> {
        let of_connection = &connection.reply_memory().large;
        let of_connection = of_connection.take(bytes, self.patience).await?;
        Ok(ReplyShare {
            of_all: self.large.take(bytes, self.patience).await?,
            of_connection,
        })
    }

    /// Makes the share fit a reply of so many bytes, and returns whether it does.
    pub(crate) fn fit(&self, share: &mut ReplyShare, connection: &Connection, bytes: usize) -> bool {
        let held = share.of_all.bytes();
        if bytes <= held {
            share.shrink(bytes);
            return true;
        }
        // The parts for small and reduced replies are not for a large one.
        let is_large = Arc::ptr_eq(share.of_all.pool(), &self.large);
        if (is_large || bytes <= MOST_SMALL) && share.try_grow(bytes - held) {
            return true;
        }
        let large_of_connection = &connection.reply_memory().large;
        let of_connection = match Arc::ptr_eq(share.of_connection.pool(), large_of_connection) {
            true => {
                let more = bytes.saturating_sub(share.of_connection.bytes());
                share.of_connection.try_grow(more).then_some(None)
            }
            false => large_of_connection.try_take(bytes).map(Some),
        };
        let (Some(of_connection), Some(of_all)) = (of_connection, self.large.try_take(bytes)) else {
            return false;
        };
        share.of_all = of_all;
        if let Some(of_connection) = of_connection {
            share.of_connection = of_connection;
        }
        true
    }
}

impl ReplyShare {
    fn shrink(&mut self, bytes: usize) {
        self.of_all.shrink(bytes);
        self.of_connection.shrink(bytes);
    }

    /// Grows both, or neither.
    fn try_grow(&mut self, more: usize) -> bool {
        let before = self.of_connection.bytes();
        let is_grown = self.of_connection.try_grow(more);
        if is_grown && !self.of_all.try_grow(more) {
            self.of_connection.shrink(before);
            return false;
        }
        is_grown
    }

    /// Splits off the part of so many bytes that are about to be sent. The last part stays with the share.
    pub(super) fn split(&mut self, bytes: usize) -> Option<ReplyShare> {
        let of_all = self.of_all.split(bytes)?;
        let of_connection = self.of_connection.split(bytes)?;
        Some(ReplyShare {
            of_all,
            of_connection,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::connections::{ConnectionMemory, Connections};
    use super::*;

    const KIB: usize = 1024;
    const PATIENCE: Duration = Duration::from_secs(60);
    const LARGEST: usize = 900 * KIB;
    const REDUCED: usize = 100 * KIB;

    fn connection() -> Arc<Connection> {
        let memory = ConnectionMemory {
            requests: KIB,
            small_requests: KIB,
            replies: 4 * LARGEST,
            small_replies: 2 * MOST_SMALL,
        };
        Connections::new(memory).add()
    }

    /// An eighth of a megabyte for small replies, as much for reduced ones, and room for one of the largest.
    fn memory() -> ReplyMemory {
        ReplyMemory::new(1024 * KIB, LARGEST, PATIENCE)
    }

    #[tokio::test]
    async fn a_reduced_reply_that_grows_waits_for_large_memory_and_leaves_the_rest_alone() {
        let (memory, connection) = (memory(), connection());
        let all = memory.reserve_large(&connection, LARGEST, REDUCED).await;
        let (all, granted) = all.unwrap();
        assert_eq!(granted, Granted::Full);
        let (mut share, granted) = memory.reserve_large(&connection, LARGEST, REDUCED).await.unwrap();
        assert_eq!((granted, memory.reduced.held()), (Granted::Reduced, REDUCED));
        for _ in 0..2 {
            assert!(!memory.fit(&mut share, &connection, REDUCED + KIB));
            assert_eq!((memory.small.held(), memory.reduced.held()), (0, REDUCED));
        }
        drop(all);
        assert!(memory.fit(&mut share, &connection, REDUCED + KIB));
        assert_eq!((memory.small.held(), memory.reduced.held()), (0, 0));
        assert_eq!(memory.large.held(), REDUCED + KIB);
        assert_eq!(share.of_connection.bytes(), REDUCED + KIB);
        // As large as requested at first.
        assert!(memory.fit(&mut share, &connection, LARGEST));
        assert!(memory.fit(&mut share, &connection, KIB));
        assert_eq!((memory.held(), connection.reply_memory().held()), (KIB, KIB));
    }

    #[tokio::test]
    async fn reduced_replies_leave_room_for_small_ones() {
        let (memory, connection) = (memory(), connection());
        let (_all, _) = memory.reserve_large(&connection, LARGEST, REDUCED).await.unwrap();
        let (reduced, granted) = memory.reserve_large(&connection, LARGEST, REDUCED).await.unwrap();
        assert_eq!(granted, Granted::Reduced);
        assert!(memory.reserve(&connection, MOST_SMALL).await.is_ok());
        // The next one waits for the part that becomes free first.
        let waiting = memory.reserve_large(&connection, LARGEST, REDUCED);
        let (next, _) = tokio::join!(waiting, async { drop(reduced) });
        assert_eq!(next.unwrap().1, Granted::Reduced);
    }

    /// Of a connection that leaves small replies unread.
    #[tokio::test]
    async fn small_replies_of_one_connection_leave_room_for_those_of_others() {
        let memory = ReplyMemory::new(8 * 16 * MOST_SMALL, LARGEST, Duration::ZERO);
        let connection = connection();
        let mut unread = Vec::new();
        for _ in 0..2 {
            unread.push(memory.reserve(&connection, MOST_SMALL).await.unwrap());
        }
        assert!(memory.reserve(&connection, KIB).await.is_err());
        assert_eq!(memory.small.held(), 2 * MOST_SMALL);
        assert!(memory.reserve(&self::connection(), MOST_SMALL).await.is_ok());
        // One that is sent leaves its room to the next.
        unread.pop();
        let mut share = memory.reserve(&connection, KIB).await.unwrap();
        assert!(memory.fit(&mut share, &connection, MOST_SMALL));
        // What has no more room among small ones counts as a large one.
        let connection = self::connection();
        let mut other = memory.reserve(&connection, KIB).await.unwrap();
        assert!(memory.fit(&mut other, &connection, MOST_SMALL + KIB));
        assert_eq!(
            (memory.small.held(), memory.large.held()),
            (2 * MOST_SMALL, MOST_SMALL + KIB)
        );
    }

    #[tokio::test]
    async fn where_no_reduced_reply_fits_the_large_memory_is_waited_for() {
        let memory = ReplyMemory::new(1, LARGEST, PATIENCE);
        let connection = connection();
        let (all, _) = memory.reserve_large(&connection, LARGEST, REDUCED).await.unwrap();
        let waiting = memory.reserve_large(&connection, LARGEST, REDUCED);
        let (next, _) = tokio::join!(waiting, async { drop(all) });
        assert_eq!(next.unwrap().1, Granted::Full);
    }
}
