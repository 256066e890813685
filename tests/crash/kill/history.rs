//! The records that writers sent, and the acknowledgements they got, compared with the records of a store.

use std::collections::{BTreeMap, BTreeSet};

use anabranch::{SequenceNumber, ShardId};

/// How many writers put at the same time.
pub const WRITERS: u64 = 8;
/// How many records a put of several has.
pub const RECORDS_PER_PUT: u64 = 5;

/// A record whose key and data follow from one number.
///
/// The number is unique in a test: it is made of the life of the server, the writer, and a count of that writer's
/// records in that life. A writer sends the next number when the one before is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Message(pub u64);

impl Message {
    const MESSAGES_PER_LIFE: u64 = 1_000_000;

    pub fn first(life: u64, writer: u64) -> Message {
        Message((life * WRITERS + writer) * Message::MESSAGES_PER_LIFE)
    }

    /// The message's number without the count.
    fn writer_and_life(self) -> u64 {
        self.0 / Message::MESSAGES_PER_LIFE
    }

    /// One of a few keys that only this writer uses, in all its lives.
    pub fn partition_key(self) -> String {
        format!("writer-{}-key-{}", self.writer_and_life() % WRITERS, self.0 % 3)
    }

    /// The number, and up to 3 KiB that follow from it.
    pub fn data(self) -> Vec<u8> {
        let length = self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 52;
        let mut data = format!("{} ", self.0).into_bytes();
        data.extend((0..length * 3 / 4).map(|at| (self.0 + at) as u8));
        data
    }

    fn of(data: &[u8]) -> Option<Message> {
        let digits = data.split(|&byte| byte == b' ').next()?;
        let message = Message(std::str::from_utf8(digits).ok()?.parse().ok()?);
        (message.data() == data).then_some(message)
    }
}

/// An acknowledgement: the record is in this shard under this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub message: Message,
    pub shard: ShardId,
    pub number: SequenceNumber,
}

/// A record as it was read. A shard's records are in the order in which they were read.
#[derive(Debug)]
pub struct Stored {
    pub shard: ShardId,
    pub number: SequenceNumber,
    pub partition_key: String,
    pub data: Vec<u8>,
}

/// All acknowledgements of all lives.
#[derive(Debug, Default)]
pub struct History {
    receipts: BTreeMap<Message, Receipt>,
    closed: BTreeSet<ShardId>,
}

impl History {
    pub fn acknowledge(&mut self, receipt: Receipt) {
        let before = self.receipts.insert(receipt.message, receipt);
        assert_eq!(before, None, "a message is sent once");
    }

    /// A split or a merge of the shard was acknowledged.
    pub fn acknowledge_closed(&mut self, shard: ShardId) {
        self.closed.insert(shard);
    }

    pub fn len(&self) -> usize {
        self.receipts.len()
    }

    /// Checks that every acknowledged record is in the store, under its number, once; that every shard and every key is
    /// in order; and that each record without an acknowledgement is one that a writer was sending when the server was
    /// killed.
    pub fn check(&self, stored: &[Stored], closed: &BTreeSet<ShardId>) {
        let mut found = BTreeMap::new();
        let mut last_of_shard: BTreeMap<ShardId, SequenceNumber> = BTreeMap::new();
        for record in stored {
            let Some(message) = Message::of(&record.data) else {
                panic!("{} has a record that nobody sent: {record:?}", record.shard);
            };
            assert_eq!(
                record.partition_key,
                message.partition_key(),
                "the key of {message:?}"
            );
            let receipt = Receipt {
                message,
                shard: record.shard,
                number: record.number,
            };
            if let Some(other) = found.insert(message, receipt) {
                panic!("one record is there twice: {other:?} and {receipt:?}");
            }
            if let Some(last) = last_of_shard.insert(record.shard, record.number) {
                assert!(
                    last < record.number,
                    "{}: {} comes after {last}",
                    record.shard,
                    record.number
                );
            }
        }
        for (message, receipt) in &self.receipts {
            assert_eq!(
                found.get(message),
                Some(receipt),
                "an acknowledged record is not as promised"
            );
        }
        self.check_unacknowledged(&found);
        check_keys(&found);
        assert!(
            closed.is_superset(&self.closed),
            "closed were {:?}, but now only {closed:?}",
            self.closed
        );
    }

    fn check_unacknowledged(&self, found: &BTreeMap<Message, Receipt>) {
        for message in found
            .keys()
            .filter(|message| !self.receipts.contains_key(message))
        {
            let session = message.writer_and_life();
            let first = Message(session * Message::MESSAGES_PER_LIFE);
            let end = Message((session + 1) * Message::MESSAGES_PER_LIFE);
            let last = self.receipts.range(first..end).next_back();
            let next = last.map_or(first.0, |(last, _)| last.0 + 1);
            assert!(
                (next..next + RECORDS_PER_PUT).contains(&message.0),
                "{message:?} is there, though its writer had come no further than {next}"
            );
        }
    }
}

/// A writer sends the messages of a key in the order of their numbers, one after the other, to the shard that has the
/// key at that time.
fn check_keys(found: &BTreeMap<Message, Receipt>) {
    let mut by_number: Vec<&Receipt> = found.values().collect();
    by_number.sort_by_key(|receipt| receipt.number);
    let mut last_of_key: BTreeMap<String, &Receipt> = BTreeMap::new();
    for receipt in by_number {
        let key = receipt.message.partition_key();
        if let Some(last) = last_of_key.insert(key, receipt) {
            assert!(
                last.message < receipt.message,
                "out of order: {last:?}, {receipt:?}"
            );
        }
    }
}

/// Numbers that look random, and are the same in every run.
pub struct Moments(pub u64);

impl Moments {
    /// A number below `limit`, at least 1.
    pub fn next(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        1 + self.0 % (limit - 1)
    }
}
