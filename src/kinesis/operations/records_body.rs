//! The reply to GetRecords, which has up to 10 MiB of records: it is encoded while it is sent.

use bytes::Bytes;

use crate::http::{Encode, MOST_INDIVISIBLE};
use crate::kinesis::protocol::Protocol;
use crate::model::{Decimals, Timestamp};
use crate::{Record, SequenceNumber};

/// Records with the bytes before and behind them.
///
/// The records share the bytes that were read. They are dropped one by one.
pub(super) struct RecordsBody {
    before: Bytes,
    records: std::vec::IntoIter<Record>,
    /// How much of the first record's data is encoded, after the record is begun.
    begun: Option<usize>,
    behind: Bytes,
    format: RecordFormat,
    len: usize,
}

impl RecordsBody {
    /// `members` are those of the reply, in which the list of records is empty and ends after `before` bytes.
    pub(super) fn new(
        protocol: Protocol,
        records: Vec<Record>,
        is_encrypted: bool,
        members: Vec<u8>,
        before: usize,
    ) -> Self {
        let mut behind = Bytes::from(members);
        let before = behind.split_to(before);
        let mut format = RecordFormat::new(protocol, is_encrypted);
        let of_records: usize = records.iter().map(|record| format.len(record)).sum();
        Self {
            len: before.len() + format.len_of_list(of_records) + behind.len(),
            before,
            records: records.into_iter(),
            begun: None,
            behind,
            format,
        }
    }

    /// Goes on with the first record, and returns whether it is complete.
    fn encode_record(&mut self, record: &Record, piece: &mut Vec<u8>, most: usize) -> bool {
        let protocol = self.format.protocol;
        let room = |piece: &Vec<u8>| most.saturating_sub(piece.len());
        let done = match self.begun {
            Some(done) => done,
            None if room(piece) < MOST_INDIVISIBLE => return false,
            None => {
                self.format.begin(piece, record);
                0
            }
        };
        let data = &record.data[done..];
        let room = room(piece);
        if room
            .checked_sub(MOST_INDIVISIBLE)
            .is_some_and(|room| data.len() <= protocol.part_of_blob_for(room))
        {
            protocol.write_part_of_blob(piece, data);
            self.format.end(piece, record);
            self.begun = None;
            return true;
        }
        let part = protocol.part_of_blob_for(room).min(data.len());
        protocol.write_part_of_blob(piece, &data[..part]);
        self.begun = Some(done + part);
        false
    }
}

impl Encode for RecordsBody {
    fn len(&self) -> usize {
        self.len
    }

    fn encode(&mut self, piece: &mut Vec<u8>, most: usize) {
        piece.extend_from_slice(&std::mem::take(&mut self.before));
        // Taken out, so that the loop does not borrow `self`.
        let mut records = std::mem::take(&mut self.records);
        while let Some(record) = records.as_slice().first() {
            if !self.encode_record(record, piece, most) {
                break;
            }
            records.next();
        }
        self.records = records;
        if self.records.len() == 0 {
            let room = most.saturating_sub(piece.len()).min(self.behind.len());
            piece.extend_from_slice(&self.behind.split_to(room));
        }
    }
}

/// Writes everything around the data of records.
struct RecordFormat {
    protocol: Protocol,
    names: &'static Names,
    /// The bytes that follow the partition key.
    end: &'static [u8],
    is_first: bool,
    numbers: Decimals,
    /// The time that was written last, since many records have the same.
    arrival: Option<Timestamp>,
    /// The bytes between the digits of the sequence number and the data, with that time.
    around_arrival: Vec<u8>,
}

/// The bytes of a record that are the same in all of them.
struct Names {
    begin: &'static [u8],
    /// How many bytes at the front of `begin` separate a record from the one before.
    separator: usize,
    behind_number: &'static [u8],
    data: &'static [u8],
    partition_key: &'static [u8],
    end: &'static [u8],
    end_of_encrypted: &'static [u8],
}

