//! The types under a schedule explorer, which decides which thread goes on.
//!
//! All threads of an exploration take turns on one thread of the operating system. Each value has two locks: the
//! explorer's, which decides who is next, and the standard library's, which holds the value; two explored threads never
//! wait for the latter at once. Outside an exploration only the latter is used, so the same types serve all tests.

use std::cell::Cell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::Ordering;
use std::sync::{self, PoisonError, TryLockError};
use std::time::Duration;

use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

thread_local! {
    static IS_EXPLORING: Cell<bool> = const { Cell::new(false) };
    static LOST: Cell<LostWakeUps> = const { Cell::new(LostWakeUps::None) };
}

fn is_exploring() -> bool {
    IS_EXPLORING.get()
}

/// Schedules of a scenario for each way to choose them.
const SCHEDULES: usize = 100;

/// How many times a schedule forces a thread to stop where it would have gone on. Most mistakes need two.
const PREEMPTIONS: usize = 3;

/// A schedule with more steps does not end.
const MAX_STEPS: usize = 200_000;

/// Runs a scenario under many schedules: random ones, and ones with few changes of thread at places that are drawn
/// beforehand. Panics in the first schedule in which the scenario panics or all threads wait, and prints the schedule.
///
/// `ANABRANCH_SCHEDULES` sets how many run. `ANABRANCH_SCHEDULE` runs a single one.
pub(crate) fn explore(scenario: impl Fn() + Send + Sync + 'static) {
    explore_often(1, scenario);
}

/// The same with so many times as many schedules, for small scenarios.
pub(crate) fn explore_often(times: usize, scenario: impl Fn() + Send + Sync + 'static) {
    let scenario = sync::Arc::new(scenario);
    let run = {
        let scenario = scenario.clone();
        move || {
            LOST.set(LostWakeUps::None);
            scenario();
        }
    };
    let mut config = Config::new();
    config.stack_size = 512 << 10;
    config.max_steps = MaxSteps::FailAfter(MAX_STEPS);
    config.failure_persistence = FailurePersistence::Print;
    config.silence_warnings = true;
    let _exploring = Exploring::begin();
    if let Ok(schedule) = std::env::var("ANABRANCH_SCHEDULE") {
        Runner::new(ReplayScheduler::new_from_encoded(&schedule), config).run(run);
        return;
    }
    let schedules = std::env::var("ANABRANCH_SCHEDULES")
        .map_or(SCHEDULES, |number| number.parse().expect("a number of schedules"))
        * times;
    Runner::new(RandomScheduler::new_from_seed(SEED, schedules), config.clone()).run(run.clone());
    Runner::new(PctScheduler::new_from_seed(SEED, PREEMPTIONS, schedules), config).run(run);
}

/// The same schedules every time, for the same number of them.
const SEED: u64 = 0x5eed;

struct Exploring;

impl Exploring {
    fn begin() -> Self {
        IS_EXPLORING.set(true);
        LOST.set(LostWakeUps::None);
        Self
    }
}

impl Drop for Exploring {
    fn drop(&mut self) {
        IS_EXPLORING.set(false);
    }
}

/// Which wake-ups are lost, to see that the explorer notices it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LostWakeUps {
    None,
    /// Those of one thread.
    OfOne,
    /// Those of all threads that wait.
    OfAll,
}

/// From now on loses wake-ups in all threads, on purpose, until the end of this schedule or the next call.
pub(crate) fn lose_wake_ups(lost: LostWakeUps) {
    LOST.set(lost);
}

/// A place at which another thread may go on.
fn point() {
    if is_exploring() {
        shuttle::sync::atomic::AtomicBool::new(false).load(Ordering::SeqCst);
    }
}

/// Lets other threads go on first.
pub(crate) fn yield_now() {
    match is_exploring() {
        true => shuttle::thread::yield_now(),
        false => std::thread::yield_now(),
    }
}

/// The value that was made in an exploration, while that goes on.
fn explored<T>(made: Option<&T>) -> Option<&T> {
    made.filter(|_| is_exploring())
}

