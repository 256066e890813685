//! The header page of a segment, which is one file of a log.
//!
//! ```text
//! offset  bytes  field of the header page
//!      0      8  magic            89 41 42 52 0D 0A 1A 0A
//!      8      2  format           4
//!     10      2  kind of log      1 a shard's, 2 the commit journal, 3 a queue's
//!     12      4  shard            its index, or the number of a queue; 0 in the commit journal
//!     16     16  store
//!     32      8  stream           0 in the commit journal
//!     40      8  salt             random, new each time that a file becomes a segment
//!     48      8  first record     no record in the segment has a lower number
//!     56      8  base position    position of the first frame
//!     64      8  base arrival     ms since 1970: nothing in this segment arrived earlier, nothing before it later
//!     72      8  length           of the file
//!     80      4  base chain       header checksum of the last frame before this segment
//!     84      4  codec            how the frames' bodies are coded; 0: as they are, 1: encrypted by AES-256-GCM
//!     88      8  key              fingerprint of the key that the segment's own is wrapped with; 0: not encrypted
//!     96     12  wrapped nonce    of the segment's key; zero: not encrypted
//!    108     32  wrapped key
//!    140     16  wrapped tag
//!    156      8  follows          the number behind the last record before the segment
//!    164   3928  zero
//!   4092      4  checksum         CRC-32 of all bytes before
//!   4096      -  frames
//! ```
//! The same facts are in the manifest; the page lets a file be told apart from every other one, and a store be
//! rebuilt by hand. Magic, format and checksum keep their places in every format.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::identity::LogIdentity;
use super::log_end::{LogEnd, LogPosition};
use crate::disk::{DiskFile, Step, passes};
use crate::encryption::{KeyFingerprint, WrappedKey};
use crate::error::{Error, Result};
use crate::model::{RecordNumber, Timestamp};

/// The newest format that this version writes and reads.
const FORMAT: u16 = 4;

/// Frames begin behind the header page. Groups are filled up to whole pages.
pub(crate) const PAGE_BYTES: u64 = 4096;

/// Numbers that are left out after an interruption. A log syncs each segment before it begins the next, so fewer
/// records than this can have been seen and then lost, at any durability level.
pub(crate) const INTERRUPTION_GAP: u64 = 1 << 32;

const MAGIC: [u8; 8] = *b"\x89ABR\r\n\x1a\n";
const CHECKSUM_OFFSET: usize = 4092;

/// What the manifest keeps of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SegmentEntry {
    pub(crate) first_record: RecordNumber,
    /// The number behind the last record before this segment. The numbers from there to the first record were left out.
    pub(crate) follows: RecordNumber,
    pub(crate) base_position: LogPosition,
    pub(crate) base_arrival: Timestamp,
    pub(crate) salt: u64,
    /// Length of the file in bytes, a multiple of [`PAGE_BYTES`].
    pub(crate) bytes: u64,
    /// The header checksum of the last frame before, which the first frame has as its chain.
    pub(crate) base_chain: u32,
    /// The key of the bodies of the frames, if they are encrypted.
    pub(crate) encryption: Option<SegmentKey>,
}

/// A segment's key, encrypted with one of the program's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SegmentKey {
    pub(crate) wrapped_with: KeyFingerprint,
    pub(crate) wrapped: WrappedKey,
}

impl SegmentEntry {
    pub(crate) fn file_name(&self) -> String {
        file_name(self.first_record)
    }

    pub(crate) fn index_name(&self) -> String {
        format!("{:020}.index", self.first_record.value())
    }

    /// A position before this segment gives the segment's first offset: only a manifest that no store wrote has one.
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

    pub(crate) fn encode_header(&self, log: LogIdentity) -> Vec<u8> {
        self.encode_header_with(log, Encoding::of_entry(self))
    }

