//! What is printed as a whole.

use std::io::{self, ErrorKind, Write};

use super::Failure;

/// Prints all of it. A standard output that is closed, as by `head`, wants no more, so that is no failure.
pub(super) fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::Output(error)),
        _ => Ok(()),
    }
}
