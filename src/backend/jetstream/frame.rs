//! Frames: the messages of a log, each of which is one commit.
//!
//! Behind the envelope:
//! ```text
//! 0  arrival of the last record before the frame
//! 8  arrival of its own last record
//! 16 records before it in the log, since the log began
//! 24 their bytes, where each counts its data, its partition key and 16 bytes
//! 32 its own bytes, counted so
//! 40 its own records, a u32, and four bytes 0
//! 48 the number behind the last record before the frame
//! 56 the records: arrival (u64), length of the partition key (u16) and of the data (u32), and both
//! ```
//! The number of a record is made of the sequence of its frame and its place in it. A frame without records is the first
//! of its log, or one that seals it.

use bytes::Bytes;

use super::envelope::{Author, ENVELOPE_BYTES, Envelope, Fields, Kind, seal};
use crate::model::{PartitionKey, PutRecord, RecordNumber, Timestamp};
use crate::seam::{ReadRecord, stored_bytes};

/// The place of a record in its frame has so many bits of its number.
const PLACE_BITS: u32 = 14;

/// The most records of a frame.
pub(super) const MOST_RECORDS: usize = (1 << PLACE_BITS) - 1;

const HEADER_BYTES: usize = 56;

/// What comes before a frame's records.
pub(super) const OVERHEAD_BYTES: usize = ENVELOPE_BYTES + HEADER_BYTES;

/// What a record takes besides its data and its partition key.
const RECORD_HEADER_BYTES: usize = 14;

/// The most bytes that a record of so many bytes of data and partition key takes in a message.
pub(super) const fn message_bytes(record: usize) -> usize {
    OVERHEAD_BYTES + RECORD_HEADER_BYTES + record
}

/// Where a log is behind one of its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LogPlace {
    /// The sequence of the frame; 0 in front of the first.
    pub(super) sequence: u64,
    /// Behind the last record so far.
    pub(super) next_record: RecordNumber,
    pub(super) last_arrival: Timestamp,
    /// All records so far, also those that were freed.
    pub(super) records: u64,
    pub(super) bytes: u64,
}

impl LogPlace {
    pub(super) const BEGINNING: Self = Self {
        sequence: 0,
        next_record: RecordNumber::FIRST,
        last_arrival: Timestamp::EPOCH,
        records: 0,
        bytes: 0,
    };
}

/// The number of the record in this place of the frame with this sequence.
pub(super) fn number(sequence: u64, place: u32) -> RecordNumber {
    RecordNumber::new((sequence << PLACE_BITS) + u64::from(place))
}

/// Which frame a number belongs to, and which place there.
pub(super) fn sequence_and_place(number: RecordNumber) -> (u64, u32) {
    let place = number.value() & ((1 << PLACE_BITS) - 1);
    (number.value() >> PLACE_BITS, place as u32)
}

/// A frame that is being filled.
#[derive(Debug)]
pub(super) struct NewFrame {
    /// The records, behind room for all that comes before them.
    message: Vec<u8>,
    kind: Kind,
    pub(super) records: u32,
    bytes: u64,
    last_arrival: Timestamp,
}

impl NewFrame {
    pub(super) fn of_records() -> Self {
        Self::of(Kind::Records)
    }

    /// The first frame of a log, without a record.
    pub(super) fn of_beginning(now: Timestamp) -> Self {
        Self {
            last_arrival: now,
            ..Self::of(Kind::Opened)
        }
    }

    /// A frame without a record, after which no earlier place of the log is its end.
    pub(super) fn of_seal() -> Self {
        Self::of(Kind::Seal)
    }

    fn of(kind: Kind) -> Self {
        Self {
            message: vec![0; OVERHEAD_BYTES],
            kind,
            records: 0,
            bytes: 0,
            last_arrival: Timestamp::EPOCH,
        }
    }

