//! A segment: one file of a shard's log.
//!
//! ```text
//! offset  bytes  field of the header page
//!      0      8  magic            89 41 42 52 0D 0A 1A 0A
//!      8      2  format           1
//!     10      2  reserved, zero
//!     12      4  shard            index
//!     16     16  store
//!     32      8  stream
//!     40      8  salt             random, new each time that a file becomes a segment
//!     48      8  first record     no record in the segment has a lower number
//!     56      8  base position    position of the first frame
//!     64      8  base arrival     ms since 1970: nothing in this segment arrived earlier, nothing before it later
//!     72      8  length           of the file
//!     80      4  base chain       header checksum of the last frame before this segment
//!     84   4008  zero
//!   4092      4  checksum         CRC-32 of all bytes before
//!   4096      -  frames
//! ```
//! The same facts are in the manifest; the page lets a file be told apart from every other one, and a store be
//! rebuilt by hand. Magic, format and checksum keep their places in every format.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::frame::FrameSeed;
use super::hold::{Holds, SegmentHold};
use super::index::SparseIndex;
use super::pool::{SegmentPool, remove_if_there};
use super::shard_log::INTERRUPTION_GAP;
use super::write_back::WriteBack;
use super::{LogEnd, LogIdentity, LogPosition};
use crate::disk::{Disk, DiskFile, Step, passes};
use crate::error::{Error, Result};
use crate::model::{RecordNumber, ShardId, StreamId, Timestamp};
use crate::sync::{OnceLock, RwLock};

/// The newest format that this version writes and reads.
const FORMAT: u16 = 1;

/// Frames begin behind the header page; pages are also what a group is filled up to.
pub(crate) const PAGE_BYTES: u64 = 4096;

const MAGIC: [u8; 8] = *b"\x89ABR\r\n\x1a\n";
const CHECKSUM_OFFSET: usize = 4092;

/// What the manifest keeps of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SegmentEntry {
    pub(crate) first_record: RecordNumber,
    pub(crate) base_position: LogPosition,
    pub(crate) base_arrival: Timestamp,
    pub(crate) salt: u64,
    /// Length of the file in bytes, a multiple of [`PAGE_BYTES`].
    pub(crate) bytes: u64,
    /// The header checksum of the last frame before, which the first frame repeats.
    pub(crate) base_chain: u32,
}

impl SegmentEntry {
    pub(crate) fn file_name(&self) -> String {
        format!("{:020}.log", self.first_record.value())
    }

    pub(crate) fn index_name(&self) -> String {
        format!("{:020}.index", self.first_record.value())
    }

    /// A position before this segment is taken for its first: only a manifest that no store wrote asks for one.
    pub(crate) fn offset_of(&self, position: LogPosition) -> u64 {
        PAGE_BYTES.saturating_add(position.0.saturating_sub(self.base_position.0))
    }

    /// Where the log ended before this segment.
    pub(crate) fn base(&self) -> LogEnd {
        LogEnd {
            position: self.base_position,
            next_record: self.first_record,
            last_arrival: self.base_arrival,
            chain: self.base_chain,
            is_interrupted: false,
        }
    }

    /// An end behind everything that the segment can ever have held, for a log that begins again without it.
    pub(crate) fn end_behind_all(&self) -> LogEnd {
        LogEnd {
            position: LogPosition(self.base_position.0.saturating_add(self.bytes)),
            next_record: self.first_record.saturating_add(INTERRUPTION_GAP),
            is_interrupted: true,
            ..self.base()
        }
    }

    pub(super) fn encode_header(&self, log: LogIdentity) -> Vec<u8> {
        let mut page = vec![0; PAGE_BYTES as usize];
        page[0..8].copy_from_slice(&MAGIC);
        page[8..10].copy_from_slice(&FORMAT.to_le_bytes());
        page[12..16].copy_from_slice(&log.shard.index().to_le_bytes());
        page[16..32].copy_from_slice(&log.store.to_le_bytes());
        page[32..40].copy_from_slice(&log.stream.value().to_le_bytes());
        page[40..48].copy_from_slice(&self.salt.to_le_bytes());
        page[48..56].copy_from_slice(&self.first_record.value().to_le_bytes());
        page[56..64].copy_from_slice(&self.base_position.0.to_le_bytes());
        page[64..72].copy_from_slice(&self.base_arrival.as_millis().to_le_bytes());
        page[72..80].copy_from_slice(&self.bytes.to_le_bytes());
        page[80..84].copy_from_slice(&self.base_chain.to_le_bytes());
        let checksum = crc32fast::hash(&page[..CHECKSUM_OFFSET]);
        page[CHECKSUM_OFFSET..].copy_from_slice(&checksum.to_le_bytes());
        page
    }

