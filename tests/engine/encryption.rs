//! Records that are encrypted on the disk: who can read them, and what the files reveal of them.

use std::ops::ControlFlow;
use std::path::Path;

use anabranch::inspect::{DumpItem, DumpOptions, DumpWhat, Inspection};
use anabranch::{
    Durability, Error, HashKey, KeyRing, PutRecord, QueueOptions, ReadLimit, ReceiveOptions, ShardId,
    StartingPosition, Store, StoreOptions, Stream,
};
use anabranch_harness::files::quick_parent;

const ALL: ReadLimit = ReadLimit {
    records: usize::MAX,
    bytes: usize::MAX,
};

/// Bytes that no file may have of an encrypted record.
const DATA: &[u8] = b"data-for-no-one-else";
const KEY: &str = "partition-key-for-no-one-else";

fn keys(ids: &[&str]) -> KeyRing {
    let keys = KeyRing::new();
    for id in ids {
        let mut key = [0; 32];
        key[..id.len()].copy_from_slice(id.as_bytes());
        keys.insert(id, key);
    }
    keys
}

fn options(keys: &KeyRing) -> StoreOptions {
    StoreOptions::new()
        .keeper(false)
        .segment_bytes(64 << 10)
        .min_journaled_shards(2)
        .keys(keys.clone())
}

fn read(stream: &Stream) -> anabranch::Result<Vec<Vec<u8>>> {
    let records = stream.reader(StartingPosition::TrimHorizon)?;
    records
        .map(|record| record.map(|record| record.data.to_vec()))
        .collect()
}

fn files_with(directory: &Path, needle: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, needle));
        } else if std::fs::read(&path)
            .unwrap()
            .windows(needle.len())
            .any(|window| window == needle)
        {
            found.push(path.display().to_string());
        }
    }
    found
}

/// A batch over all shards, which goes through the commit journal, and single records.
fn put_everywhere(stream: &Stream, rounds: usize) {
    for _ in 0..rounds {
        let batch: Vec<_> = (0..8_u128)
            .map(|part| PutRecord::new(KEY, DATA).explicit_hash_key(HashKey::new(part << 125)))
            .collect();
        stream.put_records(&batch).unwrap();
        stream.put(KEY, DATA).unwrap();
    }
}

#[test]
fn no_file_of_the_store_has_anything_of_an_encrypted_record() {
    let keys = keys(&["alias/a"]);
    for durability in [Durability::Synced, Durability::Written, Durability::Buffered] {
        let directory = tempfile::tempdir().unwrap();
        let options = options(&keys).durability(durability);
        let store = options.open(directory.path()).unwrap();
        let stream = store.create_stream("s", 4).unwrap();
        stream.start_encryption("alias/a").unwrap();
        put_everywhere(&stream, 20);
        // Enough bytes for more segments, and their index files.
        let large = DATA.repeat(1_500);
        for _ in 0..5 {
            stream.put(KEY, &large).unwrap();
        }
        stream
            .split_shard(ShardId::new(0).unwrap(), HashKey::new(1 << 125))
            .unwrap();
        put_everywhere(&stream, 5);
        let written = read(&stream).unwrap();
        assert_eq!(written.len(), 20 * 9 + 5 + 5 * 9);
        assert!(written.iter().all(|data| data.starts_with(DATA)));
        store.close().unwrap();
        for needle in [DATA, KEY.as_bytes()] {
            assert_eq!(files_with(directory.path(), needle), [""; 0], "{durability:?}");
        }
        // The test would notice it.
        let store = options.open(directory.path()).unwrap();
        let stream = store.stream("s").unwrap();
        assert_eq!(read(&stream).unwrap(), written);
        stream.stop_encryption().unwrap();
        stream.put(KEY, DATA).unwrap();
        store.close().unwrap();
        assert_eq!(files_with(directory.path(), DATA).len(), 1, "{durability:?}");
    }
}

