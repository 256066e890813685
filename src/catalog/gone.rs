//! What is remembered of streams that are gone.

use std::collections::BTreeMap;

use crate::model::StreamName;

/// So many names are remembered. Of the others it is known that none of their shards was made later than some second.
const MOST_NAMES: usize = 256;

/// When the newest shard or consumer of a stream that is gone was created, in epoch seconds as sequence numbers and ARNs
/// have it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct GoneStreams {
    newest_creations: BTreeMap<StreamName, u64>,
    /// The newest of all that are not listed.
    newest_of_others: Option<u64>,
}

impl GoneStreams {
    /// Without a name: of a stream that is not listed.
    pub(super) fn note(&mut self, name: Option<StreamName>, newest_creation: u64) {
        let Some(name) = name else {
            self.newest_of_others = self.newest_of_others.max(Some(newest_creation));
            return;
        };
        let known = self.newest_creations.entry(name).or_default();
        *known = newest_creation.max(*known);
        if self.newest_creations.len() <= MOST_NAMES {
            return;
        }
        // The oldest of them is the least likely to be ahead of the clock.
        let oldest = self.newest_creations.iter().min_by_key(|(_, seconds)| **seconds);
        if let Some((name, seconds)) = oldest.map(|(name, seconds)| (name.clone(), *seconds)) {
            self.newest_creations.remove(&name);
            self.newest_of_others = self.newest_of_others.max(Some(seconds));
        }
    }

    pub(super) fn newest_creation(&self, name: &StreamName) -> Option<u64> {
        let known = self.newest_creations.get(name);
        known.copied().or(self.newest_of_others)
    }

    /// All that [`note`](Self::note) has to be told to remember the same.
    pub(super) fn notes(&self) -> impl Iterator<Item = (Option<StreamName>, u64)> {
        let others = self.newest_of_others.map(|seconds| (None, seconds));
        let named = self.newest_creations.iter();
        others
            .into_iter()
            .chain(named.map(|(name, seconds)| (Some(name.clone()), *seconds)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_forgotten_counts_as_the_newest_that_is() {
        let name = |number: u64| StreamName::new("", &format!("s{number}"));
        let mut gone = GoneStreams::default();
        for number in 0..2 * MOST_NAMES as u64 {
            gone.note(Some(name(number)), 1_000 + number);
        }
        assert_eq!(gone.newest_creations.len(), MOST_NAMES);
        for number in 0..2 * MOST_NAMES as u64 {
            assert!(gone.newest_creation(&name(number)) >= Some(1_000 + number));
        }
        gone.note(Some(name(511)), 7);
        assert_eq!(gone.newest_creation(&name(511)), Some(1_511));

        let mut same = GoneStreams::default();
        gone.notes().for_each(|(name, seconds)| same.note(name, seconds));
        assert_eq!(same, gone);
    }
}
