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
        out.contains("stream clicks, shardId-000000000000: record 4 is lost"),
        "{out}"
    );
    // No progress where nobody looks at it.
    assert_eq!(error, "");

    let (status, _, error) = run(&["verify"], &store.path().join("missing"));
    assert_eq!(status, 2);
    assert!(error.contains("missing"), "{error}");
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
