//! The handle that keeps a store open.

use std::sync::Arc;
use std::thread::JoinHandle;

use super::core::StoreCore;
use super::keeper;
use crate::error::Result;
use crate::sync::Mutex;

/// Closes the store when its last user is dropped.
#[derive(Debug)]
pub(crate) struct StoreHandle {
    pub(crate) core: Arc<StoreCore>,
    keeper: Mutex<Option<JoinHandle<()>>>,
}

impl StoreHandle {
    /// The handle of a store that was just opened.
    pub(super) fn new(core: Arc<StoreCore>) -> Result<Arc<Self>> {
        let keeper = match core.options.has_keeper {
            true => match keeper::start(core.clone()) {
                Ok(keeper) => Some(keeper),
                Err(error) => {
                    // Otherwise its threads, and its lock, would stay.
                    let _ = core.close();
                    return Err(error);
                }
            },
            false => None,
        };
        Ok(Arc::new(Self {
            core,
            keeper: Mutex::new(keeper),
        }))
    }

    pub(super) fn close(&self) -> Result<()> {
        self.core.keeper.stop();
        if let Some(keeper) = self.keeper.lock().take() {
            // A panic in it has latched the store's health, which closing reports.
            let _ = keeper.join();
        }
        self.core.close()
    }
}

impl Drop for StoreHandle {
    fn drop(&mut self) {
        // There is no caller to report to. The next opener recovers.
        let _ = self.close();
    }
}
