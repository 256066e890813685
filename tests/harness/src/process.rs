//! Children that keep no file of this process open.
//!
//! A new process has a copy of every descriptor of the process that made it, until shortly after it has become another
//! program: the call that makes it returns before the copies are closed. So a child of one test would keep files open
//! that another test has in its mounted image, and the image could not be unmounted.

use std::io;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

/// Locked for reading while files of an image are open, and for writing while a process is made.
static DESCRIPTORS: RwLock<()> = RwLock::new(());

/// While one of these exists, no process is made.
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
