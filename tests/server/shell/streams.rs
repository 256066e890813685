//! Streams and shards are listed, made, resharded and deleted.

use serde_json::{Value, json};

use super::{Ran, Shell};

#[test]
fn streams_are_made_listed_and_deleted() {
    for shell in Shell::each() {
        let made = shell.rows(&["create", "clicks", "--shards", "2"]);
        let clicks = json!({
            "stream": "clicks",
            "status": "ACTIVE",
            "shards": 2,
            "retention_seconds": 86_400,
            "oldest": null,
            "mode": "PROVISIONED",
        });
        assert_eq!(made, std::slice::from_ref(&clicks));
        assert_eq!(shell.rows(&["create", "a"])[0]["shards"], 4);
        assert!(shell.refusal(1, &["create", "clicks"]).contains("already exists"));

        shell.put("one\ntwo\n", &["a"]);
        let listed = shell.rows(&["streams"]);
        assert_eq!(listed.len(), 2);
        let oldest = shell
            .rows(&["get", "a"])
            .iter()
            .map(|row| row["arrival"].to_string())
            .min();
        assert_eq!(
            (&listed[0]["stream"], listed[0]["oldest"].to_string()),
            (&json!("a"), oldest.unwrap())
        );
        assert_eq!(listed[1], clicks);

        shell.ok(&["delete", "clicks", "--yes"]);
        shell.ok(&["delete", "a", "--yes"]);
        assert_eq!(shell.rows(&["streams"]), [] as [Value; 0]);
        assert!(
            shell
                .refusal(1, &["delete", "a", "--yes"])
                .contains("stream a not found")
        );
    }
}

#[test]
fn a_stream_is_deleted_only_if_that_is_meant() {
    for shell in Shell::each() {
        shell.ok(&["create", "clicks"]);
        for answer in ["", "\n", "n\n", "clicks\n"] {
            let Ran { status, error, .. } = shell.feed(answer.as_bytes(), &["delete", "clicks"]);
            assert_eq!(status, 1, "{answer:?}");
            assert!(
                error.starts_with("Delete stream clicks with all its records? [y/N] \n"),
                "{error}"
            );
            assert!(
                error.contains("clicks is not deleted") && error.contains("--yes"),
                "{error}"
            );
        }
        assert_eq!(shell.rows(&["streams"]).len(), 1);
        assert_eq!(shell.feed(b"Y\n", &["delete", "clicks"]).status, 0);
        assert_eq!(shell.rows(&["streams"]).len(), 0);
    }
}

#[test]
fn people_get_a_table() {
    for shell in Shell::each() {
        let made = shell.ok(&["create", "clicks", "--shards", "2", "--output", "table"]);
        let table = "\
NAME    STATUS  SHARDS  RETENTION  OLDEST  MODE
clicks  ACTIVE  2       24 h       -       PROVISIONED
";
        assert_eq!(made, table);
        assert_eq!(shell.ok(&["streams", "--output", "table"]), table);
        let shards = shell.ok(&["streams", "clicks", "--output", "table"]);
        let half = (1_u128 << 127).to_string();
        let mut lines = shards.lines();
        assert!(
            lines
                .next()
                .unwrap()
                .starts_with("SHARD                 STATE  FIRST HASH KEY")
        );
        assert!(
            lines
                .next()
                .unwrap()
                .starts_with("shardId-000000000000  open   0 "),
            "{shards}"
        );
        let second = lines.next().unwrap();
        assert!(second.contains(&half) && second.ends_with("  -"), "{shards}");
    }
}

/// The state and parents in the rows of shards.
fn lineage(rows: &[Value]) -> Vec<(&str, Vec<&str>)> {
    rows.iter()
        .map(|row| {
            let parents = row["parents"].as_array().unwrap().iter();
            let parents = parents.map(|parent| parent.as_str().unwrap());
            (row["state"].as_str().unwrap(), parents.collect())
        })
        .collect()
}

#[test]
fn shards_are_split_and_merged() {
    const FIRST: &str = "shardId-000000000000";
    const LOW: &str = "shardId-000000000001";
    const HIGH: &str = "shardId-000000000002";
    for shell in Shell::each() {
        shell.ok(&["create", "clicks", "--shards", "1"]);
        let split = shell.rows(&["split", "clicks", "0"]);
        assert_eq!(
            lineage(&split),
            [("closed", vec![]), ("open", vec![FIRST]), ("open", vec![FIRST])]
        );
        assert_eq!(split[2]["starting_hash_key"], (1_u128 << 127).to_string());
        assert!(
            shell
                .refusal(1, &["merge", "clicks", "2", "1"])
                .contains("adjacent")
        );
        let merged = shell.rows(&["merge", "clicks", LOW, HIGH]);
        assert_eq!(merged[3]["parents"], json!([LOW, HIGH]));
        assert_eq!(shell.rows(&["streams", "clicks"]), merged);
        let split = shell.rows(&["split", "clicks", "3", "--at", "1000"]);
        assert_eq!(split[5]["starting_hash_key"], "1000");
        assert_eq!(split[4]["ending_hash_key"], "999");

        for (wrong, part) in [
            (&["split", "clicks", "0"][..], FIRST),
            (&["split", "clicks", "99"], "shardId-000000000099"),
            (&["split", "clicks", "99", "--at", "7"], "shardId-000000000099"),
            (&["split", "clicks", "5", "--at", "1000"], "1000"),
            (&["split", "nothing", "0"], "nothing"),
            (&["merge", "clicks", "4", "99"], "shardId-000000000099"),
        ] {
            let error = shell.refusal(1, wrong);
            assert!(error.contains(part), "{wrong:?}: {error}");
        }
    }
}

