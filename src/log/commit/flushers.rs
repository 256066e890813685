//! Threads that commit for callers that do not wait in a thread of their own.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::commits::Commits;
use super::sharing::{Sharing, is_small};
use crate::disk::Inherited;
use crate::sync::{Condvar, Mutex, Thread};

/// How long records of [`Durability::Buffered`](crate::Durability::Buffered) may lie in memory.
const LINGER: Duration = Duration::from_millis(10);

/// A few threads and the logs that they have to commit.
#[derive(Debug)]
pub(crate) struct Flushers<L: Commits> {
    queue: Arc<Queue<L>>,
    threads: Mutex<Vec<Thread>>,
}

#[derive(Debug)]
struct Queue<L> {
    /// At least this many logs are committed together rather than one by one.
    round_logs: usize,
    state: Mutex<QueueState<L>>,
    changed: Condvar,
}

#[derive(Debug)]
struct QueueState<L> {
    /// The commit journal. Rounds wait for it.
    journal: Option<Arc<L>>,
    now: VecDeque<Arc<L>>,
    soon: Vec<Weak<L>>,
    /// Logs whose deferred frames are to be written.
    writes: VecDeque<Arc<L>>,
    /// Logs to be synced when there is nothing to commit.
    syncs: VecDeque<Arc<L>>,
    is_stopped: bool,
}

impl<L> Default for QueueState<L> {
    fn default() -> Self {
        Self {
            journal: None,
            now: VecDeque::new(),
            soon: Vec::new(),
            writes: VecDeque::new(),
            syncs: VecDeque::new(),
            is_stopped: false,
        }
    }
}

impl<L: Commits> QueueState<L> {
    /// A log is queued once, however many tasks wait for its group, so the queue holds at most one entry for each log.
    fn queue(&mut self, log: Arc<L>) {
        if !log.is_queued().swap(true, Ordering::Relaxed) {
            self.now.push_back(log);
        }
    }

    fn take_first(&mut self) -> Option<Arc<L>> {
        let log = self.now.pop_front()?;
        log.is_queued().store(false, Ordering::Relaxed);
        Some(log)
    }

    fn take_all(&mut self) -> Vec<Arc<L>> {
        self.take_which(|_| true)
    }

    /// Takes all logs at once that have to tell the ledger before they are written to.
    fn take_placeless(&mut self) -> Vec<Arc<L>> {
        self.take_which(L::lacks_place)
    }

    fn take_which(&mut self, is_taken: impl Fn(&L) -> bool) -> Vec<Arc<L>> {
        let (taken, left): (Vec<_>, Vec<_>) = self.now.drain(..).partition(|log| is_taken(log));
        self.now.extend(left);
        for log in &taken {
            log.is_queued().store(false, Ordering::Relaxed);
        }
        taken
    }
}

