//! Channels, which deliver the records of streams into objects, on each backend.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anabranch::{
    Bucket, BucketError, Channel, ChannelOptions, Compression, Delivery, DeliveryError, DeliveryEvent,
    DeliveryOptions, Destination, DirectoryBuckets, Error, HashKey, InvalidArgument, ManualClock, Object,
    PutRecord, ReaderStatus, RecordFormat, StartingPosition, Store, StoreOptions, Stream, Timestamp,
};
use anabranch_harness::files::{all_files, quick_parent};
use anabranch_harness::wait::wait_until;
use serde_json::Value;
use tempfile::TempDir;

use crate::backends::{Place, on_each_backend};

on_each_backend!(
    what_is_old_enough_is_delivered_and_no_sooner,
    so_many_bytes_are_delivered_at_once,
    each_format_and_compression_gives_the_records_back,
    records_of_another_format_are_apart,
    parents_are_delivered_before_their_children,
    a_later_opener_goes_on_where_the_last_one_was,
    the_last_delivery_is_known_to_a_later_opener,
    a_channel_begins_where_it_is_told_to,
    what_expires_undelivered_is_told,
    a_closed_shard_that_expires_undelivered_is_told,
    a_bucket_that_fails_loses_nothing_and_says_so,
    a_stream_with_channels_stays_and_one_that_was_deleted_delivers_nothing,
    names_templates_and_starts_are_checked,
    changes_of_a_channel_take_the_transition_delay,
    threads_deliver_until_they_are_stopped,
    a_channel_that_is_only_noted_delivers_nothing,
    a_shard_that_fails_holds_up_no_other,
    a_bucket_that_panics_is_a_failure_like_others,
    many_records_of_no_bytes_and_of_another_format_make_many_objects,
    a_busy_shard_leaves_the_others_their_turn,
);

const FRESHNESS: Duration = Duration::from_secs(300);

struct Bench {
    clock: ManualClock,
    options: StoreOptions,
    store: Store,
    buckets: TempDir,
    events: Arc<Mutex<Vec<DeliveryEvent>>>,
}

impl Bench {
    fn new(place: &Place) -> Self {
        let clock = ManualClock::starting_at(Timestamp::from_seconds(1_700_000_000));
        let options = StoreOptions::new().clock(clock.clone()).keeper(false);
        let store = place.open_with(&options);
        let buckets = tempfile::tempdir_in(quick_parent()).unwrap();
        std::fs::create_dir(buckets.path().join("archive")).unwrap();
        Self {
            clock,
            options,
            store,
            buckets,
            events: Arc::default(),
        }
    }

    fn open_again(&mut self, place: &Place) {
        self.store.close().unwrap();
        self.store = place.open_with(&self.options);
    }

    fn wait(&self, time: Duration) {
        self.clock.advance(time);
    }

    fn delivery(&self) -> Delivery {
        self.delivery_with(|options| options)
    }

    fn delivery_with(&self, change: impl FnOnce(DeliveryOptions) -> DeliveryOptions) -> Delivery {
        let buckets = DirectoryBuckets::new(self.buckets.path());
        Delivery::new(&self.store, buckets, change(self.delivery_options()))
    }

    fn delivery_options(&self) -> DeliveryOptions {
        let events = self.events.clone();
        DeliveryOptions {
            on_event: Arc::new(move |event| events.lock().unwrap().push(event.clone())),
            ..DeliveryOptions::default()
        }
    }

    fn events(&self) -> Vec<String> {
        let events = std::mem::take(&mut *self.events.lock().unwrap());
        events.iter().map(ToString::to_string).collect()
    }

    /// How many records were delivered. Files appear and disappear while threads deliver.
    fn delivered(&self) -> usize {
        let events = self.events.lock().unwrap();
        let records = events.iter().map(|event| match event {
            DeliveryEvent::Delivered { records, .. } => *records,
            _ => 0,
        });
        records.sum()
    }

    /// All objects of a bucket by their keys.
    fn objects(&self, bucket: &str) -> BTreeMap<String, Vec<u8>> {
        let bucket = self.buckets.path().join(bucket);
        let files = all_files(&bucket).into_iter();
        let key = |path: &Path| {
            path.strip_prefix(&bucket)
                .unwrap_or(path)
                .to_str()
                .unwrap()
                .to_owned()
        };
        files.map(|(path, bytes)| (key(&path), bytes)).collect()
    }

    fn lines(&self) -> Vec<String> {
        let objects = self.objects("archive").into_values();
        let lines = objects.flat_map(|object| {
            let text = String::from_utf8(object).unwrap();
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        });
        lines.collect()
    }
}

