//! Waiting for records of a queue.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::handle::Queue;
use super::receive::{QueueRecord, ReceiveOptions};
use super::sleepers::{Place, Sleepers};
use crate::error::{Error, Result};
use crate::seam::Signal;
use crate::store::ShardWatch;

/// Waits until there may be records of a queue to receive: something was put, or is given out again.
///
/// [Receive](Self::receive) by it. If there is nothing, [wait](Self::wait) and receive again. Any change after the
/// receive ends the wait, so nothing is missed in between. A wait may also end without a record, because another
/// consumer came first. It costs no processor time.
///
/// However many callers wait for records of a queue, a record wakes one of them, and the others rely on it until it
/// waits again. So a caller whose wait has ended receives at once, and if it gets nothing it waits again at once. A
/// caller that does something else first [passes on](Self::pass_on) or drops the watch, which wakes another one: until
/// then the others may not hear of a record. A thread with several watches passes on with each of them that it does not
/// wait on.
///
/// A task does the same: it receives, and awaits [`changed`](Self::changed) for no longer than [`due`](Self::due) says.
/// A future of `changed` that is woken has to be polled or dropped at once. Receiving blocks.
#[derive(Debug)]
pub struct QueueWatch {
    queue: Queue,
    of_dead_letters: bool,
    shards: ShardWatch,
    signal: Arc<Signal>,
    /// Whether everything that may bring records raises the signal, and not only callers that wake this one.
    hears: bool,
    /// Whether it has looked and found nothing since it was woken, or since it subscribed to the signals. Before that
    /// no other caller may rely on it.
    has_looked: bool,
    /// Whether it was woken, so that others rely on it to look, and to wake them or go on the lookout again.
    is_relied_on: bool,
    /// The next moment at which a record is no longer held back, in ms of the monotonic clock, as of the last
    /// subscription.
    due: Option<u64>,
}

/// The result of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Records,
    Nothing,
    Failure,
}

impl Queue {
    /// Receives records as [`receive`](Self::receive) does, and waits for the first one for up to `wait`.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let jobs = store.create_stream("jobs", 1)?;
    /// # let queue = jobs.create_queue("resize", &Default::default())?;
    /// use std::time::Duration;
    ///
    /// let worker = std::thread::spawn(move || {
    ///     queue.receive_within(&Default::default(), Duration::from_secs(60))
    /// });
    /// jobs.put("picture-7", b"resize")?;
    /// assert_eq!(worker.join().unwrap()?.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`receive`](Self::receive).
    pub fn receive_within(&self, options: &ReceiveOptions, wait: Duration) -> Result<Vec<QueueRecord>> {
        let began = Instant::now();
        let received = self.receive(options)?;
        if !received.is_empty() || wait.is_zero() {
            return Ok(received);
        }
        let mut watch = self.watch(options.dead_letters)?;
        loop {
            let received = watch.receive(options)?;
            let left = wait.saturating_sub(began.elapsed());
            if !received.is_empty() || left.is_zero() {
                return Ok(received);
            }
            watch.wait(left);
        }
    }

    /// Watches for records, or for dead letters, from now on.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let jobs = store.create_stream("jobs", 1)?;
    /// # let queue = jobs.create_queue("resize", &Default::default())?;
    /// use std::time::Duration;
    ///
    /// use anabranch::ReceiveOptions;
    ///
    /// let mut watch = queue.watch(false)?;
    /// assert!(watch.receive(&ReceiveOptions::default())?.is_empty());
    /// assert!(!watch.wait(Duration::from_millis(1)));
    /// jobs.put("picture-7", b"resize")?;
    /// assert!(watch.wait(Duration::from_secs(60)));
    /// assert_eq!(watch.receive(&ReceiveOptions::default())?.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`receive`](Self::receive).
    pub fn watch(&self, dead_letters: bool) -> Result<QueueWatch> {
        let shards = self.stream.watch(&[])?;
        let signal = shards.signal().clone();
        let mut watch = QueueWatch {
            queue: self.clone(),
            of_dead_letters: dead_letters,
            shards,
            signal,
            hears: false,
            has_looked: false,
            is_relied_on: false,
            due: None,
        };
        watch.hear()?;
        Ok(watch)
    }
}

