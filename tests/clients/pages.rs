//! The examples of the README and of the pages on queues and channels, run as they are written.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::install::Python;
use crate::{Bench, PROGRAM};

#[test]
fn the_first_five_minutes_of_queues_are_as_they_are_written() {
    assert_eq!(block("queues.md", "server"), "anabranch serve\n");
    let said = run_page("queues.md", &[]);
    assert!(said.contains("\"Data\":\"cGljdHVyZS03\""), "{said}");
    assert!(said.contains("resize picture-7\n"), "{said}");
}

#[test]
fn the_first_five_minutes_of_channels_are_as_they_are_written() {
    let expected =
        "mkdir -p objects/clicks-archive\nanabranch serve --buckets objects --channel-freshness 1s\n";
    assert_eq!(block("channels.md", "server"), expected);
    let said = run_page("channels.md", &["objects/clicks-archive"]);
    assert!(said.contains("{\"page\": \"/\"}\n"), "{said}");
    assert!(
        said.contains("ACTIVE arn:aws:kinesis:us-east-1:000000000000:channel/"),
        "{said}"
    );
}

/// Gives the output of the page's commands.
fn run_page(page: &str, directories: &[&str]) -> String {
    let programs = Python::find().environment("requirements.txt");
    let bench = Bench::new(&[]);
    for directory in directories {
        fs::create_dir_all(bench.directory.path().join(directory)).expect("make a directory");
    }
    let buckets = bench.directory.path().join("objects");
    let buckets = buckets.to_str().expect("a path of letters");
    let server = match directories {
        [] => bench.start(),
        _ => bench.start_with(&["--buckets", buckets, "--channel-freshness", "1s"]),
    };
    for (name, program) in [("shell", "bash"), ("python", "python")] {
        let text = block(page, name).replace("127.0.0.1:4567", &server.address().to_string());
        let script = bench.write(name, &text);
        let mut command = bench.command("bash", &programs);
        command
            .current_dir(bench.directory.path())
            .env("SCRIPT", script)
            .args(["-e", "-c", &format!("{program} \"$SCRIPT\" >>said")]);
        bench.run(command, &server);
    }
    server.stop("TERM");
    fs::read_to_string(bench.directory.path().join("said")).expect("read what was said")
}

/// The commands for another shell, as the README has them.
#[test]
fn the_readme_s_commands_at_the_shell_show_what_they_put() {
    let bench = Bench::new(&[]);
    let server = bench.start();
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(readme).expect("read the README");
    let built = "target/release/anabranch ";
    let commands = readme.lines().skip_while(|line| !line.starts_with(built));
    let commands: Vec<_> = commands.take_while(|line| *line != "```").collect();
    assert_eq!(commands.len(), 3);
    let place = bench.directory.path().join("target/release");
    fs::create_dir_all(&place).expect("make the directory of the program");
    symlink(PROGRAM.0, place.join("anabranch")).expect("link the program");
    let mut script = bench.command("sh", &place);
    script
        .current_dir(bench.directory.path())
        .env("AWS_ENDPOINT_URL_KINESIS", server.url())
        .arg("-e")
        .arg(bench.write("commands", &format!("exec >said\n{}\n", commands.join("\n"))));
    bench.run(script, &server);
    let said = fs::read_to_string(bench.directory.path().join("said")).expect("read what was said");
    assert!(said.contains(r#"{"user":"u1","page":"/"}"#), "{said}");
    server.stop("TERM");
}

/// The ten lines of Python, and the variables for programs that have no endpoint in their code, as the README has them.
#[test]
fn the_readme_s_python_runs_and_its_variables_are_all_that_boto3_needs() {
    let programs = Python::find().environment("requirements.txt");
    let bench = Bench::new(&[]);
    let server = bench.start();
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(readme).expect("read the README");
    let readme = readme.replace("127.0.0.1:4567", &server.address().to_string());
    let python = readme.lines().skip_while(|line| *line != "```python").skip(1);
    let python: Vec<_> = python.take_while(|line| *line != "```").collect();
    assert_eq!(python.len(), 10);
    let mut script = bench.command("python", &programs);
    script.arg(bench.write("ten_lines.py", &python.join("\n")));
    bench.run(script, &server);

    let variables = readme.lines().filter(|line| line.starts_with("export AWS_"));
    let variables: Vec<_> = variables.collect();
    let listed = "import boto3; assert boto3.client('kinesis').list_streams()['StreamNames'] == ['clicks']";
    let mut script = bench.command("sh", &programs);
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"] {
        script.env_remove(name);
    }
    script.args([
        "-e",
        "-c",
        &format!("{}\npython -c \"{listed}\"", variables.join("\n")),
    ]);
    bench.run(script, &server);
    server.stop("TERM");
}

/// The text of a block of a page.
pub fn block(page: &str, name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(page);
    let text = fs::read_to_string(path).expect("read the page");
    let mut lines = text.lines();
    lines
        .find(|line| line.starts_with("```") && line.split(' ').nth(1) == Some(name))
        .unwrap_or_else(|| panic!("docs/{page} has no {name}"));
    lines
        .take_while(|line| *line != "```")
        .map(|line| format!("{line}\n"))
        .collect()
}
