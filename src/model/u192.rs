//! Numbers of 192 bits: as much arithmetic as a sequence number needs.

use std::fmt;

use super::decimal::write_last_digits;

/// An unsigned number below 2^192, its most significant word first, so that the derived order is numeric.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(super) struct U192([u64; 3]);

/// A place for a number of up to 64 bits inside a larger one.
#[derive(Clone, Copy)]
pub(super) struct Bits {
    /// How many bits lie below it.
    pub offset: u32,
    /// How many bits it has, 1 to 64.
    pub width: u32,
}

impl Bits {
    /// The largest number that fits.
    pub const fn max(self) -> u64 {
        u64::MAX >> (64 - self.width)
    }
}

impl U192 {
    /// How many digits the largest has.
    pub const DIGITS: usize = 58;

    pub const fn from_words(words: [u64; 3]) -> Self {
        Self(words)
    }

    pub const fn words(self) -> [u64; 3] {
        self.0
    }

    /// Two to the power of `exponent`, which is below 192.
    pub const fn power_of_two(exponent: u32) -> Self {
        Self([0, 0, 0]).with(
            Bits {
                offset: exponent,
                width: 1,
            },
            1,
        )
    }

    /// The number in these bits.
    pub const fn get(self, bits: Bits) -> u64 {
        let [high, middle, low] = self.0;
        let (word, above) = match bits.offset / 64 {
            0 => (low, middle),
            1 => (middle, high),
            _ => (high, 0),
        };
        let pair = (above as u128) << 64 | word as u128;
        (pair >> (bits.offset % 64)) as u64 & bits.max()
    }

    /// The same number with `value` in bits that were zero. `value` must fit.
    pub const fn with(self, bits: Bits, value: u64) -> Self {
        let [high, middle, low] = self.0;
        let pair = (value as u128) << (bits.offset % 64);
        let (word, above) = (pair as u64, (pair >> 64) as u64);
        Self(match bits.offset / 64 {
            0 => [high, middle | above, low | word],
            1 => [high | above, middle | word, low],
            _ => [high | word, middle, low],
        })
    }

    /// The number that these ASCII digits write, unless it is too large.
    pub fn from_decimal(digits: &str) -> Option<Self> {
        let mut number = Self::default();
        for digit in digits.bytes() {
            let mut carry = u128::from(digit - b'0');
            for word in number.0.iter_mut().rev() {
                carry += u128::from(*word) * 10;
                *word = carry as u64;
                carry >>= 64;
            }
            if carry != 0 {
                return None;
            }
        }
        Some(number)
    }

    /// Its digits, with zeros in front.
    pub fn to_digits(self) -> [u8; U192::DIGITS] {
        let mut digits = [0; U192::DIGITS];
        for (place, part) in digits.rchunks_mut(19).zip(self.to_parts().iter().rev()) {
            write_last_digits(*part, place);
        }
        digits
    }

    /// Its digits in numbers of 19 of them, the highest first.
    pub fn to_parts(self) -> [u64; 4] {
        let mut rest = self;
        let mut parts = [0; 4];
        for part in parts.iter_mut().rev() {
            (rest, *part) = rest.divide_by_ten_to_the_19();
        }
        parts
    }

    /// Quotient and remainder of a division by ten to the power of 19, the largest in a word.
    fn divide_by_ten_to_the_19(self) -> (Self, u64) {
        let mut remainder = 0;
        let quotient = self.0.map(|word| {
            let quotient;
            (quotient, remainder) = divide_pair(remainder, word);
            quotient
        });
        (Self(quotient), remainder)
    }
}

/// Ten to the power of 19.
pub(super) const TEN_TO_THE_19: u64 = 10_000_000_000_000_000_000;

/// Divides `high * 2^64 + low` by ten to the power of 19; `high` is less than that.
///
/// This is the division by an invariant of Möller and Granlund ("Improved division by invariant integers", 2011,
/// algorithm 4): multiplications, which take a fraction of the time. It needs a divisor with its highest bit set.
fn divide_pair(high: u64, low: u64) -> (u64, u64) {
    const RECIPROCAL: u64 = (u128::MAX / TEN_TO_THE_19 as u128 - (1 << 64)) as u64;
    const { assert!(TEN_TO_THE_19 >> 63 == 1) };
    // The words of most numbers, and of all that are left of one, begin with zeros.
    if high == 0 && low < TEN_TO_THE_19 {
        return (0, low);
    }
    let pair = u128::from(high) << 64 | u128::from(low);
    let estimate = u128::from(RECIPROCAL) * u128::from(high) + pair;
    let mut quotient = ((estimate >> 64) as u64).wrapping_add(1);
    let mut remainder = low.wrapping_sub(quotient.wrapping_mul(TEN_TO_THE_19));
    if remainder > estimate as u64 {
        quotient = quotient.wrapping_sub(1);
        remainder = remainder.wrapping_add(TEN_TO_THE_19);
    }
    if remainder >= TEN_TO_THE_19 {
        quotient = quotient.wrapping_add(1);
        remainder -= TEN_TO_THE_19;
    }
    (quotient, remainder)
}

