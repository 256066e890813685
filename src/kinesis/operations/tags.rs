//! Tags of streams.

use crate::kinesis::error::ApiError;
use crate::kinesis::service::Context;
use crate::kinesis::shape::Shape;

/// A map of tags as operations take it. How many a stream can have in all is checked by [`check`].
pub(super) const TAGS: Shape = Shape::map(&Shape::STRING)
    .at_least(1)
    .at_most(200)
    .key_lengths(1, 128)
    .value_lengths(0, 256);

const MOST_TAGS: usize = 50;

/// Checks the characters of the tags that are to be added to `stream`, and that it does not have more than it can when
/// there are `count` in all.
pub(super) fn check(
    context: Context<'_>,
    stream: &str,
    added: &[(&str, &str)],
    count: usize,
) -> Result<(), ApiError> {
    let texts = || added.iter().flat_map(|(key, value)| [*key, *value]);
    if texts().any(|text| {
        !text
            .chars()
            .all(|character| is_allowed(character) || character == '%')
    }) {
        return Err(ApiError::invalid_argument(
            "Some tags contain invalid characters. Valid characters: \
             Unicode letters, digits, white space, _ . / = + - % @.",
        ));
    }
    let account = context.account_id();
    if texts().any(|text| text.contains('%')) {
        return Err(ApiError::invalid_argument(format!(
            "Failed to add tags to stream {stream} under account {account} because some tags contained illegal \
             characters. The allowed characters are Unicode letters, white-spaces, '_',',','/','=','+','-','@'."
        )));
    }
    if count > MOST_TAGS {
        return Err(ApiError::invalid_argument(format!(
            "Failed to add tags to stream {stream} under account {account} because a given stream cannot have more \
             than {MOST_TAGS} tags associated with it."
        )));
    }
    Ok(())
}

fn is_allowed(character: char) -> bool {
    character.is_ascii_alphanumeric()
        || "_./-=+ @".contains(character)
        || matches!(character, '\u{c0}'..='\u{1fff}' | '\u{2c00}'..='\u{d7ff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_digits_and_a_few_signs_are_allowed() {
        assert!("abcXYZ019 äßЖ中_./-=+@".chars().all(is_allowed));
        for character in "%!*:;,#\n\u{bf}\u{2000}😀".chars() {
            assert!(!is_allowed(character), "{character}");
        }
    }
}
