//! Opening a store.

use std::path::Path;
use std::sync::Arc;

use super::core::StoreCore;
use super::event::StoreEvent;
use super::keeper_signal::KeeperSignal;
use super::options::StoreOptions;
use super::timekeeper::TimeKeeper;
use super::transitions::Transitions;
use crate::backend::{Opened, local};
use crate::error::Result;
use crate::sync::{AtomicBool, Mutex};

impl StoreCore {
    pub(super) fn open(options: &StoreOptions, directory: &Path) -> Result<Arc<Self>> {
        let keeper = Arc::new(KeeperSignal::default());
        let Opened { catalog, logs } = local::open(&options.local, directory, {
            let keeper = keeper.clone();
            move || keeper.wake()
        })?;
        let is_read_only = options.local.read_only;
        let (time, clock_step) = TimeKeeper::begin(options.clock.clone(), catalog.read().clock);
        let core = Arc::new(Self {
            catalog,
            logs,
            keeper,
            options: options.clone(),
            is_read_only,
            streams: Mutex::default(),
            time,
            transitions: Transitions::new(),
            maintaining: Mutex::default(),
            is_closed: AtomicBool::new(false),
        });
        if let Some(step) = clock_step {
            core.tell(&StoreEvent::ClockStepped(step));
            if !is_read_only {
                core.correct_clock_note(step)?;
            }
        }
        if !is_read_only {
            core.note_next_due();
        }
        Ok(core)
    }
}
