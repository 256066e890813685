//! JSON and CBOR, written without the tested code.

use base64_simd::STANDARD as BASE64;
use serde_json::{Map, Value, json};

use super::input::Made;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Json,
    Cbor,
}

impl Encoding {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Encoding::Json => "application/x-amz-json-1.1",
            Encoding::Cbor => "application/x-amz-cbor-1.1",
        }
    }
}

pub(super) fn encode(value: &Made, encoding: Encoding) -> Vec<u8> {
    match encoding {
        Encoding::Json => json(value).to_string().into_bytes(),
        Encoding::Cbor => {
            let mut bytes = Vec::new();
            cbor(value, &mut bytes);
            bytes
        }
    }
}

fn json(value: &Made) -> Value {
    match value {
        Made::Null => Value::Null,
        Made::Boolean(value) => json!(value),
        Made::Number(number) => json!(number),
        Made::Text(text) => json!(text),
        Made::Blob(bytes) => json!(BASE64.encode_to_string(bytes)),
        Made::Time(milliseconds) => json!(*milliseconds as f64 / 1000.0),
        Made::List(values) => values.iter().map(json).collect(),
        Made::Map(members) => {
            let members = members.iter();
            let members: Map<_, _> = members.map(|(name, value)| (name.clone(), json(value))).collect();
            Value::Object(members)
        }
    }
}

const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const LIST: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;
const FALSE: u8 = 0xf4;
const TRUE: u8 = 0xf5;
const NULL: u8 = 0xf6;
const TIME: u64 = 1;

fn cbor(value: &Made, out: &mut Vec<u8>) {
    match value {
        Made::Null => out.push(NULL),
        Made::Boolean(false) => out.push(FALSE),
        Made::Boolean(true) => out.push(TRUE),
        Made::Number(number) => cbor_number(*number, out),
        Made::Text(text) => {
            cbor_head(TEXT, text.len() as u64, out);
            out.extend_from_slice(text.as_bytes());
        }
        Made::Blob(bytes) => {
            cbor_head(BYTES, bytes.len() as u64, out);
            out.extend_from_slice(bytes);
        }
        Made::Time(milliseconds) => {
            cbor_head(TAG, TIME, out);
            cbor_number(*milliseconds, out);
        }
        Made::List(values) => {
            cbor_head(LIST, values.len() as u64, out);
            for value in values {
                cbor(value, out);
            }
        }
        Made::Map(members) => {
            cbor_head(MAP, members.len() as u64, out);
            for (name, value) in members {
                cbor_head(TEXT, name.len() as u64, out);
                out.extend_from_slice(name.as_bytes());
                cbor(value, out);
            }
        }
    }
}

fn cbor_number(number: i64, out: &mut Vec<u8>) {
    match u64::try_from(number) {
        Ok(number) => cbor_head(UNSIGNED, number, out),
        // CBOR encodes -1 as 0 here.
        Err(_) => cbor_head(NEGATIVE, !number as u64, out),
    }
}

fn cbor_head(kind: u8, value: u64, out: &mut Vec<u8>) {
    let kind = kind << 5;
    match value {
        0..=23 => out.push(kind | value as u8),
        24..=0xff => out.extend_from_slice(&[kind | 24, value as u8]),
        0x100..=0xffff => {
            out.push(kind | 25);
            out.extend_from_slice(&(value as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(kind | 26);
            out.extend_from_slice(&(value as u32).to_be_bytes());
        }
        _ => {
            out.push(kind | 27);
            out.extend_from_slice(&value.to_be_bytes());
        }
    }
}
