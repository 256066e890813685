//! The catalog's log of edits: one subject, on which one opener writes at a time.
//!
//! A list of edits, or a snapshot, is one message or several parts, of which all come one behind the other; parts that
//! are not complete are passed over. An opener of the store says so there. From then on what another one sends is
//! refused, since it does not know of that message.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use bytes::BufMut;
use tokio::time::Instant;

use super::certain::Watched;
use super::edit_reads::{PART_BYTES, read};
use super::edit_writes::{OPERATION, Unwritten, put};
use super::envelope::Kind;
use super::shared::{LEADER_LIMIT, Shared};
use crate::catalog::{CatalogState, Edit, EditLog, Revision, encode_edits};
use crate::error::{Error, Result};
use crate::sync::Mutex;

/// A snapshot takes the place of the edits when they have twice its bytes, and more than this.
const FEWEST_BYTES: usize = 1024 * 1024;

/// How long the caller of a change waits. What is not answered by then is tried further without it.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

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
    /// What was not answered in time, and is still tried.
    under_way: Option<UnderWay>,
    stopped: Option<Error>,
}

/// A list of edits, or a snapshot, of which a part was not answered in time. It is not known whether that is on the
/// subject, so it is sent until it is: nothing else is written before.
#[derive(Debug)]
struct UnderWay {
    outcome: Mutex<Receiver<Result<u64, Unwritten>>>,
    list: PartList,
}

/// A list in parts.
#[derive(Debug)]
struct PartList {
    kind: Kind,
    /// Nothing, of a snapshot.
    edits: Vec<Edit>,
    bytes: usize,
    /// Those that are not written yet.
    parts: VecDeque<Vec<u8>>,
    /// The last message before the list.
    before: u64,
}

