//! Many numbers in decimal.

use super::SequenceNumber;
use crate::model::decimal::write_last_digits;
use crate::model::u192::{TEN_TO_THE_19, U192};

/// The decimal digits of one number after the other. Those of the next record of a shard are found by an addition.
#[derive(Debug)]
pub(crate) struct Decimals {
    words: [u64; 3],
    /// The number's digits, 19 in each part; the highest part comes first, and has one less.
    parts: [u64; 3],
    digits: [u8; SequenceNumber::DIGITS],
}

/// Where the second and third part begin in the digits.
const MIDDLE: usize = SequenceNumber::DIGITS - 38;
const LOW: usize = SequenceNumber::DIGITS - 19;

/// The difference between the numbers of two neighbours of the same second: two to the power of 80.
const STEP: u128 = 1 << 80;

impl Decimals {
    pub(crate) fn new() -> Self {
        Self {
            words: [0; 3],
            parts: [0; 3],
            digits: [b'0'; SequenceNumber::DIGITS],
        }
    }

    /// The digits of a number.
    pub(crate) fn of(&mut self, number: SequenceNumber) -> &[u8; SequenceNumber::DIGITS] {
        let words = number.0.words();
        let [high, middle, low] = self.words;
        let (next_middle, carry) = middle.overflowing_add((STEP >> 64) as u64);
        if words == [high + u64::from(carry), next_middle, low] {
            self.step();
        } else if words != self.words {
            self.divide(number.0);
        }
        self.words = words;
        &self.digits
    }

    fn step(&mut self) {
        const STEPS: [u64; 2] = [
            (STEP / TEN_TO_THE_19 as u128) as u64,
            (STEP % TEN_TO_THE_19 as u128) as u64,
        ];
        let [high, middle, low] = self.parts;
        let (low, carry) = add(low, STEPS[1]);
        // The sum is far below the limit of a word.
        let (middle, carry) = add(middle, STEPS[0] + carry);
        self.parts = [high + carry, middle, low];
        write_last_digits(low, &mut self.digits[LOW..]);
        write_last_digits(middle, &mut self.digits[MIDDLE..LOW]);
        if carry > 0 {
            write_last_digits(high + carry, &mut self.digits[..MIDDLE]);
        }
    }

    fn divide(&mut self, number: U192) {
        let [_, parts @ ..] = number.to_parts();
        self.parts = parts;
        let [high, middle, low] = parts;
        write_last_digits(high, &mut self.digits[..MIDDLE]);
        write_last_digits(middle, &mut self.digits[MIDDLE..LOW]);
        write_last_digits(low, &mut self.digits[LOW..]);
    }
}

/// The sum of two numbers of 19 digits in as many digits, and the carry.
fn add(one: u64, other: u64) -> (u64, u64) {
    let until_carry = TEN_TO_THE_19 - other;
    match one.checked_sub(until_carry) {
        Some(rest) => (rest, 1),
        None => (one + other, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{RecordNumber, ShardId};
    use proptest::prelude::*;

    fn number(created: u64, index: u32, record: u64, seconds: u64) -> SequenceNumber {
        SequenceNumber::new(
            created,
            ShardId::new(index).unwrap(),
            RecordNumber::new(record),
            seconds,
        )
    }

    #[test]
    fn the_first_number_may_be_any() {
        for first in [
            number(0, 0, 0, 0),
            number(0, 0, 1, 0),
            number(u64::MAX, ShardId::MAX_INDEX, u64::MAX, u64::MAX),
        ] {
            assert_eq!(Decimals::new().of(first).as_slice(), first.to_string().as_bytes());
        }
    }

    #[test]
    fn every_part_is_carried_into() {
        let mut decimals = Decimals::new();
        let mut carried = false;
        for record in (0..200_000).chain((1 << 60)..(1 << 60) + 200_000) {
            let before = decimals.parts[0];
            let number = number(1_700_000_000, 7, record, 1_700_000_100);
            assert_eq!(decimals.of(number).as_slice(), number.to_string().as_bytes());
            carried |= decimals.parts[0] == before + 1;
        }
        // The middle part holds 8 * 10^13 steps, so the crossing is sought.
        let (mut low, mut high) = (0u64, 1u64 << 50);
        let top = |record| number(1_700_000_000, 7, record, 0).to_string()[..MIDDLE].to_owned();
        while low + 1 < high {
            let middle = low + (high - low) / 2;
            if top(middle) == top(0) {
                low = middle;
            } else {
                high = middle;
            }
        }
        for record in low - 3..high + 3 {
            let before = decimals.parts[0];
            let number = number(1_700_000_000, 7, record, 0);
            assert_eq!(decimals.of(number).as_slice(), number.to_string().as_bytes());
            carried |= record == high && decimals.parts[0] == before + 1;
        }
        assert!(carried);
    }

    proptest! {
        #[test]
        fn digits_are_those_that_formatting_gives(
            numbers in proptest::collection::vec((any::<u64>(), 0..3u32, any::<u64>(), any::<u64>(), 0..5u64), 1..20),
        ) {
            let mut decimals = Decimals::new();
            for (created, index, record, seconds, run) in numbers {
                for step in 0..=run {
                    let number = number(created, index, record.saturating_add(step), seconds);
                    prop_assert_eq!(decimals.of(number).to_vec(), number.to_string().into_bytes());
                }
            }
        }
    }
}
