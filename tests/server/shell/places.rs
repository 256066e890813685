//! The choice of a directory or endpoint and of the credentials, and the messages if it cannot be used.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anabranch::Store;
use anabranch_harness::ports::free_address;
use serde_json::Value;

use super::{Ran, Shell, fed, ran, rows, texts};
use crate::PROGRAM;

fn program(arguments: &[&str]) -> Command {
    let mut command = PROGRAM.command();
    command.args(arguments);
    command
}

fn names(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|row| row["stream"].as_str().unwrap()).collect()
}

/// A file that only its owner may read.
fn private(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

#[test]
fn a_directory_that_a_server_has_is_read_and_changed_through_the_server() {
    let shell = Shell::at_server(&["--create-stream", "clicks:1"]);
    let data_dir = shell.data_dir();
    let data_dir = data_dir.to_str().unwrap();
    shell.put("1\n2\n", &["clicks"]);
    let read = |arguments: &[&str]| {
        let ran = ran(&mut program(&[arguments, &["--data-dir", data_dir]].concat()));
        assert_eq!((ran.status, ran.error.as_str()), (0, ""));
        rows(&ran.out)
    };
    assert_eq!(names(&read(&["streams"])), ["clicks"]);
    for arguments in [
        &["get", "clicks"][..],
        &["tail", "clicks"],
        &["get", "clicks", "--shard", "0"],
    ] {
        assert_eq!(texts(&read(arguments)), ["1", "2"]);
    }
    for arguments in [
        &["create", "more"][..],
        &["put", "clicks"],
        &["trim", "clicks", "--to", "-1h"],
    ] {
        let Ran { status, error, .. } = ran(&mut program(&[arguments, &["--data-dir", data_dir]].concat()));
        assert_eq!(status, 3, "{arguments:?}: {error}");
        assert!(error.contains("is locked"), "{error}");
        assert!(
            error.contains("If a server has it, ask that") && error.contains("--endpoint"),
            "{error}"
        );
    }
}

#[test]
fn several_programs_read_a_directory_at_the_same_time() {
    let shell = Shell::in_directory();
    shell.ok(&["create", "clicks"]);
    let _reader = anabranch::StoreOptions::new()
        .read_only(true)
        .open(shell.data_dir())
        .unwrap();
    assert_eq!(names(&shell.rows(&["streams"])), ["clicks"]);
    assert!(shell.refusal(3, &["put", "clicks"]).contains("is locked"));
}

#[test]
fn a_mistyped_directory_is_not_made() {
    let shell = Shell::in_directory();
    let not_made = |arguments: &[&str]| {
        let error = shell.refusal(4, arguments);
        assert!(
            error.contains("there is no store in ") && error.contains("anabranch create"),
            "{error}"
        );
    };
    for arguments in [
        &["streams"][..],
        &["put", "a"],
        &["get", "a"],
        &["split", "a", "0"],
        &["delete", "a"],
    ] {
        not_made(arguments);
        assert!(!shell.data_dir().exists());
    }
    fs::create_dir(shell.data_dir()).unwrap();
    fs::write(shell.data_dir().join("letter"), "Dear").unwrap();
    not_made(&["put", "a"]);
    assert!(
        shell
            .refusal(4, &["create", "a"])
            .contains("is not an anabranch store")
    );
}

#[test]
fn streams_of_other_namespaces_have_them_in_their_names() {
    let shell = Shell::in_directory();
    let store = Store::open(shell.data_dir()).unwrap();
    for name in ["mine", "twice"] {
        store
            .create_stream(name, 1)
            .unwrap()
            .put("k", b"library")
            .unwrap();
    }
    let tenant = store.namespace("tenant-7").unwrap();
    tenant
        .create_stream("clicks", 1)
        .unwrap()
        .put("k", b"tenant")
        .unwrap();
    store.close().unwrap();
    shell.ok(&["create", "twice", "--shards", "1"]);
    shell.put("server\n", &["twice"]);
    let listed = shell.rows(&["streams"]);
    assert_eq!(names(&listed), ["/twice", "mine", "tenant-7/clicks", "twice"]);
    for (name, data) in [
        ("/twice", "library"),
        ("mine", "library"),
        ("/mine", "library"),
        ("tenant-7/clicks", "tenant"),
        ("twice", "server"),
        ("000000000000/us-east-1/twice", "server"),
    ] {
        assert_eq!(texts(&shell.rows(&["get", name])), [data], "{name}");
    }
    for missing in ["clicks", "tenant-7/twice", "nowhere/twice"] {
        assert!(
            shell
                .refusal(1, &["get", missing])
                .contains(&format!("stream {missing} not found"))
        );
    }
    assert_eq!(shell.rows(&["create", "/made"])[0]["stream"], "made");
    let elsewhere = shell.rows(&["streams", "--region", "eu-west-1"]);
    assert!(
        names(&elsewhere).contains(&"000000000000/us-east-1/twice"),
        "{elsewhere:?}"
    );
    // A server has the streams that were made in the directory.
    shell.ok(&[
        "create",
        "there",
        "--region",
        "eu-west-1",
        "--account-id",
        "123456789012",
    ]);
    let server = PROGRAM.serve(
        shell.directory.path(),
        &["--region", "eu-west-1", "--account-id", "123456789012"],
    );
    let listed = ran(&mut program(&["streams", "--endpoint", &server.url()]));
    assert_eq!(names(&rows(&listed.out)), ["there"]);
}

#[test]
fn an_endpoint_without_a_server_is_said_to_be_one() {
    let url = format!("http://{}", free_address());
    for arguments in [&["streams"][..], &["get", "a"], &["create", "a"], &["put", "a"]] {
        let Ran { status, error, out } = ran(&mut program(&[arguments, &["--endpoint", &url]].concat()));
        assert_eq!((status, out.as_str()), (5, ""), "{error}");
        assert!(
            error.contains(&format!("no answer from {url}: Connection refused")),
            "{error}"
        );
        assert!(
            error.contains("--endpoint") && error.contains("--data-dir"),
            "{error}"
        );
    }
    for wrong in [
        "127.0.0.1:4567",
        "ftp://a",
        "http://",
        "http://a/path",
        "http://a?b",
        "http://me@a",
        "",
    ] {
        let Ran { status, error, .. } = ran(&mut program(&["streams", "--endpoint", wrong]));
        assert_eq!(status, 2, "{wrong}: {error}");
        assert!(
            error.contains("http://127.0.0.1:4567 or https://HOST"),
            "{wrong}: {error}"
        );
    }
}

/// A stopped endpoint still takes connections.
#[test]
fn an_endpoint_that_does_not_answer_is_waited_for_half_a_minute() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let ended = std::thread::scope(|scope| {
        let commands = [&["streams"][..], &["get", "a"], &["put", "a"], &["tail", "a"]];
        let ran = commands.map(|arguments| {
            let mut command = program(&[arguments, &["--endpoint", &url]].concat());
            scope.spawn(move || {
                let begun = Instant::now();
                (ran(&mut command), begun.elapsed())
            })
        });
        ran.map(|ran| ran.join().unwrap())
    });
    for (Ran { status, out, error }, took) in ended {
        assert_eq!((status, out.as_str()), (5, ""), "{error}");
        let said = format!(
            "no answer from {url}: no answer has begun after 30 s; what listens there is stopped, or hangs"
        );
        assert!(error.contains(&said), "{error}");
        assert!(took >= Duration::from_secs(30), "{took:?}");
    }
}

