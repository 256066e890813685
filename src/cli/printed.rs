//! Output that is printed at once.

use std::io::{self, ErrorKind, Write};

use super::Failure;

/// Prints all of it. A standard output that was closed, as by `head`, needs no more output, so that is no failure.
pub(super) fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::Output(error)),
        _ => Ok(()),
    }
}
