//! Runs a test again in a child process, if it needs a process for itself.

use std::process::Command;

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
