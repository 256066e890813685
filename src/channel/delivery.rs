//! The delivery of channels: on request, or in threads.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::bucket::{Bucket, BucketError};
use super::handle::Channel;
use super::round::{DeliveryError, DeliveryEvent, Progress, Round, RoundOutcome};
use super::schedule::{ChannelKey, DeliveryProblem, GivenBack, Outcome, Schedule};
use crate::error::{Error, Result};
use crate::model::Destination;
use crate::store::Store;
use crate::sync::{AtomicBool, Condvar, Mutex};

/// The name of the threads.
const NAME: &str = "anabranch-deliver";

/// The options of a delivery.
#[derive(Clone)]
pub struct DeliveryOptions {
    /// The most bytes of records' data in an object, except for a single record that has more. As many bytes are
    /// delivered without waiting. Default: 8 MiB.
    pub object_bytes: usize,
    /// The greatest age of a record before it is delivered, if that is less than the channel's freshness (default: the
    /// channel's).
    pub most_freshness: Option<Duration>,
    /// How many channels are delivered at the same time, at least 1. Each takes the memory of two objects. Default: 4.
    pub threads: usize,
    /// Called for each delivery and failure (default: nothing). It must not call the delivery.
    pub on_event: Arc<dyn Fn(&DeliveryEvent) + Send + Sync>,
}

impl Default for DeliveryOptions {
    fn default() -> Self {
        Self {
            object_bytes: 8 * 1024 * 1024,
            most_freshness: None,
            threads: 4,
            on_event: Arc::new(|_| {}),
        }
    }
}

impl fmt::Debug for DeliveryOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeliveryOptions")
            .field("object_bytes", &self.object_bytes)
            .field("most_freshness", &self.most_freshness)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

/// Delivers the channels of a store into buckets. There should be one for a store: two make each object twice.
///
/// A delivery is noted in the store after its object, so a crash loses nothing and delivers some records again. If a
/// bucket or a shard fails, the others go on, and the failed one is tried again after pauses of 1 s to 1 min, without a
/// limit. It keeps the store open until it is dropped, which waits for the objects that are being put.
#[derive(Debug)]
pub struct Delivery {
    shared: Arc<Shared>,
    threads: Mutex<Threads>,
}

#[derive(Debug, Default)]
struct Threads {
    handles: Vec<JoinHandle<()>>,
    /// Tells these threads, and no later ones, to end.
    are_stopping: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    bucket: Box<dyn Bucket>,
    options: DeliveryOptions,
    schedule: Mutex<Schedule>,
    /// Signalled when a channel was given back, or the delivery stops.
    changed: Condvar,
}

impl Delivery {
    /// Delivers on [request](Self::deliver_due), or in threads once they are [started](Self::start).
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # std::fs::create_dir(directory.path().join("archive")).unwrap();
    /// # let store = anabranch::Store::in_memory()?;
    /// # let clicks = store.create_stream("clicks", 1)?;
    /// # use anabranch::{ChannelOptions, Destination};
    /// # let channel = clicks.create_channel("archive", &ChannelOptions::to(Destination::new("archive")))?;
    /// # use anabranch::{Delivery, DeliveryOptions, DirectoryBuckets};
    /// let delivery = Delivery::new(&store, DirectoryBuckets::new(directory.path()), DeliveryOptions::default());
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(store: &Store, bucket: impl Bucket, options: DeliveryOptions) -> Self {
        Self {
            shared: Arc::new(Shared {
                store: store.clone(),
                bucket: Box::new(bucket),
                options,
                schedule: Mutex::default(),
                changed: Condvar::new(),
            }),
            threads: Mutex::default(),
        }
    }

    /// Starts threads that deliver. They look at each channel about once a second.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # std::fs::create_dir(directory.path().join("archive")).unwrap();
    /// # let store = anabranch::Store::in_memory()?;
    /// # let clicks = store.create_stream("clicks", 1)?;
    /// # use anabranch::{ChannelOptions, Destination};
    /// # let channel = clicks.create_channel("archive", &ChannelOptions::to(Destination::new("archive")))?;
    /// # use anabranch::{Delivery, DeliveryOptions, DirectoryBuckets};
    /// # let delivery = Delivery::new(&store, DirectoryBuckets::new(directory.path()), DeliveryOptions::default());
    /// delivery.start()?;
    /// // Until the program ends.
    /// delivery.stop();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::ReadOnly`] if the store is read-only: deliveries could not be noted. [`Error::Closed`]; [`Error::Io`]
    /// if no thread can be started.
    pub fn start(&self) -> Result<()> {
        self.shared.store.check_takes_notes()?;
        let mut threads = self.threads.lock();
        threads.handles.retain(|thread| !thread.is_finished());
        for _ in threads.handles.len()..self.shared.options.threads.max(1) {
            let (shared, are_stopping) = (self.shared.clone(), threads.are_stopping.clone());
            let thread = std::thread::Builder::new().name(NAME.to_owned());
            let thread = thread.spawn(move || shared.run(&are_stopping));
            let thread = thread.map_err(|error| Error::no_thread(NAME, error))?;
            threads.handles.push(thread);
        }
        Ok(())
    }

