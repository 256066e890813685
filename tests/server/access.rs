//! Access, as set on the command line: credentials, TLS, and addresses.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anabranch_harness::http1::{Client, Head};
use anabranch_harness::program::ServerProcess;
use anabranch_harness::sigv4::Signer;
use anabranch_harness::wait::wait_until;
use serde_json::json;
use tempfile::TempDir;

use crate::PROGRAM;

const KEY: &str = "[a]\naws_access_key_id = AKID\naws_secret_access_key = s\n";

fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// A file that only its owner may read.
fn private(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path
}

fn run(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = PROGRAM.command();
    command
        .arg("--data-dir")
        .arg(directory.join("data"))
        .args(arguments);
    command.output().unwrap()
}

/// The message of a server that does not start because of its command line.
#[track_caller]
fn refusal(directory: &Path, arguments: &[&str]) -> String {
    let output = run(directory, arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
    assert!(output.stdout.is_empty());
    said
}

fn status(server: &ServerProcess) -> u16 {
    let mut client = Client::connect(server.address());
    client
        .send(&Head::of("Kinesis_20131202.ListStreams"), b"{}")
        .status
}

#[test]
fn other_machines_are_let_in_only_with_credentials_or_if_that_is_said() {
    let directory = directory();
    let said = refusal(directory.path(), &["--listen", "0.0.0.0:0"]);
    for part in [
        "0.0.0.0:",
        "--credentials FILE",
        "--allow-unsigned-beyond-loopback",
    ] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    let server = PROGRAM.serve_at(
        "0.0.0.0:0",
        directory.path(),
        &["--allow-unsigned-beyond-loopback"],
    );
    assert_eq!(status(&server), 200);
    assert!(
        server.log().contains("no signature is verified"),
        "{}",
        server.log()
    );
    server.stop("TERM");
    let credentials = private(directory.path(), "credentials", KEY);
    let arguments = ["--credentials", credentials.to_str().unwrap()];
    let server = PROGRAM.serve_at("0.0.0.0:0", directory.path(), &arguments);
    assert_eq!(status(&server), 400);
    server.stop("TERM");
}

/// The status of a page that needs no key.
fn status_of_page(address: SocketAddr, page: &str) -> u16 {
    let head = Head {
        method: "GET",
        uri: page,
        headers: Vec::new(),
    };
    Client::connect(address).send(&head, b"").status
}

/// The address of the pages, from the server's log.
fn admin_address(server: &ServerProcess) -> SocketAddr {
    let log = server.log();
    let said = log.split_once("admin_address=").expect(&log).1;
    said.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn health_and_metrics_are_beside_the_api_elsewhere_or_nowhere() {
    let directory = directory();
    let server = PROGRAM.serve(directory.path(), &[]);
    assert_eq!(status_of_page(server.address(), "/metrics"), 200);
    server.stop("TERM");

    let server = PROGRAM.serve(directory.path(), &["--admin-listen", "127.0.0.1:0"]);
    let admin = admin_address(&server);
    assert_eq!(status_of_page(server.address(), "/health"), 403);
    for page in ["/health", "/metrics", "/version"] {
        assert_eq!(status_of_page(admin, page), 200, "{page}");
    }
    server.stop("TERM");
    assert!(Client::try_connect(admin).is_err());

    let server = PROGRAM.serve(directory.path(), &["--no-admin"]);
    assert_eq!(status_of_page(server.address(), "/health"), 403);
    server.stop("TERM");

    let credentials = private(directory.path(), "credentials", KEY);
    let server = PROGRAM.serve(
        directory.path(),
        &["--credentials", credentials.to_str().unwrap()],
    );
    assert_eq!(status_of_page(server.address(), "/health"), 200);
    assert_eq!(status_of_page(server.address(), "/metrics"), 403);
    server.stop("TERM");

    let beyond = ["--listen", "127.0.0.1:0", "--admin-listen", "0.0.0.0:0"];
    let said = refusal(directory.path(), &beyond);
    assert!(
        said.contains("--admin-listen") && said.contains("--allow-unsigned-beyond-loopback"),
        "{said}"
    );
    let both = ["--no-admin", "--admin-listen", "127.0.0.1:0"];
    assert!(refusal(directory.path(), &both).contains("cannot be used with"));
    let nowhere = run(
        directory.path(),
        &["--listen", "127.0.0.1:0", "--admin-listen", "nonsense"],
    );
    let said = String::from_utf8(nowhere.stderr).unwrap();
    assert_eq!(nowhere.status.code(), Some(5), "{said}");
    assert!(
        said.contains("--admin-listen: cannot find the address nonsense"),
        "{said}"
    );
}

#[test]
fn credentials_that_cannot_be_used_are_refused_with_the_reason() {
    let directory = directory();
    let path = directory.path().join("credentials");
    let file = path.to_str().unwrap();
    let arguments = ["--listen", "127.0.0.1:0", "--credentials", file];
    let refusal = || refusal(directory.path(), &arguments);
    assert!(refusal().contains(&format!("--credentials: {file} does not exist")));
    private(directory.path(), "credentials", KEY);
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let said = refusal();
    assert!(
        said.contains("mode 0644") && said.contains(&format!("chmod 600 {file}")),
        "{said}"
    );
    for (text, reason) in [
        (String::new(), "there is no profile"),
        (KEY.replace("aws_secret", "secret"), "lacks aws_secret_access_key"),
        (
            format!("{KEY}{}", KEY.replace("[a]", "[b]")),
            "[a] and [b] have the same",
        ),
    ] {
        private(directory.path(), "credentials", &text);
        let said = refusal();
        assert!(said.contains(file) && said.contains(reason), "{said}");
    }
    assert!(!directory.path().join("data").exists());
}

/// The kind of refusal of a request that is signed now with this key; empty if it is not refused.
fn refusal_of(server: &ServerProcess, key_id: &str, secret: &str) -> String {
    const TARGET: &str = "Kinesis_20131202.ListStreams";
    let now = Command::new("date")
        .args(["-u", "+%Y%m%dT%H%M%SZ"])
        .output()
        .unwrap();
    let signer = Signer {
        key_id,
        secret,
        session_token: None,
        region: "us-east-1",
        date: std::str::from_utf8(&now.stdout).unwrap().trim(),
    };
    let signed = signer.sign(TARGET, b"{}");
    let reply = Client::connect(server.address()).send(&signed.head(), b"{}");
    match reply.status {
        200 => String::new(),
        _ => reply.refusal().0,
    }
}

#[test]
fn credentials_that_change_are_taken_up_and_a_file_that_cannot_be_used_changes_nothing() {
    const UNKNOWN: &str = "UnrecognizedClientException";
    const KEPT: &str = "the keys that were read before stay in use";
    let directory = directory();
    let replace = |text: &str| {
        let new = private(directory.path(), "new", text);
        fs::rename(new, directory.path().join("credentials")).unwrap();
    };
    replace(KEY);
    let file = directory.path().join("credentials");
    let server = PROGRAM.serve(directory.path(), &["--credentials", file.to_str().unwrap()]);
    assert_eq!(refusal_of(&server, "AKID", "s"), "");
    assert_eq!(refusal_of(&server, "OTHER", "hidden"), UNKNOWN);

    replace("[a]\nhidden\n");
    wait_until("the file is read", || server.log().contains(KEPT));
    assert_eq!(refusal_of(&server, "AKID", "s"), "");

    let other = KEY.replace("AKID", "OTHER").replace("= s", "= hidden");
    replace(&format!("{KEY}{}", other.replace("[a]", "[b]")));
    wait_until("the other key is known", || {
        refusal_of(&server, "OTHER", "hidden").is_empty()
    });
    assert_eq!(refusal_of(&server, "AKID", "s"), "");
    replace(&other);
    wait_until("the first key is unknown", || {
        refusal_of(&server, "AKID", "s") == UNKNOWN
    });
    assert_eq!(refusal_of(&server, "OTHER", "hidden"), "");

    wait_until("both changes are told", || {
        server
            .log()
            .matches("the file of credentials has changed")
            .count()
            == 2
    });
    let log = server.log();
    assert_eq!(log.matches(KEPT).count(), 1, "{log}");
    assert!(
        log.contains(&format!("--credentials: {}: line 2", file.display())),
        "{log}"
    );
    assert!(!log.contains("hidden"), "{log}");
    server.stop("TERM");
}

#[test]
fn hosts_and_origins_are_let_in_as_they_are_given() {
    let directory = directory();
    let arguments = [
        "--allow-host",
        "a.example,b.example",
        "--allow-origin",
        "https://app.example",
    ];
    let server = PROGRAM.serve(directory.path(), &arguments);
    let status = |host: &str, origin: &str| {
        let head = Head::of("Kinesis_20131202.ListStreams")
            .header("Host", host)
            .header("Origin", origin);
        Client::connect(server.address()).send(&head, b"{}").status
    };
    assert_eq!(status("a.example", "https://app.example"), 200);
    assert_eq!(status("b.example:1", ""), 200);
    assert_eq!(status("c.example", ""), 403);
    assert_eq!(status("a.example", "https://evil.example"), 403);
    // One line for the two of them, so that no client floods the log.
    assert_eq!(server.log().matches("a request was not let in").count(), 1);
    server.stop("TERM");
    for (arguments, said) in [
        (["--allow-host", "a:1"], "--allow-host: \"a:1\" is no host"),
        (["--allow-origin", "a"], "--allow-origin: \"a\" is no origin"),
    ] {
        let arguments = [&["--listen", "127.0.0.1:0"], &arguments[..]].concat();
        assert!(refusal(directory.path(), &arguments).contains(said));
    }
}

#[test]
fn a_self_signed_certificate_is_made_once_and_lies_with_the_streams() {
    let directory = directory();
    let data = directory.path().join("data");
    let certificate = data.join("tls-certificate.pem");
    let serve = |more: &[&str]| {
        let server = PROGRAM.serve(directory.path(), &[&["--tls-self-signed"], more].concat());
        let text = fs::read_to_string(&certificate).unwrap();
        let mut client = Client::connect_tls(server.address(), "localhost", &text);
        client.ok("ListStreams", &json!({}));
        (server, text)
    };
    let (server, first) = serve(&[]);
    assert_eq!(
        fs::metadata(data.join("tls-key.pem")).unwrap().mode() & 0o777,
        0o600
    );
    server.stop("TERM");
    // The file is not damage, and hinders nothing.
    let verified = PROGRAM.command().arg("verify").arg(&data).output().unwrap();
    assert!(verified.status.success(), "{verified:?}");
    let (server, second) = serve(&[]);
    assert_eq!(first, second);
    server.stop("TERM");
    let (server, third) = serve(&["--tls-name", "kinesis.example"]);
    assert_ne!(first, third);
    let mut client = Client::connect_tls(server.address(), "kinesis.example", &third);
    let head = Head::of("Kinesis_20131202.ListStreams").header("Host", "kinesis.example");
    assert_eq!(client.send(&head, b"{}").status, 200);
    server.stop("TERM");

    fs::set_permissions(data.join("tls-key.pem"), Permissions::from_mode(0o644)).unwrap();
    let said = refusal(
        directory.path(),
        &["--listen", "127.0.0.1:0", "--tls-self-signed"],
    );
    assert!(said.contains("mode 0644") && said.contains("chmod 600"), "{said}");

    // Nothing is written beside a store that is only read.
    let said = refusal(
        directory.path(),
        &["--listen", "127.0.0.1:0", "--tls-self-signed", "--read-only"],
    );
    assert!(said.contains("--tls-dir"), "{said}");

    let arguments = ["--ephemeral", "--listen", "127.0.0.1:0", "--tls-self-signed"];
    let output = PROGRAM.command().args(arguments).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("--tls-dir"));
}

#[test]
fn a_certificate_of_ones_own_is_shown_with_its_key() {
    let directory = directory();
    let arguments = [
        "--tls-self-signed",
        "--tls-dir",
        directory.path().to_str().unwrap(),
    ];
    PROGRAM.serve(directory.path(), &arguments).stop("TERM");
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (certificate, key) = (path("tls-certificate.pem"), path("tls-key.pem"));
    let server = PROGRAM.serve(directory.path(), &["--tls-cert", &certificate, "--tls-key", &key]);
    let text = fs::read_to_string(&certificate).unwrap();
    Client::connect_tls(server.address(), "localhost", &text).ok("ListStreams", &json!({}));
    server.stop("TERM");

    // The names of the certificate are hosts of the server, and no others are.
    let arguments = ["--tls-self-signed", "--tls-name", "kinesis.example", "--tls-dir"];
    let arguments = [&arguments[..], &[directory.path().to_str().unwrap()]].concat();
    PROGRAM.serve(directory.path(), &arguments).stop("TERM");
    let server = PROGRAM.serve(directory.path(), &["--tls-cert", &certificate, "--tls-key", &key]);
    let text = fs::read_to_string(&certificate).unwrap();
    for (host, status) in [("kinesis.example", 200), ("other.example", 403)] {
        let mut client = Client::connect_tls(server.address(), "kinesis.example", &text);
        let head = Head::of("Kinesis_20131202.ListStreams").header("Host", host);
        assert_eq!(client.send(&head, b"{}").status, status, "{host}");
    }
    server.stop("TERM");

    let refusal = |certificate: &str, key: &str| {
        let arguments = [
            "--listen",
            "127.0.0.1:0",
            "--tls-cert",
            certificate,
            "--tls-key",
            key,
        ];
        refusal(directory.path(), &arguments)
    };
    let other = private(directory.path(), "other", "");
    let other = other.to_str().unwrap();
    assert!(refusal(other, &key).contains("-----BEGIN CERTIFICATE-----"));
    assert!(refusal(&certificate, other).contains("-----BEGIN PRIVATE KEY-----"));
    assert!(refusal(&path("none"), &key).contains("does not exist"));
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    assert!(refusal(&certificate, &key).contains("chmod 600"));
    let alone = ["--listen", "127.0.0.1:0", "--tls-cert", &certificate];
    let output = run(directory.path(), &alone);
    assert!(String::from_utf8_lossy(&output.stderr).contains("--tls-key"));
}
