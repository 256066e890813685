//! Which streams and shards exist, in what state, and the log of edits that makes it durable.
//!
//! The catalog is a value, [`CatalogState`], that changes only by [`Edit`]s. An edit is planned against the state,
//! appended to the [`EditLog`], and applied, in this order and one list at a time. So everything that the catalog shows
//! is durable. A split or a merge is one edit, so no crash leaves half of it.
//!
//! There are three kinds of facts about a resource (a stream, a consumer, a queue, a channel, an account). Facts that
//! the engine acts on are [`Setting`]s. Facts that only the server shows are attributes, whose bytes have no meaning
//! here. Tags are the third kind.
//!
//! This floor knows the list of each log's segments as the log reports it. It reads no segment. Only the [`manifest`],
//! which is the edit log of a directory, knows files.

mod channel_state;
mod codec;
mod copy;
mod descent;
mod edit;
mod edit_log;
mod followed;
mod gone;
#[cfg(test)]
mod histories;
mod labels;
mod lifecycle;
mod log_state;
pub(crate) mod manifest;
mod queue_state;
mod setting;
mod snapshot;
mod state;
mod stream_state;
#[cfg(test)]
mod tests;
mod told;

pub(crate) use channel_state::ChannelState;
#[cfg(feature = "nats")]
pub(crate) use codec::{decode as decode_edits, encode as encode_edits};
pub(crate) use edit::{Edit, Resource};
pub(crate) use edit_log::{EditLog, Revision};
pub(crate) use lifecycle::{Change, ConsumerLifecycle, Due, Lifecycle, ReaderLifecycle, Steps};
pub(crate) use log_state::{AgeMark, LogState};
pub(crate) use queue_state::QueueState;
pub(crate) use setting::{Setting, StreamKey};
pub(crate) use state::CatalogState;
pub(crate) use stream_state::{ConsumerState, StreamState};
use told::Told;

use std::sync::atomic::Ordering;

use crate::error::{Error, Result};
pub(crate) use crate::log::LogEnd;
use crate::sync::{AtomicBool, AtomicU64, Mutex, OnceLock, RwLock, RwLockReadGuard};

/// The durable truth of a store.
#[derive(Debug)]
pub(crate) struct Catalog {
    state: RwLock<CatalogState>,
    tail: Mutex<Tail>,
    is_closed: AtomicBool,
    is_read_only: AtomicBool,
    /// How often the encryption of any stream was changed.
    encryption_revision: AtomicU64,
    /// Called after a failure for want of room; returns whether it freed some.
    make_room: OnceLock<RoomMaker>,
}

/// Where edits are appended.
#[derive(Debug)]
struct Tail {
    log: Box<dyn EditLog>,
    revision: Revision,
}

struct RoomMaker(Box<dyn Fn(&Error) -> bool + Send + Sync>);

impl std::fmt::Debug for RoomMaker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RoomMaker")
    }
}

impl Catalog {
    /// The catalog that a log of edits leads to.
    ///
    /// # Errors
    /// An error that prevented loading the log.
    pub(crate) fn new(mut log: Box<dyn EditLog>) -> Result<Self> {
        let (state, revision) = log.load()?;
        Ok(Self {
            state: RwLock::new(state),
            tail: Mutex::new(Tail { log, revision }),
            is_closed: AtomicBool::new(false),
            is_read_only: AtomicBool::new(false),
            encryption_revision: AtomicU64::new(0),
            make_room: OnceLock::new(),
        })
    }

    /// Sets what is called before an edit is refused for want of room.
    pub(crate) fn make_room_by(&self, make_room: impl Fn(&Error) -> bool + Send + Sync + 'static) {
        self.make_room.get_or_init(|| RoomMaker(Box::new(make_room)));
    }

    /// Takes no more edits: another opener may have the log once this returns.
    pub(crate) fn close(&self) {
        let _no_edit_is_under_way = self.tail.lock();
        self.is_closed.store(true, Ordering::Release);
    }

