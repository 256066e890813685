//! Which calls fail, and how.

use std::borrow::Cow;
use std::io;
use std::path::Path;

use super::SimDisk;
use super::calls::{Calls, Operation};
use super::random::Random;

/// The faults of a [`SimDisk`]; each verb adds one, and the disk keeps them until [`Faults::clear`].
///
/// An n is counted from 1, among the calls made after the fault was set that are of its kinds and on its paths. If
/// several faults meet in one call, the one that was set first applies.
///
/// ```
/// # use std::io;
/// # use anabranch::sim::{Calls, Operation, SimDisk};
/// let disk = SimDisk::new(1);
/// disk.faults()
///     .fail_nth(Operation::SyncData, 3, io::ErrorKind::Other)
///     .fail_with_probability(Operation::Write | Operation::SyncDir, 0.01, io::ErrorKind::StorageFull);
/// disk.faults().on("MANIFEST").short_write_nth(1, io::ErrorKind::Other);
/// disk.faults().freeze_nth(Calls::ALL, 100);
/// ```
#[derive(Clone, Debug)]
pub struct Faults {
    disk: SimDisk,
    path_part: Option<String>,
}

impl Faults {
    pub(super) fn new(disk: SimDisk) -> Self {
        Self {
            disk,
            path_part: None,
        }
    }

    /// Limits the faults set through the result to calls whose path contains `path_part`. The path of an open file is
    /// its present name; that of a rename is the old name.
    #[must_use]
    pub fn on(&self, path_part: impl Into<String>) -> Self {
        Self {
            disk: self.disk.clone(),
            path_part: Some(path_part.into()),
        }
    }

    /// The n-th call fails and does nothing, except that a failed sync also does what [`FailedSync`] describes.
    pub fn fail_nth(&self, calls: impl Into<Calls>, n: u64, kind: io::ErrorKind) -> &Self {
        self.add(calls.into(), Trigger::Nth(n), Effect::Fail(kind))
    }

    /// The n-th call fails as it does when the process has reached its limit of open files.
    pub fn run_out_of_files_nth(&self, n: u64) -> &Self {
        let opening = Operation::Open | Operation::List | Operation::SyncDir;
        self.add(opening, Trigger::Nth(n), Effect::OutOfFiles)
    }

    /// The n-th call and all later ones fail.
    pub fn fail_from_nth(&self, calls: impl Into<Calls>, n: u64, kind: io::ErrorKind) -> &Self {
        self.add(calls.into(), Trigger::FromNth(n), Effect::Fail(kind))
    }

    /// Each call fails with this probability, from 0 to 1.
    pub fn fail_with_probability(
        &self,
        calls: impl Into<Calls>,
        probability: f64,
        kind: io::ErrorKind,
    ) -> &Self {
        self.add(
            calls.into(),
            Trigger::Probability(probability),
            Effect::Fail(kind),
        )
    }

    /// The n-th write writes a leading part of its bytes, never all and perhaps none, and then fails.
    pub fn short_write_nth(&self, n: u64, kind: io::ErrorKind) -> &Self {
        self.add(Operation::Write.into(), Trigger::Nth(n), Effect::Short(kind))
    }

    /// Each write is cut short with this probability, from 0 to 1.
    pub fn short_write_with_probability(&self, probability: f64, kind: io::ErrorKind) -> &Self {
        self.add(
            Operation::Write.into(),
            Trigger::Probability(probability),
            Effect::Short(kind),
        )
    }

    /// The machine stops in the n-th call: that call and every later one fails. The call in flight may have been done
    /// or not, a write also in part. [`SimDisk::crash`] then gives the disk of that moment.
    pub fn freeze_nth(&self, calls: impl Into<Calls>, n: u64) -> &Self {
        self.add(calls.into(), Trigger::Nth(n), Effect::Freeze)
    }

    /// Sets what a failed sync does to the file's unsynced bytes, from now on and for every path.
    pub fn after_failed_sync(&self, outcome: FailedSync) -> &Self {
        self.disk.state().plan.failed_sync = outcome;
        self
    }

    /// From now on, bytes that are unsynced when the last handle of a file is closed never reach the device, and no
    /// call reports it. Linux likewise forgets a failed write-back once the file is no longer open.
    pub fn lose_what_is_closed_unsynced(&self) -> &Self {
        self.disk.state().plan.loses_what_is_closed_unsynced = true;
        self
    }

    /// Forgets all faults of every path. A frozen disk stays frozen.
    pub fn clear(&self) -> &Self {
        self.disk.state().plan.faults.clear();
        self
    }

    /// How often a fault has struck since the disk was made. A loop that fails the n-th call for n = 1, 2, ... has
    /// ended when this stays 0.
    pub fn struck(&self) -> u64 {
        self.disk.state().plan.struck
    }

    fn add(&self, calls: Calls, trigger: Trigger, effect: Effect) -> &Self {
        let fault = Fault {
            calls,
            path_part: self.path_part.clone(),
            trigger,
            effect,
            matched: 0,
        };
        self.disk.state().plan.faults.push(fault);
        self
    }
}

/// What happens to a file's unsynced bytes and length when its [`sync_data`](crate::disk::DiskFile::sync_data) fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailedSync {
    /// They are marked clean: readers go on seeing them, a later sync succeeds without writing them, and a power loss
    /// or [`drop_cache`](crate::disk::DiskFile::drop_cache) takes them back. This is what Linux does.
    #[default]
    MarksClean,
    /// Some are marked clean, chosen by the seed; the others stay dirty.
    MarksSomeClean,
    /// They stay dirty, so that a later sync makes them durable.
    KeepsDirty,
}

#[derive(Debug, Default)]
pub(super) struct Plan {
    faults: Vec<Fault>,
    pub(super) failed_sync: FailedSync,
    pub(super) loses_what_is_closed_unsynced: bool,
    struck: u64,
}

#[derive(Debug)]
struct Fault {
    calls: Calls,
    path_part: Option<String>,
    trigger: Trigger,
    effect: Effect,
    /// How many calls of its kinds and on its paths there were so far.
    matched: u64,
}

#[derive(Debug)]
enum Trigger {
    Nth(u64),
    FromNth(u64),
    Probability(f64),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Effect {
    Fail(io::ErrorKind),
    Short(io::ErrorKind),
    OutOfFiles,
    Freeze,
}

impl Plan {
    /// Counts the call, and gives the fault that strikes it.
    pub(super) fn strike<'a>(
        &mut self,
        operation: Operation,
        path: impl Fn() -> Cow<'a, Path>,
        random: &mut Random,
    ) -> Option<Effect> {
        let mut effect = None;
        for fault in self
            .faults
            .iter_mut()
            .filter(|fault| fault.concerns(operation, &path))
        {
            fault.matched += 1;
            let strikes = match fault.trigger {
                Trigger::Nth(n) => fault.matched == n,
                Trigger::FromNth(n) => fault.matched >= n,
                Trigger::Probability(probability) => random.chance(probability),
            };
            if strikes && effect.is_none() {
                effect = Some(fault.effect);
            }
        }
        self.struck += u64::from(effect.is_some());
        effect
    }
}

impl Fault {
    fn concerns<'a>(&self, operation: Operation, path: impl Fn() -> Cow<'a, Path>) -> bool {
        let on_path = |part: &String| path().to_string_lossy().contains(part.as_str());
        self.calls.contains(operation) && self.path_part.as_ref().is_none_or(on_path)
    }
}