#[test]
fn what_was_put_before_and_with_earlier_keys_is_read_as_long_as_they_are_there() {
    let directory = tempfile::tempdir().unwrap();
    let keys = keys(&["a", "b"]);
    let store = options(&keys).open(directory.path()).unwrap();
    let stream = store.create_stream("s", 1).unwrap();
    assert!(!stream.is_encrypted());
    stream.put("k", b"plain").unwrap();
    stream.start_encryption("a").unwrap();
    assert!(stream.is_encrypted());
    assert_eq!(stream.summary().unwrap().encryption_key.as_deref(), Some("a"));
    stream.put("k", b"by a").unwrap();
    stream
        .start_encryption("arn:aws:kms:eu-west-1:000000000000:key/b")
        .unwrap();
    stream.put("k", b"by b").unwrap();
    stream.stop_encryption().unwrap();
    assert_eq!(stream.summary().unwrap().encryption_key, None);
    stream.put("k", b"plain again").unwrap();
    let all: [&[u8]; 4] = [b"plain", b"by a", b"by b", b"plain again"];
    assert_eq!(read(&stream).unwrap(), all);
    store.close().unwrap();

    let store = options(&keys).open(directory.path()).unwrap();
    let stream = store.stream("s").unwrap();
    assert_eq!(read(&stream).unwrap(), all);

    // Without the first key, the records it encrypted are reported as missed, and those before and behind are read.
    assert!(keys.remove("a"));
    let from = stream
        .shard_iterator(ShardId::new(0).unwrap(), StartingPosition::TrimHorizon)
        .unwrap();
    let first = stream.get_records(&from, &ALL).unwrap();
    assert_eq!(first.records.len(), 1);
    let missing = stream.get_records(&first.next.unwrap(), &ALL).unwrap_err();
    assert!(
        matches!(
            missing,
            Error::KeyNotFound {
                id: None,
                fingerprint: Some(_)
            }
        ),
        "{missing}"
    );
    keys.insert("b", [9; 32]);
    let missing = read(&stream).unwrap_err();
    assert!(matches!(missing, Error::KeyNotFound { .. }), "{missing}");
    // With the keys all records are readable again, whatever the keys are called.
    keys.replace(&self::keys(&["a", "b"]));
    assert_eq!(read(&stream).unwrap(), all);
}

#[test]
fn without_its_key_a_stream_takes_nothing_and_is_not_damaged() {
    let directory = tempfile::tempdir().unwrap();
    let keys = keys(&["a"]);
    let store = options(&keys).open(directory.path()).unwrap();
    let stream = store.create_stream("s", 2).unwrap();
    let other = store.create_stream("other", 1).unwrap();
    stream.start_encryption("a").unwrap();
    stream.put("k", b"1").unwrap();

    keys.remove("a");
    let refused = stream.put("k", b"2").unwrap_err();
    let Error::KeyNotFound {
        id,
        fingerprint: Some(_),
    } = &refused
    else {
        panic!("{refused}")
    };
    assert_eq!(id.as_deref(), Some("a"));
    assert!(refused.to_string().contains("\"a\""), "{refused}");
    other.put("k", b"another stream goes on").unwrap();
    assert!(stream.start_encryption("a").is_err());
    assert!(matches!(
        other.start_encryption("unknown").unwrap_err(),
        Error::KeyNotFound { id: Some(id), fingerprint: None } if id == "unknown"
    ));
    assert!(!other.is_encrypted());

    keys.replace(&self::keys(&["a"]));
    stream.put("k", b"3").unwrap();
    assert_eq!(read(&stream).unwrap(), [b"1", b"3"]);
    drop(stream);
    drop(other);
    store.close().unwrap();

    // Opened without any key, the store is unchanged.
    let plain = StoreOptions::new().keeper(false);
    let store = plain.open(directory.path()).unwrap();
    assert!(!store.has_keys());
    let stream = store.stream("s").unwrap();
    assert!(matches!(stream.put("k", b"4"), Err(Error::KeyNotFound { .. })));
    assert!(matches!(read(&stream), Err(Error::KeyNotFound { .. })));
    assert_eq!(read(&store.stream("other").unwrap()).unwrap().len(), 1);
    stream
        .split_shard(ShardId::new(0).unwrap(), HashKey::new(1 << 100))
        .unwrap();
    store.close().unwrap();
    assert!(
        Inspection::of(directory.path())
            .verify(&mut |_| {})
            .unwrap()
            .is_sound()
    );
    let store = options(&self::keys(&["a"])).open(directory.path()).unwrap();
    assert_eq!(read(&store.stream("s").unwrap()).unwrap(), [b"1", b"3"]);
}

