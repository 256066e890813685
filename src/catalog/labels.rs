//! The parts of a resource that the engine keeps and does not act on.

use std::collections::BTreeMap;

/// The tags and attributes of a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Labels {
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) attributes: BTreeMap<String, Vec<u8>>,
}

impl Labels {
    pub(super) fn change_tags(&mut self, set: &BTreeMap<String, String>, removed: &[String]) {
        for name in removed {
            self.tags.remove(name);
        }
        let set = set.iter().map(|(name, value)| (name.clone(), value.clone()));
        self.tags.extend(set);
    }

    pub(super) fn set_attribute(&mut self, name: &str, value: Option<&[u8]>) {
        match value {
            Some(value) => drop(self.attributes.insert(name.to_owned(), value.to_owned())),
            None => drop(self.attributes.remove(name)),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tags.is_empty() && self.attributes.is_empty()
    }
}
