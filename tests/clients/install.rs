//! The clients' packages, installed once below the build directory, by the usual package programs.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A Python that can make virtual environments.
pub struct Python {
    program: &'static str,
    /// Major and minor, such as `(3, 11)`.
    pub version: (u32, u32),
}

impl Python {
    /// The first one that works; 3.11 before newer ones, because 3.12 cannot import boto 2.
    pub fn find() -> Python {
        const OLDEST: (u32, u32) = (3, 10);
        ["python3.11", "python3", "python3.12", "python3.13", "python3.10"]
            .into_iter()
            .filter_map(|program| {
                let asked = "import sys, venv, ensurepip; print(*sys.version_info[:2])";
                let version = output_of(Command::new(program).args(["-c", asked]))?;
                let (major, minor) = version.trim().split_once(' ')?;
                let version = (major.parse().ok()?, minor.parse().ok()?);
                Some(Python { program, version })
            })
            .find(|python| python.version >= OLDEST)
            .expect(
                "these tests need Python 3.10 or newer with the venv module: \
                 apt-get install python3 python3-venv, or what your system calls them",
            )
    }

    /// The programs of a virtual environment with the packages of the requirements file in this directory.
    pub fn environment(&self, requirements: &str) -> PathBuf {
        let requirements = source_directory().join(requirements);
        let wanted = fs::read(&requirements).expect("read the requirements");
        let (major, minor) = self.version;
        let name = format!("venv-{major}.{minor}-{:08x}", crc32fast::hash(&wanted));
        let environment = installed_once(&name, |directory| {
            run(Command::new(self.program).args(["-m", "venv"]).arg(directory));
            run(Command::new(directory.join("bin/python"))
                .args([
                    "-m",
                    "pip",
                    "install",
                    "--disable-pip-version-check",
                    "--no-input",
                ])
                .arg("--requirement")
                .arg(&requirements));
        });
        environment.join("bin")
    }
}

/// The programs of a new virtual environment in this directory. It has the wheel, and the packages of another
/// environment, whose programs these are.
pub fn environment_with(wheel: &Path, directory: &Path, programs: &Path) -> PathBuf {
    let python = programs.join("python");
    run(Command::new(&python).args(["-m", "venv"]).arg(directory));
    let own = directory.join("bin/python");
    // It needs only the wheel, so no registry is asked.
    run(Command::new(&own)
        .args([
            "-m",
            "pip",
            "install",
            "--disable-pip-version-check",
            "--no-input",
        ])
        .args(["--no-deps", "--no-index"])
        .arg(wheel));
    let packages_of = |python: &Path| {
        let asked = "import sysconfig; print(sysconfig.get_path('purelib'))";
        let packages = output_of(Command::new(python).args(["-c", asked]));
        packages
            .expect("ask where the packages are")
            .trim_end()
            .to_owned()
    };
    let others = Path::new(&packages_of(&own)).join("others.pth");
    fs::write(others, packages_of(&python)).expect("name the packages of the other environment");
    directory.join("bin")
}

/// The `node_modules` of the lock file, or the reason why there can be none.
pub fn node_modules() -> Result<PathBuf, String> {
    const OLDEST: u32 = 20;
    let version = node_version().ok_or("there is no node")?;
    if version < OLDEST {
        return Err(format!("node is version {version}, older than {OLDEST}"));
    }
    output_of(Command::new("npm").arg("--version")).ok_or("there is no npm")?;
    let package = source_directory().join("node");
    let lock_file = fs::read(package.join("package-lock.json")).expect("read the lock file");
    let name = format!("node-{:08x}", crc32fast::hash(&lock_file));
    let installed = installed_once(&name, |directory| {
        fs::create_dir_all(directory).expect("create the directory for node_modules");
        for file in ["package.json", "package-lock.json"] {
            fs::copy(package.join(file), directory.join(file)).expect("copy the package's description");
        }
        run(Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(directory));
    });
    Ok(installed.join("node_modules"))
}

/// The version of Node, such as 20; `None` without Node.
pub fn node_version() -> Option<u32> {
    let version = output_of(Command::new("node").arg("--version"))?;
    let major = version.trim_start_matches('v').split('.').next()?;
    major.parse().ok()
}

/// The version of the Java Development Kit, such as 17; `None` without one.
pub fn jdk_version() -> Option<u32> {
    output_of(Command::new("java").arg("--list-modules"))?;
    // `javac 17.0.15`; before 9 `javac 1.8.0`.
    let version = output_of(Command::new("javac").arg("-version"))?;
    let major = version.trim().strip_prefix("javac ")?.split('.').next();
    major?.parse().ok()
}

/// The AWS command line on the search path, if it is of version 2: no registry has it.
pub fn aws_command_line_2() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut programs = std::env::split_paths(&path).map(|directory| directory.join("aws"));
    programs.find(|program| {
        let version = output_of(Command::new(program).arg("--version"));
        version.is_some_and(|version| version.starts_with("aws-cli/2."))
    })
}

/// The directory of the clients' scripts.
pub fn source_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// The directory of this name, made by `install` unless an earlier run completed it. Tests that need the same one at
/// the same time, in this process or another, wait for each other.
fn installed_once(name: &str, install: impl FnOnce(&Path)) -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("clients");
    fs::create_dir_all(&root).expect("create the directory for the clients");
    let lock = File::create(root.join(format!("{name}.lock"))).expect("create the lock");
    lock.lock().expect("lock the installation");
    let directory = root.join(name);
    let complete = directory.join("complete");
    if !complete.exists() {
        if directory.exists() {
            fs::remove_dir_all(&directory).expect("remove an installation that was interrupted");
        }
        install(&directory);
        fs::write(complete, "").expect("mark the installation as complete");
    }
    directory
}

pub fn run(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} ended with {}:\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The output of a program; `None` if it is missing or fails.
pub fn output_of(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The search path with a directory in front.
pub fn path_with(first: &Path) -> std::ffi::OsString {
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::iter::once(first.to_owned()).chain(std::env::split_paths(&inherited));
    std::env::join_paths(directories).unwrap_or_else(|_| OsStr::new(first).to_owned())
}