    /// Delivers everything that is due by the store's clock, in all channels except those that a thread is working on,
    /// even if their last delivery failed. Gives the number of objects that were made. A read-only store makes none,
    /// and each channel fails with [`Error::ReadOnly`] before an object is put. Blocks.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # std::fs::create_dir(directory.path().join("archive")).unwrap();
    /// # let store = anabranch::Store::in_memory()?;
    /// # let clicks = store.create_stream("clicks", 1)?;
    /// # use anabranch::{ChannelOptions, Destination};
    /// # let channel = clicks.create_channel("archive", &ChannelOptions::to(Destination::new("archive")))?;
    /// # use anabranch::{Delivery, DeliveryOptions, DirectoryBuckets};
    /// # let delivery = Delivery::new(&store, DirectoryBuckets::new(directory.path()), DeliveryOptions::default());
    /// // No record is old enough yet, and there are not enough for an object.
    /// clicks.put("user-42", b"{}")?;
    /// assert_eq!(delivery.deliver_due(), 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn deliver_due(&self) -> usize {
        let channels = self.shared.store.channels_to_deliver();
        let now = self.shared.store.monotonic();
        self.shared.schedule.lock().update(&channels, now);
        let never = AtomicBool::new(false);
        let mut objects = 0;
        for key in channels {
            loop {
                let taken = self.shared.schedule.lock().take(key);
                let Some(progress) = taken else { break };
                let (made, has_more) = self.shared.deliver(key, progress, &never);
                objects += made;
                if !has_more {
                    break;
                }
            }
        }
        objects
    }

    /// Why a channel does not deliver now, if its last attempt failed.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # std::fs::create_dir(directory.path().join("archive")).unwrap();
    /// # let store = anabranch::Store::in_memory()?;
    /// # let clicks = store.create_stream("clicks", 1)?;
    /// # use anabranch::{ChannelOptions, Destination};
    /// # let channel = clicks.create_channel("archive", &ChannelOptions::to(Destination::new("archive")))?;
    /// # use anabranch::{Delivery, DeliveryOptions, DirectoryBuckets};
    /// # let delivery = Delivery::new(&store, DirectoryBuckets::new(directory.path()), DeliveryOptions::default());
    /// delivery.deliver_due();
    /// assert!(delivery.problem(&channel).is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub fn problem(&self, channel: &Channel) -> Option<DeliveryProblem> {
        let key = (channel.stream().id(), channel.id());
        self.shared.schedule.lock().problem(key)
    }

    /// Whether objects can be made as a destination asks for, and its buckets exist. Blocks.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # std::fs::create_dir(directory.path().join("archive")).unwrap();
    /// # let store = anabranch::Store::in_memory()?;
    /// # let clicks = store.create_stream("clicks", 1)?;
    /// # use anabranch::{ChannelOptions, Destination};
    /// # let channel = clicks.create_channel("archive", &ChannelOptions::to(Destination::new("archive")))?;
    /// # use anabranch::{Delivery, DeliveryOptions, DirectoryBuckets};
    /// # let delivery = Delivery::new(&store, DirectoryBuckets::new(directory.path()), DeliveryOptions::default());
    /// assert!(delivery.check(&Destination::new("archive")).is_ok());
    /// assert!(delivery.check(&Destination::new("missing")).is_err());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`Bucket::check`].
    pub fn check(&self, destination: &Destination) -> std::result::Result<(), BucketError> {
        self.shared.bucket.check(destination)
    }

    /// Ends the threads, after the objects that they are putting.
    pub fn stop(&self) {
        self.stop_within(Duration::MAX);
    }

    /// The same with a limit: threads that take longer end later, when their object is put or has failed. Returns
    /// whether all have ended.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # std::fs::create_dir(directory.path().join("archive")).unwrap();
    /// # let store = anabranch::Store::in_memory()?;
    /// # let clicks = store.create_stream("clicks", 1)?;
    /// # use anabranch::{ChannelOptions, Destination};
    /// # let channel = clicks.create_channel("archive", &ChannelOptions::to(Destination::new("archive")))?;
    /// # use anabranch::{Delivery, DeliveryOptions, DirectoryBuckets};
    /// # let delivery = Delivery::new(&store, DirectoryBuckets::new(directory.path()), DeliveryOptions::default());
    /// use std::time::Duration;
    ///
    /// delivery.start()?;
    /// assert!(delivery.stop_within(Duration::from_secs(60)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn stop_within(&self, limit: Duration) -> bool {
        const LOOK_EVERY: Duration = Duration::from_millis(5);
        let mut threads = self.threads.lock();
        let Threads {
            handles,
            are_stopping,
        } = std::mem::take(&mut *threads);
        are_stopping.store(true, Ordering::Release);
        {
            let _schedule = self.shared.schedule.lock();
            self.shared.changed.notify_all();
        }
        let began = Instant::now();
        let mut have_ended = true;
        for thread in handles {
            while !thread.is_finished() && began.elapsed() < limit {
                std::thread::sleep(LOOK_EVERY);
            }
            match thread.is_finished() {
                // The thread has reported its panic.
                true => drop(thread.join()),
                false => have_ended = false,
            }
        }
        have_ended
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    /// The work of a thread until it has to stop or the store is closed.
    fn run(&self, is_stopping: &AtomicBool) {
        while !is_stopping.load(Ordering::Acquire) && !self.store.is_closed() {
            let now = self.store.monotonic();
            let mut schedule = self.schedule.lock();
            if schedule.is_stale(now) {
                let channels = self.store.channels_to_deliver();
                schedule.update(&channels, now);
            }
            match schedule.take_due(now) {
                Some((key, progress)) => {
                    drop(schedule);
                    self.deliver(key, progress, is_stopping);
                }
                None if is_stopping.load(Ordering::Acquire) => return,
                None => {
                    let pause = schedule.until_next(now);
                    drop(self.changed.wait_timeout(schedule, pause));
                }
            }
        }
    }

    /// Does one round. Gives the number of objects, and whether more is due.
    fn deliver(&self, key: ChannelKey, mut progress: Progress, is_stopping: &AtomicBool) -> (usize, bool) {
        let (stream, id) = key;
        let stream = self.store.stream_by_id(stream);
        let channel = stream.and_then(|stream| stream.channel_by_id(id));
        let (name, outcome) = match channel {
            Ok(channel) => {
                let name = channel.describe().map(|channel| channel.name).unwrap_or_default();
                (name, self.run_round(&channel, &mut progress, is_stopping))
            }
            // It was deleted, or the store was closed.
            Err(_) => (String::new(), RoundOutcome::default()),
        };
        let RoundOutcome {
            objects,
            failure,
            has_more,
        } = outcome;
        let failure = failure.filter(|error| !is_gone(error));
        let error = failure.clone();
        let (now, time) = (self.store.monotonic(), self.store.now());
        let given_back = GivenBack {
            failure,
            objects,
            has_more,
        };
        let outcome = self
            .schedule
            .lock()
            .give_back(key, progress, given_back, now, time);
        match (outcome, error) {
            (
                Outcome::Failed {
                    retry_in,
                    is_news: true,
                },
                Some(error),
            ) => self.tell(&DeliveryEvent::Failed {
                channel: name,
                error,
                retry_in,
            }),
            (
                Outcome::Good {
                    is_first_after_failure: true,
                },
                _,
            ) => self.tell(&DeliveryEvent::Resumed { channel: name }),
            _ => {}
        }
        (objects, has_more)
    }

    /// The callback may panic, for example on a closed standard error. That ends no delivery.
    fn tell(&self, event: &DeliveryEvent) {
        let _ = catch_unwind(AssertUnwindSafe(|| (self.options.on_event)(event)));
    }

    /// A panic of the bucket is a failure of its channel, and ends no thread.
    fn run_round(
        &self,
        channel: &Channel,
        progress: &mut Progress,
        is_stopping: &AtomicBool,
    ) -> RoundOutcome {
        let round = Round {
            channel,
            bucket: &*self.bucket,
            object_bytes: self.options.object_bytes.max(1),
            most_freshness: self.options.most_freshness,
            is_stopping: &|| is_stopping.load(Ordering::Acquire),
            tell: &|event| self.tell(&event),
        };
        let ran = catch_unwind(AssertUnwindSafe(|| round.run(progress)));
        ran.unwrap_or_else(|_| {
            // The counts may be incomplete.
            *progress = Progress::default();
            RoundOutcome {
                failure: Some(DeliveryError::Panicked),
                ..RoundOutcome::default()
            }
        })
    }
}

/// Whether the channel, its stream or the store is gone, so that this is no failure.
fn is_gone(error: &DeliveryError) -> bool {
    matches!(
        error,
        DeliveryError::Store(Error::ChannelNotFound { .. } | Error::StreamNotFound { .. } | Error::Closed)
    )
}
