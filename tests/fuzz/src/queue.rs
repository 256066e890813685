//! Any bytes as the log of a queue.
//!
//! ```text
//! byte 0   bit 0: the queue whose log has all its entries, or the one whose log begins with a snapshot;
//!          the rest: what is done, see `segments::Change`, or one more: from where the log begins on it has the entries
//!          that follow, each with its length in two bytes before it
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;

use anabranch::sim::{LossMode, SimDisk};
use anabranch::{
    HashKey, Queue, QueueOptions, QueueRecord, QueueSettings, ReadLimit, ReceiveOptions, SequenceNumber,
    StartingPosition, Stream,
};

use super::base::{self, DIRECTORY, NOW};
use super::program::Program;
use super::segments::{self, Change};

const PAGE_BYTES: usize = 4096;
const HEADER_BYTES: usize = 64;
const RECORD_HEADER_BYTES: usize = 16;

/// Follows the changes of any segment.
const ENTRIES: u8 = 6;

/// A stream with a queue, which a crash has ended.
struct Queued {
    disk: SimDisk,
    records: BTreeMap<SequenceNumber, Vec<u8>>,
    log: PathBuf,
    /// The entries before the one that the log begins with.
    hidden: Vec<Vec<u8>>,
    /// The later entries.
    entries: Vec<Vec<u8>>,
}

impl Queued {
    fn of(number: u8) -> &'static Self {
        static QUEUED: [OnceLock<Queued>; 2] = [const { OnceLock::new() }; 2];
        let is_compacted = number & 1 == 1;
        QUEUED[usize::from(is_compacted)].get_or_init(|| Self::new(is_compacted))
    }

    fn new(is_compacted: bool) -> Self {
        let disk = SimDisk::new(12);
        let options = match is_compacted {
            true => base::options(&disk).compaction_bytes(1),
            false => base::options(&disk),
        };
        let store = options.open(DIRECTORY).expect("an empty disk takes a store");
        let stream = store.create_stream("jobs", 2).expect("the name is free");
        let settings = QueueOptions {
            start: StartingPosition::TrimHorizon,
            settings: QueueSettings {
                visibility_seconds: 0,
                max_receive_count: Some(2),
            },
            ..QueueOptions::default()
        };
        let queue = stream.create_queue("work", &settings).expect("the name is free");
        let mut records = BTreeMap::new();
        let mut put = |stream: &Stream, from: u8| {
            for number in from..from + 10 {
                let data = vec![number; 3];
                let put = stream.put(&number.to_string(), &data).expect("there is room");
                records.insert(put.sequence_number, data);
            }
        };
        put(&stream, 0);
        let first = stream.describe().expect("it is there").shards[0].id;
        let some = receive(&queue, 4, false);
        acknowledge(&queue, &some[..2]);
        stream
            .split_shard(first, HashKey::new(1_000))
            .expect("it is open");
        put(&stream, 10);
        receive(&queue, 8, false);
        give_back(&queue, &receive(&queue, 2, false));
        receive(&queue, 8, false);
        receive(&queue, 20, false);
        let dead = receive(&queue, 3, true);
        let receipts: Vec<_> = dead.iter().map(|record| record.receipt).collect();
        let restored = queue.restore(&receipts[..1]).expect("the log takes entries");
        assert!(restored[0].is_ok());
        acknowledge(&queue, &dead[1..2]);
        give_back(&queue, &dead[2..]);
        put(&stream, 20);

        let disk = disk.crash(LossMode::LoseAll);
        let files = disk.rot().files().into_iter();
        let is_log = |path: &PathBuf| {
            path.to_string_lossy().contains("queue-") && path.extension().is_some_and(|end| end == "log")
        };
        let log = files
            .map(|(path, _)| path)
            .find(is_log)
            .expect("a queue has a log");
        let mut entries = entries_of(&disk.rot().read(&log).expect("it is there"));
        let is_snapshot = |entry: &Vec<u8>| entry.first() == Some(&6);
        let begin = match is_compacted {
            true => entries.iter().rposition(is_snapshot).expect("it is compacted"),
            false => 0,
        };
        let hidden = entries.drain(..begin).collect();
        Self {
            disk,
            records,
            log,
            hidden,
            entries,
        }
    }

    fn changed(&self, change: u8, program: &mut Program<'_>) -> SimDisk {
        let disk = base::bounded(self.disk.image(LossMode::KeepAll));
        match change {
            ENTRIES => {
                let mut entries = self.hidden.clone();
                while !program.is_over() {
                    let length = usize::from(program.u16());
                    entries.push(program.bytes(length).to_vec());
                }
                let frame = frame_of(&entries);
                segments::apply(Change::Frames, &disk, &self.log, &mut Program(&frame));
            }
            other => segments::apply(Change::of(other), &disk, &self.log, program),
        }
        disk
    }

    /// Checks that these are records of the stream, each at most once.
    fn check(&self, received: &[QueueRecord]) {
        let mut seen = BTreeMap::new();
        for record in received {
            let number = record.record.sequence_number;
            assert_eq!(
                self.records.get(&number).map(Vec::as_slice),
                Some(&record.record.data[..]),
                "{number} was not put"
            );
            assert!(seen.insert(number, ()).is_none(), "{number} is given out twice");
        }
    }
}

