//! The file with the messages of a stream, in the form in which servers take a stream that is restored.
//!
//! Frames of S2 as they are, none of them compressed: a stream identifier, and chunks with a CRC-32C each. In these:
//! ```text
//! "NATSARC1"
//! for each entry: length of the name, nanoseconds since 1970 (zigzag), sequence, length of the headers, length of the
//! content, all of them as varints; the name and the content
//! ```
//! The first entry is called `state.json`, and has the sequence 0. The others are messages: the name is the subject. The
//! last one is empty.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use super::sequence_behind;
use crate::backend::jetstream::traced::Found;
use crate::disk::DiskFile;
use crate::error::{Error, Result};
use crate::model::Timestamp;

const STREAM_IDENTIFIER: &[u8] = b"\xff\x06\x00\x00S2sTwO";
const MAGIC: &[u8] = b"NATSARC1";

/// The content of one chunk has at most so many bytes.
const CHUNK_BYTES: usize = 64 * 1024;

/// The state is written first, and once more when it is known. It is filled up with blanks.
const STATE_BYTES: usize = 512;

/// A file that is being written.
pub(super) struct MessageFile {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    now: Timestamp,
    offset: u64,
    chunk: Vec<u8>,
    messages: u64,
    bytes: u64,
    first: u64,
    last: u64,
}

impl MessageFile {
    pub(super) fn begin(file: Arc<dyn DiskFile>, path: PathBuf, now: Timestamp) -> Result<Self> {
        let mut begun = Self {
            file,
            path,
            now,
            offset: 0,
            chunk: Vec::with_capacity(CHUNK_BYTES),
            messages: 0,
            bytes: 0,
            first: 0,
            last: 0,
        };
        begun.write(STREAM_IDENTIFIER)?;
        let state = begun.state_chunk(&json!({}));
        begun.write(&state)?;
        Ok(begun)
    }

    pub(super) fn push(&mut self, found: &Found) -> Result<()> {
        self.messages += 1;
        self.bytes += found.message.len() as u64;
        if self.first == 0 {
            self.first = found.sequence;
        }
        self.last = found.sequence;
        self.entry(&found.subject, found.sequence, &found.message)
    }

    /// Has what is appended to the restored stream come far behind what it has.
    pub(super) fn leave_out(&mut self, subject: &str, last: u64, now: Timestamp) -> Result<()> {
        self.push(&Found {
            sequence: sequence_behind(last.max(self.last), now),
            subject: subject.to_owned(),
            message: bytes::Bytes::new(),
        })
    }

    /// Makes it durable. Gives the stream's state in the servers' words, how many messages there are, and how many bytes
    /// the file has.
    pub(super) fn finish(mut self) -> Result<(Value, u64, u64)> {
        self.entry("", 0, b"")?;
        self.flush()?;
        let time = self.now.to_string();
        let state = json!({
            "messages": self.messages,
            "bytes": self.bytes,
            "first_seq": self.first,
            "first_ts": time,
            "last_seq": self.last,
            "last_ts": time,
            "consumer_count": 0,
        });
        let chunk = self.state_chunk(&state);
        self.file
            .write_all_at(&chunk, STREAM_IDENTIFIER.len() as u64)
            .and_then(|()| self.file.sync_data())
            .map_err(|error| Error::preparing("write", &self.path, error))?;
        Ok((state, self.messages, self.offset))
    }

    /// The chunk that the file begins with, which is always as long.
    fn state_chunk(&self, state: &Value) -> Vec<u8> {
        let mut content = state.to_string().into_bytes();
        content.resize(STATE_BYTES.max(content.len()), b' ');
        let mut entry = MAGIC.to_vec();
        entry.extend(header("state.json", self.now, 0, content.len()));
        entry.extend(content);
        chunk_of(&entry)
    }

    fn entry(&mut self, name: &str, sequence: u64, content: &[u8]) -> Result<()> {
        let time = match name {
            "" => Timestamp::EPOCH,
            _ => self.now,
        };
        self.chunk.extend(header(name, time, sequence, content.len()));
        self.chunk.extend_from_slice(content);
        while self.chunk.len() >= CHUNK_BYTES {
            let rest = self.chunk.split_off(CHUNK_BYTES);
            self.flush()?;
            self.chunk = rest;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = chunk_of(&self.chunk);
        self.chunk.clear();
        self.write(&chunk)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file
            .write_all_at(bytes, self.offset)
            .map_err(|error| Error::preparing("write", &self.path, error))?;
        self.offset += bytes.len() as u64;
        Ok(())
    }
}

fn header(name: &str, time: Timestamp, sequence: u64, content_bytes: usize) -> Vec<u8> {
    let nanoseconds = time.as_millis().saturating_mul(1_000_000);
    let mut header = Vec::with_capacity(32 + name.len());
    push_varint(&mut header, name.len() as u64);
    // As a signed number is coded that is none below zero.
    push_varint(&mut header, nanoseconds << 1);
    push_varint(&mut header, sequence);
    push_varint(&mut header, 0);
    push_varint(&mut header, content_bytes as u64);
    header.extend_from_slice(name.as_bytes());
    header
}

fn push_varint(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

fn chunk_of(content: &[u8]) -> Vec<u8> {
    const UNCOMPRESSED: u8 = 1;
    const CHECKSUM_BYTES: usize = 4;
    let length = (content.len() + CHECKSUM_BYTES) as u32;
    let mut chunk = Vec::with_capacity(content.len() + 8);
    chunk.push(UNCOMPRESSED);
    chunk.extend_from_slice(&length.to_le_bytes()[..3]);
    let masked = crc32c(content).rotate_right(15).wrapping_add(0xa282_ead8);
    chunk.extend_from_slice(&masked.to_le_bytes());
    chunk.extend_from_slice(content);
    chunk
}

/// CRC-32 with Castagnoli's polynomial.
fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();
    let after = |sum: u32, byte: &u8| (sum >> 8) ^ TABLE[((sum ^ u32::from(*byte)) & 0xff) as usize];
    !bytes.iter().fold(!0, after)
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut sum = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = match sum & 1 {
                1 => (sum >> 1) ^ 0x82f6_3b78,
                _ => sum >> 1,
            };
            bit += 1;
        }
        table[byte] = sum;
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_castagnoli() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(b""), 0);
    }

    #[test]
    fn numbers_are_coded_in_sevens_of_bits() {
        let coded = |number| {
            let mut bytes = Vec::new();
            push_varint(&mut bytes, number);
            bytes
        };
        assert_eq!(coded(0), [0]);
        assert_eq!(coded(127), [127]);
        assert_eq!(coded(300), [0xac, 2]);
        assert_eq!(coded(u64::MAX).len(), 10);
    }

    #[test]
    fn a_chunk_says_how_long_it_is() {
        let chunk = chunk_of(b"NATSARC1");
        assert_eq!(chunk[..4], [1, 12, 0, 0]);
        assert_eq!(chunk[8..], *b"NATSARC1");
    }
}