fn text() -> Destination {
    Destination {
        format: RecordFormat::Text,
        ..Destination::new("archive")
    }
}

fn put(stream: &Stream, records: impl IntoIterator<Item = impl ToString>) {
    for record in records {
        let record = record.to_string();
        stream.put(&record, record.as_bytes()).unwrap();
    }
}

fn what_is_old_enough_is_delivered_and_no_sooner(place: &Place) {
    let bench = Bench::new(place);
    let clicks = bench.store.create_stream("clicks", 1).unwrap();
    clicks.create_channel("all", &ChannelOptions::to(text())).unwrap();
    let delivery = bench.delivery();
    let number = |put: anabranch::PutResult| put.sequence_number.record_number().value();
    let first = number(clicks.put("a", b"a").unwrap());
    put(&clicks, ["b"]);
    bench.wait(FRESHNESS - Duration::from_millis(1));
    let last = number(clicks.put("c", b"c").unwrap());
    assert_eq!(delivery.deliver_due(), 0);
    bench.wait(Duration::from_millis(1));
    assert_eq!(delivery.deliver_due(), 1);
    assert_eq!(bench.lines(), ["a", "b", "c"]);
    let objects = bench.objects("archive");
    let key = objects.keys().next().unwrap();
    let channel = clicks.channel("all").unwrap();
    let name = channel.unique_name();
    // 2023-11-14 22:13:20
    assert_eq!(
        *key,
        format!(
            "kinesis-channel/all/{name}/2023/11/14/22/all-{name}-2023-11-14-22-13-shardId-000000000000-\
             {first:020}-{last:020}.txt"
        )
    );
    bench.wait(FRESHNESS);
    assert_eq!(delivery.deliver_due(), 0);
    // A delivery that does not know of earlier ones.
    assert_eq!(bench.delivery().deliver_due(), 0);
    assert_eq!(bench.events().len(), 1);
}

fn so_many_bytes_are_delivered_at_once(place: &Place) {
    let bench = Bench::new(place);
    let clicks = bench.store.create_stream("clicks", 1).unwrap();
    clicks.create_channel("all", &ChannelOptions::to(text())).unwrap();
    let delivery = bench.delivery_with(|options| DeliveryOptions {
        object_bytes: 10,
        ..options
    });
    put(&clicks, ["1234", "5678"]);
    assert_eq!(delivery.deliver_due(), 0);
    put(&clicks, ["9abc", "defg", "hijk"]);
    // Two records fit in an object; the fifth waits.
    assert_eq!(delivery.deliver_due(), 2);
    assert_eq!(bench.lines(), ["1234", "5678", "9abc", "defg"]);
    // A record that is larger than an object gets its own object.
    put(&clicks, ["larger than ten bytes", "x"]);
    assert_eq!(delivery.deliver_due(), 2);
    bench.wait(FRESHNESS);
    assert_eq!(delivery.deliver_due(), 1);
    let expected = [
        "1234",
        "5678",
        "9abc",
        "defg",
        "hijk",
        "larger than ten bytes",
        "x",
    ];
    assert_eq!(bench.lines(), expected);
}

fn each_format_and_compression_gives_the_records_back(place: &Place) {
    let bench = Bench::new(place);
    let records: [&[u8]; 3] = [b"{\"a\":1}", b"[2]\n", b"\"three\""];
    for format in [RecordFormat::Json, RecordFormat::Text, RecordFormat::Bytes] {
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let name = format!("{format:?}-{compression:?}").to_lowercase();
            std::fs::create_dir(bench.buckets.path().join(&name)).unwrap();
            let stream = bench.store.create_stream(&name, 1).unwrap();
            let destination = Destination {
                format,
                compression,
                key_template: Some("x!{extension}".to_owned()),
                ..Destination::new(&name)
            };
            stream
                .create_channel(&name, &ChannelOptions::to(destination))
                .unwrap();
            for record in records {
                stream.put("key", record).unwrap();
            }
            bench.wait(FRESHNESS);
            assert_eq!(bench.delivery().deliver_due(), 1);
            let objects = bench.objects(&name);
            let (key, body) = objects.iter().next().unwrap();
            let mut plain = Vec::new();
            match compression {
                Compression::None => plain.clone_from(body),
                Compression::Gzip => {
                    flate2::read::GzDecoder::new(&body[..])
                        .read_to_end(&mut plain)
                        .unwrap();
                    assert!(key.ends_with(".gz"), "{key}");
                }
                Compression::Zstd => {
                    plain = zstd::decode_all(&body[..]).unwrap();
                    assert!(key.ends_with(".zst"), "{key}");
                }
            }
            let expected: &[u8] = match format {
                RecordFormat::Bytes => b"{\"a\":1}[2]\n\"three\"",
                _ => b"{\"a\":1}\n[2]\n\"three\"\n",
            };
            assert_eq!(plain, expected, "{name}");
        }
    }
}