impl QueueWatch {
    /// Receives what the watch is for, as [`Queue::receive`] does; the options decide nothing about dead letters here.
    /// If there is nothing, any later change ends the next wait.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let jobs = store.create_stream("jobs", 1)?;
    /// # let queue = jobs.create_queue("resize", &Default::default())?;
    /// jobs.put("picture-7", b"resize")?;
    /// let mut watch = queue.watch(false)?;
    /// assert_eq!(watch.receive(&Default::default())?.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`Queue::receive`].
    pub fn receive(&mut self, options: &ReceiveOptions) -> Result<Vec<QueueRecord>> {
        let options = ReceiveOptions {
            dead_letters: self.of_dead_letters,
            ..*options
        };
        let outcome = |received: &Result<Vec<_>>| match received {
            Ok(received) if received.is_empty() => Look::Nothing,
            Ok(_) => Look::Records,
            Err(_) => Look::Failure,
        };
        self.look(|queue| queue.receive(&options), outcome)?
    }

    /// The same with functions for the receive, and for judging its result.
    pub(crate) fn look<T>(
        &mut self,
        receive: impl Fn(&Queue) -> T,
        outcome: impl Fn(&T) -> Look,
    ) -> Result<T> {
        let looked = self.look_until_sure(receive, &outcome);
        let has_failed = looked
            .as_ref()
            .map_or(true, |received| outcome(received) == Look::Failure);
        if has_failed {
            // It may not look again for a long time.
            self.pass_on();
        }
        looked
    }

    /// Looks until it gets something, or is sure to hear of every change after its last look, itself or by the lookout.
    fn look_until_sure<T>(
        &mut self,
        receive: impl Fn(&Queue) -> T,
        outcome: impl Fn(&T) -> Look,
    ) -> Result<T> {
        self.has_looked = false;
        match self.sleepers().has_lookout() {
            // The lookout hears for this one too.
            true => self.hear_nothing(),
            false => {
                self.hear()?;
            }
        }
        loop {
            let received = receive(&self.queue);
            match outcome(&received) {
                Look::Records => {
                    // The receive has woken the next one.
                    self.is_relied_on = false;
                    return Ok(received);
                }
                Look::Failure => return Ok(received),
                Look::Nothing => {}
            }
            let is_heard_for = !self.hears && self.sleepers().has_lookout();
            if is_heard_for || !self.hear()? {
                self.has_looked = true;
                return Ok(received);
            }
        }
    }

    /// How long it takes until a record is given out again that this caller itself has to look for: that moment does
    /// not end the wait of a task. As of the last receive.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let jobs = store.create_stream("jobs", 1)?;
    /// # let queue = jobs.create_queue("resize", &Default::default())?;
    /// jobs.put("picture-7", b"resize")?;
    /// queue.receive(&Default::default())?;
    /// let mut watch = queue.watch(false)?;
    /// assert!(watch.receive(&Default::default())?.is_empty());
    /// // What another consumer has is given out again unless it is acknowledged.
    /// assert!(watch.due().is_some());
    /// # Ok(())
    /// # }
    /// ```
    pub fn due(&self) -> Option<Duration> {
        let now = self.queue.stream.monotonic_millis();
        self.due.map(|due| Duration::from_millis(due.saturating_sub(now)))
    }