impl ClusterEdits {
    /// Reads all edits, and takes over from the opener that wrote them. A store that is not there yet is made:
    /// `make_first` gives it its number and its secret. `may_be_new` says that nothing was ever written: where it is not
    /// so and nothing is found, that is damage, and no store is put in place of the one that was there. `seen` is the last
    /// message that the caller knows of, if it does: another one has come meanwhile if that is not the last.
    ///
    /// # Errors
    /// [`Error::Fenced`] if another opener does the same at this time; what the cluster, or a damaged message, keeps
    /// from being read.
    pub(super) fn take_over(
        shared: Arc<Shared>,
        may_be_new: bool,
        seen: Option<u64>,
        make_first: impl FnOnce() -> Result<(u128, [u8; 32])>,
    ) -> Result<Self> {
        let last = Self::last_sequence(&shared, may_be_new)?;
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
            under_way: None,
            stopped: None,
        };
        if last == 0 {
            let (store, secret) = make_first()?;
            edits.put_list(Kind::Edits, vec![Edit::StoreCreated { store, secret }])?;
        }
        edits.opened = Some(edits.read_all()?);
        let opened = edits.begin_put(Kind::Opened, Vec::new());
        let opened = opened.recv_timeout(ANSWER_LIMIT);
        edits.note_put(opened.map_err(|_| not_answered("it has not answered in 30 s"))?)?;
        Ok(edits)
    }

    /// The sequence of the last message, 0 if there is none.
    pub(super) fn last_sequence(shared: &Arc<Shared>, may_be_new: bool) -> Result<u64> {
        let of_task = shared.clone();
        shared
            .cluster
            .run(async move { last_sequence(&of_task, may_be_new).await })?
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
        CatalogState::from_snapshot(read.edits).map_err(|reason| {
            let names = &self.shared.names;
            self.shared
                .corrupt(&names.catalog_stream(), &names.edits(), 0, reason)
        })
    }

    /// Writes a list, or begins to: if this fails it may still be under way.
    fn put_list(&mut self, kind: Kind, edits: Vec<Edit>) -> Result<()> {
        let bytes = encode_edits(&edits).map_err(Error::bad_change)?;
        let chunks = bytes.chunks(PART_BYTES);
        let count = chunks.len() as u32;
        let parts = (0_u32..).zip(chunks).map(|(part, chunk)| {
            let mut content = Vec::with_capacity(chunk.len() + 8);
            content.put_u32_le(part);
            content.put_u32_le(count);
            content.extend_from_slice(chunk);
            content
        });
        let list = PartList {
            kind,
            edits: if kind == Kind::Edits { edits } else { Vec::new() },
            bytes: bytes.len(),
            parts: parts.collect(),
            before: self.last,
        };
        self.put_rest(list).map(drop)
    }

    /// Writes the parts that are not written yet. Gives the list back.
    fn put_rest(&mut self, mut list: PartList) -> Result<PartList> {
        while let Some(content) = list.parts.pop_front() {
            let outcome = self.begin_put(list.kind, content);
            match outcome.recv_timeout(ANSWER_LIMIT) {
                Ok(put) => self.note_put(put)?,
                Err(RecvTimeoutError::Timeout) => {
                    self.shared.note_doubt(true);
                    self.under_way = Some(UnderWay {
                        outcome: Mutex::new(outcome),
                        list,
                    });
                    return Err(not_answered(
                        "it has not answered in 30 s; the change may still be made",
                    ));
                }
                Err(RecvTimeoutError::Disconnected) => return Err(Error::Closed),
            }
        }
        match list.kind {
            Kind::Snapshot => {
                (self.snapshot_bytes, self.bytes) = (list.bytes, list.bytes);
                self.free_before(list.before + 1);
            }
            _ => self.bytes += list.bytes,
        }
        Ok(list)
    }

    /// Appends a message. What is not known to be done is tried for as long as the store is open, since all that follows
    /// depends on it.
    fn begin_put(&self, kind: Kind, content: Vec<u8>) -> Receiver<Result<u64, Unwritten>> {
        let (shared, last) = (self.shared.clone(), self.last);
        self.shared
            .cluster
            .begin(async move { put(&shared, kind, last, &content).await })
    }

    fn note_put(&mut self, put: Result<u64, Unwritten>) -> Result<()> {
        match put {
            Ok(sequence) => {
                self.last = sequence;
                Ok(())
            }
            Err(Unwritten::Refused(error)) => Err(error),
            // A shard must not go on that this edit may have closed.
            Err(Unwritten::Unknown(error)) => Err(self.shared.stop(error)),
        }
    }

    /// Why a list is not written of which a part may be.
    fn not_written(&self, before: u64, error: Error) -> Error {
        // Parts of a list that came to nothing are passed over, but the log is not where it was.
        match self.last == before {
            true => error,
            false => self.shared.stop(error),
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
        match self.put_list(Kind::Edits, edits.to_vec()) {
            Ok(()) => {
                self.revision = self.revision.next();
                Ok(self.revision)
            }
            Err(error) if self.under_way.is_some() => Err(error),
            Err(error) => Err(self.not_written(before, error)),
        }
    }

    fn finish(&mut self) -> Result<Option<(Vec<Edit>, Revision)>> {
        let Some(UnderWay { outcome, list }) = self.under_way.take() else {
            return Ok(None);
        };
        let before = list.before;
        let put = outcome.lock().try_recv();
        match put {
            Ok(put) => {
                let finished = self.note_put(put).and_then(|()| self.put_rest(list));
                if self.under_way.is_none() {
                    self.shared.note_doubt(false);
                }
                match finished {
                    Ok(list) if list.edits.is_empty() => Ok(None),
                    Ok(list) => {
                        self.revision = self.revision.next();
                        Ok(Some((list.edits, self.revision)))
                    }
                    Err(error) if self.under_way.is_some() => Err(error),
                    // It is not there after all.
                    Err(_) if self.last == before && self.shared.check().is_ok() => Ok(None),
                    Err(error) => Err(self.not_written(before, error)),
                }
            }
            Err(TryRecvError::Empty) => {
                self.under_way = Some(UnderWay { outcome, list });
                Err(not_answered(
                    "an earlier change is not answered yet, and this one was not begun",
                ))
            }
            Err(TryRecvError::Disconnected) => Err(Error::Closed),
        }
    }

    fn offer_snapshot(&mut self, state: &CatalogState) -> Result<()> {
        if self.bytes <= FEWEST_BYTES.max(2 * self.snapshot_bytes) {
            return Ok(());
        }
        let before = self.last;
        match self.put_list(Kind::Snapshot, state.snapshot().collect()) {
            Ok(()) => Ok(()),
            // Nothing of it is there, or it is still under way, and the edits before it are. It is tried again.
            Err(_) if self.under_way.is_some() => Ok(()),
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

/// The sequence of the last message; 0 of a store that was never made.
async fn last_sequence(shared: &Shared, may_be_new: bool) -> Result<u64> {
    let edits = Watched::edits(shared);
    let deadline = Instant::now() + LEADER_LIMIT;
    if may_be_new && shared.has_never_had(&edits, deadline).await? {
        return Ok(0);
    }
    let last = shared.known_last(&edits, deadline, |last| last.is_some()).await?;
    Ok(last.map_or(0, |last| last.sequence))
}

fn not_answered(reason: &str) -> Error {
    Error::Cluster {
        operation: OPERATION,
        reason: reason.to_owned(),
    }
}
