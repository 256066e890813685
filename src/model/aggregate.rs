//! Records that the Kinesis Producer Library has aggregated into one.
//!
//! It puts small records of several partition keys into one record of the stream, which its consumers take apart: four
//! bytes, a message of Protocol Buffers, and the MD5 of that message.

use std::iter::FusedIterator;

use md5::{Digest, Md5};

const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
const HASH_BYTES: usize = 16;

/// The data of a record that the Kinesis Producer Library has aggregated from several. All values are borrowed from the
/// data.
///
/// ```
/// use anabranch::Aggregate;
///
/// assert!(Aggregate::of(b"{\"page\":\"/\"}").is_none());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aggregate<'a> {
    keys: Vec<&'a str>,
    hash_keys: Vec<&'a str>,
    message: &'a [u8],
    records: usize,
}

/// A record in an [`Aggregate`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AggregatedRecord<'a> {
    /// The partition key that its producer gave it.
    pub partition_key: &'a str,
    /// The hash key that its producer gave it, in decimal digits, if it did.
    pub explicit_hash_key: Option<&'a str>,
    /// Its data.
    pub data: &'a [u8],
}

impl<'a> Aggregate<'a> {
    /// `None` for data that is no aggregate: its mark or its checksum differs, or the message between them cannot be
    /// decoded completely. Reads all of the data.
    pub fn of(data: &'a [u8]) -> Option<Self> {
        let body = data.strip_prefix(&MAGIC)?;
        let (message, hash) = body.split_at_checked(body.len().checked_sub(HASH_BYTES)?)?;
        if Md5::digest(message)[..] != *hash {
            return None;
        }
        let mut aggregate = Self {
            keys: Vec::new(),
            hash_keys: Vec::new(),
            message,
            records: 0,
        };
        for field in Fields(message) {
            match field? {
                (1, Value::Bytes(key)) => aggregate.keys.push(std::str::from_utf8(key).ok()?),
                (2, Value::Bytes(key)) => aggregate.hash_keys.push(std::str::from_utf8(key).ok()?),
                (3, Value::Bytes(_)) => aggregate.records += 1,
                _ => {}
            }
        }
        // A record may come before the keys that it names, so the keys are looked up last.
        let whole = aggregate.found().filter(Option::is_some).count();
        (whole == aggregate.records).then_some(aggregate)
    }

