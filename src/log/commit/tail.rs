//! The records of a log that are not committed yet.

use super::group::Group;
use crate::encryption::KeyFingerprint;
use crate::error::Error;
use crate::model::{RecordNumber, Timestamp};

/// What a log has taken and not yet committed.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) pending: Group,
    /// The number that the next record to be appended gets.
    pub(super) next_record: RecordNumber,
    pub(super) last_arrival: Timestamp,
    pub(super) is_committing: bool,
    /// How many turns have ended: commits, and other steps that keep writers out.
    pub(super) turns: u64,
    pub(super) is_sealed: bool,
    /// Bytes of records for which room is reserved here ([`Reservation`](super::append::Reservation)).
    pub(super) reserved: usize,
    /// Whether the ledger knows that this log is being written to. Until it does, a crash lets the numbers from here on
    /// be given to other records, so no caller sees one.
    pub(super) is_announced: bool,
    /// Threads that wait for a group of either parity, so that no thread is woken without need.
    pub(super) waiting: [usize; 2],
    /// Why records that were acknowledged from memory cannot be written at the moment.
    pub(super) stalled: Option<Error>,
    /// The key for records that are acknowledged from memory, and the revision of the keys at which it was asked for.
    pub(super) key: (Option<u64>, Option<KeyFingerprint>),
    /// How many bytes the last group had, which is the guess for the next one.
    pub(super) usual_bytes: usize,
}

impl Tail {
    pub(super) fn new(next_record: RecordNumber, last_arrival: Timestamp, is_sealed: bool) -> Self {
        Self {
            pending: Group::new(0),
            next_record,
            last_arrival,
            is_committing: false,
            turns: 0,
            is_sealed,
            reserved: 0,
            is_announced: false,
            waiting: [0; 2],
            stalled: None,
            key: (None, None),
            usual_bytes: 0,
        }
    }

    /// Whether nothing is taken in, and nothing will be before the next append.
    pub(super) fn is_idle(&self) -> bool {
        self.is_quiet() && self.reserved == 0 && !self.is_sealed
    }

    /// Whether everything that was taken in is committed.
    pub(super) fn is_quiet(&self) -> bool {
        !self.is_committing && self.pending.is_empty()
    }
}
