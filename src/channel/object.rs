//! The contents of an object.

use std::io::{self, Write};

use flate2::write::GzEncoder;
use serde::Serialize;

use crate::model::{Compression, Record, RecordFormat, RecordNumber, ShardId, Timestamp};

/// Builds an object from records of one shard, in their order, and a separate one from malformed records.
pub(super) struct ObjectBuilder {
    format: RecordFormat,
    body: Encoder,
    errors: Vec<u8>,
    /// The records in the body.
    pub(super) well_formed: Option<Range>,
    /// The malformed records.
    pub(super) malformed: Option<Range>,
    data_bytes: usize,
}

/// The records of an object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) shard: ShardId,
    pub(super) first: RecordNumber,
    pub(super) last: RecordNumber,
    /// The arrival of the first record.
    pub(super) arrival: Timestamp,
    pub(super) records: usize,
}

/// A malformed record, in a form for people and programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MalformedRecord<'a> {
    error_code: &'static str,
    error_message: String,
    shard_id: String,
    sequence_number: String,
    partition_key: &'a str,
    /// Epoch milliseconds.
    approximate_arrival_timestamp: u64,
    /// Base64.
    data: String,
}

impl ObjectBuilder {
    pub(super) fn new(format: RecordFormat, compression: Compression) -> io::Result<Self> {
        Ok(Self {
            format,
            body: Encoder::new(compression)?,
            errors: Vec::new(),
            well_formed: None,
            malformed: None,
            data_bytes: 0,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.well_formed.is_none() && self.malformed.is_none()
    }

    /// Takes the next record, unless the records would have more bytes than `most_bytes`, or the reports about
    /// malformed ones would. One is always taken.
    pub(super) fn take(&mut self, record: &Record, most_bytes: usize) -> io::Result<bool> {
        let bytes = self.data_bytes.saturating_add(counted_bytes(record));
        let is_full = bytes > most_bytes || self.errors.len() >= most_bytes;
        if is_full && !self.is_empty() {
            return Ok(false);
        }
        self.data_bytes = bytes;
        match check(self.format, &record.data) {
            Ok(()) => {
                Range::extend(&mut self.well_formed, record);
                self.body.write_all(&record.data)?;
                let has_lines = self.format != RecordFormat::Bytes;
                if has_lines && !record.data.ends_with(b"\n") {
                    self.body.write_all(b"\n")?;
                }
            }
            Err(reason) => {
                Range::extend(&mut self.malformed, record);
                self.note_malformed(record, reason)?;
            }
        }
        Ok(true)
    }

    fn note_malformed(&mut self, record: &Record, reason: String) -> io::Result<()> {
        let malformed = MalformedRecord {
            error_code: match self.format {
                RecordFormat::Json => "InvalidJson",
                RecordFormat::Text | RecordFormat::Bytes => "InvalidUtf8",
            },
            error_message: reason,
            shard_id: record.sequence_number.shard_id().to_string(),
            sequence_number: record.sequence_number.to_string(),
            partition_key: record.partition_key.as_str(),
            approximate_arrival_timestamp: record.approximate_arrival.as_millis(),
            data: base64_simd::STANDARD.encode_to_string(&record.data),
        };
        serde_json::to_writer(&mut self.errors, &malformed)?;
        self.errors.push(b'\n');
        Ok(())
    }

    /// The object, and the one with malformed records.
    pub(super) fn finish(self) -> io::Result<(Vec<u8>, Vec<u8>)> {
        Ok((self.body.finish()?, self.errors))
    }
}

/// A record of no bytes counts too, so that an object is limited.
pub(super) fn counted_bytes(record: &Record) -> usize {
    record.data.len().max(1)
}

impl Range {
    fn extend(range: &mut Option<Self>, record: &Record) {
        let number = record.sequence_number.record_number();
        let range = range.get_or_insert(Self {
            shard: record.sequence_number.shard_id(),
            first: number,
            last: number,
            arrival: record.approximate_arrival,
            records: 0,
        });
        range.last = number;
        range.records += 1;
    }
}

fn check(format: RecordFormat, data: &[u8]) -> Result<(), String> {
    match format {
        RecordFormat::Bytes => Ok(()),
        RecordFormat::Text => std::str::from_utf8(data)
            .map(drop)
            .map_err(|error| error.to_string()),
        RecordFormat::Json => {
            // The parser does not check the bytes of strings.
            let text = std::str::from_utf8(data).map_err(|error| error.to_string())?;
            serde_json::from_str::<serde::de::IgnoredAny>(text)
                .map(drop)
                .map_err(|error| error.to_string())
        }
    }
}

/// The end of keys whose template does not set one.
pub(super) fn extension(format: RecordFormat, compression: Compression) -> &'static str {
    match (format, compression) {
        (RecordFormat::Json, Compression::None) => ".json",
        (RecordFormat::Json, Compression::Gzip) => ".json.gz",
        (RecordFormat::Json, Compression::Zstd) => ".json.zst",
        (RecordFormat::Text, Compression::None) => ".txt",
        (RecordFormat::Text, Compression::Gzip) => ".txt.gz",
        (RecordFormat::Text, Compression::Zstd) => ".txt.zst",
        (RecordFormat::Bytes, Compression::None) => ".bin",
        (RecordFormat::Bytes, Compression::Gzip) => ".bin.gz",
        (RecordFormat::Bytes, Compression::Zstd) => ".bin.zst",
    }
}

pub(super) fn content_type(format: RecordFormat, compression: Compression) -> &'static str {
    match (format, compression) {
        (_, Compression::Gzip) => "application/gzip",
        (_, Compression::Zstd) => "application/zstd",
        (RecordFormat::Json, Compression::None) => "application/x-ndjson",
        (RecordFormat::Text, Compression::None) => "text/plain; charset=utf-8",
        (RecordFormat::Bytes, Compression::None) => "application/octet-stream",
    }
}

enum Encoder {
    Plain(Vec<u8>),
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(zstd::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    fn new(compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Self::Plain(Vec::new()),
            Compression::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::default())),
            Compression::Zstd => Self::Zstd(zstd::Encoder::new(Vec::new(), zstd::DEFAULT_COMPRESSION_LEVEL)?),
        })
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Plain(bytes) => Ok(bytes),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl Write for Encoder {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(body) => body.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_text() {
        for (data, is_json) in [
            (&b"{\"a\":\"b\"}"[..], true),
            (b"1", true),
            (b"{\"a\":\"\xff\"}", false),
            (b"{\"a\"}", false),
            (b"", false),
        ] {
            assert_eq!(check(RecordFormat::Json, data).is_ok(), is_json, "{data:?}");
        }
    }
}
