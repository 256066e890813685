//! Bytes that requests and replies may hold at once: all of them together, and those of one connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Memory is handed out in these units, since a semaphore counts in 32 bits.
const UNIT: usize = 1024;

/// What needs no more than this takes it from a part of the budget that larger bodies cannot use up.
pub(crate) const MOST_SMALL: usize = 64 << 10;

/// All bytes that bodies of one direction may hold.
#[derive(Debug)]
pub(super) struct Budget {
    pub(super) small: Arc<Pool>,
    pub(super) large: Arc<Pool>,
}

/// Some bytes, of which bodies take shares.
#[derive(Debug)]
pub(super) struct Pool {
    permits: Arc<Semaphore>,
    units: usize,
    shares: AtomicUsize,
    /// How many of the shares wait to grow.
    waiting: AtomicUsize,
}

/// Bytes of a pool that are held. They go back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    pool: Arc<Pool>,
    permits: OwnedSemaphorePermit,
}

/// No bytes became free in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoRoom;

impl Budget {
    /// A quarter is for what is small, and at least `least_large` bytes are for the rest.
    pub(super) fn new(bytes: usize, least_large: usize) -> Budget {
        let small = (bytes / 4).max(MOST_SMALL);
        Budget {
            small: Pool::new(small),
            large: Pool::new(bytes.saturating_sub(small).max(least_large)),
        }
    }

    pub(super) fn held(&self) -> usize {
        self.small.held() + self.large.held()
    }
}

impl Pool {
    pub(super) fn new(bytes: usize) -> Arc<Pool> {
        let units = bytes.div_ceil(UNIT).clamp(1, u32::MAX as usize);
        Arc::new(Pool {
            permits: Arc::new(Semaphore::new(units)),
            units,
            shares: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
        })
    }

    pub(super) fn bytes(&self) -> usize {
        self.units * UNIT
    }

    fn held(&self) -> usize {
        (self.units - self.permits.available_permits()) * UNIT
    }

    pub(super) fn try_take(self: &Arc<Self>, bytes: usize) -> Option<Share> {
        let permits = Arc::clone(&self.permits).try_acquire_many_owned(units(bytes));
        Some(self.share(permits.ok()?))
    }

    /// Waits for room, but not longer than `patience`.
    pub(super) async fn take(self: &Arc<Self>, bytes: usize, patience: Duration) -> Result<Share, NoRoom> {
        Ok(self.share(self.acquire(bytes, patience).await?))
    }

    async fn acquire(&self, bytes: usize, patience: Duration) -> Result<OwnedSemaphorePermit, NoRoom> {
        let permits = Arc::clone(&self.permits).acquire_many_owned(units(bytes));
        match timeout(patience, permits).await {
            Ok(Ok(permits)) => Ok(permits),
            _ => Err(NoRoom),
        }
    }

    fn share(self: &Arc<Self>, permits: OwnedSemaphorePermit) -> Share {
        self.shares.fetch_add(1, Ordering::Relaxed);
        Share {
            pool: Arc::clone(self),
            permits,
        }
    }

    /// Holders that wait keep what they have: if all of them waited, none would ever go on. The last one must not.
    pub(super) fn begin_to_wait(self: &Arc<Self>) -> Result<Waiting, NoRoom> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Waiting(Arc::clone(self));
        if before + 1 < self.shares.load(Ordering::Relaxed) {
            Ok(waiting)
        } else {
            Err(NoRoom)
        }
    }
}

/// A holder of a share waits for more.
#[derive(Debug)]
pub(super) struct Waiting(Arc<Pool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Share {
    pub(super) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    pub(super) fn bytes(&self) -> usize {
        self.permits.num_permits() * UNIT
    }

    /// Whether the share now has `bytes` more.
    pub(super) fn try_grow(&mut self, bytes: usize) -> bool {
        let more = Arc::clone(&self.pool.permits).try_acquire_many_owned(units(bytes));
        more.map(|more| self.permits.merge(more)).is_ok()
    }

    /// Waits until there are `bytes` more, unless all other holders wait too.
    pub(super) async fn grow(&mut self, bytes: usize, patience: Duration) -> Result<(), NoRoom> {
        if self.try_grow(bytes) {
            return Ok(());
        }
        let _waiting = self.pool.begin_to_wait()?;
        let more = self.pool.acquire(bytes, patience).await?;
        self.permits.merge(more);
        Ok(())
    }

    /// Gives back what is more than `bytes`.
    pub(super) fn shrink(&mut self, bytes: usize) {
        let surplus = self.permits.num_permits().saturating_sub(units(bytes) as usize);
        drop(self.permits.split(surplus));
    }

    /// A part of this share, no larger than `bytes`.
    pub(super) fn split(&mut self, bytes: usize) -> Option<Share> {
        let part = self.permits.split(bytes / UNIT)?;
        Some(self.pool.share(part))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.pool.shares.fetch_sub(1, Ordering::Relaxed);
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_share_goes_back_in_parts() {
        let pool = Pool::new(100 * UNIT);
        let mut share = pool.try_take(100 * UNIT).unwrap();
        assert_eq!(pool.try_take(1).map(|share| share.bytes()), None);
        let part = share.split(30 * UNIT + 1).unwrap();
        assert_eq!(part.bytes(), 30 * UNIT);
        drop(part);
        share.shrink(10 * UNIT);
        assert_eq!((share.bytes(), pool.held()), (10 * UNIT, 10 * UNIT));
        assert!(share.try_grow(90 * UNIT) && !share.try_grow(1));
        drop(share);
        assert_eq!(pool.held(), 0);
    }

    #[tokio::test]
    async fn the_last_holder_that_would_wait_is_refused_and_the_others_go_on() {
        let pool = Pool::new(2 * UNIT);
        let mut first = pool.try_take(UNIT).unwrap();
        let mut last = pool.try_take(UNIT).unwrap();
        let first = tokio::spawn(async move { first.grow(UNIT, LONG).await });
        while pool.waiting.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(last.grow(UNIT, LONG).await, Err(NoRoom));
        drop(last);
        assert_eq!(first.await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn large_bodies_leave_room_for_small_ones() {
        let budget = Budget::new(8 << 20, 1 << 20);
        let large = budget.large.try_take(budget.large.bytes()).unwrap();
        assert_eq!(budget.large.take(1, Duration::ZERO).await.err(), Some(NoRoom));
        assert!(budget.small.try_take(MOST_SMALL).is_some());
        assert_eq!(budget.held(), large.bytes());
    }
}
