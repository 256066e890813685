//! Calls that hang, as they do on a sick device or a lost server.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::calls::{Calls, Operation};
use crate::sync::{Condvar, Mutex};

/// A call of a [`SimDisk`](super::SimDisk) that hangs, made by [`SimDisk::stall_next`](super::SimDisk::stall_next) or
/// [`SimDisk::stall_space`](super::SimDisk::stall_space). When this is dropped, the call goes on as usual.
#[derive(Debug)]
#[must_use = "dropping it ends the stall"]
pub struct Stall {
    stalls: Arc<Stalls>,
}

impl Stall {
    /// Blocks until a call hangs.
    pub fn wait_until_reached(&self) {
        let mut state = self.stalls.state.lock();
        while !state.is_reached {
            state = self.stalls.changed.wait(state);
        }
    }
}

impl Drop for Stall {
    fn drop(&mut self) {
        self.stalls.is_planned.store(false, Ordering::SeqCst);
        *self.stalls.state.lock() = StallState::default();
        self.stalls.changed.notify_all();
    }
}

#[derive(Debug, Default)]
pub(super) struct Stalls {
    /// Every call looks at this. It is no decision for an explorer of schedules.
    is_planned: AtomicBool,
    state: Mutex<StallState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct StallState {
    planned: Option<Planned>,
    is_reached: bool,
}

#[derive(Debug)]
enum Planned {
    Call(Calls, String),
    Space,
}

impl Stalls {
    pub(super) fn plan(self: &Arc<Self>, calls: Calls, path_part: String) -> Stall {
        self.plan_one(Planned::Call(calls, path_part))
    }

    pub(super) fn plan_space(self: &Arc<Self>) -> Stall {
        self.plan_one(Planned::Space)
    }

    fn plan_one(self: &Arc<Self>, planned: Planned) -> Stall {
        self.state.lock().planned = Some(planned);
        self.is_planned.store(true, Ordering::SeqCst);
        Stall { stalls: self.clone() }
    }

    /// Every call begins with this.
    pub(super) fn pass(&self, operation: Operation, path: &Path) {
        self.pass_if(|planned| match planned {
            Planned::Call(calls, part) => calls.contains(operation) && path.to_string_lossy().contains(part),
            Planned::Space => false,
        });
    }

    /// Every question for the free space begins with this.
    pub(super) fn pass_space(&self) {
        self.pass_if(|planned| matches!(planned, Planned::Space));
    }

    fn pass_if(&self, concerns_this: impl Fn(&Planned) -> bool) {
        if !self.is_planned.load(Ordering::SeqCst) {
            return;
        }
        let mut state = self.state.lock();
        if state.is_reached || !state.planned.as_ref().is_some_and(concerns_this) {
            return;
        }
        state.is_reached = true;
        self.changed.notify_all();
        while state.is_reached {
            state = self.changed.wait(state);
        }
    }
}
