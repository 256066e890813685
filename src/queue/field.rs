//! Numbers in entries of the log: seven bits in each byte, the lowest first, with the highest bit set in all bytes but
//! the last.

use crate::model::{RecordNumber, ShardId, Timestamp};

/// The longest form of a number of 64 bits.
const MOST_BYTES: usize = 10;

pub(super) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes fields off the front of an entry. `None` if it ends too early, or has something that no writer writes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for place in 0..MOST_BYTES {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if place == MOST_BYTES - 1 && bits > 1 {
                return None;
            }
            number |= bits << (7 * place);
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    /// The count of a list whose items have at least so many bytes each. Refuses a count that the remaining bytes
    /// cannot hold, so memory is taken only for what can be there.
    pub(super) fn count(&mut self, least_bytes: usize) -> Option<usize> {
        let count = usize::try_from(self.number()?).ok()?;
        (count <= self.0.len() / least_bytes.max(1)).then_some(count)
    }

    pub(super) fn number_of_32_bits(&mut self) -> Option<u32> {
        self.number()?.try_into().ok()
    }

    pub(super) fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    pub(super) fn record(&mut self) -> Option<RecordNumber> {
        Some(RecordNumber::new(self.number()?))
    }

    pub(super) fn time(&mut self) -> Option<Timestamp> {
        Some(Timestamp::from_millis(self.number()?))
    }

    pub(super) fn shard(&mut self) -> Option<ShardId> {
        ShardId::new(self.number_of_32_bits()?).ok()
    }

    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// The value that was read, if nothing follows it.
    pub(super) fn end<T>(self, read: T) -> Option<T> {
        self.0.is_empty().then_some(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_back_and_what_is_no_number_does_not() {
        let mut numbers = vec![0, u64::MAX, u64::MAX - 1];
        numbers.extend((0..64).flat_map(|bits| [(1_u64 << bits) - 1, 1 << bits]));
        for number in numbers {
            let mut bytes = Vec::new();
            put_number(&mut bytes, number);
            let mut fields = Fields(&bytes);
            assert_eq!(fields.number(), Some(number));
            assert_eq!(fields.end(()), Some(()));
            for length in 0..bytes.len() {
                assert_eq!(Fields(&bytes[..length]).number(), None);
            }
        }
        assert_eq!(Fields(&[0xff; 10]).number(), None);
        assert_eq!(Fields(&[0xff; 11]).number(), None);
        assert_eq!(Fields(&[200, 1, 0, 0]).count(1), None);
    }
}
