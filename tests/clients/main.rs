//! Common clients, run against the program: boto3, boto 2, the AWS command line, the AWS SDKs for JavaScript and Java,
//! npm's package `kinesis`, and the Kinesis Client Library; and the packages that run the program. The first run
//! installs them below the build directory.

mod access;
mod console;
mod install;
mod kcl;
mod model;
#[cfg(feature = "nats")]
mod on_a_cluster;
mod packages;
mod pages;
mod two_clients;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anabranch_harness::ports::free_address;
use anabranch_harness::program::{Program, ServerProcess};
use install::{Python, aws_command_line_2, node_modules, path_with, source_directory};
use tempfile::TempDir;

const PROGRAM: Program = Program(env!("CARGO_BIN_EXE_anabranch"));

#[test]
fn the_tutorial_runs_with_boto3_and_a_restart_changes_nothing() {
    tutorial_with_boto3(&Bench::new(&[]));
}

fn tutorial_with_boto3(bench: &Bench) {
    let programs = Python::find().environment("requirements.txt");
    let server = bench.start();
    let tutorial = |phase: &str, server: &ServerProcess| {
        let mut script = bench.command("python", &programs);
        script.arg(source_directory().join("tutorial_boto3.py"));
        script.arg(server.url()).arg(phase).arg(bench.state_file());
        bench.run(script, server);
    };
    tutorial("before", &server);
    let server = bench.restart(server, "INT");
    tutorial("after", &server);
    server.stop("TERM");
}

#[test]
fn the_tutorial_runs_with_boto_2_redirected_by_its_configuration_file_alone() {
    tutorial_with_boto_2(Bench::new(&[]));
}

fn tutorial_with_boto_2(bench: Bench) {
    let python = Python::find();
    if python.version > (3, 11) {
        let (major, minor) = python.version;
        return skipped(&format!(
            "boto 2 needs Python 3.11 or older, and this is {major}.{minor}"
        ));
    }
    let programs = python.environment("requirements.txt");
    // As on AWS, a stream is CREATING, UPDATING and DELETING for a while.
    let bench = bench.with(&["--transition-delay", "300ms"]);
    let server = bench.start();
    let tutorial = |phase: &str, server: &ServerProcess| {
        let port = server.address().port();
        let configuration = fs::read_to_string(source_directory().join("boto.cfg")).expect("read boto.cfg");
        let configuration = configuration.replace("s3_port = 4567", &format!("s3_port = {port}"));
        let mut script = bench.command("python", &programs);
        script.env("BOTO_CONFIG", bench.write("boto.cfg", &configuration));
        script.arg(source_directory().join("tutorial_boto2.py"));
        script.arg(phase).arg(bench.state_file());
        bench.run(script, server);
    };
    tutorial("before", &server);
    let server = bench.restart(server, "INT");
    tutorial("after", &server);
    server.stop("TERM");
}

#[test]
fn the_tutorial_runs_with_the_aws_command_line() {
    tutorial_with_the_aws_command_line(&Bench::new(&[]));
}

fn tutorial_with_the_aws_command_line(bench: &Bench) {
    let programs = Python::find().environment("requirements-cli.txt");
    let server = bench.start();
    let mut script = bench.command("bash", &programs);
    script.env("AWS_ENDPOINT_URL_KINESIS", server.url());
    script.arg(source_directory().join("aws_cli.sh"));
    bench.run(script, &server);
    server.stop("INT");
}

/// Before 2.13 it reads no endpoint from its environment. It takes data for base64 unless an option changes that.
#[test]
fn the_tutorial_runs_with_version_2_of_the_aws_command_line() {
    let Some(program) = aws_command_line_2() else {
        return skipped("version 2 of the AWS command line: it is not installed");
    };
    let bench = Bench::new(&[]);
    let server = bench.start();
    let programs = bench.directory.path().join("bin");
    fs::create_dir(&programs).expect("create a directory");
    let shim = bench.write(
        "bin/aws",
        &format!(
            "#!/bin/sh\nexec '{}' --endpoint-url {} --cli-binary-format raw-in-base64-out --no-cli-pager \"$@\"\n",
            program.display(),
            server.url()
        ),
    );
    fs::set_permissions(&shim, fs::Permissions::from_mode(0o755)).expect("make it a program");
    let mut script = bench.command("bash", &programs);
    script.arg(source_directory().join("aws_cli.sh"));
    bench.run(script, &server);
    server.stop("INT");
}

