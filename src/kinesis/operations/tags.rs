//! Tags of streams and of other resources.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

use super::resource_reference::{Named, RESOURCE_ARN};
use super::shapes;
use super::stream_reference::{STREAM_ARN, STREAM_ID, STREAM_NAME};
use super::tag_rules::MOST_TAGS;
use crate::kinesis::error::{ApiError, exception};
use crate::kinesis::key::{
    BOOLEAN, Boolean, INTEGER, Integer, Key, List, Map, Members, Shape, Structure, TEXT, Text, list, members,
    optional, required, structure,
};
use crate::kinesis::operation::{Call, Class, Operation, Reply, Resource};
use crate::kinesis::validate::failed_at;

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
    run: |request| request.blocking(list_tags_for_stream),
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

/// The tags after a key, which need not exist, in the order of their keys.
fn list_tags_for_stream(call: &Call<'_>) -> Result<Reply, ApiError> {
    let tags = Named::Stream(call.stream()?).tags(call.context)?;
    let after = call.get(EXCLUSIVE_START_TAG_KEY).map_or(Unbounded, Excluded);
    let rest = tags.range::<str, _>((after, Unbounded));
    let limit = call.input.limit(LIMIT, MOST_TAGS);
    let has_more = rest.clone().nth(limit).is_some();
    Ok(call.reply(|reply| {
        reply.set_list(TAGS, rest.take(limit), set_tag);
        reply.set(HAS_MORE_TAGS, has_more);
    }))
}

const TAG_KEY_LIST: Shape<List<Text>> = list(&TEXT).at_least(1).at_most(50).entry_lengths(1, 128);

const ADDED_TAGS: Key<Map<Text>> = required("Tags", shapes::TAGS);
const TAG_KEYS: Key<List<Text>> = required("TagKeys", TAG_KEY_LIST);

const CHANGE_STREAM_ERRORS: &[&str] = &[
    exception::RESOURCE_NOT_FOUND,
    exception::RESOURCE_IN_USE,
    exception::INVALID_ARGUMENT,
    exception::LIMIT_EXCEEDED,
    exception::ACCESS_DENIED,
];

pub(super) const ADD_TAGS_TO_STREAM: Operation = Operation {
    name: "AddTagsToStream",
    class: Class::Control,
    resource: Resource::Stream,
    input: members![STREAM_NAME, ADDED_TAGS, STREAM_ARN, STREAM_ID,],
    output: members![],
    errors: CHANGE_STREAM_ERRORS,
    run: |request| request.blocking(add_tags_to_stream),
};

fn add_tags_to_stream(call: &Call<'_>) -> Result<Reply, ApiError> {
    let tags = given(call.get(ADDED_TAGS));
    check_count_of_call("tags", tags.len())?;
    add(call, &Named::Stream(call.stream()?), &tags)
}

pub(super) const REMOVE_TAGS_FROM_STREAM: Operation = Operation {
    name: "RemoveTagsFromStream",
    class: Class::Control,
    resource: Resource::Stream,
    input: members![STREAM_NAME, TAG_KEYS, STREAM_ARN, STREAM_ID,],
    output: members![],
    errors: CHANGE_STREAM_ERRORS,
    run: |request| request.blocking(remove_tags_from_stream),
};

fn remove_tags_from_stream(call: &Call<'_>) -> Result<Reply, ApiError> {
    check_count_of_call("tagKeys", call.get(TAG_KEYS).count())?;
    remove(call, &Named::Stream(call.stream()?))
}

/// The API model allows more than the service.
fn check_count_of_call(path: &str, count: usize) -> Result<(), ApiError> {
    const MOST_OF_A_CALL: usize = 10;
    match count <= MOST_OF_A_CALL {
        true => Ok(()),
        false => Err(failed_at(
            path,
            &format!("Member must have length less than or equal to {MOST_OF_A_CALL}"),
        )),
    }
}

/// The tags of a request. If two have the same key, the last one counts.
pub(super) fn given(tags: Vec<(&str, &str)>) -> BTreeMap<String, String> {
    let tags = tags.into_iter();
    tags.map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn add(call: &Call<'_>, resource: &Named, tags: &BTreeMap<String, String>) -> Result<Reply, ApiError> {
    resource.check_active(call.context)?;
    resource.tagged(call.context).check_added(tags)?;
    resource.change_tags(call.context, tags, &[])?;
    Ok(Reply::empty())
}

/// Removes those of the named tags that exist.
fn remove(call: &Call<'_>, resource: &Named) -> Result<Reply, ApiError> {
    let keys: Vec<String> = call.get(TAG_KEYS).map(str::to_owned).collect();
    resource.check_active(call.context)?;
    resource.tagged(call.context).check_removed(&keys)?;
    resource.change_tags(call.context, &BTreeMap::new(), &keys)?;
    Ok(Reply::empty())
}

const RESOURCE_ERRORS: &[&str] = &[
    exception::VALIDATION,
    exception::RESOURCE_NOT_FOUND,
    exception::RESOURCE_IN_USE,
    exception::INVALID_ARGUMENT,
    exception::LIMIT_EXCEEDED,
    exception::ACCESS_DENIED,
    exception::INTERNAL_FAILURE,
];

pub(super) const TAG_RESOURCE: Operation = Operation {
    name: "TagResource",
    class: Class::Control,
    resource: Resource::Any,
    input: members![ADDED_TAGS, RESOURCE_ARN, STREAM_ID,],
    output: members![],
    errors: RESOURCE_ERRORS,
    run: |request| request.blocking(tag_resource),
};

fn tag_resource(call: &Call<'_>) -> Result<Reply, ApiError> {
    add(call, &call.resource()?, &given(call.get(ADDED_TAGS)))
}

pub(super) const UNTAG_RESOURCE: Operation = Operation {
    name: "UntagResource",
    class: Class::Control,
    resource: Resource::Any,
    input: members![TAG_KEYS, RESOURCE_ARN, STREAM_ID,],
    output: members![],
    errors: RESOURCE_ERRORS,
    run: |request| request.blocking(untag_resource),
};

fn untag_resource(call: &Call<'_>) -> Result<Reply, ApiError> {
    remove(call, &call.resource()?)
}

/// The tags of a resource, which a reply may leave out if there are none. This server does not leave them out.
const RESOURCE_TAGS: Key<Option<List<Structure>>> = optional("Tags", TAG_LIST);

pub(super) const LIST_TAGS_FOR_RESOURCE: Operation = Operation {
    name: "ListTagsForResource",
    class: Class::Control,
    resource: Resource::Any,
    input: members![RESOURCE_ARN, STREAM_ID,],
    output: members![RESOURCE_TAGS],
    errors: RESOURCE_ERRORS,
    run: |request| request.blocking(list_tags_for_resource),
};

fn list_tags_for_resource(call: &Call<'_>) -> Result<Reply, ApiError> {
    let tags = call.resource()?.tags(call.context)?;
    Ok(call.reply(|reply| reply.set_list(RESOURCE_TAGS, &tags, set_tag)))
}

fn set_tag(tag: &mut Members<'_>, (key, value): (&String, &String)) {
    tag.set(KEY, key.as_str());
    tag.set(VALUE, value.as_str());
}
