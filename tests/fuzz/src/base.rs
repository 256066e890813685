//! A small store whose files the targets change.

use std::path::PathBuf;
use std::sync::OnceLock;

use anabranch::sim::{LossMode, SimDisk};
use anabranch::{
    ManualClock, PutRecord, Result, SequenceNumber, StartingPosition, Store, StoreOptions, Stream, Timestamp,
};

pub(crate) const DIRECTORY: &str = "store";
pub(crate) const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

/// The result of a read of the whole stream: records, and the error that ended it early.
pub(crate) type Read = (Vec<(SequenceNumber, Vec<u8>)>, Result<()>);

pub(crate) struct Base {
    disk: SimDisk,
    pub(crate) records: Vec<(SequenceNumber, Vec<u8>)>,
    /// In the order of their positions.
    pub(crate) segments: Vec<PathBuf>,
    pub(crate) manifest: PathBuf,
}

impl Base {
    /// One store that was closed and one that a crash ended, each with a full segment and one that is being written.
    pub(crate) fn of(number: u8) -> &'static Self {
        static BASES: [OnceLock<Base>; 2] = [const { OnceLock::new() }; 2];
        let is_closed = number.is_multiple_of(2);
        BASES[usize::from(is_closed)].get_or_init(|| Self::new(is_closed))
    }

    fn new(is_closed: bool) -> Self {
        let disk = SimDisk::new(7);
        let store = options(&disk).open(DIRECTORY).unwrap();
        let stream = store.create_stream("clicks", 1).unwrap();
        let mut records = Vec::new();
        for (batch, bytes) in [(0, 20), (1, 30_000), (2, 25_000), (3, 50), (4, 9_000), (5, 1)] {
            let data = vec![batch; bytes];
            let batch = [PutRecord::new("key", &data), PutRecord::new("other key", b"")];
            for (put, record) in stream.put_records(&batch).unwrap().iter().zip(batch) {
                records.push((put.sequence_number, record.data.to_vec()));
            }
        }
        if is_closed {
            store.close().unwrap();
        }
        let disk = disk.crash(LossMode::KeepAll);
        let files: Vec<_> = disk.rot().files().into_iter().map(|(path, _)| path).collect();
        let is_named = |path: &&PathBuf, end: &str| path.to_string_lossy().ends_with(end);
        let segments: Vec<_> = files
            .iter()
            .filter(|path| is_named(path, ".log"))
            .cloned()
            .collect();
        assert_eq!(segments.len(), 2);
        let manifest = files
            .iter()
            .find(|path| path.to_string_lossy().contains("MANIFEST"));
        Self {
            disk,
            records,
            segments,
            manifest: manifest.unwrap().clone(),
        }
    }

    /// A copy to be changed.
    pub(crate) fn copy(&self) -> SimDisk {
        bounded(self.disk.image(LossMode::KeepAll))
    }
}

/// A damaged length in a file may ask for more room than the disk has, as on a real disk.
pub(crate) fn bounded(disk: SimDisk) -> SimDisk {
    disk.set_capacity(16 << 20);
    disk
}

pub(crate) fn options(disk: &SimDisk) -> StoreOptions {
    StoreOptions::new()
        .segment_bytes(64 << 10)
        .flusher_threads(1)
        .keeper(false)
        .clock(ManualClock::starting_at(NOW))
        .disk(disk.clone())
}

pub(crate) fn open(disk: &SimDisk) -> Result<Store> {
    options(disk).open(DIRECTORY)
}

/// All records up to the first error, but no more than a store of this size could hold.
pub(crate) fn read(stream: &Stream) -> Read {
    let mut records = Vec::new();
    let reader = match stream.reader(StartingPosition::TrimHorizon) {
        Ok(reader) => reader,
        Err(error) => return (records, Err(error)),
    };
    for record in reader {
        match record {
            Ok(record) => records.push((record.sequence_number, record.data.to_vec())),
            Err(error) => return (records, Err(error)),
        }
        assert!(records.len() < 1 << 20, "a small file holds records without end");
    }
    (records, Ok(()))
}