    /// The records, in the order in which they were put.
    pub fn records(&self) -> impl Iterator<Item = AggregatedRecord<'a>> + '_ {
        self.found().flatten()
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.records
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    fn found(&self) -> impl Iterator<Item = Option<AggregatedRecord<'a>>> + '_ {
        Fields(self.message).filter_map(move |field| match field? {
            (3, Value::Bytes(record)) => Some(self.record(record)),
            _ => None,
        })
    }

    fn record(&self, message: &'a [u8]) -> Option<AggregatedRecord<'a>> {
        let (mut key, mut hash_key, mut data) = (None, None, None);
        let named = |keys: &[&'a str], index: u64| keys.get(usize::try_from(index).ok()?).copied();
        for field in Fields(message) {
            match field? {
                (1, Value::Number(index)) => key = Some(named(&self.keys, index)?),
                (2, Value::Number(index)) => hash_key = Some(named(&self.hash_keys, index)?),
                (3, Value::Bytes(bytes)) => data = Some(bytes),
                _ => {}
            }
        }
        Some(AggregatedRecord {
            partition_key: key?,
            explicit_hash_key: hash_key,
            data: data?,
        })
    }
}

/// The fields of a message of Protocol Buffers, each with its number. `None` if it cannot be decoded further.
struct Fields<'a>(&'a [u8]);

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// A kind that is skipped.
    Other,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Option<(u64, Value<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl FusedIterator for Fields<'_> {}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let head = self.number()?;
        let value = match head % 8 {
            0 => Value::Number(self.number()?),
            1 => self.take(8).map(|_| Value::Other)?,
            2 => {
                let length = usize::try_from(self.number()?).ok()?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Other)?,
            _ => return None,
        };
        Some((head / 8, value))
    }

    /// Seven bits in a byte, the lowest first.
    fn number(&mut self) -> Option<u64> {
        const MOST_BYTES: u32 = 10;
        let mut number = 0;
        for place in 0..MOST_BYTES {
            let byte = *self.take(1)?.first()?;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if place == MOST_BYTES - 1 && bits > 1 {
                return None;
            }
            number |= bits << (7 * place);
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn varint(mut number: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while number >= 0x80 {
            bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
        bytes
    }

    fn bytes_field(number: u64, bytes: &[u8]) -> Vec<u8> {
        [
            varint((number << 3) | 2),
            varint(bytes.len() as u64),
            bytes.to_vec(),
        ]
        .concat()
    }

    fn number_field(number: u64, value: u64) -> Vec<u8> {
        [varint(number << 3), varint(value)].concat()
    }

    fn sealed(message: &[u8]) -> Vec<u8> {
        [&MAGIC[..], message, &Md5::digest(message)[..]].concat()
    }

    /// Two records, the second of which has a hash key of its own and a tag, with a field of an unknown number.
    fn message() -> Vec<u8> {
        let one = [number_field(1, 0), bytes_field(3, b"one")].concat();
        let tag = bytes_field(4, &bytes_field(1, b"tag"));
        let two = [
            number_field(1, 1),
            number_field(2, 0),
            bytes_field(3, b"\xff"),
            tag,
        ]
        .concat();
        [
            bytes_field(1, b"key-1"),
            bytes_field(3, &one),
            bytes_field(1, "schlüssel".as_bytes()),
            bytes_field(2, b"17"),
            bytes_field(3, &two),
            varint((9 << 3) | 5),
            vec![1, 2, 3, 4],
        ]
        .concat()
    }

    #[test]
    fn an_aggregate_has_its_records_with_their_keys() {
        let data = sealed(&message());
        let aggregate = Aggregate::of(&data).unwrap();
        let expected = [
            AggregatedRecord {
                partition_key: "key-1",
                explicit_hash_key: None,
                data: b"one",
            },
            AggregatedRecord {
                partition_key: "schlüssel",
                explicit_hash_key: Some("17"),
                data: b"\xff",
            },
        ];
        assert!(aggregate.records().eq(expected));
        assert_eq!((aggregate.len(), aggregate.is_empty()), (2, false));
        assert!(Aggregate::of(&sealed(b"")).unwrap().is_empty());
    }

    #[test]
    fn what_is_not_whole_is_no_aggregate() {
        let data = sealed(&message());
        for length in 0..data.len() {
            assert_eq!(Aggregate::of(&data[..length]), None, "{length}");
        }
        for at in 0..data.len() {
            let mut changed = data.clone();
            changed[at] ^= 1;
            assert_eq!(Aggregate::of(&changed), None, "{at}");
        }
        let key = bytes_field(1, b"key");
        for message in [
            // No key, a key that is not there, no data, a key of no text.
            bytes_field(3, &bytes_field(3, b"data")),
            [
                key.clone(),
                bytes_field(3, &[number_field(1, 1), bytes_field(3, b"data")].concat()),
            ]
            .concat(),
            [key.clone(), bytes_field(3, &number_field(1, 0))].concat(),
            bytes_field(1, b"\xff"),
            // A length beyond the end, numbers without an end, a kind that there is not.
            [varint((1 << 3) | 2), varint(u64::MAX)].concat(),
            vec![0x80; 12],
            [varint(5 << 3), vec![0xff; 9], vec![0x02]].concat(),
            varint((1 << 3) | 3),
        ] {
            assert_eq!(Aggregate::of(&sealed(&message)), None, "{message:?}");
        }
    }

    proptest! {
        #[test]
        fn any_message_is_an_aggregate_or_is_not(message in prop::collection::vec(any::<u8>(), 0..200)) {
            let data = sealed(&message);
            if let Some(aggregate) = Aggregate::of(&data) {
                prop_assert_eq!(aggregate.records().count(), aggregate.len());
            }
        }
    }
}
