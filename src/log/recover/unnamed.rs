//! Examining a file in a log's directory that has a segment's name and that no manifest names.
//!
//! A file gets a segment's name in one of two ways. A file that had bytes before gets a durable header page first. A
//! file that was made for this segment is zeros except for its header page, which is synced after the naming. So a
//! crash leaves an invalid header page only in front of nothing but zeros. Everything else is damage: frames may be
//! there.

use std::sync::Arc;

use crate::disk::{DiskFile, ReadablePages, Step, is_left_out};
use crate::log::format::identity::LogIdentity;
use crate::log::format::segment_header::{HeaderDefect, PAGE_BYTES, SegmentEntry};

/// The unit that a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// The bytes of one read.
const STEP_BYTES: u64 = 256 * 1024;

/// What such a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnnamedFile {
    /// Its header page is valid.
    Segment(LogIdentity, SegmentEntry),
    /// Zeros, or a part of a header page in front of zeros: no frame was ever in it.
    Unbegun,
    /// Its header page is damaged, and records may follow.
    Damaged,
    /// A segment of a later version of this crate.
    UnknownEncoding { codec: u32, key: u64 },
}

/// Examines a file. Pages that cannot be read count as damage.
///
/// # Errors
/// The file's length cannot be read.
pub(crate) fn examine_unnamed(file: &Arc<ReadablePages>) -> std::io::Result<UnnamedFile> {
    let length = file.len()?;
    let mut page = vec![0; PAGE_BYTES as usize];
    let there = PAGE_BYTES.min(length) as usize;
    file.read_exact_at(&mut page[..there], 0)?;
    match SegmentEntry::decode_header(&page) {
        Ok((log, entry)) => return Ok(UnnamedFile::Segment(log, entry)),
        Err(HeaderDefect::UnknownEncoding { codec, key }) => {
            return Ok(UnnamedFile::UnknownEncoding { codec, key });
        }
        Err(HeaderDefect::NotASegment) => {}
    }
    let is_unbegun = is_part_of_a_header(&page)
        && is_zero_from(file, PAGE_BYTES, length)?
        && file.unreadable_within(0, length).is_none();
    Ok(match is_unbegun || is_left_out(Step::DamagedIsKept) {
        true => UnnamedFile::Unbegun,
        false => UnnamedFile::Damaged,
    })
}

/// Whether this page can be what a crash left of a header page that was written over zeros. A whole header page has
/// bytes in its first sector and in its last one.
fn is_part_of_a_header(page: &[u8]) -> bool {
    let is_zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
    let (first, others) = page.split_at(SECTOR_BYTES);
    let (middle, last) = others.split_at(others.len() - SECTOR_BYTES);
    is_zero(middle) && (is_zero(first) || is_zero(last))
}

fn is_zero_from(file: &Arc<ReadablePages>, from: u64, length: u64) -> std::io::Result<bool> {
    let mut offset = from;
    while offset < length {
        let mut buffer = vec![0; STEP_BYTES.min(length - offset) as usize];
        file.read_exact_at(&mut buffer, offset)?;
        if buffer.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        offset += buffer.len() as u64;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::disk::sim::SimDisk;
    use crate::disk::{Disk, OpenMode};
    use crate::log::format::log_end::LogPosition;
    use crate::model::{RecordNumber, ShardId, StreamId, Timestamp};

    const ENTRY: SegmentEntry = SegmentEntry {
        first_record: RecordNumber::new(9),
        follows: RecordNumber::new(8),
        base_position: LogPosition(4096),
        base_arrival: Timestamp::from_millis(1_000),
        salt: 42,
        bytes: 4 * PAGE_BYTES,
        base_chain: 7,
        encryption: None,
    };

    fn examine(bytes: &[u8]) -> UnnamedFile {
        let disk = SimDisk::new(1);
        let file = disk.open(Path::new("file"), OpenMode::CreateNew).unwrap();
        file.write_all_at(bytes, 0).unwrap();
        examine_unnamed(&Arc::new(ReadablePages::new(file))).unwrap()
    }

    #[test]
    fn only_a_torn_header_page_in_front_of_zeros_is_a_segment_that_was_not_begun() {
        let log = LogIdentity::of_shard(7, StreamId::new(3), ShardId::FIRST);
        let mut whole = ENTRY.encode_header(log);
        whole.resize(ENTRY.bytes as usize, 0);
        assert_eq!(examine(&whole), UnnamedFile::Segment(log, ENTRY));
        for without in [0..SECTOR_BYTES, 4096 - SECTOR_BYTES..4096, 0..4096] {
            let mut torn = whole.clone();
            torn[without].fill(0);
            assert_eq!(examine(&torn), UnnamedFile::Unbegun);
            torn[3 * 4096] = 1;
            assert_eq!(examine(&torn), UnnamedFile::Damaged);
        }
        assert_eq!(examine(&[]), UnnamedFile::Unbegun);
        for bit in 0..8 * 4096 {
            let mut rotten = whole.clone();
            rotten[bit / 8] ^= 1 << (bit % 8);
            let is_codec_or_key = (84..156).contains(&(bit / 8));
            assert!(
                examine(&rotten) == UnnamedFile::Damaged || is_codec_or_key,
                "bit {bit}"
            );
        }
    }
}
