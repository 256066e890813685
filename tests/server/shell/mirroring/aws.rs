//! Amazon Kinesis as a place, through AWS' own SDK, which is sent to our server.

use std::process::Command;

use serde_json::json;

use super::{
    Mirror, Ran, Shell, assert_is_whole, checkpoint, filled, last, lineage, place, put_numbers, ran, rows,
    texts,
};
use crate::PROGRAM;

/// A mirror whose places are as they are given, of one with a key.
fn command(places: [&str; 2], target: &Shell, arguments: &[&str]) -> Command {
    let [source, to] = places;
    let mut command = PROGRAM.command();
    command.args(["mirror", source, "clicks", to]).args(arguments);
    command.arg("--checkpoint").arg(checkpoint(target));
    command
        .env("AWS_ACCESS_KEY_ID", "AKID")
        .env("AWS_SECRET_ACCESS_KEY", "s");
    command
}

fn url(shell: &Shell) -> String {
    shell.server.as_ref().unwrap().url()
}

#[test]
fn a_stream_comes_to_aws_and_back_whatever_is_refused_or_lost() {
    let source = filled(|streams| {
        let stream = streams.create_stream("clicks", 2).unwrap();
        put_numbers(streams, 0..1_500);
        stream.update_shard_count(3).unwrap();
        put_numbers(streams, 1_500..3_000);
    });
    let faults = [
        "PutRecords:throttle:20%",
        "PutRecords:lose:20%",
        "*:error=InternalFailureException:5%",
    ];
    let faults = faults.map(|fault| ["--fault", fault]).concat();
    let aws = Shell::at_server(&faults);
    let to = ["--target-endpoint-url", &url(&aws)];
    let Ran { status, out, error } = ran(&mut command([&place(&source), "aws://us-east-1"], &aws, &to));
    assert_eq!(status, 0, "{error}");
    assert_eq!(last(&rows(&out))["records"], 3_000);
    assert_is_whole(&aws, "clicks", 3_000);
    assert_eq!(lineage(&aws, "clicks"), lineage(&source, "clicks"));

    let back = Shell::in_directory();
    let from = ["--source-endpoint-url", &url(&aws), "--to", "back"];
    let ran = ran(&mut command(["aws://us-east-1", &place(&back)], &back, &from));
    assert_eq!(ran.status, 0, "{}", ran.error);
    assert_is_whole(&back, "back", 3_000);
    assert_eq!(lineage(&back, "back"), lineage(&source, "clicks"));
}

#[test]
fn it_is_followed_and_gone_on_with_by_the_numbers_of_its_shards() {
    let aws = Shell::at_server(&["--create-stream", "clicks:1"]);
    aws.put("0\n1\n", &["clicks", "--key", "k"]);
    let target = Shell::in_directory();
    let from = ["--source-endpoint-url", &url(&aws)];
    for round in 1..3_u64 {
        let follow = [&from[..], &["--follow"]].concat();
        let mut mirror = Mirror::start(command(["aws://us-east-1", &place(&target)], &target, &follow));
        let caught_up = mirror.wait_for("caught_up");
        assert_eq!(
            (&caught_up["records"], &caught_up["behind_ms"]),
            (&json!(2 * round), &json!(0))
        );
        assert_eq!(mirror.interrupt()["complete"], true);
        aws.put("2\n3\n", &["clicks", "--key", "k"]);
        aws.ok(&["split", "clicks", &format!("{}", 2 * (round - 1))]);
    }
    let drained = ran(&mut command(["aws://us-east-1", &place(&target)], &target, &from));
    assert_eq!(drained.status, 0, "{}", drained.error);
    assert_eq!(
        texts(&target.rows(&["get", "clicks"])),
        ["0", "1", "2", "3", "2", "3"]
    );
    assert_eq!(lineage(&target, "clicks"), lineage(&aws, "clicks"));
}

#[test]
fn other_commands_speak_to_it_too() {
    let aws = Shell::at_server(&[]);
    let ask = |arguments: &[&str]| {
        let mut command = PROGRAM.command();
        command.args(arguments).args(["--endpoint", "aws://us-east-1"]);
        command
            .env("AWS_ACCESS_KEY_ID", "AKID")
            .env("AWS_SECRET_ACCESS_KEY", "s");
        command.env("AWS_ENDPOINT_URL_KINESIS", url(&aws));
        let Ran { status, out, error } = ran(&mut command);
        (status, rows(&out), error)
    };
    let (status, made, error) = ask(&["create", "clicks", "--shards", "2"]);
    assert_eq!((status, made.len()), (0, 1), "{error}");
    aws.put("1\n2\n", &["clicks"]);
    assert_eq!(ask(&["get", "clicks"]).1.len(), 2);
    assert_eq!(ask(&["streams"]).1[0]["stream"], "clicks");
    assert_eq!(ask(&["split", "clicks", "0"]).1.len(), 4);
    assert_eq!(ask(&["merge", "clicks", "2", "3"]).1.len(), 5);
    let (status, _, error) = ask(&["trim", "clicks", "--to", "-1h"]);
    assert_eq!(status, 2);
    assert!(error.contains("shorten the stream's retention"), "{error}");
    assert_eq!(ask(&["delete", "clicks", "--yes"]).0, 0);
    let (status, _, error) = ask(&["get", "clicks"]);
    assert_eq!(status, 1);
    assert!(
        error.contains("clicks under account 000000000000 not found"),
        "{error}"
    );
}

#[test]
fn keys_that_are_missing_or_wrong_and_silence_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let credentials = super::refusals::private(directory.path());
    let server = PROGRAM.serve(
        directory.path(),
        &["--credentials", credentials.to_str().unwrap()],
    );
    let aws = Shell {
        directory,
        server: Some(server),
    };
    let target = Shell::in_directory();
    let asked = |url: &str, change: &dyn Fn(&mut Command)| {
        let from = ["--source-endpoint-url", url];
        let mut command = command(["aws://us-east-1", &place(&target)], &target, &from);
        command.env("AWS_EC2_METADATA_DISABLED", "true");
        change(&mut command);
        let ran = ran(&mut command);
        (ran.status, ran.error)
    };
    let without = |command: &mut Command| {
        command
            .env_remove("AWS_ACCESS_KEY_ID")
            .env_remove("AWS_SECRET_ACCESS_KEY");
    };
    let (status, error) = asked(&url(&aws), &without);
    assert_eq!(status, 1);
    assert!(error.contains("no keys for aws://us-east-1"), "{error}");
    let (status, error) = asked(&url(&aws), &|command| {
        command.env("AWS_SECRET_ACCESS_KEY", "wrong");
    });
    assert_eq!(status, 1);
    assert!(error.contains("signature"), "{error}");
    // The right one finds no stream.
    let (status, error) = asked(&url(&aws), &|_| {});
    assert_eq!(status, 1);
    assert!(error.contains("stream clicks not found"), "{error}");
    let (status, error) = asked("http://127.0.0.1:1", &|_| {});
    assert_eq!(status, 5);
    assert!(error.contains("no answer from aws://us-east-1"), "{error}");
}
