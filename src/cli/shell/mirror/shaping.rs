//! Splits and merges the shards of a target, so that they are as at the source.

use std::thread;
use std::time::{Duration, Instant};

use anabranch::{HashKey, HashKeyRange, ShardFilter, ShardId};

use super::super::super::Failure;
use super::super::target::{ShardRow, Target};

/// The next change towards an open shard with a range at the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// There is a shard of this range.
    Nothing,
    Split(ShardId, HashKey),
    Merge(ShardId, ShardId),
    /// Something else has split or merged the target.
    Impossible,
}

/// How long to wait for a stream that is being changed.
const PATIENCE: Duration = Duration::from_secs(300);

const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// Whether ranges in any order cover all hash keys once.
pub(super) fn is_whole(ranges: &[HashKeyRange]) -> bool {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable_by_key(HashKeyRange::start);
    let begins = sorted.first().is_some_and(|first| first.start() == HashKey::MIN);
    let ends = sorted.last().is_some_and(|last| last.end() == HashKey::MAX);
    begins && ends && sorted.windows(2).all(|pair| pair[0].is_followed_by(&pair[1]))
}

/// With how many shards to make a stream that needs these ranges: as many as there are ranges, if a new stream has just
/// these, or else one.
pub(super) fn shards_at_first(ranges: &[HashKeyRange]) -> u32 {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable_by_key(HashKeyRange::start);
    match u32::try_from(sorted.len()) {
        Ok(count) if count > 0 && HashKeyRange::divide(count) == sorted => count,
        _ => 1,
    }
}

/// Whether the open shards have just these ranges.
pub(super) fn has_ranges(
    target: &mut impl Target,
    stream: &str,
    ranges: &[HashKeyRange],
) -> Result<bool, Failure> {
    let open = open_shards(target, stream)?;
    let is_there = |range: &HashKeyRange| open.iter().any(|shard| shard.range == *range);
    Ok(open.len() == ranges.len() && ranges.iter().all(is_there))
}

/// Splits and merges shards until there is an open one of each range. Does not repeat what was done before. Gives the
/// number of changes.
pub(super) fn shape(
    target: &mut impl Target,
    stream: &str,
    ranges: impl IntoIterator<Item = HashKeyRange>,
) -> Result<u64, Failure> {
    let mut done = 0;
    let mut open = open_shards(target, stream)?;
    for range in ranges {
        loop {
            match step_towards(range, &open) {
                Step::Nothing => break,
                Step::Impossible => {
                    return Err(Failure::Refused(format!(
                        "stream {stream} at the target was split or merged by something else: it has no shards from \
                         which hash keys {} to {} can be made one",
                        range.start(),
                        range.end()
                    )));
                }
                step => {
                    let changed = change(target, stream, step);
                    let now = open_shards(target, stream)?;
                    // A call of a run that was killed may have made the change just before.
                    if let (Err(failure), true) = (changed, are_same(&open, &now)) {
                        return Err(failure);
                    }
                    open = now;
                    done += 1;
                }
            }
        }
    }
    Ok(done)
}

fn change(target: &mut impl Target, stream: &str, step: Step) -> Result<(), Failure> {
    wait_until_active(target, stream)?;
    match step {
        Step::Split(shard, at) => target.split(stream, shard, at),
        Step::Merge(first, second) => target.merge(stream, first, second),
        Step::Nothing | Step::Impossible => Ok(()),
    }
}

/// An earlier run may have begun a change without waiting for its end.
pub(super) fn wait_until_active(target: &mut impl Target, stream: &str) -> Result<(), Failure> {
    let begun = Instant::now();
    while !target.stream(stream)?.is_active() {
        if begun.elapsed() > PATIENCE {
            return Err(Failure::Refused(format!(
                "stream {stream} at the target is not active after {} s",
                PATIENCE.as_secs()
            )));
        }
        thread::sleep(BETWEEN_LOOKS);
    }
    Ok(())
}

fn open_shards(target: &mut impl Target, stream: &str) -> Result<Vec<ShardRow>, Failure> {
    let mut open = target.shards(stream, ShardFilter::AtLatest)?;
    open.retain(|shard| shard.is_open);
    Ok(open)
}

fn are_same(before: &[ShardRow], now: &[ShardRow]) -> bool {
    before
        .iter()
        .map(|shard| shard.id)
        .eq(now.iter().map(|shard| shard.id))
}

fn step_towards(range: HashKeyRange, open: &[ShardRow]) -> Step {
    let Some(shard) = open.iter().find(|shard| shard.range.contains(range.start())) else {
        return Step::Impossible;
    };
    let has = shard.range;
    if has == range {
        Step::Nothing
    } else if has.start() < range.start() {
        match has.encloses(&range) {
            true => Step::Split(shard.id, range.start()),
            false => Step::Impossible,
        }
    } else if has.end() > range.end() {
        Step::Split(shard.id, HashKey::new(range.end().value() + 1))
    } else {
        let next = open.iter().find(|next| has.is_followed_by(&next.range));
        match next {
            Some(next) if next.range.end() <= range.end() => Step::Merge(shard.id, next.id),
            _ => Step::Impossible,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u128, end: u128) -> HashKeyRange {
        HashKeyRange::new(HashKey::new(start), HashKey::new(end)).unwrap()
    }

    fn open(ranges: &[(u128, u128)]) -> Vec<ShardRow> {
        let row = |(index, (start, end)): (u32, &(u128, u128))| ShardRow {
            id: ShardId::new(index).unwrap(),
            range: range(*start, *end),
            parents: Vec::new(),
            is_open: true,
        };
        (0..).zip(ranges).map(row).collect()
    }

    #[test]
    fn each_step_brings_the_shards_nearer_to_a_range() {
        let id = |index| ShardId::new(index).unwrap();
        let split = |shard, at| Step::Split(id(shard), HashKey::new(at));
        const MAX: u128 = u128::MAX;
        for (shards, wanted, step) in [
            (&[(0, MAX)][..], (0, MAX), Step::Nothing),
            (&[(0, MAX)], (10, 20), split(0, 10)),
            (&[(0, 9), (10, MAX)], (10, 20), split(1, 21)),
            (&[(0, 9), (10, 20), (21, MAX)], (10, 20), Step::Nothing),
            (&[(0, 9), (10, 20), (21, MAX)], (0, 20), Step::Merge(id(0), id(1))),
            (&[(0, 9), (10, MAX)], (0, 20), Step::Impossible),
            (&[(0, 9), (10, MAX)], (5, 20), Step::Impossible),
            (&[], (0, MAX), Step::Impossible),
        ] {
            let (start, end) = wanted;
            assert_eq!(
                step_towards(range(start, end), &open(shards)),
                step,
                "{shards:?} {wanted:?}"
            );
        }
    }

    #[test]
    fn ranges_are_whole_without_a_gap_and_even_ones_need_no_split() {
        let thirds = HashKeyRange::divide(3);
        assert!(is_whole(&thirds) && shards_at_first(&thirds) == 3);
        let turned: Vec<_> = thirds.iter().rev().copied().collect();
        assert!(is_whole(&turned) && shards_at_first(&turned) == 3);
        assert!(!is_whole(&thirds[1..]) && !is_whole(&thirds[..2]) && !is_whole(&[]));
        assert!(!is_whole(&[thirds[0], thirds[2]]));
        let uneven = [range(0, 9), range(10, u128::MAX)];
        assert!(is_whole(&uneven) && shards_at_first(&uneven) == 1);
    }
}
