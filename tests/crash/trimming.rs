//! Streams that are trimmed to a checkpoint, or limited in size: a crash in any call loses no record that was to stay,
//! and brings no trimmed record back.

use std::collections::{BTreeMap, BTreeSet};

use anabranch::sim::{Calls, LossMode, SimDisk};
use anabranch::{
    Checkpoint, Durability, Error, Result, Retention, ShardId, SizeLimits, StartingPosition, Store,
    StoreOptions, Stream, StreamOptions,
};

use crate::watchdog::Case;

const DIRECTORY: &str = "store";

/// Two of them fill a segment.
const RECORD_BYTES: usize = 30_000;

/// The bytes of two records, so that the newest two of a shard always stay.
const SHARD_BYTES: u64 = 2 * RECORD_BYTES as u64;

const LEVELS: [Durability; 2] = [Durability::Synced, Durability::Buffered];

/// The operations on a stream. Records are identified by their first byte.
#[derive(Default)]
struct Done {
    /// By shard, in order.
    acknowledged: BTreeMap<ShardId, Vec<u8>>,
    trim_asked: BTreeSet<u8>,
    trimmed: BTreeSet<u8>,
    is_limit_asked: bool,
}

impl Done {
    fn put(&mut self, stream: &Stream, numbers: std::ops::Range<u8>) -> Result<()> {
        for number in numbers {
            let key = format!("key {number}");
            let put = stream.put(&key, &vec![number; RECORD_BYTES])?;
            self.acknowledged.entry(put.shard_id).or_default().push(number);
        }
        Ok(())
    }

    fn trim(&mut self, stream: &Stream, from: Option<Checkpoint>, records: usize) -> Result<Checkpoint> {
        let mut reader = match from {
            Some(checkpoint) => stream.reader_from(checkpoint)?,
            None => stream.reader(StartingPosition::TrimHorizon)?,
        };
        let read: Result<Vec<u8>> = (&mut reader)
            .take(records)
            .map(|record| Ok(record?.data[0]))
            .collect();
        let read = read?;
        self.trim_asked.extend(&read);
        stream.trim_to(&reader.checkpoint())?;
        self.trimmed.extend(&read);
        Ok(reader.checkpoint())
    }

    /// Gives an error if the disk has stopped.
    fn run(&mut self, store: &Store) -> Result<()> {
        let options = StreamOptions {
            retention: Retention::FOREVER,
            ..StreamOptions::default()
        };
        let stream = store.create_stream_with("s", options)?;
        self.put(&stream, 0..4)?;
        let checkpoint = self.trim(&stream, None, 1)?;
        stream.split_in_half(ShardId::new(0).unwrap())?;
        self.put(&stream, 4..10)?;
        store.maintain()?;
        self.trim(&stream, Some(checkpoint), 5)?;
        store.maintain()?;
        self.put(&stream, 10..14)?;
        self.is_limit_asked = true;
        stream.set_size_limits(SizeLimits {
            shard_bytes: Some(SHARD_BYTES),
            ..SizeLimits::NONE
        })?;
        store.maintain()?;
        self.put(&stream, 14..16)?;
        store.maintain()
    }

    /// Checks that the records that must stay are there, and that trimmed ones are not.
    fn check(&self, stream: &Stream, durability: Durability) {
        let found: Vec<u8> = stream
            .reader(StartingPosition::TrimHorizon)
            .unwrap()
            .map(|record| record.unwrap().data[0])
            .collect();
        let unique: BTreeSet<_> = found.iter().copied().collect();
        assert_eq!(unique.len(), found.len(), "{found:?}");
        let back: Vec<_> = self.trimmed.intersection(&unique).collect();
        assert!(back.is_empty(), "{back:?} were trimmed");
        if durability != Durability::Synced {
            return;
        }
        for records in self.acknowledged.values() {
            let least = match self.is_limit_asked {
                // The newest record may be one that was not acknowledged.
                true => records.len().saturating_sub(1),
                false => 0,
            };
            for number in &records[least..] {
                let may_be_gone = self.trim_asked.contains(number);
                assert!(
                    may_be_gone || unique.contains(number),
                    "{number} of {records:?} in {found:?}"
                );
            }
        }
    }
}

fn options(disk: &SimDisk, durability: Durability) -> StoreOptions {
    StoreOptions::new()
        .keeper(false)
        .durability(durability)
        .segment_bytes(64 << 10)
        .disk(disk.clone())
}

#[test]
fn a_crash_in_any_call_of_trimming_loses_nothing_that_stays_and_brings_nothing_back() {
    for durability in LEVELS {
        for mode in [LossMode::LoseAll, LossMode::Random, LossMode::KeepAll] {
            for call in 1.. {
                let _case = Case::begin(|| format!("a crash in call {call}, {mode:?}, {durability:?}"));
                let disk = SimDisk::new(call);
                let store = options(&disk, durability).open(DIRECTORY).unwrap();
                disk.faults().freeze_nth(Calls::ALL, call);
                let mut done = Done::default();
                let ran = done.run(&store);
                let has_stopped = disk.is_frozen();
                assert!(ran.is_ok() || has_stopped, "{ran:?}");
                let crashed = disk.crash(mode);
                drop(store);
                for _ in 0..2 {
                    let store = options(&crashed, durability).open(DIRECTORY).unwrap();
                    let stream = match store.stream("s") {
                        Err(Error::StreamNotFound { .. }) if done.acknowledged.is_empty() => break,
                        stream => stream.unwrap(),
                    };
                    done.check(&stream, durability);
                    store.maintain().unwrap();
                    done.check(&stream, durability);
                    store.close().unwrap();
                }
                if !has_stopped {
                    break;
                }
            }
        }
    }
}
