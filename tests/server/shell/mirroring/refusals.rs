//! What cannot be mirrored, and what is said then.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Mirror, Shell, checkpoint, command, filled, mirror, place, put_numbers, ran, refusal};
use crate::PROGRAM;

fn source() -> Shell {
    filled(|streams| {
        streams.create_stream("clicks", 2).unwrap();
        put_numbers(streams, 0..10);
    })
}

#[test]
fn a_stream_is_not_mirrored_into_itself() {
    let server = Shell::at_server(&["--create-stream", "clicks:1"]);
    let error = refusal(1, &server, &server, &[]);
    assert!(
        error.contains("the same stream, clicks") && error.contains("--to"),
        "{error}"
    );
    // The directory of the server is the same too, and so is a directory.
    let data_dir = server.data_dir();
    let by_directory = ran(&mut command(data_dir.to_str().unwrap(), &server, &[]));
    assert_eq!(by_directory.status, 1);
    assert!(
        by_directory.error.contains("the same stream"),
        "{}",
        by_directory.error
    );
    let directory = source();
    assert!(refusal(1, &directory, &directory, &[]).contains("the same stream"));
    // Under another name it is another stream.
    mirror(&directory, &directory, &["--to", "copy"]);
    assert_eq!(directory.rows(&["get", "copy"]).len(), 10);
    mirror(&server, &server, &["--to", "copy"]);
}

#[test]
fn places_and_streams_that_are_not_there_are_named() {
    let (source, target) = (source(), Shell::in_directory());
    let missing = ran(PROGRAM
        .command()
        .args(["mirror", &place(&source), "orders", &place(&target)])
        .arg("--checkpoint")
        .arg(checkpoint(&target)));
    assert_eq!(missing.status, 1);
    assert!(
        missing.error.contains("stream orders not found"),
        "{}",
        missing.error
    );
    let nowhere = source.directory.path().join("nowhere");
    let none = ran(&mut command(nowhere.to_str().unwrap(), &target, &[]));
    assert_eq!(none.status, 4);
    assert!(none.error.contains("there is no store in"), "{}", none.error);
    let none = ran(&mut command("http://127.0.0.1:1", &target, &[]));
    assert_eq!(none.status, 5);
    assert!(
        none.error.contains("no answer from http://127.0.0.1:1") && !none.error.contains("--endpoint"),
        "{}",
        none.error
    );
    // Nothing was made.
    assert_eq!(target.run(&["streams"]).out, "");
    assert!(!checkpoint(&target).exists());
}

#[test]
fn what_is_no_place_or_position_is_told_apart() {
    let (source, target) = (source(), Shell::in_directory());
    for wrong in ["ftp://a", "aws://EU", "s3://bucket", ""] {
        let error = ran(&mut command(wrong, &target, &[]));
        assert_eq!(error.status, 2, "{wrong}");
        assert!(error.error.contains("expected a directory"), "{}", error.error);
    }
    for arguments in [
        &["--follow", "--until-drained"][..],
        &["--quiet", "5s"],
        &["--rate", "0"],
        &["--shards", "0"],
        &["--shards", "3"],
        &["--lineage", "other"],
        &["--from", "yesterday"],
        &[
            "--from",
            "49546561889620704595785608706778694751169797895583956994",
        ],
        &["--account-id", "7"],
    ] {
        refusal(2, &source, &target, arguments);
    }
}

#[test]
fn a_target_of_other_shards_is_not_touched() {
    let source = source();
    for target in Shell::each() {
        target.ok(&["create", "clicks", "--shards", "3"]);
        let error = refusal(1, &source, &target, &[]);
        assert!(
            error.contains("clicks is at the target already") && error.contains("--existing"),
            "{error}"
        );
        let error = refusal(1, &source, &target, &["--existing"]);
        assert!(error.contains("at the target has other shards"), "{error}");
        assert_eq!(target.rows(&["get", "clicks"]).len(), 0);
        assert!(!checkpoint(&target).exists());
        mirror(&source, &target, &["--existing", "--lineage", "flatten"]);
        assert_eq!(target.rows(&["get", "clicks"]).len(), 10);
    }
}

#[test]
fn a_target_that_something_else_has_resharded_is_refused() {
    let source = Shell::at_server(&["--create-stream", "clicks:4"]);
    let target = Shell::in_directory();
    mirror(&source, &target, &[]);
    target.ok(&["merge", "clicks", "1", "2"]);
    source.ok(&["merge", "clicks", "0", "1"]);
    let error = refusal(1, &source, &target, &[]);
    assert!(error.contains("was split or merged by something else"), "{error}");
}

#[test]
fn a_checkpoint_is_of_one_mirror() {
    let (source, target) = (source(), Shell::in_directory());
    mirror(&source, &target, &[]);
    let of_another = |source: &Shell, target: &Shell, arguments: &[&str], part: &str| {
        let error = refusal(1, source, target, arguments);
        assert!(
            error.contains("is of another mirror") && error.contains(part),
            "{error}"
        );
        assert!(error.contains("--checkpoint"), "{error}");
    };
    of_another(&source, &target, &["--to", "copy"], "its target is stream clicks");
    of_another(&source, &target, &["--lineage", "flatten"], "--lineage");
    source.ok(&["create", "orders"]);
    let mut orders = PROGRAM.command();
    orders.args([
        "mirror",
        &place(&source),
        "orders",
        &place(&target),
        "--checkpoint",
    ]);
    let orders = ran(orders.arg(checkpoint(&target)));
    assert!(
        orders.error.contains("it is of stream clicks"),
        "{}",
        orders.error
    );
    // Streams that are made again are others, at either end.
    target.ok(&["delete", "clicks", "--yes"]);
    of_another(&source, &target, &[], "is not at the target");
    target.ok(&["create", "clicks", "--shards", "2"]);
    of_another(&source, &target, &[], "at the target was made at another time");
    source.ok(&["delete", "clicks", "--yes"]);
    source.ok(&["create", "clicks", "--shards", "2"]);
    of_another(&source, &target, &[], "at the source was made at another time");
    fs::write(checkpoint(&target), "{}").unwrap();
    let error = refusal(1, &source, &target, &[]);
    assert!(error.contains("is no checkpoint of a mirror"), "{error}");
}

