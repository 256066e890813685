//! Waiting for records of a queue.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::handle::Queue;
use super::receive::{QueueRecord, ReceiveOptions};
use crate::error::{Error, Result};
use crate::seam::Signal;
use crate::store::ShardWatch;

/// Tells when there may be records of a queue to receive: something was put, or is given out again.
///
/// Begin to watch, then receive; where nothing is there, wait and receive again. Whatever happens after the watch began ends
/// the next wait. A wait may also end where there is nothing, since another consumer came first. It costs no processor time.
///
/// A task does the same in other words: [`prepare`](Self::prepare), receive, ask
/// [`has_new_shards`](Self::has_new_shards), and await [`changed`](Self::changed). All but the last block.
#[derive(Debug)]
pub struct QueueWatch {
    queue: Queue,
    of_dead_letters: bool,
    shards: ShardWatch,
    signal: Arc<Signal>,
}

impl Queue {
    /// Receives records as [`receive`](Self::receive) does, and waits for the first for up to `wait`.
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
            let received = self.receive(options)?;
            let left = wait.saturating_sub(began.elapsed());
            if !received.is_empty() || left.is_zero() {
                return Ok(received);
            }
            watch.wait(left)?;
        }
    }

    /// Watches for records, or for dead letters, from now on.
    ///
    /// # Errors
    /// As for [`receive`](Self::receive).
    pub fn watch(&self, dead_letters: bool) -> Result<QueueWatch> {
        let shards = self.stream.watch(&[])?;
        let signal = shards.signal().clone();
        self.shared.changes.raise_at_each(&signal);
        let mut watch = QueueWatch {
            queue: self.clone(),
            of_dead_letters: dead_letters,
            shards,
            signal,
        };
        watch.prepare()?;
        Ok(watch)
    }
}

impl QueueWatch {
    /// Takes note of the shards that there are to read by now, before a task receives, and awaits [`changed`](Self::changed)
    /// if there is nothing. Gives how long it is until something that is held back is given out again: the task has to look
    /// again then.
    ///
    /// # Errors
    /// As for [`Queue::receive`].
    pub fn prepare(&mut self) -> Result<Option<Duration>> {
        self.note_shards().map(|(due, _)| due)
    }

    /// Whether there are shards that [`prepare`](Self::prepare) did not know of: what they have was not received, and is not
    /// waited for. A task that has received nothing asks before it awaits [`changed`](Self::changed), and receives again if
    /// there are.
    ///
    /// # Errors
    /// As for [`Queue::receive`].
    pub fn has_new_shards(&mut self) -> Result<bool> {
        self.note_shards().map(|(_, has_more)| has_more)
    }

    /// The same, and whether there are new ones.
    fn note_shards(&mut self) -> Result<(Option<Duration>, bool)> {
        let (turn, now) = self.queue.turn()?;
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
        let mut has_more = false;
        for shard in unread {
            match self.shards.add(shard) {
                Ok(is_new) => has_more |= is_new,
                // It has expired meanwhile, and has nothing to wait for.
                Err(Error::ShardNotFound { .. }) => has_more = true,
                Err(error) => return Err(error),
            }
        }
        let due = due.map(|due| Duration::from_millis(due.saturating_sub(now.millis)));
        Ok((due, has_more))
    }

    /// Blocks until there may be something to receive. False if there is nothing within `limit`.
    ///
    /// # Errors
    /// As for [`Queue::receive`].
    pub fn wait(&mut self, limit: Duration) -> Result<bool> {
        let (due, has_more) = self.note_shards()?;
        if has_more {
            // They may have records from before they were watched.
            return Ok(true);
        }
        let is_due = due.is_some_and(|due| due <= limit);
        Ok(self.shards.wait(due.map_or(limit, |due| due.min(limit))) || is_due)
    }

    /// The same for a task of any runtime, without a limit, and without what is given out again by the time alone
    /// ([`prepare`](Self::prepare)). Nothing is lost where the future is dropped.
    pub async fn changed(&mut self) {
        self.shards.changed().await;
    }
}

impl Drop for QueueWatch {
    fn drop(&mut self) {
        self.queue.shared.changes.forget(&self.signal);
    }
}
