//! JSON 1.1, which every client except Java's uses.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{Document, MOST_VALUES, NotADocument};

pub(super) fn parse(body: &[u8]) -> Result<Document<'_>, NotADocument> {
    let values_left = Cell::new(MOST_VALUES);
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let document = DocumentSeed {
        values_left: &values_left,
    }
    .deserialize(&mut deserializer);
    document
        .and_then(|document| deserializer.end().map(|()| document))
        .map_err(|_| NotADocument)
}

/// Writes a string of this text, which must be UTF-8, with the escapes that JSON demands and no others.
pub(super) fn write_string(out: &mut Vec<u8>, text: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    if needs_no_escape(text) {
        out.extend_from_slice(text);
    } else {
        for byte in text {
            match (*byte, short_escape(*byte)) {
                (_, Some(letter)) => out.extend_from_slice(&[b'\\', letter]),
                (0..0x20, None) => {
                    out.extend_from_slice(b"\\u00");
                    out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
                }
                _ => out.push(*byte),
            }
        }
    }
    out.push(b'"');
}

/// How many bytes [`write_string`] adds.
pub(super) fn string_len(text: &[u8]) -> usize {
    let escaped = |byte: &u8| match (*byte, short_escape(*byte)) {
        (_, Some(_)) => 2,
        (0..0x20, None) => 6,
        _ => 1,
    };
    match needs_no_escape(text) {
        true => text.len() + 2,
        false => text.iter().map(escaped).sum::<usize>() + 2,
    }
}

fn needs_no_escape(text: &[u8]) -> bool {
    // Without an early exit, the compiler checks many bytes in one instruction.
    let escapes = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    !text.iter().fold(false, |any, byte| any | escapes(*byte))
}

/// The letter that stands for this byte behind a backslash.
fn short_escape(byte: u8) -> Option<u8> {
    match byte {
        b'"' | b'\\' => Some(byte),
        b'\n' => Some(b'n'),
        b'\r' => Some(b'r'),
        b'\t' => Some(b't'),
        0x08 => Some(b'b'),
        0x0c => Some(b'f'),
        _ => None,
    }
}

/// Reads one value, and counts how many more there may be.
#[derive(Clone, Copy)]
struct DocumentSeed<'c> {
    values_left: &'c Cell<u32>,
}

impl<'de> DeserializeSeed<'de> for DocumentSeed<'_> {
    type Value = Document<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let left = self.values_left.get().checked_sub(1);
        self.values_left
            .set(left.ok_or_else(|| D::Error::custom("too many values"))?);
        deserializer.deserialize_any(self)
    }
}

/// A member's name, borrowed unless it is written with escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Visitor<'de> for DocumentSeed<'_> {
    type Value = Document<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Document::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Document::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Document::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Document::Integer(i64::try_from(value).unwrap_or(i64::MAX)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Document::Float(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Document::String(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Document::String(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Document::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut map = Vec::new();
        while let Some(Name(name)) = members.next_key::<Name<'de>>()? {
            map.push((name, members.next_value_seed(self)?));
        }
        Ok(Document::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_without_escapes_are_borrowed_from_the_body() {
        let Ok(Document::Map(members)) = parse(br#"{"Data":"aGVsbG8=","Key":"a\nb"}"#) else {
            panic!("an object");
        };
        assert!(matches!(
            &members[0],
            (Cow::Borrowed("Data"), Document::String(Cow::Borrowed("aGVsbG8=")))
        ));
        assert!(matches!(&members[1].1, Document::String(Cow::Owned(text)) if text == "a\nb"));
    }

    #[test]
    fn every_kind_of_value_is_understood() {
        let parsed = parse(br#"[null,true,-3,1.5,18446744073709551615,"s",{}]"#);
        assert_eq!(
            parsed,
            Ok(Document::List(vec![
                Document::Null,
                Document::Boolean(true),
                Document::Integer(-3),
                Document::Float(1.5),
                Document::Integer(i64::MAX),
                Document::String("s".into()),
                Document::Map(Vec::new()),
            ]))
        );
    }

    #[test]
    fn a_body_of_far_too_many_values_is_refused() {
        let values = |count: usize| format!("[{}0]", "0,".repeat(count - 1));
        let most = MOST_VALUES as usize - 1;
        assert!(parse(values(most).as_bytes()).is_ok());
        assert_eq!(parse(values(most + 1).as_bytes()), Err(NotADocument));
    }

    #[test]
    fn what_is_not_json_is_refused() {
        let too_deep = "[".repeat(100_000);
        for body in ["", "{", "{\"a\":}", "hello", "{} {}", "\"\\ud800\"", &too_deep] {
            assert_eq!(parse(body.as_bytes()), Err(NotADocument), "{body:.20}");
        }
        assert_eq!(parse(b"\"\xff\""), Err(NotADocument));
    }
}
