//! The console in a browser (Debian's `chromium`, or another one built from it), and its modules in Node.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::install::{node_version, output_of, source_directory};
use crate::{Bench, skipped};

/// The script needs `node --test`, and modules.
const OLDEST_NODE: u32 = 20;

/// The pictures that the script takes.
const PICTURES: &[&str] = &[
    "overview",
    "stream",
    "stream-dark",
    "lineage",
    "overview-phone-dark",
    "stream-phone-dark",
];

/// Those that are in `docs/pictures`, from the last time that they were blessed.
const OF_THE_README: &[&str] = &["stream", "stream-dark", "lineage"];

#[test]
fn a_person_finds_everything_by_mouse_and_keyboard() {
    let Some(browser) = browser() else {
        return skipped("the console: there is no chromium");
    };
    if let Err(reason) = check_node() {
        return skipped(&format!("the console: {reason}"));
    }
    let bench = Bench::new(&[]);
    let server = bench.start();
    let pictures = bench.directory.path().join("pictures");
    fs::create_dir(&pictures).expect("make a directory for pictures");
    let mut script = bench.command("node", Path::new("/usr/bin"));
    script
        .arg(source_directory().join("console/click_path.mjs"))
        .args([browser, &server.url()])
        .arg(&pictures);
    bench.run(script, &server);
    for name in PICTURES {
        let picture = fs::read(pictures.join(format!("{name}.png"))).expect("read a picture");
        let least = if *name == "lineage" { 1_000 } else { 10_000 };
        assert!(picture.starts_with(b"\x89PNG") && picture.len() > least, "{name}");
    }
    if env::var_os("ANABRANCH_BLESS").is_some() {
        for name in OF_THE_README {
            let kept =
                Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/pictures/console-{name}.png"));
            fs::copy(pictures.join(format!("{name}.png")), kept).expect("keep a picture");
        }
    }
    server.stop("TERM");
}

#[test]
fn the_modules_of_the_console_do_as_they_say() {
    if let Err(reason) = check_node() {
        return skipped(&format!("the console's modules: {reason}"));
    }
    let bench = Bench::new(&[]);
    let mut script = bench.command("node", Path::new("/usr/bin"));
    script
        .arg("--test")
        .arg(source_directory().join("console/modules.test.mjs"));
    bench.run_alone(script);
}

fn browser() -> Option<&'static str> {
    let programs = ["chromium", "chromium-browser", "google-chrome"];
    let is_there = |program: &&str| output_of(Command::new(program).arg("--version")).is_some();
    programs.into_iter().find(is_there)
}

fn check_node() -> Result<(), String> {
    match node_version() {
        None => Err("there is no node".to_owned()),
        Some(version) if version < OLDEST_NODE => {
            Err(format!("node is version {version}, older than {OLDEST_NODE}"))
        }
        Some(_) => Ok(()),
    }
}