#[test]
fn a_stream_whose_key_is_only_declared_is_not_encrypted() {
    let directory = tempfile::tempdir().unwrap();
    let store = options(&keys(&["a"])).open(directory.path()).unwrap();
    let stream = store.create_stream("s", 1).unwrap();
    stream.start_encryption("a").unwrap();
    // A declaration must not turn encryption off.
    assert!(matches!(
        stream.declare_encryption("b"),
        Err(Error::KeyNotFound { .. })
    ));
    stream.stop_encryption().unwrap();
    stream.declare_encryption("alias/aws/kinesis").unwrap();
    stream.put(KEY, DATA).unwrap();
    assert!(stream.is_encrypted());
    store.close().unwrap();
    assert_eq!(files_with(directory.path(), DATA).len(), 1);
    let store = Store::open(directory.path()).unwrap();
    let stream = store.stream("s").unwrap();
    assert_eq!(
        stream.summary().unwrap().encryption_key.as_deref(),
        Some("alias/aws/kinesis")
    );
    assert_eq!(read(&stream).unwrap(), [DATA]);
}

#[test]
fn a_killed_store_brings_encrypted_records_back() {
    let directory = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let keys = keys(&["a"]);
    let store = options(&keys).open(directory.path()).unwrap();
    let stream = store.create_stream("s", 4).unwrap();
    stream.start_encryption("a").unwrap();
    put_everywhere(&stream, 3);
    copy_files(directory.path(), copy.path());
    let store_of_copy = options(&keys).open(copy.path()).unwrap();
    let of_copy = store_of_copy.stream("s").unwrap();
    assert_eq!(read(&of_copy).unwrap().len(), 27);
    put_everywhere(&of_copy, 1);
    assert_eq!(read(&of_copy).unwrap().len(), 36);
}

#[cfg(feature = "sim")]
#[test]
fn records_that_were_acknowledged_from_memory_are_not_written_plain_when_encryption_stops() {
    use anabranch::sim::{Operation, SimDisk};
    let keys = keys(&["a"]);
    for stop in [Stream::stop_encryption, |stream: &Stream| {
        stream.stop_encryption()?;
        stream.declare_encryption("b")
    }] {
        let disk = SimDisk::new(4);
        let options = options(&keys).durability(Durability::Buffered).disk(disk.clone());
        let store = options.open("store").unwrap();
        let stream = store.create_stream("s", 1).unwrap();
        stream.start_encryption("a").unwrap();
        stream.put(KEY, DATA).unwrap();
        assert_eq!(read(&stream).unwrap().len(), 1);
        let stall = disk.stall_next(Operation::Write, "");
        stream.put(KEY, DATA).unwrap();
        stall.wait_until_reached();
        // They wait for the write to end.
        for _ in 0..10 {
            stream.put(KEY, DATA).unwrap();
        }
        stop(&stream).unwrap();
        drop(stall);
        store.close().unwrap();
        for (path, _) in disk.rot().files() {
            let bytes = disk.rot().read(&path).unwrap();
            assert!(
                !bytes.windows(DATA.len()).any(|window| window == DATA),
                "{}",
                path.display()
            );
        }
        let store = options.open("store").unwrap();
        assert_eq!(read(&store.stream("s").unwrap()).unwrap(), vec![DATA; 12]);
    }
}