    /// Reads a header page by itself, where no manifest says what it should be.
    pub(crate) fn decode_header(page: &[u8]) -> Option<(LogIdentity, Self)> {
        let page: &[u8; PAGE_BYTES as usize] = page.first_chunk()?;
        let u32_at = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| page[at + i]));
        let u64_at = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| page[at + i]));
        let log = LogIdentity {
            store: u128::from_le_bytes(std::array::from_fn(|i| page[16 + i])),
            stream: StreamId::new(u64_at(32)),
            shard: ShardId::new(u32_at(12)).ok()?,
        };
        let entry = Self {
            salt: u64_at(40),
            first_record: RecordNumber::new(u64_at(48)),
            base_position: LogPosition(u64_at(56)),
            base_arrival: Timestamp::from_millis(u64_at(64)),
            bytes: u64_at(72),
            base_chain: u32_at(80),
        };
        // Magic, format, checksum and zeros included.
        let is_segment = page[..] == entry.encode_header(log)[..]
            && entry.bytes >= PAGE_BYTES
            && entry.base_position.0.checked_add(entry.bytes).is_some();
        is_segment.then_some((log, entry))
    }

    /// Checks that a file is the segment that the manifest names.
    pub(crate) fn verify_file(&self, log: LogIdentity, file: &dyn DiskFile, path: &Path) -> Result<()> {
        let length = file.len().map_err(|error| Error::io("measure", path, error))?;
        if length < PAGE_BYTES {
            return Err(Error::corrupt(
                path,
                length,
                "the file ends before its header page does",
            ));
        }
        let mut page = vec![0; PAGE_BYTES as usize];
        file.read_exact_at(&mut page, 0)
            .map_err(|error| Error::unreadable(path, 0, error))?;
        if page[0..8] != MAGIC {
            return Err(Error::corrupt(path, 0, "this is not a segment"));
        }
        let checksum = u32::from_le_bytes(std::array::from_fn(|i| page[CHECKSUM_OFFSET + i]));
        let holds = checksum == crc32fast::hash(&page[..CHECKSUM_OFFSET]);
        if !passes(Step::SegmentHeaderChecksum, holds) {
            return Err(Error::corrupt(
                path,
                0,
                "the header page's checksum does not match",
            ));
        }
        let found = u16::from_le_bytes([page[8], page[9]]);
        if found > FORMAT {
            return Err(Error::NewerFormat {
                path: path.to_owned(),
                found,
                supported: FORMAT,
            });
        }
        if !passes(Step::SegmentHeaderIdentity, page == self.encode_header(log)) {
            return Err(Error::corrupt(
                path,
                0,
                "this is another segment than the manifest names",
            ));
        }
        if !passes(Step::SegmentLength, length >= self.bytes) {
            return Err(Error::corrupt(
                path,
                length,
                format!("the file was cut from {} bytes", self.bytes),
            ));
        }
        Ok(())
    }
}

/// A segment of an open log.
#[derive(Debug)]
pub(crate) struct Segment {
    /// Tells this open segment apart from all others of the process.
    pub(super) handle: u64,
    pub(crate) entry: SegmentEntry,
    pub(super) log: LogIdentity,
    pub(super) seed: FrameSeed,
    pub(super) path: PathBuf,
    pub(super) index_path: PathBuf,
    /// Whether the file was a segment before the store was opened. Records that an earlier opener handed out, in
    /// this process or another, may still share its mapping.
    is_inherited: bool,
    /// The index while the segment is the last one. Sealed segments have theirs in a file.
    pub(super) live_index: RwLock<Option<SparseIndex>>,
    /// What the commit journal calls the segment, once it has had to.
    pub(super) frame_home: OnceLock<String>,
    holds: Holds,
    pub(super) write_back: Arc<WriteBack>,
}

impl Segment {
    /// A segment that is there since before the store was opened.
    pub(super) fn inherited(log: LogIdentity, entry: SegmentEntry, directory: &Path) -> Self {
        Self {
            is_inherited: true,
            ..Self::new(log, entry, directory)
        }
    }

    pub(super) fn new(log: LogIdentity, entry: SegmentEntry, directory: &Path) -> Self {
        static NEXT_HANDLE: AtomicU64 = AtomicU64::new(0);
        Self {
            handle: NEXT_HANDLE.fetch_add(1, Ordering::Relaxed),
            entry,
            log,
            seed: FrameSeed::new(log, entry.salt),
            path: directory.join(entry.file_name()),
            index_path: directory.join(entry.index_name()),
            is_inherited: false,
            live_index: RwLock::new(None),
            frame_home: OnceLock::new(),
            holds: Holds::default(),
            write_back: Arc::default(),
        }
    }

    /// Keeps the file from being recycled or removed; `None` once the log does not name the segment any more.
    pub(super) fn hold(&self) -> Option<SegmentHold> {
        self.holds.begin()
    }

    /// Takes note that the log does not name this segment any more. Nothing that is not read now will be.
    pub(super) fn forget(&self) {
        self.holds.forget();
    }

    /// What is told of a segment that the log has forgotten, to those who do not come from its list.
    pub(super) fn is_no_more(&self) -> Error {
        Error::StreamNotFound {
            name: format!("number {}", self.log.stream),
        }
    }

    pub(super) fn is_forgotten(&self) -> bool {
        self.holds.are_forgotten()
    }

    /// Gives the file of a forgotten segment back, unless something still has it or bytes of its mapping. Says whether
    /// it did. After an error it can be done again.
    ///
    /// The file is written again only if every mapping of it was made, and is known to be gone, here; an inherited one
    /// is removed, which leaves mappings what they are.
    pub(crate) fn retire(&self, pool: &SegmentPool, disk: &dyn Disk) -> Result<bool> {
        if !self.holds.are_over() {
            return Ok(false);
        }
        remove_if_there(disk, &self.index_path)?;
        match self.is_inherited {
            true => remove_if_there(disk, &self.path)?,
            false => pool.recycle(&self.path, self.entry.bytes)?,
        }
        Ok(true)
    }
}
