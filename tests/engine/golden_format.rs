//! The bytes on disk are pinned: present code writes, byte for byte, the files in `tests/golden`, and can read them.
//!
//! After a deliberate change of the format, `ANABRANCH_BLESS=1 cargo test --all-features --test engine golden_format::`
//! writes the files again. The folder of a released format is never changed; a new format gets a new folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anabranch::sim::SimDisk;
use anabranch::{
    Bucket, BucketError, ChannelOptions, Compression, Delivery, DeliveryOptions, Destination, HashKey,
    KeyRing, ManualClock, MemberOptions, Object, PutRecord, QueueCounts, QueueOptions, QueueSettings,
    ReadLimit, ReceiveOptions, RecordFormat, ShardFilter, ShardId, StartingPosition, StorageClass, Store,
    StoreOptions, Stream, StreamMode, StreamOptions, StreamStatus, Timestamp,
};

const DIRECTORY: &str = "store";

/// The folder of the same store with a manifest of one snapshot and few edits.
const COMPACTED: &str = "compacted";
const ALL: ReadLimit = ReadLimit {
    records: usize::MAX,
    bytes: usize::MAX,
};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/format-4")
}

fn shard(index: u32) -> ShardId {
    ShardId::new(index).unwrap()
}

fn options(clock: &ManualClock) -> StoreOptions {
    StoreOptions::new()
        .clock(clock.clone())
        .segment_bytes(64 << 10)
        .keys(keys())
        .min_journaled_shards(2)
        .keeper(false)
}

fn keys() -> KeyRing {
    let keys = KeyRing::new();
    keys.insert("alias/clicks", *b"the key of a test and not of use");
    keys
}

fn start() -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000)
}

/// Every kind of edit, several segments, a split and a merge, a round in the commit journal.
fn write_store(options: &StoreOptions, directory: &Path, clock: &ManualClock) {
    let store = options.open(directory).unwrap();
    let orders = store.create_stream("orders", 1).unwrap();
    let big = vec![b'x'; 30_000];
    for _ in 0..5 {
        orders.put("big", &big).unwrap();
        clock.advance(Duration::from_secs(3_600));
    }
    orders.split_shard(shard(0), HashKey::MAX / 2).unwrap();
    // A frame of two records and one of one, which are together in one frame of the commit journal.
    let low = HashKey::MIN;
    orders
        .put_records(&[
            PutRecord::new("user-3", b"one").explicit_hash_key(low),
            PutRecord::new("user-1", b"two").explicit_hash_key(low),
            PutRecord::new("user-2", b"three").explicit_hash_key(HashKey::MAX),
        ])
        .unwrap();
    orders
        .put_record(&PutRecord::new("user-1", b"high").explicit_hash_key(HashKey::MAX))
        .unwrap();
    orders
        .increase_retention(anabranch::Retention::hours(48))
        .unwrap();
    let mut reader = orders.reader(StartingPosition::TrimHorizon).unwrap();
    reader.next().unwrap().unwrap();
    reader.save_checkpoint("billing").unwrap();
    reader.save_checkpoint("audit").unwrap();
    orders.remove_checkpoint("audit").unwrap();
    let group = orders.group("shipping", StartingPosition::TrimHorizon).unwrap();
    let mut member = group.join("one", &MemberOptions::default()).unwrap();
    let batch = member.next_batch(&ALL, Duration::ZERO).unwrap().unwrap();
    assert!(batch.is_last());
    member.commit(&batch).unwrap();
    member.leave();

    let tags = BTreeMap::from([("owner".to_owned(), "me".to_owned())]);
    let options_of_second = StreamOptions {
        shard_count: 2,
        mode: StreamMode::OnDemand,
        tags,
        ..StreamOptions::default()
    };
    let clicks = store.create_stream_with("clicks", options_of_second).unwrap();
    clicks
        .put_record(&PutRecord::new("\u{1F40B}", b"").explicit_hash_key(HashKey::MAX))
        .unwrap();
    store.create_stream("gone", 1).unwrap();
    store.stream("gone").and_then(|stream| stream.delete()).unwrap();
    label(&store, &clicks);
    clicks.start_encryption("alias/clicks").unwrap();
    clicks
        .put_record(&PutRecord::new("user-9", b"encrypted").explicit_hash_key(HashKey::MAX))
        .unwrap();
    store.close().unwrap();

    // Changes that take time are begun, and are to be finished later.
    let slow = options.clone().transition_delay(Duration::from_secs(60));
    let store = slow.open(directory).unwrap();
    let clicks = store.stream("clicks").unwrap();
    clicks
        .put_record(&PutRecord::new("again", b"resumed").explicit_hash_key(HashKey::MAX))
        .unwrap();
    clicks.queue("latest").and_then(|queue| queue.delete()).unwrap();
    let archive = clicks.channel("archive").unwrap();
    archive.set_freshness(Duration::from_secs(90)).unwrap();
    clicks.merge_shards(shard(0), shard(1)).unwrap();
    store.create_stream("young", 3).unwrap();
    store.stream("orders").and_then(|stream| stream.delete()).unwrap();
    store.close().unwrap();
}

