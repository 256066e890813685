//! The rules, applied to small trees that break or keep them.

use std::collections::BTreeMap;

use super::rules::{
    Breach, Exception, circles, complaints, unsafe_outside, upward_imports, uses_of_files, uses_outside,
    words_in,
};
use super::tree::{Uses, uses};

fn tree<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> BTreeMap<String, Uses> {
    let texts = files
        .into_iter()
        .map(|(file, text)| (file.to_owned(), text.to_owned()));
    uses(&texts.collect())
}

fn used_by(file: &str, tree: &BTreeMap<String, Uses>) -> Vec<String> {
    tree[file].files.iter().cloned().collect()
}

fn breach(file: &str, uses: &str) -> Breach {
    Breach {
        file: file.to_owned(),
        uses: uses.to_owned(),
    }
}

#[test]
fn groups_renames_and_relative_paths_lead_to_files() {
    let tree = tree([
        ("lib.rs", "mod a; mod b; mod c;"),
        (
            "a.rs",
            "use crate::{b::Two as Second, c::{self, Three}}; fn f() { c::three(); }",
        ),
        ("b.rs", "use super::c::Three; pub struct Two;"),
        ("c.rs", "pub struct Three; pub fn three() {}"),
    ]);
    assert_eq!(used_by("a.rs", &tree), ["b.rs", "c.rs"]);
    assert_eq!(used_by("b.rs", &tree), ["c.rs"]);
    assert_eq!(used_by("lib.rs", &tree), [""; 0]);
}

#[test]
fn paths_in_code_macros_and_functions_count() {
    let tree = tree([
        ("lib.rs", "mod a; mod b; mod c; mod d; mod e;"),
        (
            "a.rs",
            "fn f(b: crate::b::B) { use super::c::{C, D as E}; assert!(crate::d::is_so(super::e::F)); }",
        ),
        ("b.rs", "pub struct B;"),
        ("c.rs", "pub struct C; pub struct D;"),
        ("d.rs", "pub fn is_so() {}"),
        ("e.rs", "pub const F: u8 = 1;"),
    ]);
    assert_eq!(used_by("a.rs", &tree), ["b.rs", "c.rs", "d.rs", "e.rs"]);
}

#[test]
fn a_reexport_leads_to_the_file_that_declares_the_item() {
    let tree = tree([
        ("lib.rs", "mod floor; mod user; pub use floor::Thing;"),
        (
            "floor/mod.rs",
            "mod thing; mod other; pub use other::*; pub use thing::Thing; pub struct Own;",
        ),
        ("floor/thing.rs", "use super::other::Other; pub struct Thing;"),
        ("floor/other.rs", "pub struct Other;"),
        (
            "user.rs",
            "use crate::floor; use crate::{Thing, floor::Other}; struct User(floor::Own);",
        ),
    ]);
    assert_eq!(
        used_by("user.rs", &tree),
        ["floor/mod.rs", "floor/other.rs", "floor/thing.rs"]
    );
    assert_eq!(used_by("floor/mod.rs", &tree), [""; 0]);
    assert_eq!(circles(&tree), []);
}

#[test]
fn the_program_imports_the_library_by_its_name() {
    let tree = tree([
        ("lib.rs", "mod thing; pub use thing::Thing;"),
        ("thing.rs", "pub struct Thing;"),
        ("main.rs", "mod cli; fn main() { cli::run() }"),
        ("cli/mod.rs", "use anabranch::Thing; pub fn run() {}"),
    ]);
    assert_eq!(used_by("cli/mod.rs", &tree), ["thing.rs"]);
    assert_eq!(used_by("main.rs", &tree), ["cli/mod.rs"]);
}

#[test]
fn a_circle_is_found_and_what_leads_into_it_is_not_part_of_it() {
    let tree = tree([
        ("lib.rs", "mod a; mod b; mod c; mod d;"),
        ("a.rs", "use super::b::B; pub struct A;"),
        ("b.rs", "use super::c::C; use super::d::D; pub struct B;"),
        ("c.rs", "use super::a::A; pub struct C;"),
        ("d.rs", "pub struct D;"),
    ]);
    let found = [
        breach("a.rs", "b.rs"),
        breach("b.rs", "c.rs"),
        breach("c.rs", "a.rs"),
    ];
    assert_eq!(circles(&tree), found);
}

#[test]
fn a_part_may_use_what_its_folder_declares_but_not_another_part_in_a_circle() {
    let tree = tree([
        ("lib.rs", "mod floor;"),
        (
            "floor/mod.rs",
            "mod part; mod other; use part::Part; pub struct Own(Part);",
        ),
        (
            "floor/part.rs",
            "use super::Own; use super::other::Other; pub struct Part;",
        ),
        ("floor/other.rs", "use super::part::Part; pub struct Other;"),
    ]);
    let found = [
        breach("floor/other.rs", "floor/part.rs"),
        breach("floor/part.rs", "floor/other.rs"),
    ];
    assert_eq!(circles(&tree), found);
}

#[test]
fn a_call_of_a_method_that_another_file_adds_is_an_import() {
    let tree = tree([
        ("lib.rs", "mod core; mod above;"),
        (
            "core.rs",
            "pub struct Core; impl Core { fn begin(&self) { self.settle(1); } fn low(&self) {} }",
        ),
        (
            "above.rs",
            "use super::core::Core; impl Core { fn settle(&self, n: u8) { self.low(); } }",
        ),
    ]);
    assert_eq!(
        circles(&tree),
        [breach("above.rs", "core.rs"), breach("core.rs", "above.rs")]
    );
}

