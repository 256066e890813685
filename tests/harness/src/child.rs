//! Runs a test again in a child process, if it needs a process for itself.

use std::io::Read;
use std::process::{Command, Stdio};

const IS_CHILD: &str = "ANABRANCH_TEST_IS_CHILD";

/// True in the child, which runs this test alone. The parent runs the child, and fails if the child fails. `test` is
/// the full name of the test, with its modules.
pub fn is_child(test: &str) -> bool {
    is_child_after("true", test)
}

/// As [`is_child`], but the child may have at most this many files open.
pub fn is_child_with_open_files(files: usize, test: &str) -> bool {
    is_child_after(&format!("ulimit -n {files}"), test)
}

/// The result of asking for a separate child.
pub enum Apart {
    /// This is the child.
    IsChild,
    /// This is the parent, and the child has passed.
    HasRun,
    /// This process may not make such a child, for this reason.
    CannotBe(String),
}

/// As [`is_child`], in a child with its own network, mounts and processes, which end with it. It ends with this
/// process. That needs root, `unshare` and `ip`. Its standard error is shown.
pub fn child_apart(test: &str) -> Apart {
    if std::env::var_os(IS_CHILD).is_some() {
        end_with_standard_input();
        return Apart::IsChild;
    }
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args([
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ]);
        command
    };
    match unshare().args(["ip", "link", "set", "lo", "up"]).output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => return Apart::CannotBe(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => return Apart::CannotBe(format!("unshare: {error}")),
    }
    let mut child = unshare()
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(IS_CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lifeline = child.stdin.take();
    let output = child.wait_with_output().unwrap();
    drop(lifeline);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
    Apart::HasRun
}

/// The parent holds the other end as long as it lives.
fn end_with_standard_input() {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(1);
    });
}

fn is_child_after(preparation: &str, test: &str) -> bool {
    if std::env::var_os(IS_CHILD).is_some() {
        return true;
    }
    let output = Command::new("sh")
        .arg("-c")
        .arg(format!("{preparation} && exec \"$0\" --exact {test} --nocapture"))
        .arg(std::env::current_exe().unwrap())
        .env(IS_CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.contains("1 passed"), "{said}");
    false
}