impl fmt::Display for U192 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.to_digits();
        let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
        let digits = &digits[zeros.min(U192::DIGITS - 1)..];
        f.write_str(std::str::from_utf8(digits).expect("digits are ASCII"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAX: &str = "6277101735386680763835789423207666416102355444464034512895";

    #[test]
    fn the_largest_number_is_the_last_that_is_read() {
        assert_eq!(U192([u64::MAX; 3]).to_string(), MAX);
        assert!(U192::from_decimal(MAX) == Some(U192([u64::MAX; 3])));
        assert!(U192::from_decimal("6277101735386680763835789423207666416102355444464034512896").is_none());
        assert!(U192::from_decimal(&"9".repeat(129)).is_none());
    }

    #[test]
    fn quotients_at_the_edges_are_those_of_long_division() {
        let edges = [0, 1, 2, TEN_TO_THE_19 / 2, TEN_TO_THE_19 - 2, TEN_TO_THE_19 - 1];
        let lows = [
            0,
            1,
            TEN_TO_THE_19 - 1,
            TEN_TO_THE_19,
            TEN_TO_THE_19 + 1,
            u64::MAX / 2,
            u64::MAX - 1,
            u64::MAX,
        ];
        for (high, low) in edges.iter().flat_map(|high| lows.map(|low| (*high, low))) {
            let pair = u128::from(high) << 64 | u128::from(low);
            let divisor = u128::from(TEN_TO_THE_19);
            let expected = ((pair / divisor) as u64, (pair % divisor) as u64);
            assert_eq!(divide_pair(high, low), expected, "{high} {low}");
        }
    }

    #[test]
    fn powers_of_two_are_written_as_decimals() {
        assert_eq!(U192::power_of_two(0).to_string(), "1");
        assert_eq!(U192::power_of_two(64).to_string(), "18446744073709551616");
        assert_eq!(
            U192::power_of_two(144).to_string(),
            "22300745198530623141535718272648361505980416"
        );
    }

    proptest! {
        #[test]
        fn numbers_are_written_and_read_as_u128_does(value: u128) {
            let number = U192([0, (value >> 64) as u64, value as u64]);
            prop_assert_eq!(number.to_string(), value.to_string());
            prop_assert!(U192::from_decimal(&value.to_string()) == Some(number));
        }

        #[test]
        fn quotients_are_those_of_long_division(high in 0..TEN_TO_THE_19, low: u64) {
            let pair = u128::from(high) << 64 | u128::from(low);
            let divisor = u128::from(TEN_TO_THE_19);
            let expected = ((pair / divisor) as u64, (pair % divisor) as u64);
            prop_assert_eq!(divide_pair(high, low), expected);
        }

        #[test]
        fn what_is_written_is_read_back(words: [u64; 3]) {
            let number = U192(words);
            prop_assert!(U192::from_decimal(&number.to_string()) == Some(number));
        }

        #[test]
        fn the_order_of_decimals_is_the_order_of_numbers(one: [u64; 3], other: [u64; 3]) {
            let decimals = [one, other].map(|words| format!("{:0>58}", U192(words).to_string()));
            prop_assert_eq!(U192(one).cmp(&U192(other)), decimals[0].cmp(&decimals[1]));
        }

        #[test]
        fn bits_hold_what_was_put_into_them(offset in 0..192u32, width in 1..=64u32, value: u64) {
            prop_assume!(offset + width <= 192);
            let bits = Bits { offset, width };
            let number = U192::default().with(bits, value & bits.max());
            prop_assert_eq!(number.get(bits), value & bits.max());
            let ones = (0..192).filter(|&offset| number.get(Bits { offset, width: 1 }) == 1).count();
            prop_assert_eq!(ones as u32, (value & bits.max()).count_ones());
        }
    }
}
