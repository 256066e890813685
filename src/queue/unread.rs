//! Which records of a shard were never given out.

use crate::model::RecordNumber;

/// Ranges of record numbers, in order, with gaps between them. There is one, from where reading goes on, unless an
/// entry was lost on a full disk.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Unread {
    ranges: Vec<(RecordNumber, RecordNumber)>,
}

impl Unread {
    /// All numbers from this one on.
    pub(super) fn from(first: RecordNumber) -> Self {
        Self::of(vec![(first, RecordNumber::END)])
    }

    /// The stored ranges, if they are in order and have gaps between them.
    pub(super) fn of_stored(ranges: Vec<(RecordNumber, RecordNumber)>) -> Option<Self> {
        let is_in_order = ranges.is_sorted_by(|(_, end), (next, _)| end < next);
        let has_numbers = ranges
            .iter()
            .all(|(from, to)| from < to && *to <= RecordNumber::END);
        (is_in_order && has_numbers).then_some(Self { ranges })
    }

    /// These ranges, whose ends are exclusive.
    fn of(mut ranges: Vec<(RecordNumber, RecordNumber)>) -> Self {
        ranges.retain(|(from, to)| from < to);
        Self { ranges }
    }

    pub(super) fn first(&self) -> Option<(RecordNumber, RecordNumber)> {
        self.ranges.first().copied()
    }

    pub(super) fn ranges(&self) -> &[(RecordNumber, RecordNumber)] {
        &self.ranges
    }

    pub(super) fn contains(&self, number: RecordNumber) -> bool {
        self.ranges
            .iter()
            .any(|(from, to)| (*from..*to).contains(&number))
    }

    /// Removes the numbers of a range.
    pub(super) fn remove(&mut self, from: RecordNumber, to: RecordNumber) {
        let mut kept = Vec::with_capacity(self.ranges.len() + 1);
        for &(first, end) in &self.ranges {
            kept.push((first, end.min(from)));
            kept.push((first.max(to), end));
        }
        *self = Self::of(kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_out_is_not_there_and_all_else_is() {
        let number = RecordNumber::new;
        let mut unread = Unread::from(number(5));
        unread.remove(number(7), number(9));
        unread.remove(number(1), number(6));
        unread.remove(number(12), number(12));
        unread.remove(number(20), RecordNumber::END);
        let left: Vec<_> = (0..30).filter(|value| unread.contains(number(*value))).collect();
        let expected: Vec<_> = [6].into_iter().chain(9..20).collect();
        assert_eq!(left, expected);
        unread.remove(RecordNumber::BEFORE_FIRST, RecordNumber::END);
        assert_eq!(unread.first(), None);
    }
}
