//! Queues and channels that are made, changed and deleted: after a crash in any call each is as before the call or as
//! after it.

use std::time::Duration;

use anabranch::sim::{Calls, LossMode, SimDisk};
use anabranch::{
    ChannelOptions, Destination, Error, QueueOptions, QueueSettings, ReceiveOptions, Result, Store,
    StoreOptions, Stream,
};

use crate::watchdog::Case;

const DIRECTORY: &str = "store";

/// How far a change got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    #[default]
    Not,
    Asked,
    Done,
}

#[derive(Default)]
struct Done {
    queue_made: Change,
    queue_changed: Change,
    queue_deleted: Change,
    channel_made: Change,
    channel_changed: Change,
    channel_deleted: Change,
}

/// Notes that a change is requested, and then that it is done.
fn made<T>(change: &mut Change, make: impl FnOnce() -> Result<T>) -> Result<T> {
    *change = Change::Asked;
    let made = make()?;
    *change = Change::Done;
    Ok(made)
}

const CHANGED: QueueSettings = QueueSettings {
    visibility_seconds: 77,
    max_receive_count: None,
};
const CHANGED_FRESHNESS: Duration = Duration::from_secs(77);

fn channel_options() -> ChannelOptions {
    ChannelOptions::to(Destination::new("bucket"))
}

impl Done {
    fn run(&mut self, stream: &Stream) -> Result<()> {
        let queue = made(&mut self.queue_made, || {
            stream.create_queue("work", &QueueOptions::default())
        })?;
        stream.put("key", b"data")?;
        queue.receive(&ReceiveOptions::default())?;
        made(&mut self.queue_changed, || queue.set_settings(&CHANGED))?;
        let channel = made(&mut self.channel_made, || {
            stream.create_channel("archive", &channel_options())
        })?;
        made(&mut self.channel_changed, || {
            channel.set_freshness(CHANGED_FRESHNESS)
        })?;
        made(&mut self.channel_deleted, || channel.delete())?;
        made(&mut self.queue_deleted, || queue.delete())
    }

    fn check(&self, stream: &Stream) {
        let queue = stream.queue("work").and_then(|queue| queue.describe());
        match (self.queue_made, self.queue_deleted, queue) {
            (Change::Not, _, Ok(_)) | (_, Change::Done, Ok(_)) => panic!("the queue is there"),
            (Change::Done, Change::Not, Err(error)) => panic!("{error}"),
            (.., Ok(found)) => check_changed(self.queue_changed, found.settings == CHANGED),
            (.., Err(Error::QueueNotFound { .. })) => {}
            (.., Err(error)) => panic!("{error}"),
        }
        let channel = stream.channel("archive").and_then(|channel| channel.describe());
        match (self.channel_made, self.channel_deleted, channel) {
            (Change::Not, _, Ok(_)) | (_, Change::Done, Ok(_)) => panic!("the channel is there"),
            (Change::Done, Change::Not, Err(error)) => panic!("{error}"),
            (.., Ok(found)) => check_changed(self.channel_changed, found.freshness == CHANGED_FRESHNESS),
            (.., Err(Error::ChannelNotFound { .. })) => {}
            (.., Err(error)) => panic!("{error}"),
        }
    }
}

fn check_changed(change: Change, is_changed: bool) {
    match change {
        Change::Not => assert!(!is_changed),
        Change::Asked => {}
        Change::Done => assert!(is_changed),
    }
}

fn open(disk: &SimDisk) -> Store {
    let options = StoreOptions::new()
        .keeper(false)
        .segment_bytes(64 << 10)
        .disk(disk.clone());
    options.open(DIRECTORY).unwrap()
}

/// Everything can be deleted, and made again under the same names.
fn make_again(stream: &Stream) -> Result<()> {
    for queue in stream.queues()? {
        stream.queue(&queue.name)?.delete()?;
    }
    for channel in stream.channels()? {
        stream.channel(&channel.name)?.delete()?;
    }
    Done::default().run(stream)
}

#[test]
fn a_crash_in_any_call_leaves_queues_and_channels_as_they_were_or_as_they_were_to_be() {
    for mode in [LossMode::LoseAll, LossMode::Random, LossMode::KeepAll] {
        for call in 1.. {
            let _case = Case::begin(|| format!("a crash in call {call}, {mode:?}"));
            let disk = SimDisk::new(call);
            let store = open(&disk);
            let stream = store.create_stream("jobs", 1).unwrap();
            disk.faults().freeze_nth(Calls::ALL, call);
            let mut done = Done::default();
            let ran = done.run(&stream);
            let has_stopped = disk.is_frozen();
            assert!(ran.is_ok() || has_stopped, "{ran:?}");
            let crashed = disk.crash(mode);
            drop((stream, store));
            let store = open(&crashed);
            let stream = store.stream("jobs").unwrap();
            done.check(&stream);
            store.maintain().unwrap();
            store.close().unwrap();
            let store = open(&crashed);
            let stream = store.stream("jobs").unwrap();
            done.check(&stream);
            make_again(&stream).unwrap();
            store.close().unwrap();
            if !has_stopped {
                break;
            }
        }
    }
}
