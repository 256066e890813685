//! A store on a simulated disk, kept in step with the model of its contents.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use anabranch::inspect::{DumpItem, DumpOptions, DumpWhat, Inspection};
use anabranch::sim::{Calls, LossMode, SimDisk};
use anabranch::{Durability, Error, ManualClock, Store, StoreOptions, Stream, Timestamp};

use crate::check::Look;
use crate::held::Held;
use crate::model::{Change, Model, Pending, SECRET, Since, Violation, key_ring};

/// Two levels of directories that do not exist yet, so that making them is crashed too.
pub const DIRECTORY: &str = "/srv/store";

/// Segments that a store with few files keeps open.
const OPEN_SEGMENTS: usize = 2;

/// All files that such a store ever needs: those segments, the lock, the manifest, and files that two threads use at
/// the moment.
const OPEN_FILES: usize = OPEN_SEGMENTS + 8;

pub struct World {
    pub disk: SimDisk,
    pub clock: ManualClock,
    pub settings: Settings,
    pub model: Model,
    /// Dropped before the store is dropped, but kept if the store is opened again.
    pub held: Held,
    store: Option<Store>,
    since: Since,
    /// The first failure of a write or sync, since the store was opened.
    poisoned: Option<String>,
    /// Faults that had struck before this step, including those between it and the last one.
    struck_before: u64,
    /// Faults whose consequences are known.
    struck_and_judged: u64,
    /// Whether a call on this disk fails, or will: unsynced data may be lost although the machine goes on.
    pub has_failing_disk: bool,
    /// Whether the disk was full in this step.
    was_full: bool,
    /// The mode of the crash when the machine stops.
    armed: LossMode,
    /// The latest time that the clock showed while it was right.
    latest: Timestamp,
    /// Whether the clock is wrong now.
    pub is_glitch: bool,
    /// Whether the time by which records expire may be behind the clock, because the clock jumped, or ran without a
    /// store.
    pub may_lag: bool,
    /// How much time has passed, whatever the clock was set to.
    pub elapsed: Duration,
    /// Whether the disk was, or is, so small that changes may have been put off.
    is_small: bool,
    /// Faults that had struck when the store was opened.
    struck_at_open: u64,
}

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub durability: Durability,
    pub map_sealed_segments: bool,
    pub max_recycled_bytes: u64,
    /// From this number of shards on, commits go through the journal.
    pub min_journaled_shards: usize,
    /// Whether the manifest is rewritten every few edits.
    pub compacts_early: bool,
    /// Whether the store may have very few files open.
    pub has_few_files: bool,
    /// Whether unsynced data of a file is lost when the file is closed.
    pub loses_what_is_closed: bool,
    /// Bytes that fit on the disk, until a call was refused because of it.
    pub room: Option<u64>,
    /// How long it takes to create, split, merge and delete.
    pub transition_delay: Duration,
}

impl Settings {
    /// Every commit goes through the journal.
    pub fn journaled() -> Self {
        Self {
            min_journaled_shards: 1,
            ..Self::default()
        }
    }

    /// The store has very few files open, most of them with unsynced bytes.
    pub fn with_few_files() -> Self {
        Self {
            has_few_files: true,
            loses_what_is_closed: true,
            min_journaled_shards: 2,
            ..Self::default()
        }
    }

    /// The manifest is rewritten many times.
    pub fn compacting() -> Self {
        Self {
            compacts_early: true,
            ..Self::default()
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            durability: Durability::Synced,
            map_sealed_segments: true,
            max_recycled_bytes: 256 * 1024,
            min_journaled_shards: usize::MAX,
            compacts_early: false,
            has_few_files: false,
            loses_what_is_closed: false,
            room: None,
            transition_delay: Duration::ZERO,
        }
    }
}

/// Why a step did not end.
#[derive(Debug)]
pub enum Stop {
    /// The machine has stopped.
    Frozen,
    /// The store differs from the model.
    Violation(Violation),
}

impl From<Violation> for Stop {
    fn from(what: Violation) -> Self {
        Self::Violation(what)
    }
}

/// The meaning of an error for the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The call may have had its effect; the next opener will know.
    Unknown,
    /// The call had no effect. The next try works, unless the store is poisoned.
    NotDone,
}

