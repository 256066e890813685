//! Any bytes as the commit journal of a store whose segments a power cut has emptied.
//!
//! ```text
//! byte 0   what is done to the journal's segment, see `segments::Change`
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;

use anabranch::sim::{LossMode, SimDisk};
use anabranch::{HashKey, PutRecord, SequenceNumber, ShardId};

use super::base::{self, DIRECTORY};
use super::program::Program;
use super::segments::{self, Change};
use super::tools;

struct Journaled {
    disk: SimDisk,
    /// By shard, in the order of the numbers.
    records: BTreeMap<ShardId, Vec<(SequenceNumber, Vec<u8>)>>,
    journal: PathBuf,
}

impl Journaled {
    fn get() -> &'static Self {
        static JOURNALED: OnceLock<Journaled> = OnceLock::new();
        JOURNALED.get_or_init(Self::new)
    }

    fn new() -> Self {
        let disk = SimDisk::new(9);
        let store = base::options(&disk)
            .min_journaled_shards(2)
            .open(DIRECTORY)
            .expect("an empty disk takes a store");
        let stream = store.create_stream("clicks", 2).expect("the name is free");
        let mut records = BTreeMap::<_, Vec<_>>::new();
        for (batch, bytes) in [(1, 20), (2, 9_000), (3, 1)] {
            let data = vec![batch; bytes];
            let batch = [HashKey::new(0), HashKey::MAX].map(|key| PutRecord {
                explicit_hash_key: Some(key),
                ..PutRecord::new("key", &data)
            });
            for put in stream.put_records(&batch).expect("there is room") {
                let of_shard = records.entry(put.shard_id).or_default();
                of_shard.push((put.sequence_number, data.clone()));
            }
        }
        let disk = disk.crash(LossMode::LoseAll);
        let files = disk.rot().files().into_iter();
        let is_journal = |path: &PathBuf| {
            path.to_string_lossy().contains("journal") && path.extension().is_some_and(|end| end == "log")
        };
        let journal = files
            .map(|(path, _)| path)
            .find(is_journal)
            .expect("puts to two shards are journaled");
        Self {
            disk,
            records,
            journal,
        }
    }

    fn changed(&self, change: Change, program: &mut Program<'_>) -> SimDisk {
        let disk = base::bounded(self.disk.image(LossMode::KeepAll));
        segments::apply(change, &disk, &self.journal, program);
        disk
    }
}

pub fn run(input: &[u8]) {
    let journaled = Journaled::get();
    let mut program = Program(input);
    let change = Change::of(program.byte());
    let disk = journaled.changed(change, &mut program);
    tools::look_and_repair(&base::bounded(disk.image(LossMode::KeepAll)), None);

    let Ok(store) = base::open(&disk) else { return };
    let stream = store.stream("clicks").expect("the manifest names the stream");
    let (read, end) = base::read(&stream);
    // Only frames whose checksums hold are accepted.
    if change != Change::Frames {
        for (shard, known) in &journaled.records {
            let of_shard = read.iter().filter(|(number, _)| number.shard_id() == *shard);
            let is_prefix =
                of_shard.clone().count() <= known.len() && of_shard.zip(known).all(|(a, b)| a == b);
            assert!(is_prefix, "what is read of {shard} is no prefix of what was put");
        }
    }
    if let Err(error) = end {
        segments::assert_is_about_the_file(&error);
    }
    if let Err(error) = stream.put("key", b"behind it all") {
        segments::assert_is_about_the_file(&error);
    }
    let _ = store.close();
    drop((stream, store));
    base::open(&disk).expect("what was closed opens");
}

/// One input for each change.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let journaled = Journaled::get();
    let file = journaled
        .disk
        .rot()
        .read(&journaled.journal)
        .expect("the journal is there");
    let seeds = [
        ("frames", Change::Frames, segments::frames_of(&file, 600)),
        ("header-page", Change::HeaderPage, file[..96].to_vec()),
        ("overwrite", Change::Overwrite, vec![0x00, 0x10, 0x00, 2, 1, 2]),
        ("replace", Change::Replace, file[4096..5000].to_vec()),
        ("resize", Change::Resize, vec![0x00, 0x20, 0x00]),
    ];
    seeds
        .into_iter()
        .map(|(name, change, rest)| (name.to_owned(), [&[change.byte()], rest.as_slice()].concat()))
        .collect()
}
