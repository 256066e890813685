//! The frame: one commit group, as it lies in a segment.
//!
//! ```text
//! offset  bytes  field
//!      0      4  magic            0x4D52_4641, never zero, so that zeros are "never written"
//!      4      4  body length      bytes of records behind the header, a multiple of 8
//!      8      4  header checksum  of the seed and of all other header bytes
//!     12      4  body checksum    of the seed, the position and the body
//!     16      8  position         of this header in the shard's log
//!     24      8  first record     number of the first record in the body
//!     32      4  count            of records in the body
//!     36      4  chain            header checksum of the frame before
//!     40      8  durable through  position known to be synced when this frame was written
//!     48      8  first arrival    ms since 1970
//!     56      8  last arrival     ms since 1970
//!     64      -  body
//! ```
//! All little-endian. Checksums are CRC-32 (IEEE). The seed is the log's identity and the segment's salt, so that
//! bytes of an earlier life of the same file cannot validate; no checksum value has a meaning of its own.

use crc32fast::Hasher;

use super::identity::LogIdentity;
use super::log_end::{LogEnd, LogPosition};
use crate::disk::{Step, is_left_out, passes};
use crate::error::Error;
use crate::model::{RecordNumber, Timestamp, limits};

pub(crate) const HEADER_BYTES: usize = 64;

/// Frames begin at multiples of this.
pub(crate) const ALIGNMENT: usize = 8;

/// The length of the frame of a group whose buffer has so many bytes, with room for the header.
pub(crate) fn frame_bytes_of(buffer_bytes: usize) -> u64 {
    buffer_bytes.next_multiple_of(ALIGNMENT) as u64
}

/// The length of a body as the header has it. The limit of a batch keeps every group below the largest value
/// ([`MAX_BATCH_BYTES`](limits::MAX_BATCH_BYTES)).
pub(crate) fn body_length(body: &[u8]) -> Result<u32, Error> {
    u32::try_from(body.len()).map_err(|_| Error::BatchTooLarge {
        bytes: body.len(),
        limit: limits::MAX_BATCH_BYTES,
    })
}

const MAGIC: u32 = 0x4D52_4641;

const ASSOCIATED_BYTES: usize = 36;

/// The bytes that every checksum of a segment begins with.
#[derive(Clone, Debug)]
pub(crate) struct FrameSeed(Hasher);

impl FrameSeed {
    pub(crate) fn new(log: LogIdentity, salt: u64) -> Self {
        let mut hasher = Hasher::new();
        if !is_left_out(Step::Identity) {
            hasher.update(&log.store.to_le_bytes());
            let (kind, first, second) = log.name_in_numbers();
            hasher.update(&kind.to_le_bytes());
            hasher.update(&first.to_le_bytes());
            hasher.update(&second.to_le_bytes());
        }
        if !is_left_out(Step::Salt) {
            hasher.update(&salt.to_le_bytes());
        }
        Self(hasher)
    }

    fn header_checksum(&self, header: &[u8; HEADER_BYTES]) -> u32 {
        let mut hasher = self.0.clone();
        hasher.update(&header[0..8]);
        hasher.update(&header[12..]);
        hasher.finalize()
    }

    pub(crate) fn body_checksum(&self, position: LogPosition, body: &[u8]) -> u32 {
        let mut hasher = self.0.clone();
        hasher.update(&position.0.to_le_bytes());
        hasher.update(body);
        hasher.finalize()
    }
}

/// The fields of a frame's header. A frame without records stands for bytes that a repair gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) body_length: u32,
    pub(crate) body_checksum: u32,
    pub(crate) position: LogPosition,
    pub(crate) first_record: RecordNumber,
    pub(crate) count: u32,
    pub(crate) chain: u32,
    pub(crate) durable_through: LogPosition,
    pub(crate) first_arrival: Timestamp,
    pub(crate) last_arrival: Timestamp,
}