impl World {
    /// An empty disk.
    pub fn new(disk: SimDisk, settings: Settings) -> Self {
        if let Some(bytes) = settings.room {
            disk.set_capacity(bytes);
        }
        if settings.has_few_files {
            disk.set_open_file_limit(OPEN_FILES);
        }
        if settings.loses_what_is_closed {
            disk.faults().lose_what_is_closed_unsynced();
        }
        Self {
            disk,
            clock: ManualClock::starting_at(Timestamp::from_millis(1_700_000_000_000)),
            settings,
            model: Model::new(settings.durability),
            held: Held::default(),
            store: None,
            since: Since::Nothing,
            poisoned: None,
            struck_before: 0,
            struck_and_judged: 0,
            has_failing_disk: false,
            was_full: false,
            armed: LossMode::LoseAll,
            latest: Timestamp::EPOCH,
            is_glitch: false,
            may_lag: false,
            elapsed: Duration::ZERO,
            is_small: settings.room.is_some(),
            struck_at_open: 0,
        }
    }

    /// Lets the machine stop in a later call.
    pub fn arm_crash(&mut self, call: u64, mode: LossMode) {
        self.disk.faults().freeze_nth(Calls::ALL, call);
        self.armed = mode;
    }

    /// A world for the next opener of this disk, which comes from a crash.
    pub fn after_crash(&self, disk: SimDisk, mode: LossMode) -> Self {
        let clock = ManualClock::starting_at(self.now());
        let since = match mode {
            LossMode::KeepAll if !self.has_failing_disk && self.since != Since::PowerLoss => Since::Kill,
            _ => Since::PowerLoss,
        };
        let mut next = Self::new(disk, self.settings);
        next.clock = clock;
        next.since = since;
        next.may_lag = true;
        next.latest = self.latest;
        next.is_glitch = self.is_glitch;
        next.model = self.model.clone();
        next.elapsed = self.elapsed;
        next
    }

    /// Ends the process, or the machine, and goes on with the disk after it.
    pub fn crash(&mut self, mode: LossMode) {
        let next = self.after_crash(self.disk.crash(mode), mode);
        *self = next;
    }

    /// Goes on after the machine has stopped, each time it stops.
    pub fn recover(&mut self) -> Result<(), Violation> {
        loop {
            self.crash(self.armed);
            match self.open() {
                Ok(()) => return Ok(()),
                Err(Stop::Frozen) => {}
                Err(Stop::Violation(what)) => return Err(what),
            }
        }
    }

    /// Searches all files for data put to an encrypted stream.
    pub fn find_no_secret(&self) -> Result<(), Violation> {
        for (path, _) in self.disk.rot().files() {
            let bytes = self.disk.rot().read(&path).map_err(|error| error.to_string())?;
            if let Some(at) = bytes.windows(SECRET.len()).position(|window| window == SECRET) {
                return Err(format!("{}: a secret at byte {at}", path.display()));
            }
        }
        Ok(())
    }

    /// Opens the store and compares it with the model.
    pub fn open(&mut self) -> Result<(), Stop> {
        loop {
            self.begin_step();
            self.poisoned = None;
            let struck = self.disk.faults().struck();
            self.struck_at_open = struck;
            let opened = self.options().open(DIRECTORY);
            self.check_running()?;
            match opened {
                Ok(store) => {
                    self.store = Some(store);
                    self.begin_waiting_again();
                }
                Err(error) => {
                    // A call that failed fails only once.
                    self.judge("open", &error)?;
                    if self.poisoned.is_some() {
                        self.since = Since::PowerLoss;
                    }
                    continue;
                }
            }
            let seen = self.compare();
            self.check_running()?;
            self.struck_and_judged = self.disk.faults().struck();
            if self.struck_and_judged > struck {
                // Files that could not be read when the store was opened stay closed until the next opener.
                self.store = None;
                continue;
            }
            seen?;
            self.since = Since::Nothing;
            return Ok(());
        }
    }

    /// Closes the store, opens it, and compares it with the model.
    pub fn reopen(&mut self) -> Result<(), Stop> {
        self.may_lag = true;
        self.begin_step();
        self.held.close();
        if let Some(store) = self.store.take() {
            let closed = store.close();
            self.check_running()?;
            self.since = Since::Kill;
            match closed {
                Ok(()) if self.poisoned.is_some() => {
                    return Err("a poisoned store says that it was closed cleanly"
                        .to_owned()
                        .into());
                }
                Ok(()) => self.model.note_all_synced(),
                Err(error) => {
                    self.judge("close", &error)?;
                    if self.poisoned.is_some() {
                        self.since = Since::PowerLoss;
                    }
                }
            }
        }
        self.open()
    }

