//! SIGINT and SIGTERM, for commands that have to finish something first.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

/// Raised by the first signal. A second one ends the process.
#[derive(Debug)]
pub(super) struct Interruption {
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    is_raised: Mutex<bool>,
    raised: Condvar,
}

impl Interruption {
    /// Handles signals from now on. Another thread calls `on_raise` at the first one.
    pub(super) fn watch(on_raise: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let (mut interrupt, mut terminate) = {
            let _context = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        let state = Arc::<State>::default();
        let raised = state.clone();
        std::thread::Builder::new()
            .name("anabranch-signals".to_owned())
            .spawn(move || {
                let mut next = || {
                    runtime.block_on(async {
                        tokio::select! {
                            _ = interrupt.recv() => {}
                            _ = terminate.recv() => {}
                        }
                    });
                };
                next();
                raised.raise();
                on_raise();
                next();
                std::process::exit(1);
            })?;
        Ok(Self { state })
    }

    pub(super) fn is_raised(&self) -> bool {
        *self.state.lock()
    }

    /// Waits for this long, or until it is raised. Gives whether it is raised.
    pub(super) fn wait(&self, limit: Duration) -> bool {
        let guard = self.state.lock();
        let waited = self
            .state
            .raised
            .wait_timeout_while(guard, limit, |is_raised| !*is_raised);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl State {
    fn lock(&self) -> std::sync::MutexGuard<'_, bool> {
        self.is_raised.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn raise(&self) {
        *self.lock() = true;
        self.raised.notify_all();
    }
}
