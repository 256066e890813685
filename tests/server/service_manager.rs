//! Where systemd or Docker runs the server: what the service manager is told, and what is in the files for both.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;

use anabranch_harness::http1::Client;
use anabranch_harness::wait::PATIENCE;
use serde_json::json;

use crate::PROGRAM;

const UNIT: &str = "src/packages/systemd/anabranch.service";
const DOCKERFILE: &str = "src/packages/docker/Dockerfile";
const PAGE: &str = "docs/running.md";

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn told(manager: &UnixDatagram) -> String {
    let mut bytes = [0; 4096];
    let length = manager.recv(&mut bytes).unwrap();
    String::from_utf8(bytes[..length].to_vec()).unwrap()
}

#[test]
fn a_service_manager_is_told_when_the_server_serves_and_when_it_stops() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let server = PROGRAM.serve_with_variable(("NOTIFY_SOCKET", path.as_os_str()), directory.path(), &[]);
    let ready = told(&manager);
    assert_eq!(ready, format!("READY=1\nSTATUS=Serving {}\n", server.url()));
    Client::connect(server.address()).ok("ListStreams", &json!({}));
    server.stop("TERM");
    assert!(told(&manager).starts_with("STOPPING=1\n"));
}

#[test]
fn a_service_manager_that_does_not_listen_keeps_no_server_from_serving() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("notify");
    let server = PROGRAM.serve_with_variable(("NOTIFY_SOCKET", missing.as_os_str()), directory.path(), &[]);
    Client::connect(server.address()).ok("ListStreams", &json!({}));
    let log = server.log();
    assert!(log.contains("the service manager cannot be told"), "{log}");
    server.stop("TERM");
}

#[test]
fn systemd_understands_the_unit() {
    let directory = tempfile::tempdir().unwrap();
    let unit = fs::read_to_string(source(UNIT)).unwrap();
    let installed = directory.path().join("anabranch.service");
    fs::write(&installed, unit.replace("/usr/bin/anabranch", PROGRAM.0)).unwrap();
    let verified = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(&installed)
        .output();
    let verified = match verified {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            eprintln!("skipped: there is no systemd-analyze");
            return;
        }
        verified => verified.unwrap(),
    };
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success(), "{said}");
    assert!(!said.contains("anabranch.service"), "{said}");
}

#[test]
fn the_variables_that_the_files_and_the_page_name_are_those_of_serve() {
    let help = PROGRAM
        .command()
        .args(["serve", "--help"])
        .output()
        .unwrap()
        .stdout;
    let known = variables(&String::from_utf8(help).unwrap());
    assert!(known.len() > 20, "{known:?}");
    for name in [UNIT, DOCKERFILE, PAGE] {
        let named = variables(&fs::read_to_string(source(name)).unwrap());
        assert!(!named.is_empty(), "{name}");
        let unknown: Vec<_> = named.difference(&known).collect();
        assert!(unknown.is_empty(), "{name}: {unknown:?}");
    }
}

/// All words that begin as the program's variables do.
fn variables(text: &str) -> BTreeSet<String> {
    let is_part = |character: char| character.is_ascii_uppercase() || character == '_';
    text.split(|character| !is_part(character))
        .filter(|word| {
            word.strip_prefix("ANABRANCH_")
                .is_some_and(|rest| !rest.is_empty())
        })
        .map(str::to_owned)
        .collect()
}
