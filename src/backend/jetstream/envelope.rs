//! What every message has: who wrote it, which one came before it on its subject, and a checksum.
//!
//! ```text
//! 0  magic "ABM1"
//! 4  CRC-32 of what follows, and of the subject
//! 8  kind, and seven bytes 0
//! 16 writer: a number that no other opener has
//! 24 counter: of the writer's messages
//! 32 previous: the sequence of the message before it on the subject, or 0
//! 40 what the kind is about
//! ```
//! All numbers are little-endian.

use bytes::Bytes;

const MAGIC: &[u8; 4] = b"ABM1";

/// How long the envelope is.
pub(super) const ENVELOPE_BYTES: usize = 40;

/// What a message is about. The numbers stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Records of a log.
    Records = 1,
    /// An append by the sequence before this one is refused.
    Seal = 2,
    /// Edits of the catalog, or a part of them.
    Edits = 3,
    /// A snapshot of the catalog, or a part of it.
    Snapshot = 4,
    /// From here on the edits are this writer's. In a log: it begins, and has no record yet.
    Opened = 5,
}

/// Who wrote a message, and which of its messages it is: no two are the same, but for one that was sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Author {
    pub(super) writer: u64,
    pub(super) counter: u64,
}

/// What an envelope says.
#[derive(Clone, Debug)]
pub(super) struct Envelope {
    pub(super) kind: Kind,
    pub(super) author: Author,
    pub(super) previous: u64,
    /// What is in it.
    pub(super) content: Bytes,
}

/// Fills in the envelope in front of what is in a message.
pub(super) fn seal(message: &mut [u8], subject: &str, kind: Kind, author: Author, previous: u64) {
    message[..4].copy_from_slice(MAGIC);
    message[8..16].copy_from_slice(&[kind as u8, 0, 0, 0, 0, 0, 0, 0]);
    message[16..24].copy_from_slice(&author.writer.to_le_bytes());
    message[24..32].copy_from_slice(&author.counter.to_le_bytes());
    message[32..40].copy_from_slice(&previous.to_le_bytes());
    let checksum = checksum(&message[8..], subject);
    message[4..8].copy_from_slice(&checksum.to_le_bytes());
}

impl Envelope {
    /// Opens a message.
    ///
    /// # Errors
    /// What does not hold.
    pub(super) fn open(message: &Bytes, subject: &str) -> Result<Self, &'static str> {
        if message.len() < ENVELOPE_BYTES || message[..4] != *MAGIC {
            return Err("it is no message of this program");
        }
        let mut fields = Fields(&message[4..]);
        let stored = fields.u32().ok_or("it is too short")?;
        if stored != checksum(&message[8..], subject) {
            return Err("its checksum does not match");
        }
        let kind = match message[8] {
            1 => Kind::Records,
            2 => Kind::Seal,
            3 => Kind::Edits,
            4 => Kind::Snapshot,
            5 => Kind::Opened,
            _ => return Err("a later version wrote it"),
        };
        let mut fields = Fields(&message[16..]);
        let mut next = || fields.u64().ok_or("it is too short");
        Ok(Self {
            kind,
            author: Author {
                writer: next()?,
                counter: next()?,
            },
            previous: next()?,
            content: message.slice(ENVELOPE_BYTES..),
        })
    }
}

fn checksum(bytes: &[u8], subject: &str) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(subject.as_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

/// Bytes that are read from the front.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_byte_of_a_message_can_change_and_it_belongs_to_its_subject() {
        let author = Author {
            writer: 7,
            counter: 3,
        };
        let mut message = [0; ENVELOPE_BYTES].to_vec();
        message.extend_from_slice(b"what is in it");
        seal(&mut message, "ab.main.1.s.0", Kind::Edits, author, 41);
        let opened = Envelope::open(&Bytes::from(message.clone()), "ab.main.1.s.0").unwrap();
        assert_eq!(
            (opened.kind, opened.author, opened.previous),
            (Kind::Edits, author, 41)
        );
        assert_eq!(opened.content, "what is in it");
        assert!(Envelope::open(&Bytes::from(message.clone()), "ab.main.1.s.1").is_err());
        for byte in 0..message.len() {
            let mut changed = message.clone();
            changed[byte] ^= 1;
            assert!(
                Envelope::open(&Bytes::from(changed), "ab.main.1.s.0").is_err(),
                "{byte}"
            );
            let cut = Bytes::from(message[..byte].to_vec());
            assert!(Envelope::open(&cut, "ab.main.1.s.0").is_err(), "{byte}");
        }
    }
}
