//! Children that take nothing of this process along.
//!
//! A new process has a copy of every descriptor of the one that made it, until it has become another program and a
//! little longer: the call that makes it returns before the copies are closed. What one test has open in its mounted
//! image, a child of another test would keep open, and the image could not be unmounted.

use std::io;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

/// Read by those who have files open in an image, written by those who make a process.
static DESCRIPTORS: RwLock<()> = RwLock::new(());

/// No process is made while there is one of these.
#[derive(Debug)]
#[must_use = "files are kept from children for as long as this lives"]
pub struct NoChildren {
    _held: RwLockReadGuard<'static, ()>,
}

/// To be taken before a file of an image is opened, and dropped after it is closed.
pub fn no_children() -> NoChildren {
    NoChildren {
        _held: DESCRIPTORS.read().unwrap_or_else(PoisonError::into_inner),
    }
}

/// Starts the program.
pub fn spawn(command: &mut Command) -> io::Result<Child> {
    let _alone = DESCRIPTORS.write().unwrap_or_else(PoisonError::into_inner);
    command.spawn()
}

/// Runs the program to its end.
pub fn output(command: &mut Command) -> io::Result<Output> {
    let command = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    spawn(command)?.wait_with_output()
}