    /// Compares all that the store shows with the model.
    pub fn look(&mut self) -> Result<(), Stop> {
        self.begin_step();
        self.held.check()?;
        self.find_background_failure()?;
        loop {
            let struck = self.disk.faults().struck();
            let seen = self.compare();
            self.check_running()?;
            if self.disk.faults().struck() == struck {
                self.check_journal()?;
                return Ok(seen?);
            }
            // A change that failed during this look may show at the next one.
            self.find_background_failure()?;
        }
    }

    /// A round without commits writes nothing: every frame of the journal has records.
    fn check_journal(&self) -> Result<(), Violation> {
        let is_journaled = self.settings.durability == Durability::Synced;
        if !is_journaled || self.settings.min_journaled_shards == usize::MAX {
            // There is no journal.
            return Ok(());
        }
        let image = self.disk.image(LossMode::KeepAll);
        let mut empty = None;
        let dumped =
            Inspection::of(DIRECTORY)
                .disk(image)
                .dump(&DumpOptions::of(DumpWhat::Frames), &mut |item| match item {
                    DumpItem::Frame(frame) if frame.log.stream_name.is_none() && frame.count == 0 => {
                        empty = Some(frame.offset);
                        ControlFlow::Break(())
                    }
                    _ => ControlFlow::Continue(()),
                });
        match (dumped, empty) {
            (Ok(()), Some(offset)) => Err(format!("the journal has a frame without records at {offset}")),
            // If the store cannot be inspected now, other checks deal with it.
            _ => Ok(()),
        }
    }

    /// A round of house-keeping, whose possible effects the model knows.
    pub fn keep_house(&mut self) -> Result<anabranch::Result<()>, Stop> {
        self.model.expect_house_keeping();
        let kept = self.store()?.maintain();
        if kept.is_ok() && !self.disk.is_frozen() {
            self.model.note_house_kept();
        }
        Ok(kept)
    }

    /// Records acknowledged from memory fail without a caller to get the error, and a batch gives only one error.
    pub fn find_background_failure(&mut self) -> Result<(), Stop> {
        if self.has_just_struck()
            && self.poisoned.is_none()
            && let Err(error) = self.keep_house()?
        {
            self.judge("maintain", &error)?;
        }
        Ok(())
    }

    /// An opener waits for the remaining time by its clock, but never longer than a change takes.
    fn begin_waiting_again(&mut self) {
        let latest = self.elapsed + self.settings.transition_delay;
        for pending in self.model.pending() {
            pending.latest = pending.latest.max(latest);
        }
    }

    pub fn advance(&mut self, by: Duration) {
        self.clock.advance(by);
        self.elapsed += by;
    }

    /// A change that is requested now.
    pub fn pending(&self, change: Change) -> Option<Pending> {
        let due = self.elapsed + self.settings.transition_delay;
        (!self.settings.transition_delay.is_zero()).then_some(Pending {
            change,
            is_certain: false,
            earliest: due,
            latest: due,
            replaces: None,
        })
    }

    /// Whether a change may have happened since the last look.
    pub fn is_anything_due(&mut self) -> bool {
        let elapsed = self.elapsed;
        self.model.pending().any(|pending| pending.earliest <= elapsed)
    }

    fn compare(&mut self) -> Result<(), Violation> {
        self.note_right_clock();
        let look = Look {
            since: self.since,
            is_poisoned: self.poisoned.is_some(),
            latest: self.latest,
            may_lag: self.may_lag,
            elapsed: self.elapsed,
            may_be_late: self.is_small || self.disk.faults().struck() > self.struck_at_open,
        };
        let store = self.store.as_ref().ok_or("the store is not open")?;
        let struck = self.disk.faults().struck();
        let mut model = self.model.clone();
        model.check(store, look)?;
        if !self.disk.is_frozen() && self.disk.faults().struck() == struck {
            self.model = model;
        }
        Ok(())
    }

