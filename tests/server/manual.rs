//! Completions for shells, and the manual: both have every option that the program has.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Output};

use crate::PROGRAM;

const SUBCOMMANDS: [&str; 20] = [
    "backup",
    "bench",
    "check",
    "completions",
    "create",
    "delete",
    "dump",
    "get",
    "man",
    "merge",
    "mirror",
    "put",
    "repair",
    "restore",
    "serve",
    "split",
    "streams",
    "tail",
    "trim",
    "verify",
];

fn run(arguments: &[&str]) -> Output {
    PROGRAM.command().args(arguments).output().unwrap()
}

fn printed(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The long options that the help of a subcommand lists.
fn options(subcommand: &str) -> BTreeSet<String> {
    let help = printed(&[subcommand, "--help"]);
    let lines = help.lines().map(str::trim_start);
    lines
        .filter(|line| line.starts_with('-'))
        .flat_map(|line| line.split([' ', ',', '<', '[']))
        .map(|word| word.trim_end_matches(|character: char| !character.is_ascii_alphanumeric()))
        .filter(|word| word.starts_with("--"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_manual_has_a_page_for_each_subcommand_with_all_its_options() {
    let directory = tempfile::tempdir().unwrap();
    printed(&["man", directory.path().to_str().unwrap()]);
    let names: BTreeSet<_> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut expected: BTreeSet<_> = SUBCOMMANDS.map(|name| format!("anabranch-{name}.1")).into();
    expected.insert("anabranch.1".to_owned());
    assert_eq!(names, expected);
    for subcommand in SUBCOMMANDS {
        let page = directory.path().join(format!("anabranch-{subcommand}.1"));
        let page = fs::read_to_string(page).unwrap();
        assert!(page.contains(".TH anabranch-"), "{page}");
        let options = options(subcommand);
        assert!(options.contains("--help"), "{subcommand}: {options:?}");
        for option in options {
            let written = option.replace('-', "\\-");
            assert!(page.contains(&written), "{subcommand}: {option}");
        }
    }
}

#[test]
fn the_page_of_the_program_is_printed_without_a_directory() {
    let page = printed(&["man"]);
    assert!(page.contains(".TH anabranch 1"), "{page}");
    for part in SUBCOMMANDS.map(|name| format!("anabranch\\-{name}(1)")) {
        assert!(page.contains(&part), "{part}");
    }
}

#[test]
fn a_directory_for_the_manual_that_cannot_be_used_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    for (given, advice) in [
        (missing, " is not there: make that directory first"),
        (file, ": Not a directory"),
    ] {
        let output = run(&["man", given.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stderr);
        let expected = format!("cannot write the manual: {}{advice}", given.display());
        assert!(said.contains(&expected), "{said}");
    }
}

#[test]
fn each_shell_gets_completions_of_all_options() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = printed(&["completions", shell]);
        for subcommand in SUBCOMMANDS {
            assert!(script.contains(subcommand), "{shell}: {subcommand}");
        }
        for option in options("serve") {
            // fish has them without the dashes.
            let name = option.trim_start_matches('-');
            assert!(script.contains(name), "{shell}: {option}");
        }
    }
    assert_eq!(run(&["completions", "cmd.exe"]).status.code(), Some(2));
}

#[test]
fn bash_takes_its_completions() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("anabranch");
    fs::write(&file, printed(&["completions", "bash"])).unwrap();
    let Ok(checked) = Command::new("bash").arg("-n").arg(&file).output() else {
        eprintln!("skipped: there is no bash");
        return;
    };
    assert!(checked.status.success(), "{checked:?}");
}

#[test]
fn a_closed_standard_output_wants_no_more() {
    for arguments in [&["man"][..], &["completions", "bash"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = PROGRAM.command();
        let output = command.args(arguments).stdout(writer).output().unwrap();
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{arguments:?}: {output:?}"
        );
    }
}
