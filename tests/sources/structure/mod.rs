//! The imports within `src`: no circles, floors that import only downwards, uses of files and `unsafe` in one place.
//!
//! `docs/design.md` has the floors. An exception is listed here with its reason. An exception that is no longer needed
//! is an error too.

mod made_up;
mod rules;
mod tree;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use rules::{
    Breach, Exception, circles, complaints, unsafe_outside, upward_imports, uses_of_files, uses_outside,
    words_in,
};
use tree::Uses;

/// From the top. Floors in one row must not import each other.
const FLOORS: [&[&str]; 18] = [
    &["cli"],
    &["kinesis"],
    &["admin"],
    &["console", "forward"],
    &["http"],
    &["channel"],
    &["queue"],
    &["consumer"],
    &["store", "inspect"],
    &["backend"],
    &["backup", "evidence"],
    &["catalog"],
    &["log"],
    &["encryption"],
    &["disk", "seam"],
    &["trace"],
    &["error", "sync"],
    &["bench", "model"],
];

const CIRCLES: [Exception; 0] = [];

const UPWARD_IMPORTS: [Exception; 0] = [];

const FILES: [&str; 4] = ["std::fs", "std::os::unix::fs", "rustix", "memmap2"];

const FILES_OUTSIDE_OF_DISK: [Exception; 5] = [
    Exception {
        of: "bench/raw.rs",
        uses: "",
        reason: "is the limit that the engine is compared with: files that are written without it",
    },
    Exception {
        of: "cli/announcement.rs",
        uses: "",
        reason: "writes the file that --url-file names, which is no part of a store",
    },
    Exception {
        of: "cli/bench/",
        uses: "",
        reason: "compares the engine with files that are written without it, and removes what it made",
    },
    Exception {
        of: "cli/serve.rs",
        uses: "std::fs::canonicalize",
        reason: "shows where the store is, whatever the working directory is",
    },
    Exception {
        of: "cli/shell/endpoint/certificates.rs",
        uses: "std::fs::read",
        reason: "reads the certificates that AWS_CA_BUNDLE names, which are no part of a store",
    },
];

/// Modules that `store` must not know, so that its logs can be anywhere.
const OF_FILES: [&str; 5] = [
    "log/",
    "disk/",
    "backend/jetstream/",
    "backend/local/",
    "backend/memory/",
];

const OF_FILES_IN_STORE: [Exception; 9] = [
    Exception {
        of: "store/open.rs",
        uses: "backend/jetstream/",
        reason: "is the one place that opens a store on a cluster",
    },
    Exception {
        of: "store/store.rs",
        uses: "backend/jetstream/options.rs",
        reason: "takes the cluster that a store is opened on",
    },
    Exception {
        of: "store/open.rs",
        uses: "backend/local/open.rs",
        reason: "is the one place that opens a store in a directory",
    },
    Exception {
        of: "store/open.rs",
        uses: "backend/memory/",
        reason: "is the one place that opens a store in memory",
    },
    Exception {
        of: "store/store.rs",
        uses: "backend/memory/place.rs",
        reason: "takes the memory that a store is opened in",
    },
    Exception {
        of: "store/options.rs",
        uses: "backend/memory/open.rs",
        reason: "its methods are the options of a store in memory",
    },
    Exception {
        of: "store/options.rs",
        uses: "backend/local/options.rs",
        reason: "its methods are the options of a store in a directory",
    },
    Exception {
        of: "store/options.rs",
        uses: "log/commit/durability.rs",
        reason: "its methods are the options of a store in a directory",
    },
    Exception {
        of: "store/options.rs",
        uses: "disk/mod.rs",
        reason: "its methods are the options of a store in a directory",
    },
];

/// Words of a store in a directory.
const WORDS_OF_FILES: [&str; 5] = ["file", "path", "segment", "journal", "pool"];

const WORDS_OF_FILES_IN_STORE: [Exception; 3] = [
    Exception {
        of: "store/open.rs",
        uses: "path",
        reason: "opens a store in a directory",
    },
    Exception {
        of: "store/store.rs",
        uses: "path",
        reason: "opens a store in a directory",
    },
    Exception {
        of: "store/options.rs",
        uses: "",
        reason: "its methods are the options of a store in a directory",
    },
];

#[test]
fn no_files_import_each_other_in_a_circle() {
    check("circles of imports", &circles(source()), &CIRCLES);
}

#[test]
fn floors_import_only_downwards() {
    check(
        "imports that do not go down",
        &upward_imports(source(), &FLOORS),
        &UPWARD_IMPORTS,
    );
}

#[test]
fn store_knows_logs_by_their_traits_alone() {
    check(
        "uses of a backend's own in `store`",
        &uses_of_files(source(), "store", &OF_FILES),
        &OF_FILES_IN_STORE,
    );
}

#[test]
fn store_does_not_speak_of_files() {
    check(
        "words of files in `store`",
        &words_in(texts(), "store", &WORDS_OF_FILES),
        &WORDS_OF_FILES_IN_STORE,
    );
}

#[test]
fn only_disk_touches_files() {
    check(
        "uses of files outside of `disk`",
        &uses_outside(source(), "disk", &FILES),
        &FILES_OUTSIDE_OF_DISK,
    );
}

#[test]
fn only_disk_has_unsafe_code() {
    check(
        "`unsafe` outside of `disk`",
        &unsafe_outside(source(), "disk"),
        &[],
    );
}

/// The rules are applied to all of `src`, not only to a part that was found by chance.
#[test]
fn the_whole_source_is_read() {
    let source = source();
    for floor in FLOORS.into_iter().flatten() {
        let is_there =
            |file: &String| file.starts_with(&format!("{floor}/")) || *file == format!("{floor}.rs");
        assert!(source.keys().any(is_there), "no file of {floor} was found");
    }
    assert!(source["store/store.rs"].files.contains("store/handle.rs"));
    assert!(source["cli/serve.rs"].files.contains("kinesis/server.rs"));
    let has_unsafe = |file: &&String| source[*file].has_unsafe;
    assert!(source.keys().any(|file| has_unsafe(&file)));
}

fn source() -> &'static BTreeMap<String, Uses> {
    static SOURCE: LazyLock<BTreeMap<String, Uses>> = LazyLock::new(|| tree::uses(texts()));
    &SOURCE
}

fn texts() -> &'static BTreeMap<String, String> {
    static TEXTS: LazyLock<BTreeMap<String, String>> =
        LazyLock::new(|| tree::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")));
    &TEXTS
}

fn check(what: &str, breaches: &[Breach], exceptions: &[Exception]) {
    let complaints = complaints(breaches, exceptions);
    assert!(complaints.is_empty(), "{what}:\n{}", complaints.join("\n"));
}