#[test]
fn one_mirror_at_a_time_has_a_checkpoint() {
    let source = source();
    let target = Shell::at_server(&[]);
    let mut first = Mirror::start(command(&place(&source), &target, &["--follow"]));
    first.wait_for("caught_up");
    let error = refusal(1, &source, &target, &[]);
    assert!(error.contains("another mirror is under way"), "{error}");
    first.interrupt();
}

#[test]
fn a_directory_that_a_server_has_is_read_and_not_written_to() {
    let server = Shell::at_server(&["--create-stream", "clicks:1"]);
    server.put("1\n2\n", &["clicks"]);
    let data_dir = server.data_dir();
    let data_dir = data_dir.to_str().unwrap();
    let target = Shell::in_directory();
    let mut following = Mirror::start(command(data_dir, &target, &["--follow"]));
    following.wait_for("caught_up");
    server.put("3\n", &["clicks"]);
    anabranch_harness::wait::wait_until("the record is at the target", || {
        target.run(&["get", "clicks"]).out.lines().count() == 3
    });
    assert_eq!(following.interrupt()["records"], 3);

    let source = source();
    let mut into = PROGRAM.command();
    into.args([
        "mirror",
        &place(&source),
        "clicks",
        data_dir,
        "--to",
        "copy",
        "--checkpoint",
    ]);
    let into = ran(into.arg(checkpoint(&target).with_extension("2")));
    assert_eq!(into.status, 3, "{}", into.error);
    assert!(
        into.error.contains("is locked") && into.error.contains("http://HOST:PORT"),
        "{}",
        into.error
    );
}

#[test]
fn files_that_cannot_be_made_are_named() {
    let (source, target) = (source(), Shell::in_directory());
    let below_a_file = |name: &str| {
        let file = target.directory.path().join(name);
        fs::write(&file, "").unwrap();
        file.join("below")
    };
    let directory = below_a_file("file");
    let mut into = PROGRAM.command();
    into.args(["mirror", &place(&source), "clicks"]).arg(&directory);
    let into = ran(into.arg("--checkpoint").arg(checkpoint(&target)));
    assert_eq!(into.status, 4, "{}", into.error);
    let file = below_a_file("other");
    let mut unwritable = PROGRAM.command();
    unwritable.args([
        "mirror",
        &place(&source),
        "clicks",
        &place(&target),
        "--checkpoint",
    ]);
    let unwritable = ran(unwritable.arg(&file));
    assert_eq!(unwritable.status, 1);
    assert!(
        unwritable.error.contains("cannot lock the checkpoint"),
        "{}",
        unwritable.error
    );
}

#[test]
fn keys_that_a_server_does_not_know_are_refused() {
    let source = source();
    let directory = tempfile::tempdir().unwrap();
    let credentials = private(directory.path());
    let server = PROGRAM.serve(
        directory.path(),
        &["--credentials", credentials.to_str().unwrap()],
    );
    let target = Shell {
        directory,
        server: Some(server),
    };
    let error = refusal(1, &source, &target, &[]);
    assert!(error.contains("Exception"), "{error}");
    let mut wrong = command(&place(&source), &target, &[]);
    wrong
        .env("AWS_ACCESS_KEY_ID", "AKID")
        .env("AWS_SECRET_ACCESS_KEY", "wrong");
    let wrong = ran(&mut wrong);
    assert_eq!(wrong.status, 1);
    assert!(wrong.error.contains("signature"), "{}", wrong.error);
    let mut right = command(&place(&source), &target, &[]);
    right
        .env("AWS_ACCESS_KEY_ID", "AKID")
        .env("AWS_SECRET_ACCESS_KEY", "s");
    assert_eq!(ran(&mut right).status, 0);
}

pub(super) fn private(directory: &Path) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = directory.join("credentials");
    fs::write(
        &path,
        "[a]\naws_access_key_id = AKID\naws_secret_access_key = s\n",
    )
    .unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

#[test]
fn a_stream_of_a_namespace_gets_another_name_at_an_endpoint() {
    let source = Shell::in_directory();
    source.ok(&["create", "tenant-7/clicks", "--shards", "1"]);
    source.put("1\n", &["tenant-7/clicks"]);
    let target = Shell::at_server(&[]);
    let mirror = |arguments: &[&str]| {
        let mut command = PROGRAM.command();
        command.args(["mirror", &place(&source), "tenant-7/clicks", &place(&target)]);
        ran(command
            .arg("--checkpoint")
            .arg(checkpoint(&target))
            .args(arguments))
    };
    let refused = mirror(&[]);
    assert_eq!(refused.status, 2);
    assert!(
        refused.error.contains("has no namespace") && refused.error.contains("--to"),
        "{}",
        refused.error
    );
    assert_eq!(mirror(&["--to", "a/b/../c"]).status, 2);
    assert_eq!(mirror(&["--to", "clicks"]).status, 0);
    assert_eq!(target.rows(&["get", "clicks"]).len(), 1);
}
