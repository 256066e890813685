//! The three tools of the program.

use std::path::Path;
use std::process::Output;

use anabranch_harness::program::Program;

use super::inspected_store::{InspectedStore, flip, frames, options};

const PROGRAM: Program = Program(env!("CARGO_BIN_EXE_anabranch"));

fn run(arguments: &[&str], directory: &Path) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = PROGRAM.command().args(arguments).arg(directory).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn the_exit_status_of_verify_tells_sound_damaged_and_impossible_apart() {
    let store = InspectedStore::closed(8);
    let (status, out, _) = run(&["verify"], store.path());
    assert_eq!(status, 0, "{out}");
    assert!(
        out.contains("8 records") && out.contains("The store is sound."),
        "{out}"
    );

    flip(&store.segment(1), 4096 + 100);
    let (status, out, error) = run(&["verify"], store.path());
    assert_eq!(status, 1, "{out}");
    assert!(out.contains("00000000000000000004.log, byte 4096"), "{out}");
    assert!(
        out.contains("stream clicks, shardId-000000000000: record 4 is lost; arrived from "),
        "{out}"
    );
    assert!(
        out.contains("\nChecked 1 stream, 1 shard, 3 segments, 7 frames, 7 records, "),
        "{out}"
    );
    assert!(!out.contains("1970") && !out.contains(" ms"), "{out}");
    // There is no progress output without a terminal.
    assert_eq!(error, "");

    let (status, _, error) = run(&["verify"], &store.path().join("missing"));
    assert_eq!(status, 2);
    assert!(error.contains("missing"), "{error}");
}

#[test]
fn a_directory_without_a_store_is_said_to_be_that_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("letter"), "dear").unwrap();
    for tool in ["verify", "dump", "repair"] {
        let (status, out, error) = run(&[tool], directory.path());
        assert_eq!((status, out.as_str()), (2, ""), "{tool}");
        let expected = "is not an anabranch store: it has files but no CURRENT\n";
        assert!(error.ends_with(expected), "{tool}: {error}");
    }
}