#[test]
fn from_memory_nothing_is_acknowledged_that_cannot_be_encrypted() {
    let directory = tempfile::tempdir().unwrap();
    let keys = keys(&["a"]);
    let options = options(&keys).durability(Durability::Buffered);
    let store = options.open(directory.path()).unwrap();
    let stream = store.create_stream("s", 1).unwrap();
    let other = store.create_stream("other", 1).unwrap();
    stream.start_encryption("a").unwrap();
    stream.put("k", b"1").unwrap();
    assert_eq!(read(&stream).unwrap(), [b"1"]);
    other.put("k", b"1").unwrap();
    keys.remove("a");
    assert!(matches!(stream.put("k", b"2"), Err(Error::KeyNotFound { .. })));
    other.put("k", b"2").unwrap();
    keys.replace(&self::keys(&["a"]));
    stream.put("k", b"3").unwrap();
    store.close().unwrap();
    let store = options.open(directory.path()).unwrap();
    assert_eq!(read(&store.stream("s").unwrap()).unwrap(), [b"1", b"3"]);
    assert_eq!(read(&store.stream("other").unwrap()).unwrap(), [b"1", b"2"]);
}

/// The shard's log behind the frame is unknown, and so is whether the shard has children.
#[test]
fn a_queue_gives_out_the_records_of_shards_whose_parent_cannot_be_read_without_its_key() {
    let directory = tempfile::tempdir().unwrap();
    let keys = keys(&["a", "b"]);
    let store = options(&keys).open(directory.path()).unwrap();
    let stream = store.create_stream("s", 1).unwrap();
    let queue = stream.create_queue("work", &QueueOptions::default()).unwrap();
    stream.start_encryption("a").unwrap();
    stream.put("k", b"by a").unwrap();
    stream.start_encryption("b").unwrap();
    keys.remove("a");
    let receive = || queue.receive(&ReceiveOptions::default());
    assert!(matches!(receive(), Err(Error::KeyNotFound { .. })));
    stream
        .split_shard(ShardId::new(0).unwrap(), HashKey::new(1 << 127))
        .unwrap();
    for (key, data) in [(HashKey::MIN, b"low"), (HashKey::MAX, b"top")] {
        let record = PutRecord::new("k", data).explicit_hash_key(key);
        stream.put_record(&record).unwrap();
    }
    let mut received: Vec<_> = receive()
        .unwrap()
        .into_iter()
        .map(|record| record.record.data.to_vec())
        .collect();
    received.sort();
    assert_eq!(received, [b"low", b"top"]);
    assert!(matches!(receive(), Err(Error::KeyNotFound { .. })));
    keys.replace(&self::keys(&["a", "b"]));
    assert_eq!(&receive().unwrap()[0].record.data[..], b"by a");
}

#[cfg(feature = "sim")]
#[test]
fn a_key_that_goes_while_a_segment_is_begun_stops_no_more_than_it_has_to() {
    use anabranch::sim::{LossMode, Operation, SimDisk};
    let disk = SimDisk::new(3);
    let keys = keys(&["a", "b"]);
    let options = options(&keys);
    let store = options.clone().disk(disk.clone()).open("store").unwrap();
    let stream = store.create_stream("s", 1).unwrap();
    let mut put: Vec<Vec<u8>> = Vec::new();
    // Each round begins a segment, since the stream has another key than before.
    for (round, (operation, path)) in [
        (Operation::Write, ""),
        (Operation::Rename, ""),
        (Operation::SyncData, ""),
        (Operation::SyncDir, ""),
        (Operation::SyncData, "MANIFEST"),
    ]
    .into_iter()
    .enumerate()
    {
        let key = ["a", "b"][round % 2];
        stream.start_encryption(key).unwrap();
        let stall = disk.stall_next(operation, path);
        let data = round.to_string().into_bytes();
        let taken = std::thread::scope(|scope| {
            let putting = scope.spawn(|| stream.put("k", &data));
            stall.wait_until_reached();
            keys.remove(key);
            drop(stall);
            putting.join().unwrap()
        });
        match taken {
            Ok(_) => put.push(data),
            Err(Error::KeyNotFound { .. }) => {}
            Err(error) => panic!("{operation:?} of {path}: {error}"),
        }
        keys.replace(&self::keys(&["a", "b"]));
        stream.stop_encryption().unwrap();
        stream.put("k", b"plain").unwrap();
        put.push(b"plain".to_vec());
        assert_eq!(read(&stream).unwrap(), put, "{operation:?} of {path}");
    }
    drop(stream);
    drop(store);
    let store = options.disk(disk.crash(LossMode::KeepAll)).open("store").unwrap();
    assert_eq!(read(&store.stream("s").unwrap()).unwrap(), put);
}