#[test]
fn the_tutorial_runs_with_the_javascript_sdk_over_http2_without_tls() {
    tutorial_with_the_javascript_sdk(&Bench::new(&[]));
}

fn tutorial_with_the_javascript_sdk(bench: &Bench) {
    let modules = match node_modules() {
        Ok(modules) => modules,
        Err(reason) => return skipped(&format!("the AWS SDK for JavaScript: {reason}")),
    };
    let server = bench.start();
    let mut script = bench.command("node", &modules);
    script.env("NODE_PATH", &modules);
    script
        .arg(source_directory().join("node/tutorial.cjs"))
        .arg(server.url());
    bench.run(script, &server);
    server.stop("TERM");
}

#[test]
fn the_javascript_sdk_does_every_operation_that_it_has() {
    operations_with_the_javascript_sdk(&Bench::new(&[]));
}

fn operations_with_the_javascript_sdk(bench: &Bench) {
    let modules = match node_modules() {
        Ok(modules) => modules,
        Err(reason) => return skipped(&format!("the AWS SDK for JavaScript: {reason}")),
    };
    let server = bench.start();
    let mut script = bench.command("node", &modules);
    script.env("NODE_PATH", &modules);
    script
        .arg(source_directory().join("node/operations.cjs"))
        .arg(server.url());
    bench.run(script, &server);
    server.stop("TERM");
}

#[test]
fn the_javascript_sdk_reads_what_a_channel_has_put_into_a_directory() {
    let bench = Bench::new(&[]);
    let keys = bench.write("keys", &format!("alias/mine = {}\n", "5a".repeat(32)));
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o600)).expect("make the keys private");
    let keys = keys.to_str().expect("a path of letters").to_owned();
    channel_with_the_javascript_sdk(bench.with(&["--keys", &keys]));
}

fn channel_with_the_javascript_sdk(bench: Bench) {
    let modules = match node_modules() {
        Ok(modules) => modules,
        Err(reason) => return skipped(&format!("the AWS SDK for JavaScript: {reason}")),
    };
    let bench = bench.with(&["--channel-freshness", "1s"]);
    let buckets = bench.directory.path().join("buckets");
    let server = bench.start_with(&["--buckets", buckets.to_str().expect("a path of letters")]);
    let mut script = bench.command("node", &modules);
    script.env("NODE_PATH", &modules);
    script
        .arg(source_directory().join("node/channels.cjs"))
        .arg(server.url())
        .arg(&buckets);
    bench.run(script, &server);
    server.stop("TERM");
}

#[test]
fn boto3_tries_again_where_a_fault_was_asked_for() {
    faults_with_boto3(Bench::new(&[]));
}

fn faults_with_boto3(bench: Bench) {
    let programs = Python::find().environment("requirements.txt");
    let bench = bench.with(&[
        "--fault",
        "PutRecord:throttle:1,PutRecord:fail:2,PutRecord:lose:3,PutRecords:throttle:30%",
    ]);
    let server = bench.start();
    let mut script = bench.command("python", &programs);
    script
        .arg(source_directory().join("faults_boto3.py"))
        .arg(server.url());
    bench.run(script, &server);
    server.stop("TERM");
}

#[test]
fn boto3_works_off_a_queue() {
    queue_with_boto3(&Bench::new(&[]));
}

