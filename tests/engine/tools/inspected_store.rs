//! A store on the real disk, closed or as a kill leaves it, with one stream of one shard in three segments.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anabranch::inspect::{
    self, Consequence, DumpItem, DumpOptions, DumpWhat, DumpedFrame, Finding, Inspection,
};
use anabranch::{ReadLimit, RecordNumber, SequenceNumber, StartingPosition, StoreOptions, Stream};
use anabranch_harness::files::{copy_tree, quick_parent};
use tempfile::TempDir;

/// Three records of this size, each a frame, fill a segment.
pub const RECORD_BYTES: usize = 20_000;

pub struct InspectedStore {
    _directory: TempDir,
    path: PathBuf,
    /// The numbers of all records, in their order.
    pub put: Vec<SequenceNumber>,
    secret: [u8; 32],
}

pub fn options() -> StoreOptions {
    StoreOptions::new().segment_bytes(64 << 10).keeper(false)
}

impl InspectedStore {
    /// Closed in order.
    pub fn closed(records: usize) -> Self {
        let directory = tempfile::tempdir_in(quick_parent()).unwrap();
        let path = directory.path().join("data");
        let (put, secret) = fill(&path, records, |store| store.close().unwrap());
        Self {
            _directory: directory,
            path,
            put,
            secret,
        }
    }

    /// As a kill of its program leaves it.
    pub fn killed(records: usize) -> Self {
        let directory = tempfile::tempdir_in(quick_parent()).unwrap();
        let path = directory.path().join("data");
        let original = directory.path().join("original");
        let (put, secret) = fill(&original, records, |_| copy_tree(&original, &path));
        Self {
            _directory: directory,
            path,
            put,
            secret,
        }
    }

    pub fn copy(&self) -> Self {
        let directory = tempfile::tempdir_in(quick_parent()).unwrap();
        let path = directory.path().join("data");
        copy_tree(&self.path, &path);
        Self {
            _directory: directory,
            path,
            put: self.put.clone(),
            secret: self.secret,
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn secret(&self) -> [u8; 32] {
        self.secret
    }

    pub fn manifest(&self) -> PathBuf {
        self.path().join("MANIFEST-000001")
    }

    pub fn segment(&self, at: usize) -> PathBuf {
        let shard = self.path().join("streams/1/shardId-000000000000");
        shard.join(
            [
                "00000000000000000001.log",
                "00000000000000000004.log",
                "00000000000000000007.log",
            ][at],
        )
    }
}

fn fill(
    path: &Path,
    records: usize,
    leave: impl FnOnce(&anabranch::Store),
) -> (Vec<SequenceNumber>, [u8; 32]) {
    let store = options().open(path).unwrap();
    let stream = store.create_stream("clicks", 1).unwrap();
    let put = (0..records)
        .map(|at| {
            let data = vec![at as u8 + 1; RECORD_BYTES];
            stream.put(&format!("key-{at}"), &data).unwrap().sequence_number
        })
        .collect();
    leave(&store);
    (put, store.secret())
}

/// Flips the lowest bit of a byte.
pub fn flip(path: &Path, offset: u64) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[offset as usize] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// Flips the lowest bit of the same byte in both copies of a manifest.
pub fn flip_in_both_copies(manifest: &Path, offset: u64) {
    flip(manifest, offset);
    flip(manifest, 64 * 1024 + offset);
}

/// All frames that hold.
pub fn frames(directory: impl AsRef<Path>) -> Vec<DumpedFrame> {
    let mut frames = Vec::new();
    Inspection::of(directory)
        .dump(&DumpOptions::of(DumpWhat::Frames), &mut |item| {
            if let DumpItem::Frame(frame) = item {
                frames.push(frame);
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    frames
}

/// The numbers of all records, read in lineage order.
pub fn sequence_numbers(stream: &Stream) -> Vec<SequenceNumber> {
    stream
        .reader(StartingPosition::TrimHorizon)
        .unwrap()
        .map(|record| record.unwrap().sequence_number)
        .collect()
}

/// The number of the record that is read from a number on.
pub fn record_at(stream: &Stream, number: SequenceNumber) -> SequenceNumber {
    let shard = stream.describe().unwrap().shards[0].id;
    let from = stream
        .shard_iterator(shard, StartingPosition::AtSequenceNumber(number))
        .unwrap();
    let one = ReadLimit {
        records: 1,
        bytes: usize::MAX,
    };
    stream.get_records(&from, &one).unwrap().records[0].sequence_number
}

pub fn damage(directory: &Path) -> Vec<Finding> {
    inspect::verify(directory).unwrap().damage().cloned().collect()
}

/// The ranges of the numbers of lost records: the first, and the number behind the last.
pub fn lost(findings: &[Finding]) -> Vec<(u64, Option<u64>)> {
    let losses = findings.iter().filter_map(|finding| match &finding.consequence {
        Consequence::Lost(lost) => Some((lost.from.value(), lost.to.map(RecordNumber::value))),
        _ => None,
    });
    losses.collect()
}

pub fn all_files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.append(&mut all_files(&path));
        } else if !path.ends_with("LOCK") {
            files.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    files
}

pub fn dump(directory: &Path, what: DumpWhat, mut on_item: impl FnMut(DumpItem)) {
    Inspection::of(directory)
        .dump(&DumpOptions::of(what), &mut |item| {
            on_item(item);
            ControlFlow::Continue(())
        })
        .unwrap();
}