/// Why bytes are not the frame that belongs at a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameDefect {
    #[error("no frame begins here")]
    NoMagic,
    #[error("the frame header's checksum does not match")]
    HeaderChecksum,
    #[error("the frame belongs at another position")]
    Position,
    #[error("the frame body's checksum does not match")]
    BodyChecksum,
    #[error("the frame runs past the end of its segment")]
    Length,
    #[error("the frame does not follow the one before")]
    Chain,
    #[error("the frame's record numbers do not follow the ones before")]
    RecordNumber,
    #[error("the frame's record numbers reach beyond its segment's")]
    NumbersBeyond,
    #[error("the frame's body is not a list of records")]
    Body,
    #[error("the frame's body is not what was encrypted")]
    Encryption,
}

impl FrameHeader {
    /// The header's bytes and its checksum, which the next frame has as its chain.
    pub(crate) fn encode(&self, seed: &FrameSeed) -> ([u8; HEADER_BYTES], u32) {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.body_length.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.body_checksum.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.position.0.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first_record.value().to_le_bytes());
        bytes[32..36].copy_from_slice(&self.count.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.chain.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.durable_through.0.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.first_arrival.as_millis().to_le_bytes());
        bytes[56..64].copy_from_slice(&self.last_arrival.as_millis().to_le_bytes());
        let checksum = seed.header_checksum(&bytes);
        bytes[8..12].copy_from_slice(&checksum.to_le_bytes());
        (bytes, checksum)
    }

    /// Decodes the header that belongs at `position`. Uses no field before the checksum is verified.
    pub(crate) fn decode(
        bytes: &[u8; HEADER_BYTES],
        seed: &FrameSeed,
        position: LogPosition,
    ) -> Result<(Self, u32), FrameDefect> {
        if u32_at(bytes, 0) != MAGIC {
            return Err(FrameDefect::NoMagic);
        }
        let checksum = u32_at(bytes, 8);
        if !passes(Step::FrameHeaderChecksum, checksum == seed.header_checksum(bytes)) {
            return Err(FrameDefect::HeaderChecksum);
        }
        let header = Self {
            body_length: u32_at(bytes, 4),
            body_checksum: u32_at(bytes, 12),
            position: LogPosition(u64_at(bytes, 16)),
            first_record: RecordNumber::new(u64_at(bytes, 24)),
            count: u32_at(bytes, 32),
            chain: u32_at(bytes, 36),
            durable_through: LogPosition(u64_at(bytes, 40)),
            first_arrival: Timestamp::from_millis(u64_at(bytes, 48)),
            last_arrival: Timestamp::from_millis(u64_at(bytes, 56)),
        };
        if !passes(Step::FramePosition, header.position == position) {
            return Err(FrameDefect::Position);
        }
        Ok((header, checksum))
    }

    /// Decodes the header of a whole frame, at the position in that header.
    pub(crate) fn decode_anywhere(frame: &[u8], seed: &FrameSeed) -> Option<Self> {
        let (bytes, body) = frame.split_first_chunk()?;
        let position = LogPosition(u64_at(bytes, 16));
        let (header, _) = Self::decode(bytes, seed, position).ok()?;
        let is_whole = header.body_length as usize == body.len()
            && seed.body_checksum(position, body) == header.body_checksum;
        is_whole.then_some(header)
    }

    /// The header fields that an encrypted body is bound to. A change of one of them is found even if the checksums
    /// fit.
    pub(crate) fn associated(&self) -> [u8; ASSOCIATED_BYTES] {
        let mut bytes = [0; ASSOCIATED_BYTES];
        bytes[0..8].copy_from_slice(&self.position.0.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.first_record.value().to_le_bytes());
        bytes[16..20].copy_from_slice(&self.count.to_le_bytes());
        bytes[20..28].copy_from_slice(&self.first_arrival.as_millis().to_le_bytes());
        bytes[28..36].copy_from_slice(&self.last_arrival.as_millis().to_le_bytes());
        bytes
    }

    pub(crate) fn frame_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.body_length)
    }

    /// The number behind the last record.
    pub(crate) fn next_record(&self) -> RecordNumber {
        RecordNumber::new(self.first_record.value().saturating_add(u64::from(self.count)))
    }

    /// Where the log ends behind this frame, whose header has this checksum.
    pub(crate) fn end(&self, checksum: u32) -> LogEnd {
        LogEnd {
            position: LogPosition(self.position.0 + self.frame_bytes()),
            next_record: self.next_record(),
            last_arrival: self.last_arrival,
            chain: checksum,
            is_interrupted: false,
        }
    }
}

