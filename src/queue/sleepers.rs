//! Who waits for records of a queue, and who of them is woken.
//!
//! One of those who sleep is on the lookout: it alone hears of what is put, and has a timer for what is given out again. So
//! a record wakes one consumer, however many wait. A consumer that is given something wakes the next one, which looks too
//! and is on the lookout once it finds nothing; so more are woken only as long as each of them finds something. One that
//! was to look and leaves instead wakes the next one too.
//!
//! What holds: while some sleep, one of them is on the lookout, or one is awake that is still to look or to leave. A
//! lookout has begun to hear before it looked in vain, so nothing that has come since is missed, by it or for the others.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::seam::Signal;
use crate::sync::Mutex;

/// Those who wait for records of a queue, or for its dead letters.
#[derive(Debug, Default)]
pub(super) struct Sleepers(Mutex<Places>);

#[derive(Debug, Default)]
struct Places {
    lookout: Option<Arc<Signal>>,
    /// In the order in which they fell asleep.
    others: VecDeque<Arc<Signal>>,
}

/// The place of one who sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Lookout,
    /// It is woken by those who are awake, and by the end of the queue.
    Other,
}

impl Sleepers {
    pub(super) fn has_lookout(&self) -> bool {
        self.0.lock().lookout.is_some()
    }

    /// Has this one sleep, on the lookout if there is none. `None` if it is needed there and hears nothing.
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

    /// This one sleeps no more. Says whether it is to look: it was on the lookout, or was woken.
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

    /// Wakes the one that has slept for longest, unless one is on the lookout.
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

    /// Wakes all but the lookout, which hears for itself.
    pub(super) fn wake_others(&self) {
        let others = std::mem::take(&mut self.0.lock().others);
        others.iter().for_each(|signal| signal.raise());
    }
}