fn queue_with_boto3(bench: &Bench) {
    let programs = Python::find().environment("requirements.txt");
    let server = bench.start();
    let mut script = bench.command("python", &programs);
    script
        .arg(source_directory().join("queues_boto3.py"))
        .arg(server.url());
    bench.run(script, &server);
    server.stop("TERM");
}

#[test]
fn the_aws_command_line_works_off_a_queue() {
    let python = Python::find();
    let programs = python.environment("requirements-cli.txt");
    // Its model has the queues, which that of the command line does not have yet.
    let with_boto3 = python.environment("requirements.txt");
    let bench = Bench::new(&[]);
    let buckets = bench.directory.path().join("buckets");
    fs::create_dir_all(buckets.join("clicks-archive")).expect("make a bucket");
    let server = bench.start_with(&["--buckets", buckets.to_str().expect("a path of letters")]);
    let mut script = bench.command("bash", &programs);
    script.env("AWS_ENDPOINT_URL_KINESIS", server.url());
    script
        .arg(source_directory().join("queues_aws_cli.sh"))
        .arg(with_boto3.join("python"));
    bench.run(script, &server);
    server.stop("TERM");
}

#[test]
fn boto3_reads_what_a_channel_has_put_into_a_bucket() {
    channel_with_boto3(Bench::new(&[]));
}

fn channel_with_boto3(bench: Bench) {
    // moto's server is installed with the KCL.
    let programs = Python::find().environment("requirements-kcl.txt");
    let bench = bench.with(&["--channel-freshness", "1s"]);
    let port = free_address().port().to_string();
    let s3 = format!("http://127.0.0.1:{port}");
    let server = bench.start_with(&["--buckets", &s3]);
    // The server looks for buckets only once there is a channel.
    let story = "
        trap 'kill $(jobs -p)' EXIT
        moto_server -H 127.0.0.1 -p \"$1\" &
        until python -c 'import sys, socket; socket.create_connection((\"127.0.0.1\", int(sys.argv[1])))' \"$1\"; do
            sleep 0.1
            [ \"$(jobs -r | wc -l)\" = 1 ]
        done
        python \"$2\" \"$3\" \"http://127.0.0.1:$1\"";
    let mut script = bench.command("bash", &programs);
    script
        .args(["-e", "-c", story, "bash", &port])
        .arg(source_directory().join("channels_boto3.py"))
        .arg(server.url());
    bench.run(script, &server);
    server.stop("TERM");
}

#[test]
fn every_command_in_the_tutorial_is_one_that_these_tests_run() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tutorial = fs::read_to_string(repository.join("docs/tutorial.md")).expect("read the tutorial");
    let scripts = |names: &[&str]| -> Vec<String> {
        names
            .iter()
            .map(|name| fs::read_to_string(source_directory().join(name)).expect("read a script"))
            .flat_map(|script| script.lines().map(without_blanks).collect::<Vec<_>>())
            .collect()
    };
    let python = scripts(&["tutorial_boto3.py", "tutorial_boto2.py"]);
    let shell = scripts(&["aws_cli.sh"]);
    let configuration = scripts(&["boto.cfg"]);
    let mut checked = 0;
    for (language, line) in code_lines(&tutorial) {
        let script = match language {
            "python" => &python,
            "sh" if line.contains("aws kinesis") || line.starts_with("--") => &shell,
            "ini" => &configuration,
            _ => continue,
        };
        let line = without_blanks(&line.replace("\"http://127.0.0.1:4567\"", "ENDPOINT"));
        let line = line.trim_end_matches('\\');
        assert!(
            script.iter().any(|of_script| of_script.contains(line)),
            "no test runs this line of the tutorial: {line}"
        );
        checked += 1;
    }
    assert!(
        checked > 50,
        "only {checked} lines of the tutorial were found in its code blocks"
    );
}

/// The lines of the code blocks, each with its block's language.
fn code_lines(markdown: &str) -> Vec<(&str, &str)> {
    let mut language = None;
    let mut lines = Vec::new();
    for line in markdown.lines() {
        match (line.trim_start().strip_prefix("```"), language) {
            (Some(named), None) => language = Some(named.trim()),
            (Some(_), Some(_)) => language = None,
            (None, Some(language)) if !line.trim().is_empty() => lines.push((language, line.trim())),
            (None, _) => {}
        }
    }
    lines
}

