//! Any bytes as a manifest.
//!
//! ```text
//! byte 0   bit 0: the store that was closed, or the one that crashed; the rest: what is done, see `Change`
//! ```

use std::path::PathBuf;
use std::time::Duration;

use anabranch::sim::SimDisk;
use anabranch::{Error, HashKey, ShardId, StartingPosition, Store, StreamOptions};

use super::base::{self, Base};
use super::program::Program;

const HEADER_BYTES: usize = 64;
const FRAME_HEADER_BYTES: usize = 24;

/// The change of the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// It is the rest of the input.
    Replace,
    /// Pieces are overwritten.
    Overwrite,
    /// The rest of the input is one more list of edits, with checksums that hold.
    Append,
    /// The rest of the input is the snapshot, with checksums that hold.
    Snapshot,
    /// CURRENT is the rest of the input.
    Current,
}

const CHANGES: [Change; 5] = [
    Change::Replace,
    Change::Overwrite,
    Change::Append,
    Change::Snapshot,
    Change::Current,
];

pub fn run(input: &[u8]) {
    let disk = Changed::by(input).disk;
    match base::open(&disk) {
        Ok(store) => use_everything(&store),
        Err(error) => return assert_says_why(&error),
    }
    let store = base::open(&disk).unwrap_or_else(|error| panic!("what opened once opens again: {error}"));
    use_everything(&store);
}

/// A store whose manifest was changed.
pub(crate) struct Changed {
    pub(crate) disk: SimDisk,
    pub(crate) base: &'static Base,
    change: Change,
}

impl Changed {
    pub(crate) fn by(input: &[u8]) -> Self {
        let mut program = Program(input);
        let first = program.byte();
        let base = Base::of(first & 1);
        let change = CHANGES[usize::from(first >> 1) % CHANGES.len()];
        let disk = base.copy();
        let rot = disk.rot();
        let mut file = rot.read(&base.manifest).expect("the manifest is there");
        match change {
            Change::Replace => file = program.rest().to_vec(),
            Change::Overwrite => program.overwrite(&mut file),
            Change::Append => {
                let frames = frames(&file);
                let frame = sealed_frame(&file, frames.len() as u64, program.rest());
                let end = frames.last().map_or(HEADER_BYTES, |(end, _)| *end);
                file.resize(file.len().max(end + frame.len()), 0);
                file[end..end + frame.len()].copy_from_slice(&frame);
            }
            Change::Snapshot => {
                let frame = sealed_frame(&file, 0, program.rest());
                file.truncate(HEADER_BYTES);
                file.extend_from_slice(&frame);
            }
            Change::Current => rot
                .put(base.manifest.with_file_name("CURRENT"), program.rest())
                .expect("the directory is there"),
        }
        rot.put(&base.manifest, &file).expect("the directory is there");
        Self { disk, base, change }
    }

    /// Whether checksums hold over contents that no store wrote.
    pub(crate) fn is_forged(&self) -> bool {
        matches!(self.change, Change::Append | Change::Snapshot)
    }
}

/// Whatever the manifest says, each operation works or gives an error.
fn use_everything(store: &Store) {
    let streams = store.streams(None, 10).expect("an open store lists its streams");
    for summary in streams {
        let Ok(stream) = store.stream(&summary.name) else {
            continue;
        };
        let _ = stream.describe();
        let _ = base::read(&stream);
        let _ = stream.put("key", b"data");
        let _ = base::read(&stream);
        let _ = stream.decrease_retention(anabranch::Retention::hours(24));
    }
    let _ = store.maintain();
    let _ = store
        .create_stream("another", 2)
        .map(|stream| stream.put("key", b"data"));
    let _ = store.close();
}

fn assert_says_why(error: &Error) {
    assert!(
        matches!(
            error,
            Error::Corrupt { .. }
                | Error::UnsupportedFormat { .. }
                | Error::UnknownEncoding { .. }
                | Error::Io { .. }
                | Error::Unreadable { .. }
                | Error::StorageFull { .. }
        ),
        "{error}"
    );
}

/// Where each frame of a whole manifest ends, and its body.
fn frames(file: &[u8]) -> Vec<(usize, &[u8])> {
    let mut frames = Vec::new();
    let mut at = HEADER_BYTES;
    while let Some(header) = file[at..].first_chunk::<FRAME_HEADER_BYTES>()
        && header[0] != 0
    {
        let length = u32::from_le_bytes(std::array::from_fn(|i| header[4 + i])) as usize;
        let body = &file[at + FRAME_HEADER_BYTES..][..length];
        at += (FRAME_HEADER_BYTES + length).next_multiple_of(8);
        frames.push((at, body));
    }
    frames
}

fn sealed_frame(file: &[u8], sequence: u64, body: &[u8]) -> Vec<u8> {
    let checksum = |bytes: &[u8]| {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&file[16..48]);
        hasher.update(bytes);
        hasher.finalize().to_le_bytes()
    };
    let mut frame = 0x4546_4D41_u32.to_le_bytes().to_vec();
    frame.extend_from_slice(&(body.len() as u32).to_le_bytes());
    frame.extend_from_slice(&sequence.to_le_bytes());
    frame.extend_from_slice(&checksum(body));
    frame.extend_from_slice(&checksum(&frame));
    frame.extend_from_slice(body);
    frame.resize(frame.len().next_multiple_of(8), 0);
    frame
}

