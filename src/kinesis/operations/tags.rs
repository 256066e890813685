//! Tags of streams and of other resources.

use std::ops::Bound::{Excluded, Unbounded};

use super::shapes;
use super::stream_reference::{STREAM_ARN, STREAM_ID, STREAM_NAME};
use crate::kinesis::error::{ApiError, exception};
use crate::kinesis::key::{
    BOOLEAN, Boolean, INTEGER, Integer, Key, List, Shape, Structure, TEXT, Text, list, members, optional,
    required, structure,
};
use crate::kinesis::operation::{Call, Class, Operation, Reply, Resource};
use crate::kinesis::service::Context;

pub(super) const LIST_TAGS_FOR_STREAM: Operation = Operation {
    name: "ListTagsForStream",
    class: Class::Control,
    resource: Resource::Stream,
    input: members![LIMIT, EXCLUSIVE_START_TAG_KEY, STREAM_NAME, STREAM_ARN, STREAM_ID,],
    output: members![TAGS, HAS_MORE_TAGS],
    errors: &[
        exception::RESOURCE_NOT_FOUND,
        exception::INVALID_ARGUMENT,
        exception::LIMIT_EXCEEDED,
        exception::ACCESS_DENIED,
    ],
    run: Some(|request| request.blocking(list_tags_for_stream)),
};

const LIMIT: Key<Option<Integer>> = optional("Limit", INTEGER.at_least(1).at_most(MOST_TAGS as i64));
const EXCLUSIVE_START_TAG_KEY: Key<Option<Text>> = optional("ExclusiveStartTagKey", TAG_KEY);

const TAGS: Key<List<Structure>> = required("Tags", TAG_LIST);
const HAS_MORE_TAGS: Key<Boolean> = required("HasMoreTags", BOOLEAN);

const TAG_LIST: Shape<List<Structure>> = list(&TAG).at_most(200);
const TAG: Shape<Structure> = structure(members![KEY, VALUE]);
const TAG_KEY: Shape<Text> = TEXT.at_least(1).at_most(128);
const KEY: Key<Text> = required("Key", TAG_KEY);
const VALUE: Key<Option<Text>> = optional("Value", TEXT.at_most(256));

/// The tags behind a key, which need not be one of them, in the order of their keys.
fn list_tags_for_stream(call: &Call<'_>) -> Result<Reply, ApiError> {
    let summary = call.stream()?.summary();
    let tags = summary.map_err(|error| call.context.refusal(error))?.tags;
    let after = call.get(EXCLUSIVE_START_TAG_KEY).map_or(Unbounded, Excluded);
    let rest = tags.range::<str, _>((after, Unbounded));
    let limit = call.input.limit(LIMIT, MOST_TAGS);
    let has_more = rest.clone().nth(limit).is_some();
    Ok(call.reply(|reply| {
        reply.set_list(TAGS, rest.take(limit), |tag, (key, value)| {
            tag.set(KEY, key.as_str());
            tag.set(VALUE, value.as_str());
        });
        reply.set(HAS_MORE_TAGS, has_more);
    }))
}

const TAG_KEY_LIST: Shape<List<Text>> = list(&TEXT).at_least(1).at_most(50).entry_lengths(1, 128);

pub(super) const ADD_TAGS_TO_STREAM: Operation = Operation {
    name: "AddTagsToStream",
    class: Class::Control,
    resource: Resource::Stream,
    input: members![STREAM_NAME, required("Tags", shapes::TAGS), STREAM_ARN, STREAM_ID,],
    output: members![],
    errors: &[
        exception::RESOURCE_NOT_FOUND,
        exception::RESOURCE_IN_USE,
        exception::INVALID_ARGUMENT,
        exception::LIMIT_EXCEEDED,
        exception::ACCESS_DENIED,
    ],
    run: None,
};

pub(super) const REMOVE_TAGS_FROM_STREAM: Operation = Operation {
    name: "RemoveTagsFromStream",
    class: Class::Control,
    resource: Resource::Stream,
    input: members![
        STREAM_NAME,
        required("TagKeys", TAG_KEY_LIST),
        STREAM_ARN,
        STREAM_ID,
    ],
    output: members![],
    errors: &[
        exception::RESOURCE_NOT_FOUND,
        exception::RESOURCE_IN_USE,
        exception::INVALID_ARGUMENT,
        exception::LIMIT_EXCEEDED,
        exception::ACCESS_DENIED,
    ],
    run: None,
};

pub(super) const TAG_RESOURCE: Operation = Operation {
    name: "TagResource",
    class: Class::Control,
    resource: Resource::Any,
    input: members![
        required("Tags", shapes::TAGS),
        required("ResourceARN", shapes::RESOURCE_ARN),
        STREAM_ID,
    ],
    output: members![],
    errors: &[
        exception::VALIDATION,
        exception::RESOURCE_NOT_FOUND,
        exception::RESOURCE_IN_USE,
        exception::INVALID_ARGUMENT,
        exception::LIMIT_EXCEEDED,
        exception::ACCESS_DENIED,
        exception::INTERNAL_FAILURE,
    ],
    run: None,
};

pub(super) const UNTAG_RESOURCE: Operation = Operation {
    name: "UntagResource",
    class: Class::Control,
    resource: Resource::Any,
    input: members![
        required("TagKeys", TAG_KEY_LIST),
        required("ResourceARN", shapes::RESOURCE_ARN),
        STREAM_ID,
    ],
    output: members![],
    errors: &[
        exception::VALIDATION,
        exception::RESOURCE_NOT_FOUND,
        exception::RESOURCE_IN_USE,
        exception::INVALID_ARGUMENT,
        exception::LIMIT_EXCEEDED,
        exception::ACCESS_DENIED,
        exception::INTERNAL_FAILURE,
    ],
    run: None,
};

pub(super) const LIST_TAGS_FOR_RESOURCE: Operation = Operation {
    name: "ListTagsForResource",
    class: Class::Control,
    resource: Resource::Any,
    input: members![required("ResourceARN", shapes::RESOURCE_ARN), STREAM_ID,],
    output: members![optional("Tags", TAG_LIST),],
    errors: &[
        exception::VALIDATION,
        exception::RESOURCE_NOT_FOUND,
        exception::RESOURCE_IN_USE,
        exception::INVALID_ARGUMENT,
        exception::LIMIT_EXCEEDED,
        exception::ACCESS_DENIED,
        exception::INTERNAL_FAILURE,
    ],
    run: None,
};

/// The most tags of one resource.
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