    /// Takes no more edits, because the store is only read.
    pub(crate) fn make_read_only(&self) {
        self.is_read_only.store(true, Ordering::Release);
    }

    /// The present state. No edit is applied while the guard is held.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, CatalogState> {
        self.state.read()
    }

    /// Calls `look` with the state while no edit is under way, and none begins.
    pub(crate) fn while_unchanged<T>(&self, look: impl FnOnce(&CatalogState) -> T) -> T {
        let _no_edit = self.tail.lock();
        look(&self.state.read())
    }

    /// Plans edits, makes them durable all together or not at all, and applies them. No other edit comes between.
    ///
    /// # Errors
    /// The plan's, before anything is written; [`Error::StorageFull`], where nothing has changed either;
    /// [`Error::Poisoned`], [`Error::ReadOnly`].
    pub(crate) fn commit(&self, plan: impl FnOnce(&CatalogState) -> Result<Vec<Edit>>) -> Result<()> {
        self.commit_then(plan, || {})
    }

    /// The same, and runs `applied` after the edits are applied and before another edit is planned; not if there are
    /// none. Readers may see the edits before it has run. It must not call the catalog.
    ///
    /// # Errors
    /// As for [`commit`](Self::commit).
    pub(crate) fn commit_then(
        &self,
        plan: impl FnOnce(&CatalogState) -> Result<Vec<Edit>>,
        applied: impl FnOnce(),
    ) -> Result<()> {
        let mut tail = self.tail.lock();
        if self.is_closed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        if self.is_read_only.load(Ordering::Acquire) {
            return Err(Error::ReadOnly);
        }
        tail.log.check()?;
        self.finish_edits(&mut tail)?;
        let edits = plan(&self.state.read())?;
        if edits.is_empty() {
            return Ok(());
        }
        let told = Told::of(&edits, &self.state.read());
        let expected = tail.revision;
        tail.revision = loop {
            match tail.log.append(&edits, expected) {
                Err(error) if error.is_want_of_room() && self.can_make_room_for(&error) => {}
                appended => break appended?,
            }
        };
        self.apply(&mut tail, edits)?;
        applied();
        let offered = tail.log.offer_snapshot(&self.state.read());
        drop(tail);
        told.tell();
        offered
    }

    /// Applies edits whose durability was unknown when they were made, and is known now. Does not wait for an edit that
    /// is being made.
    ///
    /// # Errors
    /// Their durability is still unknown.
    #[cfg(feature = "nats")]
    pub(crate) fn finish(&self) -> Result<()> {
        match self.tail.try_lock() {
            Some(mut tail) => self.finish_edits(&mut tail),
            None => Ok(()),
        }
    }

    fn finish_edits(&self, tail: &mut Tail) -> Result<()> {
        let Some((edits, revision)) = tail.log.finish()? else {
            return Ok(());
        };
        let told = Told::of(&edits, &self.state.read());
        tail.revision = revision;
        self.apply(tail, edits)?;
        told.tell();
        Ok(())
    }

    /// Applies durable edits. A plan made for this state applies to it. If an edit does not apply, this crate has a
    /// defect, and going on would be worse than stopping.
    fn apply(&self, tail: &mut Tail, edits: Vec<Edit>) -> Result<()> {
        let change_encryption = edits.iter().any(Edit::changes_encryption);
        if let Err(reason) = self.state.write().apply_all(edits) {
            return Err(tail.log.stop(reason));
        }
        if change_encryption {
            self.encryption_revision.fetch_add(1, Ordering::Release);
        }
        Ok(())
    }

    /// A number that changes whenever the encryption of a stream changes, for callers that check it often.
    pub(crate) fn encryption_revision(&self) -> u64 {
        self.encryption_revision.load(Ordering::Acquire)
    }

    fn can_make_room_for(&self, failed: &Error) -> bool {
        let make_room = self.make_room.get();
        make_room.is_some_and(|RoomMaker(make_room)| make_room(failed))
    }
}
