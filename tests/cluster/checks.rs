//! What `anabranch check` says of clusters that are sound, and of some that are not.

use std::time::Duration;

use anabranch::{ClusterCheck, Error, JetStream};
use anabranch_harness::nats::Setup;
use anabranch_harness::wait::wait_until;
use serde_json::Value;

use crate::{Cluster, run};

/// What is wrong with it, a line each.
fn problems(checked: &ClusterCheck) -> Vec<String> {
    checked.problems.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn assert_problem(problems: &[String], about: &str, what: &str) {
    let is_told = |problem: &String| {
        problem.starts_with(&format!("{about}: ")) && problem.contains(what) && problem.contains("Next: ")
    };
    assert!(problems.iter().any(is_told), "{about}: {what}: {problems:#?}");
}

/// A replica is not current for a moment after it was made.
fn wait_until_sound(cluster: &Cluster) -> ClusterCheck {
    let mut checked = cluster.at().check().unwrap();
    wait_until("nothing is wrong", || {
        checked = cluster.at().check().unwrap();
        checked.is_sound()
    });
    checked
}

#[test]
fn nothing_is_wrong_with_a_cluster_that_is_sound_with_a_store_and_without() {
    let Some(cluster) = Cluster::of_three() else {
        return;
    };
    let before = wait_until_sound(&cluster);
    assert!(before.streams.is_empty() && before.owner.is_none());
    let names: Vec<_> = before.servers.iter().map(|server| server.name.as_str()).collect();
    assert_eq!(names, ["n1", "n2", "n3"]);
    for server in &before.servers {
        assert_eq!((server.is_synced, server.max_payload), (Some(true), 16 << 20));
        assert!(server.used_bytes < server.limit_bytes && server.version.starts_with("2."));
    }
    // Nothing was made.
    assert!(cluster.nodes.streams().is_empty());

    let store = cluster.open();
    let stream = store.create_stream("clicks", 2).unwrap();
    stream.put("key", b"data").unwrap();
    let checked = wait_until_sound(&cluster);
    assert!(checked.owner.is_some());
    let names: Vec<_> = checked
        .streams
        .iter()
        .map(|stream| stream.name.as_str())
        .collect();
    assert_eq!(names, ["AB_main_1", "AB_main_catalog"]);
    for stream in &checked.streams {
        assert_eq!((stream.wanted_replicas, stream.current_replicas()), (3, 3));
        assert!(stream.is_ours && stream.leader.is_some() && stream.messages > 0);
    }
    store.close().unwrap();

    let (status, said, _) = run(&["check"], &cluster.options());
    assert_eq!(status, Some(0), "{said}");
    for word in [
        "n1",
        "always",
        "16.0 MiB",
        "AB_main_catalog",
        "No server has the store open.",
        "Nothing is wrong.",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let (status, said, _) = run(&["check", "--json"], &cluster.options());
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (status, &said["sound"], &said["open"]),
        (Some(0), &true.into(), &false.into())
    );
    assert_eq!(said["servers"][2]["name"], "n3");
    assert_eq!(said["streams"][0]["current_replicas"], 3);
}

#[test]
fn a_server_that_is_down_is_named_with_what_it_lacks() {
    let Some(mut cluster) = Cluster::of_three() else {
        return;
    };
    let store = cluster.open();
    store
        .create_stream("clicks", 1)
        .unwrap()
        .put("key", b"data")
        .unwrap();
    store.close().unwrap();
    cluster.nodes.kill(2);
    let mut told = Vec::new();
    wait_until("the leaders of both streams do not hear it", || {
        // Lists of streams are not answered while their leader is chosen.
        let Ok(checked) = cluster.at().check() else {
            return false;
        };
        told = problems(&checked);
        // Each leader finds out by itself.
        told.iter().any(|problem| {
            problem.starts_with("n3: it is not heard by the leader") && problem.contains("AB_main_1")
        })
    });
    let address = cluster.nodes.url().rsplit(',').next().unwrap().to_owned();
    assert_problem(&told, &address, "no server answers there");
    assert_problem(&told, "n3", "AB_main_1");
    let (status, said, _) = run(&["check"], &cluster.options());
    assert_eq!(status, Some(1), "{said}");
    cluster.nodes.kill(1);
    // Without a majority there is no leader: that is told, and not waited for without end.
    let mut told = Vec::new();
    wait_until("there is no leader", || {
        // While a leader is chosen it may be that none answers at all.
        told = cluster
            .at()
            .check()
            .map_or_else(|_| Vec::new(), |check| problems(&check));
        told.iter()
            .any(|problem| problem.contains("JetStream does not answer"))
    });
    cluster.nodes.kill(0);
    let refused = cluster.at().check().unwrap_err();
    assert!(matches!(refused, Error::Cluster { .. }), "{refused}");
    let (status, _, said) = run(&["check"], &cluster.options());
    assert_eq!(status, Some(2), "{said}");
}

#[test]
fn servers_that_are_set_up_wrong_are_named() {
    let setup = Setup {
        sync_interval: "2m",
        max_payload: "8MB",
        ..Setup::default()
    };
    let Some(cluster) = Cluster::of(1, setup) else {
        return;
    };
    let told = problems(&cluster.at().check().unwrap());
    assert_problem(&told, "n1", "it does not sync");
    assert_problem(&told, "n1", "max_payload is 8388608");
    let told = problems(&cluster.at().replicas(3).unwrap().check().unwrap());
    assert_problem(&told, "cluster", "3 replicas are asked for");
    let unknown = cluster.at().monitors(&["http://127.0.0.1:1"]).unwrap();
    assert_problem(
        &problems(&unknown.check().unwrap()),
        "n1",
        "it is not known whether it syncs",
    );
    // For which the caller may vouch.
    let vouched = problems(&unknown.trust_sync().check().unwrap());
    assert!(
        vouched.iter().all(|problem| !problem.contains("sync")),
        "{vouched:?}"
    );

    let setup = Setup {
        has_jetstream: false,
        ..Setup::default()
    };
    let bare = Cluster::of(1, setup).unwrap();
    let told = problems(&bare.at().check().unwrap());
    assert_problem(&told, "n1", "it has no JetStream");
    assert_problem(&told, "cluster", "JetStream does not answer");
}

#[test]
fn streams_of_others_and_those_that_were_changed_are_named() {
    let Some(cluster) = Cluster::of_one() else {
        return;
    };
    let make = |name: &str, subject: &str| {
        let body = format!("{{\"name\":\"{name}\",\"subjects\":[\"{subject}\"],\"storage\":\"file\"}}");
        let answer = cluster
            .nodes
            .request(&format!("$JS.API.STREAM.CREATE.{name}"), &body);
        assert!(answer["error"].is_null(), "{answer}");
    };
    make("ORDERS", "ab.main.7.orders");
    make("AB_main_9", "elsewhere");
    make("UNRELATED", "unrelated");
    let told = problems(&cluster.at().check().unwrap());
    assert_problem(&told, "ORDERS", "another program made it");
    assert_problem(&told, "AB_main_9", "another program made it");
    assert_eq!(told.len(), 2, "{told:?}");

    let other = cluster.at().store_name("other").unwrap();
    let store = anabranch::StoreOptions::new().open_jetstream(&other).unwrap();
    store
        .create_stream("clicks", 1)
        .unwrap()
        .put("key", b"data")
        .unwrap();
    store.close().unwrap();
    assert!(other.check().unwrap().is_sound());
    let found = cluster.nodes.request("$JS.API.STREAM.INFO.AB_other_1", "");
    let mut configuration = found["config"].clone();
    configuration["max_age"] = (Duration::from_secs(3_600).as_nanos() as u64).into();
    let body = configuration.to_string();
    let answer = cluster.nodes.request("$JS.API.STREAM.UPDATE.AB_other_1", &body);
    assert!(answer["error"].is_null(), "{answer}");
    let told = problems(&other.check().unwrap());
    assert_problem(&told, "AB_other_1", "max_age is 3600000000000 and not 0");
    cluster
        .nodes
        .request("$JS.API.STREAM.DELETE.AB_other_catalog", "");
    assert_problem(
        &problems(&other.check().unwrap()),
        "AB_other_catalog",
        "it is not there",
    );
}

#[test]
fn options_of_a_check_are_checked() {
    let (status, _, said) = run(&["check"], &[]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("--engine"), "{said}");
    let (status, _, said) = run(&["check", "--engine", "http://a"], &[]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("nats://HOST"), "{said}");
    let (status, _, said) = run(
        &["check", "--engine", "nats://127.0.0.1:1", "--replicas", "2"],
        &[],
    );
    assert!(status == Some(2) && said.contains("1, 3 or 5"), "{said}");
    assert!(JetStream::at("nats://127.0.0.1:1").unwrap().check().is_err());
}
