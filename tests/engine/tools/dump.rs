//! The contents of a store are shown.

use std::ops::ControlFlow;

use anabranch::inspect::{DumpItem, DumpOptions, DumpWhat, Inspection};
use anabranch::{Error, HashKey};

use super::inspected_store::{InspectedStore, dump, frames, options};

#[test]
fn a_dump_shows_every_layer() {
    let store = InspectedStore::closed(8);
    let opened = options().open(store.path()).unwrap();
    let stream = opened.stream("clicks").unwrap();
    let put = stream.put("user-42", b"hello").unwrap();
    stream.split_shard(put.shard_id, HashKey::MAX / 8).unwrap();
    opened.close().unwrap();

    let mut kinds = Vec::new();
    dump(store.path(), DumpWhat::Manifest, |item| match item {
        DumpItem::Edit(edit) => {
            assert!(!format!("{:?}", edit.edit).contains(&format!("{:?}", store.secret())));
            #[cfg(feature = "server")]
            serde_json::to_value(&edit.edit).unwrap();
            kinds.push(edit.kind);
        }
        other => panic!("{other:?}"),
    });
    assert_eq!(kinds[..3], ["StoreCreated", "StreamIdsReserved", "StreamCreated"]);
    assert!(kinds.contains(&"Resharded"));

    let mut shards = Vec::new();
    dump(store.path(), DumpWhat::Lineage, |item| match item {
        DumpItem::Shard(shard) => shards.push(shard),
        other => panic!("{other:?}"),
    });
    assert_eq!(shards.len(), 3);
    assert!(!shards[0].shard.as_ref().unwrap().is_open());
    assert_eq!(shards[0].next_record.unwrap().value(), 10);

    let mut records = Vec::new();
    dump(store.path(), DumpWhat::Records, |item| match item {
        DumpItem::Record(record) => records.push(record),
        other => panic!("{other:?}"),
    });
    assert_eq!(records.len(), 9);
    let last = records.last().unwrap();
    assert_eq!(last.partition_key.as_str(), "user-42");
    assert_eq!(&last.data[..], b"hello");
    assert_eq!(last.sequence_number, Some(put.sequence_number));
    assert_eq!(frames(store.path()).len(), 9);
}

#[test]
fn a_dump_stops_where_it_is_told() {
    let store = InspectedStore::closed(8);
    let mut options = DumpOptions::of(DumpWhat::Records);
    options.limit = Some(4);
    options.stream = Some("clicks".to_owned());
    let mut shown = 0;
    let count = &mut |_| {
        shown += 1;
        ControlFlow::Continue(())
    };
    Inspection::of(store.path()).dump(&options, count).unwrap();
    assert_eq!(shown, 4);
    options.stream = Some("nobody's".to_owned());
    let missing = Inspection::of(store.path()).dump(&options, &mut |_| ControlFlow::Continue(()));
    assert!(matches!(missing, Err(Error::StreamNotFound { .. })));
}

#[test]
fn a_stream_in_a_namespace_is_shown_by_its_whole_name() {
    let store = InspectedStore::closed(1);
    let opened = options().open(store.path()).unwrap();
    let tenant = opened.namespace("tenant/region").unwrap();
    tenant.create_stream("clicks", 2).unwrap();
    tenant.create_stream("only-here", 3).unwrap();
    opened.close().unwrap();

    for (asked, name, count) in [
        ("clicks", "clicks", 1),
        ("tenant/region/clicks", "tenant/region/clicks", 2),
        ("only-here", "tenant/region/only-here", 3),
    ] {
        let mut options = DumpOptions::of(DumpWhat::Lineage);
        options.stream = Some(asked.to_owned());
        let mut shown = Vec::new();
        let mut show = |item| {
            if let DumpItem::Shard(shard) = item {
                shown.push(shard.log.stream_name.clone());
            }
            ControlFlow::Continue(())
        };
        Inspection::of(store.path()).dump(&options, &mut show).unwrap();
        assert_eq!(shown, vec![Some(name.to_owned()); count]);
    }
}
