//! The header and the frames of a manifest, as bytes of one copy.
//!
//! ```text
//! offset  bytes  field of the header
//!      0      8  magic            89 41 42 4D 0D 0A 1A 0A
//!      8      2  format           4
//!     10      6  reserved, zero
//!     16     16  store
//!     32      8  number           the one in the file's name
//!     40      8  salt             random
//!     48     12  zero
//!     60      4  checksum         CRC-32 of all bytes before
//!     64      -  frames
//!
//! offset  bytes  field of a frame
//!      0      4  magic            0x4546_4D41
//!      4      4  body length
//!      8      8  sequence         0 for the snapshot that a manifest begins with, then one more for each
//!     16      4  body checksum    CRC-32 of the seed and the body
//!     20      4  header checksum  CRC-32 of the seed and the bytes before
//!     24      -  body             a list of edits that happen together; filled up with zeros to a multiple of 8
//! ```
//! The seed is the store, the number and the salt. Each frame is synced before the next is written, so a whole frame
//! behind a damaged one shows that the damaged one had been durable; only a damaged last frame can be a torn one.

use std::path::Path;

use crc32fast::Hasher;

use super::copies::{Copies, STRIPE_BYTES, WhichCopy};
use crate::disk::{Step, passes};
use crate::error::{Error, Result};

const FORMAT: u16 = 4;
const MAGIC: [u8; 8] = *b"\x89ABM\r\n\x1a\n";
pub(super) const HEADER_BYTES: usize = 64;
const FRAME_MAGIC: u32 = 0x4546_4D41;
pub(super) const FRAME_HEADER_BYTES: usize = 24;
pub(super) const ALIGNMENT: usize = 8;

pub(super) fn seed(store: u128, number: u64, salt: u64) -> Hasher {
    let mut hasher = Hasher::new();
    hasher.update(&store.to_le_bytes());
    hasher.update(&number.to_le_bytes());
    hasher.update(&salt.to_le_bytes());
    hasher
}

pub(super) fn encode_header(store: u128, number: u64, salt: u64) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[0..8].copy_from_slice(&MAGIC);
    bytes[8..10].copy_from_slice(&FORMAT.to_le_bytes());
    bytes[16..32].copy_from_slice(&store.to_le_bytes());
    bytes[32..40].copy_from_slice(&number.to_le_bytes());
    bytes[40..48].copy_from_slice(&salt.to_le_bytes());
    let checksum = crc32fast::hash(&bytes[..60]);
    bytes[60..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// The room that is reserved at a time for each copy: small enough not to matter, large enough for hundreds of edits on
/// a full disk.
pub(super) const RESERVE_BYTES: u64 = STRIPE_BYTES;

/// The fields of a manifest's header.
pub(super) struct Header {
    pub(super) store: u128,
    pub(super) seed: Hasher,
    /// The copy whose header is damaged.
    pub(super) damaged: Option<WhichCopy>,
}

/// Decodes the header from the copy in which it is whole.
pub(super) fn decode_headers(copies: &Copies, number: u64, path: &Path) -> Result<Header> {
    let first = decode_header(copies.first(), number, path);
    let second = decode_header(copies.second(), number, path);
    let (damaged, (store, seed)) = match (first, second) {
        (Ok(first), Ok(_)) => (None, first),
        (Ok(first), Err(_)) => (Some(WhichCopy::Second), first),
        (Err(Error::Corrupt { .. }), Ok(second)) => (Some(WhichCopy::First), second),
        (Err(error), _) => return Err(error),
    };
    Ok(Header { store, seed, damaged })
}

fn decode_header(bytes: &[u8], number: u64, path: &Path) -> Result<(u128, Hasher)> {
    let header: &[u8; HEADER_BYTES] = bytes
        .first_chunk()
        .ok_or_else(|| Error::bad_manifest(path, bytes.len() as u64, "it was cut"))?;
    if header[0..8] != MAGIC {
        return Err(Error::bad_manifest(path, 0, "this is not a manifest"));
    }
    let holds = crc32fast::hash(&header[..60]).to_le_bytes() == header[60..];
    if !passes(Step::ManifestHeader, holds) {
        return Err(Error::bad_manifest(
            path,
            0,
            "the header's checksum does not match",
        ));
    }
    let found = u16::from_le_bytes([header[8], header[9]]);
    if found != FORMAT {
        return Err(Error::UnsupportedFormat {
            path: path.to_owned(),
            found,
            supported: FORMAT,
        });
    }
    let store = u128::from_le_bytes(std::array::from_fn(|i| header[16 + i]));
    let salt = u64::from_le_bytes(std::array::from_fn(|i| header[40 + i]));
    let is_of_name = header[..] == encode_header(store, number, salt);
    if !passes(Step::ManifestHeader, is_of_name) {
        return Err(Error::bad_manifest(
            path,
            0,
            "this is the manifest of another name",
        ));
    }
    Ok((store, seed(store, number, salt)))
}

pub(super) fn encode_frame(seed: &Hasher, sequence: u64, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(FRAME_HEADER_BYTES + body.len() + ALIGNMENT);
    frame.extend_from_slice(&FRAME_MAGIC.to_le_bytes());
    // It is no longer than `codec::MAX_BYTES`.
    frame.extend_from_slice(&(body.len() as u32).to_le_bytes());
    frame.extend_from_slice(&sequence.to_le_bytes());
    frame.extend_from_slice(&checksum(seed, body).to_le_bytes());
    frame.extend_from_slice(&checksum(seed, &frame).to_le_bytes());
    frame.extend_from_slice(body);
    frame.resize(frame.len().next_multiple_of(ALIGNMENT), 0);
    frame
}

fn checksum(seed: &Hasher, bytes: &[u8]) -> u32 {
    let mut hasher = seed.clone();
    hasher.update(bytes);
    hasher.finalize()
}

/// The length of a frame with a valid header, without the zeros behind its body.
pub(super) fn frame_length(header: &[u8; FRAME_HEADER_BYTES], seed: &Hasher) -> Option<u64> {
    let field = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| header[at + i]));
    let holds = passes(
        Step::ManifestFrameHeaderChecksum,
        field(20) == checksum(seed, &header[..20]),
    );
    (field(0) == FRAME_MAGIC && holds).then(|| FRAME_HEADER_BYTES as u64 + u64::from(field(4)))
}

/// The sequence number in a frame's header.
pub(super) fn sequence_of(header: &[u8; FRAME_HEADER_BYTES]) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| header[8 + i]))
}

/// A frame's sequence and body, and the place where the next frame begins.
pub(super) fn decode_frame<'a>(
    bytes: &'a [u8],
    offset: usize,
    seed: &Hasher,
) -> Option<(u64, &'a [u8], usize)> {
    let header: &[u8; FRAME_HEADER_BYTES] = bytes.get(offset..)?.first_chunk()?;
    let end = offset.checked_add(usize::try_from(frame_length(header, seed)?).ok()?)?;
    let body = bytes.get(offset + FRAME_HEADER_BYTES..end)?;
    let body_checksum = u32::from_le_bytes(std::array::from_fn(|i| header[16 + i]));
    if !passes(
        Step::ManifestFrameBodyChecksum,
        body_checksum == checksum(seed, body),
    ) {
        return None;
    }
    Some((sequence_of(header), body, end.next_multiple_of(ALIGNMENT)))
}

impl Error {
    pub(super) fn bad_manifest(path: &Path, offset: u64, reason: impl std::fmt::Display) -> Self {
        Self::corrupt(path, offset, reason.to_string())
    }
}