fn records_of_another_format_are_apart(place: &Place) {
    let bench = Bench::new(place);
    std::fs::create_dir(bench.buckets.path().join("wrong")).unwrap();
    let clicks = bench.store.create_stream("clicks", 1).unwrap();
    let destination = Destination {
        format: RecordFormat::Json,
        error_bucket: Some("wrong".to_owned()),
        error_prefix: Some("not-json/".to_owned()),
        ..Destination::new("archive")
    };
    clicks
        .create_channel("json", &ChannelOptions::to(destination))
        .unwrap();
    clicks.put("user-1", b"{\"good\":1}").unwrap();
    let wrong = clicks.put("user-2", b"{\"cut\":").unwrap();
    clicks.put("user-3", b"{\"good\":2} and more").unwrap();
    clicks.put("user-4", b"4").unwrap();
    bench.wait(FRESHNESS);
    assert_eq!(bench.delivery().deliver_due(), 2);
    assert_eq!(bench.lines(), ["{\"good\":1}", "4"]);
    let wrongs = bench.objects("wrong");
    assert_eq!(wrongs.len(), 1);
    let (key, body) = wrongs.iter().next().unwrap();
    assert!(key.starts_with("not-json/2023/11/14/22/json-"), "{key}");
    let lines: Vec<Value> = String::from_utf8_lossy(body)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["errorCode"], "InvalidJson");
    assert_eq!(lines[0]["sequenceNumber"], wrong.sequence_number.to_string());
    assert_eq!(lines[0]["partitionKey"], "user-2");
    // `{"cut":` in base64.
    assert_eq!(lines[0]["data"], "eyJjdXQiOg==");
    // Only wrong records: there is no object for others.
    clicks.put("user-5", &[0xff]).unwrap();
    bench.wait(FRESHNESS);
    assert_eq!(bench.delivery().deliver_due(), 1);
    assert_eq!(bench.objects("archive").len(), 1);
    assert_eq!(bench.objects("wrong").len(), 2);
}

fn parents_are_delivered_before_their_children(place: &Place) {
    let bench = Bench::new(place);
    let clicks = bench.store.create_stream("clicks", 1).unwrap();
    clicks.create_channel("all", &ChannelOptions::to(text())).unwrap();
    let delivery = bench.delivery_with(|options| DeliveryOptions {
        object_bytes: 4,
        ..options
    });
    put(&clicks, ["old1"]);
    let shard = clicks.describe().unwrap().shards[0].id;
    clicks.split_shard(shard, HashKey::new(1 << 127)).unwrap();
    put(&clicks, ["new1", "new2", "new3", "new4", "new5", "new6"]);
    let children: Vec<_> = clicks.describe().unwrap().shards[1..]
        .iter()
        .map(|shard| shard.id)
        .collect();
    clicks.merge_shards(children[0], children[1]).unwrap();
    put(&clicks, ["last"]);
    // One object each, and the children in the same round once their parents are drained.
    assert_eq!(delivery.deliver_due(), 8);
    let mut delivered = Vec::new();
    for event in bench.events.lock().unwrap().iter() {
        if let DeliveryEvent::Delivered { key, .. } = event {
            delivered.extend(std::fs::read_to_string(
                bench.buckets.path().join("archive").join(key),
            ));
        }
    }
    assert_eq!(delivered.first().unwrap(), "old1\n");
    assert_eq!(delivered.last().unwrap(), "last\n");
    assert_eq!(delivered.len(), 8);
}

fn a_later_opener_goes_on_where_the_last_one_was(place: &Place) {
    let mut bench = Bench::new(place);
    let clicks = bench.store.create_stream("clicks", 2).unwrap();
    clicks.create_channel("all", &ChannelOptions::to(text())).unwrap();
    put(&clicks, 0..10);
    bench.wait(FRESHNESS);
    assert_eq!(bench.delivery().deliver_due(), 2);
    put(&clicks, 10..20);
    bench.open_again(place);
    assert_eq!(bench.delivery().deliver_due(), 0);
    bench.wait(FRESHNESS);
    assert_eq!(bench.delivery().deliver_due(), 2);
    let mut numbers: Vec<u32> = bench.lines().iter().map(|line| line.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..20).collect::<Vec<_>>());
}

