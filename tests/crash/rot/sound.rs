//! A small store with every kind of content, before it rots.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anabranch::inspect::{DumpItem, DumpOptions, DumpWhat, Inspection};
use anabranch::sim::{LossMode, SimDisk};
use anabranch::{
    HashKey, ManualClock, PutRecord, RecordNumber, ShardId, StartingPosition, Store, StoreOptions, Stream,
    Timestamp,
};

use super::outcome::{ShardName, read_store};
use crate::manifest::MANIFEST_STRIPE;
use crate::model::{KEYS, key_ring};

pub const DIRECTORY: &str = "store";

pub struct SoundStore {
    pub disk: SimDisk,
    pub clock: ManualClock,
    /// All files and their bytes.
    pub files: BTreeMap<PathBuf, Vec<u8>>,
    /// Bytes with a meaning, in the order of each file. All others have none.
    pub meaning: BTreeMap<PathBuf, Vec<Piece>>,
    /// The records that readers of every shard see.
    pub history: BTreeMap<ShardName, Vec<anabranch::Record>>,
    /// Shards that take records.
    pub open: Vec<ShardName>,
}

/// A stretch of bytes that is read, accepted or refused as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    pub bytes: Range<u64>,
    /// The shard that is damaged with it, and the first record that is then not served. A piece of no shard keeps the
    /// store from opening.
    pub log: Option<(ShardName, RecordNumber)>,
    /// The last commit of a log that was being written to: damage there looks like a torn write.
    pub is_undecidable: bool,
    /// Whether it is in one of the manifest's two copies, so that the other has it too.
    pub copied: Option<Copied>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    Durably,
    /// The last edit, which a crash may have kept from one copy.
    Last,
}

pub fn options(disk: &SimDisk, clock: &ManualClock) -> StoreOptions {
    StoreOptions::new()
        .segment_bytes(64 * 1024)
        .keeper(false)
        .flusher_threads(1)
        .min_journaled_shards(usize::MAX)
        .clock(clock.clone())
        .keys(key_ring())
        .disk(disk.clone())
}

impl SoundStore {
    /// Two streams, one of which is encrypted later, a split, a merge, an interruption, a roll-over, a retention cut, a
    /// recycled file, a checkpoint. All logs are at rest except one that was being written to when its process was
    /// killed.
    pub fn new() -> Self {
        let clock = ManualClock::starting_at(Timestamp::from_millis(1_700_000_000_000));
        let disk = SimDisk::new(1);
        let store = options(&disk, &clock).open(DIRECTORY).unwrap();
        let orders = store.create_stream("orders", 2).unwrap();
        store
            .create_stream("clicks", 1)
            .unwrap()
            .put("user-1", b"before the interruption")
            .unwrap();
        spread(&orders, 3);
        orders.split_shard(shard(0), HashKey::new(1 << 126)).unwrap();
        spread(&orders, 2);

        let disk = disk.crash(LossMode::KeepAll);
        let store = options(&disk, &clock).open(DIRECTORY).unwrap();
        let orders = store.stream("orders").unwrap();
        spread(&orders, 2);
        orders
            .increase_retention(anabranch::Retention::hours(72))
            .unwrap();
        orders.merge_shards(shard(3), shard(1)).unwrap();
        spread(&orders, 2);
        let mut reader = orders.reader(StartingPosition::TrimHorizon).unwrap();
        reader.next().unwrap().unwrap();
        reader.save_checkpoint("billing").unwrap();
        let clicks = store.stream("clicks").unwrap();
        clicks.start_encryption(KEYS[0]).unwrap();
        put_large_and_trim(&store, &clicks, &clock);
        rest(&store, &clock);
        for data in [&b"one"[..], b"two", b"three", b"four"] {
            clicks.put("user-1", data).unwrap();
        }
        // A kill, so that a recycled file is at its place; nothing else is unsynced.
        Self::of(disk.crash(LossMode::KeepAll), clock)
    }

    fn of(disk: SimDisk, clock: ManualClock) -> Self {
        let files: BTreeMap<_, _> = disk
            .rot()
            .files()
            .into_iter()
            .map(|(path, _)| (path.clone(), disk.rot().read(&path).unwrap()))
            .collect();
        let history = read_store(&options(&copy(&disk), &clock).open(DIRECTORY).unwrap());
        let open = history.iter().filter(|(_, shard)| shard.is_open);
        let open = open.map(|(name, _)| name.clone()).collect();
        let history = history
            .into_iter()
            .map(|(name, shard)| match shard.error {
                None => (name, shard.records),
                Some(error) => panic!("{name:?}: {error}"),
            })
            .collect();
        Self {
            meaning: pieces(&disk, &files),
            disk,
            clock,
            files,
            history,
            open,
        }
    }

    pub fn copy(&self) -> SimDisk {
        copy(&self.disk)
    }

