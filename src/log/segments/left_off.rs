//! Where reads left off, so that the next reads need no search.

use crate::log::format::log_end::{LogEnd, LogPosition};
use crate::model::RecordNumber;

/// This many readers of one log go on without a search.
const READERS: usize = 8;

/// Places between two frames at which reads stopped. The chain identifies the frame behind each, which an entry of the
/// index cannot do.
#[derive(Debug, Default)]
pub(crate) struct LeftOff {
    places: [Option<LogEnd>; READERS],
    /// The entry that is replaced next.
    oldest: usize,
}

impl LeftOff {
    /// The last place in front of a record that is behind `from` and not behind `to`.
    pub(crate) fn before(&self, record: RecordNumber, from: LogPosition, to: LogPosition) -> Option<LogEnd> {
        let places = self
            .places
            .iter()
            .flatten()
            .filter(|place| place.next_record <= record && place.position > from && place.position <= to);
        places.max_by_key(|place| place.next_record).copied()
    }

    /// Notes that a read stopped at `place`. It may have begun at the place `begun`, which it replaces.
    pub(crate) fn note(&mut self, begun: Option<LogEnd>, place: LogEnd) {
        let is_begun = |known: &&mut Option<LogEnd>| begun.is_some() && **known == begun;
        if let Some(known) = self.places.iter_mut().find(is_begun) {
            *known = Some(place);
        } else {
            self.places[self.oldest] = Some(place);
            self.oldest = (self.oldest + 1) % READERS;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(position: u64, record: u64) -> LogEnd {
        LogEnd {
            position: LogPosition(position),
            next_record: RecordNumber::new(record),
            ..LogEnd::EMPTY
        }
    }

    #[test]
    fn a_read_goes_on_at_the_last_place_before_its_record_within_the_segment() {
        let mut left_off = LeftOff::default();
        for number in 1..4 {
            left_off.note(None, place(number * 100, number * 10));
        }
        let before =
            |record, from, to| left_off.before(RecordNumber::new(record), LogPosition(from), LogPosition(to));
        assert_eq!(before(25, 0, 1_000), Some(place(200, 20)));
        assert_eq!(before(30, 0, 1_000), Some(place(300, 30)));
        assert_eq!(before(30, 0, 200), Some(place(200, 20)));
        assert_eq!(before(30, 300, 1_000), None);
        assert_eq!(before(9, 0, 1_000), None);
    }

    #[test]
    fn a_reader_that_goes_on_takes_no_place_from_others() {
        let mut left_off = LeftOff::default();
        left_off.note(None, place(1, 1));
        let mut reader = place(100, 100);
        left_off.note(None, reader);
        for step in 101..200 {
            left_off.note(Some(reader), place(step, step));
            reader = place(step, step);
        }
        assert_eq!(
            left_off.before(RecordNumber::new(50), LogPosition(0), LogPosition(1_000)),
            Some(place(1, 1))
        );
    }
}
