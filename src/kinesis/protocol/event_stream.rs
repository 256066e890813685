//! Messages of `application/vnd.amazon.eventstream`: what a reply consists of that goes on while something happens.
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

/// An event whose payload is not there yet, only its length: it is encoded to its place, and never copied.
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

    /// How long the whole message is.
    pub(in crate::kinesis) fn len(&self) -> usize {
        message_len(&self.headers, self.payload_len)
    }

    /// The message. `payload` adds as many bytes as was said.
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

    #[test]
    fn the_length_of_an_event_is_known_before_it_is_encoded() {
        let event = Event::new("Number", "application/json", 5);
        let message = event.encode(|message| message.extend_from_slice(b"{ 1 }"));
        assert_eq!((message.len(), message.capacity()), (event.len(), event.len()));
        assert_eq!(message, super::event("Number", "application/json", b"{ 1 }"));
    }
}
