//! Telling the ledger that logs are being written to, before callers see numbers of records that are only in memory.

use super::local_log::LocalLog;
use super::place::{Place, make_all_ready};
use super::tail::Tail;
use crate::disk::{Step, is_left_out};
use crate::error::Result;
use crate::model::RecordNumber;
use crate::sync::MutexGuard;

/// Tells the ledger, in one step, of those of these logs that it does not know to be written to. Each log comes with
/// the bytes of records that it is about to take. What fails here is left to the logs' appends, which try again and
/// report the error.
pub(crate) fn announce_all<'a>(logs: impl Iterator<Item = (&'a LocalLog, usize)>) {
    let announced = logs.filter(|(log, _)| log.is_acknowledged_from_memory());
    let turns: Vec<_> = announced
        .filter_map(|(log, bytes)| Announcement::begin(log, log.tail.lock(), bytes).ok())
        .collect();
    drop(finish_all(turns));
}

/// A log to which nothing can be written before the ledger has it.
struct Announcement<'a> {
    log: &'a LocalLog,
    next_record: RecordNumber,
    bytes: usize,
}

impl LocalLog {
    pub(super) fn has_to_announce(&self, tail: &Tail) -> bool {
        self.is_acknowledged_from_memory()
            && !tail.is_announced
            && !tail.is_sealed
            && !is_left_out(Step::AnnouncedBeforeNumber)
    }

    /// Tells the ledger that this log is being written to, and keeps writers out meanwhile. If another thread does so,
    /// or commits, waits for that thread instead.
    pub(super) fn announce<'a>(
        &'a self,
        tail: MutexGuard<'a, Tail>,
        bytes: usize,
    ) -> Result<MutexGuard<'a, Tail>> {
        match Announcement::begin(self, tail, bytes) {
            Ok(turn) => finish_all(vec![turn]).map(|()| self.tail.lock()),
            Err(tail) if tail.is_committing => Ok(self.wait_for_in_flight(tail)),
            Err(tail) => Ok(tail),
        }
    }
}

impl<'a> Announcement<'a> {
    /// Takes the log's turn, if it has to be announced and the turn is free.
    fn begin(
        log: &'a LocalLog,
        mut tail: MutexGuard<'a, Tail>,
        bytes: usize,
    ) -> Result<Self, MutexGuard<'a, Tail>> {
        if tail.is_committing || !log.has_to_announce(&tail) {
            return Err(tail);
        }
        tail.is_committing = true;
        let next_record = tail.next_record;
        drop(tail);
        Ok(Self {
            log,
            next_record,
            bytes,
        })
    }

    /// The place where the log will be written to, or `None` if the ledger knows of it.
    fn place(&self) -> Result<Option<Place>> {
        self.log.context.resources.health.check()?;
        let mut writer = self.log.writer.lock();
        writer.place_ahead(self.next_record, self.bytes)
    }

    /// The ledger now knows of the place. A segment that is begun ahead reserves its first number, so that another can
    /// follow even if it stays empty.
    fn enter(&self, place: Option<Place>) -> Result<()> {
        let is_begun = matches!(place, Some(Place::Begun(_)));
        if let Some(place) = place {
            self.log.writer.lock().enter(place)?;
        }
        let mut tail = self.log.tail.lock();
        if is_begun {
            tail.next_record = self.next_record.next();
        }
        tail.is_announced = true;
        Ok(())
    }
}

impl Drop for Announcement<'_> {
    fn drop(&mut self) {
        let next = self.log.end_turn(self.log.tail.lock());
        self.log.context.flushers.commit(next);
    }
}

/// Finishes all, and gives the first failure.
fn finish_all(turns: Vec<Announcement<'_>>) -> Result<()> {
    let Some(first) = turns.first() else { return Ok(()) };
    let resources = first.log.context.resources.clone();
    let mut result = Ok(());
    let mut placed = Vec::with_capacity(turns.len());
    for turn in turns {
        match turn.place() {
            Ok(Some(place)) => placed.push((turn, place)),
            Ok(None) => result = result.and(turn.enter(None)),
            Err(error) => result = result.and(Err(error)),
        }
    }
    let mut places: Vec<_> = placed
        .iter_mut()
        .map(|(turn, place)| (turn.log.files.as_ref(), place))
        .collect();
    let ready = make_all_ready(&resources, &mut places, None);
    for ((turn, place), ready) in placed.into_iter().zip(ready) {
        result = result.and(ready.and_then(|()| turn.enter(Some(place))));
    }
    result
}