    /// Blocks until there may be something to receive. False if there is nothing within `limit`.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let jobs = store.create_stream("jobs", 1)?;
    /// # let queue = jobs.create_queue("resize", &Default::default())?;
    /// use std::time::Duration;
    ///
    /// let mut watch = queue.watch(false)?;
    /// assert!(watch.receive(&Default::default())?.is_empty());
    /// jobs.put("picture-7", b"resize")?;
    /// assert!(watch.wait(Duration::from_secs(60)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait(&mut self, limit: Duration) -> bool {
        let due = self.due();
        let is_due = due.is_some_and(|due| due <= limit);
        let limit = due.map_or(limit, |due| due.min(limit));
        let Some(mut asleep) = self.fall_asleep() else {
            return true;
        };
        asleep.is_woken = asleep.watch.signal.wait(limit);
        asleep.is_woken || is_due
    }

    /// The same for a task of any runtime, without a limit, and without records that become due only by the time
    /// ([`due`](Self::due)). Dropping the future loses nothing.
    pub async fn changed(&mut self) {
        let Some(mut asleep) = self.fall_asleep() else {
            return;
        };
        std::future::poll_fn(|context| asleep.watch.signal.poll(context)).await;
        asleep.is_woken = true;
    }

    /// Wakes another waiting caller, if any relies on this one. For a caller that neither receives nor waits at once;
    /// it may do both later.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let jobs = store.create_stream("jobs", 1)?;
    /// # let pictures = jobs.create_queue("pictures", &Default::default())?;
    /// # let letters = jobs.create_queue("letters", &Default::default())?;
    /// use std::time::Duration;
    ///
    /// use anabranch::ReceiveOptions;
    ///
    /// let mut watches = [pictures.watch(false)?, letters.watch(false)?];
    /// for watch in &mut watches {
    ///     assert!(watch.receive(&ReceiveOptions::default())?.is_empty());
    ///     watch.wait(Duration::from_millis(1));
    ///     // This thread turns to the other queue now.
    ///     watch.pass_on();
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn pass_on(&mut self) {
        if std::mem::take(&mut self.is_relied_on) {
            self.sleepers().wake_next();
        }
    }

    fn sleepers(&self) -> &Sleepers {
        self.queue.shared.sleepers(self.of_dead_letters)
    }

    /// `None` if it has to look again first.
    fn fall_asleep(&mut self) -> Option<Asleep<'_>> {
        let has_place = self.has_looked;
        if has_place {
            let place = self.sleepers().fall_asleep(&self.signal, self.hears)?;
            self.is_relied_on = false;
            if place == Place::Other {
                self.hear_nothing();
            }
        } else {
            // It hears for itself alone.
            self.pass_on();
            if !self.hears {
                // Its next receive gives the error that prevents the subscription.
                let _ = self.hear();
                return None;
            }
        }
        Some(Asleep {
            watch: self,
            has_place,
            is_woken: false,
        })
    }

    /// Subscribes to everything that may bring records. Returns whether there may be records from before.
    fn hear(&mut self) -> Result<bool> {
        let heard = self.try_hear();
        if heard.is_err() {
            // It may be subscribed to some signals and not to others.
            self.hear_nothing();
        }
        heard
    }

    fn try_hear(&mut self) -> Result<bool> {
        let mut is_new = !self.hears;
        if is_new {
            self.queue.shared.changes.raise_at_each(&self.signal);
            self.hears = true;
        }
        let (turn, now) = self.queue.turn()?;
        // A record that was held back until that moment is free by now, if not by the last receive. No later moment is
        // noted here.
        is_new |= self.due.is_some_and(|due| due <= now.millis);
        let due = turn.state.next_moment(self.of_dead_letters);
        let unread: Vec<_> = match self.of_dead_letters {
            true => Vec::new(),
            false => {
                let shards = turn.state.shards.iter();
                let unread = shards.filter(|(_, shard)| shard.unread.first().is_some());
                unread.map(|(shard, _)| *shard).collect()
            }
        };
        drop(turn);
        self.shards.retain(|shard| unread.contains(&shard));
        for shard in unread {
            match self.shards.add(shard) {
                Ok(is_added) => is_new |= is_added,
                // The shard has expired meanwhile, and there is nothing in it to wait for.
                Err(Error::ShardNotFound { .. }) => is_new = true,
                Err(error) => return Err(error),
            }
        }
        self.due = due;
        Ok(is_new)
    }

    fn hear_nothing(&mut self) {
        self.due = None;
        if std::mem::take(&mut self.hears) {
            self.queue.shared.changes.forget(&self.signal);
            self.shards.retain(|_| false);
        }
    }
}

impl Drop for QueueWatch {
    fn drop(&mut self) {
        self.hear_nothing();
        self.pass_on();
    }
}

/// A sleeping caller, until this is dropped.
struct Asleep<'a> {
    watch: &'a mut QueueWatch,
    /// Whether it is among the sleepers.
    has_place: bool,
    /// Whether it was woken, and did not give up.
    is_woken: bool,
}

impl Drop for Asleep<'_> {
    fn drop(&mut self) {
        let watch = &mut *self.watch;
        watch.has_looked &= !self.is_woken;
        if self.has_place {
            watch.is_relied_on = watch.sleepers().wake_up(&watch.signal);
        }
        if !self.is_woken {
            watch.pass_on();
        }
    }
}
