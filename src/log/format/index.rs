//! The sparse index of a segment: where about every 64 KiB a frame begins.
//!
//! ```text
//! offset  bytes  field of the index file
//!      0      8  magic            "ABRINDX1"
//!      8      8  salt             of the segment
//!     16      8  covered through  position behind the last frame that was looked at
//!     24      4  count            of entries
//!     28      4  zero
//!     32     24  entry            first record, first arrival, offset in the file; 8 bytes each
//!      -      4  checksum         CRC-32 of all bytes before
//! ```
//! An index is derived from its segment and is never evidence about it. A missing or wrong index is built again, and
//! the frame that an entry points at is checked like any other.

use super::log_end::LogPosition;
use crate::disk::{Step, passes};
use crate::model::{RecordNumber, Timestamp};

/// Distance between two entries, in bytes of the segment.
const STEP_BYTES: u64 = 64 * 1024;

const MAGIC: [u8; 8] = *b"ABRINDX1";
const HEADER_BYTES: usize = 32;
const ENTRY_BYTES: usize = 24;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SparseIndex {
    entries: Vec<IndexEntry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    pub(crate) first_record: RecordNumber,
    pub(crate) first_arrival: Timestamp,
    pub(crate) offset: u64,
}

impl SparseIndex {
    /// Notes a frame, if it is far enough behind the last one that was noted.
    pub(crate) fn note(&mut self, entry: IndexEntry) {
        if self
            .entries
            .last()
            .is_none_or(|last| entry.offset >= last.offset + STEP_BYTES)
        {
            self.entries.push(entry);
        }
    }

    /// The last noted frame that begins at a record or before it.
    pub(crate) fn entry_before_record(&self, record: RecordNumber) -> Option<IndexEntry> {
        self.last_entry(|entry| entry.first_record <= record)
    }

    /// The last noted frame that begins before every record which arrived at `time` or later.
    pub(crate) fn entry_before_time(&self, time: Timestamp) -> Option<IndexEntry> {
        self.last_entry(|entry| entry.first_arrival < time)
    }

    fn last_entry(&self, is_before: impl Fn(&IndexEntry) -> bool) -> Option<IndexEntry> {
        let behind = self.entries.partition_point(is_before);
        self.entries.get(behind.checked_sub(1)?).copied()
    }

    pub(crate) fn encode(&self, salt: u64, covered_through: LogPosition) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.entries.len() * ENTRY_BYTES + 4);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&salt.to_le_bytes());
        bytes.extend_from_slice(&covered_through.0.to_le_bytes());
        // One entry for 64 KiB of a segment, which has at most 1 GiB or one group.
        bytes.extend_from_slice(&(self.entries.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        for entry in &self.entries {
            bytes.extend_from_slice(&entry.first_record.value().to_le_bytes());
            bytes.extend_from_slice(&entry.first_arrival.as_millis().to_le_bytes());
            bytes.extend_from_slice(&entry.offset.to_le_bytes());
        }
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    /// Whether an index file is whole, whatever segment and end it was made for.
    pub(crate) fn is_whole(bytes: &[u8]) -> bool {
        let field = |at: usize| {
            let bytes = bytes.get(at..)?.first_chunk()?;
            Some(u64::from_le_bytes(*bytes))
        };
        match (field(8), field(16)) {
            (Some(salt), Some(covered)) => Self::decode(bytes, salt, LogPosition(covered)).is_some(),
            _ => false,
        }
    }

    /// Decodes an index file; `None` unless it is whole, of this segment, and covered through this position.
    pub(crate) fn decode(bytes: &[u8], salt: u64, covered_through: LogPosition) -> Option<Self> {
        let (index, covered) = Self::decode_partial(bytes, salt)?;
        passes(Step::IndexIdentity, covered == covered_through).then_some(index)
    }

    /// Reads the index file of a segment that may be written to, with the position through which it was made. `None`
    /// unless it is whole and of this segment.
    pub(crate) fn decode_partial(bytes: &[u8], salt: u64) -> Option<(Self, LogPosition)> {
        let (content, checksum) = bytes.split_last_chunk::<4>()?;
        let holds = crc32fast::hash(content) == u32::from_le_bytes(*checksum);
        if !passes(Step::IndexChecksum, holds) {
            return None;
        }
        let (header, entries) = content.split_first_chunk::<HEADER_BYTES>()?;
        let field = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| header[at + i]));
        let whole = header[0..8] == MAGIC
            && passes(Step::IndexIdentity, field(8) == salt)
            && field(24).checked_mul(ENTRY_BYTES as u64) == Some(entries.len() as u64);
        let index = whole.then(|| Self {
            entries: entries.chunks_exact(ENTRY_BYTES).map(decode_entry).collect(),
        })?;
        Some((index, LogPosition(field(16))))
    }

    /// Keeps the entries of frames that begin before a place in the file, and gives the last of them.
    pub(crate) fn cut_before(&mut self, offset: u64) -> Option<IndexEntry> {
        let kept = self.entries.partition_point(|entry| entry.offset < offset);
        self.entries.truncate(kept);
        self.entries.last().copied()
    }
}

