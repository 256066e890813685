//! Facts that a store keeps and shows without acting on them: tags, attributes, consumers; and streams in namespaces.

use std::collections::BTreeMap;

use anabranch::{
    ConsumerStatus, Error, NewConsumer, Store, StoreOptions, Stream, StreamOptions, StreamSummary, limits,
};

use crate::backends::{Place, on_each_backend};

fn open(place: &Place) -> Store {
    place.open_with(&StoreOptions::new().keeper(false))
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

on_each_backend!(
    tags_are_removed_and_set_and_kept,
    a_change_that_would_leave_too_many_tags_changes_nothing,
    threads_at_once_cannot_exceed_the_limit_of_tags_together,
    a_consumer_has_tags_of_its_own,
    attributes_are_kept_with_what_they_belong_to,
    an_attribute_has_a_plain_name_and_a_bounded_value,
    consumers_have_names_and_numbers_of_their_own,
    what_belongs_to_a_stream_goes_with_it,
    streams_of_a_namespace_are_apart_from_all_others,
);

fn tags_are_removed_and_set_and_kept(place: &Place) {
    let store = open(place);
    let options = StreamOptions {
        tags: tags(&[("owner", "me"), ("stage", "draft")]),
        ..StreamOptions::default()
    };
    let stream = store.create_stream_with("orders", options).unwrap();
    assert_eq!(
        stream.tags().unwrap(),
        tags(&[("owner", "me"), ("stage", "draft")])
    );

    let removed = ["stage".to_owned(), "owner".to_owned(), "never there".to_owned()];
    stream
        .change_tags(&tags(&[("owner", "you"), ("cost", "1")]), &removed, 50)
        .unwrap();
    let changed = tags(&[("owner", "you"), ("cost", "1")]);
    assert_eq!(stream.tags().unwrap(), changed);
    assert_eq!(stream.summary().unwrap().tags, changed);
    store.close().unwrap();

    let store = open(place);
    assert_eq!(store.stream("orders").unwrap().tags().unwrap(), changed);
}

fn numbered(range: std::ops::Range<usize>) -> BTreeMap<String, String> {
    range.map(|number| (number.to_string(), String::new())).collect()
}

fn a_change_that_would_leave_too_many_tags_changes_nothing(place: &Place) {
    let store = open(place);
    let stream = store.create_stream("orders", 1).unwrap();
    stream.change_tags(&numbered(0..4), &[], 5).unwrap();
    let refused = stream.change_tags(&numbered(2..6), &["never there".to_owned()], 5);
    assert!(
        matches!(refused, Err(Error::TooManyTags { count: 6, limit: 5 })),
        "{refused:?}"
    );
    assert_eq!(stream.tags().unwrap(), numbered(0..4));

    // Removed tags make room, unless they are set again.
    let removed = ["0".to_owned(), "2".to_owned()];
    assert!(stream.change_tags(&numbered(2..7), &removed, 5).is_err());
    stream.change_tags(&numbered(2..6), &removed, 5).unwrap();
    assert_eq!(stream.tags().unwrap(), numbered(1..6));

    // Tags beyond a lower limit stay, and can be changed and removed.
    stream.change_tags(&tags(&[("1", "new")]), &[], 3).unwrap();
    stream
        .change_tags(&BTreeMap::new(), &["1".to_owned()], 3)
        .unwrap();
    assert!(stream.change_tags(&numbered(1..2), &[], 3).is_err());
    assert_eq!(stream.tags().unwrap(), numbered(2..6));
}

fn threads_at_once_cannot_exceed_the_limit_of_tags_together(place: &Place) {
    let store = open(place);
    const LIMIT: usize = 50;
    const THREADS: usize = 2;
    for round in 0..20 {
        let stream = store.create_stream(&format!("orders-{round}"), 1).unwrap();
        stream.change_tags(&numbered(0..LIMIT - 1), &[], LIMIT).unwrap();
        let start = std::sync::Barrier::new(THREADS);
        let set = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let (stream, start) = (&stream, &start);
                    scope.spawn(move || {
                        start.wait();
                        stream.change_tags(&tags(&[(&format!("of {thread}"), "")]), &[], LIMIT)
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .filter(Result::is_ok)
                .count()
        });
        assert_eq!(set, 1);
        assert_eq!(stream.tags().unwrap().len(), LIMIT);
    }
}

fn a_consumer_has_tags_of_its_own(place: &Place) {
    let store = open(place);
    let stream = store.create_stream("orders", 1).unwrap();
    let billing = stream.register_consumer("billing").unwrap().id;
    let audit = stream.register_consumer("audit").unwrap().id;
    stream
        .change_consumer_tags(billing, &tags(&[("owner", "me"), ("a", "b")]), &[], 2)
        .unwrap();
    stream
        .change_consumer_tags(billing, &BTreeMap::new(), &["a".to_owned()], 2)
        .unwrap();
    let too_many = stream.change_consumer_tags(billing, &numbered(0..2), &[], 2);
    assert!(matches!(too_many, Err(Error::TooManyTags { count: 3, limit: 2 })));
    store.close().unwrap();

    let store = open(place);
    let stream = store.stream("orders").unwrap();
    assert_eq!(stream.consumer_tags(billing).unwrap(), tags(&[("owner", "me")]));
    assert!(stream.consumer_tags(audit).unwrap().is_empty());
    assert!(stream.tags().unwrap().is_empty());
    stream.remove_consumer(billing).unwrap();
    for gone in [
        stream.consumer_tags(billing).map(drop),
        stream.change_consumer_tags(billing, &numbered(0..1), &[], 2),
    ] {
        assert!(
            matches!(&gone, Err(Error::ConsumerNotFound { stream, consumer }) if stream == "orders" && *consumer == billing),
            "{gone:?}"
        );
    }
}

fn attributes_are_kept_with_what_they_belong_to(place: &Place) {
    let store = open(place);
    let stream = store.create_stream("orders", 1).unwrap();
    let tenant = store.namespace("tenant").unwrap();
    store.set_attribute("limits", Some(b"of the store")).unwrap();
    tenant.set_attribute("limits", Some(b"of the tenant")).unwrap();
    stream.set_attribute("policy", Some(b"allow")).unwrap();
    stream.set_attribute("passing", Some(b"soon gone")).unwrap();
    stream.set_attribute("passing", None).unwrap();
    store.close().unwrap();

    let store = open(place);
    let stream = store.stream("orders").unwrap();
    let tenant = store.namespace("tenant").unwrap();
    assert_eq!(store.attribute("limits").unwrap().unwrap(), b"of the store");
    assert_eq!(tenant.attribute("limits").unwrap().unwrap(), b"of the tenant");
    assert_eq!(store.attribute("policy").unwrap(), None);
    assert_eq!(stream.attribute("policy").unwrap().unwrap(), b"allow");
    assert_eq!(stream.attribute("passing").unwrap(), None);
}

fn an_attribute_has_a_plain_name_and_a_bounded_value(place: &Place) {
    let store = open(place);
    let stream = store.create_stream("orders", 1).unwrap();
    let most = vec![7; limits::MAX_ATTRIBUTE_BYTES];
    stream.set_attribute("policy", Some(&most)).unwrap();
    let more = vec![7; limits::MAX_ATTRIBUTE_BYTES + 1];
    assert!(is_invalid(&stream.set_attribute("policy", Some(&more))));
    assert!(is_invalid(&store.set_attribute("", Some(b"x"))));
    assert!(is_invalid(&store.set_attribute("a b", Some(b"x"))));
    assert_eq!(stream.attribute("policy").unwrap().unwrap(), most);
}

fn consumers_have_names_and_numbers_of_their_own(place: &Place) {
    let store = open(place);
    let stream = store.create_stream("orders", 1).unwrap();
    let billing = stream.register_consumer("billing").unwrap();
    let audit = stream.register_consumer("audit").unwrap();
    let again = stream.register_consumer("billing");
    assert!(matches!(again, Err(Error::ConsumerExists { consumer, .. }) if consumer == "billing"));
    let limited = NewConsumer {
        max_consumers: 2,
        ..NewConsumer::default()
    };
    let third = stream.register_consumer_with("third", &limited);
    assert!(matches!(third, Err(Error::TooManyConsumers { limit: 2, .. })));
    assert!(is_invalid(&stream.register_consumer("a b")));
    assert_eq!(stream.consumers().unwrap(), [billing, audit.clone()]);
    stream.remove_consumer(audit.id).unwrap();
    stream.remove_consumer(audit.id).unwrap();
    store.close().unwrap();

    let store = open(place);
    let stream = store.stream("orders").unwrap();
    let again = stream.register_consumer("audit").unwrap();
    assert!(again.id > audit.id);
    assert!(again.created.as_seconds() > audit.created.as_seconds());
    assert_eq!(again.status, ConsumerStatus::Active);
    assert_eq!(stream.consumers().unwrap().len(), 2);
}

fn what_belongs_to_a_stream_goes_with_it(place: &Place) {
    let store = open(place);
    let fill = |stream: &Stream| {
        stream.change_tags(&tags(&[("owner", "me")]), &[], 50).unwrap();
        stream.set_attribute("policy", Some(b"allow")).unwrap();
        stream.register_consumer("billing").unwrap();
    };
    let old = store.create_stream("orders", 1).unwrap();
    fill(&old);
    store.stream("orders").and_then(|stream| stream.delete()).unwrap();
    let new = store.create_stream("orders", 1).unwrap();
    assert!(new.tags().unwrap().is_empty() && new.consumers().unwrap().is_empty());
    assert_eq!(new.attribute("policy").unwrap(), None);

    let is_gone = |result: Result<(), Error>| matches!(result, Err(Error::StreamNotFound { .. }));
    assert!(is_gone(old.change_tags(&tags(&[("owner", "you")]), &[], 50)));
    assert!(is_gone(old.set_attribute("policy", None)));
    assert!(is_gone(old.register_consumer("audit").map(drop)));
}

fn streams_of_a_namespace_are_apart_from_all_others(place: &Place) {
    let store = open(place);
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
    store.stream("clicks").and_then(|stream| stream.delete()).unwrap();
    store.close().unwrap();

    let store = open(place);
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
