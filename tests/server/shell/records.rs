//! Records as they are shown.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use md5::{Digest, Md5};
use serde_json::json;

use super::{Ran, Shell, data, rows, texts};

#[test]
fn lines_that_are_put_are_records_that_are_read() {
    for shell in Shell::each() {
        shell.ok(&["create", "clicks", "--shards", "1"]);
        let lines = b"first\n\n\xff\0\r\n{\"a\":1}";
        let Ran { status, out, error } = shell.feed(lines, &["put", "clicks", "--key", "k\u{e9}"]);
        assert_eq!((status, error.as_str()), (0, ""));
        let told = &rows(&out)[0];
        assert_eq!((&told["stream"], &told["records"]), (&json!("clicks"), &json!(4)));
        // Data and keys.
        assert_eq!(told["bytes"], 5 + 3 + 7 + 4 * 3);
        assert!(told["seconds"].is_number());

        let read = shell.rows(&["get", "clicks"]);
        assert_eq!(data(&read), [&b"first"[..], b"", b"\xff\0\r", b"{\"a\":1}"]);
        let mut last = String::new();
        for row in &read {
            assert_eq!(row["shard"], "shardId-000000000000");
            assert_eq!(row["partition_key"], "k\u{e9}");
            assert_eq!(row["encoding"], "base64");
            let arrival = row["arrival"].as_str().unwrap();
            assert!(arrival.len() == 24 && arrival.ends_with('Z'), "{arrival}");
            let number = row["sequence_number"].as_str().unwrap().to_owned();
            assert!(number > last, "{number}");
            last = number;
        }
        assert_eq!(shell.rows(&["tail", "clicks"]), read);
    }
}

#[test]
fn data_is_decoded_if_asked_for() {
    for shell in Shell::each() {
        shell.ok(&["create", "clicks", "--shards", "1"]);
        let lines = b"{\"z\": 1.50,\"a\":[123456789012345678901234567890]}\nplain \x1b[2J\n42\n\xff\n";
        assert_eq!(shell.feed(lines, &["put", "clicks", "--key", "k"]).status, 0);
        let shown = shell.ok(&["get", "clicks", "--decode"]);
        assert!(
            shown.contains(r#""encoding":"json","data":{"z": 1.50,"a":[123456789012345678901234567890]}}"#),
            "{shown}"
        );
        let read = rows(&shown);
        let told: Vec<_> = read[1..]
            .iter()
            .map(|row| (&row["encoding"], &row["data"]))
            .collect();
        let (text, base64) = (&json!("text"), &json!("base64"));
        assert_eq!(
            told,
            [
                (text, &json!("plain \u{1b}[2J")),
                (text, &json!("42")),
                (base64, &json!("/w=="))
            ]
        );

        let table = shell.ok(&["get", "clicks", "--decode", "--output", "table"]);
        let lines: Vec<_> = table.lines().collect();
        assert!(
            lines[0].starts_with("ARRIVAL ") && lines[0].ends_with("  PARTITION KEY  DATA"),
            "{table}"
        );
        assert!(lines[1].ends_with("  k"), "{table}");
        let pretty = [
            "    {",
            "      \"z\": 1.50,",
            "      \"a\": [",
            "        123456789012345678901234567890",
        ];
        assert_eq!(lines[2..6], pretty);
        assert!(lines[8].ends_with(r"  plain \u{1b}[2J"), "{table}");
        assert!(lines[10].ends_with("  /w=="), "{table}");
        let table = shell.ok(&["get", "clicks", "--output", "table", "--limit", "1"]);
        assert!(
            table
                .trim_end()
                .ends_with("  {\"z\": 1.50,\"a\":[123456789012345678901234567890]}"),
            "{table}"
        );
    }
}

/// The aggregate that the Kinesis Producer Library puts for these, all of one key.
fn aggregate(key: &str, datas: &[&[u8]]) -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| [&[(number << 3) | 2, bytes.len() as u8], bytes].concat();
    let record = |data: &&[u8]| field(3, &[vec![8, 0], field(3, data)].concat());
    let records: Vec<u8> = datas.iter().flat_map(record).collect();
    let message = [field(1, key.as_bytes()), records].concat();
    [
        &[0xf3, 0x89, 0x9a, 0xc2],
        &message[..],
        &Md5::digest(&message)[..],
    ]
    .concat()
}

