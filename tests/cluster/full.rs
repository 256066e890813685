//! A cluster whose storage is full.

use anabranch::{Error, StartingPosition, Stream};
use anabranch_harness::nats::Setup;
use anabranch_harness::wait::wait_until;

use crate::Cluster;

/// Puts smaller and smaller records until none is taken. Gives how many were, and the last refusal.
fn fill(stream: &Stream) -> (usize, Error) {
    let mut taken = 0;
    let mut refusal = None;
    for bytes in [1_000_000, 1 << 16, 1 << 12, 1 << 8, 1] {
        let data = vec![b'x'; bytes];
        refusal = Some(loop {
            match stream.put("key", &data) {
                Ok(_) => taken += 1,
                Err(error) => break error,
            }
        });
    }
    (taken, refusal.unwrap())
}

fn records(stream: &Stream) -> usize {
    let reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
    let records: Result<Vec<_>, Error> = reader.collect();
    records.unwrap().len()
}

#[track_caller]
fn assert_full<T: std::fmt::Debug>(result: Result<T, Error>) {
    let refusal = result.unwrap_err();
    assert!(matches!(refusal, Error::StorageFull { .. }), "{refusal}");
    assert!(refusal.to_string().contains("no space left"), "{refusal}");
}

#[test]
fn a_full_cluster_refuses_and_half_makes_nothing_and_goes_on_once_it_has_room() {
    let setup = Setup {
        max_file_store: Some("8MB"),
        ..Setup::default()
    };
    let Some(mut cluster) = Cluster::of(1, setup) else {
        return;
    };
    let store = cluster.open();
    let kept = store.create_stream("kept", 1).unwrap();
    kept.put("key", b"kept").unwrap();
    let large = store.create_stream("large", 1).unwrap();
    let (taken, refusal) = fill(&large);
    assert_full(Err::<(), _>(refusal));
    assert_full(kept.put("key", b"too much"));
    assert_full(store.create_stream("more", 1));
    assert!(matches!(store.stream("more"), Err(Error::StreamNotFound { .. })));
    assert_full(large.split_in_half(large.describe().unwrap().shards[0].id));
    assert_full(large.delete());
    assert_eq!((records(&kept), records(&large)), (1, taken));

    cluster.nodes.kill(0);
    cluster
        .nodes
        .reconfigure(0, "max_file_store: 8MB", "max_file_store: 64MB");
    cluster.nodes.begin(0);
    cluster.nodes.wait_until_ready();
    wait_until("it takes records again", || kept.put("key", b"again").is_ok());
    large
        .split_in_half(large.describe().unwrap().shards[0].id)
        .unwrap();
    assert_eq!(records(&large), taken);
    large.delete().unwrap();
    store
        .create_stream("more", 1)
        .unwrap()
        .put("key", b"more")
        .unwrap();
    assert!(records(&kept) >= 2);
    store.close().unwrap();
    let verification = cluster.at().verify(&mut |_| {}).unwrap();
    assert!(verification.is_sound(), "{:#?}", verification.findings);
}
