//! Single mechanisms, each in as few steps as possible: random programs and rot of one byte meet them too seldom.

use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use anabranch::inspect::{Damage, DumpItem, DumpOptions, DumpWhat, DumpedFrame, Inspection};
use anabranch::sim::{Calls, LossMode, Operation, SimDisk};
use anabranch::{
    Clock, Error, HashKey, ManualClock, PutRecord, ReadLimit, SequenceNumber, ShardFilter, StartingPosition,
    Store, StoreOptions, Stream, Timestamp,
};

use crate::manifest::{MANIFEST_STRIPE, flip_in_both_copies, tear};

const DIRECTORY: &str = "store";

/// Commits go through the journal from this many shards on.
const JOURNALED: usize = 1;
const NOT_JOURNALED: usize = usize::MAX;

fn options(disk: &SimDisk, min_journaled_shards: usize) -> StoreOptions {
    StoreOptions::new()
        .segment_bytes(512 * 1024)
        .keeper(false)
        .flusher_threads(1)
        .min_journaled_shards(min_journaled_shards)
        .disk(disk.clone())
}

fn open(disk: &SimDisk, min_journaled_shards: usize) -> Store {
    options(disk, min_journaled_shards).open(DIRECTORY).unwrap()
}

/// All records that a reader gets, up to the first error.
fn read(stream: &Stream) -> (Vec<Vec<u8>>, Option<Error>) {
    let mut records = Vec::new();
    for record in stream.reader(StartingPosition::TrimHorizon).unwrap() {
        match record {
            Ok(record) => records.push(record.data.to_vec()),
            Err(error) => return (records, Some(error)),
        }
    }
    (records, None)
}

