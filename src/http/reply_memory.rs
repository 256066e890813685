//! The memory for replies: taken before a reply is made, given back as it goes into the socket.

use std::sync::Arc;
use std::time::Duration;

use super::budget::{Budget, MOST_SMALL, NoRoom, Share};
use super::connections::Connection;

/// What replies may hold together, and how long a request waits for its part of that.
#[derive(Debug)]
pub(crate) struct ReplyMemory {
    budget: Budget,
    patience: Duration,
}

/// What one reply holds.
#[derive(Debug)]
pub(crate) struct ReplyShare {
    of_all: Share,
    /// Only large replies count for their connection.
    of_connection: Option<Share>,
}

/// How much of what was asked for a large reply gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Granted {
    Full,
    /// There are many replies that are not read, so this one gets less, from what is kept for small replies.
    Reduced,
}

impl ReplyMemory {
    /// No reply takes more than `largest` in one go.
    pub(super) fn new(bytes: usize, largest: usize, patience: Duration) -> ReplyMemory {
        ReplyMemory {
            budget: Budget::new(bytes, largest),
            patience,
        }
    }

    pub(crate) fn held(&self) -> usize {
        self.budget.held()
    }

    /// The share of a reply that is expected to have about so many bytes, few in any case.
    pub(crate) async fn reserve(&self, bytes: usize) -> Result<ReplyShare, NoRoom> {
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

    /// The share of a reply that may have `full` bytes, or `reduced` ones where there is no room for that.
    pub(crate) async fn reserve_large(
        &self,
        connection: &Connection,
        full: usize,
        reduced: usize,
    ) -> Result<(ReplyShare, Granted), NoRoom> {
        let of_connection = connection.reply_memory().take(full, self.patience).await?;
        let (of_all, granted) = if let Some(share) = self.budget.large.try_take(full) {
            (share, Granted::Full)
        } else if let Some(share) = self.budget.small.try_take(reduced) {
            (share, Granted::Reduced)
        } else {
            (self.budget.large.take(full, self.patience).await?, Granted::Full)
        };
        let mut share = ReplyShare {
            of_all,
            of_connection: Some(of_connection),
        };
        if granted == Granted::Reduced {
            share.shrink(reduced);
        }
        Ok((share, granted))
    }

    /// The share of a large reply that cannot be reduced. Waits for room.
    pub(crate) async fn reserve_whole(
        &self,
        connection: &Connection,
        bytes: usize,
    ) -> Result<ReplyShare, NoRoom> {
        let of_connection = connection.reply_memory().take(bytes, self.patience).await?;
        Ok(ReplyShare {
            of_all: self.budget.large.take(bytes, self.patience).await?,
            of_connection: Some(of_connection),
        })
    }

    /// Makes the share fit a reply of so many bytes, and says whether it does.
    pub(crate) fn fit(&self, share: &mut ReplyShare, connection: &Connection, bytes: usize) -> bool {
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
        // What is kept for small replies is not for a large one that was to be reduced.
        let is_large = Arc::ptr_eq(share.of_all.pool(), &self.budget.large);
        if (is_large || bytes <= MOST_SMALL) && share.of_all.try_grow(bytes - held) {
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
