//! How requests and replies look as bytes: JSON, or CBOR.
//!
//! A request body becomes a [`Document`], which knows nothing of operations; a reply is written through a
//! [`Writer`], straight into the bytes that go out. Both hide which of the two encodings is spoken.

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

/// How many values a document can have. No legal request comes near it, and a body of twenty million nulls, each of
/// which would take many times its size in memory, does not get far.
const MOST_VALUES: u32 = 100_000;

/// The body is not of the encoding that its content type promised, or is out of all proportion.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotADocument;

/// A time in seconds as milliseconds, the least or the greatest if it is beyond those. `None` if it is no number.
pub(super) fn milliseconds(seconds: f64) -> Option<i64> {
    (!seconds.is_nan()).then(|| (seconds * 1000.0).round() as i64)
}

/// A request body before it is held against an operation's shape.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Document<'a> {
    Null,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    String(Cow<'a, str>),
    /// A blob that came as bytes (CBOR).
    Bytes(Cow<'a, [u8]>),
    /// A timestamp that came as one (CBOR), in milliseconds since 1970.
    Milliseconds(i64),
    List(Vec<Document<'a>>),
    /// In the order of the body; of members with the same name the last one counts.
    Map(Vec<(Cow<'a, str>, Document<'a>)>),
}