fn the_last_delivery_is_known_to_a_later_opener(place: &Place) {
    let mut bench = Bench::new(place);
    let clicks = bench.store.create_stream("clicks", 2).unwrap();
    let channel = clicks.create_channel("all", &ChannelOptions::to(text())).unwrap();
    clicks
        .create_channel("other", &ChannelOptions::to(Destination::new("missing")))
        .unwrap();
    put(&clicks, 0..10);
    let last = |stream: &Stream, name: &str| stream.channel(name).unwrap().describe().unwrap().last_delivery;
    assert_eq!(bench.delivery().deliver_due(), 0);
    assert_eq!(last(&clicks, "all"), None);
    bench.wait(FRESHNESS);
    let delivered = bench.store.now();
    assert_eq!(bench.delivery().deliver_due(), 2);
    bench.wait(FRESHNESS);
    // Nothing new is delivered, a shard is closed, and its loss is noted.
    let shard = clicks.describe().unwrap().shards[0].id;
    clicks.split_in_half(shard).unwrap();
    assert_eq!(bench.delivery().deliver_due(), 0);
    assert_eq!(channel.describe().unwrap().last_delivery, Some(delivered));
    drop((clicks, channel));
    for _ in 0..2 {
        bench.open_again(place);
        let clicks = bench.store.stream("clicks").unwrap();
        assert_eq!(last(&clicks, "all"), Some(delivered));
        assert_eq!(last(&clicks, "other"), None);
        assert_eq!(clicks.channels().unwrap()[0].last_delivery, Some(delivered));
    }
    let clicks = bench.store.stream("clicks").unwrap();
    put(&clicks, ["later"]);
    bench.wait(FRESHNESS);
    assert_eq!(bench.delivery().deliver_due(), 1);
    assert_eq!(last(&clicks, "all"), Some(bench.store.now()));
}

fn a_channel_begins_where_it_is_told_to(place: &Place) {
    let bench = Bench::new(place);
    let clicks = bench.store.create_stream("clicks", 1).unwrap();
    put(&clicks, ["old"]);
    bench.wait(Duration::from_secs(10));
    let time = bench.store.now();
    put(&clicks, ["newer"]);
    for (name, start) in [
        ("latest", StartingPosition::Latest),
        ("time", StartingPosition::AtTimestamp(time)),
        ("all", StartingPosition::TrimHorizon),
    ] {
        std::fs::create_dir(bench.buckets.path().join(name)).unwrap();
        let destination = Destination {
            bucket: name.to_owned(),
            ..text()
        };
        let options = ChannelOptions {
            start,
            ..ChannelOptions::to(destination)
        };
        clicks.create_channel(name, &options).unwrap();
    }
    put(&clicks, ["newest"]);
    bench.wait(FRESHNESS);
    assert_eq!(bench.delivery().deliver_due(), 3);
    let body = |bucket: &str| {
        let object = bench.objects(bucket).into_values().next().unwrap();
        String::from_utf8(object).unwrap()
    };
    assert_eq!(body("latest"), "newest\n");
    assert_eq!(body("time"), "newer\nnewest\n");
    assert_eq!(body("all"), "old\nnewer\nnewest\n");
}

fn a_closed_shard_that_expires_undelivered_is_told(place: &Place) {
    let mut bench = Bench::new(place);
    let clicks = bench.store.create_stream("clicks", 1).unwrap();
    clicks.create_channel("all", &ChannelOptions::to(text())).unwrap();
    put(&clicks, ["lost"]);
    let shard = clicks.describe().unwrap().shards[0].id;
    clicks.split_in_half(shard).unwrap();
    // A shard that never had a record is no loss.
    let empty = clicks.describe().unwrap().shards[1].id;
    clicks.split_in_half(empty).unwrap();
    // Nothing is delivered for longer than the retention.
    for _ in 0..26 {
        bench.wait(Duration::from_secs(3_600));
        bench.store.maintain().unwrap();
    }
    bench.store.close().unwrap();
    bench.store = place.open_with(&bench.options);
    let told = format!("records of {shard} expired before channel all delivered them");
    for _ in 0..3 {
        assert_eq!(bench.delivery().deliver_due(), 0);
    }
    let events = bench.events();
    assert_eq!(events.len(), 1, "{events:?}");
    assert!(events[0].contains(&told), "{events:?}");
    put(&bench.store.stream("clicks").unwrap(), ["kept"]);
    bench.wait(FRESHNESS);
    assert_eq!(bench.delivery().deliver_due(), 1);
    assert_eq!(bench.lines(), ["kept"]);
}

