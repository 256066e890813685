//! What is remembered of deleted streams.

use std::collections::BTreeMap;

use crate::model::StreamName;

/// This many names are remembered. For the others one time is kept, after which none of their shards was made.
const MOST_NAMES: usize = 256;

/// When the newest shard or consumer of each deleted stream was created, in epoch seconds as in sequence numbers and
/// ARNs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct GoneStreams {
    newest_creations: BTreeMap<StreamName, u64>,
    /// The newest of all that are not listed, or whose names were lost in a damaged manifest.
    newest_of_others: Option<u64>,
}

impl GoneStreams {
    /// Without a name: a stream that is not listed.
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
        // A stream that is not listed may have had this name too, after the listed one.
        let known = self.newest_creations.get(name);
        known.copied().max(self.newest_of_others)
    }

    /// All calls of [`note`](Self::note) that rebuild this value.
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