#[test]
fn what_answers_and_is_no_kinesis_is_said_to_be_none() {
    for answer in [
        "HTTP/1.1 404 Not Found\r\ncontent-length: 9\r\n\r\nnot found",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let other = std::thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            // The head, and the body, `{}`.
            let mut read = Vec::new();
            while !read.ends_with(b"{}") {
                let count = connection.read(&mut request).unwrap();
                read.extend_from_slice(&request[..count]);
            }
            connection.write_all(answer.as_bytes()).unwrap();
        });
        let Ran { status, error, .. } = ran(&mut program(&["streams", "--endpoint", &url]));
        other.join().unwrap();
        assert_eq!(status, 5);
        assert!(error.contains("does not speak the Kinesis API"), "{error}");
    }
}

#[test]
fn the_environment_says_where_and_in_which_region() {
    let shell = Shell::at_server(&[
        "--create-stream",
        "home:1,away:1@eu-west-1",
        "--region",
        "us-west-2",
    ]);
    let url = shell.server.as_ref().unwrap().url();
    let listed = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = program(&[&["streams"], arguments].concat());
        command
            .env("AWS_ENDPOINT_URL_KINESIS", &url)
            .envs(variables.iter().copied());
        let Ran { status, out, error } = ran(&mut command);
        assert_eq!((status, error.as_str()), (0, ""));
        names(&rows(&out)).join(",")
    };
    assert_eq!(listed(&[], &[]), "home");
    assert_eq!(listed(&["--region", "eu-west-1"], &[]), "away");
    assert_eq!(listed(&[], &[("ANABRANCH_REGION", "eu-west-1")]), "away");
    assert_eq!(listed(&[], &[("AWS_REGION", "eu-west-1")]), "away");
    assert_eq!(listed(&[], &[("AWS_DEFAULT_REGION", "eu-west-1")]), "away");
    let both = [("AWS_REGION", "us-west-2"), ("AWS_DEFAULT_REGION", "eu-west-1")];
    assert_eq!(listed(&[], &both), "home");
    // A directory that is given takes precedence.
    let directory = Shell::in_directory();
    directory.ok(&["create", "here"]);
    let mut command = directory.command(&["streams"]);
    command.env("AWS_ENDPOINT_URL_KINESIS", &url);
    assert_eq!(names(&rows(&ran(&mut command).out)), ["here"]);
}

