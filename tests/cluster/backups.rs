//! A store on a cluster as a directory, and back.

use std::fs;

use anabranch::{Error, SequenceNumber, ShardFilter, StartingPosition, Store, StoreOptions};
use anabranch_harness::nats::Setup;
use anabranch_harness::wait::wait_until;

use crate::load::Load;
use crate::verified::fill;
use crate::{Cluster, run};

/// What a reader of the stream sees, by number: in which order it comes to shards is left to it.
fn records(store: &Store, stream: &str) -> Vec<(SequenceNumber, String)> {
    let stream = store.stream(stream).unwrap();
    let reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
    let shown = reader.map(|record| {
        let record = record.unwrap();
        (
            record.sequence_number,
            format!(
                "{} {:?} {}",
                record.partition_key, record.data, record.approximate_arrival
            ),
        )
    });
    let mut shown: Vec<_> = shown.collect();
    shown.sort();
    shown
}

fn delete_all(cluster: &Cluster) {
    for stream in cluster.nodes.streams() {
        let name = stream["name"].as_str().unwrap();
        let answer = cluster
            .nodes
            .request(&format!("$JS.API.STREAM.DELETE.{name}"), "");
        assert_eq!(answer["success"], true, "{answer}");
    }
}

#[test]
fn a_store_comes_back_from_its_backup_as_it_was() {
    let Some(cluster) = Cluster::of_one() else {
        return;
    };
    let store = cluster.open();
    fill(&store);
    store.create_stream("empty", 2).unwrap();
    let stream = store.stream("clicks").unwrap();
    let mut reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
    reader.by_ref().take(20).for_each(|record| drop(record.unwrap()));
    reader.save_checkpoint("half-way").unwrap();
    drop(reader);
    let before = ["clicks", "orders"].map(|name| records(&store, name));
    let (id, lineage) = (store.id(), stream.describe().unwrap().shards);
    let directory = tempfile::tempdir().unwrap();
    let backup = directory.path().join("backup");
    // Beside the store that is open.
    let (status, said, error) = run(&["backup", backup.to_str().unwrap()], &cluster.options());
    assert_eq!(status, Some(0), "{said}{error}");
    assert!(said.contains("The backup is sound."), "{said}");
    let last = stream.put("key-0", b"behind the backup").unwrap();
    store.close().unwrap();

    let refused = cluster.at().restore(&backup, &mut |_| {}).unwrap_err();
    assert!(matches!(refused, Error::NotEmpty { .. }), "{refused}");
    delete_all(&cluster);
    let other = cluster.at().store_name("other").unwrap();
    let refused = other.restore(&backup, &mut |_| {}).unwrap_err();
    assert!(
        refused.to_string().contains("the backup is of the store main"),
        "{refused}"
    );

    let (status, said, error) = run(&["restore", backup.to_str().unwrap()], &cluster.options());
    assert_eq!(status, Some(0), "{said}{error}");
    assert!(said.contains("The store is restored."), "{said}");
    assert!(cluster.at().verify(&mut |_| {}).unwrap().is_sound());
    assert!(cluster.at().check().unwrap().is_sound());
    let store = cluster.open();
    assert_eq!(store.id(), id);
    assert_eq!(["clicks", "orders"].map(|name| records(&store, name)), before);
    let stream = store.stream("clicks").unwrap();
    assert_eq!(stream.describe().unwrap().shards, lineage);
    let rest = stream
        .resume_reader("half-way", StartingPosition::Latest)
        .unwrap();
    assert_eq!(rest.map(Result::unwrap).count(), before[0].len() - 20);
    // Numbers that were given out since are not given out again.
    let put = stream.put("key-0", b"behind the restore").unwrap();
    assert_eq!(put.shard_id, last.shard_id);
    let distance = put.sequence_number.record_number().value() - last.sequence_number.record_number().value();
    assert!(distance > 1 << 40, "{distance}");
    let shard = stream.shards(&ShardFilter::AtLatest).unwrap()[0].id;
    stream.split_in_half(shard).unwrap();
    store.stream("empty").unwrap().put("key", b"first").unwrap();
    assert_eq!(records(&store, "clicks").len(), before[0].len() + 1);
    store.close().unwrap();
    // A backup of what was restored is one too.
    let again = directory.path().join("again");
    cluster.at().back_up(&again, &mut |_| {}).unwrap();
    delete_all(&cluster);
    cluster.at().restore(&again, &mut |_| {}).unwrap();
    let store = cluster.open();
    assert_eq!(records(&store, "clicks").len(), before[0].len() + 1);
    store.close().unwrap();
}

