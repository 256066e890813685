//! Single values as bytes, for the writer of whole replies and for those that are encoded in parts.

use base64_simd::STANDARD as BASE64;

use super::{Protocol, cbor, json};
use crate::model::Timestamp;
use crate::model::decimal::{count_digits, write_last_digits};

impl Protocol {
    /// A string. `text` must be UTF-8.
    pub(in crate::kinesis) fn write_text(self, out: &mut Vec<u8>, text: &[u8]) {
        match self {
            Protocol::Json => json::write_string(out, text),
            Protocol::Cbor => {
                cbor::begin_text(out, text.len());
                out.extend_from_slice(text);
            }
        }
    }

    /// How many bytes [`write_text`](Self::write_text) adds.
    pub(in crate::kinesis) fn text_len(self, text: &[u8]) -> usize {
        match self {
            Protocol::Json => json::string_len(text),
            Protocol::Cbor => cbor::head_len(text.len() as u64) + text.len(),
        }
    }

    pub(in crate::kinesis) fn write_unsigned(self, out: &mut Vec<u8>, value: u64) {
        match self {
            Protocol::Json => write_decimal(out, value, count_digits(value)),
            Protocol::Cbor => cbor::write_unsigned(out, value),
        }
    }

    pub(in crate::kinesis) fn write_timestamp(self, out: &mut Vec<u8>, timestamp: Timestamp) {
        let milliseconds = timestamp.as_millis();
        match self {
            Protocol::Json => {
                self.write_unsigned(out, milliseconds / 1000);
                out.push(b'.');
                write_decimal(out, milliseconds % 1000, 3);
            }
            Protocol::Cbor => cbor::write_time(out, milliseconds),
        }
    }

    /// Begins a blob of `len` bytes. They follow in one part or several, and then its end.
    pub(in crate::kinesis) fn begin_blob(self, out: &mut Vec<u8>, len: usize) {
        match self {
            Protocol::Json => out.push(b'"'),
            Protocol::Cbor => cbor::begin_bytes(out, len),
        }
    }

    /// A part of a blob, whose length is a multiple of three unless it is the last one.
    pub(in crate::kinesis) fn write_part_of_blob(self, out: &mut Vec<u8>, part: &[u8]) {
        match self {
            Protocol::Json => BASE64.encode_append(part, out),
            Protocol::Cbor => out.extend_from_slice(part),
        }
    }

    /// How many bytes of a blob fit into `room` as one part.
    pub(in crate::kinesis) fn part_of_blob_for(self, room: usize) -> usize {
        match self {
            Protocol::Json => room / 4 * 3,
            Protocol::Cbor => room,
        }
    }

    pub(in crate::kinesis) fn end_blob(self, out: &mut Vec<u8>) {
        match self {
            Protocol::Json => out.push(b'"'),
            Protocol::Cbor => {}
        }
    }

    /// How many bytes a blob of `len` bytes takes.
    pub(in crate::kinesis) fn blob_len(self, len: usize) -> usize {
        match self {
            Protocol::Json => len.div_ceil(3) * 4 + 2,
            Protocol::Cbor => cbor::head_len(len as u64) + len,
        }
    }
}

/// The last digits of a number, at most twenty.
fn write_decimal(out: &mut Vec<u8>, value: u64, digits: usize) {
    let mut text = [0; 20];
    let text = &mut text[..digits];
    write_last_digits(value, text);
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOTH: [Protocol; 2] = [Protocol::Json, Protocol::Cbor];

    #[test]
    fn every_character_takes_as_much_room_as_was_said() {
        for character in (0..0x300).chain([0x2028, 0xd7ff, 0xe000, 0xffff, 0x1f980, 0x10ffff]) {
            let character = char::from_u32(character).unwrap();
            for text in [
                format!("{character}"),
                format!("before {character}{character} behind"),
            ] {
                for protocol in BOTH {
                    let mut out = Vec::new();
                    protocol.write_text(&mut out, text.as_bytes());
                    assert_eq!(out.len(), protocol.text_len(text.as_bytes()), "{text:?}");
                }
                let mut out = Vec::new();
                Protocol::Json.write_text(&mut out, text.as_bytes());
                assert_eq!(out, serde_json::to_vec(&text).unwrap(), "{text:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn texts_are_written_as_serde_writes_them(text: String) {
            let mut out = Vec::new();
            Protocol::Json.write_text(&mut out, text.as_bytes());
            prop_assert_eq!(out.len(), Protocol::Json.text_len(text.as_bytes()));
            prop_assert_eq!(out, serde_json::to_vec(&text).unwrap());
        }

        #[test]
        fn numbers_and_times_are_written_as_formatting_does(value: u64, shift in 0..64u32) {
            let value = value >> shift;
            let mut out = Vec::new();
            Protocol::Json.write_unsigned(&mut out, value);
            out.push(b' ');
            Protocol::Json.write_timestamp(&mut out, Timestamp::from_millis(value));
            let expected = format!("{value} {}.{:03}", value / 1000, value % 1000);
            prop_assert_eq!(String::from_utf8(out).unwrap(), expected);
        }

        #[test]
        fn a_blob_in_parts_is_the_whole_one(bytes: Vec<u8>, room in 4..40usize) {
            for protocol in BOTH {
                let mut whole = Vec::new();
                protocol.begin_blob(&mut whole, bytes.len());
                protocol.write_part_of_blob(&mut whole, &bytes);
                protocol.end_blob(&mut whole);
                let mut parts = Vec::new();
                protocol.begin_blob(&mut parts, bytes.len());
                for part in bytes.chunks(protocol.part_of_blob_for(room)) {
                    protocol.write_part_of_blob(&mut parts, part);
                }
                protocol.end_blob(&mut parts);
                prop_assert_eq!(whole.len(), protocol.blob_len(bytes.len()));
                prop_assert_eq!(parts, whole);
            }
        }
    }
}