    /// The piece that a byte belongs to.
    pub fn piece_at(&self, path: &Path, offset: u64) -> Option<&Piece> {
        let pieces = self.meaning.get(path)?;
        pieces.iter().find(|piece| piece.bytes.contains(&offset))
    }
}

pub fn copy(disk: &SimDisk) -> SimDisk {
    disk.image(LossMode::KeepAll)
}

fn shard(index: u32) -> ShardId {
    ShardId::new(index).unwrap()
}

/// The first segment is filled by one record and trimmed, and its file waits to be reused.
fn put_large_and_trim(store: &Store, stream: &Stream, clock: &ManualClock) {
    stream.put("user-1", &[b'x'; 60_000]).unwrap();
    stream.put("user-2", &[b'y'; 3_000]).unwrap();
    clock.advance(Duration::from_secs(25 * 3_600));
    stream.put("user-1", b"after the cut").unwrap();
    store.maintain().unwrap();
}

/// Some frames in every open shard.
fn spread(stream: &Stream, rounds: u8) {
    for round in 0..rounds {
        for key in 0..4_u8 {
            let hash = HashKey::new(u128::from(key) << 126);
            let data = vec![b'a' + round; 20 + usize::from(key)];
            let put = PutRecord::new("user", &data).explicit_hash_key(hash);
            stream.put_record(&put).unwrap();
        }
    }
}

fn rest(store: &Store, clock: &ManualClock) {
    store.maintain().unwrap();
    clock.advance(Duration::from_secs(6));
    store.maintain().unwrap();
}

fn pieces(disk: &SimDisk, files: &BTreeMap<PathBuf, Vec<u8>>) -> BTreeMap<PathBuf, Vec<Piece>> {
    let mut pieces: BTreeMap<PathBuf, Vec<Piece>> = BTreeMap::new();
    let of_store = |bytes| Piece {
        bytes,
        log: None,
        is_undecidable: false,
        copied: None,
    };
    let current = Path::new(DIRECTORY).join("CURRENT");
    pieces.insert(current.clone(), vec![of_store(0..files[&current].len() as u64)]);
    let mut resting = BTreeMap::new();
    for what in [
        DumpWhat::Manifest,
        DumpWhat::Lineage,
        DumpWhat::Segments,
        DumpWhat::Frames,
    ] {
        let inspection = Inspection::of(DIRECTORY).disk(disk.clone());
        let mut last_offset = None;
        let mut take = |item| match item {
            DumpItem::Edit(edit) => {
                let copied = |bytes: Range<u64>| {
                    [0, MANIFEST_STRIPE as u64].map(|copy| Piece {
                        copied: Some(Copied::Last),
                        ..of_store(copy + bytes.start..copy + bytes.end)
                    })
                };
                let manifest = pieces
                    .entry(edit.path.clone())
                    .or_insert_with(|| copied(0..64).to_vec());
                if last_offset != Some(edit.offset) {
                    last_offset = Some(edit.offset);
                    let at = edit.offset as usize + 4;
                    let body = u32::from_le_bytes(*files[&edit.path][at..].first_chunk().unwrap());
                    manifest
                        .iter_mut()
                        .for_each(|piece| piece.copied = Some(Copied::Durably));
                    manifest.extend(copied(edit.offset..edit.offset + 24 + u64::from(body)));
                }
            }
            DumpItem::Shard(shard) => {
                let name = (shard.log.stream_name.clone().unwrap(), shard.log.shard().unwrap());
                resting.insert(name, shard.next_record.is_some());
            }
            DumpItem::Segment(segment) => {
                let name = (
                    segment.log.stream_name.clone().unwrap(),
                    segment.log.shard().unwrap(),
                );
                pieces.entry(segment.path).or_default().push(Piece {
                    bytes: 0..4096,
                    log: Some((name, segment.first_record)),
                    is_undecidable: false,
                    copied: None,
                });
            }
            DumpItem::Frame(frame) => {
                let name = (frame.log.stream_name.clone().unwrap(), frame.log.shard().unwrap());
                let of_segment = pieces.get_mut(&frame.path).unwrap();
                of_segment
                    .iter_mut()
                    .for_each(|piece| piece.is_undecidable = false);
                of_segment.push(Piece {
                    bytes: frame.offset..frame.offset + frame.bytes,
                    is_undecidable: !resting[&name] && frame.path.ends_with(last_segment(files, &frame.path)),
                    log: Some((name, frame.first_record)),
                    copied: None,
                });
            }
            other => panic!("{other:?}"),
        };
        inspection
            .dump(&DumpOptions::of(what), &mut |item| {
                take(item);
                ControlFlow::Continue(())
            })
            .unwrap();
    }
    pieces
}

/// The name of the last segment beside this one.
fn last_segment(files: &BTreeMap<PathBuf, Vec<u8>>, path: &Path) -> PathBuf {
    let beside = files.keys().filter(|other| other.parent() == path.parent());
    let segments = beside.filter(|other| other.extension().is_some_and(|kind| kind == "log"));
    segments.max().unwrap().file_name().unwrap().into()
}
