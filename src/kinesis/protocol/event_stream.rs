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
    message(
        &[
            (":message-type", "event"),
            (":event-type", event_type),
            (":content-type", content_type),
        ],
        payload,
    )
}

/// The failure that ends a stream.
pub(in crate::kinesis) fn exception(kind: &str, content_type: &str, payload: &[u8]) -> Vec<u8> {
    message(
        &[
            (":message-type", "exception"),
            (":exception-type", kind),
            (":content-type", content_type),
        ],
        payload,
    )
}

/// A message whose headers are few and short.
fn message(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    const STRING: u8 = 7;
    const PRELUDE: usize = 12;
    const CRC: usize = 4;
    let of_headers: usize = headers
        .iter()
        .map(|(name, value)| 1 + name.len() + 1 + 2 + value.len())
        .sum();
    let total = PRELUDE + of_headers + payload.len() + CRC;
    let mut message = Vec::with_capacity(total);
    message.extend_from_slice(&(total as u32).to_be_bytes());
    message.extend_from_slice(&(of_headers as u32).to_be_bytes());
    end_with_crc(&mut message);
    for (name, value) in headers {
        message.push(name.len() as u8);
        message.extend_from_slice(name.as_bytes());
        message.push(STRING);
        message.extend_from_slice(&(value.len() as u16).to_be_bytes());
        message.extend_from_slice(value.as_bytes());
    }
    message.extend_from_slice(payload);
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

    /// The vectors that botocore tests its decoder with.
    #[test]
    fn messages_are_those_that_botocore_decodes() {
        assert_eq!(
            message(&[], b""),
            b"\x00\x00\x00\x10\x00\x00\x00\x00\x05\xc2H\xeb}\x98\xc8\xff"
        );
        assert_eq!(
            message(&[], b"{'foo':'bar'}"),
            b"\x00\x00\x00\x1d\x00\x00\x00\x00\xfdR\x8cZ{'foo':'bar'}\xc3e96"
        );
        assert_eq!(
            message(&[("content-type", "application/json")], b"{'foo':'bar'}"),
            b"\x00\x00\x00=\x00\x00\x00\x20\x07\xfd\x83\x96\x0ccontent-type\x07\x00\x10application/json{'foo':'bar'}\x8d\x9c\x08\xb1"
        );
    }
}
