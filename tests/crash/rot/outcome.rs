//! What a damaged store shows, and whether it may.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use anabranch::inspect::{Finding, Inspection};
use anabranch::sim::SimDisk;
use anabranch::{
    Error, PutRecord, ReadLimit, Record, RecordNumber, ShardFilter, ShardId, StartingPosition, Store, Stream,
};

use super::sound::{DIRECTORY, SoundStore, options};
use crate::model::Violation;

/// A stream's name and one of its shards.
pub type ShardName = (String, ShardId);

pub struct ShardOutcome {
    pub is_open: bool,
    pub records: Vec<Record>,
    /// The error that a reader got, if it did not reach the end.
    pub error: Option<Error>,
}

/// The possible outcomes of some damage.
pub struct Expected<'a> {
    pub sound: &'a SoundStore,
    /// The damaged files.
    pub paths: Vec<PathBuf>,
    /// Where errors may place the damage, in files that kept their length.
    pub places: Vec<(PathBuf, Range<u64>)>,
    /// Shards that may be damaged, and the first record that may be missing. All others must be as they were.
    pub logs: BTreeMap<ShardName, RecordNumber>,
    /// Whether the store may refuse to open.
    pub may_not_open: bool,
    /// Files in which bytes with a meaning have changed.
    pub to_be_noticed: Vec<PathBuf>,
    /// Whether all of these bytes are in the last commit of a log that was being written to.
    pub is_undecidable: bool,
    /// Whether a crash may have kept it from this copy.
    pub is_last_edit_of_one_copy: bool,
}

/// The outcome, for counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Everything is as it was.
    Harmless,
    /// A shard serves the records before the damage and refuses writes.
    ShardDamaged,
    DoesNotOpen,
    /// The last commit of a log that was being written to is taken for torn.
    TakenForTorn,
}

impl Expected<'_> {
    /// Opens the store, reads everything, puts a record into each open shard, and closes it.
    pub fn examine(&self, disk: &SimDisk) -> Result<Outcome, Violation> {
        let findings = verify(disk)?;
        let outcome = match options(disk, &self.sound.clock).open(DIRECTORY) {
            Ok(store) => self.examine_store(&store)?,
            Err(error) if self.may_not_open => {
                self.check_error(&error)?;
                Outcome::DoesNotOpen
            }
            Err(error) => return Err(format!("the store does not open: {error}")),
        };
        let is_noticed = matches!(outcome, Outcome::ShardDamaged | Outcome::DoesNotOpen);
        let is_verified = findings.iter().any(Finding::is_damage);
        let is_told = |path: &PathBuf| findings.iter().any(|finding| finding.path == *path);
        let is_all_told = self.to_be_noticed.iter().all(is_told);
        let must_be_damage =
            !self.to_be_noticed.is_empty() && !self.is_undecidable && !self.is_last_edit_of_one_copy;
        match outcome {
            Outcome::TakenForTorn if !self.is_undecidable => Err("it is taken for a torn write".to_owned()),
            _ if is_noticed && !is_verified => Err("verifying finds no damage".to_owned()),
            _ if !is_all_told || must_be_damage && !is_verified => {
                Err(format!("verifying finds {findings:?}"))
            }
            outcome => Ok(outcome),
        }
    }

    fn examine_store(&self, store: &Store) -> Result<Outcome, Violation> {
        let shards = read_store(store);
        let is_known = shards.keys().eq(self.sound.history.keys());
        if !is_known {
            return Err(format!(
                "there are shards {:?}",
                shards.keys().collect::<Vec<_>>()
            ));
        }
        let mut worst = Outcome::Harmless;
        for (name, shard) in &shards {
            let outcome = self
                .examine_shard(name, shard)
                .map_err(|what| format!("{}, {}: {what}", name.0, name.1))?;
            worst = worst.max(outcome);
        }
        for name in &self.sound.open {
            let stream = store.stream(&name.0).map_err(|error| error.to_string())?;
            match (put_into(&stream, name.1), &shards[name].error) {
                (Ok(()), None) => {}
                (Err(error), Some(_)) => self.check_error(&error)?,
                (Ok(()), Some(error)) => return Err(format!("{name:?} takes a record behind {error}")),
                (Err(error), None) => return Err(format!("{name:?} takes no record: {error}")),
            }
        }
        store
            .close()
            .map_err(|error| format!("it does not close: {error}"))?;
        Ok(worst)
    }

    fn examine_shard(&self, name: &ShardName, shard: &ShardOutcome) -> Result<Outcome, Violation> {
        let history = &self.sound.history[name];
        if !history.starts_with(&shard.records) {
            return Err(format!("it gives {:?}", shard.records));
        }
        let missing = history.get(shard.records.len());
        let first_missing = missing.map(|record| record.sequence_number.record_number());
        let may_be_missing = self.logs.get(name).copied();
        if first_missing.is_some_and(|missing| may_be_missing.is_none_or(|first| missing < first)) {
            return Err(format!(
                "{first_missing:?} is not given, because of {:?}",
                shard.error
            ));
        }
        match &shard.error {
            Some(error) if may_be_missing.is_some() => {
                self.check_error(error)?;
                Ok(Outcome::ShardDamaged)
            }
            Some(error) => Err(format!("it gives {error}")),
            None if missing.is_none() => Ok(Outcome::Harmless),
            None if self.is_undecidable => Ok(Outcome::TakenForTorn),
            None => Err(format!("{first_missing:?} is silently not given")),
        }
    }

    /// Checks that an error names the damaged file and a place in it.
    fn check_error(&self, error: &Error) -> Result<(), Violation> {
        match error {
            Error::Corrupt { path, offset, .. } if self.paths.contains(path) => {
                let places = || self.places.iter().filter(|(of, _)| of == path);
                match places().next().is_none() || places().any(|(_, bytes)| bytes.contains(offset)) {
                    true => Ok(()),
                    false => Err(format!("the error tells of another place: {error}")),
                }
            }
            other => Err(format!("the error is {other:?}")),
        }
    }
}