impl<L: Commits> Flushers<L> {
    /// # Errors
    /// If the operating system refuses a thread.
    pub(crate) fn start(threads: usize, round_logs: usize) -> std::io::Result<Self> {
        let queue = Arc::new(Queue {
            round_logs,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let mut handles = Vec::new();
        for number in 0..threads.max(1) {
            let queue = queue.clone();
            let inherited = Inherited::of_this_thread();
            let name = format!("anabranch-flush-{number}");
            let run = move || {
                inherited.apply();
                queue.run();
            };
            handles.push(Thread::spawn(name, run)?);
        }
        Ok(Self {
            queue,
            threads: Mutex::new(handles),
        })
    }

    /// No threads, for logs that are only read.
    pub(crate) fn none() -> Self {
        let queue = Queue {
            round_logs: usize::MAX,
            state: Mutex::default(),
            changed: Condvar::new(),
        };
        Self {
            queue: Arc::new(queue),
            threads: Mutex::default(),
        }
    }

    /// Asks for a commit of the logs' pending groups as soon as a thread is free.
    pub(super) fn commit(&self, logs: impl IntoIterator<Item = Arc<L>>) {
        let mut is_any = false;
        let mut state = self.queue.state.lock();
        for log in logs {
            is_any = true;
            // Never in a round: a round waits for it.
            match log.is_commit_journal() {
                true => state.journal = Some(log),
                false => state.queue(log),
            }
        }
        drop(state);
        if is_any {
            self.queue.changed.notify_one();
        }
    }

    /// Asks for a log's deferred frames to be written to its segment.
    pub(super) fn write(&self, log: Arc<L>) {
        self.queue.state.lock().writes.push_back(log);
        self.queue.changed.notify_one();
    }

    /// Asks for a sync of what was written to a log, once a thread has nothing to commit.
    pub(super) fn sync(&self, log: Arc<L>) {
        self.queue.state.lock().syncs.push_back(log);
        self.queue.changed.notify_one();
    }

    /// Asks for a commit of a log's pending group within the linger time.
    pub(super) fn commit_soon(&self, log: &Arc<L>) {
        let mut state = self.queue.state.lock();
        let is_first = state.soon.is_empty();
        state.soon.push(Arc::downgrade(log));
        drop(state);
        if is_first {
            self.queue.changed.notify_one();
        }
    }

    /// Ends the threads after the present queue is done.
    pub(crate) fn stop(&self) {
        self.queue.state.lock().is_stopped = true;
        self.queue.changed.notify_all();
        for thread in std::mem::take(&mut *self.threads.lock()) {
            // The last owner of a store may be one of its own threads, which cannot wait for itself.
            if !thread.is_current() {
                // A panic of that thread has latched the store's health, which reports it.
                let _ = thread.join();
            }
        }
    }
}

impl<L: Commits> Drop for Flushers<L> {
    /// A store that failed to open is never closed.
    fn drop(&mut self) {
        self.stop();
    }
}

enum Task<L> {
    Commit(Arc<L>),
    CommitRound(Vec<Arc<L>>, Sharing),
    Write(Arc<L>),
    Sync(Arc<L>),
}

impl<L: Commits> Queue<L> {
    fn run(&self) {
        while let Some(task) = self.next() {
            match task {
                Task::Commit(log) => log.commit_pending(),
                Task::CommitRound(logs, sharing) => L::commit_together(&logs, sharing),
                // Failures are latched in the store's health, where the next put finds them.
                Task::Write(log) => drop(log.write_deferred()),
                Task::Sync(log) => drop(log.sync()),
            }
        }
    }

    fn next(&self) -> Option<Task<L>> {
        let mut state = self.state.lock();
        loop {
            if let Some(journal) = state.journal.take() {
                self.wake_another_for(&state);
                return Some(Task::Commit(journal));
            }
            if state.now.len() >= self.round_logs && is_better(&state.now) {
                return Some(Task::CommitRound(state.take_all(), Sharing::Journal));
            }
            if state.now.front().is_some_and(|log| log.lacks_place()) {
                let logs = state.take_placeless();
                self.wake_another_for(&state);
                return Some(Task::CommitRound(logs, Sharing::Ledger));
            }
            if let Some(log) = state.take_first() {
                self.wake_another_for(&state);
                return Some(Task::Commit(log));
            }
            if let Some(log) = state.writes.pop_front() {
                return Some(Task::Write(log));
            }
            if let Some(log) = state.syncs.pop_front() {
                return Some(Task::Sync(log));
            }
            if state.is_stopped {
                return None;
            }
            if state.soon.is_empty() {
                state = self.changed.wait(state);
                continue;
            }
            state = self.changed.wait_timeout(state, LINGER);
            let due = std::mem::take(&mut state.soon);
            due.iter()
                .filter_map(Weak::upgrade)
                .for_each(|log| state.queue(log));
        }
    }

    /// The caller that queued several logs woke one thread.
    fn wake_another_for(&self, state: &QueueState<L>) {
        if !state.now.is_empty() {
            self.changed.notify_one();
        }
    }
}

/// Whether the pending groups of these logs should be committed in a round.
fn is_better<L: Commits>(logs: &VecDeque<Arc<L>>) -> bool {
    is_small(logs.len(), logs.iter().map(|log| log.pending_bytes()).sum())
}