/// Tags, attributes, consumers, and a stream in a namespace.
fn label(store: &Store, stream: &Stream) {
    let tags = BTreeMap::from([("stage".to_owned(), "test".to_owned())]);
    stream
        .change_tags(&tags, &["never there".to_owned()], 50)
        .unwrap();
    stream.set_attribute("policy", Some(b"allow")).unwrap();
    stream.set_attribute("passing", Some(b"soon gone")).unwrap();
    stream.set_attribute("passing", None).unwrap();
    stream.register_consumer("billing").unwrap();
    let audit = stream.register_consumer("audit").unwrap();
    stream.remove_consumer(audit.id).unwrap();
    let tenant = store.namespace("123456789012/us-east-1").unwrap();
    tenant.set_attribute("limits", Some(b"none")).unwrap();
    tenant.create_stream("clicks", 2).unwrap();
    queue(stream);
    channel(store, stream);
}

/// A queue with every kind of entry except a snapshot, and a deleted queue.
fn queue(stream: &Stream) {
    let options = QueueOptions {
        start: StartingPosition::TrimHorizon,
        settings: QueueSettings {
            visibility_seconds: 0,
            max_receive_count: Some(2),
        },
        tags: BTreeMap::from([("stage".to_owned(), "test".to_owned())]),
        ..QueueOptions::default()
    };
    let queue = stream.create_queue("work", &options).unwrap();
    let dead_letters = ReceiveOptions {
        dead_letters: true,
        ..ReceiveOptions::default()
    };
    for _ in 0..2 {
        assert_eq!(queue.receive(&ReceiveOptions::default()).unwrap().len(), 1);
    }
    let dead = queue.receive(&dead_letters).unwrap();
    queue.restore(&[dead[0].receipt]).unwrap();
    let given_back = queue.receive(&ReceiveOptions::default()).unwrap();
    queue.give_back(&[given_back[0].receipt]).unwrap();
    let restored = queue.receive(&ReceiveOptions::default()).unwrap();
    queue.acknowledge(&[restored[0].receipt]).unwrap();
    let latest = stream.create_queue("gone", &QueueOptions::default()).unwrap();
    latest.delete().unwrap();
    stream.create_queue("latest", &QueueOptions::default()).unwrap();
}

/// A channel that has delivered records, and a deleted channel.
fn channel(store: &Store, stream: &Stream) {
    let destination = Destination {
        key_template: Some("clicks/!{yyyy}!{extension}".to_owned()),
        format: RecordFormat::Json,
        compression: Compression::Zstd,
        storage_class: StorageClass::IntelligentTiering,
        encryption_key: Some("alias/archive".to_owned()),
        error_bucket: Some("errors".to_owned()),
        error_prefix: Some("clicks/".to_owned()),
        ..Destination::new("archive")
    };
    let options = ChannelOptions {
        start: StartingPosition::TrimHorizon,
        freshness: Duration::ZERO,
        tags: BTreeMap::from([("stage".to_owned(), "test".to_owned())]),
        attributes: BTreeMap::from([("role".to_owned(), b"deliver".to_vec())]),
        ..ChannelOptions::to(destination)
    };
    stream.create_channel("archive", &options).unwrap();
    let delivery = Delivery::new(store, Discarding, DeliveryOptions::default());
    assert_eq!(delivery.deliver_due(), 1);
    let noted = stream.create_channel("gone", &ChannelOptions::new(None)).unwrap();
    noted.delete().unwrap();
}

