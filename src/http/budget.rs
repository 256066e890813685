//! The bytes that requests and replies may hold at once, over all connections and for one.

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::timeout;

/// Memory is handed out in these units.
const UNIT: usize = 1024;

/// A body that needs no more than this takes it from a part of the budget that larger ones cannot use up.
pub(crate) const MOST_SMALL: usize = 64 << 10;

/// The bytes that bodies of one direction may hold: all of them, or those of one connection.
#[derive(Debug)]
pub(super) struct Budget {
    pub(super) small: Arc<Pool>,
    pub(super) large: Arc<Pool>,
}

/// A number of bytes, of which bodies take shares.
///
/// The holder of a share may wait for more, and keeps its share meanwhile. So there are two rules against waiting for
/// ever: holders get free bytes before those who have none yet; and if all holders wait and another body wants bytes,
/// the one that began to wait last is refused.
#[derive(Debug)]
pub(super) struct Pool {
    units: usize,
    state: Mutex<PoolState>,
}

#[derive(Debug)]
struct PoolState {
    free: usize,
    holders: usize,
    waits: HashMap<u64, Waiter>,
    pending: Pending,
    next_wait: u64,
}

/// The waits without an outcome yet.
#[derive(Debug, Default)]
struct Pending {
    entering: Queue,
    growing: Queue,
    /// Those that grow a share, and those that wait elsewhere.
    of_holders: Queue,
}

/// Waits in the order in which they began. Only both ends can be read: thousands may wait, and a change of the pool
/// must not iterate over them.
#[derive(Debug, Default)]
struct Queue {
    ids: BTreeSet<u64>,
    #[cfg(test)]
    steps: std::cell::Cell<usize>,
}

#[derive(Debug)]
struct Waiter {
    want: Want,
    outcome: Option<Result<(), NoRoom>>,
    waker: Option<Waker>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Want {
    /// For a new share of so many units.
    Share(usize),
    /// For so many more units than the share has.
    More(usize),
    /// For nothing in this pool: the holder of a share waits for another pool.
    Elsewhere,
}

/// Bytes of a pool that are held. They return to it when this is dropped.
#[derive(Debug)]
pub(super) struct Share {
    pool: Arc<Pool>,
    units: usize,
}

/// No bytes became free in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoRoom;

impl Budget {
    /// A quarter is for small bodies, and at least `least_large` bytes are for the others.
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
        let units = bytes.div_ceil(UNIT).max(1);
        Arc::new(Pool {
            units,
            state: Mutex::new(PoolState {
                free: units,
                holders: 0,
                waits: HashMap::new(),
                pending: Pending::default(),
                next_wait: 0,
            }),
        })
    }

    pub(super) fn bytes(&self) -> usize {
        self.units * UNIT
    }

    pub(super) fn held(&self) -> usize {
        (self.units - self.state().free) * UNIT
    }

    pub(super) fn try_take(self: &Arc<Self>, bytes: usize) -> Option<Share> {
        let units = bytes.div_ceil(UNIT);
        let taken = self.state().try_take(units);
        taken.then(|| self.share(units))
    }

    /// Waits for bytes, but not longer than `patience`.
    pub(super) async fn take(self: &Arc<Self>, bytes: usize, patience: Duration) -> Result<Share, NoRoom> {
        let units = bytes.div_ceil(UNIT);
        if units > self.units {
            return Err(NoRoom);
        }
        self.wait_for(Want::Share(units), patience).await?;
        Ok(self.share(units))
    }

    /// A share of units that the state has already counted as taken.
    fn share(self: &Arc<Self>, units: usize) -> Share {
        Share {
            pool: Arc::clone(self),
            units,
        }
    }

    async fn wait_for(self: &Arc<Self>, want: Want, patience: Duration) -> Result<(), NoRoom> {
        timeout(patience, Wait::begin(self, want))
            .await
            .unwrap_or(Err(NoRoom))
    }

    fn give_back(&self, units: usize, holders: usize) {
        self.change(|state| {
            state.free += units;
            state.holders -= holders;
        });
    }

    /// Changes the state, and wakes the waits that have an outcome after that.
    fn change<R>(&self, change: impl FnOnce(&mut PoolState) -> R) -> R {
        let mut state = self.state();
        let result = change(&mut state);
        let woken = state.settle();
        drop(state);
        woken.into_iter().for_each(Waker::wake);
        result
    }

