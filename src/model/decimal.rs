//! Decimal digits, written where they belong.

/// All numbers of two digits, one after the other.
const PAIRS: [u8; 200] = {
    let mut pairs = [0; 200];
    let mut number = 0;
    while number < 100 {
        pairs[2 * number] = b'0' + (number / 10) as u8;
        pairs[2 * number + 1] = b'0' + (number % 10) as u8;
        number += 1;
    }
    pairs
};

/// Fills `digits` with the last digits of `value`, and with zeros in front where it has fewer.
pub(crate) fn write_last_digits(mut value: u64, digits: &mut [u8]) {
    // A division waits for the one before it; those of one group do not wait for those of the next.
    for group in digits.rchunks_mut(8) {
        write_group((value % 100_000_000) as u32, group);
        value /= 100_000_000;
    }
}

fn write_group(mut value: u32, digits: &mut [u8]) {
    let mut pairs = digits.rchunks_exact_mut(2);
    for pair in &mut pairs {
        let at = 2 * (value % 100) as usize;
        pair.copy_from_slice(&PAIRS[at..at + 2]);
        value /= 100;
    }
    if let [digit] = pairs.into_remainder() {
        *digit = b'0' + (value % 10) as u8;
    }
}

/// How many digits a number has; zero has one.
#[cfg(any(test, feature = "server"))]
pub(crate) fn count_digits(value: u64) -> usize {
    value.checked_ilog10().map_or(1, |power| power as usize + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(value: u64, digits: usize) -> String {
        let mut text = vec![0; digits];
        write_last_digits(value, &mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn zero_has_one_digit_and_the_largest_number_twenty() {
        for value in [0, 1, 9, 10, 99, 100, u64::MAX / 2, u64::MAX - 1, u64::MAX] {
            assert_eq!(text(value, count_digits(value)), value.to_string());
        }
    }

    proptest! {
        #[test]
        fn digits_are_those_that_formatting_gives(value: u64, shift in 0..64u32) {
            let value = value >> shift;
            prop_assert_eq!(text(value, count_digits(value)), value.to_string());
            prop_assert_eq!(text(value, 23), format!("{value:023}"));
            let last = format!("{:05}", value % 100_000);
            prop_assert_eq!(text(value, 5), last);
        }
    }
}
