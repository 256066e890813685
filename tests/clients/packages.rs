//! The packages for Python and Node, made with the program of this build and installed as users install them, and the
//! examples of `docs/testing-your-code.md`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::install::{Python, environment_with, node_modules, run, source_directory};
use crate::pages::block;
use crate::{Bench, PROGRAM, kcl, skipped};

const PAGE: &str = "testing-your-code.md";

#[test]
fn the_python_package_runs_servers_for_tests() {
    let python = Python::find().environment("requirements-packages.txt");
    let bench = Bench::new(&[]);
    let wheel = wheel(&bench, &python);
    let programs = environment_with(&wheel, &bench.directory.path().join("venv"), &python);
    let pytest = |directory: &Path| {
        let mut script = bench.command("python", &programs);
        script
            .current_dir(directory)
            .args(["-m", "pytest", "-q", "-p", "no:cacheprovider"]);
        bench.run_alone(script);
    };
    pytest(&copied(&bench, "packages/python"));
    pytest(&blocks(&bench, &["clicks.py", "pytest.ini", "test_clicks.py"]));
}

#[test]
fn the_npm_package_runs_servers_for_tests() {
    let modules = match node_modules() {
        Ok(modules) => modules,
        Err(reason) => return skipped(&format!("the npm package: {reason}")),
    };
    let bench = Bench::new(&[]);
    let tests = with_npm_package(&bench, &modules);
    // The place where a release has it.
    let own = tests.join("node_modules/anabranch/bin");
    fs::create_dir(&own).expect("make the directory of the program");
    symlink(PROGRAM.0, own.join("anabranch")).expect("link the program");
    fs::write(tests.join("clicks.test.mjs"), block(PAGE, "clicks.test.mjs"))
        .expect("write a test of the page");
    let mut script = bench.command("node", &own);
    script.current_dir(&tests).arg("--test");
    bench.run_alone(script);
}

/// `typed.mts` and `typed.cts` also have what must not compile.
#[test]
fn the_npm_package_has_types_for_programs_in_typescript() {
    let modules = match node_modules() {
        Ok(modules) => modules,
        Err(reason) => return skipped(&format!("the types of the npm package: {reason}")),
    };
    let bench = Bench::new(&[]);
    let tests = with_npm_package(&bench, &modules);
    run(Command::new(modules.join(".bin/tsc"))
        .current_dir(&tests)
        .args([
            "--noEmit", "--strict", "--module", "nodenext", "--target", "es2022",
        ])
        .args(["--lib", "es2022,esnext.disposable", "--types", "node"])
        .args(["typed.mts", "typed.cts"]));
}

#[test]
fn the_java_sdk_finds_a_server_as_the_page_on_testing_says() {
    let Some(programs) = kcl::programs() else { return };
    let bench = Bench::new(&[]);
    let directory = blocks(&bench, &["Clicks.java", "ClicksTest.java", "shell"]);
    symlink(kcl::jars(&programs), directory.join("lib")).expect("link the SDK's jars");
    let program = Path::new(PROGRAM.0)
        .parent()
        .expect("the program is in a directory");
    let mut script = bench.command("bash", program);
    // The environment has only the variables that the page names.
    script
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY")
        .env_remove("AWS_DEFAULT_REGION")
        .current_dir(&directory)
        .args(["-e", "-c"])
        .arg("bash -e shell >said && java -cp 'lib/*' ClicksTest.java >>said");
    bench.run_alone(script);
    let said = fs::read_to_string(directory.join("said")).expect("read what was said");
    for line in ["shardId-000000000000", "[clicks]"] {
        assert!(said.lines().any(|said| said == line), "{line} is not in:\n{said}");
    }
}

/// The Python package takes it from the crate.
#[test]
fn the_npm_package_has_the_version_of_the_crate() {
    let description = fs::read(packages_directory().join("npm/package.json")).expect("read package.json");
    let description: Value = serde_json::from_slice(&description).expect("package.json is JSON");
    assert_eq!(description["version"], env!("CARGO_PKG_VERSION"));
}

/// A directory with the tests of the npm package, which has the package, packed and installed, and the AWS SDK.
fn with_npm_package(bench: &Bench, modules: &Path) -> PathBuf {
    let tests = copied(bench, "packages/npm");
    let package = packages_directory().join("npm");
    fs::write(tests.join("package.json"), "{\"private\": true}\n").expect("write a package's description");
    let npm = |arguments: &[&str]| {
        run(Command::new("npm")
            .args(arguments)
            .args(["--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(&tests));
    };
    npm(&["pack", package.to_str().expect("a path of letters")]);
    let packed = format!("./anabranch-{}.tgz", env!("CARGO_PKG_VERSION"));
    npm(&["install", "--offline", &packed]);
    for others in ["@aws-sdk", "@types"] {
        symlink(modules.join(others), tests.join("node_modules").join(others)).expect("link other packages");
    }
    tests
}

/// The wheel that maturin makes by `pyproject.toml`, with the program of this build instead of one compiled for
/// release.
fn wheel(bench: &Bench, programs: &Path) -> PathBuf {
    let directory = bench.directory.path().join("wheel");
    fs::create_dir(&directory).expect("make a directory for the wheel");
    // maturin runs the `cargo` of the search path for some steps, and the one that `CARGO` names for others.
    let cargo = directory.join("cargo");
    symlink(source_directory().join("packages/cargo_stand_in.py"), &cargo)
        .expect("link what stands in for cargo");
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let before = [directory.clone(), programs.to_owned()];
    let path = std::env::join_paths(before.into_iter().chain(std::env::split_paths(&inherited)));
    run(Command::new(programs.join("maturin"))
        .args([
            "build",
            "--release",
            "--compatibility",
            "linux",
            "--compression-method",
            "stored",
        ])
        .arg("--out")
        .arg(&directory)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("PATH", path.expect("directories without a colon"))
        .env("CARGO", &cargo)
        .env("CARGO_TARGET_DIR", directory.join("target"))
        .env("BUILT_PROGRAM", PROGRAM.0));
    let mut made = fs::read_dir(&directory)
        .expect("list what maturin has made")
        .flatten();
    let wheel = made.find(|entry| {
        entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "whl")
    });
    wheel.expect("maturin has made a wheel").path()
}

/// A copy of the tests in another directory, where they find only installed packages.
fn copied(bench: &Bench, source: &str) -> PathBuf {
    let directory = bench.directory.path().join("tests");
    fs::create_dir(&directory).expect("make a directory");
    for entry in fs::read_dir(source_directory().join(source)).expect("list the tests") {
        let entry = entry.expect("list the tests");
        if entry.path().is_file() {
            fs::copy(entry.path(), directory.join(entry.file_name())).expect("copy a test");
        }
    }
    directory
}

/// A directory with blocks of the page as files.
fn blocks(bench: &Bench, names: &[&str]) -> PathBuf {
    let directory = bench.directory.path().join("page");
    fs::create_dir(&directory).expect("make a directory");
    for name in names {
        fs::write(directory.join(name), block(PAGE, name)).expect("write a block of the page");
    }
    directory
}

fn packages_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/packages")
}