fn what_expires_undelivered_is_told(place: &Place) {
    let bench = Bench::new(place);
    let clicks = bench.store.create_stream("clicks", 1).unwrap();
    clicks.create_channel("all", &ChannelOptions::to(text())).unwrap();
    let whole = ChannelOptions {
        start: StartingPosition::TrimHorizon,
        ..ChannelOptions::to(Destination {
            bucket: "whole".to_owned(),
            ..text()
        })
    };
    std::fs::create_dir(bench.buckets.path().join("whole")).unwrap();
    clicks.create_channel("whole", &whole).unwrap();
    put(&clicks, ["lost"]);
    // The record is seen, and too young.
    let watching = bench.delivery();
    assert_eq!(watching.deliver_due(), 0);
    for _ in 0..26 {
        bench.wait(Duration::from_secs(3_600));
        bench.store.maintain().unwrap();
    }
    // Each loss is reported once, even to a delivery that does not know of the one before.
    let told = |bench: &Bench| {
        assert_eq!(watching.deliver_due(), 0);
        for _ in 0..3 {
            assert_eq!(bench.delivery().deliver_due(), 0);
        }
        let mut told = bench.events();
        told.sort();
        told
    };
    let events = told(&bench);
    assert_eq!(events.len(), 2, "{events:?}");
    for (event, channel) in events.iter().zip(["all", "whole"]) {
        assert!(
            event.contains(&format!("expired before channel {channel} delivered them")),
            "{event}"
        );
    }
    put(&clicks, ["kept"]);
    bench.wait(FRESHNESS);
    assert_eq!(bench.delivery().deliver_due(), 2);
    assert_eq!(bench.lines(), ["kept"]);
    assert_eq!(bench.objects("whole").into_values().next().unwrap(), b"kept\n");
}

/// A place whose bucket `archive` fails as long as a test sets.
#[derive(Clone, Debug)]
struct Failing {
    fails: Arc<Mutex<bool>>,
    into: Arc<DirectoryBuckets>,
}

impl Bucket for Failing {
    fn check(&self, destination: &Destination) -> Result<(), BucketError> {
        self.into.check(destination)
    }

    fn put(&self, object: Object) -> Result<(), BucketError> {
        match *self.fails.lock().unwrap() && object.bucket == "archive" {
            true => Err(BucketError::NotFound {
                bucket: object.bucket,
            }),
            false => self.into.put(object),
        }
    }
}

fn a_bucket_that_fails_loses_nothing_and_says_so(place: &Place) {
    let bench = Bench::new(place);
    let clicks = bench.store.create_stream("clicks", 2).unwrap();
    let orders = bench.store.create_stream("orders", 1).unwrap();
    let channel = clicks.create_channel("all", &ChannelOptions::to(text())).unwrap();
    std::fs::create_dir(bench.buckets.path().join("orders")).unwrap();
    let destination = Destination {
        bucket: "orders".to_owned(),
        ..text()
    };
    let options = ChannelOptions::to(destination);
    let other = orders.create_channel("other", &options).unwrap();
    put(&orders, ["order"]);
    let bucket = Failing {
        fails: Arc::new(Mutex::new(true)),
        into: Arc::new(DirectoryBuckets::new(bench.buckets.path())),
    };
    let delivery = Delivery::new(&bench.store, bucket.clone(), bench.delivery_options());
    put(&clicks, 0..20);
    bench.wait(FRESHNESS);
    let began = bench.store.now();
    // The other channel goes on.
    assert_eq!(delivery.deliver_due(), 1);
    assert_eq!(bench.objects("orders").len(), 1);
    // An hour.
    for _ in 1..60 {
        bench.wait(Duration::from_secs(60));
        assert_eq!(delivery.deliver_due(), 0);
    }
    let problem = delivery.problem(&channel).unwrap();
    assert_eq!((problem.since, problem.attempts), (began, 60));
    assert_eq!(problem.error.to_string(), "there is no bucket archive");
    assert!(delivery.problem(&other).is_none());
    let mut events = bench.events();
    events.retain(|event| event.contains("all"));
    assert!(
        events[0].contains("there is no bucket archive; it is tried again in 1 s"),
        "{}",
        events[0]
    );
    // The first, the second, the fourth failure and so on are logged.
    assert_eq!(events.len(), 6, "{events:?}");
    assert!(events[5].contains("again in 60 s"), "{}", events[5]);
    *bucket.fails.lock().unwrap() = false;
    put(&clicks, 20..25);
    assert_eq!(delivery.deliver_due(), 2);
    assert!(delivery.problem(&channel).is_none());
    let mut numbers: Vec<u32> = bench.lines().iter().map(|line| line.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..25).collect::<Vec<_>>());
    let events = bench.events();
    assert_eq!(events.last().unwrap(), "channel all delivers again");
}

