//! Verifies a store on the real disk while another process has it and writes, splits, deletes and trims: it is never
//! reported as damaged.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anabranch::inspect::{Inspection, Verification};
use anabranch::{
    Error, HashKey, PutRecord, ReadLimit, ShardFilter, StartingPosition, Store, StoreOptions, Stream,
};

use super::repaired::Chance;
use crate::watchdog::Case;

const STORE_VARIABLE: &str = "ANABRANCH_IN_USE_STORE";

/// How long the store is verified repeatedly.
const TIME: Duration = Duration::from_secs(3);

/// The line that the process prints on its standard error once it writes.
const WRITES: &str = "it writes";

/// The largest number of shards.
const MOST_SHARDS: usize = 6;

#[test]
fn a_sound_store_that_another_process_writes_to_is_not_said_to_be_damaged() {
    let _case = Case::begin(|| "a store that another process has".to_owned());
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    let process = WritingProcess::start(&store);
    let started = Instant::now();
    let mut times = 0;
    while started.elapsed() < TIME {
        let verification = verify(&store);
        assert!(verification.is_sound(), "{:?}", verification.findings);
        assert!(verification.holder.is_some(), "the process has ended");
        times += 1;
    }
    let status = process.end();
    assert!(status.success(), "{status}");
    let verification = verify(&store);
    assert!(verification.is_sound(), "{:?}", verification.findings);
    println!("verified {times} times, {:?} at last", verification.checked);
    assert!(verification.checked.records > 0);
}

fn verify(store: &Path) -> Verification {
    Inspection::of(store).verify(&mut |_| {}).unwrap()
}

/// This test program, started again as a program that has a store. It ends when its standard input does.
struct WritingProcess(Child);

impl WritingProcess {
    /// Waits until the process writes.
    fn start(store: &Path) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["writes_until_its_input_ends", "--ignored", "--nocapture"])
            .env(STORE_VARIABLE, store)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut process = Self(child);
        let said = BufReader::new(process.0.stderr.take().unwrap());
        let mut lines = said.lines().map(Result::unwrap);
        let found = lines.any(|line| line == WRITES);
        assert!(found, "the process has ended: {:?}", process.0.wait());
        // Its later lines are shown.
        std::thread::spawn(move || lines.for_each(|line| eprintln!("{line}")));
        process
    }

    fn end(mut self) -> ExitStatus {
        drop(self.0.stdin.take());
        self.0.wait().unwrap()
    }
}

impl Drop for WritingProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "the process that another test starts"]
fn writes_until_its_input_ends() {
    let Some(directory) = std::env::var_os(STORE_VARIABLE) else {
        return;
    };
    let has_ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            has_ended.store(true, Ordering::Relaxed);
        });
        let mut program = Program::begin(Path::new(&directory));
        while !has_ended.load(Ordering::Relaxed) {
            program.step().unwrap();
            if program.steps == 200 {
                eprintln!("{WRITES}");
            }
        }
        program.store.close().unwrap();
    });
}

struct Program {
    store: Store,
    clicks: Stream,
    chance: Chance,
    steps: usize,
}

impl Program {
    /// With small segments, few of which are kept for reuse, and a manifest that is often rewritten.
    fn begin(directory: &Path) -> Self {
        let store = StoreOptions::new()
            .segment_bytes(64 * 1024)
            .max_recycled_bytes(256 * 1024)
            .min_journaled_shards(2)
            .compaction_bytes(16 * 1024)
            .open(directory)
            .unwrap();
        let clicks = store.create_stream("clicks", 2).unwrap();
        Self {
            store,
            clicks,
            chance: Chance::of(1),
            steps: 0,
        }
    }

    fn step(&mut self) -> anabranch::Result<()> {
        self.steps += 1;
        match self.chance.below(60) {
            0 => self.reshard(),
            1 | 2 => self.trim(),
            3 => self.store.maintain(),
            4 => match self.store.create_stream("views", 3) {
                Err(Error::StreamExists { .. }) => self.store.stream("views")?.delete(),
                views => self.put(&views?),
            },
            5 => self.read(),
            _ => self.put(&self.clicks.clone()),
        }
    }

    fn put(&mut self, stream: &Stream) -> anabranch::Result<()> {
        let chance = &mut self.chance;
        let data = vec![1; *chance.one_of(&[10, 1_000, 9_000, 30_000])];
        let puts: Vec<_> = (0..1 + chance.below(4))
            .map(|_| {
                let key = HashKey::new(u128::from(chance.next()) << 75);
                PutRecord::new("key", &data).explicit_hash_key(key)
            })
            .collect();
        stream.put_records(&puts).map(drop)
    }

    fn reshard(&mut self) -> anabranch::Result<()> {
        let mut open = self.clicks.shards(&ShardFilter::AtLatest)?;
        open.sort_by_key(|shard| shard.hash_key_range.start());
        let nth = self.chance.below(open.len() - 1);
        match open.len() < MOST_SHARDS {
            true => self.clicks.split_in_half(open[nth].id),
            false => self.clicks.merge_shards(open[nth].id, open[nth + 1].id),
        }
    }

    /// Keeps only some records, so that segments and closed shards are dropped.
    fn trim(&mut self) -> anabranch::Result<()> {
        let mut reader = self.clicks.reader(StartingPosition::TrimHorizon)?;
        let records = 20 * (1 + self.chance.below(10));
        let read = reader.by_ref().take(records);
        read.collect::<anabranch::Result<Vec<_>>>()?;
        self.clicks.trim_to(&reader.checkpoint())
    }

    fn read(&self) -> anabranch::Result<()> {
        for shard in self.clicks.shards(&ShardFilter::FromTrimHorizon)? {
            let from = self
                .clicks
                .shard_iterator(shard.id, StartingPosition::TrimHorizon);
            match from.and_then(|from| self.clicks.get_records(&from, &ReadLimit::default())) {
                // House-keeping has dropped it.
                Ok(_) | Err(Error::ShardNotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
