//! The catalog's log of edits: one subject, on which one opener writes at a time.
//!
//! A list of edits, or a snapshot, is one message or several parts, of which all come one behind the other; parts that
//! are not complete are passed over. An opener of the store says so there. From then on what another one sends is
//! refused, since it does not know of that message.

use std::sync::Arc;

use bytes::{BufMut, Bytes};
use tokio::time::sleep;

use super::api::Failure;
use super::chain::Chain;
use super::envelope::{ENVELOPE_BYTES, Envelope, Fields, Kind, seal};
use super::shared::{PAUSE, Shared};
use crate::catalog::{CatalogState, Edit, EditLog, Revision, decode_edits, encode_edits};
use crate::error::{Error, Result};

/// A part has at most so many bytes.
const PART_BYTES: usize = 1024 * 1024;

/// A snapshot takes the place of the edits when they have twice its bytes, and more than this.
const FEWEST_BYTES: usize = 1024 * 1024;

#[derive(Debug)]
pub(super) struct ClusterEdits {
    shared: Arc<Shared>,
    /// The sequence of the last message.
    last: u64,
    revision: Revision,
    /// What the edits so far led to, until it is taken.
    opened: Option<CatalogState>,
    bytes: usize,
    snapshot_bytes: usize,
    stopped: Option<Error>,
}

impl ClusterEdits {
    /// Reads all edits, and takes over from the opener that wrote them. A store that is not there yet is made:
    /// `make_first` gives it its number and its secret. `seen` is the last message that the caller knows of, if it does:
    /// another one has come meanwhile if that is not the last.
    ///
    /// # Errors
    /// [`Error::Fenced`] if another opener does the same at this time; what the cluster, or a damaged message, keeps
    /// from being read.
    pub(super) fn take_over(
        shared: Arc<Shared>,
        seen: Option<u64>,
        make_first: impl FnOnce() -> Result<(u128, [u8; 32])>,
    ) -> Result<Self> {
        let last = Self::last_sequence(&shared)?;
        if seen.is_some_and(|seen| seen != last) {
            return Err(shared.fence());
        }
        let mut edits = Self {
            shared,
            last,
            revision: Revision(0),
            opened: None,
            bytes: 0,
            snapshot_bytes: 0,
            stopped: None,
        };
        if last == 0 {
            let (store, secret) = make_first()?;
            edits.put_in_parts(Kind::Edits, &[Edit::StoreCreated { store, secret }])?;
        }
        edits.opened = Some(edits.read_all()?);
        edits.put(Kind::Opened, Vec::new())?;
        Ok(edits)
    }

    /// The sequence of the last message, 0 if there is none.
    pub(super) fn last_sequence(shared: &Arc<Shared>) -> Result<u64> {
        let of_task = shared.clone();
        shared.cluster.run(async move { last_sequence(&of_task).await })?
    }

    /// Of an opener that has just taken over: the sequence of the message that says so.
    pub(super) fn term(&self) -> u64 {
        self.last
    }

    fn read_all(&mut self) -> Result<CatalogState> {
        let (shared, last) = (self.shared.clone(), self.last);
        let read = self
            .shared
            .cluster
            .run(async move { read(&shared, last).await })??;
        (self.bytes, self.snapshot_bytes) = (read.bytes, read.snapshot_bytes);
        CatalogState::from_snapshot(&read.edits).map_err(|reason| {
            let names = &self.shared.names;
            self.shared
                .corrupt(&names.catalog_stream(), &names.edits(), 0, reason)
        })
    }

    /// Gives how many bytes that took.
    fn put_in_parts(&mut self, kind: Kind, edits: &[Edit]) -> Result<usize> {
        let bytes = encode_edits(edits).map_err(Error::bad_change)?;
        let parts = bytes.chunks(PART_BYTES);
        let count = parts.len() as u32;
        for (part, bytes) in (0_u32..).zip(parts) {
            let mut content = Vec::with_capacity(bytes.len() + 8);
            content.put_u32_le(part);
            content.put_u32_le(count);
            content.extend_from_slice(bytes);
            self.put(kind, content)?;
        }
        Ok(bytes.len())
    }

    /// Appends a message. What is not known to be done is waited for, since all that follows depends on it: for as long
    /// as the store is open.
    fn put(&mut self, kind: Kind, content: Vec<u8>) -> Result<()> {
        let (shared, last) = (self.shared.clone(), self.last);
        let put = self
            .shared
            .cluster
            .run(async move { put(&shared, kind, last, &content).await });
        match put? {
            Ok(sequence) => {
                self.last = sequence;
                Ok(())
            }
            Err(Unwritten::Refused(error)) => Err(error),
            // A shard must not go on that this edit may have closed.
            Err(Unwritten::Unknown(error)) => Err(self.shared.stop(error)),
        }
    }