fn a_stream_with_channels_stays_and_one_that_was_deleted_delivers_nothing(place: &Place) {
    let bench = Bench::new(place);
    let clicks = bench.store.create_stream("clicks", 1).unwrap();
    let channel = clicks.create_channel("all", &ChannelOptions::to(text())).unwrap();
    put(&clicks, ["a"]);
    assert!(matches!(
        clicks.delete(),
        Err(Error::StreamHasChannels { count: 1, .. })
    ));
    channel.delete().unwrap();
    assert!(matches!(channel.describe(), Err(Error::ChannelNotFound { .. })));
    assert!(matches!(
        clicks.channel("all"),
        Err(Error::ChannelNotFound { .. })
    ));
    bench.wait(FRESHNESS);
    assert_eq!(bench.delivery().deliver_due(), 0);
    // A new channel of the same name is independent.
    let again = clicks.create_channel("all", &ChannelOptions::to(text())).unwrap();
    assert_ne!(again.id(), channel.id());
    again.delete().unwrap();
    clicks.delete().unwrap();
}

fn names_templates_and_starts_are_checked(place: &Place) {
    let bench = Bench::new(place);
    let clicks = bench.store.create_stream("clicks", 1).unwrap();
    let orders = bench.store.create_stream("orders", 1).unwrap();
    let options = ChannelOptions::to(text());
    clicks.create_channel("all", &options).unwrap();
    for stream in [&clicks, &orders] {
        let exists = stream.create_channel("all", &options);
        assert!(matches!(exists, Err(Error::ChannelExists { .. })));
    }
    let other_namespace = bench.store.namespace("other").unwrap();
    let elsewhere = other_namespace.create_stream("clicks", 1).unwrap();
    elsewhere.create_channel("all", &options).unwrap();
    let most = ChannelOptions {
        max_channels: 1,
        ..options.clone()
    };
    let too_many = clicks.create_channel("more", &most);
    assert!(matches!(too_many, Err(Error::TooManyChannels { limit: 1, .. })));
    assert!(clicks.create_channel("no spaces", &options).is_err());
    let template = |template: &str| {
        let destination = Destination {
            key_template: Some(template.to_owned()),
            ..text()
        };
        clicks.create_channel("t", &ChannelOptions::to(destination))
    };
    let refused = template("../!{yyyy}");
    assert!(
        matches!(
            refused,
            Err(Error::InvalidArgument(InvalidArgument::KeyTemplate { .. }))
        ),
        "{refused:?}"
    );
    let future = ChannelOptions {
        start: StartingPosition::AtTimestamp(Timestamp::from_seconds(1_800_000_000)),
        ..options
    };
    let refused = clicks.create_channel("f", &future);
    assert!(matches!(
        refused,
        Err(Error::InvalidArgument(InvalidArgument::ReaderInFuture))
    ));
    assert_eq!(clicks.channels().unwrap().len(), 1);
}

fn changes_of_a_channel_take_the_transition_delay(place: &Place) {
    let clock = ManualClock::starting_at(Timestamp::from_seconds(1_700_000_000));
    let delay = Duration::from_secs(10);
    let options = StoreOptions::new()
        .clock(clock.clone())
        .keeper(false)
        .transition_delay(delay);
    let store = place.open_with(&options);
    let clicks = store.create_stream("clicks", 1).unwrap();
    clock.advance(delay);
    store.maintain().unwrap();
    let channel = clicks.create_channel("all", &ChannelOptions::to(text())).unwrap();
    let status = |channel: &Channel| channel.describe().map(|channel| channel.status);
    assert_eq!(status(&channel).unwrap(), ReaderStatus::Creating);
    let refused = channel.set_freshness(Duration::from_secs(1));
    assert!(matches!(refused, Err(Error::ChannelNotActive { .. })));
    clock.advance(delay);
    assert_eq!(status(&channel).unwrap(), ReaderStatus::Active);
    channel.set_freshness(Duration::from_secs(1)).unwrap();
    assert_eq!(status(&channel).unwrap(), ReaderStatus::Updating);
    store.close().unwrap();
    let store = place.open_with(&options);
    let channel = store.stream("clicks").unwrap().channel("all").unwrap();
    assert_eq!(status(&channel).unwrap(), ReaderStatus::Updating);
    assert_eq!(channel.describe().unwrap().freshness, Duration::from_secs(1));
    clock.advance(delay);
    assert_eq!(status(&channel).unwrap(), ReaderStatus::Active);
    channel.delete().unwrap();
    channel.delete().unwrap();
    assert_eq!(status(&channel).unwrap(), ReaderStatus::Deleting);
    clock.advance(delay);
    assert!(matches!(status(&channel), Err(Error::ChannelNotFound { .. })));
}