#[test]
fn a_backup_that_is_made_under_load_has_all_that_was_acknowledged_before() {
    let Some(cluster) = Cluster::of_three() else {
        return;
    };
    let store = cluster.open();
    let stream = store.create_stream("clicks", 3).unwrap();
    let load = Load::begin(&stream, 4);
    load.wait_for(200);
    let before = records(&store, "clicks");
    let directory = tempfile::tempdir().unwrap();
    let backup = directory.path().join("backup");
    cluster.at().back_up(&backup, &mut |_| {}).unwrap();
    load.wait_for(50);
    load.end();
    store.close().unwrap();
    delete_all(&cluster);
    cluster.at().restore(&backup, &mut |_| {}).unwrap();
    let store = cluster.open();
    let restored: std::collections::BTreeMap<_, _> = records(&store, "clicks").into_iter().collect();
    for (number, record) in before {
        assert_eq!(restored.get(&number), Some(&record));
    }
    store.close().unwrap();
}

#[test]
fn a_restore_waits_until_all_servers_know_where_its_parts_go() {
    let late = Setup {
        late_subjects: Some("$JS.SNAPSHOT.RESTORE."),
        ..Setup::default()
    };
    let Some(cluster) = Cluster::of(3, late) else {
        return;
    };
    let store = cluster.open();
    // So many that some are made by another server than the one of the connection.
    for name in ["a", "b", "c", "d", "e", "f"] {
        store.create_stream(name, 1).unwrap().put("key", b"a").unwrap();
    }
    store.close().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let backup = directory.path().join("backup");
    cluster.at().back_up(&backup, &mut |_| {}).unwrap();
    delete_all(&cluster);
    cluster.at().restore(&backup, &mut |_| {}).unwrap();
    assert!(cluster.nodes.late_news() > 0);
    let store = cluster.open();
    for name in ["a", "b", "c", "d", "e", "f"] {
        assert_eq!(records(&store, name).len(), 1);
    }
    store.close().unwrap();
}

#[test]
fn what_is_no_backup_or_a_damaged_one_is_refused_and_leaves_nothing() {
    let Some(cluster) = Cluster::of_one() else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let backup = directory.path().join("backup");
    let nothing = cluster.at().back_up(&backup, &mut |_| {}).unwrap_err();
    assert!(matches!(nothing, Error::NotAStore { .. }), "{nothing}");
    let store = cluster.open();
    fill(&store);
    store.close().unwrap();
    fs::write(directory.path().join("file"), b"of another").unwrap();
    let taken = cluster.at().back_up(directory.path(), &mut |_| {}).unwrap_err();
    assert!(matches!(taken, Error::NotEmpty { .. }), "{taken}");
    cluster.at().back_up(&backup, &mut |_| {}).unwrap();

    // A message that is on no server.
    let answer = cluster
        .nodes
        .request("$JS.API.STREAM.MSG.DELETE.AB_main_2", "{\"seq\":20}");
    assert_eq!(answer["success"], true, "{answer}");
    let lost = directory.path().join("lost");
    let damaged = cluster.at().back_up(&lost, &mut |_| {}).unwrap_err();
    assert!(matches!(damaged, Error::Corrupt { .. }), "{damaged}");
    assert_eq!(fs::read_dir(&lost).unwrap().count(), 0);
    let (status, _, said) = run(&["backup", lost.to_str().unwrap()], &cluster.options());
    assert_eq!(status, Some(1), "{said}");

    delete_all(&cluster);
    let no_backup = cluster.at().restore(directory.path(), &mut |_| {}).unwrap_err();
    assert!(matches!(no_backup, Error::NotAStore { .. }), "{no_backup}");
    let messages = backup.join("AB_main_2").join("stream.tar.s2");
    let mut bytes = fs::read(&messages).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&messages, bytes).unwrap();
    let refused = cluster.at().restore(&backup, &mut |_| {}).unwrap_err();
    assert!(matches!(refused, Error::Cluster { .. }), "{refused}");
    wait_until("nothing is left", || cluster.nodes.streams().is_empty());
    StoreOptions::new()
        .open_jetstream(&cluster.at())
        .unwrap()
        .close()
        .unwrap();
    for arguments in [&["backup"][..], &["restore", "somewhere"]] {
        let (status, _, said) = run(arguments, &[]);
        assert_eq!(status, Some(2), "{said}");
    }
}