/// A bucket whose objects are never read.
#[derive(Debug)]
struct Discarding;

impl Bucket for Discarding {
    fn check(&self, _: &Destination) -> Result<(), BucketError> {
        Ok(())
    }

    fn put(&self, _: Object) -> Result<(), BucketError> {
        Ok(())
    }
}

fn written_today() -> BTreeMap<PathBuf, Vec<u8>> {
    let disk = SimDisk::new(7);
    for (directory, compaction_bytes) in [(DIRECTORY, 1 << 20), (COMPACTED, 1)] {
        let clock = ManualClock::starting_at(start());
        let options = options(&clock).compaction_bytes(compaction_bytes);
        write_store(&options.disk(disk.clone()), Path::new(directory), &clock);
    }
    let mut files = BTreeMap::new();
    for (path, _) in disk.rot().files() {
        let name = path.strip_prefix("/").unwrap_or(&path).to_owned();
        let of_compacted = name.strip_prefix(COMPACTED).ok();
        let in_store = of_compacted
            .or_else(|| name.strip_prefix(DIRECTORY).ok())
            .unwrap();
        // The lock has the number of the process, and the pool's files have no meaning. The segments are in the first
        // folder.
        let is_pinned = in_store != Path::new("LOCK") && !in_store.starts_with("pool");
        if is_pinned && (of_compacted.is_none() || in_store.components().count() == 1) {
            files.insert(name, disk.rot().read(&path).unwrap());
        }
    }
    files
}

fn stored(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fn collect(directory: &Path, root: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, root, files);
            } else {
                files.insert(
                    path.strip_prefix(root).unwrap().to_owned(),
                    std::fs::read(&path).unwrap(),
                );
            }
        }
    }
    let mut files = BTreeMap::new();
    collect(directory, directory, &mut files);
    files
}