#[test]
fn requests_are_signed_with_the_key_of_the_environment() {
    let directory = tempfile::tempdir().unwrap();
    let credentials = private(
        directory.path(),
        "credentials",
        "[a]\naws_access_key_id = AKID\naws_secret_access_key = secret\n\
         [b]\naws_access_key_id = TOKEN\naws_secret_access_key = secret\naws_session_token = to/ken+==\n",
    );
    let shell = Shell::at_server(&["--credentials", credentials.to_str().unwrap()]);
    let signed = |variables: &[(&str, &str)], arguments: &[&str], input: &[u8]| {
        let mut command = shell.command(arguments);
        command.envs(variables.iter().copied());
        fed(command, input)
    };
    let key = [("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "secret")];
    let region = [&key[..], &[("AWS_REGION", "us-east-1")]].concat();
    let token = [
        ("AWS_ACCESS_KEY_ID", "TOKEN"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_SESSION_TOKEN", "to/ken+=="),
    ];
    assert_eq!(
        signed(&key, &["create", "clicks", "--shards", "1"], b"").status,
        0
    );
    // A body of some length.
    let lines = "x\n".repeat(1_000);
    assert_eq!(signed(&token, &["put", "clicks"], lines.as_bytes()).status, 0);
    let Ran { status, out, .. } = signed(&region, &["get", "clicks"], b"");
    assert_eq!((status, rows(&out).len()), (0, 1_000));

    let wrong = [("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "other")];
    for (variables, status, part) in [
        (&[][..], 1, "UnrecognizedClientException"),
        (&wrong[..], 1, "InvalidSignatureException"),
        (&token[..2], 1, "UnrecognizedClientException"),
        (&key[..1], 2, "belong together"),
        (&key[1..], 2, "belong together"),
    ] {
        let ran = signed(variables, &["streams"], b"");
        assert_eq!(ran.status, status, "{}", ran.error);
        assert!(ran.error.contains(part), "{}", ran.error);
        assert!(!ran.error.contains("secret"));
    }
}

#[test]
fn a_certificate_is_trusted_if_the_environment_says_so() {
    let shell = Shell::at_server(&["--tls-self-signed", "--create-stream", "clicks:1"]);
    let address = shell.server.as_ref().unwrap().address();
    let url = format!("https://{address}");
    let certificate = shell.data_dir().join("tls-certificate.pem");
    let with = |bundle: &Path| {
        let mut command = program(&["streams", "--endpoint", &url]);
        ran(command.env("AWS_CA_BUNDLE", bundle))
    };
    assert_eq!(names(&rows(&with(&certificate).out)), ["clicks"]);
    // Another one.
    let other = anabranch::kinesis::TlsIdentity::self_signed(shell.directory.path(), &[]).unwrap();
    let Ran { status, error, .. } = with(&other.certificate);
    assert_eq!(status, 5);
    assert!(
        error.contains("certificate") && error.contains("AWS_CA_BUNDLE"),
        "{error}"
    );
    let empty = shell.directory.path().join("empty.pem");
    fs::write(&empty, "").unwrap();
    for (bundle, part) in [
        (empty, "no certificate in it"),
        (shell.directory.path().join("none"), "No such file"),
    ] {
        let Ran { status, error, .. } = with(&bundle);
        assert_eq!(status, 2, "{error}");
        assert!(error.contains("AWS_CA_BUNDLE") && error.contains(part), "{error}");
    }
}

#[test]
fn an_encrypted_directory_needs_its_keys() {
    let shell = Shell::in_directory();
    let keys = private(
        shell.directory.path(),
        "keys",
        &format!("a = {}\n", "0a".repeat(32)),
    );
    let keys = keys.to_str().unwrap();
    shell.ok(&["create", "clicks", "--shards", "1"]);
    let options = anabranch::StoreOptions::new().keys(anabranch::KeyRing::read(Path::new(keys)).unwrap());
    let store = options.open(shell.data_dir()).unwrap();
    let stream = store
        .namespace("000000000000/us-east-1")
        .unwrap()
        .stream("clicks")
        .unwrap();
    stream.start_encryption("a").unwrap();
    store.close().unwrap();
    shell.put("secret\n", &["clicks", "--keys", keys]);
    assert_eq!(texts(&shell.rows(&["get", "clicks", "--keys", keys])), ["secret"]);
    assert!(shell.refusal(4, &["get", "clicks"]).contains("add the key"));
    // The stream is listed, without the facts that cannot be read.
    let Ran { status, out, error } = shell.run(&["streams"]);
    assert_eq!((status, &rows(&out)[0]["oldest"]), (0, &Value::Null));
    assert!(error.contains("add the key"), "{error}");
}
