//! Findings in a store, and their consequences.

use std::fmt;
use std::path::PathBuf;

use crate::model::{LogName, QueueId, RecordNumber, ShardId, StreamId, Timestamp};

/// One place of a store that is not as it was written, or that is not part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// The file, or the directory.
    pub path: PathBuf,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// The log whose data the file holds, if it holds a log's data.
    pub log: Option<InspectedLog>,
    /// What is wrong there.
    pub damage: Damage,
    /// What that means for the data.
    pub consequence: Consequence,
}

/// A log of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InspectedLog {
    /// The log's name. A stream's number is the name of its directory.
    pub name: LogName,
    /// Its stream's name, where the manifest can be read.
    pub stream_name: Option<String>,
}

/// What is wrong at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// There is no such file.
    Missing,
    /// The operating system does not hand out the file.
    Unreadable {
        /// Its error.
        error: String,
    },
    /// A later version of this crate compressed or encrypted the segment.
    UnknownEncoding {
        /// The codec; 0 is none.
        codec: u32,
        /// The key; 0 is none.
        key: u64,
    },
    /// CURRENT does not hold the name of a manifest.
    CurrentNamesNothing,
    /// The header of a manifest, or the header page of a segment, does not hold.
    Header {
        /// What does not hold.
        reason: String,
    },
    /// A frame of the manifest does not hold.
    ManifestFrame {
        /// What does not hold.
        reason: String,
        /// How many whole frames are behind it.
        frames_behind: u64,
    },
    /// The file is shorter than it was made.
    Cut {
        /// The length that it was made with, in bytes.
        expected: u64,
    },
    /// Bytes that were frames are not any more.
    Frames {
        /// How many bytes; none where frames are missing between two others.
        bytes: u64,
        /// What does not hold.
        reason: String,
    },
    /// A segment ends at another place, or in another way, than the manifest says.
    End {
        /// What differs.
        reason: String,
    },
    /// The file holds records that the manifest does not know of, although they follow those that it knows.
    Forgotten {
        /// How many.
        records: u64,
    },
    /// Behind the last whole frame lies part of another.
    TornTail,
    /// An index is not whole.
    Index,
    /// The manifest does not name this file.
    Unnamed,
    /// One of the manifest's two copies is damaged.
    ManifestCopy,
}

/// The consequence of a finding for the data.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Consequence {
    /// Nothing: no record is behind it.
    Harmless {
        /// Why not.
        reason: &'static str,
    },
    /// Nothing yet: the program that has the store is writing there.
    BeingWritten,
    /// No record is affected that was acknowledged at the default durability: a crash came while the place was written.
    /// The next opener of the store drops it.
    NeverAcknowledged,
    /// These records are whole, but the store does not serve them until it is repaired.
    Unavailable {
        /// The first of them.
        from: RecordNumber,
        /// The number behind the last.
        to: RecordNumber,
    },
    /// These records are gone.
    Lost(LostRecords),
    /// The newest acknowledged records may be missing in the shards that were being written to. These shards serve the
    /// records they have, and refuse writes until the store is repaired.
    LastMayBeMissing,
    /// The file may hold acknowledged records from this number on. The store does not serve them, and an opener leaves
    /// the file alone.
    MayHoldRecords {
        /// The lowest number that a record in the file can have.
        from: RecordNumber,
    },
    /// The store does not open.
    DoesNotOpen,
    /// Nothing is lost: the other copy is whole. Both are written again when the store is next opened, or repaired.
    HeldByOtherCopy,
}

/// Records that cannot be brought back from this store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LostRecords {
    /// The first of them.
    pub from: RecordNumber,
    /// The number behind the last, where it is known.
    pub to: Option<RecordNumber>,
    /// The earliest time at which one of them can have arrived.
    pub arrived_from: Timestamp,
    /// The latest time at which one of them can have arrived, where it is known.
    pub arrived_until: Option<Timestamp>,
}

impl Finding {
    pub(super) fn new(
        path: impl Into<PathBuf>,
        offset: u64,
        damage: Damage,
        consequence: Consequence,
    ) -> Self {
        Self {
            path: path.into(),
            offset,
            log: None,
            damage,
            consequence,
        }
    }

    pub(super) fn of_log(mut self, log: &InspectedLog) -> Self {
        self.log = Some(log.clone());
        self
    }

    /// Whether the file may be whole but cannot be read now: the operating system gives an error, or a later version
    /// wrote it.
    pub(super) fn is_unreadable(&self) -> bool {
        self.damage.is_unreadable()
    }

    /// Whether data is wrong, as opposed to untidy or unfinished.
    pub fn is_damage(&self) -> bool {
        match self.consequence {
            Consequence::Harmless { .. } | Consequence::BeingWritten | Consequence::NeverAcknowledged => {
                false
            }
            Consequence::Unavailable { .. }
            | Consequence::Lost(_)
            | Consequence::LastMayBeMissing
            | Consequence::MayHoldRecords { .. }
            | Consequence::DoesNotOpen
            | Consequence::HeldByOtherCopy => true,
        }
    }
}

impl Damage {
    pub(super) fn is_unreadable(&self) -> bool {
        matches!(self, Self::Unreadable { .. } | Self::UnknownEncoding { .. })
    }
}

impl LostRecords {
    /// How many they are, where it is known.
    pub fn count(&self) -> Option<u64> {
        self.to.map(|to| to.value().saturating_sub(self.from.value()))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, byte {}: {}",
            self.path.display(),
            self.offset,
            self.damage
        )?;
        match &self.log {
            Some(log) => write!(f, "\n    {log}: {}", self.consequence),
            None => write!(f, "\n    {}", self.consequence),
        }
    }
}

