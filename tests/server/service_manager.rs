//! A server run by systemd or Docker: its messages to the service manager, and the files for both.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;

use anabranch_harness::http1::Client;
use anabranch_harness::wait::PATIENCE;
use serde_json::{Value, json};

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

/// Checked without Docker: the image is built from a complete workspace, and the files copied out of the build are made
/// there.
#[test]
fn the_image_is_built_of_what_is_there() {
    let dockerfile = fs::read_to_string(source(DOCKERFILE)).unwrap();
    let ignored = fs::read_to_string(source(&format!("{DOCKERFILE}.dockerignore"))).unwrap();
    let context = tempfile::tempdir().unwrap();
    for kept in ignored.lines().filter_map(|line| line.strip_prefix('!')) {
        copy_kept(Path::new(kept), &ignored, context.path());
    }
    // Cargo looks for each member of the workspace, and for each target of the crate that the manifest names.
    let described = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(context.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&described.stderr);
    assert!(described.status.success(), "{said}");
    let described: Value = serde_json::from_slice(&described.stdout).unwrap();
    let packages = described["packages"].as_array().unwrap();
    let ours = packages
        .iter()
        .find(|package| package["name"] == "anabranch")
        .unwrap();
    assert!(context.path().join("Cargo.lock").exists());

    let commands = dockerfile.replace("\\\n", "");
    let build = commands
        .lines()
        .find(|line| line.starts_with("RUN ") && line.contains("cargo build"))
        .unwrap();
    let words: Vec<_> = build.split_whitespace().collect();
    let behind = |option: &str| {
        let at = words.iter().position(|word| *word == option).unwrap();
        words[at + 1]
    };
    assert_eq!(behind("--features"), r#""$FEATURES""#, "{build}");
    let features = dockerfile
        .lines()
        .find_map(|line| line.strip_prefix("ARG FEATURES="));
    for feature in features.unwrap().split(',') {
        assert!(ours["features"].get(feature).is_some(), "{feature}");
    }
    let program = behind("--bin");
    let is_program = |target: &Value| target["name"] == program && target["kind"] == json!(["bin"]);
    assert!(
        ours["targets"].as_array().unwrap().iter().any(is_program),
        "{build}"
    );
    let copied: Vec<_> = dockerfile
        .lines()
        .filter(|line| line.starts_with("COPY --from=build"))
        .map(|line| line.split_whitespace().rev().nth(1).unwrap())
        .collect();
    assert_eq!(copied.len(), 3);
    for path in copied {
        let is_made = match path {
            "/etc/ssl/certs/ca-certificates.crt" => {
                dockerfile.contains("apt-get install --yes --no-install-recommends ca-certificates ")
            }
            "/image" => build.ends_with("&& mkdir /image && mkdir -m 700 /image/data"),
            path => {
                path == format!("/{program}")
                    && build.contains(&format!("&& mv \"target/$target/release/{program}\" / "))
            }
        };
        assert!(is_made, "{path}");
    }
    assert!(dockerfile.contains(&format!("ENTRYPOINT [\"/{program}\"]")));
}

/// Copies the parts of a file or a directory that Docker gets.
fn copy_kept(name: &Path, ignored: &str, context: &Path) {
    let is_ignored = ignored.lines().any(|line| match line.strip_prefix("**/") {
        Some(anywhere) => name.ends_with(anywhere),
        None => name == Path::new(line),
    });
    if is_ignored {
        return;
    }
    let path = source(name.to_str().unwrap());
    if path.is_dir() {
        fs::create_dir_all(context.join(name)).unwrap();
        for entry in fs::read_dir(path).unwrap() {
            copy_kept(&name.join(entry.unwrap().file_name()), ignored, context);
        }
    } else {
        fs::copy(&path, context.join(name)).unwrap();
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