fn threads_deliver_until_they_are_stopped(place: &Place) {
    let bench = Bench::new(place);
    let clicks = bench.store.create_stream("clicks", 2).unwrap();
    clicks.create_channel("all", &ChannelOptions::to(text())).unwrap();
    let delivery = bench.delivery_with(|options| DeliveryOptions {
        most_freshness: Some(Duration::ZERO),
        ..options
    });
    delivery.start().unwrap();
    put(&clicks, 0..10);
    // They look once a second of the store's monotonic clock, which stands still unless it is moved.
    wait_until("all is delivered", || {
        bench.wait(Duration::from_secs(1));
        bench.delivered() == 10
    });
    delivery.stop();
    put(&clicks, 10..11);
    for _ in 0..20 {
        bench.wait(Duration::from_secs(1));
        std::thread::yield_now();
    }
    assert_eq!(bench.delivered(), 10);
    delivery.start().unwrap();
    wait_until("it goes on", || {
        bench.wait(Duration::from_secs(1));
        bench.delivered() == 11
    });
    // A closed store makes nothing panic.
    bench.store.close().unwrap();
    drop(delivery);
}

fn a_channel_that_is_only_noted_delivers_nothing(place: &Place) {
    let bench = Bench::new(place);
    let clicks = bench.store.create_stream("clicks", 1).unwrap();
    let channel = clicks
        .create_channel("noted", &ChannelOptions::new(None))
        .unwrap();
    put(&clicks, ["a"]);
    bench.wait(FRESHNESS);
    assert_eq!(bench.delivery().deliver_due(), 0);
    assert_eq!(channel.describe().unwrap().destination, None);
}

fn a_shard_that_fails_holds_up_no_other(place: &Place) {
    let bench = Bench::new(place);
    let clicks = bench.store.create_stream("clicks", 4).unwrap();
    // The bucket for records that are no JSON does not exist.
    let destination = Destination {
        format: RecordFormat::Json,
        error_bucket: Some("missing".to_owned()),
        ..Destination::new("archive")
    };
    let channel = clicks
        .create_channel("json", &ChannelOptions::to(destination))
        .unwrap();
    let put = |shard: u128, data: &[u8]| {
        let key = HashKey::new(shard << 126);
        clicks
            .put_record(&PutRecord::new("key", data).explicit_hash_key(key))
            .unwrap();
    };
    put(0, b"no json");
    (1..4).for_each(|shard| put(shard, b"{}"));
    bench.wait(FRESHNESS);
    let delivery = bench.delivery();
    assert_eq!(delivery.deliver_due(), 3);
    assert!(delivery.problem(&channel).is_some());
    // If two fail, those behind them are tried in a later round.
    put(1, b"no json");
    (2..4).for_each(|shard| put(shard, b"{}"));
    bench.wait(FRESHNESS);
    let made: usize = (0..3).map(|_| delivery.deliver_due()).sum();
    assert_eq!(made, 2);
    std::fs::create_dir(bench.buckets.path().join("missing")).unwrap();
    assert_eq!(delivery.deliver_due(), 2);
    assert!(delivery.problem(&channel).is_none());
}

#[derive(Clone, Debug, Default)]
struct Panicking(Arc<Mutex<usize>>);

impl Bucket for Panicking {
    fn check(&self, _: &Destination) -> Result<(), BucketError> {
        Ok(())
    }

    fn put(&self, _: Object) -> Result<(), BucketError> {
        let mut puts = self.0.lock().unwrap();
        *puts += 1;
        let is_first = *puts == 1;
        drop(puts);
        assert!(!is_first, "the first put of this test panics");
        Ok(())
    }
}