fn frames(disk: &SimDisk) -> Vec<DumpedFrame> {
    let mut frames = Vec::new();
    Inspection::of(DIRECTORY)
        .disk(disk.clone())
        .dump(&DumpOptions::of(DumpWhat::Frames), &mut |item| {
            if let DumpItem::Frame(frame) = item {
                frames.push(frame);
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    frames
}

fn bytes_of(disk: &SimDisk, frame: &DumpedFrame) -> Vec<u8> {
    let bytes = disk.rot().read(&frame.path).unwrap();
    bytes[frame.offset as usize..(frame.offset + frame.bytes) as usize].to_vec()
}

/// The disks that a power loss can leave, now or after the next opener has looked.
fn outcomes(disk: &SimDisk) -> Vec<SimDisk> {
    let seen = disk.crash(LossMode::KeepAll);
    drop(options(&seen, NOT_JOURNALED).open(DIRECTORY));
    let now = [LossMode::LoseAll, LossMode::Prefix, LossMode::Random];
    let mut outcomes = vec![disk.crash(LossMode::KeepAll), seen.crash(LossMode::LoseAll)];
    outcomes.extend(now.into_iter().cycle().take(24).map(|mode| disk.crash(mode)));
    outcomes
}

#[test]
pub fn a_second_opener_is_refused() {
    let disk = SimDisk::new(1);
    let _first = open(&disk, NOT_JOURNALED);
    let second = options(&disk, NOT_JOURNALED).open(DIRECTORY);
    assert!(matches!(second.err(), Some(Error::Locked { .. })));
}

#[test]
pub fn a_crash_while_a_store_is_made_leaves_one_that_can_be_used() {
    for n in 1.. {
        let disk = SimDisk::new(n);
        disk.faults().freeze_nth(Calls::ALL, n);
        let made = options(&disk, NOT_JOURNALED).open(DIRECTORY);
        let is_over = !disk.is_frozen();
        for disk in outcomes(&disk) {
            must_be_usable(&disk);
        }
        drop(made);
        if is_over {
            break;
        }
    }
}

#[test]
pub fn a_crash_while_a_torn_manifest_is_written_anew_leaves_a_whole_one() {
    for n in 1.. {
        let disk = SimDisk::new(n);
        open(&disk, NOT_JOURNALED).create_stream("old", 1).unwrap();
        let disk = disk.crash(LossMode::LoseAll);
        tear(&disk, &format!("{DIRECTORY}/MANIFEST-000001"));
        disk.faults().freeze_nth(Calls::ALL, n);
        let opened = options(&disk, NOT_JOURNALED).open(DIRECTORY);
        let is_over = !disk.is_frozen();
        for disk in outcomes(&disk) {
            open(&disk, NOT_JOURNALED).stream("old").unwrap();
            must_be_usable(&disk.crash(LossMode::LoseAll));
        }
        drop(opened);
        if is_over {
            break;
        }
    }
}

fn must_be_usable(disk: &SimDisk) {
    let stream = open(disk, NOT_JOURNALED).create_stream("new", 1).unwrap();
    stream.put("key", b"data").unwrap();
    let disk = disk.crash(LossMode::LoseAll);
    let stream = open(&disk, NOT_JOURNALED).stream("new").unwrap();
    assert_eq!(read(&stream).0, [b"data"]);
}

/// A segment that is begun in the file of an earlier segment has bytes of it behind the header page. If the page was
/// torn, they were taken for frames of a segment whose edit is lost.
#[test]
pub fn a_crash_while_a_used_file_becomes_a_segment_is_no_damage() {
    for (n, seed) in (1..=20).flat_map(|n| (0..4).map(move |seed| (n, seed))) {
        let disk = SimDisk::new(seed);
        let clock = ManualClock::starting_at(Timestamp::from_millis(1_700_000_000_000));
        let options = options(&disk, NOT_JOURNALED)
            .keeper(false)
            .segment_bytes(64 << 10)
            .clock(clock.clone());
        let store = options.open(DIRECTORY).unwrap();
        let stream = store.create_stream("clicks", 1).unwrap();
        let put = || stream.put("key", &[7; 50_000]);
        for _ in 0..4 {
            put().unwrap();
        }
        clock.advance(Duration::from_secs(25 * 3_600));
        put().unwrap();
        store.maintain().unwrap();
        store.maintain().unwrap();
        let is_pooled = |path: &PathBuf| path.to_string_lossy().contains(".ready");
        let files = disk.rot().files();
        assert!(files.iter().any(|(path, _)| is_pooled(path)), "{files:?}");
        // One of the two takes a file that was filled ahead, the other the file of an earlier segment.
        disk.faults().freeze_nth(Calls::CHANGING, n);
        let _ = put().and_then(|_| put());
        for disk in outcomes(&disk) {
            let inspection = Inspection::of(DIRECTORY).disk(disk.clone());
            let verification = inspection.verify(&mut |_| {}).unwrap();
            assert!(
                verification.is_sound(),
                "call {n}, seed {seed}: {:?}",
                verification.findings
            );
            let stream = open(&disk, NOT_JOURNALED).stream("clicks").unwrap();
            stream.put("key", b"more").unwrap();
        }
    }
}

/// A manifest that was extended for a frame larger than the reserved room must not look like one that was cut.
#[test]
pub fn a_crash_in_an_edit_larger_than_what_is_reserved_is_no_damage() {
    // The manifest is extended, written and synced.
    for (n, seed) in (1..=3).flat_map(|n| (0..6).map(move |seed| (n, seed))) {
        let disk = SimDisk::new(seed);
        let store = open(&disk, NOT_JOURNALED);
        disk.faults().on("MANIFEST").freeze_nth(Calls::CHANGING, n);
        store.create_stream("large", 4_000).unwrap_err();
        for disk in outcomes(&disk) {
            open(&disk, NOT_JOURNALED);
        }
    }
}

/// Records that an opener without changes has seen are there for the next one, too.
#[test]
pub fn an_edit_that_was_seen_by_an_opener_who_only_read_is_durable() {
    for seed in 0..8 {
        let disk = SimDisk::new(seed);
        let store = open(&disk, NOT_JOURNALED);
        let stream = store.create_stream("clicks", 1).unwrap();
        let checkpoint = stream.reader(StartingPosition::TrimHorizon).unwrap().checkpoint();
        disk.faults().on("MANIFEST").freeze_nth(Operation::SyncData, 1);
        stream.save_checkpoint("reader", &checkpoint).unwrap_err();
        let disk = disk.crash(LossMode::KeepAll);
        // Neither opener closes its store.
        let names = |disk: &SimDisk| {
            let store = open(disk, NOT_JOURNALED);
            let names = store.stream("clicks").unwrap().checkpoint_names().unwrap();
            (names, disk.crash(LossMode::LoseAll))
        };
        let (seen, disk) = names(&disk);
        assert_eq!(names(&disk).0, seen);
    }
}

/// Two copies of a store diverged, and a block of one got into the other.
#[test]
pub fn a_frame_of_a_copy_that_went_another_way_is_noticed() {
    let disk = SimDisk::new(1);
    let store = open(&disk, NOT_JOURNALED);
    store
        .create_stream("clicks", 1)
        .unwrap()
        .put("key", b"same")
        .unwrap();
    store.close().unwrap();
    let fork = |data: &[&[u8]]| {
        let disk = disk.image(LossMode::KeepAll);
        let store = open(&disk, NOT_JOURNALED);
        let stream = store.stream("clicks").unwrap();
        for data in data {
            stream.put("key", data).unwrap();
        }
        store.close().unwrap();
        disk
    };
    let exchange = |ours: &SimDisk, theirs: &SimDisk, nth: usize| {
        let (our_frame, their_frame) = (&frames(ours)[nth], &frames(theirs)[nth]);
        let bytes = bytes_of(theirs, their_frame);
        ours.rot()
            .overwrite(&our_frame.path, our_frame.offset, &bytes)
            .unwrap();
        let stream = open(ours, NOT_JOURNALED).stream("clicks").unwrap();
        let (_, error) = read(&stream);
        assert!(matches!(error, Some(Error::Corrupt { .. })), "{error:?}");
    };
    // In a segment that both had: the frame behind it does not follow.
    exchange(&fork(&[b"ours", b"end"]), &fork(&[b"them", b"end"]), 1);
    // In segments that each copy began itself: the salt differs.
    exchange(&fork(&[&[1; 64_000]]), &fork(&[&[2; 64_000]]), 1);
}

/// A program keeps a copy of a segment's bytes in that very segment.
#[test]
pub fn a_frame_within_a_record_is_no_frame() {
    let disk = SimDisk::new(1);
    let store = open(&disk, NOT_JOURNALED);
    let stream = store.create_stream("clicks", 1).unwrap();
    stream.put("key", b"first").unwrap();
    // Padding, so that the copy, behind the headers of frame and record and the key, begins where a frame can begin.
    let mut copy = vec![0; 5];
    copy.extend(bytes_of(&disk, &frames(&disk)[0]));
    stream.put("key", &copy).unwrap();
    stream.put("key", b"last").unwrap();
    store.close().unwrap();
    let second = &frames(&disk)[1];
    disk.rot().flip_bit(&second.path, second.offset + 20, 0).unwrap();
    let verification = Inspection::of(DIRECTORY).disk(disk).verify(&mut |_| {}).unwrap();
    let damage: Vec<_> = verification.damage().map(|finding| &finding.damage).collect();
    match damage[..] {
        [Damage::Frames { bytes, .. }] => assert_eq!(*bytes, second.bytes),
        _ => panic!("{damage:?}"),
    }
}

/// Puts the same data to both shards in one call.
fn put_to_both(stream: &Stream, data: &[u8]) {
    let puts = [HashKey::MIN, HashKey::MAX].map(|key| PutRecord::new("key", data).explicit_hash_key(key));
    stream.put_records(&puts).unwrap();
}

#[test]
pub fn the_journal_lets_go_only_what_is_durably_in_the_segments() {
    let disk = SimDisk::new(1);
    let store = open(&disk, JOURNALED);
    let stream = store.create_stream("clicks", 2).unwrap();
    // Too little for a flusher to write it to its shard's file before the journal drops its first segment.
    let little = store.create_stream("little", 1).unwrap();
    little.put("key", b"little").unwrap();
    let first = format!("{DIRECTORY}/journal/{:020}.log", 1);
    let mut rounds = 0;
    while rounds == 0 || disk.rot().read(&first).is_ok() {
        put_to_both(&stream, &[rounds as u8; 100]);
        store.maintain().unwrap();
        rounds += 1;
        assert!(rounds < 5_000, "the journal keeps everything");
    }
    put_to_both(&stream, b"more");
    little.put("key", b"more").unwrap();
    let disk = disk.crash(LossMode::LoseAll);
    let store = open(&disk, JOURNALED);
    for (name, all) in [("clicks", 2 * (rounds + 1)), ("little", 2)] {
        let (records, error) = read(&store.stream(name).unwrap());
        let error = error.map(|error| error.to_string());
        assert_eq!((records.len(), error), (all, None), "{name}");
    }
}

/// Frames that only the journal has are written to their segment's file before they are read.
#[test]
fn what_was_acknowledged_is_not_missed_where_the_file_of_its_segment_cannot_be_opened() {
    let clock = ManualClock::starting_at(Timestamp::from_seconds(1_700_000_000));
    let disk = SimDisk::new(1);
    let options = options(&disk, JOURNALED).max_open_segments(2);
    let store = options.clock(clock.clone()).open(DIRECTORY).unwrap();
    let stream = store.create_stream("clicks", 1).unwrap();
    stream.put("key", &[0; 500_000]).unwrap();
    clock.advance(Duration::from_secs(1));
    // Begins the second segment.
    let second = stream.put("key", &[1; 30_000]).unwrap();
    let arrived = clock.now();
    clock.advance(Duration::from_secs(1));
    let others = store.create_stream("others", 3).unwrap();
    for shard in others.shards(&ShardFilter::AtLatest).unwrap() {
        let put = PutRecord::new("key", b"closes files that are open");
        let key = shard.hash_key_range.start();
        others.put_record(&put.explicit_hash_key(key)).unwrap();
    }
    let number = SequenceNumber::record_number(second.sequence_number).value();
    disk.faults()
        .on(format!("streams/1/shardId-000000000000/{number:020}.log"))
        .fail_from_nth(Operation::Open, 1, ErrorKind::Other);

    let begin = |position| stream.shard_iterator(second.shard_id, position);
    let read = |from| stream.get_records(&from, &ReadLimit::default());
    let first = read(begin(StartingPosition::TrimHorizon).unwrap()).unwrap();
    assert_eq!((first.records.len(), first.millis_behind_latest), (1, 2_000));
    let failed = read(first.next.unwrap()).unwrap_err();
    assert!(matches!(failed, Error::Io { .. }), "{failed}");
    let failed = begin(StartingPosition::AtTimestamp(arrived)).unwrap_err();
    assert!(matches!(failed, Error::Io { .. }), "{failed}");
    for position in [
        StartingPosition::AtTimestamp(clock.now()),
        StartingPosition::Latest,
    ] {
        let read = read(begin(position).unwrap()).unwrap();
        assert_eq!((read.records.len(), read.millis_behind_latest), (0, 0));
    }
    let behind = begin(StartingPosition::Latest).unwrap();

    disk.faults().clear();
    assert_eq!(
        read(begin(StartingPosition::TrimHorizon).unwrap())
            .unwrap()
            .records
            .len(),
        2
    );
    stream.put("key", b"third").unwrap();
    let third = read(behind).unwrap();
    assert_eq!(third.records.len(), 1);
    assert_eq!(third.records[0].data, "third");
}

/// The segments that the journal dropped when the store was closed stayed in its directory for ever.
#[test]
pub fn files_of_the_journal_that_a_close_dropped_are_removed_and_no_other_is() {
    let disk = SimDisk::new(1);
    let files = |disk: &SimDisk| {
        let files = disk.rot().files().into_iter().map(|(path, _)| path);
        let is_of_journal =
            |path: &PathBuf| path.starts_with("store/journal") && path.to_string_lossy().ends_with(".log");
        files.filter(is_of_journal).collect::<Vec<_>>()
    };
    let store = open(&disk, JOURNALED);
    let stream = store.create_stream("clicks", 2).unwrap();
    let mut rounds = 0;
    while files(&disk).len() < 3 {
        put_to_both(&stream, &[7; 300]);
        rounds += 1;
        assert!(rounds < 5_000, "the journal never goes on in another file");
    }
    let written = files(&disk);
    store.close().unwrap();
    assert_eq!(files(&disk), written);
    let store = open(&disk, JOURNALED);
    assert_eq!(files(&disk), written[2..]);
    // The kept file still belongs to the journal.
    put_to_both(&store.stream("clicks").unwrap(), b"more");
    let disk = disk.crash(LossMode::LoseAll);
    let (records, error) = read(&open(&disk, JOURNALED).stream("clicks").unwrap());
    let all = (2 * (rounds + 1), None);
    assert_eq!((records.len(), error.map(|error| error.to_string())), all);
}

/// Until a shard is read, or enough bytes have gathered, only the journal has the acknowledged records.
#[test]
pub fn readers_and_tools_find_what_only_the_journal_has() {
    let disk = SimDisk::new(1);
    let store = open(&disk, JOURNALED);
    let stream = store.create_stream("clicks", 2).unwrap();
    put_to_both(&stream, b"first");
    let image = disk.image(LossMode::KeepAll);
    let of_shards: Vec<_> = frames(&image)
        .into_iter()
        .filter(|frame| frame.log.stream_name.is_some())
        .collect();
    assert_eq!(of_shards.len(), 2);
    for frame in &of_shards {
        assert!(bytes_of(&image, frame).iter().all(|byte| *byte == 0), "{frame:?}");
    }
    let (records, error) = read(&stream);
    assert_eq!((records.len(), error.map(|error| error.to_string())), (2, None));
    for frame in &of_shards {
        let there = bytes_of(&disk.image(LossMode::KeepAll), frame);
        assert!(there.iter().any(|byte| *byte != 0), "{frame:?}");
    }
}

#[test]
pub fn frames_that_cannot_be_written_any_more_are_read_from_memory_and_not_lost() {
    let disk = SimDisk::new(1);
    let store = open(&disk, JOURNALED);
    let stream = store.create_stream("clicks", 2).unwrap();
    put_to_both(&stream, b"first");
    assert_eq!(read(&stream).0.len(), 2);
    put_to_both(&stream, b"second");
    disk.faults().fail_from_nth(Operation::Write, 1, ErrorKind::Other);
    for _ in 0..2 {
        let (records, error) = read(&stream);
        assert_eq!((records.len(), error.map(|error| error.to_string())), (4, None));
        assert!(matches!(stream.put("key", b"third"), Err(Error::Poisoned { .. })));
    }
    disk.faults().clear();
    let stream = open(&disk.crash(LossMode::LoseAll), JOURNALED)
        .stream("clicks")
        .unwrap();
    let (records, error) = read(&stream);
    assert_eq!((records.len(), error.map(|error| error.to_string())), (4, None));
}

/// Frames in the journal prove as much as frames in a segment.
#[test]
pub fn an_edit_that_rots_is_missed_by_frames_that_only_the_journal_has() {
    let disk = SimDisk::new(1);
    let store = open(&disk, JOURNALED);
    let streams = ["clicks", "views"].map(|name| store.create_stream(name, 1).unwrap());
    // The journal's own first segment is named before the last edit, the one that names a segment of `views`.
    for stream in &streams {
        stream.put("key", b"acknowledged").unwrap();
    }
    let disk = disk.crash(LossMode::LoseAll);
    let manifest = format!("{DIRECTORY}/MANIFEST-000001");
    let bytes = disk.rot().read(&manifest).unwrap();
    let last_edit = (64..MANIFEST_STRIPE)
        .step_by(8)
        .rfind(|at| bytes[*at..].starts_with(b"AMFE"))
        .unwrap();
    flip_in_both_copies(&disk, &manifest, last_edit as u64 + 30);
    match options(&disk, JOURNALED).open(DIRECTORY).err() {
        Some(Error::Corrupt { offset, .. }) => assert_eq!(offset, last_edit as u64),
        other => panic!("{other:?}"),
    }
}

#[test]
pub fn what_is_put_back_from_the_journal_stays_although_the_log_is_damaged() {
    let disk = SimDisk::new(1);
    let store = open(&disk, NOT_JOURNALED);
    store
        .create_stream("clicks", 1)
        .unwrap()
        .put("key", b"first")
        .unwrap();
    store.close().unwrap();
    let store = open(&disk, JOURNALED);
    let stream = store.stream("clicks").unwrap();
    stream.put("key", b"second").unwrap();
    stream.put("key", b"third").unwrap();
    let disk = disk.crash(LossMode::LoseAll);
    let first = frames(&disk)
        .into_iter()
        .find(|frame| frame.log.stream_name.is_some())
        .unwrap();
    let flip = |disk: &SimDisk| disk.rot().flip_bit(&first.path, first.offset + 84, 0).unwrap();
    flip(&disk);
    let (records, error) = read(&open(&disk, JOURNALED).stream("clicks").unwrap());
    assert!(records.is_empty() && error.is_some());
    let disk = disk.crash(LossMode::LoseAll);
    flip(&disk);
    let (records, _) = read(&open(&disk, JOURNALED).stream("clicks").unwrap());
    assert_eq!(records, [&b"first"[..], b"second", b"third"]);
}

/// Rot of frames that only the journal has: all except its last frame, which may be torn.
#[test]
pub fn every_flipped_byte_of_a_journal_that_is_needed_is_noticed() {
    let disk = SimDisk::new(1);
    let store = open(&disk, JOURNALED);
    let stream = store.create_stream("clicks", 2).unwrap();
    for round in 1..4 {
        put_to_both(&stream, &[round; 20]);
    }
    let disk = disk.crash(LossMode::LoseAll);
    let journal: Vec<_> = frames(&disk)
        .into_iter()
        .filter(|frame| frame.log.stream_name.is_none())
        .collect();
    assert_eq!(journal.len(), 3, "{journal:?}");
    for offset in (0..84).chain(4092..journal[2].offset) {
        let disk = disk.image(LossMode::KeepAll);
        disk.rot()
            .flip_bit(&journal[0].path, offset, (offset % 8) as u32)
            .unwrap();
        let stream = open(&disk, JOURNALED).stream("clicks").unwrap();
        let (records, error) = read(&stream);
        assert!(
            records.iter().all(|data| data.len() == 20 && data[0] < 4),
            "{records:?}"
        );
        match error {
            Some(Error::Corrupt { path, .. }) => assert_eq!(path, journal[0].path, "byte {offset}"),
            other => panic!("byte {offset}: {} records, then {other:?}", records.len()),
        }
        assert!(matches!(stream.put("key", b"more"), Err(Error::Corrupt { .. })));
        let verification = Inspection::of(DIRECTORY).disk(disk).verify(&mut |_| {}).unwrap();
        assert!(!verification.is_sound(), "byte {offset}");
    }
}

/// Each edit is synced before the next is written, so a whole edit behind it shows that it had been durable.
#[test]
pub fn an_edit_that_rots_is_missed_by_the_edits_behind_it() {
    let disk = SimDisk::new(1);
    let stream = open(&disk, NOT_JOURNALED).create_stream("clicks", 1).unwrap();
    let checkpoint = stream.reader(StartingPosition::TrimHorizon).unwrap().checkpoint();
    for name in ["a", "b", "c", "d"] {
        stream.save_checkpoint(name, &checkpoint).unwrap();
    }
    let disk = disk.crash(LossMode::LoseAll);
    let manifest = format!("{DIRECTORY}/MANIFEST-000001");
    let bytes = disk.rot().read(&manifest).unwrap();
    let magic = b"AMFE";
    let is_frame = |at: &usize| bytes[*at..].starts_with(magic);
    let starts: Vec<_> = (64..4096).step_by(8).filter(is_frame).collect();
    assert_eq!(starts.len(), 6);
    for (frame, start) in starts.iter().enumerate().take(5) {
        let disk = disk.image(LossMode::KeepAll);
        flip_in_both_copies(&disk, &manifest, *start as u64 + 30);
        match options(&disk, NOT_JOURNALED).open(DIRECTORY).err() {
            Some(Error::Corrupt { offset, .. }) => assert_eq!(offset, *start as u64, "frame {frame}"),
            other => panic!("frame {frame}: {other:?}"),
        }
    }
    // A frame of the same length in the place of another.
    for (from, to) in [(2, 3), (4, 2), (3, 5)] {
        let disk = disk.image(LossMode::KeepAll);
        let length = starts[3] - starts[2];
        for copy in [0, MANIFEST_STRIPE] {
            let frame = &bytes[starts[from]..starts[from] + length];
            let place = (copy + starts[to]) as u64;
            disk.rot().overwrite(&manifest, place, frame).unwrap();
        }
        let opened = options(&disk, NOT_JOURNALED).open(DIRECTORY).err();
        assert!(
            matches!(opened, Some(Error::Corrupt { .. })),
            "{from} over {to}: {opened:?}"
        );
    }
}

#[test]
pub fn what_a_reader_holds_is_not_written_over() {
    let disk = SimDisk::new(1);
    let clock = ManualClock::starting_at(Timestamp::from_seconds(1_700_000_000));
    let store = options(&disk, NOT_JOURNALED)
        .segment_bytes(64 * 1024)
        .clock(clock.clone())
        .open(DIRECTORY)
        .unwrap();
    let [read, other] = ["read", "other"].map(|name| store.create_stream(name, 1).unwrap());
    // Three records fill a segment.
    let put = |stream: &Stream, byte: u8| {
        for _ in 0..6 {
            stream.put("key", &[byte; 19_000]).unwrap();
        }
    };
    put(&read, 1);
    clock.advance(Duration::from_secs(20 * 3_600));
    put(&read, 2);
    let start = read
        .shard_iterator(
            read.describe().unwrap().shards[0].id,
            StartingPosition::TrimHorizon,
        )
        .unwrap();
    let limit = ReadLimit {
        records: 1_000,
        bytes: 10 << 20,
    };
    let held = read.get_records(&start, &limit).unwrap().records;
    assert_eq!(held.len(), 12);
    let recycled = || {
        let files = disk.rot().files();
        let in_pool = |path: &std::path::Path| path.parent().is_some_and(|parent| parent.ends_with("pool"));
        files.iter().filter(|(path, _)| in_pool(path)).count()
    };
    clock.advance(Duration::from_secs(5 * 3_600));
    store.maintain().unwrap();
    store.maintain().unwrap();
    let before = recycled();
    put(&other, 3);
    assert!(held[..6].iter().all(|record| record.data == [1; 19_000][..]));
    drop(held);
    store.maintain().unwrap();
    assert!(recycled() > before, "what nobody holds any more is not recycled");
    put(&other, 3);
    store.close().unwrap();
}

/// A kill leaves numbers out. A segment behind the gap was taken for the remains of the records with these numbers,
/// once the segments before it had expired.
#[test]
pub fn a_reader_that_had_read_all_before_a_kill_misses_nothing() {
    const HOUR: Duration = Duration::from_secs(3_600);
    for begins_in_vain in [false, true] {
        let disk = SimDisk::new(1);
        let clock = ManualClock::starting_at(Timestamp::from_seconds(1_700_000_000));
        let open = |disk: &SimDisk| {
            let options = options(disk, NOT_JOURNALED).segment_bytes(64 * 1024);
            options.clock(clock.clone()).open(DIRECTORY).unwrap()
        };
        let put = |stream: &Stream| stream.put("key", &[1; 40_000]);
        let pass = |store: &Store, hours: u32| {
            for _ in 0..hours {
                clock.advance(HOUR);
                store.maintain().unwrap();
            }
        };
        let store = open(&disk);
        let stream = store.create_stream("clicks", 1).unwrap();
        (0..2).for_each(|_| _ = put(&stream).unwrap());
        let mut reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
        assert_eq!(reader.by_ref().count(), 2);
        let at_end = reader.checkpoint();
        pass(&store, 20);
        let mut disk = disk.crash(LossMode::KeepAll);
        if begins_in_vain {
            // The next segment gets its name and no frame, and the numbers after it are left out too.
            let store = open(&disk);
            disk.faults()
                .on(".log")
                .fail_nth(Operation::Write, 1, ErrorKind::Other);
            assert!(put(&store.stream("clicks").unwrap()).is_err());
            disk = disk.crash(LossMode::KeepAll);
        }
        let store = open(&disk);
        let stream = store.stream("clicks").unwrap();
        (0..2).for_each(|_| _ = put(&stream).unwrap());
        pass(&store, 6);
        let all: anabranch::Result<Vec<_>> = stream.reader_from(at_end).unwrap().collect();
        let read = all.map(|records| records.len());
        assert!(
            matches!(read, Ok(2)),
            "begins in vain: {begins_in_vain}: {read:?}"
        );
    }
}
