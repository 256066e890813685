//! Reading the catalog's subject.

use super::chain::Chain;
use super::envelope::{Envelope, Fields, Kind};
use super::shared::Shared;
use crate::catalog::{Edit, decode_edits};
use crate::error::Result;

/// A part has at most so many bytes.
pub(super) const PART_BYTES: usize = 1024 * 1024;

/// What was read.
pub(super) struct ReadEdits {
    pub(super) edits: Vec<Edit>,
    pub(super) bytes: usize,
    pub(super) snapshot_bytes: usize,
}

/// All edits since the last snapshot, and that.
pub(super) async fn read(shared: &Shared, last: u64) -> Result<ReadEdits> {
    let (stream, subject) = (shared.names.catalog_stream(), shared.names.edits());
    let probe = shared.names.probe(None);
    let chain = Chain {
        stream: &stream,
        subject: &subject,
        probe: &probe,
        most: 1_000,
        most_bytes: 4 * PART_BYTES,
    };
    let mut parts = Parts::default();
    let mut reached = 0;
    while reached < last {
        let links = chain
            .read(shared, reached + 1, |(_, first)| {
                reached == 0 && is_first_part(first, Kind::Snapshot)
            })
            .await?;
        for (sequence, envelope) in links {
            if reached > 0 && envelope.previous != reached {
                return Err(shared.corrupt(&stream, &subject, sequence, "it does not follow the one before"));
            }
            parts.take(&envelope).map_err(|reason| {
                let reason = format!("its edits cannot be read: {reason}");
                shared.corrupt(&stream, &subject, sequence, &reason)
            })?;
            reached = sequence;
        }
    }
    Ok(parts.read)
}

fn is_first_part(envelope: &Envelope, kind: Kind) -> bool {
    envelope.kind == kind && Fields(&envelope.content).u32() == Some(0)
}

/// Puts lists of edits together from their parts.
struct Parts {
    read: ReadEdits,
    kind: Kind,
    next: u32,
    bytes: Vec<u8>,
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            read: ReadEdits {
                edits: Vec::new(),
                bytes: 0,
                snapshot_bytes: 0,
            },
            kind: Kind::Opened,
            next: 0,
            bytes: Vec::new(),
        }
    }
}

impl Parts {
    fn take(&mut self, envelope: &Envelope) -> Result<(), String> {
        let mut fields = Fields(&envelope.content);
        let part = fields.u32().zip(fields.u32());
        let (Kind::Edits | Kind::Snapshot, Some((part, parts))) = (envelope.kind, part) else {
            self.next = 0;
            return Ok(());
        };
        if part == 0 {
            (self.kind, self.next) = (envelope.kind, 0);
            self.bytes.clear();
        }
        if part != self.next || envelope.kind != self.kind {
            return Err(format!("part {part} does not follow"));
        }
        self.bytes.extend_from_slice(fields.0);
        self.next += 1;
        if self.next < parts {
            return Ok(());
        }
        let bytes = std::mem::take(&mut self.bytes);
        let edits = decode_edits(&bytes)?;
        self.next = 0;
        match self.kind {
            Kind::Snapshot => {
                self.read = ReadEdits {
                    edits,
                    bytes: bytes.len(),
                    snapshot_bytes: bytes.len(),
                };
            }
            _ => {
                self.read.edits.extend(edits);
                self.read.bytes += bytes.len();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::envelope::{ENVELOPE_BYTES, seal};
    use super::*;
    use crate::catalog::encode_edits;
    use crate::model::StreamId;

    use bytes::BufMut;

    fn message(kind: Kind, part: u32, parts: u32, bytes: &[u8]) -> Envelope {
        let mut content = vec![0; ENVELOPE_BYTES];
        content.put_u32_le(part);
        content.put_u32_le(parts);
        content.extend_from_slice(bytes);
        let author = super::super::envelope::Author {
            writer: 1,
            counter: 1,
        };
        seal(&mut content, "s", kind, author, 0);
        Envelope::open(&content.into(), "s").unwrap()
    }

    fn edits(id: u64) -> Vec<u8> {
        let through = StreamId::new(id);
        encode_edits(&[Edit::StreamIdsReserved { through }]).unwrap()
    }

    #[test]
    fn lists_are_put_together_of_their_parts_and_those_that_were_cut_short_are_passed_over() {
        let (first, second) = (edits(1), edits(2));
        let mut parts = Parts::default();
        parts.take(&message(Kind::Edits, 0, 2, &first[..5])).unwrap();
        parts.take(&message(Kind::Edits, 1, 2, &first[5..])).unwrap();
        assert_eq!(parts.read.edits.len(), 1);
        // Its writer did not get on.
        parts.take(&message(Kind::Snapshot, 0, 2, &second[..5])).unwrap();
        parts.take(&message(Kind::Opened, 0, 0, &[])).unwrap();
        parts.take(&message(Kind::Edits, 0, 1, &second)).unwrap();
        assert_eq!(parts.read.edits.len(), 2);
        parts.take(&message(Kind::Snapshot, 0, 1, &second)).unwrap();
        assert_eq!(parts.read.edits.len(), 1);
        assert!(parts.take(&message(Kind::Edits, 1, 2, &second)).is_err());
    }
}
