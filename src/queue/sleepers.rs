//! Which of the callers that wait for records of a queue are woken.
//!
//! One of the sleeping callers is on the lookout: it alone gets the signals of shards, and has a timer for records that
//! are given out again. So a record wakes one consumer, however many wait. A consumer that gets a record wakes the next
//! one, which looks too, and goes on the lookout if it finds nothing. So callers are woken only as long as each of them
//! finds something. A woken caller that leaves without a look wakes the next one too.
//!
//! Invariant: while some sleep, one of them is on the lookout, or one is awake that still has to look or to leave. A
//! lookout subscribes to the signals before its last look, so neither it nor the others miss anything later.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::seam::Signal;
use crate::sync::Mutex;

/// Callers that wait for records of a queue, or for its dead letters.
#[derive(Debug, Default)]
pub(super) struct Sleepers(Mutex<Places>);

#[derive(Debug, Default)]
struct Places {
    lookout: Option<Arc<Signal>>,
    /// In the order in which they fell asleep.
    others: VecDeque<Arc<Signal>>,
}

/// The place of a sleeping caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Lookout,
    /// It is woken by callers that are awake, and by the end of the queue.
    Other,
}

impl Sleepers {
    pub(super) fn has_lookout(&self) -> bool {
        self.0.lock().lookout.is_some()
    }

    /// Puts this caller to sleep, on the lookout if there is none. `None` if it would have to be the lookout and does
    /// not hear the signals.
    pub(super) fn fall_asleep(&self, signal: &Arc<Signal>, hears: bool) -> Option<Place> {
        let mut places = self.0.lock();
        if places.lookout.is_some() {
            places.others.push_back(signal.clone());
            return Some(Place::Other);
        }
        hears.then(|| {
            places.lookout = Some(signal.clone());
            Place::Lookout
        })
    }

    /// Ends this caller's sleep. Returns whether it has to look: it was on the lookout, or was woken.
    pub(super) fn wake_up(&self, signal: &Arc<Signal>) -> bool {
        let mut places = self.0.lock();
        let is_it = |other: &Arc<Signal>| Arc::ptr_eq(other, signal);
        if places.lookout.as_ref().is_some_and(is_it) {
            places.lookout = None;
            return true;
        }
        match places.others.iter().position(is_it) {
            Some(at) => {
                places.others.remove(at);
                false
            }
            None => true,
        }
    }

    /// Wakes the caller that has slept for longest, unless one is on the lookout.
    pub(super) fn wake_next(&self) {
        let mut places = self.0.lock();
        let next = match places.lookout {
            Some(_) => None,
            None => places.others.pop_front(),
        };
        drop(places);
        if let Some(next) = next {
            next.raise();
        }
    }

    /// Wakes all but the lookout, which has its own signal.
    pub(super) fn wake_others(&self) {
        let others = std::mem::take(&mut self.0.lock().others);
        others.iter().for_each(|signal| signal.raise());
    }
}
