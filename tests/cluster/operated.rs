//! What `docs/cluster.md` has an operator do: a server whose disk is lost, another machine in the place of one, and
//! credentials of a cluster that is set up with JWTs.

use std::fs;

use anabranch::{Error, JetStream, Store, StoreOptions};
use anabranch_harness::nats::Setup;
use anabranch_harness::wait::wait_until;
use base64_simd::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

use crate::load::Load;
use crate::{Cluster, run};

/// Accounts, of which one is the system's, as removing a server needs it.
const ACCOUNTS: &str = "accounts {
  SYS: { users: [{ user: admin, password: secret }] }
  APP: { jetstream: enabled, users: [{ user: app, password: app }] }
}
system_account: SYS
no_auth_user: app";

#[test]
fn a_server_whose_disk_was_lost_gets_all_of_it_from_the_others() {
    let Some(mut cluster) = Cluster::of_three() else {
        return;
    };
    let (store, load) = under_load(&cluster);
    cluster.nodes.kill(2);
    fs::remove_dir_all(cluster.nodes.directory(2)).unwrap();
    load.wait_for(300);
    cluster.nodes.begin(2);
    cluster.nodes.wait_until_ready();
    assert_whole(&cluster.at());
    // From here on nothing goes without it.
    cluster.nodes.kill(0);
    load.wait_for(300);
    let acknowledged = load.end();
    store.close().unwrap();
    let store = cluster.open();
    acknowledged.check(&store.stream("clicks").unwrap());
    store.close().unwrap();
}

#[test]
fn another_machine_takes_the_place_of_a_server() {
    let setup = Setup {
        more: ACCOUNTS,
        ..Setup::default()
    };
    let Some(mut cluster) = Cluster::of(3, setup) else {
        return;
    };
    let (store, load) = under_load(&cluster);
    cluster.nodes.kill(2);
    cluster.join();
    let at = cluster.at_servers(&[0, 1, 3]);
    wait_until("the new server is known to the others", || {
        let names = |check: anabranch::ClusterCheck| check.servers.iter().any(|server| server.name == "n4");
        at.check().is_ok_and(names)
    });
    // What `nats server cluster peer-remove n3` asks. The new server counts only once it is known to who leads.
    let admin = json!({ "verbose": false, "user": "admin", "pass": "secret" }).to_string();
    wait_until("the old server is removed", || {
        let answer = cluster
            .nodes
            .request_with(&admin, "$JS.API.SERVER.REMOVE", "{\"peer\":\"n3\"}");
        answer["success"] == true
    });
    assert_whole(&at);
    // From here on nothing goes without the new server.
    cluster.nodes.kill(0);
    load.wait_for(300);
    let acknowledged = load.end();
    store.close().unwrap();
    let store = StoreOptions::new().open_jetstream(&at).unwrap();
    acknowledged.check(&store.stream("clicks").unwrap());
    store.close().unwrap();
}

/// A store to which four threads put.
fn under_load(cluster: &Cluster) -> (Store, Load) {
    let store = cluster.open();
    let load = Load::begin(&store.create_stream("clicks", 3).unwrap(), 4);
    load.wait_for(300);
    (store, load)
}

/// Waits until nothing is wrong. Then each server has all messages.
fn assert_whole(at: &JetStream) {
    wait_until_sound(at);
    let verification = at.verify(&mut |_| {}).unwrap();
    assert!(verification.is_sound(), "{:#?}", verification.findings);
}

/// A replica is not current before it has all that the others have.
fn wait_until_sound(at: &JetStream) {
    let mut problems = Vec::new();
    wait_until("nothing is wrong", || {
        problems = at.check().map_or_else(
            |error| vec![error.to_string()],
            |check| check.problems.iter().map(ToString::to_string).collect(),
        );
        problems.is_empty()
    });
}

#[test]
fn a_file_of_credentials_lets_in_who_has_the_key_of_a_user() {
    let [operator, system, account] = [
        KeyPair::new_operator(),
        KeyPair::new_account(),
        KeyPair::new_account(),
    ];
    let unlimited = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1,
        "leaf": -1, "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1,
    });
    let of_operator = json!({ "type": "operator", "version": 2, "system_account": system.public_key() });
    let of_account = json!({ "type": "account", "version": 2, "limits": unlimited });
    let of_system = json!({ "type": "account", "version": 2, "limits": {
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
    } });
    let more = format!(
        "operator: {}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{ {}: {}, {}: {} }}",
        token(&operator, &operator, &of_operator),
        system.public_key(),
        system.public_key(),
        token(&operator, &system, &of_system),
        account.public_key(),
        token(&operator, &account, &of_account),
    );
    let setup = Setup {
        // Once for each process.
        more: Box::leak(more.into_boxed_str()),
        ..Setup::default()
    };
    let Some(cluster) = Cluster::of(1, setup) else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, issuer: &KeyPair, signer: &KeyPair, user: &KeyPair| {
        let path = directory.path().join(name);
        let token = token_of(
            issuer,
            signer,
            user,
            &json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 }),
        );
        let seed = user.seed().unwrap();
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        fs::write(&path, text).unwrap();
        path
    };
    let user = KeyPair::new_user();
    let stranger = KeyPair::new_account();
    let right = file("right.creds", &account, &account, &user);
    for wrong in [
        // An account that the servers do not know, and one that did not sign.
        file("unknown.creds", &stranger, &stranger, &KeyPair::new_user()),
        file("forged.creds", &account, &stranger, &KeyPair::new_user()),
    ] {
        let refused = StoreOptions::new()
            .open_jetstream(&cluster.at().credentials_file(&wrong))
            .unwrap_err();
        assert!(matches!(refused, Error::Cluster { .. }), "{refused}");
        assert!(
            refused.to_string().contains("refused the credentials"),
            "{refused}"
        );
    }
    let at = cluster.at().credentials_file(&right);
    let store = StoreOptions::new().open_jetstream(&at).unwrap();
    let stream = store.create_stream("clicks", 1).unwrap();
    stream.put("key", b"let in").unwrap();
    store.close().unwrap();

    let mut options = cluster.options();
    let (status, _, said) = run(&["check"], &options);
    assert_eq!(status, Some(2), "{said}");
    options.extend([
        "--engine-credentials".to_owned(),
        right.to_str().unwrap().to_owned(),
    ]);
    let (status, said, _) = run(&["check"], &options);
    assert_eq!(status, Some(0), "{said}");
    let (status, said, _) = run(&["dump", "--what", "records", "--json"], &options);
    assert_eq!(status, Some(0), "{said}");
    let record: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    assert_eq!(record["partition_key"], "key");
}

/// A token in which an issuer says something of a subject.
fn token(issuer: &KeyPair, subject: &KeyPair, said: &Value) -> String {
    token_of(issuer, issuer, subject, said)
}

/// The same with a signature that may be another one's.
fn token_of(issuer: &KeyPair, signer: &KeyPair, subject: &KeyPair, said: &Value) -> String {
    let header = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let claims = json!({
        "jti": subject.public_key(),
        "iat": 1_700_000_000,
        "iss": issuer.public_key(),
        "sub": subject.public_key(),
        "name": subject.public_key(),
        "nats": said,
    });
    let encoded = |value: &Value| URL_SAFE_NO_PAD.encode_to_string(value.to_string());
    let signed = format!("{}.{}", encoded(&header), encoded(&claims));
    let signature = signer.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode_to_string(signature))
}