fn without_blanks(line: &str) -> String {
    line.split_whitespace().collect()
}

/// A directory for one test: the store, the client's home, its output.
struct Bench {
    directory: TempDir,
    server_arguments: Vec<String>,
}

impl Bench {
    fn new(server_arguments: &[&str]) -> Bench {
        let directory = tempfile::tempdir().expect("create a directory");
        Bench {
            directory,
            server_arguments: server_arguments.iter().map(ToString::to_string).collect(),
        }
    }

    /// With more arguments for its servers.
    fn with(mut self, server_arguments: &[&str]) -> Bench {
        self.server_arguments
            .extend(server_arguments.iter().map(ToString::to_string));
        self
    }

    fn start(&self) -> ServerProcess {
        self.start_with(&[])
    }

    /// A server with more arguments, on the same directory.
    fn start_with(&self, more_arguments: &[&str]) -> ServerProcess {
        let arguments = [&self.server_arguments()[..], more_arguments].concat();
        PROGRAM.serve(self.directory.path(), &arguments)
    }

    /// Stops the server with a signal and starts it again on the same directory and port.
    fn restart(&self, server: ServerProcess, signal: &str) -> ServerProcess {
        let listen = server.address().to_string();
        server.stop(signal);
        PROGRAM.serve_at(&listen, self.directory.path(), &self.server_arguments())
    }

    fn server_arguments(&self) -> Vec<&str> {
        self.server_arguments.iter().map(String::as_str).collect()
    }

    fn state_file(&self) -> PathBuf {
        self.directory.path().join("state.json")
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, text).expect("write a file");
        path
    }

    /// A program without its user's configuration, and with credentials that are not checked.
    fn command(&self, program: &str, programs: &Path) -> Command {
        let own = programs.join(program);
        let mut command = Command::new(if own.exists() { own } else { program.into() });
        command
            .env_clear()
            .env("PATH", path_with(programs))
            .env("HOME", self.directory.path())
            .env("LANG", "C.UTF-8")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("AWS_ACCESS_KEY_ID", "any")
            .env("AWS_SECRET_ACCESS_KEY", "any")
            .env("AWS_DEFAULT_REGION", "eu-west-1")
            .env("AWS_EC2_METADATA_DISABLED", "true");
        command
    }

    /// Runs a script to its end. If it fails, the test fails with the output of the script and the server.
    fn run(&self, script: Command, server: &ServerProcess) {
        self.run_to_end(script, || format!("\nThe server said:\n{}", server.log()));
    }

    /// As [`run`](Bench::run), for a script that starts its servers itself.
    fn run_alone(&self, script: Command) {
        self.run_to_end(script, String::new);
    }

    fn run_to_end(&self, mut script: Command, more: impl FnOnce() -> String) {
        const TIME_LIMIT: Duration = Duration::from_secs(600);
        let said = self.directory.path().join("script.log");
        let output = File::create(&said).expect("create the script's log");
        let errors = output.try_clone().expect("share the script's log");
        let mut child = script
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {script:?}: {error}"));
        let started = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().expect("wait for the script") {
                break status.to_string();
            }
            if started.elapsed() > TIME_LIMIT {
                let _ = child.kill();
                let _ = child.wait();
                break format!("nothing after {TIME_LIMIT:?}");
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        assert!(
            status == "exit status: 0",
            "{:?} ended with {status}\nIt said:\n{}{}",
            script.get_args(),
            String::from_utf8_lossy(&fs::read(&said).unwrap_or_default()),
            more()
        );
    }
}

/// Prints on the terminal, past the test runner's capture, that a test checked nothing.
fn skipped(what: &str) {
    let _ = writeln!(std::io::stderr(), "\nskipped: {what}");
}
