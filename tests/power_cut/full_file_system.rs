//! A file system that is full to the last block.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anabranch::{
    Clock, Durability, Error, ManualClock, SequenceNumber, StartingPosition, StoreOptions, Stream, Timestamp,
};
use anabranch_harness::process;

use crate::writer::level_of;

const RETENTION: Duration = Duration::from_secs(24 * 3600);

/// The acknowledged records: when they arrived, and their bytes.
type Records = BTreeMap<SequenceNumber, (Timestamp, Vec<u8>)>;

/// Puts a record a second until one does not fit, and then tries some more. Gives the number that fitted, and the last
/// refusal.
fn fill(stream: &Stream, clock: &ManualClock, acknowledged: &mut Records) -> (usize, Error) {
    const MOST_REFUSALS: usize = 20;
    let before = acknowledged.len();
    let mut refusals = 0;
    loop {
        let data = vec![acknowledged.len() as u8; 20_000];
        match stream.put(&format!("key-{}", acknowledged.len()), &data) {
            Ok(put) => {
                let numbered_before = acknowledged.insert(put.sequence_number, (clock.now(), data));
                assert_eq!(numbered_before, None, "{} was given twice", put.sequence_number);
                clock.advance(Duration::from_secs(1));
            }
            Err(error @ Error::StorageFull { .. }) => {
                refusals += 1;
                if refusals == MOST_REFUSALS {
                    return (acknowledged.len() - before, error);
                }
            }
            Err(error) => panic!("{error}"),
        }
        assert!(acknowledged.len() < 100_000, "the file system never fills");
    }
}

/// Takes the remaining blocks, as another program would. The file system reserves more blocks for unwritten bytes than they
/// need, and frees the rest when they are written. So this goes on until it is full after that too.
fn fill_with_something_else(directory: &Path) {
    let mut file = File::create(directory.join("something else")).unwrap();
    loop {
        let mut taken = 0;
        for bytes in [1 << 16, 1 << 12, 1] {
            let piece = vec![1; bytes];
            let error = loop {
                match file.write(&piece) {
                    Ok(written) => taken += written,
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), ErrorKind::StorageFull);
        }
        if taken == 0 {
            break;
        }
        rustix::fs::syncfs(&file).unwrap();
    }
}

/// Checks that the stream holds exactly the acknowledged records that have not expired, byte for byte. Gives the number
/// of acknowledged records that are still in memory, the last ones.
fn check(stream: &Stream, acknowledged: &Records, now: Timestamp) -> usize {
    let mut stored = 0;
    for record in stream.reader(StartingPosition::TrimHorizon).unwrap() {
        let record = record.unwrap();
        let (_, data) = &acknowledged[&record.sequence_number];
        assert!(record.data == data, "{} has other bytes", record.sequence_number);
        stored += 1;
    }
    let horizon = now.saturating_sub(RETENTION);
    let is_kept = |(arrival, _): &&(Timestamp, Vec<u8>)| *arrival >= horizon;
    let kept = acknowledged.values().filter(is_kept).count();
    assert!(
        stored <= kept,
        "{stored} records are shown, and {kept} have not expired"
    );
    kept - stored
}

fn fill_trim_and_fill_again(level: Durability, image: &Path) {
    let clock = ManualClock::starting_at(Timestamp::from_seconds(1_700_000_000));
    // House-keeping frees room, for example of the commit journal, so it comes only when the test calls it.
    let options = StoreOptions::new()
        .durability(level)
        .segment_bytes(1 << 20)
        .keeper(false)
        .clock(clock.clone());
    let directory = image.join("store");
    let mut store = options.open(&directory).unwrap();
    let mut stream = store.create_stream("clicks", 3).unwrap();

    let mut acknowledged = Records::new();
    let (first, _) = fill(&stream, &clock, &mut acknowledged);
    assert!(first > 500, "{first} records filled 32 MiB");
    fill_with_something_else(image);
    fill(&stream, &clock, &mut acknowledged);
    let in_memory = check(&stream, &acknowledged, clock.now());

    if level == Durability::Buffered {
        assert!(in_memory > 0, "memory takes some that the disk does not");
    } else {
        assert_eq!(in_memory, 0);
        store.close().unwrap();
        store = options.open(&directory).unwrap();
        stream = store.stream("clicks").unwrap();
        assert_eq!(check(&stream, &acknowledged, clock.now()), 0);
    }

    // Once half of it has expired there is room for other records, again and again.
    for _ in 0..3 {
        clock.advance(RETENTION - Duration::from_secs(first as u64 / 2));
        store.maintain().unwrap();
        assert_eq!(check(&stream, &acknowledged, clock.now()), 0);
        let (fitted, refusal) = fill(&stream, &clock, &mut acknowledged);
        assert!(
            fitted > 100,
            "{fitted} records fitted at {level:?} when there was room: {refusal}"
        );
        let in_memory = check(&stream, &acknowledged, clock.now());
        assert!(in_memory == 0 || level == Durability::Buffered);
    }
    crate::report(&format!(
        "a full 32 MiB file system at {level:?}: {} records",
        acknowledged.len()
    ));
}

/// The level and the place of the file system, for a process of its own.
const TASK: &str = "ANABRANCH_FULL_FILE_SYSTEM";

/// This runs in a process of its own. Children of the other tests have copies of this process' descriptors until they run
/// their programs, and the blocks of a file that is removed meanwhile are not free before they have.
#[test]
fn a_full_file_system_refuses_is_read_and_takes_records_again_when_others_expire() {
    for level in [Durability::Synced, Durability::Written, Durability::Buffered] {
        let Some(image) = crate::image(32 << 20) else {
            return;
        };
        let mut test = Command::new(std::env::current_exe().unwrap());
        test.args(["full_file_system::the_process_on_a_full_file_system", "--exact"])
            .arg("--nocapture")
            .env(TASK, format!("{level:?} {}", image.path().display()));
        let output = process::output(&mut test).unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("a full 32 MiB file system at"), "{said}");
        crate::report(said.trim_end());
    }
}

/// Does nothing unless the test above runs it.
#[test]
fn the_process_on_a_full_file_system() {
    if let Ok(task) = std::env::var(TASK) {
        let (level, image) = task.split_once(' ').unwrap();
        fill_trim_and_fill_again(level_of(level), Path::new(image));
    }
}