    fn free_before(&self, sequence: u64) {
        let shared = self.shared.clone();
        // If this fails it is done with the next snapshot.
        let _ = self.shared.cluster.run(async move {
            let (stream, subject) = (shared.names.catalog_stream(), shared.names.edits());
            shared.api.purge_before(&stream, &subject, sequence).await
        });
    }
}

impl EditLog for ClusterEdits {
    fn load(&mut self) -> Result<(CatalogState, Revision)> {
        let state = match self.opened.take() {
            Some(state) => state,
            None => self.read_all()?,
        };
        Ok((state, self.revision))
    }

    fn check(&self) -> Result<()> {
        self.shared.check()?;
        self.stopped.clone().map_or(Ok(()), Err)
    }

    fn append(&mut self, edits: &[Edit], expected: Revision) -> Result<Revision> {
        self.check()?;
        if expected != self.revision {
            return Err(self.stop("an edit was made of an earlier state"));
        }
        let before = self.last;
        match self.put_in_parts(Kind::Edits, edits) {
            Ok(bytes) => {
                self.bytes += bytes;
                self.revision = self.revision.next();
                Ok(self.revision)
            }
            Err(error) => {
                // Parts of a list that came to nothing are passed over, but the log is not where it was.
                match self.last == before {
                    true => Err(error),
                    false => Err(self.shared.stop(error)),
                }
            }
        }
    }

    fn offer_snapshot(&mut self, state: &CatalogState) -> Result<()> {
        if self.bytes <= FEWEST_BYTES.max(2 * self.snapshot_bytes) {
            return Ok(());
        }
        let snapshot: Vec<_> = state.snapshot().collect();
        let before = self.last;
        match self.put_in_parts(Kind::Snapshot, &snapshot) {
            Ok(bytes) => {
                (self.snapshot_bytes, self.bytes) = (bytes, bytes);
                self.free_before(before + 1);
                Ok(())
            }
            // Nothing of it is there, and the edits before it are. It is tried again with the next edit.
            Err(_) if self.last == before && self.shared.check().is_ok() => Ok(()),
            Err(error) => Err(self.shared.stop(error)),
        }
    }

    fn stop(&mut self, reason: &'static str) -> Error {
        self.stopped
            .get_or_insert_with(|| Error::bad_change(reason))
            .clone()
    }
}

/// Why a message is not on the subject, as far as that is known.
enum Unwritten {
    Refused(Error),
    Unknown(Error),
}

async fn put(shared: &Shared, kind: Kind, last: u64, content: &[u8]) -> Result<u64, Unwritten> {
    const OPERATION: &str = "write an edit";
    let subject = shared.names.edits();
    let author = shared.next_author();
    let mut message = vec![0; ENVELOPE_BYTES];
    message.extend_from_slice(content);
    seal(&mut message, &subject, kind, author, last);
    let message = Bytes::from(message);
    let mut is_sent = false;
    loop {
        let failure = match shared.api.append(&subject, last, message.clone()).await {
            Ok(sequence) => return Ok(sequence),
            Err(failure) => failure,
        };
        if let Failure::NoRoom | Failure::Refused(_) = failure
            && !is_sent
        {
            return Err(Unwritten::Refused(failure.into_error(OPERATION)));
        }
        is_sent |= !matches!(failure, Failure::WrongLastSequence | Failure::AppendInFlight);
        if shared.is_final(&failure) {
            return Err(Unwritten::Unknown(failure.into_error(OPERATION)));
        }
        let newest = shared.api.last(&shared.names.catalog_stream(), &subject).await;
        match newest {
            Ok(Some(newest)) => match shared.author_of(&newest, &subject) {
                Some(newest_author) if newest_author == author => return Ok(newest.sequence),
                Some(newest_author) if newest.sequence > last && !shared.is_own(newest_author) => {
                    return Err(Unwritten::Unknown(shared.fence()));
                }
                // A message that this opener was told was not stored is there after all.
                Some(_) if newest.sequence > last => {
                    return Err(Unwritten::Unknown(failure.into_error(OPERATION)));
                }
                // An old leader may not know of the last message, or the message has yet to come.
                _ => {}
            },
            Ok(None) => {}
            Err(failure) if shared.is_final(&failure) => {
                return Err(Unwritten::Unknown(failure.into_error(OPERATION)));
            }
            Err(_) => {}
        }
        sleep(PAUSE).await;
    }
}

async fn last_sequence(shared: &Shared) -> Result<u64> {
    let names = &shared.names;
    let last = shared.last_known(&names.catalog_stream(), &names.edits()).await?;
    Ok(last.map_or(0, |last| last.sequence))
}

struct ReadEdits {
    edits: Vec<Edit>,
    bytes: usize,
    snapshot_bytes: usize,
}

/// All edits since the last snapshot, and that.
async fn read(shared: &Shared, last: u64) -> Result<ReadEdits> {
    let (stream, subject) = (shared.names.catalog_stream(), shared.names.edits());
    let chain = Chain {
        stream: &stream,
        subject: &subject,
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
    use super::*;
    use crate::model::StreamId;

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
