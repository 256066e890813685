//! One shard's log, which another program writes to.

use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;

use super::follower::Follower;
use crate::backend::ShardLog;
use crate::error::{Error, Result};
use crate::log::{FollowedLog, LogIdentity};
use crate::model::{LogName, PutRecord, RecordNumber, Timestamp};
use crate::seam::{Appended, LogChanges, LogPiece, LogRead, ReadLimit, RecordSink, ShownEnd, Waiting};
use crate::sync::Mutex;

/// How often apparent damage is checked again.
const TRIES: usize = 100;

/// A shard's log. Each use first looks for what the other program has written.
#[derive(Debug)]
pub(super) struct FollowedShard {
    pub(super) name: LogName,
    follower: Arc<Follower>,
    log: FollowedLog,
    seen: Mutex<Seen>,
    /// The last damage that was confirmed, if it still exists.
    damage: Mutex<Option<Error>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    /// The follower's revision at the last look at the log.
    revision: Option<u64>,
    /// How often the list of segments in the manifest has changed.
    lists: u64,
}

impl FollowedShard {
    pub(super) fn new(name: LogName, follower: Arc<Follower>) -> Self {
        let store = follower.catalog.read().store;
        let identity = LogIdentity { store, name };
        let log = FollowedLog::new(identity, follower.directory_of(name), follower.context.clone());
        Self {
            name,
            follower,
            log,
            seen: Mutex::default(),
            damage: Mutex::default(),
        }
    }

    pub(super) fn changes(&self) -> &LogChanges {
        self.log.log().changes()
    }

    pub(super) fn damage(&self) -> Option<Error> {
        self.damage.lock().clone()
    }

    /// Moves the end to where the log ends now, and raises the signals if it moved.
    ///
    /// # Errors
    /// As for [`FollowedLog::advance`].
    pub(super) fn look(&self) -> Result<()> {
        let mut has_changed = self.take_over();
        let advanced = match self.log.is_at_rest() {
            // A log at rest has all of its frames in its segments.
            true => self
                .log
                .advance(|_, _| Some(Bytes::new()))
                .map(Option::unwrap_or_default),
            false => self.advance_by_journal(),
        };
        has_changed |= *advanced.as_ref().unwrap_or(&true);
        // No lock is held any more.
        if has_changed {
            self.changes().notify();
        }
        advanced.map(drop)
    }

    /// As [`Logs::pieces`](crate::backend::Logs::pieces).
    pub(super) fn pieces(&self, from: RecordNumber) -> Result<Vec<LogPiece>> {
        self.settled(|| Ok(self.log.log().pieces(from)))
    }

    /// The journal is read before the segment, so what was written before is in one of them. Frames that another thread
    /// dropped meanwhile have come into the segment, perhaps behind the place where this one looked.
    fn advance_by_journal(&self) -> Result<bool> {
        loop {
            let drops = self.follower.read_journal()?;
            let advanced =
                (self.log).advance(|segment, position| self.follower.journaled(segment, position, drops))?;
            if let Some(has_changed) = advanced {
                return Ok(has_changed);
            }
        }
    }

    /// Takes over the segments and the recorded end from the catalog. Returns whether the segments have changed.
    fn take_over(&self) -> bool {
        let mut seen = self.seen.lock();
        let (revision, segments, rested) = {
            let state = self.follower.catalog.read();
            let revision = Some(self.follower.revision());
            if seen.revision == revision {
                return false;
            }
            let log = state.log(self.name);
            let (segments, rested) = log.map(|log| (log.segments.clone(), log.end)).unwrap_or_default();
            (revision, segments, rested)
        };
        let has_changed = self.log.take_over(&segments, rested);
        seen.revision = revision;
        seen.lists += u64::from(has_changed);
        has_changed
    }

    /// Looks at the log and then calls `find`. Apparent damage may be a segment that was freed meanwhile and whose file
    /// is another one now. So it is believed only if it is found twice under one list of segments.
    fn settled<T>(&self, mut find: impl FnMut() -> Result<T>) -> Result<T> {
        let mut met = None;
        let mut tries = 0;
        loop {
            tries += 1;
            let lists = self.seen.lock().lists;
            let damage = match self.look().and_then(|()| find()) {
                Err(error @ (Error::Corrupt { .. } | Error::Unreadable { .. })) => error,
                found => return found,
            };
            self.follower.catch_up()?;
            self.log.forget_places();
            let is_still_so = !self.take_over() && self.seen.lock().lists == lists;
            let found = (lists, damage.to_string());
            if (is_still_so && met.as_ref() == Some(&found)) || tries == TRIES {
                *self.damage.lock() = Some(damage.clone());
                return Err(damage);
            }
            met = Some(found);
        }
    }
}

impl ShardLog for FollowedShard {
    fn append(&self, _: &[PutRecord<'_>], _: Timestamp, _: Waiting) -> Result<Appended> {
        Err(Error::ReadOnly)
    }

    fn read(
        &self,
        from: RecordNumber,
        horizon: Timestamp,
        limit: &ReadLimit,
        sink: &mut dyn RecordSink,
    ) -> Poll<Result<LogRead>> {
        // A failed read has passed on no record.
        Poll::Ready(self.settled(|| self.log.log().read(from, horizon, limit, sink)))
    }

    fn seek_time(&self, time: Timestamp) -> Poll<Result<RecordNumber>> {
        Poll::Ready(self.settled(|| self.log.log().first_since(time)))
    }

    fn wait_until_fetched(&self) {}

    fn end(&self) -> Result<ShownEnd> {
        self.settled(|| Ok(self.log.end()))
    }

    fn changes(&self) -> &LogChanges {
        FollowedShard::changes(self)
    }
}
