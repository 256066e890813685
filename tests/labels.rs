//! What a store keeps and shows without acting on it: tags, attributes, consumers; and streams in namespaces.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

use anabranch::{CreateStream, Error, Store, StoreOptions, Stream, StreamSummary, limits};

fn open(directory: &Path) -> Store {
    StoreOptions::new().keeper(false).open(directory).unwrap()
}

fn tags(tags: &[(&str, &str)]) -> BTreeMap<String, String> {
    let tags = tags.iter();
    tags.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn names(streams: Vec<StreamSummary>) -> Vec<String> {
    streams.into_iter().map(|stream| stream.name).collect()
}

fn is_invalid<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::InvalidArgument { .. }))
}

#[test]
fn tags_are_removed_and_set_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let options = CreateStream {
        tags: tags(&[("owner", "me"), ("stage", "draft")]),
        ..CreateStream::default()
    };
    let stream = store.create_stream_with("orders", options).unwrap();
    assert_eq!(
        stream.tags().unwrap(),
        tags(&[("owner", "me"), ("stage", "draft")])
    );

    let removed = ["stage".to_owned(), "owner".to_owned(), "never there".to_owned()];
    stream
        .change_tags(&tags(&[("owner", "you"), ("cost", "1")]), &removed)
        .unwrap();
    let changed = tags(&[("owner", "you"), ("cost", "1")]);
    assert_eq!(stream.tags().unwrap(), changed);
    assert_eq!(stream.summary().unwrap().tags, changed);
    store.close().unwrap();

    let store = open(directory.path());
    assert_eq!(store.stream("orders").unwrap().tags().unwrap(), changed);
}

#[test]
fn attributes_are_kept_with_what_they_belong_to() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let stream = store.create_stream("orders", 1).unwrap();
    let tenant = store.namespace("tenant").unwrap();
    store.set_attribute("limits", Some(b"of the store")).unwrap();
    tenant.set_attribute("limits", Some(b"of the tenant")).unwrap();
    stream.set_attribute("policy", Some(b"allow")).unwrap();
    stream.set_attribute("passing", Some(b"soon gone")).unwrap();
    stream.set_attribute("passing", None).unwrap();
    store.close().unwrap();

    let store = open(directory.path());
    let stream = store.stream("orders").unwrap();
    let tenant = store.namespace("tenant").unwrap();
    assert_eq!(store.attribute("limits").unwrap().unwrap(), b"of the store");
    assert_eq!(tenant.attribute("limits").unwrap().unwrap(), b"of the tenant");
    assert_eq!(store.attribute("policy").unwrap(), None);
    assert_eq!(stream.attribute("policy").unwrap().unwrap(), b"allow");
    assert_eq!(stream.attribute("passing").unwrap(), None);
}

#[test]
fn an_attribute_has_a_plain_name_and_a_bounded_value() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let stream = store.create_stream("orders", 1).unwrap();
    let most = vec![7; limits::MAX_ATTRIBUTE_BYTES];
    stream.set_attribute("policy", Some(&most)).unwrap();
    let more = vec![7; limits::MAX_ATTRIBUTE_BYTES + 1];
    assert!(is_invalid(&stream.set_attribute("policy", Some(&more))));
    assert!(is_invalid(&store.set_attribute("", Some(b"x"))));
    assert!(is_invalid(&store.set_attribute("a b", Some(b"x"))));
    assert_eq!(stream.attribute("policy").unwrap().unwrap(), most);
}

#[test]
fn consumers_have_names_and_numbers_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let stream = store.create_stream("orders", 1).unwrap();
    let billing = stream.register_consumer("billing").unwrap();
    let audit = stream.register_consumer("audit").unwrap();
    assert!(is_invalid(&stream.register_consumer("billing")));
    assert!(is_invalid(&stream.register_consumer("a b")));
    assert_eq!(stream.consumers().unwrap(), [billing, audit.clone()]);
    stream.remove_consumer(audit.id).unwrap();
    stream.remove_consumer(audit.id).unwrap();
    store.close().unwrap();

    let store = open(directory.path());
    let stream = store.stream("orders").unwrap();
    let again = stream.register_consumer("audit").unwrap();
    assert!(again.id > audit.id);
    assert_eq!(stream.consumers().unwrap().len(), 2);
}

#[test]
fn what_belongs_to_a_stream_goes_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let fill = |stream: &Stream| {
        stream.change_tags(&tags(&[("owner", "me")]), &[]).unwrap();
        stream.set_attribute("policy", Some(b"allow")).unwrap();
        stream.register_consumer("billing").unwrap();
    };
    let old = store.create_stream("orders", 1).unwrap();
    fill(&old);
    store.delete_stream("orders").unwrap();
    let new = store.create_stream("orders", 1).unwrap();
    assert!(new.tags().unwrap().is_empty() && new.consumers().unwrap().is_empty());
    assert_eq!(new.attribute("policy").unwrap(), None);

    let is_gone = |result: Result<(), Error>| matches!(result, Err(Error::StreamNotFound { .. }));
    assert!(is_gone(old.change_tags(&tags(&[("owner", "you")]), &[])));
    assert!(is_gone(old.set_attribute("policy", None)));
    assert!(is_gone(old.register_consumer("audit").map(drop)));
}

#[test]
fn streams_of_a_namespace_are_apart_from_all_others() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let east = store.namespace("123456789012/us-east-1").unwrap();
    let west = store.namespace("123456789012/us-west-2").unwrap();
    store
        .create_stream("clicks", 1)
        .unwrap()
        .put("k", b"none")
        .unwrap();
    east.create_stream("clicks", 2)
        .unwrap()
        .put("k", b"east")
        .unwrap();
    east.create_stream("orders", 1).unwrap();
    west.create_stream("clicks", 1).unwrap();
    assert!(matches!(
        east.create_stream("clicks", 1),
        Err(Error::StreamExists { name }) if name == "clicks"
    ));
    store.delete_stream("clicks").unwrap();
    store.close().unwrap();

    let store = open(directory.path());
    let east = store.namespace("123456789012/us-east-1").unwrap();
    assert!(store.streams(None, 10).unwrap().is_empty());
    assert!(matches!(
        store.stream("clicks"),
        Err(Error::StreamNotFound { .. })
    ));
    assert_eq!(names(east.streams(None, 10).unwrap()), ["clicks", "orders"]);
    assert_eq!(names(east.streams(Some("clicks"), 10).unwrap()), ["orders"]);
    let clicks = east.stream("clicks").unwrap();
    assert_eq!((clicks.namespace(), clicks.name()), (east.name(), "clicks"));
    assert_eq!(clicks.describe().unwrap().shards.len(), 2);
    assert_eq!(store.open_shard_count().unwrap(), 4);
    for name in ["/", "a//b", "a b", &"x".repeat(129)] {
        assert!(is_invalid(&store.namespace(name)), "{name}");
    }
}
