//! Counts with their nouns, for people.

use std::fmt;

/// `1 stream`, `2 streams`.
pub(super) struct Counted(pub(super) u64, pub(super) &'static str);

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, thing) = self;
        match count {
            1 => write!(f, "1 {thing}"),
            count => write!(f, "{count} {thing}s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_not_many() {
        let shown: Vec<_> = (0..3).map(|count| Counted(count, "shard").to_string()).collect();
        assert_eq!(shown, ["0 shards", "1 shard", "2 shards"]);
    }
}