pub fn run(input: &[u8]) {
    let mut program = Program(input);
    let first = program.byte();
    let queued = Queued::of(first);
    let disk = queued.changed((first >> 1) % (ENTRIES + 1), &mut program);
    let Ok(store) = base::open(&disk) else { return };
    let stream = store.stream("jobs").expect("the manifest names the stream");
    let queue = stream.queue("work").expect("the manifest names the queue");
    let long = QueueSettings {
        visibility_seconds: 1_000,
        max_receive_count: None,
    };
    queue.set_settings(&long).expect("the manifest takes edits");
    let mut all = Vec::new();
    let mut end = Ok(());
    for dead_letters in [false, true] {
        end = end.and_then(|()| {
            loop {
                let received = queue.receive(&of_records(7, dead_letters))?;
                if received.is_empty() {
                    return Ok(());
                }
                all.extend(received);
                assert!(all.len() < 1_000, "it gives out records without end");
            }
        });
    }
    queued.check(&all);
    let receipts: Vec<_> = all.iter().map(|record| record.receipt).collect();
    let acknowledged = end.and_then(|()| queue.acknowledge(&receipts));
    if let Err(error) = &acknowledged {
        segments::assert_is_about_the_file(error);
    }
    stream.put("key", b"behind it all").expect("the shards are whole");
    store.close().expect("a store with a damaged queue is closed");
    drop((queue, stream, store));
    let store = base::open(&disk).expect("what was closed opens");
    let queue = store.stream("jobs").and_then(|stream| stream.queue("work"));
    let queue = queue.expect("it is there");
    if acknowledged.is_ok() {
        let again = queue.receive(&of_records(100, false));
        let again = again.expect("it was read before");
        assert_eq!(again.len(), 1, "what was acknowledged came back: {again:?}");
        let dead = queue.receive(&of_records(100, true));
        assert!(dead.expect("it was read before").is_empty());
    }
}

fn of_records(records: usize, dead_letters: bool) -> ReceiveOptions {
    ReceiveOptions {
        limit: ReadLimit {
            records,
            ..ReadLimit::default()
        },
        dead_letters,
        ..ReceiveOptions::default()
    }
}

fn receive(queue: &Queue, records: usize, dead_letters: bool) -> Vec<QueueRecord> {
    let received = queue.receive(&of_records(records, dead_letters));
    received.expect("its log is whole")
}

