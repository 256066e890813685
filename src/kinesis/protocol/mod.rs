//! The encodings of requests and replies: JSON and CBOR.
//!
//! A request body becomes a [`Document`], which knows nothing of operations. A reply is written through a [`Writer`],
//! directly into the bytes that are sent. Both hide the encoding.

mod cbor;
pub(super) mod event_stream;
mod json;
mod value;
mod writer;

use std::borrow::Cow;

pub(super) use writer::Writer;

/// The encodings a client can choose by its content type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// `application/x-amz-json-1.1`: blobs in base64, timestamps as seconds with a fraction.
    Json,
    /// `application/x-amz-cbor-1.1`: blobs as byte strings, timestamps as tag 1 and integer milliseconds.
    Cbor,
}

impl Protocol {
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Protocol::Json => "application/x-amz-json-1.1",
            Protocol::Cbor => "application/x-amz-cbor-1.1",
        }
    }

    /// Reads a whole body. Strings and blobs borrow from it wherever the encoding allows.
    pub(super) fn parse(self, body: &[u8]) -> Result<Document<'_>, NotADocument> {
        match self {
            Protocol::Json => json::parse(body),
            Protocol::Cbor => cbor::parse(body),
        }
    }
}

/// How many values a document can have. No valid request comes near it. A body of twenty million nulls, each of which
/// would take many times its size in memory, is refused early.
const MOST_VALUES: u32 = 100_000;

/// The body does not have the encoding of its content type, or is far too large.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotADocument;

/// A time in seconds as milliseconds, limited to the least and the greatest. `None` if it is no number.
pub(super) fn milliseconds(seconds: f64) -> Option<i64> {
    (!seconds.is_nan()).then(|| (seconds * 1000.0).round() as i64)
}

/// A request body before it is compared with an operation's shape.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Document<'a> {
    Null,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    String(Cow<'a, str>),
    /// A blob in the form of bytes (CBOR).
    Bytes(Cow<'a, [u8]>),
    /// A timestamp in the form of one (CBOR), in milliseconds since 1970.
    Milliseconds(i64),
    List(Vec<Document<'a>>),
    /// In the order of the body; of members with the same name the last one counts.
    Map(Vec<(Cow<'a, str>, Document<'a>)>),
}