const JSON: Names = Names {
    begin: b",{\"SequenceNumber\":\"",
    separator: 1,
    behind_number: b"\",\"ApproximateArrivalTimestamp\":",
    data: b",\"Data\":",
    partition_key: b",\"PartitionKey\":",
    end: b"}",
    end_of_encrypted: b",\"EncryptionType\":\"KMS\"}",
};

const CBOR: Names = Names {
    begin: b"\xbf\x6eSequenceNumber\x78\x38",
    separator: 0,
    behind_number: b"\x78\x1bApproximateArrivalTimestamp",
    data: b"\x64Data",
    partition_key: b"\x6cPartitionKey",
    end: b"\xff",
    end_of_encrypted: b"\x6eEncryptionType\x63KMS\xff",
};

impl RecordFormat {
    fn new(protocol: Protocol, is_encrypted: bool) -> Self {
        let names = match protocol {
            Protocol::Json => &JSON,
            Protocol::Cbor => &CBOR,
        };
        Self {
            protocol,
            names,
            end: match is_encrypted {
                true => names.end_of_encrypted,
                false => names.end,
            },
            is_first: true,
            numbers: Decimals::new(),
            arrival: None,
            around_arrival: Vec::new(),
        }
    }

    /// How many bytes a record takes that is not the first.
    fn len(&mut self, record: &Record) -> usize {
        self.at(record.approximate_arrival);
        let names = self.names;
        names.begin.len()
            + SequenceNumber::DIGITS
            + self.around_arrival.len()
            + self.protocol.blob_len(record.data.len())
            + self.partition_key_len(record)
            + self.end.len()
    }

    /// How many bytes records take together, from the sum of their lengths as if none was the first.
    fn len_of_list(&self, records: usize) -> usize {
        records - if records > 0 { self.names.separator } else { 0 }
    }

    /// Everything in front of the data.
    fn begin(&mut self, out: &mut Vec<u8>, record: &Record) {
        self.at(record.approximate_arrival);
        let separator = if self.is_first { self.names.separator } else { 0 };
        self.is_first = false;
        out.extend_from_slice(&self.names.begin[separator..]);
        out.extend_from_slice(self.numbers.of(record.sequence_number));
        out.extend_from_slice(&self.around_arrival);
        self.protocol.begin_blob(out, record.data.len());
    }

    /// Everything behind the data.
    fn end(&self, out: &mut Vec<u8>, record: &Record) {
        self.protocol.end_blob(out);
        if !record.partition_key.is_absent() {
            out.extend_from_slice(self.names.partition_key);
            self.protocol.write_text(out, record.partition_key.as_bytes());
        }
        out.extend_from_slice(self.end);
    }

    fn partition_key_len(&self, record: &Record) -> usize {
        if record.partition_key.is_absent() {
            return 0;
        }
        self.names.partition_key.len() + self.protocol.text_len(record.partition_key.as_bytes())
    }

