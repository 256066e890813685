//! Messages of `application/vnd.amazon.eventstream`, of which a reply consists that goes on while something happens.
//!
//! ```text
//! total length (4) | length of headers (4) | CRC-32 of both (4) | headers | payload | CRC-32 of all before (4)
//! header: length of name (1) | name | 7, the type of strings | length of value (2) | value
//! ```
//!
//! All numbers are big-endian.

pub(in crate::kinesis) const CONTENT_TYPE: &str = "application/vnd.amazon.eventstream";

/// An event of a type that the API model names.
pub(in crate::kinesis) fn event(event_type: &str, content_type: &str, payload: &[u8]) -> Vec<u8> {
    let event = Event::new(event_type, content_type, payload.len());
    event.encode(|message| message.extend_from_slice(payload))
}

/// The failure that ends a stream.
pub(in crate::kinesis) fn exception(kind: &str, content_type: &str, payload: &[u8]) -> Vec<u8> {
    message(
        &[
            (":message-type", "exception"),
            (":exception-type", kind),
            (":content-type", content_type),
        ],
        payload.len(),
        |message| message.extend_from_slice(payload),
    )
}

/// An event of which only the payload's length is known: the payload is encoded directly into the message, and never
/// copied.
pub(in crate::kinesis) struct Event<'a> {
    headers: [(&'a str, &'a str); 3],
    payload_len: usize,
}

impl<'a> Event<'a> {
    pub(in crate::kinesis) fn new(
        event_type: &'a str,
        content_type: &'a str,
        payload_len: usize,
    ) -> Event<'a> {
        Event {
            headers: [
                (":message-type", "event"),
                (":event-type", event_type),
                (":content-type", content_type),
            ],
            payload_len,
        }
    }

    /// The length of the whole message.
    pub(in crate::kinesis) fn len(&self) -> usize {
        message_len(&self.headers, self.payload_len)
    }

    /// The message. `payload` has to append as many bytes as announced.
    pub(in crate::kinesis) fn encode(&self, payload: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        message(&self.headers, self.payload_len, payload)
    }
}

/// The total length, the length of headers, and the checksum of both.
const PRELUDE: usize = 12;
const CRC: usize = 4;

fn headers_len(headers: &[(&str, &str)]) -> usize {
    headers
        .iter()
        .map(|(name, value)| 1 + name.len() + 1 + 2 + value.len())
        .sum()
}

fn message_len(headers: &[(&str, &str)], payload_len: usize) -> usize {
    PRELUDE + headers_len(headers) + payload_len + CRC
}

/// A message whose headers are few and short.
fn message(headers: &[(&str, &str)], payload_len: usize, payload: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    const STRING: u8 = 7;
    let total = message_len(headers, payload_len);
    let mut message = Vec::with_capacity(total);
    message.extend_from_slice(&(total as u32).to_be_bytes());
    message.extend_from_slice(&(headers_len(headers) as u32).to_be_bytes());
    end_with_crc(&mut message);
    for (name, value) in headers {
        message.push(name.len() as u8);
        message.extend_from_slice(name.as_bytes());
        message.push(STRING);
        message.extend_from_slice(&(value.len() as u16).to_be_bytes());
        message.extend_from_slice(value.as_bytes());
    }
    payload(&mut message);
    debug_assert_eq!(message.len() + CRC, total, "the length was wrong");
    end_with_crc(&mut message);
    message
}

fn end_with_crc(message: &mut Vec<u8>) {
    let crc = crc32fast::hash(message);
    message.extend_from_slice(&crc.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of_bytes(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
        message(headers, payload.len(), |message| {
            message.extend_from_slice(payload);
        })
    }

    /// The vectors that botocore tests its decoder with.
    #[test]
    fn messages_are_those_that_botocore_decodes() {
        assert_eq!(
            of_bytes(&[], b""),
            b"\x00\x00\x00\x10\x00\x00\x00\x00\x05\xc2H\xeb}\x98\xc8\xff"
        );
        assert_eq!(
            of_bytes(&[], b"{'foo':'bar'}"),
            b"\x00\x00\x00\x1d\x00\x00\x00\x00\xfdR\x8cZ{'foo':'bar'}\xc3e96"
        );
        assert_eq!(
            of_bytes(&[("content-type", "application/json")], b"{'foo':'bar'}"),
            b"\x00\x00\x00=\x00\x00\x00\x20\x07\xfd\x83\x96\x0ccontent-type\x07\x00\x10application/json{'foo':'bar'}\x8d\x9c\x08\xb1"
        );
    }

    /// The headers and the payload of one message, decoded by the specification alone.
    fn decoded(message: &[u8]) -> (Vec<(String, String)>, &[u8]) {
        let number = |at: usize| u32::from_be_bytes(message[at..at + 4].try_into().unwrap());
        let end = message.len() - 4;
        assert_eq!(number(0) as usize, message.len());
        assert_eq!(number(8), crc32fast::hash(&message[..8]));
        assert_eq!(number(end), crc32fast::hash(&message[..end]));
        let (mut headers, payload) = message[12..end].split_at(number(4) as usize);
        let mut text = |is_value: bool| {
            let length = match is_value {
                true => {
                    assert_eq!(headers[0], 7, "no string");
                    let length = usize::from(u16::from_be_bytes([headers[1], headers[2]]));
                    headers = &headers[3..];
                    length
                }
                false => {
                    let length = usize::from(*headers.first()?);
                    headers = &headers[1..];
                    length
                }
            };
            let (text, rest) = headers.split_at(length);
            headers = rest;
            Some(String::from_utf8(text.to_vec()).unwrap())
        };
        let mut read = Vec::new();
        while let Some(name) = text(false) {
            read.push((name, text(true).unwrap()));
        }
        (read, payload)
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_what_is_decoded(
            headers in proptest::collection::vec((".{0,60}", ".{0,2000}"), 0..6),
            payload in proptest::collection::vec(any::<u8>(), 0..10_000),
        ) {
            let borrowed: Vec<_> = headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            let message = of_bytes(&borrowed, &payload);
            prop_assert_eq!(message.len(), message_len(&borrowed, payload.len()));
            prop_assert_eq!(decoded(&message), (headers, &payload[..]));
        }

        #[test]
        fn events_and_exceptions_say_what_they_are(
            kind in ".{0,60}",
            content_type in ".{0,100}",
            payload in proptest::collection::vec(any::<u8>(), 0..1_000),
        ) {
            let encoded = [event(&kind, &content_type, &payload), exception(&kind, &content_type, &payload)];
            for (message, type_of) in encoded.iter().zip(["event", "exception"]) {
                let expected = [
                    (":message-type", type_of),
                    (&*format!(":{type_of}-type"), &*kind),
                    (":content-type", &*content_type),
                ];
                let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
                prop_assert_eq!(decoded(message), (expected.to_vec(), &payload[..]));
            }
        }
    }

    #[test]
    fn the_longest_header_is_told_by_its_length() {
        let (name, value) = ("n".repeat(255), "v".repeat(65_535));
        let message = of_bytes(&[(&name, &value), ("a", "")], b"payload");
        let headers = vec![(name, value), ("a".to_owned(), String::new())];
        assert_eq!(decoded(&message), (headers, &b"payload"[..]));
    }

    #[test]
    fn the_length_of_an_event_is_known_before_it_is_encoded() {
        let event = Event::new("Number", "application/json", 5);
        let message = event.encode(|message| message.extend_from_slice(b"{ 1 }"));
        assert_eq!((message.len(), message.capacity()), (event.len(), event.len()));
        assert_eq!(message, super::event("Number", "application/json", b"{ 1 }"));
    }
}