pub(crate) struct Mutex<T> {
    turns: Option<shuttle::sync::Mutex<()>>,
    value: sync::Mutex<T>,
}

/// Fields drop in order, so the value is released before the turn ends.
pub(crate) struct MutexGuard<'a, T> {
    value: sync::MutexGuard<'a, T>,
    turn: Option<shuttle::sync::MutexGuard<'a, ()>>,
    mutex: &'a Mutex<T>,
}

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            turns: is_exploring().then(|| shuttle::sync::Mutex::new(())),
            value: sync::Mutex::new(value),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        let turn =
            explored(self.turns.as_ref()).map(|turns| turns.lock().unwrap_or_else(PoisonError::into_inner));
        self.lock_value(turn)
    }

    /// `None` if that would have to wait.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let turn = match explored(self.turns.as_ref()) {
            Some(turns) => Some(not_blocked(turns.try_lock())?),
            None => None,
        };
        let value = not_blocked(self.value.try_lock())?;
        Some(MutexGuard {
            value,
            turn,
            mutex: self,
        })
    }

    fn lock_value<'a>(&'a self, turn: Option<shuttle::sync::MutexGuard<'a, ()>>) -> MutexGuard<'a, T> {
        MutexGuard {
            value: self.value.lock().unwrap_or_else(PoisonError::into_inner),
            turn,
            mutex: self,
        }
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

fn not_blocked<G>(tried: sync::TryLockResult<G>) -> Option<G> {
    match tried {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

pub(crate) struct RwLock<T> {
    turns: Option<shuttle::sync::RwLock<()>>,
    value: sync::RwLock<T>,
}

pub(crate) struct RwLockReadGuard<'a, T> {
    value: sync::RwLockReadGuard<'a, T>,
    _turn: Option<shuttle::sync::RwLockReadGuard<'a, ()>>,
}

pub(crate) struct RwLockWriteGuard<'a, T> {
    value: sync::RwLockWriteGuard<'a, T>,
    _turn: Option<shuttle::sync::RwLockWriteGuard<'a, ()>>,
}

impl<T> RwLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            turns: is_exploring().then(|| shuttle::sync::RwLock::new(())),
            value: sync::RwLock::new(value),
        }
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        let _turn =
            explored(self.turns.as_ref()).map(|turns| turns.read().unwrap_or_else(PoisonError::into_inner));
        RwLockReadGuard {
            value: self.value.read().unwrap_or_else(PoisonError::into_inner),
            _turn,
        }
    }

    /// `None` if that would have to wait.
    pub(crate) fn try_read(&self) -> Option<RwLockReadGuard<'_, T>> {
        let _turn = match explored(self.turns.as_ref()) {
            Some(turns) => Some(not_blocked(turns.try_read())?),
            None => None,
        };
        let value = not_blocked(self.value.try_read())?;
        Some(RwLockReadGuard { value, _turn })
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
        let _turn =
            explored(self.turns.as_ref()).map(|turns| turns.write().unwrap_or_else(PoisonError::into_inner));
        RwLockWriteGuard {
            value: self.value.write().unwrap_or_else(PoisonError::into_inner),
            _turn,
        }
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<T> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for RwLockWriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

pub(crate) struct Condvar {
    turns: Option<shuttle::sync::Condvar>,
    condition: sync::Condvar,
}

impl Condvar {
    pub(crate) fn new() -> Self {
        Self {
            turns: is_exploring().then(shuttle::sync::Condvar::new),
            condition: sync::Condvar::new(),
        }
    }

    pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        let MutexGuard { value, turn, mutex } = guard;
        match explored(self.turns.as_ref()).zip(turn) {
            Some((turns, turn)) => {
                drop(value);
                let turn = turns.wait(turn).unwrap_or_else(PoisonError::into_inner);
                mutex.lock_value(Some(turn))
            }
            None => MutexGuard {
                value: self.condition.wait(value).unwrap_or_else(PoisonError::into_inner),
                turn: None,
                mutex,
            },
        }
    }

    /// An exploration has no clock, so every limit but the largest passes at once. So a wake-up can be distinguished
    /// from a time-out.
    pub(crate) fn wait_timeout<'a, T>(&self, guard: MutexGuard<'a, T>, limit: Duration) -> MutexGuard<'a, T> {
        if explored(self.turns.as_ref()).is_none() {
            let MutexGuard { value, turn, mutex } = guard;
            let waited = self.condition.wait_timeout(value, limit);
            return MutexGuard {
                value: waited.unwrap_or_else(PoisonError::into_inner).0,
                turn,
                mutex,
            };
        }
        if limit == Duration::MAX {
            return self.wait(guard);
        }
        let mutex = guard.mutex;
        drop(guard);
        shuttle::thread::yield_now();
        mutex.lock()
    }

    pub(crate) fn notify_one(&self) {
        match explored(self.turns.as_ref()) {
            Some(_) if LOST.get() == LostWakeUps::OfOne => point(),
            Some(turns) => turns.notify_one(),
            None => self.condition.notify_one(),
        }
    }

    pub(crate) fn notify_all(&self) {
        match explored(self.turns.as_ref()) {
            Some(_) if LOST.get() == LostWakeUps::OfAll => point(),
            Some(turns) => turns.notify_all(),
            None => self.condition.notify_all(),
        }
    }
}

impl Default for Condvar {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.condition.fmt(f)
    }
}

#[derive(Debug)]
pub(crate) struct OnceLock<T>(sync::OnceLock<T>);

impl<T> OnceLock<T> {
    pub(crate) const fn new() -> Self {
        Self(sync::OnceLock::new())
    }

    pub(crate) fn get(&self) -> Option<&T> {
        point();
        self.0.get()
    }

    pub(crate) fn set(&self, value: T) -> Result<(), T> {
        point();
        self.0.set(value)
    }

    /// `make` must not wait for another thread.
    pub(crate) fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        point();
        self.0.get_or_init(make)
    }
}

impl<T> Default for OnceLock<T> {
    fn default() -> Self {
        Self::new()
    }
}

macro_rules! atomic {
    ($name:ident, $value:ty, { $($operation:ident($($argument:ident: $of:ty),*) -> $result:ty;)* }) => {
        #[derive(Debug, Default)]
        pub(crate) struct $name(sync::atomic::$name);

        #[allow(dead_code)]
        impl $name {
            pub(crate) const fn new(value: $value) -> Self {
                Self(sync::atomic::$name::new(value))
            }

            $(pub(crate) fn $operation(&self, $($argument: $of,)* order: Ordering) -> $result {
                point();
                self.0.$operation($($argument,)* order)
            })*
        }
    };
}

atomic!(AtomicBool, bool, {
    load() -> bool;
    store(value: bool) -> ();
    swap(value: bool) -> bool;
});
atomic!(AtomicUsize, usize, {
    load() -> usize;
    store(value: usize) -> ();
    swap(value: usize) -> usize;
    fetch_add(value: usize) -> usize;
    fetch_sub(value: usize) -> usize;
});
atomic!(AtomicU64, u64, {
    load() -> u64;
    store(value: u64) -> ();
    swap(value: u64) -> u64;
    fetch_add(value: u64) -> u64;
});

#[derive(Debug)]
pub(crate) enum Thread {
    Standard(std::thread::JoinHandle<()>),
    Explored(shuttle::thread::JoinHandle<()>),
}

impl Thread {
    pub(crate) fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> std::io::Result<Self> {
        match is_exploring() {
            true => shuttle::thread::Builder::new()
                .name(name)
                .spawn(run)
                .map(Self::Explored),
            false => std::thread::Builder::new()
                .name(name)
                .spawn(run)
                .map(Self::Standard),
        }
    }

    pub(crate) fn join(self) -> std::thread::Result<()> {
        match self {
            Self::Standard(thread) => thread.join(),
            Self::Explored(thread) => thread.join(),
        }
    }

    pub(crate) fn is_current(&self) -> bool {
        match self {
            Self::Standard(thread) => thread.thread().id() == std::thread::current().id(),
            Self::Explored(thread) => thread.thread().id() == shuttle::thread::current().id(),
        }
    }
}
