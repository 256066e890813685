//! Records that were given out and are not done with.

use std::collections::BTreeSet;

use crate::model::{RecordNumber, ShardId, Timestamp};

/// The delivery of a record whose last delivery was undone. Real deliveries have higher numbers.
pub(super) const NO_DELIVERY: u64 = 0;

/// A record that was given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) arrival: Timestamp,
    /// `None` after it was restored, or after its only delivery was given back.
    pub(super) first_received: Option<Timestamp>,
    pub(super) receive_count: u32,
    /// The last delivery, or [`NO_DELIVERY`].
    pub(super) delivery: u64,
    pub(super) is_dead: bool,
    /// Until when it is held back, or since when it is not, in ms of the monotonic clock.
    pub(super) moment: u64,
    pub(super) is_held: bool,
}

impl Given {
    /// Undoes `delivery`, if it is the last one: the record is free since `now`, and it is a dead letter only if it was
    /// given out as one. A record that became a dead letter by this delivery is none any more.
    pub(super) fn take_back(&mut self, delivery: u64, is_dead_letter: bool, now: u64) {
        if self.delivery != delivery {
            return;
        }
        self.receive_count = self.receive_count.saturating_sub(1);
        self.first_received = self.first_received.filter(|_| self.receive_count > 0);
        // Neither this receipt nor an earlier one is valid for it.
        self.delivery = NO_DELIVERY;
        self.is_dead = is_dead_letter;
        self.is_held = false;
        self.moment = now;
    }
}

/// The records that were given out, or the dead letters, by their moments.
#[derive(Clone, Debug, Default)]
pub(super) struct GivenOut {
    /// Held back until their moments.
    pub(super) held: BTreeSet<(u64, ShardId, RecordNumber)>,
    /// Due to be given out again.
    pub(super) ready: BTreeSet<(u64, ShardId, RecordNumber)>,
}

impl GivenOut {
    pub(super) fn len(&self) -> usize {
        self.held.len() + self.ready.len()
    }

    pub(super) fn set_of(&mut self, given: &Given) -> &mut BTreeSet<(u64, ShardId, RecordNumber)> {
        match given.is_held {
            true => &mut self.held,
            false => &mut self.ready,
        }
    }
}