/// One input for each change, and one for each list of edits that a store makes.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let input = |base: u8, change: Change, rest: &[u8]| {
        let change = CHANGES.iter().position(|known| *known == change).unwrap_or(0) as u8;
        [&[base | change << 1], rest].concat()
    };
    let busy = busy_store();
    let file = manifest(&busy);
    let known = frames(&manifest(&Base::of(0).copy())).len();
    let mut seeds: Vec<_> = frames(&file)
        .iter()
        .skip(known)
        .enumerate()
        .map(|(number, (_, body))| (format!("edits-{number:02}"), input(0, Change::Append, body)))
        .collect();
    let whole = frames(&file).last().map_or(0, |(end, _)| *end);

    // If there is garbage behind the last frame, the manifest is rewritten as one snapshot.
    let garbage_at = whole as u64 + 8;
    let path = manifest_path(&busy);
    busy.rot()
        .overwrite(path, garbage_at, b"torn")
        .expect("the manifest is there");
    drop(base::open(&busy));
    let snapshot = manifest(&busy);
    let mut others = vec![
        ("replace", input(0, Change::Replace, &file[..whole])),
        (
            "an-edit-damaged-that-was-built-upon",
            input(
                1,
                Change::Replace,
                &damaged_in_the_middle(&manifest(&Base::of(1).copy())),
            ),
        ),
        ("overwrite", input(1, Change::Overwrite, &[0x40, 0, 0, 2, 1, 2])),
        (
            "current",
            input(0, Change::Current, b"MANIFEST-000001 9ab8d1c5\n"),
        ),
        ("snapshot", input(0, Change::Snapshot, frames(&snapshot)[0].1)),
        (
            "snapshot-of-an-empty-store",
            input(1, Change::Snapshot, frames(&file)[0].1),
        ),
    ];
    seeds.extend(others.drain(..).map(|(name, input)| (name.to_owned(), input)));
    seeds
}

/// The first copy of a manifest, with a flipped bit in a frame that others follow.
fn damaged_in_the_middle(file: &[u8]) -> Vec<u8> {
    let frames = frames(file);
    let whole = frames.last().map_or(0, |(end, _)| *end);
    let mut damaged = file[..whole].to_vec();
    let (snapshot_end, _) = frames[0];
    damaged[snapshot_end + FRAME_HEADER_BYTES] ^= 1;
    damaged
}

/// A store whose manifest has every kind of edit, with some changes not finished.
fn busy_store() -> SimDisk {
    let disk = Base::of(0).copy();
    let store = base::open(&disk).expect("the base opens");
    let clicks = store.stream("clicks").expect("the base has a stream");
    let shard = |index| ShardId::new(index).expect("a small number");
    clicks.put("key", b"resumes the log").expect("there is room");
    clicks
        .split_shard(shard(0), HashKey::new(1 << 127))
        .expect("one shard has all keys");
    clicks.put("key", b"begins a log").expect("there is room");
    clicks
        .merge_shards(shard(1), shard(2))
        .expect("they are neighbours");
    clicks
        .increase_retention(anabranch::Retention::hours(48))
        .expect("that is longer");
    let checkpoint = clicks
        .reader(StartingPosition::TrimHorizon)
        .expect("it is open")
        .checkpoint();
    clicks
        .save_checkpoint("mine", &checkpoint)
        .expect("there is room");
    clicks
        .save_checkpoint("yours", &checkpoint)
        .expect("there is room");
    clicks.remove_checkpoint("yours").expect("there is room");
    let views = StreamOptions {
        shard_count: 3,
        tags: [("owner".to_owned(), "me".to_owned())].into(),
        ..StreamOptions::default()
    };
    store
        .create_stream_with("views", views)
        .expect("the name is free");
    let views = store.stream("views").expect("it is there");
    let tags = [("stage".to_owned(), "test".to_owned())].into();
    let removed = ["owner".to_owned()];
    views.change_tags(&tags, &removed, 50).expect("there is room");
    views
        .set_attribute("policy", Some(b"allow"))
        .expect("there is room");
    let consumer = views.register_consumer("billing").expect("the name is free");
    views.register_consumer("audit").expect("the name is free");
    views.remove_consumer(consumer.id).expect("there is room");
    let tenant = store.namespace("tenant/region").expect("a plain name");
    tenant.create_stream("clicks", 1).expect("the name is free");
    tenant
        .set_attribute("limits", Some(b"none"))
        .expect("there is room");
    drop((views, tenant));
    store.create_stream("gone", 1).expect("the name is free");
    store
        .stream("gone")
        .and_then(|stream| stream.delete())
        .expect("it is there");
    store.close().expect("nothing fails");
    drop((clicks, store));

    let slow = base::options(&disk).transition_delay(Duration::from_secs(60));
    let store = slow.open(base::DIRECTORY).expect("what was closed opens");
    store.create_stream("coming", 2).expect("the name is free");
    let views = store.stream("views").expect("it is there");
    views
        .merge_shards(shard(0), shard(1))
        .expect("they are neighbours");
    store
        .stream("clicks")
        .expect("it is there")
        .delete()
        .expect("it is active");
    store.close().expect("nothing fails");
    disk
}

fn manifest_path(disk: &SimDisk) -> PathBuf {
    let files = disk.rot().files().into_iter();
    files
        .map(|(path, _)| path)
        .find(|path| path.to_string_lossy().contains("MANIFEST"))
        .expect("a store has a manifest")
}

fn manifest(disk: &SimDisk) -> Vec<u8> {
    disk.rot()
        .read(manifest_path(disk))
        .expect("the manifest is there")
}