impl InspectedLog {
    /// The shard's stream; `None` for the commit journal.
    pub fn stream(&self) -> Option<StreamId> {
        self.name.stream()
    }

    /// The shard; `None` for the commit journal and for the log of a queue.
    pub fn shard(&self) -> Option<ShardId> {
        self.name.shard()
    }

    /// The queue whose state the log has, if it is a queue's.
    pub fn queue(&self) -> Option<QueueId> {
        self.name.queue()
    }

    pub(super) fn unnamed(name: LogName) -> Self {
        Self {
            name,
            stream_name: None,
        }
    }
}

impl fmt::Display for InspectedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name, &self.stream_name) {
            (LogName::CommitJournal, _) => f.write_str("the commit journal"),
            (LogName::Shard(_, shard), Some(name)) => write!(f, "stream {name}, {shard}"),
            (LogName::Shard(stream, shard), None) => write!(f, "stream number {stream}, {shard}"),
            (LogName::Queue(_, queue), Some(name)) => write!(f, "stream {name}, queue number {queue}"),
            (LogName::Queue(stream, queue), None) => {
                write!(f, "stream number {stream}, queue number {queue}")
            }
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("the file is missing"),
            Self::Unreadable { error } => write!(f, "it cannot be read: {error}"),
            Self::UnknownEncoding { codec, key } => write!(
                f,
                "it has codec {codec} and key {key}, which this version does not know: use a newer anabranch"
            ),
            Self::CurrentNamesNothing => f.write_str("it does not name a manifest"),
            Self::Header { reason } | Self::End { reason } => f.write_str(reason),
            Self::ManifestFrame {
                reason,
                frames_behind,
            } => match frames_behind {
                0 => f.write_str(reason),
                1 => write!(f, "{reason} (1 whole one behind it)"),
                behind => write!(f, "{reason} ({behind} whole ones behind it)"),
            },
            Self::Cut { expected } => write!(
                f,
                "the file ends here; it was made with {}",
                Counted(*expected, "byte")
            ),
            Self::Frames { bytes: 0, reason } => f.write_str(reason),
            Self::Frames { bytes, reason } => write!(f, "{reason} ({})", Counted(*bytes, "byte")),
            Self::Forgotten { records } => {
                let records = Counted(*records, "record");
                write!(f, "it holds {records} that the manifest does not know of")
            }
            Self::TornTail => f.write_str("behind the last whole frame lies part of another"),
            Self::Index => f.write_str("the index is not whole"),
            Self::Unnamed => f.write_str("the manifest does not name this"),
            Self::ManifestCopy => f.write_str("one of the manifest's two copies is damaged here"),
        }
    }
}

impl fmt::Display for Consequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Harmless { reason } => write!(f, "harmless: {reason}"),
            Self::BeingWritten => f.write_str("being written"),
            Self::NeverAcknowledged => f.write_str(
                "cut short by a crash before it was acknowledged; dropped when the store is next opened",
            ),
            Self::Unavailable { from, to } => {
                write!(
                    f,
                    "{} whole, but not served until the store is repaired",
                    Records(*from, Some(*to))
                )
            }
            Self::Lost(lost) => lost.fmt(f),
            Self::LastMayBeMissing => f.write_str(
                "what was acknowledged last may be missing in the shards that were being written to; they refuse \
                 writes until the store is repaired",
            ),
            Self::MayHoldRecords { from } => write!(
                f,
                "it may hold records from number {from} on, which are not served"
            ),
            Self::DoesNotOpen => f.write_str("the store does not open until it is repaired"),
            Self::HeldByOtherCopy => f.write_str(
                "nothing is lost: the other copy has it, and both are written again when the store is next opened",
            ),
        }
    }
}

impl fmt::Display for LostRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} lost", Records(self.from, self.to))?;
        let from = Some(self.arrived_from).filter(|from| *from > Timestamp::EPOCH);
        match (from, self.arrived_until) {
            (Some(from), Some(until)) => write!(f, "; arrived from {from} to {until}"),
            (Some(from), None) => write!(f, "; arrived from {from}"),
            // Nothing in front of them says when.
            (None, Some(until)) => write!(f, "; arrived until {until}"),
            (None, None) => Ok(()),
        }
    }
}

/// `1 record`, `2 records`.
pub(super) struct Counted(pub(super) u64, pub(super) &'static str);

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, thing) = self;
        match count {
            1 => write!(f, "1 {thing}"),
            count => write!(f, "{count} {thing}s"),
        }
    }
}

/// A range of records with its verb.
struct Records(RecordNumber, Option<RecordNumber>);

impl fmt::Display for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(from, to) = self;
        match to.map(|to| to.value().saturating_sub(from.value())) {
            Some(0) => f.write_str("no record is"),
            Some(1) => write!(f, "record {from} is"),
            Some(count) => write!(f, "records {from} to {} are", from.value() + count - 1),
            None => write!(f, "all records from {from} on are"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_which_no_time_is_known_are_not_from_1970() {
        let lost = |from, until: Option<u64>| {
            let lost = LostRecords {
                from: RecordNumber::new(1),
                to: Some(RecordNumber::new(3)),
                arrived_from: Timestamp::from_millis(from),
                arrived_until: until.map(Timestamp::from_millis),
            };
            lost.to_string()
        };
        assert!(lost(0, None).ends_with(" lost"), "{}", lost(0, None));
        assert!(!lost(0, Some(1_000)).contains("from"), "{}", lost(0, Some(1_000)));
        assert!(lost(1_000, Some(2_000)).contains("arrived from 1970-01-01T00:00:01"));
    }
}