    /// How many bytes these records add to a message.
    pub(super) fn bytes_of(records: &[PutRecord<'_>]) -> usize {
        let bytes = records
            .iter()
            .map(|record| RECORD_HEADER_BYTES + record.partition_key.len() + record.data.len());
        bytes.sum()
    }

    pub(super) fn message_bytes(&self) -> usize {
        self.message.len()
    }

    /// Of data and partition keys.
    pub(super) fn payload_bytes(&self) -> u64 {
        self.message.len() as u64
            - OVERHEAD_BYTES as u64
            - u64::from(self.records) * RECORD_HEADER_BYTES as u64
    }

    /// Takes records in, whose keys were checked. There is room for them.
    pub(super) fn push(&mut self, records: &[PutRecord<'_>], arrival: Timestamp) {
        for record in records {
            let key = record.partition_key.as_bytes();
            self.message.extend_from_slice(&arrival.as_millis().to_le_bytes());
            self.message.extend_from_slice(&(key.len() as u16).to_le_bytes());
            self.message
                .extend_from_slice(&(record.data.len() as u32).to_le_bytes());
            self.message.extend_from_slice(key);
            self.message.extend_from_slice(record.data);
            self.bytes += stored_bytes(record) as u64;
        }
        self.records += records.len() as u32;
        self.last_arrival = arrival;
    }

    /// The message, for a log that ends there.
    pub(super) fn message(&mut self, subject: &str, author: Author, behind: &LogPlace) -> Bytes {
        let last_arrival = self.last_arrival.max(behind.last_arrival);
        let numbers = [
            behind.last_arrival.as_millis(),
            last_arrival.as_millis(),
            behind.records,
            behind.bytes,
            self.bytes,
            u64::from(self.records),
            behind.next_record.value(),
        ];
        let header = self.message[ENVELOPE_BYTES..OVERHEAD_BYTES].chunks_exact_mut(8);
        for (field, number) in header.zip(numbers) {
            field.copy_from_slice(&number.to_le_bytes());
        }
        seal(&mut self.message, subject, self.kind, author, behind.sequence);
        Bytes::copy_from_slice(&self.message)
    }
}

/// A frame that is on the cluster.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) sequence: u64,
    pub(super) author: Author,
    /// The sequence of the frame before it; 0 of the first.
    pub(super) previous: u64,
    pub(super) previous_arrival: Timestamp,
    pub(super) last_arrival: Timestamp,
    pub(super) records_before: u64,
    pub(super) bytes_before: u64,
    pub(super) bytes: u64,
    pub(super) records: u32,
    /// Behind the last record before the frame.
    pub(super) follows: RecordNumber,
    /// They were checked.
    encoded: Bytes,
}

impl Frame {
    /// # Errors
    /// What does not hold.
    pub(super) fn of(envelope: &Envelope, sequence: u64) -> Result<Self, &'static str> {
        if !matches!(envelope.kind, Kind::Records | Kind::Seal | Kind::Opened) {
            return Err("it is not of a log");
        }
        let mut fields = Fields(&envelope.content);
        let mut next = || fields.u64().ok_or("it is too short");
        let frame = Self {
            sequence,
            author: envelope.author,
            previous: envelope.previous,
            previous_arrival: Timestamp::from_millis(next()?),
            last_arrival: Timestamp::from_millis(next()?),
            records_before: next()?,
            bytes_before: next()?,
            bytes: next()?,
            records: u32::try_from(next()?).map_err(|_| "it has too many records")?,
            follows: RecordNumber::new(next()?),
            encoded: envelope.content.slice(HEADER_BYTES..),
        };
        let follows = frame.follows <= number(sequence, 0);
        if frame.records as usize > MOST_RECORDS || frame.previous >= sequence || !follows {
            return Err("its numbers do not follow from those before");
        }
        let mut places = Places(Fields(&frame.encoded));
        let records = places.by_ref().take(frame.records as usize);
        let are_keys = records.map(|record| PartitionKey::check_stored(record.key).is_ok());
        let (mut found, mut all_keys) = (0, true);
        for is_key in are_keys {
            found += 1;
            all_keys &= is_key;
        }
        match found == frame.records && all_keys && places.0.0.is_empty() {
            true => Ok(frame),
            false => Err("its records are not what it says"),
        }
    }

    /// Where the log is behind it.
    pub(super) fn place_behind(&self) -> LogPlace {
        LogPlace {
            sequence: self.sequence,
            // A seal is nothing that a reader could miss.
            next_record: match self.records {
                0 => self.follows,
                records => number(self.sequence, records),
            },
            last_arrival: self.last_arrival,
            records: self.records_before + u64::from(self.records),
            bytes: self.bytes_before + self.bytes,
        }
    }

    /// How much memory it takes.
    pub(super) fn held_bytes(&self) -> usize {
        self.encoded.len() + OVERHEAD_BYTES
    }

