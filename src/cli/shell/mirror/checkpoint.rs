//! The progress of a mirror, in a file that a crash leaves either in its old or in its new state.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use anabranch::Timestamp;
use anabranch::disk::{Disk, LockError, LockGuard, OpenMode, OsDisk};
use serde::{Deserialize, Serialize};

use super::super::super::Failure;
use super::super::target::StreamRow;
use super::arguments::LineageKind;

/// The state from which a mirror goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Checkpoint {
    version: u32,
    pub(super) source: Identity,
    pub(super) target: Identity,
    pub(super) lineage: LineageKind,
    /// Whether the mirror has made the target's stream, and all records in it came from the mirror.
    pub(super) is_own_target: bool,
    /// The progress in the shards of the source that the mirror has begun and that are still listed.
    pub(super) shards: BTreeMap<String, Reached>,
    /// The last sequence number that each shard of the target has given.
    pub(super) target_shards: BTreeMap<String, String>,
    /// How many records all runs have brought to the target.
    pub(super) records: u64,
    pub(super) bytes: u64,
    /// When the last of them arrived at the source, in milliseconds since 1970.
    pub(super) last_arrival: Option<u64>,
}

/// The identity of a stream, without its place. A stream that is made again under the same name is another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Identity {
    pub(super) stream: String,
    /// When it was made, in milliseconds since 1970; `None` if it is not made yet.
    pub(super) created: Option<u64>,
}

/// The progress of a mirror in a shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reached {
    /// No record is at the target, and the mirror begins at the trim horizon.
    Horizon,
    /// No record is at the target, and the mirror begins at this time, in milliseconds since 1970.
    Time(u64),
    /// All records up to the one with this number are at the target.
    After(String),
    /// All records are at the target, and no more will come.
    Drained,
}

const VERSION: u32 = 1;

impl Checkpoint {
    /// The checkpoint of a mirror that has not begun.
    pub(super) fn new(source: Identity, target: Identity, lineage: LineageKind) -> Self {
        Self {
            version: VERSION,
            source,
            is_own_target: target.created.is_none(),
            target,
            lineage,
            shards: BTreeMap::new(),
            target_shards: BTreeMap::new(),
            records: 0,
            bytes: 0,
            last_arrival: None,
        }
    }

    /// Notes that records are at the target.
    pub(super) fn note_records(&mut self, records: u64, bytes: u64, last_arrival: Option<Timestamp>) {
        self.records += records;
        self.bytes += bytes;
        self.last_arrival = self.last_arrival.max(last_arrival.map(Timestamp::as_millis));
    }
}

impl Identity {
    pub(super) fn of(row: &StreamRow) -> Self {
        Self {
            stream: row.name.clone(),
            created: Some(row.created.as_millis()),
        }
    }
}

/// The file with a checkpoint. While it is open, no other mirror can open it.
pub(super) struct CheckpointFile {
    path: PathBuf,
    _lock: Box<dyn LockGuard>,
}

impl CheckpointFile {
    /// Opens the file, which need not exist yet.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let lock = OsDisk.lock(&beside(path, ".lock")).map_err(|error| match error {
            LockError::Held(_) => Failure::Refused(format!(
                "another mirror is under way with the checkpoint {}",
                path.display()
            )),
            LockError::Io(source) => refused("lock", path, &source),
        })?;
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The checkpoint in it; `None` if the file does not exist.
    pub(super) fn read(&self) -> Result<Option<Checkpoint>, Failure> {
        let bytes = match read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(refused("read", &self.path, &error)),
        };
        let wrong = |reason: String| {
            Failure::Refused(format!(
                "{} is no checkpoint of a mirror: {reason}\nName another file with --checkpoint.",
                self.path.display()
            ))
        };
        let read: Checkpoint = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
        match read.version {
            VERSION => Ok(Some(read)),
            version => Err(wrong(format!("it is of version {version}"))),
        }
    }

    /// Durable on return.
    pub(super) fn write(&self, checkpoint: &Checkpoint) -> Result<(), Failure> {
        let written = (|| {
            let mut bytes = serde_json::to_vec_pretty(checkpoint)?;
            bytes.push(b'\n');
            let aside = beside(&self.path, ".new");
            let file = OsDisk.open(&aside, OpenMode::Truncate)?;
            file.write_all_at(&bytes, 0)?;
            file.sync_data()?;
            OsDisk.rename(&aside, &self.path)?;
            OsDisk.sync_dir(directory_of(&self.path))
        })();
        written.map_err(|error: io::Error| refused("write", &self.path, &error))
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = OsDisk.open(path, OpenMode::Read)?;
    let length = usize::try_from(file.len()?).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    }
}

fn refused(doing: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::Refused(format!(
        "cannot {doing} the checkpoint {}: {error}",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        let identity = |stream: &str, created| Identity {
            stream: stream.to_owned(),
            created,
        };
        let mut checkpoint = Checkpoint::new(
            identity("clicks", Some(7)),
            identity("copy", None),
            LineageKind::Mirror,
        );
        let shards = [
            Reached::Horizon,
            Reached::Time(9),
            Reached::After("12".to_owned()),
            Reached::Drained,
        ];
        checkpoint.shards = (0..).map(|shard: u8| shard.to_string()).zip(shards).collect();
        checkpoint.note_records(3, 30, Some(Timestamp::from_millis(8)));
        checkpoint
    }

    #[test]
    fn a_checkpoint_is_read_as_it_was_written_and_one_program_has_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("clicks.mirror");
        let file = CheckpointFile::open(&path).unwrap();
        assert!(file.read().unwrap().is_none());
        let mut written = checkpoint();
        for _ in 0..2 {
            file.write(&written).unwrap();
            assert_eq!(file.read().unwrap().as_ref(), Some(&written));
            written.records += 1;
        }
        assert!(
            matches!(CheckpointFile::open(&path), Err(Failure::Refused(reason)) if reason.contains("another"))
        );
        drop(file);
        assert!(CheckpointFile::open(&path).is_ok());
    }

    #[test]
    fn a_file_that_is_something_else_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("clicks.mirror");
        let file = CheckpointFile::open(&path).unwrap();
        let newer = serde_json::to_string(&checkpoint())
            .unwrap()
            .replace("\"version\":1", "\"version\":2");
        for (text, part) in [
            ("", "EOF"),
            ("{}", "missing field"),
            (newer.as_str(), "version 2"),
        ] {
            let written = OsDisk.open(&path, OpenMode::Truncate).unwrap();
            written.write_all_at(text.as_bytes(), 0).unwrap();
            let Err(Failure::Refused(reason)) = file.read() else {
                panic!("{text}")
            };
            assert!(
                reason.contains(part) && reason.contains("--checkpoint"),
                "{reason}"
            );
        }
        let missing = directory.path().join("missing").join("clicks.mirror");
        assert!(matches!(CheckpointFile::open(&missing), Err(Failure::Refused(_))));
    }
}
