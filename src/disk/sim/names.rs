//! The names that the directories hold: now, on the device, and every step between the two.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::contents::ChangeNumber;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NodeId(pub(super) u64);

/// The root directory, which always exists.
pub(super) const ROOT: NodeId = NodeId(0);

/// A place for a name: the directory, and the name in it.
pub(super) type Entry = (NodeId, String);

/// A directory grows by this many bytes.
const DIRECTORY_BLOCK: u64 = 1024;

/// The bytes that a name takes in its directory, as on ext4.
fn entry_bytes(name: &str) -> u64 {
    8 + (name.len() as u64).next_multiple_of(4)
}

/// Names and the nodes they lead to. A file may have several, a directory has one.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    nodes: BTreeMap<NodeId, BTreeMap<String, NodeId>>,
    /// The names of each node that has any.
    names: BTreeMap<NodeId, BTreeSet<Entry>>,
}

impl Table {
    pub(super) fn get(&self, (directory, name): &Entry) -> Option<NodeId> {
        self.find(*directory, name)
    }

    pub(super) fn find(&self, directory: NodeId, name: &str) -> Option<NodeId> {
        self.nodes.get(&directory)?.get(name).copied()
    }

    pub(super) fn has_name(&self, node: NodeId) -> bool {
        self.names.contains_key(&node)
    }

    pub(super) fn count_names(&self, node: NodeId) -> usize {
        self.names.get(&node).map_or(0, BTreeSet::len)
    }

    pub(super) fn list(&self, directory: NodeId) -> impl Iterator<Item = (&str, NodeId)> {
        let entries = self.nodes.get(&directory).into_iter().flatten();
        entries.map(|(name, node)| (name.as_str(), *node))
    }

    /// The bytes that all directories take.
    pub(super) fn directory_bytes(&self) -> u64 {
        let bytes_in =
            |names: &BTreeMap<String, NodeId>| names.keys().map(|name| entry_bytes(name)).sum::<u64>();
        let directories = self.nodes.values();
        directories
            .map(|names| bytes_in(names).next_multiple_of(DIRECTORY_BLOCK))
            .sum()
    }

    /// How many bytes more a directory takes with another name in it.
    pub(super) fn growth_for(&self, (directory, name): &Entry) -> u64 {
        let before: u64 = self.list(*directory).map(|(name, _)| entry_bytes(name)).sum();
        let blocks = |bytes: u64| bytes.next_multiple_of(DIRECTORY_BLOCK);
        blocks(before + entry_bytes(name)) - blocks(before)
    }

    /// The names that lead from the root to a node, if it has one. Of a file with several, those of the first
    /// directory.
    pub(super) fn path(&self, node: NodeId) -> Option<PathBuf> {
        if node == ROOT {
            return Some(PathBuf::new());
        }
        let (directory, name) = self.names.get(&node)?.first()?;
        Some(self.path(*directory)?.join(name))
    }

    /// Every node that has a name.
    pub(super) fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.names.keys().copied()
    }

    fn put(&mut self, entry: &Entry, node: NodeId) -> Option<NodeId> {
        let (directory, name) = entry.clone();
        let replaced = self.nodes.entry(directory).or_default().insert(name, node);
        if let Some(replaced) = replaced {
            self.forget_name(replaced, entry);
        }
        self.names.entry(node).or_default().insert(entry.clone());
        replaced
    }

    fn take(&mut self, entry: &Entry) -> Option<NodeId> {
        let node = self.nodes.get_mut(&entry.0)?.remove(&entry.1)?;
        self.forget_name(node, entry);
        Some(node)
    }

    fn forget_name(&mut self, node: NodeId, entry: &Entry) {
        if let Some(names) = self.names.get_mut(&node) {
            names.remove(entry);
            if names.is_empty() {
                self.names.remove(&node);
            }
        }
    }

    /// Does the edit, and gives the node that lost a name by it.
    fn apply(&mut self, edit: &NameEdit) -> Option<NodeId> {
        match edit {
            NameEdit::Create { entry, node } | NameEdit::Link { entry, node } => self.put(entry, *node),
            NameEdit::Remove { entry, .. } => self.take(entry),
            NameEdit::Rename { from, to } => {
                let node = self.take(from)?;
                self.put(to, node)
            }
        }
    }
}

#[derive(Clone, Debug)]
pub(super) enum NameEdit {
    Create {
        entry: Entry,
        node: NodeId,
    },
    /// Another name of a file.
    Link {
        entry: Entry,
        node: NodeId,
    },
    Remove {
        entry: Entry,
        node: NodeId,
    },
    Rename {
        from: Entry,
        to: Entry,
    },
}

impl NameEdit {
    fn entries(&self) -> impl Iterator<Item = &Entry> {
        let (first, second) = match self {
            Self::Create { entry, .. } | Self::Link { entry, .. } | Self::Remove { entry, .. } => {
                (entry, None)
            }
            Self::Rename { from, to } => (from, Some(to)),
        };
        std::iter::once(first).chain(second)
    }

    /// The directory whose sync makes this durable. For a rename it is the new name's directory, and the removal of the
    /// old name is durable with it. A sync of the old name's directory alone promises nothing.
    fn holder(&self) -> NodeId {
        match self {
            Self::Create { entry, .. } | Self::Link { entry, .. } | Self::Remove { entry, .. } => entry.0,
            Self::Rename { to, .. } => to.0,
        }
    }
}

#[derive(Clone, Debug)]
struct NameChange {
    change: ChangeNumber,
    edit: NameEdit,
    /// Its directory was synced, but has no durable name itself yet.
    synced: bool,
}

