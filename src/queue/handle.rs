//! A queue as its users hold it.

use std::any::Any;
use std::sync::Arc;

use super::shared::{QueueTurn, Shared};
use crate::error::{Error, Result};
use crate::model::{QueueId, ShardFilter, check_stream_name};
use crate::store::{OpenQueue, QueueDescription, QueueOptions, QueueSettings, Stream};

/// A queue over a stream: each record is given to one of the callers of [`receive`](Self::receive), held back from the
/// others for a while, and given out again unless it is [acknowledged](Self::acknowledge). A record that was given out
/// too often becomes a dead letter, which can be received as such, acknowledged, or [restored](Self::restore).
///
/// Each record of the stream is given out at least once, in no promised order, until its retention ends. A stream can
/// have several queues, each of which has all records. The calls of this handle may wait for the disk.
///
/// Clones share it. It keeps its store open.
#[derive(Clone, Debug)]
pub struct Queue {
    pub(super) stream: Stream,
    pub(super) id: QueueId,
    pub(super) shared: Arc<Shared>,
}

/// How many records of a queue were given out and are not done with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueCounts {
    /// Records that were given out and are held back.
    pub in_flight: usize,
    /// Records that are due to be given out again.
    pub to_redeliver: usize,
    /// Dead letters, without those in flight.
    pub dead_letters: usize,
    /// Dead letters that were given out and are held back.
    pub dead_letters_in_flight: usize,
}

impl Stream {
    /// Makes a queue over the stream. Its name, of 1 to 128 characters of `a-z A-Z 0-9 _ . -`, is unique among the
    /// queues of the stream's namespace.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// use anabranch::{QueueOptions, ReceiveOptions, Store};
    ///
    /// let store = Store::in_memory()?;
    /// let jobs = store.create_stream("jobs", 2)?;
    /// let queue = jobs.create_queue("resize", &QueueOptions::default())?;
    /// jobs.put("picture-7", b"resize")?;
    /// for job in queue.receive(&ReceiveOptions::default())? {
    ///     println!("{:?}", job.record.data);
    ///     queue.acknowledge(&[job.receipt])?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::QueueExists`]; [`Error::InvalidArgument`] for the name, the settings, and a start that a queue cannot
    /// have; [`Error::TooManyConsumers`], [`Error::TooManyNewConsumers`]; [`Error::StreamNotOnDemand`];
    /// [`Error::StreamNotActive`]; otherwise as for [`summary`](Self::summary), and errors of the disk.
    pub fn create_queue(&self, name: &str, options: &QueueOptions) -> Result<Queue> {
        let id = self.add_queue(name, options)?;
        Ok(Queue::of(self.clone(), id))
    }

    /// A queue of the stream, in any state.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let jobs = store.create_stream("jobs", 1)?;
    /// use anabranch::Error;
    ///
    /// let queue = match jobs.queue("resize") {
    ///     Err(Error::QueueNotFound { .. }) => jobs.create_queue("resize", &Default::default())?,
    ///     found => found?,
    /// };
    /// assert_eq!(queue.describe()?.name, "resize");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::QueueNotFound`]; otherwise as for [`summary`](Self::summary).
    pub fn queue(&self, name: &str) -> Result<Queue> {
        check_stream_name(name).map_err(|_| Error::QueueNotFound {
            stream: self.name().to_owned(),
            queue: name.to_owned(),
        })?;
        let found = self.find_queue(name)?;
        Ok(Queue::of(self.clone(), found.id))
    }

    /// A queue of the stream by its number.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let jobs = store.create_stream("jobs", 1)?;
    /// # let queue = jobs.create_queue("resize", &Default::default())?;
    /// assert_eq!(jobs.queue_by_id(queue.id())?.describe()?.name, "resize");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`queue`](Self::queue).
    pub fn queue_by_id(&self, id: QueueId) -> Result<Queue> {
        self.describe_queue(id)?;
        Ok(Queue::of(self.clone(), id))
    }
}

impl Queue {
    fn of(stream: Stream, id: QueueId) -> Self {
        let make = || -> Arc<dyn OpenQueue> { Arc::<Shared>::default() };
        let open: Arc<dyn Any + Send + Sync> = stream.open_queue(id, make);
        // Only this floor makes values of this type.
        let shared = open.downcast().unwrap_or_default();
        Self { stream, id, shared }
    }

