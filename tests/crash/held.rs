//! Records and readers that a program keeps while their source is trimmed, recycled, deleted or closed.

use anabranch::{Error, ReadLimit, Record, StartingPosition, StreamId, StreamReader};

use crate::model::{Model, Violation};
use crate::world::{Failure, Stop, World};

/// The records and readers that are kept.
#[derive(Default)]
pub struct Held {
    /// Records with the bytes that they had at first.
    records: Vec<(Record, Vec<u8>)>,
    readers: Vec<(StreamId, StreamReader)>,
}

impl Held {
    /// The readers end with their store; records do not.
    pub fn close(&mut self) {
        self.readers.clear();
    }

    /// Checks that each record is unchanged since it was read.
    pub fn check(&self) -> Result<(), Violation> {
        let changed = self.records.iter().find(|(record, data)| record.data != *data);
        changed.map_or(Ok(()), |(record, _)| {
            Err(format!("{} changed after it was read", record.sequence_number))
        })
    }

    fn keep(&mut self, record: Record) {
        let data = record.data.to_vec();
        self.records.push((record, data));
    }
}

impl World {
    pub fn hold(&mut self, at: usize, records: usize) -> Result<Option<Failure>, Stop> {
        let stream = self.stream(&self.model.streams[at].name.clone())?;
        let limit = ReadLimit {
            records,
            bytes: 10 << 20,
        };
        let mut held = Held::default();
        let read = || -> anabranch::Result<()> {
            for shard in self.model.streams[at].shards.keys() {
                let from = match stream.shard_iterator(*shard, StartingPosition::TrimHorizon) {
                    Err(Error::ShardNotFound { .. }) => continue,
                    from => from?,
                };
                let read = stream.get_records(&from, &limit)?;
                read.records.into_iter().for_each(|record| held.keep(record));
            }
            // A limit of size can hide the first records of a child while its parent still shows its last.
            let mut reader = stream.reader(StartingPosition::TrimHorizon)?.skip_trimmed();
            for record in reader.by_ref().take(records) {
                held.keep(record?);
            }
            held.readers.push((stream.id(), reader));
            Ok(())
        };
        match { read }() {
            Ok(()) => {
                self.held.records.append(&mut held.records);
                self.held.readers.append(&mut held.readers);
                Ok(None)
            }
            // A poisoned store can be read, and so can one that is full.
            Err(error) => Ok(Some(self.judge("read what is to be held", &error)?)),
        }
    }

    pub fn let_go(&mut self) -> Result<(), Stop> {
        let held = std::mem::take(&mut self.held);
        held.check()?;
        for (stream, reader) in held.readers {
            for record in reader {
                match record {
                    Ok(record) => self.model.check_known(stream, &record)?,
                    Err(error @ Error::Corrupt { .. }) => {
                        return Err(format!("a reader that goes on finds damage: {error}").into());
                    }
                    // The stream is deleted, or a call failed.
                    Err(_) => break,
                }
            }
        }
        self.check_running()
    }
}

impl Model {
    /// Checks that a record with a number that was given out is the one that got the number.
    fn check_known(&self, stream: StreamId, record: &Record) -> Result<(), Violation> {
        let number = record.sequence_number;
        let key = (stream, number.shard_id(), number.record_number());
        let id = record.data.first_chunk().map(|id| u64::from_le_bytes(*id));
        match self.numbers.get(&key) {
            Some(known) if Some(*known) != id => {
                Err(format!("a reader that goes on gives {id:?} as record {known}"))
            }
            _ => Ok(()),
        }
    }
}
