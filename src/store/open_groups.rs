//! The shared state of a consumer group's members, whose type a floor above defines.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use crate::sync::Mutex;

/// A consumer group that was used since the store was opened.
pub(crate) trait OpenGroup: Any + Debug + Send + Sync {
    /// The group's checkpoint was set, perhaps back: ends all leases. The caller wakes waiting members later. Called
    /// with the catalog's locks held.
    fn reset(&self);

    /// The group was removed; a later group of its name is another one. The caller wakes waiting members later. Called
    /// with the catalog's locks held.
    fn end(&self);

    /// The checkpoint was changed, or the group, the stream or the store has ended: wakes all waiting members. Called
    /// without locks.
    fn notify(&self);
}

/// The groups of one stream, by their names.
#[derive(Debug, Default)]
pub(super) struct OpenGroups(Mutex<BTreeMap<String, Arc<dyn OpenGroup>>>);

impl OpenGroups {
    pub(super) fn get_or_make(
        &self,
        name: &str,
        make: impl FnOnce() -> Arc<dyn OpenGroup>,
    ) -> Arc<dyn OpenGroup> {
        let mut groups = self.0.lock();
        groups.entry(name.to_owned()).or_insert_with(make).clone()
    }

    pub(super) fn get(&self, name: &str) -> Option<Arc<dyn OpenGroup>> {
        self.0.lock().get(name).cloned()
    }

    /// Ends the leases of a group. Called when the edit that sets its checkpoint is applied, before another is planned.
    /// So a member that joined while the edit was on its way to the disk loses its leases too, and a member that joins
    /// later finds the new checkpoint.
    pub(super) fn reset(&self, name: &str) -> Option<Arc<dyn OpenGroup>> {
        let group = self.get(name)?;
        group.reset();
        Some(group)
    }

    /// Ends a group, and forgets it. Called when the edit that removes its checkpoint is applied, before another is
    /// planned.
    pub(super) fn end(&self, name: &str) -> Option<Arc<dyn OpenGroup>> {
        let ended = self.0.lock().remove(name)?;
        ended.end();
        Some(ended)
    }

    /// Wakes all waiting members.
    pub(super) fn notify_all(&self) {
        let groups: Vec<_> = self.0.lock().values().cloned().collect();
        groups.iter().for_each(|group| group.notify());
    }
}