/// All that readers of a store see.
pub fn read_store(store: &Store) -> BTreeMap<ShardName, ShardOutcome> {
    let mut shards = BTreeMap::new();
    for summary in store.streams(None, usize::MAX).unwrap() {
        let stream = store.stream(&summary.name).unwrap();
        for shard in stream.shards(&ShardFilter::FromTrimHorizon).unwrap() {
            let (records, error) = read_shard(&stream, shard.id);
            let outcome = ShardOutcome {
                is_open: shard.is_open(),
                records,
                error,
            };
            shards.insert((summary.name.clone(), shard.id), outcome);
        }
    }
    shards
}

fn read_shard(stream: &Stream, shard: ShardId) -> (Vec<Record>, Option<Error>) {
    let limit = ReadLimit {
        records: 3,
        bytes: usize::MAX,
    };
    let mut records = Vec::new();
    let mut from = match stream.shard_iterator(shard, StartingPosition::TrimHorizon) {
        Ok(from) => from,
        Err(error) => return (records, Some(error)),
    };
    loop {
        match stream.get_records(&from, &limit) {
            Ok(read) => {
                let is_at_head = read.records.is_empty();
                records.extend(read.records);
                match read.next {
                    Some(next) if !is_at_head => from = next,
                    _ => return (records, None),
                }
            }
            Err(error) => return (records, Some(error)),
        }
    }
}

fn put_into(stream: &Stream, shard: ShardId) -> anabranch::Result<()> {
    let open = stream.shards(&ShardFilter::AtLatest)?;
    let start = open
        .iter()
        .find(|open| open.id == shard)
        .unwrap()
        .hash_key_range
        .start();
    let put = PutRecord::new("user", b"put behind the damage").explicit_hash_key(start);
    stream.put_record(&put).map(drop)
}

fn verify(disk: &SimDisk) -> Result<Vec<Finding>, Violation> {
    let verification = Inspection::of(DIRECTORY).disk(disk.clone()).verify(&mut |_| {});
    verification
        .map(|verification| verification.findings)
        .map_err(|error| format!("it cannot be verified: {error}"))
}

impl Expected<'_> {
    /// Checks that, once the damage is undone, all records are readable again, and behind them at most the records put
    /// into sound shards.
    pub fn examine_healed(&self, disk: &SimDisk) -> Result<(), Violation> {
        let opened = options(disk, &self.sound.clock).open(DIRECTORY);
        let store = opened.map_err(|error| format!("the store does not open: {error}"))?;
        for (name, shard) in read_store(&store) {
            let history = &self.sound.history[&name];
            if let Some(error) = shard.error {
                return Err(format!("{name:?} gives {error}"));
            }
            if !shard.records.starts_with(history) || shard.records.len() > history.len() + 1 {
                let there = shard.records.len();
                return Err(format!("{name:?} has {there} of {} records", history.len()));
            }
        }
        Ok(())
    }
}