#[test]
fn what_is_there_for_tests_only_is_left_out() {
    let tree = tree([
        (
            "lib.rs",
            "mod a; mod b; #[cfg(test)] mod whole; #[cfg(test)] use b::B;",
        ),
        (
            "a.rs",
            "#[cfg(test)] mod tests { use crate::b::B; } pub struct A;
             impl A { #[cfg(test)] fn f(b: crate::b::B) { unsafe {} } }",
        ),
        ("b.rs", "use crate::a::A; pub struct B;"),
        ("whole.rs", "use crate::b::B;"),
    ]);
    assert_eq!(used_by("a.rs", &tree), [""; 0]);
    assert!(!tree["a.rs"].has_unsafe);
    assert!(!tree.contains_key("whole.rs"));
}

#[test]
fn an_import_that_goes_up_or_aside_is_found() {
    let floors: [&[&str]; 3] = [&["top"], &["left", "right"], &["bottom"]];
    let tree = tree([
        (
            "lib.rs",
            "mod top; mod left; mod right; mod bottom; pub use top::Top; pub struct Root;",
        ),
        (
            "top.rs",
            "use crate::left::Left; use crate::bottom::Bottom; pub struct Top;",
        ),
        (
            "left.rs",
            "use crate::right::Right; use crate::bottom::Bottom; pub struct Left;",
        ),
        ("right.rs", "use crate::Root; pub struct Right;"),
        ("bottom.rs", "use crate::Top; pub struct Bottom;"),
    ]);
    let found = [
        breach("bottom.rs", "top.rs"),
        breach("left.rs", "right.rs"),
        breach("right.rs", "lib.rs"),
    ];
    assert_eq!(upward_imports(&tree, &floors), found);
}

#[test]
#[should_panic(expected = "new has no place among the floors")]
fn a_floor_without_a_place_is_refused() {
    upward_imports(&tree([("lib.rs", "mod new;"), ("new.rs", "")]), &[&["old"]]);
}

#[test]
fn files_and_unsafe_code_are_found_outside_of_their_floor() {
    let tree = tree([
        ("lib.rs", "mod disk; mod a; mod b; mod c;"),
        ("disk.rs", "use std::fs::File; fn f() { unsafe { g() } }"),
        ("a.rs", "use std::{fs, io}; fn f() { fs::read(1); }"),
        (
            "b.rs",
            "fn f() { let r = rustix::process::getpid(); format!(\"{}\", std::fs::read(1)); }",
        ),
        (
            "c.rs",
            "use std::fsx; // unsafe\n/// unsafe\nfn f() { \"unsafe\"; vec![unsafe { g() }]; }",
        ),
    ]);
    let found = [
        breach("a.rs", "std::fs"),
        breach("a.rs", "std::fs::read"),
        breach("b.rs", "rustix::process::getpid"),
        breach("b.rs", "std::fs::read"),
    ];
    assert_eq!(uses_outside(&tree, "disk", &["std::fs", "rustix"]), found);
    assert_eq!(unsafe_outside(&tree, "disk"), [breach("c.rs", "unsafe")]);
}

#[test]
fn an_exception_covers_what_it_names_and_must_be_needed() {
    let exception = |of, uses| Exception {
        of,
        uses,
        reason: "so far",
    };
    let breaches = [breach("log/a.rs", "log/b.rs"), breach("c.rs", "std::fs::read")];
    let exceptions = [exception("log/", "log/"), exception("c.rs", "")];
    assert_eq!(complaints(&breaches, &exceptions), [""; 0]);
    assert_eq!(
        complaints(&breaches, &exceptions[..1]),
        ["c.rs uses std::fs::read"]
    );
    assert_eq!(
        complaints(&breaches[1..], &exceptions),
        ["the exception for log/ log/ is not needed any more (so far)"]
    );
}

#[test]
fn a_floor_that_uses_files_which_it_must_not_know_is_found() {
    let tree = tree([
        ("lib.rs", "mod store; mod log; mod backend;"),
        ("store/mod.rs", "mod put; use crate::backend::Logs;"),
        (
            "store/put.rs",
            "fn f() { crate::log::write(); crate::backend::local::open(); }",
        ),
        ("log.rs", "pub fn write() {}"),
        ("backend/mod.rs", "pub mod local; pub trait Logs {}"),
        ("backend/local.rs", "pub fn open() { crate::log::write(); }"),
    ]);
    assert_eq!(
        uses_of_files(&tree, "store", &["log", "backend/local"]),
        [
            breach("store/put.rs", "backend/local.rs"),
            breach("store/put.rs", "log.rs")
        ]
    );
}

#[test]
fn words_are_found_in_names_and_comments_of_a_floor() {
    let texts = [
        ("store/a.rs", "/// Of its segments.\nfn f(file_name: &str) {}"),
        ("store/b.rs", "use std::path::Path;\nstruct JournalFrames;"),
        (
            "store/c.rs",
            "/// # directory.path();\n/// A profile, and spooling.\nstruct Pathetic;",
        ),
        ("store/explored/d.rs", "let file = 1;"),
        ("log.rs", "let file = 1;"),
    ];
    let texts = texts.map(|(file, text)| (file.to_owned(), text.to_owned()));
    assert_eq!(
        words_in(
            &BTreeMap::from(texts),
            "store",
            &["file", "path", "segment", "journal", "pool"]
        ),
        [
            breach("store/a.rs", "file"),
            breach("store/a.rs", "segment"),
            breach("store/b.rs", "journal"),
            breach("store/b.rs", "path"),
        ]
    );
}
