//! Records inside a frame's body.
//!
//! ```text
//! offset  bytes  field
//!      0      4  data length
//!      4      2  partition key length
//!      6      2  reserved, zero
//!      8      8  arrival          ms since 1970
//!     16      -  partition key    UTF-8
//!      -      -  data
//! ```
//! Records follow one another without gaps; the body is filled up with zeros to a multiple of eight. A record's
//! number is the frame's first number plus its place, so it is not stored.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::frame::FrameDefect;
use super::read_buffers::{BUFFER_BYTES, ReadBuffers};
use crate::model::{PartitionKey, Timestamp};
use crate::seam::RECORD_OVERHEAD_BYTES;

/// What a record counts besides its key and its data. A batch and a group count the same.
pub(crate) const RECORD_HEADER_BYTES: usize = RECORD_OVERHEAD_BYTES;

/// Adds one record to a group's body. The caller has checked the lengths: a key has at most 1,024 bytes
/// ([`PartitionKey::check`]), and the data is part of a batch ([`check_batch_bytes`](crate::seam::check_batch_bytes)).
pub(crate) fn encode(body: &mut Vec<u8>, partition_key: &str, data: &[u8], arrival: Timestamp) {
    let mut header = [0; RECORD_HEADER_BYTES];
    header[0..4].copy_from_slice(&(data.len() as u32).to_le_bytes());
    header[4..6].copy_from_slice(&(partition_key.len() as u16).to_le_bytes());
    header[8..16].copy_from_slice(&arrival.as_millis().to_le_bytes());
    body.extend_from_slice(&header);
    body.extend_from_slice(partition_key.as_bytes());
    body.extend_from_slice(data);
}

/// A record cut from a body, whose bytes it shares.
#[derive(Clone, Debug)]
pub(crate) struct DecodedRecord {
    pub(crate) arrival: Timestamp,
    pub(crate) partition_key: PartitionKey,
    pub(crate) data: Bytes,
}

/// The fields in front of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) arrival: Timestamp,
    key_bytes: usize,
    data_bytes: usize,
}

impl RecordHeader {
    /// How many bytes of data and partition key the record has.
    pub(crate) fn content_bytes(&self) -> usize {
        self.key_bytes + self.data_bytes
    }
}

/// Walks over the records of a body whose checksum was verified.
#[derive(Debug)]
pub(crate) struct Records {
    body: Bytes,
    /// Where the next one begins.
    offset: usize,
    left: u32,
    /// The copy that the records share instead of the body, if they do.
    piece: Option<Piece>,
}

/// A copy of a part of a body, so that a kept record does not keep the whole body.
#[derive(Debug)]
struct Piece {
    bytes: Bytes,
    /// Where it begins in the body.
    start: usize,
    buffers: Arc<ReadBuffers>,
}

impl Records {
    /// The records share the body.
    pub(crate) fn new(body: Bytes, count: u32) -> Self {
        Self {
            body,
            offset: 0,
            left: count,
            piece: None,
        }
    }

    /// The records share copies of parts of the body, each as long as a buffer, or as its single record if that is
    /// longer.
    pub(crate) fn in_pieces(body: Bytes, count: u32, buffers: Arc<ReadBuffers>) -> Self {
        Self {
            piece: Some(Piece {
                bytes: Bytes::new(),
                start: 0,
                buffers,
            }),
            ..Self::new(body, count)
        }
    }

    /// The fields in front of the next record, or `None` at the end. Checks that the whole record is there.
    pub(crate) fn peek(&self) -> Result<Option<RecordHeader>, FrameDefect> {
        if self.left == 0 {
            return Ok(None);
        }
        let rest = &self.body[self.offset..];
        let (header, content) = rest
            .split_first_chunk::<RECORD_HEADER_BYTES>()
            .ok_or(FrameDefect::Body)?;
        let header = RecordHeader {
            arrival: Timestamp::from_millis(u64::from_le_bytes(std::array::from_fn(|i| header[8 + i]))),
            key_bytes: usize::from(u16::from_le_bytes([header[4], header[5]])),
            data_bytes: u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize,
        };
        match content.len() < header.content_bytes() {
            true => Err(FrameDefect::Body),
            false => Ok(Some(header)),
        }
    }

    /// Steps over the record that was peeked at, without checking its key.
    pub(crate) fn skip(&mut self, peeked: &RecordHeader) {
        self.offset += RECORD_HEADER_BYTES + peeked.content_bytes();
        self.left -= 1;
    }

    /// Checks the partition key of the record that was peeked at.
    pub(crate) fn check_key(&self, peeked: &RecordHeader) -> Result<(), FrameDefect> {
        PartitionKey::check_stored(&self.body[self.key(peeked)]).map_err(|_| FrameDefect::Body)
    }