fn copy_files(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            std::fs::create_dir(&to).unwrap();
            copy_files(&path, &to);
        } else if path.file_name().unwrap() != "LOCK" {
            std::fs::copy(&path, &to).unwrap();
        }
    }
}

#[test]
fn any_changed_byte_of_a_segment_is_told_and_no_wrong_record_is_read() {
    let directory = tempfile::tempdir_in(quick_parent()).unwrap();
    let keys = keys(&["a"]);
    let store = options(&keys).open(directory.path()).unwrap();
    let stream = store.create_stream("s", 1).unwrap();
    stream.start_encryption("a").unwrap();
    stream.put("k", b"first").unwrap();
    stream.put("k", b"second").unwrap();
    store.close().unwrap();
    let segment = segments(directory.path()).pop().unwrap();
    let bytes = std::fs::read(&segment).unwrap();
    let used = 4096 + 2 * (64 + 24 + 32);
    for at in (84..200).chain(4096..used) {
        let mut changed = bytes.clone();
        changed[at] ^= 0x40;
        std::fs::write(&segment, &changed).unwrap();
        let store = options(&keys).open(directory.path()).unwrap();
        let read = read(&store.stream("s").unwrap());
        assert!(read.is_err(), "byte {at}: {read:?}");
        assert!(!matches!(read, Err(Error::KeyNotFound { .. })), "byte {at}");
        drop(store);
        assert!(
            !Inspection::of(directory.path())
                .verify(&mut |_| {})
                .unwrap()
                .is_sound(),
            "byte {at}"
        );
    }
    std::fs::write(&segment, &bytes).unwrap();
    let store = options(&keys).open(directory.path()).unwrap();
    assert_eq!(read(&store.stream("s").unwrap()).unwrap().len(), 2);
}

fn segments(directory: &Path) -> Vec<std::path::PathBuf> {
    let shard = directory.join("streams/1/shardId-000000000000");
    let files = std::fs::read_dir(shard)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    segments.sort();
    segments
}

#[test]
fn a_dump_shows_encrypted_records_to_those_with_the_key() {
    let directory = tempfile::tempdir().unwrap();
    let keys = keys(&["a", "b"]);
    let store = options(&keys).open(directory.path()).unwrap();
    let stream = store.create_stream("s", 1).unwrap();
    stream.start_encryption("a").unwrap();
    stream.put("k", b"by a").unwrap();
    stream.start_encryption("b").unwrap();
    stream.put("k", b"by b").unwrap();
    store.close().unwrap();
    let shown = |keys: Option<KeyRing>| {
        let mut options = DumpOptions::of(DumpWhat::Records);
        options.keys = keys;
        let (mut records, mut encrypted) = (Vec::new(), 0);
        let dumped = Inspection::of(directory.path()).dump(&options, &mut |item| {
            match item {
                DumpItem::Record(record) => records.push(record.data.to_vec()),
                DumpItem::Encrypted(frame) => {
                    assert!(frame.encrypted_with.is_some());
                    encrypted += frame.count;
                }
                other => panic!("{other:?}"),
            }
            ControlFlow::Continue(())
        });
        dumped.unwrap();
        (records, encrypted)
    };
    assert_eq!(shown(None), (vec![], 2));
    keys.remove("a");
    assert_eq!(shown(Some(keys)), (vec![b"by b".to_vec()], 1));
    assert_eq!(
        shown(Some(self::keys(&["a", "b"]))),
        (vec![b"by a".to_vec(), b"by b".to_vec()], 0)
    );
}