#[test]
fn records_in_one_are_records_of_their_own_where_they_are_decoded() {
    let shells = Shell::each_filled(|namespace, _| {
        let clicks = namespace.create_stream("clicks", 1).unwrap();
        clicks.put("outer", b"plain").unwrap();
        clicks
            .put("outer", &aggregate("inner", &[b"{\"a\":1}", b"two", b"\xff"]))
            .unwrap();
        clicks.put("outer", &aggregate("none", &[])).unwrap();
        let mut broken = aggregate("inner", &[b"two"]);
        broken.push(0);
        clicks.put("outer", &broken).unwrap();
    });
    for shell in shells {
        let decoded = shell.rows(&["get", "clicks", "--decode"]);
        let stored = shell.rows(&["get", "clicks"]);
        assert_eq!((decoded.len(), stored.len()), (6, 4));
        let told: Vec<_> = decoded
            .iter()
            .map(|row| {
                (
                    &row["partition_key"],
                    &row["sub_sequence_number"],
                    &row["encoding"],
                )
            })
            .collect();
        let (inner, outer, none) = (&json!("inner"), &json!("outer"), &json!(null));
        assert_eq!(
            told,
            [
                (outer, none, &json!("text")),
                (inner, &json!(0), &json!("json")),
                (inner, &json!(1), &json!("text")),
                (inner, &json!(2), &json!("base64")),
                (outer, none, &json!("base64")),
                (outer, none, &json!("base64")),
            ]
        );
        assert_eq!(
            (&decoded[1]["data"], &decoded[2]["data"]),
            (&json!({"a": 1}), &json!("two"))
        );
        for row in &decoded[1..4] {
            for fact in ["shard", "sequence_number", "arrival"] {
                assert_eq!(row[fact], stored[1][fact]);
            }
        }
        assert_eq!(
            shell.rows(&["tail", "clicks", "--decode", "--limit", "2"]).len(),
            4
        );
        let table = shell.ok(&["get", "clicks", "--decode", "--output", "table"]);
        let number = stored[1]["sequence_number"].as_str().unwrap();
        assert!(table.contains(&format!("{number}#1  inner")), "{table}");
    }
}

#[test]
fn a_stream_is_copied_by_a_pipe() {
    let [directory, server] = Shell::each();
    for (from, to) in [(&directory, &server), (&server, &directory)] {
        from.ok(&["create", "from", "--shards", "3"]);
        to.ok(&["create", "to", "--shards", "2"]);
        let lines: Vec<_> = (0..300).map(|number| format!("line {number}")).collect();
        from.put(&lines.join("\n"), &["from"]);
        let copied = texts(&from.rows(&["tail", "from"])).join("\n");
        to.put(&copied, &["to"]);
        let mut read = texts(&to.rows(&["get", "to"]));
        read.sort_by_key(|line| line[5..].parse::<u32>().unwrap());
        assert_eq!(read, lines);
    }
}

#[test]
fn one_shard_is_shown_or_all_with_parents_first() {
    for shell in Shell::each() {
        shell.ok(&["create", "clicks", "--shards", "1"]);
        shell.put("1\n2\n", &["clicks", "--key", "k"]);
        shell.ok(&["split", "clicks", "0"]);
        shell.put("3\n4\n", &["clicks", "--key", "k"]);
        shell.ok(&["merge", "clicks", "1", "2"]);
        shell.put("5\n6\n", &["clicks", "--key", "k"]);
        for command in ["get", "tail"] {
            assert_eq!(
                texts(&shell.rows(&[command, "clicks"])),
                ["1", "2", "3", "4", "5", "6"]
            );
            let some = shell.rows(&[command, "clicks", "--limit", "3"]);
            assert_eq!(texts(&some), ["1", "2", "3"]);
            assert_eq!(shell.ok(&[command, "clicks", "--limit", "0"]), "");
        }
        assert_eq!(texts(&shell.rows(&["get", "clicks", "--shard", "0"])), ["1", "2"]);
        let last = shell.rows(&["get", "clicks", "--shard", "shardId-000000000003", "--limit", "1"]);
        assert_eq!(texts(&last), ["5"]);
        for (wrong, part) in [
            (
                &["get", "clicks", "--shard", "9"][..],
                "shardId-000000000009 does not exist in stream clicks",
            ),
            (&["get", "nothing"], "nothing"),
            (&["get", "nothing", "--shard", "0"], "stream nothing not found"),
            (&["tail", "nothing"], "nothing"),
        ] {
            let error = shell.refusal(1, wrong);
            assert!(error.contains(part), "{wrong:?}: {error}");
        }
    }
}

