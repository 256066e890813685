//! The memory for replies: taken before a reply is made, given back as it goes into the socket.

use std::time::Duration;

use super::budget::{Budget, MOST_SMALL, NoRoom, Share};
use super::connections::Connection;

/// What replies may hold together, and how long a request waits for its part of that.
#[derive(Debug)]
pub(super) struct ReplyMemory {
    budget: Budget,
    patience: Duration,
}

/// What one reply holds.
#[derive(Debug)]
pub(super) struct ReplyShare {
    of_all: Share,
    /// Only large replies count for their connection.
    of_connection: Option<Share>,
}

/// How much a GetRecords may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadSize {
    Full,
    /// There are many replies that are not read, so less is read, from what is kept for small replies.
    Reduced,
}

impl ReadSize {
    /// The most bytes of data and partition keys.
    pub(super) fn bytes(self) -> usize {
        match self {
            ReadSize::Full => 10 << 20,
            ReadSize::Reduced => 256 << 10,
        }
    }

    /// What a reply takes with so many bytes in it, most of them in base64.
    fn reply_bytes(self) -> usize {
        self.bytes() / 2 * 3
    }
}

impl ReplyMemory {
    /// No reply that is made for the largest read is larger than this.
    pub(super) const LARGEST: usize = 15 << 20;

    pub(super) fn new(bytes: usize, patience: Duration) -> ReplyMemory {
        ReplyMemory {
            budget: Budget::new(bytes, ReplyMemory::LARGEST),
            patience,
        }
    }

    pub(super) fn held(&self) -> usize {
        self.budget.held()
    }

    /// The share of a reply that is expected to have about so many bytes, few in any case.
    pub(super) async fn reserve(&self, bytes: usize) -> Result<ReplyShare, NoRoom> {
        let of_all = self
            .budget
            .small
            .take(bytes.min(MOST_SMALL), self.patience)
            .await?;
        Ok(ReplyShare {
            of_all,
            of_connection: None,
        })
    }

    /// The share of a GetRecords, and how much it may read.
    pub(super) async fn reserve_read(
        &self,
        connection: &Connection,
    ) -> Result<(ReplyShare, ReadSize), NoRoom> {
        let (full, reduced) = (ReadSize::Full.reply_bytes(), ReadSize::Reduced.reply_bytes());
        let of_connection = connection.reply_memory().take(full, self.patience).await?;
        let (of_all, size) = if let Some(share) = self.budget.large.try_take(full) {
            (share, ReadSize::Full)
        } else if let Some(share) = self.budget.small.try_take(reduced) {
            (share, ReadSize::Reduced)
        } else {
            (self.budget.large.take(full, self.patience).await?, ReadSize::Full)
        };
        let mut share = ReplyShare {
            of_all,
            of_connection: Some(of_connection),
        };
        if size == ReadSize::Reduced {
            share.shrink(reduced);
        }
        Ok((share, size))
    }

    /// Makes the share fit a reply of so many bytes, and says whether it does.
    pub(super) fn fit(&self, share: &mut ReplyShare, connection: &Connection, bytes: usize) -> bool {
        let held = share.of_all.bytes();
        if bytes <= held {
            share.shrink(bytes);
            return true;
        }
        let for_connection = match &mut share.of_connection {
            Some(of_connection) => of_connection.try_grow(bytes - held),
            None => {
                share.of_connection = connection.reply_memory().try_take(bytes);
                share.of_connection.is_some()
            }
        };
        if !for_connection {
            return false;
        }
        if share.of_all.try_grow(bytes - held) {
            return true;
        }
        let Some(large) = self.budget.large.try_take(bytes) else {
            return false;
        };
        share.of_all = large;
        true
    }
}

impl ReplyShare {
    fn shrink(&mut self, bytes: usize) {
        self.of_all.shrink(bytes);
        if let Some(of_connection) = &mut self.of_connection {
            of_connection.shrink(bytes);
        }
    }

    /// The part of so many bytes that are about to be sent. The last one stays with the rest.
    pub(super) fn split(&mut self, bytes: usize) -> Option<ReplyShare> {
        let of_all = self.of_all.split(bytes)?;
        Some(ReplyShare {
            of_all,
            of_connection: self.of_connection.as_mut().and_then(|share| share.split(bytes)),
        })
    }
}
