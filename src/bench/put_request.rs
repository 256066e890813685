//! A PutRecord or PutRecords that is built once, and changed in place for every call.

use base64_simd::{Out, STANDARD};

use super::batch::Batch;
use super::http_client::HttpClient;

/// The length in base64 of a stamp and the two bytes behind it.
const STAMP_CHARS: usize = 24;
const STAMPED_BYTES: usize = 18;

/// Sending costs about as much as a copy, so the measurement is of the server.
#[derive(Debug)]
pub struct PutRequest {
    bytes: Vec<u8>,
    batch: Batch,
    keys: Vec<String>,
    /// Where each record's data and partition key begin.
    places: Vec<(usize, usize)>,
}

impl PutRequest {
    /// Records of at least 18 bytes; the keys are used in turn, and all have one length.
    pub fn new(client: &HttpClient, stream: &str, batch: Batch, keys: Vec<String>) -> Self {
        let mut body = Vec::new();
        let mut places = Vec::new();
        let records = batch.records().count();
        let key = keys.first().map_or("", String::as_str);
        body.extend_from_slice(format!("{{\"StreamName\":\"{stream}\",").as_bytes());
        if records > 1 {
            body.extend_from_slice(b"\"Records\":[");
        }
        for (at, data) in batch.records().enumerate() {
            match (records, at) {
                (1, _) => {}
                (_, 0) => body.push(b'{'),
                _ => body.extend_from_slice(b",{"),
            }
            body.extend_from_slice(b"\"Data\":\"");
            let data_at = body.len();
            STANDARD.encode_append(data, &mut body);
            body.extend_from_slice(b"\",\"PartitionKey\":\"");
            places.push((data_at, body.len()));
            body.extend_from_slice(key.as_bytes());
            body.extend_from_slice(b"\"}");
        }
        let operation = match records {
            1 => "PutRecord",
            _ => {
                body.extend_from_slice(b"]}");
                "PutRecords"
            }
        };
        let mut bytes = client.head(operation, body.len()).into_bytes();
        let head = bytes.len();
        bytes.append(&mut body);
        for (data, key) in &mut places {
            *data += head;
            *key += head;
        }
        Self {
            bytes,
            batch,
            keys,
            places,
        }
    }

    /// The next records' request.
    pub fn next_bytes(&mut self) -> &[u8] {
        let first = self.batch.next as usize;
        self.batch.advance();
        let keys = self.keys.iter().cycle().skip(first % self.keys.len());
        for (((data_at, key_at), record), key) in self.places.iter().zip(self.batch.records()).zip(keys) {
            let chars = &mut self.bytes[*data_at..*data_at + STAMP_CHARS];
            let _ = STANDARD.encode(&record[..STAMPED_BYTES], Out::from_slice(chars));
            self.bytes[*key_at..*key_at + key.len()].copy_from_slice(key.as_bytes());
        }
        &self.bytes
    }

    /// How many records each writer has put, if all requests were answered.
    pub fn records(&self) -> u64 {
        self.batch.next
    }
}