fn decode_entry(bytes: &[u8]) -> IndexEntry {
    let field = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
    IndexEntry {
        first_record: RecordNumber::new(field(0)),
        first_arrival: Timestamp::from_millis(field(8)),
        offset: field(16),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::format::segment_header::PAGE_BYTES;

    fn entry(record: u64, arrival: u64, offset: u64) -> IndexEntry {
        IndexEntry {
            first_record: RecordNumber::new(record),
            first_arrival: Timestamp::from_millis(arrival),
            offset,
        }
    }

    fn index() -> SparseIndex {
        let mut index = SparseIndex::default();
        for step in 0..4 {
            index.note(entry(
                1 + step * 100,
                step * 1_000,
                PAGE_BYTES + step * STEP_BYTES,
            ));
        }
        index
    }

    #[test]
    fn a_search_begins_at_the_last_entry_before_the_record_or_time() {
        let index = index();
        let (first, second) = (index.entries[0], index.entries[1]);
        assert_eq!(index.entry_before_record(RecordNumber::new(1)), Some(first));
        assert_eq!(index.entry_before_record(RecordNumber::new(100)), Some(first));
        assert_eq!(index.entry_before_record(RecordNumber::new(101)), Some(second));
        // Records of the same time may be in front of a frame that begins at that time.
        assert_eq!(
            index.entry_before_time(Timestamp::from_millis(1_000)),
            Some(first)
        );
        assert_eq!(
            index.entry_before_time(Timestamp::from_millis(1_001)),
            Some(second)
        );
        assert_eq!(index.entry_before_time(Timestamp::from_millis(0)), None);
    }

    #[test]
    fn frames_close_to_one_another_share_an_entry() {
        let mut index = SparseIndex::default();
        index.note(entry(1, 1, PAGE_BYTES));
        index.note(entry(2, 1, PAGE_BYTES + 64));
        assert_eq!(index.entries.len(), 1);
    }

    #[test]
    fn an_index_file_reads_back_only_whole_and_for_its_own_segment() {
        let bytes = index().encode(7, LogPosition(1 << 20));
        assert_eq!(
            SparseIndex::decode(&bytes, 7, LogPosition(1 << 20)),
            Some(index())
        );
        assert_eq!(SparseIndex::decode(&bytes, 8, LogPosition(1 << 20)), None);
        assert_eq!(SparseIndex::decode(&bytes, 7, LogPosition(2 << 20)), None);
        for at in 0..bytes.len() {
            assert_eq!(SparseIndex::decode(&bytes[..at], 7, LogPosition(1 << 20)), None);
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(SparseIndex::decode(&damaged, 7, LogPosition(1 << 20)), None);
            assert_eq!(SparseIndex::decode_partial(&damaged, 7), None);
        }
        let partial = SparseIndex::decode_partial(&bytes, 7);
        assert_eq!(partial, Some((index(), LogPosition(1 << 20))));
        assert_eq!(SparseIndex::decode_partial(&bytes, 8), None);
    }

    #[test]
    fn an_index_is_cut_before_a_place() {
        let mut index = index();
        let entries = index.entries.clone();
        assert_eq!(index.cut_before(u64::MAX), Some(entries[3]));
        assert_eq!(index.cut_before(entries[2].offset + 1), Some(entries[2]));
        assert_eq!(index.cut_before(entries[2].offset), Some(entries[1]));
        assert_eq!(index.entries, entries[..2]);
        assert_eq!(index.cut_before(0), None);
        assert_eq!(index, SparseIndex::default());
    }

    #[test]
    fn a_count_that_fits_no_memory_is_refused() {
        let mut bytes = index().encode(7, LogPosition(1 << 20));
        let content = bytes.len() - 4;
        bytes[24..32].copy_from_slice(&u64::MAX.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[..content]);
        bytes[content..].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(SparseIndex::decode(&bytes, 7, LogPosition(1 << 20)), None);
    }
}