fn u32_at(bytes: &[u8; HEADER_BYTES], offset: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| bytes[offset + i]))
}

fn u64_at(bytes: &[u8; HEADER_BYTES], offset: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| bytes[offset + i]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ShardId, StreamId};

    fn identity() -> LogIdentity {
        LogIdentity::of_shard(7, StreamId::new(3), ShardId::new(5).unwrap())
    }

    fn header() -> FrameHeader {
        FrameHeader {
            body_length: 16,
            body_checksum: 0x0102_0304,
            position: LogPosition(4096),
            first_record: RecordNumber::new(9),
            count: 2,
            chain: 0xAABB_CCDD,
            durable_through: LogPosition(4096),
            first_arrival: Timestamp::from_millis(1_000),
            last_arrival: Timestamp::from_millis(1_001),
        }
    }

    #[test]
    fn a_header_reads_back_as_it_was_written() {
        let seed = FrameSeed::new(identity(), 42);
        let (bytes, checksum) = header().encode(&seed);
        assert_eq!(
            FrameHeader::decode(&bytes, &seed, LogPosition(4096)),
            Ok((header(), checksum))
        );
    }

    #[test]
    fn a_header_with_any_bit_flipped_does_not_validate() {
        let seed = FrameSeed::new(identity(), 42);
        let (bytes, _) = header().encode(&seed);
        for bit in 0..HEADER_BYTES * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(
                FrameHeader::decode(&damaged, &seed, LogPosition(4096)).is_err(),
                "bit {bit}"
            );
        }
    }

    #[test]
    fn a_header_of_another_life_shard_or_position_does_not_validate() {
        let seed = FrameSeed::new(identity(), 42);
        let (bytes, _) = header().encode(&seed);
        let other_salt = FrameSeed::new(identity(), 43);
        let other_shard = LogIdentity::of_shard(7, StreamId::new(3), ShardId::new(6).unwrap());
        let other_shard = FrameSeed::new(other_shard, 42);
        assert_eq!(
            FrameHeader::decode(&bytes, &other_salt, LogPosition(4096)),
            Err(FrameDefect::HeaderChecksum)
        );
        assert_eq!(
            FrameHeader::decode(&bytes, &other_shard, LogPosition(4096)),
            Err(FrameDefect::HeaderChecksum)
        );
        let of_shard = FrameSeed::new(LogIdentity::of_shard(7, StreamId::new(0), ShardId::FIRST), 42);
        let (bytes_of_shard, _) = header().encode(&of_shard);
        let of_journal = FrameSeed::new(LogIdentity::commit_journal(7), 42);
        assert_eq!(
            FrameHeader::decode(&bytes_of_shard, &of_journal, LogPosition(4096)),
            Err(FrameDefect::HeaderChecksum)
        );
        assert_eq!(
            FrameHeader::decode(&bytes, &seed, LogPosition(8192)),
            Err(FrameDefect::Position)
        );
    }

    #[test]
    fn the_bytes_of_a_header_are_pinned() {
        let (bytes, checksum) = header().encode(&FrameSeed::new(identity(), 42));
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            format!(
                "4146524d10000000{}0403020100100000000000000900000000000000\
                 02000000ddccbbaa0010000000000000e803000000000000e903000000000000",
                checksum
                    .to_le_bytes()
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect::<String>()
            )
        );
    }
}