#[test]
fn what_cannot_be_is_a_wrong_command_line() {
    let shell = Shell::in_directory();
    for (wrong, part) in [
        (&["create"][..], "<NAME>"),
        (&["create", "a", "--shards", "0"], "0 is not in 1..=100000"),
        (&["create", "a", "--shards", "x"], "invalid digit"),
        (&["streams", "--output", "xml"], "[possible values: table, json]"),
        (&["split", "a"], "<SHARD>"),
        (&["split", "a", "x"], "'x'"),
        (&["split", "a", "0", "--at", "x"], "'x'"),
        (
            &[
                "split",
                "a",
                "0",
                "--at",
                "340282366920938463463374607431768211456",
            ],
            "--at",
        ),
        (&["merge", "a", "0"], "<SHARD>"),
        (&["merge", "a", "0", "shardId-x"], "shardId-x"),
        (&["trim", "a"], "--to"),
        (&["trim", "a", "--to", "latest"], "not \"latest\""),
        (&["get", "a", "--from", "yesterday"], "not \"yesterday\""),
        (&["get", "a", "--from", "-1"], "a unit after 1"),
        (
            &["get", "a", "--from", "123"],
            "a sequence number of the old version 0",
        ),
        (&["get", "a", "--shard", "-"], "--shard"),
        (&["get", "a", "--limit", "x"], "--limit"),
        (&["tail", "a", "--from", "2026-01-31"], "2026-01-31T12:00:00Z"),
        (&["tail", "a", "--limit", "many"], "--limit"),
        (&["put", "a", "--key", ""], "--key"),
        (&["put", "a", "--key", &"k".repeat(257)], "at most 256 characters"),
        (
            &["put", "a", "--key", "k", "--key-field", "f"],
            "cannot be used with",
        ),
        (
            &["streams", "--endpoint", "http://127.0.0.1:1"],
            "cannot be used with",
        ),
        (&["streams", "--region", "nowhere"], "nowhere"),
        (&["streams", "--account-id", "1"], "1"),
        (&["streams", "--keys", "/nowhere/keys"], "--keys: /nowhere/keys"),
    ] {
        // So that the error is not about a missing directory.
        std::fs::create_dir_all(shell.data_dir()).unwrap();
        std::fs::write(shell.data_dir().join("CURRENT"), "").unwrap();
        let error = shell.refusal(2, wrong);
        assert!(error.contains(part), "{wrong:?}: {error}");
    }
}

#[test]
fn a_name_is_checked_before_anything_is_done() {
    let long = "x".repeat(129);
    for shell in Shell::each() {
        shell.ok(&["create", "clicks", "--shards", "1"]);
        for (name, part) in [
            ("../x", "\"..\" is no namespace"),
            ("./x", "\".\" is no namespace"),
            ("a/../x", "\"a/..\" is no namespace"),
            ("a//x", "\"a/\" is no namespace"),
            ("a b/x", "\"a b\" is no namespace"),
            ("", "at least one character"),
            ("a/", "at least one character"),
            ("clicks!", "not '!'"),
            ("cl\u{ef}cks", "not 'ï'"),
            (&long, "at most 128 characters, this one has 129"),
        ] {
            for command in [
                &["create", name][..],
                &["streams", name],
                &["put", name],
                &["get", name],
                &["tail", name],
                &["split", name, "0"],
                &["merge", name, "0", "1"],
                &["trim", name, "--to", "-1h"],
                &["delete", name, "--yes"],
            ] {
                let error = shell.refusal(2, command);
                assert!(error.contains(part), "{command:?}: {error}");
            }
        }
        let listed = shell.rows(&["streams"]);
        assert_eq!((listed.len(), &listed[0]["stream"]), (1, &json!("clicks")));
    }
}

#[test]
fn behind_an_endpoint_no_name_has_a_namespace() {
    let [directory, server] = Shell::each();
    let name = "tenant-7/clicks";
    for command in [
        &["create", name][..],
        &["streams", name],
        &["put", name],
        &["get", name],
        &["delete", name, "--yes"],
    ] {
        let error = server.refusal(2, command);
        assert!(error.contains("no slash in its name; --region says"), "{error}");
    }
    directory.ok(&["create", name, "--shards", "1"]);
    directory.put("1\n", &[name]);
    assert_eq!(directory.rows(&["get", name]).len(), 1);
}

#[test]
fn the_help_says_what_a_command_takes_and_how_it_ends() {
    for command in [
        "streams", "create", "put", "get", "tail", "split", "merge", "trim", "delete",
    ] {
        let mut program = crate::PROGRAM.command();
        let Ran { status, out, .. } = super::ran(program.args([command, "--help"]));
        assert_eq!(status, 0);
        for part in [
            "--data-dir",
            "--endpoint",
            "AWS_ENDPOINT_URL_KINESIS",
            "AWS_CA_BUNDLE",
            "Exit status:",
        ] {
            assert!(out.contains(part), "{command}: no {part} in {out}");
        }
    }
}
