//! The state of the disk after a crash.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::contents::{ChangeNumber, FileState, Survival};
use super::faults::Plan;
use super::names::{Names, NodeId};
use super::random::Random;
use super::state::State;

/// How a crash treats unsynced changes. Synced ones survive in every mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LossMode {
    /// The process was killed: the next opener sees everything. Unsynced changes stay unsynced, so a later power loss
    /// can still undo them.
    KeepAll,
    /// Power loss: nothing unsynced survives.
    LoseAll,
    /// Power loss on a device that keeps the order: all unsynced changes of the disk up to a random one survive. If
    /// that one is a write, some of its sectors survive too.
    Prefix,
    /// Power loss: each unsynced change survives, is lost, or, if it is a write, is torn, independently of others. The
    /// probabilities differ from crash to crash.
    Random,
}

impl LossMode {
    /// All modes, mildest first.
    pub const ALL: [Self; 4] = [Self::KeepAll, Self::Prefix, Self::Random, Self::LoseAll];
}

impl State {
    /// The disk as the next opener would find it, which is neither frozen nor read-only and has no faults.
    pub(super) fn image(&mut self, mode: LossMode) -> Self {
        let (names, files) = match mode {
            LossMode::KeepAll => self.kept(),
            LossMode::LoseAll | LossMode::Prefix | LossMode::Random => self.lost(mode),
        };
        Self {
            names,
            files,
            last_node: self.last_node,
            last_change: self.last_change,
            random: Random::new(self.random.next()),
            plan: Plan::default(),
            frozen: false,
            is_read_only: false,
            locked: BTreeSet::new(),
            shared_locks: BTreeMap::new(),
            capacity: self.capacity,
            open_file_limit: self.open_file_limit,
            out_of_files: 0,
            calls: Default::default(),
            trace: self.trace.as_ref().map(|_| Vec::new()),
        }
    }

    fn kept(&self) -> (Names, BTreeMap<NodeId, FileState>) {
        let named = self
            .files
            .iter()
            .filter(|(node, _)| self.names.may_be_named(**node));
        let files = named.map(|(node, file)| (*node, file.closed())).collect();
        (self.names.clone(), files)
    }

    fn lost(&mut self, mode: LossMode) -> (Names, BTreeMap<NodeId, FileState>) {
        let mut fates = self.fates(mode);
        let table = self.names.after_loss(|change| fates.survives(change));
        let survives = |node: NodeId| Some((node, self.files.get(&node)?.after_loss(&mut fates)));
        let contents: Vec<_> = table.nodes().filter_map(survives).collect();
        let files = contents
            .into_iter()
            .map(|(node, contents)| (node, FileState::settled(contents)))
            .collect();
        (Names::settled(table), files)
    }

    fn fates(&mut self, mode: LossMode) -> Fates {
        let rule = match mode {
            LossMode::KeepAll | LossMode::LoseAll => Rule::Nothing,
            LossMode::Prefix => {
                let in_files = self.files.values().flat_map(FileState::unsynced_changes);
                let changes: BTreeSet<_> = in_files.chain(self.names.pending_changes()).collect();
                let kept = self.random.below(changes.len() + 1);
                Rule::Before(changes.into_iter().nth(kept).unwrap_or(ChangeNumber::MAX))
            }
            LossMode::Random => {
                let keep = [0.1, 0.5, 0.9][self.random.below(3)];
                Rule::Independent {
                    keep,
                    writes: BTreeMap::new(),
                }
            }
        };
        Fates {
            rule,
            random: Random::new(self.random.next()),
        }
    }
}

/// Which unsynced changes survive a crash.
struct Fates {
    rule: Rule,
    random: Random,
}

enum Rule {
    Nothing,
    /// The changes before this one survive, and of this one some sectors.
    Before(ChangeNumber),
    Independent {
        keep: f64,
        writes: BTreeMap<ChangeNumber, WriteFate>,
    },
}

#[derive(Clone, Copy)]
enum WriteFate {
    Kept,
    Lost,
    Torn,
}

const TORN: f64 = 0.25;

impl Fates {
    fn survives(&mut self, change: ChangeNumber) -> bool {
        match &self.rule {
            Rule::Nothing => false,
            Rule::Before(end) => change < *end,
            Rule::Independent { keep, .. } => self.random.chance(*keep),
        }
    }
}

impl Survival for Fates {
    fn sector(&mut self, change: ChangeNumber) -> bool {
        let fate = match &mut self.rule {
            Rule::Nothing => WriteFate::Lost,
            Rule::Before(end) => match change.cmp(end) {
                Ordering::Less => WriteFate::Kept,
                Ordering::Equal => WriteFate::Torn,
                Ordering::Greater => WriteFate::Lost,
            },
            Rule::Independent { keep, writes } => *writes.entry(change).or_insert_with(|| {
                if self.random.chance(TORN) {
                    WriteFate::Torn
                } else if self.random.chance(*keep) {
                    WriteFate::Kept
                } else {
                    WriteFate::Lost
                }
            }),
        };
        match fate {
            WriteFate::Kept => true,
            WriteFate::Lost => false,
            WriteFate::Torn => self.random.coin(),
        }
    }

    fn length(&mut self, change: ChangeNumber) -> bool {
        self.survives(change)
    }
}