#[test]
fn the_address_of_a_server_is_not_taken_for_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    for (before, after) in [
        (&["verify"][..], &[][..]),
        (&["dump"], &[]),
        (&["repair"], &[]),
        (&["backup"], &["copy"]),
        (&["restore", "copy"], &[]),
        (&["streams", "--data-dir"], &[]),
        (&["create", "clicks", "--data-dir"], &[]),
        (&["serve", "--listen", "127.0.0.1:0", "--data-dir"], &[]),
    ] {
        let mut command = PROGRAM.command();
        command
            .args(before)
            .arg("http://127.0.0.1:4567")
            .args(after)
            .current_dir(directory.path());
        let output = command.output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{before:?}: {error}");
        assert!(
            error.contains("name the directory of the store"),
            "{before:?}: {error}"
        );
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

/// A time of today, in the form of RFC 3339.
#[track_caller]
fn assert_is_time(value: &serde_json::Value) {
    let text = value.as_str().unwrap();
    let shape: String = text
        .chars()
        .map(|character| match character.is_ascii_digit() {
            true => '0',
            false => character,
        })
        .collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000Z");
    assert!(text > "2020", "{text}");
}

#[test]
fn all_tools_show_times_as_rfc_3339_has_them() {
    let store = InspectedStore::closed(8);
    for (what, fields) in [
        ("lineage", ["created"].as_slice()),
        ("segments", &["last_arrival"]),
        ("frames", &["first_arrival", "last_arrival"]),
        ("records", &["arrival"]),
    ] {
        let (_, out, _) = run(&["dump", "--json", "--what", what], store.path());
        let first: serde_json::Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
        for field in fields {
            assert_is_time(&first[field]);
        }
        let (_, text, _) = run(&["dump", "--what", what], store.path());
        assert!(!text.contains(" ms") && !text.contains("1970"), "{text}");
        assert!(!out.contains("1970"), "{out}");
        assert!(what == "lineage" || text.contains("Z"), "{text}");
    }
    let (_, edits, _) = run(&["dump", "--what", "manifest"], store.path());
    assert!(edits.contains("Timestamp(20"), "{edits}");

    flip(&store.segment(1), 4096 + 100);
    let (_, out, _) = run(&["verify", "--json"], store.path());
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_is_time(&told["findings"][0]["arrived_from"]);
}

#[test]
fn verify_speaks_json() {
    let store = InspectedStore::closed(8);
    flip(&store.segment(1), 4096 + 100);
    let (status, out, _) = run(&["verify", "--json"], store.path());
    assert_eq!(status, 1);
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(told["sound"], false);
    assert_eq!(told["checked"]["records"], 7);
    let finding = &told["findings"][0];
    assert_eq!(finding["meaning"], "lost");
    assert_eq!(
        (&finding["from_record"], &finding["to_record_exclusive"]),
        (&4.into(), &5.into())
    );
    assert_eq!(finding["shard"], "shardId-000000000000");
}

#[test]
fn dump_speaks_text_and_json_lines() {
    let store = InspectedStore::closed(3);
    let opened = options().open(store.path()).unwrap();
    opened.stream("clicks").unwrap().put("user-42", b"hello").unwrap();
    // With the store still open.
    let (status, out, _) = run(&["dump", "--what", "records"], store.path());
    assert_eq!(status, 0);
    assert_eq!(out.lines().count(), 4);
    let last = out.lines().last().unwrap();
    assert!(last.contains("key \"user-42\", data \"hello\""), "{last}");
    opened.close().unwrap();

    for (what, kind) in [
        ("manifest", "edit"),
        ("lineage", "shard"),
        ("segments", "segment"),
        ("frames", "frame"),
        ("records", "record"),
    ] {
        let (status, out, error) = run(&["dump", "--json", "--what", what], store.path());
        assert_eq!((status, error.as_str()), (0, ""));
        assert!(out.lines().count() > 0, "{what}");
        for line in out.lines() {
            let told: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(told["type"], kind);
        }
    }
    let (_, out, _) = run(
        &["dump", "--json", "--what", "records", "--limit", "1"],
        store.path(),
    );
    assert_eq!(out.lines().count(), 1);
    let (status, _, _) = run(&["dump", "--stream", "nobody's"], store.path());
    assert_eq!(status, 2);
}

#[test]
fn repair_changes_nothing_without_yes() {
    let store = InspectedStore::closed(8);
    assert_eq!(run(&["repair"], store.path()).0, 0);
    flip(&store.segment(1), frames(store.path())[4].offset + 100);
    let (status, out, _) = run(&["repair"], store.path());
    assert_eq!(status, 1);
    assert!(out.contains("record 5 is lost") && out.contains("--yes"), "{out}");
    assert_eq!(run(&["verify"], store.path()).0, 1);

    let opened = options().open(store.path()).unwrap();
    let (status, _, error) = run(&["repair", "--yes"], store.path());
    assert_eq!(status, 2);
    assert!(error.contains("Stop that program first"), "{error}");
    drop(opened);

    let (status, out, _) = run(&["repair", "--yes"], store.path());
    assert_eq!(status, 0);
    assert!(out.contains("damaged/"), "{out}");
    assert_eq!(run(&["verify"], store.path()).0, 0);
}

#[test]
fn repair_speaks_json() {
    let store = InspectedStore::closed(8);
    let told = |arguments: &[&str], expected: i32| {
        let (status, out, error) = run(&[&["repair", "--json"], arguments].concat(), store.path());
        assert_eq!((status, error.as_str()), (expected, ""), "{out}");
        assert_eq!(out.lines().count(), 1, "{out}");
        serde_json::from_str::<serde_json::Value>(&out).unwrap()
    };
    for arguments in [[].as_slice(), &["--yes"]] {
        let nothing = told(arguments, 0);
        assert_eq!(
            (&nothing["sound"], &nothing["done"]),
            (&true.into(), &false.into())
        );
        assert_eq!(nothing["steps"].as_array().unwrap().len(), 0);
        assert_eq!(nothing["aside"], serde_json::Value::Null);
    }

    flip(&store.segment(1), frames(store.path())[4].offset + 100);
    let planned = told(&[], 1);
    assert_eq!(
        (&planned["sound"], &planned["done"]),
        (&false.into(), &false.into())
    );
    assert_eq!(planned["needs_set_aside"], false);
    let step = &planned["steps"][0];
    assert_eq!(step["action"], "mend-segment");
    assert_eq!(step["file"], store.segment(1).to_str().unwrap());
    assert_eq!(
        (&step["stream_name"], &step["shard"]),
        (&"clicks".into(), &"shardId-000000000000".into())
    );
    let loss = &step["loses"][0];
    assert_eq!(loss["what"], "records");
    assert_eq!(
        (&loss["from_record"], &loss["to_record_exclusive"]),
        (&5.into(), &6.into())
    );
    assert_is_time(&loss["arrived_from"]);

    let done = told(&["--yes"], 0);
    assert_eq!((&done["sound"], &done["done"]), (&true.into(), &true.into()));
    assert_eq!(done["steps"], planned["steps"]);
    assert_eq!(done["still_damaged"].as_array().unwrap().len(), 0);
    let aside = std::path::PathBuf::from(done["aside"].as_str().unwrap());
    let copied = done["copied"].as_array().unwrap();
    assert!(!copied.is_empty());
    for name in copied {
        assert!(aside.join(name.as_str().unwrap()).is_file(), "{name}");
    }
}

#[test]
fn repair_says_in_json_what_cannot_be_repaired() {
    let store = InspectedStore::closed(8);
    std::fs::remove_file(store.manifest()).unwrap();
    for arguments in [["repair", "--json"].as_slice(), &["repair", "--json", "--yes"]] {
        let (status, out, _) = run(arguments, store.path());
        assert_eq!(status, 1, "{out}");
        let told: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!((&told["sound"], &told["done"]), (&false.into(), &false.into()));
        assert!(
            !told["cannot_be_repaired"].as_array().unwrap().is_empty(),
            "{out}"
        );
    }
}
