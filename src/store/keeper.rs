//! The keeper: a thread that does what need not be done at once.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::core::StoreCore;
use crate::error::{Error, Result};

/// Between two rounds if nothing wakes the keeper. Also the most that a crash of the operating system takes back of
/// what was put without waiting for a sync.
const ROUND: Duration = Duration::from_secs(1);

/// Between two rounds while something is due that cannot be finished, on a full disk say.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

/// Of the thread.
const NAME: &str = "anabranch-keeper";

pub(super) fn start(core: Arc<StoreCore>) -> Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(NAME.to_owned())
        .spawn(move || {
            while core.keeper.sleep(until_next_round(&core)) {
                // What went wrong is either latched in the store's health, where the next put finds it, or tried
                // again in the next round.
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

/// Does everything once, and reports the first thing that failed.
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

/// Tells those who wait of what another program has done.
fn look_for_news(core: &StoreCore) -> Result<()> {
    core.catch_up()?;
    core.logs.maintain(core.time.monotonic(), core.time.moment())
}