fn acknowledge(queue: &Queue, records: &[QueueRecord]) {
    let receipts: Vec<_> = records.iter().map(|record| record.receipt).collect();
    let outcomes = queue.acknowledge(&receipts).expect("its log is whole");
    assert!(outcomes.iter().all(Result::is_ok));
}

fn give_back(queue: &Queue, records: &[QueueRecord]) {
    let receipts: Vec<_> = records.iter().map(|record| record.receipt).collect();
    let outcomes = queue.give_back(&receipts).expect("its log is whole");
    assert!(outcomes.iter().all(Result::is_ok));
}

/// The data of a segment's records.
fn entries_of(file: &[u8]) -> Vec<Vec<u8>> {
    let number = |at: usize| u32::from_le_bytes(std::array::from_fn(|byte| file[at + byte])) as usize;
    let mut entries = Vec::new();
    let mut at = PAGE_BYTES;
    while at < file.len() && number(at) != 0 {
        let mut record = at + HEADER_BYTES;
        for _ in 0..number(at + 32) {
            let data = record + RECORD_HEADER_BYTES;
            entries.push(file[data..data + number(record)].to_vec());
            record = data + number(record);
        }
        at += HEADER_BYTES + number(at + 4);
    }
    entries
}

/// A frame with these entries for [`Change::Frames`], the first of its log.
fn frame_of(entries: &[Vec<u8>]) -> Vec<u8> {
    let arrival = NOW.as_millis().to_le_bytes();
    let mut body = Vec::new();
    for entry in entries {
        body.extend_from_slice(&(entry.len() as u32).to_le_bytes());
        body.extend_from_slice(&[0; 4]);
        body.extend_from_slice(&arrival);
        body.extend_from_slice(entry);
    }
    body.resize(body.len().next_multiple_of(8), 0);
    let mut frame = vec![0; HEADER_BYTES];
    frame[24..32].copy_from_slice(&1_u64.to_le_bytes());
    frame[32..36].copy_from_slice(&(entries.len() as u32).to_le_bytes());
    frame[48..56].copy_from_slice(&arrival);
    frame[56..64].copy_from_slice(&arrival);
    frame.extend_from_slice(&(body.len() as u16).to_le_bytes());
    frame.extend_from_slice(&body);
    frame
}

/// Entries as they are, of each queue, and one input for each change.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let input = |queue: u8, change: u8| queue | change << 1;
    let file = |queue: u8| {
        let queued = Queued::of(queue);
        let file = queued.disk.rot().read(&queued.log);
        file.expect("the log is there")
    };
    let entries = |queue: u8, kind: Option<u8>| {
        let mut bytes = vec![input(queue, ENTRIES)];
        let of_kind = |entry: &&Vec<u8>| kind.is_none() || entry.first().copied() == kind;
        for entry in Queued::of(queue).entries.iter().filter(of_kind) {
            bytes.extend_from_slice(&(entry.len() as u16).to_le_bytes());
            bytes.extend_from_slice(entry);
        }
        bytes
    };
    let with = |first: u8, rest: &[u8]| [&[first], rest].concat();
    let seeds = [
        ("entries", entries(0, None)),
        ("entries-of-receives", entries(0, Some(1))),
        ("snapshot", entries(1, None)),
        (
            "frames",
            with(
                input(0, Change::Frames.byte()),
                &segments::frames_of(&file(0), 600),
            ),
        ),
        (
            "frames-of-snapshots",
            with(
                input(1, Change::Frames.byte()),
                &segments::frames_of(&file(1), 600),
            ),
        ),
        (
            "overwrite",
            with(input(1, Change::Overwrite.byte()), &[0x00, 0x10, 0x00, 2, 1, 2]),
        ),
        (
            "replace",
            with(input(0, Change::Replace.byte()), &file(0)[4096..5000]),
        ),
        (
            "resize",
            with(input(1, Change::Resize.byte()), &[0x00, 0x20, 0x00]),
        ),
    ];
    seeds.map(|(name, bytes)| (name.to_owned(), bytes)).into()
}