    fn encode_header_with(&self, log: LogIdentity, encoding: Encoding) -> Vec<u8> {
        let mut page = vec![0; PAGE_BYTES as usize];
        page[0..8].copy_from_slice(&MAGIC);
        page[8..10].copy_from_slice(&FORMAT.to_le_bytes());
        let (kind, first, second) = log.name_in_numbers();
        page[10..12].copy_from_slice(&kind.to_le_bytes());
        page[12..16].copy_from_slice(&second.to_le_bytes());
        page[16..32].copy_from_slice(&log.store.to_le_bytes());
        page[32..40].copy_from_slice(&first.to_le_bytes());
        page[40..48].copy_from_slice(&self.salt.to_le_bytes());
        page[48..56].copy_from_slice(&self.first_record.value().to_le_bytes());
        page[56..64].copy_from_slice(&self.base_position.0.to_le_bytes());
        page[64..72].copy_from_slice(&self.base_arrival.as_millis().to_le_bytes());
        page[72..80].copy_from_slice(&self.bytes.to_le_bytes());
        page[80..84].copy_from_slice(&self.base_chain.to_le_bytes());
        page[84..88].copy_from_slice(&encoding.codec.to_le_bytes());
        page[88..96].copy_from_slice(&encoding.key.to_le_bytes());
        page[96..156].copy_from_slice(&encoding.wrapped);
        page[156..164].copy_from_slice(&self.follows.value().to_le_bytes());
        let checksum = crc32fast::hash(&page[..CHECKSUM_OFFSET]);
        page[CHECKSUM_OFFSET..].copy_from_slice(&checksum.to_le_bytes());
        page
    }

    /// Decodes a header page without a manifest that says what it should be.
    pub(crate) fn decode_header(page: &[u8]) -> Result<(LogIdentity, Self), HeaderDefect> {
        let page: &[u8; PAGE_BYTES as usize] = page.first_chunk().ok_or(HeaderDefect::NotASegment)?;
        let u32_at = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| page[at + i]));
        let u64_at = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| page[at + i]));
        let store = u128::from_le_bytes(std::array::from_fn(|i| page[16 + i]));
        let kind = u16::from_le_bytes([page[10], page[11]]);
        let log =
            LogIdentity::of_numbers(store, kind, u64_at(32), u32_at(12)).ok_or(HeaderDefect::NotASegment)?;
        let encoding = Encoding::of(page);
        let (encryption, is_known) = match encoding.segment_key() {
            Some(encryption) => (encryption, true),
            None => (None, false),
        };
        let entry = Self {
            salt: u64_at(40),
            first_record: RecordNumber::new(u64_at(48)),
            follows: RecordNumber::new(u64_at(156)),
            base_position: LogPosition(u64_at(56)),
            base_arrival: Timestamp::from_millis(u64_at(64)),
            bytes: u64_at(72),
            base_chain: u32_at(80),
            encryption,
        };
        // This compares magic, format, checksum and zeros too.
        let is_segment = page[..] == entry.encode_header_with(log, encoding)[..]
            && entry.bytes >= PAGE_BYTES
            && entry.base_position.0.checked_add(entry.bytes).is_some();
        match (is_segment, is_known) {
            (true, true) => Ok((log, entry)),
            (true, false) => Err(HeaderDefect::UnknownEncoding {
                codec: encoding.codec,
                key: encoding.key,
            }),
            (false, _) => Err(HeaderDefect::NotASegment),
        }
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
        let page = &mut [0; PAGE_BYTES as usize];
        file.read_exact_at(page, 0)
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
        if found != FORMAT {
            return Err(Error::UnsupportedFormat {
                path: path.to_owned(),
                found,
                supported: FORMAT,
            });
        }
        let encoding = Encoding::of(page);
        if encoding.segment_key().is_none() {
            return Err(Error::UnknownEncoding {
                path: path.to_owned(),
                codec: encoding.codec,
                key: encoding.key,
            });
        }
        if !passes(
            Step::SegmentHeaderIdentity,
            page[..] == self.encode_header(log)[..],
        ) {
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

/// The number in a segment's name; `None` if it is not such a name.
pub(crate) fn number_of_segment(name: &str) -> Option<RecordNumber> {
    let number = RecordNumber::new(name.strip_suffix(".log")?.parse().ok()?);
    (name == file_name(number)).then_some(number)
}

fn file_name(first_record: RecordNumber) -> String {
    format!("{:020}.log", first_record.value())
}

/// Why a page is not a usable header page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderDefect {
    NotASegment,
    /// The page is valid, but a later version of this crate wrote the frames.
    UnknownEncoding {
        codec: u32,
        key: u64,
    },
}

/// How the bodies of a segment's frames were encoded, as a header page says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Encoding {
    codec: u32,
    key: u64,
    wrapped: [u8; 60],
}

/// Bodies are encrypted by AES-256-GCM.
const ENCRYPTED: u32 = 1;

impl Encoding {
    const NONE: Self = Self {
        codec: 0,
        key: 0,
        wrapped: [0; 60],
    };

