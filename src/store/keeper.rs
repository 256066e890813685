//! The keeper: a thread for work that need not be done at once.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::core::StoreCore;
use crate::error::{Error, Result};

/// The time between two rounds if nothing wakes the keeper. Without a sync for each put, a crash of the operating
/// system takes back at most the records of this time.
const ROUND: Duration = Duration::from_secs(1);

/// The time between two rounds while something is due that cannot be finished, for example on a full disk.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

/// The name of the thread.
const NAME: &str = "anabranch-keeper";

pub(super) fn start(core: Arc<StoreCore>) -> Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(NAME.to_owned())
        .spawn(move || {
            while core.keeper.sleep(until_next_round(&core)) {
                // A failure is either latched in the store's health, where the next put finds it, or tried again in the
                // next round.
                let _ = run_round(&core);
            }
        })
        .map_err(|error| Error::no_thread(NAME, error))
}

fn until_next_round(core: &StoreCore) -> Duration {
    match core.is_following {
        true => core.options.follow_interval,
        false => core.until_next_due().clamp(SHORTEST_PAUSE, ROUND),
    }
}

/// Does everything once, and gives the first failure.
pub(super) fn run_round(core: &StoreCore) -> Result<()> {
    let _one_at_a_time = core.maintaining.lock();
    if core.is_read_only {
        core.check_open()?;
        core.compare_clocks();
        return match core.is_following {
            true => look_for_news(core),
            false => Ok(()),
        };
    }
    core.check_writable()?;
    core.catch_up()?;
    let results = [
        core.keep_time(),
        core.settle(None, true),
        core.scale_on_demand_streams(),
        core.hide_by_age(),
        core.hide_beyond_size_limits(),
        core.expire_shards(),
        core.logs.maintain(core.time.monotonic(), core.time.moment()),
    ];
    results.into_iter().collect()
}

/// Raises the signals of watches for changes of another program.
fn look_for_news(core: &StoreCore) -> Result<()> {
    core.catch_up()?;
    core.logs.maintain(core.time.monotonic(), core.time.moment())
}