    /// Its records in their order.
    pub(super) fn read(&self) -> impl Iterator<Item = ReadRecord> + '_ {
        let records = Places(Fields(&self.encoded)).take(self.records as usize);
        records.zip(0..).map(move |(record, place)| ReadRecord {
            number: number(self.sequence, place),
            arrival: record.arrival,
            partition_key: match record.key {
                [] => PartitionKey::absent(),
                key => {
                    let key = self.encoded.slice_ref(key);
                    let length = key.len();
                    PartitionKey::of_checked(&key, 0..length)
                }
            },
            data: self.encoded.slice_ref(record.data),
        })
    }

    /// When its first record arrived.
    pub(super) fn first_arrival(&self) -> Timestamp {
        let first = Places(Fields(&self.encoded)).next();
        first.map_or(self.last_arrival, |record| record.arrival)
    }
}

struct Places<'a>(Fields<'a>);

struct Encoded<'a> {
    arrival: Timestamp,
    key: &'a [u8],
    data: &'a [u8],
}

impl<'a> Iterator for Places<'a> {
    type Item = Encoded<'a>;

    fn next(&mut self) -> Option<Encoded<'a>> {
        let arrival = Timestamp::from_millis(self.0.u64()?);
        let key_bytes = self.0.u16()? as usize;
        let data_bytes = self.0.u32()? as usize;
        Some(Encoded {
            arrival,
            key: self.0.take(key_bytes)?,
            data: self.0.take(data_bytes)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBJECT: &str = "ab.main.1.s.0";
    const AUTHOR: Author = Author {
        writer: 5,
        counter: 1,
    };

    fn open(message: &Bytes, sequence: u64) -> Result<Frame, &'static str> {
        Frame::of(&Envelope::open(message, SUBJECT)?, sequence)
    }

    fn frame_of(records: &[PutRecord<'_>], behind: &LogPlace, sequence: u64) -> Frame {
        let mut frame = NewFrame::of_records();
        frame.push(records, Timestamp::from_millis(700));
        let message = frame.message(SUBJECT, AUTHOR, behind);
        assert_eq!(message.len(), OVERHEAD_BYTES + NewFrame::bytes_of(records));
        open(&message, sequence).unwrap()
    }

    #[test]
    fn records_come_back_with_numbers_of_their_frame() {
        let records = [PutRecord::new("user-42", b"first"), PutRecord::new("", b"")];
        let first = frame_of(&records, &LogPlace::BEGINNING, 9);
        let read: Vec<_> = first.read().collect();
        assert_eq!(read[0].partition_key.as_str(), "user-42");
        assert_eq!(
            (read[0].data.as_ref(), read[1].data.as_ref()),
            (&b"first"[..], &b""[..])
        );
        assert!(read[1].partition_key.is_absent());
        assert_eq!((read[0].number, read[1].number), (number(9, 0), number(9, 1)));
        assert_eq!(sequence_and_place(read[1].number), (9, 1));
        let behind = first.place_behind();
        assert_eq!((behind.records, behind.next_record), (2, read[1].number.next()));
        let second = frame_of(&records, &behind, 12);
        assert_eq!((second.previous, second.records_before), (9, 2));
        assert_eq!(second.bytes_before, first.bytes);
        assert_eq!(second.previous_arrival, first.last_arrival);
        assert_eq!(second.follows, behind.next_record);
    }

    #[test]
    fn a_seal_has_no_record_and_takes_over_where_the_log_is() {
        let behind = frame_of(&[PutRecord::new("k", b"v")], &LogPlace::BEGINNING, 3).place_behind();
        let message = NewFrame::of_seal().message(SUBJECT, AUTHOR, &behind);
        let sealed = open(&message, 4).unwrap().place_behind();
        assert_eq!((sealed.records, sealed.bytes), (behind.records, behind.bytes));
        assert_eq!(sealed.last_arrival, behind.last_arrival);
        assert_eq!(sealed.next_record, behind.next_record);
    }

    #[test]
    fn what_is_cut_or_does_not_follow_is_refused() {
        let mut frame = NewFrame::of_records();
        frame.push(&[PutRecord::new("k", b"v")], Timestamp::EPOCH);
        frame.records += 1;
        let message = frame.message(SUBJECT, AUTHOR, &LogPlace::BEGINNING);
        assert!(open(&message, 3).is_err());
        let behind = LogPlace {
            sequence: 3,
            ..LogPlace::BEGINNING
        };
        let message = NewFrame::of_seal().message(SUBJECT, AUTHOR, &behind);
        assert!(open(&message, 3).is_err());
        assert!(open(&message, 4).is_ok());
    }
}