    /// Gives the meaning of an error, or a violation if no program should get the error.
    pub fn judge(&mut self, what: &str, error: &Error) -> Result<Failure, Stop> {
        self.check_running()?;
        self.was_full |= self.settings.room.is_some();
        if let (Error::StorageFull { .. }, true) = (error, self.was_full) {
            self.settings.room = None;
            self.disk.set_capacity(u64::MAX);
            return Ok(Failure::NotDone);
        }
        let refuse = |why: &str| Err(Stop::Violation(format!("{what}: {why}: {error}")));
        let is_explained = self.has_just_struck();
        self.struck_and_judged = self.disk.faults().struck();
        match (error, &self.poisoned) {
            (Error::Poisoned { first }, Some(before)) => match first.to_string() == *before {
                true => Ok(Failure::NotDone),
                false => refuse("another failure is told than the first"),
            },
            (_, Some(_)) => refuse("a poisoned store gives another error"),
            (Error::Poisoned { first }, None) if is_want_of_room_while_preparing(first) => {
                refuse("nothing was lost, and writing stopped for ever")
            }
            (Error::Poisoned { first }, None) if is_explained => {
                self.poisoned = Some(first.to_string());
                match names_file(first) {
                    true => Ok(Failure::Unknown),
                    false => refuse("the error names no file"),
                }
            }
            (
                Error::StorageFull { .. }
                | Error::TooManyOpenFiles { .. }
                | Error::Unreadable { .. }
                | Error::Io { .. },
                None,
            ) if is_explained => match names_file(error) {
                true => Ok(Failure::NotDone),
                false => refuse("the error names no file"),
            },
            _ => refuse("nothing explains this error"),
        }
    }

    pub fn store(&self) -> Result<&Store, Stop> {
        self.store
            .as_ref()
            .ok_or_else(|| Stop::Violation("the store is not open".to_owned()))
    }

    pub fn stream(&self, name: &str) -> Result<Stream, Stop> {
        let found = self.store()?.stream(name);
        found.map_err(|error| Stop::Violation(format!("stream {name} cannot be found: {error}")))
    }

    pub fn now(&self) -> Timestamp {
        use anabranch::Clock;
        self.clock.now()
    }

    pub fn note_right_clock(&mut self) {
        if !self.is_glitch {
            self.latest = self.latest.max(self.now());
        }
    }

    pub fn is_poisoned(&self) -> bool {
        self.poisoned.is_some()
    }

    /// Counts faults from now on as this step's, and earlier ones since the last step as faults in the background.
    pub fn begin_step(&mut self) {
        self.struck_before = self.struck_and_judged;
        self.was_full = false;
    }

    /// Finds out the effect of a fault that struck in this step although the step succeeded: a read writes frames that
    /// only the journal has, a thread writes behind a put, and both go on after a failure.
    pub fn end_step(&mut self) -> Result<(), Stop> {
        let struck = self.disk.faults().struck();
        if struck > self.struck_before {
            self.find_background_failure()?;
        }
        self.struck_and_judged = struck;
        Ok(())
    }

    pub fn has_just_struck(&self) -> bool {
        let before = match self.settings.durability {
            // The next caller gets the error of a failure in the background.
            Durability::Buffered => 0,
            _ => self.struck_before,
        };
        self.disk.faults().struck() > before
    }

    /// A call may succeed although the machine stopped in it; the rest of the step was not done.
    pub fn check_running(&self) -> Result<(), Stop> {
        match self.disk.is_frozen() {
            true => Err(Stop::Frozen),
            false => Ok(()),
        }
    }

    fn options(&self) -> StoreOptions {
        StoreOptions::new()
            .durability(self.settings.durability)
            .map_sealed_segments(self.settings.map_sealed_segments)
            .max_recycled_bytes(self.settings.max_recycled_bytes)
            .min_journaled_shards(self.settings.min_journaled_shards)
            .transition_delay(self.settings.transition_delay)
            .compaction_bytes(if self.settings.compacts_early { 1 } else { 1 << 20 })
            .max_open_segments(if self.settings.has_few_files {
                OPEN_SEGMENTS
            } else {
                512
            })
            .segment_bytes(64 * 1024)
            .keys(key_ring())
            .keeper(false)
            .flusher_threads(1)
            .clock(self.clock.clone())
            .disk(self.disk.clone())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // The process ends here without closing the store.
        self.disk.freeze();
    }
}

/// A full disk is final only for data that was to become durable and did not. Too many open files are never final.
fn is_want_of_room_while_preparing(error: &Error) -> bool {
    match error {
        Error::Io {
            operation, source, ..
        } => source.kind() == std::io::ErrorKind::StorageFull && !["write to", "sync"].contains(operation),
        Error::StorageFull { .. } | Error::TooManyOpenFiles { .. } => true,
        _ => false,
    }
}

fn names_file(error: &Error) -> bool {
    match error {
        Error::Io { path, .. }
        | Error::Unreadable { path, .. }
        | Error::StorageFull { path, .. }
        | Error::TooManyOpenFiles { path, .. }
        | Error::Corrupt { path, .. } => {
            let above = Path::new(DIRECTORY).ancestors().any(|above| above == path);
            above || path.starts_with(DIRECTORY)
        }
        _ => false,
    }
}
