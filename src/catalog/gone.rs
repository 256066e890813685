//! What is remembered of streams that are gone.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// So many names are remembered. Of the others it is known that none of their shards was made later than some second.
const MOST_NAMES: usize = 256;

/// When the newest shard of a stream that is gone was created, in epoch seconds as its sequence numbers have it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct GoneStreams {
    newest_creations: BTreeMap<String, u64>,
    /// The newest of all that are not listed.
    newest_of_others: Option<u64>,
}

impl GoneStreams {
    pub(super) fn note(&mut self, name: String, newest_creation: u64) {
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

    pub(super) fn newest_creation(&self, name: &str) -> Option<u64> {
        let known = self.newest_creations.get(name);
        known.copied().or(self.newest_of_others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_forgotten_counts_as_the_newest_that_is() {
        let mut gone = GoneStreams::default();
        for number in 0..2 * MOST_NAMES as u64 {
            gone.note(format!("s{number}"), 1_000 + number);
        }
        assert_eq!(gone.newest_creations.len(), MOST_NAMES);
        for number in 0..2 * MOST_NAMES as u64 {
            assert!(gone.newest_creation(&format!("s{number}")) >= Some(1_000 + number));
        }
        gone.note("s511".to_owned(), 7);
        assert_eq!(gone.newest_creation("s511"), Some(1_511));
    }
}