#[test]
fn more_than_a_page_is_shown() {
    for shell in Shell::each() {
        shell.ok(&["create", "clicks", "--shards", "2"]);
        let lines: Vec<_> = (0..2_500).map(|number| number.to_string()).collect();
        shell.put(&lines.join("\n"), &["clicks", "--key", "k"]);
        assert_eq!(texts(&shell.rows(&["get", "clicks"])), lines);
        let number = shell.rows(&["get", "clicks"])[1_200]["sequence_number"].clone();
        let rest = shell.rows(&[
            "get",
            "clicks",
            "--from",
            number.as_str().unwrap(),
            "--limit",
            "1100",
        ]);
        assert_eq!(texts(&rest), lines[1_200..2_300]);
    }
}

#[test]
fn a_reader_of_the_output_that_goes_away_is_no_failure() {
    for shell in Shell::each() {
        shell.ok(&["create", "clicks", "--shards", "1"]);
        // More bytes than a pipe holds.
        let lines = format!("{}\n", "x".repeat(1_000)).repeat(1_000);
        shell.put(&lines, &["clicks", "--key", "k"]);
        for command in ["get", "tail"] {
            let mut child = shell.start(&[command, "clicks"], Stdio::null());
            let mut line = String::new();
            BufReader::new(child.stdout.take().unwrap())
                .read_line(&mut line)
                .unwrap();
            assert!(line.starts_with("{\"shard\""), "{line}");
            // The pipe is closed here.
            let mut error = String::new();
            child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
            assert_eq!((child.wait().unwrap().code(), error.as_str()), (Some(0), ""));
        }
    }
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    for shell in Shell::each() {
        shell.ok(&["create", "clicks", "--shards", "1"]);
        shell.put("1\n", &["clicks"]);
        let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
        for arguments in [
            &["get", "clicks"][..],
            &["tail", "clicks"],
            &["streams"],
            &["streams", "clicks"],
        ] {
            let mut command = shell.command(arguments);
            let output = command.stdout(full()).output().unwrap();
            let error = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
            assert!(
                error.contains("cannot write to standard output: No space left"),
                "{error}"
            );
        }
    }
}

/// The example in the help of `put`, run by jq where that is installed.
#[test]
fn text_and_json_are_copied_as_the_help_says() {
    const FILTER: &str = r#"select(.encoding=="text").data, (select(.encoding=="json").data|tojson)"#;
    let help = crate::PROGRAM.command().args(["put", "--help"]).output().unwrap();
    assert!(String::from_utf8(help.stdout).unwrap().contains(FILTER));
    for shell in Shell::each() {
        shell.ok(&["create", "clicks", "--shards", "1"]);
        shell.ok(&["create", "copy", "--shards", "1"]);
        let lines = b"plain\n{\"a\":[1,\"x y\"]}\n\xff\n42\n";
        assert_eq!(shell.feed(lines, &["put", "clicks"]).status, 0);
        let decoded = shell.ok(&["get", "clicks", "--decode", "--output", "json"]);
        let mut jq = std::process::Command::new("jq");
        jq.args(["-r", FILTER]);
        let copied = match jq.output() {
            Ok(_) => super::fed(jq, decoded.as_bytes()).out,
            Err(_) => filtered(&decoded),
        };
        shell.put(&copied, &["copy"]);
        let expected = ["plain", r#"{"a":[1,"x y"]}"#, "42"];
        assert_eq!(texts(&shell.rows(&["get", "copy"])), expected);
    }
}

/// The output of the example's filter for these records.
fn filtered(decoded: &str) -> String {
    let line = |row: &serde_json::Value| match row["encoding"].as_str() {
        Some("text") => Some(format!("{}\n", row["data"].as_str()?)),
        Some("json") => Some(format!("{}\n", row["data"])),
        _ => None,
    };
    rows(decoded).iter().filter_map(line).collect()
}