fn write_files(directory: &Path, files: &BTreeMap<PathBuf, Vec<u8>>) {
    for (name, bytes) in files {
        let path = directory.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

#[test]
fn what_is_written_today_is_byte_for_byte_the_golden_store() {
    let today = written_today();
    if std::env::var_os("ANABRANCH_BLESS").is_some() {
        std::fs::remove_dir_all(golden()).ok();
        write_files(&golden(), &today);
    }
    let golden = stored(&golden());
    assert_eq!(
        golden.keys().collect::<Vec<_>>(),
        today.keys().collect::<Vec<_>>()
    );
    for (name, bytes) in &golden {
        let differs = bytes.iter().zip(&today[name]).position(|(a, b)| a != b);
        assert!(
            bytes == &today[name],
            "{} differs from byte {differs:?} on",
            name.display()
        );
    }
}

#[test]
fn the_golden_store_opens_and_holds_what_was_put() {
    let directory = tempfile::tempdir().unwrap();
    write_files(directory.path(), &stored(&golden()));
    let clock = ManualClock::starting_at(start().saturating_add(Duration::from_secs(5 * 3_600)));
    let store = options(&clock).open(directory.path().join(DIRECTORY)).unwrap();
    check_before_the_transitions(&store);
    clock.advance(Duration::from_secs(60));
    check_after_the_transitions(&store);
}

#[test]
fn the_golden_snapshot_says_the_same_as_the_edits() {
    let directory = tempfile::tempdir().unwrap();
    write_files(directory.path(), &stored(&golden()));
    let described = |name: &str| {
        let clock = ManualClock::starting_at(start().saturating_add(Duration::from_secs(5 * 3_600)));
        let store = options(&clock).open(directory.path().join(name)).unwrap();
        let mut streams = store.streams(None, 10).unwrap();
        let tenant = store.namespace("123456789012/us-east-1").unwrap();
        streams.extend(tenant.streams(None, 10).unwrap());
        let streams = streams.into_iter().map(|summary| {
            let stream = store.stream_by_id(summary.id).unwrap();
            let policy = stream.attribute("policy").unwrap();
            let checkpoints = stream.checkpoint_names().unwrap();
            (
                stream.describe().unwrap(),
                stream.consumers().unwrap(),
                stream.queues().unwrap(),
                stream.channels().unwrap(),
                policy,
                checkpoints,
            )
        });
        (streams.collect::<Vec<_>>(), tenant.attribute("limits").unwrap())
    };
    let (streams, limits) = described(DIRECTORY);
    assert_eq!(streams.len(), 4);
    assert_eq!((streams, limits), described(COMPACTED));
}

fn check_before_the_transitions(store: &Store) {
    let status = |name: &str| store.stream(name).unwrap().summary().unwrap().status;
    assert_eq!(status("orders"), StreamStatus::Deleting);
    assert_eq!(status("clicks"), StreamStatus::Updating);
    assert_eq!(status("young"), StreamStatus::Creating);

    let orders = store.stream("orders").unwrap();
    assert_eq!(
        orders.summary().unwrap().retention,
        anabranch::Retention::hours(48)
    );
    let records: Vec<_> = orders
        .reader(StartingPosition::TrimHorizon)
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let lengths: Vec<_> = records.iter().map(|record| record.data.len()).collect();
    assert_eq!(lengths[..5], [30_000; 5]);
    assert_eq!(
        records[0].sequence_number.to_string(),
        "49646437577108476416916876405827138351405044305449975810"
    );
    let resumed = orders.resume_reader("billing", StartingPosition::Latest).unwrap();
    assert_eq!(resumed.count(), records.len() - 1);
    assert_eq!(orders.checkpoint_names().unwrap(), ["billing", "shipping"]);
    let shipping = orders
        .resume_reader("shipping", StartingPosition::TrimHorizon)
        .unwrap();
    // Without the records of the first shard.
    assert_eq!(shipping.count(), records.len() - 5);
}

fn check_after_the_transitions(store: &Store) {
    let names: Vec<_> = store
        .streams(None, 10)
        .unwrap()
        .into_iter()
        .map(|stream| stream.name)
        .collect();
    assert_eq!(names, ["clicks", "young"]);
    let clicks = store.stream("clicks").unwrap();
    let summary = clicks.summary().unwrap();
    assert_eq!(
        (summary.mode, summary.status),
        (StreamMode::OnDemand, StreamStatus::Active)
    );
    assert_eq!((&*summary.tags["owner"], &*summary.tags["stage"]), ("me", "test"));
    assert_eq!(clicks.attribute("policy").unwrap().unwrap(), b"allow");
    assert_eq!(clicks.attribute("passing").unwrap(), None);
    let consumers = clicks.consumers().unwrap();
    assert_eq!(consumers.len(), 1);
    assert_eq!(consumers[0].name, "billing");
    assert_eq!(clicks.shards(&ShardFilter::AtLatest).unwrap()[0].id, shard(2));
    let from = clicks
        .shard_iterator(shard(1), StartingPosition::TrimHorizon)
        .unwrap();
    let read = clicks.get_records(&from, &ALL).unwrap();
    assert_eq!(read.records[0].partition_key.as_str(), "\u{1F40B}");
    assert_eq!(&read.records[1].data[..], b"encrypted");
    assert_eq!(&read.records[2].data[..], b"resumed");
    assert_eq!(read.child_shards[0].shard_id, shard(2));
    assert_eq!(store.stream("young").unwrap().describe().unwrap().shards.len(), 3);
    let queues = clicks.queues().unwrap();
    assert_eq!((queues.len(), queues[0].name.as_str()), (1, "work"));
    assert_eq!(clicks.queue_tags(queues[0].id).unwrap()["stage"], "test");
    let queue = clicks.queue("work").unwrap();
    assert_eq!(queue.counts().unwrap(), QueueCounts::default());
    let rest = queue.receive(&ReceiveOptions::default()).unwrap();
    assert_eq!(
        (rest.len(), &rest[0].record.data[..], rest[0].receipt.delivery),
        (2, &b"encrypted"[..], 6)
    );
    assert_eq!(&rest[1].record.data[..], b"resumed");
    let channels = clicks.channels().unwrap();
    assert_eq!((channels.len(), channels[0].name.as_str()), (1, "archive"));
    assert_eq!(channels[0].freshness, Duration::from_secs(90));
    assert_eq!(channels[0].destination.as_ref().unwrap().bucket, "archive");
    assert_eq!(clicks.channel_tags(channels[0].id).unwrap()["stage"], "test");
    // Only the records behind the delivery.
    let options = DeliveryOptions {
        most_freshness: Some(Duration::ZERO),
        ..DeliveryOptions::default()
    };
    let delivery = Delivery::new(store, Discarding, options);
    assert_eq!(delivery.deliver_due(), 1);
}
