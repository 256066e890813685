//! What delivers: now, or in threads.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use super::bucket::{Bucket, BucketError};
use super::handle::Channel;
use super::round::{DeliveryError, DeliveryEvent, Round};
use super::schedule::{Backlogs, ChannelKey, DeliveryProblem, Outcome, Schedule};
use crate::error::{Error, Result};
use crate::model::Destination;
use crate::store::Store;
use crate::sync::{AtomicBool, Condvar, Mutex};

/// Of the threads.
const NAME: &str = "anabranch-deliver";

/// How to deliver.
#[derive(Clone)]
pub struct DeliveryOptions {
    /// The most bytes of records' data in an object, but for one record that has more. So many are delivered without waiting.
    /// Default: 8 MiB.
    pub object_bytes: usize,
    /// The oldest that a record gets before it is delivered, whatever its channel says (default: what the channel says).
    pub most_freshness: Option<Duration>,
    /// How many channels are delivered at the same time, at least 1. Each takes an object's memory twice. Default: 4.
    pub threads: usize,
    /// Who is told of what is delivered and of what fails (default: no one). It must not call the delivery.
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

/// Delivers what the channels of a store have to deliver, into buckets. There should be one of it for a store: two make each
/// object twice.
///
/// What is delivered is noted in the store behind the object, so that a crash loses nothing and delivers some records again.
/// Where a bucket or a shard fails, the others go on, and it is tried again after a pause of 1 s to 1 min for as long as it
/// takes. It keeps the store open until it is dropped, which waits for the objects that are being put.
#[derive(Debug)]
pub struct Delivery {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    bucket: Box<dyn Bucket>,
    options: DeliveryOptions,
    schedule: Mutex<Schedule>,
    /// A channel was given back, or the delivery stops.
    changed: Condvar,
    is_stopping: AtomicBool,
}

impl Delivery {
    /// Delivers when it is [told to](Self::deliver_due), or in threads once they are [started](Self::start).
    pub fn new(store: &Store, bucket: impl Bucket, options: DeliveryOptions) -> Self {
        Self {
            shared: Arc::new(Shared {
                store: store.clone(),
                bucket: Box::new(bucket),
                options,
                schedule: Mutex::default(),
                changed: Condvar::new(),
                is_stopping: AtomicBool::new(false),
            }),
            threads: Mutex::default(),
        }
    }

    /// Has threads deliver from now on. They look at each channel about once a second.
    ///
    /// # Errors
    /// [`Error::Io`] if there can be no more threads.
    pub fn start(&self) -> Result<()> {
        let mut threads = self.threads.lock();
        for _ in threads.len()..self.shared.options.threads.max(1) {
            let shared = self.shared.clone();
            let thread = std::thread::Builder::new().name(NAME.to_owned());
            let thread = thread.spawn(move || shared.run());
            threads.push(thread.map_err(|error| Error::no_thread(NAME, error))?);
        }
        Ok(())
    }

    /// Delivers what is due by the store's clock, of all channels but those that a thread is at, whether or not one failed
    /// just now. Gives how many objects that made. Blocks.
    pub fn deliver_due(&self) -> usize {
        let mut objects = 0;
        let channels = self.shared.store.channels_to_deliver();
        self.shared.schedule.lock().update(&channels);
        for key in channels {
            let taken = self.shared.schedule.lock().take(key);
            if let Some(backlogs) = taken {
                objects += self.shared.deliver(key, backlogs);
            }
        }
        objects
    }

    /// Why a channel does not deliver now, if its last attempt failed.
    pub fn problem(&self, channel: &Channel) -> Option<DeliveryProblem> {
        let key = (channel.stream().id(), channel.id());
        self.shared.schedule.lock().problem(key)
    }

    /// Whether there can be objects as a destination asks for, and its buckets are there. Blocks.
    ///
    /// # Errors
    /// As for [`Bucket::check`].
    pub fn check(&self, destination: &Destination) -> std::result::Result<(), BucketError> {
        self.shared.bucket.check(destination)
    }

    /// Ends the threads, as soon as the objects are put that they are putting.
    pub fn stop(&self) {
        self.shared.is_stopping.store(true, Ordering::Release);
        {
            let _schedule = self.shared.schedule.lock();
            self.shared.changed.notify_all();
        }
        for thread in self.threads.lock().drain(..) {
            // What it panicked with was told by its thread.
            let _ = thread.join();
        }
        self.shared.is_stopping.store(false, Ordering::Release);
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    /// What a thread does until the delivery stops or the store is closed.
    fn run(&self) {
        while !self.is_stopping.load(Ordering::Acquire) {
            let channels = self.store.channels_to_deliver();
            let now = self.store.monotonic();
            let mut schedule = self.schedule.lock();
            schedule.update(&channels);
            match schedule.take_due(now) {
                Some((key, backlogs)) => {
                    drop(schedule);
                    self.deliver(key, backlogs);
                }
                None if self.is_stopping.load(Ordering::Acquire) => return,
                None => {
                    let pause = schedule.until_next(now);
                    drop(self.changed.wait_timeout(schedule, pause));
                }
            }
        }
    }

    fn deliver(&self, key: ChannelKey, mut backlogs: Backlogs) -> usize {
        let (stream, id) = key;
        let channel = self
            .store
            .stream_by_id(stream)
            .and_then(|stream| stream.channel_by_id(id));
        let (name, objects, failure) = match channel {
            Ok(channel) => {
                let name = channel.describe().map(|channel| channel.name).unwrap_or_default();
                let round = Round {
                    channel: &channel,
                    bucket: &*self.bucket,
                    object_bytes: self.options.object_bytes.max(1),
                    most_freshness: self.options.most_freshness,
                    is_stopping: &|| self.is_stopping.load(Ordering::Acquire),
                    tell: &|event| (self.options.on_event)(&event),
                };
                let (objects, failure) = round.run(&mut backlogs);
                (name, objects, failure.filter(|error| !is_gone(error)))
            }
            // It was deleted, or the store was closed.
            Err(_) => (String::new(), 0, None),
        };
        let error = failure.clone();
        let (now, time) = (self.store.monotonic(), self.store.now());
        let outcome = self.schedule.lock().give_back(key, backlogs, failure, now, time);
        match (outcome, error) {
            (Outcome::Failed { retry_in }, Some(error)) => (self.options.on_event)(&DeliveryEvent::Failed {
                channel: name,
                error,
                retry_in,
            }),
            (
                Outcome::Good {
                    is_first_after_failure: true,
                },
                _,
            ) => (self.options.on_event)(&DeliveryEvent::Resumed { channel: name }),
            _ => {}
        }
        objects
    }
}

/// Whether what was to be delivered is not there any more, so that nothing is wrong.
fn is_gone(error: &DeliveryError) -> bool {
    matches!(
        error,
        DeliveryError::Store(Error::ChannelNotFound { .. } | Error::StreamNotFound { .. } | Error::Closed)
    )
}
