//! The keeper: a thread that does what need not be done at once.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::active_logs::Idleness;
use super::core::StoreCore;
use super::garbage::empty_garbage;
use crate::catalog::Edit;
use crate::disk::{Step, perform};
use crate::error::{Error, Result};
use crate::log::{Durability, Resting};
use crate::model::LogName;

/// Between two rounds if nothing wakes the keeper. Also the most that a crash of the operating system takes back of
/// what was put without waiting for a sync.
const ROUND: Duration = Duration::from_secs(1);

/// Between two rounds while something is due that cannot be finished, on a full disk say.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

/// A log that nothing was appended to for so long has its end recorded, so that it need not be scanned when the store
/// is opened after a crash, and damage of its last group cannot pass for a torn write.
const UNTIL_IDLE: Duration = Duration::from_secs(5);

pub(super) fn start(core: Arc<StoreCore>) -> Result<JoinHandle<()>> {
    let directory = core.directory.clone();
    std::thread::Builder::new()
        .name("anabranch-keeper".to_owned())
        .spawn(move || {
            while core
                .keeper
                .sleep(core.until_next_due().clamp(SHORTEST_PAUSE, ROUND))
            {
                // What went wrong is either latched in the store's health, where the next put finds it, or tried
                // again in the next round.
                let _ = run_round(&core);
            }
        })
        .map_err(|error| Error::io("start a thread for", &directory, error))
}

/// Does everything once, and reports the first thing that failed.
pub(super) fn run_round(core: &StoreCore) -> Result<()> {
    let _one_at_a_time = core.maintaining.lock();
    core.check_writable()?;
    let results = [
        core.keep_time(),
        core.sweep_once(),
        core.settle(None),
        sync_unsynced(core),
        core.hide_by_age(),
        core.trim(),
        core.trim_journal(),
        rest(core, &idle_logs(core, core.time.monotonic())),
        empty_garbage(&core.garbage, &core.context.pool, core.disk.as_ref()),
        // Last, when what can be freed is free.
        prepare_segments(core),
    ];
    results.into_iter().collect()
}

/// Prepares segments ahead of need. Want of room is no failure here: the put that needs the segment makes it, or is refused.
fn prepare_segments(core: &StoreCore) -> Result<()> {
    match core.context.pool.prepare_wanted() {
        Err(error) if error.is_want_of_room() => Ok(()),
        other => other,
    }
}

fn sync_unsynced(core: &StoreCore) -> Result<()> {
    if core.options.durability == Durability::Synced {
        return Ok(());
    }
    for (log, _) in core.active.list() {
        if let LogName::Shard(..) = log
            && let Some(log) = core.log(log)?
        {
            perform(Step::BackgroundSync, || log.sync())?;
        }
    }
    Ok(())
}

/// Records the ends of logs to which nobody is writing, with one edit. A log that fails does not keep the others from
/// their rest.
pub(super) fn rest(core: &StoreCore, logs: &[LogName]) -> Result<()> {
    let mut result = Ok(());
    let mut resting = Vec::new();
    // The journal first: it waits for the turns that the others have while they rest.
    let (journal, shards): (Vec<_>, Vec<_>) =
        (logs.iter()).partition(|log| matches!(log, LogName::CommitJournal));
    for &log in journal.into_iter().chain(shards) {
        match begin_rest(core, log) {
            Ok(begun) => resting.extend(begun.map(|begun| (log, begun))),
            Err(error) => result = result.and(Err(error)),
        }
    }
    result.and(record_ends(core, resting))
}

/// The logs to which nothing was appended for a while.
fn idle_logs(core: &StoreCore, monotonic: Duration) -> Vec<LogName> {
    let mut idle = Vec::new();
    for (name, idleness) in core.active.list() {
        // A log that cannot be opened takes nothing.
        let Ok(Some(log)) = core.log(name) else {
            continue;
        };
        let appended_through = log.appended_through();
        if appended_through != idleness.appended_through {
            let since = monotonic;
            let idleness = Idleness {
                since,
                appended_through,
            };
            core.active.set_idleness(name, idleness);
        } else if monotonic.saturating_sub(idleness.since) >= UNTIL_IDLE {
            idle.push(name);
        }
    }
    idle
}

fn begin_rest(core: &StoreCore, name: LogName) -> Result<Option<Resting>> {
    match name {
        LogName::CommitJournal => core.begin_journal_rest(),
        LogName::Shard(..) => match core.log(name)? {
            Some(log) => log.begin_rest(),
            None => Ok(None),
        },
    }
}

fn record_ends(core: &StoreCore, resting: Vec<(LogName, Resting)>) -> Result<()> {
    if resting.is_empty() {
        return Ok(());
    }
    core.catalog.commit(|state| {
        let ends: Vec<_> = resting
            .iter()
            .filter(|(log, _)| state.log(*log).is_some())
            .map(|(log, resting)| (*log, resting.end()))
            .collect();
        match ends.is_empty() {
            true => Ok(Vec::new()),
            false => Ok(vec![Edit::LogsRested { ends }]),
        }
    })?;
    for (log, resting) in resting {
        // While writers are still kept out: the one that resumes the log is remembered after this.
        core.active.forget(log);
        resting.recorded();
    }
    Ok(())
}