    fn at(&mut self, arrival: Timestamp) {
        if self.arrival == Some(arrival) {
            return;
        }
        self.arrival = Some(arrival);
        self.around_arrival.clear();
        self.around_arrival.extend_from_slice(self.names.behind_number);
        self.protocol.write_timestamp(&mut self.around_arrival, arrival);
        self.around_arrival.extend_from_slice(self.names.data);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http_body_util::BodyExt;
    use hyper::body::Body;
    use proptest::prelude::*;

    use super::*;
    use crate::http::{Buffers, ReplyBody};
    use crate::kinesis::protocol::{Document, Writer};
    use crate::{PartitionKey, RecordNumber, ShardId};

    fn record(number: u64, arrival: u64, key: &str, data: Vec<u8>) -> Record {
        let arrival = Timestamp::from_millis(arrival);
        let shard = ShardId::new(7).unwrap();
        Record {
            sequence_number: SequenceNumber::new(
                1_700_000_000,
                shard,
                RecordNumber::new(number),
                arrival.as_seconds(),
            ),
            approximate_arrival: arrival,
            partition_key: PartitionKey::new(key).unwrap(),
            data: data.into(),
        }
    }

    fn body(protocol: Protocol, records: &[Record], is_encrypted: bool) -> RecordsBody {
        let mut writer = Writer::with_capacity(protocol, 256);
        let mut before = 0;
        writer.structure(|reply| {
            before = reply.member("Records").empty_list();
            reply.member("NextShardIterator").string("next\"\\");
            reply.member("MillisBehindLatest").unsigned(5);
        });
        RecordsBody::new(
            protocol,
            records.to_vec(),
            is_encrypted,
            writer.into_bytes(),
            before,
        )
    }

    /// The reply of a simple server.
    fn json(records: &[Record], is_encrypted: bool) -> String {
        let text = |text: &str| serde_json::to_string(text).unwrap();
        let records: Vec<_> = records
            .iter()
            .map(|record| {
                let millis = record.approximate_arrival.as_millis();
                let encryption = if is_encrypted { r#","EncryptionType":"KMS""# } else { "" };
                format!(
                    r#"{{"SequenceNumber":"{}","ApproximateArrivalTimestamp":{}.{:03},"Data":"{}","PartitionKey":{}{encryption}}}"#,
                    record.sequence_number,
                    millis / 1000,
                    millis % 1000,
                    base64_simd::STANDARD.encode_to_string(&record.data),
                    text(record.partition_key.as_str()),
                )
            })
            .collect();
        format!(
            r#"{{"Records":[{}],"NextShardIterator":"next\"\\","MillisBehindLatest":5}}"#,
            records.join(",")
        )
    }

    /// The decoded CBOR reply.
    fn document(records: &[Record], is_encrypted: bool) -> Document<'_> {
        let record = |record: &Record| {
            let encryption =
                is_encrypted.then_some(("EncryptionType".into(), Document::String("KMS".into())));
            let members = vec![
                (
                    "SequenceNumber".into(),
                    Document::String(record.sequence_number.to_string().into()),
                ),
                (
                    "ApproximateArrivalTimestamp".into(),
                    Document::Milliseconds(record.approximate_arrival.as_millis() as i64),
                ),
                ("Data".into(), Document::Bytes(record.data.to_vec().into())),
                (
                    "PartitionKey".into(),
                    Document::String(record.partition_key.to_string().into()),
                ),
            ];
            Document::Map(members.into_iter().chain(encryption).collect())
        };
        Document::Map(vec![
            (
                "Records".into(),
                Document::List(records.iter().map(record).collect()),
            ),
            ("NextShardIterator".into(), Document::String("next\"\\".into())),
            ("MillisBehindLatest".into(), Document::Integer(5)),
        ])
    }

    /// The sent bytes, and the length that was announced before.
    fn sent(body: RecordsBody) -> (Vec<u8>, u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let body = ReplyBody::encoded(Box::new(body), &Arc::new(Buffers::default()));
        let said = body.size_hint().exact().unwrap();
        let bytes = runtime.block_on(body.collect()).unwrap().to_bytes();
        (bytes.into(), said)
    }

    fn check(records: &[Record]) {
        for is_encrypted in [false, true] {
            let (bytes, said) = sent(body(Protocol::Json, records, is_encrypted));
            assert_eq!(bytes.len() as u64, said);
            assert!(
                bytes == json(records, is_encrypted).as_bytes(),
                "the JSON is another"
            );
            let (bytes, said) = sent(body(Protocol::Cbor, records, is_encrypted));
            assert_eq!(bytes.len() as u64, said);
            assert!(
                Protocol::Cbor.parse(&bytes) == Ok(document(records, is_encrypted)),
                "the CBOR is another"
            );
        }
    }

    #[test]
    fn a_record_has_the_members_that_are_declared_of_it() {
        use crate::kinesis::convert::Input;
        use crate::kinesis::key::{Key, Structure, required};
        const WHOLE: Key<Structure> = required("Record", super::super::get_records::RECORD);
        let declared = WHOLE.members();
        for (protocol, is_encrypted) in [
            (Protocol::Json, false),
            (Protocol::Json, true),
            (Protocol::Cbor, false),
            (Protocol::Cbor, true),
        ] {
            let (bytes, _) = sent(body(protocol, &[record(1, 2, "k", vec![3])], is_encrypted));
            let Ok(Document::Map(reply)) = protocol.parse(&bytes) else {
                panic!("a structure")
            };
            let (_, Document::List(mut records)) = reply.into_iter().next().unwrap() else {
                panic!("a list")
            };
            let Some(Document::Map(members)) = records.pop() else {
                panic!("a structure")
            };
            for (name, _) in &members {
                assert!(declared.iter().any(|member| member.name == name), "{name}");
            }
            let typed = Input::from_document(Document::Map(members), declared).unwrap();
            for member in declared {
                let is_there = typed.value(member.name).is_some();
                let is_wanted = is_encrypted || member.name != "EncryptionType";
                assert_eq!(is_there, is_wanted, "{}", member.name);
            }
        }
    }

    #[test]
    fn a_reply_of_any_size_is_what_its_records_say() {
        let sizes = [0, 1, 2, 3, 1000, 49_000, 65_535, 65_536, 65_537, 200_000];
        let key = "\u{1}\u{1f}\"\\/\u{7f}\u{e4}\u{2028}\u{1f980}\n".repeat(25);
        let all: Vec<_> = sizes
            .iter()
            .zip(0..)
            .map(|(size, at)| {
                let data = (0..*size).map(|byte: u32| (byte * 7 + at) as u8).collect();
                record(at.into(), 999 + u64::from(at / 3) * 1_700_000_000_001, &key, data)
            })
            .collect();
        check(&[]);
        for record in &all {
            check(std::slice::from_ref(record));
        }
        check(&all);
    }

    #[test]
    fn pieces_of_a_reply_are_about_as_large_as_they_may_be() {
        let records: Vec<_> = (0..20)
            .map(|at| record(at, 0, "k", vec![at as u8; 10_000 * at as usize]))
            .collect();
        for protocol in [Protocol::Json, Protocol::Cbor] {
            let mut body = body(protocol, &records, true);
            let (mut left, most) = (body.len(), 4 * MOST_INDIVISIBLE);
            while left > 0 {
                let mut piece = Vec::new();
                body.encode(&mut piece, most);
                assert!(piece.len() <= most);
                assert!(piece.len() == left || piece.len() + MOST_INDIVISIBLE + 4 >= most);
                left -= piece.len();
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_reply_in_pieces_of_any_size_is_the_whole_one(
            keys in proptest::collection::vec((any::<String>(), 0..3u64, 0..9_000usize), 0..40),
            most in MOST_INDIVISIBLE..20_000,
        ) {
            let records: Vec<_> = keys
                .iter()
                .zip(0..)
                .map(|((key, arrival, size), at)| {
                    let key: String = key.chars().chain(['k']).take(256).collect();
                    record(at, *arrival, &key, vec![at as u8; *size])
                })
                .collect();
            for protocol in [Protocol::Json, Protocol::Cbor] {
                let mut whole = Vec::new();
                let mut body_at_once = body(protocol, &records, true);
                body_at_once.encode(&mut whole, usize::MAX);
                prop_assert_eq!(whole.len(), body_at_once.len());
                let mut pieces = Vec::new();
                let mut body = body(protocol, &records, true);
                while pieces.len() < whole.len() {
                    let mut piece = Vec::new();
                    body.encode(&mut piece, most);
                    prop_assert!(!piece.is_empty());
                    pieces.append(&mut piece);
                }
                prop_assert!(pieces == whole);
                if protocol == Protocol::Json {
                    prop_assert_eq!(String::from_utf8(whole).unwrap(), json(&records, true));
                }
            }
        }
    }
}