    fn of_entry(entry: &SegmentEntry) -> Self {
        let Some(SegmentKey {
            wrapped_with,
            wrapped,
        }) = entry.encryption
        else {
            return Self::NONE;
        };
        let mut bytes = [0; 60];
        bytes[..12].copy_from_slice(&wrapped.nonce);
        bytes[12..44].copy_from_slice(&wrapped.key);
        bytes[44..].copy_from_slice(&wrapped.tag);
        Self {
            codec: ENCRYPTED,
            key: wrapped_with.number(),
            wrapped: bytes,
        }
    }

    /// The codec and key fields of a whole header page.
    fn of(page: &[u8; PAGE_BYTES as usize]) -> Self {
        Self {
            codec: u32::from_le_bytes(std::array::from_fn(|i| page[84 + i])),
            key: u64::from_le_bytes(std::array::from_fn(|i| page[88 + i])),
            wrapped: std::array::from_fn(|i| page[96 + i]),
        }
    }

    /// The key of a segment, if it has one; `None` if this version does not know the codec.
    fn segment_key(&self) -> Option<Option<SegmentKey>> {
        if *self == Self::NONE {
            return Some(None);
        }
        let wrapped_with = KeyFingerprint::from_number(self.key).filter(|_| self.codec == ENCRYPTED)?;
        let wrapped = WrappedKey {
            nonce: std::array::from_fn(|i| self.wrapped[i]),
            key: std::array::from_fn(|i| self.wrapped[12 + i]),
            tag: std::array::from_fn(|i| self.wrapped[44 + i]),
        };
        Some(Some(SegmentKey {
            wrapped_with,
            wrapped,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::sim::SimDisk;
    use crate::disk::{Disk, OpenMode};
    use crate::model::{ShardId, StreamId};

    const ENTRY: SegmentEntry = SegmentEntry {
        first_record: RecordNumber::new(9),
        follows: RecordNumber::new(8),
        base_position: LogPosition(4096),
        base_arrival: Timestamp::from_millis(1_000),
        salt: 42,
        bytes: 2 * PAGE_BYTES,
        base_chain: 7,
        encryption: None,
    };

    fn encrypted() -> SegmentEntry {
        let wrapped = WrappedKey {
            nonce: [1; 12],
            key: [2; 32],
            tag: [3; 16],
        };
        SegmentEntry {
            encryption: KeyFingerprint::from_number(0x0102).map(|wrapped_with| SegmentKey {
                wrapped_with,
                wrapped,
            }),
            ..ENTRY
        }
    }

    fn logs() -> [LogIdentity; 2] {
        [
            LogIdentity::of_shard(7, StreamId::new(3), ShardId::FIRST),
            LogIdentity::commit_journal(7),
        ]
    }

    #[test]
    fn a_header_page_reads_back_as_it_was_written() {
        for log in logs() {
            for entry in [ENTRY, encrypted()] {
                let page = entry.encode_header(log);
                assert_eq!(SegmentEntry::decode_header(&page), Ok((log, entry)));
            }
        }
    }

    #[test]
    fn a_codec_or_a_key_that_is_not_known_is_told_from_damage() {
        let disk = SimDisk::new(1);
        let path = Path::new("segment");
        let file = disk.open(path, OpenMode::CreateNew).unwrap();
        file.allocate(ENTRY.bytes).unwrap();
        let wrapped = Encoding::of_entry(&encrypted()).wrapped;
        for (log, (codec, key)) in logs().into_iter().zip([(1, 0), (2, 1)]) {
            let mut page = ENTRY.encode_header_with(log, Encoding { codec, key, wrapped });
            assert_eq!(
                SegmentEntry::decode_header(&page),
                Err(HeaderDefect::UnknownEncoding { codec, key })
            );
            file.write_all_at(&page, 0).unwrap();
            let refused = ENTRY.verify_file(log, file.as_ref(), path).unwrap_err();
            assert!(
                matches!(refused, Error::UnknownEncoding { codec: c, key: k, .. } if (c, k) == (codec, key)),
                "{refused}"
            );
            // The checksum covers both.
            page[84] ^= 2;
            assert_eq!(SegmentEntry::decode_header(&page), Err(HeaderDefect::NotASegment));
            file.write_all_at(&page, 0).unwrap();
            let refused = ENTRY.verify_file(log, file.as_ref(), path).unwrap_err();
            assert!(matches!(refused, Error::Corrupt { .. }), "{refused}");
        }
    }
}
