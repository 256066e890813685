//! Messages of an event stream, read without the code that writes them.

use std::collections::BTreeMap;

use serde_json::Value;

/// Checks the messages of a subscription: an initial response, events, and perhaps an exception that ends it.
pub(crate) fn check(mut stream: &[u8]) {
    let mut kinds = Vec::new();
    while !stream.is_empty() {
        let (headers, payload, rest) = message(stream);
        assert_eq!(headers[":content-type"], "application/x-amz-json-1.1");
        let payload: Value = serde_json::from_slice(payload).expect("the payload is JSON");
        assert!(payload.is_object(), "{payload}");
        let kind = match headers[":message-type"] {
            "event" => headers[":event-type"],
            "exception" => headers[":exception-type"],
            other => panic!("a message of type {other}"),
        };
        if kind == "SubscribeToShardEvent" {
            assert!(
                payload["Records"].is_array() && payload["MillisBehindLatest"].is_u64(),
                "{payload}"
            );
        }
        kinds.push(kind);
        stream = rest;
    }
    assert_eq!(kinds.first(), Some(&"initial-response"));
    let is_event = |kind: &&str| *kind == "SubscribeToShardEvent";
    let behind = kinds[1..].iter().skip_while(|kind| is_event(kind)).count();
    assert!(behind <= 1, "{kinds:?}");
}

type Message<'a> = (BTreeMap<&'a str, &'a str>, &'a [u8], &'a [u8]);

/// The headers and the payload of the first message, and the bytes behind it.
fn message(bytes: &[u8]) -> Message<'_> {
    const PRELUDE: usize = 12;
    const CRC: usize = 4;
    let number = |at: usize| {
        let bytes = bytes.get(at..at + 4).and_then(|bytes| bytes.first_chunk());
        u32::from_be_bytes(*bytes.expect("the message is whole"))
    };
    let (total, headers) = (number(0) as usize, number(4) as usize);
    assert!(
        total >= PRELUDE + headers + CRC && total <= bytes.len(),
        "{total}"
    );
    assert_eq!(number(8), crc32fast::hash(&bytes[..8]));
    assert_eq!(number(total - CRC), crc32fast::hash(&bytes[..total - CRC]));
    let (message, rest) = bytes.split_at(total);
    let (mut headers, payload) = message[PRELUDE..total - CRC].split_at(headers);
    let mut values = BTreeMap::new();
    while !headers.is_empty() {
        let (name, value, behind) = header(headers);
        assert_eq!(values.insert(name, value), None, "{name} is there twice");
        headers = behind;
    }
    (values, payload, rest)
}

/// The name and the value of the first header, and the bytes behind it.
fn header(bytes: &[u8]) -> (&str, &str, &[u8]) {
    const STRING: u8 = 7;
    let (name, rest) = bytes[1..].split_at(usize::from(bytes[0]));
    assert_eq!(rest[0], STRING);
    let length = usize::from(u16::from_be_bytes([rest[1], rest[2]]));
    let (value, rest) = rest[3..].split_at(length);
    let text = |bytes| std::str::from_utf8(bytes).expect("headers are text");
    (text(name), text(value), rest)
}
