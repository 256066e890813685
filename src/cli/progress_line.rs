//! A line on standard error with the progress of a command.

use std::io::{self, IsTerminal, Write};

/// Shown on a terminal only. It is erased when this is dropped.
#[derive(Debug)]
pub(super) struct ProgressLine {
    is_shown: bool,
}

impl Default for ProgressLine {
    fn default() -> Self {
        Self {
            is_shown: io::stderr().is_terminal(),
        }
    }
}

impl ProgressLine {
    pub(super) fn show(&self, text: &str) {
        if self.is_shown {
            let _ = write!(io::stderr(), "\r\x1b[K{text}");
        }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.show("");
    }
}