fn a_bucket_that_panics_is_a_failure_like_others(place: &Place) {
    let bench = Bench::new(place);
    let clicks = bench.store.create_stream("clicks", 1).unwrap();
    let channel = clicks.create_channel("all", &ChannelOptions::to(text())).unwrap();
    put(&clicks, ["a"]);
    bench.wait(FRESHNESS);
    let delivery = Delivery::new(&bench.store, Panicking::default(), bench.delivery_options());
    assert_eq!(delivery.deliver_due(), 0);
    let problem = delivery.problem(&channel).unwrap();
    assert!(matches!(problem.error, DeliveryError::Panicked));
    assert_eq!(delivery.deliver_due(), 1);
    assert!(delivery.problem(&channel).is_none());
}

fn many_records_of_no_bytes_and_of_another_format_make_many_objects(place: &Place) {
    let bench = Bench::new(place);
    let clicks = bench.store.create_stream("clicks", 1).unwrap();
    let destination = Destination {
        format: RecordFormat::Json,
        error_prefix: Some("wrong/".to_owned()),
        ..Destination::new("archive")
    };
    clicks
        .create_channel("json", &ChannelOptions::to(destination))
        .unwrap();
    let records = vec![PutRecord::new("key", b""); 500];
    for _ in 0..6 {
        clicks.put_records(&records).unwrap();
    }
    bench.wait(FRESHNESS);
    let delivery = bench.delivery_with(|options| DeliveryOptions {
        object_bytes: 1_000,
        ..options
    });
    assert!(delivery.deliver_due() > 100);
    let objects = bench.objects("archive");
    let lines: usize = objects
        .values()
        .map(|body| body.split(|byte| *byte == b'\n').count() - 1)
        .sum();
    assert_eq!(lines, 3_000);
    let largest = objects.values().map(Vec::len).max().unwrap();
    assert!(largest < 2_000, "{largest}");
}

fn a_busy_shard_leaves_the_others_their_turn(place: &Place) {
    let bench = Bench::new(place);
    let clicks = bench.store.create_stream("clicks", 2).unwrap();
    clicks.create_channel("all", &ChannelOptions::to(text())).unwrap();
    let put = |key: HashKey, data: &str| {
        let record = PutRecord::new("key", data.as_bytes()).explicit_hash_key(key);
        clicks.put_record(&record).unwrap();
    };
    (0..40).for_each(|_| put(HashKey::MIN, "busy"));
    put(HashKey::MAX, "calm");
    bench.wait(FRESHNESS);
    let delivery = bench.delivery_with(|options| DeliveryOptions {
        object_bytes: 4,
        ..options
    });
    assert_eq!(delivery.deliver_due(), 41);
    let events = bench.events();
    let calm = events
        .iter()
        .position(|event| event.contains("shardId-000000000001"));
    assert!(calm.unwrap() <= 1, "{events:?}");
}

#[test]
fn a_directory_keeps_what_it_can_and_refuses_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    let buckets = DirectoryBuckets::new(directory.path());
    let object = |bucket: &str, key: &str| Object {
        bucket: bucket.to_owned(),
        key: key.to_owned(),
        body: b"body".to_vec(),
        content_type: "text/plain",
        storage_class: anabranch::StorageClass::Standard,
        encryption_key: None,
    };
    for bucket in ["missing", "..", "a/b", ""] {
        let refused = buckets.put(object(bucket, "key"));
        assert!(
            matches!(refused, Err(BucketError::NotFound { .. })),
            "{bucket}: {refused:?}"
        );
        let refused = buckets.check(&Destination::new(bucket));
        assert!(
            matches!(refused, Err(BucketError::NotFound { .. })),
            "{bucket}: {refused:?}"
        );
    }
    std::fs::create_dir(directory.path().join("b")).unwrap();
    std::fs::write(directory.path().join("file"), "").unwrap();
    assert!(matches!(
        buckets.put(object("file", "key")),
        Err(BucketError::NotFound { .. })
    ));
    for key in ["", "/a", "a/", "../a", "a//b", "."] {
        let refused = buckets.put(object("b", key));
        assert!(
            matches!(refused, Err(BucketError::Refused { .. })),
            "{key}: {refused:?}"
        );
    }
    let encrypted = Object {
        encryption_key: Some("key".to_owned()),
        ..object("b", "a")
    };
    assert!(matches!(buckets.put(encrypted), Err(BucketError::Refused { .. })));
    assert!(all_files(directory.path()).len() == 1, "nothing was written");
    buckets.put(object("b", "a/b/c")).unwrap();
    buckets.put(object("b", "a/b/c")).unwrap();
    // A name that a directory has already.
    assert!(matches!(
        buckets.put(object("b", "a/b")),
        Err(BucketError::Failed { .. })
    ));
    let bucket = directory.path().join("b");
    assert_eq!(std::fs::read(bucket.join("a/b/c")).unwrap(), b"body");
}