/// The directories' entries, as they are and as the device has them.
///
/// Each edit survives a crash whole or not at all. It is independent of other edits, except of those it needs: an
/// earlier edit of the same entry, the creation of its directory, and for a removed directory the edits within. So a
/// renamed file has exactly one of its two names after every crash.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// Copies share it until one of them changes.
    live: Arc<Table>,
    durable: Arc<Table>,
    pending: Vec<NameChange>,
}

impl Names {
    /// Names at rest.
    pub(super) fn settled(table: Table) -> Self {
        Self::settled_as(Arc::new(table))
    }

    fn settled_as(table: Arc<Table>) -> Self {
        Self {
            live: table.clone(),
            durable: table,
            pending: Vec::new(),
        }
    }

    pub(super) fn live(&self) -> &Table {
        &self.live
    }

    pub(super) fn edit(&mut self, edit: NameEdit, change: ChangeNumber) -> Option<NodeId> {
        let unnamed = Arc::make_mut(&mut self.live).apply(&edit);
        self.pending.push(NameChange {
            change,
            edit,
            synced: false,
        });
        unnamed
    }

    /// Makes the directory's entries durable, and gives the nodes that no durable name leads to any more. If the
    /// directory has no durable name itself, its entries become durable together with that name.
    pub(super) fn sync(&mut self, directory: NodeId) -> Vec<NodeId> {
        for change in self
            .pending
            .iter_mut()
            .filter(|change| change.edit.holder() == directory)
        {
            change.synced = true;
        }
        let kept = self.surviving(|_| false);
        let mut unnamed = Vec::new();
        let mut is_kept = kept.iter();
        self.pending.retain(|change| {
            if *is_kept.next().expect("one answer for each pending change") {
                unnamed.extend(Arc::make_mut(&mut self.durable).apply(&change.edit));
                return false;
            }
            true
        });
        unnamed
    }

    /// The entries as the device has them after a power loss. Synced edits survive, and of the others those that
    /// `keeps` chooses with all that they need.
    pub(super) fn after_loss(&self, keeps: impl FnMut(ChangeNumber) -> bool) -> Table {
        let mut table = Table::clone(&self.durable);
        for (change, _) in self
            .pending
            .iter()
            .zip(self.surviving(keeps))
            .filter(|(_, kept)| *kept)
        {
            table.apply(&change.edit);
        }
        table
    }

    pub(super) fn settle_live(&mut self) {
        if !self.pending.is_empty() {
            *self = Self::settled_as(self.live.clone());
        }
    }

    pub(super) fn edit_at_rest(&mut self, edit: &NameEdit) {
        self.settle_live();
        Arc::make_mut(&mut self.live).apply(edit);
        Arc::make_mut(&mut self.durable).apply(edit);
    }

    /// Whether any crash from here on could give the node a name.
    pub(super) fn may_be_named(&self, node: NodeId) -> bool {
        self.live.has_name(node)
            || self.durable.has_name(node)
            || self.pending.iter().any(|change| match &change.edit {
                NameEdit::Create { node: named, .. } | NameEdit::Link { node: named, .. } => *named == node,
                NameEdit::Remove { .. } | NameEdit::Rename { .. } => false,
            })
    }

    pub(super) fn pending_changes(&self) -> impl Iterator<Item = ChangeNumber> {
        self.pending.iter().map(|change| change.change)
    }

    /// Whether each pending change survives.
    fn surviving(&self, mut keeps: impl FnMut(ChangeNumber) -> bool) -> Vec<bool> {
        let foundations = self.foundations();
        let mut kept = vec![false; self.pending.len()];
        for (index, change) in self.pending.iter().enumerate() {
            if keeps(change.change) {
                keep(index, &foundations.under, &mut kept);
            }
        }
        // Keeping one synced change may also keep the directory that an earlier change waits for.
        loop {
            let mut waits = true;
            for (index, change) in self
                .pending
                .iter()
                .enumerate()
                .filter(|(_, change)| change.synced)
            {
                let directory = foundations.creator.get(&change.edit.holder());
                if !kept[index] && directory.is_none_or(|creator| kept[*creator]) {
                    keep(index, &foundations.under, &mut kept);
                    waits = false;
                }
            }
            if waits {
                return kept;
            }
        }
    }

    fn foundations(&self) -> Foundations {
        let mut latest: BTreeMap<&Entry, usize> = BTreeMap::new();
        let mut within: BTreeMap<NodeId, Vec<usize>> = BTreeMap::new();
        let mut creator: BTreeMap<NodeId, usize> = BTreeMap::new();
        let mut all_under = Vec::with_capacity(self.pending.len());
        for (index, NameChange { edit, .. }) in self.pending.iter().enumerate() {
            let mut under: Vec<usize> = creator.get(&edit.holder()).copied().into_iter().collect();
            if let NameEdit::Remove { node, .. } = edit {
                under.extend(within.get(node).into_iter().flatten());
            }
            for entry in edit.entries() {
                under.extend(latest.insert(entry, index));
                within.entry(entry.0).or_default().push(index);
            }
            if let NameEdit::Create { node, .. } = edit {
                creator.insert(*node, index);
            }
            all_under.push(under);
        }
        Foundations {
            under: all_under,
            creator,
        }
    }
}

/// The changes that each pending change needs.
struct Foundations {
    /// For each change, earlier ones without which it cannot survive.
    under: Vec<Vec<usize>>,
    /// The change that created a node.
    creator: BTreeMap<NodeId, usize>,
}

fn keep(index: usize, under: &[Vec<usize>], kept: &mut [bool]) {
    let mut to_keep = vec![index];
    while let Some(index) = to_keep.pop() {
        if !std::mem::replace(&mut kept[index], true) {
            to_keep.extend(&under[index]);
        }
    }
}