    fn state(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PoolState {
    /// Takes units for a new share, if there are so many and no earlier wait needs them.
    fn try_take(&mut self, units: usize) -> bool {
        let can = units <= self.free && self.pending.first_to_take().is_none();
        if can {
            self.free -= units;
            self.holders += 1;
        }
        can
    }

    /// Ends the waits that can end, and returns the tasks to wake.
    fn settle(&mut self) -> Vec<Waker> {
        let mut woken = Vec::new();
        while let Some((id, outcome)) = self.next_outcome() {
            let Some(waiter) = self.waits.get_mut(&id) else {
                break;
            };
            self.pending.remove(id, waiter.want);
            if outcome.is_ok() {
                match waiter.want {
                    Want::Share(units) => {
                        self.free -= units;
                        self.holders += 1;
                    }
                    Want::More(units) => self.free -= units,
                    Want::Elsewhere => {}
                }
            }
            waiter.outcome = Some(outcome);
            woken.extend(waiter.waker.take());
        }
        woken
    }

    /// The wait that ends next, and its outcome. Each that ends makes one fewer pending.
    fn next_outcome(&self) -> Option<(u64, Result<(), NoRoom>)> {
        // If no body wants bytes of this pool, waits for other pools may go on.
        let first = self.pending.first_to_take()?;
        if let Want::Share(units) | Want::More(units) = self.waits.get(&first)?.want
            && units <= self.free
        {
            return Some((first, Ok(())));
        }
        // A refused holder no longer waits and soon drops its share, so one refusal is enough.
        let all_wait = self.holders > 0 && self.pending.of_holders.len() == self.holders;
        let last = all_wait.then(|| self.pending.of_holders.last()).flatten();
        last.map(|id| (id, Err(NoRoom)))
    }
}

impl Pending {
    /// The wait that is next to take units of this pool.
    fn first_to_take(&self) -> Option<u64> {
        self.growing.first().or_else(|| self.entering.first())
    }

    fn add(&mut self, id: u64, want: Want) {
        self.queues_of(want).for_each(|queue| queue.add(id));
    }

    fn remove(&mut self, id: u64, want: Want) {
        self.queues_of(want).for_each(|queue| queue.remove(id));
    }

    fn queues_of(&mut self, want: Want) -> impl Iterator<Item = &mut Queue> {
        let (kind, of_holders) = match want {
            Want::Share(_) => (Some(&mut self.entering), None),
            Want::More(_) => (Some(&mut self.growing), Some(&mut self.of_holders)),
            Want::Elsewhere => (None, Some(&mut self.of_holders)),
        };
        kind.into_iter().chain(of_holders)
    }
}

impl Queue {
    fn add(&mut self, id: u64) {
        self.note_step();
        self.ids.insert(id);
    }

    fn remove(&mut self, id: u64) {
        self.note_step();
        self.ids.remove(&id);
    }

    fn first(&self) -> Option<u64> {
        self.note_step();
        self.ids.first().copied()
    }

    fn last(&self) -> Option<u64> {
        self.note_step();
        self.ids.last().copied()
    }

    fn len(&self) -> usize {
        self.note_step();
        self.ids.len()
    }

    fn note_step(&self) {
        #[cfg(test)]
        self.steps.set(self.steps.get() + 1);
    }
}

/// A place in the queue of waits, until it is dropped.
#[derive(Debug)]
pub(super) struct Wait {
    pool: Arc<Pool>,
    id: u64,
}

impl Wait {
    fn begin(pool: &Arc<Pool>, want: Want) -> Wait {
        let id = pool.change(|state| {
            let id = state.next_wait;
            state.next_wait += 1;
            let waiter = Waiter {
                want,
                outcome: None,
                waker: None,
            };
            state.waits.insert(id, waiter);
            state.pending.add(id, want);
            id
        });
        Wait {
            pool: Arc::clone(pool),
            id,
        }
    }
}

impl Future for Wait {
    type Output = Result<(), NoRoom>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.pool.state();
        let Some(waiter) = state.waits.get_mut(&self.id) else {
            return Poll::Ready(Err(NoRoom));
        };
        if waiter.outcome.is_none() {
            waiter.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        // The granted bytes belong to the caller from here on, so dropping the wait does not return them.
        let waiter = state.waits.remove(&self.id);
        Poll::Ready(waiter.and_then(|waiter| waiter.outcome).unwrap_or(Err(NoRoom)))
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.pool.change(|state| {
            let Some(waiter) = state.waits.remove(&self.id) else {
                return;
            };
            match (waiter.outcome, waiter.want) {
                (None, want) => state.pending.remove(self.id, want),
                (Some(Ok(())), Want::Share(units)) => {
                    state.free += units;
                    state.holders -= 1;
                }
                (Some(Ok(())), Want::More(units)) => state.free += units,
                (Some(Ok(())), Want::Elsewhere) | (Some(Err(NoRoom)), _) => {}
            }
        });
    }
}

impl Share {
    pub(super) fn bytes(&self) -> usize {
        self.units * UNIT
    }

    pub(super) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Grows the share by `bytes`, if they are free.
    pub(super) fn try_grow(&mut self, bytes: usize) -> bool {
        let units = bytes.div_ceil(UNIT);
        let mut state = self.pool.state();
        let can = units <= state.free;
        if can {
            state.free -= units;
            self.units += units;
        }
        can
    }

    /// Waits for `bytes` more, unless all other holders wait too.
    pub(super) async fn grow(&mut self, bytes: usize, patience: Duration) -> Result<(), NoRoom> {
        let units = bytes.div_ceil(UNIT);
        self.pool.wait_for(Want::More(units), patience).await?;
        self.units += units;
        Ok(())
    }

    /// For a holder that waits for another pool. It ends only by a refusal: if all other holders of this pool wait too,
    /// and another body wants bytes.
    pub(super) fn wait_elsewhere(&self) -> Wait {
        Wait::begin(&self.pool, Want::Elsewhere)
    }

    /// Returns the bytes above `bytes`.
    pub(super) fn shrink(&mut self, bytes: usize) {
        let surplus = self.units.saturating_sub(bytes.div_ceil(UNIT));
        self.units -= surplus;
        self.pool.give_back(surplus, 0);
    }

    /// A part of this share, no larger than `bytes`.
    pub(super) fn split(&mut self, bytes: usize) -> Option<Share> {
        let units = bytes / UNIT;
        self.units = self.units.checked_sub(units)?;
        self.pool.state().holders += 1;
        Some(self.pool.share(units))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.pool.give_back(self.units, 1);
    }
}

/// Runs tasks until none of them can go on, and so detects a standstill.
#[cfg(test)]
pub(super) mod standstill {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Wake;

    use super::*;

    pub(in crate::http) async fn let_others_go_on(turns: usize) {
        for _ in 0..turns {
            let mut is_second = false;
            std::future::poll_fn(|context| {
                context.waker().wake_by_ref();
                if std::mem::replace(&mut is_second, true) {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
        }
    }

    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Polls each woken future in turn until none is woken, and gives how many have not ended by then.
    pub(in crate::http) fn run(futures: Vec<impl Future<Output = ()>>) -> usize {
        let mut tasks: Vec<_> = futures
            .into_iter()
            .map(|future| (Box::pin(future), Arc::new(Woken(AtomicBool::new(true)))))
            .collect();
        let mut any_ran = true;
        while any_ran {
            any_ran = false;
            tasks.retain_mut(|(future, woken)| {
                if !woken.0.swap(false, Ordering::Relaxed) {
                    return true;
                }
                any_ran = true;
                let waker = Waker::from(Arc::clone(woken));
                future
                    .as_mut()
                    .poll(&mut Context::from_waker(&waker))
                    .is_pending()
            });
        }
        tasks.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::standstill::{let_others_go_on, run};
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
        assert!(share.split(101 * UNIT).is_none());
        drop(share);
        assert_eq!(pool.held(), 0);
        assert_eq!(pool.take(101 * UNIT, LONG).await.err(), Some(NoRoom));
    }

    #[tokio::test]
    async fn the_last_holder_that_would_wait_is_refused_and_the_others_go_on() {
        let pool = Pool::new(2 * UNIT);
        let mut first = pool.try_take(UNIT).unwrap();
        let mut last = pool.try_take(UNIT).unwrap();
        let first = tokio::spawn(async move { first.grow(UNIT, LONG).await });
        while pool.state().pending.first_to_take().is_none() {
            tokio::task::yield_now().await;
        }
        assert_eq!(last.grow(UNIT, LONG).await, Err(NoRoom));
        drop(last);
        assert_eq!(first.await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn a_holder_that_waits_elsewhere_is_refused_if_all_others_wait() {
        let pool = Pool::new(2 * UNIT);
        let mut first = pool.try_take(UNIT).unwrap();
        let second = pool.try_take(UNIT).unwrap();
        let first = tokio::spawn(async move { first.grow(UNIT, LONG).await });
        while pool.state().pending.first_to_take().is_none() {
            tokio::task::yield_now().await;
        }
        let refused = timeout(LONG, second.wait_elsewhere()).await;
        assert_eq!(refused, Ok(Err(NoRoom)));
        drop(second);
        assert_eq!(first.await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn a_holder_that_waits_elsewhere_is_left_alone_while_no_one_wants_what_it_holds() {
        let pool = Pool::new(2 * UNIT);
        let holder = pool.try_take(2 * UNIT).unwrap();
        let elsewhere = holder.wait_elsewhere();
        assert_eq!(pool.state().waits[&elsewhere.id].outcome, None);
        let entering = Wait::begin(&pool, Want::Share(1));
        assert_eq!(elsewhere.await, Err(NoRoom));
        drop(holder);
        assert_eq!(entering.await, Ok(()));
    }

    impl PoolState {
        fn steps(&self) -> usize {
            let Pending {
                entering,
                growing,
                of_holders,
            } = &self.pending;
            [entering, growing, of_holders]
                .map(|queue| queue.steps.get())
                .iter()
                .sum()
        }
    }

    /// As many wait as there can be subscriptions, while one holder of many takes and returns bytes all the time.
    #[tokio::test]
    async fn what_a_change_costs_does_not_depend_on_how_many_wait() {
        const WAITING: usize = 10_000;
        const MOST_STEPS: usize = 12;
        let pool = Pool::new((2 * WAITING + 1) * UNIT);
        let shares: Vec<_> = (0..WAITING).map(|_| pool.try_take(UNIT).unwrap()).collect();
        let mut busy = pool.try_take((WAITING + 1) * UNIT).unwrap();
        let mut changes = 0;
        let mut check = |changed: usize| {
            changes += changed;
            let steps = pool.state().steps();
            assert!(
                steps <= MOST_STEPS * changes,
                "{steps} steps in {changes} changes"
            );
        };
        check(2 * WAITING);
        let (here, elsewhere) = shares.split_at(WAITING / 2);
        let more = |share: &Share| Wait::begin(&share.pool, Want::More(2 * WAITING));
        let growing: Vec<_> = here.iter().map(more).collect();
        let elsewhere: Vec<_> = elsewhere.iter().map(Share::wait_elsewhere).collect();
        let entering: Vec<_> = (0..WAITING).map(|_| Wait::begin(&pool, Want::Share(1))).collect();
        check(2 * WAITING);
        for left in (0..WAITING).rev() {
            busy.shrink(left * UNIT);
        }
        check(WAITING);
        drop((elsewhere, growing));
        check(2 * WAITING);
        drop((busy, entering, shares));
        check(2 * WAITING);
        assert_eq!((pool.held(), pool.state().holders), (0, 0));
    }

    #[tokio::test]
    async fn a_wait_that_is_given_up_gives_back_what_it_was_granted() {
        let pool = Pool::new(2 * UNIT);
        let share = pool.try_take(2 * UNIT).unwrap();
        let given_up = Wait::begin(&pool, Want::Share(2));
        drop(share);
        assert_eq!(pool.held(), 2 * UNIT);
        drop(given_up);
        assert_eq!((pool.held(), pool.state().holders), (0, 0));
    }

    #[tokio::test]
    async fn large_bodies_leave_room_for_small_ones() {
        let budget = Budget::new(8 << 20, 1 << 20);
        let large = budget.large.try_take(budget.large.bytes()).unwrap();
        assert_eq!(budget.large.take(1, Duration::ZERO).await.err(), Some(NoRoom));
        assert!(budget.small.try_take(MOST_SMALL).is_some());
        assert_eq!(budget.held(), large.bytes());
    }

    const POOL_UNITS: usize = 10;

    /// A body: how often others go on before it takes its first units, then how many units it takes each time, and how
    /// often others go on before it takes the next.
    fn body() -> impl Strategy<Value = (usize, Vec<(usize, usize)>)> {
        (0..5usize, vec((1..POOL_UNITS / 2, 0..5usize), 1..3))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn bodies_that_hold_and_want_more_never_all_wait(bodies in vec(body(), 1..8)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let _entered = runtime.enter();
            let pool = Pool::new(POOL_UNITS * UNIT);
            let bodies: Vec<_> = bodies.into_iter().map(|body| read_body(Arc::clone(&pool), body)).collect();
            prop_assert_eq!(run(bodies), 0, "so many wait for ever");
            let state = pool.state();
            prop_assert_eq!((state.free, state.holders, state.waits.len()), (POOL_UNITS, 0, 0));
        }
    }

    async fn read_body(pool: Arc<Pool>, (before, steps): (usize, Vec<(usize, usize)>)) {
        let_others_go_on(before).await;
        let mut held: Option<Share> = None;
        for (units, turns) in steps {
            if let Some(share) = &mut held {
                if share.grow(units * UNIT, LONG).await.is_err() {
                    return;
                }
            } else {
                held = Some(pool.take(units * UNIT, LONG).await.unwrap());
            }
            let_others_go_on(turns).await;
        }
    }
}