    /// Its number, which no other queue of the stream ever has.
    pub fn id(&self) -> QueueId {
        self.id
    }

    /// The stream whose records it gives out.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Its description.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let jobs = store.create_stream("jobs", 1)?;
    /// # let queue = jobs.create_queue("resize", &Default::default())?;
    /// assert_eq!(queue.describe()?.settings.visibility_seconds, 30);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::QueueNotFound`] once it is deleted; otherwise as for [`Stream::summary`].
    pub fn describe(&self) -> Result<QueueDescription> {
        self.stream.describe_queue(self.id)
    }

    /// Changes its settings. Records that are held back already stay so for as long as before.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let jobs = store.create_stream("jobs", 1)?;
    /// # let queue = jobs.create_queue("resize", &Default::default())?;
    /// use anabranch::QueueSettings;
    ///
    /// let settings = QueueSettings {
    ///     visibility_seconds: 300,
    ///     ..queue.describe()?.settings
    /// };
    /// queue.set_settings(&settings)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`]; [`Error::QueueNotActive`]; otherwise as for [`describe`](Self::describe), and errors
    /// of the disk.
    pub fn set_settings(&self, settings: &QueueSettings) -> Result<()> {
        self.stream.change_queue(self.id, settings)
    }

    /// How many records were given out and are not done with. Expired ones do not count. [`available`](Self::available)
    /// gives how many can be received.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let jobs = store.create_stream("jobs", 1)?;
    /// # let queue = jobs.create_queue("resize", &Default::default())?;
    /// jobs.put("picture-7", b"resize")?;
    /// assert_eq!(queue.counts()?.in_flight, 0);
    /// let received = queue.receive(&Default::default())?;
    /// assert_eq!(queue.counts()?.in_flight, 1);
    /// queue.acknowledge(&[received[0].receipt])?;
    /// assert_eq!(queue.counts()?.in_flight, 0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::QueueNotActive`]; otherwise as for [`describe`](Self::describe), and errors of the disk.
    pub fn counts(&self) -> Result<QueueCounts> {
        let (turn, _) = self.turn()?;
        Ok(QueueCounts {
            in_flight: turn.state.records.held.len(),
            to_redeliver: turn.state.records.ready.len(),
            dead_letters: turn.state.dead_letters.ready.len(),
            dead_letters_in_flight: turn.state.dead_letters.held.len(),
        })
    }

    /// Deletes it with its state, after the store's transition delay if there is one. The records stay in the stream.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let jobs = store.create_stream("jobs", 1)?;
    /// # let queue = jobs.create_queue("resize", &Default::default())?;
    /// use anabranch::Error;
    ///
    /// // While it is there its stream cannot be deleted.
    /// assert!(matches!(jobs.delete(), Err(Error::StreamHasQueues { .. })));
    /// queue.delete()?;
    /// assert!(matches!(queue.describe(), Err(Error::QueueNotFound { .. })));
    /// jobs.delete()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`describe`](Self::describe), and errors of the disk.
    pub fn delete(&self) -> Result<()> {
        self.stream.delete_queue(self.id)
    }

    /// Locks the state, brought up to the present time, and gives that time.
    pub(super) fn turn(&self) -> Result<(QueueTurn<'_>, Now)> {
        let description = self.describe()?;
        description.check_usable()?;
        let mut turn = self.shared.turn(&self.stream, self.id)?;
        let now = Now {
            millis: self.stream.monotonic_millis(),
            settings: description.settings,
        };
        let passed = self.stream.passed(turn.state.shards.keys())?;
        if passed.has_lost_shards {
            let shards = self.stream.shards(&ShardFilter::FromTrimHorizon)?;
            turn.state.keep_shards(shards.iter().map(|shard| shard.id));
        }
        turn.state.pass_horizon(passed.horizon);
        for (shard, before) in passed.hidden {
            turn.state.hide_before(shard, before);
        }
        turn.state.pass_time(now.millis, now.settings.max_receive_count);
        Ok((turn, now))
    }
}

/// The time of a turn.
#[derive(Clone, Copy)]
pub(super) struct Now {
    /// The time by the monotonic clock.
    pub(super) millis: u64,
    pub(super) settings: QueueSettings,
}

impl Now {
    /// The moment until which a record is held back for this many seconds from now on.
    pub(super) fn after(self, seconds: u32) -> u64 {
        self.millis.saturating_add(u64::from(seconds) * 1000)
    }
}