    /// The record that was peeked at. The caller has checked its key.
    // Built in its final place: passing records from call to call costs as much as their checksums.
    #[inline(always)]
    pub(crate) fn record(&mut self, peeked: &RecordHeader) -> DecodedRecord {
        let mut key = self.key(peeked);
        let shared = match &mut self.piece {
            None => &self.body,
            Some(piece) => {
                piece.cover(&self.body, key.start..key.start + peeked.content_bytes());
                key = key.start - piece.start..key.end - piece.start;
                &piece.bytes
            }
        };
        let data = key.end..key.end + peeked.data_bytes;
        DecodedRecord {
            arrival: peeked.arrival,
            partition_key: PartitionKey::of_checked(shared, key),
            data: shared.slice(data),
        }
    }

    fn key(&self, peeked: &RecordHeader) -> Range<usize> {
        let start = self.offset + RECORD_HEADER_BYTES;
        start..start + peeked.key_bytes
    }

    /// The next record, or `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<DecodedRecord>, FrameDefect> {
        let Some(peeked) = self.peek()? else {
            return Ok(None);
        };
        self.check_key(&peeked)?;
        let record = self.record(&peeked);
        self.skip(&peeked);
        Ok(Some(record))
    }
}

impl Piece {
    /// Makes this a piece that contains the record in this range.
    fn cover(&mut self, body: &Bytes, record: Range<usize>) {
        if record.start < self.start || record.end > self.start + self.bytes.len() {
            let end = body.len().min(record.end.max(record.start + BUFFER_BYTES));
            self.bytes = self.buffers.copy(&body[record.start..end]);
            self.start = record.start;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_in_pieces_are_the_same_and_keep_a_piece_each() {
        let mut body = Vec::new();
        let lengths = [10, 300_000, 0, 5, 200_000, 100_000, 7, 600_000, 1];
        for (number, bytes) in lengths.into_iter().enumerate() {
            encode(
                &mut body,
                &"key".repeat(number + 1),
                &vec![number as u8; bytes],
                Timestamp::EPOCH,
            );
        }
        let body = Bytes::from(body);
        let mut whole = Records::new(body.clone(), lengths.len() as u32);
        let mut in_pieces = Records::in_pieces(body.clone(), lengths.len() as u32, Arc::default());
        while let Some(record) = whole.next().unwrap() {
            let same = in_pieces.next().unwrap().unwrap();
            assert_eq!(same.data, record.data);
            assert_eq!(same.partition_key.as_str(), record.partition_key.as_str());
            let most = BUFFER_BYTES.max(record.data.len() + record.partition_key.as_str().len());
            let piece = in_pieces.piece.as_ref().unwrap();
            assert!(piece.bytes.len() <= most, "{}", piece.bytes.len());
        }
        drop((whole, in_pieces));
        assert!(body.is_unique(), "something still shares the body");
    }

    #[test]
    fn records_read_back_as_they_were_written() {
        let mut body = Vec::new();
        encode(&mut body, "a", b"first", Timestamp::from_millis(1));
        encode(&mut body, "\u{1F40B}", b"", Timestamp::from_millis(2));
        body.resize(body.len().next_multiple_of(8), 0);

        let mut records = Records::new(body.into(), 2);
        let first = records.next().unwrap().unwrap();
        assert_eq!(
            (first.partition_key.as_str(), &first.data[..]),
            ("a", &b"first"[..])
        );
        let peeked = records.peek().unwrap().unwrap();
        assert_eq!(
            (peeked.arrival, peeked.content_bytes()),
            (Timestamp::from_millis(2), 4)
        );
        let second = records.next().unwrap().unwrap();
        assert_eq!(
            (second.partition_key.as_str(), second.data.len()),
            ("\u{1F40B}", 0)
        );
        assert!(records.next().unwrap().is_none());
    }

    #[test]
    fn a_body_that_is_cut_anywhere_is_refused_and_never_panics() {
        let mut body = Vec::new();
        encode(&mut body, "key", b"data", Timestamp::from_millis(1));
        for length in 0..body.len() {
            let mut records = Records::new(Bytes::copy_from_slice(&body[..length]), 1);
            assert_eq!(records.next().unwrap_err(), FrameDefect::Body);
        }
    }

    #[test]
    fn the_bytes_of_a_record_are_pinned() {
        let mut body = Vec::new();
        encode(&mut body, "k", b"d", Timestamp::from_millis(0x0102));
        assert_eq!(body, [1, 0, 0, 0, 1, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, b'k', b'd']);
    }
}
